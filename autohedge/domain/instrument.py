"""The instrument: the only place where money and sizes become integers and back.

A price is a whole number of ticks, an order size a whole number of lots, a balance a whole number of asset atoms. One
tick times one lot is a whole number of quote atoms by construction, so a notional is exact and never rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import cached_property

from autohedge.errors import ConfigError, MarketDataError

DEFAULT_ATOM_EXPONENT = 8
"""An asset atom is 10^−8 of the asset unless tick × lot needs finer ones."""

_DOWN = Context(prec=100, rounding=ROUND_FLOOR)
_UP = Context(prec=100, rounding=ROUND_CEILING)
"""Far more digits than Python's usual 28, which would round a quotient to the nearest and so across a grid line."""


def decimal_exponent(value: Decimal) -> int:
    """How many decimal places `value` needs: 0.010 → 2, 5 → 0, 1000 → 0."""
    exponent = value.normalize(_DOWN).as_tuple().exponent
    if not isinstance(exponent, int):
        raise ConfigError(f"expected a finite number, found {value}")
    return max(0, -exponent)


def _on_grid(value: Decimal, step: Decimal) -> bool:
    """True for a whole number of steps; an absurdly large value is on no grid."""
    return value.adjusted() < 50 and not _DOWN.remainder(value, step)


def _floor(value: Decimal, step: Decimal) -> int:
    """Whole steps in `value`, rounded down."""
    return int(_DOWN.divide(value, step).to_integral_value(ROUND_FLOOR))


def _ceil(value: Decimal, step: Decimal) -> int:
    """Whole steps that hold `value`, rounded up."""
    return int(_UP.divide(value, step).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True)
class Instrument:
    """What a venue lets one trade: symbol, assets and rules. `tick_size`, `lot_size`, `min_notional` … are in asset units."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    max_notional: Decimal | None
    venue: str
    rules_as_of: str

    def __post_init__(self) -> None:
        for name in ("tick_size", "lot_size", "min_qty", "max_qty"):
            value: Decimal = getattr(self, name)
            if not value.is_finite() or value <= 0:
                raise ConfigError(f"{self.symbol}: {name} must be a positive number, found {value}")
        if not self.min_notional.is_finite() or self.min_notional < 0:
            raise ConfigError(f"{self.symbol}: min_notional must be zero or more, found {self.min_notional}")
        if self.max_notional is not None and not (self.max_notional.is_finite() and self.max_notional >= self.min_notional):
            raise ConfigError(f"{self.symbol}: max_notional must be at least min_notional, found {self.max_notional}")

    # --- integers of the instrument -------------------------------------------------------------------------------

    @cached_property
    def base_atom_exponent(self) -> int:
        """Decimal places of a base atom."""
        return max(DEFAULT_ATOM_EXPONENT, decimal_exponent(self.lot_size))

    @cached_property
    def quote_atom_exponent(self) -> int:
        """Decimal places of a quote atom: at least 8, and enough for tick × lot."""
        return max(DEFAULT_ATOM_EXPONENT, decimal_exponent(_DOWN.multiply(self.tick_size, self.lot_size)))

    @cached_property
    def base_atoms_per_lot(self) -> int:
        """Base atoms in one lot."""
        return int(self.lot_size.scaleb(self.base_atom_exponent, _DOWN))

    @cached_property
    def quote_atoms_per_tick_lot(self) -> int:
        """Quote atoms in one tick × one lot."""
        return int(_DOWN.multiply(self.tick_size, self.lot_size).scaleb(self.quote_atom_exponent, _DOWN))

    @cached_property
    def min_lots(self) -> int:
        """Smallest order in lots (rounded up)."""
        return _ceil(self.min_qty, self.lot_size)

    @cached_property
    def max_lots(self) -> int:
        """Largest order in lots (rounded down)."""
        return _floor(self.max_qty, self.lot_size)

    @cached_property
    def min_notional_atoms(self) -> int:
        """Smallest order value in quote atoms (rounded up)."""
        return int(self.min_notional.scaleb(self.quote_atom_exponent, _UP).to_integral_value(ROUND_CEILING))

    # --- conversions: exact, or with the direction in the name ---------------------------------------------------------

    def ticks(self, price: Decimal) -> int:
        """Exact price in ticks; `MarketDataError` if the price is not positive or not on the tick grid."""
        if not price.is_finite() or price <= 0 or not _on_grid(price, self.tick_size):
            raise MarketDataError(f"{self.symbol}: price {price} is not a positive multiple of the tick {self.tick_size}")
        return _floor(price, self.tick_size)

    def lots(self, size: Decimal) -> int:
        """Exact size in lots; `MarketDataError` if negative or not on the lot grid."""
        if not size.is_finite() or size < 0 or not _on_grid(size, self.lot_size):
            raise MarketDataError(f"{self.symbol}: size {size} is not a multiple of the lot {self.lot_size}")
        return _floor(size, self.lot_size)

    def floor_to_lot(self, size: Decimal) -> int:
        """Whole lots in `size`, rounded down."""
        return _floor(size, self.lot_size)

    def bid_price_floor_ticks(self, price: Decimal) -> int:
        """A bid in ticks, rounded down: never more aggressive."""
        return _floor(price, self.tick_size)

    def ask_price_ceil_ticks(self, price: Decimal) -> int:
        """An ask in ticks, rounded up: never more aggressive."""
        return _ceil(price, self.tick_size)

    def price(self, ticks: int) -> Decimal:
        """Price of `ticks`."""
        return ticks * self.tick_size

    def size(self, lots: int) -> Decimal:
        """Size of `lots` in the base asset."""
        return lots * self.lot_size

    def notional_atoms(self, price_ticks: int, size_lots: int) -> int:
        """Value in quote atoms; exact."""
        return price_ticks * size_lots * self.quote_atoms_per_tick_lot

    def quote_amount(self, atoms: int) -> Decimal:
        """Quote atoms as an amount of the quote asset."""
        return Decimal(atoms).scaleb(-self.quote_atom_exponent, _DOWN)

    def base_amount(self, atoms: int) -> Decimal:
        """Base atoms as an amount of the base asset."""
        return Decimal(atoms).scaleb(-self.base_atom_exponent, _DOWN)

    def quote_atoms_floor(self, amount: Decimal) -> int:
        """An amount of the quote asset in atoms, rounded down."""
        return int(amount.scaleb(self.quote_atom_exponent, _DOWN).to_integral_value(ROUND_FLOOR))

    def base_atoms_floor(self, amount: Decimal) -> int:
        """An amount of the base asset in atoms, rounded down."""
        return int(amount.scaleb(self.base_atom_exponent, _DOWN).to_integral_value(ROUND_FLOOR))

    def lots_of_base(self, base_atoms: int) -> int:
        """Whole lots in a base balance; the rest is dust."""
        return base_atoms // self.base_atoms_per_lot
