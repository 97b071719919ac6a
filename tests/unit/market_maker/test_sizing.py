"""How much is quoted: by hand, and never more than capital, cap and balances allow."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.fees import FeeRate
from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.sizing import (
    NO_ORDERS,
    SizeRules,
    affordable,
    buy_cost,
    exposure,
    order_size_lots,
    placeable,
    scaled_lots,
    totals_of,
)

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
PRICE = 6_000_000
"""60,000.00 USDT: a lot is worth 0.6 USDT, an order of 100 USDT is 166 lots, the cap of 2,000 is 3,333 lots."""
LOT = BINANCE.base_atoms_per_lot
USDT = 10**8


MANY = 10**30


def rules(instrument: Instrument = BINANCE, **changed: Any) -> SizeRules:
    return SizeRules.of(MarketMakingConfig(**changed), instrument)


def cost_of(price: int, lots: int, fee: FeeRate) -> int:
    return buy_cost(rules().numbers, price, lots, fee.numerator, fee.denominator)


def order(side: Side, lots: int, price: int | None = PRICE, state: OrderState = OrderState.SUBMITTED, filled: int = 0) -> Order:
    return Order(ClientOrderId(f"{side}{lots}{price}"), side, price, lots, True, "quote", 0, "", "", state, filled)


def size(
    side: Side,
    *,
    base: int = 0,
    quote: int = 10_000 * USDT,
    working: tuple[Order, ...] = (),
    price: int = PRICE,
    given_rules: SizeRules | None = None,
) -> int:
    made = given_rules or rules()
    return order_size_lots(made, side, price, base, quote, totals_of(working, made.numbers))


def test_rules_are_the_configuration_in_atoms() -> None:
    made = rules(
        total_capital=5_000, order_size_percentage="0.02", max_inventory_exposure="0.3", rebalance_threshold="0.15",
        neutral_base="0.05", maker_fee_bps="7.5",
    )  # fmt: skip
    assert (made.order_value_atoms, made.cap_atoms, made.rebalance_atoms) == (100 * USDT, 1_500 * USDT, 750 * USDT)
    assert made.neutral_base_atoms == 5_000_000
    assert made.maker_fee == FeeRate.from_bps(Decimal("7.5"))


# --- buys by hand -------------------------------------------------------------------------------------------------------------


def test_a_buy_is_one_percent_of_capital_in_whole_lots() -> None:
    """100 ÷ 0.6 = 166.67."""
    assert size(BUY) == 166


def test_a_buy_fits_under_the_cap_with_base_held_and_working_buys() -> None:
    """Cap 2,000: 3,200 lots held are worth 1,920, leaving 80, so 133 lots; 60 more work, leaving 44, so 73."""
    assert size(BUY, base=3_200 * LOT) == 133
    assert size(BUY, base=3_200 * LOT, working=(order(BUY, 60),)) == 73
    assert size(BUY, base=3_200 * LOT, working=(order(BUY, 100, filled=40),)) == 73
    assert size(BUY, base=3_200 * LOT, working=(order(SELL, 3_000),)) == 133  # a sell that may not fill frees nothing


def test_every_state_that_may_still_fill_counts_against_the_cap() -> None:
    for state in OrderState:
        expected = 73 if state.value in ("pending_submit", "submitted", "partially_filled", "cancelling") else 133
        assert size(BUY, base=3_200 * LOT, working=(order(BUY, 60, state=state),)) == expected


def test_dust_counts_against_the_cap_as_a_whole_lot() -> None:
    assert size(BUY, base=3_200 * LOT + 1) == 132


def test_working_buys_count_at_the_dearer_of_their_price_and_the_new_one() -> None:
    """3,000 lots held. 300 working at 66,000 are 198 and not 180: 2,000 − 1,800 − 198 = 2, which is below the minimum."""
    assert size(BUY, base=3_000 * LOT, working=(order(BUY, 300, price=6_600_000),)) == 0
    assert size(BUY, base=3_000 * LOT, working=(order(BUY, 300),)) == 33
    assert size(BUY, base=3_000 * LOT, working=(order(BUY, 300, price=5_400_000),)) == 33


def test_free_quote_also_pays_the_fee() -> None:
    """A lot costs 0.6 and 0.0006: 50 USDT buy 83 lots (49.8498), where 50 ÷ 0.6 would be 83.3; 49.8497 buy 82."""
    assert size(BUY, quote=50 * USDT) == 83
    assert size(BUY, quote=4_984_980_000) == 83
    assert size(BUY, quote=4_984_979_999) == 82
    assert size(BUY, quote=4_984_979_999, given_rules=rules(maker_fee_bps=0)) == 83
    assert size(BUY, quote=4_980_000_000, given_rules=rules(maker_fee_bps=-5)) == 83  # a rebate comes too late to pay with


def test_quote_reserved_by_working_buys_is_not_free() -> None:
    working = (order(BUY, 100),)
    assert totals_of(working, rules().numbers).buy_reserve_atoms == 6_006_000_000
    assert size(BUY, quote=60_06000000 + 50 * USDT, working=working) == 83


def test_a_buy_below_the_minimum_is_none() -> None:
    """17 lots are 10.20 USDT, 16 are 9.60."""
    assert size(BUY, quote=1_021_020_000) == 17
    assert size(BUY, quote=1_021_019_999) == 0
    assert size(BUY, base=3_333 * LOT) == 0
    assert size(BUY, base=9_999 * LOT) == 0  # far above the cap: no size, and no negative one
    assert size(BUY, quote=0) == 0


# --- sells by hand ------------------------------------------------------------------------------------------------------------


def test_a_sell_is_one_percent_of_capital_or_the_free_base() -> None:
    assert size(SELL, base=1_000 * LOT) == 166
    assert size(SELL, base=100 * LOT) == 100
    assert size(SELL, base=100 * LOT + LOT - 1) == 100  # dust cannot be sold
    assert size(SELL, base=100 * LOT, working=(order(SELL, 40),)) == 60
    assert size(SELL, base=100 * LOT, working=(order(SELL, 90, filled=50),)) == 60
    assert size(SELL, base=100 * LOT, working=(order(BUY, 90),)) == 100  # what is not bought yet cannot be sold
    assert size(SELL, base=0) == size(SELL, base=16 * LOT) == 0
    assert size(SELL, base=17 * LOT) == 17


def test_a_sell_needs_no_quote_and_no_room_under_the_cap() -> None:
    assert size(SELL, base=9_000 * LOT, quote=0) == 166


# --- venue limits -------------------------------------------------------------------------------------------------------------


def test_an_order_is_cut_to_what_the_venue_takes() -> None:
    small = replace(BINANCE, max_qty=Decimal("0.0005"))
    assert placeable(rules(small).numbers, PRICE, 80) == 50
    cheap = replace(BINANCE, max_notional=Decimal(30))
    assert placeable(rules(cheap).numbers, PRICE, 80) == 50
    assert placeable(rules(cheap).numbers, PRICE, 49) == 49
    assert placeable(rules(replace(BINANCE, max_notional=None)).numbers, PRICE, 80) == 80


def test_below_the_minimum_quantity_or_notional_nothing_is_placeable() -> None:
    coarse = replace(BINANCE, min_qty=Decimal("0.0002"))
    assert placeable(rules(coarse).numbers, PRICE, 19) == 0
    assert placeable(rules(coarse).numbers, PRICE, 20) == 20
    assert placeable(rules(BINANCE).numbers, PRICE, 16) == 0
    assert placeable(rules(BINANCE).numbers, PRICE, -5) == 0
    assert placeable(rules(replace(BINANCE, min_notional=Decimal(0))).numbers, PRICE, 0) == 0


# --- confidence ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lots", "confidence", "multiplier", "scaled"),
    [
        (166, 1.0, 1.0, 166),
        (166, 0.0, 1.0, 83),
        (166, 0.8, 1.0, 149),  # × 0.9 = 149.4
        (166, 0.8, 0.5, 74),  # × 0.45 = 74.7
        (10, 0.4, 1.0, 7),  # × 0.7 exactly, although 10 × 0.7 is not in binary
        (166, 1.0, 0.0, 0),
        (0, 1.0, 1.0, 0),
        (166, 1.0, 1.5, 166),  # nothing enlarges an order
    ],
)
def test_confidence_and_mandate_only_make_an_order_smaller(
    lots: int, confidence: float, multiplier: float, scaled: int
) -> None:
    assert scaled_lots(lots, confidence, multiplier) == scaled


# --- for any input ------------------------------------------------------------------------------------------------------------

prices = st.integers(1_000_000, 9_000_000)
working_ = st.lists(
    st.builds(order, st.sampled_from([BUY, SELL]), st.integers(1, 900), prices, st.sampled_from(list(OrderState))), max_size=6
).map(tuple)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([BUY, SELL]),
    prices,
    st.integers(0, 5_000 * LOT),
    st.integers(0, 12_000 * USDT),
    working_,
    st.decimals(-10, 500, places=2),
)
def test_no_size_exceeds_value_cap_or_balance_and_one_lot_more_would(
    side: Side, price: int, base: int, quote: int, working: tuple[Order, ...], fee_bps: Decimal
) -> None:
    made = rules(maker_fee_bps=fee_bps)
    totals = totals_of(working, made.numbers)
    lots = order_size_lots(made, side, price, base, quote, totals)

    def allowed(count: int) -> bool:
        if count * price * 10 > made.order_value_atoms:
            return False
        if side is SELL:
            return (count + totals.sell_lots) * LOT <= base
        spent = sum(
            cost_of(each.price_ticks or 0, each.remaining_lots, made.maker_fee)
            for each in working
            if each.side is BUY and each.is_working
        )
        held = -(-base // LOT)
        at_own = sum(
            10 * (each.price_ticks or 0) * each.remaining_lots for each in working if each.side is BUY and each.is_working
        )
        exposure = 10 * price * (held + count) + max(at_own, 10 * price * totals.buy_lots)
        return exposure <= made.cap_atoms and spent + cost_of(price, count, made.maker_fee) <= quote

    assert lots >= 0
    if lots:
        assert allowed(lots)
        assert BINANCE.notional_atoms(price, lots) >= BINANCE.min_notional_atoms
        assert not allowed(lots + 1)
    else:
        smallest = -(-BINANCE.min_notional_atoms // (10 * price))
        assert not allowed(smallest)


def test_a_hundred_buys_never_exceed_the_cap() -> None:
    """The cap is held against base, working buys and the new order together, and not against one order's size."""
    made = rules()
    working: list[Order] = []
    for each in range(100):
        lots = order_size_lots(made, BUY, PRICE - each, 0, 10_000 * USDT, totals_of(working, made.numbers))
        if lots:
            working.append(order(BUY, lots, price=PRICE - each))
        assert sum(BINANCE.notional_atoms(one.price_ticks or 0, one.size_lots) for one in working) <= 2_000 * USDT
    assert len(working) == 20  # 166 lots are 99.60; the 8 that are left are below the minimum of 10
    held = 0
    for _ in range(100):
        held += order_size_lots(made, BUY, PRICE, held * LOT, 10_000 * USDT, NO_ORDERS)
    assert held * 60_000_000 <= 2_000 * USDT < (held + 17) * 60_000_000


@settings(max_examples=200, deadline=None)
@given(prices, st.lists(st.integers(1, 60), min_size=1, max_size=12), st.decimals(-10, 500, places=2))
def test_a_buy_never_costs_more_than_was_reserved_however_it_fills(price: int, parts: list[int], fee_bps: Decimal) -> None:
    """Each fill rounds its own fee up, so twelve fills cost more than one; the reserve holds for any split."""
    fee = FeeRate.from_bps(fee_bps)
    paid = sum(BINANCE.notional_atoms(price, part) + fee.of(BINANCE.notional_atoms(price, part)) for part in parts)
    assert paid <= cost_of(price, sum(parts), fee)


@settings(max_examples=200, deadline=None)
@given(prices, st.integers(0, 5_000 * LOT), st.integers(0, 12_000 * USDT), working_)
def test_what_is_buyable_fits_and_a_lot_more_does_not(price: int, base: int, quote: int, working: tuple[Order, ...]) -> None:
    made = rules()
    totals = totals_of(working, made.numbers)
    lots = affordable(made.numbers, MANY, price, base, quote, totals, made.maker_fee.numerator, made.maker_fee.denominator)

    def fits(count: int) -> bool:
        cost = totals.buy_reserve_atoms + cost_of(price, count, made.maker_fee)
        return exposure(made.numbers, base, totals, price, count) <= made.cap_atoms and cost <= quote

    assert fits(lots) or lots < 0
    assert not fits(lots + 1) or lots + 1 <= 0
