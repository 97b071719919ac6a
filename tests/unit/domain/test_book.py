"""The order book: depth, and the venue's best prices laid over it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, Side, TopOfBook


def snapshot(update_id: int, bids: dict[int, int], asks: dict[int, int]) -> BookSnapshot:
    return BookSnapshot(0, 1, update_id, tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items())))


def delta(update_id: int, bids: dict[int, int], asks: dict[int, int]) -> BookDelta:
    return BookDelta(0, 1, update_id, update_id, tuple(bids.items()), tuple(asks.items()))


def top(update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> TopOfBook:
    return TopOfBook(0, 1, update_id, *bid, *ask)


@pytest.fixture
def book() -> OrderBook:
    """Bids 100, 99, 98 and asks 101, 102, 103 at update 10."""
    book = OrderBook()
    book.apply_snapshot(snapshot(10, {100: 5, 99: 6, 98: 7}, {101: 8, 102: 9, 103: 10}))
    return book


def best(book: OrderBook) -> tuple[int, int, int, int]:
    return book.best_bid_ticks, book.best_bid_lots, book.best_ask_ticks, book.best_ask_lots


def test_a_new_book_is_not_valid_and_shows_nothing() -> None:
    book = OrderBook()
    assert not book.is_valid
    assert best(book) == (0, 0, 0, 0)
    assert book.levels(BUY, 5) == book.levels(SELL, 5) == []
    assert not book.is_crossed


def test_a_snapshot_makes_the_book_valid_and_clear_makes_it_forget(book: OrderBook) -> None:
    assert book.is_valid
    assert best(book) == (100, 5, 101, 8)
    assert book.levels(BUY, 2) == [(100, 5), (99, 6)]
    assert book.levels(SELL, 9) == [(101, 8), (102, 9), (103, 10)]
    book.clear()
    assert not book.is_valid
    assert (best(book), book.last_update_id, book.levels(SELL)) == ((0, 0, 0, 0), 0, [])


def test_a_delta_sets_adds_and_removes_levels(book: OrderBook) -> None:
    book.apply_delta(delta(11, {100: 0, 99: 1, 97: 2, 50: 0}, {101: 3, 100: 4}))
    assert book.levels(BUY, 9) == [(99, 1), (98, 7), (97, 2)]
    assert book.levels(SELL, 9) == [(100, 4), (101, 3), (102, 9), (103, 10)]
    assert best(book) == (99, 1, 100, 4)
    assert book.last_update_id == 11
    assert book.size_at(BUY, 98) == 7
    assert book.size_at(BUY, 100) == 0


def test_an_emptied_side_has_a_best_price_of_zero_and_is_not_crossed(book: OrderBook) -> None:
    book.apply_delta(delta(11, {}, {101: 0, 102: 0, 103: 0}))
    assert best(book) == (100, 5, 0, 0)
    assert not book.is_crossed
    assert not book.is_depth_crossed


def test_a_snapshot_replaces_what_was_there(book: OrderBook) -> None:
    book.apply_snapshot(snapshot(20, {90: 1}, {95: 0, 96: 2}))
    assert book.levels(BUY) == [(90, 1)]
    assert book.levels(SELL) == [(96, 2)]


def test_a_newer_top_hides_better_depth_and_changes_none_of_it(book: OrderBook) -> None:
    assert book.set_top(top(12, (99, 1), (102, 2)))
    assert best(book) == (99, 1, 102, 2)
    assert book.levels(BUY, 9) == [(99, 1), (98, 7)]
    assert book.levels(SELL, 2) == [(102, 2), (103, 10)]
    assert [book.size_at(BUY, price) for price in (100, 99, 98)] == [0, 1, 7]
    assert [book.size_at(SELL, price) for price in (101, 102, 103)] == [0, 2, 10]
    assert book.depth_levels(BUY, 9) == [(100, 5), (99, 6), (98, 7)]
    assert book.newest_update_id == 12


def test_a_top_between_the_levels_is_shown_before_all_depth(book: OrderBook) -> None:
    book.set_top(top(12, (1000, 3), (1001, 4)))
    assert book.levels(BUY, 2) == [(1000, 3), (100, 5)]
    assert book.levels(SELL, 2) == [(1001, 4)]


def test_a_top_stays_through_older_deltas_and_ends_with_the_delta_that_reaches_it(book: OrderBook) -> None:
    book.set_top(top(12, (99, 1), (102, 2)))
    book.apply_delta(delta(11, {98: 70, 100: 50}, {}))
    assert best(book) == (99, 1, 102, 2)
    assert book.size_at(BUY, 98) == 70
    book.apply_delta(delta(12, {}, {101: 0}))
    assert best(book) == (100, 50, 102, 9)


@pytest.mark.parametrize("update_id", [9, 10])
def test_a_top_that_is_not_newer_than_the_depth_is_not_taken(book: OrderBook, update_id: int) -> None:
    assert not book.set_top(top(update_id, (99, 1), (102, 2)))
    assert best(book) == (100, 5, 101, 8)


def test_a_top_older_than_the_last_one_is_not_taken(book: OrderBook) -> None:
    book.set_top(top(14, (99, 1), (102, 2)))
    assert not book.set_top(top(13, (98, 1), (103, 2)))
    assert best(book) == (99, 1, 102, 2)


def test_a_top_is_not_taken_while_the_book_is_not_valid() -> None:
    book = OrderBook()
    assert not book.set_top(top(5, (99, 1), (102, 2)))
    assert best(book) == (0, 0, 0, 0)


def test_a_top_with_an_empty_side_hides_that_side(book: OrderBook) -> None:
    book.set_top(top(12, (0, 0), (102, 0)))
    assert best(book) == (0, 0, 0, 0)
    assert book.levels(BUY) == book.levels(SELL) == []
    assert book.size_at(BUY, 100) == book.size_at(SELL, 103) == book.size_at(SELL, 102) == 0
    assert len(book.depth_levels(SELL)) == 3


@pytest.mark.parametrize(("bid", "crossed"), [(100, False), (101, True), (102, True)])
def test_a_book_is_crossed_when_the_best_bid_reaches_the_best_ask(book: OrderBook, bid: int, crossed: bool) -> None:
    book.apply_delta(delta(11, {bid: 1}, {}))
    assert book.is_crossed is crossed
    assert book.is_depth_crossed is crossed


def test_a_top_can_uncross_what_is_shown_but_not_the_depth(book: OrderBook) -> None:
    book.apply_delta(delta(11, {101: 1}, {}))
    book.set_top(top(12, (100, 1), (101, 2)))
    assert not book.is_crossed
    assert book.is_depth_crossed


def test_no_levels_are_given_when_none_are_asked_for(book: OrderBook) -> None:
    assert book.levels(BUY, 0) == book.depth_levels(SELL, 0) == book.levels(SELL, -1) == []
    book.set_top(top(12, (99, 1), (102, 2)))
    assert book.levels(BUY, 0) == []
    assert book.levels(BUY, 1) == [(99, 1)]


class NaiveBook:
    """The same promises with nothing but dictionaries and sorting."""

    def __init__(self) -> None:
        self.valid, self.id, self.sides, self.top = False, 0, {BUY: dict[int, int](), SELL: dict[int, int]()}, None

    def depth(self, side: Side) -> list[Level]:
        return sorted(self.sides[side].items(), reverse=side is BUY)

    def shown(self, side: Side) -> list[Level]:
        if self.top is None:
            return self.depth(side)
        price, lots = self.top[3:5] if side is BUY else self.top[5:7]
        if not lots:
            return []
        return [(price, lots)] + [level for level in self.depth(side) if (level[0] - price) * side < 0]

    def take(self, event: Any) -> None:
        if event is None:
            self.__init__()
        elif isinstance(event, TopOfBook):
            if self.valid and event.update_id > max(self.id, self.top.update_id if self.top else 0):
                self.top = event
        else:
            if isinstance(event, BookSnapshot):
                self.valid, self.sides = True, {BUY: {}, SELL: {}}
            for side, levels in ((BUY, event.bids), (SELL, event.asks)):
                self.sides[side].update(levels)
                self.sides[side] = {price: lots for price, lots in self.sides[side].items() if lots}
            self.id = event.last_update_id
            if self.top and self.id >= self.top.update_id:
                self.top = None


PRICES = st.integers(1, 12)
CHANGES = st.dictionaries(PRICES, st.integers(0, 3), max_size=6)
IDS = st.integers(1, 25)
QUOTES = st.one_of(st.just((0, 0)), st.tuples(PRICES, st.integers(0, 3)))
EVENTS = st.one_of(
    st.builds(snapshot, IDS, CHANGES, CHANGES),
    st.builds(delta, IDS, CHANGES, CHANGES),
    st.builds(delta, IDS, CHANGES, CHANGES),
    st.builds(top, IDS, QUOTES, QUOTES),
    st.builds(top, IDS, QUOTES, QUOTES),
    st.none(),
)


@given(first=st.builds(snapshot, IDS, CHANGES, CHANGES), events=st.lists(EVENTS, max_size=30))
def test_the_book_shows_what_a_naive_one_shows_after_every_update(first: BookSnapshot, events: list[Any]) -> None:
    book, naive = OrderBook(), NaiveBook()
    for event in [first, *events]:
        naive.take(event)
        if event is None:
            book.clear()
        elif isinstance(event, TopOfBook):
            book.set_top(event)
        elif isinstance(event, BookSnapshot):
            book.apply_snapshot(event)
        else:
            book.apply_delta(event)
        bids, asks = naive.shown(BUY), naive.shown(SELL)
        assert best(book) == (*(bids or [(0, 0)])[0], *(asks or [(0, 0)])[0])
        assert (book.is_valid, book.last_update_id) == (naive.valid, naive.id)
        assert book.is_crossed is bool(bids and asks and bids[0][0] >= asks[0][0])
        for side, shown in ((BUY, bids), (SELL, asks)):
            depth = naive.depth(side)
            assert book.levels(side, 50) == shown
            assert book.levels(side, 2) == shown[:2]
            assert book.depth_levels(side, 3) == depth[:3]
            assert [book.size_at(side, price) for price in range(14)] == [dict(shown).get(price, 0) for price in range(14)]
