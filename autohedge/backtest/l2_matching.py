"""The matching core of the compiled loop: our orders rest, queue and fill, and what we take of the book stays taken.

The rules are those of `autohedge.simulation.matching` and `autohedge.simulation.queueing`, whose arithmetic is called here;
parity tests hold the drivers together. Functions over one record and arrays, to be compiled.
"""

from __future__ import annotations

from typing import Any

from autohedge.backtest.l2_book import newest_id, next_level, size_at
from autohedge.backtest.l2_layout import (
    AHEAD,
    CANCELLED,
    DELTA,
    GENERATION,
    KIND_MASK,
    RESTED,
    RESTING,
    SHOWN,
    SHOWN_AS_OF,
    SNAPSHOT,
    TAKEN_ROOM,
    UNMATCHED,
    UNMATCHED_BEFORE,
    UNREPORTED,
    UNREPORTED_BEFORE,
    LoopNumbers,
    MarketTable,
    Tables,
)
from autohedge.backtest.l2_orders import book_fill, fee_base, fill_maker, is_halted, log_event, note_resting, remove_working
from autohedge.market_maker.reasons import INSUFFICIENT_DEPTH
from autohedge.market_maker.sizing import fee_atoms
from autohedge.market_maker.working import PRICE, REMAINING, SIDE
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
