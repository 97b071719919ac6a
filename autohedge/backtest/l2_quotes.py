"""A look at the quotes in the compiled loop: what the maker's `decide` is told, and what becomes of what it decides.

The order of things is that of `autohedge.lane`; a parity test holds the drivers together. A look that must come out as the last
one did, which left everything as it was, is only counted. Functions over one record and arrays, to be compiled.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from autohedge.backtest.l2_book import depth_score, imbalance, size_at
from autohedge.backtest.l2_layout import CANCELLING_, NEVER_NS, NUMBER, RESTING, LoopNumbers, Tables
from autohedge.backtest.l2_orders import add_working, log_event, note_request, requests_last_min, send, way_ns
from autohedge.backtest.l2_samples import (
    IMBALANCE_LEVELS,
    NS_PER_S,
    equity,
    update_daily_loss,
    update_drawdown,
    volatility_at,
)
from autohedge.domain.mandate import decayed, gone_frac
from autohedge.market_maker import reasons
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP, PAUSE_AFTER_REBALANCE_NS, Outcome, Situation, decide, ratio_at
from autohedge.market_maker.reasons import CROSSED, NONE, ONE_SIDED, STALE
from autohedge.market_maker.toxicity import NEXT_SAMPLE_NS, note_touch, signs_now, toxic_sides
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
from autohedge.risk.checks import Checked, blocked_reason, first_failure, raising_side

DEPTH_LEVELS = 10


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


NOTHING_SEEN: Final = Seen(0, 0, 0.0, NONE, NONE)


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
    is_quiet = nothing_new(s, now_ns)
    problem = NONE if is_quiet else market_problem(s, now_ns)
    seen = NOTHING_SEEN
    if c.sees_more and problem == NONE:
        seen = see(s, t, c, now_ns)
        is_quiet = is_quiet and seen_before(s, seen)
    if is_quiet:
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
        remember_look(s, seen, made.prices.bid_ticks > 0, distance_bps)
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


def remember_look(s: Any, seen: Seen, quoted: bool, distance_bps: float) -> None:
    """What a look saw that left everything as it was."""
    s.quiet_bid = s.best_bid
    s.quiet_ask = s.best_ask
    s.quiet_bid_lots = seen.bid_lots
    s.quiet_ask_lots = seen.ask_lots
    s.quiet_score = seen.depth_score
    s.quiet_buy_toxic = seen.buy_toxic
    s.quiet_sell_toxic = seen.sell_toxic
    s.quiet_quoted = 1 if quoted else 0
    s.quiet_distance_bps = distance_bps


def quiet_until(s: Any, t: Tables, c: LoopNumbers, now_ns: int) -> int:
    """Until when a look at the quotes must come out as the last one did, as far as time alone decides."""
    until_ns = (now_ns // NS_PER_S + 1) * NS_PER_S  # σ may change with the second, the daily loss with the day
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


def nothing_new(s: Any, now_ns: int) -> bool:
    """Whether what every decision depends on is as it was at the last look, which left everything as it was."""
    return bool(
        now_ns < s.quiet_until_ns
        and s.best_bid == s.quiet_bid
        and s.best_ask == s.quiet_ask
        and now_ns < s.stale_at_ns
        and s.stale_at_ns != NEVER_NS
        and s.valid
    )


def seen_before(s: Any, seen: Seen) -> bool:
    """The same for what only some configurations look at."""
    return bool(
        seen.depth_score == s.quiet_score
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


def sample_touch(s: Any, t: Tables, c: LoopNumbers, ts_ns: int) -> None:
    """The best sizes as they were before what is received now, for the toxicity guard."""
    bid_lots, ask_lots = 0, 0
    if s.valid and 0 < s.best_bid < s.best_ask:
        bid_lots, ask_lots = best_lots(s, t, c, 1), best_lots(s, t, c, -1)
    note_touch(t.guard, ts_ns, bid_lots, ask_lots)
    s.next_touch_ns = t.guard[NEXT_SAMPLE_NS]
