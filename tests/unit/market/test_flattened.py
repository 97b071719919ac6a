"""The flattened layout in columns: what one message after the other gives, for whatever rows a file holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import MonkeyPatch

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.market import parquet
from autohedge.market.binance import CorruptLine
from autohedge.market.event_rows import columns_of, events_of
from autohedge.market.exact import MAX_STEPS
from autohedge.market.parquet import ParquetRecordingFeed
from autohedge.market.raw import MAX_STEP_NS, add_example
from autohedge.ports import FeedReport

TICK_E8, LOT_E8 = 1_000_000, 1_000
NOW = 1_700_000_000 * 10**9
NAMES = ("local_ts_ns", "exch_ts_ms", "kind", "side", "px_e8", "qty_e8", "id_first", "id_last")
Row = tuple[Any, ...]


def one_by_one(feed: ParquetRecordingFeed) -> tuple[list[MarketEvent], FeedReport]:
    """Every message made an event by itself, and what a replay counts."""
    events, report = [], FeedReport()
    last_ns: int | None = None
    for row, message in feed.messages():
        try:
            event = feed.event_of(message)
            last_ns = event.ts_init_ns if last_ns is None else last_ns
            if event.ts_init_ns > last_ns + MAX_STEP_NS:
                raise CorruptLine("the receive time is more than a year after the message before")
        except CorruptLine as error:
            report.corrupt += 1
            kind, *numbers = message[0]
            add_example(report, f"f.parquet: row {row}: {error}", f"{kind} {numbers}")
            continue
        if event.ts_init_ns < last_ns:
            report.out_of_order += 1
            continue
        last_ns = event.ts_init_ns
        report.messages += 1
        report.rows += rows_of(event)
        events.append(event)
    report.rounded = feed.report.rounded
    return events, report


def rows_of_messages(draw: st.DrawFn) -> Iterator[Row]:
    at, number = NOW, 100
    for kind in draw(st.lists(st.sampled_from("SDQT"), max_size=12)):
        at += draw(st.sampled_from([0, 0, 1, 10**9, -1, MAX_STEP_NS + 1]))
        number += draw(st.integers(0, 2))
        head = (at, draw(st.sampled_from([0, at // 10**6])), kind)
        prices = draw(st.integers(1, 3)), draw(st.integers(4, 6))
        bids, asks = ((prices[0] - down, 5) for down in range(prices[0])), ((prices[1] + up, 7) for up in range(2))
        if kind == "Q":
            bids, asks = ((price, 5 * bool(price)) for price in [prices[0] - 1]), ((price, 7) for price in [prices[1]])
        elif kind == "T":
            asks = iter(())
            bids = iter([(prices[0], 1)])
        levels = [(1, *level) for level in bids] + [(-1, *level) for level in asks]
        yield from ((*head, side, price * TICK_E8, lots * LOT_E8, number, number + 1) for side, price, lots in levels)


ODD = {
    "local_ts_ns": [None, -1, 0, NOW + 3 * MAX_STEP_NS],
    "exch_ts_ms": [None, -1, parquet.MAX_MS, parquet.MAX_MS + 1, 2**63 - 1],
    "kind": [None, "S", "D", "Q", "T", "X", ""],
    "side": [None, 0, 1, -1, 2],
    "px_e8": [None, -1, 0, 1, TICK_E8, TICK_E8 * MAX_STEPS if TICK_E8 * MAX_STEPS < 2**63 else 2**63 - 1, -TICK_E8],
    "qty_e8": [None, -1, 0, 1, LOT_E8 + 1, LOT_E8 * MAX_STEPS if LOT_E8 * MAX_STEPS < 2**63 else 2**63 - 1],
    "id_first": [None, -1, 0, 10**9],
    "id_last": [None, -1, 0, 10**9],
}


@st.composite
def files(draw: st.DrawFn) -> list[Row]:
    """Messages of all kinds, some rows of which are changed, left out or there twice."""
    rows = list(rows_of_messages(draw))
    for _ in range(draw(st.integers(0, 4)) if rows else 0):
        at = draw(st.integers(0, len(rows) - 1))
        name = draw(st.sampled_from([*NAMES, "drop", "again"]))
        if name == "again":
            rows.insert(at, rows[at])
        elif name == "drop" and len(rows) > 1:
            del rows[at]
        elif name in NAMES:
            changed = list(rows[at])
            changed[NAMES.index(name)] = draw(st.sampled_from(ODD[name]))
            rows[at] = tuple(changed)
    return rows


@settings(max_examples=300, deadline=None)
@given(files(), st.sampled_from([12, 10_000]))
def test_columns_are_what_one_message_after_the_other_gives(btc: Instrument, rows: list[Row], slice_rows: int) -> None:
    """Events, counts and examples, wherever a slice ends."""
    schema = dict.fromkeys(NAMES, pl.Int64()) | {"kind": pl.String()}
    with TemporaryDirectory() as folder, MonkeyPatch.context() as patched:
        patched.setattr(parquet, "SLICE_ROWS", slice_rows)
        file = Path(folder) / "f.parquet"
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(file)
        events, report = one_by_one(ParquetRecordingFeed(file, btc))
        feed = ParquetRecordingFeed(file, btc)
        columns = feed.columns()
        assert list(events_of(columns)) == events
        assert asdict(feed.report) == asdict(report)
        for one, other in zip(columns, columns_of(events), strict=True):
            assert np.array_equal(one, other) and one.dtype == other.dtype

        async def replayed(feed: ParquetRecordingFeed) -> list[MarketEvent]:
            return [event async for batch in feed.batches() for event in batch]

        again = ParquetRecordingFeed(file, btc)
        assert asyncio.run(replayed(again)) == events
        assert again.report == feed.report


def test_the_first_message_with_a_size_finer_than_a_lot_is_known(btc: Instrument, tmp_path: Path) -> None:
    """By the row it begins with; one that cannot be used does not count."""
    rows = [
        (NOW, 0, "T", 1, TICK_E8 + 1, LOT_E8 + 1, 1, 1),
        (NOW, 0, "D", 1, TICK_E8, LOT_E8, 1, 1),
        (NOW + 1, 0, "D", 1, TICK_E8, LOT_E8, 2, 2),
        (NOW + 1, 0, "D", -1, 3 * TICK_E8, LOT_E8 + 1, 2, 2),
    ]
    pl.DataFrame(rows, schema=list(NAMES), orient="row").write_parquet(tmp_path / "f.parquet")
    feed = ParquetRecordingFeed(tmp_path / "f.parquet", btc)
    feed.columns()
    assert (feed.first_rounded_row, feed.report.rounded, feed.report.corrupt) == (2, 1, 1)
