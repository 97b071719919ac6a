"""A ticker is an instrument quoted in dollars."""

from __future__ import annotations

from decimal import Decimal

import pytest

from autohedge.errors import ConfigError
from autohedge.market.stocks import stock_instrument


@pytest.mark.parametrize("symbol", ["NVDA", "BRK.B", "BF-A", "F"])
def test_a_stock_trades_in_cents_and_whole_shares(symbol: str) -> None:
    stock = stock_instrument(symbol)
    assert (stock.symbol, stock.base, stock.quote) == (symbol, symbol, "USD")
    assert (stock.tick_size, stock.lot_size, stock.min_notional) == (Decimal("0.01"), 1, 0)
    assert stock.price(12_345) == Decimal("123.45")
    assert stock.floor_to_lot(Decimal("2.9")) == 2


@pytest.mark.parametrize("symbol", ["BTC/USDT", "nvda", "", "TOOLONGTICKER", "NV DA", "N/A"])
def test_what_is_no_ticker_is_refused(symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"expected the ticker of a stock such as NVDA or BRK\.B"):
        stock_instrument(symbol)
