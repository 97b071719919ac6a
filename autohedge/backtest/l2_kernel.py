"""The loop over a recorded market: the same maker, risk, venue and books as the live engine, over arrays.

It is a second driver of one arithmetic: the maker's `decide`, the pre-trade checks, the queue, the fees and the measures are
the functions that the live engine calls. What is written here is only the order of things, which is that of `autohedge.lane`; a
parity test runs recordings through both and compares every order, event, fill and balance.

`run` stops at a time, at the end, or when a table might overflow with the next message; nothing is lost, and it goes on from
there. It makes no arrays, so that it can be compiled without counting references.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from autohedge.backtest.l2_book import (
    apply_row,
    clear_book,
    clear_depth,
    depth_moved_to,
    depth_score,
    imbalance,
    set_top,
    size_at,
)
from autohedge.backtest.l2_layout import (
    BEGINS_EVENT,
    BEGINS_MESSAGE,
    BROKEN,
    CANCELLING_,
    DONE,
    ENDS_EVENT,
    ENDS_MESSAGE,
    GAP,
    KIND_MASK,
    NEVER_NS,
    NUMBER,
    OPENED,
    RESTING,
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
from autohedge.backtest.l2_orders import add_working, log_event, note_request, requests_last_min, send, way_ns
from autohedge.backtest.l2_venue import arrivals
from autohedge.domain.mandate import decayed, gone_frac
from autohedge.domain.measures import base_value_atoms, realised_volatility, spread_bps_of
from autohedge.market_maker import reasons
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP, PAUSE_AFTER_REBALANCE_NS, Outcome, Situation, decide, ratio_at
from autohedge.market_maker.reasons import CROSSED, NONE, ONE_SIDED, STALE
from autohedge.market_maker.toxicity import NEXT_SAMPLE_NS, note_touch, note_trade, signs_now, toxic_sides
from autohedge.market_maker.working import (
    CANCEL_REASON,
    CANCEL_ROW,
    CANCELLING,
    CREATED,
    JOINED_BEHIND,
    MOST_AHEAD,
    NEW_LEVEL,
    NEW_PRICE,
    NEW_SIDE,
    NEW_SIZE,
    PRICE,
    SIDE,
    cancel_side,
    seen_in_queue,
    working_totals,
)
from autohedge.risk.checks import Checked, blocked_reason, daily_loss_limit_hit, first_failure, raising_side

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
GRID_MIDS = 121
GRID_WINDOW = 100
RETURNS = 20
DEPTH_LEVELS = 10
IMBALANCE_LEVELS = 5
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
    if now_ns >= t.guard[NEXT_SAMPLE_NS]:
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


def sample_grid(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """Statistics on the grid of whole seconds, from what was known before; then what is known from now on."""
    if ts_ns >= s.next_grid_ns:
        cross_grid(s, t, c, ts_ns)
    if s.best_bid < s.best_ask:
        s.grid_bid = s.best_bid
        s.grid_ask = s.best_ask
    elif s.best_ask == 0:
        s.grid_bid = 0
    if s.opened and ts_ns >= s.next_sample_ns:
        s.next_sample_ns = (ts_ns // c.sample_ns + 1) * c.sample_ns
        sample(s, t, c, ts_ns)


def cross_grid(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """Sample the grid seconds up to `ts_ns`; without a mid the samples are forgotten."""
    crossed = (ts_ns - s.next_grid_ns) // NS_PER_S + 1
    s.next_grid_ns = (ts_ns // NS_PER_S + 1) * NS_PER_S
    if s.grid_bid == 0:
        s.mids = 0
        s.samples_on_grid = 0
        return
    spread_bps = spread_bps_of(s.grid_bid, s.grid_ask)
    now_imbalance = imbalance(s, t.bids, t.asks, c, IMBALANCE_LEVELS)
    for _ in range(min(crossed, GRID_MIDS)):
        s.mids = push(t.mids, s.mids, GRID_MIDS, s.grid_bid + s.grid_ask)
        push_float(t.spreads, s.samples_on_grid, GRID_WINDOW, spread_bps)
        s.samples_on_grid = push_float(t.imbalances, s.samples_on_grid, GRID_WINDOW, now_imbalance)


def sample_touch(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """The best sizes as they were before what is received now, for the toxicity guard."""
    bid_lots, ask_lots = 0, 0
    if s.valid and 0 < s.best_bid < s.best_ask:
        bid_lots, ask_lots = best_lots(s, t, c, 1), best_lots(s, t, c, -1)
    note_touch(t.guard, ts_ns, bid_lots, ask_lots)


def push(values: Any, count: int, most: int, value: int) -> int:
    """Append to a list of at most `most`, whose oldest goes first; returns how many there are."""
    if count == most:
        for i in range(most - 1):
            values[i] = values[i + 1]
        count -= 1
    values[count] = value
    return count + 1


def push_float(values: Any, count: int, most: int, value: float) -> int:
    """The same for floats."""
    if count == most:
        for i in range(most - 1):
            values[i] = values[i + 1]
        count -= 1
    values[count] = value
    return count + 1


def volatility_at(s: Any, t: Tables, now_ns: int) -> float:
    """σ per hour of the mid on the 1 s grid up to `now_ns`; negative with fewer than 20 returns."""
    second = now_ns // NS_PER_S
    if s.volatility_second != second or second * NS_PER_S >= s.next_grid_ns:
        s.volatility_second = second
        s.volatility = measured_volatility(s, t, second)
    return float(s.volatility)


def measured_volatility(s: Any, t: Tables, second: int) -> float:
    """A quiet market repeats its mid for the seconds since the last sample."""
    count = s.mids
    ahead = second - (s.next_grid_ns // NS_PER_S - 1)
    if ahead > 0 and s.grid_bid > 0:
        for _ in range(min(ahead, RETURNS + 1)):
            t.mids[count] = s.grid_bid + s.grid_ask  # behind the samples, not among them
            count += 1
    if count <= RETURNS:
        return -1.0
    return realised_volatility(t.mids, count - RETURNS - 1, count - 1)


# --- value --------------------------------------------------------------------------------------------------------------------


def equity(s: Any, c: LoopNumbers) -> int:
    """Base at the mid plus quote, in quote atoms."""
    size = c.maker.size
    base_atoms = base_value_atoms(s.base_atoms, s.mid_half, size.quote_atoms_per_tick_lot, size.base_atoms_per_lot)
    return int(s.quote_atoms + base_atoms)


def update_drawdown(s: Any, equity_atoms: int) -> None:
    """The equity now, for the fall from its peak."""
    if equity_atoms >= s.peak:
        s.peak = equity_atoms
        s.drawdown = 0.0
    elif s.peak > 0:
        s.drawdown = (s.peak - equity_atoms) / s.peak
        s.max_drawdown = max(s.max_drawdown, s.drawdown)


def update_daily_loss(s: Any, c: LoopNumbers, now_ns: int, equity_atoms: int) -> None:
    """Once hit it stays hit until the next 00:00 UTC."""
    day = now_ns // NS_PER_DAY
    if day != s.day:
        if s.day >= 0:
            s.day_open = s.day_last
        s.day = day
        s.loss_hit = 0
    s.day_last = equity_atoms
    if s.loss_hit == 0 and daily_loss_limit_hit(c.limits, s.day_open, equity_atoms):
        s.loss_hit = 1


def sample(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """One point of the equity curve, as it was known just before `ts_ns`."""
    log, i = t.sample_log, s.n_samples
    log[i, 0] = ts_ns
    log[i, 1] = equity(s, c)
    log[i, 2] = s.base_atoms
    log[i, 3] = s.mid_half
    s.n_samples = i + 1


# --- the quotes ---------------------------------------------------------------------------------------------------------------


def market_problem(s: Any, now_ns: int) -> int:
    """Why the market cannot be traded; 0 when it can."""
    if s.valid == 0:
        return reasons.GAP
    if s.best_bid == 0 or s.best_ask == 0:
        return ONE_SIDED
    if s.best_bid >= s.best_ask:
        return CROSSED
    return STALE if now_ns >= s.stale_at_ns or s.stale_at_ns == NEVER_NS else NONE


def mandate_in_force(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> tuple[float, float, float, float]:
    """(spread multiplier, bias, size multiplier, risk score) that hold at `now_ns`."""
    while s.mandate + 1 < s.mandates and t.mandate_times[0, s.mandate + 1] <= now_ns:
        s.mandate += 1
    at = s.mandate
    if at < 0:
        return c.conservative_spread, 0.0, c.conservative_size, c.medium_risk_score
    values = t.mandate_values
    spread, bias, size, risk = values[0, at], values[1, at], values[2, at], values[3, at]
    valid_until_ns = t.mandate_times[1, at]
    if now_ns < valid_until_ns:
        return spread, bias, size, risk
    gone = gone_frac(now_ns, t.mandate_times[0, at], valid_until_ns)
    spread, bias, size = decayed(gone, spread, bias, size, c.conservative_spread, c.conservative_size)
    return spread, bias, size, min(risk, c.medium_risk_score)


class Seen(NamedTuple):
    """What a look at the quotes sees of the book besides its best prices; sizes are 0 where nothing depends on them."""

    bid_lots: int
    ask_lots: int
    depth_score: float
    buy_toxic: int
    sell_toxic: int


def see(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> Seen:
    """Look at a book that can be traded, and for the signs of the toxicity guard."""
    guard = c.maker.guard
    bid_lots, ask_lots, score, buy_toxic, sell_toxic = 0, 0, 0.0, NONE, NONE
    if c.maker.quote.microprice or guard.on:
        bid_lots, ask_lots = best_lots(s, t, c, 1), best_lots(s, t, c, -1)
    if c.maker.sizes_by_confidence:
        score = depth_score(s, t.bids, t.asks, c, DEPTH_LEVELS)
    if c.maker.queue_value_frac > 0.0:
        watch_queues(s, t, c)
    if guard.on:
        of_five = imbalance(s, t.bids, t.asks, c, IMBALANCE_LEVELS) if guard.imbalance > 0.0 else 0.0
        signs = signs_now(t.guard, guard, now_ns, bid_lots, ask_lots, of_five)
        buy_toxic, sell_toxic = toxic_sides(t.guard, guard, now_ns, signs)
    return Seen(bid_lots, ask_lots, score, buy_toxic, sell_toxic)


def watch_queues(s: Any, t: Tables, c: LoopNumbers) -> None:
    """Note what is displayed at the prices of the orders that rest."""
    orders = t.orders
    for i in range(s.working):
        if orders[RESTING, i] and orders[PRICE, i] > 0:
            shown = size_at(s, t.bids, t.asks, c, orders[SIDE, i], orders[PRICE, i])
            queue = seen_in_queue((orders[JOINED_BEHIND, i], orders[MOST_AHEAD, i]), shown)
            orders[JOINED_BEHIND, i], orders[MOST_AHEAD, i] = queue


def best_lots(s: Any, t: Tables, c: LoopNumbers, side: int) -> int:
    """Displayed lots at the best price of a side."""
    return size_at(s, t.bids, t.asks, c, side, s.best_bid if side > 0 else s.best_ask)


def reconsider(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> None:
    """Look at the quotes again, with everything that this counts and checks."""
    s.reconsidered += 1
    if s.buy_state == NONE:
        s.bid_up_ns += now_ns - s.last_reconsider_ns
    if s.sell_state == NONE:
        s.ask_up_ns += now_ns - s.last_reconsider_ns
    s.last_reconsider_ns = now_ns
    problem = market_problem(s, now_ns)
    seen = Seen(0, 0, 0.0, NONE, NONE)
    if problem == NONE:
        seen = see(s, t, c, now_ns)
        if nothing_new(s, now_ns, seen):
            repeat_look(s, t)
            return
    s.quiet_until_ns = 0
    worth = equity(s, c)
    update_drawdown(s, worth)
    update_daily_loss(s, c, now_ns, worth)
    mandate = mandate_in_force(s, t, c, now_ns)
    if problem or s.drained:
        withdraw(s, t, c, now_ns, reasons.DRAINED if s.drained else problem)
        return
    ratio = ratio_at(c.maker.size, s.base_atoms, (s.best_bid + s.best_ask) / 2.0)
    blocked = blocked_reason(ratio, s.loss_hit != 0, c.limits.max_inventory_imbalance)
    now = situation(s, t, c, now_ns, seen, mandate, blocked)
    made = decide(c.maker, now, t.glft, t.orders, s.working, t.decision)
    if made.rebalances:
        s.rebalance_paused_ns = now_ns + PAUSE_AFTER_REBALANCE_NS
    distance_bps = 0.0
    if made.prices.bid_ticks > 0:
        distance_bps = (1 - made.prices.bid_ticks / made.prices.mid_ticks) * 10_000
        s.quoted += 1
        s.distance_bps_sum += distance_bps
        s.market_spread_sum += s.best_ask - s.best_bid
    carry_out(s, t, c, now_ns, made, ratio, blocked)
    # a request budget that is nearly used up decides too, and grows with time
    ample = now.requests_left >= 2 * (s.working + 2 * c.maker.levels)
    ample = ample and now.requests_left >= c.maker.request_reserve_frac * now.requests_per_min
    if made.cancels == 0 and made.orders == 0 and ample:
        remember_look(s, seen, now_ns, made.prices.bid_ticks > 0, distance_bps)
        s.quiet_until_ns = quiet_until(s, t, c, now_ns)


def situation(
    s: Any, t: Tables, c: LoopNumbers, now_ns: int, seen: Seen, mandate: tuple[float, float, float, float], blocked: int
) -> Situation:
    """Everything that a decision depends on; `mandate` is (spread multiplier, bias, size multiplier, risk score)."""
    blocked_side = raising_side(s.base_atoms, c.maker.size.neutral_base_atoms) if blocked else 0
    return Situation(
        now_ns=now_ns,
        best_bid_ticks=s.best_bid,
        best_ask_ticks=s.best_ask,
        best_bid_lots=seen.bid_lots,
        best_ask_lots=seen.ask_lots,
        volatility=volatility_at(s, t, now_ns),
        depth_score=seen.depth_score,
        buy_toxic=seen.buy_toxic,
        sell_toxic=seen.sell_toxic,
        base_atoms=s.base_atoms,
        quote_atoms=s.quote_atoms,
        spread_multiplier=mandate[0],
        inventory_bias=mandate[1],
        size_multiplier=mandate[2],
        risk_score=mandate[3],
        blocked_side=blocked_side,
        requests_left=c.limits.max_requests_per_min - requests_last_min(s, t.requests, now_ns),
        requests_per_min=c.limits.max_requests_per_min,
        buy_paused_until_ns=s.buy_paused_ns,
        sell_paused_until_ns=s.sell_paused_ns,
        buy_denied_until_ns=s.buy_denied_ns,
        sell_denied_until_ns=s.sell_denied_ns,
        rebalance_paused_until_ns=s.rebalance_paused_ns,
        portfolio_bid_lots=NO_PORTFOLIO_CAP,
    )


def withdraw(s: Any, t: Tables, c: LoopNumbers, now_ns: int, reason: int) -> None:
    """Cancel every quote: there is no market, or no more quoting."""
    cancels = cancel_side(t.orders, s.working, 1, reason, t.decision, 0)
    cancels = cancel_side(t.orders, s.working, -1, reason, t.decision, cancels)
    ask_cancels(s, t, now_ns, cancels)
    send_cancels(s, t, c, now_ns, cancels)
    note_states(s, t, now_ns, reason, reason)
    note_quotes(s, t.quote_log, now_ns, 0, 0)


def remember_look(s: Any, seen: Seen, now_ns: int, quoted: bool, distance_bps: float) -> None:
    """What a look saw that left everything as it was."""
    s.quiet_bid = s.best_bid
    s.quiet_ask = s.best_ask
    s.quiet_bid_lots = seen.bid_lots
    s.quiet_ask_lots = seen.ask_lots
    s.quiet_second = now_ns // NS_PER_S
    s.quiet_score = seen.depth_score
    s.quiet_buy_toxic = seen.buy_toxic
    s.quiet_sell_toxic = seen.sell_toxic
    s.quiet_quoted = 1 if quoted else 0
    s.quiet_distance_bps = distance_bps


def quiet_until(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> int:
    """Until when a look at the quotes must come out as the last one did, as far as time alone decides."""
    until_ns = (now_ns // NS_PER_DAY + 1) * NS_PER_DAY
    at = s.mandate
    if at + 1 < s.mandates:
        until_ns = min(until_ns, t.mandate_times[0, at + 1])
    if at >= 0:
        if now_ns < t.mandate_times[1, at]:
            until_ns = min(until_ns, t.mandate_times[1, at])
        elif gone_frac(now_ns, t.mandate_times[0, at], t.mandate_times[1, at]) < 1.0:
            return 0
    for i in range(s.working):
        until_ns = min(until_ns, t.orders[CREATED, i] + c.maker.max_order_age_ns + 1)
    for paused_ns in (s.buy_paused_ns, s.sell_paused_ns, s.buy_denied_ns, s.sell_denied_ns, s.rebalance_paused_ns):
        if paused_ns > now_ns:
            until_ns = min(until_ns, paused_ns)
    return until_ns


def nothing_new(s: Any, now_ns: int, seen: Seen) -> bool:
    """Whether everything that a decision depends on is as it was at the last look, which left everything as it was."""
    return bool(
        now_ns < s.quiet_until_ns
        and s.best_bid == s.quiet_bid
        and s.best_ask == s.quiet_ask
        and now_ns // NS_PER_S == s.quiet_second
        and seen.depth_score == s.quiet_score
        and seen.bid_lots == s.quiet_bid_lots
        and seen.ask_lots == s.quiet_ask_lots
        and seen.buy_toxic == s.quiet_buy_toxic
        and seen.sell_toxic == s.quiet_sell_toxic
    )


def repeat_look(s: Any, t: Tables) -> None:
    """Count a look that came out as the last one did."""
    if s.quiet_quoted:
        s.quoted += 1
        s.distance_bps_sum += s.quiet_distance_bps
        s.market_spread_sum += s.best_ask - s.best_bid
    if s.buy_state:
        t.withheld[s.buy_state] += 1
    if s.sell_state:
        t.withheld[s.sell_state] += 1


def carry_out(s: Any, t: Tables, c: LoopNumbers, now_ns: int, made: Outcome, ratio: float, blocked: int) -> None:
    """Cancels and new orders: checked, recorded, sent; and how each side stands after that."""
    buy, sell = made.buy_withheld, made.sell_withheld
    buy_told = blocked if buy == reasons.BLOCKED else buy
    sell_told = blocked if sell == reasons.BLOCKED else sell
    if made.cancels or made.orders:
        for i in range(made.cancels):
            if t.decision[CANCEL_REASON, i] == reasons.BLOCKED:
                t.decision[CANCEL_REASON, i] = blocked
        ask_cancels(s, t, now_ns, made.cancels)
        first_number = s.next_number
        for i in range(made.orders):
            denied = place(s, t, c, now_ns, i, made.rebalances, ratio)
            if denied:
                if t.decision[NEW_SIDE, i] > 0:
                    buy_told = denied
                    s.buy_denied_ns = now_ns + c.denial_pause_ns
                else:
                    sell_told = denied
                    s.sell_denied_ns = now_ns + c.denial_pause_ns
        send_cancels(s, t, c, now_ns, made.cancels)
        for i in range(s.working):
            if t.orders[NUMBER, i] >= first_number:
                send(s, t.commands, way_ns(s, t, c, now_ns), now_ns, t.orders[NUMBER, i], 0, NONE)
    note_states(s, t, now_ns, buy_told, sell_told)
    bid, ask = made.prices.bid_ticks if buy == NONE else 0, made.prices.ask_ticks if sell == NONE else 0
    note_quotes(s, t.quote_log, now_ns, bid, ask)


def ask_cancels(s: Any, t: Tables, now_ns: int, cancels: int) -> None:
    """Mark and record the orders that are to be cancelled; nothing is sent yet."""
    for i in range(cancels):
        row = t.decision[CANCEL_ROW, i]
        t.orders[CANCELLING, row] = 1
        note_request(s, t.requests, now_ns)
        log_event(s, t.event_log, now_ns, t.orders[NUMBER, row], CANCELLING_, t.decision[CANCEL_REASON, i])


def send_cancels(s: Any, t: Tables, c: LoopNumbers, now_ns: int, cancels: int) -> None:
    """Send the cancels that were recorded."""
    for i in range(cancels):
        number, reason = t.orders[NUMBER, t.decision[CANCEL_ROW, i]], t.decision[CANCEL_REASON, i]
        send(s, t.commands, way_ns(s, t, c, now_ns), now_ns, number, 1, reason)


def place(s: Any, t: Tables, c: LoopNumbers, now_ns: int, i: int, rebalances: int, ratio: float) -> int:
    """Check and record the i-th new order; returns the check that denied it, or 0."""
    decision = t.decision
    side, price, lots, level = decision[NEW_SIDE, i], decision[NEW_PRICE, i], decision[NEW_SIZE, i], decision[NEW_LEVEL, i]
    order = Checked(
        now_ns,
        side,
        price,
        lots,
        s.best_bid,
        s.best_ask,
        s.base_atoms,
        s.quote_atoms,
        ratio,
        requests_last_min(s, t.requests, now_ns),
        False,
        s.loss_hit != 0,
    )
    totals = working_totals(c.maker.size, t.orders, s.working)
    denied = first_failure(c.limits, c.maker.size, order, totals, t.orders, s.working)
    number = s.next_number
    s.next_number = number + 1
    log, at = t.order_log, s.n_orders
    log[at, 0] = now_ns
    log[at, 1] = number
    log[at, 2] = side
    log[at, 3] = price
    log[at, 4] = lots
    log[at, 5] = level
    log[at, 6] = rebalances
    log[at, 7] = denied
    log[at, 8] = s.mandate
    s.n_orders = at + 1
    if denied:
        s.denied += 1
        return denied
    s.placed += 1
    add_working(s, t.orders, now_ns, number, side, price, lots, level, s.mandate)
    note_request(s, t.requests, now_ns)
    return NONE


def note_states(s: Any, t: Tables, now_ns: int, buy: int, sell: int) -> None:
    """Count why a side is withheld, and record when that changes."""
    if buy:
        t.withheld[buy] += 1
    if sell:
        t.withheld[sell] += 1
    if buy != s.buy_state:
        s.buy_state = buy
        log_state(s, t.quote_state_log, now_ns, 1, buy)
    if sell != s.sell_state:
        s.sell_state = sell
        log_state(s, t.quote_state_log, now_ns, -1, sell)


def log_state(s: Any, log: Any, now_ns: int, side: int, reason: int) -> None:
    """A side begins or stops being quoted."""
    i = s.n_quote_states
    log[i, 0] = now_ns
    log[i, 1] = side
    log[i, 2] = reason
    s.n_quote_states = i + 1


def note_quotes(s: Any, log: Any, now_ns: int, bid: int, ask: int) -> None:
    """What is wanted on the best level of each side, when that changes."""
    if bid != s.quoted_bid or ask != s.quoted_ask:
        s.quoted_bid = bid
        s.quoted_ask = ask
        i = s.n_quotes
        log[i, 0] = now_ns
        log[i, 1] = bid
        log[i, 2] = ask
        s.n_quotes = i + 1
