"""The venue of the compiled loop: commands arrive, and orders are lost, refused, taken from the other side or put to rest.

The rules are those of `autohedge.venues.paper`, whose arithmetic is called here; parity tests hold the drivers together.
Functions over one record and arrays, to be compiled.
"""

from __future__ import annotations

from typing import Any

from autohedge.backtest.l2_layout import (
    ACCEPTED,
    ARRIVAL,
    CANCEL_REJECTED,
    CANCELLED,
    FOR_NUMBER,
    FOR_REASON,
    IS_CANCEL,
    NEVER_NS,
    NUMBER,
    REJECTED,
    RESTED,
    RESTING,
    LoopNumbers,
    Tables,
)
from autohedge.backtest.l2_matching import cost_of_taking, rest, take_at_market
from autohedge.backtest.l2_orders import free, is_halted, log_event, remove_working, reserve, reserve_atoms
from autohedge.market_maker.reasons import (
    HALTED,
    INSUFFICIENT_BALANCE,
    MAX_NOTIONAL,
    MIN_NOTIONAL,
    NO_MARKET,
    NONE,
    NOT_OPEN,
    POST_ONLY_WOULD_CROSS,
    REQUEST_FAILED,
    SELF_TRADE,
)
from autohedge.market_maker.working import CANCELLING, PRICE, REMAINING, SIDE
from autohedge.simulation.conditions import request_fails
from autohedge.simulation.matching import is_marketable

# --- arrival at the venue ---------------------------------------------------------------------------------------------------


def arrivals(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> None:
    """Execute what arrives up to and including `now_ns` against the book as it stands."""
    commands = t.commands
    room = commands.shape[1]
    while s.commands_head < s.commands_tail:
        at = s.commands_head % room
        arrival_ns = commands[ARRIVAL, at]
        if arrival_ns > now_ns:
            s.next_arrival_ns = arrival_ns
            return
        s.commands_head += 1
        s.venue_now_ns = max(s.venue_now_ns, arrival_ns)
        number = commands[FOR_NUMBER, at]
        row = -1
        for i in range(s.working):
            if t.orders[NUMBER, i] == number:
                row = i
                break
        fails = request_fails(c.failure_frac, c.failure_key, s.arrived)
        s.arrived += 1
        if fails:
            lose(s, t, row, number, commands[IS_CANCEL, at])
        elif commands[IS_CANCEL, at]:
            cancel_at_venue(s, t, c, row, number, commands[FOR_REASON, at])
        else:
            place_at_venue(s, t, c, row, number)
    s.next_arrival_ns = NEVER_NS


def lose(s: Any, t: Tables, row: int, number: int, is_cancel: int) -> None:
    """A request was lost: an order is not at the venue, a cancel leaves its order there, to be asked for again."""
    if is_cancel:
        if row >= 0:
            t.orders[CANCELLING, row] = 0
        log_event(s, t.event_log, s.venue_now_ns, number, CANCEL_REJECTED, REQUEST_FAILED)
        return
    s.rejected += 1
    log_event(s, t.event_log, s.venue_now_ns, number, REJECTED, REQUEST_FAILED)
    remove_working(s, t.orders, row)


def cancel_at_venue(s: Any, t: Tables, c: LoopNumbers, row: int, number: int, reason: int) -> None:
    """Take an order out of the market, or say that it is not there."""
    orders = t.orders
    if row < 0 or orders[RESTING, row] == 0:
        log_event(s, t.event_log, s.venue_now_ns, number, CANCEL_REJECTED, NOT_OPEN)
        return
    done = orders[RESTED, row] - orders[REMAINING, row]
    free(s, orders[SIDE, row], reserve_atoms(c, orders[SIDE, row], orders[PRICE, row], orders[RESTED, row], done))
    s.cancelled += 1
    log_event(s, t.event_log, s.venue_now_ns, number, CANCELLED, reason)
    remove_working(s, t.orders, row)


def place_at_venue(s: Any, t: Tables, c: LoopNumbers, row: int, number: int) -> None:
    """An order arrives: refused, or accepted, taken from the other side if it may, and put to rest."""
    orders = t.orders
    side, price, lots = orders[SIDE, row], orders[PRICE, row], orders[REMAINING, row]
    refusal = NONE
    if s.venue_now_ns >= s.halt_from_ns and is_halted(s, t.halts):
        refusal = HALTED
    if refusal == NONE:
        refusal = refusal_by_market(s, c, side, price, lots)
    if refusal == NONE:
        refusal = refusal_by_account(s, t, c, side, price, lots)
    if refusal != NONE:
        s.rejected += 1
        log_event(s, t.event_log, s.venue_now_ns, number, REJECTED, refusal)
        remove_working(s, t.orders, row)
        return
    log_event(s, t.event_log, s.venue_now_ns, number, ACCEPTED, NONE)
    if price == 0:
        take_at_market(s, t, c, row, number)
        return
    reserve(s, side, reserve_atoms(c, side, price, lots, 0))
    rest(s, t, c, row, lots)


def refusal_by_market(s: Any, c: LoopNumbers, side: int, price: int, lots: int) -> int:
    """What the book as it stands has against the order; 0: nothing."""
    if s.valid == 0 or s.best_bid == 0 or s.best_ask == 0 or s.best_bid >= s.best_ask:
        return NO_MARKET
    opposite = s.best_ask if side > 0 else s.best_bid
    size = c.maker.size
    value = (price if price > 0 else opposite) * lots * size.quote_atoms_per_tick_lot
    if value < size.min_notional_atoms:
        return MIN_NOTIONAL
    if value > size.max_notional_atoms:
        return MAX_NOTIONAL
    if price == 0:
        return NONE
    if is_marketable(side, price, opposite):
        return POST_ONLY_WOULD_CROSS
    return SELF_TRADE if is_marketable(side, price, s.own_ask if side > 0 else s.own_bid) else NONE


def refusal_by_account(s: Any, t: Tables, c: LoopNumbers, side: int, price: int, lots: int) -> int:
    """What the account, or its other orders, have against the order; 0: nothing."""
    worst, cost = 0, 0
    if price == 0:
        worst, cost = cost_of_taking(s, t, c, side, lots)
        if worst and is_marketable(side, worst, s.own_ask if side > 0 else s.own_bid):
            return SELF_TRADE
    if side < 0:
        need = lots * c.maker.size.base_atoms_per_lot
        return INSUFFICIENT_BALANCE if need > s.base_atoms - s.reserved_base else NONE
    if price > 0:
        cost = reserve_atoms(c, side, price, lots, 0)
    return INSUFFICIENT_BALANCE if cost > s.quote_atoms - s.reserved_quote else NONE
