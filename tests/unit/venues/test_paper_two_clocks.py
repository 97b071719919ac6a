"""A slower feed is a longer way of the order, and nothing else: shown with a market that has two clocks.

In the true picture the venue keeps its own time. It matches what happens there; an order takes `o` to get there; the market
data and all news of our orders take `f` to us. The paper venue has one clock, that of receipt, and an order takes `o + f`.
Whoever trades by what he sees and hears does the same things and gets the same fills, told at the same times.
"""

from __future__ import annotations

from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.book import OrderBook
from autohedge.domain.fees import FeeRate, FeeSchedule
from autohedge.domain.ids import ClientOrderId, IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, Side, Trade
from autohedge.domain.orders import CancelOrder, Command, OrderCancelled, OrderFilled, OrderRejected, PlaceOrder, VenueEvent
from autohedge.simulation.conditions import Conditions
from autohedge.simulation.queueing import REPORT_LAG_NS, QueueModel
from autohedge.venues.paper import PaperVenue

MS = 1_000_000
FREE = FeeRate(0, 10_000)
LOTS = 7
STEPS = 120


def market(rng: Random) -> list[MarketEvent]:
    """What happens at the venue, in its own time."""
    now_ns, update_id, mid = 10**18, 1, 100
    bids = tuple((mid - 1 - i, rng.randint(1, 20)) for i in range(4))
    asks = tuple((mid + i, rng.randint(1, 20)) for i in range(4))
    events: list[MarketEvent] = [BookSnapshot(0, now_ns, 1, bids, asks)]
    for _ in range(STEPS):
        now_ns += rng.choice((0, 1, 3, 9, 30)) * MS
        update_id += 1
        side = rng.choice((BUY, SELL))
        if rng.random() < 0.5:
            price = rng.choice((mid - 1, mid - 2)) if side is SELL else rng.choice((mid, mid + 1))
            events.append(Trade(0, now_ns, update_id, price, rng.randint(1, 25), side))
        elif rng.random() < 0.2:
            mid += rng.choice((-1, 1))
            bids = tuple((mid - 1 - i, rng.randint(1, 20)) for i in range(4))
            asks = tuple((mid + i, rng.randint(1, 20)) for i in range(4))
            events.append(BookSnapshot(0, now_ns, update_id, bids, asks))
        else:
            level = (mid - 1 - rng.randint(0, 2), rng.randint(1, 30))
            other = (mid + rng.randint(0, 2), rng.randint(1, 30))
            events.append(BookDelta(0, now_ns, update_id, update_id, (level,), (other,)))
    return events


def applied(book: OrderBook, event: MarketEvent) -> None:
    if isinstance(event, BookSnapshot):
        book.apply_snapshot(event)
    elif isinstance(event, BookDelta):
        book.apply_delta(event)


class Trader:
    """Joins the best prices by what he sees, moves when they move, and stops when he has heard of enough fills."""

    def __init__(self) -> None:
        self.book = OrderBook()
        self.quotes: dict[Side, tuple[ClientOrderId, int]] = {}
        self.heard: list[tuple[int, VenueEvent]] = []
        self.left: dict[str, int] = {}
        self.position = 0

    def hears(self, now_ns: int, said: VenueEvent) -> None:
        self.heard.append((now_ns, said._replace(ts_ns=now_ns)))
        ends = isinstance(said, OrderRejected | OrderCancelled)
        if isinstance(said, OrderFilled):
            self.position += said.side * said.size_lots
            self.left[said.client_order_id] -= said.size_lots
            ends = not self.left[said.client_order_id]
        if ends:
            self.quotes = {side: quote for side, quote in self.quotes.items() if quote[0] != said.client_order_id}

    def decides(self) -> list[Command]:
        wanted = {
            BUY: self.book.best_bid_ticks if self.position < 3 * LOTS else 0,
            SELL: self.book.best_ask_ticks if self.position > -3 * LOTS else 0,
        }
        commands: list[Command] = []
        for side, price in wanted.items():
            if side in self.quotes and self.quotes[side][1] != price:
                commands.append(CancelOrder(self.quotes.pop(side)[0], "moved"))
            if price and side not in self.quotes:
                order_id = ClientOrderId(f"o{len(self.left)}")
                self.left[order_id] = LOTS
                self.quotes[side] = (order_id, price)
                commands.append(PlaceOrder(order_id, side, price, LOTS, True, "join"))
        return commands


def venue_over(book: OrderBook, coin: Instrument, latency_ns: int, queue: QueueModel) -> PaperVenue:
    return PaperVenue(
        coin, book, FeeSchedule(FREE, FREE), conditions=Conditions.constant(latency_ns, queue), ids=IdFactory("COIN/CASH"),
        base_atoms=10**15, quote_atoms=10**18,
    )  # fmt: skip


def with_two_clocks(events: list[MarketEvent], coin: Instrument, order_ns: int, feed_ns: int, queue: QueueModel) -> Trader:
    """The venue in its own time; everything that it says or shows takes `feed_ns` to the trader, in the order it was told."""
    trader, book = Trader(), OrderBook()
    venue = venue_over(book, coin, order_ns, queue)
    agenda: list[tuple[int, int, int, str, Any]] = []
    serial = count()

    def plan(at_ns: int, what: str, about: Any = None) -> None:
        # what arrives at the venue meets the market as it was before what happens then
        heappush(agenda, (at_ns, 0 if what == "arrives" else 1, next(serial), what, about))

    for event in events:
        plan(event.ts_init_ns, "happens", event)
    while agenda:
        now_ns, _, _, what, about = heappop(agenda)
        if what == "heard":
            trader.hears(now_ns, about)
        elif what == "seen":
            applied(trader.book, about)
        elif what == "thinks":
            for command in trader.decides():
                venue.submit(command, now_ns)
                plan(now_ns + order_ns, "arrives")
        else:
            for said in venue.advance(now_ns):
                plan(said.ts_ns + feed_ns, "heard", said)
        if what == "happens":
            applied(book, about)
            plan(now_ns + feed_ns, "seen", about)
            for said in venue.on_market(about):
                plan(said.ts_ns + feed_ns, "heard", said)
            plan(now_ns + feed_ns, "thinks")
    return trader


def with_one_clock(events: list[MarketEvent], coin: Instrument, order_ns: int, feed_ns: int, queue: QueueModel) -> Trader:
    """A session's way: the stream as it is received, and a longer latency."""
    trader = Trader()
    venue = venue_over(trader.book, coin, order_ns + feed_ns, queue)
    for happened in events:
        event = happened._replace(ts_init_ns=happened.ts_init_ns + feed_ns)
        for said in venue.advance(event.ts_init_ns):
            trader.hears(said.ts_ns, said)
        applied(trader.book, event)
        for said in venue.on_market(event):
            trader.hears(said.ts_ns, said)
        for command in trader.decides():
            venue.submit(command, event.ts_init_ns)
    for said in venue.advance(1 << 63):
        trader.hears(said.ts_ns, said)
    return trader


FILLED: list[int] = []


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from([1, 4, 35]), st.sampled_from([1, 2, 5]), st.sampled_from(list(QueueModel)))
def test_what_is_heard_of_a_slow_feed_is_what_a_longer_way_gives(
    seed: int, order_ms: int, lags: int, queue: QueueModel
) -> None:
    """The feed's latency is a multiple of REPORT_LAG_NS, because generations of it are counted from midnight."""
    events = market(Random(seed))
    coin = Instrument("COIN/CASH", "COIN", "CASH", *map(Decimal, (1, 1, 1, 1_000, 0)), None, "test", "today")
    ways = (coin, order_ms * MS, lags * REPORT_LAG_NS, queue)
    true, ours = with_two_clocks(events, *ways), with_one_clock(events, *ways)
    assert true.heard == ours.heard
    assert true.position == ours.position
    FILLED.append(sum(isinstance(said, OrderFilled) for _, said in ours.heard))


def test_the_markets_with_two_clocks_filled_orders() -> None:
    """Of the test above."""
    assert not FILLED or sum(FILLED) > 5 * len(FILLED)


def test_a_slower_feed_changes_what_is_filled() -> None:
    """Otherwise the test above would compare nothing."""
    coin = Instrument("COIN/CASH", "COIN", "CASH", *map(Decimal, (1, 1, 1, 1_000, 0)), None, "test", "today")
    fast, slow = (with_one_clock(market(Random(1)), coin, MS, feed_ns, QueueModel.BEHIND_ALL) for feed_ns in (0, REPORT_LAG_NS))
    assert [said for _, said in fast.heard] != [said for _, said in slow.heard]
