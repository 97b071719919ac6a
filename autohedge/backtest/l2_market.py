"""A recorded market made ready for the compiled loop: the venue's sequence rules applied once, rows flagged.

Which update may reach the book does not depend on our orders, so it is decided here for the whole recording, by the rules of
`autohedge.market.sync`; what remains is what happened, message by message. A message that changed nothing stays as a row,
because it moves time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autohedge.backtest.l2_layout import (
    BEGINS_EVENT,
    BEGINS_MESSAGE,
    DELTA,
    ENDS_EVENT,
    ENDS_MESSAGE,
    GAP,
    KIND_MASK,
    NOTHING,
    SNAPSHOT,
    TOP,
    TRADE,
    MarketTable,
)
from autohedge.backtest.native import compile_kernel
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Trade
from autohedge.errors import MarketDataError
from autohedge.market.event_rows import EventColumns
from autohedge.market.sync import BUFFER_LIMIT
from autohedge.simulation.latency import LONGEST_NS

WIDEST_WINDOW_TICKS = 2**28
"""Prices of one recording further apart than this are refused: the book of the compiled loop is an array over ticks."""

OUTCOMES = ("applied", "buffered", "duplicate", "out_of_order", "gap", "unsynced")
APPLIED, BUFFERED, DUPLICATE, OUT_OF_ORDER, GAPS, UNSYNCED = range(6)


# what the sequence rules remember
VALID, LAST_ID, FRESH, LAST_TRADE, TOP_ON, TOP_ID, BUFFER_HEAD, BUFFER_TAIL = range(8)


@dataclass(frozen=True, slots=True)
class PreparedMarket:
    """Rows for the loop, where the book's array begins and how long it is, and what became of the messages."""

    instrument: Instrument
    table: MarketTable
    base_tick: int
    window_ticks: int
    messages: int
    rows: int
    outcomes: dict[str, int]
    ts_event_ns: Any
    """Per row of the table: the receive time minus this is the latency; 0 where the venue does not say."""
    begin_ns: int = 0
    """A maker does not begin before this time; until then only the book and its statistics are built up."""

    def between(self, start_ns: int | None, end_ns: int | None) -> PreparedMarket:
        """The same market for a maker that begins at `start_ns`, and without what comes from `end_ns` on."""
        rows = len(self.table.ts_ns) if end_ns is None else int(np.searchsorted(self.table.ts_ns, end_ns, side="left"))
        return replace(
            self,
            table=MarketTable(*(column[:rows] for column in self.table)),
            ts_event_ns=self.ts_event_ns[:rows],
            begin_ns=start_ns or 0,
        )

    @property
    def start_ns(self) -> int:
        """Receive time of the first message."""
        return int(self.table.ts_ns[0])

    def feed_delays(self) -> tuple[Any, Any]:
        """(receive times, delays) of the events that say when they happened, in ns and ascending in time, the last of each
        time: by how much it took longer than the quickest one so far, at most `LONGEST_NS`."""
        table = self.table
        told = np.flatnonzero(((table.op & KIND_MASK) < GAP) & (self.ts_event_ns != 0))
        times = table.ts_ns[told]
        last = np.append(times[1:] != times[:-1], [True] * min(1, len(times)))
        took = times - self.ts_event_ns[told]
        delays = np.minimum(took - np.minimum.accumulate(took), LONGEST_NS)
        return times[last], delays[last]

    @property
    def end_ns(self) -> int:
        """Receive time of the last message."""
        return int(self.table.ts_ns[-1])

    def latencies_before(self, row: int, count: int) -> list[int]:
        """The latencies of the last `count` events before a row, oldest first, where the venue says when they happened."""
        found = np.empty(0, np.int64)
        begin = row
        while begin > 0 and len(found) < count:
            begin = max(0, begin - 16 * count)
            op = self.table.op[begin:row]
            told = np.flatnonzero((op & ENDS_EVENT != 0) & (self.ts_event_ns[begin:row] != 0)) + begin
            found = self.table.ts_ns[told] - self.ts_event_ns[told]
        return [int(each) for each in found[-count:]]

    def trades_between(self, since_ns: int, row: int) -> list[Trade]:
        """The trades received after `since_ns`, up to a row."""
        table = self.table
        begin = int(np.searchsorted(table.ts_ns[:row], since_ns, side="right"))
        rows = np.flatnonzero(table.op[begin:row] & KIND_MASK == TRADE) + begin
        return [
            Trade(
                int(self.ts_event_ns[at]),
                int(table.ts_ns[at]),
                int(table.last_id[at]),
                int(table.price_ticks[at]),
                int(table.size_lots[at]),
                BUY if table.side[at] > 0 else SELL,
            )
            for at in rows
        ]


def prepare_market(columns: EventColumns, instrument: Instrument) -> PreparedMarket:
    """Apply the sequence rules to a recording. `MarketDataError` when it is empty or its prices are too far apart."""
    rows = len(columns.ts_init_ns)
    if not rows:
        raise MarketDataError(f"{instrument.symbol}: expected market events, found none")
    levels = (columns.kind <= DELTA) & (columns.side != 0)
    prices = columns.price_ticks[levels]
    if not len(prices):
        raise MarketDataError(f"{instrument.symbol}: expected an order book, found only trades and quotes")
    low, high = int(prices.min()), int(prices.max())
    if low < 1 or high - low >= WIDEST_WINDOW_TICKS:
        raise MarketDataError(
            f"{instrument.symbol}: expected book prices above 0 and at most {WIDEST_WINDOW_TICKS} ticks apart, "
            f"found {low} to {high} ticks; check the unit of the prices (data check)"
        )
    ends = np.flatnonzero(columns.ends_message)
    begins = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64)
    most = rows + len(begins)
    row_of = np.empty(most, np.int64)
    ts_ns = np.empty(most, np.int64)
    op = np.empty(most, np.uint8)
    outcomes = np.zeros(len(OUTCOMES), np.int64)
    memory = np.zeros(8, np.int64)
    memory[LAST_TRADE] = -1
    count = compile_kernel(synchronise, allocates=False)(
        columns.ts_init_ns, columns.kind, columns.first_id, columns.last_id, begins, ends + 1,
        memory, np.empty(BUFFER_LIMIT, np.int64), row_of, ts_ns, op, outcomes,
    )  # fmt: skip
    row_of = row_of[:count]
    ts_event = columns.ts_event_ns[row_of]
    late = columns.ts_init_ns[row_of] - ts_event
    table = MarketTable(
        ts_ns=ts_ns[:count].copy(),
        op=op[:count].copy(),
        side=columns.side[row_of],
        price_ticks=columns.price_ticks[row_of],
        size_lots=columns.size_lots[row_of],
        first_id=columns.first_id[row_of],
        last_id=columns.last_id[row_of],
    )
    return PreparedMarket(
        instrument=instrument,
        table=table,
        base_tick=low - 1,
        window_ticks=high - low + 3,
        messages=len(begins),
        rows=rows,
        outcomes={name: int(outcomes[i]) for i, name in enumerate(OUTCOMES)},
        ts_event_ns=np.where(ts_event == 0, 0, table.ts_ns - late),
    )


def synchronise(  # noqa: PLR0912, PLR0915 - the sequence rules in one place, as `SyncedBook` has them in one class
    ts_init_ns: Any,
    kind: Any,
    first_id: Any,
    last_id: Any,
    begins: Any,
    ends: Any,
    memory: Any,
    buffer: Any,
    row_of: Any,
    ts_ns: Any,
    op: Any,
    outcomes: Any,
) -> int:
    """Write the rows of what may reach the book, message by message; returns how many rows there are."""
    count = 0
    for message in range(len(begins)):
        begin, end = begins[message], ends[message]
        at_ns = ts_init_ns[begin]
        what = kind[begin]
        update_id = last_id[begin]
        first_row = count
        outcome = APPLIED
        if what == SNAPSHOT:
            if memory[VALID] and update_id <= memory[LAST_ID]:
                outcome = DUPLICATE if update_id == memory[LAST_ID] else OUT_OF_ORDER
            else:
                count = emit(begin, end, SNAPSHOT, at_ns, row_of, ts_ns, op, count)
                memory[VALID] = 1
                memory[FRESH] = 1
                memory[LAST_ID] = update_id
                if memory[TOP_ON] and update_id >= memory[TOP_ID]:
                    memory[TOP_ON] = 0
                let_through = 0
                while memory[BUFFER_HEAD] < memory[BUFFER_TAIL]:
                    waiting = buffer[memory[BUFFER_HEAD] % len(buffer)]
                    its = next_delta(memory, first_id[begins[waiting]], last_id[begins[waiting]])
                    if its == GAPS:
                        # this snapshot is too old for what waits; the next one may not be
                        outcome = GAPS
                        count = first_row
                        let_through = 0
                        break
                    if its == APPLIED:
                        # one event with the snapshot: nobody sees the book between the two
                        let_through += 1
                        op[count - 1] &= ~ENDS_EVENT
                        joins = count
                        count = emit(begins[waiting], ends[waiting], SNAPSHOT, at_ns, row_of, ts_ns, op, count)
                        op[joins] &= ~BEGINS_EVENT
                    memory[BUFFER_HEAD] += 1
                outcomes[APPLIED] += let_through
        elif what == DELTA:
            outcome = next_delta(memory, first_id[begin], update_id) if memory[VALID] else BUFFERED
            if outcome in (BUFFERED, GAPS):
                if memory[BUFFER_TAIL] - memory[BUFFER_HEAD] == len(buffer):
                    memory[BUFFER_HEAD] += 1
                buffer[memory[BUFFER_TAIL] % len(buffer)] = message
                memory[BUFFER_TAIL] += 1
            if outcome == APPLIED:
                count = emit(begin, end, DELTA, at_ns, row_of, ts_ns, op, count)
        elif what == TOP:
            newest = memory[TOP_ID] if memory[TOP_ON] else memory[LAST_ID]
            if memory[VALID] == 0:
                outcome = UNSYNCED
            elif update_id <= newest:
                outcome = DUPLICATE if update_id == newest else OUT_OF_ORDER
            else:
                memory[TOP_ON] = 1
                memory[TOP_ID] = update_id
                count = emit(begin, end, TOP, at_ns, row_of, ts_ns, op, count)
        elif update_id > memory[LAST_TRADE]:
            memory[LAST_TRADE] = update_id
            count = emit(begin, end, TRADE, at_ns, row_of, ts_ns, op, count)
        else:
            outcome = DUPLICATE if update_id == memory[LAST_TRADE] else OUT_OF_ORDER
        outcomes[outcome] += 1
        if count == first_row:
            row_of[count] = begin
            ts_ns[count] = at_ns
            op[count] = GAP if outcome == GAPS else NOTHING
            count += 1
        op[first_row] |= BEGINS_MESSAGE
        op[count - 1] |= ENDS_MESSAGE
    return count


def next_delta(memory: Any, first_id: int, last_id: int) -> int:
    """What becomes of a delta when the book is valid; a gap makes it invalid."""
    expected = memory[LAST_ID] + 1
    if first_id != expected:
        if last_id < expected:
            return DUPLICATE
        if first_id > expected:
            memory[VALID] = 0
            memory[LAST_ID] = 0
            memory[TOP_ON] = 0
            return GAPS
        if memory[FRESH] == 0:
            return OUT_OF_ORDER
    memory[FRESH] = 0
    memory[LAST_ID] = last_id
    if memory[TOP_ON] and last_id >= memory[TOP_ID]:
        memory[TOP_ON] = 0
    return APPLIED


def emit(begin: int, end: int, kind: int, at_ns: int, row_of: Any, ts_ns: Any, op: Any, count: int) -> int:
    """The rows of one event, at the time of the message that brought it; returns the rows so far."""
    for row in range(begin, end):
        row_of[count] = row
        ts_ns[count] = at_ns
        op[count] = kind
        count += 1
    op[count - (end - begin)] |= BEGINS_EVENT
    op[count - 1] |= ENDS_EVENT
    return count
