"""Venues' own lists as instruments: exact, only what is open and what an instrument can hold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.exact import MAX_STEPS
from autohedge.market.instrument_lists import LISTS, listed_instruments

DAY = "2021-04-17"


def listed(venue: str, body: Any) -> dict[str, Instrument]:
    return listed_instruments(venue, orjson.dumps(body), DAY)


def binance(status: str = "TRADING", **filters: dict[str, str]) -> dict[str, Any]:
    usual = {
        "PRICE_FILTER": {"tickSize": "0.00010000", "minPrice": "0.0001", "maxPrice": "1000"},
        "LOT_SIZE": {"minQty": "1.00000000", "maxQty": "9000000.00000000", "stepSize": "1.00000000"},
        "MIN_NOTIONAL": {"minNotional": "10.00000000"},
    } | filters
    listed_filters = [{"filterType": name, **each} for name, each in usual.items() if each]
    entry = {"symbol": "NKNUSDT", "status": status, "baseAsset": "NKN", "quoteAsset": "USDT", "filters": listed_filters}
    return {"symbols": [entry]}


BYBIT = {
    "name": "ETHUSDT", "status": "Trading", "base_currency": "ETH", "quote_currency": "USDT",
    "price_filter": {"tick_size": "0.05"},
    "lot_size_filter": {"max_trading_qty": 1000, "min_trading_qty": 0.01, "qty_step": 0.01},
}  # fmt: skip
COINBASE = {
    "id": "SKL-USD", "base_currency": "SKL", "quote_currency": "USD", "base_min_size": "5", "base_max_size": "1000000",
    "quote_increment": "0.0001", "base_increment": "0.1", "min_market_funds": "5.0", "status": "online",
    "trading_disabled": False, "cancel_only": False,
}  # fmt: skip
KRAKEN = {"altname": "XBTUSD", "wsname": "XBT/USD", "pair_decimals": 1, "lot_decimals": 8, "ordermin": "0.0002"}


def test_binance_in_spot_and_futures() -> None:
    rules = listed("binance", binance())["NKNUSDT"]
    assert rules == Instrument(
        symbol="NKN/USDT",
        base="NKN",
        quote="USDT",
        tick_size=Decimal("0.0001"),
        lot_size=Decimal(1),
        min_qty=Decimal(1),
        max_qty=Decimal(9_000_000),
        min_notional=Decimal(10),
        max_notional=None,
        venue="binance",
        rules_as_of=DAY,
    )
    assert str(rules.max_qty) == "9000000"
    newer = {"minNotional": "5.00", "maxNotional": "9000000.00"}
    assert listed("binance", binance(NOTIONAL=newer, MIN_NOTIONAL={}))["NKNUSDT"].max_notional == 9_000_000
    futures = listed("binance-futures", binance(MIN_NOTIONAL={"notional": "5"}))["NKNUSDT"]
    assert (futures.min_notional, futures.venue) == (5, "binance-futures")
    none = binance(LOT_SIZE={"minQty": "0.000", "maxQty": "9", "stepSize": "0.01"}, MIN_NOTIONAL={})
    assert (listed("binance", none)["NKNUSDT"].min_qty, listed("binance", none)["NKNUSDT"].min_notional) == (Decimal("0.01"), 0)


def test_bybit_with_numbers_read_as_they_are_written() -> None:
    rules = listed("bybit", {"result": [BYBIT]})["ETHUSDT"]
    assert (rules.symbol, rules.tick_size, rules.lot_size) == ("ETH/USDT", Decimal("0.05"), Decimal("0.01"))
    assert (rules.min_qty, rules.max_qty, rules.min_notional) == (Decimal("0.01"), 1_000, 0)


def test_coinbase_with_and_without_sizes() -> None:
    rules = listed("coinbase", [COINBASE])["SKL-USD"]
    assert (rules.symbol, rules.tick_size, rules.lot_size) == ("SKL/USD", Decimal("0.0001"), Decimal("0.1"))
    assert (rules.min_qty, rules.max_qty, rules.min_notional) == (5, 1_000_000, 5)
    newer = {name: value for name, value in COINBASE.items() if name not in ("base_min_size", "base_max_size")}
    rules = listed("coinbase", [newer])["SKL-USD"]
    assert (rules.min_qty, rules.max_lots) == (Decimal("0.1"), MAX_STEPS)


def test_kraken_by_places_or_by_tick() -> None:
    rules = listed("kraken", {"result": {"XXBTZUSD": KRAKEN}})["XXBTZUSD"]
    assert (rules.symbol, rules.base, rules.tick_size, rules.lot_size) == ("BTC/USD", "BTC", Decimal("0.1"), Decimal("1e-8"))
    assert (rules.min_qty, rules.max_lots, rules.min_notional) == (Decimal("0.0002"), MAX_STEPS, 0)
    newer = KRAKEN | {"tick_size": "0.5", "costmin": "0.5", "status": "online"}
    rules = listed("kraken", {"result": {"XXBTZUSD": newer}})["XXBTZUSD"]
    assert (rules.tick_size, rules.min_notional) == (Decimal("0.5"), Decimal("0.5"))


@pytest.mark.parametrize(
    ("venue", "body"),
    [
        ("binance", binance("BREAK")),
        ("binance", binance(PRICE_FILTER={})),
        ("bybit", {"result": [BYBIT | {"status": "Closed"}]}),
        ("bybit", {"result": [BYBIT | {"name": "ETHUSD", "quote_currency": "USD"}]}),
        ("bybit", {"result": [BYBIT | {"name": "ETHUSDTM21"}]}),
        ("coinbase", [COINBASE | {"status": "delisted"}]),
        ("coinbase", [COINBASE | {"trading_disabled": True}]),
        ("coinbase", [COINBASE | {"cancel_only": True}]),
        ("kraken", {"result": {"XXBTZUSD.d": {name: each for name, each in KRAKEN.items() if name != "wsname"}}}),
        ("kraken", {"result": {"XXBTZUSD": KRAKEN | {"status": "cancel_only"}}}),
    ],
)
def test_what_is_closed_or_cannot_be_held_is_left_out(venue: str, body: Any) -> None:
    assert listed(venue, body) == {}


@pytest.mark.parametrize(
    ("venue", "body"),
    [
        ("binance", {}),
        ("binance", []),
        ("binance", binance(PRICE_FILTER={"tickSize": "x"})),
        ("binance", binance(PRICE_FILTER={"tickSize": "0"})),
        ("bybit", {"result": [BYBIT | {"lot_size_filter": {"qty_step": None}}]}),
        ("coinbase", {"message": "rate limit"}),
        ("coinbase", [COINBASE | {"quote_increment": True}]),
        ("kraken", {"error": ["EGeneral"], "result": {"X": {}, "Y": {"wsname": "A/B"}}}),
        ("kraken", {"result": None}),
    ],
)
def test_what_is_no_list_is_refused(venue: str, body: Any) -> None:
    with pytest.raises(MarketDataError, match=f"not an instrument list of {venue}"):
        listed(venue, body)


def test_an_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'mtgox'; known venues: binance, binance-futures, bybit, coinbase, kraken"):
        listed("mtgox", {})
    for venue in LISTS:
        with pytest.raises(MarketDataError, match="not an instrument list"):
            listed_instruments(venue, b"<html>", DAY)
