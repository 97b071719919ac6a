"""Queue models: a cancel is shared by position, one event never counts twice, and lots are conserved and rounded against us."""

from __future__ import annotations

from fractions import Fraction
from math import log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, TopOfBook, Trade
from autohedge.domain.paper import PaperSettings
from autohedge.simulation.matching import MatchingCore
from autohedge.simulation.queueing import (
    BEHIND_ALL,
    LOG,
    POWER,
    REPORT_LAG_NS,
    QueueModel,
    RestingOrder,
    cancelled_ahead,
    match_fall,
    match_trade,
)

MS = 1_000_000
EXAMPLES = settings(max_examples=300, deadline=None)
LOTS = st.integers(0, 60)
POWERS = st.floats(0.1, 10)
CHANCE = st.tuples(st.sampled_from([POWER, LOG]), POWERS)
LATE = 3 * REPORT_LAG_NS


# --- one cancel ---------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(CHANCE, LOTS, LOTS, st.data())
def test_a_cancel_takes_only_what_is_there_on_either_side(chance: Any, ahead: int, behind: int, data: Any) -> None:
    cancelled = data.draw(st.integers(0, ahead + behind))
    gone = cancelled_ahead(*chance, ahead, behind, cancelled)
    assert 0 <= gone <= ahead
    assert 0 <= cancelled - gone <= behind


@EXAMPLES
@given(CHANCE, st.integers(1, 60), LOTS)
def test_nothing_ahead_means_nothing_and_nothing_behind_means_all(chance: Any, lots: int, cancelled: int) -> None:
    assert cancelled_ahead(*chance, 0, lots, min(lots, cancelled)) == 0
    assert cancelled_ahead(*chance, lots, 0, min(lots, cancelled)) == min(lots, cancelled)


@EXAMPLES
@given(st.integers(1, 10**6), st.integers(1, 10**6), st.data())
def test_the_first_power_shares_by_size_rounded_against_us(ahead: int, behind: int, data: Any) -> None:
    cancelled = data.draw(st.integers(0, ahead + behind))
    exact = Fraction(cancelled * ahead, ahead + behind)
    gone = cancelled_ahead(POWER, 1.0, ahead, behind, cancelled)
    assert gone in (int(exact), max(0, int(exact) - 1), cancelled - behind)
    assert gone <= exact or gone == cancelled - behind


@pytest.mark.parametrize(
    ("model", "power", "ahead", "behind", "cancelled", "gone"),
    [
        (POWER, 1.0, 30, 10, 8, 6),
        (POWER, 1.0, 30, 10, 7, 5),  # 5.25
        (POWER, 2.0, 30, 10, 10, 9),  # 900 ÷ 1000
        (POWER, 2.0, 10, 30, 10, 1),
        (POWER, 3.0, 10, 10, 9, 4),
        (POWER, 0.5, 16, 4, 9, 6),  # 4 ÷ 6
        (LOG, 9.9, 7, 1, 8, 7),  # ln 8 ÷ ln 16 is ¾, and 7 of 8 cannot have been behind
        (LOG, 9.9, 60, 100, 40, int(40 * log(61) / (log(61) + log(101)))),
        (LOG, 9.9, 7, 100, 40, 7),  # 12 of 40 would be more than there are
        (LOG, 1.0, 100, 7, 20, 13),  # 13.79, and at least 13 because only 7 are behind
    ],
)
def test_shares_by_hand(model: int, power: float, ahead: int, behind: int, cancelled: int, gone: int) -> None:
    assert cancelled_ahead(model, power, ahead, behind, cancelled) == gone


@EXAMPLES
@given(st.integers(1, 60), st.integers(1, 60), POWERS, POWERS, st.data())
def test_a_larger_power_gives_more_to_the_longer_part(ahead: int, behind: int, one: float, other: float, data: Any) -> None:
    cancelled = data.draw(st.integers(0, ahead + behind))
    low, high = (cancelled_ahead(POWER, power, ahead, behind, cancelled) for power in sorted((one, other)))
    assert low <= high if ahead >= behind else high <= low


def test_the_longest_queues_do_not_overflow() -> None:
    most = 2**53 - 1
    assert cancelled_ahead(POWER, 10.0, 1, most, 5) == 0
    assert cancelled_ahead(POWER, 10.0, most, 1, 5) == 5 or cancelled_ahead(POWER, 10.0, most, 1, 5) == 4
    assert 0 < cancelled_ahead(LOG, 10.0, 1, most, 10**6) < 10**6


# --- falls and trades find each other -----------------------------------------------------------------------------------


@EXAMPLES
@given(st.lists(st.tuples(st.booleans(), st.booleans(), LOTS), max_size=20))
def test_each_lot_of_a_fall_is_matched_with_a_trade_at_most_once(steps: list[tuple[bool, bool, int]]) -> None:
    unmatched = before = 0
    for is_trade, a_generation_passes, lots in steps:
        if a_generation_passes:
            unmatched, before = 0, unmatched
        total = unmatched + before
        if is_trade:
            unmatched, before = match_trade(unmatched, before, lots)
            assert unmatched + before == total - lots
        else:
            told = max(0, -total)
            unmatched, before, rest = match_fall(unmatched, before, lots)
            assert unmatched + before == total + lots
            assert rest == max(0, lots - told)
        assert unmatched * before >= 0


# --- one order in a stream ----------------------------------------------------------------------------------------------


class Queue:
    """One order behind `ahead` lots, with a display that a test moves."""

    def __init__(self, model: int, power: float = 1.0, ahead: int = 100) -> None:
        self.order = RestingOrder("o", BUY, 100, 10**6, 10**6, ahead_lots=ahead, shown_lots=ahead, by_chance=model > BEHIND_ALL)
        self.model, self.power = model, power
        self.shown = ahead
        self.update_id = 0
        self.now_ns = 0

    def show(self, lots: int) -> None:
        self.shown = lots
        self.update_id += 1
        order = self.order
        if self.model == BEHIND_ALL:
            if lots < order.ahead_lots:
                order.see_shown(lots, self.now_ns)
        elif order.ahead_lots:
            order.see_changed(self.model, self.power, lots, self.update_id, self.now_ns)

    def trade(self, lots: int) -> int:
        return self.order.see_trade(lots, self.now_ns)


STEPS = st.lists(
    st.tuples(st.sampled_from(["show", "fall", "trade", "wait"]), st.integers(0, 80), st.sampled_from([0, 1, 60, 110, 250])),
    max_size=40,
)


@EXAMPLES
@given(CHANCE, st.integers(0, 100), STEPS)
def test_a_queue_by_chance_is_never_behind_behind_all_and_never_negative(chance: Any, ahead: int, steps: Any) -> None:
    """On the same events it has at most as many lots ahead; no more than is displayed; and it never grows."""
    surely, probably = Queue(BEHIND_ALL, ahead=ahead), Queue(*chance, ahead=ahead)
    for what, lots, wait_ms in steps:
        before = probably.order.ahead_lots
        for queue in (surely, probably):
            queue.now_ns += wait_ms * MS
            if what == "show":
                queue.show(lots)
            elif what == "fall":
                queue.show(max(0, queue.shown - lots))
            elif what == "trade":
                queue.trade(lots)
        order = probably.order
        assert 0 <= order.ahead_lots <= surely.order.ahead_lots
        assert order.ahead_lots <= before
        assert order.unreported_lots >= 0 and order.unreported_before_lots >= 0
        if what in ("show", "fall"):
            assert order.ahead_lots <= probably.shown


@pytest.mark.parametrize(("model", "power"), [(POWER, 1.0), (POWER, 3.0), (LOG, 1.0)])
@pytest.mark.parametrize("trade_is_told_first", [True, False])
@pytest.mark.parametrize("behind", [0, 50, 1_000])
def test_a_trade_counts_once_whether_the_book_or_the_trade_comes_first(
    model: int, power: float, trade_is_told_first: bool, behind: int
) -> None:
    queue = Queue(model, power)
    queue.show(100 + behind)
    if trade_is_told_first:
        queue.trade(30)
        queue.now_ns += 90 * MS
        queue.show(70 + behind)
    else:
        queue.show(70 + behind)
        queue.now_ns += 90 * MS
        queue.trade(30)
    assert queue.order.ahead_lots == 70


@pytest.mark.parametrize(("model", "power"), [(POWER, 1.0), (POWER, 3.0), (LOG, 1.0)])
def test_what_a_fall_leaves_unexplained_is_shared(model: int, power: float) -> None:
    """Of a fall of 40 a trade of 30 had told: 10 were cancelled, of 70 ahead and 100 behind."""
    queue = Queue(model, power)
    queue.show(200)
    queue.trade(30)
    queue.show(160)
    assert queue.order.ahead_lots == 70 - cancelled_ahead(model, power, 70, 100, 10)


def test_a_trade_told_long_after_a_fall_is_another_event() -> None:
    queue = Queue(POWER)
    queue.show(200)
    queue.show(160)
    assert queue.order.ahead_lots == 80
    queue.now_ns += LATE
    queue.trade(30)
    assert queue.order.ahead_lots == 50


def test_a_fall_shown_long_after_a_trade_is_another_event() -> None:
    queue = Queue(POWER)
    queue.show(200)
    queue.trade(30)
    queue.now_ns += LATE
    queue.show(170)
    assert queue.order.ahead_lots == 70 - 30 * 70 // 200


def test_size_added_later_stands_behind_us() -> None:
    queue = Queue(POWER)
    queue.show(150)
    queue.show(1_000)
    assert queue.order.ahead_lots == 100


# --- in the core --------------------------------------------------------------------------------------------------------


class Market:
    """A book of 100/40 to 103/40 and a core on it; a buy order rests at 100."""

    def __init__(self, queue: QueueModel, power: float = 1.0) -> None:
        self.book = OrderBook()
        self.core = MatchingCore(self.book, queue, power)
        self.now_ns = 10**18
        self.update_id = 1
        snapshot = BookSnapshot(0, self.now_ns, 1, ((100, 40), (99, 5)), ((103, 40),))
        self.book.apply_snapshot(snapshot)
        self.core.on_market(snapshot, self.now_ns)
        self.order = self.core.rest("o", BUY, 100, 10, self.now_ns)

    def bid(self, price: int, lots: int) -> None:
        """A change of the depth."""
        self._later()
        event = BookDelta(0, self.now_ns, self.update_id, self.update_id, ((price, lots),), ())
        self.book.apply_delta(event)
        self.core.on_market(event, self.now_ns)

    def best(self, price: int, lots: int) -> None:
        """A newer best bid over the depth."""
        self._later()
        event = TopOfBook(0, self.now_ns, self.update_id, price, lots, 103, 40)
        assert self.book.set_top(event)
        self.core.on_market(event, self.now_ns)

    def sell(self, lots: int) -> int:
        self._later()
        matches = self.core.on_market(Trade(0, self.now_ns, self.update_id, 100, lots, SELL), self.now_ns)
        return sum(match.lots for match in matches)

    def _later(self) -> None:
        self.now_ns += MS
        self.update_id += 1


@pytest.mark.parametrize(("queue", "ahead"), [(QueueModel.BEHIND_ALL, 40), (QueueModel.POWER, 20), (QueueModel.NONE, 0)])
def test_a_cancel_at_our_price_moves_us_as_the_model_says(queue: QueueModel, ahead: int) -> None:
    market = Market(queue)
    market.bid(100, 80)
    market.bid(100, 40)
    assert market.order.ahead_lots == ahead


def test_a_shared_cancel_lets_a_trade_reach_us_earlier() -> None:
    filled = {}
    for queue in (QueueModel.BEHIND_ALL, QueueModel.POWER, QueueModel.LOG):
        market = Market(queue)
        market.bid(100, 80)
        market.bid(100, 40)
        market.now_ns += LATE
        filled[queue] = market.sell(25)
    assert filled == {QueueModel.BEHIND_ALL: 0, QueueModel.POWER: 5, QueueModel.LOG: 5}


def test_a_depth_that_is_older_than_the_best_price_shown_before_is_no_news() -> None:
    """The best bid said that 30 are left. When it moves on, the depth still says 40 until it is told: nobody came and went."""
    market = Market(QueueModel.POWER)
    market.best(100, 30)
    assert market.order.ahead_lots == 30
    market.best(101, 5)
    assert market.book.size_at(BUY, 100) == 40
    market.bid(100, 30)
    assert market.order.ahead_lots == 30


def test_an_order_that_joins_our_own_is_not_moved_by_the_report_of_what_fell_before_it_came() -> None:
    market = Market(QueueModel.POWER)
    market.bid(100, 20)
    second = market.core.rest("p", BUY, 100, 10, market.now_ns)
    assert second.ahead_lots == 20
    assert market.sell(20) == 0
    assert second.ahead_lots == 20
    assert market.order.ahead_lots == 20


def test_standing_at_the_front_is_no_setting() -> None:
    assert PaperSettings().queue_model == "behind_all"
    with pytest.raises(ValidationError):
        PaperSettings(queue_model="none")  # type: ignore[arg-type]
