"""`autohedge run`: the main job."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Any

from autohedge.cli import options
from autohedge.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, fail

if TYPE_CHECKING:
    from autohedge.bootstrap import Plan, Run
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
    from autohedge.errors import AutoHedgeError, LlmShareTooLow

    for warning in plan.settings.maker.warnings():
        print(f"autohedge: note: {warning}", file=sys.stderr)
    with LiveProgress(plan) as progress:
        run = plan.start(on_progress=progress.update)
        _stop_on_signals(run)
        failure: AutoHedgeError | None = None
        try:
            await run.session.run(plan.cycles)
        except AutoHedgeError as error:
            failure = error
        summary = await run.finish("failed" if failure else None, note=str(failure or ""))
    if as_json:
        _print_json(summary)
    else:
        print_report(summary)
    if failure is not None:
        raise failure
    try:
        run.check_llm_share()
    except LlmShareTooLow as error:
        fail(str(error), EXIT_FAILED)
    return EXIT_INTERRUPTED if run.session.interrupted else 0


def _stop_on_signals(run: Run) -> None:
    """The first SIGINT or SIGTERM drains and reports, a second one stops at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if run.session.stopping:
            sys.stderr.write("autohedge: stopped at once; the ledger holds everything up to here\n")
            sys.stderr.flush()
            _exit_now()
        sys.stderr.write("autohedge: draining: quotes are cancelled, the inventory is kept; once more stops at once\n")
        run.session.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _exit_now() -> None:
    import os

    os._exit(EXIT_INTERRUPTED)


def _print_json(summary: dict[str, Any]) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(summary) + b"\n")
    sys.stdout.buffer.flush()
