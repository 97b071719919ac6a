"""A spot account as a venue keeps it: two balances in atoms, and what open orders have set aside of them.

Promise: no balance and no free amount is ever negative; what would make one so raises `InvariantBroken`. Fees are rounded up
over an order, not fill by fill, so that an order's fills together never cost more than was set aside for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from autohedge.domain.fees import FeeRate
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, Side
from autohedge.errors import InvariantBroken


def fee_step(rate: FeeRate, atoms_before: int, atoms_after: int) -> int:
    """The fee on what an order traded between two cumulative amounts: steps add up to `rate.of` the total, rounded up."""
    return rate.of(atoms_after) - rate.of(atoms_before)


@dataclass(slots=True)
class SpotAccount:
    """Balances in atoms; the reserved part belongs to open orders and is not free."""

    instrument: Instrument
    base_atoms: int
    quote_atoms: int
    reserved_base_atoms: int = 0
    reserved_quote_atoms: int = 0

    def __post_init__(self) -> None:
        self._check("the opening balance")

    @property
    def free_base_atoms(self) -> int:
        """Base that no open order has set aside."""
        return self.base_atoms - self.reserved_base_atoms

    @property
    def free_quote_atoms(self) -> int:
        """Quote that no open order has set aside."""
        return self.quote_atoms - self.reserved_quote_atoms

    def reserve(self, side: Side, atoms: int) -> None:
        """Set aside what an order may cost: quote for a buy, base for a sell; negative `atoms` give it back."""
        if side is BUY:
            self.reserved_quote_atoms += atoms
        else:
            self.reserved_base_atoms += atoms
        self._check("a reservation")

    def trade(self, side: Side, price_ticks: int, lots: int, fee_atoms: int, *, fee_in_base: bool) -> None:
        """Book a trade with its fee (negative = a rebate). A reservation it used up must have been given back before."""
        instrument = self.instrument
        self.base_atoms += side * lots * instrument.base_atoms_per_lot
        self.quote_atoms -= side * instrument.notional_atoms(price_ticks, lots)
        if fee_in_base:
            self.base_atoms -= fee_atoms
        else:
            self.quote_atoms -= fee_atoms
        self._check("a trade")

    def _check(self, what: str) -> None:
        if not 0 <= self.reserved_base_atoms <= self.base_atoms or not 0 <= self.reserved_quote_atoms <= self.quote_atoms:
            raise InvariantBroken(
                f"{self.instrument.symbol}: {what} would leave {self.base_atoms} base atoms with {self.reserved_base_atoms} "
                f"reserved and {self.quote_atoms} quote atoms with {self.reserved_quote_atoms} reserved"
            )
