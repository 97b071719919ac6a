"""What the maker wants now, as one function over plain numbers: prices, sizes, and what becomes of the orders that work.

An order that is good enough keeps its queue place; one that is not is cancelled and replaced, and until the cancel is
confirmed it still counts against every limit. The live engine runs `decide` as it stands and the backtest compiles it, so a
rule of the maker is written here once.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Final, NamedTuple

from autohedge.market_maker.quoting import (
    QuoteNumbers,
    QuotePrices,
    Table,
    confidence_of,
    fair_value,
    inventory_ratio,
    quote_prices,
)
from autohedge.market_maker.reasons import (
    BELOW_MIN_NOTIONAL,
    BLOCKED,
    DENIED,
    EXPOSURE_CAP,
    NO_BASE,
    NO_QUOTE,
    NONE,
    ORDER_RATE,
    PAUSED,
    PORTFOLIO_EXPOSURE,
    PRICE_BELOW_A_TICK,
    REBALANCE,
    REFRESH,
    REPLACING,
    SELF_TRADE,
)
from autohedge.market_maker.sizing import (
    NO_ORDERS,
    SizeNumbers,
    Totals,
    affordable,
    exposure,
    order_size,
    placeable,
    scaled,
    with_order,
)
from autohedge.market_maker.toxicity import GuardNumbers
from autohedge.market_maker.working import (
    BUY,
    CANCEL_REASON,
    CANCEL_ROW,
    CREATED,
    FILLED,
    JOINED_BEHIND,
    MOST_AHEAD,
    NEW_LEVEL,
    NEW_SIDE,
    PRICE,
    REMAINING,
    SELL,
    SIDE,
    Columns,
    cancel_level,
    cancel_side,
    is_live,
    live_orders,
    meets_own,
    totals_without,
    want,
    working_totals,
)

NO_PORTFOLIO_CAP: Final = -1
PAUSE_AFTER_REBALANCE_NS: Final = 10_000_000_000
"""Between two crossing orders the book may refill and the quotes, at full skew, may do the work; one denied blocks nothing."""


class MakerNumbers(NamedTuple):
    """Everything of the configuration that a decision depends on; `hanging_frac` is 0 where orders do not hang."""

    quote: QuoteNumbers
    size: SizeNumbers
    guard: GuardNumbers
    max_order_age_ns: int
    tolerance_frac: float
    rebalances: int
    levels: int
    level_spacing_frac: float
    level_size_factor: float
    sizes_by_confidence: int
    request_reserve_frac: float
    queue_value_frac: float
    hanging_frac: float
    fill_pause_ns: int


class Situation(NamedTuple):
    """What a decision depends on besides the configuration and the working orders.

    The market can be traded. The best sizes may be 0 where nothing depends on them. σ per hour is negative while unknown. A
    toxic side is one whose quotes are about to be run over, with the reason (0: it is not). `blocked_side` is the side that
    risk forbids (±1; 0 none); `requests_left` is what the venue's request budget still allows (cancels are never held back).
    The pauses end at their times; a denied side is one that our own risk refused. `portfolio_bid_lots` is the most that all
    buys of this maker together may have, given what others on the same capital hold (`NO_PORTFOLIO_CAP`: no such limit).
    """

    now_ns: int
    best_bid_ticks: int
    best_ask_ticks: int
    best_bid_lots: int
    best_ask_lots: int
    volatility: float
    depth_score: float
    buy_toxic: int
    sell_toxic: int
    base_atoms: int
    quote_atoms: int
    spread_multiplier: float
    inventory_bias: float
    size_multiplier: float
    risk_score: float
    blocked_side: int
    requests_left: int
    requests_per_min: int
    buy_paused_until_ns: int
    sell_paused_until_ns: int
    buy_denied_until_ns: int
    sell_denied_until_ns: int
    rebalance_paused_until_ns: int
    portfolio_bid_lots: int = NO_PORTFOLIO_CAP


class WantedQuote(NamedTuple):
    """One quote that is wanted: at `price_ticks`, worth `value_atoms` × `factor`.

    An order that works is near enough to it within a fraction of the price, which may be another for one that is nearer to the
    market than wanted.
    """

    side: int
    level: int
    price_ticks: int
    value_atoms: int
    factor: float
    too_near_frac: float
    too_far_frac: float


class Outcome(NamedTuple):
    """How many rows of `DecisionColumns` hold, why each side's best quote is withheld (0: it is not), and the terms."""

    cancels: int
    orders: int
    buy_withheld: int
    sell_withheld: int
    rebalances: int
    prices: QuotePrices
    confidence: float


def ratio_at(size: SizeNumbers, base_atoms: int, mid_ticks: float) -> float:
    """inventory_ratio at this mid."""
    per_lot = float(size.base_atoms_per_lot)
    max_lots = float(size.cap_atoms) / (mid_ticks * size.quote_atoms_per_tick_lot)
    return inventory_ratio(float(base_atoms) / per_lot, float(size.neutral_base_atoms) / per_lot, max_lots)


def order_sizes_off_neutral(size: SizeNumbers, base_atoms: int, mid_ticks: float) -> float:
    """q of the literature: base beyond neutral in order sizes, where one is the configured value at the mid."""
    lots = float(base_atoms - size.neutral_base_atoms) / float(size.base_atoms_per_lot)
    return lots * mid_ticks * size.quote_atoms_per_tick_lot / float(size.order_value_atoms)


def full_skew(size: SizeNumbers, base_atoms: int, mid_ticks: float) -> int:
    """−1 when base beyond neutral is worth more than the rebalance threshold, +1 when as much is missing, else 0."""
    off_lots = float(base_atoms - size.neutral_base_atoms) / float(size.base_atoms_per_lot)
    off_atoms = off_lots * mid_ticks * size.quote_atoms_per_tick_lot
    if abs(off_atoms) <= size.rebalance_atoms:
        return 0
    return -1 if off_atoms > 0 else 1


def decide(numbers: MakerNumbers, now: Situation, table: Table, orders: Columns, n: int, out: Columns) -> Outcome:
    """Look at the quotes again: cancels and new orders go into `out`. `table` is kept by the caller for the exact model."""
    size = numbers.size
    widening = numbers.guard.widening
    mid = (now.best_bid_ticks + now.best_ask_ticks) / 2.0
    skew = full_skew(size, now.base_atoms, mid)
    prices = quote_prices(
        numbers.quote,
        table,
        now.best_bid_ticks,
        now.best_ask_ticks,
        fair_value(numbers.quote, now.best_bid_ticks, now.best_ask_ticks, now.best_bid_lots, now.best_ask_lots),
        now.volatility,
        ratio_at(size, now.base_atoms, mid),
        order_sizes_off_neutral(size, now.base_atoms, mid),
        now.spread_multiplier,
        now.inventory_bias,
        skew,
        widening if now.buy_toxic else 1.0,
        widening if now.sell_toxic else 1.0,
    )
    confidence = confidence_of(now.depth_score, now.volatility, now.risk_score)
    if numbers.rebalances and skew:
        side, lots = crossing_order(size, now, skew)
        if lots:
            # every quote gives way first, because the crossing order must not meet one
            if n:
                cancels = cancel_side(orders, n, BUY, REBALANCE, out, 0)
                cancels = cancel_side(orders, n, SELL, REBALANCE, out, cancels)
                return Outcome(cancels, 0, REBALANCE, REBALANCE, 0, prices, confidence)
            return Outcome(0, want(out, 0, side, 0, lots, 0), REBALANCE, REBALANCE, 1, prices, confidence)
    return quote_both(numbers, now, orders, n, out, prices, confidence)


# --- the quotes -----------------------------------------------------------------------------------------------------------


def quote_both(
    numbers: MakerNumbers,
    now: Situation,
    orders: Columns,
    n: int,
    out: Columns,
    prices: QuotePrices,
    confidence: float,
) -> Outcome:
    """Both sides: withheld with the reason, or reconciled level by level with what works."""
    factor = now.size_multiplier
    if numbers.sizes_by_confidence:
        factor = (0.5 + 0.5 * confidence) * now.size_multiplier
    pulls = numbers.guard.widening == 0.0
    buy_reason = withhold_reason(now, BUY, prices.buy_reason, now.buy_toxic if pulls else NONE)
    sell_reason = withhold_reason(now, SELL, prices.sell_reason, now.sell_toxic if pulls else NONE)
    cancels = cancel_side(orders, n, BUY, buy_reason, out, 0) if buy_reason else 0
    if sell_reason:
        cancels = cancel_side(orders, n, SELL, sell_reason, out, cancels)
    budget = now.requests_left - cancels
    touches = at_touch(numbers.quote, now, prices)
    tolerance_frac = 0.0 if touches else numbers.tolerance_frac
    too_far_frac = max(tolerance_frac, scarce_tolerance(numbers, now.requests_left, now.requests_per_min, now.volatility))
    totals = working_totals(numbers.size, orders, n)
    placed = 0
    spacing_ticks = 0
    if numbers.levels > 1:
        spacing_ticks = max(1, int(ceil(numbers.level_spacing_frac * prices.mid_ticks)))  # noqa: RUF046 - a float when compiled
    for side in (BUY, SELL):
        if (buy_reason if side > 0 else sell_reason) != NONE:
            continue
        best = prices.bid_ticks if side > 0 else prices.ask_ticks
        value_atoms = numbers.size.order_value_atoms
        for level in range(numbers.levels):
            price = best - side * level * spacing_ticks
            if price <= 0:
                cancels = cancel_level(orders, n, side, level, PRICE_BELOW_A_TICK, out, cancels)
                continue
            # an order left alone in front of the market is no saving
            too_near_frac = tolerance_frac if touches and level == 0 else too_far_frac
            quote = WantedQuote(side, level, price, value_atoms, factor, too_near_frac, too_far_frac)
            cancels_before = cancels
            cancels, lots, reason = reconcile(numbers, now, orders, n, out, cancels, totals, quote, budget)
            budget -= cancels - cancels_before
            if lots:
                placed = want(out, placed, side, price, lots, level)
                budget -= 1
                totals = with_order(numbers.size, totals, side, price, lots)
            if level == 0:
                if side > 0:
                    buy_reason = reason
                else:
                    sell_reason = reason
            value_atoms = int(value_atoms * numbers.level_size_factor)
    while placed and budget < 0:
        # a cancel of the other side, which is never held back, used up what this order had counted on
        placed -= 1
        budget += 1
        if out[NEW_LEVEL][placed] == 0:
            if out[NEW_SIDE][placed] > 0:
                buy_reason = ORDER_RATE
            else:
                sell_reason = ORDER_RATE
    return Outcome(cancels, placed, buy_reason, sell_reason, 0, prices, confidence)


def withhold_reason(now: Situation, side: int, price_reason: int, toxic: int) -> int:
    """Why the side is not to be quoted at all; 0 when it is."""
    if price_reason != NONE:
        return price_reason
    pause = pause_of(now, side)
    if pause:
        return pause
    return BLOCKED if now.blocked_side == side else toxic


def pause_of(now: Situation, side: int) -> int:
    """Why the side pauses: denied by our own risk, or after a fill; 0 when it does not."""
    if now.now_ns < (now.buy_denied_until_ns if side > 0 else now.sell_denied_until_ns):
        return DENIED
    return PAUSED if now.now_ns < (now.buy_paused_until_ns if side > 0 else now.sell_paused_until_ns) else NONE


def at_touch(quote: QuoteNumbers, now: Situation, prices: QuotePrices) -> bool:
    """True while a touch style follows the best prices; held off by the profit floor it keeps a distance like any other."""
    return quote.touch != 0 and 2.0 * prices.half_ticks <= now.best_ask_ticks - now.best_bid_ticks


def scarce_tolerance(numbers: MakerNumbers, requests_left: int, requests_per_min: int, volatility: float) -> float:
    """How far, as a fraction, an order may be off because requests are scarce; 0 while enough are left or σ is not known.

    A mid that moves by σ dW leaves ±a after a²/σ² on average. Requests for one refresh of every quote come back each
    4 × levels ÷ budget minutes, so a = σ × √(that time) is the distance at which orders move as often as the budget allows; it
    is reached halfway down the reserve, and twice as much with the last request.
    """
    reserve = numbers.request_reserve_frac * requests_per_min
    if reserve <= 0.0 or requests_left >= reserve or volatility < 0.0:
        return 0.0
    scarcity = 1.0 - max(0, requests_left) / reserve
    hours = 4.0 * numbers.levels / (60.0 * requests_per_min)
    return 2.0 * scarcity * volatility * sqrt(hours)


def reconcile(
    numbers: MakerNumbers,
    now: Situation,
    orders: Columns,
    n: int,
    out: Columns,
    cancels: int,
    totals: Totals,
    quote: WantedQuote,
    budget: int,
) -> tuple[int, int, int]:
    """Keep, replace or place one quote: (cancels so far, lots to place, why it is not quoted; 0 if it is)."""
    size, side, level, price = numbers.size, quote.side, quote.level, quote.price_ticks
    value_atoms, factor = quote.value_atoms, quote.factor
    live, only, market_order = live_orders(orders, n, side, level)
    if market_order:
        return cancels, 0, REBALANCE
    without = totals_without(size, orders, n, totals, side, level) if live else totals
    if live == 1 and good_enough(numbers, now, orders, only, quote, without):
        return cancels, 0, NONE
    if live and budget < live + 1:
        stale = 0
        for i in range(n):
            if is_live(orders, i, side, level) and (orders[PRICE][i] - price) * side > 0:
                out[CANCEL_ROW][cancels], out[CANCEL_REASON][cancels] = i, ORDER_RATE
                cancels += 1
                stale += 1
        return cancels, 0, ORDER_RATE if stale == live else NONE
    if meets_own(orders, n, side, price):
        return cancel_level(orders, n, side, level, REFRESH, out, cancels), 0, SELF_TRADE
    lots = wanted_lots(size, value_atoms, side, price, now, totals, factor)
    if lots == 0 and live and wanted_lots(size, value_atoms, side, price, now, without, factor) > 0:
        # the room is taken by the order that is to be replaced: cancel now, place when that is confirmed
        return cancel_level(orders, n, side, level, REFRESH, out, cancels), 0, REPLACING
    cancels = cancel_level(orders, n, side, level, REFRESH, out, cancels)
    if lots == 0:
        return cancels, 0, why_no_size(size, value_atoms, side, price, now, totals)
    if budget - live < 1:
        return cancels, 0, ORDER_RATE
    return cancels, lots, NONE


def wanted_lots(
    size: SizeNumbers, value_atoms: int, side: int, price: int, now: Situation, totals: Totals, factor: float
) -> int:
    """The size of a quote at `price`, confidence and mandate included; 0 when it would be too small for the venue."""
    lots = order_size(size, value_atoms, side, price, now.base_atoms, now.quote_atoms, totals)
    if side > 0:
        lots = within_portfolio(now, totals, lots)
    return placeable(size, price, scaled(lots, factor))


def within_portfolio(now: Situation, totals: Totals, lots: int) -> int:
    """As many of `lots` as the capital that is shared with other makers leaves room to buy; may be negative."""
    if now.portfolio_bid_lots == NO_PORTFOLIO_CAP:
        return lots
    return min(lots, now.portfolio_bid_lots - totals.buy_lots)


def why_no_size(size: SizeNumbers, value_atoms: int, side: int, price: int, now: Situation, totals: Totals) -> int:
    """The binding reason behind a size of zero."""
    own_lots = order_size(size, value_atoms, side, price, now.base_atoms, now.quote_atoms, totals)
    if side > 0 and own_lots > 0 and within_portfolio(now, totals, own_lots) < own_lots:
        return PORTFOLIO_EXPOSURE
    whole = value_atoms // (price * size.quote_atoms_per_tick_lot)
    if placeable(size, price, whole) == 0 or own_lots > 0:
        return BELOW_MIN_NOTIONAL
    if side < 0:
        return NO_BASE
    room_atoms = size.cap_atoms - exposure(size, now.base_atoms, totals, price, 0)
    return EXPOSURE_CAP if room_atoms < value_atoms else NO_QUOTE


def good_enough(numbers: MakerNumbers, now: Situation, orders: Columns, row: int, quote: WantedQuote, without: Totals) -> bool:
    """True when the order may keep its place: price within tolerance, not too old, not half as large again as wanted.

    Nor smaller than half of what is wanted, unless it has begun to fill: then it is at the front of its queue. The place in the
    queue adds to the tolerance, and an order that hangs keeps its price and size while it is near enough to the mid.
    """
    if now.now_ns - orders[CREATED][row] > numbers.max_order_age_ns:
        return False
    own_price = orders[PRICE][row]
    hangs = is_hanging(numbers, now, orders, row)
    tolerance_frac = quote.too_near_frac if (own_price - quote.price_ticks) * quote.side > 0 else quote.too_far_frac
    tolerance_frac = max(tolerance_frac, place_frac(numbers, orders, row))
    if not hangs and abs(own_price - quote.price_ticks) > tolerance_frac * quote.price_ticks:
        return False
    wanted = wanted_lots(numbers.size, quote.value_atoms, quote.side, own_price, now, without, quote.factor)
    remaining = orders[REMAINING][row]
    if not hangs and orders[FILLED][row] == 0 and 2 * remaining < wanted:
        return False
    return bool(2 * remaining <= 3 * wanted)


def is_hanging(numbers: MakerNumbers, now: Situation, orders: Columns, row: int) -> bool:
    """True for an order that was there when the other side filled, until its price is too far from the mid."""
    if numbers.hanging_frac == 0.0:
        return False
    pause_end_ns = now.sell_paused_until_ns if orders[SIDE][row] > 0 else now.buy_paused_until_ns
    if orders[CREATED][row] > pause_end_ns - numbers.fill_pause_ns:  # a pause begins with a fill
        return False
    mid = (now.best_bid_ticks + now.best_ask_ticks) / 2.0
    return bool(abs(orders[PRICE][row] - mid) <= numbers.hanging_frac * mid)


def place_frac(numbers: MakerNumbers, orders: Columns, row: int) -> float:
    """What the order's place in its queue is worth, as a fraction of the price: nothing at the end, the whole value in front.

    Nobody tells what is ahead of an order. No more can be than the fewest lots that its price has shown since it rests there.
    """
    behind = orders[JOINED_BEHIND][row]
    if numbers.queue_value_frac == 0.0 or behind == 0:
        return 0.0
    return float(numbers.queue_value_frac * (1.0 - orders[MOST_AHEAD][row] / behind))


# --- the rebalance ----------------------------------------------------------------------------------------------------------


def crossing_order(size: SizeNumbers, now: Situation, skew: int) -> tuple[int, int]:
    """(side, lots) of the crossing order back to neutral that is due now; 0 lots when something forbids it."""
    side = BUY if skew > 0 else SELL
    if now.requests_left < 1 or now.now_ns < now.rebalance_paused_until_ns:
        return side, 0
    if pause_of(now, side) or now.blocked_side == side:
        return side, 0
    price = now.best_ask_ticks if side > 0 else now.best_bid_ticks
    lots = abs(now.base_atoms - size.neutral_base_atoms) // size.base_atoms_per_lot
    if side > 0:
        fee, per = size.taker_fee_numerator, size.taker_fee_denominator
        lots = affordable(size, lots, price, now.base_atoms, now.quote_atoms, NO_ORDERS, fee, per)
        lots = within_portfolio(now, NO_ORDERS, lots)
    return side, placeable(size, price, lots)
