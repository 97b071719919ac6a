"""The quoting models of the literature: how far from the mid a maker with some inventory quotes, and by which equation.

- Avellaneda and Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8(3), 2008, 217–224 ("A-S").
- Guéant, Lehalle and Fernandez-Tapia, "Dealing with the inventory risk", 2013, arXiv 1105.3115 ("GLFT").

Both: the mid moves by σ dW, a quote at distance δ from the mid is filled A·exp(−kδ) times a second, and the maker maximises
−exp(−γ·wealth). Units, everywhere: distances and offsets in ticks; q inventory in orders (signed, may be fractional); σ in
ticks/√s; γ in 1/tick (per order of inventory); k in 1/tick; A in 1/s, of one side; time in s; drift μ in ticks/s; impact ξ in
ticks. Published values in money are turned into these by the tick: σ/tick, γ·tick, k·tick.

Promise: the functions in the first part are plain arithmetic over numbers (and arrays that are handed in), raise nothing and
allocate nothing, so that the live engine runs them as they are and the backtest compiles them. An infinite distance means that
the side is not quoted. They do not look at their parameters: `ModelParameters` and the `check_…` functions do, and refuse with
`ConfigError` what is outside a model's domain. Nothing is rounded or kept from crossing here; that is the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, floor, inf, isfinite, log, log1p, sqrt
from typing import Protocol

from autohedge.errors import ConfigError

MOST_ORDERS = 200
"""The largest inventory bound Q of the exact solution."""


class Cells(Protocol):
    """A list or an array of floats that a result is written into."""

    def __setitem__(self, at: int, value: float, /) -> None:
        """Write one cell."""
        ...


# --- A-S -----------------------------------------------------------------------------------------------------------------


def execution_premium(gamma: float, k: float) -> float:
    """(1/γ)·ln(1 + γ/k), in ticks: what a maker asks for beyond its indifference price; 1/k, the limit, at γ = 0."""
    x = gamma / k
    return (log1p(x) / x if x > 0.0 else 1.0) / k


def avellaneda_stoikov(q: float, sigma: float, gamma: float, k: float, time_left_s: float) -> tuple[float, float]:
    """(offset of the reservation price from the mid, half spread), A-S eqs 8, 29 and 30.

    offset = −q·γσ²(T − t) and half = γσ²(T − t)/2 + (1/γ)ln(1 + γ/k); bid = mid + offset − half, ask = mid + offset + half.
    A distance from the mid may be negative at a large |q|: the paper does not clip, neither does this.
    """
    risk = gamma * sigma * sigma * time_left_s
    return -q * risk, 0.5 * risk + execution_premium(gamma, k)


def avellaneda_stoikov_stationary(q: float, sigma: float, gamma: float, k: float, omega: float) -> tuple[float, float]:
    """(bid distance, ask distance) with an infinite horizon, A-S section 2.3; domain ω > γ²σ²q²/2, ω in 1/s.

    Indifference prices by Definition 1 under v̄(x, s, q) = −exp(−γ(x + qs)) ÷ (ω − γ²σ²q²/2), then the premium for execution:
    δ^b = −(1/γ)ln(1 − (2q + 1)γ²σ²/(2ω − γ²σ²q²)) + (1/γ)ln(1 + γ/k), and δ^a the same with −q. The printed stationary ask
    price has (1/γ)ln(1 + y) where its own definition gives −(1/γ)ln(1 − y), which is why long and short are no mirror images
    there; to first order they agree. A side is infinite where one more order would leave the domain, both are outside of it.
    """
    risk = gamma * gamma * sigma * sigma
    room = 2.0 * omega - risk * q * q
    premium = execution_premium(gamma, k)
    if not room > 0.0:
        return inf, inf
    if gamma == 0.0:
        return premium, premium
    bid_step = -risk * (2.0 * q + 1.0) / room
    ask_step = -risk * (1.0 - 2.0 * q) / room
    bid = premium - log1p(bid_step) / gamma if bid_step > -1.0 else inf
    ask = premium - log1p(ask_step) / gamma if ask_step > -1.0 else inf
    return bid, ask


# --- GLFT ----------------------------------------------------------------------------------------------------------------


def intensity_discount(gamma: float, k: float) -> float:
    """(1 + γ/k)^(1 + k/γ), without a unit; e, the limit, at γ = 0."""
    x = gamma / k
    return exp(log1p(x) / x * (1.0 + x)) if x > 0.0 else exp(1.0)


def inventory_step(sigma: float, gamma: float, k: float, a: float) -> float:
    """S = √(σ²γ/(2kA)·(1 + γ/k)^(1 + k/γ)), in ticks: how far one order of inventory moves both quotes (GLFT section 4)."""
    return sigma * sqrt(gamma * intensity_discount(gamma, k) / (2.0 * k * a))


def glft_closed(q: float, sigma: float, gamma: float, k: float, a: float, drift: float, impact: float) -> tuple[float, float]:
    """(offset from the mid, half spread) of the closed-form approximation, GLFT sections 4, 5.1 (drift) and 5.2 (impact).

    offset = (μ/(γσ²) − q)·S·e^(kξ/4) and half = (1/γ)ln(1 + γ/k) + ξ/2 + S·e^(kξ/4)/2; bid = mid + offset − half, ask = mid +
    offset + half. With a drift and no risk (γσ² = 0) nothing bounds the position: the offset is then infinite.
    """
    step = inventory_step(sigma, gamma, k, a) * exp(0.25 * k * impact)
    risk = gamma * sigma * sigma
    offset = -q * step
    if drift != 0.0:
        offset += drift / risk * step if risk > 0.0 else drift * inf
    return offset, execution_premium(gamma, k) + 0.5 * impact + 0.5 * step


def glft_centre(rho: float, tilt: float, q_max: int) -> int:
    """The q in −Q … Q where ρq² − tilt·q, the diagonal of GLFT's matrix M, is smallest; 0 without a drift."""
    if tilt == 0.0:
        return 0
    if abs(tilt) >= 2.0 * rho * q_max:
        return q_max if tilt > 0.0 else -q_max
    return floor(tilt / (2.0 * rho) + 0.5)


def glft_level(q: int, centre: int, rho: float, tilt: float) -> float:
    """How far the diagonal of M at q is above that at its centre, in units of the off-diagonal; 0 or more."""
    return max(0.0, (q - centre) * (rho * (q + centre) - tilt))


def glft_is_below_spectrum(level: float, centre: int, rho: float, tilt: float, q_max: int) -> bool:
    """Whether `level` is below the smallest eigenvalue of M, above the diagonal's smallest value: all pivots are positive.

    The pivots run from both ends to the centre, where the eigenvector is largest, so no rounding error grows on the way.
    """
    from_below = 0.0
    for q in range(-q_max, centre):
        pivot = glft_level(q, centre, rho, tilt) - level - from_below
        if not pivot > 0.0:
            return False
        from_below = 1.0 / pivot
    from_above = 0.0
    for q in range(q_max, centre, -1):
        pivot = glft_level(q, centre, rho, tilt) - level - from_above
        if not pivot > 0.0:
            return False
        from_above = 1.0 / pivot
    return -level - from_below - from_above > 0.0


def glft_smallest_eigenvalue(centre: int, rho: float, tilt: float, q_max: int) -> float:
    """The smallest eigenvalue of M above the diagonal's smallest value: −2 … 0, from below, by bisection to the last bit."""
    low, high = -2.0, 0.0
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return low
        if glft_is_below_spectrum(middle, centre, rho, tilt, q_max):
            low = middle
        else:
            high = middle


def glft_asymptotic_into(
    bids: Cells,
    asks: Cells,
    q_max: int,
    sigma: float,
    gamma: float,
    k: float,
    a: float,
    drift: float,
    impact: float,
) -> None:
    """Fill `bids` and `asks`, 2Q + 1 cells each for q = −Q … Q, with the distances far from the end: GLFT Theorem 2.

    δ^b(q) = (1/k)ln(f_q/f_(q+1)) + ξ/2 + (1/γ)ln(1 + γ/k) and δ^a(q) with f_(q−1), where f is the eigenvector of the smallest
    eigenvalue of M; α = kγσ²/2, β = kμ, η = A(1 + γ/k)^−(1 + k/γ)·e^(−kξ/2), M has αq² − βq on and −η beside the diagonal.
    Infinite: the bid at +Q, the ask at −Q. About 0.5 ms in Python for Q = 30; the work grows with Q.
    """
    eta = a / intensity_discount(gamma, k) * exp(-0.5 * k * impact)
    rho = 0.5 * k * gamma * sigma * sigma / eta
    tilt = k * drift / eta
    centre = glft_centre(rho, tilt, q_max)
    eigenvalue = glft_smallest_eigenvalue(centre, rho, tilt, q_max)
    premium = execution_premium(gamma, k) + 0.5 * impact
    bids[2 * q_max] = inf
    asks[0] = inf
    inverse = 0.0
    for q in range(-q_max, centre):  # up the left flank: the pivot is f_(q+1)/f_q
        pivot = glft_level(q, centre, rho, tilt) - eigenvalue - inverse
        gain = log(pivot) / k
        bids[q_max + q] = premium - gain
        asks[q_max + q + 1] = premium + gain
        inverse = 1.0 / pivot
    inverse = 0.0
    for q in range(q_max, centre, -1):  # up the right flank: the pivot is f_(q−1)/f_q
        pivot = glft_level(q, centre, rho, tilt) - eigenvalue - inverse
        gain = log(pivot) / k
        asks[q_max + q] = premium - gain
        bids[q_max + q - 1] = premium + gain
        inverse = 1.0 / pivot


def glft_interpolated(q: float, bids: Sequence[float], asks: Sequence[float], q_max: int) -> tuple[float, float]:
    """(bid distance, ask distance) at a fractional q from tables for q = −Q … Q: straight lines between whole orders.

    A side is quoted only while a whole order of it still fits: the bid up to Q − 1, the ask from −Q + 1 on, infinite beyond.
    Beyond ±Q the side that leads back is that of ±Q.
    """
    inside = min(max(q, -float(q_max)), float(q_max))
    low = min(floor(inside), q_max - 1)
    part = inside - low
    at = low + q_max
    bid = inf
    if q <= q_max - 1:
        bid = bids[at] if part == 0.0 else bids[at] + part * (bids[at + 1] - bids[at])
    ask = inf
    if q >= 1 - q_max:
        ask = asks[at + 1] if part == 1.0 else asks[at] + part * (asks[at + 1] - asks[at])
    return bid, ask


# --- parameters ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParameters:
    """What a quoting model is told, besides q and the measured σ; `ConfigError` outside the domain, which the message states.

    `risk_aversion` γ, 1/tick. `intensity_decay_per_tick` k. `arrival_rate_per_s` A, of one side. `max_inventory_orders` Q.
    `drift_ticks_per_s` μ needs γ > 0. `impact_ticks` ξ.
    """

    risk_aversion: float
    intensity_decay_per_tick: float
    arrival_rate_per_s: float
    max_inventory_orders: int = 30
    drift_ticks_per_s: float = 0.0
    impact_ticks: float = 0.0

    def __post_init__(self) -> None:
        _within("risk_aversion (gamma)", self.risk_aversion, 0.0, 1e3, "1/tick")
        _within("intensity_decay_per_tick (k)", self.intensity_decay_per_tick, 1e-9, 1e3, "1/tick")
        _within("arrival_rate_per_s (A)", self.arrival_rate_per_s, 1e-9, 1e9, "1/s")
        _within("max_inventory_orders (Q)", self.max_inventory_orders, 1, MOST_ORDERS, "orders")
        _within("drift_ticks_per_s (mu)", self.drift_ticks_per_s, -1e9, 1e9, "ticks/s")
        _within("impact_ticks (xi)", self.impact_ticks, 0.0, 100.0 / self.intensity_decay_per_tick, "ticks, at most 100/k")
        if self.drift_ticks_per_s != 0.0 and self.risk_aversion == 0.0:
            raise ConfigError("drift_ticks_per_s needs a risk_aversion above 0: without one nothing bounds the position")


def check_volatility(sigma: float) -> None:
    """`ConfigError` unless σ is a finite number of ticks/√s, zero or more."""
    _within("volatility (sigma)", sigma, 0.0, 1e9, "ticks/sqrt(s)")


def check_time_left(time_left_s: float) -> None:
    """`ConfigError` unless the time left is a finite number of seconds, zero or more."""
    _within("time left (T - t)", time_left_s, 0.0, 1e9, "s")


def stationary_discount(sigma: float, gamma: float, q_max: int) -> float:
    """ω = γ²σ²(q_max + 1)²/2, in 1/s: A-S's natural choice, with which q_max is the largest inventory (section 2.3)."""
    return 0.5 * (gamma * sigma * (q_max + 1)) ** 2


def check_stationary_domain(omega: float, sigma: float, gamma: float, q: float) -> None:
    """`ConfigError` unless ω > γ²σ²q²/2, without which A-S's value with an infinite horizon does not exist."""
    bound = 0.5 * (gamma * sigma * q) ** 2
    if not (isfinite(omega) and omega > bound and omega > 0.0):
        raise ConfigError(f"expected omega above gamma^2 sigma^2 q^2 / 2 = {bound:g} 1/s and above 0, found {omega:g}")


def _within(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name}: expected {low:g} to {high:g} {unit}, found {value!r}")


# --- tables of the exact solution ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GlftTable:
    """Distances from the mid, in ticks, for q = −Q … Q; no bid at +Q and no ask at −Q (infinite)."""

    q_max: int
    bids: tuple[float, ...]
    asks: tuple[float, ...]

    def distances(self, q: float) -> tuple[float, float]:
        """(bid, ask) at q orders of inventory, as `glft_interpolated` says."""
        return glft_interpolated(q, self.bids, self.asks, self.q_max)


def glft_asymptotic(sigma: float, parameters: ModelParameters) -> GlftTable:
    """The exact quotes far from the end of trading, GLFT Theorem 2. Raises `ConfigError` for a σ outside its domain."""
    check_volatility(sigma)
    cells = 2 * parameters.max_inventory_orders + 1
    bids, asks = [inf] * cells, [inf] * cells
    glft_asymptotic_into(
        bids,
        asks,
        parameters.max_inventory_orders,
        sigma,
        parameters.risk_aversion,
        parameters.intensity_decay_per_tick,
        parameters.arrival_rate_per_s,
        parameters.drift_ticks_per_s,
        parameters.impact_ticks,
    )
    return GlftTable(parameters.max_inventory_orders, tuple(bids), tuple(asks))


def glft_exact(sigma: float, parameters: ModelParameters, time_left_s: float) -> GlftTable:
    """The exact quotes with `time_left_s` to go, GLFT Theorem 1: v = exp(−M(T − t))·v(T), v_q(T) = exp(−kξq²/2).

    Where what is left of the end is below e^−40 these are the asymptotic quotes. Raises `ConfigError` outside the domain, and
    where the work would be minutes (Q in the hundreds together with a risk that forbids such inventories anyway).
    """
    check_volatility(sigma)
    check_time_left(time_left_s)
    gamma, k, q_max = parameters.risk_aversion, parameters.intensity_decay_per_tick, parameters.max_inventory_orders
    impact = parameters.impact_ticks
    eta = parameters.arrival_rate_per_s / intensity_discount(gamma, k) * exp(-0.5 * k * impact)
    rho, tilt = 0.5 * k * gamma * sigma * sigma / eta, k * parameters.drift_ticks_per_s / eta
    centre = glft_centre(rho, tilt, q_max)
    inventories = range(-q_max, q_max + 1)
    levels = [glft_level(q, centre, rho, tilt) for q in inventories]
    if (_eigenvalue(levels, 2) - _eigenvalue(levels, 1)) * eta * time_left_s > _SETTLED:
        return glft_asymptotic(sigma, parameters)
    logs = _logs_after(eta * time_left_s, levels, [-0.5 * k * impact * q * q for q in inventories])
    premium = execution_premium(gamma, k) + 0.5 * impact
    rises = [(above - below) / k for below, above in pairwise(logs)]
    bids = (*(premium - rise for rise in rises), inf)
    asks = (inf, *(premium + rise for rise in rises))
    return GlftTable(q_max, bids, asks)


_SETTLED = 40.0
"""Decay times of the second eigenvector after which nothing of it is left in double precision."""
_STEP = 30.0
"""A step in units of the fastest rate: long enough for few steps, short enough that no component dies within one."""
_MOST_WORK = 20_000_000
"""Rows times decay times of the fastest rate: some ten seconds."""


def _eigenvalue(levels: Sequence[float], nth: int) -> float:
    """The nth smallest eigenvalue of D − N, where D = diag(levels) and N has ones beside the diagonal; by Sturm counts."""
    low, high = min(levels) - 2.0, max(levels) + 2.0
    while low < (middle := 0.5 * (low + high)) < high:
        below, pivot = 0, inf
        for level in levels:
            pivot = level - middle - 1.0 / pivot or 1e-300
            below += pivot < 0.0
        low, high = (low, middle) if below >= nth else (middle, high)
    return low


def _logs_after(time: float, levels: Sequence[float], logs: list[float]) -> list[float]:
    """ln v_q, up to a common constant, after `time` of v' = −(D − N)v; `logs` are those at its beginning.

    With c = max D, exp((c − D + N)h)·v is a series of positive terms: nothing cancels, and each component is right to its last
    digits however small it is. Before each step v is scaled to ones.
    """
    fastest = max(levels) + 2.0
    if fastest * time * len(levels) > _MOST_WORK:
        raise ConfigError(
            f"the exact quotes of {len(levels)} inventories so close to the end take minutes at this risk aversion and "
            "volatility; lower max_inventory_orders or take the quotes far from the end"
        )
    steps = ceil(fastest * time / _STEP)
    for _ in range(steps):
        growth = _growth(levels, logs, time / steps)
        logs = [before + log(grown) for before, grown in zip(logs, growth, strict=True)]
    return logs


def _growth(levels: Sequence[float], logs: Sequence[float], h: float) -> list[float]:
    """v(t + h)/v(t), up to a common factor."""
    top = max(levels)
    stay = [(top - level) * h for level in levels]
    rise = [h * exp(above - here) for here, above in pairwise(logs)]
    fall = [h * exp(below - here) for below, here in pairwise(logs)]
    total = term = [1.0] * len(levels)
    order = 0
    while any(each > 1e-17 * whole for each, whole in zip(term, total, strict=True)):
        order += 1
        up = [*(r * t for r, t in zip(rise, term[1:], strict=True)), 0.0]
        down = [0.0, *(f * t for f, t in zip(fall, term[:-1], strict=True))]
        term = [(s * t + u + d) / order for s, t, u, d in zip(stay, term, up, down, strict=True)]
        total = [whole + each for whole, each in zip(total, term, strict=True)]
    return total
