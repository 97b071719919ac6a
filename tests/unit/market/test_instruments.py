"""Bundled instrument rules and those of the simulated market."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from autohedge.errors import ConfigError
from autohedge.market import instruments
from autohedge.market.instruments import instrument, simulated_instrument, symbol_of_code


def test_the_rules_of_binance_btc() -> None:
    btc = instrument("binance", "BTC/USDT")
    assert (btc.base, btc.quote, btc.venue) == ("BTC", "USDT", "binance")
    assert (btc.tick_size, btc.lot_size, btc.min_qty) == (Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"))
    assert (btc.max_qty, btc.min_notional, btc.max_notional) == (Decimal(9000), Decimal(10), None)
    assert instrument("binance", "ETH/USDT").lot_size == Decimal("0.0001")


def test_the_rules_of_upbit_btc_under_both_spellings() -> None:
    btc = instrument("upbit", "BTC/KRW")
    assert btc is instrument("upbit", "KRW-BTC")
    assert (btc.symbol, btc.base, btc.quote) == ("BTC/KRW", "BTC", "KRW")
    assert (btc.tick_size, btc.lot_size, btc.min_qty) == (Decimal(1000), Decimal("1e-8"), Decimal("0.0001"))
    assert (btc.min_notional, btc.max_notional) == (Decimal(5000), Decimal(10**9))
    assert btc.max_qty * btc.tick_size == btc.max_notional


def test_rules_are_dated_and_their_source_is_named() -> None:
    for line in Path(instruments.__file__).with_name("instruments.toml").read_text().split("[[instrument]]")[1:]:
        assert re.search(r'source = "\w+', line)
        symbol, venue = (re.search(rf'{name} = "(.*)"', line)[1] for name in ("symbol", "venue"))  # type: ignore[index]
        assert date(2020, 1, 1) < date.fromisoformat(instrument(venue, symbol).rules_as_of)


@pytest.mark.parametrize("symbol", ["DOGE/USDT", "btc/usdt", "", "BTC/KRW"])
def test_an_unknown_symbol_is_refused_with_the_known_ones(symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"at binance; known symbols: BTC/USDT, ETH/USDT"):
        instrument("binance", symbol)


def test_an_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'mtgox'; known venues: binance, upbit"):
        instrument("mtgox", "BTC/USDT")


def test_a_venues_spelling_leads_to_the_symbol() -> None:
    assert symbol_of_code("BTCUSDT") == symbol_of_code("btcusdt") == "BTC/USDT"
    assert symbol_of_code("KRW-BTC") == "BTC/KRW"
    assert symbol_of_code("BTC") is None


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [("BTC/USDT", "BTC", "USDT"), ("NVDA", "NVDA", "USD"), ("BRK.B/USD", "BRK.B", "USD"), ("a-1/B", "a-1", "B")],
)
def test_the_simulated_market_has_any_symbol(symbol: str, base: str, quote: str) -> None:
    of = simulated_instrument(symbol)
    assert (of.symbol, of.base, of.quote, of.venue) == (symbol, base, quote, "sim")
    assert (of.tick_size, of.lot_size, of.min_qty) == (Decimal("0.01"), Decimal("0.0001"), Decimal("0.0001"))
    assert (of.max_qty, of.min_notional) == (Decimal(10**6), Decimal(10))


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "/",
        "BTC/",
        "/USDT",
        "A/B/C",
        "BTC USDT",
        "B" * 16,
        "BTC/" + "U" * 16,
        "../etc",
        "..",
        "-X",
        "BTC/USDT\n",
        "ВТС/USDT",
        "X/x",
    ],
)
def test_what_is_no_symbol_is_refused(symbol: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        simulated_instrument(symbol)
