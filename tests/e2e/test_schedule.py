"""`autohedge schedule`: cycles by the wall clock, each a row of the ledger whatever became of it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from autohedge.bootstrap import prepare
from autohedge.cli.schedule import Ticks
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource, ScheduledCycle
from autohedge.errors import MarketDataError
from autohedge.operations.scheduler import CycleScheduler
from autohedge.settings import build_settings
from autohedge.storage.database import open_database
from autohedge.storage.schedule import scheduled_cycles
from autohedge.testing.clock import ManualClock
from tests.e2e.conftest import AUTOHEDGE, Finished, clean_environment

Cli = Callable[..., Finished]


def ticks_of(folder: Path, run_id: str) -> list[ScheduledCycle]:
    """The rows of a run's schedule."""
    engine = open_database(folder / "outputs" / "autohedge.db", create=False)
    rows = scheduled_cycles(engine, run_id)
    engine.dispose()
    return rows


def test_cycles_by_the_wall_clock_are_rows_and_the_run_can_be_replayed(cli: Cli, tmp_path: Path) -> None:
    """Two ticks a second apart, one line each on stderr, one JSON object on stdout, exit 0."""
    done = cli("schedule", "--every", "1s", "--cycles", "2", "--json")
    assert done.code == 0, done.err
    summary = done.json
    assert summary["cycles"] == 2 and summary["interrupted"] is False
    assert summary["schedule"] == {"ok": 2, "failed": 0, "overrun": 0, "skipped": 0}
    lines = [line for line in done.err.splitlines() if "tick" in line]
    assert len(lines) == 2 and all("BTC/USDT proposal (rules)" in line and "fills" in line for line in lines)
    rows = ticks_of(tmp_path, summary["run_id"])
    assert [(row.n, row.status, row.reason) for row in rows] == [(1, "ok", ""), (2, "ok", "")]
    assert rows[1].planned_wall_ns - rows[0].planned_wall_ns == 1_000_000_000
    for row in rows:
        assert row.started_wall_ns is not None and row.ended_wall_ns is not None
        assert row.planned_wall_ns <= row.started_wall_ns <= row.ended_wall_ns
    replayed = cli("replay", summary["run_id"])
    assert replayed.code == 0, replayed.out + replayed.err


def test_ctrl_c_between_cycles_drains_reports_and_exits_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*AUTOHEDGE, "schedule", "--every", "1h", "--json"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "tick 1  ok" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "draining" in err
    summary = json.loads(out)
    assert summary["interrupted"] is True and summary["cycles"] == 1
    orders = summary["orders"]
    assert orders["placed"] > 0 and orders["cancelled"] > 0
    assert [row.status for row in ticks_of(tmp_path, summary["run_id"])] == ["ok"]


def test_the_end_of_the_market_is_the_end_of_the_schedule(cli: Cli, tmp_path: Path) -> None:
    """A recording of five seconds and a tick every hour: one cycle uses it up, and nobody waits for the next tick."""
    assert cli("run", "--cycles", "1", "--every", "5s", "--record", "recording").code == 0
    done = cli("schedule", "--market", "replay:recording", "--every", "1h", "--cycles", "5", "--json")
    assert done.code == 0, done.err
    assert "market is over" in done.err
    assert done.json["schedule"] == {"ok": 1, "failed": 0, "overrun": 0, "skipped": 0}
    assert [row.n for row in ticks_of(tmp_path, done.json["run_id"])] == [1]


def test_a_mistake_is_one_line_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    done = cli("schedule", "--every", "0s")
    assert done.code == 2 and len(done.err.splitlines()) == 1 and "0s" in done.err
    assert list(tmp_path.iterdir()) == []


class Troubled:
    """A desk that takes its time on a manual clock, breaks for a symbol, or raises, as told per cycle."""

    model_name: str | None = None

    def __init__(self, clock: ManualClock, takes_s: dict[int, float], broken: set[int], raising: set[int]) -> None:
        self._clock, self._takes_s, self._broken, self._raising = clock, takes_s, broken, raising
        self._asked = 0

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """Hold, unless something else is planned for this cycle."""
        self._asked += 1
        number = self._asked
        await self._clock.sleep(self._takes_s.get(number, 0.0))
        if number in self._raising:
            raise MarketDataError("the feed is corrupt at line 7")
        outcome, reason = ("failed", "the desk broke") if number in self._broken else ("hold", "told to hold")
        return CycleOutcome(
            request.cycle_id, request.symbol, request.view.as_of_ns, outcome, reason, None, DecisionSource.RULES, 0, (), ()
        )

    async def aclose(self) -> None:
        """Nothing is held open."""


def test_whatever_becomes_of_a_cycle_is_a_row_and_the_next_one_runs(tmp_path: Path) -> None:
    """Overrun, skipped, broken for a symbol, raised, fine: five kinds of ticks through the real session and ledger."""

    async def drive() -> tuple[str, dict[str, int]]:
        clock = ManualClock()
        desk = Troubled(clock, takes_s={1: 150.0}, broken={2}, raising={3})
        settings = build_settings({"out_dir": tmp_path / "outputs"})
        run = prepare(settings, kind="schedule", open_end=True, environ={}, desk=desk, clock=clock).start()
        engine = open_database(run.database)
        ticks = Ticks(run, engine)
        await CycleScheduler(clock, 60.0, ticks.run_cycle, ticks.record, cycles=4).run()
        await run.finish()
        engine.dispose()
        return run.run_id, ticks.counts

    run_id, counts = asyncio.run(drive())
    rows = ticks_of(tmp_path, run_id)
    assert [(row.n, row.status) for row in rows] == [
        (1, "overrun"), (2, "skipped"), (3, "skipped"), (4, "failed"), (5, "failed"), (6, "ok")
    ]  # fmt: skip
    assert rows[3].reason == "BTC/USDT: the desk broke"
    assert rows[4].reason == "the feed is corrupt at line 7"
    assert rows[1].started_wall_ns is None and rows[1].reason == "cycle 1 had not ended"
    assert {later.planned_wall_ns - earlier.planned_wall_ns for earlier, later in pairwise(rows)} == {60_000_000_000}
    assert counts == {"ok": 1, "failed": 2, "overrun": 1, "skipped": 2}
