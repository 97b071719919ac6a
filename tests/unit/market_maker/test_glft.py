"""Guéant, Lehalle and Fernandez-Tapia's quotes: reference values; closed form, tables and limits against each other."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.errors import ConfigError
from autohedge.market_maker import models
from autohedge.market_maker.models import (
    GlftTable,
    ModelParameters,
    avellaneda_stoikov,
    execution_premium,
    glft_asymptotic,
    glft_asymptotic_into,
    glft_closed,
    glft_exact,
    glft_interpolated,
    intensity_discount,
    inventory_step,
)

EXAMPLES = settings(max_examples=100, deadline=None)
SIGMA, GAMMA, K, A, Q = 0.3, 0.01, 0.3, 0.9, 30
"""The paper's parameters: ticks and seconds."""


def parameters(**changed: Any) -> ModelParameters:
    given_: dict[str, Any] = {"risk_aversion": GAMMA, "intensity_decay_per_tick": K, "arrival_rate_per_s": A}
    return ModelParameters(**(given_ | {"max_inventory_orders": Q} | changed))


def closed(
    q: float, sigma: float = SIGMA, gamma: float = GAMMA, drift: float = 0.0, impact: float = 0.0
) -> tuple[float, float]:
    """(bid distance, ask distance) of the closed form."""
    offset, half = glft_closed(q, sigma, gamma, K, A, drift, impact)
    return half - offset, half + offset


def matrix(sigma: float, given_: ModelParameters) -> np.ndarray:
    """GLFT's M, written down as the paper has it."""
    gamma, k, q_max = given_.risk_aversion, given_.intensity_decay_per_tick, given_.max_inventory_orders
    alpha, beta = k / 2 * gamma * sigma**2, k * given_.drift_ticks_per_s
    eta = given_.arrival_rate_per_s * (1 + gamma / k) ** -(1 + k / gamma) * math.exp(-k / 2 * given_.impact_ticks)
    q = np.arange(-q_max, q_max + 1)
    return np.diag(alpha * q**2 - beta * q) - eta * (np.eye(len(q), k=1) + np.eye(len(q), k=-1))


def table_of(v: np.ndarray, given_: ModelParameters) -> GlftTable:
    """The quotes that a value function gives."""
    rises = np.diff(np.log(v)) / given_.intensity_decay_per_tick
    premium = (
        math.log1p(given_.risk_aversion / given_.intensity_decay_per_tick) / given_.risk_aversion + given_.impact_ticks / 2
    )
    return GlftTable(given_.max_inventory_orders, (*(premium - rises), math.inf), (math.inf, *(premium + rises)))


def assert_close(left: GlftTable, right: GlftTable, tolerance: float) -> None:
    assert left.bids == pytest.approx(right.bids, abs=tolerance)
    assert left.asks == pytest.approx(right.asks, abs=tolerance)


# ---------------------------------------------------------------- reference values


def test_the_reference_values_to_a_millionth() -> None:
    """Exact and closed form with the paper's parameters and Q = 30."""
    table = glft_asymptotic(SIGMA, parameters())
    assert table.distances(0) == pytest.approx((3.313045, 3.313045), abs=1e-6)
    assert table.distances(1) == pytest.approx((3.381168, 3.244919), abs=1e-6)
    assert closed(0) == pytest.approx((3.312915, 3.312915), abs=1e-6)
    assert closed(1) == pytest.approx((3.380781, 3.245049), abs=1e-6)
    assert sum(closed(7)) == pytest.approx(6.625830, abs=1e-6)
    assert A / intensity_discount(GAMMA, K) == pytest.approx(0.3256783558, abs=1e-10)
    smallest, second = np.linalg.eigvalsh(matrix(SIGMA, parameters()))[:2]
    assert second - smallest == pytest.approx(0.0132276312, abs=1e-10)


def test_ten_minutes_before_the_end_the_quotes_are_the_asymptotic_ones() -> None:
    """The paper's T = 600 s: equal to a millionth of a tick at every inventory; the end has no say any more."""
    assert_close(glft_exact(SIGMA, parameters(), 600), glft_asymptotic(SIGMA, parameters()), 1e-6)


@pytest.mark.parametrize(
    ("sigma", "changed"),
    [
        (0.4, {}),
        (1.0, {"arrival_rate_per_s": 0.2}),
        (SIGMA, {"drift_ticks_per_s": 0.002}),
        (SIGMA, {"drift_ticks_per_s": -0.002, "impact_ticks": 0.5}),
        (SIGMA, {"max_inventory_orders": 1}),
        (0.0, {"max_inventory_orders": 12}),
    ],
)
def test_asymptotic_quotes_come_from_the_eigenvector_of_the_smallest_eigenvalue(sigma: float, changed: dict[str, Any]) -> None:
    """Against a general eigenvalue solver, as far as that one is exact."""
    chosen = parameters(**({"max_inventory_orders": 12} | changed))
    vector = np.abs(np.linalg.eigh(matrix(sigma, chosen))[1][:, 0])
    assert_close(glft_asymptotic(sigma, chosen), table_of(vector, chosen), 1e-7)


@pytest.mark.parametrize(
    ("time_left_s", "changed"),
    [(0.5, {}), (7.0, {}), (60.0, {"drift_ticks_per_s": 0.002}), (60.0, {"impact_ticks": 0.5, "drift_ticks_per_s": -0.001})],
)
def test_exact_quotes_come_from_the_matrix_exponential(time_left_s: float, changed: dict[str, Any]) -> None:
    """v = exp(−M(T − t))·v(T) by full diagonalisation; with an impact v_q(T) = exp(−kξq²/2)."""
    chosen = parameters(max_inventory_orders=8, **changed)
    values, vectors = np.linalg.eigh(matrix(1.0, chosen))
    start = np.exp(-K / 2 * chosen.impact_ticks * np.arange(-8, 9) ** 2)
    v = vectors @ (np.exp(-(values - values[0]) * time_left_s) * (vectors.T @ start))
    assert_close(glft_exact(1.0, chosen, time_left_s), table_of(v, chosen), 1e-8)


def test_the_tail_is_right_where_the_value_function_underflows() -> None:
    """v is below 1e-308 there; far out one inventory feeds the next: δ^b(q) → premium + ln(η/(αq²))/k for q → −Q."""
    chosen = parameters(max_inventory_orders=200, risk_aversion=0.1)
    sigma = 5.0
    table = glft_asymptotic(sigma, chosen)
    alpha, eta = K / 2 * 0.1 * sigma**2, A / intensity_discount(0.1, K)
    expected = execution_premium(0.1, K) - math.log(alpha * 200**2 / eta) / K
    assert table.bids[0] == pytest.approx(expected, abs=1e-3)
    assert_close(glft_exact(sigma, chosen, 3_600), table, 1e-9)


# ---------------------------------------------------------------- what ties the forms together


def test_the_closed_form_is_near_the_exact_quotes_and_best_near_zero() -> None:
    """A hundredth of a tick up to 26 orders, best at 0; nearly a tick at 29, where the bound of the inventory is felt."""
    table = glft_asymptotic(SIGMA, parameters())
    gaps = [abs(table.distances(q)[0] - closed(q)[0]) for q in range(Q)]
    assert gaps[0] < 2e-4
    assert max(gaps[:27]) < 0.01
    assert 0.5 < gaps[29] < 1


def test_near_the_end_the_exact_quotes_are_those_of_avellaneda_and_stoikov() -> None:
    """Footnote 8: A-S is the Taylor expansion at T. The rest is of third order, so it falls eightfold when the time halves."""
    chosen, sigma = parameters(), 1.0

    def gap(left: float, q: int) -> float:
        offset, half = avellaneda_stoikov(q, sigma, GAMMA, K, left)
        bid, ask = glft_exact(sigma, chosen, left).distances(q)
        return max(abs(bid - (half - offset)), abs(ask - (half + offset)))

    for q in (0, 3, -10):
        assert gap(1.0, q) < 1e-4
        assert gap(4.0, q) / gap(2.0, q) == pytest.approx(8.0, rel=0.25)
    assert gap(600.0, 3) > 1.0, "far from the end A-S goes on widening and GLFT does not"


def test_at_the_end_all_quotes_are_the_premium() -> None:
    table = glft_exact(SIGMA, parameters(), 0.0)
    premium = pytest.approx(execution_premium(GAMMA, K), abs=1e-12)
    assert all(table.distances(q) == (premium, premium) for q in range(-Q + 1, Q))


def test_it_is_the_parametrisation_of_the_later_paper() -> None:
    """Guéant 2017 (arXiv 1605.01862) eqs 4.6 and 4.7 with ξ = γ, Δ = 1: half = c1 + σ·c2/2, skew = σ·c2 per order."""
    c1 = math.log(1 + GAMMA / K) / GAMMA
    c2 = math.sqrt(GAMMA / (2 * A * K) * (1 + GAMMA / K) ** (K / GAMMA + 1))
    for q in (-4.0, 0.0, 2.5):
        offset, half = glft_closed(q, SIGMA, GAMMA, K, A, 0.0, 0.0)
        assert half == pytest.approx(c1 + SIGMA * c2 / 2, rel=1e-12)
        assert offset == pytest.approx(-q * SIGMA * c2, rel=1e-12)


def test_drift_and_impact_enter_as_in_the_paper() -> None:
    """δ^b = premium + ξ/2 + (−μ/(γσ²) + (2q + 1)/2)·S·e^(kξ/4), and the ask with the other signs; near the exact ones."""
    mu, xi, q = 0.0002, 0.4, 2
    bid, ask = closed(q, drift=mu, impact=xi)
    step, shift = inventory_step(SIGMA, GAMMA, K, A) * math.exp(K * xi / 4), mu / (GAMMA * SIGMA**2)
    base = execution_premium(GAMMA, K) + xi / 2
    assert bid == pytest.approx(base + (-shift + (2 * q + 1) / 2) * step)
    assert ask == pytest.approx(base + (shift - (2 * q - 1) / 2) * step)
    table = glft_asymptotic(SIGMA, parameters(drift_ticks_per_s=mu, impact_ticks=xi))
    assert table.distances(q) == pytest.approx((bid, ask), abs=2e-3)


def test_a_drift_without_risk_has_no_bound() -> None:
    assert glft_closed(0.0, 0.0, GAMMA, K, A, 1e-3, 0.0)[0] == math.inf
    assert glft_closed(0.0, SIGMA, 0.0, K, A, -1e-3, 0.0)[0] == -math.inf


@EXAMPLES
@given(
    q=st.floats(-30, 30),
    sigma=st.floats(0, 1_000),
    gamma=st.floats(0, 10),
    k=st.floats(0.001, 10),
    a=st.floats(0.001, 100),
)
def test_the_closed_form_mirrors_and_its_spread_does_not_depend_on_inventory(
    q: float, sigma: float, gamma: float, k: float, a: float
) -> None:
    offset, half = glft_closed(q, sigma, gamma, k, a, 0.0, 0.0)
    assert glft_closed(-q, sigma, gamma, k, a, 0.0, 0.0) == (-offset, half)
    assert glft_closed(0.0, sigma, gamma, k, a, 0.0, 0.0) == (0.0, half)
    assert half >= execution_premium(gamma, k) > 0
    lower, same = glft_closed(q + 1, sigma, gamma, k, a, 0.0, 0.0)
    assert lower <= offset and same == half
    assert offset - lower == pytest.approx(inventory_step(sigma, gamma, k, a), rel=1e-9, abs=1e-12)


def test_without_risk_aversion_only_the_bound_of_the_inventory_is_felt() -> None:
    """γ = 0 is the limit: 1/k in the closed form; in the exact one the flattest vector in a box, cos(πq/(2Q + 2))."""
    assert glft_closed(5.0, SIGMA, 0.0, K, A, 0.0, 0.0) == (0.0, 1 / K)
    table = glft_asymptotic(SIGMA, parameters(risk_aversion=0.0, max_inventory_orders=5))
    f = [math.cos(math.pi * q / 12) for q in range(-5, 6)]
    assert table.bids[:-1] == pytest.approx([1 / K + math.log(here / above) / K for here, above in pairwise(f)], abs=1e-9)
    near = glft_asymptotic(SIGMA, parameters(risk_aversion=1e-12, max_inventory_orders=5))
    assert_close(near, table, 1e-9)


# ---------------------------------------------------------------- tables over the domain

TABLES = st.builds(
    lambda sigma, gamma, k, a, q: glft_asymptotic(
        sigma,
        ModelParameters(risk_aversion=gamma, intensity_decay_per_tick=k, arrival_rate_per_s=a, max_inventory_orders=q),
    ),
    st.floats(0, 1e4),
    st.floats(1e-9, 10),
    st.floats(1e-3, 10),
    st.floats(1e-3, 100),
    st.integers(1, 25),
)


@EXAMPLES
@given(table=TABLES)
def test_exact_quotes_mirror_fall_with_inventory_and_end_at_the_bound(table: GlftTable) -> None:
    """δ^b(q) = δ^a(−q); bids fall and asks come nearer as q grows; only the bid at +Q and the ask at −Q are missing."""
    assert table.bids == pytest.approx(table.asks[::-1], rel=1e-9, abs=1e-9)
    assert all(low <= high + 1e-9 for low, high in pairwise(table.bids))
    assert all(low >= high - 1e-9 for low, high in pairwise(table.asks))
    assert [math.isfinite(bid) for bid in table.bids] == [True] * (2 * table.q_max) + [False]
    assert [math.isfinite(ask) for ask in table.asks] == [False] + [True] * (2 * table.q_max)
    assert all(bid + ask > 0 for bid, ask in zip(table.bids, table.asks, strict=True)), "never crossed"


@EXAMPLES
@given(table=TABLES, q=st.floats(-30, 30))
def test_between_whole_orders_the_quotes_lie_between_theirs(table: GlftTable, q: float) -> None:
    """And a side is quoted exactly while a whole order of it still fits."""
    bid, ask = table.distances(q)
    assert math.isfinite(bid) == (q <= table.q_max - 1)
    assert math.isfinite(ask) == (q >= 1 - table.q_max)
    inside = min(max(q, -table.q_max), table.q_max)
    low, high = math.floor(inside) + table.q_max, math.ceil(inside) + table.q_max
    if math.isfinite(bid):
        assert table.bids[low] - 1e-9 <= bid <= table.bids[high] + 1e-9
    if math.isfinite(ask):
        assert table.asks[high] - 1e-9 <= ask <= table.asks[low] + 1e-9


@pytest.mark.parametrize("drift", [1e9, -1e9, 0.3, 1e-9])
def test_extremes_of_the_domain_give_finite_quotes(drift: float) -> None:
    """No rounding makes a pivot vanish: drift and volatility at their bounds."""
    for sigma in (0.0, 1e-3, 1e9):
        for gamma in (1e-12, 1e3):
            table = glft_asymptotic(sigma, parameters(risk_aversion=gamma, drift_ticks_per_s=drift, max_inventory_orders=40))
            assert all(map(math.isfinite, table.bids[:-1] + table.asks[1:]))


def test_work_of_minutes_is_refused_at_once() -> None:
    """Hundreds of inventories at a risk that forbids them, a moment before the end."""
    with pytest.raises(ConfigError, match="lower max_inventory_orders"):
        glft_exact(5.0, parameters(max_inventory_orders=200, risk_aversion=0.1), 20.0)
    with pytest.raises(ConfigError, match="volatility"):
        glft_exact(-1.0, parameters(), 1.0)
    with pytest.raises(ConfigError, match="time left"):
        glft_exact(SIGMA, parameters(), -1.0)


# ---------------------------------------------------------------- compiled


def _all_quotes(q: float, sigma: float, bids: Any, asks: Any, q_max: int) -> Any:
    glft_asymptotic_into(bids, asks, q_max, sigma, 0.01, 0.3, 0.9, 1e-4, 0.1)
    return (
        avellaneda_stoikov(q, sigma, 0.01, 0.3, 12.0),
        models.avellaneda_stoikov_stationary(q, sigma, 0.01, 0.3, 1.0),
        glft_closed(q, sigma, 0.01, 0.3, 0.9, 1e-4, 0.1),
        glft_interpolated(q, bids, asks, q_max),
    )


def test_compiled_the_same_functions_give_the_same_quotes() -> None:
    """The backtest compiles what the engine runs."""
    numba = pytest.importorskip("numba")
    from numba.extending import register_jitable

    for name in (
        "execution_premium",
        "avellaneda_stoikov",
        "avellaneda_stoikov_stationary",
        "intensity_discount",
        "inventory_step",
        "glft_closed",
        "glft_centre",
        "glft_level",
        "glft_is_below_spectrum",
        "glft_smallest_eigenvalue",
        "glft_asymptotic_into",
        "glft_interpolated",
    ):
        register_jitable(getattr(models, name))
    compiled = numba.njit(_all_quotes)
    for q in (0.0, 1.25, -9.5, 10.0, 14.0):
        plain = _all_quotes(q, 0.3, np.zeros(21), np.zeros(21), 10)
        assert np.ravel(compiled(q, 0.3, np.zeros(21), np.zeros(21), 10)) == pytest.approx(np.ravel(plain), rel=1e-13)
