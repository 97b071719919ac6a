"""A real HTTP server on loopback that speaks Binance's `GET /api/v3/klines`, with faults on demand."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from autohedge.market.timeframes import Timeframe

NS_PER_MS = 1_000_000


@dataclass(frozen=True)
class Fault:
    """An answer other than candles: another body, or only so much of the page, announced as that much or as the
    whole; no answer; or one that begins and does not go on."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_bytes: int | None = None
    announce_whole: bool = False
    hang_up: bool = False
    stall: bool = False


@dataclass
class Venue:
    """What the server has and what it does. `requests` are the parameters it was asked with; each releases `arrivals`."""

    candles: dict[str, pl.DataFrame]
    page_candles: int = 1_000
    faults: list[Fault | None] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    arrivals: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    date: str | None = None
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def rows(self, asked: dict[str, str]) -> list[list[Any]]:
        """The page as the venue makes it: open candles too, the end inclusive."""
        step_ms = Timeframe(asked["interval"]).interval_ns // NS_PER_MS
        time_ms = pl.col("ts_ns") // NS_PER_MS
        first, last, most = int(asked["startTime"]), int(asked["endTime"]), min(int(asked["limit"]), self.page_candles)
        found = self.candles[asked["symbol"]].filter((time_ms >= first) & (time_ms <= last)).head(most)
        return [
            [
                ts_ns // NS_PER_MS,
                *(f"{value:.8f}" for value in values),
                ts_ns // NS_PER_MS + step_ms - 1,
                "0.0",
                1,
                "0.0",
                "0.0",
                "0",
            ]
            for ts_ns, *values in found.rows()
        ]

    def answer(self, target: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request target."""
        url = urlsplit(target)
        asked = dict(parse_qsl(url.query))
        self.requests.append(asked)
        self.arrivals.release()
        if url.path != "/api/v3/klines":
            return 404, {}, b"not found"
        if asked["symbol"] not in self.candles:
            return 400, {}, json.dumps({"code": -1121, "msg": "Invalid symbol."}).encode()
        return 200, {}, json.dumps(self.rows(asked)).encode()


@contextmanager
def serving(venue: Venue) -> Iterator[Venue]:
    """The venue on a socket of its own; `url` says where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = venue.answer(self.path)
            fault = venue.faults.pop(0) if venue.faults else None
            length = len(body)
            if fault is not None:
                if fault.hang_up:
                    self.close_connection = True
                    return
                status, headers = fault.status, fault.headers
                body = body[: fault.cut_bytes] if fault.body is None else fault.body
                length = length if fault.announce_whole else len(body)
                self.close_connection = fault.announce_whole
            self.send_response_only(status)
            if venue.date is not None:
                self.send_header("Date", venue.date)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if fault is not None and fault.stall:
                self.wfile.write(body[:1])
                self.close_connection = True
                venue.closing.wait()
                return
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read `requests`."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # a client that had read enough
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    venue.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield venue
    finally:
        venue.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
