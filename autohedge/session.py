"""The one session loop: the market moves, the desk is asked on schedule, the maker quotes. Every mode runs this.

In a replay and on a simulated market time is the market's: it stands still while the desk works, and a mandate takes effect at
cycle time + the desk's latency. `run` drives a session to its end; the HTTP API and the scheduler call `cycle` one by one.

Lanes share nothing but the clock, the ledger and, where limits say so, the risk of one portfolio: when its daily loss limit is
hit, every lane looks at its quotes again at that moment. A lane whose data go stale pulls its quotes at that moment, also when
nothing of its own ever comes again; one whose feed ends or fails is left behind with its inventory while the others go on, and
a feed's failure is raised when the last market is over, so that it is never lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from autohedge.desk.decisions import called_for_model, model_driven_share
from autohedge.domain.market_data import MarketEvent
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionRecord, DecisionSource
from autohedge.errors import MarketDataError
from autohedge.lane import Lane
from autohedge.ports import Desk, Ledger

NEVER_NS = 1 << 63


class Progress(NamedTuple):
    """Where a session stands; given to whoever watches."""

    market_ns: int
    messages: int
    cycles: int
    orders: int
    fills: int


class StopPoint(NamedTuple):
    """Where an interrupted run was stopped, so that its replay stops there too."""

    messages: int
    cycles: int


class _Cursor:
    """Reads a feed event by event without losing what a batch still holds."""

    __slots__ = ("_batches", "batch", "index")

    def __init__(self, lane: Lane) -> None:
        self._batches = lane.feed.batches()
        self.batch: Sequence[MarketEvent] = ()
        self.index = 0

    async def aclose(self) -> None:
        """Let go of what the feed holds open, such as a file that was not read to its end."""
        if isinstance(self._batches, AsyncGenerator):
            await self._batches.aclose()

    async def ready(self) -> bool:
        """True when an event is at hand, False at the end of the market."""
        while self.index >= len(self.batch):
            try:
                self.batch = await self._batches.__anext__()
            except StopAsyncIteration:
                return False
            self.index = 0
        return True

    @property
    def head_ns(self) -> int:
        """Receive time of the next event; only when `ready`."""
        return self.batch[self.index].ts_init_ns


class TradingSession:
    """Lanes that share a clock of market time, a desk and a ledger."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        desk: Desk,
        ledger: Ledger,
        *,
        every_ns: int,
        task: str,
        on_progress: Callable[[Progress], None] | None = None,
        stop_at: StopPoint | None = None,
    ) -> None:
        self.lanes = tuple(lanes)
        self.desk = desk
        self.task = task
        self.outcomes: list[CycleOutcome] = []
        self.interrupted = False
        self.market_over = False
        self._ledger = ledger
        self._every_ns = every_ns
        self._on_progress = on_progress
        self._stop_at = stop_at
        self._stop = asyncio.Event()
        self._cursors = [_Cursor(lane) for lane in self.lanes]
        self._feed_failures: dict[int, MarketDataError] = {}
        self._next_cycle_ns: int | None = None
        self._closed = False
        for lane in self.lanes:
            lane.on_portfolio_loss = partial(self._look_again, lane)

    # --- the public life ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Move the market until every symbol has a synchronised book; `MarketDataError` if one never gets it."""
        while not self.stopping:
            waiting = [index for index, lane in enumerate(self.lanes) if lane.opening is None]
            if not waiting:
                break
            heads = await self._heads()
            over = [index for index in waiting if index not in heads]
            if over:
                self._raise_feed_failure(over)
                names = ", ".join(self.lanes[index].symbol for index in over)
                raise MarketDataError(
                    f"{names}: the market data ended before a synchronised two-sided book was seen; "
                    "a recording must hold an order book snapshot and the updates that follow it"
                )
            index = min(heads, key=lambda each: (heads[each], each))
            self._pull_stale_quotes(heads[index], but=index)
            self._step_one(index)
        self._next_cycle_ns = max(lane.now_ns for lane in self.lanes)
        await self.advance(self._next_cycle_ns)

    async def cycle(self, task: str | None = None) -> list[CycleOutcome]:
        """Ask the desk for every symbol as of now, then let the market go on for one interval. See `ask_desk`."""
        outcomes = await self.ask_desk(task)
        if self._next_cycle_ns is not None:
            await self.advance(self._next_cycle_ns)
        return outcomes

    async def ask_desk(self, task: str | None = None) -> list[CycleOutcome]:
        """One desk cycle per symbol, all at once, at the scheduled market time. Empty when the session is being stopped.

        `task` is for this cycle alone; None leaves the session's own.
        """
        if self._next_cycle_ns is None:
            await self.open()
        now_ns = self._next_cycle_ns or 0
        if self.stopping:
            return []
        asked = asyncio.ensure_future(self._ask_all(now_ns, self.task if task is None else task))
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({asked, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            asked.cancel()  # of no effect on what is done; otherwise no call goes on behind a session that has ended
            await asyncio.wait({asked, stopped})
        if asked.cancelled():
            return []
        outcomes = asked.result()
        self._pull_stale_quotes(now_ns)
        for lane, outcome in zip(self.lanes, outcomes, strict=True):
            lane.accept(outcome)
        # the ledger has every model call; kept here they would grow with every prompt of a session that runs for weeks
        self.outcomes += [outcome._replace(calls=()) for outcome in outcomes]
        self._next_cycle_ns = now_ns + self._every_ns
        self._check_limit()
        self._tell()
        return outcomes

    async def run(self, cycles: int | None) -> None:
        """Run `cycles` cycles (None: as many as the market lasts), then the rest of a market that has an end."""
        done = 0
        await self.open()
        while not self.stopping and not self.market_over and (cycles is None or done < cycles):
            await self.cycle()
            done += 1
        if not self.stopping and not self.market_over:
            await self.advance(NEVER_NS)

    async def close(self, reason: str = "session_end") -> None:
        """Drain: cancel the quotes, keep the inventory, release feeds and desk, whatever fails. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            for lane in self.lanes:
                lane.drain("interrupted" if self.interrupted else reason)
            self._ledger.commit()
            self._tell()
        finally:
            for cursor in self._cursors:
                await cursor.aclose()
            await self.desk.aclose()

    def request_stop(self) -> None:
        """Stop at the next event boundary and drain; safe to call from a signal handler of the loop."""
        self.interrupted = True
        self._stop.set()

    # --- what is told of it ---------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """True once a stop was asked for."""
        return self._stop.is_set()

    @property
    def next_cycle_ns(self) -> int | None:
        """Market time of the next desk cycle; None until the market has opened."""
        return self._next_cycle_ns

    @property
    def messages(self) -> int:
        """Market messages taken by all lanes."""
        return sum(lane.counts.messages for lane in self.lanes)

    def decisions(self) -> Iterator[DecisionRecord]:
        """Every decision so far, in order."""
        return (decision for outcome in self.outcomes for decision in outcome.decisions)

    def decisions_by_source(self) -> dict[str, int]:
        """Decisions that called for a model, by where they came from; abstentions without a call are not among them."""
        return dict(Counter(decision.source.value for decision in self.decisions() if called_for_model(decision)))

    def model_driven(self) -> tuple[int, int]:
        """(N, M): N of M decisions that called for a model were model-driven."""
        return model_driven_share(self.decisions())

    # --- the loop -------------------------------------------------------------------------------------------------

    async def _ask_all(self, now_ns: int, task: str) -> list[CycleOutcome]:
        """All cycles at once, but begun one loop turn after the other: in step they would all prepare their questions before
        the first is sent, and nobody would work while all wait for their answers."""
        beginning = asyncio.Lock()

        async def in_turn(lane: Lane) -> CycleOutcome:
            async with beginning:
                await asyncio.sleep(0)
            return await self._ask(lane, now_ns, task)

        return list(await asyncio.gather(*map(in_turn, self.lanes)))

    async def _ask(self, lane: Lane, now_ns: int, task: str) -> CycleOutcome:
        cycle_id = lane.ids.cycle()
        view = lane.view(now_ns)
        if view is None:
            return CycleOutcome(
                cycle_id, lane.symbol, now_ns, "failed", f"no tradable market: {lane.market_problem(now_ns)}",
                None, DecisionSource.RULES, 0, (), (),
            )  # fmt: skip
        return await self.desk.run_cycle(CycleRequest(cycle_id, lane.symbol, task, view))

    async def _heads(self) -> dict[int, int]:
        """Time of the next event of each lane that still has one. A feed that fails is at its end, and its lane is drained."""
        heads: dict[int, int] = {}
        for index, cursor in enumerate(self._cursors):
            try:
                if await cursor.ready():
                    heads[index] = cursor.head_ns
            except MarketDataError as error:
                self._feed_failures[index] = error
                self.lanes[index].fail_feed(str(error))
        return heads

    def _raise_feed_failure(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            if index in self._feed_failures:
                raise self._feed_failures[index]

    def _pull_stale_quotes(self, until_ns: int, but: int | None = None) -> None:
        """Time has come to `until_ns`: lanes that heard nothing for too long pull their quotes, in order of time.

        Lane `but` has its own event at that time and sees to itself.
        """
        due = [lane for index, lane in enumerate(self.lanes) if index != but and lane.stale_at_ns <= until_ns]
        for lane in sorted(due, key=lambda each: each.stale_at_ns):
            lane.go_stale()

    def _look_again(self, noticed_by: Lane, now_ns: int) -> None:
        """What one lane noticed concerns the quotes of the others."""
        for lane in self.lanes:
            if lane is not noticed_by:
                lane.look_again(now_ns)

    def _step_one(self, index: int) -> None:
        cursor = self._cursors[index]
        event = cursor.batch[cursor.index]
        cursor.index += 1
        self.lanes[index].on_event(event)
        self._check_limit()

    async def advance(self, until_ns: int) -> None:
        """Give the lanes their events in order of time, up to but not including `until_ns`."""
        while not self.stopping:
            heads = await self._heads()
            if not heads:
                self.market_over = True
                self._raise_feed_failure(range(len(self.lanes)))
                return
            index = min(heads, key=lambda each: (heads[each], each))
            if heads[index] >= until_ns:
                return
            self._pull_stale_quotes(heads[index], but=index)
            # up to the next event of any other lane, this lane runs alone; a tie goes to the earlier lane
            bounds = [at + (1 if each > index else 0) for each, at in heads.items() if each != index]
            bounds += [lane.stale_at_ns for each, lane in enumerate(self.lanes) if each != index]
            self._run_batch(index, min([until_ns, *bounds]))
            self._tell()

    def _run_batch(self, index: int, until_ns: int) -> None:
        cursor, on_event = self._cursors[index], self.lanes[index].on_event
        batch, position, end = cursor.batch, cursor.index, len(cursor.batch)
        if self._stop_at is not None:
            end = min(end, position + self._stop_at.messages - self.messages)
            if end <= position:
                # the record holds more cycles than the market led to: stopping shows the difference, going on would hang
                self.request_stop()
        while position < end and batch[position].ts_init_ns < until_ns:
            on_event(batch[position])
            position += 1
        cursor.index = position
        self._check_limit()

    def _check_limit(self) -> None:
        stop = self._stop_at
        if stop is not None and self.messages >= stop.messages and len(self.outcomes) >= stop.cycles:
            self.request_stop()

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    market_ns=max(lane.now_ns for lane in self.lanes),
                    messages=self.messages,
                    cycles=len(self.outcomes),
                    orders=sum(lane.order_desk.counts.placed for lane in self.lanes),
                    fills=sum(lane.counts.fills for lane in self.lanes),
                )
            )
