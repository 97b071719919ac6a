"""Market events in the instrument's integers: price in ticks, size in lots, time in UTC nanoseconds.

`ts_event_ns` is when it happened at the venue (0 where the venue does not say), `ts_init_ns` when we received it. Venue
clocks may run ahead of ours, so the difference can be negative. Events are named tuples: immutable and cheap to make,
because there are millions of them. All rows of one venue message are in one event: nobody sees the book between them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Side(IntEnum):
    """Buy (+1) or sell (−1)."""

    BUY = 1
    SELL = -1


BUY = Side.BUY
SELL = Side.SELL

Level = tuple[int, int]
"""(price_ticks, size_lots); size 0 in a delta removes the level."""


class BookSnapshot(NamedTuple):
    """The whole visible book; bids best first (descending), asks best first (ascending)."""

    ts_event_ns: int
    ts_init_ns: int
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class BookDelta(NamedTuple):
    """The new sizes of the levels that changed in updates `first_update_id` … `last_update_id`."""

    ts_event_ns: int
    ts_init_ns: int
    first_update_id: int
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class TopOfBook(NamedTuple):
    """Best bid and ask, usually newer than the last delta."""

    ts_event_ns: int
    ts_init_ns: int
    update_id: int
    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int


class Trade(NamedTuple):
    """One public trade. `aggressor` is the side of the order that took."""

    ts_event_ns: int
    ts_init_ns: int
    trade_id: int
    price_ticks: int
    size_lots: int
    aggressor: Side


MarketEvent = BookSnapshot | BookDelta | TopOfBook | Trade


def rows_of(event: MarketEvent) -> int:
    """Flattened rows in the event: one per level change, quote side or trade."""
    if isinstance(event, TopOfBook):  # the most frequent kind
        return 2
    if isinstance(event, Trade):
        return 1
    return len(event.bids) + len(event.asks)
