"""`autohedge serve`: one session behind the HTTP API, until a signal ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from autohedge.cli import options
from autohedge.cli.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from autohedge.bootstrap import Plan, Run
    from autohedge.settings import Settings
    from autohedge_api.jobs import CycleJobs
    from autohedge_api.server import ApiServer

Host = Annotated[str, typer.Option("--host", help="Address to listen on. Any but loopback needs AUTOHEDGE_API_KEY.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes a free one and prints it.")]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="NAME", help="Another Host name to answer for; may be repeated.")
]


@options.takes_settings
def serve(*, settings: Settings, host: Host = "127.0.0.1", port: Port = 8000, allow_host: AllowHost = None) -> None:
    """Serve one session over HTTP: each POST /cycles asks the desk once and lets the market go on by --every.

    With --cycles N no further cycle is taken after N. When AUTOHEDGE_API_KEY is set, callers must show that key. Ctrl-C drains
    and exits with 130, SIGTERM drains and exits with 0; the run is recorded either way.
    """
    from autohedge.bootstrap import prepare
    from autohedge_api.guard import allowed_names, api_key_of, listen, names_of

    api_key = api_key_of(os.environ)
    names = allowed_names([*names_of(host), *(allow_host or [])])
    plan = prepare(settings, kind="serve", open_end=True)
    with listen(host, port, api_key) as bound:
        raise SystemExit(asyncio.run(_serve(plan, bound, api_key, names)))


async def _serve(plan: Plan, bound: socket.socket, api_key: str | None, allowed_hosts: frozenset[str]) -> int:
    """Open the market, serve until a signal, drain and record; the exit code."""
    from autohedge.cli.signals import drained_by_signals
    from autohedge.errors import AutoHedgeError
    from autohedge.operations.heap import settle_heap
    from autohedge_api.app import create_app
    from autohedge_api.server import ApiServer

    for warning in plan.warnings():
        print(f"autohedge: note: {warning}", file=sys.stderr)
    run = plan.start()
    settle_heap()
    app = create_app(run, api_key=api_key, allowed_hosts=allowed_hosts)
    jobs: CycleJobs = app.state.jobs
    server = ApiServer(app, bound)

    def end() -> None:
        if jobs.running is not None or not run.session.market_over:
            run.session.request_stop()
        jobs.stop()
        server.stop()

    with drained_by_signals(end) as stop:
        try:
            await run.session.open()
            if stop.number is None:
                await _until_stopped(server, run, api_key)
        except BaseException as error:
            await run.finish("failed", note=str(error) or type(error).__name__)
            raise
        summary = await run.finish("failed" if jobs.halted else None, note=jobs.halted)
    _say(f"run {run.run_id}: cycles {jobs.cycles_done}, fills {summary['fills']}; see {summary['report']}")
    if jobs.halted:
        raise AutoHedgeError(f"the run was halted: {jobs.halted}")
    run.check_llm_share()
    return EXIT_INTERRUPTED if stop.number is signal.SIGINT else 0


async def _until_stopped(server: ApiServer, run: Run, api_key: str | None) -> None:
    serving = asyncio.ensure_future(server.run_until_stopped())
    ready = asyncio.ensure_future(server.ready.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if not serving.done():
        tag = "simulated market" if run.plan.simulated else run.plan.settings.market
        key = "with an API key" if api_key is not None else "loopback only, no API key"
        _say(f"serving run {run.run_id} ({tag}) at {server.url} ({key})")
    await serving


def _say(text: str) -> None:
    print(f"autohedge: {text}", file=sys.stderr, flush=True)
