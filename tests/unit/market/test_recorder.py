"""Recording: what is written can be replayed to the same events, and recordings are never mixed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market import recorder as recorder_module
from autohedge.market.instruments import instrument
from autohedge.market.recorder import Recorder
from autohedge.market.recordings import open_replay


def recorded(folder: Path, of: Instrument, events: list[MarketEvent]) -> Path:
    recorder = Recorder(folder, of)
    for event in events:
        recorder.write(event)
    recorder.close()
    return folder


async def test_a_recording_replays_to_the_same_events_one_file_a_day(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    folder = recorded(tmp_path / "new" / "folder", btc, session)
    assert sorted(each.name for each in folder.iterdir()) == ["btcusdt_20241003.jsonl.gz", "btcusdt_20241004.jsonl.gz"]
    feed = open_replay(folder, "BTC/USDT", btc)
    assert await events_of(feed) == session
    assert (feed.report.corrupt, feed.report.foreign) == (0, 0)


async def test_events_of_any_nanosecond_come_back(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    events = [event._replace(ts_event_ns=event.ts_init_ns - 1_234_567) for event in session]
    assert await events_of(open_replay(recorded(tmp_path, btc, events), "BTC/USDT", btc)) == events


def test_the_same_events_give_the_same_bytes(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    one, two = recorded(tmp_path / "1", btc, session), recorded(tmp_path / "2", btc, session)
    for file in one.iterdir():
        content = file.read_bytes()
        assert content == (two / file.name).read_bytes()
        assert content[4:8] == bytes(4), "the time in a gzip header would make two runs differ"


async def test_without_a_close_the_file_ends_earlier_and_can_be_replayed(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_FLUSH_LINES", 10)
    recorder = Recorder(tmp_path, btc)
    for event in session:
        recorder.write(event)
    events = await events_of(open_replay(tmp_path, "BTC/USDT", btc))
    assert events == session[: len(events)]
    assert len(session) - 10 < len(events) < len(session)


def test_a_folder_that_has_recordings_of_the_symbol_is_refused(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path
) -> None:
    recorded(tmp_path, btc, session)
    with pytest.raises(ConfigError, match=r"already has a recording of BTC/USDT \(btcusdt_20241003\.jsonl\.gz\)"):
        Recorder(tmp_path, btc)
    recorded(tmp_path, instrument("binance", "ETH/USDT"), session)


def test_a_recording_made_by_others_counts_too(btc: Instrument, tmp_path: Path) -> None:
    (tmp_path / "spot_BTCUSDT_x.jsonl").touch()
    with pytest.raises(ConfigError, match="already has"):
        Recorder(tmp_path, btc)


async def test_several_symbols_may_share_a_folder(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    eth = instrument("binance", "ETH/USDT")
    recorded(tmp_path, btc, session)
    recorded(tmp_path, eth, session[:30])
    assert await events_of(open_replay(tmp_path, "BTC/USDT", btc)) == session
    assert await events_of(open_replay(tmp_path, "ETH/USDT", eth)) == session[:30]


def test_a_recorder_that_was_told_nothing_leaves_no_file(btc: Instrument, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, btc)
    recorder.close()
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_or_written_is_refused(btc: Instrument, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot record into"):
        Recorder(tmp_path / "file", btc)
    with pytest.raises(ConfigError, match="cannot record into"):
        Recorder(tmp_path / "file" / "below", btc)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_refused(btc: Instrument, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="not writable"):
        Recorder(tmp_path, btc)


def test_a_disk_that_refuses_while_recording_is_an_error(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "gone", btc)
    (tmp_path / "gone").rmdir()
    recorder.write(session[0])
    with pytest.raises(MarketDataError, match="cannot record to"):
        recorder.close()
