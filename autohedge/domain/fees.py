"""Fees as exact rationals. A fee is rounded up in atoms, against us, rebates included."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class FeeRate:
    """A fee of `numerator / denominator` of the notional; negative is a rebate."""

    numerator: int
    denominator: int

    @classmethod
    def from_bps(cls, bps: Decimal) -> FeeRate:
        """10 bps → 10/10,000; fractions of a bp stay exact."""
        numerator, denominator = (bps / Decimal(10_000)).as_integer_ratio()
        return cls(numerator, denominator)

    def of(self, atoms: int) -> int:
        """The fee on `atoms`, rounded up."""
        return -(-atoms * self.numerator // self.denominator)


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Maker and taker rates, and the asset that pays: always the quote, or whatever the fill brings in."""

    maker: FeeRate
    taker: FeeRate
    in_received_asset: bool = False
