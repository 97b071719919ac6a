"""Real sessions over markets that a test writes by hand: only the feed, the desk's words and the ledger's shelf are its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from autohedge.bootstrap import Opening, Plan, lane_config
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateProposal, Regime, RiskLevel
from autohedge.domain.market_data import SELL, BookSnapshot, Level, MarketEvent, Side, TopOfBook, Trade
from autohedge.domain.records import (
    CycleOutcome,
    CycleRequest,
    DecisionSource,
    FillRecord,
    MandateRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.errors import MarketDataError
from autohedge.market.instruments import simulated_instrument
from autohedge.ports import FeedReport, Ledger
from autohedge.session import Progress, TradingSession
from autohedge.settings import Settings, build_settings
from autohedge.storage.stream import CanonicalRecord, StreamLedger
from autohedge.testing import ManualClock

MS = 1_000_000
S = 1_000 * MS
START_NS = 1_704_067_200 * S
LEVEL_LOTS = 10_000
NEUTRAL = MandateProposal(1.0, 0.0, 1.0, 600.0, Regime.RANGE_BOUND, RiskLevel.LOW)


class Tape:
    """A market around a mid, told step by step. Prices are in ticks (0.01), sizes in lots (0.0001)."""

    def __init__(self, bid: int = 9_999, ask: int = 10_001, start_ns: int = START_NS) -> None:
        self.now_ns = start_ns
        self.bid, self.ask = bid, ask
        self.events: list[MarketEvent] = []
        self._update_id = self._trade_id = 100
        self.snapshot()

    def snapshot(self) -> Tape:
        """The whole book: 20 levels a side."""
        self._update_id += 1
        bids: tuple[Level, ...] = tuple((self.bid - i, LEVEL_LOTS) for i in range(20))
        asks: tuple[Level, ...] = tuple((self.ask + i, LEVEL_LOTS) for i in range(20))
        self.events.append(BookSnapshot(0, self.now_ns, self._update_id, bids, asks))
        return self

    def wait(self, ms: float) -> Tape:
        """Time passes without a word."""
        self.now_ns += int(ms * MS)
        return self

    def top(self, move: int = 0) -> Tape:
        """The best prices, after a move of both."""
        self._update_id += 1
        self.bid, self.ask = self.bid + move, self.ask + move
        self.events.append(TopOfBook(0, self.now_ns, self._update_id, self.bid, LEVEL_LOTS, self.ask, LEVEL_LOTS))
        return self

    def trade(self, price: int, lots: int, aggressor: Side) -> Tape:
        """A public trade."""
        self._trade_id += 1
        self.events.append(Trade(0, self.now_ns, self._trade_id, price, lots, aggressor))
        return self

    def sweep(self, side: Side, ticks: int, lots: int = LEVEL_LOTS) -> Tape:
        """A trade that far through the market on a side: a SELL takes bids, a BUY asks."""
        return self.trade(self.bid - ticks if side is SELL else self.ask + ticks, lots, side)

    def quiet(self, seconds: float, every_ms: int = 100) -> Tape:
        """The same best prices told again and again."""
        for _ in range(int(seconds * 1_000 / every_ms)):
            self.wait(every_ms).top()
        return self


class ListFeed:
    """A feed over a list of events, in small batches; `fails_with` is raised when they are used up."""

    def __init__(
        self,
        instrument: Instrument,
        events: Sequence[MarketEvent],
        batch: int = 7,
        fails_with: str = "",
        simulated: bool = False,
    ) -> None:
        self.instrument = instrument
        self.simulated = simulated
        self.description = "a list"
        self.report = FeedReport()
        self.closed = False
        self._events, self._batch, self._fails_with = events, batch, fails_with

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        try:
            for at in range(0, len(self._events), self._batch):
                yield self._events[at : at + self._batch]
                await asyncio.sleep(0)
            if self._fails_with:
                raise MarketDataError(self._fails_with)
        finally:
            self.closed = True


class FixedDesk:
    """Answers the n-th cycle of a symbol with the n-th word: a proposal, or hold, refused or failed. The last word stays."""

    def __init__(self, *answers: MandateProposal | str, before: Callable[[CycleRequest], Any] | None = None) -> None:
        self.model_name: str | None = None
        self.requests: list[CycleRequest] = []
        self.closed = 0
        self._answers = answers or (NEUTRAL,)
        self._before = before
        self._asked: dict[str, int] = {}

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        self.requests.append(request)
        if self._before is not None:
            waiting = self._before(request)
            if waiting is not None:
                await waiting
        number = self._asked.get(request.symbol, 0)
        self._asked[request.symbol] = number + 1
        answer = self._answers[min(number, len(self._answers) - 1)]
        said = answer if isinstance(answer, str) else "proposal"
        proposal = None if isinstance(answer, str) else answer
        return CycleOutcome(
            request.cycle_id, request.symbol, request.view.as_of_ns, said, f"the test says {said}", proposal,
            DecisionSource.RULES, 0, (), (),
        )  # fmt: skip

    async def aclose(self) -> None:
        self.closed += 1


class MemoryLedger(StreamLedger):
    """Keeps the records beside their canonical lines."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[CanonicalRecord] = []

    def _add(self, record: CanonicalRecord) -> None:
        super()._add(record)
        self.records.append(record)

    def of(self, symbol: str) -> list[CanonicalRecord]:
        return [record for record in self.records if record.symbol == symbol]

    @property
    def orders(self) -> list[OrderRecord]:
        return [record for record in self.records if isinstance(record, OrderRecord)]

    @property
    def order_events(self) -> list[OrderEventRecord]:
        return [record for record in self.records if isinstance(record, OrderEventRecord)]

    @property
    def fills(self) -> list[FillRecord]:
        return [record for record in self.records if isinstance(record, FillRecord)]

    @property
    def mandates(self) -> list[MandateRecord]:
        return [record for record in self.records if isinstance(record, MandateRecord)]

    @property
    def quote_states(self) -> list[QuoteStateRecord]:
        return [record for record in self.records if isinstance(record, QuoteStateRecord)]


def settings_of(*symbols: str, **parts: Any) -> Settings:
    """Settings with parts given as maker=…, desk=…, limits=…, envelope=…; a maker without floor and fee by default."""
    maker = {"min_profit_threshold": "none", "maker_fee_bps": 0, **parts.pop("maker", {})}
    return build_settings({"symbols": symbols or ("BTC/USDT",), "maker": maker, **parts})


def session_of(
    settings: Settings,
    feeds: dict[str, ListFeed] | ListFeed,
    ledger: Ledger,
    agents: Any = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TradingSession:
    """A session wired as the product wires it, over these feeds."""
    if isinstance(feeds, ListFeed):
        feeds = {feeds.instrument.symbol: feeds}
    openings = {}
    for symbol, feed in feeds.items():
        config, instrument = lane_config(settings, feed.instrument), feed.instrument
        openings[symbol] = Opening(
            instrument.base_atoms_floor(config.initial_base), instrument.quote_atoms_floor(config.total_capital)
        )
    plan = Plan(
        settings=settings,
        kind="library",
        cycles=settings.desk.cycles,
        feeds=tuple(feeds.values()),
        desk=agents or FixedDesk(),
        model_client=None,
        clock=ManualClock(),
        market_fingerprint="",
        openings=openings,
    )
    return plan.session(ledger, on_progress=on_progress)


def sim_feed(events: Sequence[MarketEvent], symbol: str = "BTC/USDT", **more: Any) -> ListFeed:
    """A list feed of a symbol with the simulated market's rules."""
    return ListFeed(simulated_instrument(symbol), events, **more)


async def played(tape: Tape, agents: Any = None, **parts: Any) -> tuple[TradingSession, MemoryLedger]:
    """One symbol's session over a tape, run to its end and drained."""
    ledger, settings = MemoryLedger(), settings_of(**parts)
    session = session_of(settings, sim_feed(tape.events), ledger, agents)
    await session.run(settings.desk.cycles)
    await session.close()
    return session, ledger
