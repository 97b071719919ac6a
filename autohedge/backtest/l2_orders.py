"""The venue and the order desk of the compiled loop: commands travel, orders rest, queue, fill and end.

The rules are those of `autohedge.venues.paper`, `autohedge.simulation.matching` and `autohedge.execution.order_desk`, whose
arithmetic is called here; a parity test holds the drivers together. Functions over one record and arrays, to be compiled.
"""

from __future__ import annotations

from typing import Any

from autohedge.backtest.l2_book import newest_id, next_level, size_at
from autohedge.backtest.l2_layout import (
    ACCEPTED,
    AHEAD,
    ARRIVAL,
    CANCEL_REJECTED,
    CANCELLED,
    DELTA,
    FILLED_,
    FOR_NUMBER,
    FOR_REASON,
    GENERATION,
    IS_CANCEL,
    KIND_MASK,
    MANDATE,
    NEVER_NS,
    NUMBER,
    PARTIALLY_FILLED,
    REJECTED,
    RESTED,
    RESTING,
    SHOWN,
    SHOWN_AS_OF,
    SIZE,
    SNAPSHOT,
    TAKEN_ROOM,
    UNMATCHED,
    UNMATCHED_BEFORE,
    UNREPORTED,
    UNREPORTED_BEFORE,
    WORKING_ROWS,
    LoopNumbers,
    MarketTable,
    Tables,
)
from autohedge.market_maker.decision import CANCELLING, CREATED, FILLED, LEVEL, PRICE, REMAINING, SIDE
from autohedge.market_maker.reasons import (
    HALTED,
    INSUFFICIENT_BALANCE,
    INSUFFICIENT_DEPTH,
    MAX_NOTIONAL,
    MIN_NOTIONAL,
    NO_MARKET,
    NONE,
    NOT_OPEN,
    POST_ONLY_WOULD_CROSS,
    REQUEST_FAILED,
    SELF_TRADE,
)
from autohedge.market_maker.sizing import fee_atoms
from autohedge.simulation.conditions import request_fails
from autohedge.simulation.latency import CONSTANT, FEED, LatencyNumbers, drawn_ns, entries_before
from autohedge.simulation.matching import is_marketable
from autohedge.simulation.queueing import (
    AT_FRONT,
    BEHIND_ALL,
    advance_queue,
    age_unreported,
    cancelled_ahead,
    cap_queue,
    match_fall,
    match_trade,
)

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


def is_halted(s: Any, halts: Any) -> bool:
    """Whether it is a halt at the venue now; halts that are over are left behind."""
    while s.halt < halts.shape[0] and halts[s.halt, 1] <= s.venue_now_ns:
        s.halt += 1
    s.halt_from_ns = halts[s.halt, 0] if s.halt < halts.shape[0] else NEVER_NS
    return bool(s.halt_from_ns <= s.venue_now_ns)


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


# --- resting and matching ---------------------------------------------------------------------------------------------------


def rest(s: Any, t: Tables, c: LoopNumbers, row: int, lots: int) -> None:
    """Put an order into the market, behind what is displayed at its price now and behind our own earlier ones."""
    orders = t.orders
    side, price = orders[SIDE, row], orders[PRICE, row]
    orders[RESTED, row] = lots
    orders[GENERATION, row] = s.venue_now_ns // c.report_lag_ns
    if c.queue_model != AT_FRONT:
        orders[AHEAD, row] = size_at(s, t.bids, t.asks, c, side, price)
        orders[SHOWN, row] = orders[AHEAD, row]
        orders[SHOWN_AS_OF, row] = as_of(s, side, price)
        earlier = -1
        for i in range(s.working):
            if i != row and orders[RESTING, i] and orders[SIDE, i] == side and orders[PRICE, i] == price:
                earlier = i
        if earlier >= 0:
            orders[GENERATION, row] = orders[GENERATION, earlier]
            orders[UNREPORTED, row] = orders[UNREPORTED, earlier]
            orders[UNREPORTED_BEFORE, row] = orders[UNREPORTED_BEFORE, earlier]
            orders[UNMATCHED, row] = max(0, orders[UNMATCHED, earlier])
            orders[UNMATCHED_BEFORE, row] = max(0, orders[UNMATCHED_BEFORE, earlier])
    orders[RESTING, row] = 1
    note_resting(s, t.orders)


def age(s: Any, t: Tables, c: LoopNumbers, row: int) -> None:
    """What left the display too long ago will not be explained by a trade any more."""
    orders = t.orders
    generation = s.venue_now_ns // c.report_lag_ns
    passed = generation - orders[GENERATION, row]
    if passed != 0:
        orders[GENERATION, row] = generation
        aged = age_unreported(passed, orders[UNREPORTED, row], orders[UNREPORTED_BEFORE, row])
        orders[UNREPORTED, row], orders[UNREPORTED_BEFORE, row] = aged
        if c.queue_model > BEHIND_ALL:
            aged = age_unreported(passed, orders[UNMATCHED, row], orders[UNMATCHED_BEFORE, row])
            orders[UNMATCHED, row], orders[UNMATCHED_BEFORE, row] = aged


def best_resting(s: Any, t: Tables, side: int, from_row: int, worse_than: int) -> int:
    """The next of our resting orders of a side in priority (price, then row), after one at price `worse_than` and row
    `from_row`; −1 when there is none. `worse_than` 0 asks for the first."""
    orders = t.orders
    best = -1
    for i in range(s.working):
        if orders[RESTING, i] == 0 or orders[SIDE, i] != side:
            continue
        price = orders[PRICE, i]
        if worse_than > 0:
            behind = (worse_than - price) * side
            if behind < 0 or (behind == 0 and i <= from_row):
                continue
        if best < 0 or (price - orders[PRICE, best]) * side > 0:
            best = i
    return best


def on_trade(s: Any, t: Tables, c: LoopNumbers, side: int, price: int, lots: int) -> None:
    """One trade over all our orders on the side it hit: each of its lots is used at most once."""
    if s.venue_now_ns >= s.halt_from_ns and is_halted(s, t.halts):
        return
    orders = t.orders
    left = lots
    row, at = -1, 0
    while True:
        row = best_resting(s, t, side, row, at)
        if row < 0:
            break
        at = orders[PRICE, row]
        beyond = (at - price) * side
        if beyond < 0:
            break
        if beyond > 0:
            orders[AHEAD, row] = 0
            orders[UNREPORTED, row] = 0
            orders[UNREPORTED_BEFORE, row] = 0
            got = min(left, orders[REMAINING, row])
        else:
            got = meet_trade(s, t, c, row, left)
        if got:
            left -= got
            whole = got == orders[REMAINING, row]
            fill_maker(s, t, c, row, got)
            if whole:
                row -= 1
    note_resting(s, t.orders)


def meet_trade(s: Any, t: Tables, c: LoopNumbers, row: int, lots: int) -> int:
    """`lots` met the orders at our price; returns how many of them reach this one."""
    orders = t.orders
    age(s, t, c, row)
    waiting = orders[UNREPORTED_BEFORE, row] + orders[UNREPORTED, row]
    ahead, still_waiting, reached = advance_queue(orders[AHEAD, row], waiting, lots)
    orders[AHEAD, row] = ahead
    explained = waiting - still_waiting
    from_before = min(explained, orders[UNREPORTED_BEFORE, row])
    orders[UNREPORTED_BEFORE, row] -= from_before
    orders[UNREPORTED, row] -= explained - from_before
    if c.queue_model > BEHIND_ALL:
        orders[UNMATCHED, row], orders[UNMATCHED_BEFORE, row] = match_trade(
            orders[UNMATCHED, row], orders[UNMATCHED_BEFORE, row], lots
        )
    return int(min(reached, orders[REMAINING, row]))


def on_book(s: Any, t: Tables, c: LoopNumbers, market: MarketTable, first_row: int, last_row: int) -> None:
    """A changed display: levels that changed are free again, it caps our queues, and it may cross our orders."""
    if s.valid == 0:
        return
    if s.venue_now_ns >= s.halt_from_ns and is_halted(s, t.halts):
        return
    if s.taken_bids or s.taken_asks:
        release_changed(s, t, c, market, first_row, last_row)
    if s.queued:
        if c.queue_model == BEHIND_ALL:
            see_shown(s, t, c)
        else:
            see_changes(s, t, c)
    if s.own_bid > 0 and 0 < s.best_ask <= s.own_bid:
        crossed(s, t, c, 1)
    elif s.own_ask > 0 and s.best_bid >= s.own_ask:
        crossed(s, t, c, -1)


def see_shown(s: Any, t: Tables, c: LoopNumbers) -> None:
    """No more can be ahead of an order than is displayed at its price."""
    orders = t.orders
    changed = False
    for i in range(s.working):
        if orders[RESTING, i] and orders[AHEAD, i] > 0:
            shown = size_at(s, t.bids, t.asks, c, orders[SIDE, i], orders[PRICE, i])
            if shown < orders[AHEAD, i]:
                age(s, t, c, i)
                orders[AHEAD, i], orders[UNREPORTED, i] = cap_queue(orders[AHEAD, i], orders[UNREPORTED, i], shown)
                changed = changed or orders[AHEAD, i] == 0
    if changed:
        note_resting(s, t.orders)


def see_changes(s: Any, t: Tables, c: LoopNumbers) -> None:
    """What no trade explains of a displayed fall was cancelled, partly ahead of us; an older display is no news."""
    orders = t.orders
    reached = False
    for i in range(s.working):
        if orders[RESTING, i] == 0 or orders[AHEAD, i] == 0:
            continue
        as_of_id = as_of(s, orders[SIDE, i], orders[PRICE, i])
        if as_of_id < orders[SHOWN_AS_OF, i]:
            continue
        shown = size_at(s, t.bids, t.asks, c, orders[SIDE, i], orders[PRICE, i])
        fallen = orders[SHOWN, i] - shown
        orders[SHOWN, i] = shown
        orders[SHOWN_AS_OF, i] = as_of_id
        if fallen > 0:
            age(s, t, c, i)
            unmatched, before, cancelled = match_fall(orders[UNMATCHED, i], orders[UNMATCHED_BEFORE, i], fallen)
            orders[UNMATCHED, i] = unmatched
            orders[UNMATCHED_BEFORE, i] = before
            behind = shown + cancelled - orders[AHEAD, i]
            gone = cancelled_ahead(c.queue_model, c.queue_power, orders[AHEAD, i], behind, cancelled)
            orders[AHEAD, i] -= gone
            orders[UNREPORTED, i] += gone
            reached = reached or orders[AHEAD, i] == 0
    if reached:
        note_resting(s, t.orders)


def as_of(s: Any, side: int, price: int) -> int:
    """The update as of which a price is displayed: at the best price and before it that of the newest quote."""
    best = s.best_bid if side > 0 else s.best_ask
    return int(newest_id(s) if best == 0 or (price - best) * side >= 0 else s.last_update_id)


def crossed(s: Any, t: Tables, c: LoopNumbers, side: int) -> None:
    """The display reaches our orders: they get what it shows at their price or better."""
    if s.best_bid >= s.best_ask > 0:
        return
    orders = t.orders
    row, at = -1, 0
    while True:
        row = best_resting(s, t, side, row, at)
        if row < 0:
            return
        at = orders[PRICE, row]
        got = take(s, t, c, side, at, orders[REMAINING, row])
        if got == 0:
            return
        whole = got == orders[REMAINING, row]
        fill_maker(s, t, c, row, got)
        if whole:
            row -= 1


# --- taking -------------------------------------------------------------------------------------------------------------------


def taken_at(s: Any, t: Tables, side: int, price: int) -> int:
    """Where the opposite level of an order of `side` is remembered as taken; −1 when nothing of it is."""
    taken = t.taken
    which = 1 if side > 0 else 0
    for i in range(s.taken_asks if side > 0 else s.taken_bids):
        if taken[which, 0, i] == price:
            return i
    return -1


def available(s: Any, t: Tables, c: LoopNumbers, side: int, price: int) -> int:
    """What is left of an opposite level for an order of `side`."""
    shown = size_at(s, t.bids, t.asks, c, -side, price)
    at = taken_at(s, t, side, price)
    return int(shown - t.taken[1 if side > 0 else 0, 1, at]) if at >= 0 else shown


def take(s: Any, t: Tables, c: LoopNumbers, side: int, limit: int, lots: int) -> int:
    """Take up to `lots` of the opposite levels up to `limit`, for a resting order that they crossed; returns how many."""
    got = 0
    price = 0
    while got < lots:
        price = next_level(s, t.bids, t.asks, c.base_tick, -side, price)
        if price == 0 or (limit - price) * side < 0:
            break
        here = min(lots - got, available(s, t, c, side, price))
        if here > 0:
            note_taken(s, t, c, side, price, here)
            got += here
    return got


def cost_of_taking(s: Any, t: Tables, c: LoopNumbers, side: int, lots: int) -> tuple[int, int]:
    """(worst price, quote atoms with the fee) of a market order; the price is 0 when there is nothing to take."""
    size = c.maker.size
    price, worst, cost, left = 0, 0, 0, lots
    while left > 0:
        price = next_level(s, t.bids, t.asks, c.base_tick, -side, price)
        if price == 0:
            break
        here = min(left, available(s, t, c, side, price))
        if here > 0:
            worst = price
            cost += price * here * size.quote_atoms_per_tick_lot
            left -= here
    if not (side > 0 and c.fees_in_received):
        cost += max(0, fee_atoms(cost, size.taker_fee_numerator, size.taker_fee_denominator))
    return worst, cost


def take_at_market(s: Any, t: Tables, c: LoopNumbers, row: int, number: int) -> None:
    """A market order takes level by level, its fee rounded up over all of them; what the book does not have is cancelled."""
    orders = t.orders
    size = c.maker.size
    side = orders[SIDE, row]
    price, paid_on = 0, 0
    while orders[REMAINING, row] > 0:
        price = next_level(s, t.bids, t.asks, c.base_tick, -side, price)
        if price == 0:
            break
        here = min(orders[REMAINING, row], available(s, t, c, side, price))
        if here > 0:
            note_taken(s, t, c, side, price, here)
            amount = fee_base(c, side, price, here)
            fee = fee_atoms(paid_on + amount, size.taker_fee_numerator, size.taker_fee_denominator) - fee_atoms(
                paid_on, size.taker_fee_numerator, size.taker_fee_denominator
            )
            paid_on += amount
            book_fill(s, t, c, row, price, here, fee, 0)
    if orders[REMAINING, row] > 0:
        s.cancelled += 1
        log_event(s, t.event_log, s.venue_now_ns, number, CANCELLED, INSUFFICIENT_DEPTH)
    remove_working(s, t.orders, row)


def note_taken(s: Any, t: Tables, c: LoopNumbers, side: int, price: int, lots: int) -> None:
    """What we took of a level stays taken until that level changes."""
    taken = t.taken
    which = 1 if side > 0 else 0
    at = taken_at(s, t, side, price)
    if at < 0:
        at = s.taken_asks if side > 0 else s.taken_bids
        if at == TAKEN_ROOM:
            s.broken = 2
            return
        if side > 0:
            s.taken_asks = at + 1
        else:
            s.taken_bids = at + 1
        taken[which, 0, at] = price
        taken[which, 1, at] = 0
    taken[which, 1, at] += lots
    taken[which, 2, at] = size_at(s, t.bids, t.asks, c, -side, price)
    taken[which, 3, at] = newest_id(s)


def release_changed(s: Any, t: Tables, c: LoopNumbers, market: MarketTable, first_row: int, last_row: int) -> None:
    """Forget what we took of levels that changed since: another size is displayed, or a later update names them."""
    kind = market.op[last_row] & KIND_MASK
    for which in range(2):
        side = 1 if which == 0 else -1  # the side of the book
        count = s.taken_bids if which == 0 else s.taken_asks
        kept = 0
        for i in range(count):
            price = t.taken[which, 0, i]
            gone = kind == SNAPSHOT or size_at(s, t.bids, t.asks, c, side, price) != t.taken[which, 2, i]
            if not gone and kind == DELTA and market.first_id[last_row] > t.taken[which, 3, i]:
                for row in range(first_row, last_row + 1):
                    if market.side[row] == side and market.price_ticks[row] == price:
                        gone = True
                        break
            if not gone:
                for field in range(4):
                    t.taken[which, field, kept] = t.taken[which, field, i]
                kept += 1
        if which == 0:
            s.taken_bids = kept
        else:
            s.taken_asks = kept
