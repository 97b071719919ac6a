"""How fast a recorded session is read: parse alone, and parse + sequence rules + book + statistics.

Rows are level changes, quote sides and trades, by CPU time; files are read and unpacked within the measured time.
"""

from __future__ import annotations

import asyncio
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
from benchmarks.figures import Figure, Options, ratio

PASSES = 5
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


def rows_per_s(path: Path, take: Callable[[MarketEvent], None]) -> float:
    """Rows per second of one pass."""
    feed = open_replay(path, "BTC/USDT", instrument("binance", "BTC/USDT"))
    began_s = time.process_time()
    rows = asyncio.run(replayed(feed, take))
    return rows / (time.process_time() - began_s)


def figures(options: Options) -> list[Figure]:
    """Rows per second of both, taken in turn."""
    folder = options.recorded_session()
    parsed, with_book = [], []
    for _ in range(PASSES):
        parsed.append(rows_per_s(folder, nothing()))
        with_book.append(rows_per_s(folder, booked()))
    return [
        Figure("book: parse alone", tuple(parsed), "rows/s", note="limit"),
        Figure("book: parse, sequence rules, book, statistics", tuple(with_book), "rows/s"),
        ratio("book: parse alone ÷ with the book", parsed, with_book),
    ]
