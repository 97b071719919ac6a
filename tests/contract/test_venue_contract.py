"""What every venue promises, whatever it is made of: no effect before the latency, idempotence, honest ends, no invention.

An adapter joins by adding a factory to `ADAPTERS` that gives a venue of COIN/CASH (tick 1, lot 1) over the given book, with
1,000 of each asset and the given latency.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.fees import FeeRate, FeeSchedule
from autohedge.domain.ids import ClientOrderId, IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL, BookSnapshot, Side, TopOfBook, Trade
from autohedge.domain.orders import (
    CancelOrder,
    CancelRejected,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    OrderState,
    PlaceOrder,
    VenueEvent,
)
from autohedge.ports import Venue
from autohedge.simulation.conditions import Conditions
from autohedge.venues.paper import PaperVenue

COIN = Instrument(
    symbol="COIN/CASH",
    base="COIN",
    quote="CASH",
    tick_size=Decimal(1),
    lot_size=Decimal(1),
    min_qty=Decimal(1),
    max_qty=Decimal(1_000),
    min_notional=Decimal(0),
    max_notional=None,
    venue="test",
    rules_as_of="today",
)
LATENCY_NS = 5_000_000
HELD = 1_000 * 10**8
START_NS = 10**18


def paper(book: OrderBook) -> PaperVenue:
    fees = FeeSchedule(FeeRate.from_bps(Decimal(10)), FeeRate.from_bps(Decimal(10)))
    conditions = Conditions.constant(LATENCY_NS)
    return PaperVenue(COIN, book, fees, conditions=conditions, ids=IdFactory("COIN/CASH"), base_atoms=HELD, quote_atoms=HELD)


ADAPTERS: dict[str, Callable[[OrderBook], Venue]] = {"paper": paper}


class Desk:
    """Sends orders to a venue on a market of 9/10 to 11/10 and believes only what the venue tells."""

    def __init__(self, factory: Callable[[OrderBook], Venue]) -> None:
        self.book = OrderBook()
        self.venue = factory(self.book)
        self.now_ns = START_NS
        self.orders: dict[str, Order] = {}
        self.inventory = Inventory(COIN, HELD, HELD)
        self.log: list[VenueEvent] = []
        snapshot = BookSnapshot(0, self.now_ns, 1, ((9, 10),), ((11, 10),))
        self.book.apply_snapshot(snapshot)
        self.hear(self.venue.on_market(snapshot))

    def place(self, order_id: str, side: Side, price: int | None, lots: int) -> None:
        order = Order(ClientOrderId(order_id), side, price, lots, price is not None, "test", self.now_ns, "", "rules")
        order.apply(OrderEvent.SUBMIT)
        self.orders[order_id] = order
        self.venue.submit(PlaceOrder(ClientOrderId(order_id), side, price, lots, price is not None, "test"), self.now_ns)

    def cancel(self, order_id: str) -> None:
        self.orders[order_id].apply(OrderEvent.ASK_CANCEL)
        self.venue.submit(CancelOrder(ClientOrderId(order_id), "test"), self.now_ns)

    def wait(self, ns: int = LATENCY_NS) -> None:
        self.now_ns += ns
        self.hear(self.venue.advance(self.now_ns))

    def trade(self, price: int, lots: int, aggressor: Side) -> None:
        self.wait(1)
        self.hear(self.venue.on_market(Trade(0, self.now_ns, self.now_ns, price, lots, aggressor)))

    def hear(self, said: object) -> None:
        assert isinstance(said, tuple | list)
        for event in said:
            self.log.append(event)
            order = self.orders[event.client_order_id]
            if isinstance(event, OrderFilled):
                order.fill(event.size_lots)
                self.inventory.apply(event)
            elif isinstance(event, OrderAccepted):
                order.apply(OrderEvent.ACCEPT)
            elif isinstance(event, OrderRejected):
                order.apply(OrderEvent.REJECT)
            elif isinstance(event, OrderCancelled):
                order.apply(OrderEvent.CANCEL)
            else:
                assert isinstance(event, CancelRejected)
                order.apply(OrderEvent.REFUSE_CANCEL)

    def state(self, order_id: str) -> OrderState:
        return self.orders[order_id].state


@pytest.fixture(params=ADAPTERS)
def desk(request: pytest.FixtureRequest) -> Desk:
    """A desk at each adapter in turn."""
    return Desk(ADAPTERS[request.param])


def test_a_venue_says_whether_it_is_simulated(desk: Desk) -> None:
    assert isinstance(desk.venue.simulated, bool)


def test_without_orders_nothing_happens(desk: Desk) -> None:
    desk.wait()
    desk.trade(9, 500, SELL)
    desk.trade(11, 500, BUY)
    assert desk.log == []


def test_a_command_has_no_effect_before_the_latency(desk: Desk) -> None:
    desk.place("a", BUY, 10, 5)
    desk.wait(LATENCY_NS - 1)
    desk.hear(desk.venue.on_market(Trade(0, desk.now_ns, 1, 9, 500, SELL)))
    assert desk.log == []
    desk.wait(1)
    assert [type(event) for event in desk.log] == [OrderAccepted]


def test_an_order_ends_filled_through_fills_that_add_up(desk: Desk) -> None:
    desk.place("a", BUY, 10, 5)
    desk.wait()
    desk.trade(10, 2, SELL)
    assert desk.state("a") is OrderState.PARTIALLY_FILLED
    desk.trade(10, 50, SELL)
    assert desk.state("a") is OrderState.FILLED
    fills = [event for event in desk.log if isinstance(event, OrderFilled)]
    assert sum(fill.size_lots for fill in fills) == 5
    assert len({fill.trade_id for fill in fills}) == len(fills)
    assert desk.inventory.base_atoms == HELD + 5 * 10**8
    assert desk.inventory.quote_atoms == HELD - 50 * 10**8 - 50 * 10**5


def test_a_cancelled_order_ends_and_fills_no_more(desk: Desk) -> None:
    desk.place("a", BUY, 10, 5)
    desk.wait()
    desk.cancel("a")
    desk.wait()
    assert desk.state("a") is OrderState.CANCELLED
    desk.trade(9, 500, SELL)
    assert not any(isinstance(event, OrderFilled) for event in desk.log)


def test_a_cancel_that_lost_against_a_fill_is_refused_and_the_fill_stands(desk: Desk) -> None:
    desk.place("a", BUY, 10, 5)
    desk.wait()
    desk.cancel("a")
    desk.trade(9, 500, SELL)
    desk.wait()
    assert desk.state("a") is OrderState.FILLED
    assert isinstance(desk.log[-1], CancelRejected)


def test_the_same_id_is_never_executed_twice(desk: Desk) -> None:
    order = PlaceOrder(ClientOrderId("a"), SELL, None, 3, False, "test")
    desk.place("a", SELL, None, 3)
    desk.wait()
    desk.venue.submit(order, desk.now_ns)
    said = desk.venue.advance(desk.now_ns + LATENCY_NS)
    assert not any(isinstance(event, OrderFilled | OrderAccepted) for event in said)
    assert desk.inventory.base_atoms == HELD - 3 * 10**8


def test_a_rejection_has_a_code_and_a_sentence_and_no_effect(desk: Desk) -> None:
    desk.place("too-big", BUY, 10, 101)
    desk.place("crossing", BUY, 11, 5)
    desk.wait()
    assert desk.state("too-big") is desk.state("crossing") is OrderState.REJECTED
    rejections = [event for event in desk.log if isinstance(event, OrderRejected)]
    assert [event.reason for event in rejections] == ["insufficient_balance", "post_only_would_cross"]
    assert all(" " in event.detail and " " not in event.reason for event in rejections)
    desk.trade(1, 500, SELL)
    assert desk.inventory.base_atoms == HELD


def test_a_market_order_never_gets_more_than_there_is_and_its_rest_ends(desk: Desk) -> None:
    desk.place("a", BUY, None, 15)
    desk.wait()
    assert desk.state("a") is OrderState.CANCELLED
    assert desk.orders["a"].filled_lots == 10
    assert isinstance(desk.log[-1], OrderCancelled) and desk.log[-1].remaining_lots == 5


def test_told_times_never_go_back(desk: Desk) -> None:
    desk.place("a", BUY, 10, 5)
    desk.wait()
    desk.trade(10, 2, SELL)
    desk.cancel("a")
    desk.wait()
    top = TopOfBook(0, desk.now_ns, 2, 8, 1, 9, 1)
    desk.book.set_top(top)
    desk.hear(desk.venue.on_market(top))
    times = [event.ts_ns for event in desk.log]
    assert times == sorted(times)
    assert times[0] > START_NS and times[-1] <= desk.now_ns
