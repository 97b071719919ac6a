"""Serves the API inside a running event loop, without touching its signals or the program's logging."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

MAX_CONNECTIONS = 64
GRACE_S = 5


class ApiServer(uvicorn.Server):
    """One app on one bound socket, in the loop that runs everything else. `stop` may be called from a signal handler."""

    def __init__(self, app: FastAPI, bound: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self.ready = asyncio.Event()
        self._bound = bound

    @property
    def url(self) -> str:
        """Where it listens, with the real port."""
        host, port = self._bound.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def run_until_stopped(self) -> None:
        """Serve until `stop`; the app has been shut down when it returns."""
        await self.serve([self._bound])

    def stop(self) -> None:
        """Take no more connections, let the answers that are under way end, and return from `run_until_stopped`."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then `ready` is set."""
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs the loop."""
        yield
