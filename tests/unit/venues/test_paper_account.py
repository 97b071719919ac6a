"""The paper account: exact fees, marked to market, able to lose money."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from autohedge.domain.market_data import BUY, SELL
from autohedge.errors import ConfigError
from autohedge.market.instruments import instrument

D = Decimal
BTC = instrument("binance", "BTC/USDT")


def test_a_fresh_account_is_worth_what_it_opened_with(exchange: Any) -> None:
    assert exchange.venue.account_info(D("100.5")) == {
        "mode": "paper",
        "is_paper": True,
        "balance": D(1_100_500),
        "initial_balance": D(1_100_500),
        "cash": D(1_000_000),
        "available": D(1_000_000),
        "positions": {"COIN": {"size": D(1_000), "mark_price": D("100.5"), "value": D(100_500)}},
        "total_trades": 0,
        "pnl": D(0),
        "pnl_percentage": D(0),
    }


def test_the_account_is_marked_to_market_and_not_to_its_cash(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(base=0, quote=1_000)
    assert exchange.venue.account_info(D(100))["positions"] == {}
    exchange.place(BUY, None, 5)
    info = exchange.venue.account_info(D(103))
    assert (info["cash"], info["balance"], info["initial_balance"]) == (D(495), D(1_010), D(1_000))
    assert (info["pnl"], info["pnl_percentage"], info["total_trades"]) == (D(10), D(1), 1)
    assert info["positions"] == {"COIN": {"size": D(5), "mark_price": D(103), "value": D(515)}}


def test_the_account_can_lose_money(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(base=0, quote=1_000, taker_bps="10")
    exchange.place(BUY, None, 5)
    exchange.delta(asks=((101, 10),))
    exchange.place(SELL, None, 5)
    info = exchange.venue.account_info(D(100))
    assert info["pnl"] == D(500) - D(505) - (D(500) + D(505)) / 1_000
    assert info["pnl_percentage"] == info["pnl"] / 10
    assert info["positions"] == {}


def test_a_maker_in_a_falling_market_buys_all_the_way_down_and_loses(make_exchange: Callable[..., Any]) -> None:
    """Both sides are quoted at every step, but a falling market only ever reaches the bids, and a rising one the asks."""
    for step in (-1, 1):
        exchange = make_exchange(base=50, quote=100_000, with_book=False)
        mid = 1_000
        exchange.snapshot(bids=((mid - 1, 5),), asks=((mid + 1, 5),))
        for _ in range(5):
            exchange.place(BUY, mid - 1, 5)
            exchange.place(SELL, mid + 1, 5)
            mid += 10 * step
            exchange.trade(mid, 50, SELL if step < 0 else BUY)
            exchange.snapshot(bids=((mid - 1, 5),), asks=((mid + 1, 5),))
        info = exchange.venue.account_info(D(mid))
        assert [fill.side for fill in exchange.fills] == [BUY if step < 0 else SELL] * 5
        assert info["total_trades"] == 5
        trading_pnl = info["pnl"] - 50 * (mid - 1_000)
        # bought (or sold) 5 lots at 1 from each mid, which then went 9 against us and on
        assert trading_pnl == 5 * sum(1 - 10 * steps for steps in range(1, 6))


def test_base_held_from_the_start_counts_at_the_first_mid(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(base=10, quote=0, with_book=False)
    assert exchange.venue.account_info(D(200))["pnl"] == 0
    exchange.snapshot()
    exchange.snapshot(bids=((50, 1),), asks=((51, 1),))
    info = exchange.venue.account_info(D(50))
    assert (info["initial_balance"], info["balance"], info["pnl"]) == (D(1_005), D(500), D(-505))


def test_what_open_orders_set_aside_is_part_of_the_balance_but_not_available(exchange: Any) -> None:
    exchange.place(BUY, 100, 5)
    info = exchange.venue.account_info(D(100))
    assert (info["cash"], info["available"]) == (D(1_000_000), D(999_500))


def test_an_account_opened_with_nothing_has_no_percentage(make_exchange: Callable[..., Any]) -> None:
    info = make_exchange(base=0, quote=0).venue.account_info(D(100))
    assert info["pnl_percentage"] is None
    assert "null" in json.dumps(info, default=str)


@pytest.mark.parametrize("mark", ["0", "-1", "NaN", "Infinity"])
def test_a_mark_that_is_no_price_is_refused(exchange: Any, mark: str) -> None:
    with pytest.raises(ConfigError, match="expected a positive mark price"):
        exchange.venue.account_info(D(mark))


# --- fees -----------------------------------------------------------------------------------------------------------------


def test_the_fee_of_a_buy_can_be_taken_from_what_it_brings_in(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(maker_bps="10", taker_bps="20", in_received_asset=True, base=0, quote=1_000)
    exchange.place(BUY, 100, 10)
    assert exchange.venue.account.free_quote_atoms == 0
    (fill,) = exchange.trade(99, 50, SELL)
    assert (fill.fee_asset, fill.fee_atoms) == ("COIN", 10**8 * 10 // 1_000)
    assert exchange.venue.account.base_atoms == 10 * 10**8 - fill.fee_atoms
    exchange.place(SELL, None, 9)
    assert [(each.fee_asset, each.fee_atoms) for each in exchange.fills[1:]] == [("CASH", 900 * 10**8 // 500)]


def test_fees_are_rounded_up_over_an_order_so_that_its_fills_never_cost_more_than_was_set_aside(
    make_exchange: Callable[..., Any],
) -> None:
    """At 61,000.01 a lot is worth 61,000,010 atoms: 10 bps of it is not a whole atom, and forty fills must not add forty."""
    price = 6_100_001
    exchange = make_exchange(instrument=BTC, maker_bps="10", base=0, quote=100, with_book=False)
    exchange.snapshot(bids=((price - 1, 5),), asks=((price + 1, 5),))
    lots = 160
    notional = BTC.notional_atoms(price, lots)
    exchange.place(BUY, price, lots)
    reserved = exchange.venue.account.reserved_quote_atoms
    assert reserved == notional + -(-notional // 1_000)
    for _ in range(40):
        exchange.trade(price - 1, 4, SELL)
    assert len(exchange.fills) == 40
    assert sum(fill.fee_atoms for fill in exchange.fills) == reserved - notional
    assert exchange.venue.account.reserved_quote_atoms == 0
    assert exchange.venue.account.quote_atoms == 100 * 10**8 - reserved


def test_the_taker_fee_is_rounded_up_once_over_all_levels_taken(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(instrument=BTC, taker_bps="0.33", base=0, quote=10_000, with_book=False)
    exchange.snapshot(bids=((6_100_000, 5),), asks=tuple((6_100_001 + level, 7) for level in range(9)))
    exchange.place(BUY, None, 60)
    assert len(exchange.fills) == 9
    notional = sum(BTC.notional_atoms(fill.price_ticks, fill.size_lots) for fill in exchange.fills)
    assert sum(fill.fee_atoms for fill in exchange.fills) == -(-notional * 33 // 1_000_000)


def test_a_rebate_is_paid_and_nothing_is_set_aside_for_it(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(maker_bps="-1", base=0, quote=1_000)
    exchange.place(BUY, 100, 10)
    assert exchange.venue.account.free_quote_atoms == 0
    (fill,) = exchange.trade(99, 50, SELL)
    assert fill.fee_atoms == -(10**7)
    assert exchange.venue.account.quote_atoms == 10**7
