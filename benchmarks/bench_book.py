"""How fast a recorded session is read: parse alone, and parse + sequence rules + book + statistics.

Run: `AUTOHEDGE_DATA=<folder> python benchmarks/bench_book.py`. Rows are level changes, quote sides and trades; the best of
three passes counts, files are read and unpacked within the measured time.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import MarketEvent
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.market.statistics import RollingStatistics
from autohedge.market.sync import Applied, SyncedBook
from autohedge.ports import MarketFeed

SESSION = "binance_spot_btcusdt_20240808"
PASSES = 3
DECISION_NS = 100_000_000


def nothing() -> Callable[[MarketEvent], None]:
    """Parse only."""
    return lambda event: None


def booked() -> Callable[[MarketEvent], None]:
    """Sequence rules, book, statistics, and what a quote decision asks of them ten times a second."""
    synced, statistics = SyncedBook(OrderBook()), RollingStatistics(instrument("binance", "BTC/USDT"))
    book = synced.book
    next_ns = 0

    def take(event: MarketEvent) -> None:
        nonlocal next_ns
        if synced.apply(event) is Applied.APPLIED:
            for each in synced.applied_now:
                statistics.on_event(each, book)
        if event.ts_init_ns >= next_ns:
            next_ns = event.ts_init_ns + DECISION_NS
            statistics.volatility_per_hour(event.ts_init_ns)
            statistics.depth_score(book)

    return take


async def replayed(feed: MarketFeed, take: Callable[[MarketEvent], None]) -> int:
    """Rows given by a feed."""
    async for batch in feed.batches():
        for event in batch:
            take(event)
    return feed.report.rows


def measure(path: Path, made: Callable[[], Callable[[MarketEvent], None]]) -> tuple[int, float]:
    """Rows, and the seconds of the fastest pass."""
    rows, fastest_s = 0, float("inf")
    for _ in range(PASSES):
        feed = open_replay(path, "BTC/USDT", instrument("binance", "BTC/USDT"))
        take = made()
        started_s = time.perf_counter()
        rows = asyncio.run(replayed(feed, take))
        fastest_s = min(fastest_s, time.perf_counter() - started_s)
    return rows, fastest_s


def main() -> None:
    """Print the figures, or why there are none."""
    folder = Path(os.environ.get("AUTOHEDGE_DATA", "")) / SESSION
    if "AUTOHEDGE_DATA" not in os.environ or not folder.is_dir():
        print(f"bench_book: skipped, AUTOHEDGE_DATA does not name a folder with {SESSION}")
        return
    print(f"bench_book: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for name, made in (("parse", nothing), ("parse + book + statistics", booked)):
        rows, seconds = measure(folder, made)
        print(f"  {name:<28} {rows:>8,} rows in {seconds:.2f} s = {rows / seconds:>9,.0f} rows/s")


if __name__ == "__main__":
    main()
