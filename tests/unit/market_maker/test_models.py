"""Avellaneda and Stoikov's quotes: the paper's own table, its limits and its domains."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.errors import ConfigError
from autohedge.market_maker.models import (
    ModelParameters,
    avellaneda_stoikov,
    avellaneda_stoikov_stationary,
    check_stationary_domain,
    check_time_left,
    check_volatility,
    execution_premium,
    intensity_discount,
    stationary_discount,
)

EXAMPLES = settings(max_examples=200, deadline=None)
INVENTORY = st.floats(-50, 50)
SIGMA = st.floats(0.01, 100)
GAMMA = st.floats(0, 10)
K = st.floats(0.001, 10)


# ---------------------------------------------------------------- the paper's simulation

SIGMA_PAPER, K_PAPER, A_PAPER, T_PAPER, STEPS = 2.0, 1.5, 140.0, 1.0, 200
PATHS = 50_000


class Strategy(NamedTuple):
    """What simulated days gave."""

    spread: float
    profit: float
    profit_std: float
    q: float
    q_std: float


def played(gamma: float, *, symmetric: bool, exact_poisson: bool = False) -> Strategy:
    """The paper's section 3.3: mid ± σ√dt, filled with probability min(λdt, 1) (or 1 − exp(−λdt))."""
    rng = np.random.default_rng(20080315)
    dt = T_PAPER / STEPS
    mid, cash, q = np.full(PATHS, 100.0), np.zeros(PATHS), np.zeros(PATHS)
    halves = [avellaneda_stoikov(0.0, SIGMA_PAPER, gamma, K_PAPER, T_PAPER - step * dt)[1] for step in range(STEPS)]
    for step in range(STEPS):
        offset: Any = 0.0
        half = sum(halves) / STEPS
        if not symmetric:
            offset, half = avellaneda_stoikov(q, SIGMA_PAPER, gamma, K_PAPER, T_PAPER - step * dt)  # type: ignore[arg-type]
        for side, distance in ((1, half - offset), (-1, half + offset)):
            rate = A_PAPER * np.exp(-K_PAPER * distance) * dt
            chance = -np.expm1(-rate) if exact_poisson else np.minimum(rate, 1.0)
            filled = rng.random(PATHS) < chance
            cash += filled * (mid - side * distance) * -side
            q += side * filled
        mid += SIGMA_PAPER * math.sqrt(dt) * rng.choice((-1.0, 1.0), PATHS)
    profit = cash + q * mid
    return Strategy(2 * sum(halves) / STEPS, profit.mean(), profit.std(), q.mean(), q.std())


PUBLISHED = [
    # gamma, symmetric, spread, profit, std(profit), final q, std(final q); Quantitative Finance 8(3), tables 1 and 2
    (0.1, False, Strategy(1.49, 65.0, 6.6, 0.08, 2.9)),
    (0.1, True, Strategy(1.49, 68.4, 12.7, 0.26, 8.4)),
    (0.01, False, Strategy(1.35, 68.6, 8.7, 0.12, 5.1)),
    (0.01, True, Strategy(1.35, 68.8, 12.8, 0.09, 8.7)),
]
REPLICATED = [
    # the same from 200,000 paths
    (0.1, False, Strategy(1.4918, 64.86, 6.54, 0.0, 2.93)),
    (0.1, True, Strategy(1.4918, 68.18, 13.40, 0.0, 8.40)),
    (0.01, False, Strategy(1.3490, 68.35, 8.96, 0.0, 5.21)),
    (0.01, True, Strategy(1.3490, 68.62, 13.64, 0.0, 8.72)),
]


@pytest.mark.parametrize(("published", "replicated"), list(zip(PUBLISHED, REPLICATED, strict=True)))
def test_the_published_table_comes_out(
    published: tuple[float, bool, Strategy], replicated: tuple[float, bool, Strategy]
) -> None:
    """Means within 3 standard errors (the paper's 1,000 paths and ours), deviations within 15 %; the replication far closer."""
    gamma, symmetric, paper = published
    ours, close = played(gamma, symmetric=symmetric), replicated[2]
    for mean, std in (("profit", "profit_std"), ("q", "q_std")):
        error = math.hypot(getattr(ours, std) / math.sqrt(PATHS), getattr(paper, std) / math.sqrt(1_000))
        assert abs(getattr(ours, mean) - getattr(paper, mean)) < 3 * error
        assert getattr(ours, std) == pytest.approx(getattr(paper, std), rel=0.15)
        error = math.hypot(getattr(ours, std) / math.sqrt(PATHS), getattr(close, std) / math.sqrt(200_000))
        assert abs(getattr(ours, mean) - getattr(close, mean)) < 3 * error + 0.005
        assert getattr(ours, std) == pytest.approx(getattr(close, std), rel=0.02)
    assert ours.spread == pytest.approx(paper.spread, abs=0.005)
    assert ours.spread == pytest.approx(close.spread, abs=0.0001)


@pytest.mark.parametrize(("symmetric", "profit"), [(False, 57.2), (True, 61.0)])
def test_exact_poisson_fills_give_another_table(symmetric: bool, profit: float) -> None:
    """λdt is 0.7 at the mid: with 1 − exp(−λdt) there are fewer fills and a tenth less profit."""
    ours = played(0.1, symmetric=symmetric, exact_poisson=True)
    assert abs(ours.profit - profit) < 3 * ours.profit_std / math.sqrt(PATHS) + 0.05


# ---------------------------------------------------------------- the finite horizon


def test_reservation_price_and_spread_by_hand() -> None:
    """γσ²(T − t) = 0.4 with 3 orders held, (2/γ)ln(1 + γ/k) = 1.2908: the paper's numbers at t = 0."""
    offset, half = avellaneda_stoikov(3, 2.0, 0.1, 1.5, 1.0)
    assert offset == pytest.approx(-1.2)
    assert 2 * half == pytest.approx(0.4 + 20 * math.log(1 + 0.1 / 1.5), rel=1e-12)


def test_the_quotes_are_the_one_sided_reservation_prices_and_a_premium() -> None:
    """Eqs 6 and 7: r^a = s + (1 − 2q)γσ²(T − t)/2 and r^b = s − (1 + 2q)γσ²(T − t)/2."""
    q, sigma, gamma, k, left = 2.5, 1.3, 0.2, 0.7, 4.0
    offset, half = avellaneda_stoikov(q, sigma, gamma, k, left)
    risk, premium = gamma * sigma**2 * left, execution_premium(gamma, k)
    assert offset + half == pytest.approx((1 - 2 * q) * risk / 2 + premium)
    assert offset - half == pytest.approx(-(1 + 2 * q) * risk / 2 - premium)


@EXAMPLES
@given(q=INVENTORY, sigma=SIGMA, k=K, left=st.floats(0, 1_000))
def test_without_risk_aversion_the_spread_is_two_over_k(q: float, sigma: float, k: float, left: float) -> None:
    """γ = 0 is the limit itself, and a γ of almost nothing is near it: no division by a small number spoils it."""
    assert avellaneda_stoikov(q, sigma, 0.0, k, left) == (0.0, pytest.approx(1 / k, rel=1e-15))
    for gamma in (5e-324, 1e-300, 1e-15):
        assert execution_premium(gamma, k) == pytest.approx(1 / k, rel=1e-11)
        assert intensity_discount(gamma, k) == pytest.approx(math.e, rel=1e-11)


@EXAMPLES
@given(q=INVENTORY, sigma=SIGMA, gamma=GAMMA, k=K)
def test_at_the_end_inventory_does_not_matter(q: float, sigma: float, gamma: float, k: float) -> None:
    assert avellaneda_stoikov(q, sigma, gamma, k, 0.0) == (0.0, execution_premium(gamma, k))


@EXAMPLES
@given(q=INVENTORY, more=st.floats(0.1, 10), sigma=SIGMA, gamma=st.floats(1e-3, 10), k=K, left=st.floats(0.01, 1_000))
def test_more_inventory_moves_both_quotes_down_by_the_same(
    q: float, more: float, sigma: float, gamma: float, k: float, left: float
) -> None:
    """Monotone, a spread that does not depend on q, never crossed, and long mirrors short."""
    offset, half = avellaneda_stoikov(q, sigma, gamma, k, left)
    lower, same = avellaneda_stoikov(q + more, sigma, gamma, k, left)
    assert lower < offset
    assert same == half > 0
    assert avellaneda_stoikov(-q, sigma, gamma, k, left) == (-offset, half)


@EXAMPLES
@given(gamma=st.floats(1e-6, 10), k=K)
def test_the_premium_falls_with_risk_aversion_and_with_steeper_intensity(gamma: float, k: float) -> None:
    premium = execution_premium(gamma, k)
    assert 0 < premium < 1 / k
    assert execution_premium(gamma * 1.1, k) < premium
    assert execution_premium(gamma, k * 1.1) < premium


# ---------------------------------------------------------------- the infinite horizon

Q_MAX = 10


def value(x: float, s: float, q: float, sigma: float, gamma: float, omega: float) -> float:
    """v̄ of section 2.3, the integral done: it exists for ω > γ²σ²q²/2."""
    return -math.exp(-gamma * (x + q * s)) / (omega - 0.5 * (gamma * sigma * q) ** 2)


@pytest.mark.parametrize("q", [-9, -3, 0, 1, 7, 9])
def test_stationary_quotes_satisfy_the_definition_of_the_reservation_prices(q: int) -> None:
    """v̄(x − r^b, s, q + 1) = v̄(x, s, q) = v̄(x + r^a, s, q − 1); each quote is a premium away from its price."""
    sigma, gamma, k = 1.7, 0.05, 0.6
    omega = stationary_discount(sigma, gamma, Q_MAX)
    bid, ask = avellaneda_stoikov_stationary(q, sigma, gamma, k, omega)
    premium, s, x = execution_premium(gamma, k), 3.0, 1.0
    r_bid, r_ask = s - (bid - premium), s + (ask - premium)
    now = value(x, s, q, sigma, gamma, omega)
    assert value(x - r_bid, s, q + 1, sigma, gamma, omega) == pytest.approx(now, rel=1e-9)
    assert value(x + r_ask, s, q - 1, sigma, gamma, omega) == pytest.approx(now, rel=1e-9)


@EXAMPLES
@given(q=st.floats(-Q_MAX, Q_MAX), sigma=SIGMA, gamma=st.floats(1e-6, 10), k=K)
def test_stationary_quotes_mirror_and_fall_with_inventory(q: float, sigma: float, gamma: float, k: float) -> None:
    omega = stationary_discount(sigma, gamma, Q_MAX)
    bid, ask = avellaneda_stoikov_stationary(q, sigma, gamma, k, omega)
    assert avellaneda_stoikov_stationary(-q, sigma, gamma, k, omega) == (ask, bid)
    more_bid, more_ask = avellaneda_stoikov_stationary(min(q + 0.5, Q_MAX), sigma, gamma, k, omega)
    assert more_bid >= bid
    assert more_ask <= ask
    assert bid + ask > 0


def test_stationary_quotes_end_where_one_more_order_would_leave_the_domain() -> None:
    """With the paper's ω for q_max: no bid at +q_max, no ask at −q_max, neither beyond the domain of ω."""
    sigma, gamma, k = 2.0, 0.1, 1.5
    omega = stationary_discount(sigma, gamma, Q_MAX)
    bid, ask = avellaneda_stoikov_stationary(Q_MAX, sigma, gamma, k, omega)
    assert bid == math.inf and math.isfinite(ask)
    assert avellaneda_stoikov_stationary(-Q_MAX, sigma, gamma, k, omega) == (ask, math.inf)
    assert avellaneda_stoikov_stationary(Q_MAX + 1, sigma, gamma, k, omega) == (math.inf, math.inf)
    check_stationary_domain(omega, sigma, gamma, Q_MAX)
    with pytest.raises(ConfigError, match=r"omega above gamma\^2 sigma\^2 q\^2 / 2 = 2\.42 1/s"):
        check_stationary_domain(omega, sigma, gamma, Q_MAX + 1)


def test_to_first_order_the_stationary_price_is_the_printed_one() -> None:
    """s + (1/γ)ln(1 + (1 − 2q)γ²σ²/(2ω − γ²q²σ²)) for the ask; ours is its mirror image of the bid."""
    sigma, gamma, k, q = 1.0, 1e-4, 0.5, 3.0
    omega = 1.0
    step = (1 - 2 * q) * gamma**2 * sigma**2 / (2 * omega - gamma**2 * q**2 * sigma**2)
    _, ask = avellaneda_stoikov_stationary(q, sigma, gamma, k, omega)
    assert ask - execution_premium(gamma, k) == pytest.approx(math.log1p(step) / gamma, rel=1e-6)
    assert avellaneda_stoikov_stationary(q, sigma, 0.0, k, omega) == (2.0, 2.0)


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"risk_aversion": -0.1}, "risk_aversion (gamma): expected 0 to 1000 1/tick, found -0.1"),
        ({"risk_aversion": math.nan}, "risk_aversion (gamma)"),
        ({"intensity_decay_per_tick": 0.0}, "intensity_decay_per_tick (k): expected 1e-09 to 1000 1/tick, found 0.0"),
        ({"arrival_rate_per_s": math.inf}, "arrival_rate_per_s (A)"),
        ({"max_inventory_orders": 0}, "max_inventory_orders (Q): expected 1 to 200 orders, found 0"),
        ({"max_inventory_orders": 201}, "max_inventory_orders (Q)"),
        ({"impact_ticks": -1.0}, "impact_ticks (xi)"),
        ({"drift_ticks_per_s": 0.1, "risk_aversion": 0.0}, "needs a risk_aversion above 0"),
    ],
)
def test_parameters_outside_the_domain_are_refused_with_the_domain(changed: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {"risk_aversion": 0.1, "intensity_decay_per_tick": 0.3, "arrival_rate_per_s": 0.9}
    with pytest.raises(ConfigError) as refused:
        ModelParameters(**(good | changed))
    assert said in str(refused.value)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_volatility_and_time_outside_the_domain_are_refused(wrong: float) -> None:
    with pytest.raises(ConfigError, match="ticks/sqrt"):
        check_volatility(wrong)
    with pytest.raises(ConfigError, match="time left"):
        check_time_left(wrong)
