"""The recorded BTC/USDT session with one line missing, doubled, swapped or damaged: never applied, always counted."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from autohedge.bootstrap import prepare
from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot
from autohedge.domain.orders import OrderState
from autohedge.market.binance import LineParser, LineWriter
from autohedge.market.instruments import instrument
from autohedge.market.sync import SyncedBook
from autohedge.report import summarise_lane
from autohedge.session import TradingSession
from autohedge.settings import build_settings
from tests.integration.session.rig import FixedDesk, MemoryLedger

BTC = instrument("binance", "BTC/USDT")
LINES = 12_000
REMOVED_AFTER, RESTORED_AFTER = 5_000, 7_000
LIMITS = {"max_requests_per_min": 100_000}
MAKER = {"min_profit_threshold": "none", "touch": "join", "latency_ms": 20, "maker_fee_bps": 0}


class Played(NamedTuple):
    session: TradingSession
    ledger: MemoryLedger

    @property
    def report(self) -> dict[str, Any]:
        return summarise_lane(self.session.lanes[0])

    @property
    def quality(self) -> dict[str, Any]:
        return self.report["data_quality"]


@pytest.fixture(scope="module")
def lines(recordings: Path) -> list[bytes]:
    """The first two minutes, as lines without their ends."""
    with gzip.open(recordings / "binance_spot_btcusdt_20240808" / "spot_btcusdt_20240808.jsonl.gz") as file:
        return [file.readline().rstrip(b"\n") for _ in range(LINES)]


def replayed(lines: Sequence[bytes], folder: Path) -> Played:
    """The whole of these lines through book, maker, risk and paper venue; a fixed mandate for the whole time."""
    path = folder / "btcusdt.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    settings = build_settings(
        {"symbols": ("BTC/USDT",), "market": f"replay:{path}", "out_dir": folder, "maker": MAKER, "limits": LIMITS}
    )
    ledger = MemoryLedger()
    session = prepare(settings, desk=FixedDesk()).session(ledger)

    async def run() -> None:
        await session.run(None)
        await session.close()

    asyncio.run(run())
    return Played(session, ledger)


@pytest.fixture(scope="module")
def intact(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Played:
    return replayed(lines, tmp_path_factory.mktemp("intact"))


def depth_lines(lines: Sequence[bytes], after: int) -> list[int]:
    """Where the depth lines behind `after` are."""
    return [at for at in range(after, len(lines)) if b"depthUpdate" in lines[at]]


def stamp(line: bytes) -> int:
    return int(line.split(b" ", 1)[0])


def snapshot_after(lines: Sequence[bytes], at: int) -> bytes:
    """The line of the whole book as it is after line `at` of the intact session, as the exchange would answer it."""
    book = OrderBook()
    sync, parser = SyncedBook(book), LineParser(BTC)
    for line in lines[: at + 1]:
        event = parser.parse(line)
        if isinstance(event, BookSnapshot | BookDelta):
            sync.apply(event)
    bids, asks = (tuple(book.depth_levels(side, 1_000_000)) for side in (BUY, SELL))
    return LineWriter(BTC).line(BookSnapshot(0, stamp(lines[at]), book.last_update_id, bids, asks)).rstrip("\n").encode()


def test_a_missing_depth_line_stops_the_quotes_until_a_snapshot(lines: list[bytes], intact: Played, tmp_path: Path) -> None:
    """Gap: everything is cancelled, nothing is placed; a snapshot later the book is the venue's again and quoting resumes."""
    removed = depth_lines(lines, REMOVED_AFTER)[0]
    seen = depth_lines(lines, removed + 1)[0]
    restored = depth_lines(lines, RESTORED_AFTER)[0]
    broken = [*lines[:removed], *lines[removed + 1 : restored + 1], snapshot_after(lines, restored), *lines[restored + 1 :]]
    played = replayed(broken, tmp_path)
    gap_ns, snapshot_ns = stamp(lines[seen]), stamp(lines[restored])

    before = [record for record in intact.ledger.records if record.ts_ns < stamp(lines[removed])]
    assert [record for record in played.ledger.records if record.ts_ns < stamp(lines[removed])] == before
    assert any(record.ts_ns < gap_ns for record in played.ledger.orders)

    orders = {order.client_order_id: order for order in played.ledger.orders}
    assert not [order for order in orders.values() if gap_ns <= order.ts_ns < snapshot_ns], "an order on a book with a hole"
    ended = {each.client_order_id for each in played.ledger.order_events if each.event in ("cancelled", "filled", "rejected")}
    assert {order.client_order_id for order in orders.values() if order.ts_ns < gap_ns} <= ended
    by_gap = [each for each in played.ledger.order_events if each.detail == "gap" and each.event == "cancelling"]
    assert by_gap and {each.ts_ns for each in by_gap} == {gap_ns}
    assert {each.reason for each in played.ledger.quote_states if gap_ns <= each.ts_ns < snapshot_ns} == {"gap"}

    resumed = [order for order in orders.values() if order.ts_ns >= snapshot_ns]
    assert resumed and resumed[0].ts_ns - snapshot_ns < 1_000_000_000
    assert played.quality["gaps"] == 1 and played.quality["not_applied"]["gap"] == 1
    assert played.quality["not_applied"]["buffered"] > 10
    ours, theirs = played.session.lanes[0].book, intact.session.lanes[0].book
    assert ours.last_update_id == theirs.last_update_id
    assert all(ours.depth_levels(side, 10_000) == theirs.depth_levels(side, 10_000) for side in (BUY, SELL))
    assert all(order.state is not OrderState.PENDING_SUBMIT for order in played.session.lanes[0].order_desk.orders.values())


def test_doubled_lines_change_nothing(lines: list[bytes], intact: Played, tmp_path: Path) -> None:
    """A depth, a best-price and a trade line that come twice are counted, and the run is the same byte for byte."""
    doubled: list[bytes] = []
    kinds = {b"depthUpdate": 0, b"@bookTicker": 0, b'"trade"': 0}
    for at, line in enumerate(lines):
        doubled.append(line)
        for kind, done_at in kinds.items():
            if at > 3_000 and kind in line and not done_at:
                doubled.append(line)
                kinds[kind] = at
    assert all(kinds.values())
    played = replayed(doubled, tmp_path)
    assert played.ledger.lines == intact.ledger.lines
    extra = played.quality["not_applied"].get("duplicate", 0) - intact.quality["not_applied"].get("duplicate", 0)
    assert extra == 3


def test_corrupt_and_foreign_lines_are_counted_and_change_nothing(lines: list[bytes], intact: Played, tmp_path: Path) -> None:
    """Damage between good lines: told with file, line and reason, never applied, not even in part."""
    at_ns = stamp(lines[4_000])
    damage = [
        lines[4_000][:-40],
        b"\x00\xff garbage",
        b"%d [/bold] not a message" % at_ns,
        lines[4_000].replace(b'"U":', b'"U":-'),
        b'%d {"stream":"x","data":{"e":"trade","s":"BTCUSDT","t":1,"p":"-5","q":"1","m":true}}' % at_ns,
        b'%d {"stream":"x","data":{"e":"trade","s":"BTCUSDT","t":99999999999,"p":"NaN","q":"1","m":true}}' % at_ns,
    ]
    assert b"depthUpdate" in lines[depth_lines(lines, 4_000)[0]]
    damage[3] = lines[depth_lines(lines, 4_000)[0]].replace(b'"U":', b'"U":-')
    foreign = b'%d {"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1,"p":"1","q":"1","m":true}}' % at_ns
    played = replayed([*lines[:4_001], *damage, foreign, *lines[4_001:]], tmp_path)
    assert played.ledger.lines == intact.ledger.lines
    quality = played.quality
    assert quality["corrupt"] == len(damage) and quality["foreign"] == intact.quality["foreign"] + 1
    assert len(quality["examples"]) == 5 and all("btcusdt.jsonl:40" in example for example in quality["examples"])


def test_swapped_lines_are_refused_and_the_hole_they_leave_is_a_gap(lines: list[bytes], intact: Played, tmp_path: Path) -> None:
    """Of two depth lines in the wrong order the earlier one comes too late: counted, not applied, and the quotes stop."""
    first, second = depth_lines(lines, REMOVED_AFTER)[:2]
    swapped = list(lines)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    played = replayed(swapped, tmp_path)
    late = second - first  # the line itself, and all between, were received before the one that now stands first
    assert played.quality["out_of_order"] == late
    assert played.quality["gaps"] == 1
    gap_ns = stamp(lines[second])
    assert not [order for order in played.ledger.orders if order.ts_ns >= gap_ns]
    assert played.report["quote_uptime_frac"]["bid"] < intact.report["quote_uptime_frac"]["bid"]
    assert played.report["withheld_by"]["gap"] > 100
