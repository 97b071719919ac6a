"""What a bar does to an order, rule by rule, over bare numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.fees import FeeRate
from autohedge.domain.market_data import BUY, SELL
from autohedge.simulation.account import fee_step
from autohedge.simulation.bar_matching import (
    ACCEPTED,
    MAX_NOTIONAL,
    MAX_QTY,
    MIN_NOTIONAL,
    MIN_QTY,
    MOST_STEPS,
    NO_SHARE_BPS,
    REASONS,
    MarketRules,
    adverse_side,
    buy_cost_atoms,
    fails,
    fee_between,
    goes_through,
    is_due,
    lots_for_cash,
    refusal_by_rules,
    share_lots,
    taking_price_ticks,
)
from autohedge.simulation.slippage import SlippageModel

RULES = MarketRules(
    atoms_per_tick_lot=1_000,
    min_lots=5,
    max_lots=500,
    min_notional_atoms=1_000_000,
    max_notional_atoms=40_000_000,
    fee_numerator=1,
    fee_denominator=1_000,
    participation_bps=1_000,
    slippage_model=SlippageModel.LINEAR.code,
    slippage_factor_frac=0.001,
    slippage_floor_frac=0.0001,
    slippage_key=11,
    failure_key=12,
    failure_frac=0.001,
    latency_ns=50_000_000,
    interval_ns=60_000_000_000,
)
ATOMS = st.integers(0, 10**15)


@given(before=ATOMS, traded=ATOMS, bps=st.decimals("0", "900", places=3))
def test_fees_are_those_of_the_account(before: int, traded: int, bps: Decimal) -> None:
    """One arithmetic: the venue's account and the bars round the same way, and steps add up to the fee of the whole."""
    rate = FeeRate.from_bps(bps)
    rules = RULES._replace(fee_numerator=rate.numerator, fee_denominator=rate.denominator)
    assert fee_between(rules, before, before + traded) == fee_step(rate, before, before + traded)
    assert fee_between(rules, 0, before) + fee_between(rules, before, before + traded) == rate.of(before + traded)


def test_a_buy_costs_its_value_and_its_fee() -> None:
    """100 ticks × 7 lots × 1,000 atoms, a tenth of a percent rounded up; what was traded before pays no second time."""
    assert buy_cost_atoms(RULES, 7, 100, 0) == 700_000 + 700
    assert buy_cost_atoms(RULES, 1, 1, 1) == 1_000 + 1


@pytest.mark.parametrize(
    ("lots", "price", "expected"),
    [
        (4, 10_000, MIN_QTY),
        (501, 10, MAX_QTY),
        (5, 199, MIN_NOTIONAL),
        (500, 81, MAX_NOTIONAL),
        (5, 200, ACCEPTED),
        (500, 80, 0),
    ],
)
def test_the_rules_of_the_instrument_refuse_by_name(lots: int, price: int, expected: int) -> None:
    assert refusal_by_rules(RULES, lots, price) == expected
    assert bool(REASONS[expected]) is bool(expected)


@given(volume=st.integers(0, MOST_STEPS), share=st.integers(1, 10_000))
def test_the_share_of_a_volume_is_exact_and_rounded_down(volume: int, share: int) -> None:
    assert share_lots(RULES._replace(participation_bps=share), volume) == volume * share // 10_000


def test_any_size_fills_where_no_share_is_asked_but_not_in_a_halt() -> None:
    anything = RULES._replace(participation_bps=NO_SHARE_BPS)
    assert share_lots(anything, 1) == MOST_STEPS
    assert share_lots(anything, 0) == 0


def test_an_order_waits_for_the_first_bar_that_ends_after_its_arrival() -> None:
    """Decided at the close 60 s: with 50 ms it trades at the next open; with a whole bar of latency, one later."""
    minute = 60_000_000_000
    assert is_due(minute, minute, minute + 50_000_000)
    assert is_due(minute, minute, 2 * minute - 1)
    assert not is_due(minute, minute, 2 * minute)


def test_a_touch_fills_nobody() -> None:
    assert not goes_through(BUY, 100, 100, 120)
    assert goes_through(BUY, 100, 99, 120)
    assert not goes_through(SELL, 120, 100, 120)
    assert goes_through(SELL, 120, 100, 121)


@given(bid=st.integers(1, 1_000), width=st.integers(1, 1_000), close=st.integers(1, 3_000))
def test_of_two_sides_the_one_that_is_worth_less_at_the_close_fills(bid: int, width: int, close: int) -> None:
    ask = bid + width
    worth = {BUY: close - bid, SELL: ask - close}
    assert worth[adverse_side(bid, ask, close)] == min(worth.values())  # type: ignore[index]


def test_requests_fail_as_often_as_asked() -> None:
    rules = RULES._replace(failure_frac=0.25)
    failures = sum(fails(rules, number) for number in range(4_000))
    assert 0.22 < failures / 4_000 < 0.28
    assert not any(fails(RULES._replace(failure_frac=0.0), number) for number in range(4_000))


def test_who_takes_pays_the_open_and_slippage() -> None:
    """10 of 100 lots at 1 %: 0.1 % of the price, between 0.8 and 1.2 of it, rounded up."""
    rules = RULES._replace(slippage_factor_frac=0.01)
    paid = [taking_price_ticks(rules, 1, 100_000, 10, 100, number) - 100_000 for number in range(200)]
    assert 80 <= min(paid) < 85 and 115 < max(paid) <= 120
    got = [100_000 - taking_price_ticks(rules, -1, 100_000, 10, 100, number) for number in range(200)]
    assert got == paid
    assert taking_price_ticks(rules._replace(slippage_model=0), 1, 100_000, 10, 100, 0) == 100_000


@given(cash=st.integers(0, 10**17), share=st.integers(1, 10_000), price=st.integers(1, 10**7))
def test_the_cash_pays_what_it_is_said_to_buy(cash: int, share: int, price: int) -> None:
    lots = lots_for_cash(cash, share, price, 1_000)
    assert lots * price * 1_000 <= cash * share // 10_000
