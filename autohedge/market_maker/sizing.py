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

    __slots__ = ("buy_lots", "buy_notional_atoms", "buy_reserve_atoms", "sell_lots")

    def __init__(self) -> None:
        self.buy_lots = self.sell_lots = self.buy_notional_atoms = self.buy_reserve_atoms = 0

    @classmethod
    def of(cls, orders: Iterable[Order], rules: SizeRules) -> WorkingTotals:
        """Totals of the orders that may still fill. A market order counts at no price: it is only sent when nothing rests."""
        totals = cls()
        for order in orders:
            if not order.is_working:
                continue
            remaining = order.remaining_lots
            if order.side is BUY:
                price_ticks = order.price_ticks or 0
                totals.buy_lots += remaining
                totals.buy_notional_atoms += rules.instrument.notional_atoms(price_ticks, remaining)
                totals.buy_reserve_atoms += buy_cost_atoms(rules.instrument, price_ticks, remaining, rules.maker_fee)
            else:
                totals.sell_lots += remaining
        return totals


def buy_cost_atoms(instrument: Instrument, price_ticks: int, lots: int, fee: FeeRate) -> int:
    """The most a buy can take from the quote balance: its notional and the fee, rounded up anew for each lot that may fill."""
    lot_atoms = instrument.notional_atoms(price_ticks, 1)
    return lots * (lot_atoms + max(0, fee.of(lot_atoms)))


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
        lots = min(lots, buyable_lots(rules, price_ticks, base_atoms, quote_atoms, working, rules.maker_fee))
    else:
        lots = min(lots, instrument.lots_of_base(base_atoms) - working.sell_lots)
    return placeable_lots(instrument, price_ticks, lots)


def buyable_lots(
    rules: SizeRules, price_ticks: int, base_atoms: int, quote_atoms: int, working: WorkingTotals, fee: FeeRate
) -> int:
    """Most lots that room under the cap and free quote, fee included, allow to buy at `price_ticks`; may be negative."""
    room_atoms = rules.cap_atoms - exposure_atoms(rules, base_atoms, working, price_ticks, 0)
    free_atoms = quote_atoms - working.buy_reserve_atoms
    lot_cost_atoms = buy_cost_atoms(rules.instrument, price_ticks, 1, fee)
    return min(room_atoms // rules.instrument.notional_atoms(price_ticks, 1), free_atoms // lot_cost_atoms)


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
