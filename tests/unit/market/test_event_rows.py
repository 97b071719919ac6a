"""Events as columns: exact inverses, whatever the events; rows that make no message are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade, rows_of
from autohedge.errors import MarketDataError
from autohedge.market import event_rows
from autohedge.market.event_rows import (
    DELTA,
    DTYPES,
    SNAPSHOT,
    TOP,
    TRADE,
    EventColumns,
    columns_of,
    columns_of_feed,
    events_of,
    in_order_of_receipt,
    require_well_formed,
    without_faults,
)
from autohedge.market.exact import MAX_STEPS
from autohedge.ports import FeedReport

TIMES = st.integers(0, 2**63 - 1)
IDS = st.integers(0, 2**63 - 1)
STEPS = st.integers(1, MAX_STEPS)
SIZES = st.integers(0, MAX_STEPS)
LEVELS = st.lists(st.tuples(STEPS, SIZES), max_size=4).map(tuple)
PAIRS = st.one_of(st.tuples(STEPS, STEPS), st.just((0, 0)))

SNAPSHOTS = st.builds(BookSnapshot, TIMES, TIMES, IDS, LEVELS, LEVELS)
DELTAS = st.tuples(TIMES, TIMES, IDS, IDS, LEVELS, LEVELS).map(lambda it: BookDelta(*it[:2], *sorted(it[2:4]), *it[4:]))
TOPS = st.tuples(TIMES, TIMES, IDS, PAIRS, PAIRS).map(lambda it: TopOfBook(*it[:3], *it[3], *it[4]))
TRADES = st.builds(Trade, TIMES, TIMES, IDS, STEPS, STEPS, st.sampled_from([BUY, SELL]))
EVENTS = st.lists(st.one_of(SNAPSHOTS, DELTAS, TOPS, TRADES), max_size=30)


def same(one: EventColumns, other: EventColumns) -> bool:
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(EVENTS)
def test_columns_and_events_are_exact_inverses(events: list[MarketEvent]) -> None:
    columns = columns_of(events)
    back = list(events_of(columns))
    assert back == events
    assert [type(event) for event in back] == [type(event) for event in events]
    assert same(columns_of(back), columns)
    assert {name: column.dtype for name, column in columns._asdict().items()} == DTYPES
    require_well_formed(columns, "a test")
    assert without_faults(columns) == (columns, [])


def test_a_row_is_what_the_layout_says(session: list[MarketEvent]) -> None:
    empty = BookDelta(5, 6, 7, 8, (), ())
    snapshot, delta, top, trade = session[0], session[4], session[5], session[6]
    columns = columns_of([snapshot, delta, top, trade, empty])
    assert isinstance(snapshot, BookSnapshot)
    assert isinstance(delta, BookDelta)
    assert isinstance(top, TopOfBook)
    assert isinstance(trade, Trade)
    assert columns.kind.tolist() == [SNAPSHOT] * 4 + [DELTA] * 3 + [TOP] * 2 + [TRADE, DELTA]
    assert columns.side.tolist() == [1, 1, -1, -1, 1, 1, -1, 1, -1, int(trade.aggressor), 0]
    assert columns.first_id.tolist() == [100] * 4 + [103] * 3 + [105] * 2 + [501, 7]
    assert columns.last_id.tolist() == [100] * 4 + [104] * 3 + [105] * 2 + [501, 8]
    assert np.flatnonzero(columns.ends_message).tolist() == [3, 6, 8, 9, 10]
    assert (columns.price_ticks[0], columns.size_lots[3], columns.price_ticks[7]) == (10_000, 8, top.bid_ticks)
    assert (columns.price_ticks[10], columns.size_lots[10], columns.ts_init_ns[10]) == (0, 0, 6)
    assert len(columns.kind) == sum(map(rows_of, [snapshot, delta, top, trade])) + 1


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
def test_chunks_end_between_messages(rows: int, session: list[MarketEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_rows, "_CHUNK_ROWS", rows)
    monkeypatch.setattr(event_rows, "_CHUNK_EVENTS", rows)
    assert list(events_of(columns_of(session))) == session


async def test_a_feed_gives_the_same_columns(session: list[MarketEvent], btc: Instrument) -> None:
    class Feed:
        instrument, simulated, description, report = btc, False, "a test", FeedReport()

        async def batches(self) -> Any:
            yield session[:7]
            yield session[7:]

    assert same(await columns_of_feed(Feed()), columns_of(session))


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MarketDataError, match="64 bits"):
        columns_of([Trade(0, 1, 2**63, 1, 1, BUY)])
    with pytest.raises(MarketDataError, match="64 bits"):
        columns_of([BookDelta(0, 1, 1, 1, ((2**70, 1),), ())])


def changed(columns: EventColumns, **values: tuple[int, Any]) -> EventColumns:
    """A copy with one value of a column changed."""
    copies = {name: column.copy() for name, column in columns._asdict().items()}
    for name, (row, value) in values.items():
        copies[name][row] = value
    return EventColumns(**copies)


# rows of the session: 0-3 snapshot, 4-6 delta, 7-8 quote, 9 trade
FAULTS: Sequence[tuple[dict[str, tuple[int, Any]], str, str]] = [
    ({"kind": (5, 9)}, "corrupt", "the kind"),
    ({"ts_init_ns": (9, -1)}, "negative", "a time"),
    ({"ts_event_ns": (9, -1)}, "negative", "a time"),
    ({"first_id": (4, -1)}, "negative", "an id"),
    ({"first_id": (4, 10**6)}, "corrupt", "the ids"),
    ({"price_ticks": (4, -5)}, "negative", "price or size is negative"),
    ({"size_lots": (9, -5)}, "negative", "price or size is negative"),
    ({"price_ticks": (4, 2**60)}, "out_of_range", "out of range"),
    ({"size_lots": (4, 2**60)}, "out_of_range", "out of range"),
    ({"price_ticks": (5, 0)}, "zero", "a price is zero"),
    ({"size_lots": (9, 0)}, "zero", "price or size is zero"),
    ({"price_ticks": (7, 0)}, "zero", "price or size is zero"),
    ({"side": (5, 0)}, "corrupt", "the side"),
    ({"side": (9, 3)}, "corrupt", "the side"),
    ({"ends_message": (9, False)}, "corrupt", "not one row"),
    ({"ends_message": (7, True)}, "corrupt", "a bid and an ask"),
    ({"side": (7, -1)}, "corrupt", "a bid and an ask"),
    ({"ends_message": (-1, False)}, "corrupt", "not one row"),
    ({"side": (4, -1)}, "corrupt", "a bid comes after an ask"),
    ({"ts_init_ns": (5, 7)}, "corrupt", "the rows of a message differ"),
    ({"kind": (5, SNAPSHOT)}, "corrupt", "the rows of a message differ"),
    ({"last_id": (5, 10**6)}, "corrupt", "the rows of a message differ"),
]


@pytest.mark.parametrize(("change", "kind", "what"), FAULTS)
def test_rows_that_make_no_message_are_refused_and_named(
    change: dict[str, tuple[int, Any]], kind: str, what: str, session: list[MarketEvent]
) -> None:
    good = columns_of(session)
    bad = changed(good, **change)
    [row] = {at % len(good.kind) for at, _ in change.values()}
    with pytest.raises(MarketDataError, match=rf"x: row \d+: .*{what}"):
        require_well_formed(bad, "x")
    sound, faults = without_faults(bad)
    assert kind in [fault[0] for fault in faults]
    assert abs(next(first for name, said, _, first in faults if what in said) - row) <= 1
    require_well_formed(sound, "x")
    left = list(events_of(sound))
    assert len(session) - 2 <= len(left) < len(session)
    assert all(event in session for event in left)


def test_a_last_message_without_an_end_is_refused(session: list[MarketEvent]) -> None:
    bad = changed(columns_of(session[:2]), ends_message=(-1, False))
    with pytest.raises(MarketDataError, match="expected the last of 7 rows to end a message"):
        list(events_of(bad))
    with pytest.raises(MarketDataError, match="does not end"):
        require_well_formed(bad, "x")


def test_rows_of_an_unknown_kind_are_refused_where_they_come(session: list[MarketEvent]) -> None:
    events = events_of(changed(columns_of(session), kind=(9, 7)))
    assert [next(events) for _ in range(3)] == session[:3]
    with pytest.raises(MarketDataError, match="row 9: 1 rows of kind 7 make no message"):
        next(events)


def test_messages_received_before_their_predecessors_are_left_out(session: list[MarketEvent]) -> None:
    late = session[5]._replace(ts_init_ns=session[3].ts_init_ns - 1)
    columns = columns_of([*session[:5], late, *session[6:]])
    assert list(events_of(in_order_of_receipt(columns, "x"))) == [*session[:5], *session[6:]]
    assert in_order_of_receipt(columns_of(session), "x").kind.base is None
    leap = session[5]._replace(ts_init_ns=session[3].ts_init_ns + 400 * 86_400 * 10**9)
    with pytest.raises(MarketDataError, match="leaps by more than a year"):
        in_order_of_receipt(columns_of([*session[:5], leap]), "x")
