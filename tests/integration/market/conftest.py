"""The recorded BTC/USDT session of 2024-08-08/09, read once."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.ports import FeedReport, MarketFeed


@pytest.fixture(scope="session")
def folder(recordings: Path) -> Path:
    """Where the session lies."""
    folder = recordings / "binance_spot_btcusdt_20240808"
    if not folder.is_dir():
        pytest.skip(f"{recordings} has no recorded BTC/USDT session")
    return folder


@pytest.fixture(scope="session")
def btc() -> Instrument:
    """BTC/USDT at Binance."""
    return instrument("binance", "BTC/USDT")


@pytest.fixture(scope="session")
def recorded(folder: Path, btc: Instrument) -> tuple[list[MarketEvent], FeedReport]:
    """All events of the session, from the raw files, with the feed's report."""
    feed = open_replay(folder, "BTC/USDT", btc)

    async def read() -> list[MarketEvent]:
        return [event async for batch in feed.batches() for event in batch]

    return asyncio.run(read()), feed.report


@pytest.fixture(scope="session")
def events(recorded: tuple[list[MarketEvent], FeedReport]) -> list[MarketEvent]:
    """All events of the session."""
    return recorded[0]


@pytest.fixture(scope="session")
def raw_lines(folder: Path) -> list[bytes]:
    """All lines of the session, without their ends."""
    return [line for file in sorted(folder.glob("*.jsonl.gz")) for line in gzip.decompress(file.read_bytes()).splitlines()]


@pytest.fixture
def replay(tmp_path: Path, btc: Instrument) -> Callable[[Sequence[bytes]], MarketFeed]:
    """Open these lines as a recording."""

    def replay(lines: Sequence[bytes]) -> MarketFeed:
        path = tmp_path / "btcusdt.jsonl"
        path.write_bytes(b"\n".join(lines))
        return open_replay(path, "BTC/USDT", btc)

    return replay
