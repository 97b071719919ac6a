"""The order desk of the compiled loop and its money: orders that may fill, commands on their way, fees, balances and fills.

The rules are those of `autohedge.execution.order_desk` and of the account of `autohedge.venues.paper`, whose arithmetic is
called here; parity tests hold the drivers together. Functions over one record and arrays, to be compiled.
"""

from __future__ import annotations

from typing import Any

from autohedge.backtest.l2_layout import (
    AHEAD,
    ARRIVAL,
    FILLED_,
    FOR_NUMBER,
    FOR_REASON,
    IS_CANCEL,
    MANDATE,
    NEVER_NS,
    NUMBER,
    PARTIALLY_FILLED,
    RESTED,
    RESTING,
    SIZE,
    WORKING_ROWS,
    LoopNumbers,
    Tables,
)
from autohedge.market_maker.reasons import NONE
from autohedge.market_maker.sizing import fee_atoms
from autohedge.market_maker.working import CREATED, FILLED, LEVEL, PRICE, REMAINING, SIDE
from autohedge.simulation.latency import CONSTANT, FEED, LatencyNumbers, drawn_ns, entries_before

# --- the order desk -------------------------------------------------------------------------------------------------------


def log_event(s: Any, log: Any, ts_ns: int, number: int, event: int, reason: int) -> None:
    """One line in the life of an order."""
    i = s.n_events
    log[i, 0] = ts_ns
    log[i, 1] = number
    log[i, 2] = event
    log[i, 3] = reason
    s.n_events = i + 1
    s.quiet_until_ns = 0


def add_working(
    s: Any, orders: Any, ts_ns: int, number: int, side: int, price: int, lots: int, level: int, mandate: int
) -> None:
    """An order that may fill from now on, as the last row."""
    row = s.working
    for field in range(WORKING_ROWS):
        orders[field, row] = 0
    orders[SIDE, row] = side
    orders[PRICE, row] = price
    orders[REMAINING, row] = lots
    orders[CREATED, row] = ts_ns
    orders[LEVEL, row] = level
    orders[NUMBER, row] = number
    orders[MANDATE, row] = mandate
    orders[SIZE, row] = lots
    s.working = row + 1


def remove_working(s: Any, orders: Any, row: int) -> None:
    """An order that cannot fill any more; the rows behind it move up."""
    was_resting = orders[RESTING, row] != 0
    for i in range(row, s.working - 1):
        for field in range(WORKING_ROWS):
            orders[field, i] = orders[field, i + 1]
    s.working -= 1
    if was_resting:
        note_resting(s, orders)


def note_resting(s: Any, orders: Any) -> None:
    """What of ours rests: how many, how many behind a queue, and the best prices."""
    s.resting = 0
    s.queued = 0
    s.own_bid = 0
    s.own_ask = 0
    for i in range(s.working):
        if orders[RESTING, i]:
            s.resting += 1
            if orders[AHEAD, i] > 0:
                s.queued += 1
            price = orders[PRICE, i]
            if orders[SIDE, i] > 0:
                s.own_bid = max(s.own_bid, price)
            elif s.own_ask == 0 or price < s.own_ask:
                s.own_ask = price


def way_ns(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> int:
    """How long the next command takes to the venue."""
    if c.latency.model == CONSTANT:
        return c.latency.least_ns
    return longer_way_ns(s, t.latency_times, t.latency_values, c.latency, now_ns)


def longer_way_ns(s: Any, times: Any, latencies: Any, latency: LatencyNumbers, now_ns: int) -> int:
    """The least time and what chance or a table adds."""
    if latency.model < FEED:
        return latency.least_ns + drawn_ns(latency, s.sent)
    s.latency_at = entries_before(times, s.latency_at, now_ns)
    return int(latency.least_ns + (latencies[s.latency_at - 1] if s.latency_at else 0))


def send(s: Any, commands: Any, latency_ns: int, now_ns: int, number: int, is_cancel: int, reason: int) -> None:
    """A command leaves; it arrives after the latency, never before one that was sent earlier."""
    at = s.commands_tail % commands.shape[1]
    arrival_ns = max(now_ns + latency_ns, s.last_arrival_ns)
    s.last_arrival_ns = arrival_ns
    s.sent += 1
    commands[ARRIVAL, at] = arrival_ns
    commands[IS_CANCEL, at] = is_cancel
    commands[FOR_NUMBER, at] = number
    commands[FOR_REASON, at] = reason
    if s.commands_tail == s.commands_head:
        s.next_arrival_ns = arrival_ns
    s.commands_tail += 1


def requests_last_min(s: Any, requests: Any, now_ns: int) -> int:
    """Requests sent to the venue in the 60 s up to `now_ns`."""
    room = requests.shape[0]
    while s.requests_head < s.requests_tail and requests[s.requests_head % room] <= now_ns - 60_000_000_000:
        s.requests_head += 1
    return int(s.requests_tail - s.requests_head)


def note_request(s: Any, requests: Any, now_ns: int) -> None:
    """One request more; of a full window the oldest is forgotten, which cannot be told from the limit being reached."""
    room = requests.shape[0]
    if s.requests_tail - s.requests_head == room:
        s.requests_head += 1
    requests[s.requests_tail % room] = now_ns
    s.requests_tail += 1


# --- halts --------------------------------------------------------------------------------------------------------------


def is_halted(s: Any, halts: Any) -> bool:
    """Whether it is a halt at the venue now; halts that are over are left behind."""
    while s.halt < halts.shape[0] and halts[s.halt, 1] <= s.venue_now_ns:
        s.halt += 1
    s.halt_from_ns = halts[s.halt, 0] if s.halt < halts.shape[0] else NEVER_NS
    return bool(s.halt_from_ns <= s.venue_now_ns)


# --- money ------------------------------------------------------------------------------------------------------------------


def fee_base(c: LoopNumbers, side: int, price: int, lots: int) -> int:
    """The amount that a fee is a fraction of: the base received, or the value in quote."""
    if side > 0 and c.fees_in_received:
        return lots * c.maker.size.base_atoms_per_lot
    return price * lots * c.maker.size.quote_atoms_per_tick_lot


def maker_fee(c: LoopNumbers, side: int, price: int, lots: int) -> int:
    """The maker fee on the first `lots` of an order, rounded up over all of them."""
    size = c.maker.size
    return fee_atoms(fee_base(c, side, price, lots), size.maker_fee_numerator, size.maker_fee_denominator)


def reserve_atoms(c: LoopNumbers, side: int, price: int, rested: int, done: int) -> int:
    """What a resting order sets aside for its rest: quote with the maker fee for a buy, base for a sell."""
    size = c.maker.size
    if side < 0:
        return (rested - done) * size.base_atoms_per_lot
    fee = 0
    if not c.fees_in_received:
        fee = max(0, maker_fee(c, side, price, rested) - maker_fee(c, side, price, done))
    return price * (rested - done) * size.quote_atoms_per_tick_lot + fee


def reserve(s: Any, side: int, atoms: int) -> None:
    """Set aside: quote for a buy, base for a sell."""
    if side > 0:
        s.reserved_quote += atoms
    else:
        s.reserved_base += atoms


def free(s: Any, side: int, atoms: int) -> None:
    """Give back what was set aside."""
    reserve(s, side, -atoms)


def book_fill(s: Any, t: Tables, c: LoopNumbers, row: int, price: int, lots: int, fee: int, is_maker: int) -> None:
    """A fill: balances, books, the pause after it, and the log. The order's own row is updated, not removed."""
    orders = t.orders
    side = orders[SIDE, row]
    size = c.maker.size
    notional = price * lots * size.quote_atoms_per_tick_lot
    in_base = 1 if side > 0 and c.fees_in_received else 0
    s.base_atoms += side * lots * size.base_atoms_per_lot
    s.quote_atoms -= side * notional
    if in_base:
        s.base_atoms -= fee
        s.fees_base += fee
    else:
        s.quote_atoms -= fee
        s.fees_quote += fee
    if s.base_atoms < s.reserved_base or s.quote_atoms < s.reserved_quote or s.reserved_base < 0 or s.reserved_quote < 0:
        s.broken = 1
    s.volume += notional
    s.fills += 1
    orders[REMAINING, row] -= lots
    orders[FILLED, row] += lots
    until_ns = s.venue_now_ns + c.fill_pause_ns
    if side > 0:
        s.buy_paused_ns = until_ns
    else:
        s.sell_paused_ns = until_ns
    log, i = t.fill_log, s.n_fills
    log[i, 0] = s.venue_now_ns
    log[i, 1] = orders[NUMBER, row]
    log[i, 2] = side
    log[i, 3] = price
    log[i, 4] = lots
    log[i, 5] = fee
    log[i, 6] = is_maker
    log[i, 7] = in_base
    log[i, 8] = s.base_atoms
    log[i, 9] = s.quote_atoms
    log[i, 10] = s.mid_half
    log[i, 11] = 2 * s.last_trade if s.last_trade > 0 else s.mid_half
    s.n_fills = i + 1
    whole = orders[REMAINING, row] == 0
    # an order that is being cancelled and fills in part is told as such, like any other
    log_event(s, t.event_log, s.venue_now_ns, orders[NUMBER, row], FILLED_ if whole else PARTIALLY_FILLED, NONE)


def fill_maker(s: Any, t: Tables, c: LoopNumbers, row: int, lots: int) -> None:
    """A resting order gets `lots` at its own price; it leaves when nothing is left of it."""
    orders = t.orders
    side, price, rested = orders[SIDE, row], orders[PRICE, row], orders[RESTED, row]
    done = rested - orders[REMAINING, row]
    before = reserve_atoms(c, side, price, rested, done)
    reserve(s, side, reserve_atoms(c, side, price, rested, done + lots) - before)
    fee = maker_fee(c, side, price, done + lots) - maker_fee(c, side, price, done)
    book_fill(s, t, c, row, price, lots, fee, 1)
    if orders[REMAINING, row] == 0:
        remove_working(s, t.orders, row)
