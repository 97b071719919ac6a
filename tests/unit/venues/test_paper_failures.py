"""Requests that are lost, and halts: what the paper venue does then, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import (
    REQUEST_FAILED,
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    VenueEvent,
)
from autohedge.simulation.conditions import Conditions, request_fails
from autohedge.simulation.latency import Latency

MS = 1_000_000
LATENCY = Latency.constant(5 * MS)
FIRST_NS = 10**18


def told(said: list[VenueEvent]) -> list[tuple[str, str]]:
    return [(type(event).__name__, getattr(event, "reason", "")) for event in said]


@pytest.fixture
def losing(make_exchange: Callable[..., Any]) -> Callable[..., Any]:
    """An exchange that loses exactly the requests whose number is asked for, of the first six."""

    def make(*lost: int) -> Any:
        wanted = [request in lost for request in range(6)]
        key = next(key for key in range(10_000) if [request_fails(0.3, key, request) for request in range(6)] == wanted)
        return make_exchange(conditions=Conditions(LATENCY, failure_frac=0.3, failure_key=key))

    return make


# --- lost requests ----------------------------------------------------------------------------------------------------------


def test_a_lost_order_is_never_at_the_venue(losing: Callable[..., Any]) -> None:
    exchange = losing(0)
    order_id = exchange.send(BUY, 100, 10)
    assert exchange.arrive() == [
        OrderRejected(exchange.now_ns, order_id, REQUEST_FAILED, "the venue did not answer; nothing was placed")
    ]
    assert exchange.venue.account.reserved_quote_atoms == 0
    assert exchange.trade(99, 50, SELL) == []


def test_a_failure_is_heard_no_earlier_than_an_answer_would_be(losing: Callable[..., Any]) -> None:
    exchange = losing(0)
    exchange.send(BUY, 100, 10)
    exchange.now_ns += 5 * MS - 1
    assert list(exchange.venue.advance(exchange.now_ns)) == []
    assert told(list(exchange.venue.advance(exchange.now_ns + 1))) == [("OrderRejected", REQUEST_FAILED)]


def test_a_lost_order_may_be_sent_again_under_its_own_id(losing: Callable[..., Any]) -> None:
    """It was never executed, so executing it now is not twice."""
    exchange = losing(0)
    order_id = exchange.send(BUY, 100, 10)
    exchange.arrive()
    exchange.send(BUY, 100, 10, order_id=order_id)
    assert exchange.arrive() == [OrderAccepted(exchange.now_ns, order_id)]


def test_an_order_whose_cancel_was_lost_stays_may_fill_and_is_cancelled_by_the_next_one(losing: Callable[..., Any]) -> None:
    exchange = losing(1)
    order_id = exchange.send(BUY, 100, 10)
    exchange.arrive()
    exchange.send_cancel(order_id)
    assert exchange.arrive() == [CancelRejected(exchange.now_ns, order_id, REQUEST_FAILED)]
    (fill,) = exchange.trade(99, 4, SELL)
    assert isinstance(fill, OrderFilled) and fill.size_lots == 4
    exchange.send_cancel(order_id)
    assert exchange.arrive() == [OrderCancelled(exchange.now_ns, order_id, 6, "test")]
    assert exchange.venue.account.reserved_quote_atoms == 0


def test_orders_and_cancels_share_one_series_of_chance(losing: Callable[..., Any]) -> None:
    exchange = losing(0, 3)
    ids = [exchange.send(BUY, price, 1) for price in (98, 99)]
    exchange.send_cancel(ids[1])
    exchange.send_cancel(ids[1])
    exchange.send(BUY, 97, 1)
    assert told(exchange.arrive()) == [
        ("OrderRejected", REQUEST_FAILED),
        ("OrderAccepted", ""),
        ("OrderCancelled", "test"),
        ("CancelRejected", REQUEST_FAILED),
        ("OrderAccepted", ""),
    ]


# --- halts ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def halting(make_exchange: Callable[..., Any]) -> Callable[..., Any]:
    """An exchange with halts, in ms after its first event; events come every ms, orders take 5."""

    def make(*halts: tuple[int, int]) -> Any:
        at = tuple((FIRST_NS + begin * MS, FIRST_NS + end * MS) for begin, end in halts)
        return make_exchange(conditions=Conditions(LATENCY, halts_ns=at))

    return make


def at_ms(exchange: Any, ms: int) -> None:
    """The next market event comes at that time after the start."""
    exchange.now_ns = FIRST_NS + (ms - 1) * MS


def test_a_halt_refuses_orders_from_its_first_moment_to_its_last(halting: Callable[..., Any]) -> None:
    exchange = halting((100, 200))
    said = []
    for arrival_ns in (100 * MS - 1, 100 * MS, 200 * MS - 1, 200 * MS):
        exchange.now_ns = FIRST_NS + arrival_ns - 5 * MS
        exchange.send(BUY, 90, 1)
        said += exchange.arrive()
    assert told(said) == [
        ("OrderAccepted", ""),
        ("OrderRejected", "halted"),
        ("OrderRejected", "halted"),
        ("OrderAccepted", ""),
    ]


def test_in_a_halt_nothing_fills_and_a_cancel_is_taken(halting: Callable[..., Any]) -> None:
    exchange = halting((100, 200))
    kept, given_up = exchange.send(BUY, 100, 10), exchange.send(SELL, 101, 10)
    exchange.arrive()
    at_ms(exchange, 150)
    assert exchange.trade(98, 50, SELL) == []
    assert exchange.trade(103, 50, BUY) == []
    assert exchange.top(97, 5, 99, 50) == []
    exchange.send_cancel(given_up)
    assert told(exchange.arrive()) == [("OrderCancelled", "test")]
    at_ms(exchange, 200)
    (fill,) = exchange.trade(98, 4, SELL)
    assert (fill.client_order_id, fill.size_lots) == (kept, 4)


def test_a_book_that_crosses_us_when_the_halt_ends_fills_us_then(halting: Callable[..., Any]) -> None:
    exchange = halting((100, 200))
    order_id = exchange.send(BUY, 100, 10)
    exchange.arrive()
    at_ms(exchange, 150)
    assert exchange.top(97, 5, 99, 50) == []
    at_ms(exchange, 201)
    (fill,) = exchange.top(97, 5, 99, 49)
    assert (fill.client_order_id, fill.price_ticks, fill.size_lots, fill.ts_ns) == (order_id, 100, 10, FIRST_NS + 201 * MS)


def test_trades_in_a_halt_do_not_shorten_the_queue(halting: Callable[..., Any]) -> None:
    exchange = halting((100, 200))
    exchange.place(BUY, 100, 10)
    at_ms(exchange, 150)
    exchange.trade(100, 10, SELL)
    at_ms(exchange, 300)
    assert exchange.trade(100, 10, SELL) == []
    (fill,) = exchange.trade(100, 3, SELL)
    assert fill.size_lots == 3


def test_one_halt_follows_another(halting: Callable[..., Any]) -> None:
    exchange = halting((100, 200), (200, 250), (400, 500))
    said = []
    for ms in (50, 150, 200, 249, 250, 399, 400, 499, 500):
        exchange.now_ns = FIRST_NS + (ms - 5) * MS
        exchange.send(BUY, 90, 1)
        said += [isinstance(event, OrderAccepted) for event in exchange.arrive()]
    assert said == [True, False, False, False, True, True, False, False, True]
