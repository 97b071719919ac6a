"""`autohedge schedule`: desk cycles by the wall clock, in one session."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from autohedge.cli import options
from autohedge.cli.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from autohedge.bootstrap import Plan, Run
    from autohedge.domain.records import ScheduledCycle
    from autohedge.settings import Settings


@options.takes_settings
def schedule(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Run a desk cycle every --every of wall time (default 60s), --cycles times or until Ctrl-C.

    Each cycle also lets the market go on by --every of its own time. Cycles never overlap: one that overruns is recorded, the
    ticks that it missed are skipped, and the next one runs; so does the next one after a failure. Ctrl-C drains and exits 130.
    """
    from autohedge.bootstrap import prepare

    plan = prepare(settings, kind="schedule", open_end=True)
    raise SystemExit(asyncio.run(_drive(plan, as_json)))


class Ticks:
    """What the scheduler drives: runs a cycle of the session, tells of it in one line, and puts each tick into the ledger."""

    def __init__(self, run: Run, engine: Engine) -> None:
        self.counts = dict.fromkeys(("ok", "failed", "overrun", "skipped"), 0)
        self.last_failure = ""
        self._run = run
        self._engine = engine
        self._told = ""

    async def run_cycle(self, n: int) -> None:
        """One cycle; `AutoHedgeError` when it was cut off or the desk broke for a symbol, whatever became of the others."""
        from autohedge.errors import AutoHedgeError

        self._told = ""
        fills = self._fills()
        outcomes = await self._run.session.cycle()
        if not outcomes:
            raise AutoHedgeError("stopped before the desk had answered")
        said = ", ".join(f"{each.symbol} {each.outcome} ({each.source.value})" for each in outcomes)
        self._told = f"  {said}, {self._fills() - fills} fills"
        broken = [f"{each.symbol}: {each.reason}" for each in outcomes if each.outcome == "failed"]
        if broken:
            raise AutoHedgeError("; ".join(broken))

    def record(self, tick: ScheduledCycle) -> None:
        """Durable on return; `StorageError` if it cannot be written."""
        from autohedge.cli.render import clock_text
        from autohedge.storage.schedule import record_scheduled_cycle

        self.counts[tick.status] += 1
        if tick.status == "failed":
            self.last_failure = tick.reason
        told = self._told if tick.status != "skipped" else ""
        why = f": {tick.reason}" if tick.reason else ""
        _say(f"{clock_text(tick.planned_wall_ns)}  tick {tick.n}  {tick.status}{told}{why}")
        record_scheduled_cycle(self._engine, self._run.run_id, tick)

    def _fills(self) -> int:
        return sum(lane.counts.fills for lane in self._run.session.lanes)


async def _drive(plan: Plan, as_json: bool) -> int:
    """Run the schedule to its end or to a signal, report either way; the exit code."""
    from autohedge.cli.render import print_report
    from autohedge.cli.signals import drained_by_signals
    from autohedge.errors import AutoHedgeError
    from autohedge.operations.heap import settle_heap
    from autohedge.operations.scheduler import CycleScheduler
    from autohedge.storage.database import open_database

    for warning in plan.warnings():
        _say(f"note: {warning}")
    run = plan.start()
    settle_heap()
    engine = open_database(run.database)
    ticks = Ticks(run, engine)

    async def run_cycle(n: int) -> None:
        try:
            await ticks.run_cycle(n)
        finally:
            if run.session.market_over:
                scheduler.stop()

    scheduler = CycleScheduler(plan.clock, plan.settings.desk.every_s, run_cycle, ticks.record, plan.cycles)

    def end() -> None:
        scheduler.stop()
        run.session.request_stop()

    failure: AutoHedgeError | None = None
    with drained_by_signals(end) as stop:
        try:
            await run.session.open()
            if not run.session.market_over:
                await scheduler.run()
        except AutoHedgeError as error:
            failure = error
        except BaseException as error:
            await run.finish("failed", note=str(error) or type(error).__name__)
            raise
        summary = await run.finish("failed" if failure else None, note=str(failure or ""))
    engine.dispose()
    if run.session.market_over:
        _say("the market is over: its data ended, and the schedule with it")
    if as_json:
        _print_json(summary | {"schedule": ticks.counts})
    else:
        print_report(summary)
    if failure is not None:
        raise failure
    run.check_llm_share()
    if stop.number is not None:
        return EXIT_INTERRUPTED
    if ticks.counts["failed"] and not ticks.counts["ok"] + ticks.counts["overrun"]:
        raise AutoHedgeError(f"every cycle failed, the last one with: {ticks.last_failure}")
    return 0


def _print_json(summary: dict[str, Any]) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(summary) + b"\n")
    sys.stdout.buffer.flush()


def _say(text: str) -> None:
    print(f"autohedge: {text}", file=sys.stderr, flush=True)
