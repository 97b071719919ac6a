"""Market events as columns: one row per level, quote side or trade, in whole numbers, in order of arrival.

This is the layout of our Parquet recordings and what the compiled backtest reads. `columns_of` and `events_of` are exact
inverses: nothing is rounded, merged or reordered, and message boundaries are kept in `ends_message`.

Rows of a message are together, bids before asks, with the same times, kind and ids. A snapshot's `first_id` is its
`last_id`; a quote is two rows, bid and ask, its update id in both id columns, and an empty side has price and size 0; a
trade is one row with its trade id in both and the aggressor as its side. A snapshot or delta without a level is one row with
side, price and size 0. Refused with `MarketDataError`: numbers that do not fit and rows that make no message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, TopOfBook, Trade
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.exact import MAX_STEPS
from autohedge.market.raw import MAX_STEP_NS
from autohedge.ports import MarketFeed

try:
    import numpy as np
    import numpy.typing as npt
except ImportError as error:
    raise ConfigError("events as columns need numpy, which is not installed: run  pip install 'autohedge[parquet]'") from error

I64 = npt.NDArray[np.int64]
I8 = npt.NDArray[np.int8]
U8 = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

SNAPSHOT, DELTA, TOP, TRADE = range(4)
"""Values of `kind`."""

_CHUNK_EVENTS = 16_384  # as many events are Python lists at a time, the rest arrays
_CHUNK_ROWS = 131_072

_Head = tuple[int, int, int, int, int, int, int, int]
"""Of a message: ts_init_ns, ts_event_ns, kind, first_id, last_id, and how many rows are bids, asks, and of neither side."""


class EventColumns(NamedTuple):
    """Events, one array per column, all of one length; no rows means no events.

    Times are UTC ns (`ts_event_ns` 0 where the venue does not say), `kind` one of `SNAPSHOT`, `DELTA`, `TOP`, `TRADE`, `side`
    +1 for bid or buyer and −1 for ask or seller (0 in the row of a message without levels); `ends_message` is True in the last
    row of each message.
    """

    ts_init_ns: I64
    ts_event_ns: I64
    kind: U8
    side: I8
    price_ticks: I64
    size_lots: I64
    first_id: I64
    last_id: I64
    ends_message: Flags


DTYPES: dict[str, type[np.generic]] = {
    "ts_init_ns": np.int64,
    "ts_event_ns": np.int64,
    "kind": np.uint8,
    "side": np.int8,
    "price_ticks": np.int64,
    "size_lots": np.int64,
    "first_id": np.int64,
    "last_id": np.int64,
    "ends_message": np.bool_,
}


def columns_of(events: Iterable[MarketEvent]) -> EventColumns:
    """The rows of events, in their order. Raises `MarketDataError` for a number that does not fit in 64 bits."""
    waiting = iter(events)
    parts: list[EventColumns] = []
    while chunk := list(islice(waiting, _CHUNK_EVENTS)):
        parts.append(_columns_of_some(chunk))
    return joined(parts)


async def columns_of_feed(feed: MarketFeed) -> EventColumns:
    """All that a feed gives, as columns. Raises `MarketDataError` as the feed does."""
    parts: list[EventColumns] = []
    waiting: list[MarketEvent] = []
    async for batch in feed.batches():
        waiting += batch
        if len(waiting) >= _CHUNK_EVENTS:
            parts.append(columns_of(waiting))
            waiting = []
    parts.append(columns_of(waiting))
    return joined(parts)


def events_of(columns: EventColumns) -> Iterator[MarketEvent]:
    """The events whose rows these are. Raises `MarketDataError` for rows that make no message, where they come."""
    ends = np.flatnonzero(columns.ends_message) + 1
    rows = len(columns.kind)
    if (int(ends[-1]) if len(ends) else 0) != rows:
        raise MarketDataError(f"expected the last of {rows} rows to end a message, found that it does not")
    begin = done = 0
    while done < len(ends):
        # whole messages, about _CHUNK_ROWS rows of them, at least one
        upto = max(done + 1, int(np.searchsorted(ends, begin + _CHUNK_ROWS, side="right")))
        stop = int(ends[upto - 1])
        yield from _events_in(rows_between(columns, begin, stop), begin)
        begin, done = stop, upto


def joined(parts: Iterable[EventColumns]) -> EventColumns:
    """The parts one after the other."""
    filled = [part for part in parts if len(part.kind)]
    if len(filled) == 1:
        return filled[0]
    if not filled:
        return EventColumns._make(np.empty(0, dtype) for dtype in DTYPES.values())
    return EventColumns._make(np.concatenate(column) for column in zip(*filled, strict=True))


def rows_between(columns: EventColumns, begin: int, stop: int) -> EventColumns:
    """Rows `begin` … `stop − 1`, as views."""
    return EventColumns._make(column[begin:stop] for column in columns)


def require_well_formed(columns: EventColumns, source: str) -> None:
    """See to it that every row belongs to a message of its kind and every number is in its range, so that compiled code may
    read the columns without looking. Raises `MarketDataError` with the first row at fault.
    """
    for _, what, faulty in _faults(columns):
        if faulty.any():
            raise MarketDataError(f"{source}: row {int(faulty.argmax())}: {what}; not a recording of ours, or a damaged one")


def without_faults(columns: EventColumns) -> tuple[EventColumns, list[tuple[str, str, int, int]]]:
    """The messages without a fault, and the faults of the others: kind (as in `autohedge.market.faults`), what it is, in how
    many rows, and the first of them.
    """
    found: list[tuple[str, str, int, int]] = []
    bad_rows = np.zeros(len(columns.kind), np.bool_)
    for kind, what, faulty in _faults(columns):
        # rows that are out of range are at fault in other ways too, which need not be told
        new = faulty & ~bad_rows
        if new.any():
            found.append((kind, what, int(new.sum()), int(new.argmax())))
        bad_rows |= faulty
    if not found:
        return columns, found
    message: I64 = np.cumsum(columns.ends_message) - columns.ends_message
    sound = ~np.isin(message, message[bad_rows])
    return EventColumns._make(column[sound] for column in columns), found


def in_order_of_receipt(columns: EventColumns, source: str) -> EventColumns:
    """Without the messages that were received before one that comes earlier; a feed leaves out the same ones.

    Raises `MarketDataError` where the receive time leaps by more than a year, which is damage and no market.
    """
    times = columns.ts_init_ns
    latest = np.maximum.accumulate(times)
    leaps = latest[1:] - latest[:-1] > MAX_STEP_NS
    if leaps.any():
        raise MarketDataError(f"{source}: row {int(leaps.argmax()) + 1}: the receive time leaps by more than a year; damaged")
    kept = times == latest
    return columns if kept.all() else EventColumns._make(column[kept] for column in columns)


# --- both ways -------------------------------------------------------------------------------------------------------------


def _columns_of_some(events: list[MarketEvent]) -> EventColumns:
    """The rows of one event or more: what a message has once is repeated for its rows."""
    levels: list[Level] = []
    heads = [_take(event, levels) for event in events]
    try:
        head = np.fromiter(chain.from_iterable(heads), np.int64, 8 * len(heads)).reshape(-1, 8)
        level = np.fromiter(chain.from_iterable(levels), np.int64, 2 * len(levels)).reshape(-1, 2)
    except OverflowError as error:
        raise MarketDataError("a time, price, size or id of an event does not fit in 64 bits") from error
    rows = head[:, 5:].sum(axis=1)
    ends = np.zeros(len(levels), np.bool_)
    ends[rows.cumsum() - 1] = True
    ts_init_ns, ts_event_ns, kind, first_id, last_id = (np.repeat(head[:, at], rows) for at in range(5))
    return EventColumns(
        ts_init_ns,
        ts_event_ns,
        kind.astype(np.uint8),
        np.repeat(np.tile(np.array((1, -1, 0), np.int8), len(heads)), head[:, 5:].ravel()),
        level[:, 0].copy(),
        level[:, 1].copy(),
        first_id,
        last_id,
        ends,
    )


def _take(event: MarketEvent, levels: list[Level]) -> _Head:
    """Put the levels of an event behind the others; the rest of it is its head."""
    if isinstance(event, TopOfBook):
        ts_event_ns, ts_init_ns, at, bid, bid_lots, ask, ask_lots = event
        levels.append((bid, bid_lots))
        levels.append((ask, ask_lots))
        return ts_init_ns, ts_event_ns, TOP, at, at, 1, 1, 0
    if isinstance(event, Trade):
        ts_event_ns, ts_init_ns, at, price, lots, aggressor = event
        levels.append((price, lots))
        return ts_init_ns, ts_event_ns, TRADE, at, at, int(aggressor == BUY), int(aggressor != BUY), 0
    if isinstance(event, BookDelta):
        ts_event_ns, ts_init_ns, first, last, bids, asks = event
        kind = DELTA
    else:
        ts_event_ns, ts_init_ns, last, bids, asks = event
        first, kind = last, SNAPSHOT
    if not bids and not asks:
        levels.append((0, 0))
        return ts_init_ns, ts_event_ns, kind, first, last, 0, 0, 1
    levels += bids
    levels += asks
    return ts_init_ns, ts_event_ns, kind, first, last, len(bids), len(asks), 0


def _events_in(columns: EventColumns, offset: int) -> Iterator[MarketEvent]:
    """The events of whole messages; `offset` is how many rows come before them, for the message of an error."""
    last_rows = np.flatnonzero(columns.ends_message)
    ends = (last_rows + 1).tolist()
    begins = [0, *ends[:-1]]
    bids = np.add.reduceat(columns.side > 0, begins, dtype=np.int64).tolist()
    empty = (columns.side[last_rows] == 0).tolist()
    stamps = (columns.kind, columns.ts_event_ns, columns.ts_init_ns, columns.first_id, columns.last_id)
    prices, lots = columns.price_ticks.tolist(), columns.size_lots.tolist()
    for begin, end, bid_rows, has_no_level, kind, ts_event_ns, ts_init_ns, first, last in zip(
        begins, ends, bids, empty, *(column[last_rows].tolist() for column in stamps), strict=True
    ):
        if kind == TRADE and end - begin == 1:
            yield Trade(ts_event_ns, ts_init_ns, last, prices[begin], lots[begin], BUY if bid_rows else SELL)
        elif kind == TOP and end - begin == 2:
            ask = begin + 1
            yield TopOfBook(ts_event_ns, ts_init_ns, last, prices[begin], lots[begin], prices[ask], lots[ask])
        elif kind in (SNAPSHOT, DELTA):
            split, stop = begin + bid_rows, begin if has_no_level else end
            bid_levels = tuple(zip(prices[begin:split], lots[begin:split], strict=True))
            ask_levels = tuple(zip(prices[split:stop], lots[split:stop], strict=True))
            if kind == DELTA:
                yield BookDelta(ts_event_ns, ts_init_ns, first, last, bid_levels, ask_levels)
            else:
                yield BookSnapshot(ts_event_ns, ts_init_ns, last, bid_levels, ask_levels)
        else:
            raise MarketDataError(f"row {offset + begin}: {end - begin} rows of kind {kind} make no message")


# --- well-formedness -------------------------------------------------------------------------------------------------------


def _faults(columns: EventColumns) -> Iterator[tuple[str, str, Flags]]:
    """What can be wrong with rows, by its name in `autohedge.market.faults` and in words, and which rows it is wrong with."""
    kind, side, ends = columns.kind, columns.side, columns.ends_message
    price, size = columns.price_ticks, columns.size_lots
    if not len(kind):
        return
    begins = np.empty_like(ends)
    begins[0], begins[1:] = True, ends[:-1]
    yield "corrupt", "the kind is none of 0, 1, 2, 3", kind > TRADE
    yield "negative", "a time is negative", (columns.ts_init_ns < 0) | (columns.ts_event_ns < 0)
    yield "negative", "an id is negative", columns.first_id < 0
    yield "corrupt", "the ids are not in order", columns.last_id < columns.first_id
    yield "negative", "a price or size is negative", (price < 0) | (size < 0)
    yield "out_of_range", "a price or size is out of range", (price > MAX_STEPS) | (size > MAX_STEPS)
    empty = (side == 0) & (price == 0) & (size == 0) & (kind <= DELTA) & begins & ends
    yield "zero", "a price is zero", (price == 0) & (kind != TOP) & ~empty
    yield "zero", "price or size is zero", ((price == 0) != (size == 0)) & (kind >= TOP)
    yield "corrupt", "the side is neither 1 nor -1", (side != 1) & (side != -1) & ~empty
    yield "corrupt", "a trade is not one row", (kind == TRADE) & ~(begins & ends)
    yield "corrupt", "a quote is not a bid and an ask", (kind == TOP) & ((begins != (side == 1)) | (ends != (side == -1)))
    yield "corrupt", "the message does not end", np.append(np.zeros(len(kind) - 1, np.bool_), ~ends[-1])
    same = kind[1:] == kind[:-1]
    for column in (columns.ts_init_ns, columns.ts_event_ns, columns.first_id, columns.last_id):
        same &= column[1:] == column[:-1]
    same &= side[1:] <= side[:-1]
    yield "corrupt", "the rows of a message differ, or a bid comes after an ask", np.append(False, ~same & ~begins[1:])
