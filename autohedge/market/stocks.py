"""Stocks as instruments: a bare ticker, quoted in US dollars, with the rules of the US market.

The price moves in cents and orders are whole shares. Below a dollar the market allows finer prices; such a stock is traded here
on the coarser grid too, which a price between two cents shows by being refused.
"""

from __future__ import annotations

import re
from decimal import Decimal

from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError

STOCK_VENUE = "stocks"
STOCK_CALENDAR = "XNYS"

_TICKER = re.compile(r"[A-Z][A-Z0-9]{0,9}(?:[.\-][A-Z0-9]{1,4})?", re.ASCII)


def stock_instrument(symbol: str) -> Instrument:
    """The rules of a ticker such as NVDA or BRK.B: tick 0.01 USD, lot 1 share, no least value.

    Raises `ConfigError` for anything that is not a ticker in capitals.
    """
    if not _TICKER.fullmatch(symbol):
        raise ConfigError(f"expected the ticker of a stock such as NVDA or BRK.B, found {symbol[:40]!r}")
    return Instrument(
        symbol=symbol,
        base=symbol,
        quote="USD",
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
        min_qty=Decimal(1),
        max_qty=Decimal(10_000_000),
        min_notional=Decimal(0),
        max_notional=None,
        venue=STOCK_VENUE,
        rules_as_of="2024-01-01",
    )
