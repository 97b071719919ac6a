"""How far a Sharpe ratio can be believed: its standard error, and the probability that the true one is above a benchmark.

All ratios here are *per period* (not annualised), of returns that are taken as independent and identically distributed; serial
correlation makes the true error larger. Kurtosis is the plain one (3 for a normal distribution), not the excess.
"""

from __future__ import annotations

import math

from autohedge.errors import ConfigError

NORMAL_KURTOSIS = 3.0


def sharpe_standard_error(
    sharpe_per_period: float, periods: int, skewness: float = 0.0, kurtosis: float = NORMAL_KURTOSIS
) -> float:
    """Standard error of an estimated Sharpe ratio per period, in the unit of the ratio.

    √((1 − γ₃·SR + (γ₄ − 1)/4·SR²) ÷ (n − 1)): Lo (2002, "The Statistics of Sharpe Ratios"; √((1 + SR²/2)/n) for normal
    returns) with the terms for skewness γ₃ and kurtosis γ₄ of Mertens (2002), and n − 1 as in Bailey and López de Prado (2012).
    Multiply by √(periods per year) for the error of an annualised ratio. Raises `ConfigError` for fewer than 2 periods, numbers
    that are not finite, or a kurtosis below 1 + skewness², which no distribution has.
    """
    _check_domain(sharpe_per_period, periods, skewness, kurtosis)
    variance = 1.0 - skewness * sharpe_per_period + (kurtosis - 1.0) / 4.0 * sharpe_per_period**2
    return math.sqrt(max(variance, 0.0) / (periods - 1))


def probabilistic_sharpe_ratio(
    sharpe_per_period: float, periods: int, skewness: float, kurtosis: float, benchmark_per_period: float = 0.0
) -> float:
    """Probability (0 to 1) that the true Sharpe ratio per period is above `benchmark_per_period`.

    Φ((SR − SR*) ÷ standard error), Bailey and López de Prado (2012), "The Sharpe Ratio Efficient Frontier"; the error is
    `sharpe_standard_error`. Where the error is 0 (returns of two values at the very ratio that cancels it) the answer is 0, ½
    or 1. Raises `ConfigError` as `sharpe_standard_error` does.
    """
    if not math.isfinite(benchmark_per_period):
        raise ConfigError(f"expected a finite benchmark Sharpe ratio per period, found {benchmark_per_period}")
    error = sharpe_standard_error(sharpe_per_period, periods, skewness, kurtosis)
    distance = sharpe_per_period - benchmark_per_period
    if error == 0.0:
        return 0.5 if distance == 0.0 else float(distance > 0.0)
    return 0.5 * math.erfc(-distance / error / math.sqrt(2.0))


def _check_domain(sharpe: float, periods: int, skewness: float, kurtosis: float) -> None:
    if periods < 2:
        raise ConfigError(f"expected at least 2 periods to judge a Sharpe ratio, found {periods}")
    if not (math.isfinite(sharpe) and math.isfinite(skewness) and math.isfinite(kurtosis)):
        raise ConfigError(f"expected a finite Sharpe ratio, skewness and kurtosis, found {sharpe}, {skewness} and {kurtosis}")
    if kurtosis < 1.0 + skewness**2 - 1e-9 * (1.0 + skewness**2):
        raise ConfigError(
            f"expected a kurtosis of at least 1 + skewness² = {1.0 + skewness**2:.6g} (3 for a normal distribution, not the "
            f"excess), found {kurtosis}"
        )
