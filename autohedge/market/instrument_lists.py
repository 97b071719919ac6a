"""The rules of instruments, from the lists that venues publish over REST.

Each function takes the answer's JSON and gives the instruments by the venue's own code, those only that are open for trading
and that an `Instrument` can hold: of an inverse contract the size is in the quote asset, so price × size is not its value,
and it is left out rather than valued wrongly. Amounts are exact: venues send them as texts, or as numbers that are read as
the texts they are. A venue that names no largest order gets the largest that whole lots can count.

Which fields: Binance `exchangeInfo` (spot and USD-margined futures), Bybit `v2/public/symbols`, Coinbase `products`, Kraken
`AssetPairs`. Orders of Coinbase by value (`min_market_funds`) are market orders; the limit is applied to all, which is safe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.exact import MAX_STEPS

_KRAKEN_ASSETS = {"XBT": "BTC", "XDG": "DOGE"}
"""Kraken's older names, which its newer interfaces have given up too."""


def listed_instruments(venue: str, answer: bytes, as_of: str) -> dict[str, Instrument]:
    """The instruments in a venue's list, by the venue's code. `as_of` is the date of the list, YYYY-MM-DD.

    Raises `ConfigError` for a venue whose lists cannot be read, `MarketDataError` when the answer is no such list.
    """
    entries = LISTS.get(venue)
    if entries is None:
        raise ConfigError(f"cannot read instrument lists of {venue!r}; known venues: {', '.join(LISTS)}")
    try:
        body = json.loads(answer, parse_float=str)
        return {code: Instrument(venue=venue, rules_as_of=as_of, **rules) for code, rules in entries(body)}
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise MarketDataError(f"not an instrument list of {venue}: {type(error).__name__} {error}") from error


def _binance(body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in body["symbols"]:
        filters = {each["filterType"]: each for each in entry["filters"]}
        if entry["status"] != "TRADING" or not {"PRICE_FILTER", "LOT_SIZE"} <= filters.keys():
            continue
        size = filters["LOT_SIZE"]
        # NOTIONAL is today's name in spot; futures call the field of MIN_NOTIONAL `notional`
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {"minNotional": "0"}
        most = notional.get("maxNotional")
        yield (
            entry["symbol"],
            {
                **_assets(entry["baseAsset"], entry["quoteAsset"]),
                "tick_size": _amount(filters["PRICE_FILTER"]["tickSize"]),
                "lot_size": _amount(size["stepSize"]),
                "min_qty": max(_amount(size["minQty"]), _amount(size["stepSize"])),
                "max_qty": _amount(size["maxQty"]),
                "min_notional": _amount(notional.get("minNotional", notional.get("notional"))),
                "max_notional": None if most is None else _amount(most),
            },
        )


def _bybit(body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in body["result"]:
        is_linear = entry["name"] == entry["base_currency"] + entry["quote_currency"] and entry["quote_currency"] != "USD"
        if entry["status"] != "Trading" or not is_linear:
            continue
        size = entry["lot_size_filter"]
        yield (
            entry["name"],
            {
                **_assets(entry["base_currency"], entry["quote_currency"]),
                "tick_size": _amount(entry["price_filter"]["tick_size"]),
                "lot_size": _amount(size["qty_step"]),
                "min_qty": _amount(size["min_trading_qty"]),
                "max_qty": _amount(size["max_trading_qty"]),
                "min_notional": Decimal(0),
                "max_notional": None,
            },
        )


def _coinbase(body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in body:
        if entry["status"] != "online" or entry["trading_disabled"] or entry["cancel_only"]:
            continue
        lot = _amount(entry["base_increment"])
        # newer lists have no sizes but the increment
        yield (
            entry["id"],
            {
                **_assets(entry["base_currency"], entry["quote_currency"]),
                "tick_size": _amount(entry["quote_increment"]),
                "lot_size": lot,
                "min_qty": _amount(entry["base_min_size"]) if entry.get("base_min_size") else lot,
                "max_qty": _amount(entry["base_max_size"]) if entry.get("base_max_size") else lot * MAX_STEPS,
                "min_notional": _amount(entry["min_market_funds"]),
                "max_notional": None,
            },
        )


def _kraken(body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for code, entry in body["result"].items():
        if "wsname" not in entry or entry.get("status", "online") != "online":
            continue  # without a name there: a dark pool, which has no public book
        base, _, quote = entry["wsname"].partition("/")
        lot, tick = Decimal(1).scaleb(-entry["lot_decimals"]), Decimal(1).scaleb(-entry["pair_decimals"])
        yield (
            code,
            {
                **_assets(_KRAKEN_ASSETS.get(base, base), _KRAKEN_ASSETS.get(quote, quote)),
                "tick_size": _amount(entry["tick_size"]) if "tick_size" in entry else tick,
                "lot_size": lot,
                "min_qty": max(_amount(entry["ordermin"]), lot),
                "max_qty": lot * MAX_STEPS,
                "min_notional": _amount(entry.get("costmin", "0")),
                "max_notional": None,
            },
        )


LISTS: dict[str, Callable[[Any], Iterator[tuple[str, dict[str, Any]]]]] = {
    "binance": _binance,
    "binance-futures": _binance,
    "bybit": _bybit,
    "coinbase": _coinbase,
    "kraken": _kraken,
}
"""Venue → its list as code and rules."""


def _assets(base: str, quote: str) -> dict[str, str]:
    return {"symbol": f"{base}/{quote}", "base": base, "quote": quote}


def _amount(value: Any) -> Decimal:
    """An amount given as text or whole number; normalised, so that 0.01000000 is 0.01."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise TypeError(f"expected an amount, found {value!r}")
    return Decimal(f"{Decimal(value).normalize():f}")
