"""Exact inventory of one maker: base and quote in atoms, with cost, realised PnL and fees.

Spot balances never go negative. The sum of the fills rebuilds every field (a property test does so). Average cost and
realised PnL exclude fees; the identity, exact in integers at any mark:

    value − opening value = realised + unrealised − fees (quote) − third-asset fees (kept apart, in their own atoms)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY
from autohedge.domain.measures import base_value_atoms
from autohedge.domain.orders import OrderFilled
from autohedge.errors import InvariantBroken


@dataclass(slots=True)
class Inventory:
    """Balances in atoms. `cost_atoms` is what the base held cost, in quote atoms, fees excluded."""

    instrument: Instrument
    base_atoms: int
    quote_atoms: int
    cost_atoms: int = 0
    realized_atoms: int = 0
    fees_atoms: int = 0
    volume_atoms: int = 0
    third_asset_fee_atoms: dict[str, int] = field(default_factory=dict)

    def value_atoms(self, mark_half_ticks: int) -> int:
        """Base at the mark plus quote, in quote atoms; half an atom is rounded down. The mark is in half ticks."""
        return self.quote_atoms + self.base_value_atoms(mark_half_ticks)

    def base_value_atoms(self, mark_half_ticks: int) -> int:
        """Base at the mark in quote atoms, rounded down. The mark is in half ticks so that a mid is exact."""
        instrument = self.instrument
        return base_value_atoms(
            self.base_atoms, mark_half_ticks, instrument.quote_atoms_per_tick_lot, instrument.base_atoms_per_lot
        )

    def unrealized_atoms(self, mark_half_ticks: int) -> int:
        """Base at the mark minus what it cost."""
        return self.base_value_atoms(mark_half_ticks) - self.cost_atoms

    def open_at(self, mark_half_ticks: int) -> None:
        """Take the opening base into the books at the mark, so that PnL starts from zero."""
        self.cost_atoms = self.base_value_atoms(mark_half_ticks)

    def dust_atoms(self) -> int:
        """Base that does not fill a lot and so cannot be sold."""
        return self.base_atoms % self.instrument.base_atoms_per_lot

    def apply(self, fill: OrderFilled) -> None:
        """Book a fill and its fee; `InvariantBroken`, with nothing changed, if a balance would go negative."""
        instrument = self.instrument
        notional = instrument.notional_atoms(fill.price_ticks, fill.size_lots)
        size_atoms = fill.size_lots * instrument.base_atoms_per_lot
        base, quote = self.base_atoms, self.quote_atoms
        if fill.side is BUY:
            base += size_atoms
            quote -= notional
        else:
            base -= size_atoms
            quote += notional
        fee_in_base = fill.fee_asset == instrument.base
        if fee_in_base:
            base -= fill.fee_atoms
        elif fill.fee_asset == instrument.quote:
            quote -= fill.fee_atoms
        sold_more_than_held = fill.side is not BUY and size_atoms > self.base_atoms
        if base < 0 or quote < 0 or sold_more_than_held:
            raise InvariantBroken(
                f"{instrument.symbol}: fill {fill.trade_id} would leave {instrument.base_amount(base)} {instrument.base} and "
                f"{instrument.quote_amount(quote)} {instrument.quote}; spot balances are never negative"
            )
        self._book_cost(fill, notional, size_atoms)
        if fee_in_base:
            self._pay_base(fill.fee_atoms, self._base_worth_atoms(fill.fee_atoms, fill.price_ticks))
        elif fill.fee_asset == instrument.quote:
            self.fees_atoms += fill.fee_atoms
            self.quote_atoms -= fill.fee_atoms
        else:
            paid = self.third_asset_fee_atoms
            paid[fill.fee_asset] = paid.get(fill.fee_asset, 0) + fill.fee_atoms
        self.volume_atoms += notional

    def _base_worth_atoms(self, base_atoms: int, price_ticks: int) -> int:
        instrument = self.instrument
        return base_atoms * price_ticks * instrument.quote_atoms_per_tick_lot // instrument.base_atoms_per_lot

    def _book_cost(self, fill: OrderFilled, notional: int, size_atoms: int) -> None:
        if fill.side is BUY:
            self.base_atoms += size_atoms
            self.quote_atoms -= notional
            self.cost_atoms += notional
        else:
            released = self.cost_atoms * size_atoms // self.base_atoms
            self.cost_atoms -= released
            self.realized_atoms += notional - released
            self.base_atoms -= size_atoms
            self.quote_atoms += notional

    def _pay_base(self, fee_atoms: int, worth_atoms: int) -> None:
        """A fee taken in base is a sale of that base at the fill's price whose proceeds are the fee; a rebate is a purchase."""
        released = self.cost_atoms * fee_atoms // self.base_atoms if fee_atoms > 0 else worth_atoms
        self.cost_atoms -= released
        self.realized_atoms += worth_atoms - released
        self.base_atoms -= fee_atoms
        self.fees_atoms += worth_atoms
