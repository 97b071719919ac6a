"""The recorded session through feeds, recorder, sequence rules and statistics, whole and damaged."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, Level, MarketEvent, rows_of
from autohedge.errors import MarketDataError
from autohedge.market.parquet import ParquetRecordingFeed
from autohedge.market.recorder import Recorder
from autohedge.market.recordings import fingerprint, open_replay, symbol_of
from autohedge.market.statistics import RollingStatistics
from autohedge.market.sync import Applied, SyncedBook
from autohedge.ports import FeedReport, MarketFeed

SHORT = 6_000  # lines; 290 depth diffs, enough for what damage does
Replay = Callable[[Sequence[bytes]], MarketFeed]


async def booked(feed: MarketFeed) -> SyncedBook:
    """The book at the end of a feed."""
    synced = SyncedBook(OrderBook())
    async for batch in feed.batches():
        for event in batch:
            synced.apply(event)
    return synced


def depth(synced: SyncedBook) -> tuple[int, list[Level], list[Level]]:
    book = synced.book
    return book.last_update_id, book.depth_levels(BUY, 10**6), book.depth_levels(SELL, 10**6)


def diffs(lines: Sequence[bytes]) -> list[int]:
    """Where the depth diffs are, the first few (before and around the snapshot) left out."""
    return [at for at, line in enumerate(lines) if b"depthUpdate" in line][10:]


def test_the_raw_files_are_one_session_of_known_size(
    recorded: tuple[list[MarketEvent], FeedReport], events: list[MarketEvent]
) -> None:
    report = recorded[1]
    assert (report.messages, report.rows) == (len(events), sum(map(rows_of, events))) == (99_574, 466_363)
    assert (report.corrupt, report.foreign, report.out_of_order) == (0, 0, 0)
    # seven asks far from the market are finer than today's lot: orders from before the rule was changed
    assert report.rounded == 7


async def test_the_flattened_recording_gives_exactly_the_same_events(
    folder: Path, btc: Instrument, events: list[MarketEvent]
) -> None:
    feed = open_replay(folder / "spot_btcusdt_events.parquet", "BTC/USDT", btc)
    assert isinstance(feed, ParquetRecordingFeed)
    given = iter(events)
    async for batch in feed.batches():
        for event in batch:
            assert event == next(given)
    assert next(given, None) is None
    assert (feed.report.messages, feed.report.rows, feed.report.rounded) == (99_574, 466_363, 7)


def test_the_second_file_alone_is_refused_because_it_has_no_snapshot(folder: Path, btc: Instrument) -> None:
    with pytest.raises(MarketDataError, match=r"20240809\.jsonl\.gz: no book snapshot .* cannot be synchronised"):
        open_replay(folder / "spot_btcusdt_20240809.jsonl.gz", "BTC/USDT", btc)


def test_the_symbol_and_the_fingerprint_of_the_folder_are_known(folder: Path) -> None:
    assert symbol_of(folder) == symbol_of(folder / "spot_btcusdt_events.parquet") == "BTC/USDT"
    assert fingerprint(folder) == fingerprint(folder)
    assert fingerprint(folder) != fingerprint(folder / "spot_btcusdt_20240808.jsonl.gz")


async def test_recording_the_session_again_gives_the_same_events(
    tmp_path: Path, btc: Instrument, events: list[MarketEvent]
) -> None:
    recorder = Recorder(tmp_path, btc)
    for event in events[:20_000] + events[-5_000:]:
        recorder.write(event)
    recorder.close()
    feed = open_replay(tmp_path, "BTC/USDT", btc)
    assert [event async for batch in feed.batches() for event in batch] == events[:20_000] + events[-5_000:]


async def test_a_removed_depth_line_is_a_gap_and_the_book_is_invalid_until_a_snapshot(
    raw_lines: list[bytes], replay: Replay
) -> None:
    lines = raw_lines[:SHORT]
    removed = diffs(lines)[100]
    synced = await booked(replay(lines[:removed] + lines[removed + 1 :]))
    assert [gap.expected_id < gap.found_id for gap in synced.gaps] == [True]
    assert not synced.is_synced
    assert synced.counts[Applied.UNSYNCED] > 1_000


async def test_a_later_snapshot_heals_a_gap_to_the_same_book(raw_lines: list[bytes], replay: Replay) -> None:
    lines = raw_lines[:SHORT]
    whole = await booked(replay(lines))
    removed, healed = diffs(lines)[100], diffs(lines)[150]
    there = await booked(replay(lines[: healed + 1]))
    stamp = lines[healed].split(b" ")[0].decode()
    update_id, bids, asks = depth(there)

    def side(levels: list[Level]) -> str:
        return ",".join(f'["{price / 100:.2f}","{lots / 100_000:.5f}"]' for price, lots in levels)

    snapshot = f'{stamp} {{"lastUpdateId":{update_id},"bids":[{side(bids)}],"asks":[{side(asks)}]}}'.encode()
    damaged = [*lines[:removed], *lines[removed + 1 : healed + 1], snapshot, *lines[healed + 1 :]]
    synced = await booked(replay(damaged))
    assert len(synced.gaps) == 1
    assert depth(synced) == depth(whole)


async def test_repeated_lines_are_counted_and_the_book_is_unaffected(raw_lines: list[bytes], replay: Replay) -> None:
    lines = raw_lines[:SHORT]
    whole = await booked(replay(lines))
    chance = random.Random(7)
    repeated: list[bytes] = []
    doubled = 0
    for at, line in enumerate(lines):
        repeated.append(line)
        if at > 100 and chance.random() < 0.2:
            repeated.append(line)
            doubled += 1
    synced = await booked(replay(repeated))
    assert synced.counts[Applied.DUPLICATE] == doubled > 1_000
    assert (synced.gaps, depth(synced)) == ([], depth(whole))


async def test_swapped_lines_are_counted_and_never_applied(raw_lines: list[bytes], replay: Replay) -> None:
    lines = raw_lines[:SHORT]
    first, second = diffs(lines)[100:102]
    lines[first], lines[second] = lines[second], lines[first]
    feed = replay(lines)
    synced = await booked(feed)
    # what was received between the two is older than the one that was moved before it, and so is the other one
    assert feed.report.out_of_order == second - first
    assert len(synced.gaps) == 1
    assert not synced.is_synced


async def test_corrupt_lines_are_counted_and_never_applied(raw_lines: list[bytes], replay: Replay) -> None:
    lines = raw_lines[:SHORT]
    chance = random.Random(11)
    damaged = list(lines)
    quotes = [at for at, line in enumerate(lines) if b"bookTicker" in line]
    for at in chance.sample(quotes, 300):
        damaged[at] = damaged[at][: chance.randrange(len(damaged[at]))]
    feed = replay(damaged)
    synced = await booked(feed)
    empty = sum(1 for line in damaged if not line)
    assert feed.report.corrupt == 300 - empty
    assert len(feed.report.examples) == 5
    assert depth(synced) == depth(await booked(replay(lines)))


async def test_a_flipped_byte_never_gives_a_book_that_is_silently_wrong(raw_lines: list[bytes], replay: Replay) -> None:
    """A flipped digit inside a depth line is still a valid number and cannot be known; one anywhere else must show."""
    lines = raw_lines[:SHORT]
    whole = depth(await booked(replay(lines)))
    chance = random.Random(13)
    for at in chance.sample(diffs(lines), 8):
        line = bytearray(lines[at])
        line[chance.choice([each for each, byte in enumerate(line) if byte in b'{}[],"'])] = 0x7F
        feed = replay([*lines[:at], bytes(line), *lines[at + 1 :]])
        synced = await booked(feed)
        assert feed.report.corrupt == 1
        assert not synced.is_synced or depth(synced) == whole


@pytest.fixture(scope="module")
def sampled(btc: Instrument, events: list[MarketEvent]) -> list[float]:
    """Volatility per hour at each grid second of the session."""
    synced, statistics = SyncedBook(OrderBook()), RollingStatistics(btc)
    found: dict[int, float] = {}
    for event in events:
        if synced.apply(event) is Applied.APPLIED:
            for each in synced.applied_now:
                statistics.on_event(each, synced.book)
            second = event.ts_init_ns // 10**9
            if second not in found and (sigma := statistics.volatility_per_hour(event.ts_init_ns)) is not None:
                found[second] = sigma
    return list(found.values())


def test_volatility_of_the_session_is_about_0_0075_per_hour(sampled: list[float]) -> None:
    """Whole-session estimate: the root mean square of the 20-sample values."""
    assert len(sampled) == 630
    assert math.sqrt(sum(sigma**2 for sigma in sampled) / len(sampled)) == pytest.approx(0.0075, rel=0.1)
    assert 0.0005 < min(sampled) < max(sampled) < 0.05


def test_statistics_of_a_time_are_the_same_whether_or_not_the_session_goes_on(
    btc: Instrument, events: list[MarketEvent]
) -> None:
    def told(upto: int) -> tuple[SyncedBook, RollingStatistics]:
        synced, statistics = SyncedBook(OrderBook()), RollingStatistics(btc)
        for event in events[:upto]:
            if synced.apply(event) is Applied.APPLIED:
                for each in synced.applied_now:
                    statistics.on_event(each, synced.book)
        return synced, statistics

    now_ns = events[8_000].ts_init_ns
    synced, statistics = told(8_001)
    snapshot = statistics.snapshot(synced.book, now_ns)
    assert snapshot is not None
    assert snapshot.spread_bps < 1
    assert snapshot.avg_latency_ms == pytest.approx(-1272, abs=10)
    assert snapshot.depth_score > 10
    assert abs(snapshot.imbalance_mean) < 1
    _, later = told(12_000)
    assert later.volatility_per_hour(now_ns) == statistics.volatility_per_hour(now_ns) is not None
    assert later.trades(now_ns) == statistics.trades(now_ns)


def test_bursts_are_messages_that_stay_whole(events: list[MarketEvent]) -> None:
    """The largest diff of the session is one event: nobody sees the book between its levels."""
    assert max(rows_of(event) for event in events if isinstance(event, BookDelta)) > 500
