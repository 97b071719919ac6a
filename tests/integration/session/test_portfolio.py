"""Several symbols on one capital: shares by weight, one cap on what all hold and bid for, one daily loss."""

from __future__ import annotations

import asyncio
import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import OrderState
from autohedge.domain.records import OrderRecord
from autohedge.errors import MarketDataError
from autohedge.lane import Lane
from autohedge.session import TradingSession
from autohedge.storage.stream import CanonicalRecord
from tests.integration.session.rig import (
    MS,
    START_NS,
    ListFeed,
    MemoryLedger,
    S,
    Tape,
    session_of,
    settings_of,
    sim_feed,
)

A, B, C = "AAA/USDT", "BBB/USDT", "CCC/USDT"
CLOSE: dict[str, Any] = {
    "quoting_model": "fixed_spread",
    "refresh_tolerance_bps": 0,
    "skew_factor": 0,
    "rebalance_threshold": 1,
}
WIDE_OPEN: dict[str, Any] = {"max_inventory_imbalance": 0.5, "max_requests_per_min": 100_000}


def exposure(lane: Lane) -> Fraction:
    """Base and working buys at the mid, in quote, worked out from the lane's books."""
    instrument = lane.instrument
    working = sum(order.remaining_lots for order in lane.order_desk.working.values() if order.side is BUY)
    base = Fraction(lane.inventory.base_atoms, 10**instrument.base_atom_exponent) + working * Fraction(instrument.lot_size)
    return base * lane.mid_half_ticks * Fraction(instrument.tick_size) / 2


class Watch(MemoryLedger):
    """A ledger that looks at all lanes whenever a buy is about to be sent, and when it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: tuple[Lane, ...] = ()
        self.at_sending: list[Fraction] = []
        self.at_events: list[Fraction] = []

    def look(self) -> Fraction:
        return sum(map(exposure, self.lanes), Fraction(0))

    def _add(self, record: CanonicalRecord) -> None:
        super()._add(record)
        if isinstance(record, OrderRecord) and record.side == "buy" and record.state is OrderState.PENDING_SUBMIT:
            self.at_sending.append(self.look())

    def commit(self) -> None:
        """After each event, and before each sending."""
        super().commit()
        self.at_events.append(self.look())


async def watched(
    feeds: dict[str, ListFeed], limits: dict[str, Any], weights: dict[str, Any] | None = None, **maker: Any
) -> tuple[TradingSession, Watch]:
    ledger = Watch()
    parts: dict[str, Any] = {"limits": WIDE_OPEN | limits, "maker": CLOSE | maker, "desk": {"every_s": 5}}
    session = session_of(settings_of(*feeds, weights=weights or {}, **parts), feeds, ledger)
    ledger.lanes = session.lanes
    try:
        await session.run(None)
    finally:
        await session.close()
    return session, ledger


def walk(seed: int, steps: int, price: int, *, may_rise: bool) -> Tape:
    """A market that wanders and is sold into, so that its maker mostly buys; with `may_rise` not only downwards."""
    chance = random.Random(seed)
    tape = Tape(price - 1, price + 1, START_NS + chance.randrange(3) * 333 * MS)
    for _ in range(steps):
        tape.wait(chance.choice((70, 100, 250))).top(chance.randint(-6, 6 if may_rise else 0))
        if chance.random() < 0.3:
            tape.sweep(BUY if chance.random() < 0.2 else SELL, 60, chance.choice((500, 5_000)))
    return tape


# --- the cap ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([2_000, 10_000, 60_000])), min_size=2, max_size=3),
    st.sampled_from(["0.01", "0.03", "0.0512"]),
    st.integers(1, 3),
    st.booleans(),
)
def test_the_cap_holds_in_any_market(markets: list[tuple[int, int]], frac: str, levels: int, may_rise: bool) -> None:
    """Whatever two or three markets do, no buy is sent that takes all together beyond the cap; and where no price rises,
    all together never are beyond it, at no event."""
    symbols = (A, B, C)[: len(markets)]
    tapes = [walk(seed, 120, price, may_rise=may_rise) for seed, price in markets]
    feeds = {symbol: sim_feed(tape.events, symbol) for symbol, tape in zip(symbols, tapes, strict=True)}
    cap = 10_000 * Fraction(frac)
    _, ledger = asyncio.run(watched(feeds, {"max_portfolio_exposure_frac": frac}, levels=levels))
    assert ledger.at_sending and max(ledger.at_sending) <= cap
    if not may_rise:
        assert max(ledger.at_events) <= cap


def both_falling(seconds: int = 40) -> dict[str, ListFeed]:
    """Two markets in which every bid is filled."""
    feeds = {}
    for symbol, price in ((A, 10_000), (B, 50_000)):
        tape = Tape(price - 1, price + 1)
        for _ in range(seconds):
            tape.quiet(1).top(-1).sweep(SELL, 200)
        feeds[symbol] = sim_feed(tape.events, symbol)
    return feeds


async def test_the_cap_binds_to_the_smallest_order_and_the_asks_stay() -> None:
    """Each symbol may hold 1,000 of its 5,000; together they stop at 600, less than an order short of it."""
    _, free = await watched(both_falling(), {})
    assert max(free.at_events) > 1_500
    session, ledger = await watched(both_falling(), {"max_portfolio_exposure_frac": "0.06"})
    assert 590 < max(ledger.at_events) <= 600
    for lane in session.lanes:
        assert lane.counts.withheld_by["portfolio_exposure"] > 100
        assert "denied" not in lane.counts.withheld_by, "what is quoted is what the check allows"
        states = [each for each in ledger.quote_states if each.symbol == lane.symbol]
        assert {each.side for each in states if each.reason == "portfolio_exposure"} == {"buy"}
        assert [each.reason for each in states if each.side == "sell" and not each.quoting][-1] == "session_end"


async def test_a_sale_of_one_symbol_makes_room_for_the_other() -> None:
    """A takes all the room there is. B buys once more and then has none, until A sells."""
    a, b = Tape(9_999, 10_001), Tape(49_999, 50_001, START_NS + 50 * MS)
    for _ in range(8):
        a.quiet(1).sweep(SELL, 60)
    b.quiet(9).sweep(SELL, 200).quiet(3)
    a.quiet(4)
    for _ in range(12):
        a.quiet(1).sweep(BUY, 60)
    b.quiet(20)
    ledger = (await watched({A: sim_feed(a.events, A), B: sim_feed(b.events, B)}, {"max_portfolio_exposure_frac": "0.02"}))[1]
    states = [(each.ts_ns, each.quoting, each.reason) for each in ledger.quote_states if (each.symbol, each.side) == (B, "buy")]
    waits = next(ts_ns for ts_ns, _, reason in states if reason == "portfolio_exposure")
    sold = [fill.ts_ns for fill in ledger.fills if fill.symbol == A and fill.side == "sell"]
    again = [ts_ns for ts_ns, quoting, _ in states if quoting and ts_ns > waits]
    assert sold and again and min(again) > min(sold)


async def test_a_symbol_without_a_feed_keeps_its_place_and_the_other_goes_on() -> None:
    """A breaks off while it holds a third of the 300: B quotes on with what is left."""
    a, b = Tape(9_999, 10_001), Tape(49_999, 50_001, START_NS + 50 * MS)
    a.quiet(1).sweep(SELL, 60).quiet(2).sweep(SELL, 60).quiet(2).sweep(SELL, 60).quiet(2).sweep(SELL, 60).wait(10).top()
    b.quiet(10)
    for _ in range(20):
        b.quiet(1).sweep(SELL, 200)
    feeds = {A: sim_feed(a.events, A, fails_with="AAA: the disk is gone"), B: sim_feed(b.events, B)}
    ledger, parts = Watch(), {"limits": WIDE_OPEN | {"max_portfolio_exposure_frac": "0.03"}, "maker": CLOSE}
    session = session_of(settings_of(*feeds, **parts), feeds, ledger)
    ledger.lanes = session.lanes
    with pytest.raises(MarketDataError, match="the disk is gone"):
        await session.run(None)
    await session.close()
    broken, going = session.lanes
    assert broken.feed_failure and 90 < exposure(broken) < 150
    late = [fill for fill in ledger.fills if fill.symbol == B and fill.ts_ns > a.now_ns + 5 * S]
    assert late and 300 - exposure(broken) - 11 < exposure(going) <= 300 - exposure(broken)
    assert max(ledger.at_events) <= 300


# --- the loss ---------------------------------------------------------------------------------------------------------------


def a_loses(b_gains: int = 0) -> dict[str, ListFeed]:
    """A buys and falls; B buys, rises if asked to, and then is silent but for one quote in four seconds."""
    a, b = Tape(9_999, 10_001), Tape(49_999, 50_001, START_NS + 50 * MS)
    b.quiet(1).sweep(SELL, 200).quiet(1).sweep(SELL, 200).quiet(1).top(b_gains)
    for _ in range(8):
        b.wait(4_000).top()
    for _ in range(10):
        a.quiet(1).top(-40).sweep(SELL, 60)
    a.quiet(20)
    return {A: sim_feed(a.events, A), B: sim_feed(b.events, B)}


async def test_a_loss_of_all_pulls_the_bids_of_all_at_that_moment() -> None:
    """B has said nothing for seconds when A's loss is noticed: its bid is cancelled at A's time, not at its own next event."""
    session, ledger = await watched(a_loses(), {"max_portfolio_daily_loss_quote": 5})
    told = {}
    for symbol in (A, B):
        states = [each for each in ledger.quote_states if each.symbol == symbol and each.side == "buy"]
        told[symbol] = [each.ts_ns for each in states if each.reason == "portfolio_daily_loss"]
    assert told[A] == told[B] and len(told[A]) == 1
    (hit_ns,) = told[A]
    quiet = {event.ts_init_ns for event in session.lanes[1].feed._events}  # type: ignore[attr-defined]
    assert hit_ns not in quiet
    buys = [order for order in ledger.orders if order.side == "buy" and order.ts_ns >= hit_ns]
    assert not buys
    asks = [each for each in ledger.quote_states if each.side == "sell" and each.ts_ns > hit_ns and not each.quoting]
    assert {each.reason for each in asks} <= {"session_end", "no_base", "below_min_notional", "stale"}


async def test_a_gain_of_one_makes_up_for_the_loss_of_the_other() -> None:
    """The same loss of A, and B has won more than that."""
    _, ledger = await watched(a_loses(b_gains=4_000), {"max_portfolio_daily_loss_quote": 5})
    assert not [each for each in ledger.quote_states if each.reason == "portfolio_daily_loss"]


async def test_at_midnight_all_may_buy_again() -> None:
    """Lost before midnight, blocked until then, and the new day begins with what was left."""
    midnight_ns = START_NS + 86_400 * S
    feeds = {}
    for symbol, price in ((A, 10_000), (B, 50_000)):
        tape = Tape(price - 1, price + 1, midnight_ns - 20 * S)
        for step in range(40):
            tape.quiet(1).top(-8 if step < 10 else 0).sweep(SELL, 60)
        feeds[symbol] = sim_feed(tape.events, symbol)
    _, ledger = await watched(feeds, {"max_portfolio_daily_loss_frac": 0.0001})
    for symbol in (A, B):
        buys = [order.ts_ns for order in ledger.orders if (order.symbol, order.side) == (symbol, "buy")]
        blocked = [each.ts_ns for each in ledger.quote_states if (each.symbol, each.reason) == (symbol, "portfolio_daily_loss")]
        assert blocked and not [ts_ns for ts_ns in buys if blocked[0] <= ts_ns < midnight_ns]
        assert [ts_ns for ts_ns in buys if ts_ns >= midnight_ns]


# --- the shares -------------------------------------------------------------------------------------------------------------


async def test_capital_orders_and_caps_follow_the_weights() -> None:
    """3 : 1 of 10,000: an order is at most a hundredth of its symbol's share, and each stops at a fifth of it."""
    session, ledger = await watched(both_falling(60), {}, weights={A: 3})
    assert [str(lane.opening.quote) for lane in session.lanes if lane.opening] == ["7500.00000000", "2500.00000000"]
    for symbol, share in ((A, 7_500), (B, 2_500)):
        held = next(exposure(lane) for lane in session.lanes if lane.symbol == symbol)
        assert share * 0.18 < held <= share * 0.2
        worth = [order.price * order.size for order in ledger.orders if order.symbol == symbol and order.price is not None]
        assert share * 0.005 < max(worth) <= share * 0.01


async def test_without_a_limit_over_all_nobody_notices_the_others() -> None:
    """Byte for byte what each symbol does with limits that never bind, and without any."""
    _, free = await watched(both_falling(20), {})
    _, bound = await watched(both_falling(20), {"max_portfolio_exposure_frac": 1, "max_portfolio_daily_loss_frac": 1})
    assert free.lines == bound.lines and len(free.lines) > 100
