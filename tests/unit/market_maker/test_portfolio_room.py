"""What a maker does with the room that others on the same capital leave it: never more than that, and it says so."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateState, MandateValues, RiskLevel
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.engine import Decision, MakerState, MarketState, OrderStyle, QuoteEngine, Reconsider
from autohedge.market_maker.sizing import exposure, totals_of

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
BID = 5_988_000
LOT_AT_BID = BID * BINANCE.quote_atoms_per_tick_lot


def decided(*working: Order, cap: int, base: int = 0, **changed: Any) -> Decision:
    """What a maker in a market of 60,000.00 does; it bids 20 bps lower when nothing skews its quotes."""
    made = QuoteEngine(MarketMakingConfig(skew_factor=0, **changed), BINANCE)
    market = MarketState(5_999_999, 6_000_001, 0.0, 100.0, "")
    mandate = MandateValues("m1", 1.0, 0.0, 1.0, RiskLevel.LOW, "rules", MandateState.IN_FORCE)
    event = Reconsider(NOW, market, base * LOT, 10_000 * USDT, working, mandate, {}, 100, portfolio_cap_atoms=cap)
    return made.step(MakerState(), event)[1]


def order(lots: int, price: int = BID, side: Side = BUY) -> Order:
    return Order(ClientOrderId("o1"), side, price, lots, True, "quote", NOW - S, "m1", "rules", OrderState.SUBMITTED)


def bids(decision: Decision) -> list[tuple[int | None, int]]:
    return [(intent.price_ticks, intent.size_lots) for intent in decision.intents if intent.side is BUY]


def test_with_room_for_a_whole_order_it_is_quoted_and_with_less_a_smaller_one() -> None:
    """An order of 100 USDT is 167 lots at 59,880.00; 600 lots are held."""
    assert bids(decided(cap=767 * LOT_AT_BID, base=600)) == [(BID, 167)]
    assert bids(decided(cap=767 * LOT_AT_BID - 1, base=600)) == [(BID, 166)]
    assert bids(decided(cap=617 * LOT_AT_BID, base=600)) == [(BID, 17)]


def test_without_room_for_the_smallest_order_the_bid_is_withheld_and_the_ask_is_not() -> None:
    for cap in (617 * LOT_AT_BID - 1, 600 * LOT_AT_BID, 1, 0):
        decision = decided(cap=cap, base=600)
        assert bids(decision) == [] and dict(decision.withheld) == {BUY: "portfolio_exposure"}
        assert [intent.side for intent in decision.intents] == [SELL]


def test_a_cap_above_the_symbols_own_changes_nothing() -> None:
    """The symbol's own cap is 2,000 USDT, and its reason stays its own."""
    free = decided(cap=2_000 * USDT, base=3_300)
    assert free == decided(cap=10**15, base=3_300) == decided(cap=-1, base=3_300)
    assert dict(decided(cap=2_000 * USDT, base=3_340).withheld) == {BUY: "exposure_cap"}
    assert dict(decided(cap=1_999 * USDT, base=3_340).withheld) == {BUY: "exposure_cap"}


def test_a_working_bid_that_no_longer_fits_is_pulled() -> None:
    """It may be half as large again as the room, as with every other limit; at no room it goes, with the reason told."""
    kept = decided(order(167), cap=712 * LOT_AT_BID, base=600)
    assert (kept.cancels, bids(kept), dict(kept.withheld)) == ((), [], {})
    pulled = decided(order(167), cap=711 * LOT_AT_BID, base=600)
    assert [cancel.reason for cancel in pulled.cancels] == ["refresh"] and dict(pulled.withheld) == {BUY: "replacing"}
    pulled = decided(order(167), cap=600 * LOT_AT_BID, base=600)
    assert len(pulled.cancels) == 1 and dict(pulled.withheld) == {BUY: "portfolio_exposure"}


def test_a_crossing_order_back_to_neutral_keeps_to_the_room_too() -> None:
    """2,000 lots are missing at 60,000.01; there is room for 300 of them."""
    at_ask = 6_000_001 * BINANCE.quote_atoms_per_tick_lot
    config = {"rebalance": True, "neutral_base": "0.02", "taker_fee_bps": 0}
    for cap, lots in ((-1, 2_000), (300 * at_ask, 300), (300 * at_ask - 1, 299)):
        (intent,) = decided(cap=cap, **config).intents
        assert (intent.style, intent.side, intent.size_lots) == (OrderStyle.REBALANCE, BUY, lots)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2_500 * USDT),
    st.integers(0, 3_000),
    st.lists(st.tuples(st.integers(1, 400), st.integers(5_900_000, 5_999_000)), max_size=3),
    st.integers(1, 4),
)
def test_nothing_placed_ever_takes_the_maker_beyond_its_room(
    cap: int, base: int, working: list[tuple[int, int]], levels: int
) -> None:
    """All bids of a decision together, at the dearest of their prices, with everything that still works."""
    orders = [order(lots, price) for lots, price in working]
    decision = decided(*orders, cap=cap, base=base, levels=levels)
    made = [order(lots, price or 0) for price, lots in bids(decision)]
    if made:
        numbers = QuoteEngine(MarketMakingConfig(), BINANCE).size_rules.numbers
        dearest = max(each.price_ticks or 0 for each in made)
        assert exposure(numbers, base * LOT, totals_of([*orders, *made], numbers), dearest, 0) <= cap
