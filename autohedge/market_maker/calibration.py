"""A and k of A·exp(−kδ), measured from the market orders of a book, and what follows from them for the quoting models.

Promise: every number comes with a 95 % confidence interval and with what speaks against it (`doubts`), and where the data
cannot support one there is none: `CalibrationRefused` names the reason. Orders that come in bursts widen the intervals instead
of being taken for independent. Units are those of `autohedge.market_maker.models`: ticks and seconds; depths come in as whole
half ticks, because a mid is a whole number of them. All is deterministic; nothing is resampled by chance.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil, exp, floor, log, sqrt
from typing import NamedTuple

from autohedge.domain.market_data import BUY, Side
from autohedge.market_maker.models import ModelParameters, check_volatility, execution_premium, inventory_step
from autohedge.market_maker.volatility import Z_95, CalibrationRefused, Interval

NS_PER_S = 1_000_000_000

LEAST_ORDERS = 100
"""Market orders behind the touch below which A and k are refused."""
LEAST_OBSERVED_S = 60.0
LEAST_R_SQUARED = 0.9
"""Fit quality below which A and k are refused."""
LEAST_POINT_ORDERS = 20
LEAST_POINT_FRAC = 0.05
"""The line ends where fewer orders than either (a count, a share of those behind the touch) reach."""
MOST_POINTS = 50
LEAST_POINTS = 3
BLOCKS = 20
"""Equal spells of observed time, each left out once to see how much the fit depends on it."""

_T_95 = 2.093024054408263
"""Of Student's distribution with BLOCKS − 1 degrees of freedom."""
_HOUR_S = 3_600.0


class MarketOrder(NamedTuple):
    """An order that took: `depth_half_ticks` is how far its worst price was from the mid of the book it met; above 0."""

    ts_ns: int
    aggressor: Side
    depth_half_ticks: int


class Window(NamedTuple):
    """A spell [start_ns, end_ns) in which every market order would have been seen; windows are in order and apart."""

    start_ns: int
    end_ns: int


class IntensityPoint(NamedTuple):
    """`orders` of both sides reached `depth_ticks` or more: `rate_per_s` of one side; `fitted_per_s` is A·exp(−kδ) there."""

    depth_ticks: float
    orders: int
    rate_per_s: float
    fitted_per_s: float


Covariance = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityFit:
    """λ(δ) = A·exp(−kδ), the orders of one side per second that reach δ ticks from the mid: A per second, k per tick.

    `covariance` is that of (ln A, k). `likelihood_k` is k by maximum likelihood over the same depths, a cross-check. `touch` is
    the shallowest depth reached, before the line begins: the fit is extrapolated to it.
    """

    a: float
    a_interval: Interval
    k: float
    k_interval: Interval
    covariance: Covariance
    r_squared: float
    touch: IntensityPoint
    points: tuple[IntensityPoint, ...]
    likelihood_k: float
    likelihood_k_interval: Interval
    buys: int
    sells: int
    observed_s: float
    doubts: tuple[str, ...]

    def rate(self, depth_ticks: float) -> tuple[float, Interval]:
        """The fitted λ at a depth, with its interval."""
        (a_a, a_k), (_, k_k) = self.covariance
        middle = log(self.a) - self.k * depth_ticks
        error = _T_95 * sqrt(max(0.0, a_a - 2.0 * depth_ticks * a_k + depth_ticks * depth_ticks * k_k))
        return exp(middle), Interval(exp(middle - error), exp(middle + error))


class _Line(NamedTuple):
    """y = intercept − slope·x by least squares."""

    intercept: float
    slope: float
    r_squared: float


class _Counts(NamedTuple):
    """How many orders reached each of `half_ticks` or more: in each block of time, and in all."""

    half_ticks: list[int]
    by_block: list[list[int]]
    all: list[int]


def fit_intensity(
    orders: Sequence[MarketOrder],
    windows: Sequence[Window],
    *,
    from_ticks: float | None = None,
    to_ticks: float | None = None,
    least_r_squared: float = LEAST_R_SQUARED,
) -> IntensityFit:
    """A and k by a straight line through ln λ at evenly spaced depths, least squares.

    The line begins at `from_ticks`, or one tick behind the shallowest depth: an order that stops at the touch tells that
    enough rested there, not how λ falls with distance. It ends at `to_ticks`, or where LEAST_POINT_ORDERS or LEAST_POINT_FRAC
    of the orders are left. Intervals: the fit is made again without each twentieth of the time (delete-a-block jackknife).
    Both sides are pooled and halved; orders outside of `windows` do not count. Raises `CalibrationRefused`: no_book,
    too_short, too_few_orders, one_sided, one_depth, one_burst, not_decaying, poor_fit.
    """
    observed_s = sum(window.end_ns - window.start_ns for window in windows) / NS_PER_S
    if observed_s <= 0.0:
        raise CalibrationRefused("no_book", "there was never a valid book to measure depths from")
    if observed_s < LEAST_OBSERVED_S:
        raise CalibrationRefused("too_short", f"A and k need {LEAST_OBSERVED_S:g} s with a book, found {observed_s:.3g} s")
    blocks = _blocks(orders, windows)
    counted = [order for block in blocks for order in block]
    buys = sum(order.aggressor is BUY for order in counted)
    sells = len(counted) - buys
    if not counted or min(buys, sells) < len(counted) / 20.0:
        raise CalibrationRefused("one_sided" if counted else "too_few_orders", f"found {buys} buy and {sells} sell orders")
    depths = sorted(order.depth_half_ticks for order in counted)
    counts = _counts(blocks, _grid(depths, from_ticks, to_ticks))
    line, covariance = _fit(counts, observed_s)
    log_a, k_interval = _around(line.intercept, covariance[0][0]), _around(line.slope, covariance[1][1])
    _refuse_unfit(line, k_interval, counts.half_ticks, least_r_squared)
    likelihood_k, likelihood_interval = _likelihood(depths, counts.half_ticks[0], counts.half_ticks[-1])
    touch, *points = (
        IntensityPoint(half / 2.0, total, total / (2.0 * observed_s), exp(line.intercept - line.slope * half / 2.0))
        for half, total in zip((depths[0], *counts.half_ticks), (len(depths), *counts.all), strict=True)
    )
    fit = IntensityFit(
        a=exp(line.intercept),
        a_interval=Interval(exp(log_a.low), exp(log_a.high)),
        k=line.slope,
        k_interval=k_interval,
        covariance=covariance,
        r_squared=line.r_squared,
        touch=touch,
        points=tuple(points),
        likelihood_k=likelihood_k,
        likelihood_k_interval=likelihood_interval,
        buys=buys,
        sells=sells,
        observed_s=observed_s,
        doubts=(),
    )
    return replace(fit, doubts=tuple(_doubts(fit)))


def _refuse_unfit(line: _Line, k_interval: Interval, grid: Sequence[int], least_r_squared: float) -> None:
    if k_interval.low <= 0.0:
        found = f"k = {line.slope:.4g} ({k_interval.low:.4g} to {k_interval.high:.4g}) per tick"
        raise CalibrationRefused("not_decaying", f"{found} is not above 0")
    if line.r_squared < least_r_squared:
        raise CalibrationRefused(
            "poor_fit",
            f"ln(rate) is no straight line over {grid[0] / 2:g} to {grid[-1] / 2:g} ticks: R^2 is {line.r_squared:.3f}, "
            f"expected at least {least_r_squared:g}",
        )


def _blocks(orders: Sequence[MarketOrder], windows: Sequence[Window]) -> list[list[MarketOrder]]:
    """The orders by twentieths of the observed time; those outside of the windows are in none."""
    blocks: list[list[MarketOrder]] = [[] for _ in range(BLOCKS)]
    starts = [window.start_ns for window in windows]
    before = list(accumulate((window.end_ns - window.start_ns for window in windows), initial=0))
    for order in orders:
        at = bisect_right(starts, order.ts_ns) - 1
        if at >= 0 and order.ts_ns < windows[at].end_ns:
            elapsed = before[at] + order.ts_ns - windows[at].start_ns
            blocks[elapsed * BLOCKS // before[-1]].append(order)
    return blocks


def _grid(depths: Sequence[int], from_ticks: float | None, to_ticks: float | None) -> list[int]:
    """The depths, in half ticks, of the points of the line."""
    first = depths[0] + 2 if from_ticks is None else ceil(2.0 * from_ticks)
    behind = len(depths) - bisect_left(depths, first)
    if behind < LEAST_ORDERS:
        raise CalibrationRefused(
            "too_few_orders",
            f"expected at least {LEAST_ORDERS} market orders that reach {first / 2:g} ticks from the mid, found {behind}",
        )
    least = max(LEAST_POINT_ORDERS, ceil(LEAST_POINT_FRAC * behind))
    last = depths[-least]
    if to_ticks is not None:
        last = min(last, floor(2.0 * to_ticks))
    grid = list(range(first, last + 1, max(2, ceil((last - first) / (MOST_POINTS - 1)))))
    if len(grid) < LEAST_POINTS:
        raise CalibrationRefused(
            "one_depth",
            f"expected {LEAST_POINTS} depths a tick apart that {least} orders reach, found {len(grid)} from {first / 2:g} on",
        )
    return grid


def _counts(blocks: Sequence[Sequence[MarketOrder]], grid: list[int]) -> _Counts:
    by_block = []
    for block in blocks:
        depths = sorted(order.depth_half_ticks for order in block)
        by_block.append([len(depths) - bisect_left(depths, each) for each in grid])
    columns = list(zip(*by_block, strict=True))
    for half_ticks, column in zip(grid, columns, strict=True):
        if 2 * max(column) > sum(column):
            raise CalibrationRefused(
                "one_burst", f"most of the orders that reach {half_ticks / 2:g} ticks came within a twentieth of the time"
            )
    return _Counts(grid, by_block, [sum(column) for column in columns])


def _fit(counts: _Counts, observed_s: float) -> tuple[_Line, Covariance]:
    """The line through ln λ of all blocks, and the covariance of its two numbers from the lines that left out a block each."""
    ticks = [half / 2.0 for half in counts.half_ticks]
    line = _line(ticks, [log(total / (2.0 * observed_s)) for total in counts.all])
    rest_s = observed_s * (1.0 - 1.0 / BLOCKS)
    others = [
        _line(ticks, [log((total - one) / (2.0 * rest_s)) for total, one in zip(counts.all, block, strict=True)])
        for block in counts.by_block
    ]
    intercept = sum(other.intercept for other in others) / BLOCKS
    slope = sum(other.slope for other in others) / BLOCKS
    scale = (BLOCKS - 1) / BLOCKS
    mixed = scale * sum((other.intercept - intercept) * (other.slope - slope) for other in others)
    return line, (
        (scale * sum((other.intercept - intercept) ** 2 for other in others), mixed),
        (mixed, scale * sum((other.slope - slope) ** 2 for other in others)),
    )


def _line(x: Sequence[float], y: Sequence[float]) -> _Line:
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / sum((a - x_mean) ** 2 for a in x)
    whole = sum((b - y_mean) ** 2 for b in y)
    rest = sum((b - y_mean - slope * (a - x_mean)) ** 2 for a, b in zip(x, y, strict=True))
    return _Line(y_mean - slope * x_mean, -slope, 1.0 - rest / whole if whole > 0.0 else 0.0)


def _around(value: float, variance: float) -> Interval:
    error = _T_95 * sqrt(variance)
    return Interval(value - error, value + error)


def _likelihood(depths: Sequence[int], first: int, last: int) -> tuple[float, Interval]:
    """k per tick for exponential depths seen on a tick grid from `first` on, cut off at `last` (half ticks).

    An order that printed d may have been ready for anything below d + 1: the law is geometric, k = ln(1 + n/Σ(d − first)).
    """
    ended = sum(first <= depth < last for depth in depths)
    survived = sum(min(depth, last) - first for depth in depths if depth >= first) / 2.0
    k = log(1.0 + ended / survived)
    error = Z_95 * sqrt(ended / survived / (survived + ended))
    return k, Interval(k - error, k + error)


def _doubts(fit: IntensityFit) -> Iterator[str]:
    """What speaks against a fit, a sentence each."""
    touch, first, last = fit.touch, fit.points[0], fit.points[-1]
    if not 0.5 <= touch.rate_per_s / touch.fitted_per_s <= 2.0:
        yield (
            f"at {touch.depth_ticks:g} ticks {touch.rate_per_s:.3g} orders/s arrive, the fit says {touch.fitted_per_s:.3g}: "
            "it does not hold for quotes at the touch"
        )
    apart = fit.likelihood_k_interval.low > fit.k_interval.high or fit.likelihood_k_interval.high < fit.k_interval.low
    if apart or not 0.8 <= fit.likelihood_k / fit.k <= 1.25:
        yield f"maximum likelihood gives k = {fit.likelihood_k:.3g}, the line {fit.k:.3g} per tick: depths are not exponential"
    if fit.r_squared < 0.97:
        yield f"R^2 is {fit.r_squared:.3f}: ln(rate) bends over {first.depth_ticks:g} to {last.depth_ticks:g} ticks"
    if fit.k > 0.5:
        yield f"1/k is {1 / fit.k:.2g} ticks: the tick, not the model, decides the distance"
    if not 0.5 <= fit.buys / fit.sells <= 2.0:
        yield f"{fit.buys} buy and {fit.sells} sell orders: one A for both sides is wrong for both"
    if fit.observed_s < _HOUR_S:
        yield f"measured over {fit.observed_s / 60.0:.1f} minutes; A, k and sigma change over a day"


# --- from measured to chosen ---------------------------------------------------------------------------------------------


def risk_aversion_for(sigma: float, k: float, a: float, orders_to_mid: int) -> float:
    """The γ, in 1/tick, at which `orders_to_mid` orders of inventory bring the reducing GLFT quote to the mid.

    γ is a choice, not a measurement; this makes it a choice that can be read. Solves orders·S = (1/γ)ln(1 + γ/k) + S/2 by
    bisection: S grows with γ and the premium falls. Raises `ConfigError` outside the models' domain,
    `CalibrationRefused` (mid_never_moved) for σ = 0.
    """
    ModelParameters(risk_aversion=0.0, intensity_decay_per_tick=k, arrival_rate_per_s=a, max_inventory_orders=orders_to_mid)
    check_volatility(sigma)
    if sigma == 0.0:
        raise CalibrationRefused("mid_never_moved", "without volatility there is no inventory risk to be averse to")
    low, high = log(1e-30), log(1e3)
    for _ in range(100):
        middle = 0.5 * (low + high)
        gamma = exp(middle)
        if (orders_to_mid - 0.5) * inventory_step(sigma, gamma, k, a) < execution_premium(gamma, k):
            low = middle
        else:
            high = middle
    return exp(0.5 * (low + high))


def equivalent_horizon_s(sigma: float, gamma: float, k: float, a: float) -> float:
    """The T − t, in s, at which Avellaneda–Stoikov quotes as the GLFT closed form does: S ÷ (γσ²); needs γ, σ > 0."""
    return inventory_step(sigma, gamma, k, a) / (gamma * sigma * sigma)
