"""The recorded session in Parquet: the same events, the same records of a session over it, and a clean bill of health."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from autohedge.bootstrap import prepare
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.errors import MarketDataError
from autohedge.market.data_report import DataReport
from autohedge.market.event_rows import columns_of
from autohedge.market.parquet_dataset import load_columns
from autohedge.market.parquet_folder import read_dataset
from autohedge.market.parquet_recorder import ParquetRecorder
from autohedge.market.recorder import Recorder
from autohedge.market.recording_check import check_recording, require_clean
from autohedge.market.recordings import open_replay, recorded_instrument, symbol_of
from autohedge.settings import build_settings
from tests.integration.session.rig import FixedDesk, MemoryLedger

MAKER = {"min_profit_threshold": "none", "touch": "join", "latency_ms": 20, "maker_fee_bps": 0}
LIMITS = {"max_requests_per_min": 100_000}
A_MINUTE = 8_000  # events


@pytest.fixture(scope="module")
def dataset(events: list[MarketEvent], btc: Instrument, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole session, recorded in Parquet."""
    return recorded(tmp_path_factory.mktemp("parquet") / "BTC-USDT", btc, events)


def recorded(folder: Path, of: Instrument, events: Sequence[MarketEvent], kind: Any = ParquetRecorder) -> Path:
    recorder = kind(folder, of)
    for event in events:
        recorder.write(event)
    recorder.close()
    return folder


def kinds(report: DataReport) -> dict[str, int]:
    return {finding.kind: finding.count for finding in report.findings}


async def test_a_replay_of_the_recording_gives_the_identical_events(
    dataset: Path, btc: Instrument, events: list[MarketEvent]
) -> None:
    feed = open_replay(dataset, "BTC/USDT", btc)
    assert [event async for batch in feed.batches() for event in batch] == events
    assert (feed.report.messages, feed.report.rows) == (99_574, 466_363)
    assert (feed.report.corrupt, feed.report.out_of_order, feed.report.rounded) == (0, 0, 0)
    assert (symbol_of(dataset), recorded_instrument(dataset)) == ("BTC/USDT", btc)


def test_the_columns_are_those_of_the_events(dataset: Path, events: list[MarketEvent]) -> None:
    columns, expected = load_columns(dataset), columns_of(events)
    assert all(np.array_equal(one, other) for one, other in zip(columns, expected, strict=True))
    assert len(columns.kind) == sum(map(rows_of, events)) == 466_363
    assert int(columns.ends_message.sum()) == len(events)
    assert np.bincount(columns.kind).tolist()[2:] == [2 * 73_174, 19_904]


def test_the_recording_is_partitioned_by_day_and_small(dataset: Path, folder: Path) -> None:
    parts = read_dataset(dataset).parts
    assert sorted({part.parent.name for part in parts}) == ["date=2024-08-08", "date=2024-08-09"]
    first_of_second_day = next(part for part in parts if part.parent.name == "date=2024-08-09")
    assert pl.read_parquet(first_of_second_day)["ts_init_ns"].min() // 86_400_000_000_000 == 19_944
    size = sum(part.stat().st_size for part in parts)
    assert size < 1.25 * sum(each.stat().st_size for each in folder.glob("*.jsonl.gz"))
    assert max(pl.read_parquet(part).height for part in parts) < 20_000


def test_a_session_over_the_recording_leaves_the_same_records_byte_for_byte(
    tmp_path: Path, btc: Instrument, events: list[MarketEvent]
) -> None:
    def records_of(path: Path) -> MemoryLedger:
        market = f"replay:{path}"
        settings = build_settings(
            {"symbols": ("BTC/USDT",), "market": market, "out_dir": tmp_path, "maker": MAKER, "limits": LIMITS}
        )
        ledger = MemoryLedger()
        session = prepare(settings, desk=FixedDesk()).session(ledger)

        async def run() -> None:
            await session.run(None)
            await session.close()

        asyncio.run(run())
        return ledger

    first = events[:A_MINUTE]
    raw = records_of(recorded(tmp_path / "raw", btc, first, Recorder))
    parquet = records_of(recorded(tmp_path / "parquet", btc, first))
    assert list(raw.lines) == list(parquet.lines)
    assert len(raw.fills) > 10


@pytest.mark.parametrize("name", ["", "spot_btcusdt_events.parquet"])
def test_the_recorded_session_has_no_errors(name: str, folder: Path) -> None:
    report = check_recording(folder / name)
    assert report.ok
    assert kinds(report) == {"size_off_grid": 7, "before_snapshot": 6, "negative_latency": 26_399}
    latency = next(finding for finding in report.findings if finding.kind == "negative_latency")
    assert "median -1.272 s" in latency.detail
    assert report.rows == 466_363
    require_clean(report)


def test_the_session_recorded_again_has_no_errors(dataset: Path) -> None:
    report = check_recording(dataset)
    assert kinds(report) == {"before_snapshot": 6, "negative_latency": 26_399}
    assert (report.ok, report.rows) == (True, 466_363)


def test_the_second_day_alone_is_refused_for_want_of_a_snapshot(folder: Path) -> None:
    report = check_recording(folder / "spot_btcusdt_20240809.jsonl.gz")
    assert kinds(report) == {"no_snapshot": 1, "size_off_grid": 4, "negative_latency": 13_191}
    with pytest.raises(MarketDataError, match="not fit for a backtest: no_snapshot"):
        require_clean(report)
