"""What a bar would have done to an order: the rules of backtests on bars, as plain functions over numbers.

A bar tells four prices and a volume, not the order of things within it, so every rule takes what is worse for us:

- An order is executed in a bar that begins after the decision, never in the one that it was decided on.
- A market order pays the open of that bar and slippage.
- A resting order is filled at its own price, by a bar that goes *through* the price by at least a tick. A touch fills nothing.
- A bar that goes through orders on both sides fills only the side whose fill is worth less at the bar's close.
- All our orders together get at most a share of the bar's volume. A bar without volume fills nothing: trading was halted.

The event-driven engine and the compiled loops both call these functions; there is no second arithmetic. Sides are +1 and −1.
"""

from __future__ import annotations

from typing import NamedTuple

from autohedge.simulation.chance import draw
from autohedge.simulation.slippage import NO_SLIPPAGE, slippage_frac, slipped_ticks

ACCEPTED = 0
MIN_QTY = 1
MAX_QTY = 2
MIN_NOTIONAL = 3
MAX_NOTIONAL = 4
INSUFFICIENT_BALANCE = 5
API_FAILURE_CODE = 6
"""What becomes of an order on arrival, as numbers; `REASONS` has the words."""

REASONS = ("", "min_qty", "max_qty", "min_notional", "max_notional", "insufficient_balance", "api_failure")

BPS = 10_000
NO_SHARE_BPS = 0
"""A participation of 0 stands for none asked: any size fills in any bar that traded."""

MOST_STEPS = 1 << 53
"""Prices in ticks, and volumes and sizes in lots, stay below this, so that they are exact as floats too."""

LARGEST = 1 << 61
"""Amounts of money in compiled code stay below this, so that a sum of two never wraps around."""


class MarketRules(NamedTuple):
    """What costs and rules an order meets, as bare numbers; `money_*` are quote atoms per tick × lot and its bounds."""

    atoms_per_tick_lot: int
    min_lots: int
    max_lots: int
    min_notional_atoms: int
    max_notional_atoms: int
    fee_numerator: int
    fee_denominator: int
    participation_bps: int
    slippage_model: int
    slippage_factor_frac: float
    slippage_floor_frac: float
    slippage_key: int
    failure_key: int
    failure_frac: float
    latency_ns: int
    interval_ns: int


def is_due(open_ns: int, interval_ns: int, arrival_ns: int) -> bool:
    """Whether an order that arrives then is executed in the bar of that open: the first that ends after the arrival.

    The bar before has been decided on, so with a latency shorter than a bar this is the next one, and its open is the price.
    """
    return open_ns + interval_ns > arrival_ns


def fails(rules: MarketRules, request_number: int) -> bool:
    """Whether this request to the venue is lost (requests of a run are numbered from 0, orders and cancels together)."""
    return rules.failure_frac > 0.0 and draw(rules.failure_key, request_number) < rules.failure_frac


def share_lots(rules: MarketRules, volume_lots: int) -> int:
    """What all our orders together may get of a bar's volume, rounded down."""
    if rules.participation_bps == NO_SHARE_BPS:
        return MOST_STEPS if volume_lots > 0 else 0
    whole, rest = volume_lots // BPS, volume_lots % BPS
    return whole * rules.participation_bps + rest * rules.participation_bps // BPS


def refusal_by_rules(rules: MarketRules, lots: int, price_ticks: int) -> int:
    """What the instrument's rules have against an order of that size, valued at that price; `ACCEPTED` when nothing."""
    notional_atoms = price_ticks * lots * rules.atoms_per_tick_lot
    if lots < rules.min_lots:
        return MIN_QTY
    if lots > rules.max_lots:
        return MAX_QTY
    if notional_atoms < rules.min_notional_atoms:
        return MIN_NOTIONAL
    if notional_atoms > rules.max_notional_atoms:
        return MAX_NOTIONAL
    return ACCEPTED


def fee_between(rules: MarketRules, atoms_before: int, atoms_after: int) -> int:
    """The fee of an order between two amounts traded; the steps add up to the fee of the whole, rounded up once."""
    numerator, denominator = rules.fee_numerator, rules.fee_denominator
    return -(-atoms_after * numerator // denominator) + (-atoms_before * numerator // denominator)


def buy_cost_atoms(rules: MarketRules, lots: int, price_ticks: int, atoms_before: int) -> int:
    """What a buy takes from the quote balance, its fee included; `atoms_before` were traded by earlier fills of the order."""
    notional_atoms = price_ticks * lots * rules.atoms_per_tick_lot
    return notional_atoms + fee_between(rules, atoms_before, atoms_before + notional_atoms)


def taking_price_ticks(rules: MarketRules, side: int, open_ticks: int, lots: int, volume_lots: int, fill_number: int) -> int:
    """What a fill that takes pays: the open and slippage. Fills that take are numbered from 0."""
    if rules.slippage_model == NO_SLIPPAGE:
        return open_ticks
    chance = draw(rules.slippage_key, fill_number)
    factor, floor = rules.slippage_factor_frac, rules.slippage_floor_frac
    return slipped_ticks(side, open_ticks, slippage_frac(rules.slippage_model, factor, floor, lots, volume_lots, chance))


def goes_through(side: int, price_ticks: int, low_ticks: int, high_ticks: int) -> bool:
    """Whether a bar trades beyond a resting order's price, by a tick or more."""
    return low_ticks < price_ticks if side > 0 else high_ticks > price_ticks


def adverse_side(bid_ticks: int, ask_ticks: int, close_ticks: int) -> int:
    """Of two orders that one bar went through, the side whose fill is worth less at the close."""
    return -1 if 2 * close_ticks > bid_ticks + ask_ticks else 1


def lots_for_cash(cash_atoms: int, share_bps: int, price_ticks: int, atoms_per_tick_lot: int) -> int:
    """Whole lots that a share of the cash pays at a price, fees left out; rounded down."""
    return cash_atoms // BPS * share_bps // (price_ticks * atoms_per_tick_lot)
