"""Returns on a fixed UTC grid and what follows from them; drawdowns; how much of the time there was a position.

Risk figures come from simple returns over equal periods of time, never from profit levels and never from returns per trade.
Where something is not defined the answer is None with the reason in `Reasons`, never an infinity and never NaN.

The grid: days where the run spans 60 days or more, hours from 60 hours on, minutes below; never finer than the rows of the
curve. A period counts when the run covers nine tenths of it. A year has `trading_days_per_year` days. With 365 every hour of
the day counts, and a period without a row is one without change; with fewer, the market closes: periods without any row of the
curve do not exist, and a day has as many hours or minutes as were seen on average.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from autohedge.backtest.result import F64, I64, BacktestResult, Curve

NS_PER_S = 1_000_000_000
PERIODS_NS = {"minute": 60 * NS_PER_S, "hour": 3_600 * NS_PER_S, "day": 86_400 * NS_PER_S}
PERIODS_WANTED = 60
CALENDAR_DAYS = 365
COVERED_FRAC = 0.9
TAIL_FRAC = 0.05
TAIL_PERIODS = 20
DUST_FRAC = 1e-4
_SAME = 1e-12
"""Returns that differ by less than this part of the largest are the same; the rest is rounding of floats."""


class Reasons(dict[str, str]):
    """Why a figure is not defined, by its dotted name."""

    def none(self, name: str, why: str) -> float | None:
        """Remember the reason; the figure is None."""
        self[name] = why
        return None

    def ratio(self, name: str, numerator: float | None, denominator: float | None, why: str) -> float | None:
        """The quotient; None, because of `why`, where a part is missing, the denominator is 0 or the quotient is not finite."""
        if numerator is None or denominator is None or denominator == 0:
            return self.none(name, why)
        quotient = numerator / denominator
        return quotient if math.isfinite(quotient) else self.none(name, why)


class PeriodicReturns(NamedTuple):
    """Simple returns (fractions) of whole periods: `ts_ns` is the end of each; `problem` says why there are none."""

    period: str
    periods_per_year: float
    ts_ns: I64
    values: F64
    problem: str = ""

    @property
    def spread_out(self) -> bool:
        """Whether the returns differ by more than the rounding of floats."""
        if self.values.size < 2:
            return False
        largest = float(np.abs(self.values).max())
        return bool(np.ptp(self.values) > _SAME * largest + 8 * np.finfo(float).eps)


class Drawdown(NamedTuple):
    """The deepest fall from a peak, as a fraction of the peak; times are None where there was no such moment.

    `duration_s` is from the peak to the recovery, or to the end of the run; `longest_s` the longest time below a peak.
    """

    max_frac: float
    peak_ns: int | None
    trough_ns: int | None
    recovery_ns: int | None
    duration_s: float
    longest_s: float


def with_start(result: BacktestResult) -> tuple[I64, F64]:
    """Times and equity with the opening in front, where the curve begins later."""
    ts, equity = result.curve.ts_ns, result.curve.equity_quote
    if ts.size and ts[0] <= result.start_ns:
        return ts, equity
    return np.insert(ts, 0, result.start_ns), np.insert(equity, 0, float(result.initial_equity))


def period_of(result: BacktestResult) -> str:
    """The period of the grid for this run: day, hour or minute; "" when the curve's rows are more than a day apart."""
    span_ns = result.end_ns - result.start_ns
    ts = result.curve.ts_ns
    spacing_ns = float(np.median(np.diff(ts))) if ts.size > 1 else 0.0
    longest = [name for name, ns in PERIODS_NS.items() if span_ns >= PERIODS_WANTED * ns or name == "minute"][-1]
    names = list(PERIODS_NS)
    return next((name for name in names[names.index(longest) :] if PERIODS_NS[name] >= spacing_ns), "")


def periodic_returns(
    result: BacktestResult, *, period: str | None = None, start_ns: int | None = None, end_ns: int | None = None
) -> PeriodicReturns:
    """Returns of the whole periods between the two times (those of the run by default); see the head of this module."""
    period = period_of(result) if period is None else period
    if not period:
        return _none("day", "the curve has a row less often than once a day")
    length_ns = PERIODS_NS[period]
    begin_ns = max(result.start_ns, start_ns if start_ns is not None else result.start_ns)
    stop_ns = min(result.end_ns, end_ns if end_ns is not None else result.end_ns)
    slack_ns = round((1 - COVERED_FRAC) * length_ns)
    first, last = -(-(begin_ns - slack_ns) // length_ns), (stop_ns + slack_ns) // length_ns
    if last - first < 1:
        return _none(period, f"the run holds no whole {period}")
    edges = np.arange(first, last + 1, dtype=np.int64) * length_ns
    ts, equity = with_start(result)
    rows = np.searchsorted(ts, edges, side="right") - 1
    levels = equity[np.maximum(rows, 0)]
    if levels.min() <= 0:
        return _none(period, "the equity fell to 0 or below, where returns have no meaning")
    values, ends = levels[1:] / levels[:-1] - 1.0, edges[1:]
    per_year: float = result.trading_days_per_year * (PERIODS_NS["day"] // length_ns)
    if result.trading_days_per_year < CALENDAR_DAYS:
        open_market = np.diff(rows) > 0
        values, ends = values[open_market], ends[open_market]
        days = np.unique((ends - 1) // PERIODS_NS["day"]).size
        per_year = result.trading_days_per_year * ends.size / days if days else 0.0
    return PeriodicReturns(period, per_year, ends, values) if ends.size else _none(period, "the market was never open")


def _none(period: str, problem: str) -> PeriodicReturns:
    return PeriodicReturns(period, 0.0, np.empty(0, np.int64), np.empty(0), problem)


def period_risk_free(returns: PeriodicReturns, risk_free_rate: float) -> float:
    """The risk-free return of one period: (1 + yearly rate)^(1/periods per year) − 1."""
    return float((1.0 + risk_free_rate) ** (1.0 / returns.periods_per_year) - 1.0)


def moments(values: F64) -> tuple[float, float]:
    """Skewness m₃/m₂^1.5 and (plain, not excess) kurtosis m₄/m₂² from central moments over n; the values must differ."""
    centred = values - values.mean()
    scaled = centred / np.abs(centred).max()
    m2 = float(np.mean(scaled**2))
    return float(np.mean(scaled**3)) / m2**1.5, float(np.mean(scaled**4)) / m2**2


def tail(values: F64) -> tuple[float, float]:
    """Historical value at risk and expected shortfall at 95 %, as losses (positive) of one period.

    The first is minus the 5 % quantile (linear between order statistics), the second minus the mean of the returns up to it.
    """
    quantile = float(np.quantile(values, TAIL_FRAC))
    return 0.0 - quantile, 0.0 - float(values[values <= quantile].mean())  # and not −0.0


def drawdown_series(equity: F64) -> F64:
    """The fall from the running peak at each row, as a fraction of the peak (0 where the peak is not positive)."""
    peaks = np.maximum.accumulate(equity)
    return np.divide(peaks - equity, peaks, out=np.zeros_like(equity), where=peaks > 0)


def drawdown(result: BacktestResult) -> Drawdown:
    """The deepest and the longest drawdown over every row of the curve and the opening."""
    ts, equity = with_start(result)
    falls = drawdown_series(equity)
    trough = int(falls.argmax())
    deepest = float(falls[trough])
    if deepest == 0.0:
        return Drawdown(0.0, None, None, None, 0.0, 0.0)
    peak_level = equity[: trough + 1].max()
    peak = int(np.flatnonzero(equity[: trough + 1] == peak_level)[-1])
    regained = np.flatnonzero(equity[trough:] >= peak_level)
    recovery_ns = int(ts[trough + regained[0]]) if regained.size else None
    until_ns = max(result.end_ns, int(ts[-1])) if recovery_ns is None else recovery_ns
    return Drawdown(
        max_frac=deepest,
        peak_ns=int(ts[peak]),
        trough_ns=int(ts[trough]),
        recovery_ns=recovery_ns,
        duration_s=(until_ns - int(ts[peak])) / NS_PER_S,
        longest_s=_longest_below_peak_s(ts, falls, result.end_ns),
    )


def _longest_below_peak_s(ts: I64, falls: F64, end_ns: int) -> float:
    """From each row at its peak to the next such row, if a fall lies between; the last fall may last to the end."""
    at_peak = np.flatnonzero(falls == 0.0)
    steps = np.diff(at_peak)
    lengths = (ts[at_peak[1:]] - ts[at_peak[:-1]])[steps > 1]
    longest_ns = int(lengths.max()) if lengths.size else 0
    if falls[-1] > 0.0:
        longest_ns = max(longest_ns, max(end_ns, int(ts[-1])) - int(ts[at_peak[-1]]))
    return longest_ns / NS_PER_S


def time_weights_s(ts: I64, end_ns: int) -> F64:
    """Seconds that each row of the curve holds: until the next row, the last one until the end."""
    edges = np.append(ts, max(end_ns, int(ts[-1])))
    return np.diff(edges) / NS_PER_S


def exposure(curve: Curve, end_ns: int) -> tuple[float, float, float] | None:
    """Share of time with a holding, mean and largest holding as a fraction of equity; None when the curve has no length.

    A holding worth less than 1 bp of the equity is dust and counts as none.
    """
    if not curve.ts_ns.size:
        return None
    weights = time_weights_s(curve.ts_ns, end_ns)
    total = float(weights.sum())
    if total <= 0 or curve.equity_quote.min() <= 0:
        return None
    share = np.abs(curve.base * curve.price) / curve.equity_quote
    held = share > DUST_FRAC
    return float(weights[held].sum()) / total, float((weights * share).sum()) / total, float(share.max())


def mean_equity(result: BacktestResult) -> float:
    """The equity averaged over time; of the opening alone when the run has no length."""
    ts, equity = with_start(result)
    weights = time_weights_s(ts, result.end_ns)
    return float(np.average(equity, weights=weights)) if weights.sum() > 0 else float(result.initial_equity)


def calendar_returns(result: BacktestResult, unit: str) -> tuple[I64, F64]:
    """Starts (UTC ns) and simple returns of each calendar month ("M") or day ("D") that the run touches, parts included."""
    ts, equity = with_start(result)
    just_before = np.maximum(ts - 1, result.start_ns)  # the close at midnight belongs to the day that ends
    labels = just_before.astype("datetime64[ns]").astype(f"datetime64[{unit}]")
    last_of = np.flatnonzero(np.append(labels[1:] != labels[:-1], True))
    levels = np.insert(equity[last_of], 0, equity[0])
    if levels.min() <= 0:
        return np.empty(0, np.int64), np.empty(0)
    return labels[last_of].astype("datetime64[ns]").astype(np.int64), levels[1:] / levels[:-1] - 1.0
