"""A small session of one instrument, as events and as lines."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.market.binance import LineWriter
from autohedge.market.instruments import instrument
from autohedge.ports import MarketFeed

DAY_NS = 86_400 * 1_000_000_000
MIDNIGHT_NS = 20_000 * DAY_NS


@pytest.fixture(scope="session")
def btc() -> Instrument:
    """BTC/USDT at Binance."""
    return instrument("binance", "BTC/USDT")


@pytest.fixture(scope="session")
def session() -> list[MarketEvent]:
    """A snapshot, then 40 rounds of delta, best prices and trade, 50 ms apart, across midnight."""
    at = MIDNIGHT_NS - 1_000_000_000
    events: list[MarketEvent] = [BookSnapshot(0, at, 100, ((10_000, 5), (9_999, 6)), ((10_001, 7), (10_003, 8)))]
    for round_ in range(40):
        at += 50_000_000
        first = 101 + 2 * round_
        bid = 10_000 - round_ % 3
        happened = at // 1_000_000 * 1_000_000
        events += [
            BookDelta(happened, at, first, first + 1, ((9_990 - round_, 1 + round_), (9_999, 6)), ((10_004, round_),)),
            TopOfBook(0, at + 10, first + 2, bid, 3, bid + 1, 4),
            Trade(happened, at + 20, 500 + round_, bid, 2, SELL if round_ % 2 else BUY),
        ]
    return events


@pytest.fixture
def lines(btc: Instrument, session: list[MarketEvent]) -> list[bytes]:
    """The session's lines, without their ends."""
    writer = LineWriter(btc)
    return [writer.line(event).rstrip("\n").encode() for event in session]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write lines as a recording file and give its path."""

    def save(lines: Sequence[bytes], name: str = "btcusdt.jsonl.gz", folder: Path = tmp_path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"".join(line + b"\n" for line in lines)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return save


@pytest.fixture(scope="session")
def events_of() -> Callable[[MarketFeed], object]:
    """All events of a feed, in order."""

    async def events_of(feed: MarketFeed) -> list[MarketEvent]:
        return [event async for batch in feed.batches() for event in batch]

    return events_of
