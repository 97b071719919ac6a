"""`autohedge run`: the main job."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from autohedge.cli import options
from autohedge.cli.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from autohedge.bootstrap import Plan
    from autohedge.settings import Settings


@options.takes_settings
def run(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Run the desk and its market maker, on the simulated market or a recording, and report."""
    from autohedge.bootstrap import prepare

    plan = prepare(settings)
    raise SystemExit(asyncio.run(_drive(plan, as_json)))


async def _drive(plan: Plan, as_json: bool) -> int:
    """Run to the end or to Ctrl-C, report either way; the exit code."""
    from autohedge.cli.render import LiveProgress, print_report
    from autohedge.cli.signals import drained_by_signals
    from autohedge.errors import AutoHedgeError
    from autohedge.operations.heap import settle_heap

    for warning in plan.warnings():
        print(f"autohedge: note: {warning}", file=sys.stderr)
    failure: AutoHedgeError | None = None
    with LiveProgress(plan) as progress:
        run = plan.start(on_progress=progress.update)
        settle_heap()
        with drained_by_signals(run.session.request_stop):
            try:
                await run.session.run(plan.cycles)
            except AutoHedgeError as error:
                failure = error
            except BaseException as error:
                await run.finish("failed", note=str(error) or type(error).__name__)
                raise
            summary = await run.finish("failed" if failure else None, note=str(failure or ""))
    if as_json:
        _print_json(summary)
    else:
        print_report(summary)
    if failure is not None:
        raise failure
    run.check_llm_share()
    return EXIT_INTERRUPTED if run.session.interrupted else 0


def _print_json(summary: dict[str, Any]) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(summary) + b"\n")
    sys.stdout.buffer.flush()
