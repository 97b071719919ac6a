"""A and k from market orders: recovered, with intervals that hold what they say, and refused where the data cannot say."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market_maker.calibration import (
    IntensityFit,
    MarketOrder,
    Window,
    equivalent_horizon_s,
    fit_intensity,
    risk_aversion_for,
)
from autohedge.market_maker.models import avellaneda_stoikov, glft_closed
from autohedge.market_maker.volatility import CalibrationRefused

S = 1_000_000_000
SEEDS = 200


def arrivals(rng: random.Random, a: float, k: float, seconds: float, burst: int = 1) -> list[MarketOrder]:
    """Orders of both sides, A·exp(−kδ) each, in a market of one tick: depths 0.5, 1.5, … `burst` come at once and alike."""
    orders = []
    for side in Side:
        ts_s = rng.expovariate(a / burst)
        while ts_s < seconds:
            depth = rng.expovariate(k)
            if depth >= 0.5:
                orders += [MarketOrder(int(ts_s * S), side, 1 + 2 * int(depth - 0.5))] * burst
            ts_s += rng.expovariate(a / burst)
    return sorted(orders)


def fitted(orders: Sequence[MarketOrder], seconds: float, **options: Any) -> IntensityFit:
    return fit_intensity(orders, [Window(0, int(seconds * S))], **options)


def reason_of(orders: Sequence[MarketOrder], windows: Sequence[Window], **options: Any) -> str:
    with pytest.raises(CalibrationRefused) as refused:
        fit_intensity(orders, windows, **options)
    assert isinstance(refused.value, MarketDataError)
    assert str(refused.value).startswith(f"{refused.value.reason}: ")
    return refused.value.reason


# ---------------------------------------------------------------- recovery


@pytest.mark.parametrize(("a", "k", "seconds"), [(0.9, 0.05, 900.0), (3.0, 0.01, 300.0), (0.9, 0.3, 1_800.0)])
def test_intervals_hold_the_true_a_and_k_in_95_of_100_markets(a: float, k: float, seconds: float) -> None:
    """200 seeds: 0.95 ± 3 standard errors of a share; and on average the estimates are right to 2 %."""
    fits = [fitted(arrivals(random.Random(seed), a, k, seconds), seconds) for seed in range(SEEDS)]
    band = 3 * math.sqrt(0.95 * 0.05 / SEEDS)
    assert sum(each.a_interval.low <= a <= each.a_interval.high for each in fits) / SEEDS == pytest.approx(0.95, abs=band)
    assert sum(each.k_interval.low <= k <= each.k_interval.high for each in fits) / SEEDS == pytest.approx(0.95, abs=band)
    held = sum(each.likelihood_k_interval.low <= k <= each.likelihood_k_interval.high for each in fits) / SEEDS
    assert held == pytest.approx(0.95, abs=band)
    assert sum(each.a for each in fits) / SEEDS == pytest.approx(a, rel=0.02)
    assert sum(each.k for each in fits) / SEEDS == pytest.approx(k, rel=0.02)
    assert all(each.r_squared > 0.9 for each in fits)


def test_the_interval_of_a_rate_holds_at_any_depth() -> None:
    """λ(δ) with the covariance of A and k, inside the fitted range and beyond it."""
    a, k, seconds = 0.9, 0.05, 1_800.0
    fits = [fitted(arrivals(random.Random(seed), a, k, seconds), seconds) for seed in range(100)]
    for depth in (0.0, 20.0, 60.0, 100.0):
        truth = a * math.exp(-k * depth)
        held = sum(low <= truth <= high for _, (low, high) in (each.rate(depth) for each in fits))
        assert held >= 88
    middle, interval = fits[0].rate(0.0)
    assert (middle, *interval) == pytest.approx((fits[0].a, *fits[0].a_interval))


def test_orders_in_bursts_widen_the_intervals_so_that_they_still_hold() -> None:
    """Eight alike at once: taken for independent they would claim intervals √8 times too narrow."""
    a, k, seconds = 4.0, 0.05, 1_800.0
    fits = [fitted(arrivals(random.Random(seed), a, k, seconds, burst=8), seconds) for seed in range(60)]
    assert sum(each.k_interval.low <= k <= each.k_interval.high for each in fits) >= 51
    assert sum(each.likelihood_k_interval.low <= k <= each.likelihood_k_interval.high for each in fits) < 45


def test_the_points_are_what_was_counted() -> None:
    """Orders of both sides that reach a depth or more, per second and side; the touch is apart and not in the line."""
    orders = arrivals(random.Random(4), 0.9, 0.05, 1_800.0)
    fit = fitted(orders, 1_800.0)
    for point in (fit.touch, *fit.points):
        assert point.orders == sum(order.depth_half_ticks >= 2 * point.depth_ticks for order in orders)
        assert point.rate_per_s == pytest.approx(point.orders / 2 / 1_800)
        assert point.fitted_per_s == pytest.approx(fit.a * math.exp(-fit.k * point.depth_ticks))
    assert fit.touch.depth_ticks == 0.5 and fit.points[0].depth_ticks == 1.5
    assert fit.buys + fit.sells == len(orders) == fit.touch.orders
    assert fit.points[-1].orders >= 0.05 * fit.points[0].orders


def test_orders_that_stop_at_the_touch_do_not_bend_the_line() -> None:
    """Four of five found enough at the best price; k and A are those of the rest, and the touch is doubted."""
    rng = random.Random(9)
    orders = arrivals(rng, 0.9, 0.02, 7_200.0)
    at_touch = [MarketOrder(rng.randrange(7_200 * S), side, 1) for side in Side for _ in range(5 * len(orders))]
    fit = fitted(sorted(orders + at_touch), 7_200.0)
    assert fit.k_interval.low < 0.02 < fit.k_interval.high
    assert fit.a_interval.low < 0.9 < fit.a_interval.high
    assert [doubt for doubt in fit.doubts if "does not hold for quotes at the touch" in doubt]
    assert not [doubt for doubt in fitted(orders, 7_200.0).doubts if "touch" in doubt]


def test_the_range_of_the_fit_is_the_caller_s_if_he_says_so() -> None:
    """Two slopes, one near and one far: each range finds its own, the whole is doubted."""
    rng = random.Random(5)
    orders = sorted(arrivals(rng, 2.0, 0.2, 7_200.0) + arrivals(rng, 0.2, 0.01, 7_200.0))
    near, far = fitted(orders, 7_200.0, to_ticks=8), fitted(orders, 7_200.0, from_ticks=40)
    assert near.points[-1].depth_ticks <= 8 and far.points[0].depth_ticks >= 40
    assert near.k > 0.12
    assert far.k_interval.low < 0.01 < far.k_interval.high
    whole = fitted(orders, 7_200.0, least_r_squared=0.5)
    assert [doubt for doubt in whole.doubts if "depths are not exponential" in doubt]


def test_only_what_was_observed_counts() -> None:
    """Orders outside of the windows are left out, and time outside of them is no time without orders."""
    orders = arrivals(random.Random(6), 0.9, 0.05, 3_600.0)
    windows = [Window(0, 900 * S), Window(1_800 * S, 2_700 * S)]
    parted = fit_intensity(orders, windows)
    inside = [order for order in orders if any(window.start_ns <= order.ts_ns < window.end_ns for window in windows)]
    assert parted.buys + parted.sells == len(inside) < len(orders)
    assert parted.observed_s == 1_800
    assert parted == fit_intensity(inside, windows)
    assert parted.a == pytest.approx(0.9, rel=0.2)


# ---------------------------------------------------------------- refusals


def test_data_that_cannot_support_a_fit_are_refused_by_name() -> None:
    """Each with its reason; no number comes out."""
    hour = [Window(0, 3_600 * S)]
    good = arrivals(random.Random(7), 0.9, 0.05, 3_600.0)
    rng = random.Random(8)
    flat = [
        MarketOrder(rng.randrange(3_600 * S), rng.choice((BUY, SELL)), 201 if rng.random() < 0.999 else 1) for _ in range(999)
    ]
    assert reason_of(good, []) == "no_book"
    assert reason_of(good, [Window(0, 59 * S)]) == "too_short"
    assert reason_of([], hour) == "too_few_orders"
    assert reason_of(good[:60], hour) == "too_few_orders"
    assert reason_of([order._replace(depth_half_ticks=1) for order in good], hour) == "too_few_orders"
    assert reason_of([order for order in good if order.aggressor is BUY], hour) == "one_sided"
    assert reason_of([order._replace(depth_half_ticks=1 + 2 * (at % 2)) for at, order in enumerate(good)], hour) == "one_depth"
    assert reason_of(good, hour, to_ticks=2.0) == "one_depth"
    assert reason_of(good, hour, from_ticks=500.0) == "too_few_orders"
    assert reason_of([order._replace(ts_ns=order.ts_ns // 1_000) for order in good], hour) == "one_burst"
    assert reason_of(sorted(flat), hour) == "not_decaying"


def test_a_curve_is_refused_for_its_fit_unless_the_caller_asks_for_less() -> None:
    """Depths by a power law with a heavy tail: R² below 0.9, the figure is said."""
    rng = random.Random(10)
    depths = [1 + 2 * int(rng.paretovariate(0.7)) for _ in range(6_000)]
    orders = sorted(MarketOrder(rng.randrange(3_600 * S), rng.choice((BUY, SELL)), depth) for depth in depths)
    hour = [Window(0, 3_600 * S)]
    with pytest.raises(CalibrationRefused, match=r"R\^2 is 0\.[5-8]\d+, expected at least 0\.9"):
        fit_intensity(orders, hour)
    loose = fit_intensity(orders, hour, least_r_squared=0.3)
    assert any(doubt.startswith("R^2 is") for doubt in loose.doubts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda orders: [order for order in orders if order.aggressor is BUY or order.ts_ns % 3 == 0], "one A for both sides"),
        (
            lambda orders: [order._replace(depth_half_ticks=(order.depth_half_ticks - 1) // 40 * 2 + 1) for order in orders],
            "the tick",
        ),
    ],
)
def test_what_speaks_against_a_fit_is_said(change: Any, said: str) -> None:
    orders = arrivals(random.Random(11), 3.0, 0.05, 3_600.0)
    assert any(said in doubt for doubt in fitted(change(orders), 3_600.0).doubts)
    assert not any(said in doubt for doubt in fitted(orders, 3_600.0).doubts)


def test_a_short_measurement_is_doubted_and_a_long_one_is_not() -> None:
    assert fitted(arrivals(random.Random(12), 3.0, 0.05, 600.0), 600.0).doubts == (
        "measured over 10.0 minutes; A, k and sigma change over a day",
    )
    assert fitted(arrivals(random.Random(12), 3.0, 0.05, 3_600.0), 3_600.0).doubts == ()


# ---------------------------------------------------------------- what follows from the numbers


@settings(max_examples=200, deadline=None)
@given(sigma=st.floats(0.01, 1e4), k=st.floats(1e-4, 10), a=st.floats(1e-3, 100), orders=st.integers(1, 200))
def test_the_suggested_risk_aversion_brings_the_reducing_quote_to_the_mid(
    sigma: float, k: float, a: float, orders: int
) -> None:
    """And with the equivalent horizon Avellaneda–Stoikov quotes the very same."""
    gamma = risk_aversion_for(sigma, k, a, orders)
    offset, half = glft_closed(orders, sigma, gamma, k, a, 0.0, 0.0)
    assert offset + half == pytest.approx(0.0, abs=1e-9 * half)
    same = avellaneda_stoikov(orders, sigma, gamma, k, equivalent_horizon_s(sigma, gamma, k, a))
    assert same == pytest.approx((offset, half), rel=1e-9)


def test_a_risk_aversion_needs_a_risk_and_parameters_of_the_domain() -> None:
    with pytest.raises(CalibrationRefused, match="mid_never_moved"):
        risk_aversion_for(0.0, 0.3, 0.9, 20)
    with pytest.raises(ConfigError, match="expected 1 to 200 orders"):
        risk_aversion_for(1.0, 0.3, 0.9, 0)
    with pytest.raises(ConfigError, match="intensity_decay_per_tick"):
        risk_aversion_for(1.0, -0.3, 0.9, 20)
