"""The loop over a recorded market: the same maker, risk, venue and books as the live engine, over arrays.

It is a second driver of one arithmetic: the maker's `decide`, the pre-trade checks, the queue, the fees and the measures are
the functions that the live engine calls. What is written here is only the order of things, which is that of `autohedge.lane`; a
parity test runs recordings through both and compares every order, event, fill and balance.

`run` stops at a time, at the end, or when a table might overflow with the next message; nothing is lost, and it goes on from
there. It makes no arrays, so that it can be compiled without counting references.
"""

from __future__ import annotations

from typing import Any

from autohedge.backtest.l2_book import apply_row, clear_book, clear_depth, depth_moved_to, set_top
from autohedge.backtest.l2_layout import (
    BEGINS_EVENT,
    BEGINS_MESSAGE,
    BROKEN,
    DONE,
    ENDS_EVENT,
    ENDS_MESSAGE,
    GAP,
    KIND_MASK,
    NEVER_NS,
    OPENED,
    ROOM,
    SNAPSHOT,
    TOP,
    TRADE,
    UNTIL,
    LoopNumbers,
    MarketTable,
    Tables,
)
from autohedge.backtest.l2_matching import on_book, on_trade
from autohedge.backtest.l2_quotes import ask_cancels, note_states, reconsider, sample_touch, send_cancels
from autohedge.backtest.l2_samples import equity, sample, sample_grid, update_drawdown
from autohedge.backtest.l2_venue import arrivals
from autohedge.market_maker.toxicity import note_trade
from autohedge.market_maker.working import cancel_side

JUST_OPENED, LONG_OPEN = 1, 2


def run(c: LoopNumbers, market: MarketTable, t: Tables, until_ns: int) -> int:
    """Take messages up to but not including `until_ns`; returns why it stopped (`DONE`, `UNTIL`, `ROOM`, `BROKEN`)."""
    s = t.state[0]
    rows = market.ts_ns.shape[0]
    row = s.row
    while row < rows:
        ts_ns = market.ts_ns[row]
        op = market.op[row]
        consumes = True
        at_ns = ts_ns
        if op & BEGINS_MESSAGE:
            if ts_ns >= until_ns:
                s.row = row
                return UNTIL
            if not has_room(s, t, c):
                s.row = row
                return ROOM
            if s.broken:
                s.row = row
                return BROKEN
            if ts_ns >= s.stale_at_ns:
                # the quotes are pulled as of the moment when the data became too old
                at_ns = s.stale_at_ns
                s.stale_at_ns = NEVER_NS
                consumes = s.opened == 0
                if consumes:
                    at_ns = ts_ns
            if consumes:
                s.messages += 1
            move_to(s, t, c, at_ns)
        due = not consumes
        if consumes:
            if op & BEGINS_EVENT:
                s.event_begin = row
                if op & KIND_MASK == SNAPSHOT:
                    clear_depth(s, t.bids, t.asks, c.base_tick)
                    s.valid = 1
            take_row(s, t, c, market, row, op, ts_ns)
            if op & ENDS_MESSAGE and s.opened and ts_ns >= s.next_requote_ns:
                s.next_requote_ns = ts_ns + c.requote_ns
                due = True
            row += 1
        if due:
            reconsider(s, t, c, at_ns)
        if s.opened == JUST_OPENED and op & ENDS_MESSAGE:
            s.opened = LONG_OPEN
            s.row = row
            return OPENED
    s.row = row
    return BROKEN if s.broken else DONE


def move_to(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> None:
    """It is now so late: commands arrive, and a new second samples the touch."""
    s.now_ns = now_ns
    if now_ns >= s.next_arrival_ns:
        arrivals(s, t, c, now_ns)
    if now_ns >= s.next_touch_ns:
        sample_touch(s, t, c, now_ns)


def go_stale(c: LoopNumbers, t: Tables) -> int:
    """Time has passed without any message: the quotes are pulled as of the moment when the data became too old."""
    s = t.state[0]
    at_ns = s.stale_at_ns
    s.stale_at_ns = NEVER_NS
    if s.opened:
        s.now_ns = at_ns
        arrivals(s, t, c, at_ns)
        reconsider(s, t, c, at_ns)
    return BROKEN if s.broken else DONE


def drain(c: LoopNumbers, t: Tables, reason: int, tries_left: int) -> int:
    """Cancel every quote and wait until the venue has answered; keep the inventory. `ROOM`: what is left is asked again."""
    s = t.state[0]
    s.stale_at_ns = NEVER_NS
    s.drained = 1
    now_ns = max(s.now_ns, s.venue_now_ns)
    cancels = cancel_side(t.orders, s.working, 1, reason, t.decision, 0)
    cancels = cancel_side(t.orders, s.working, -1, reason, t.decision, cancels)
    ask_cancels(s, t, now_ns, cancels)
    send_cancels(s, t, c, now_ns, cancels)
    arrivals(s, t, c, NEVER_NS)
    if s.working and tries_left and s.broken == 0:
        return ROOM
    note_states(s, t, s.now_ns, reason, reason)
    update_drawdown(s, equity(s, c))
    sample(s, t, c, s.now_ns)
    return BROKEN if s.broken else DONE


def has_room(s: Any, t: Tables, c: LoopNumbers) -> bool:
    """Whether every table has room for whatever one message can bring about."""
    orders = s.working
    quotes = 2 * c.maker.levels
    most = 4 * (orders + quotes) + 5_000  # a crossing order may take as many levels
    return bool(
        orders + quotes < t.orders.shape[1]
        and s.commands_tail - s.commands_head + orders + quotes < t.commands.shape[1]
        and s.n_orders + quotes < t.order_log.shape[0]
        and s.n_events + most < t.event_log.shape[0]
        and s.n_fills + most < t.fill_log.shape[0]
        and s.n_quote_states + 8 < t.quote_state_log.shape[0]
        and s.n_mids + 16 < t.mid_log.shape[0]
        and s.n_samples + 8 < t.sample_log.shape[0]
        and s.n_quotes + 8 < t.quote_log.shape[0]
    )


# --- one row of the market --------------------------------------------------------------------------------------------------


def take_row(s: Any, t: Tables, c: LoopNumbers, market: MarketTable, row: int, op: int, ts_ns: int) -> None:
    """Apply a row; at the end of its event sample, note the mid and match our orders."""
    kind = op & KIND_MASK
    if kind == TRADE:
        price = market.price_ticks[row]
        sample_grid(s, t, c, ts_ns)
        s.last_trade = price
        if c.maker.guard.trades_ratio > 0.0:
            note_trade(t.guard, ts_ns, c.maker.guard.slice_ns, market.side[row] * market.size_lots[row])
        if s.resting:
            # a seller hits our bids
            side = -market.side[row]
            own = s.own_bid if side > 0 else s.own_ask
            if own > 0 and (own - price) * side >= 0:
                s.venue_now_ns = max(s.venue_now_ns, ts_ns)
                on_trade(s, t, c, side, price, market.size_lots[row])
        return
    if kind >= GAP:
        if kind == GAP:
            clear_book(s, t.bids, t.asks, c.base_tick)
            s.next_requote_ns = 0
        return
    apply_row(s, t.bids, t.asks, c, market, row)
    if not op & ENDS_EVENT:
        return
    if kind == TOP:
        set_top(s, market.last_id[row])
    else:
        depth_moved_to(s, market.last_id[row])
    sample_grid(s, t, c, ts_ns)
    s.stale_at_ns = s.now_ns + c.limits.max_data_age_ns
    if s.best_bid > 0 and s.best_ask > 0:
        mid_half = s.best_bid + s.best_ask
        if mid_half != s.mid_half:
            s.mid_half = mid_half
            t.mid_log[s.n_mids, 0] = s.now_ns
            t.mid_log[s.n_mids, 1] = mid_half
            s.n_mids += 1
        if s.opened == 0 and s.best_bid < s.best_ask and s.now_ns >= s.begin_ns:
            open_books(s, t, c)
    if s.resting or s.taken_bids or s.taken_asks:
        s.venue_now_ns = max(s.venue_now_ns, ts_ns)
        on_book(s, t, c, market, s.event_begin, row)


def open_books(s: Any, t: Tables, c: LoopNumbers) -> None:
    """The first price is known: the opening inventory gets its value."""
    s.opened = JUST_OPENED
    s.opened_at_ns = s.now_ns
    worth = equity(s, c)
    s.day_open = worth
    update_drawdown(s, worth)
    s.last_reconsider_ns = s.now_ns
    s.next_sample_ns = (s.now_ns // c.sample_ns + 1) * c.sample_ns
    sample(s, t, c, s.now_ns)
