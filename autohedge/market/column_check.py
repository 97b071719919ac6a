"""The checks of `autohedge.market.event_check` over columns, for recordings in which there is next to nothing to find.

Sequence and depth are followed by the very same code, one message after the other; quotes, trades and times, which are nearly
all of a recording, are looked at all at once. Promise: where this gives findings, they are those of the other, word for word.
As soon as anything is seen that takes more to tell (any error, and the rarer warnings), it gives none and leaves the telling to
the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from autohedge.market.event_check import (
    DAY_NS,
    FAR,
    JUMP_FROM,
    NS_BEGIN,
    NS_PER_S,
    BookCheck,
    latency_detail,
    utc,
)
from autohedge.market.event_rows import DELTA, I64, TOP, TRADE, U8, EventColumns, events_of
from autohedge.market.faults import Faults
from autohedge.market.raw import MAX_STEP_NS


class _Messages(NamedTuple):
    """What messages have once, and the row each begins with."""

    begins: I64
    kind: U8
    ts_init_ns: I64
    ts_event_ns: I64
    last_id: I64


class _Depth(NamedTuple):
    """The depth after each message, as its last update and best prices (0 before there is a book); and what waited for it."""

    update_id: I64
    best_bid: I64
    best_ask: I64
    opened_by: int
    waited: int
    first_waited: int


def check_columns(columns: EventColumns, place: Callable[[int], str], faults: Faults, silence_s: float) -> bool:
    """Note in `faults` what is found in whole and well-formed messages; False, with nothing noted, if that takes a closer look.

    `place` gives the place of a message by its number.
    """
    ends = np.flatnonzero(columns.ends_message)
    if not len(ends):
        return False
    begins: I64 = np.append(0, ends[:-1] + 1)
    messages = _Messages(begins, columns.kind[ends], columns.ts_init_ns[ends], columns.ts_event_ns[ends], columns.last_id[ends])
    if not _times_are_fine(messages, silence_s) or not _trades_are_fine(columns, messages):
        return False
    depth = _depth_of(columns, messages)
    if depth is None or not _quotes_are_fine(columns, messages, depth) or not _trades_are_inside(columns, messages, depth):
        return False

    def where(message: int) -> str:
        return f"{place(message)}, {utc(int(messages.ts_init_ns[message]))}"

    unusable = np.flatnonzero((messages.kind == TOP)[: depth.opened_by])
    if depth.waited or len(unusable):
        first = min([*unusable[:1].tolist(), *([depth.first_waited] if depth.waited else [])])
        faults.note("before_snapshot", where(first), count=depth.waited + len(unusable))
    latencies = (messages.ts_init_ns - messages.ts_event_ns)[messages.ts_event_ns > 0]
    if (latencies < 0).any():
        first = int(np.flatnonzero(messages.ts_event_ns > messages.ts_init_ns)[0])
        faults.note("negative_latency", where(first), count=int((latencies < 0).sum()))
        faults.add_detail("negative_latency", latency_detail(np.sort(latencies).tolist()))
    return True


def _times_are_fine(messages: _Messages, silence_s: float) -> bool:
    """No times in another unit, out of order, with a leap or a silence, or a day from the venue's."""
    times, steps = messages.ts_init_ns, np.diff(messages.ts_init_ns)
    if (times < NS_BEGIN).any() or (steps < 0).any() or (steps > min(MAX_STEP_NS, int(silence_s * NS_PER_S))).any():
        return False
    known = messages.ts_event_ns > 0
    return not (np.abs(times - messages.ts_event_ns)[known] > DAY_NS).any()


def _trades_are_fine(columns: EventColumns, messages: _Messages) -> bool:
    """Numbered one by one, and no jump of prices."""
    trades = messages.kind == TRADE
    return bool((np.diff(messages.last_id[trades]) == 1).all()) and _has_no_jump(columns.price_ticks[messages.begins[trades]])


def _has_no_jump(prices: I64) -> bool:
    # a little below the other's bound, where rounding might decide
    bound, before, after = 0.999 * JUMP_FROM, prices[:-1], prices[1:]
    return not ((after >= bound * before) | (before >= bound * after)).any()


def _depth_of(columns: EventColumns, messages: _Messages) -> _Depth | None:
    """Follow snapshots and updates as the other check does; None when it has anything to say, or there is no snapshot."""
    is_depth = messages.kind <= DELTA
    numbers = np.flatnonzero(is_depth)
    of_depth = np.repeat(is_depth, np.diff(np.append(messages.begins, len(columns.kind))))
    faults = Faults()
    check = BookCheck(faults, str)
    states = np.zeros((len(numbers), 3), np.int64)
    book, opened_by, waited, first_waited = check.book, -1, 0, -1
    for at, event in enumerate(events_of(EventColumns._make(column[of_depth] for column in columns))):
        check.take(event)
        if book.is_valid:
            if opened_by < 0:
                opened_by = int(numbers[at])
            states[at] = book.last_update_id, book.best_bid_ticks, book.best_ask_ticks
        elif opened_by < 0:
            waited, first_waited = waited + 1, first_waited if waited else int(numbers[at])
    if opened_by < 0 or faults.findings():
        return None
    last = np.maximum.accumulate(np.where(is_depth, np.cumsum(is_depth) - 1, -1))
    spread = np.where((last >= 0)[:, None], states[last], 0)
    return _Depth(spread[:, 0], spread[:, 1], spread[:, 2], opened_by, waited, first_waited)


def _quotes_are_fine(columns: EventColumns, messages: _Messages, depth: _Depth) -> bool:
    """Two-sided, apart, newer than all that is known, and no jump of prices."""
    tops = messages.kind == TOP
    bid = messages.begins[tops]
    bids, asks = columns.price_ticks[bid], columns.price_ticks[bid + 1]
    if not (columns.size_lots[bid].all() and columns.size_lots[bid + 1].all()) or (bids >= asks).any():
        return False
    usable = tops & (np.arange(len(tops)) > depth.opened_by)
    newest = np.maximum.accumulate(np.maximum(np.where(usable, messages.last_id, 0), depth.update_id))
    return _has_no_jump(bids) and _has_no_jump(asks) and bool((newest[1:][usable[1:]] > newest[:-1][usable[1:]]).all())


def _trades_are_inside(columns: EventColumns, messages: _Messages, depth: _Depth) -> bool:
    """No trade far outside the best prices: those of the newest quote, or of the depth once it is as new."""
    numbers = np.arange(len(messages.kind))
    usable = (messages.kind == TOP) & (numbers > depth.opened_by)
    top = np.maximum.accumulate(np.where(usable, numbers, 0))
    # a quote is newer than the depth that is known with it, so an equal or greater id of the depth came later
    is_newer = usable[top] & (depth.update_id < messages.last_id[top])
    bid_row = np.where(is_newer, messages.begins[top], 0)
    ask_row = np.where(is_newer, messages.begins[top] + 1, 0)
    trades = (messages.kind == TRADE) & (numbers > depth.opened_by)
    bids = np.where(is_newer, columns.price_ticks[bid_row], depth.best_bid)[trades]
    asks = np.where(is_newer, columns.price_ticks[ask_row], depth.best_ask)[trades]
    prices = columns.price_ticks[messages.begins[trades]]
    up, whole = FAR
    return not ((bids > 0) & (asks > 0) & ((prices * whole > asks * up) | (prices * up < bids * whole))).any()
