"""The tables of chance that the artificial market draws from: whole numbers, the same on every machine.

Promises: made from integers, from `Decimal` (whose logarithm is correctly rounded, a C library's may differ in the last bit
between machines) and from square roots (correctly rounded everywhere; powers are not). Nothing here draws anything.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache

URN = 128
"""Balls in the urn (Ehrenfest's) whose slow, mean-reverting count sets the pace: four more double it."""
ONE = 1 << 10
"""A mean of one, a probability of one."""

_S = 1_000_000_000
_QUANTILES = 256


@cache
def exponential_table() -> tuple[int, ...]:
    """256 equally likely quantiles of the exponential distribution with mean 1, times `ONE`."""
    with localcontext() as context:
        context.prec = 15
        return tuple(int(-(Decimal(2 * i + 1) / (2 * _QUANTILES)).ln() * ONE) for i in range(_QUANTILES))


@cache
def run_lengths() -> tuple[int, ...]:
    """256 equally likely numbers of pieces that a parent order is traded in: Pareto with exponent 4/3, 1 to 107.

    Parent orders of such lengths make the signs of their pieces a long-memory process whose autocorrelation falls with the lag
    to the power of about −1/3: the exponent less one (Lillo, Mike and Farmer 2005, "Theory for long memory in supply and
    demand", Physical Review E 71, 066122).
    """
    cubed = (2 * _QUANTILES) ** 3
    return tuple(math.isqrt(math.isqrt(cubed // (2 * i + 1) ** 3)) for i in range(_QUANTILES))  # largest n, n⁴ ≤ quantile⁻³


@cache
def persistence() -> tuple[int, ...]:
    """By how many pieces of a parent order have traded: how likely another one follows, times `ONE`; 0 before the first."""
    lengths = run_lengths()
    at_least = [sum(length >= pieces for length in lengths) for pieces in range(max(lengths) + 2)]
    return (0, *(ONE * at_least[pieces + 1] // at_least[pieces] for pieces in range(1, max(lengths) + 1)))


def mean_gaps_ns(actions_per_s: float) -> tuple[int, ...]:
    """Mean time to the next action for each state of the urn; `1 / actions_per_s` on average over its binomial states."""
    fourth = math.sqrt(math.sqrt(2.0))
    relative = [1.0]
    for _ in range(URN):
        relative.append(relative[-1] / fourth)
    mean = sum(math.comb(URN, balls) * gap for balls, gap in enumerate(relative)) / 2**URN
    return tuple(round(_S / actions_per_s * gap / mean) for gap in relative)
