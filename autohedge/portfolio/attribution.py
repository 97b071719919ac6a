"""Where the PnL came from: spread captured, mark-out, inventory, fees; and the drawdown. Exact integers.

With the mid at each fill as reference, for a fill of size s at price p, side +1 for a buy:

    spread captured  = side × (mid − p) × s
    mark-out (h)     = side × (mid h later − p) × s           what the fill was worth h later
    adverse (h)      = mark-out − spread captured             the market's move against (−) or for (+) us within h
    inventory        = PnL before fees − spread captured − adverse(1 s)

so that PnL = spread captured + adverse + inventory − fees holds exactly at the closing mark. A fill whose horizon the session
did not live to see is marked at the last mid.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from autohedge.domain.instrument import Instrument
from autohedge.domain.orders import OrderFilled

NS_PER_S = 1_000_000_000
MARK_OUT_HORIZONS_S = (1, 5, 30, 60)
ADVERSE_HORIZON_S = 1
COMMON_ATOM_EXPONENT = 24
"""Finer than any instrument's quote atom, so that amounts of several instruments add exactly."""


@dataclass(slots=True)
class MarkOuts:
    """Mark-outs of fills over one horizon; all sums in half quote atoms (a mid is a half tick)."""

    horizon_ns: int
    pending: deque[tuple[int, int, int, int]] = field(default_factory=deque)
    sum_half_atoms: int = 0
    volume_atoms: int = 0
    count: int = 0

    def add(self, ts_ns: int, side: int, price_ticks: int, size_lots: int) -> None:
        """A fill to be marked at ts + horizon."""
        self.pending.append((ts_ns + self.horizon_ns, side, price_ticks, size_lots))

    def settle(self, now_ns: int, mid_half_ticks: int, instrument: Instrument) -> None:
        """Mark what was due before `now_ns` at the mid that was known until then."""
        while self.pending and self.pending[0][0] <= now_ns:
            _, side, price, lots = self.pending.popleft()
            unit = instrument.quote_atoms_per_tick_lot
            self.sum_half_atoms += side * (mid_half_ticks - 2 * price) * lots * unit
            self.volume_atoms += price * lots * unit
            self.count += 1

    @property
    def mean_bps(self) -> float | None:
        """Mean mark-out weighted by volume, in bps of it; None without fills."""
        return None if self.volume_atoms == 0 else self.sum_half_atoms / 2 / self.volume_atoms * 10_000


@dataclass(slots=True)
class Attribution:
    """PnL attribution of one maker."""

    instrument: Instrument
    spread_half_atoms: int = 0
    mark_outs: dict[int, MarkOuts] = field(
        default_factory=lambda: {horizon: MarkOuts(horizon * NS_PER_S) for horizon in MARK_OUT_HORIZONS_S}
    )
    next_due_ns: int = 1 << 63

    def fill(self, fill: OrderFilled, mid_half_ticks: int) -> None:
        """A fill, with the mid at that moment in half ticks."""
        unit = self.instrument.quote_atoms_per_tick_lot
        self.spread_half_atoms += fill.side * (mid_half_ticks - 2 * fill.price_ticks) * fill.size_lots * unit
        for mark_outs in self.mark_outs.values():
            mark_outs.add(fill.ts_ns, fill.side, fill.price_ticks, fill.size_lots)
        self._schedule()

    def settle(self, now_ns: int, mid_half_ticks: int) -> None:
        """Mark everything due by `now_ns` at the mid known just before it."""
        for mark_outs in self.mark_outs.values():
            mark_outs.settle(now_ns, mid_half_ticks, self.instrument)
        self._schedule()

    def close(self, mid_half_ticks: int) -> None:
        """The session is over: mark what is left at the last mid."""
        self.settle(1 << 63, mid_half_ticks)

    def _schedule(self) -> None:
        self.next_due_ns = min((m.pending[0][0] for m in self.mark_outs.values() if m.pending), default=1 << 63)

    @property
    def adverse_half_atoms(self) -> int:
        """Mark-out minus spread captured over the adverse-selection horizon, in half atoms."""
        return self.mark_outs[ADVERSE_HORIZON_S].sum_half_atoms - self.spread_half_atoms


@dataclass(slots=True)
class Drawdown:
    """Largest fall of equity from its peak, as a fraction of the peak."""

    peak_atoms: int = 0
    max_frac: float = 0.0
    last_frac: float = 0.0

    def update(self, equity_atoms: int) -> None:
        """The equity now."""
        if equity_atoms >= self.peak_atoms:
            self.peak_atoms = equity_atoms
            self.last_frac = 0.0
        elif self.peak_atoms > 0:
            # each as a float first, as compiled code divides: beyond 2^53 atoms the last bit would differ
            self.last_frac = float(self.peak_atoms - equity_atoms) / float(self.peak_atoms)
            self.max_frac = max(self.max_frac, self.last_frac)


@dataclass(slots=True)
class CombinedDrawdown:
    """Drawdown of several symbols' equity together, in one quote currency. A symbol counts from its first value on."""

    expected: int
    values: dict[str, int] = field(default_factory=dict)
    drawdown: Drawdown = field(default_factory=Drawdown)

    def update(self, instrument: Instrument, equity_atoms: int) -> None:
        """The equity of one symbol now; drawdown is measured once every symbol has a value."""
        if self.expected == 1:
            self.drawdown.update(equity_atoms)
            return
        scale = 10 ** (COMMON_ATOM_EXPONENT - instrument.quote_atom_exponent)
        self.values[instrument.symbol] = equity_atoms * scale
        if len(self.values) == self.expected:
            self.drawdown.update(sum(self.values.values()))
