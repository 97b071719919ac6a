"""The sequence rules: what may reach the book."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.market import sync
from autohedge.market.sync import Applied, SyncedBook


def snapshot(update_id: int, bid: int = 100, ask: int = 110) -> BookSnapshot:
    return BookSnapshot(0, 1, update_id, ((bid, 1),), ((ask, 1),))


def delta(first: int, last: int, *bids: tuple[int, int]) -> BookDelta:
    return BookDelta(0, first, first, last, bids, ())


def top(update_id: int) -> TopOfBook:
    return TopOfBook(0, 1, update_id, 101, 1, 109, 1)


def trade(trade_id: int) -> Trade:
    return Trade(0, 1, trade_id, 100, 1, BUY)


@pytest.fixture
def synced() -> SyncedBook:
    synced = SyncedBook(OrderBook())
    synced.apply(snapshot(10))
    return synced


def outcomes(synced: SyncedBook, *events: MarketEvent) -> list[Applied]:
    return [synced.apply(event) for event in events]


def test_deltas_that_came_before_the_snapshot_are_applied_with_it_without_those_it_contains() -> None:
    synced = SyncedBook(OrderBook())
    old, covering, later = delta(5, 10, (90, 9)), delta(9, 12, (91, 1)), delta(13, 14, (92, 2))
    assert outcomes(synced, old, covering, later) == [Applied.BUFFERED] * 3
    assert not synced.is_synced
    assert synced.applied_now == ()
    first = snapshot(10)
    assert synced.apply(first) is Applied.APPLIED
    assert list(synced.applied_now) == [first, covering, later]
    assert synced.book.levels(BUY) == [(100, 1), (92, 2), (91, 1)]
    assert synced.book.last_update_id == 14
    assert synced.counts == dict.fromkeys(Applied, 0) | {Applied.BUFFERED: 3, Applied.APPLIED: 3}


def test_the_first_delta_after_a_snapshot_must_cover_the_next_id(synced: SyncedBook) -> None:
    assert outcomes(synced, delta(3, 10), delta(8, 11)) == [Applied.DUPLICATE, Applied.APPLIED]
    assert synced.book.last_update_id == 11


def test_an_applied_event_is_the_only_one_applied_now(synced: SyncedBook) -> None:
    event = delta(11, 12)
    synced.apply(event)
    assert list(synced.applied_now) == [event]
    synced.apply(event)
    assert list(synced.applied_now) == []


def test_a_repeated_delta_is_a_duplicate_and_changes_nothing(synced: SyncedBook) -> None:
    assert outcomes(synced, delta(11, 12, (105, 5)), delta(13, 13, (105, 6))) == [Applied.APPLIED] * 2
    assert outcomes(synced, delta(11, 12, (105, 5)), delta(13, 13, (105, 7))) == [Applied.DUPLICATE] * 2
    assert synced.book.size_at(BUY, 105) == 6
    assert synced.is_synced


def test_a_delta_that_overlaps_the_last_one_is_not_applied(synced: SyncedBook) -> None:
    assert outcomes(synced, delta(11, 14), delta(13, 16, (105, 5))) == [Applied.APPLIED, Applied.OUT_OF_ORDER]
    assert synced.book.size_at(BUY, 105) == 0


def test_a_missing_delta_makes_the_book_invalid_until_the_next_snapshot(synced: SyncedBook) -> None:
    synced.apply(delta(11, 12))
    assert outcomes(synced, delta(15, 16, (103, 3)), top(17), delta(17, 18), trade(1)) == [
        Applied.GAP,
        Applied.UNSYNCED,
        Applied.BUFFERED,
        Applied.APPLIED,
    ]
    assert not synced.is_synced
    assert synced.book.best_bid_ticks == 0
    assert synced.gaps == [(15, 13, 15)]
    assert synced.apply(snapshot(15)) is Applied.APPLIED
    assert synced.is_synced
    assert len(synced.applied_now) == 3, "the delta that showed the gap overlaps the snapshot, and the one after it counts too"
    assert synced.book.size_at(BUY, 103) == 3


def test_a_snapshot_too_old_for_what_waits_leaves_the_book_invalid_and_the_next_one_heals_it() -> None:
    synced = SyncedBook(OrderBook())
    assert outcomes(synced, delta(15, 16), snapshot(10)) == [Applied.BUFFERED, Applied.GAP]
    assert not synced.is_synced
    assert list(synced.applied_now) == []
    assert synced.apply(snapshot(14)) is Applied.APPLIED
    assert synced.book.last_update_id == 16


def test_a_snapshot_older_than_the_book_is_not_applied_and_a_newer_one_is(synced: SyncedBook) -> None:
    synced.apply(delta(11, 20))
    assert outcomes(synced, snapshot(15), snapshot(20)) == [Applied.OUT_OF_ORDER, Applied.DUPLICATE]
    assert outcomes(synced, snapshot(30, bid=50), delta(29, 31)) == [Applied.APPLIED, Applied.APPLIED]
    assert synced.book.best_bid_ticks == 50


def test_best_prices_that_are_not_new_are_not_applied(synced: SyncedBook) -> None:
    assert outcomes(synced, top(10), top(9), top(12), top(12), top(11)) == [
        Applied.DUPLICATE,
        Applied.OUT_OF_ORDER,
        Applied.APPLIED,
        Applied.DUPLICATE,
        Applied.OUT_OF_ORDER,
    ]


def test_trades_pass_once_and_in_order(synced: SyncedBook) -> None:
    assert outcomes(synced, trade(7), trade(7), trade(9), trade(8)) == [
        Applied.APPLIED,
        Applied.DUPLICATE,
        Applied.APPLIED,
        Applied.OUT_OF_ORDER,
    ]


@pytest.mark.parametrize(("bid", "crossed"), [(109, 0), (110, 1), (115, 1)])
def test_updates_that_leave_the_depth_crossed_or_locked_are_counted_and_kept(
    synced: SyncedBook, bid: int, crossed: int
) -> None:
    synced.apply(delta(11, 11, (bid, 1)))
    assert synced.crossed == crossed
    assert synced.book.best_bid_ticks == bid


def test_the_buffer_is_bounded_and_what_it_lost_shows_as_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "BUFFER_LIMIT", 3)
    synced = SyncedBook(OrderBook())
    outcomes(synced, *(delta(at, at) for at in range(1, 6)))
    assert synced.apply(snapshot(0)) is Applied.GAP
    assert synced.apply(snapshot(2)) is Applied.APPLIED


@given(
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    faults=st.lists(st.tuples(st.sampled_from(["drop", "repeat", "swap"]), st.integers(0, 11)), max_size=4),
    snapshot_at=st.integers(0, 12),
)
def test_the_book_is_the_venues_or_invalid_whatever_is_lost_repeated_or_swapped(
    cuts: list[int], faults: list[tuple[str, int]], snapshot_at: int
) -> None:
    """Each update id sets one price to a size of its own, so any wrong book differs from the true one at that id."""
    true: list[dict[int, int]] = [{1: 1}]
    for update_id in range(1, sum(cuts) + 1):
        true.append(true[-1] | {1 + update_id % 5: update_id})
    events: list[MarketEvent] = []
    at = 0
    for size in cuts:
        changes = {1 + each % 5: each for each in range(at + 1, at + size + 1)}
        events.append(delta(at + 1, at + size, *changes.items()))
        at += size
    taken = min(sum(cuts[:snapshot_at]), at)
    events.insert(min(snapshot_at, len(cuts)), BookSnapshot(0, 1, taken, tuple(sorted(true[taken].items(), reverse=True)), ()))
    for kind, number in faults:
        where = number % len(events)
        if kind == "drop":
            del events[where]
        elif kind == "repeat":
            events.insert(where, events[where])
        else:
            events[where - 1], events[where] = events[where], events[where - 1]
        if not events:
            return
    synced = SyncedBook(OrderBook())
    for event in events:
        synced.apply(event)
        if synced.is_synced:
            assert dict(synced.book.levels(BUY, 9)) == true[synced.book.last_update_id]
        else:
            assert synced.book.levels(BUY) == synced.book.levels(SELL) == []
