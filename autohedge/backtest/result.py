"""What a backtest leaves behind, whatever engine ran it: exact totals, and columns for metrics and pictures.

Money that is reported is exact (`Decimal`); the columns are floats and for statistics only. Times are UTC nanoseconds. Every
array of one table has the same length and is in order of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
I8 = NDArray[np.int8]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Curve(NamedTuple):
    """The account over time: its worth, the base held and the price that values it; the last row is the end.

    A backtest on bars has a row per bar (as of its close), one on a book a row per sampling interval.
    """

    ts_ns: I64
    equity_quote: F64
    base: F64
    price: F64


class Fills(NamedTuple):
    """One row per fill. `side` is +1 for a buy, −1 for a sell; `mid` is the mid known just before (NaN where there is none).

    `fee_quote` is positive for a cost, whatever asset it was taken in; `order` numbers the orders of the run from 0; `level` is
    the order's place among the quotes of its side, 0 the best (and where there are no levels).
    """

    ts_ns: I64
    side: I8
    price: F64
    size_base: F64
    fee_quote: F64
    slippage_quote: F64
    is_maker: Bools
    mid: F64
    order: I64
    level: I8


class Quotes(NamedTuple):
    """What was wanted on the best level of each side, one row per change; NaN while a side was not quoted."""

    ts_ns: I64
    bid: F64
    ask: F64


class Mids(NamedTuple):
    """Every change of the mid (of the close, on bars), for mark-outs: the price holds from its row to the next."""

    ts_ns: I64
    mid: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """One backtest of one symbol.

    `settings` is plain data that, with the data named in `data` (source, fingerprint, rows), gives this result again.
    `counts` holds whole numbers by name (events, orders_placed, orders_cancelled, orders_rejected, orders_denied, cycles …);
    `uptime_frac` the share of time with a bid and with an ask (None where nothing is quoted); `decisions` where the desk's
    decisions came from (None without a desk); `model_cost_usd` is None when no model was called or its price is unknown.
    """

    symbol: str
    engine: str
    strategy: str
    settings: dict[str, Any]
    data: dict[str, Any]
    start_ns: int
    end_ns: int
    trading_days_per_year: int
    initial_equity: Decimal
    final_equity: Decimal
    fees: Decimal
    slippage: Decimal
    volume: Decimal
    curve: Curve
    fills: Fills
    mids: Mids
    quotes: Quotes | None = None
    counts: dict[str, int] = field(default_factory=dict)
    uptime_frac: dict[str, float] | None = None
    decisions: dict[str, Any] | None = None
    model_cost_usd: Decimal | None = None
    notes: tuple[str, ...] = ()
