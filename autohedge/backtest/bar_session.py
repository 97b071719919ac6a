"""The desk and its makers over candles: what `autohedge.session` is to lanes, over runs on bars.

The desk is asked at closes: first when every symbol has one, then at the first close that is at least `every` later. So the
time between cycles is rounded up to bars, and nobody is asked while all exchanges are shut. It is shown the bars that had
closed. Makers of several symbols share the schedule and nothing else; one whose bars are over, or that has no new one, is not
asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autohedge.backtest.bar_engine import BarRun
from autohedge.backtest.bars import Bars
from autohedge.backtest.maker_on_bars import MakerOnBars
from autohedge.domain.records import CycleOutcome, CycleRequest
from autohedge.ports import Desk

TOLD_EVERY_BARS = 4_096


class BarProgress(NamedTuple):
    """Where a backtest on bars stands; given to whoever watches."""

    market_ns: int
    bars: int
    of_bars: int
    cycles: int
    fills: int


@dataclass(slots=True)
class BarLane:
    """One symbol: its run over its bars, the maker that runs there, and whether the market is an invented one."""

    run: BarRun
    maker: MakerOnBars
    simulated: bool

    @property
    def bars(self) -> Bars:
        """What it runs over."""
        return self.run.bars

    @property
    def over(self) -> bool:
        """Whether no bar is left."""
        return self.run.done == len(self.bars)

    def closed_by(self, now_ns: int) -> int:
        """How many bars have closed at `now_ns`."""
        return int(np.searchsorted(self.bars.close_ns, now_ns, side="right"))

    def next_close_ns(self, from_ns: int) -> int | None:
        """The first close at or after `from_ns`; None where there is none."""
        at = int(np.searchsorted(self.bars.close_ns, from_ns, side="left"))
        return int(self.bars.close_ns[at]) if at < len(self.bars) else None


class BarSession:
    """Makers on bars and the desk that steers them; without a desk they run with the mandate they have."""

    def __init__(
        self,
        lanes: Sequence[BarLane],
        desk: Desk | None,
        *,
        every_ns: int,
        task: str,
        on_progress: Callable[[BarProgress], None] | None = None,
    ) -> None:
        self.lanes = tuple(lanes)
        self.desk = desk
        self.outcomes: list[CycleOutcome] = []
        self._every_ns = every_ns
        self._task = task
        self._on_progress = on_progress

    async def run(self, cycles: int | None = None) -> None:
        """Run `cycles` cycles (None: as many as there are bars for), then the rest of the bars."""
        try:
            if self.desk is not None and cycles != 0:
                await self._cycles(self.desk, cycles)
            self._advance(max(int(lane.bars.close_ns[-1]) for lane in self.lanes))
        finally:
            if self.desk is not None:
                await self.desk.aclose()

    async def _cycles(self, desk: Desk, cycles: int | None) -> None:
        now_ns: int | None = max(int(lane.bars.close_ns[0]) for lane in self.lanes)
        asked = 0
        while now_ns is not None and (cycles is None or asked < cycles):
            before = [lane.run.done for lane in self.lanes]
            self._advance(now_ns)
            due = [lane for lane, done in zip(self.lanes, before, strict=True) if lane.run.done > done and not lane.over]
            if not due and all(lane.over for lane in self.lanes):
                return
            outcomes = await asyncio.gather(*(self._ask(desk, lane, now_ns) for lane in due))
            for lane, outcome in zip(due, outcomes, strict=True):
                lane.maker.accept(outcome)
            self.outcomes += [outcome._replace(calls=()) for outcome in outcomes]
            asked += bool(due)
            closes = [lane.next_close_ns(now_ns + self._every_ns) for lane in self.lanes]
            now_ns = min((close for close in closes if close is not None), default=None)

    async def _ask(self, desk: Desk, lane: BarLane, now_ns: int) -> CycleOutcome:
        view = lane.maker.view(now_ns, simulated=lane.simulated)
        return await desk.run_cycle(CycleRequest(lane.maker.next_cycle_id(), view.symbol, self._task, view))

    def _advance(self, until_ns: int) -> None:
        """Take all bars that have closed by then, and tell on the way."""
        for lane in self.lanes:
            until = lane.closed_by(until_ns)
            while lane.run.done < until:
                lane.run.advance(min(until, lane.run.done + TOLD_EVERY_BARS))
                self._tell(lane)

    def _tell(self, lane: BarLane) -> None:
        if self._on_progress is not None:
            self._on_progress(
                BarProgress(
                    market_ns=int(lane.bars.close_ns[lane.run.done - 1]),
                    bars=sum(each.run.done for each in self.lanes),
                    of_bars=sum(len(each.bars) for each in self.lanes),
                    cycles=len(self.outcomes),
                    fills=sum(each.run.fills for each in self.lanes),
                )
            )
