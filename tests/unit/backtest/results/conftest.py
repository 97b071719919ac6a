"""Backtest results made by hand: from a list of fills and prices, with an account that is kept in exact fractions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

from autohedge.backtest.result import BacktestResult, Curve, Fills, Mids, Quotes

S = 1_000_000_000
START_NS = 1_704_067_200 * S  # 2024-01-01 00:00:00 UTC


class Fill(NamedTuple):
    """One fill: seconds after the start, side, price, size, fee; `mid` None means that none was known."""

    at_s: float
    side: int
    price: str
    size: str
    fee: str = "0"
    mid: str | None = None
    order: int | None = None
    is_maker: bool = True
    level: int = 0


Tick = tuple[float, str]
"""Seconds after the start, and the price from then on."""


def _ns(seconds: float) -> int:
    return START_NS + round(seconds * S)


def _floats(values: Sequence[Any]) -> Any:
    return np.array([float("nan") if value is None else float(Fraction(value)) for value in values], dtype=np.float64)


def _curve(fills: Sequence[Fill], ticks: Sequence[Tick], cash: Fraction, base: Fraction, end_s: float) -> Curve:
    """A row at every price, every fill and the end, at the last price known."""
    moments = sorted({*(at for at, _ in ticks), *(fill.at_s for fill in fills), end_s})
    rows = []
    for moment in moments:
        done = [fill for fill in fills if fill.at_s <= moment]
        held = base + sum((fill.side * Fraction(fill.size) for fill in done), Fraction(0))
        paid = sum((fill.side * Fraction(fill.price) * Fraction(fill.size) + Fraction(fill.fee) for fill in done), Fraction(0))
        price = Fraction(next(price for at, price in reversed(ticks) if at <= moment))
        rows.append((_ns(moment), cash - paid + held * price, held, price))
    columns = list(zip(*rows, strict=True))
    return Curve(np.array(columns[0], dtype=np.int64), *(_floats(column) for column in columns[1:]))


def traded(
    fills: Sequence[Fill], ticks: Sequence[Tick], *, end_s: float, cash: str = "10000", base: str = "0", **overrides: Any
) -> BacktestResult:
    """The result of these fills at these prices (the first at 0 s); totals are exact."""
    fills = sorted(fills, key=lambda fill: fill.at_s)
    curve = _curve(fills, ticks, Fraction(cash), Fraction(base), end_s)
    columns = Fills(
        ts_ns=np.array([_ns(fill.at_s) for fill in fills], dtype=np.int64),
        side=np.array([fill.side for fill in fills], dtype=np.int8),
        price=_floats([fill.price for fill in fills]),
        size_base=_floats([fill.size for fill in fills]),
        fee_quote=_floats([fill.fee for fill in fills]),
        slippage_quote=np.zeros(len(fills)),
        is_maker=np.array([fill.is_maker for fill in fills], dtype=np.bool_),
        mid=_floats([fill.mid for fill in fills]),
        order=np.array([row if fill.order is None else fill.order for row, fill in enumerate(fills)], dtype=np.int64),
        level=np.array([fill.level for fill in fills], dtype=np.int8),
    )
    opening = Decimal(cash) + Decimal(base) * Decimal(ticks[0][1])
    spent = sum((fill.side * Decimal(fill.price) * Decimal(fill.size) + Decimal(fill.fee) for fill in fills), Decimal(0))
    held = Decimal(base) + sum((fill.side * Decimal(fill.size) for fill in fills), Decimal(0))
    given: dict[str, Any] = {
        "symbol": "BTC/USDT",
        "engine": "by-hand",
        "strategy": "maker",
        "settings": {"maker": {"levels": 1}, "seed": 7},
        "data": {"source": "by hand", "fingerprint": "0" * 8, "rows": len(ticks)},
        "start_ns": START_NS,
        "end_ns": _ns(end_s),
        "trading_days_per_year": 365,
        "initial_equity": opening,
        "final_equity": Decimal(cash) - spent + held * Decimal(ticks[-1][1]),
        "fees": sum((Decimal(fill.fee) for fill in fills), Decimal(0)),
        "slippage": Decimal(0),
        "volume": sum((Decimal(fill.price) * Decimal(fill.size) for fill in fills), Decimal(0)),
        "curve": curve,
        "fills": columns,
        "mids": Mids(np.array([_ns(at) for at, _ in ticks], dtype=np.int64), _floats([price for _, price in ticks])),
        "counts": {"orders_placed": len(set(columns.order.tolist())), "orders_cancelled": 0},
    }
    return BacktestResult(**(given | overrides))


def with_returns(returns: Sequence[float], *, step_s: int = 86_400, initial: str = "10000", **overrides: Any) -> BacktestResult:
    """A result without fills whose equity has these simple returns, one per step from the start on."""
    levels = float(initial) * np.cumprod(1.0 + np.asarray(returns, dtype=np.float64))
    return with_equity(levels, step_s=step_s, initial=initial, **overrides)


def with_equity(levels: Any, *, step_s: int = 86_400, initial: str = "10000", **overrides: Any) -> BacktestResult:
    """A result without fills whose equity has these levels, one per step, the first a step after the start."""
    equity = np.asarray(levels, dtype=np.float64)
    n = equity.size
    ts = START_NS + np.arange(1, n + 1, dtype=np.int64) * step_s * S
    flat = traded([], [(0.0, "100")], end_s=float(n * step_s), cash=initial)
    given: dict[str, Any] = {name: getattr(flat, name) for name in BacktestResult.__dataclass_fields__}
    given |= {"curve": Curve(ts, equity, np.zeros(n), np.full(n, 100.0)), "final_equity": Decimal(repr(float(equity[-1])))}
    return BacktestResult(**(given | overrides))


def sample() -> BacktestResult:
    """A small maker run with wins, a loss, both sides, quotes, an open position at the end and every optional part."""
    fills = [
        Fill(10.0, +1, "99.9", "1", "0.05", "100"),
        Fill(70.0, -1, "100.4", "1", "0.05", "100.3"),
        Fill(130.0, -1, "100.3", "0", "0", "100.2")._replace(size="0.5", order=2),
        Fill(200.0, +1, "100.8", "0.5", "0.02", "100.9"),
        Fill(3_700.0, +1, "100.1", "2", "0.1", "100.2"),
    ]
    ticks = [(0.0, "100"), (11.0, "100.2"), (60.0, "100.3"), (120.0, "100.2"), (180.0, "100.9"), (3_000.0, "100.2")]
    ticks += [(3_701.0, "99.8"), (3_900.0, "100.0")]
    times = START_NS + np.array([0, 60, 180, 3_000], dtype=np.int64) * S
    return traded(
        fills,
        ticks,
        end_s=4_000.0,
        quotes=Quotes(times, np.array([99.9, 100.2, np.nan, 100.1]), np.array([100.1, 100.4, 101.0, np.nan])),
        counts={"orders_placed": 20, "orders_cancelled": 15, "orders_rejected": 1, "orders_denied": 2, "events": 1_000},
        uptime_frac={"bid": 0.9, "ask": 0.8},
        decisions={"total": 4, "model_driven": 3},
        model_cost_usd=Decimal("0.0123"),
        notes=("a note",),
    )


class Make(NamedTuple):
    """The ways to make a result."""

    traded: Callable[..., BacktestResult]
    with_returns: Callable[..., BacktestResult]
    with_equity: Callable[..., BacktestResult]
    sample: Callable[[], BacktestResult]
    fill: type[Fill]


@pytest.fixture(scope="session")
def make() -> Make:
    """Ways to make results by hand."""
    return Make(traded, with_returns, with_equity, sample, Fill)
