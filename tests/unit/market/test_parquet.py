"""Replay of the flattened layout: rows become the messages they were."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade, rows_of
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market import parquet
from autohedge.market.instruments import instrument, simulated_instrument
from autohedge.market.parquet import ParquetRecordingFeed

TICK_E8, LOT_E8 = 1_000_000, 1_000


def rows(events: Sequence[MarketEvent]) -> list[dict[str, Any]]:
    """Events in the flattened layout."""
    flat: list[dict[str, Any]] = []
    for event in events:
        match event:
            case Trade():
                kind, ids = "T", (event.trade_id, event.trade_id)
                sides = [(int(event.aggressor), event.price_ticks, event.size_lots)]
            case TopOfBook():
                kind, ids = "Q", (event.update_id, event.update_id)
                sides = [(1, event.bid_ticks, event.bid_lots), (-1, event.ask_ticks, event.ask_lots)]
            case BookSnapshot() | BookDelta():
                kind = "S" if isinstance(event, BookSnapshot) else "D"
                ids = (event.last_update_id if kind == "S" else event.first_update_id, event.last_update_id)
                sides = [(1, *level) for level in event.bids] + [(-1, *level) for level in event.asks]
        flat += [
            {
                "local_ts_ns": event.ts_init_ns,
                "exch_ts_ms": event.ts_event_ns // 1_000_000,
                "kind": kind,
                "side": side,
                "px_e8": price * TICK_E8,
                "qty_e8": lots * LOT_E8,
                "id_first": ids[0],
                "id_last": ids[1],
            }
            for side, price, lots in sides
        ]
    return flat


def saved(path: Path, flat: list[dict[str, Any]], **types: Any) -> Path:
    schema = {"side": pl.Int8, "kind": pl.Categorical} | types
    pl.DataFrame(flat, schema_overrides=schema).write_parquet(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.parquet"


@pytest.mark.parametrize("slice_rows", [7, 8, 9, 10, 1_000])
async def test_rows_become_the_messages_they_were_wherever_a_slice_ends(
    slice_rows: int,
    path: Path,
    btc: Instrument,
    session: list[MarketEvent],
    events_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet, "SLICE_ROWS", slice_rows)
    feed = ParquetRecordingFeed(saved(path, rows(session)), btc)
    assert await events_of(feed) == session
    assert (feed.report.messages, feed.report.rows) == (len(session), sum(map(rows_of, session)))
    assert feed.has_snapshot()


async def test_repeated_messages_stay_apart(path: Path, btc: Instrument, session: list[MarketEvent], events_of: Any) -> None:
    twice = [each for event in session for each in (event, event)]
    assert await events_of(ParquetRecordingFeed(saved(path, rows(twice)), btc)) == twice


async def test_trades_of_one_moment_stay_apart(path: Path, btc: Instrument, session: list[MarketEvent], events_of: Any) -> None:
    trade = session[3]
    assert isinstance(trade, Trade)
    burst = [trade, trade._replace(trade_id=trade.trade_id + 1), trade._replace(trade_id=trade.trade_id + 2)]
    assert await events_of(ParquetRecordingFeed(saved(path, rows(burst)), btc)) == burst


@pytest.mark.parametrize(
    ("row", "change", "why"),
    [
        (0, {"px_e8": 5}, "price is not a multiple"),
        (0, {"px_e8": -TICK_E8}, "out of range"),
        (0, {"qty_e8": -LOT_E8}, "out of range"),
        (0, {"px_e8": None}, "missing"),
        (0, {"side": 0}, "the side"),
        (0, {"local_ts_ns": -1}, "time"),
        (0, {"exch_ts_ms": -1}, "time"),
        (0, {"id_first": 10**12}, "ids"),
        (0, {"px_e8": 0}, "price is zero"),
        (3, {"kind": "Q", "side": 1}, "one bid and one ask"),
        (5, {"qty_e8": 1}, "less than a lot"),
        (5, {"kind": "X"}, "none of S, D, Q, T"),
    ],
)
async def test_a_corrupt_message_is_counted_and_never_given_on(
    row: int, change: dict[str, Any], why: str, path: Path, btc: Instrument, session: list[MarketEvent], events_of: Any
) -> None:
    flat = rows(session[1:4])  # a delta of three rows, a quote of two, a trade
    damaged = next(at for at, end in enumerate((3, 5, 6)) if row < end)
    # a row that differs in what rows are grouped by would be a message of its own, so all rows of the message are changed
    whole = range((0, 3, 5)[damaged], (3, 5, 6)[damaged])
    for each in whole if set(change) & {"kind", "local_ts_ns", "exch_ts_ms", "id_first"} else [row]:
        flat[each] |= change
    feed = ParquetRecordingFeed(saved(path, flat), btc)
    expected = [event for at, event in enumerate(session[1:4]) if at != damaged]
    assert [event for event in await events_of(feed) if event in session] == expected
    assert feed.report.corrupt >= 1
    assert why in feed.report.examples[0]
    assert feed.report.messages == 2


async def test_messages_out_of_order_are_counted_and_a_snapshot_must_be_sorted(
    path: Path, btc: Instrument, session: list[MarketEvent], events_of: Any
) -> None:
    first = session[0]
    assert isinstance(first, BookSnapshot)
    events = [session[4], session[2], first._replace(bids=first.bids[::-1], ts_init_ns=session[5].ts_init_ns)]
    feed = ParquetRecordingFeed(saved(path, rows(events)), btc)
    assert await events_of(feed) == [session[4]]
    assert (feed.report.out_of_order, feed.report.corrupt) == (1, 1)


async def test_sizes_finer_than_a_lot_are_rounded_down_and_counted(
    path: Path, btc: Instrument, session: list[MarketEvent], events_of: Any
) -> None:
    flat = rows(session[:1])
    flat[1]["qty_e8"] += 999
    feed = ParquetRecordingFeed(saved(path, flat), btc)
    assert await events_of(feed) == session[:1]
    assert feed.report.rounded == 1


def test_a_file_that_is_not_this_layout_is_refused(path: Path, btc: Instrument, session: list[MarketEvent]) -> None:
    with pytest.raises(MarketDataError, match="cannot be read as Parquet"):
        ParquetRecordingFeed(path, btc)
    path.write_bytes(b"not parquet")
    with pytest.raises(MarketDataError, match="cannot be read as Parquet"):
        ParquetRecordingFeed(path, btc)
    pl.DataFrame({"open": [1.0]}).write_parquet(path)
    with pytest.raises(MarketDataError, match=r"expected columns local_ts_ns.*found open"):
        ParquetRecordingFeed(path, btc)
    with pytest.raises(MarketDataError, match="expected whole numbers in px_e8"):
        ParquetRecordingFeed(saved(path, rows(session), px_e8=pl.Float64), btc)


@pytest.fixture
def damaged(path: Path, session: list[MarketEvent]) -> Path:
    """A file whose data are overwritten and whose footer is whole."""
    content = bytearray(saved(path, rows(session * 50)).read_bytes())
    content[100:-2_000] = bytes(len(content) - 2_100)
    path.write_bytes(content)
    return path


async def test_a_file_damaged_inside_is_an_error(damaged: Path, btc: Instrument, events_of: Any) -> None:
    with pytest.raises(MarketDataError, match="damaged or truncated"):
        await events_of(ParquetRecordingFeed(damaged, btc))


def test_a_step_finer_than_the_layout_is_refused(path: Path, session: list[MarketEvent]) -> None:
    fine = simulated_instrument("A/B").__dict__ | {"tick_size": Decimal("1e-9")}
    with pytest.raises(MarketDataError, match="whole number of 1e-8"):
        ParquetRecordingFeed(saved(path, rows(session)), Instrument(**fine))


async def test_a_coarse_tick_is_exact(path: Path, events_of: Any) -> None:
    krw = instrument("upbit", "BTC/KRW")
    [row] = rows([Trade(0, 1, 1, 1, 1, BUY)])
    row |= {"px_e8": 94_000_000 * 10**8, "qty_e8": 7}
    [event] = await events_of(ParquetRecordingFeed(saved(path, [row]), krw))
    assert (event.price_ticks, event.size_lots) == (94_000, 7)


def test_without_polars_the_error_says_how_to_install_it(path: Path, btc: Instrument, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[parquet\]'"):
        ParquetRecordingFeed(path, btc)


def test_opening_recordings_does_not_import_polars() -> None:
    """Raw replays must start without the extra, and quickly."""
    code = "import sys, autohedge.market.recordings, autohedge.market.recorder; print('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
