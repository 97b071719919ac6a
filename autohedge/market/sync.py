"""The venue's sequence rules: which update may reach the book, and what happens when one is missing.

Promise: the book is either equal to the venue's at its `last_update_id` or not valid; never silently wrong. The rules are
those of Binance spot depth streams (developers.binance.com, "How to manage a local order book correctly"): deltas before
the snapshot are kept; after it those it already contains are dropped, the first one applied must cover the next id, and
from then on each must begin where the last one ended. A hole makes the book invalid until the next snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade

BUFFER_LIMIT = 10_000
"""Deltas kept while there is no snapshot (about 17 minutes of a 100 ms stream); the oldest go first, which shows as a gap."""


class Applied(StrEnum):
    """What became of an event.

    `duplicate`: everything in it was known already. `out_of_order`: older than what is known, or overlapping it.
    `unsynced`: best prices while there is no valid book.
    """

    APPLIED = "applied"
    BUFFERED = "buffered"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    GAP = "gap"
    UNSYNCED = "unsynced"


class Gap(NamedTuple):
    """A hole in the sequence: seen at `ts_init_ns`, when `expected_id` should have come and `found_id` did."""

    ts_init_ns: int
    expected_id: int
    found_id: int


class SyncedBook:
    """A book that only takes updates in the venue's order.

    `counts` holds how many events had each outcome; a buffered delta that is applied later counts in both. `gaps` are the
    holes met, `crossed` counts updates after which the depth alone was crossed or locked. `applied_now` are the events that
    the last `apply` let through, in order: none, the event itself, or a snapshot with the deltas that waited for it.
    """

    __slots__ = ("_buffer", "_first_after_snapshot", "_last_trade_id", "applied_now", "book", "counts", "crossed", "gaps")

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        self.counts: dict[Applied, int] = dict.fromkeys(Applied, 0)
        self.gaps: list[Gap] = []
        self.crossed = 0
        self.applied_now: Sequence[MarketEvent] = ()
        self._buffer: deque[BookDelta] = deque(maxlen=BUFFER_LIMIT)
        self._first_after_snapshot = False
        self._last_trade_id = -1

    @property
    def is_synced(self) -> bool:
        """Whether the book is valid."""
        return self.book.is_valid

    def apply(self, event: MarketEvent) -> Applied:
        """Let the event through to the book if it is the next one; says what became of it. Never raises."""
        if isinstance(event, BookSnapshot):
            outcome = self._take_snapshot(event)
        else:
            if isinstance(event, TopOfBook):
                outcome = self._take_top(event)
            elif isinstance(event, Trade):
                outcome = self._take_trade(event)
            else:
                outcome = self._take_delta(event)
            if outcome is Applied.APPLIED:
                self.applied_now = (event,)
            else:
                self.applied_now = ()
        self.counts[outcome] += 1
        return outcome

    def _take_top(self, top: TopOfBook) -> Applied:
        book = self.book
        if book.set_top(top):
            return Applied.APPLIED
        if not book.is_valid:
            return Applied.UNSYNCED
        return Applied.DUPLICATE if top.update_id == book.newest_update_id else Applied.OUT_OF_ORDER

    def _take_trade(self, trade: Trade) -> Applied:
        last = self._last_trade_id
        if trade.trade_id > last:
            self._last_trade_id = trade.trade_id
            return Applied.APPLIED
        return Applied.DUPLICATE if trade.trade_id == last else Applied.OUT_OF_ORDER

    def _take_delta(self, delta: BookDelta) -> Applied:
        if not self.book.is_valid:
            self._buffer.append(delta)
            return Applied.BUFFERED
        outcome = self._next_delta(delta)
        if outcome is Applied.GAP:
            self._buffer.append(delta)
        return outcome

    def _next_delta(self, delta: BookDelta) -> Applied:
        """Apply a delta to the valid book, or say why not; a gap clears the book."""
        book = self.book
        expected = book.last_update_id + 1
        if delta.first_update_id != expected:
            if delta.last_update_id < expected:
                return Applied.DUPLICATE
            if delta.first_update_id > expected:
                self.gaps.append(Gap(delta.ts_init_ns, expected, delta.first_update_id))
                book.clear()
                return Applied.GAP
            if not self._first_after_snapshot:
                return Applied.OUT_OF_ORDER
        self._first_after_snapshot = False
        book.apply_delta(delta)
        if book.is_depth_crossed:
            self.crossed += 1
        return Applied.APPLIED

    def _take_snapshot(self, snapshot: BookSnapshot) -> Applied:
        book = self.book
        self.applied_now = ()
        if book.is_valid and snapshot.last_update_id <= book.last_update_id:
            return Applied.DUPLICATE if snapshot.last_update_id == book.last_update_id else Applied.OUT_OF_ORDER
        book.apply_snapshot(snapshot)
        self._first_after_snapshot = True
        if book.is_depth_crossed:
            self.crossed += 1
        through: list[MarketEvent] = [snapshot]
        buffer = self._buffer
        while buffer:
            outcome = self._next_delta(buffer[0])
            if outcome is Applied.GAP:
                return Applied.GAP  # this snapshot is too old for what waits; the next one may not be
            if outcome is Applied.APPLIED:
                through.append(buffer[0])
            buffer.popleft()
        self.counts[Applied.APPLIED] += len(through) - 1
        self.applied_now = through
        return Applied.APPLIED
