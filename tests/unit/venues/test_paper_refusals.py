"""What the paper venue rejects, each with its code and a sentence, and never with an effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import OrderAccepted, OrderCancelled, OrderRejected

CASH = 10**8


def rejection(events: list[Any]) -> OrderRejected:
    """The one rejection that is all that happened."""
    (event,) = events
    assert isinstance(event, OrderRejected), event
    assert event.detail and event.detail != event.reason
    return event


# --- rules of the instrument ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "lots", "post_only"),
    [(0, 5, True), (-1, 5, True), (100, 0, True), (100, -5, True), (None, 0, False), (None, 5, True)],
)
def test_what_is_no_order_at_all_is_rejected(exchange: Any, price: int | None, lots: int, post_only: bool) -> None:
    assert rejection(exchange.place(BUY, price, lots, post_only=post_only)).reason == "invalid_order"
    assert exchange.venue.account.reserved_quote_atoms == 0


@pytest.mark.parametrize(
    ("rules", "price", "lots", "reason", "found"),
    [
        ({"min_qty": Decimal(3)}, 100, 2, "min_qty", "2 is below the minimum 3"),
        ({"max_qty": Decimal(4)}, 100, 5, "max_qty", "5 is above the maximum 4"),
        ({"min_notional": Decimal(201)}, 100, 2, "min_notional", "below the minimum 201"),
        ({"max_notional": Decimal(199)}, 100, 2, "max_notional", "above the maximum 199"),
        ({"min_notional": Decimal(203)}, None, 2, "min_notional", "below the minimum 203"),
        ({"max_notional": Decimal(201)}, None, 2, "max_notional", "above the maximum 201"),
    ],
)
def test_orders_outside_the_instruments_rules_are_rejected(
    make_exchange: Callable[..., Any],
    coin: Instrument,
    rules: dict[str, Decimal],
    price: int | None,
    lots: int,
    reason: str,
    found: str,
) -> None:
    refused = rejection(make_exchange(instrument=replace(coin, **rules)).place(BUY, price, lots))
    assert refused.reason == reason
    assert found in refused.detail


@pytest.mark.parametrize(
    "rules",
    [{"min_qty": Decimal(2)}, {"max_qty": Decimal(2)}, {"min_notional": Decimal(200)}, {"max_notional": Decimal(200)}],
)
def test_orders_on_the_edge_of_a_rule_are_accepted(
    make_exchange: Callable[..., Any], coin: Instrument, rules: dict[str, Decimal]
) -> None:
    (accepted,) = make_exchange(instrument=replace(coin, **rules)).place(BUY, 100, 2)
    assert isinstance(accepted, OrderAccepted)


# --- the market -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "price"), [(BUY, 101), (BUY, 150), (SELL, 100), (SELL, 50)])
def test_a_post_only_order_that_would_take_is_rejected(exchange: Any, side: Side, price: int) -> None:
    refused = rejection(exchange.place(side, price, 5))
    assert refused.reason == "post_only_would_cross"
    assert str(price) in refused.detail
    assert exchange.trade(99, 50, SELL) == [] and exchange.trade(102, 50, BUY) == []


def test_whether_a_post_only_order_would_take_is_decided_when_it_arrives(exchange: Any) -> None:
    exchange.send(BUY, 100, 5)
    exchange.top(98, 1, 100, 1)
    assert rejection(exchange.arrive()).reason == "post_only_would_cross"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("none yet", "not synchronised"),
        ("gap", "not synchronised"),
        ("no bids", "no bids"),
        ("no asks", "no asks"),
        ("crossed", "crossed, bid 105 and ask 101"),
    ],
)
@pytest.mark.parametrize(("price", "post_only"), [(100, True), (100, False), (None, False)])
def test_without_a_two_sided_book_that_can_be_believed_there_is_no_market(
    make_exchange: Callable[..., Any], kind: str, told: str, price: int | None, post_only: bool
) -> None:
    exchange = make_exchange(with_book=kind != "none yet")
    if kind == "gap":
        exchange.delta(lost=5)
    elif kind == "no bids":
        exchange.snapshot(bids=())
    elif kind == "no asks":
        exchange.snapshot(asks=())
    elif kind == "crossed":
        exchange.delta(bids=((105, 1),))
    refused = rejection(exchange.place(BUY, price, 5, post_only=post_only))
    assert refused.reason == "no_market"
    assert told in refused.detail


def test_an_order_that_would_trade_with_our_own_is_rejected(exchange: Any) -> None:
    exchange.delta(bids=((100, 0),), asks=((101, 0), (102, 0)))
    exchange.place(SELL, 101, 5)
    for price, post_only in ((101, True), (102, False)):
        assert rejection(exchange.place(BUY, price, 5, post_only=post_only)).reason == "self_trade"
    assert isinstance(exchange.place(BUY, 100, 5)[0], OrderAccepted)


def test_a_market_order_that_would_walk_into_our_own_is_rejected(exchange: Any) -> None:
    exchange.place(SELL, 102, 5)
    assert rejection(exchange.place(BUY, None, 11)).reason == "self_trade"
    assert exchange.fills == []
    exchange.place(BUY, None, 10)
    assert [fill.price_ticks for fill in exchange.fills] == [101]


# --- the account ----------------------------------------------------------------------------------------------------------


def test_a_buy_sets_aside_its_value_and_the_maker_fee(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(quote=1_001, maker_bps="10")
    assert isinstance(exchange.place(BUY, 100, 10)[0], OrderAccepted)
    assert exchange.venue.account.free_quote_atoms == 0
    poorer = make_exchange(quote=1_000, maker_bps="10")
    refused = rejection(poorer.place(BUY, 100, 10))
    assert refused.reason == "insufficient_balance"
    assert "needs 1001.00000000 CASH" in refused.detail and "free are 1000.00000000" in refused.detail


def test_a_sell_sets_aside_its_size_and_its_fee_comes_out_of_the_proceeds(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(base=10, quote=0, maker_bps="10")
    assert isinstance(exchange.place(SELL, 101, 10)[0], OrderAccepted)
    assert exchange.venue.account.free_base_atoms == 0
    assert rejection(exchange.place(SELL, 102, 1)).reason == "insufficient_balance"
    exchange.trade(102, 50, BUY)
    assert exchange.venue.account.quote_atoms == (1_010 * CASH * 999) // 1_000


def test_open_orders_count_against_the_balance_and_a_cancel_frees_it(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(quote=1_000)
    order_id = exchange.send(BUY, 100, 6)
    exchange.arrive()
    assert rejection(exchange.place(BUY, 100, 5)).reason == "insufficient_balance"
    exchange.send_cancel(order_id)
    exchange.arrive()
    assert exchange.venue.account.free_quote_atoms == 1_000 * CASH
    assert isinstance(exchange.place(BUY, 100, 10)[0], OrderAccepted)


def test_a_market_buy_is_checked_by_what_it_would_really_cost(make_exchange: Callable[..., Any]) -> None:
    cost = 10 * 101 + 5 * 102
    enough = make_exchange(quote=cost)
    assert isinstance(enough.place(BUY, None, 15)[0], OrderAccepted)
    assert enough.venue.account.quote_atoms == 0
    assert rejection(make_exchange(quote=cost - 1).place(BUY, None, 15)).reason == "insufficient_balance"
    assert rejection(make_exchange(quote=cost, taker_bps="0.01").place(BUY, None, 15)).reason == "insufficient_balance"


def test_a_market_buy_needs_no_money_for_what_it_does_not_find(make_exchange: Callable[..., Any]) -> None:
    cost = 10 * 101 + 20 * 102 + 30 * 103
    said = make_exchange(quote=cost).place(BUY, None, 500)
    assert isinstance(said[-1], OrderCancelled)


def test_a_crossing_limit_buy_needs_the_taken_part_and_the_resting_part(make_exchange: Callable[..., Any]) -> None:
    cost = 10 * 101 + 5 * 101
    assert isinstance(make_exchange(quote=cost).place(BUY, 101, 15, post_only=False)[0], OrderAccepted)
    refused = make_exchange(quote=cost - 1).place(BUY, 101, 15, post_only=False)
    assert rejection(refused).reason == "insufficient_balance"


def test_a_rejection_changes_nothing(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(base=0, quote=10)
    for side, price in ((BUY, 100), (SELL, 101), (BUY, None), (SELL, None)):
        assert rejection(exchange.place(side, price, 5)).reason == "insufficient_balance"
    account = exchange.venue.account
    assert (account.base_atoms, account.quote_atoms) == (0, 10 * CASH)
    assert (account.reserved_base_atoms, account.reserved_quote_atoms) == (0, 0)
    assert exchange.trade(50, 500, SELL) == [] and exchange.trade(150, 500, BUY) == []
