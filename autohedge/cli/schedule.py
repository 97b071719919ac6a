"""`autohedge schedule`: desk cycles by the wall clock, in one session."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from autohedge.cli import options
from autohedge.cli.errors import EXIT_INTERRUPTED, told_plainly

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from autohedge.bootstrap import Plan, Run
    from autohedge.domain.records import CycleOutcome, ScheduledCycle
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


async def _drive(plan: Plan, as_json: bool) -> int:
    """Run the schedule to its end or to a signal, report either way; the exit code."""
    from autohedge.cli.render import print_report
    from autohedge.cli.signals import drained_by_signals
    from autohedge.errors import AutoHedgeError
    from autohedge.operations.scheduler import CycleScheduler
    from autohedge.storage.database import open_database

    for warning in plan.settings.maker.warnings():
        _say(f"note: {warning}")
    run = plan.start()
    ticks = Ticks(run, open_database(run.database))
    scheduler = CycleScheduler(plan.clock, plan.settings.desk.every_s, ticks.run_cycle, ticks.record, plan.cycles)
    ticks.stop = scheduler.stop

    def end() -> None:
        scheduler.stop()
        run.session.request_stop()

    failure: AutoHedgeError | None = None
    with drained_by_signals(end) as stop:
        try:
            await run.session.open()
            await scheduler.run()
        except AutoHedgeError as error:
            failure = error
        summary = await run.finish("failed" if failure else None, note=str(failure or ""))
    summary["schedule"] = ticks.counts
    if as_json:
        _print_json(summary)
    else:
        print_report(summary)
    if failure is not None:
        raise failure
    run.check_llm_share()
    if stop.number is None and ticks.counts["failed"] and not ticks.counts["ok"] + ticks.counts["overrun"]:
        raise AutoHedgeError(f"every cycle failed, the last one with: {ticks.last_reason}")
    return EXIT_INTERRUPTED if stop.number is not None else 0
