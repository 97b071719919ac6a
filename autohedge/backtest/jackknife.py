"""Statistics of observations in order of time, each with a standard error that respects what hangs together.

The error is that of the jackknife that leaves out one of twenty stretches of consecutive observations in turn (Künsch 1989,
"The jackknife and the bootstrap for general stationary observations"). A statistic of nothing, or of what does not vary where
it should, is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRETCHES = 20
"""Stretches of observations that the jackknife leaves out in turn."""
NAN = float("nan")

_TAIL_FRAC = 0.05


class Estimate(NamedTuple):
    """A measured number and its standard error; NaN where there is nothing to measure, or nothing varies."""

    value: float
    error: float


NOTHING = Estimate(NAN, NAN)


def estimate(statistic: Callable[..., float], *columns: Floats) -> Estimate:
    """A statistic of observations in order of time, with its jackknife error over `STRETCHES` stretches."""
    edges = np.linspace(0, len(columns[0]), STRETCHES + 1).astype(int)
    if not edges[1]:
        return NOTHING
    without = np.array(
        [statistic(*(np.concatenate((column[:first], column[last:])) for column in columns)) for first, last in pairwise(edges)]
    )
    error = np.sqrt((STRETCHES - 1) * np.mean((without - without.mean()) ** 2))
    return Estimate(statistic(*columns), float(error))


def share(happened: NDArray[np.bool_]) -> Estimate:
    """How often something happened."""
    return estimate(average, happened.astype(float))


def memory(series: Floats, lags: range) -> Estimate:
    """The mean of a series' autocorrelations at `lags`."""
    by_lag, squares = products(series, lags)
    return estimate(ratio, by_lag.mean(axis=1), squares)


def products(series: Floats, lags: range) -> tuple[Floats, Floats]:
    """For each time, the products of a series' deviations then and at each lag later; and its squared deviation."""
    deviations = series - series.mean()
    times = len(series) - lags[-1]
    later = np.stack([deviations[lag : lag + times] for lag in lags], axis=1)
    return deviations[:times, np.newaxis] * later, deviations[:times] ** 2


def average(values: Floats) -> float:
    """The mean."""
    return float(values.mean())


def ratio(above: Floats, below: Floats) -> float:
    """Sum over sum."""
    total = float(below.sum())
    return float(above.sum()) / total if total else NAN


def variation(values: Floats) -> float:
    """Standard deviation ÷ mean: 1 for the times between the events of a Poisson process."""
    mean = float(values.mean())
    return float(values.std()) / mean if mean else NAN


def dispersion(counts: Floats) -> float:
    """Variance ÷ mean (Fano factor): 1 for the counts of a Poisson process."""
    mean = float(counts.mean())
    return float(counts.var()) / mean if mean else NAN


def kurtosis(values: Floats) -> float:
    """Excess kurtosis: 0 for the normal distribution."""
    deviations = values - values.mean()
    variance = float(np.mean(deviations**2))
    return float(np.mean(deviations**4)) / variance**2 - 3.0 if variance else NAN


def hill(values: Floats) -> float:
    """The tail index from the largest 5 %; NaN where these are all alike.

    Hill 1975, "A simple general approach to inference about the tail of a distribution".
    """
    ordered = np.sort(values)[::-1]
    count = int(len(ordered) * _TAIL_FRAC)
    excess = float(np.mean(np.log(ordered[:count] / ordered[count]))) if count and ordered[count] > 0 else 0.0
    return 1.0 / excess if excess else NAN


def quantile_ratio(part: float) -> Callable[[Floats], float]:
    """The statistic "quantile `part` ÷ median" of positive values."""
    return lambda values: float(np.quantile(values, part) / np.median(values))
