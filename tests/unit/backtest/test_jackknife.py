"""Statistics with errors: right on numbers whose answer is known, and NaN where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autohedge.backtest.jackknife import (
    STRETCHES,
    Floats,
    average,
    dispersion,
    estimate,
    hill,
    kurtosis,
    memory,
    quantile_ratio,
    ratio,
    share,
    variation,
)

PARTS = (np.arange(100_000) + 0.5) / 100_000


def test_the_error_of_a_mean_of_independent_numbers_is_the_textbook_one() -> None:
    numbers = np.random.default_rng(1).normal(3.0, 2.0, 40_000)
    value, error = estimate(average, numbers)
    assert value == pytest.approx(numbers.mean())
    assert error == pytest.approx(2.0 / math.sqrt(40_000), rel=0.4)  # twenty stretches know it to about a sixth


def test_numbers_that_hang_together_have_a_larger_error() -> None:
    """Each repeated a hundred times: as many numbers, and a hundredth of what they tell."""
    independent = np.random.default_rng(2).normal(size=40_000)
    _, error = estimate(average, independent)
    _, honest = estimate(average, np.repeat(independent[:400], 100))
    assert honest > 5 * error


def test_the_jackknife_of_equal_stretches_is_the_closed_form() -> None:
    """For a mean over equal stretches: the standard deviation of the stretches' means ÷ √(stretches)."""
    numbers = np.random.default_rng(3).normal(size=200)
    means = numbers.reshape(STRETCHES, -1).mean(axis=1)
    assert estimate(average, numbers).error == pytest.approx(means.std(ddof=1) / math.sqrt(STRETCHES))


@pytest.mark.parametrize("exponent", [1.5, 3.0])
def test_hill_finds_the_exponent_of_a_pareto_tail(exponent: float) -> None:
    assert hill(PARTS ** (-1 / exponent)) == pytest.approx(exponent, rel=0.01)


def test_kurtosis_of_known_distributions() -> None:
    laplace = np.concatenate((np.log(2 * PARTS[:50_000]), -np.log(2 * PARTS[:50_000])))
    assert kurtosis(np.array([-1.0, 1.0] * 10)) == pytest.approx(-2.0)
    assert kurtosis(laplace) == pytest.approx(3.0, abs=0.02)


def test_variation_and_dispersion_are_one_for_poisson() -> None:
    random = np.random.default_rng(4)
    assert variation(-np.log(PARTS)) == pytest.approx(1.0, abs=0.01)
    assert dispersion(random.poisson(5.0, 100_000).astype(float)) == pytest.approx(1.0, abs=0.02)


def test_memory_of_an_autoregression_is_its_coefficient_to_the_power_of_the_lag() -> None:
    noise = np.random.default_rng(5).normal(size=200_000)
    series = np.empty_like(noise)
    last = 0.0
    for at, shock in enumerate(noise):
        series[at] = last = 0.6 * last + shock
    assert memory(series, range(1, 2)).value == pytest.approx(0.6, abs=0.01)
    assert memory(series, range(2, 4)).value == pytest.approx((0.6**2 + 0.6**3) / 2, abs=0.01)


def test_shares_ratios_and_quantiles() -> None:
    assert share(np.array([True, False, False, False] * 10)).value == 0.25
    assert ratio(np.array([1.0, 2.0]), np.array([4.0, 8.0])) == 0.25
    assert quantile_ratio(0.9)(np.arange(1.0, 102.0)) == pytest.approx(91 / 51)


@pytest.mark.parametrize("statistic", [kurtosis, hill, variation, dispersion])
def test_a_statistic_of_what_does_not_vary_is_nan_or_zero_and_never_an_error(statistic: object) -> None:
    assert callable(statistic)
    assert math.isnan(statistic(np.zeros(100)))


@pytest.mark.parametrize("numbers", [np.array([]), np.ones(STRETCHES - 1)])
def test_too_little_is_nan(numbers: Floats) -> None:
    assert all(map(math.isnan, estimate(average, numbers)))
    assert all(map(math.isnan, memory(np.ones(100), range(1, 2))))
