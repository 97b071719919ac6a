"""Which files a path means, and what is refused before anything is replayed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.errors import MarketDataError
from autohedge.market.binance import LineWriter
from autohedge.market.instruments import instrument, simulated_instrument
from autohedge.market.parquet import ParquetRecordingFeed
from autohedge.market.recorder import Recorder
from autohedge.market.recordings import fingerprint, open_replay, recorded_instrument, symbol_of

Save = Callable[..., Path]
ETH = instrument("binance", "ETH/USDT")


def flattened(path: Path, *, snapshot: bool = True) -> Path:
    row = {"local_ts_ns": 1, "exch_ts_ms": 0, "kind": "S" if snapshot else "D", "side": 1}
    row |= {"px_e8": 10**8, "qty_e8": 10**8, "id_first": 1, "id_last": 1}
    pl.DataFrame([row], schema_overrides={"side": pl.Int8}).write_parquet(path)
    return path


@pytest.fixture
def eth_lines(session: list[MarketEvent]) -> list[bytes]:
    writer = LineWriter(ETH)
    return [writer.line(event).rstrip("\n").encode() for event in session]


async def test_a_folder_is_its_raw_files_in_the_order_of_their_names(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, tmp_path: Path, events_of: Any
) -> None:
    save(lines[90:], "c_btcusdt_20240809.jsonl")
    save(lines[50:90], "b_btcusdt_20240809.jsonl.gz")
    save(lines[:50], "a_btcusdt_20240808.jsonl.gz")
    flattened(tmp_path / "btcusdt.parquet")
    (tmp_path / "README.md").write_text("notes")
    assert await events_of(open_replay(tmp_path, "BTC/USDT", btc)) == session


async def test_a_named_file_is_only_itself(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    save(lines[50:], "b.jsonl")
    assert await events_of(open_replay(save(lines[:50], "a.jsonl"), "BTC/USDT", btc)) == session[:50]


def test_parquet_counts_when_it_is_named_or_alone(btc: Instrument, lines: list[bytes], save: Save, tmp_path: Path) -> None:
    file = flattened(tmp_path / "events.parquet")
    assert isinstance(open_replay(tmp_path, "BTC/USDT", btc), ParquetRecordingFeed)
    save(lines)
    assert not isinstance(open_replay(tmp_path, "BTC/USDT", btc), ParquetRecordingFeed)
    assert isinstance(open_replay(file, "BTC/USDT", btc), ParquetRecordingFeed)


def test_several_parquet_files_must_be_named(btc: Instrument, tmp_path: Path) -> None:
    flattened(tmp_path / "a.parquet")
    flattened(tmp_path / "b.parquet")
    with pytest.raises(MarketDataError, match=r"several Parquet files \(a.parquet, b.parquet\)"):
        open_replay(tmp_path, "BTC/USDT", btc)


@pytest.mark.parametrize(("btc_folder", "eth_folder"), [("BTC-USDT", "ETH-USDT"), ("btcusdt", "ethusdt"), ("btc_usdt", "x")])
async def test_a_folder_of_folders_is_one_recording_per_symbol(
    btc_folder: str,
    eth_folder: str,
    btc: Instrument,
    session: list[MarketEvent],
    lines: list[bytes],
    eth_lines: list[bytes],
    save: Save,
    tmp_path: Path,
    events_of: Any,
) -> None:
    save(lines, f"{btc_folder}/a.jsonl")
    save(eth_lines[:50], f"{eth_folder}/b.jsonl")
    assert await events_of(open_replay(tmp_path, "BTC/USDT", btc)) == session
    if eth_folder == "x":
        with pytest.raises(MarketDataError, match=r"expected a recording of ETH/USDT, found lines of BTCUSDT"):
            open_replay(tmp_path, "ETH/USDT", ETH)
        assert symbol_of(tmp_path) == "BTC/USDT"
    else:
        assert await events_of(open_replay(tmp_path, "ETH/USDT", ETH)) == session[:50]
        assert symbol_of(tmp_path) is None


async def test_several_symbols_in_one_folder_are_told_apart_by_their_lines(
    btc: Instrument,
    session: list[MarketEvent],
    lines: list[bytes],
    eth_lines: list[bytes],
    save: Save,
    tmp_path: Path,
    events_of: Any,
) -> None:
    save(eth_lines, "1.jsonl")
    save(lines, "2.jsonl")
    feed = open_replay(tmp_path, "BTC/USDT", btc)
    assert await events_of(feed) == session
    assert feed.report.foreign == 0


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.gz", "a.jsonl.zip"])
def test_a_file_of_another_format_is_refused(name: str, btc: Instrument, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("x")
    for use in (lambda: open_replay(path, "BTC/USDT", btc), lambda: symbol_of(path), lambda: fingerprint(path)):
        with pytest.raises(MarketDataError, match=r"not a recording; expected \*\.jsonl\.gz"):
            use()


def test_what_is_missing_or_empty_is_refused(btc: Instrument, tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="no such file or folder"):
        open_replay(tmp_path / "none", "BTC/USDT", btc)
    with pytest.raises(MarketDataError, match="no recording in this folder"):
        open_replay(tmp_path, "BTC/USDT", btc)
    (tmp_path / "sub").mkdir()
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(MarketDataError, match="no recording in this folder"):
        open_replay(tmp_path, "BTC/USDT", btc)
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(MarketDataError, match="is empty"):
        open_replay(tmp_path, "BTC/USDT", btc)


def test_a_recording_of_another_symbol_is_refused(lines: list[bytes], save: Save) -> None:
    with pytest.raises(MarketDataError, match="expected a recording of ETH/USDT, found lines of BTCUSDT"):
        open_replay(save(lines), "ETH/USDT", ETH)


def test_a_recording_without_a_snapshot_is_refused(btc: Instrument, lines: list[bytes], save: Save, tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match=r"no book snapshot.*cannot be synchronised"):
        open_replay(save(lines[1:]), "BTC/USDT", btc)
    with pytest.raises(MarketDataError, match="no book snapshot"):
        open_replay(flattened(tmp_path / "x.parquet", snapshot=False), "BTC/USDT", btc)


def test_a_snapshot_that_is_damaged_is_no_snapshot(btc: Instrument, lines: list[bytes], save: Save) -> None:
    with pytest.raises(MarketDataError, match="no book snapshot"):
        open_replay(save([lines[0][:-3], *lines[1:]]), "BTC/USDT", btc)


def test_a_file_without_any_readable_line_is_not_a_recording(btc: Instrument, save: Save) -> None:
    with pytest.raises(MarketDataError, match="not a recording"):
        open_replay(save([b"date,open,high", b"1,2,3"], "candles.jsonl"), "BTC/USDT", btc)


def test_a_gzip_truncated_at_its_end_is_refused_although_the_snapshot_is_at_its_beginning(
    btc: Instrument, lines: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines * 500))[:-6])
    with pytest.raises(MarketDataError, match=r"a\.jsonl\.gz: .*readable up to line"):
        open_replay(path, "BTC/USDT", btc)


def test_the_symbol_is_told_from_the_lines_or_the_name(
    lines: list[bytes], eth_lines: list[bytes], save: Save, tmp_path: Path
) -> None:
    assert symbol_of(save(lines, "x.jsonl")) == "BTC/USDT"
    assert symbol_of(save(eth_lines, "spot_btcusdt.jsonl")) == "ETH/USDT"
    assert symbol_of(flattened(tmp_path / "spot_btcusdt_events.parquet")) == "BTC/USDT"
    assert symbol_of(flattened(tmp_path / "events.parquet")) is None
    assert symbol_of(save([line.replace(b"BTCUSDT", b"DOGEUSDT") for line in lines], "y.jsonl")) is None
    assert symbol_of(save([lines[0]], "spot_btcusdt_1.jsonl")) == "BTC/USDT"


async def test_a_recording_of_a_simulated_market_names_its_instrument_and_stays_simulated(
    session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    nvda = simulated_instrument("NVDA")
    recorder = Recorder(tmp_path, nvda)
    for event in session:
        recorder.write(event)
    recorder.close()
    assert symbol_of(tmp_path) == "NVDA"
    assert recorded_instrument(tmp_path) == recorded_instrument(tmp_path, "NVDA") == nvda
    feed = open_replay(tmp_path, "NVDA", nvda)
    assert feed.simulated
    assert await events_of(feed) == session


def test_a_recording_as_the_exchange_sent_it_names_no_instrument(btc: Instrument, lines: list[bytes], save: Save) -> None:
    path = save(lines)
    assert recorded_instrument(path) is None
    assert not open_replay(path, "BTC/USDT", btc).simulated


def test_a_fingerprint_changes_with_names_and_contents_and_with_nothing_else(
    lines: list[bytes], save: Save, tmp_path: Path
) -> None:
    save(lines[:50], "a.jsonl")
    save(lines[50:], "b.jsonl")
    before = fingerprint(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert fingerprint(tmp_path) == before
    (tmp_path / "b.jsonl").rename(tmp_path / "c.jsonl")
    renamed = fingerprint(tmp_path)
    save([*lines[50:], lines[-1]], "c.jsonl")
    assert len({before, renamed, fingerprint(tmp_path)}) == 3
    assert len(before) == 64
    assert fingerprint(tmp_path / "a.jsonl") == fingerprint(save(lines[:50], "elsewhere/a.jsonl"))
