"""The matching core: queue, partial fills, trades through, crossing books, and nothing used twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Side, TopOfBook, Trade
from autohedge.errors import InvariantBroken
from autohedge.simulation.matching import MatchingCore, is_marketable, walk
from autohedge.simulation.queueing import REPORT_LAG_NS, QueueModel, advance_queue, age_unreported, cap_queue

MS = 1_000_000
LOTS = st.integers(0, 50)
SIDES = st.sampled_from([BUY, SELL])


class Market:
    """A book of 90/10 … 110/10 and a core on it; every event is 1 ms after the one before."""

    def __init__(self, queue: QueueModel = QueueModel.BEHIND_ALL) -> None:
        self.book = OrderBook()
        self.core = MatchingCore(self.book, queue)
        self.now_ns = 10**18
        self.update_id = 0
        self.trade_id = 0
        self.snapshot()

    def snapshot(self, bids: Any = ((100, 10), (99, 20), (98, 30)), asks: Any = ((101, 10), (102, 20), (103, 30))) -> Any:
        self._tick()
        event = BookSnapshot(0, self.now_ns, self.update_id, bids, asks)
        self.book.apply_snapshot(event)
        return self._told(event)

    def delta(self, bids: Any = (), asks: Any = ()) -> Any:
        self._tick()
        event = BookDelta(0, self.now_ns, self.update_id, self.update_id, bids, asks)
        self.book.apply_delta(event)
        return self._told(event)

    def top(self, bid: int, bid_lots: int, ask: int, ask_lots: int) -> Any:
        self._tick()
        event = TopOfBook(0, self.now_ns, self.update_id, bid, bid_lots, ask, ask_lots)
        assert self.book.set_top(event)
        return self._told(event)

    def trade(self, price: int, lots: int, aggressor: Side) -> Any:
        self._tick()
        self.trade_id += 1
        return self._told(Trade(0, self.now_ns, self.trade_id, price, lots, aggressor))

    def rest(self, order_id: str, side: Side, price: int, lots: int) -> Any:
        return self.core.rest(order_id, side, price, lots, self.now_ns)

    def wait(self, ns: int) -> None:
        self.now_ns += ns

    def _tick(self) -> None:
        self.now_ns += MS
        self.update_id += 1

    def _told(self, event: Any) -> list[tuple[str, int]]:
        return [(order.order_id, lots) for order, lots in self.core.on_market(event, self.now_ns)]


@pytest.fixture
def market() -> Market:
    return Market()


# --- the arithmetic -----------------------------------------------------------------------------------------------------


@given(LOTS, LOTS, LOTS)
def test_a_trade_is_spent_on_what_left_before_then_on_the_queue_then_on_us(ahead: int, unreported: int, traded: int) -> None:
    after, still_unreported, left = advance_queue(ahead, unreported, traded)
    assert (unreported - still_unreported) + (ahead - after) + left == traded
    assert after >= 0 and still_unreported >= 0 and left >= 0
    assert left == 0 or (after == 0 and still_unreported == 0)
    assert after == ahead or still_unreported == 0


@given(LOTS, LOTS, LOTS)
def test_a_display_only_ever_shortens_a_queue_and_remembers_by_how_much(ahead: int, unreported: int, shown: int) -> None:
    after, remembered = cap_queue(ahead, unreported, shown)
    assert after == min(ahead, shown)
    assert after + remembered == ahead + unreported


def test_what_is_unreported_is_forgotten_after_two_generations() -> None:
    assert age_unreported(0, 3, 4) == (3, 4)
    assert age_unreported(1, 3, 4) == (0, 3)
    assert age_unreported(2, 3, 4) == (0, 0)


def test_an_order_is_marketable_when_it_reaches_the_opposite_price() -> None:
    assert is_marketable(BUY, 101, 101) and is_marketable(SELL, 100, 100)
    assert not is_marketable(BUY, 100, 101) and not is_marketable(SELL, 101, 100)
    assert not is_marketable(BUY, 101, 0) and not is_marketable(SELL, 101, 0)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), unique_by=lambda level: level[0]),
    st.dictionaries(st.integers(1, 20), st.integers(0, 9)),
    SIDES,
    st.none() | st.integers(1, 20),
    LOTS,
)
def test_a_walk_never_exceeds_size_display_or_limit_and_leaves_no_better_level_unused(
    levels: list[tuple[int, int]], taken: dict[int, int], side: Side, limit: int | None, lots: int
) -> None:
    levels.sort(reverse=side is SELL)
    got = walk(levels, taken, side, limit, lots)
    assert sum(here for _, here in got) <= lots
    free = {price: max(0, shown - taken.get(price, 0)) for price, shown in levels}
    assert all(0 < here <= free[price] for price, here in got)
    reachable = [price for price, _ in levels if limit is None or (limit - price) * side >= 0]
    assert all(price in reachable for price, _ in got)
    assert sum(here for _, here in got) == min(lots, sum(free[price] for price in reachable))
    assert [price for price, _ in got] == [price for price in reachable if free[price]][: len(got)]


# --- the queue ------------------------------------------------------------------------------------------------------------


def test_a_new_order_stands_behind_what_is_displayed(market: Market) -> None:
    assert market.rest("a", BUY, 100, 5).ahead_lots == 10
    assert market.rest("b", SELL, 102, 5).ahead_lots == 20
    assert market.rest("c", BUY, 97, 5).ahead_lots == 0


def test_trades_at_the_price_reduce_the_queue_and_what_is_left_over_fills_in_part(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    assert market.trade(100, 4, SELL) == []
    assert order.ahead_lots == 6
    assert market.trade(100, 8, SELL) == [("a", 2)]
    assert (order.ahead_lots, order.remaining_lots) == (0, 3)
    assert market.trade(100, 1, SELL) == [("a", 1)]
    assert market.trade(100, 9, SELL) == [("a", 2)]
    assert market.core.is_idle


def test_an_ask_queues_and_fills_the_same_way(market: Market) -> None:
    market.rest("a", SELL, 101, 5)
    assert market.trade(101, 10, BUY) == []
    assert market.trade(101, 3, BUY) == [("a", 3)]


def test_a_trade_by_an_aggressor_of_our_own_side_does_not_touch_the_queue(market: Market) -> None:
    bid, ask = market.rest("a", BUY, 100, 5), market.rest("b", SELL, 101, 5)
    for price in (99, 100, 101):
        assert market.trade(price, 4, BUY if price < 101 else SELL) == []
    assert (bid.ahead_lots, ask.ahead_lots) == (10, 10)


def test_a_trade_at_a_better_price_does_not_reach_us(market: Market) -> None:
    order = market.rest("a", BUY, 99, 5)
    assert market.trade(100, 500, SELL) == []
    assert order.ahead_lots == 20


def test_a_trade_through_us_clears_the_queue_and_fills_at_most_its_own_size(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    assert market.trade(99, 2, SELL) == [("a", 2)]
    assert (order.ahead_lots, order.remaining_lots) == (0, 3)
    market.rest("b", SELL, 101, 5)
    assert market.trade(103, 50, BUY) == [("b", 5)]


def test_displayed_size_caps_the_queue_and_growth_behind_us_does_not_lengthen_it(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    market.delta(bids=((100, 4),))
    assert order.ahead_lots == 4
    market.delta(bids=((100, 400),))
    assert order.ahead_lots == 4
    market.top(100, 3, 101, 10)
    assert order.ahead_lots == 3
    market.top(99, 3, 101, 10)
    assert order.ahead_lots == 0


def test_a_trade_shown_afterwards_by_the_book_counts_once(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    market.trade(100, 4, SELL)
    market.delta(bids=((100, 6),))
    assert order.ahead_lots == 6


def test_a_trade_shown_beforehand_by_the_book_counts_once(market: Market) -> None:
    """Venues often send the changed best price before the trade that changed it."""
    order = market.rest("a", BUY, 100, 5)
    market.top(100, 6, 101, 10)
    assert market.trade(100, 4, SELL) == []
    assert order.ahead_lots == 6


def test_a_level_swept_away_before_its_trade_is_told_fills_us_only_with_what_went_beyond(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    market.top(99, 20, 101, 10)
    assert market.trade(100, 10, SELL) == []
    assert order.ahead_lots == 0
    assert market.trade(100, 3, SELL) == [("a", 3)]


def test_a_display_that_covers_only_what_is_behind_us_explains_no_trade(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    market.delta(bids=((100, 25),))
    market.delta(bids=((100, 15),))
    market.trade(100, 4, SELL)
    assert order.ahead_lots == 6


def test_a_reduction_that_no_trade_explains_in_time_was_a_cancel(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    market.delta(bids=((100, 6),))
    market.wait(2 * REPORT_LAG_NS)
    market.trade(100, 4, SELL)
    assert order.ahead_lots == 2


def test_a_reduction_waits_for_its_trade_at_least_the_report_lag(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    market.delta(bids=((100, 6),))
    market.wait(REPORT_LAG_NS - MS)
    market.trade(100, 4, SELL)
    assert order.ahead_lots == 6


def test_reductions_of_two_generations_are_explained_oldest_first(market: Market) -> None:
    market.wait(REPORT_LAG_NS - market.now_ns % REPORT_LAG_NS)
    order = market.rest("a", BUY, 100, 5)
    market.delta(bids=((100, 8),))
    market.wait(REPORT_LAG_NS)
    market.delta(bids=((100, 5),))
    market.trade(100, 3, SELL)  # explains the older 2 and 1 of the newer 3
    market.wait(REPORT_LAG_NS)
    market.trade(100, 2, SELL)  # explains the rest of the newer ones
    assert order.ahead_lots == 5
    market.trade(100, 2, SELL)
    assert order.ahead_lots == 3


def test_without_a_queue_every_trade_at_the_price_fills() -> None:
    market = Market(QueueModel.NONE)
    order = market.rest("a", BUY, 100, 5)
    assert order.ahead_lots == 0
    market.delta(bids=((100, 1),))
    assert market.trade(100, 2, SELL) == [("a", 2)]


# --- several orders of ours -----------------------------------------------------------------------------------------------


def test_one_trade_is_used_once_over_all_our_orders_better_price_then_earlier_first(market: Market) -> None:
    market.delta(bids=((100, 0), (99, 0), (98, 0)))
    for order_id, price in (("late-best", 99), ("worse", 98), ("earlier", 100), ("later", 100)):
        market.rest(order_id, BUY, price, 5)
    assert market.trade(98, 12, SELL) == [("earlier", 5), ("later", 5), ("late-best", 2)]
    assert market.trade(98, 9, SELL) == [("late-best", 3), ("worse", 5)]


def test_our_orders_at_one_price_share_the_queue_ahead_of_them(market: Market) -> None:
    first, second = market.rest("first", BUY, 100, 2), market.rest("second", BUY, 100, 2)
    assert market.trade(100, 11, SELL) == [("first", 1)]
    assert (first.ahead_lots, second.ahead_lots) == (0, 0)
    assert market.trade(100, 2, SELL) == [("first", 1), ("second", 1)]


def test_public_size_that_came_between_our_orders_is_served_between_them(market: Market) -> None:
    market.rest("first", BUY, 100, 2)
    market.delta(bids=((100, 15),))
    second = market.rest("second", BUY, 100, 2)
    assert second.ahead_lots == 15
    assert market.trade(100, 14, SELL) == [("first", 2)]
    assert second.ahead_lots == 3
    assert market.trade(100, 4, SELL) == [("second", 1)]


def test_a_later_order_knows_what_an_earlier_one_waits_for(market: Market) -> None:
    """A reduction whose trade is not reported yet must not bring the later order before the earlier one."""
    first = market.rest("first", BUY, 100, 2)
    market.top(100, 6, 101, 10)
    second = market.rest("second", BUY, 100, 2)
    market.trade(100, 4, SELL)
    assert (first.ahead_lots, second.ahead_lots) == (6, 6)


@given(
    st.lists(st.tuples(st.integers(96, 102), st.integers(1, 9)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(95, 103), st.integers(1, 60)), max_size=6),
)
def test_no_trade_fills_more_than_itself_and_no_order_more_than_its_size(
    orders: list[tuple[int, int]], trades: list[tuple[int, int]]
) -> None:
    market = Market()
    market.delta(asks=((101, 0), (102, 0), (103, 0), (110, 1)))
    for number, (price, lots) in enumerate(orders):
        market.rest(str(number), BUY, price, lots)
    filled: dict[str, int] = {}
    for price, lots in trades:
        fills = market.trade(price, lots, SELL)
        assert sum(each for _, each in fills) <= lots
        for order_id, each in fills:
            filled[order_id] = filled.get(order_id, 0) + each
            assert orders[int(order_id)][0] >= price
    assert all(each <= orders[int(order_id)][1] for order_id, each in filled.items())


@given(st.integers(1, 40), st.lists(st.one_of(
    st.tuples(st.just("trade"), st.integers(98, 101), st.integers(1, 15)),
    st.tuples(st.just("bid"), st.integers(98, 101), st.integers(0, 30)),
    st.tuples(st.just("ask"), st.integers(99, 103), st.integers(0, 30)),
), max_size=12))  # fmt: skip
def test_a_queue_never_fills_an_order_sooner_than_no_queue_would(size: int, moves: list[tuple[str, int, int]]) -> None:
    markets = Market(QueueModel.BEHIND_ALL), Market(QueueModel.NONE)
    filled = [0, 0]
    for market in markets:
        market.rest("a", BUY, 100, size)
    for kind, price, lots in moves:
        for index, market in enumerate(markets):
            level = ((price, lots),)
            fills = market.trade(price, lots, SELL) if kind == "trade" else market.delta(**{f"{kind}s": level})
            filled[index] += sum(each for _, each in fills)
        assert filled[0] <= filled[1] <= size


# --- a book that crosses us -----------------------------------------------------------------------------------------------


def test_a_book_that_crosses_us_fills_us_up_to_what_it_shows(market: Market) -> None:
    market.rest("a", BUY, 100, 25)
    assert market.delta(bids=((100, 0), (99, 0)), asks=((99, 3), (100, 4))) == [("a", 7)]


def test_a_crossed_ask_is_filled_by_displayed_bids(market: Market) -> None:
    market.rest("a", SELL, 102, 25)
    assert market.top(103, 6, 104, 1) == [("a", 6)]


def test_a_displayed_size_that_filled_us_is_used_once_until_its_level_changes(market: Market) -> None:
    market.rest("a", BUY, 100, 25)
    assert market.top(98, 30, 99, 3) == [("a", 3)]
    assert market.top(97, 30, 99, 3) == []  # only the bid is news
    assert market.trade(99, 2, BUY) == []
    assert market.top(97, 30, 99, 5) == [("a", 5)]


def test_a_delta_that_names_the_level_later_makes_it_new_even_with_the_same_size(market: Market) -> None:
    market.rest("a", BUY, 100, 25)
    assert market.delta(bids=((100, 0), (99, 0)), asks=((99, 3),)) == [("a", 3)]
    assert market.delta(bids=((98, 31),)) == []
    assert market.delta(asks=((99, 3),)) == [("a", 3)]


def test_depth_that_only_catches_up_with_the_best_prices_makes_nothing_new(market: Market) -> None:
    market.rest("a", BUY, 100, 25)
    market.top(98, 30, 99, 3)
    behind = BookDelta(0, market.now_ns, market.update_id, market.update_id + 1, ((100, 0), (99, 0)), ((99, 3),))
    market.book.apply_delta(behind)
    assert list(market.core.on_market(behind, market.now_ns)) == []


def test_a_display_fills_our_orders_in_priority_and_each_lot_once(market: Market) -> None:
    market.rest("worse", BUY, 99, 5)
    market.rest("better", BUY, 100, 5)
    assert market.delta(bids=((100, 0), (99, 0), (98, 0)), asks=((99, 7),)) == [("better", 5), ("worse", 2)]


def test_a_display_that_crosses_itself_fills_nobody(market: Market) -> None:
    market.rest("a", BUY, 100, 5)
    assert market.delta(asks=((99, 3),)) == []
    assert market.book.is_crossed
    assert market.delta(bids=((100, 0), (99, 0))) == [("a", 3)]


def test_while_the_book_is_not_valid_only_trades_fill_and_the_next_snapshot_caps_the_queue(market: Market) -> None:
    order = market.rest("a", BUY, 100, 5)
    market.book.clear()
    event = BookDelta(0, market.now_ns, 0, 0, (), ((90, 9),))
    assert list(market.core.on_market(event, market.now_ns)) == []
    assert order.ahead_lots == 10
    assert market.trade(100, 12, SELL) == [("a", 2)]
    later = market.rest("b", BUY, 98, 5)
    later.ahead_lots = 30
    market.update_id += 10
    market.snapshot(bids=((98, 7),))
    assert later.ahead_lots == 7


def test_a_snapshot_with_the_updates_that_waited_for_it_fills_once(market: Market) -> None:
    """The book is already at its end when the snapshot and each of its updates are told."""
    market.rest("a", BUY, 100, 25)
    market.book.clear()
    snapshot = BookSnapshot(0, market.now_ns, 50, ((98, 1),), ((100, 9),))
    first = BookDelta(0, market.now_ns - 2, 51, 51, (), ((100, 7),))
    second = BookDelta(0, market.now_ns - 1, 52, 52, (), ((100, 4),))
    market.book.apply_snapshot(snapshot)
    market.book.apply_delta(first)
    market.book.apply_delta(second)
    fills = [match.lots for event in (snapshot, first, second) for match in market.core.on_market(event, market.now_ns)]
    assert fills == [4]


# --- taking ---------------------------------------------------------------------------------------------------------------


def test_what_was_taken_stays_taken_until_the_level_changes(market: Market) -> None:
    core = market.core
    core.take(BUY, core.takeable(BUY, None, 15))
    assert core.takeable(BUY, None, 20) == [(102, 15), (103, 5)]
    market.delta(asks=((103, 31),))
    assert core.takeable(BUY, 102, 20) == [(102, 15)]
    market.delta(asks=((102, 12),))
    assert core.takeable(BUY, 102, 20) == [(102, 12)]
    market.delta(asks=((101, 10),))
    assert core.takeable(BUY, 101, 20) == [(101, 10)]
    assert core.is_idle


def test_a_snapshot_makes_every_level_new(market: Market) -> None:
    core = market.core
    core.take(SELL, core.takeable(SELL, None, 60))
    assert core.takeable(SELL, None, 1) == []
    market.snapshot()
    assert core.takeable(SELL, None, 60) == [(100, 10), (99, 20), (98, 30)]


def test_takers_and_makers_of_ours_share_the_display(market: Market) -> None:
    core = market.core
    core.take(BUY, core.takeable(BUY, 101, 6))
    market.rest("a", BUY, 101, 25)
    assert market.delta(bids=((97, 1),)) == [("a", 4)]
    assert core.takeable(BUY, 101, 1) == []


def test_an_order_takes_through_a_book_of_any_depth() -> None:
    market = Market()
    market.snapshot(asks=tuple((101 + index, 1) for index in range(300)))
    assert len(market.core.takeable(BUY, None, 290)) == 290
    assert len(market.core.takeable(BUY, 150, 290)) == 50
    assert len(market.core.takeable(BUY, None, 1_000)) == 300


def test_taking_more_than_is_displayed_is_a_contradiction(market: Market) -> None:
    with pytest.raises(InvariantBroken, match="11 lots at 101 where 10 are displayed"):
        market.core.take(BUY, [(101, 11)])


def test_an_order_that_left_is_not_matched_any_more(market: Market) -> None:
    market.rest("a", BUY, 100, 5)
    assert market.core.best_ticks(BUY) == 100
    removed = market.core.remove("a")
    assert removed is not None and removed.order_id == "a"
    assert market.core.remove("a") is None
    assert market.core.best_ticks(BUY) == 0
    assert market.trade(99, 50, SELL) == []
