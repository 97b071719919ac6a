"""Round trips: what was bought and sold again, at average cost. Wins are counted here, never by counting sells.

A fill that enlarges the position moves its average price (and average time); one that reduces it realises the difference. All
fills of one order that reduce the position are one round trip, so partial fills do not multiply it. Average cost leaves fees
out; they are taken once, from the round trip: its own, and its share of those paid to open the position. What is still held at
the end is an open position and neither a win nor a loss. Base that the run began with counts as opened at the first price.
Shorts are positions like longs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autohedge.backtest.result import F64, I8, I64, BacktestResult

_NOTHING = 1e-9
"""A position below this part of the largest fill is rounding of floats, and flat."""


class Trips(NamedTuple):
    """One row per round trip, in order of its last fill. `side` +1 was a long; entry time and price are averages."""

    side: I8
    entry_ns: I64
    exit_ns: I64
    size_base: F64
    entry_price: F64
    exit_price: F64
    gross_quote: F64
    fees_quote: F64

    @property
    def net_quote(self) -> F64:
        """Profit after fees: gross − fees."""
        return self.gross_quote - self.fees_quote


class OpenPosition(NamedTuple):
    """What the fills left: base (negative when short), its average price (None when flat), and the fees paid to open it."""

    base: float
    average_price: float | None
    fees_quote: float

    def unrealized_quote(self, price: float) -> float:
        """Profit at `price`, before fees."""
        return 0.0 if self.average_price is None else self.base * (price - self.average_price)


@dataclass(slots=True)
class _Trip:
    """A round trip as its fills come in; sums are weighted by size."""

    side: int
    exit_ns: int = 0
    size: float = 0.0
    entry_value: float = 0.0
    exit_value: float = 0.0
    entry_time: float = 0.0
    fees: float = 0.0


def opening_base(result: BacktestResult) -> float:
    """The base held before the first fill, from the first row of the curve; 0 without a curve."""
    curve, fills = result.curve, result.fills
    if not curve.ts_ns.size:
        return 0.0
    before = fills.ts_ns <= curve.ts_ns[0]
    signed = fills.side[before] * fills.size_base[before]
    base = float(curve.base[0] - signed.sum())
    scale = max(abs(float(curve.base[0])), float(fills.size_base.max(initial=0.0)))
    return 0.0 if abs(base) <= _NOTHING * scale else base


def opening_price(result: BacktestResult) -> float | None:
    """The first price known; None when there is none."""
    if result.mids.mid.size:
        return float(result.mids.mid[0])
    return float(result.curve.price[0]) if result.curve.price.size else None


def round_trips(result: BacktestResult) -> tuple[Trips, OpenPosition]:
    """All round trips of the run, and the position that is left; no rows when nothing was closed."""
    fills = result.fills
    flat = _NOTHING * float(fills.size_base.max(initial=0.0))
    position = opening_base(result)
    average = opening_price(result) or 0.0
    since, carried = 0.0, 0.0  # average time in ns after the start, and fees, of the open position
    trips: dict[int, _Trip] = {}
    columns = (fills.ts_ns, fills.side, fills.price, fills.size_base, fills.fee_quote, fills.order)
    for ts, side, price, size, fee, order in zip(*(column.tolist() for column in columns), strict=True):
        at = float(ts - result.start_ns)
        closing = min(size, abs(position)) if position * side < 0 else 0.0
        if closing > 0.0:
            trip = trips.pop(order, None) or _Trip(-side)
            trips[order] = trip  # by its last fill
            share = closing / abs(position)
            trip.exit_ns = ts
            trip.size += closing
            trip.entry_value += closing * average
            trip.exit_value += closing * price
            trip.entry_time += closing * since
            trip.fees += carried * share + fee * closing / size
            carried *= 1.0 - share
            position += side * closing
        opening = size - closing
        if opening > flat or (opening > 0.0 and closing == 0.0):
            held = abs(position)
            average = (held * average + opening * price) / (held + opening)
            since = (held * since + opening * at) / (held + opening)
            carried += fee * opening / size
            position += side * opening
        if abs(position) <= flat:
            position, carried = 0.0, 0.0
    rows = sorted(trips.values(), key=lambda each: each.exit_ns)
    return _columns(rows, result.start_ns), OpenPosition(position, average if position else None, carried)


def _columns(trips: list[_Trip], start_ns: int) -> Trips:
    size = np.array([trip.size for trip in trips])
    side = np.array([trip.side for trip in trips], dtype=np.int8)
    entry_value, exit_value = np.array([trip.entry_value for trip in trips]), np.array([trip.exit_value for trip in trips])
    return Trips(
        side=side,
        entry_ns=np.array([start_ns + round(trip.entry_time / trip.size) for trip in trips], dtype=np.int64),
        exit_ns=np.array([trip.exit_ns for trip in trips], dtype=np.int64),
        size_base=size,
        entry_price=entry_value / size,
        exit_price=exit_value / size,
        gross_quote=side * (exit_value - entry_value),
        fees_quote=np.array([trip.fees for trip in trips]),
    )
