"""The engine's finer rules: toxic sides, scarce requests, places in queues, orders that hang; one decision at a time."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.decision import scarce_tolerance
from autohedge.market_maker.engine import Decision, MakerState, MarketState, QuoteEngine, Reconsider, SideFilled
from autohedge.market_maker.reasons import CODES
from autohedge.market_maker.working import UNSEEN, seen_in_queue
from tests.unit.market_maker.test_engine import (
    ASK,
    BID,
    BINANCE,
    LOT,
    NOW,
    SIZE,
    USDT,
    S,
    cancelled,
    decided,
    market,
    obeys,
    order,
    placed,
    reasons,
)

SIGMA = 0.006
"""σ per √hour; with the default budget of 100 requests a minute, a refresh of both quotes is possible each 2.4 s."""
BEARABLE_FRAC = SIGMA * sqrt(2.4 / 3_600)
"""How far the mid comes in that time."""


def quiet(**changed: Any) -> QuoteEngine:
    """An engine that sees the standard inventory as neutral, so that it wants BID and ASK."""
    plain = {"neutral_base": "0.01", "refresh_tolerance_bps": 0, "size_by_confidence": False}
    return QuoteEngine(MarketMakingConfig(**plain | changed), BINANCE)


def look(*working: Order, at: MarketState | None = None, **changed: Any) -> Reconsider:
    given_: dict[str, Any] = {
        "now_ns": NOW, "base_atoms": 1_000 * LOT, "quote_atoms": 9_400 * USDT, "mandate": obeys(), "blocked": {},
        "requests_left": 1_000,
    }  # fmt: skip
    return Reconsider(**given_ | changed, market=at or market(), working=working)


# --- toxic sides -------------------------------------------------------------------------------------------------------------


def toxic(buy: str = "", sell: str = "") -> MarketState:
    return market()._replace(buy_toxic=CODES[buy], sell_toxic=CODES[sell])


@pytest.mark.parametrize("reason", ["toxic_trades", "toxic_depletion", "toxic_imbalance"])
def test_a_toxic_side_is_pulled_with_the_sign_as_the_reason_and_the_other_stays(reason: str) -> None:
    bid, ask = order(BUY, BID), order(SELL, ASK, 166)
    decision = decided(quiet(), look(bid, ask, at=toxic(buy=reason)))
    assert cancelled(decision) == {bid.client_order_id: reason}
    assert (decision.intents, reasons(decision)) == ((), {BUY: reason})
    decision = decided(quiet(), look(bid, ask, at=toxic(sell=reason)))
    assert (cancelled(decision), reasons(decision)) == ({ask.client_order_id: reason}, {SELL: reason})


def test_what_risk_forbids_is_told_rather_than_a_sign() -> None:
    decision = decided(quiet(), look(at=toxic(buy="toxic_trades"), blocked={BUY: "daily_loss"}))
    assert reasons(decision) == {BUY: "daily_loss"}


def test_a_toxic_side_may_be_widened_instead() -> None:
    """20 bps from the mid become 50, the cap of the default spread; the other side keeps its place."""
    made = quiet(toxicity_action="widen", toxicity_widen_factor=2)
    bid, ask = order(BUY, BID), order(SELL, ASK, 166)
    decision = decided(made, look(bid, ask, at=toxic(buy="toxic_trades")))
    assert placed(decision) == {BUY: (6_000_000 - 24_000, 167)}
    assert (cancelled(decision), reasons(decision)) == ({bid.client_order_id: "refresh"}, {})
    far = quiet(toxicity_action="widen", toxicity_widen_factor=9)
    assert placed(decided(far, look(at=toxic(sell="toxic_trades"))))[SELL][0] == 6_000_000 + 30_000


def test_nobody_widens_or_pulls_a_side_that_is_not_toxic() -> None:
    both = {BUY: (BID, SIZE), SELL: (ASK, 166)}
    assert placed(decided(quiet(), look())) == placed(decided(quiet(toxicity_action="widen"), look())) == both


# --- scarce requests ---------------------------------------------------------------------------------------------------------


def tolerance(left: int, per_min: int = 100, volatility: float = SIGMA, **changed: Any) -> float:
    return scarce_tolerance(quiet(**changed).numbers, left, per_min, volatility)


def test_an_order_may_be_off_by_what_the_mid_does_until_requests_for_a_refresh_come_back() -> None:
    """Nothing at half of the budget, σ√2.4 s at a quarter, twice as much with none left."""
    assert [tolerance(left) for left in (100, 50)] == [0.0, 0.0]
    assert tolerance(25) == pytest.approx(BEARABLE_FRAC)
    assert tolerance(0) == tolerance(-7) == pytest.approx(2 * BEARABLE_FRAC)
    assert tolerance(25, levels=4) == pytest.approx(2 * BEARABLE_FRAC)
    assert tolerance(100, 400) == pytest.approx(BEARABLE_FRAC / 2)


def test_no_reserve_no_sigma_or_no_budget_means_no_tolerance() -> None:
    assert tolerance(0, request_reserve_frac=0) == 0.0
    assert tolerance(0, volatility=-1.0) == 0.0
    assert tolerance(-5, per_min=0) == tolerance(0, per_min=0) == 0.0


@given(st.integers(1, 10_000), st.integers(-100, 10_000), st.integers(-100, 10_000), st.floats(0.01, 1))
def test_fewer_requests_never_tolerate_less(per_min: int, left: int, fewer: int, reserve: float) -> None:
    fewer, left = sorted((fewer, left))
    assert tolerance(fewer, per_min, request_reserve_frac=reserve) >= tolerance(left, per_min, request_reserve_frac=reserve)


@pytest.mark.parametrize("distance", [-0.9, 0.9, -1.1, 1.1])
def test_with_few_requests_an_order_is_moved_for_a_larger_gap_only(distance: float) -> None:
    """A quarter of the budget: the wanted spread is 40 bps × (1 + 2σ), and σ√2.4 s about 1.5 bps."""
    at = market(volatility=SIGMA)
    (wanted, lots), (ask_ticks, ask_lots) = placed(decided(quiet(), look(at=at))).values()
    assert wanted is not None
    bid, ask = order(BUY, wanted + round(distance * BEARABLE_FRAC * wanted), lots), order(SELL, ask_ticks, ask_lots)
    scarce = decided(quiet(), look(bid, ask, at=at, requests_left=25, requests_per_min=100))
    assert (scarce.cancels == ()) == (abs(distance) < 1)
    ample = decided(quiet(), look(bid, ask, at=at, requests_left=50, requests_per_min=100))
    assert cancelled(ample) == {bid.client_order_id: "refresh"}


def test_right_at_the_touch_only_an_order_behind_the_market_is_left_alone() -> None:
    """The market fell by a tick: a bid in front of it moves; it rose by one: the bid stays where it was."""
    made = quiet(touch="join", min_profit_threshold=None)
    few = {"requests_left": 25, "requests_per_min": 100, "base_atoms": 0}
    behind, before = order(BUY, 5_999_998, 166), order(BUY, 6_000_000, 166)
    assert decided(made, look(behind, at=market(volatility=SIGMA), **few)).cancels == ()
    assert cancelled(decided(made, look(before, at=market(bid=5_999_999, volatility=SIGMA), **few)))
    outer = order(BUY, 6_000_000 - 3_000 + 1, 166)
    outer.level = 1
    two = quiet(touch="join", min_profit_threshold=None, levels=2)
    assert not cancelled(decided(two, look(outer, at=market(bid=5_999_999, volatility=SIGMA), **few)))


# --- places in queues --------------------------------------------------------------------------------------------------------


def after(made: QuoteEngine, rest: Order, *shown_lots: int) -> tuple[MakerState, Decision]:
    """The state and decision after looks that saw these sizes at the price of an order a tick behind the touch."""
    state, decision = MakerState(), Decision()
    for lots in shown_lots:
        state, decision = made.step(state, look(rest, at=market(bid=5_999_999), shown_lots=(lots,), base_atoms=0))
    return state, decision


def test_a_place_is_worth_nothing_at_the_end_of_its_queue_and_all_in_front() -> None:
    """Ten bps in front: with 50 of 99 lots left an order moves for 4.95 bps and more; 6,000,000 × 5 bps = 3,000 ticks."""
    made = quiet(touch="join", min_profit_threshold=None, queue_value_bps=10)
    near, far = (order(BUY, 5_999_999 - ticks, 166) for ticks in (2_960, 2_980))
    assert cancelled(after(made, near, 99)[1]) == {near.client_order_id: "refresh"}
    assert after(made, near, 99, 50)[1].cancels == ()
    assert cancelled(after(made, far, 99, 51)[1])
    assert after(made, far, 99, 0)[1].cancels == ()


def test_no_more_is_ahead_than_the_fewest_lots_that_were_shown() -> None:
    rest = order(BUY, 5_990_000)
    made = quiet(queue_value_bps=1)
    assert [dict(after(made, rest, *shown)[0].queues)[rest.client_order_id] for shown in ((7,), (7, 3), (7, 3, 20))] == [
        (8, 7), (8, 3), (8, 3),
    ]  # fmt: skip
    assert seen_in_queue(UNSEEN, 0) == (1, 0)


def test_only_an_order_that_rests_has_a_place() -> None:
    made = quiet(queue_value_bps=1)
    on_its_way = order(BUY, 5_990_000, state=OrderState.PENDING_SUBMIT)
    state, _ = made.step(MakerState(), look(on_its_way, order(BUY, None), shown_lots=(5, 0)))
    assert state.queues == {}


def test_a_queue_is_forgotten_with_its_order() -> None:
    made, rest = quiet(queue_value_bps=1), order(BUY, 5_990_000)
    state, _ = made.step(MakerState(), look(rest, shown_lots=(5,)))
    state, _ = made.step(state, look(order(SELL, 6_010_000), shown_lots=(9,)))
    assert list(state.queues.values()) == [(10, 9)]


# --- orders that hang --------------------------------------------------------------------------------------------------------


def filled(made: QuoteEngine, side: Side, at_ns: int = NOW) -> MakerState:
    return made.step(MakerState(), SideFilled(at_ns, side))[0]


@pytest.mark.parametrize("delay_s", [0, 5])
def test_after_a_side_fills_the_orders_of_the_other_keep_their_place(delay_s: float) -> None:
    """50 bps above the mid, where 20 are wanted: it hangs until it is too far away."""
    made = quiet(hanging_orders=True, hanging_cancel_bps=50, filled_order_delay_s=delay_s)
    ask = order(SELL, 6_030_000, 60)
    assert ask.client_order_id in cancelled(decided(made, look(ask)))
    hanging = decided(made, look(ask, now_ns=NOW + 10 * S), filled(made, BUY))
    assert ask.client_order_id not in cancelled(hanging) and SELL not in placed(hanging)
    too_far = decided(made, look(ask, now_ns=NOW + 10 * S, at=market(5_999_997, 6_000_001)), filled(made, BUY))
    assert ask.client_order_id in cancelled(too_far)


def test_its_own_fills_a_later_order_and_an_old_one_do_not_hang() -> None:
    made = quiet(hanging_orders=True, hanging_cancel_bps=50, max_order_age_s=60)
    ask = order(SELL, 6_030_000, 60)
    for state, now_ns in (
        (filled(made, SELL), NOW),
        (filled(made, BUY, ask.created_ns - 1), NOW),
        (filled(made, BUY), ask.created_ns + 60 * S + 1),
    ):
        assert ask.client_order_id in cancelled(decided(made, look(ask, now_ns=now_ns), state))
    assert not cancelled(decided(made, look(ask, now_ns=ask.created_ns + 60 * S), filled(made, BUY)))


def test_a_hanging_order_gives_way_to_every_reason_to_withhold_its_side_and_to_the_size_that_risk_allows() -> None:
    made = quiet(hanging_orders=True)
    ask = order(SELL, 6_010_500, 200)
    state = filled(made, BUY)
    assert not cancelled(decided(made, look(ask), state))
    assert cancelled(decided(made, look(ask, blocked={SELL: "daily_loss"}), state)) == {ask.client_order_id: "daily_loss"}
    assert ask.client_order_id in cancelled(decided(made, look(ask, mandate=obeys(size=0.5)), state))


def test_without_the_setting_nothing_hangs() -> None:
    ask = order(SELL, 6_010_500, 60)
    assert ask.client_order_id in cancelled(decided(quiet(), look(ask), filled(quiet(), BUY)))
