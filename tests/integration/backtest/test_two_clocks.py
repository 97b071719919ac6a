"""The compiled loop against an exchange and a maker with a clock each, as other backtesters have them.

Here a row happens at the venue and is seen after the feed's latency; an order travels to the venue, and its answer back. The
compiled loop has one clock, on which everything is seen when it is received, and an order that takes as long as feed and
order together. Both must give the same fills, to the nanosecond. The market with two clocks is written anew and simply, and
so is its maker.

Where AUTOHEDGE_PEER_HFTBACKTEST names a Python that has hftbacktest, that is held against ours too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import ceil, floor

import pytest

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_market import prepare_market
from benchmarks.figures import Skipped
from benchmarks.l2_maker import (
    ALWAYS_MS,
    ANSWERED_MS,
    FEED_LATENCY_NS,
    NEUTRAL_LOTS,
    SELDOM_MS,
    agreement,
    counts_of,
    fills_of,
    lane_of,
    maker,
    peer_on,
)
from benchmarks.l2_stream import Stream, coin, columns_of, l2_stream

MS = 1_000_000
SEEN, ANSWERED, HAPPENED, ARRIVED = range(4)
"""What comes first at one and the same time."""
CAP_LOT_TICKS = 1_000_000
"""The maker's capital of 100, in ticks × lots."""

Fill = tuple[int, int, int]


@dataclass
class Order:
    """One lot; `ahead` is the queue at the venue, `is_known` what the maker has been told."""

    side: int
    price: int
    ahead: int = 0
    rests: bool = False
    is_known: bool = False
    cancelling: bool = False


@dataclass
class Book:
    """Sizes by price."""

    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)

    def set(self, side: int, price: int, lots: int) -> None:
        levels = self.bids if side > 0 else self.asks
        if lots:
            levels[price] = lots
        else:
            levels.pop(price, None)

    @property
    def best(self) -> tuple[int, int]:
        return max(self.bids), min(self.asks)


class TwoClocks:
    """A market and a maker that hear of each other with delays."""

    def __init__(
        self, stream: Stream, feed_ns: int, order_ns: int, requote_ns: int, *, cancels_on_the_way: bool = True
    ) -> None:
        self.feed_ns, self.order_ns, self.requote_ns = feed_ns, order_ns, requote_ns
        self.cancels_on_the_way = cancels_on_the_way
        self.rows = list(zip(*(column.tolist() for column in stream), strict=True))
        self.venue_book, self.book = Book(), Book()
        self.resting: list[Order] = []  # at the venue
        self.working: list[Order] = []  # as the maker knows them
        self.held = NEUTRAL_LOTS
        self.next_look_ns = 0
        self.fills: list[Fill] = []
        self.orders = 0
        self._queue: list[tuple[int, int, int, object]] = []
        self._serial = count()

    def later(self, at_ns: int, what: int, subject: object) -> None:
        heappush(self._queue, (at_ns, what, next(self._serial), subject))

    def run(self) -> TwoClocks:
        for ts_ns, *row in self.rows:
            self.later(ts_ns, HAPPENED, row)
            self.later(ts_ns + self.feed_ns, SEEN, row)
        must_look = False
        while self._queue:
            now_ns, what, _, subject = heappop(self._queue)
            if what == SEEN:
                is_trade, side, price, lots = subject  # type: ignore[misc]
                if not is_trade:
                    self.book.set(side, price, lots)
                must_look = True
            elif what == ANSWERED:
                subject()  # type: ignore[operator]
            elif what == HAPPENED:
                self.happened(now_ns, *subject)  # type: ignore[misc]
            else:
                subject(now_ns)  # type: ignore[operator]
            if must_look and (not self._queue or self._queue[0][0] > now_ns):
                must_look = False
                if now_ns >= self.next_look_ns:
                    self.next_look_ns = now_ns + self.requote_ns
                    self.look(now_ns)
        return self

    # --- the venue

    def happened(self, now_ns: int, is_trade: bool, side: int, price: int, lots: int) -> None:
        if not is_trade:
            self.venue_book.set(side, price, lots)
            for order in self.resting:
                if (order.side, order.price) == (side, price):
                    order.ahead = min(order.ahead, lots)
            best = max(self.venue_book.bids, default=0), min(self.venue_book.asks, default=2**62)
            for order in [each for each in self.resting if each.side != side]:
                if (order.price - best[0 if side > 0 else 1]) * order.side >= 0:
                    self.filled(now_ns, order)
            return
        hit = [order for order in self.resting if order.side != side and (order.price - price) * order.side >= 0]
        for order in sorted(hit, key=lambda each: -each.price * each.side):
            if order.price == price:
                order.ahead, reached = max(0, order.ahead - lots), lots > order.ahead
                if not reached:
                    continue
            if lots:
                lots -= 1
                self.filled(now_ns, order)

    def filled(self, now_ns: int, order: Order) -> None:
        self.resting.remove(order)
        self.fills.append((now_ns, order.side, order.price))
        self.later(now_ns + self.feed_ns, ANSWERED, lambda: self.told_of_fill(order))

    def placed(self, now_ns: int, order: Order) -> None:
        best_bid, best_ask = self.venue_book.best
        if (order.price >= best_ask) if order.side > 0 else (order.price <= best_bid):
            self.later(now_ns + self.feed_ns, ANSWERED, lambda: self.working.remove(order))
            return
        order.ahead = (self.venue_book.bids if order.side > 0 else self.venue_book.asks).get(order.price, 0)
        self.resting.append(order)
        self.later(now_ns + self.feed_ns, ANSWERED, lambda: setattr(order, "is_known", True))

    def cancelled(self, now_ns: int, order: Order) -> None:
        if order in self.resting:
            self.resting.remove(order)
            self.later(now_ns + self.feed_ns, ANSWERED, lambda: self.working.remove(order))

    # --- the maker

    def told_of_fill(self, order: Order) -> None:
        self.working.remove(order)
        self.held += order.side

    def look(self, now_ns: int) -> None:
        wanted = dict(zip((1, -1), self.prices(), strict=True))
        before = list(self.working)
        new = [price * side for side, price in wanted.items() if self.reconciled(now_ns, side, price, before)]
        for signed in new:
            order = Order(1 if signed > 0 else -1, abs(signed))
            self.orders += 1
            self.working.append(order)
            self.later(now_ns + self.order_ns, ARRIVED, lambda at_ns, order=order: self.placed(at_ns, order))

    def prices(self) -> tuple[int, int]:
        best_bid, best_ask = self.book.best
        mid = (best_bid + best_ask) / 2
        off = self.held - NEUTRAL_LOTS
        room = CAP_LOT_TICKS / mid - NEUTRAL_LOTS if off > 0 else NEUTRAL_LOTS
        self.ratio = min(1.0, max(0.0, 0.5 + 0.5 * off / room)) if off else 0.5
        half = mid * 0.0001 / 2
        shift = min(1.0, max(-1.0, (0.5 - self.ratio) * 2))
        bid = min(floor(mid - half + shift * half + 1e-9), best_ask - 1)
        ask = max(ceil(mid + half + shift * half - 1e-9), best_bid + 1)
        return (bid, ask) if bid < ask else (bid - 1, ask + 1)

    def reconciled(self, now_ns: int, side: int, price: int, working: list[Order]) -> bool:
        """Cancel what is not wanted; True when a new order is."""
        live = [each for each in working if each.side == side and not each.cancelling]
        others = [each for each in working if each not in live]
        may = self.ratio < 1 if side > 0 else self.ratio > 0
        if may and [each.price for each in live] == [price] and self.fits(side, price, others):
            return False
        if not self.cancels_on_the_way and not all(each.is_known for each in live):
            return False
        for order in live:
            order.cancelling = True
            self.later(now_ns + self.order_ns, ARRIVED, lambda at_ns, order=order: self.cancelled(at_ns, order))
        meets = any(each.side != side and (price - each.price) * side >= 0 for each in working)
        return may and not meets and self.fits(side, price, working)

    def fits(self, side: int, price: int, working: list[Order]) -> bool:
        """Whether one lot more is within what we have, or within the cap of all that is held and bid for."""
        same = [each.price for each in working if each.side == side]
        if side < 0:
            return self.held - len(same) >= 1
        return price + max(price * (self.held + len(same)), price * self.held + sum(same)) <= CAP_LOT_TICKS


def compiled(
    stream: Stream, requote_ms: float, *, feed_ns: int = FEED_LATENCY_NS, trades_come_first: bool = True
) -> CompiledLane:
    lane = lane_of(prepare_market(columns_of(stream, feed_ns), coin()), requote_ms, trades_come_first=trades_come_first)
    lane.advance()
    return lane


@pytest.mark.parametrize("requote_ms", [SELDOM_MS, ANSWERED_MS, ALWAYS_MS])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_clock_with_the_longer_latency_fills_as_two_clocks_do(seed: int, requote_ms: int) -> None:
    stream = l2_stream(8_000, seed)
    lane = compiled(stream, requote_ms)
    theirs = TwoClocks(stream, FEED_LATENCY_NS, FEED_LATENCY_NS, requote_ms * MS).run()
    assert fills_of(lane) == theirs.fills
    assert (counts_of(lane).orders, counts_of(lane).held_lots) == (theirs.orders, theirs.held)
    assert len(theirs.fills) > 100


@pytest.mark.parametrize("feed_us", [1, 300, 1_999])
def test_only_the_sum_of_feed_and_order_latency_counts(feed_us: int) -> None:
    """The venue's answer takes as long as its news do."""
    stream, feed_ns = l2_stream(6_000, 3), feed_us * 1_000
    theirs = TwoClocks(stream, feed_ns, 2 * FEED_LATENCY_NS - feed_ns, 0).run()
    ours = [
        (ts_ns + FEED_LATENCY_NS - feed_ns, side, price)
        for ts_ns, side, price in fills_of(compiled(stream, 0, feed_ns=feed_ns))
    ]
    assert ours == theirs.fills


def test_a_latency_that_is_not_the_sum_gives_other_fills() -> None:
    stream = l2_stream(8_000, 1)
    theirs = TwoClocks(stream, FEED_LATENCY_NS, 5 * FEED_LATENCY_NS, 0).run()
    assert fills_of(compiled(stream, 0)) != theirs.fills


def test_what_left_the_display_costs_queue_advance_until_it_is_forgotten() -> None:
    """The rule of ours that the comparison switches off: a trade soon after a smaller display explains that first."""
    stream = l2_stream(20_000, 1)
    agreed, ours = compiled(stream, SELDOM_MS), compiled(stream, SELDOM_MS, trades_come_first=False)
    assert counts_of(ours).fills < counts_of(agreed).fills


def test_the_two_clock_maker_is_the_configured_one() -> None:
    """The numbers written down here are those of the benchmark's maker."""
    config, rules = maker(SELDOM_MS), coin()
    assert rules.quote_atoms_floor(config.total_capital) == CAP_LOT_TICKS * rules.quote_atoms_per_tick_lot
    assert (float(config.spread_percentage), config.skew_factor, config.inventory_target) == (0.0001, 2, 0.5)


def test_hftbacktest_fills_the_same_orders() -> None:
    """Every fill, at the same time and price; of orders perhaps one more, because it does not look after the last row."""
    stream = l2_stream(20_000, 5)
    market = prepare_market(columns_of(stream, FEED_LATENCY_NS), coin())
    try:
        with peer_on(stream) as peer:
            both = [agreement(market, peer, requote_ms, trades_come_first=True) for requote_ms in (SELDOM_MS, ANSWERED_MS)]
    except Skipped as why:
        pytest.skip(str(why))
    for found in both:
        assert (found.only_ours, found.only_theirs) == (0, 0)
        assert (found.ours.fills, found.ours.held_lots) == (found.theirs.fills, found.theirs.held_lots)
        assert found.ours.looks - found.theirs.looks in (0, 1)
        assert found.ours.orders - found.theirs.orders in (0, 1, 2)
        assert found.ours.fills > 300
