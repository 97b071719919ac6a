"""How much to quote: whole lots within capital, the exposure cap and free balances. Integers only.

The cap is compared with everything that could be held: base, working buys and the new order, each at the new order's price
or its own, whichever is dearer. It is never compared with one order's size.

The functions over `SizeNumbers` are the arithmetic; the backtest compiles them as they stand. The others put the domain's
objects into numbers for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from autohedge.domain.fees import FeeRate
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, Side
from autohedge.domain.orders import Order
from autohedge.market_maker.config import MarketMakingConfig

NO_LIMIT_ATOMS: Final = 2**62
"""More than any order's value."""
_FACTOR_UNIT: Final = 1_000_000_000


class SizeNumbers(NamedTuple):
    """What sizes depend on, as plain integers; `max_notional_atoms` is `NO_LIMIT_ATOMS` where the venue has none."""

    order_value_atoms: int
    cap_atoms: int
    rebalance_atoms: int
    neutral_base_atoms: int
    maker_fee_numerator: int
    maker_fee_denominator: int
    taker_fee_numerator: int
    taker_fee_denominator: int
    quote_atoms_per_tick_lot: int
    base_atoms_per_lot: int
    min_lots: int
    max_lots: int
    min_notional_atoms: int
    max_notional_atoms: int


class Totals(NamedTuple):
    """What working orders could still do to the balances."""

    buy_lots: int
    buy_notional_atoms: int
    buy_reserve_atoms: int
    sell_lots: int


NO_ORDERS: Final = Totals(0, 0, 0, 0)


# --- over plain numbers -------------------------------------------------------------------------------------------------


def fee_atoms(atoms: int, numerator: int, denominator: int) -> int:
    """The fee on `atoms`, rounded up (a rebate is negative)."""
    return -(-atoms * numerator // denominator)


def buy_cost(numbers: SizeNumbers, price_ticks: int, lots: int, fee_numerator: int, fee_denominator: int) -> int:
    """The most a buy can take from the quote balance: its notional and the fee, rounded up anew for each lot that may fill."""
    lot_atoms = price_ticks * numbers.quote_atoms_per_tick_lot
    return lots * (lot_atoms + max(0, fee_atoms(lot_atoms, fee_numerator, fee_denominator)))


def with_order(numbers: SizeNumbers, totals: Totals, side: int, price_ticks: int, lots: int) -> Totals:
    """The totals with one more order; `lots` below zero take one away. A market order (price 0) counts at no price."""
    if side < 0:
        return Totals(totals.buy_lots, totals.buy_notional_atoms, totals.buy_reserve_atoms, totals.sell_lots + lots)
    return Totals(
        totals.buy_lots + lots,
        totals.buy_notional_atoms + price_ticks * lots * numbers.quote_atoms_per_tick_lot,
        totals.buy_reserve_atoms
        + buy_cost(numbers, price_ticks, lots, numbers.maker_fee_numerator, numbers.maker_fee_denominator),
        totals.sell_lots,
    )


def exposure(numbers: SizeNumbers, base_atoms: int, totals: Totals, price_ticks: int, lots: int) -> int:
    """Value of base, working buys and a new buy, in quote atoms, at the dearer of the prices; base rounded up."""
    unit = numbers.quote_atoms_per_tick_lot
    held_lots = -(-base_atoms // numbers.base_atoms_per_lot)
    at_new_price = price_ticks * (held_lots + totals.buy_lots + lots) * unit
    at_own_prices = price_ticks * (held_lots + lots) * unit + totals.buy_notional_atoms
    return max(at_new_price, at_own_prices)


def affordable(
    numbers: SizeNumbers,
    lots: int,
    price_ticks: int,
    base_atoms: int,
    quote_atoms: int,
    totals: Totals,
    fee_numerator: int,
    fee_denominator: int,
) -> int:
    """As many of `lots` as room under the cap and free quote, fee included, allow to buy at `price_ticks`; may be negative."""
    # a division is the dearest thing here, so it is only made where a limit binds
    lot_atoms = price_ticks * numbers.quote_atoms_per_tick_lot
    room_atoms = numbers.cap_atoms - exposure(numbers, base_atoms, totals, price_ticks, 0)
    if lots * lot_atoms > room_atoms:
        lots = room_atoms // lot_atoms
    free_atoms = quote_atoms - totals.buy_reserve_atoms
    cost_atoms = buy_cost(numbers, price_ticks, 1, fee_numerator, fee_denominator)
    if lots * cost_atoms > free_atoms:
        lots = free_atoms // cost_atoms
    return lots


def placeable(numbers: SizeNumbers, price_ticks: int, lots: int) -> int:
    """`lots` cut to the venue's maximum; 0 if below its minimum quantity or notional."""
    lot_atoms = price_ticks * numbers.quote_atoms_per_tick_lot
    lots = min(lots, numbers.max_lots)
    if lots * lot_atoms > numbers.max_notional_atoms:
        lots = numbers.max_notional_atoms // lot_atoms
    if lots < numbers.min_lots or lots * lot_atoms < numbers.min_notional_atoms:
        return 0
    return lots


def order_size(
    numbers: SizeNumbers,
    order_value_atoms: int,
    side: int,
    price_ticks: int,
    base_atoms: int,
    quote_atoms: int,
    totals: Totals,
) -> int:
    """Lots of one order at `price_ticks`, before confidence; 0 below the venue's minimum.

    Buy: the least of order value, room under the cap, and free quote that also pays the fee. Sell: the lesser of order
    value and free base.
    """
    lot_atoms = price_ticks * numbers.quote_atoms_per_tick_lot
    if lot_atoms <= 0:
        return 0
    lots = order_value_atoms // lot_atoms
    if side > 0:
        fee, per = numbers.maker_fee_numerator, numbers.maker_fee_denominator
        lots = affordable(numbers, lots, price_ticks, base_atoms, quote_atoms, totals, fee, per)
    else:
        lots = min(lots, base_atoms // numbers.base_atoms_per_lot - totals.sell_lots)
    return placeable(numbers, price_ticks, lots)


def scaled(lots: int, factor: float) -> int:
    """Lots × a factor of at most 1, rounded down; the factor counts to its ninth decimal place."""
    parts = int(min(1.0, factor) * _FACTOR_UNIT + 0.5)
    return lots // _FACTOR_UNIT * parts + lots % _FACTOR_UNIT * parts // _FACTOR_UNIT


# --- over the domain's objects --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SizeRules:
    """The configuration in atoms; made once per instrument."""

    instrument: Instrument
    order_value_atoms: int
    cap_atoms: int
    rebalance_atoms: int
    neutral_base_atoms: int
    maker_fee: FeeRate
    taker_fee: FeeRate
    numbers: SizeNumbers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        instrument, limit = self.instrument, self.instrument.max_notional
        numbers = SizeNumbers(
            order_value_atoms=self.order_value_atoms,
            cap_atoms=self.cap_atoms,
            rebalance_atoms=self.rebalance_atoms,
            neutral_base_atoms=self.neutral_base_atoms,
            maker_fee_numerator=self.maker_fee.numerator,
            maker_fee_denominator=self.maker_fee.denominator,
            taker_fee_numerator=self.taker_fee.numerator,
            taker_fee_denominator=self.taker_fee.denominator,
            quote_atoms_per_tick_lot=instrument.quote_atoms_per_tick_lot,
            base_atoms_per_lot=instrument.base_atoms_per_lot,
            min_lots=instrument.min_lots,
            max_lots=instrument.max_lots,
            min_notional_atoms=instrument.min_notional_atoms,
            max_notional_atoms=NO_LIMIT_ATOMS if limit is None else instrument.quote_atoms_floor(limit),
        )
        object.__setattr__(self, "numbers", numbers)

    @classmethod
    def of(cls, config: MarketMakingConfig, instrument: Instrument) -> SizeRules:
        """Rules of a configuration for an instrument."""
        atoms = instrument.quote_atoms_floor
        return cls(
            instrument=instrument,
            order_value_atoms=atoms(config.total_capital * config.order_size_percentage),
            cap_atoms=atoms(config.total_capital * config.max_inventory_exposure),
            rebalance_atoms=atoms(config.total_capital * config.rebalance_threshold),
            neutral_base_atoms=instrument.base_atoms_floor(config.neutral_base),
            maker_fee=FeeRate.from_bps(config.maker_fee_bps),
            taker_fee=FeeRate.from_bps(config.taker_fee_bps),
        )


def totals_of(orders: Iterable[Order], numbers: SizeNumbers) -> Totals:
    """Totals of the orders that may still fill. A market order counts at no price: it is only sent when nothing rests."""
    totals = NO_ORDERS
    for order in orders:
        if order.is_working:
            totals = with_order(numbers, totals, order.side, order.price_ticks or 0, order.remaining_lots)
    return totals


def order_size_lots(rules: SizeRules, side: Side, price_ticks: int, base_atoms: int, quote_atoms: int, totals: Totals) -> int:
    """Lots of one order of the configured value at `price_ticks`; see `order_size`."""
    numbers = rules.numbers
    return order_size(
        numbers, numbers.order_value_atoms, 1 if side is BUY else -1, price_ticks, base_atoms, quote_atoms, totals
    )


def scaled_lots(lots: int, confidence: float, size_multiplier: float) -> int:
    """Lots × (0.5 + 0.5 × confidence) × size_multiplier, rounded down; nothing enlarges an order."""
    return scaled(lots, (0.5 + 0.5 * confidence) * size_multiplier)
