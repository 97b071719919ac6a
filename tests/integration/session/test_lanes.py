"""Several symbols in one session: in step with each other, and untouched by each other's trouble."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from autohedge.bootstrap import Plan, lane_config, prepare
from autohedge.domain.market_data import BUY, SELL, BookDelta, MarketEvent
from autohedge.domain.records import CycleOutcome, CycleRequest
from autohedge.errors import MarketDataError
from autohedge.market.instruments import simulated_instrument
from autohedge.report import summarise
from autohedge.session import TradingSession
from tests.integration.session.rig import (
    MS,
    START_NS,
    FixedDesk,
    ListFeed,
    MemoryLedger,
    S,
    Tape,
    session_of,
    settings_of,
    sim_feed,
)

A, B = "AAA/USDT", "BBB/USDT"
MAKER: dict[str, Any] = {"refresh_tolerance_bps": 0, "quoting_model": "fixed_spread"}


def market(seconds: int = 30, start_ns: int = START_NS, every_ms: int = 100, price: int = 10_000) -> Tape:
    """A market that moves and trades through the quotes now and then."""
    tape = Tape(price - 1, price + 1, start_ns)
    for step in range(seconds):
        tape.quiet(1, every_ms).top((step * 7) % 5 - 2).sweep(SELL if step % 3 else BUY, 30, 2_000)
    return tape


async def played_together(feeds: dict[str, ListFeed], agents: Any = None) -> tuple[TradingSession, MemoryLedger]:
    ledger = MemoryLedger()
    session = session_of(settings_of(*feeds, maker=MAKER, desk={"every_s": 5}), feeds, ledger, agents)
    try:
        await session.run(None)
    finally:
        await session.close()
    return session, ledger


def both(a: Sequence[MarketEvent], b: Sequence[MarketEvent], **about_a: Any) -> dict[str, ListFeed]:
    return {A: sim_feed(a, A, **about_a), B: sim_feed(b, B)}


class Watcher:
    """Stands where a recorder would and notes what a lane is given, and when."""

    def __init__(self, seen: list[tuple[int, str]], symbol: str) -> None:
        self.seen, self.symbol = seen, symbol

    def write(self, event: MarketEvent) -> None:
        self.seen.append((event.ts_init_ns, self.symbol))


async def test_events_are_given_in_order_of_time_across_lanes() -> None:
    """From the first event on, whatever the batches: earlier first, a tie to the symbol named first, nothing left out."""
    tapes = {
        A: market(8),
        B: market(8, START_NS + 3 * S + 50 * MS, every_ms=70),  # opens three seconds after A
        "CCC/USDT": market(8, START_NS, every_ms=100),  # ties with A throughout
    }
    feeds = {symbol: sim_feed(tape.events, symbol, batch=3 + 4 * at) for at, (symbol, tape) in enumerate(tapes.items())}
    settings = settings_of(*feeds, desk={"every_s": 2})
    seen: list[tuple[int, str]] = []
    plan = Plan(
        settings=settings,
        kind="library",
        cycles=None,
        feeds=tuple(feeds.values()),
        desk=FixedDesk(),
        model_client=None,
        clock=prepare(settings_of()).clock,
        market_fingerprint="",
        openings=prepare(settings).openings,
    )
    session = plan.session(MemoryLedger(), recorders=[Watcher(seen, symbol) for symbol in feeds])  # type: ignore[list-item]
    await session.run(None)
    expected = sorted(
        (event.ts_init_ns, list(tapes).index(symbol), at)
        for symbol, tape in tapes.items()
        for at, event in enumerate(tape.events)
    )
    assert seen == [(ts_ns, list(tapes)[symbol]) for ts_ns, symbol, _ in expected]


async def test_the_capital_is_split_equally_and_to_the_atom() -> None:
    """A third of 10,000 each, rounded down; caps and order sizes are of the share."""
    symbols = (A, B, "CCC/USDT")
    settings = settings_of(*symbols)
    session = session_of(settings, {each: sim_feed(market(1).events, each) for each in symbols}, MemoryLedger())
    await session.run(None)
    shares = [lane.opening.quote for lane in session.lanes if lane.opening is not None]
    assert shares == [Decimal("3333.33333333")] * 3
    for symbol in symbols:
        config = lane_config(settings, simulated_instrument(symbol))
        assert config.total_capital == Decimal("3333.33333333") and config.trading_pair == symbol


async def test_one_symbols_desk_failing_leaves_the_others_byte_for_byte_alone() -> None:
    """A desk that breaks for one symbol costs that symbol its mandate and nobody else anything."""

    class BreaksForA(FixedDesk):
        async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
            outcome = await super().run_cycle(request)
            return outcome._replace(outcome="failed", proposal=None) if request.symbol == A else outcome

    _, well = await played_together(both(market().events, market(price=5_000, every_ms=70).events))
    session, ill = await played_together(both(market().events, market(price=5_000, every_ms=70).events), BreaksForA())
    assert ill.of(B) == well.of(B) and len(ill.of(B)) > 50 and any(fill.symbol == B for fill in ill.fills)
    assert ill.of(A) != well.of(A)
    assert {each.outcome for each in session.outcomes if each.symbol == A} == {"failed"}


async def test_one_symbols_data_gap_leaves_the_others_byte_for_byte_alone() -> None:
    """A hole in one book stops the quotes in it for good; the other symbol does not notice."""
    whole = market().events
    hole = BookDelta(0, whole[len(whole) // 2].ts_init_ns, 10**9, 10**9 + 1, ((9_990, 1),), ())
    torn = [*whole[: len(whole) // 2], hole, *whole[len(whole) // 2 :]]
    other = market(40, price=5_000, every_ms=70).events
    _, well = await played_together(both(whole, other))
    session, ill = await played_together(both(torn, other))
    assert ill.of(B) == well.of(B)
    assert not [order for order in ill.orders if order.symbol == A and order.ts_ns >= hole.ts_init_ns]
    summary = summarise(session, run_id="r", market="m", files={})
    assert summary["per_symbol"][A]["data_quality"]["gaps"] == 1
    assert summary["per_symbol"][B]["data_quality"]["gaps"] == 0
    failed = {(each.symbol, each.reason) for each in session.outcomes if each.outcome == "failed"}
    assert failed == {(A, "no tradable market: gap")}


async def test_a_feed_that_ends_early_leaves_its_inventory_and_the_others_go_on() -> None:
    """The session lasts as long as its longest market; nothing is asked about, or quoted in, the one that is over."""
    whole, other = market().events, market(40, price=5_000, every_ms=70).events
    short = [event for event in whole if event.ts_init_ns < START_NS + 10 * S]
    _, well = await played_together(both(whole, other))
    desk = FixedDesk()
    session, ill = await played_together(both(short, other), desk)
    assert session.market_over
    assert ill.of(B) == well.of(B)
    asked_s = {
        symbol: [(each.view.as_of_ns - START_NS) / S for each in desk.requests if each.symbol == symbol] for symbol in (A, B)
    }
    assert asked_s == {A: [0, 5, 10], B: [0, 5, 10, 15, 20, 25, 30, 35]}
    assert {each.reason for each in session.outcomes if each.outcome == "failed"} == {"no tradable market: stale"}
    summary = summarise(session, run_id="r", market="m", files={})
    parts = summary["per_symbol"]
    assert parts[A]["orders"]["placed"] == parts[A]["orders"]["cancelled"] + sum(
        each.event == "filled" for each in ill.order_events if each.symbol == A
    )
    for name in ("final_value", "fees_quote", "realized_pnl"):
        assert Decimal(summary[name]) == Decimal(parts[A][name]) + Decimal(parts[B][name])


async def test_a_feed_that_fails_ends_its_own_symbol_at_once_and_the_run_at_the_end() -> None:
    """The broken market is drained where it broke, the other one is played to its end, and then the failure is raised."""
    whole, other = market().events, market(40, price=5_000, every_ms=70).events
    short = [event for event in whole if event.ts_init_ns < START_NS + 10 * S]
    _, well = await played_together(both(whole, other))
    feeds = both(short, other, fails_with="AAA: the disk is gone")
    ledger = MemoryLedger()
    session = session_of(settings_of(*feeds, maker=MAKER, desk={"every_s": 5}), feeds, ledger)
    with pytest.raises(MarketDataError, match="the disk is gone"):
        await session.run(None)
    await session.close()
    assert ledger.of(B) == well.of(B)
    stopped = [each for each in ledger.quote_states if each.symbol == A and each.reason == "feed_failed"]
    assert len(stopped) == 2 and {each.ts_ns for each in stopped} == {short[-1].ts_init_ns}
    assert [each.reason for each in ledger.quote_states if each.symbol == A][-2:] == ["feed_failed"] * 2
    assert not session.lanes[0].order_desk.working
    assert summarise(session, run_id="r", market="m", files={})["per_symbol"][A]["data_quality"]["feed_failure"] == (
        "AAA: the disk is gone"
    )


async def test_a_symbol_that_never_opens_is_named() -> None:
    """Without a snapshot there is no book: the session refuses to start and says for whom."""
    other = market(5)
    headless = market(2).events[1:]
    session = session_of(settings_of(A, B), both(headless, other.events), MemoryLedger())
    with pytest.raises(MarketDataError, match=r"AAA/USDT: the market data ended before a synchronised two-sided book"):
        await session.open()
    await session.close()
