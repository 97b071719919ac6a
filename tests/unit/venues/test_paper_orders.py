"""The life of an order at the paper venue: latency, arrival, queue, fills, cancels, and when each is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot
from autohedge.domain.orders import (
    CancelRejected,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
)
from autohedge.errors import ConfigError
from autohedge.simulation.queueing import QueueModel
from autohedge.venues import paper

MS = 1_000_000


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]


# --- latency --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_ms", [0, -1])
def test_a_latency_that_is_not_positive_is_refused_as_look_ahead(make_exchange: Callable[..., Any], latency_ms: int) -> None:
    with pytest.raises(ConfigError, match="look-ahead"):
        make_exchange(latency_ms=latency_ms)


def test_an_order_arrives_after_the_latency_and_not_a_nanosecond_before(exchange: Any) -> None:
    sent_ns = exchange.now_ns
    order_id = exchange.send(BUY, 100, 5)
    assert exchange.venue.advance(sent_ns + 5 * MS - 1) == ()
    assert exchange.venue.advance(sent_ns + 5 * MS) == [OrderAccepted(sent_ns + 5 * MS, order_id)]
    assert exchange.venue.advance(sent_ns + 50 * MS) == ()


def test_a_late_look_at_the_venue_still_tells_when_the_order_arrived(exchange: Any) -> None:
    sent_ns = exchange.now_ns
    order_id = exchange.send(BUY, 100, 5)
    assert exchange.venue.advance(sent_ns + 900 * MS) == [OrderAccepted(sent_ns + 5 * MS, order_id)]


def test_what_arrives_before_an_event_meets_the_book_as_it_was(make_exchange: Callable[..., Any]) -> None:
    """The ask at 101 leaves at the very moment at which the buyer arrives, who therefore still finds it."""
    exchange = make_exchange(latency_ms=1)
    exchange.send(BUY, None, 10)
    said = exchange.delta(asks=((101, 0),))
    assert [(event.price_ticks, event.size_lots) for event in said if isinstance(event, OrderFilled)] == [(101, 10)]


def test_what_arrives_after_an_event_meets_the_book_as_it_became(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(latency_ms=1.5)
    exchange.send(BUY, None, 10)
    exchange.delta(asks=((101, 0),))
    exchange.arrive()
    assert [fill.price_ticks for fill in exchange.fills] == [102]


def test_commands_arrive_in_the_order_in_which_they_were_sent(exchange: Any) -> None:
    first = exchange.send(BUY, 100, 5)
    exchange.send_cancel(first)
    second = exchange.send(BUY, 99, 5)
    said = exchange.arrive()
    assert kinds(said) == [OrderAccepted, OrderCancelled, OrderAccepted]
    assert said[2].client_order_id == second


def test_a_command_sent_with_an_older_clock_does_not_overtake(exchange: Any) -> None:
    exchange.send(BUY, 100, 5, order_id="first")
    exchange.now_ns -= 3 * MS
    exchange.send(BUY, 99, 5, order_id="second")
    exchange.now_ns += 8 * MS
    said = exchange.venue.advance(exchange.now_ns)
    assert [(event.client_order_id, event.ts_ns) for event in said] == [
        ("first", exchange.now_ns),
        ("second", exchange.now_ns),
    ]


def test_with_nothing_to_do_the_venue_gives_the_same_empty_answer_at_once(exchange: Any) -> None:
    event = BookDelta(0, exchange.now_ns + MS, 2, 2, (), ())
    assert exchange.venue.advance(exchange.now_ns) is exchange.venue.on_market(event)
    exchange.place(BUY, 98, 5)
    assert exchange.venue.advance(exchange.now_ns) is exchange.venue.on_market(event) == ()


# --- resting orders -------------------------------------------------------------------------------------------------------


def test_a_post_only_order_rests_behind_the_size_displayed_when_it_arrives(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange()
    exchange.send(BUY, 100, 5)
    exchange.delta(bids=((100, 40),))
    exchange.arrive()
    assert exchange.trade(100, 40, SELL) == []
    fill = exchange.trade(100, 3, SELL)
    assert [(each.price_ticks, each.size_lots) for each in fill] == [(100, 3)]


def test_a_partial_fill_reaches_the_caller_and_the_rest_keeps_its_place(exchange: Any) -> None:
    order_id = exchange.send(BUY, 100, 5)
    exchange.arrive()
    (first,) = exchange.trade(100, 12, SELL)
    assert first == OrderFilled(
        exchange.now_ns, order_id, "COIN-CASH-f000001", BUY, 100, 2, Liquidity.MAKER, "CASH", 0
    )  # fmt: skip
    exchange.delta(bids=((100, 50),))
    (second,) = exchange.trade(100, 9, SELL)
    assert (second.trade_id, second.size_lots) == ("COIN-CASH-f000002", 3)
    assert exchange.trade(100, 9, SELL) == []
    assert exchange.venue.account.base_atoms == 1_005 * 10**8


def test_a_fill_is_stamped_with_the_receive_time_of_the_event_that_caused_it(exchange: Any) -> None:
    exchange.place(BUY, 100, 5)
    exchange.now_ns += 77 * MS
    (fill,) = exchange.trade(99, 9, SELL)
    assert fill.ts_ns == exchange.now_ns


def test_an_event_that_waited_for_a_snapshot_does_not_turn_time_back(exchange: Any) -> None:
    exchange.place(SELL, 101, 5)
    waiting = BookDelta(0, exchange.now_ns - 4 * MS, 2, 2, ((101, 3),), ((101, 0),))
    exchange.book.apply_delta(waiting)
    (fill,) = exchange.venue.on_market(waiting)
    assert fill.ts_ns == exchange.now_ns


def test_one_trade_fills_two_of_our_orders_together_at_most_once(exchange: Any) -> None:
    exchange.place(BUY, 100, 5)
    exchange.place(BUY, 99, 5)
    said = exchange.trade(98, 7, SELL)
    assert [(event.price_ticks, event.size_lots) for event in said] == [(100, 5), (99, 2)]


def test_a_book_that_crosses_us_fills_us_as_maker_at_our_own_price(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(maker_bps="0", taker_bps="100")
    exchange.place(BUY, 100, 5)
    (fill,) = exchange.top(97, 30, 98, 3)
    assert (fill.price_ticks, fill.size_lots, fill.liquidity, fill.fee_atoms) == (100, 3, Liquidity.MAKER, 0)
    assert exchange.top(96, 30, 98, 3) == []


def test_a_gap_leaves_our_orders_in_the_market_and_only_trades_fill_them(exchange: Any) -> None:
    exchange.place(BUY, 100, 5)
    assert exchange.delta(asks=((90, 50),), lost=3) == []
    assert not exchange.book.is_valid
    (fill,) = exchange.trade(99, 2, SELL)
    assert fill.size_lots == 2
    (fill,) = exchange.snapshot(bids=((89, 1),), asks=((90, 2),))
    assert (fill.price_ticks, fill.size_lots) == (100, 2)


def test_without_a_queue_the_same_market_fills_sooner(make_exchange: Callable[..., Any]) -> None:
    for queue, filled in ((QueueModel.BEHIND_ALL, 0), (QueueModel.NONE, 4)):
        exchange = make_exchange(queue=queue)
        exchange.place(BUY, 100, 5)
        exchange.trade(100, 4, SELL)
        assert sum(fill.size_lots for fill in exchange.fills) == filled


# --- taking ---------------------------------------------------------------------------------------------------------------


def test_a_market_order_walks_the_book_and_pays_the_taker_fee_of_each_level(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(maker_bps="0", taker_bps="10")
    said = exchange.place(BUY, None, 15)
    assert kinds(said) == [OrderAccepted, OrderFilled, OrderFilled]
    assert [(fill.price_ticks, fill.size_lots, fill.liquidity, fill.fee_atoms) for fill in exchange.fills] == [
        (101, 10, Liquidity.TAKER, 101_000_000),
        (102, 5, Liquidity.TAKER, 51_000_000),
    ]


def test_what_a_market_order_does_not_find_is_cancelled(exchange: Any) -> None:
    order_id = exchange.send(SELL, None, 100)
    said = exchange.arrive()
    assert sum(fill.size_lots for fill in exchange.fills) == 60
    assert said[-1] == OrderCancelled(exchange.now_ns, order_id, 40, "insufficient_depth")


def test_what_a_market_order_took_is_not_there_for_the_next_until_the_level_changes(exchange: Any) -> None:
    exchange.place(BUY, None, 60)
    assert kinds(exchange.place(BUY, None, 1)) == [OrderAccepted, OrderCancelled]
    exchange.delta(asks=((102, 21),))
    said = exchange.place(BUY, None, 22)
    assert [(event.price_ticks, event.size_lots) for event in said if isinstance(event, OrderFilled)] == [(102, 21)]


def test_a_crossing_limit_order_takes_up_to_its_limit_and_the_rest_rests(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(maker_bps="0", taker_bps="10")
    order_id = exchange.send(BUY, 102, 50, post_only=False)
    exchange.arrive()
    assert [(fill.price_ticks, fill.size_lots, fill.liquidity) for fill in exchange.fills] == [
        (101, 10, Liquidity.TAKER),
        (102, 20, Liquidity.TAKER),
    ]
    assert exchange.delta(bids=((97, 1),)) == []
    (fill,) = exchange.trade(102, 3, SELL)
    assert (fill.client_order_id, fill.size_lots, fill.liquidity, fill.fee_atoms) == (order_id, 3, Liquidity.MAKER, 0)
    (fill,) = exchange.delta(asks=((102, 4),))
    assert (fill.price_ticks, fill.size_lots, fill.liquidity) == (102, 4, Liquidity.MAKER)


def test_a_limit_order_that_does_not_cross_rests_whether_post_only_or_not(exchange: Any) -> None:
    said = exchange.place(BUY, 100, 5, post_only=False)
    assert kinds(said) == [OrderAccepted]
    assert exchange.trade(100, 10, SELL) == []
    assert [fill.size_lots for fill in exchange.trade(100, 5, SELL)] == [5]


# --- cancels --------------------------------------------------------------------------------------------------------------


def test_a_cancel_ends_what_is_left_after_the_latency(exchange: Any) -> None:
    order_id = exchange.send(BUY, 100, 5)
    exchange.arrive()
    exchange.send_cancel(order_id)
    (fill,) = exchange.trade(99, 2, SELL)
    assert fill.size_lots == 2
    assert exchange.arrive() == [OrderCancelled(exchange.now_ns - MS, order_id, 3, "test")]
    assert exchange.trade(99, 50, SELL) == []


def test_a_cancel_that_comes_too_late_is_refused_after_the_fill(exchange: Any) -> None:
    order_id = exchange.send(BUY, 100, 5)
    exchange.arrive()
    exchange.send_cancel(order_id)
    assert kinds(exchange.trade(99, 50, SELL)) == [OrderFilled]
    (refused,) = exchange.arrive()
    assert (type(refused), refused.client_order_id, refused.reason) == (CancelRejected, order_id, "not_open")


def test_a_cancel_of_an_order_that_never_was_is_refused(exchange: Any) -> None:
    exchange.send_cancel("nobody")
    (refused,) = exchange.arrive()
    assert (type(refused), refused.reason) == (CancelRejected, "not_open")


# --- ids and repetition -----------------------------------------------------------------------------------------------------


def test_an_order_id_is_never_executed_twice_and_the_first_order_is_left_alone(exchange: Any) -> None:
    exchange.send(BUY, 100, 5, order_id="same")
    exchange.send(SELL, 101, 7, order_id="same")
    said = exchange.arrive()
    assert kinds(said) == [OrderAccepted, OrderRejected]
    assert (said[1].reason, said[1].client_order_id) == ("duplicate_client_order_id", "same")
    assert [(fill.side, fill.size_lots) for fill in exchange.trade(99, 50, SELL)] == [(BUY, 5)]
    exchange.send(BUY, 100, 5, order_id="same")
    assert kinds(exchange.arrive()) == [OrderRejected]


def test_an_id_is_remembered_while_its_order_is_open_however_many_come_after(
    exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "CLIENT_ORDER_IDS_KEPT", 3)
    exchange.send(BUY, 97, 1, order_id="open")
    for number in range(9):
        exchange.send(BUY, 0, 1, order_id=f"bad-{number}")
    exchange.arrive()
    reasons = []
    for order_id in ("open", "bad-8", "bad-7", "bad-0"):
        exchange.send(BUY, 0, 1, order_id=order_id)
        reasons.append(exchange.arrive()[0].reason)
    assert reasons == ["duplicate_client_order_id"] * 3 + ["invalid_order"]


def test_the_same_commands_and_events_give_the_same_answers(make_exchange: Callable[..., Any]) -> None:
    logs = []
    for _ in range(2):
        exchange = make_exchange(maker_bps="7.5")
        exchange.place(BUY, 100, 25)
        exchange.place(SELL, 101, 25)
        for number in range(30):
            exchange.trade(100 + number % 2, 3 + number % 5, SELL if number % 2 == 0 else BUY)
            exchange.delta(bids=((100, 30 - number),), asks=((101, 1 + number),))
        logs.append(exchange.log)
    assert logs[0] == logs[1]
    assert len(logs[0]) > 6


def test_a_first_snapshot_that_comes_late_opens_the_market(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(with_book=False)
    assert exchange.place(BUY, 100, 5)[0].reason == "no_market"
    exchange.move(BookSnapshot(0, exchange.now_ns, 1, ((100, 1),), ((101, 1),)))
    assert kinds(exchange.place(BUY, 100, 5)) == [OrderAccepted]
