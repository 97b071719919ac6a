"""Instrument rules that need no venue: dated ones of real venues (`instruments.toml`), and those of the simulated market.

An unknown venue or symbol is refused with the known ones named; rules are never invented for a real venue.
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from functools import cache
from pathlib import Path

from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError

SIMULATED_VENUE = "sim"

_RULES = Path(__file__).with_name("instruments.toml")
_ASSET = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,14}"
_SYMBOL = re.compile(rf"({_ASSET})(?:/({_ASSET}))?", re.ASCII)


def instrument(venue: str, symbol: str) -> Instrument:
    """The bundled rules of a venue's symbol; `symbol` as BASE/QUOTE or in the venue's own spelling (KRW-BTC).

    Raises `ConfigError` for an unknown venue or symbol.
    """
    rules = _bundled()
    venues = sorted({known for known, _ in rules})
    if venue not in venues:
        raise ConfigError(f"no instrument rules for venue {venue!r}; known venues: {', '.join(venues)}")
    for (at, code), each in rules.items():
        if at == venue and symbol in (each.symbol, code):
            return each
    known = ", ".join(each.symbol for (at, _), each in rules.items() if at == venue)
    raise ConfigError(f"no instrument rules for {symbol!r} at {venue}; known symbols: {known}")


def simulated_instrument(symbol: str) -> Instrument:
    """The rules of a symbol in the simulated market: BASE/QUOTE, or a bare ticker like NVDA, quoted in USD.

    Raises `ConfigError` for anything that is not a symbol.
    """
    matched = _SYMBOL.fullmatch(symbol)
    if matched is None:
        raise ConfigError(
            f"expected a symbol like BTC/USDT or NVDA (letters, digits, '.' and '-', up to 15 a part), found {symbol[:60]!r}"
        )
    base, quote = matched[1], matched[2] or "USD"
    if base.upper() == quote.upper():
        raise ConfigError(f"expected two different assets in a symbol, found {symbol!r}")
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.0001"),
        min_qty=Decimal("0.0001"),
        max_qty=Decimal(1_000_000),
        min_notional=Decimal(10),
        max_notional=None,
        venue=SIMULATED_VENUE,
        rules_as_of="simulated",
    )


def symbol_of_code(code: str) -> str | None:
    """BTC/USDT for BTCUSDT or KRW-BTC's BTC/KRW, where a bundled instrument is spelled so; else None. Case does not count."""
    for (_, known), each in _bundled().items():
        if code.upper() == known:
            return each.symbol
    return None


@cache
def _bundled() -> dict[tuple[str, str], Instrument]:
    """Venue and its code → rules, in the order of the file."""
    rules: dict[tuple[str, str], Instrument] = {}
    for entry in tomllib.loads(_RULES.read_text(encoding="utf-8"))["instrument"]:
        most = entry.get("max_notional")
        rules[entry["venue"], entry["code"]] = Instrument(
            symbol=entry["symbol"],
            base=entry["base"],
            quote=entry["quote"],
            tick_size=Decimal(entry["tick_size"]),
            lot_size=Decimal(entry["lot_size"]),
            min_qty=Decimal(entry["min_qty"]),
            max_qty=Decimal(entry["max_qty"]),
            min_notional=Decimal(entry["min_notional"]),
            max_notional=None if most is None else Decimal(most),
            venue=entry["venue"],
            rules_as_of=entry["as_of"],
        )
    return rules
