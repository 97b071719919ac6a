"""The pre-trade checks over plain numbers: which one an order fails first, and which side must not be quoted.

The live engine runs these functions as they stand and the backtest compiles them. `autohedge.risk.pretrade` gives the same
answers in words, for whoever has to act on a refusal.
"""

from __future__ import annotations

from typing import NamedTuple

from autohedge.market_maker.reasons import (
    BALANCE,
    DAILY_LOSS,
    DUPLICATE,
    EXPOSURE_CAP,
    INSTRUMENT_RULES,
    INVENTORY_IMBALANCE,
    MARKET_DATA,
    NONE,
    NOTIONAL,
    ORDER_RATE,
    PRICE_COLLAR,
)
from autohedge.market_maker.sizing import SizeNumbers, Totals, buy_cost, exposure
from autohedge.market_maker.working import CANCELLING, CREATED, PRICE, REMAINING, SIDE, Columns


class LimitNumbers(NamedTuple):
    """The operator's limits as plain numbers."""

    max_order_notional_atoms: int
    max_inventory_imbalance: float
    max_daily_loss_atoms: int
    max_daily_loss_frac: float
    max_requests_per_min: int
    price_collar_frac: float
    max_data_age_ns: int
    duplicate_window_ns: int


class Checked(NamedTuple):
    """An order and what the checks look at; `price_ticks` is 0 for a market order, which counts at the opposite best."""

    now_ns: int
    side: int
    price_ticks: int
    size_lots: int
    best_bid_ticks: int
    best_ask_ticks: int
    base_atoms: int
    quote_atoms: int
    inventory_ratio: float
    requests_last_min: int
    market_problem: bool
    daily_loss_hit: bool


def raising_side(base_atoms: int, neutral_base_atoms: int) -> int:
    """The side that takes the inventory further from neutral; at neutral a buy does, because it raises the exposure."""
    return 1 if base_atoms >= neutral_base_atoms else -1


def blocked_reason(ratio: float, daily_loss_hit: bool, max_inventory_imbalance: float) -> int:
    """Why the side that raises exposure must not be quoted; 0 when it may."""
    if daily_loss_hit:
        return DAILY_LOSS
    return INVENTORY_IMBALANCE if abs(ratio - 0.5) >= max_inventory_imbalance else NONE


def first_failure(limits: LimitNumbers, size: SizeNumbers, order: Checked, totals: Totals, orders: Columns, n: int) -> int:
    """The code of the first check that the order fails, critical ones first; 0 when it passes them all."""
    price = order.price_ticks
    if price == 0:
        price = order.best_ask_ticks if order.side > 0 else order.best_bid_ticks
    notional = price * order.size_lots * size.quote_atoms_per_tick_lot
    if order.market_problem:
        return MARKET_DATA
    if breaks_rules(size, order, notional):
        return INSTRUMENT_RULES
    if lacks_balance(size, order, totals, price):
        return BALANCE
    if order.side > 0 and exposure(size, order.base_atoms, totals, price, order.size_lots) > size.cap_atoms:
        return EXPOSURE_CAP
    raises = order.side == raising_side(order.base_atoms, size.neutral_base_atoms)
    if order.daily_loss_hit and raises:
        return DAILY_LOSS
    if is_duplicate(limits, order, orders, n):
        return DUPLICATE
    if notional > limits.max_order_notional_atoms:
        return NOTIONAL
    if raises and abs(order.inventory_ratio - 0.5) >= limits.max_inventory_imbalance:
        return INVENTORY_IMBALANCE
    if collar_distance(order) > limits.price_collar_frac:
        return PRICE_COLLAR
    return ORDER_RATE if order.requests_last_min >= limits.max_requests_per_min else NONE


def breaks_rules(size: SizeNumbers, order: Checked, notional_atoms: int) -> bool:
    """Whether the venue's own rules forbid the order."""
    if order.size_lots < size.min_lots or order.size_lots > size.max_lots or order.price_ticks < 0:
        return True
    return notional_atoms < size.min_notional_atoms or notional_atoms > size.max_notional_atoms


def lacks_balance(size: SizeNumbers, order: Checked, totals: Totals, price_ticks: int) -> bool:
    """Whether the free balance does not pay for the order and its fee."""
    if order.side < 0:
        return (order.size_lots + totals.sell_lots) * size.base_atoms_per_lot > order.base_atoms
    fee, per = size.maker_fee_numerator, size.maker_fee_denominator
    if order.price_ticks == 0:
        fee, per = size.taker_fee_numerator, size.taker_fee_denominator
    return buy_cost(size, price_ticks, order.size_lots, fee, per) > order.quote_atoms - totals.buy_reserve_atoms


def is_duplicate(limits: LimitNumbers, order: Checked, orders: Columns, n: int) -> bool:
    """Whether a working order that is not being cancelled is the same and was sent a moment ago."""
    for i in range(n):
        if (
            orders[CANCELLING][i] == 0
            and orders[SIDE][i] == order.side
            and orders[PRICE][i] == order.price_ticks
            and orders[REMAINING][i] == order.size_lots
            and order.now_ns - orders[CREATED][i] < limits.duplicate_window_ns
        ):
            return True
    return False


def collar_distance(order: Checked) -> float:
    """Distance of the limit price from the mid, as a fraction of the mid; 0 for a market order."""
    if order.price_ticks == 0:
        return 0.0
    mid = (order.best_bid_ticks + order.best_ask_ticks) / 2.0
    return abs(order.price_ticks - mid) / mid


def daily_loss_limit_hit(limits: LimitNumbers, day_open_atoms: int, equity_atoms: int) -> bool:
    """Whether the loss since the day's opening reached one of the two limits."""
    loss = day_open_atoms - equity_atoms
    return loss >= limits.max_daily_loss_atoms or (day_open_atoms > 0 and loss >= day_open_atoms * limits.max_daily_loss_frac)
