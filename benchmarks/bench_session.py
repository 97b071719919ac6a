"""The recorded session through everything: feed, book, statistics, maker, risk, paper venue and full records on disk.

A row is a level change, a quote side or a trade. Rows per second of the process's CPU time, from the session's first event to
its last record; what comes before (reading the recording once to see that it is whole, loading libraries) is told apart.
Beside it the limit: the same files only parsed, and the least that a Python loop could do with them.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import gzip
import pstats
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from autohedge.bootstrap import prepare
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.operations.heap import settle_heap
from autohedge.settings import build_settings
from benchmarks.figures import Bar, Figure, Options, ratio

ROUNDS = 5
SYMBOL = "BTC/USDT"
EXPECTED_ROWS_PER_S = 150_000

WORKING: dict[str, Any] = {
    "maker": {"touch": "join", "min_profit_threshold": "none", "latency_ms": 5},
    "limits": {"max_requests_per_min": 1_000_000},
}
"""Quotes at the best prices, replaced as the market moves: nothing but the exposure holds them back."""

RESTLESS: dict[str, Any] = {**WORKING, "maker": {**WORKING["maker"], "min_requote_ms": 10}}
"""The same, and the quotes are reconsidered ten times as often as by default."""

TOP = 15


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the recording: rows, CPU and wall seconds, and what happened in it."""

    rows: int
    cpu_s: float
    wall_s: float
    told: str = ""

    @property
    def rows_per_s(self) -> float:
        """By CPU time."""
        return self.rows / self.cpu_s


class Stopwatch:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        """(CPU, wall) seconds."""
        return time.process_time() - self._cpu_s, time.perf_counter() - self._wall_s


def _session(folder: Path, changes: dict[str, Any], profile: cProfile.Profile | None = None) -> Pass:
    """A whole run with its records, set up as the command line does it."""
    gc.unfreeze()
    gc.collect()
    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as out:
        settings = build_settings(changes, {"market": f"replay:{folder}", "out_dir": out})
        plan = prepare(settings)

        async def drive() -> Pass:
            run = plan.start()
            settle_heap()
            watch = Stopwatch()
            if profile is not None:
                profile.enable()
            await run.session.run(plan.cycles)
            if profile is not None:
                profile.disable()
            summary = await run.finish()
            return Pass(summary["events"], *watch.read(), _told(summary))

        return asyncio.run(drive())


def _told(summary: dict[str, Any]) -> str:
    (lane,) = summary["per_symbol"].values()
    up = lane["quote_uptime_frac"]
    market = f"{summary['events']:,} rows in {summary['messages']:,} messages"
    orders = f"{summary['orders']['placed']:,} orders, {summary['fills']:,} fills"
    return f"{market}; {orders}, bid up {up['bid']:.0%} and ask {up['ask']:.0%} of the time"


def _parsed(folder: Path) -> Pass:
    """The product's feed, its events counted and forgotten."""
    gc.collect()
    feed = open_replay(folder, SYMBOL, instrument("binance", SYMBOL))

    async def read() -> None:
        async for _ in feed.batches():
            pass

    watch = Stopwatch()
    asyncio.run(read())
    return Pass(feed.report.rows, *watch.read())


def _least(folder: Path) -> Pass:
    """Unpack, read JSON, keep floats in two dictionaries, and look at the best prices ten times a second of market time.

    No check of anything, no exact numbers, no sequence, no statistics, no orders, no records.
    """
    gc.collect()
    watch = Stopwatch()
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    rows = looks = next_ns = 0
    bid = ask = 0.0
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rb") as file:
            for line in file:
                stamp, _, body = line.partition(b" ")
                message = orjson.loads(body)
                data = message.get("data", message)
                if "a" in data and type(data["a"]) is str:
                    bid, ask = float(data["b"]), float(data["a"])
                    rows += 2
                elif "p" in data:
                    rows += 1
                else:
                    in_bids, in_asks = ("bids", "asks") if "lastUpdateId" in data else ("b", "a")
                    for side, levels in ((bids, data[in_bids]), (asks, data[in_asks])):
                        for price, size in levels:
                            if size == "0.00000000":
                                side.pop(float(price), None)
                            else:
                                side[float(price)] = float(size)
                        rows += len(levels)
                now_ns = int(stamp)
                if now_ns >= next_ns:
                    next_ns = now_ns + 100_000_000
                    looks += bids.get(bid, 0.0) >= 0.0 and asks.get(ask, 0.0) >= 0.0
    return Pass(rows, *watch.read(), f"{looks:,} looks")


def figures(options: Options) -> list[Figure]:
    """Rows per second of each, taken in turn, and their ratios."""
    folder = options.recorded_session()
    least, parsed, working, restless, default = [], [], [], [], []
    _session(folder, WORKING)  # loads what is loaded late
    for _ in range(ROUNDS):
        least.append(_least(folder))
        parsed.append(_parsed(folder))
        working.append(_session(folder, WORKING))
        restless.append(_session(folder, RESTLESS))
        default.append(_session(folder, {}))
    if options.profile:
        _print_profile(folder)
    return [
        _speed("session: least Python loop", least, "limit: JSON, two dictionaries of floats, no checks, orders or records"),
        _speed("session: feed only", parsed, "limit: gunzip, parse, exact ticks and lots"),
        _speed(
            "session: quotes working, full records",
            working,
            f"touch=join, latency 5 ms; {working[0].told}",
            Bar(EXPECTED_ROWS_PER_S, at_least=True),
        ),
        Figure("session: the same by wall time", tuple(each.rows / each.wall_s for each in working), "rows/s"),
        _speed("session: reconsidered every 10 ms", restless, restless[0].told),
        _speed("session: defaults, full records", default, default[0].told, Bar(EXPECTED_ROWS_PER_S, at_least=True)),
        ratio("session: CPU ÷ feed only", [each.cpu_s for each in working], [each.cpu_s for each in parsed]),
        ratio("session: CPU ÷ least Python loop", [each.cpu_s for each in working], [each.cpu_s for each in least]),
    ]


def _speed(name: str, passes: list[Pass], note: str, bar: Bar | None = None) -> Figure:
    return Figure(name, tuple(each.rows_per_s for each in passes), "rows/s", bar, note)


def _print_profile(folder: Path) -> None:
    """Where the time goes, by function; the profiler itself more than doubles it, and calls of small functions most."""
    profile = cProfile.Profile()
    _session(folder, WORKING, profile)
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(TOP)
