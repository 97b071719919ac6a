"""σ of a market, measured from its mids, with a 95 % confidence interval and what speaks against it.

Promise: fat tails and clustering widen the interval instead of being assumed away; that the grid is fine enough is tested and
not believed. Where the mids cannot support a number there is none: `CalibrationRefused` names the reason. Units: ticks and
seconds; mids come in as whole half ticks. All is deterministic; nothing is resampled by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import sqrt
from typing import NamedTuple

from autohedge.errors import MarketDataError

LEAST_CHANGES = 30
"""Changes of the mid below which σ is refused."""
SPELLS = 20

Z_95 = 1.959963984540054
_Z_99 = 2.5758293035489004
_COARSER = (2, 5, 10, 30)


class CalibrationRefused(MarketDataError):
    """The data cannot support the number asked for. `reason` is its short name (too_few_orders, one_depth, poor_fit …)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class GridCheck(NamedTuple):
    """σ as a grid `multiple` times as coarse would give it, and how many standard errors its square is from the grid's own."""

    multiple: int
    grid_s: float
    sigma: float
    z: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityEstimate:
    """σ of the mid in ticks/√s. `effective_changes` is how many independent normal changes would tell as much about it."""

    sigma: float
    interval: Interval
    grid_s: float
    changes: int
    effective_changes: float
    kurtosis: float
    unmoved_frac: float
    coarser: tuple[GridCheck, ...]
    doubts: tuple[str, ...]

    @property
    def grid_is_fine(self) -> bool:
        """Whether no coarser grid disagrees at the 1 % level: neither bounce between bid and ask nor trends are in σ."""
        return all(abs(check.z) <= _Z_99 for check in self.coarser)


def estimate_volatility(stretches: Sequence[Sequence[int]], grid_s: float) -> VolatilityEstimate:
    """σ from mids in half ticks, `grid_s` apart; each stretch is unbroken. σ² is the mean square of the changes ÷ grid.

    The drift is not taken out: over seconds it is nothing beside σ. Interval: χ² with as many degrees of freedom as the fourth
    moment of the changes and the clustering of their squares leave. Coarser grids: variance ratios with the errors of Lo and
    MacKinlay (1988) that allow for changing volatility. Raises `CalibrationRefused`: too_short, mid_never_moved.
    """
    moves = [[(after - before) / 2.0 for before, after in pairwise(mids)] for mids in stretches]
    squares = [[move * move for move in each] for each in moves]
    changes = sum(map(len, moves))
    if changes < LEAST_CHANGES:
        raise CalibrationRefused("too_short", f"sigma needs at least {LEAST_CHANGES} changes of the mid, found {changes}")
    total = sum(map(sum, squares))
    if total == 0.0:
        raise CalibrationRefused("mid_never_moved", f"the mid is the same at all points of the {grid_s:g} s grid")
    mean = total / changes
    sigma = sqrt(mean / grid_s)
    fourth = _lagged(squares, 0) / changes
    effective = _effective_changes(squares, mean)
    low, high = (sqrt(effective / _chi_square(effective, z)) for z in (Z_95, -Z_95))
    coarser = _coarser_grids(moves, squares, total, changes, grid_s)
    return VolatilityEstimate(
        sigma=sigma,
        interval=Interval(sigma * low, sigma * high),
        grid_s=grid_s,
        changes=changes,
        effective_changes=effective,
        kurtosis=fourth / (mean * mean),
        unmoved_frac=sum(move == 0.0 for each in moves for move in each) / changes,
        coarser=coarser,
        doubts=tuple(_doubts(sigma, grid_s, changes, effective, coarser)),
    )


def _doubts(sigma: float, grid_s: float, changes: int, effective: float, coarser: Sequence[GridCheck]) -> list[str]:
    """What speaks against the estimate, a sentence each."""
    doubts = [
        f"sigma on a {check.grid_s:g} s grid is {check.sigma:.4g}, not {sigma:.4g} ticks/sqrt(s) (z = {check.z:+.1f}): the "
        f"changes on the {grid_s:g} s grid depend on each other"
        for check in coarser
        if abs(check.z) > _Z_99
    ]
    if effective < LEAST_CHANGES:
        doubts.append(f"a few moves decide sigma: {changes} changes tell as much as {effective:.0f} even ones would")
    return doubts


def _effective_changes(squares: Sequence[Sequence[float]], mean: float) -> float:
    """How many independent normal changes would know their variance as well as these do.

    The variance of the mean square is taken from the squares as if they were independent, or from the means of twenty equal
    spells (batch means), which cluster when the squares do; whichever is larger.
    """
    series = list(chain.from_iterable(squares))
    alone = sum((square - mean) ** 2 for square in series) / len(series)
    size = len(series) // SPELLS
    spells = [sum(series[at * size : (at + 1) * size]) / size for at in range(SPELLS)]
    together = size * sum((spell - mean) ** 2 for spell in spells) / (SPELLS - 1)
    most = max(alone, together)
    return 2.0 * len(series) * mean * mean / most if most > 0.0 else float(len(series))


def _lagged(series: Sequence[Sequence[float]], lag: int) -> float:
    """Σ x_t·x_(t−lag) within the stretches."""
    return sum(sum(now * then for now, then in zip(each[lag:], each, strict=False)) for each in series)


def _coarser_grids(
    moves: Sequence[Sequence[float]], squares: Sequence[Sequence[float]], total: float, changes: int, grid_s: float
) -> tuple[GridCheck, ...]:
    most = max((multiple for multiple in _COARSER if changes >= 20 * multiple), default=1)
    correlations = [_lagged(moves, lag) / total for lag in range(most)]
    errors = [_lagged(squares, lag) / (total * total) for lag in range(most)]
    checks = []
    for multiple in _COARSER:
        if multiple > most:
            break
        weights = [2.0 * (1.0 - lag / multiple) for lag in range(multiple)]
        excess = sum(weights[lag] * correlations[lag] for lag in range(1, multiple))
        error = sqrt(sum(weights[lag] ** 2 * errors[lag] for lag in range(1, multiple)))
        sigma = sqrt(max(0.0, 1.0 + excess) * total / changes / grid_s)
        checks.append(GridCheck(multiple, multiple * grid_s, sigma, excess / error if error > 0.0 else 0.0))
    return tuple(checks)


def _chi_square(freedom: float, z: float) -> float:
    """The quantile of χ² where the normal one is z (Wilson and Hilferty 1931): within 1 % from 3 degrees of freedom on."""
    part = 2.0 / (9.0 * freedom)
    return freedom * max(1e-3, 1.0 - part + z * sqrt(part)) ** 3
