"""The desk and its makers over recorded books: what `autohedge.session` is to lanes, over compiled lanes.

The desk is asked at the same market times and shown the same views as in a session over the same recording, so the same desk
gives the same mandates, orders and fills; between its cycles the compiled loop runs. Makers of several symbols share the
schedule and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_layout import NEVER_NS
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource
from autohedge.errors import MarketDataError
from autohedge.ports import Desk


class BacktestProgress(NamedTuple):
    """Where a backtest stands; given to whoever watches."""

    market_ns: int
    messages: int
    cycles: int
    fills: int


class BacktestSession:
    """Compiled lanes that share a clock of market time and a desk; without a desk the mandates given to the lanes hold."""

    def __init__(
        self,
        lanes: Sequence[CompiledLane],
        desk: Desk | None,
        *,
        simulated: bool,
        every_ns: int,
        task: str,
        on_progress: Callable[[BacktestProgress], None] | None = None,
    ) -> None:
        self.lanes = tuple(lanes)
        self.desk = desk
        self.outcomes: list[CycleOutcome] = []
        self._simulated = simulated
        self._every_ns = every_ns
        self._task = task
        self._on_progress = on_progress

    async def run(self, cycles: int | None = None) -> None:
        """Run `cycles` cycles (None: as many as the market lasts), then the rest of the market, and drain.

        Raises `MarketDataError` when a symbol never has a price.
        """
        try:
            now_ns = self._open()
            if self.desk is not None:
                await self._cycles(self.desk, now_ns, cycles)
            for lane in self.lanes:
                lane.advance(NEVER_NS)
                lane.drain()
            self._tell()
        finally:
            if self.desk is not None:
                await self.desk.aclose()

    def _open(self) -> int:
        """Move every market until it has a price; the time of the last one to have one."""
        for lane in self.lanes:
            if not lane.open():
                raise MarketDataError(
                    f"{lane.instrument.symbol}: the market data ended before a synchronised two-sided book was seen; "
                    "a recording must hold an order book snapshot and the updates that follow it"
                )
        now_ns = max(int(lane.state.now_ns) for lane in self.lanes)
        for lane in self.lanes:
            lane.advance(now_ns)
        return now_ns

    async def _cycles(self, desk: Desk, now_ns: int, cycles: int | None) -> None:
        done = 0
        while not all(lane.over for lane in self.lanes) and (cycles is None or done < cycles):
            outcomes = [await self._ask(desk, lane, now_ns) for lane in self.lanes]
            for lane, outcome in zip(self.lanes, outcomes, strict=True):
                lane.pull_stale_quotes(now_ns)
                lane.accept(outcome)
            self.outcomes += [outcome._replace(calls=()) for outcome in outcomes]
            done += 1
            now_ns += self._every_ns
            for lane in self.lanes:
                lane.advance(now_ns)
            self._tell()

    async def _ask(self, desk: Desk, lane: CompiledLane, now_ns: int) -> CycleOutcome:
        cycle_id = lane.ids.cycle()
        view = lane.view(now_ns, simulated=self._simulated)
        if view is None:
            return CycleOutcome(
                cycle_id, lane.instrument.symbol, now_ns, "failed", f"no tradable market: {lane.market_problem(now_ns)}",
                None, DecisionSource.RULES, 0, (), (),
            )  # fmt: skip
        return await desk.run_cycle(CycleRequest(cycle_id, lane.instrument.symbol, self._task, view))

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(
                BacktestProgress(
                    market_ns=max(int(lane.state.now_ns) for lane in self.lanes),
                    messages=sum(int(lane.state.messages) for lane in self.lanes),
                    cycles=len(self.outcomes),
                    fills=sum(int(lane.state.fills) for lane in self.lanes),
                )
            )
