"""How much to quote: whole lots within capital, the exposure cap and free balances. Integers only.

The cap is compared with everything that could be held: base, working buys and the new order, each at the new order's price
or its own, whichever is dearer. It is never compared with one order's size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from autohedge.domain.fees import FeeRate
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, Side
from autohedge.domain.orders import Order
from autohedge.market_maker.config import MarketMakingConfig


@dataclass(frozen=True, slots=True)
class SizeRules:
    """The configuration in atoms; made once per instrument."""

    instrument: Instrument
    order_value_atoms: int
    cap_atoms: int
    rebalance_atoms: int
    neutral_base_atoms: int
    maker_fee: FeeRate

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
        )


class WorkingTotals:
    """What working orders could still do to the balances: lots and atoms per side."""

    __slots__ = ("buy_lots", "buy_notional_atoms", "buy_reserve_atoms", "sell_lots", "top_buy_ticks")

    def __init__(self) -> None:
        self.buy_lots = self.sell_lots = self.buy_notional_atoms = self.buy_reserve_atoms = self.top_buy_ticks = 0

    @classmethod
    def of(cls, orders: Iterable[Order], rules: SizeRules) -> WorkingTotals:
        """Totals of the orders that may still fill. A market order counts at no price: it is only sent when nothing rests."""
        totals = cls()
        for order in orders:
            if not order.is_working:
                continue
            remaining = order.remaining_lots
            if order.side is BUY:
                notional = rules.instrument.notional_atoms(order.price_ticks or 0, remaining)
                totals.buy_lots += remaining
                totals.buy_notional_atoms += notional
                totals.buy_reserve_atoms += notional + max(0, rules.maker_fee.of(notional))
                totals.top_buy_ticks = max(totals.top_buy_ticks, order.price_ticks or 0)
            else:
                totals.sell_lots += remaining
        return totals


def exposure_atoms(rules: SizeRules, base_atoms: int, working: WorkingTotals, price_ticks: int, size_lots: int) -> int:
    """Value of base, working buys and a new buy, in quote atoms, at the dearer of the prices; base rounded up."""
    instrument = rules.instrument
    held_lots = -(-base_atoms // instrument.base_atoms_per_lot)
    at_new_price = instrument.notional_atoms(price_ticks, held_lots + working.buy_lots + size_lots)
    at_own_prices = instrument.notional_atoms(price_ticks, held_lots + size_lots) + working.buy_notional_atoms
    return max(at_new_price, at_own_prices)


def order_size_lots(
    rules: SizeRules, side: Side, price_ticks: int, base_atoms: int, quote_atoms: int, working: WorkingTotals
) -> int:
    """Lots of one order at `price_ticks`, before confidence; 0 below the venue's minimum.

    Buy: the least of order value, room under the cap, and free quote that also pays the fee. Sell: the lesser of order
    value and free base.
    """
    instrument = rules.instrument
    lot_atoms = instrument.notional_atoms(price_ticks, 1)
    if lot_atoms <= 0:
        return 0
    lots = rules.order_value_atoms // lot_atoms
    if side is BUY:
        room_atoms = rules.cap_atoms - exposure_atoms(rules, base_atoms, working, price_ticks, 0)
        free_atoms = quote_atoms - working.buy_reserve_atoms
        lots = min(lots, room_atoms // lot_atoms, _affordable_lots(free_atoms, lot_atoms, rules.maker_fee))
    else:
        lots = min(lots, instrument.lots_of_base(base_atoms) - working.sell_lots)
    return placeable_lots(instrument, price_ticks, lots)


def _affordable_lots(free_atoms: int, lot_atoms: int, fee: FeeRate) -> int:
    """Most lots whose notional and fee fit into `free_atoms`: free ÷ (1 + fee), then one down if rounding needs it."""
    if free_atoms <= 0:
        return 0
    numerator = max(0, fee.numerator)
    lots = free_atoms * fee.denominator // ((fee.denominator + numerator) * lot_atoms)
    while lots > 0 and lots * lot_atoms + max(0, fee.of(lots * lot_atoms)) > free_atoms:
        lots -= 1
    return lots


def placeable_lots(instrument: Instrument, price_ticks: int, lots: int) -> int:
    """`lots` cut to the venue's maximum; 0 if below its minimum quantity or notional."""
    lots = min(lots, instrument.max_lots)
    if instrument.max_notional is not None:
        limit_atoms = instrument.quote_atoms_floor(instrument.max_notional)
        lots = min(lots, limit_atoms // instrument.notional_atoms(price_ticks, 1))
    if lots < instrument.min_lots or instrument.notional_atoms(price_ticks, lots) < instrument.min_notional_atoms:
        return 0
    return lots


def scaled_lots(lots: int, confidence: float, size_multiplier: float) -> int:
    """Lots × (0.5 + 0.5 × confidence) × size_multiplier, rounded down; the factor is never above 1."""
    factor = min(1.0, (0.5 + 0.5 * confidence) * size_multiplier)
    return int((Decimal(lots) * Decimal(repr(factor))).to_integral_value(ROUND_FLOOR))
