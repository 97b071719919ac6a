"""The book against an independent replay of the same session: every applied update, ten levels a side, exactly."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook
from autohedge.market.sync import Applied, SyncedBook

TICK_E8, LOT_E8 = 1_000_000, 1_000
LEVELS = 10


def test_ten_levels_equal_the_oracle_after_every_applied_update(folder: Path, events: list[MarketEvent]) -> None:
    oracle = pl.read_parquet(folder / "oracle" / "spot_btcusdt_top10.parquet")
    sides = [f"{side}_{what}_e8_{at}" for side in ("bid", "ask") for at in range(LEVELS) for what in ("px", "qty")]
    expected = oracle.select("local_ts", pl.col("event_ms") * 1_000_000, "u", *sides).rows()
    synced = SyncedBook(OrderBook())
    snapshots = 0
    seen = 0
    for event in events:
        synced.apply(event)
        for applied in synced.applied_now:
            snapshots += isinstance(applied, BookSnapshot)
            if not isinstance(applied, BookDelta):
                continue
            shown = [
                value
                for side in (BUY, SELL)
                for price, lots in synced.book.depth_levels(side, LEVELS)
                for value in (price * TICK_E8, lots * LOT_E8)
            ]
            found = (applied.ts_init_ns, applied.ts_event_ns, applied.last_update_id, *shown)
            assert found == expected[seen], f"update {seen}"
            seen += 1
    assert seen == len(expected) == 6_493
    assert snapshots == 1


def test_the_session_has_no_gap_no_crossed_depth_and_nothing_out_of_order(events: list[MarketEvent]) -> None:
    synced = SyncedBook(OrderBook())
    for event in events:
        synced.apply(event)
    assert synced.gaps == []
    assert synced.crossed == 0
    # three deltas and three quotes come before the snapshot; two of the deltas are older than it
    expected = {Applied.APPLIED: 99_569, Applied.BUFFERED: 3, Applied.UNSYNCED: 3}
    assert synced.counts == dict.fromkeys(Applied, 0) | expected


def test_best_prices_are_the_venues_own_whenever_they_are_newer_than_the_depth(events: list[MarketEvent]) -> None:
    synced = SyncedBook(OrderBook())
    book, overlaid = synced.book, 0
    for event in events:
        if synced.apply(event) is Applied.APPLIED and isinstance(event, TopOfBook):
            shown = (book.best_bid_ticks, book.best_bid_lots, book.best_ask_ticks, book.best_ask_lots)
            assert shown == event[3:]
            assert book.levels(BUY, 1) == [event[3:5]]
            assert book.size_at(SELL, event.ask_ticks) == event.ask_lots
            overlaid += 1
    assert overlaid == 73_171
