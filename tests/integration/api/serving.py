"""A real server on a real socket, in the test's own event loop, over a real run on the simulated market."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from autohedge.bootstrap import Run, prepare
from autohedge.client import AutoHedgeClient
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource
from autohedge.ports import Desk
from autohedge.settings import Settings, build_settings
from autohedge.simulation.feed import SimulatedFeed
from autohedge_api.app import create_app
from autohedge_api.guard import listen
from autohedge_api.jobs import CycleJobs
from autohedge_api.server import ApiServer

KEY = "correct-horse-battery-staple"
T = TypeVar("T")


def settings_of(folder: Path, **desk: Any) -> Settings:
    """Quotes close enough to be filled, so that a cycle changes the inventory."""
    return build_settings(
        {
            "out_dir": folder / "outputs",
            "maker": {"min_profit_threshold": "none", "spread_percentage": "0.0004"},
            "desk": {"every_s": 60.0, **desk},
        }
    )


class GatedDesk:
    """Answers "hold" when it is let through, one pass per call of `let_through`; `requests` is what it was asked."""

    model_name: str | None = None

    def __init__(self) -> None:
        self.requests: list[CycleRequest] = []
        self.errors: dict[int, Exception] = {}
        self._asked = asyncio.Semaphore(0)
        self._passes = asyncio.Semaphore(0)

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """Wait for a pass; raise the error that is planned for this call, if there is one."""
        self.requests.append(request)
        number = len(self.requests)
        self._asked.release()
        await self._passes.acquire()
        if number in self.errors:
            raise self.errors[number]
        return CycleOutcome(
            request.cycle_id, request.symbol, request.view.as_of_ns, "hold", "the desk was told to hold", None,
            DecisionSource.RULES, 0, (), (),
        )  # fmt: skip

    async def was_asked(self) -> None:
        """Return once another request has come in."""
        await asyncio.wait_for(self._asked.acquire(), 20)

    def let_through(self, number: int = 1) -> None:
        """Let that many requests be answered, now or when they come."""
        for _ in range(number):
            self._passes.release()

    async def aclose(self) -> None:
        """Nothing is held open."""


@dataclass
class Served:
    """A server that is up. `http` shows no key by itself."""

    run: Run
    jobs: CycleJobs
    server: ApiServer
    http: httpx.AsyncClient
    api_key: str | None
    finished: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.url

    @property
    def port(self) -> int:
        """The real port."""
        return int(self.url.rpartition(":")[2])

    async def client(self, use: Callable[[AutoHedgeClient], T]) -> T:
        """Use the synchronous client in a thread, so that the server's loop stays free."""

        def call() -> T:
            with AutoHedgeClient(self.url, self.api_key) as client:
                return use(client)

        return await asyncio.to_thread(call)

    async def start(self, task: str | None = None, **headers: str) -> httpx.Response:
        """POST /cycles."""
        return await self.http.post("/cycles", json={} if task is None else {"task": task}, headers=headers)

    async def over(self, job_id: str) -> dict[str, Any]:
        """The job once it is over; each look lets the server work in between."""
        async with asyncio.timeout(60):
            while True:
                job = (await self.http.get(f"/cycles/{job_id}")).raise_for_status().json()
                if job["status"] in ("done", "failed"):
                    return dict(job)

    async def raw(self, *parts: bytes) -> bytes:
        """Send bytes as they are; what comes back until the server closes or has sent a whole small answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            return head + await asyncio.wait_for(reader.readexactly(length), 20)
        finally:
            writer.close()


@asynccontextmanager
async def served(
    folder: Path,
    *,
    desk: Desk | None = None,
    api_key: str | None = None,
    allowed_hosts: Iterable[str] = (),
    queue_size: int = 16,
    kept_jobs: int = 1_000,
    market_s: float | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[Served]:
    """Serve a run; it is drained and finished at the end. `market_s` makes the market end after that many seconds."""
    plan = prepare(settings or settings_of(folder), kind="serve", open_end=True, environ={}, desk=desk)
    if market_s is not None:
        feed = plan.feeds[0]
        plan = replace(plan, feeds=(SimulatedFeed(feed.instrument, plan.settings.seed, market_s),))
    run = plan.start()
    await run.session.open()
    app = create_app(run, api_key=api_key, allowed_hosts=allowed_hosts, queue_size=queue_size, kept_jobs=kept_jobs)
    with listen("127.0.0.1", 0, api_key) as bound:
        server = ApiServer(app, bound)
        serving = asyncio.create_task(server.run_until_stopped())
        await asyncio.wait_for(server.ready.wait(), 20)
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=20, trust_env=False) as http:
                yield Served(run, app.state.jobs, server, http, api_key)
        finally:
            run.session.request_stop()
            server.stop()
            await asyncio.wait_for(serving, 20)
            await run.finish()
