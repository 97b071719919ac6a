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
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP
from autohedge.market_maker.engine import Decision, MakerState, MarketState, OrderStyle, QuoteEngine, Reconsider

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
BID, SIZE = 5_988_000, 167
"""Where and how much a maker bids whom nothing holds back: 20 bps below 60,000.00, for 100 USDT."""


def decided(*working: Order, most: int, base: int = 0, **changed: Any) -> Decision:
    """What a maker does that may bid for so many lots in all; nothing skews its quotes."""
    made = QuoteEngine(MarketMakingConfig(**{"skew_factor": 0, "rebalance_threshold": 1, **changed}), BINANCE)
    market = MarketState(5_999_999, 6_000_001, 0.0, 100.0, "")
    mandate = MandateValues("m1", 1.0, 0.0, 1.0, RiskLevel.LOW, "rules", MandateState.IN_FORCE)
    event = Reconsider(NOW, market, base * LOT, 10_000 * USDT, working, mandate, {}, 100, portfolio_bid_lots=most)
    return made.step(MakerState(), event)[1]


def order(lots: int, price: int = BID, side: Side = BUY) -> Order:
    return Order(ClientOrderId("o1"), side, price, lots, True, "quote", NOW - S, "m1", "rules", OrderState.SUBMITTED)


def bids(decision: Decision) -> list[tuple[int | None, int]]:
    return [(intent.price_ticks, intent.size_lots) for intent in decision.intents if intent.side is BUY]


def test_with_room_for_a_whole_order_it_is_quoted_and_with_less_a_smaller_one() -> None:
    assert bids(decided(most=SIZE)) == bids(decided(most=10**9)) == [(BID, SIZE)]
    assert bids(decided(most=SIZE - 1)) == [(BID, SIZE - 1)]
    assert bids(decided(most=17)) == [(BID, 17)]


def test_without_room_for_the_smallest_order_the_bid_is_withheld_and_the_ask_is_not() -> None:
    for most in (16, 1, 0):
        decision = decided(most=most, base=600)
        assert bids(decision) == [] and dict(decision.withheld) == {BUY: "portfolio_exposure"}
        assert [intent.side for intent in decision.intents] == [SELL]


def test_the_symbols_own_cap_holds_beside_it_and_keeps_its_own_reason() -> None:
    """2,000 USDT are 3,340 lots at the bid."""
    assert bids(decided(most=10**9, base=3_300)) == bids(decided(most=NO_PORTFOLIO_CAP, base=3_300)) == [(BID, 40)]
    assert bids(decided(most=30, base=3_300)) == [(BID, 30)]
    for most in (0, 10**9, NO_PORTFOLIO_CAP):
        assert dict(decided(most=most, base=3_341).withheld) == {BUY: "exposure_cap"}


def test_a_working_bid_that_no_longer_fits_is_pulled() -> None:
    """It may be half as large again as the room, as with every other limit; at no room it goes, with the reason told."""
    kept = decided(order(SIZE), most=112)
    assert (kept.cancels, bids(kept), dict(kept.withheld)) == ((), [], {SELL: "no_base"})
    pulled = decided(order(SIZE), most=111)
    assert [cancel.reason for cancel in pulled.cancels] == ["refresh"] and dict(pulled.withheld)[BUY] == "replacing"
    pulled = decided(order(SIZE), most=0)
    assert len(pulled.cancels) == 1 and dict(pulled.withheld)[BUY] == "portfolio_exposure"


def test_a_crossing_order_back_to_neutral_keeps_to_the_room_too() -> None:
    """2,000 lots are missing."""
    config = {"rebalance": True, "neutral_base": "0.02", "rebalance_threshold": "0.1"}
    for most, lots in ((NO_PORTFOLIO_CAP, 2_000), (300, 300)):
        (intent,) = decided(most=most, **config).intents
        assert (intent.style, intent.side, intent.size_lots) == (OrderStyle.REBALANCE, BUY, lots)
    assert decided(most=0, **config).intents == ()


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 1_000),
    st.integers(0, 3_000),
    st.lists(st.tuples(st.integers(1, 400), st.integers(5_900_000, 5_999_000)), max_size=3),
    st.integers(1, 4),
)
def test_nothing_placed_ever_takes_all_buys_beyond_the_room(
    most: int, base: int, working: list[tuple[int, int]], levels: int
) -> None:
    """All bids of a decision together, with everything that still works."""
    decision = decided(*[order(lots, price) for lots, price in working], most=most, base=base, levels=levels)
    made = bids(decision)
    if made:
        assert sum(lots for _, lots in made) + sum(lots for lots, _ in working) <= most
