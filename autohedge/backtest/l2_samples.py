"""What the compiled loop measures as it goes: statistics on the grid of whole seconds, equity, its falls, and the curve.

The rules are those of `autohedge.market.statistics`, `autohedge.portfolio.attribution` and `autohedge.risk.daily_loss`; a
parity test holds the drivers together. Functions over one record and arrays, to be compiled.
"""

from __future__ import annotations

from typing import Any

from autohedge.backtest.l2_book import imbalance
from autohedge.backtest.l2_layout import LoopNumbers, Tables
from autohedge.domain.measures import base_value_atoms, realised_volatility, spread_bps_of
from autohedge.risk.checks import daily_loss_limit_hit

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
GRID_MIDS = 121
GRID_WINDOW = 100
RETURNS = 20
IMBALANCE_LEVELS = 5


def sample_grid(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """Statistics on the grid of whole seconds, from what was known before; then what is known from now on."""
    if ts_ns >= s.next_grid_ns:
        cross_grid(s, t, c, ts_ns)
    if s.best_bid < s.best_ask:
        s.grid_bid = s.best_bid
        s.grid_ask = s.best_ask
    elif s.best_ask == 0:
        s.grid_bid = 0
    if s.opened and ts_ns >= s.next_sample_ns:
        s.next_sample_ns = (ts_ns // c.sample_ns + 1) * c.sample_ns
        sample(s, t, c, ts_ns)


def cross_grid(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """Sample the grid seconds up to `ts_ns`; without a mid the samples are forgotten."""
    crossed = (ts_ns - s.next_grid_ns) // NS_PER_S + 1
    s.next_grid_ns = (ts_ns // NS_PER_S + 1) * NS_PER_S
    if s.grid_bid == 0:
        s.mids = 0
        s.samples_on_grid = 0
        return
    spread_bps = spread_bps_of(s.grid_bid, s.grid_ask)
    now_imbalance = imbalance(s, t.bids, t.asks, c, IMBALANCE_LEVELS)
    for _ in range(min(crossed, GRID_MIDS)):
        s.mids = push(t.mids, s.mids, GRID_MIDS, s.grid_bid + s.grid_ask)
        push_float(t.spreads, s.samples_on_grid, GRID_WINDOW, spread_bps)
        s.samples_on_grid = push_float(t.imbalances, s.samples_on_grid, GRID_WINDOW, now_imbalance)


def push(values: Any, count: int, most: int, value: int) -> int:
    """Append to a list of at most `most`, whose oldest goes first; returns how many there are."""
    if count == most:
        for i in range(most - 1):
            values[i] = values[i + 1]
        count -= 1
    values[count] = value
    return count + 1


def push_float(values: Any, count: int, most: int, value: float) -> int:
    """The same for floats."""
    if count == most:
        for i in range(most - 1):
            values[i] = values[i + 1]
        count -= 1
    values[count] = value
    return count + 1


def volatility_at(s: Any, t: Tables, now_ns: int) -> float:
    """σ per hour of the mid on the 1 s grid up to `now_ns`; negative with fewer than 20 returns."""
    second = now_ns // NS_PER_S
    if s.volatility_second != second or second * NS_PER_S >= s.next_grid_ns:
        s.volatility_second = second
        s.volatility = measured_volatility(s, t, second)
    return float(s.volatility)


def measured_volatility(s: Any, t: Tables, second: int) -> float:
    """A quiet market repeats its mid for the seconds since the last sample."""
    count = s.mids
    ahead = second - (s.next_grid_ns // NS_PER_S - 1)
    if ahead > 0 and s.grid_bid > 0:
        for _ in range(min(ahead, RETURNS + 1)):
            t.mids[count] = s.grid_bid + s.grid_ask  # behind the samples, not among them
            count += 1
    if count <= RETURNS:
        return -1.0
    return realised_volatility(t.mids, count - RETURNS - 1, count - 1)


# --- value --------------------------------------------------------------------------------------------------------------------


def equity(s: Any, c: LoopNumbers) -> int:
    """Base at the mid plus quote, in quote atoms."""
    size = c.maker.size
    base_atoms = base_value_atoms(s.base_atoms, s.mid_half, size.quote_atoms_per_tick_lot, size.base_atoms_per_lot)
    return int(s.quote_atoms + base_atoms)


def update_drawdown(s: Any, equity_atoms: int) -> None:
    """The equity now, for the fall from its peak."""
    if equity_atoms >= s.peak:
        s.peak = equity_atoms
        s.drawdown = 0.0
    elif s.peak > 0:
        s.drawdown = (s.peak - equity_atoms) / s.peak
        s.max_drawdown = max(s.max_drawdown, s.drawdown)


def update_daily_loss(s: Any, c: LoopNumbers, now_ns: int, equity_atoms: int) -> None:
    """Once hit it stays hit until the next 00:00 UTC."""
    day = now_ns // NS_PER_DAY
    if day != s.day:
        if s.day >= 0:
            s.day_open = s.day_last
        s.day = day
        s.loss_hit = 0
    s.day_last = equity_atoms
    if s.loss_hit == 0 and daily_loss_limit_hit(c.limits, s.day_open, equity_atoms):
        s.loss_hit = 1


def sample(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """One point of the equity curve, as it was known just before `ts_ns`."""
    log, i = t.sample_log, s.n_samples
    log[i, 0] = ts_ns
    log[i, 1] = equity(s, c)
    log[i, 2] = s.base_atoms
    log[i, 3] = s.mid_half
    s.n_samples = i + 1
