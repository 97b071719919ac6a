"""Recording in Parquet: what is written is replayed to the same events, also after a kill; recordings are never mixed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade, rows_of
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market import parquet_recorder
from autohedge.market.event_rows import EventColumns, columns_of
from autohedge.market.instruments import instrument, simulated_instrument
from autohedge.market.parquet_dataset import ParquetDatasetFeed, load_columns
from autohedge.market.parquet_folder import files_of, read_dataset, read_instrument
from autohedge.market.parquet_recorder import ParquetRecorder, record_market
from autohedge.market.recorder import Recorder
from autohedge.market.recordings import fingerprint, open_replay, read_columns, recorded_instrument, symbol_of
from autohedge.ports import FeedReport


def recorded(folder: Path, of: Instrument, events: Sequence[MarketEvent]) -> Path:
    recorder = ParquetRecorder(folder, of)
    for event in events:
        recorder.write(event)
    recorder.close()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def same(one: EventColumns, other: EventColumns) -> bool:
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


async def test_a_recording_replays_to_the_same_events_one_folder_a_day(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    folder = recorded(tmp_path / "new" / "BTC-USDT", btc, session)
    assert names(folder) == ["date=2024-10-03/000001.parquet", "date=2024-10-04/000002.parquet", "instrument.json"]
    feed = open_replay(folder, "BTC/USDT", btc)
    assert await events_of(feed) == session
    assert feed.report == FeedReport(messages=len(session), rows=sum(map(rows_of, session)))
    assert feed.description == "replay of BTC-USDT (2 Parquet files)"
    assert not feed.simulated
    assert same(load_columns(folder), columns_of(session))
    assert same(await read_columns(tmp_path / "new", "BTC/USDT", btc), columns_of(session))


@given(
    steps=st.lists(st.tuples(st.integers(0, 40_000 * 10**9), st.integers(0, 3), st.integers(0, 9)), max_size=12),
    flush_rows=st.integers(1, 12),
)
async def test_any_events_come_back_whatever_the_files(
    steps: list[tuple[int, int, int]], flush_rows: int, btc: Instrument, session: list[MarketEvent], events_of: Any
) -> None:
    """Files end by rows, by time and by day; empty messages, any nanosecond and all kinds are kept."""
    at = session[0].ts_init_ns
    events: list[MarketEvent] = [session[0]]
    for number, (step_ns, kind, value) in enumerate(steps):
        at += step_ns
        levels = tuple((value + each + 1, each) for each in range(value % 3))
        made: tuple[MarketEvent, ...] = (
            BookSnapshot(at - value, at, 10 * number, levels[::-1], ()),
            BookDelta(value, at, number, number + value, levels, levels),
            TopOfBook(0, at, number, value, value, 7, 8),
            Trade(at, at, number, value + 1, value + 1, BUY),
        )
        events.append(made[kind])
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(parquet_recorder, "FLUSH_ROWS", flush_rows)
        recorded(Path(folder), btc, events)
        assert await events_of(open_replay(Path(folder), "BTC/USDT", btc)) == events
        assert same(load_columns(Path(folder)), columns_of(events))
        for part in read_dataset(Path(folder)).parts:
            days = {ts_ns // (86_400 * 10**9) for ts_ns in pl.read_parquet(part)["ts_init_ns"].to_list()}
            assert len(days) == 1


def test_a_flush_comes_after_so_many_rows_and_after_so_much_time(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_recorder, "FLUSH_ROWS", 20)
    parts = read_dataset(recorded(tmp_path / "rows", btc, session)).parts
    assert max(pl.read_parquet(part).height for part in parts) <= 22
    assert len(parts) > 8
    recorder = ParquetRecorder(tmp_path / "time", btc)
    recorder.write(session[0])
    assert names(tmp_path / "time") == []
    recorder.write(session[1]._replace(ts_init_ns=session[0].ts_init_ns + parquet_recorder.FLUSH_NS))
    assert "date=2024-10-03/000001.parquet" in names(tmp_path / "time")


def test_the_files_are_compressed_and_their_row_groups_bounded(
    btc: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_recorder, "ROW_GROUP_ROWS", 1_000)
    deep = tuple((price, 5) for price in range(9_000, 0, -1))
    folder = recorded(tmp_path, btc, [BookSnapshot(0, 1, 1, deep, ())])
    [part] = read_dataset(folder).parts
    content = part.read_bytes()
    assert len(content) < 9_000 * 8
    # each of nine row groups has its own nine column chunks, and each chunk at least one page
    assert content.count(b"\x28\xb5\x2f\xfd") >= 9 * 9, "frames of zstd"


def test_nobodys_clock_is_in_the_files(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    one, two = recorded(tmp_path / "1", btc, session), recorded(tmp_path / "2", btc, session)
    assert [(one / name).read_bytes() for name in names(one)] == [(two / name).read_bytes() for name in names(two)]


KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
from autohedge.market import parquet_recorder
from autohedge.market.parquet_recorder import ParquetRecorder
from autohedge.market.recordings import open_replay, recorded_instrument
import asyncio

source, folder = map(Path, sys.argv[1:])
of = recorded_instrument(source)
parquet_recorder.FLUSH_ROWS = 20
recorder = ParquetRecorder(folder, of)
written = pl.DataFrame.write_parquet

def killed_while_writing(self, file, **options):
    if folder.joinpath("date=2024-10-03/000004.parquet").exists():
        file.write(b"PAR1 and the beginning of what")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    written(self, file, **options)

pl.DataFrame.write_parquet = killed_while_writing

async def main():
    async for batch in open_replay(source, of.symbol, of).batches():
        for event in batch:
            recorder.write(event)

asyncio.run(main())
"""


def killed_while_recording(source: Path, folder: Path) -> int:
    return subprocess.run([sys.executable, "-c", KILLED, source, folder], check=False).returncode


async def test_after_a_hard_kill_all_that_was_flushed_is_there_and_the_torn_file_is_named(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    source, folder = tmp_path / "source", tmp_path / "BTC-USDT"
    recorder = Recorder(source, btc)
    for event in session:
        recorder.write(event)
    recorder.close()
    assert killed_while_recording(source, folder) == -signal.SIGKILL
    assert names(folder)[-2:] == ["date=2024-10-03/000005.parquet.partial", "instrument.json"]
    feed = open_replay(folder, "BTC/USDT", btc)
    events = await events_of(feed)
    assert events == session[: len(events)]
    assert sum(map(rows_of, events)) >= 4 * 20
    assert feed.report.corrupt == 1
    assert "000005.parquet.partial" in feed.report.examples[0]
    assert same(load_columns(folder), columns_of(events))
    assert fingerprint(folder) == fingerprint(folder)


def test_a_file_that_is_missing_truncated_doubled_or_foreign_is_named(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_recorder, "FLUSH_ROWS", 20)
    folder = recorded(tmp_path, btc, session)
    part = read_dataset(folder).parts[2]
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    for opened in (lambda: open_replay(folder, "BTC/USDT", btc), lambda: load_columns(folder)):
        with pytest.raises(MarketDataError, match=r"000003\.parquet: Parquet data are damaged or truncated"):
            opened()
    part.unlink()
    with pytest.raises(MarketDataError, match=r"000003\.parquet of \d+ is missing; the recording has a hole"):
        open_replay(folder, "BTC/USDT", btc)
    pl.DataFrame({"open": [1.0]}).write_parquet(part)
    for opened in (lambda: open_replay(folder, "BTC/USDT", btc), lambda: load_columns(folder)):
        with pytest.raises(MarketDataError, match=r"expected columns ts_init_ns Int64"):
            opened()
    part.write_bytes(content)
    (folder / "date=2024-10-04" / part.name).write_bytes(content)
    with pytest.raises(MarketDataError, match="two files have the same number"):
        open_replay(folder, "BTC/USDT", btc)
    (folder / "date=2024-10-04" / part.name).rename(folder / "date=2024-10-04" / "mine.parquet")
    with pytest.raises(MarketDataError, match=r"mine\.parquet: expected numbered files"):
        open_replay(folder, "BTC/USDT", btc)


async def test_rows_that_make_no_message_are_never_given_on(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    folder = recorded(tmp_path, btc, session)
    [part, _] = read_dataset(folder).parts
    frame = pl.read_parquet(part)
    frame.with_columns(side=pl.when(pl.int_range(pl.len()) == 5).then(3).otherwise("side").cast(pl.Int8)).write_parquet(part)
    with pytest.raises(MarketDataError, match=r"000001\.parquet: row 5: the side is neither"):
        await events_of(open_replay(folder, "BTC/USDT", btc))
    with pytest.raises(MarketDataError, match="row 5: the side is neither"):
        load_columns(folder)
    frame.with_columns(price_ticks=pl.when(pl.col("size_lots") != 3).then("price_ticks")).write_parquet(part)
    with pytest.raises(MarketDataError, match="a value is missing"):
        await events_of(open_replay(folder, "BTC/USDT", btc))


async def test_messages_out_of_order_are_counted_and_left_out_of_events_and_columns_alike(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    late = session[9]._replace(ts_init_ns=session[3].ts_init_ns)
    folder = recorded(tmp_path, btc, [*session[:9], late, *session[10:]])
    feed = open_replay(folder, "BTC/USDT", btc)
    assert await events_of(feed) == [*session[:9], *session[10:]]
    assert feed.report.out_of_order == 1
    assert same(load_columns(folder), columns_of([*session[:9], *session[10:]]))


async def test_a_leap_of_the_clock_is_refused(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    folder = recorded(tmp_path, btc, [session[0], session[1]._replace(ts_init_ns=2 * session[0].ts_init_ns)])
    with pytest.raises(MarketDataError, match="more than a year"):
        await events_of(open_replay(folder, "BTC/USDT", btc))
    with pytest.raises(MarketDataError, match="more than a year"):
        load_columns(folder)


def test_a_recording_without_a_snapshot_is_refused(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="no book snapshot"):
        open_replay(recorded(tmp_path, btc, session[1:]), "BTC/USDT", btc)


def test_the_instrument_is_the_recordings_own(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    simulated = simulated_instrument("ABC/USD")
    folder = recorded(tmp_path / "ABC-USD", simulated, session)
    recorded(tmp_path / "BTC-USDT", btc, session)
    assert read_instrument(folder) == recorded_instrument(folder) == recorded_instrument(tmp_path, "ABC/USD") == simulated
    assert symbol_of(folder) == "ABC/USD"
    assert recorded_instrument(tmp_path) is None, "there are two"
    assert open_replay(tmp_path, "ABC/USD", simulated).simulated
    assert not open_replay(tmp_path, "BTC/USDT", btc).simulated
    with pytest.raises(MarketDataError, match=r"expected a recording of ETH/USDT, found recordings of ABC/USD, BTC/USDT"):
        open_replay(tmp_path, "ETH/USDT", instrument("binance", "ETH/USDT"))
    finer = replace(btc, tick_size=Decimal("0.001"))
    with pytest.raises(MarketDataError, match=r"recorded in ticks of 0\.01 and lots of 0\.00001, asked for in ticks of 0\.001"):
        ParquetDatasetFeed(read_dataset(tmp_path / "BTC-USDT"), finer)


def test_an_instrument_that_cannot_be_read_is_named(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    path = recorded(tmp_path, btc, session) / "instrument.json"
    good = orjson.loads(path.read_bytes())
    for content in (b"{", b"[]", orjson.dumps(good | {"data": good["data"] | {"tick_size": "x"}})):
        path.write_bytes(content)
        with pytest.raises(MarketDataError, match=r"instrument\.json: the instrument of the recording cannot be read"):
            open_replay(tmp_path, "BTC/USDT", btc)
    path.write_bytes(orjson.dumps(good | {"layout": "autohedge.events.2"}))
    with pytest.raises(MarketDataError, match=r"expected a recording laid out as 'autohedge\.events\.1'"):
        open_replay(tmp_path, "BTC/USDT", btc)


def test_a_folder_without_a_finished_file_is_refused(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    folder = recorded(tmp_path, btc, session[:1])
    [part] = read_dataset(folder).parts
    part.rename(part.with_name(part.name + ".partial"))
    with pytest.raises(MarketDataError, match=r"no finished file; 000001\.parquet\.partial was being written"):
        open_replay(folder, "BTC/USDT", btc)


def test_two_recordings_of_a_symbol_are_not_chosen_from(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    recorded(tmp_path / "monday", btc, session)
    recorded(tmp_path / "tuesday", btc, session)
    with pytest.raises(MarketDataError, match=r"several recordings of BTC/USDT \(monday, tuesday\); name one"):
        open_replay(tmp_path, "BTC/USDT", btc)
    assert open_replay(tmp_path / "monday", "BTC/USDT", btc).description.startswith("replay of monday")
    assert fingerprint(tmp_path / "monday") == fingerprint(tmp_path / "tuesday") != fingerprint(tmp_path)
    files_of(tmp_path / "monday")[-1].write_bytes(b"")
    assert fingerprint(tmp_path / "monday") != fingerprint(tmp_path / "tuesday")


async def test_raw_and_parquet_recordings_may_lie_side_by_side(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    eth = instrument("binance", "ETH/USDT")
    recorded(tmp_path / "BTC-USDT", btc, session)
    raw = Recorder(tmp_path / "ETH-USDT", eth)
    for event in session[:30]:
        raw.write(event)
    raw.close()
    assert await events_of(open_replay(tmp_path, "BTC/USDT", btc)) == session
    assert await events_of(open_replay(tmp_path, "ETH/USDT", eth)) == session[:30]
    assert same(await read_columns(tmp_path, "ETH/USDT", eth), columns_of(session[:30]))
    assert recorded_instrument(tmp_path, "ETH/USDT") == eth


def test_a_folder_that_has_a_recording_is_refused(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    recorded(tmp_path / "own", btc, session)
    raw = Recorder(tmp_path / "raw", btc)
    raw.write(session[0])
    raw.close()
    for folder, found in (("own", "date=2024-10-03"), ("raw", "btcusdt_20241003.jsonl.gz")):
        with pytest.raises(ConfigError, match=rf"already has a recording \({found}\)"):
            ParquetRecorder(tmp_path / folder, btc)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot record into"):
        ParquetRecorder(tmp_path / "file" / "below", btc)


def test_a_disk_that_refuses_is_an_error_and_close_tries_again(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path
) -> None:
    recorder = ParquetRecorder(tmp_path / "gone", btc)
    (tmp_path / "gone").rmdir()
    recorder.write(session[0])
    with pytest.raises(MarketDataError, match="cannot record to"):
        recorder.close()
    (tmp_path / "gone").mkdir()
    recorder.close()
    recorder.close()
    assert load_columns(tmp_path / "gone").kind.tolist() == [0, 0, 0, 0]


def test_a_recorder_that_was_told_nothing_leaves_no_file(btc: Instrument, tmp_path: Path) -> None:
    ParquetRecorder(tmp_path, btc).close()
    assert list(tmp_path.iterdir()) == []


def test_without_polars_the_error_says_how_to_install_it(
    btc: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match="pip install"):
        ParquetRecorder(tmp_path, btc)


# --- a whole feed -----------------------------------------------------------------------------------------------------------


class Given:
    """A feed of given batches; fails after them if told to."""

    simulated, description = False, "a test"

    def __init__(self, of: Instrument, batches: Sequence[Sequence[MarketEvent]], error: BaseException | None = None) -> None:
        self.instrument, self.report = of, FeedReport()
        self._batches, self._error = batches, error

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        for batch in self._batches:
            yield batch
        if self._error is not None:
            raise self._error


async def test_a_feed_is_recorded_to_its_end_with_progress(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any
) -> None:
    told: list[int] = []
    feed = Given(btc, [session[:9], [], session[9:]])
    done = await record_market(feed, tmp_path, on_progress=lambda report, ts_ns: told.append(ts_ns))
    rows = sum(map(rows_of, session))
    assert done == (tmp_path, len(session), rows, session[0].ts_init_ns, session[-1].ts_init_ns)
    assert told == [session[8].ts_init_ns, session[8].ts_init_ns, session[-1].ts_init_ns]
    assert await events_of(open_replay(tmp_path, "BTC/USDT", btc)) == session


async def test_recording_ends_when_the_duration_is_over(btc: Instrument, session: list[MarketEvent], tmp_path: Path) -> None:
    done = await record_market(Given(btc, [session[:50], session[50:]], AssertionError("read on")), tmp_path, duration_s=0.5)
    expected = [event for event in session if event.ts_init_ns < session[0].ts_init_ns + 500_000_000]
    assert done.events == len(expected) > 20
    assert same(load_columns(tmp_path), columns_of(expected))
    with pytest.raises(ConfigError, match="more than 0 s"):
        await record_market(Given(btc, [session]), tmp_path / "2", duration_s=0)


async def test_what_was_given_before_a_failure_is_on_the_disk(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path
) -> None:
    with pytest.raises(MarketDataError, match="lost"):
        await record_market(Given(btc, [session[:9]], MarketDataError("lost")), tmp_path)
    assert same(load_columns(tmp_path), columns_of(session[:9]))


async def test_any_recorder_may_be_chosen(btc: Instrument, session: list[MarketEvent], tmp_path: Path, events_of: Any) -> None:
    await record_market(Given(btc, [session]), tmp_path, make_recorder=Recorder)
    assert await events_of(open_replay(tmp_path / "btcusdt_20241003.jsonl.gz", "BTC/USDT", btc)) == session[:58]
