"""Replay of raw files: what is given on, what is counted, what is refused."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.errors import MarketDataError
from autohedge.market import lines as lines_module
from autohedge.market.binance import LineWriter
from autohedge.market.raw import RawRecordingFeed

Save = Callable[..., Path]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
async def test_events_come_as_they_were_recorded(
    name: str, btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    feed = RawRecordingFeed([save(lines, name)], btc)
    assert await events_of(feed) == session
    report = feed.report
    assert (report.messages, report.rows) == (len(session), sum(map(rows_of, session)))
    assert (report.corrupt, report.foreign, report.out_of_order, report.rounded, report.examples) == (0, 0, 0, 0, [])
    assert feed.instrument is btc
    assert not feed.simulated
    assert name in feed.description


async def test_several_files_are_one_session(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    feed = RawRecordingFeed([save(lines[:50], "a.jsonl"), save(lines[50:], "b.jsonl.gz")], btc)
    assert await events_of(feed) == session


async def test_a_last_line_without_an_end_and_windows_line_ends_are_read(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], tmp_path: Path, events_of: Any
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\r\n".join(lines))
    feed = RawRecordingFeed([path], btc)
    assert await events_of(feed) == session


async def test_empty_lines_hold_nothing_and_are_not_counted(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    feed = RawRecordingFeed([save([b"", lines[0], b"  ", *lines[1:], b""])], btc)
    assert await events_of(feed) == session
    assert feed.report.corrupt == 0


async def test_corrupt_lines_are_counted_with_the_first_examples_and_never_given_on(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    bad = [b"\x00\xff\x1b[31m not a line", lines[3][:-7], b"5 {}", b"1e5 {}", b"x" * 500, b"{", b"}"]
    feed = RawRecordingFeed([save([*bad, *lines], "broken.jsonl")], btc)
    assert await events_of(feed) == session
    assert feed.report.corrupt == 7
    assert len(feed.report.examples) == 5
    assert feed.report.examples[0].startswith("broken.jsonl:1: no receive time")
    assert feed.report.examples[1].startswith("broken.jsonl:2: not JSON")
    assert all(example.isascii() and example.isprintable() for example in feed.report.examples)
    assert feed.report.examples[4].endswith(": " + "x" * 80)


async def test_lines_of_another_symbol_are_foreign(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    other = [line.replace(b"BTCUSDT", b"ETHUSDT") for line in lines[1:4]]
    feed = RawRecordingFeed([save([*other, *lines])], btc)
    assert await events_of(feed) == session
    assert feed.report.foreign == 3


async def test_a_line_received_before_its_predecessor_is_out_of_order(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    swapped = [*lines[:10], lines[11], lines[10], *lines[12:]]
    feed = RawRecordingFeed([save(swapped)], btc)
    assert await events_of(feed) == [*session[:10], *session[11:]]
    assert feed.report.out_of_order == 1


async def test_a_receive_time_of_another_century_is_corrupt_and_does_not_put_the_rest_out_of_order(
    btc: Instrument, session: list[MarketEvent], lines: list[bytes], save: Save, events_of: Any
) -> None:
    lines[5] = b"8" + lines[5][1:]
    feed = RawRecordingFeed([save(lines)], btc)
    assert await events_of(feed) == [*session[:5], *session[6:]]
    assert (feed.report.corrupt, feed.report.out_of_order) == (1, 0)


async def test_sizes_finer_than_a_lot_are_rounded_down_and_counted(btc: Instrument, save: Save, events_of: Any) -> None:
    old_order = b'1 {"lastUpdateId":1,"bids":[["1.00","25.42618900"]],"asks":[]}'
    feed = RawRecordingFeed([save([old_order])], btc)
    [snapshot] = await events_of(feed)
    assert snapshot.bids == ((100, 2542618),)
    assert (feed.report.rounded, feed.report.corrupt) == (1, 0)


async def test_a_truncated_gzip_is_an_error_that_says_how_far_it_was_readable(
    btc: Instrument, session: list[MarketEvent], tmp_path: Path
) -> None:
    writer = LineWriter(btc)
    # random ids compress badly, so that half of the file is about half of the lines
    chance = random.Random(1)
    content = "".join(writer.line(session[2]._replace(update_id=chance.getrandbits(62))) for _ in range(3_000)).encode()
    path = tmp_path / "cut.jsonl.gz"
    packed = gzip.compress(content)
    path.write_bytes(packed[: len(packed) // 2])
    feed = RawRecordingFeed([path], btc)
    with pytest.raises(MarketDataError, match=r"cut\.jsonl\.gz: .*truncated.*readable up to line \d+") as caught:
        async for _ in feed.batches():
            pass
    assert 1_000 < int(str(caught.value).rsplit(" ", 1)[1]) < 2_000


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl.gz", b"", "empty"),
        ("a.jsonl.gz", gzip.compress(b""), "empty"),
        ("a.jsonl", b"", "empty"),
        ("a.jsonl.gz", b"not gzip at all", "damaged"),
        ("a.jsonl.gz", gzip.compress(b"x" * 9_999)[:-9], "damaged"),
    ],
)
async def test_a_file_without_readable_lines_is_an_error(
    name: str, content: bytes, why: str, btc: Instrument, tmp_path: Path, events_of: Any
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MarketDataError, match=why):
        await events_of(RawRecordingFeed([path], btc))


async def test_a_file_that_cannot_be_opened_is_an_error(btc: Instrument, tmp_path: Path, events_of: Any) -> None:
    with pytest.raises(MarketDataError, match="cannot be read"):
        await events_of(RawRecordingFeed([tmp_path / "none.jsonl"], btc))


async def test_a_line_without_end_is_an_error_and_not_all_memory(
    btc: Instrument, tmp_path: Path, events_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 1_000)
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"5 {}\n" + b"x" * 5_000)
    with pytest.raises(MarketDataError, match="line 2 is longer"):
        await events_of(RawRecordingFeed([path], btc))


async def test_other_tasks_get_their_turn_between_batches(btc: Instrument, lines: list[bytes], save: Save) -> None:
    feed = RawRecordingFeed([save([lines[0]] * 3_000)], btc)
    turns: list[int] = []
    given = 0

    async def other() -> None:
        while True:
            turns.append(given)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async for batch in feed.batches():
        given += len(batch)
        assert len(batch) <= 512
    task.cancel()
    assert given == 3_000
    assert len({turn for turn in turns if 0 < turn < 3_000}) >= 4
