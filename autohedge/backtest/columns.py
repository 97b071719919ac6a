"""What an engine must not leave behind: columns that are not finite, of unequal length, or out of order."""

from __future__ import annotations

import numpy as np

from autohedge.backtest.result import BacktestResult
from autohedge.errors import MarketDataError

_MAY_BE_NAN = frozenset({"fills.mid", "quotes.bid", "quotes.ask"})
_POSITIVE = frozenset({"fills.price", "fills.size_base", "mids.mid", "curve.price"})


def check_columns(result: BacktestResult) -> None:
    """Raise `MarketDataError` for columns of unequal length, out of order, or with numbers that cannot be."""
    if result.end_ns < result.start_ns:
        raise MarketDataError(
            f"backtest of {result.symbol}: expected an end after the start, found {result.end_ns} ns before it"
        )
    if result.trading_days_per_year < 1:
        raise MarketDataError(f"backtest of {result.symbol}: expected 1 to 366 trading days a year")
    for amount in (result.initial_equity, result.final_equity, result.fees, result.slippage, result.volume):
        if not amount.is_finite():
            raise MarketDataError(f"backtest of {result.symbol}: expected finite totals, found {amount}")
    if not np.all(np.abs(result.fills.side) == 1):
        raise MarketDataError(f"backtest of {result.symbol}: fills.side: expected +1 or -1 in every row")
    for table_name in ("curve", "fills", "mids", "quotes"):
        table = getattr(result, table_name)
        for name, column in table._asdict().items() if table is not None else ():
            where = f"backtest of {result.symbol}: {table_name}.{name}"
            if column.shape != table.ts_ns.shape:
                raise MarketDataError(f"{where}: expected {table.ts_ns.shape[0]} rows, found {column.shape}")
            if name == "ts_ns" and np.any(np.diff(column) < 0):
                raise MarketDataError(f"{where}: expected times in order, found one before its neighbour")
            if column.dtype.kind != "f":
                continue
            wrong = np.isinf(column) if f"{table_name}.{name}" in _MAY_BE_NAN else ~np.isfinite(column)
            if f"{table_name}.{name}" in _POSITIVE:
                wrong |= column <= 0
            if wrong.any():
                row = int(wrong.argmax())
                raise MarketDataError(f"{where}: row {row} is {column[row]}, which no engine may leave behind")
