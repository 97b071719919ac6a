"""A desk that gives the recorded decisions of an earlier run again, at the same market times.

It answers a cycle with what that run's desk proposed for the same symbol and time, so that a change of the maker can be judged
under the same mandates. A time for which nothing was recorded has no proposal, and the mandate in force runs out, as it would.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource
from autohedge.errors import ConfigError
from autohedge.storage.database import open_database
from autohedge.storage.runs import find_run, recorded_cycles


class RecordedDesk:
    """Answers by symbol and market time; `model_name` is that of the recorded run, which is not asked again."""

    def __init__(self, cycles: list[CycleOutcome], model_name: str | None = None) -> None:
        self.model_name = model_name
        self._by_time = {(cycle.symbol, cycle.ts_ns): cycle for cycle in cycles}

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """What was recorded for this symbol and time."""
        as_of_ns = request.view.as_of_ns
        recorded = self._by_time.get((request.symbol, as_of_ns))
        if recorded is not None:
            return recorded._replace(cycle_id=request.cycle_id)
        return CycleOutcome(
            request.cycle_id, request.symbol, as_of_ns, "failed", "nothing was recorded for this time", None,
            DecisionSource.RULES, 0, (), (),
        )  # fmt: skip

    async def aclose(self) -> None:
        """Nothing is held open."""


class RecordedOnBars:
    """The decisions of a recorded run at closes: when asked, the newest that was decided by then and not given before.

    A run decides at its own times, a backtest on bars asks at closes, so that times are rounded up to the next one.
    """

    def __init__(self, cycles: Sequence[CycleOutcome], run_id: str, model_name: str | None = None) -> None:
        self.run_id = run_id
        self.model_name = model_name
        self._cycles: dict[str, list[CycleOutcome]] = {}
        for cycle in sorted(cycles, key=lambda each: each.ts_ns):
            self._cycles.setdefault(cycle.symbol, []).append(cycle)
        self._given_ns: dict[str, int] = {}

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """What had been decided about the symbol since it was last asked about; "failed" where there is nothing."""
        symbol, as_of_ns = request.symbol, request.view.as_of_ns
        since_ns = self._given_ns.get(symbol, -1)
        known = [each for each in self._cycles.get(symbol, ()) if since_ns < each.ts_ns <= as_of_ns]
        self._given_ns[symbol] = as_of_ns
        if known:
            return known[-1]._replace(cycle_id=request.cycle_id, ts_ns=as_of_ns)
        return CycleOutcome(
            request.cycle_id, symbol, as_of_ns, "failed", "nothing was recorded since the last cycle", None,
            DecisionSource.RULES, 0, (), (),
        )  # fmt: skip

    async def aclose(self) -> None:
        """Nothing is held open."""


def recorded_desk(out_dir: Path, run: str, *, on_bars: bool = False) -> RecordedDesk | RecordedOnBars:
    """The desk of a run, by its id or the unique beginning of one. `ConfigError` when there is none or it decided nothing."""
    engine = open_database(out_dir / "autohedge.db", create=False)
    try:
        found = find_run(engine, run)
        cycles = recorded_cycles(engine, found.run_id)
    finally:
        engine.dispose()
    if not cycles:
        raise ConfigError(f"run {found.run_id} recorded no decisions; choose another run, or --mandates desk")
    model_name = found.settings.get("model", {}).get("name")
    return RecordedOnBars(cycles, found.run_id, model_name) if on_bars else RecordedDesk(cycles, model_name)
