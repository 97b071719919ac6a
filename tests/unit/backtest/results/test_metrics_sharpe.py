"""How far a Sharpe ratio can be believed: published values and limits."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.backtest.sharpe import probabilistic_sharpe_ratio, sharpe_standard_error
from autohedge.errors import ConfigError


def test_the_published_example_of_the_probabilistic_sharpe_ratio() -> None:
    """Bailey and López de Prado (2012): two years of months, 0.458 per month; 0.913 with the moments of the track record.

    They give an annual ratio of 1.585, skewness −2.448 and kurtosis 10.164; as if normal it would be 0.982.
    """
    monthly = 1.585 / math.sqrt(12)
    assert probabilistic_sharpe_ratio(monthly, 24, -2.448, 10.164) == pytest.approx(0.913, abs=5e-4)
    assert probabilistic_sharpe_ratio(monthly, 24, 0.0, 3.0) == pytest.approx(0.982, abs=5e-4)


def test_the_standard_error_is_that_of_lo_for_normal_returns() -> None:
    """√((1 + SR²/2) ÷ (n − 1)): 0.1 per month over 61 months, and the value for no skill."""
    assert sharpe_standard_error(0.1, 61) == pytest.approx(math.sqrt(1.005 / 60))
    assert sharpe_standard_error(0.0, 101) == pytest.approx(0.1)


@settings(deadline=None)
@given(sharpe=st.floats(-1, 1), periods=st.integers(3, 10_000), skewness=st.floats(-2, 2), spare=st.floats(0.5, 10))
def test_the_probability_is_that_of_a_normal_estimate(sharpe: float, periods: int, skewness: float, spare: float) -> None:
    """Φ of the distance in standard errors, which needs another way to compute Φ; half at the benchmark itself."""
    kurtosis = 1 + skewness**2 + spare
    error = sharpe_standard_error(sharpe, periods, skewness, kurtosis)
    expected = NormalDist().cdf((sharpe - 0.05) / error)
    assert probabilistic_sharpe_ratio(sharpe, periods, skewness, kurtosis, 0.05) == pytest.approx(expected, abs=1e-9)
    assert probabilistic_sharpe_ratio(sharpe, periods, skewness, kurtosis, sharpe) == 0.5


def test_bad_tails_make_a_ratio_less_certain() -> None:
    """Negative skewness and fat tails lower the probability, more periods raise it."""
    normal = probabilistic_sharpe_ratio(0.2, 50, 0.0, 3.0)
    assert probabilistic_sharpe_ratio(0.2, 50, -1.0, 3.0) < normal
    assert probabilistic_sharpe_ratio(0.2, 50, 0.0, 9.0) < normal
    assert probabilistic_sharpe_ratio(0.2, 200, 0.0, 3.0) > normal


def test_returns_of_two_values_can_leave_no_error() -> None:
    """Kurtosis 1 + skewness² with SR = 2 ÷ skewness: the variance is 0, and the answer is certain."""
    assert sharpe_standard_error(1.0, 10, 2.0, 5.0) == 0.0
    assert probabilistic_sharpe_ratio(1.0, 10, 2.0, 5.0) == 1.0
    assert probabilistic_sharpe_ratio(1.0, 10, 2.0, 5.0, 1.0) == 0.5
    assert probabilistic_sharpe_ratio(1.0, 10, 2.0, 5.0, 1.5) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, 1, 0.0, 3.0), "at least 2 periods"),
        ((math.nan, 10, 0.0, 3.0), "finite"),
        ((0.1, 10, 0.0, math.inf), "finite"),
        ((0.1, 10, 0.0, 0.0), "not the excess"),
        ((0.1, 10, 0.0, 3.0, math.nan), "benchmark"),
    ],
)
def test_what_no_sample_can_have_is_refused(arguments: tuple[float, ...], message: str) -> None:
    """An excess kurtosis given for a plain one is the usual mistake, and is caught where it can be."""
    with pytest.raises(ConfigError, match=message):
        probabilistic_sharpe_ratio(*arguments)  # type: ignore[arg-type]
