"""The recorded session read and checked in one go: word for word and number for number what reading and checking give."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from autohedge.market.checked_columns import read_clean
from autohedge.market.instruments import instrument
from autohedge.market.recording_check import check_recording, read_and_check
from autohedge.market.recordings import read_columns

SYMBOL = "BTC/USDT"
FOLDER = "binance_spot_btcusdt_20240808"


@pytest.mark.parametrize("name", ["spot_btcusdt_events.parquet", "."])
def test_the_recorded_session_is_read_and_checked_at_once(recordings: Path, name: str) -> None:
    """Flattened Parquet and raw lines: the same events, and a few things that are told and no errors."""
    path, btc = recordings / FOLDER / name, instrument("binance", SYMBOL)
    columns, report = asyncio.run(read_and_check(path, SYMBOL, btc))
    assert read_clean(path, SYMBOL, btc, 60.0) is not None, "no closer look was needed"
    assert report == check_recording(path, SYMBOL, btc)
    assert report.ok and {each.kind for each in report.findings} == {"size_off_grid", "before_snapshot", "negative_latency"}
    for one, other in zip(columns, asyncio.run(read_columns(path, SYMBOL, btc)), strict=True):
        assert np.array_equal(one, other) and one.dtype == other.dtype
