"""The pre-trade checks: each one fires at its limit and not before, says what to do, and can only refuse."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.sizing import SizeRules
from autohedge.risk.limits import RiskLimits
from autohedge.risk.pretrade import OrderRequest, PreTradeRisk, Priority, RiskContext, Verdict

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
S, USDT, LOT, PRICE = 1_000_000_000, 10**8, BINANCE.base_atoms_per_lot, 6_000_000
NOW = 1_000 * S
CHECKS = (
    "market_data", "instrument_rules", "balance", "exposure_cap", "portfolio_exposure", "daily_loss", "portfolio_daily_loss",
    "duplicate", "notional", "inventory_imbalance", "price_collar", "order_rate",
)  # fmt: skip


def risk(instrument: Instrument = BINANCE, *, config: dict[str, Any] | None = None, **limits: Any) -> PreTradeRisk:
    rules = SizeRules.of(MarketMakingConfig(**{"taker_fee_bps": 20, **(config or {})}), instrument)
    return PreTradeRisk(RiskLimits(**limits), rules)


def request(side: Side = BUY, lots: int = 100, price: int | None = PRICE, order_id: str = "new") -> OrderRequest:
    return OrderRequest(order_id, side, price, lots)


def context(**changed: Any) -> RiskContext:
    usual = RiskContext(
        now_ns=NOW,
        best_bid_ticks=PRICE - 1,
        best_ask_ticks=PRICE + 1,
        market_problem="",
        base_atoms=1_000 * LOT,
        quote_atoms=9_400 * USDT,
        inventory_ratio=0.65,
        working=(),
        daily_loss_hit="",
        requests_last_min=0,
        used_order_ids=frozenset(),
    )
    return usual._replace(**changed)


def order(
    side: Side = BUY,
    lots: int = 100,
    price: int | None = PRICE,
    *,
    state: OrderState = OrderState.SUBMITTED,
    created_ns: int = NOW - S // 2,
    filled: int = 0,
) -> Order:
    return Order(ClientOrderId("old"), side, price, lots, True, "quote", created_ns, "", "", state, filled)


def failures(verdict: Verdict) -> list[str]:
    return [result.check for result in verdict.results if not result.passed]


def fails(check: str, made: PreTradeRisk, asked: OrderRequest, given_: RiskContext) -> bool:
    """True when this check refuses; any other refusal fails the test."""
    verdict = made.check(asked, given_)
    assert failures(verdict) in ([], [check])
    assert verdict.allowed == (not failures(verdict))
    return not verdict.allowed


def test_an_ordinary_order_passes_every_check() -> None:
    verdict = risk().check(request(), context())
    assert verdict.allowed
    assert verdict.first_failure is None
    assert tuple(result.check for result in verdict.results) == CHECKS
    for result in verdict.results:
        assert (result.reason, result.suggestion) == ("", "")


# --- each check at its limit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["gap", "one_sided", "crossed", "stale"])
def test_a_market_with_a_problem_is_not_traded(problem: str) -> None:
    verdict = risk(max_data_age_ms=1_234).check(request(), context(market_problem=problem))
    failure = verdict.first_failure
    assert failure is not None
    assert (failure.check, failure.current) == ("market_data", problem)
    assert problem in failure.reason and "1234" in failure.limit


@pytest.mark.parametrize(
    ("changed", "asked", "rule"),
    [
        ({"min_qty": Decimal("0.0005")}, request(lots=49), "min_qty"),
        ({"max_qty": Decimal("0.0005")}, request(lots=51), "max_qty"),
        ({}, request(lots=16), "min_notional"),
        ({}, request(lots=16, price=None), "min_notional"),
        ({"max_notional": Decimal(60)}, request(lots=101), "max_notional"),
        ({}, request(price=0), "tick_size"),
        ({}, request(price=-5), "tick_size"),
    ],
)
def test_the_venues_rules_are_kept_and_the_broken_one_is_named(changed: dict[str, Any], asked: OrderRequest, rule: str) -> None:
    failure = risk(replace(BINANCE, **changed)).check(asked, context()).first_failure
    assert failure is not None
    assert failure.check == "instrument_rules"
    assert f"breaks the venue's rule {rule}" in failure.reason


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({"min_qty": Decimal("0.0005")}, request(lots=50)),
        ({"max_qty": Decimal("0.0005")}, request(lots=50)),
        ({}, request(lots=17)),
        ({"max_notional": Decimal(60)}, request(lots=100)),
        ({"max_notional": None}, request(lots=100)),
    ],
)
def test_what_the_venue_just_takes_passes(changed: dict[str, Any], asked: OrderRequest) -> None:
    assert risk(replace(BINANCE, **changed)).check(asked, context()).allowed


def test_a_buy_needs_its_notional_and_fee_in_free_quote() -> None:
    """100 lots at 60,000 are 60 USDT and 0.06 of maker fee."""
    need = 60_06 * USDT // 100
    assert not fails("balance", risk(), request(), context(quote_atoms=need))
    assert fails("balance", risk(), request(), context(quote_atoms=need - 1))
    assert not fails("balance", risk(config={"maker_fee_bps": 0}), request(), context(quote_atoms=60 * USDT))
    assert fails("balance", risk(config={"maker_fee_bps": -5}), request(), context(quote_atoms=60 * USDT - 1))


def test_a_market_buy_needs_the_takers_fee_at_the_best_ask() -> None:
    """100 lots at 60,000.01 are 60.00001; 20 bps of each lot's 0.6000001 are 0.00120001 rounded up."""
    need = 100 * (60_000_010 + 120_001)
    assert not fails("balance", risk(), request(price=None), context(quote_atoms=need))
    assert fails("balance", risk(), request(price=None), context(quote_atoms=need - 1))


def test_what_working_orders_may_spend_is_not_free() -> None:
    need = 60_06 * USDT // 100
    other = order(price=PRICE - 50_000)  # its own 100 lots at 59,500: 59.5 and 0.0595
    both = need + 5_955_950_000
    assert not fails("balance", risk(), request(), context(working=(other,), quote_atoms=both))
    assert fails("balance", risk(), request(), context(working=(other,), quote_atoms=both - 1))
    gone = order(price=PRICE - 50_000, state=OrderState.CANCELLED)
    assert not fails("balance", risk(), request(), context(working=(gone,), quote_atoms=need))


def test_a_sell_needs_free_base() -> None:
    asked = request(SELL)
    assert not fails("balance", risk(), asked, context(base_atoms=100 * LOT))
    assert fails("balance", risk(), asked, context(base_atoms=100 * LOT - 1))
    other = order(SELL, 30, PRICE + 9)
    assert not fails("balance", risk(), asked, context(base_atoms=130 * LOT, working=(other,)))
    assert fails("balance", risk(), asked, context(base_atoms=130 * LOT - 1, working=(other,)))
    assert not fails("balance", risk(), asked, context(quote_atoms=0))


def test_the_exposure_cap_holds_base_working_buys_and_the_new_order_together() -> None:
    """2,000 USDT at 60,000 are 3,333 lots and a third."""
    made = risk()
    assert not fails("exposure_cap", made, request(lots=2_333), context())
    assert fails("exposure_cap", made, request(lots=2_334), context())
    other = order(lots=2_000, price=PRICE - 900)
    assert not fails("exposure_cap", made, request(lots=333), context(working=(other,)))
    assert fails("exposure_cap", made, request(lots=334), context(working=(other,)))
    assert fails("exposure_cap", made, request(lots=2_334, price=None), context())


def test_no_number_of_small_orders_gets_past_the_cap() -> None:
    """The cap is not compared with one order's size: of a hundred orders of 1 % the twentieth of 100 USDT is the last."""
    made = risk()
    working: list[Order] = []
    for each in range(100):
        asked = request(lots=166, order_id=f"o{each}", price=PRICE - each)
        if made.check(asked, context(working=tuple(working), base_atoms=0)).allowed:
            working.append(order(lots=166, price=PRICE - each))
    assert len(working) == 20


def test_a_sell_is_never_stopped_by_the_cap() -> None:
    assert not fails("exposure_cap", risk(), request(SELL), context(base_atoms=99_999 * LOT))


def test_after_the_daily_loss_only_orders_that_reduce_exposure_pass() -> None:
    hit = context(daily_loss_hit="lost 1000 USDT since 00:00 UTC")
    assert fails("daily_loss", risk(), request(BUY), hit)
    assert not fails("daily_loss", risk(), request(SELL), hit)
    below_neutral = risk(config={"neutral_base": "0.02"})
    assert fails("daily_loss", below_neutral, request(SELL), hit)
    assert not fails("daily_loss", below_neutral, request(BUY), hit)
    flat = hit._replace(base_atoms=0)
    assert fails("daily_loss", risk(), request(BUY), flat)


def test_the_same_order_id_is_never_used_twice() -> None:
    assert fails("duplicate", risk(), request(order_id="seen"), context(used_order_ids={"seen"}))
    assert not fails("duplicate", risk(), request(order_id="new"), context(used_order_ids={"seen"}))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (order(created_ns=NOW - S + 1), True),
        (order(created_ns=NOW - S), False),  # the window of a second has passed
        (order(lots=101), False),
        (order(lots=150, filled=50), True),  # as much left as is asked for
        (order(price=PRICE + 1), False),
        (order(price=None), False),
        (order(SELL), False),
        (order(state=OrderState.PENDING_SUBMIT), True),
        (order(state=OrderState.CANCELLING), False),  # given up on purpose: asking for it again is not an accident
        (order(state=OrderState.FILLED), False),
    ],
)
def test_the_same_side_price_and_size_within_the_window_is_a_duplicate(other: Order, same: bool) -> None:
    assert fails("duplicate", risk(), request(), context(working=(other,))) == same


def test_the_notional_limit() -> None:
    made = risk(max_order_notional_quote=60)
    assert not fails("notional", made, request(lots=100), context())
    assert fails("notional", made, request(lots=101), context())
    assert fails("notional", made, request(price=PRICE + 1), context())
    assert fails("notional", made, request(SELL, lots=101, price=None), context())


def test_the_inventory_imbalance() -> None:
    assert fails("inventory_imbalance", risk(), request(), context(inventory_ratio=0.9))
    assert not fails("inventory_imbalance", risk(), request(), context(inventory_ratio=0.8999))
    assert not fails("inventory_imbalance", risk(), request(SELL), context(inventory_ratio=1.0))
    below_neutral = risk(config={"neutral_base": "0.02"})
    assert fails("inventory_imbalance", below_neutral, request(SELL), context(inventory_ratio=0.1))
    assert not fails("inventory_imbalance", below_neutral, request(BUY), context(inventory_ratio=0.1))
    assert fails("inventory_imbalance", risk(max_inventory_imbalance=0.1), request(), context(inventory_ratio=0.61))


def test_the_price_collar() -> None:
    """5 % of 60,000 is 3,000."""
    assert not fails("price_collar", risk(), request(price=5_700_000), context())
    assert fails("price_collar", risk(), request(price=5_699_999), context())
    assert not fails("price_collar", risk(), request(SELL, price=6_300_000), context())
    assert fails("price_collar", risk(), request(SELL, price=6_300_001), context())
    assert not fails("price_collar", risk(), request(price=None), context())


def test_the_order_rate() -> None:
    assert not fails("order_rate", risk(), request(), context(requests_last_min=99))
    assert fails("order_rate", risk(), request(), context(requests_last_min=100))


# --- how the checks work together ---------------------------------------------------------------------------------------------

EVERYTHING_WRONG = context(
    market_problem="stale", quote_atoms=0, base_atoms=9_999 * LOT, daily_loss_hit="lost", inventory_ratio=1.0,
    requests_last_min=500, used_order_ids={"new"}, portfolio_bid_lots=0, portfolio_loss_hit="lost together",
)  # fmt: skip


def test_the_first_critical_failure_ends_the_list() -> None:
    """Repaired one after the other, each critical check is the one that stops."""
    made = risk(max_order_notional_quote=1)
    asked = request(lots=1, price=5_000_000)
    given_ = EVERYTHING_WRONG
    repairs: dict[str, dict[str, Any]] = {
        "market_data": {"market_problem": ""},
        "instrument_rules": {},
        "balance": {"quote_atoms": 10**15},
        "exposure_cap": {"base_atoms": 0},
        "portfolio_exposure": {"portfolio_bid_lots": 10**15},
        "daily_loss": {"daily_loss_hit": ""},
        "portfolio_daily_loss": {"portfolio_loss_hit": ""},
        "duplicate": {"used_order_ids": frozenset()},
    }
    for position, (check, repair) in enumerate(repairs.items()):
        verdict = made.check(asked, given_)
        assert failures(verdict) == [check]
        assert [result.check for result in verdict.results] == list(CHECKS[: position + 1])
        assert verdict.results[-1].priority is Priority.CRITICAL
        given_ = given_._replace(**repair)
        if check == "instrument_rules":
            asked = request(lots=100, price=5_000_000)
    assert failures(made.check(asked, given_)) == ["notional", "inventory_imbalance", "price_collar", "order_rate"]


def test_failures_that_are_not_critical_are_all_told_and_the_gravest_is_first() -> None:
    verdict = risk(max_order_notional_quote=1).check(
        request(price=5_000_000), context(inventory_ratio=1.0, requests_last_min=500)
    )
    assert failures(verdict) == ["notional", "inventory_imbalance", "price_collar", "order_rate"]
    assert not verdict.allowed
    priorities = [result.priority for result in verdict.results if not result.passed]
    assert priorities == [Priority.HIGH, Priority.HIGH, Priority.HIGH, Priority.MEDIUM]
    assert verdict.first_failure == verdict.results[CHECKS.index("notional")]


REFUSALS = {
    "market_data": (risk(), request(), context(market_problem="gap")),
    "instrument_rules": (risk(), request(lots=1), context()),
    "balance": (risk(), request(), context(quote_atoms=0)),
    "exposure_cap": (risk(), request(lots=5_000), context()),
    "portfolio_exposure": (risk(), request(), context(portfolio_bid_lots=99)),
    "daily_loss": (risk(), request(), context(daily_loss_hit="lost 1000 USDT since 00:00 UTC")),
    "portfolio_daily_loss": (
        risk(max_portfolio_daily_loss_quote=500, max_portfolio_daily_loss_frac=0.1),
        request(),
        context(portfolio_loss_hit="lost 500 USDT since 00:00 UTC"),
    ),
    "duplicate": (risk(), request(), context(working=(order(),))),
    "notional": (risk(max_order_notional_quote=1), request(), context()),
    "inventory_imbalance": (risk(), request(), context(inventory_ratio=1.0)),
    "price_collar": (risk(), request(price=5_000_000), context()),
    "order_rate": (risk(), request(), context(requests_last_min=100)),
}


@pytest.mark.parametrize("check", CHECKS)
def test_every_refusal_says_why_what_to_do_what_was_found_and_what_is_allowed(check: str) -> None:
    made, asked, given_ = REFUSALS[check]
    failure = made.check(asked, given_).first_failure
    assert failure is not None
    assert failure.check == check
    for text in (failure.reason, failure.suggestion, failure.current, failure.limit):
        assert text.strip()
        assert "\n" not in text


def test_no_check_is_without_a_refusal() -> None:
    assert tuple(REFUSALS) == CHECKS


# --- sides that are pulled ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "ratio", "loss", "blocked"),
    [
        (1_000, 0.65, "", {}),
        (3_000, 0.8999, "", {}),
        (3_000, 0.9, "", {BUY: "inventory_imbalance"}),
        (3_000, 1.0, "lost", {BUY: "daily_loss"}),
        (1_000, 0.65, "lost", {BUY: "daily_loss"}),
        (0, 0.5, "lost", {BUY: "daily_loss"}),
    ],
)
def test_the_side_that_raises_exposure_is_pulled(base: int, ratio: float, loss: str, blocked: dict[Side, str]) -> None:
    assert risk().blocked_sides(base * LOT, ratio, loss) == blocked


def test_a_loss_of_all_symbols_pulls_the_same_side_and_the_symbols_own_loss_is_told_first() -> None:
    """It pulls sides that nothing else does, and is graver than an imbalance."""
    made = risk()
    assert made.blocked_sides(1_000 * LOT, 0.65, "", "lost together") == {BUY: "portfolio_daily_loss"}
    assert made.blocked_sides(3_000 * LOT, 1.0, "", "lost together") == {BUY: "portfolio_daily_loss"}
    assert made.blocked_sides(1_000 * LOT, 0.65, "lost", "lost together") == {BUY: "daily_loss"}


def test_what_other_symbols_leave_bounds_all_buys_together_to_the_lot() -> None:
    """100 lots are working, or 60 of them when 40 are filled, and 100 are asked for. Sells never need room."""
    made, now = risk(), NOW + S
    for working, most in ((order(), 200), (order(filled=40), 160)):
        given_ = context(now_ns=now, working=(working,), portfolio_bid_lots=most)
        short = given_._replace(portfolio_bid_lots=most - 1)
        for price in (PRICE, None):
            assert not fails("portfolio_exposure", made, request(price=price), given_)
            assert fails("portfolio_exposure", made, request(price=price), short)
        assert not fails("portfolio_exposure", made, request(SELL, price=PRICE + 1), given_._replace(portfolio_bid_lots=0))


def test_below_neutral_it_is_the_selling_side() -> None:
    made = risk(config={"neutral_base": "0.02"})
    assert made.blocked_sides(200 * LOT, 0.05, "") == {SELL: "inventory_imbalance"}
    assert made.blocked_sides(1_999 * LOT, 0.49, "lost") == {SELL: "daily_loss"}
    assert made.blocked_sides(2_000 * LOT, 0.5, "lost") == {BUY: "daily_loss"}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([BUY, SELL]),
    st.integers(20, 9_000),
    st.floats(0, 1),
    st.sampled_from(["", "lost"]),
    st.sampled_from(["0", "0.02"]),
)
def test_a_pulled_side_is_a_refused_side_and_the_other_is_free(
    side: Side, base: int, ratio: float, loss: str, neutral: str
) -> None:
    """What quotes are pulled for and what orders are refused for are one rule, so that no pulled side is quoted again."""
    made = risk(config={"neutral_base": neutral, "max_inventory_exposure": 1}, max_order_notional_quote=10**12)
    given_ = context(base_atoms=base * LOT, inventory_ratio=ratio, daily_loss_hit=loss, quote_atoms=10**15)
    refused = failures(made.check(request(side, 20), given_))
    blocked = made.blocked_sides(base * LOT, ratio, loss)
    reason = blocked.get(side, "")
    assert (reason in refused) if reason else not {"daily_loss", "inventory_imbalance"} & set(refused)
