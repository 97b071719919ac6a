"""The engine: what it keeps, replaces, withholds and why; one decision at a time."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateState, MandateValues, RiskLevel
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import CancelOrder, Order, OrderState
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.engine import (
    NOTHING,
    Decision,
    Drain,
    MakerState,
    MarketState,
    OrderIntent,
    OrderStyle,
    QuoteEngine,
    Reconsider,
    SideDenied,
    SideFilled,
)
from autohedge.risk.limits import RiskLimits
from autohedge.risk.pretrade import PreTradeRisk

BINANCE = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
    min_qty=Decimal("0.00001"),
    max_qty=Decimal(9_000),
    min_notional=Decimal(10),
    max_notional=Decimal(9_000_000),
    venue="test",
    rules_as_of="",
)
S, USDT, LOT = 1_000_000_000, 10**8, BINANCE.base_atoms_per_lot
NOW = 1_000 * S
BID, ASK = 5_988_000, 6_012_000
"""With the default fee and profit the maker quotes 20 bps off the mid of 60,000.00."""
SIZE = 167
"""An order of 100 USDT at the bid of 59,880.00; 166 at the ask."""


def engine(**changed: Any) -> QuoteEngine:
    return QuoteEngine(MarketMakingConfig(**changed), BINANCE)


def market(
    bid: int = 5_999_999, ask: int = 6_000_001, *, volatility: float | None = 0.0, depth: float = 100.0, problem: str = ""
) -> MarketState:
    return MarketState(bid, ask, volatility, depth, problem)


def obeys(multiplier: float = 1.0, bias: float = 0.0, size: float = 1.0, risk: RiskLevel = RiskLevel.LOW) -> MandateValues:
    return MandateValues("m1", multiplier, bias, size, risk, "rules", MandateState.IN_FORCE)


def reconsider(
    *working: Order,
    now_ns: int = NOW,
    at: MarketState | None = None,
    base: int = 1_000 * LOT,
    quote: int = 9_400 * USDT,
    mandate: MandateValues | None = None,
    blocked: dict[Side, str] | None = None,
    requests: int = 100,
) -> Reconsider:
    return Reconsider(now_ns, at or market(), base, quote, working, mandate or obeys(), blocked or {}, requests)


_number = iter(range(1, 1_000_000))


def order(
    side: Side,
    price: int | None,
    lots: int = SIZE,
    *,
    state: OrderState = OrderState.SUBMITTED,
    filled: int = 0,
    created_ns: int = NOW - S,
) -> Order:
    order_id = ClientOrderId(f"o{next(_number)}")
    return Order(order_id, side, price, lots, price is not None, "quote", created_ns, "m1", "rules", state, filled)


def decided(made: QuoteEngine, event: Reconsider, state: MakerState | None = None) -> Decision:
    return made.step(state or MakerState(), event)[1]


def cancelled(decision: Decision) -> dict[str, str]:
    return {cancel.client_order_id: cancel.reason for cancel in decision.cancels}


def placed(decision: Decision) -> dict[Side, tuple[int | None, int]]:
    return {intent.side: (intent.price_ticks, intent.size_lots) for intent in decision.intents}


def reasons(decision: Decision) -> dict[Side, str]:
    return dict(decision.withheld)


# --- quoting ----------------------------------------------------------------------------------------------------------------


def test_both_sides_are_quoted_when_base_and_cash_are_there() -> None:
    """600 USDT of base is a ratio of 0.65, so b = −0.045: both quotes 540 ticks lower than without."""
    decision = decided(engine(), reconsider())
    assert decision.intents == (
        OrderIntent(BUY, BID - 540, 167, OrderStyle.QUOTE),
        OrderIntent(SELL, ASK - 540, 166, OrderStyle.QUOTE),
    )
    assert (decision.cancels, decision.withheld) == ((), ())


def test_prices_and_sizes_are_those_of_pricing_and_sizing() -> None:
    """A neutral base of what is held leaves nothing to skew: ±20 bps, 100 USDT."""
    decision = decided(engine(neutral_base="0.01"), reconsider())
    assert placed(decision) == {BUY: (BID, SIZE), SELL: (ASK, 166)}
    assert decision.confidence == 1.0
    assert decision.terms is not None and decision.terms.shift == 0.0


def test_a_flat_maker_only_buys() -> None:
    decision = decided(engine(), reconsider(base=0))
    assert placed(decision) == {BUY: (BID, SIZE)}
    assert reasons(decision) == {SELL: "no_base"}


def test_confidence_and_the_mandate_make_orders_smaller() -> None:
    """(1.0 + 0.925 + 0.4) ÷ 3 = 0.775, so × 0.8875 × 0.5 of 167 lots at a slightly lower bid."""
    at = market(volatility=0.0075)
    decision = decided(engine(neutral_base="0.01"), reconsider(at=at, mandate=obeys(size=0.5, risk=RiskLevel.HIGH)))
    assert decision.confidence == pytest.approx(0.775)
    assert placed(decision)[BUY][1] == int(167 * 0.8875 * 0.5)
    assert placed(decision)[SELL][1] == int(166 * 0.8875 * 0.5)


def test_the_same_inputs_give_the_same_result_and_are_not_touched() -> None:
    made = engine(neutral_base="0.01")
    working = (order(BUY, BID - 5_000), order(SELL, ASK, state=OrderState.CANCELLING))
    event = reconsider(*working, blocked={SELL: "daily_loss"})
    before, state = deepcopy(event), MakerState()
    first, second = made.step(state, event), engine(neutral_base="0.01").step(state, event)
    assert first == second
    assert event == before
    assert state == MakerState()


# --- withheld ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["gap", "one_sided", "crossed", "stale"])
def test_a_market_problem_pulls_every_quote_and_is_the_reason(problem: str) -> None:
    bid, ask, going = order(BUY, BID), order(SELL, ASK), order(SELL, ASK + 9, state=OrderState.CANCELLING)
    decision = decided(engine(), reconsider(bid, ask, going, at=market(0, 0, problem=problem, volatility=None)))
    assert cancelled(decision) == {bid.client_order_id: problem, ask.client_order_id: problem}
    assert (decision.intents, reasons(decision), decision.terms) == ((), {BUY: problem, SELL: problem}, None)


def test_a_blocked_side_is_pulled_and_the_other_goes_on() -> None:
    bid, ask = order(BUY, BID), order(SELL, ASK, 166)
    decision = decided(engine(neutral_base="0.01"), reconsider(bid, ask, blocked={BUY: "inventory_imbalance"}))
    assert cancelled(decision) == {bid.client_order_id: "inventory_imbalance"}
    assert reasons(decision) == {BUY: "inventory_imbalance"}


def test_an_unreachable_profit_withholds_both_sides() -> None:
    bid = order(BUY, BID)
    decision = decided(engine(maker_fee_bps=20), reconsider(bid))
    assert cancelled(decision) == {bid.client_order_id: "min_profit_unreachable"}
    assert reasons(decision) == {BUY: "min_profit_unreachable", SELL: "min_profit_unreachable"}


def test_a_bid_below_a_tick_is_withheld() -> None:
    made = engine(min_profit_threshold="0.4", max_spread_bps=5_000, total_capital=10_000)
    decision = decided(made, reconsider(at=market(1, 2), base=0, mandate=obeys(bias=-1.0)))
    assert reasons(decision)[BUY] == "price_below_a_tick"


@pytest.mark.parametrize(
    ("changed", "event", "told"),
    [
        ({}, reconsider(base=3_330 * LOT), {BUY: "exposure_cap"}),
        ({}, reconsider(quote=9 * USDT), {BUY: "no_quote"}),
        ({"max_inventory_exposure": 1}, reconsider(quote=0, base=2_000 * LOT), {BUY: "no_quote"}),
        ({}, reconsider(base=16 * LOT), {SELL: "no_base"}),
        ({"total_capital": 900}, reconsider(), {BUY: "below_min_notional", SELL: "below_min_notional"}),  # 9 USDT an order
        ({"total_capital": 1_500}, reconsider(base=100 * LOT, mandate=obeys(size=0.5)), {BUY: "below_min_notional"}),
    ],
)
def test_a_side_without_a_size_says_what_binds(changed: dict[str, Any], event: Reconsider, told: dict[Side, str]) -> None:
    decision = decided(engine(**changed), event)
    assert reasons(decision).items() >= told.items()
    assert not told.keys() & placed(decision).keys()


# --- keep, replace ------------------------------------------------------------------------------------------------------------


def quiet(**changed: Any) -> QuoteEngine:
    """An engine that sees the standard inventory as neutral, so that it wants BID and ASK; tolerance 1 bp."""
    return engine(neutral_base="0.01", refresh_tolerance_bps=1, **changed)


def test_a_good_order_keeps_its_place() -> None:
    decision = decided(quiet(), reconsider(order(BUY, BID), order(SELL, ASK, 166)))
    assert (decision.cancels, decision.intents, decision.withheld) == ((), (), ())


@pytest.mark.parametrize("distance", [-599, -598, 0, 598, 599])
def test_a_move_below_the_tolerance_leaves_an_order_alone(distance: int) -> None:
    """1 bp of 59,880.00 is 598.8 ticks."""
    bid = order(BUY, BID + distance)
    decision = decided(quiet(), reconsider(bid, order(SELL, ASK, 166)))
    if abs(distance) <= 598:
        assert (decision.cancels, decision.intents) == ((), ())
    else:
        assert cancelled(decision) == {bid.client_order_id: "refresh"}
        assert placed(decision) == {BUY: (BID, SIZE)}


def test_in_a_touch_style_a_tick_is_too_much() -> None:
    made = quiet(touch="join", min_profit_threshold=None)
    bid, ask = order(BUY, 5_999_998, 166), order(SELL, 6_000_001, 166)
    decision = decided(made, reconsider(bid, ask))
    assert cancelled(decision) == {bid.client_order_id: "refresh"}
    assert placed(decision) == {BUY: (5_999_999, 166)}


def test_a_touch_style_that_the_profit_floor_holds_off_has_the_usual_tolerance() -> None:
    """It keeps a distance from the mid like any other quote; following every tick of the mid would only burn requests."""
    decision = decided(quiet(touch="join"), reconsider(order(BUY, BID + 500), order(SELL, ASK - 500, 166)))
    assert (decision.cancels, decision.intents) == ((), ())


def test_an_old_order_is_replaced() -> None:
    made = quiet(max_order_age_s=60)
    for age_ns, kept in ((60 * S, True), (60 * S + 1, False)):
        bid = order(BUY, BID, created_ns=NOW - age_ns)
        decision = decided(made, reconsider(bid, order(SELL, ASK, 166)))
        assert (cancelled(decision) == {}) == kept
        assert (placed(decision) == {}) == kept


@pytest.mark.parametrize(
    ("lots", "filled", "kept"),
    [
        (250, 0, True),  # half as large again as the 167 wanted
        (251, 0, False),
        (251, 1, True),
        (84, 0, True),  # half of what is wanted
        (83, 0, False),
        (SIZE, 166, True),  # the rest of an order that fills stands first in its queue
    ],
)
def test_an_order_of_the_wrong_size_is_replaced(lots: int, filled: int, kept: bool) -> None:
    bid = order(BUY, BID, lots, filled=filled)
    decision = decided(quiet(), reconsider(bid, order(SELL, ASK, 166)))
    assert cancelled(decision) == ({} if kept else {bid.client_order_id: "refresh"})
    assert placed(decision) == ({} if kept else {BUY: (BID, SIZE)})


def test_several_orders_on_a_side_are_replaced_by_one() -> None:
    bids = (order(BUY, BID), order(BUY, BID))
    decision = decided(quiet(), reconsider(*bids, order(SELL, ASK, 166)))
    assert cancelled(decision) == {bid.client_order_id: "refresh" for bid in bids}
    assert placed(decision) == {BUY: (BID, SIZE)}


def test_an_order_that_is_being_cancelled_still_counts_and_is_not_cancelled_again() -> None:
    """3,333 lots fit under the cap: 1,000 are held, 2,300 more may still be bought by what is being cancelled."""
    going = order(BUY, BID, 2_300, state=OrderState.CANCELLING)
    decision = decided(quiet(), reconsider(going, order(SELL, ASK, 166)))
    assert decision.cancels == ()
    assert placed(decision) == {BUY: (BID, 40)}  # 2,000 ÷ 0.5988 = 3,340.0 lots, less 3,300


def test_an_order_whose_replacement_needs_its_room_is_cancelled_first() -> None:
    """The sell of all base there is: its replacement waits until the cancel is confirmed."""
    ask = order(SELL, ASK + 9_000, 100)
    decision = decided(engine(neutral_base="0.001"), reconsider(ask, base=100 * LOT))
    assert cancelled(decision) == {ask.client_order_id: "refresh"}
    assert SELL not in placed(decision)
    assert reasons(decision) == {SELL: "replacing"}
    ask.state = OrderState.CANCELLED
    assert placed(decided(engine(neutral_base="0.001"), reconsider(base=100 * LOT)))[SELL] == (ASK, 100)


def test_a_price_rise_over_the_cap_pulls_the_bid() -> None:
    bid = order(BUY, BID)
    decision = decided(engine(), reconsider(bid, base=3_400 * LOT))
    assert cancelled(decision) == {bid.client_order_id: "refresh"}
    assert reasons(decision)[BUY] == "exposure_cap"


# --- pauses -------------------------------------------------------------------------------------------------------------------


def test_after_a_fill_its_side_pauses_for_the_delay_and_the_other_does_not() -> None:
    made = quiet(filled_order_delay_s=5)
    state, decision = made.step(MakerState(), SideFilled(NOW, BUY))
    assert decision == NOTHING
    rest = order(BUY, BID, filled=10)
    paused = decided(made, reconsider(rest, now_ns=NOW + 5 * S - 1), state)
    assert cancelled(paused) == {rest.client_order_id: "paused"}
    assert (reasons(paused), placed(paused).keys()) == ({BUY: "paused"}, {SELL})
    assert placed(decided(made, reconsider(now_ns=NOW + 5 * S), state)).keys() == {BUY, SELL}


def test_without_a_delay_a_fill_pauses_nothing() -> None:
    made = quiet()
    state, _ = made.step(MakerState(), SideFilled(NOW, SELL))
    assert placed(decided(made, reconsider(), state)).keys() == {BUY, SELL}


def test_a_denied_side_waits_a_second() -> None:
    made = quiet()
    state, _ = made.step(MakerState(), SideDenied(NOW, SELL))
    assert reasons(decided(made, reconsider(now_ns=NOW + S - 1), state)) == {SELL: "denied"}
    assert placed(decided(made, reconsider(now_ns=NOW + S), state)).keys() == {BUY, SELL}


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    made = quiet(filled_order_delay_s=5)
    state, _ = made.step(MakerState(), SideFilled(NOW, BUY))
    state, _ = made.step(state, SideDenied(NOW, BUY))
    assert reasons(decided(made, reconsider(), state)) == {BUY: "denied"}
    assert reasons(decided(made, reconsider(now_ns=NOW + 4 * S), state)) == {BUY: "paused"}
    assert reasons(decided(made, reconsider(now_ns=NOW + 5 * S), state)) == {}


# --- self-trade ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [OrderState.SUBMITTED, OrderState.CANCELLING, OrderState.PENDING_SUBMIT])
def test_a_quote_that_would_meet_an_own_order_is_withheld(state: OrderState) -> None:
    """The market rose: an own ask, not yet confirmed gone, rests where the new bid would be."""
    risen = market(6_049_999, 6_050_001)
    ask = order(SELL, 6_030_000, 166, state=state)
    decision = decided(quiet(), reconsider(ask, at=risen))
    assert reasons(decision)[BUY] == "self_trade"
    assert BUY not in placed(decision)
    assert placed(decision)[SELL][0] == 6_062_100
    ask.state = OrderState.CANCELLED
    assert placed(decided(quiet(), reconsider(at=risen)))[BUY][0] == 6_037_900


def test_an_own_quote_that_gives_way_to_a_self_trade_is_pulled() -> None:
    risen = market(6_049_999, 6_050_001)
    old_bid = order(BUY, BID)
    decision = decided(quiet(), reconsider(order(SELL, 6_030_000, 166), old_bid, at=risen))
    assert old_bid.client_order_id in cancelled(decision)


# --- the request budget -------------------------------------------------------------------------------------------------------


def test_without_requests_nothing_is_placed() -> None:
    decision = decided(quiet(), reconsider(requests=0))
    assert (decision.intents, reasons(decision)) == ((), {BUY: "order_rate", SELL: "order_rate"})


def test_with_one_request_left_one_order_is_placed() -> None:
    decision = decided(quiet(), reconsider(requests=1))
    assert placed(decision) == {BUY: (BID, SIZE)}
    assert reasons(decision) == {SELL: "order_rate"}


def test_a_replacement_needs_two_requests() -> None:
    far = order(BUY, BID - 5_000)
    kept = decided(quiet(), reconsider(far, order(SELL, ASK, 166), requests=1))
    assert (kept.cancels, kept.intents, kept.withheld) == ((), (), ())
    moved = decided(quiet(), reconsider(far, order(SELL, ASK, 166), requests=2))
    assert cancelled(moved) == {far.client_order_id: "refresh"}
    assert placed(moved) == {BUY: (BID, SIZE)}


@pytest.mark.parametrize("requests", [1, 0, -3])
def test_an_order_that_has_become_too_aggressive_is_cancelled_whatever_the_budget(requests: int) -> None:
    bid, ask = order(BUY, BID + 5_000), order(SELL, ASK - 5_000, 166)
    decision = decided(quiet(), reconsider(bid, ask, requests=requests))
    assert cancelled(decision) == {bid.client_order_id: "order_rate", ask.client_order_id: "order_rate"}
    assert (decision.intents, reasons(decision)) == ((), {BUY: "order_rate", SELL: "order_rate"})


@pytest.mark.parametrize("requests", [0, -5])
def test_cancels_of_a_withheld_side_are_never_held_back(requests: int) -> None:
    bid, ask = order(BUY, BID), order(SELL, ASK, 166)
    decision = decided(quiet(), reconsider(bid, ask, blocked={BUY: "daily_loss"}, requests=requests))
    assert cancelled(decision) == {bid.client_order_id: "daily_loss"}


def test_the_cancels_of_one_side_are_paid_from_the_same_budget_as_the_orders_of_the_other() -> None:
    ask = order(SELL, ASK, 166)
    blocked = decided(quiet(), reconsider(ask, blocked={SELL: "daily_loss"}, requests=1))
    assert (cancelled(blocked), blocked.intents) == ({ask.client_order_id: "daily_loss"}, ())
    assert reasons(blocked) == {BUY: "order_rate", SELL: "daily_loss"}
    assert placed(decided(quiet(), reconsider(ask, blocked={SELL: "daily_loss"}, requests=2))) == {BUY: (BID, SIZE)}
    eager = order(SELL, ASK - 5_000, 166)
    short = decided(quiet(), reconsider(eager, requests=1))
    assert (cancelled(short), short.intents) == ({eager.client_order_id: "order_rate"}, ())
    assert reasons(short) == {BUY: "order_rate", SELL: "order_rate"}


# --- the inventory's thresholds -----------------------------------------------------------------------------------------------


def test_limits_fire_in_their_order_as_base_grows() -> None:
    """With the defaults: full skew above 10 % of capital, buys stop at 16 % (ratio 0.9), hard cap at 20 %."""
    made = engine()
    risk = PreTradeRisk(RiskLimits(), made.size_rules)

    def at(value_quote: int, extra_atoms: int = 0) -> tuple[float, float, dict[Side, str]]:
        base = value_quote * USDT * 10**8 // (60_000 * USDT) + extra_atoms
        decision = decided(made, reconsider(base=base))
        assert decision.terms is not None
        ratio = made.ratio(base, 6_000_000.0)
        return decision.terms.shift, ratio, risk.blocked_sides(base, ratio, "")

    shift, ratio, blocked = at(600)
    assert (shift, ratio, blocked) == (pytest.approx(-0.045), pytest.approx(0.65), {})
    made_at_ten = 1_666_666  # atoms worth 999.99996 USDT
    assert decided(made, reconsider(base=made_at_ten)).terms.shift == pytest.approx(-0.075)  # type: ignore[union-attr]
    assert decided(made, reconsider(base=made_at_ten + 1)).terms.shift == -1.0  # type: ignore[union-attr]
    shift, ratio, blocked = at(1_599)
    assert (shift, blocked) == (-1.0, {})
    shift, ratio, blocked = at(1_600, extra_atoms=1)
    assert ratio == pytest.approx(0.9)
    assert blocked == {BUY: "inventory_imbalance"}
    assert reasons(decided(made, reconsider(base=3_331 * LOT)))[BUY] == "exposure_cap"


def test_beyond_the_threshold_the_ask_comes_to_the_mid_and_the_bid_goes_a_whole_spread_away() -> None:
    decision = decided(engine(), reconsider(base=2_000 * LOT))
    assert placed(decision)[SELL][0] == 6_000_000
    assert placed(decision)[BUY][0] == 5_976_000


def test_short_of_neutral_it_is_the_bid_that_comes_to_the_mid() -> None:
    decision = decided(engine(neutral_base="0.03"), reconsider(base=1_000 * LOT))
    assert placed(decision)[BUY][0] == 6_000_000
    assert placed(decision)[SELL][0] == 6_024_000


# --- the crossing rebalance ---------------------------------------------------------------------------------------------------

LONG = 2_000 * LOT
"""1,200 USDT: 2 % of the capital above the threshold."""


def test_without_the_policy_nothing_ever_crosses() -> None:
    assert all(intent.price_ticks is not None for intent in decided(engine(), reconsider(base=LONG)).intents)


def test_the_policy_sends_one_order_back_to_neutral() -> None:
    made = engine(rebalance=True, neutral_base="0.002")
    decision = decided(made, reconsider(base=LONG))
    assert decision.intents == (OrderIntent(SELL, None, 1_800, OrderStyle.REBALANCE),)
    assert reasons(decision) == {BUY: "rebalance", SELL: "rebalance"}
    assert decision.cancels == ()
    within = made.step(MakerState(), reconsider(base=1_800 * LOT))[1]
    assert all(intent.style is OrderStyle.QUOTE for intent in within.intents)


def test_quotes_give_way_first_so_that_the_crossing_order_meets_none_of_them() -> None:
    made = engine(rebalance=True)
    bid, ask, going = order(BUY, BID), order(SELL, ASK, 166), order(BUY, BID, state=OrderState.CANCELLING)
    state, decision = made.step(MakerState(), reconsider(bid, ask, going, base=LONG))
    assert cancelled(decision) == {bid.client_order_id: "rebalance", ask.client_order_id: "rebalance"}
    assert (decision.intents, state) == ((), MakerState())
    still = made.step(state, reconsider(going, base=LONG))[1]
    assert (still.cancels, still.intents) == ((), ())
    assert made.step(state, reconsider(base=LONG))[1].intents[0].style is OrderStyle.REBALANCE


def test_between_two_crossing_orders_the_quotes_work_at_full_skew() -> None:
    """Ten seconds: whatever became of the first, denied ones included, no side is ever left without a quote for long."""
    made = engine(rebalance=True)
    state, _ = made.step(MakerState(), reconsider(base=LONG))
    meanwhile = decided(made, reconsider(base=LONG, now_ns=NOW + 10 * S - 1), state)
    assert placed(meanwhile) == {BUY: (5_976_000, 167), SELL: (6_000_000, 166)}
    again = decided(made, reconsider(base=LONG, now_ns=NOW + 10 * S), state)
    assert [intent.style for intent in again.intents] == [OrderStyle.REBALANCE]


def test_a_denied_crossing_order_is_not_repeated_ten_times_a_second() -> None:
    made = engine(rebalance=True)
    state, _ = made.step(MakerState(), reconsider(base=LONG))
    state, _ = made.step(state, SideDenied(NOW, SELL))
    assert reasons(decided(made, reconsider(base=LONG, now_ns=NOW + S // 10), state)) == {SELL: "denied"}
    assert SELL in placed(decided(made, reconsider(base=LONG, now_ns=NOW + S), state))


def test_a_crossing_order_on_its_way_is_neither_cancelled_nor_doubled_nor_joined() -> None:
    made = engine(rebalance=True)
    state, _ = made.step(MakerState(), reconsider(base=LONG))
    market_order = order(SELL, None, 2_000, state=OrderState.PENDING_SUBMIT)
    soon = decided(made, reconsider(market_order, base=LONG, now_ns=NOW + S // 10), state)
    assert (soon.cancels, reasons(soon), placed(soon).keys()) == ((), {SELL: "rebalance"}, {BUY})
    late = decided(made, reconsider(market_order, base=LONG, now_ns=NOW + 20 * S), state)
    assert (late.cancels, late.intents) == ((), ())
    stopped = made.step(state, Drain((market_order,), "session_end"))[1]
    assert stopped.cancels == ()


@pytest.mark.parametrize(
    "event",
    [
        reconsider(base=LONG, requests=0),
        reconsider(base=LONG, blocked={SELL: "daily_loss"}),
        reconsider(base=LONG, at=market(0, 0, problem="stale")),
    ],
)
def test_a_crossing_order_is_not_sent_when_something_forbids_it(event: Reconsider) -> None:
    assert all(intent.style is OrderStyle.QUOTE for intent in decided(engine(rebalance=True), event).intents)


def test_a_crossing_buy_keeps_within_cap_and_cash() -> None:
    """Neutral is 3,000 lots; 1,000 held. A lot costs 0.6000001 and the taker's fee; the cap leaves 2,333 lots."""
    made = engine(rebalance=True, neutral_base="0.03")
    assert placed(decided(made, reconsider())) == {BUY: (None, 2_000)}
    assert placed(decided(made, reconsider(quote=600 * USDT))) == {BUY: (None, 999)}
    short = engine(rebalance=True, neutral_base="0.06")
    assert placed(decided(short, reconsider())) == {BUY: (None, 2_333)}


# --- drain --------------------------------------------------------------------------------------------------------------------


def test_a_drain_cancels_everything_and_ends_quoting_for_good() -> None:
    made = engine()
    bid, ask, going = order(BUY, BID), order(SELL, ASK), order(SELL, ASK, state=OrderState.CANCELLING)
    state, decision = made.step(MakerState(), Drain((bid, ask, going), "interrupted"))
    assert decision.cancels == (
        CancelOrder(bid.client_order_id, "interrupted"),
        CancelOrder(ask.client_order_id, "interrupted"),
    )
    later = decided(made, reconsider(), state)
    assert (later.intents, reasons(later)) == ((), {BUY: "drained", SELL: "drained"})
