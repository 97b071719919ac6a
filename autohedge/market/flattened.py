"""Rows of the flattened Parquet layout (`autohedge.market.parquet`) as event columns, without a step of Python per row.

Promise: what is sound here is what `ParquetRecordingFeed.event_of` makes an event of, with the same numbers; whatever it would
refuse is left out whole and named by its place, so that it can be asked for the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from autohedge.market.event_rows import DELTA, I64, SNAPSHOT, TOP, TRADE, EventColumns, Flags
from autohedge.market.exact import MAX_STEPS
from autohedge.market.parquet import MAX_MS
from autohedge.market.polars_extra import pl

if TYPE_CHECKING:
    import polars

_KINDS = {"S": SNAPSHOT, "D": DELTA, "Q": TOP, "T": TRADE}
_NO_KIND = 255


class Messages(NamedTuple):
    """The messages of some rows: those that are sound as columns, with the row each begins with; and the others.

    `unsound` are positions among all messages. `rounded` rows of sound messages have a size finer than a lot, the first of them
    in the message that begins with row `first_rounded` (−1 without any).
    """

    columns: EventColumns
    first_rows: I64
    positions: I64
    unsound: I64
    rounded: int
    first_rounded: int


def messages_in(frame: polars.DataFrame, starts: list[int], tick_e8: int, lot_e8: int) -> Messages:
    """The messages that begin at all `starts` but the last, which is where the last one ends."""
    bounds = np.array(starts, np.int64)
    begins = bounds[:-1]
    lengths: I64 = bounds[1:] - begins
    rows = _rows(frame.head(starts[-1]))
    columns, faulty, rounded = _converted(rows, tick_e8, lot_e8)
    columns.ends_message[begins + lengths - 1] = True
    if not len(begins):
        return Messages(columns, begins, begins, begins, 0, -1)
    faulty |= _out_of_order(columns)
    unsound = np.logical_or.reduceat(faulty, begins) | _no_quote(columns, begins, lengths)
    in_sound = np.repeat(~unsound, lengths)
    rounded &= in_sound
    first = -1
    if rounded.any():
        first = int(begins[np.searchsorted(begins, rounded.argmax(), side="right") - 1])
    return Messages(
        only(columns, (~unsound).tolist()),
        begins[~unsound],
        np.flatnonzero(~unsound),
        np.flatnonzero(unsound),
        int(rounded.sum()),
        first,
    )


def only(columns: EventColumns, kept: Sequence[bool]) -> EventColumns:
    """The rows of the messages that are kept."""
    if all(kept):
        return columns
    message: I64 = np.cumsum(columns.ends_message) - columns.ends_message
    in_kept = np.array(kept)[message]
    return EventColumns._make(column[in_kept] for column in columns)


def _rows(frame: polars.DataFrame) -> polars.DataFrame:
    """The columns without holes, with the kind as a code, and a flag for a row in which a value is missing."""
    kind = pl.col("kind").replace_strict(_KINDS, default=_NO_KIND, return_dtype=pl.UInt8)
    missing = pl.any_horizontal(pl.all().is_null())
    return frame.select(pl.exclude("kind").fill_null(0), kind.alias("code"), missing.alias("missing"))


def _converted(rows: polars.DataFrame, tick_e8: int, lot_e8: int) -> tuple[EventColumns, Flags, Flags]:
    """The rows in ticks, lots and nanoseconds; which of them are at fault by themselves, and which sizes were rounded down."""
    ts_ns, ms, first, last = (rows[name].to_numpy() for name in ("local_ts_ns", "exch_ts_ms", "id_first", "id_last"))
    side, kind = rows["side"].to_numpy(), rows["code"].to_numpy()
    ticks, off_grid = np.divmod(rows["px_e8"].to_numpy(), tick_e8)
    lots, rest = np.divmod(rows["qty_e8"].to_numpy(), lot_e8)
    faulty: Flags = rows["missing"].to_numpy() | (kind == _NO_KIND) | ((side != 1) & (side != -1)) | (off_grid != 0)
    faulty |= (ticks < 0) | (ticks > MAX_STEPS) | (lots < 0) | (lots > MAX_STEPS)
    faulty |= (ts_ns < 0) | (ms < 0) | (ms > MAX_MS) | (first < 0) | (first > last)
    # only a quote may have a price of zero, and then a size of zero: an empty side
    faulty |= (ticks == 0) & (kind != TOP)
    faulty |= (kind >= TOP) & ((ticks == 0) != (lots == 0))
    columns = EventColumns(
        ts_ns,
        np.where(faulty, 0, ms) * 1_000_000,
        kind,
        side.astype(np.int8),
        ticks,
        lots,
        np.where(kind == DELTA, first, last),
        last,
        np.zeros(len(kind), np.bool_),
    )
    return columns, faulty, rest != 0


def _out_of_order(columns: EventColumns) -> Flags:
    """Which levels of snapshots are not worse than the one before them on their side."""
    side, ticks, ends = columns.side, columns.price_ticks, columns.ends_message
    same = (columns.kind[1:] == SNAPSHOT) & ~ends[:-1] & (side[1:] == side[:-1])
    better_or_equal = np.where(side[1:] > 0, ticks[1:] >= ticks[:-1], ticks[1:] <= ticks[:-1])
    return np.append(False, same & better_or_equal)


def _no_quote(columns: EventColumns, begins: I64, lengths: I64) -> Flags:
    """Which messages are quotes without exactly one bid and one ask."""
    bid_and_ask = (lengths == 2) & (columns.side[begins] == 1) & (columns.side[begins + lengths - 1] == -1)
    no_quote: Flags = (columns.kind[begins] == TOP) & ~bid_and_ask
    return no_quote
