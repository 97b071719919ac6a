"""Measures of a book and of balances over plain numbers, for the live engine and the compiled loop alike.

Sums are written as loops, because what the built-in sum of floats gives differs between versions of Python.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any, Final

RETURNS_PER_VOLATILITY: Final = 20
_SQRT_S_PER_HOUR: Final = 60.0


def realised_volatility(mids: Any, begin: int, end: int) -> float:
    """Root mean square of the log returns of `mids[begin] … mids[end]`, one second apart, × √3600: σ per hour."""
    squares = 0.0
    for i in range(begin, end):
        change = log(mids[i + 1] / mids[i])
        squares += change * change
    return sqrt(squares / (end - begin)) * _SQRT_S_PER_HOUR


def depth_score_of(weighted_lots: float, mid_twice_ticks: int, scale: float) -> float:
    """100 × min(1, depth ÷ reference), for Σ lots ÷ level number over both sides; `scale` holds the units."""
    return min(100.0, weighted_lots * mid_twice_ticks * scale)


def imbalance_of(bid_lots: int, ask_lots: int) -> float:
    """(bids − asks) ÷ (bids + asks), in [−1, 1]; 0 when there is neither."""
    return (bid_lots - ask_lots) / (bid_lots + ask_lots) if bid_lots or ask_lots else 0.0


def spread_bps_of(bid_ticks: int, ask_ticks: int) -> float:
    """The spread in bps of the mid."""
    return (ask_ticks - bid_ticks) * 20_000.0 / (bid_ticks + ask_ticks)


def base_value_atoms(base_atoms: int, mark_half_ticks: int, quote_atoms_per_tick_lot: int, base_atoms_per_lot: int) -> int:
    """Base at a mark in half ticks, in quote atoms rounded down; no intermediate number is larger than the value by much."""
    lots, dust_atoms = base_atoms // base_atoms_per_lot, base_atoms % base_atoms_per_lot
    per_lot = mark_half_ticks * quote_atoms_per_tick_lot
    halves = lots * per_lot
    return halves // 2 + (halves % 2 * base_atoms_per_lot + dust_atoms * per_lot) // (2 * base_atoms_per_lot)
