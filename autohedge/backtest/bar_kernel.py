"""The dual moving average compiled: one run with everything that is reported, and many pairs of spans at once.

Both follow `DualMovingAverage` on `run_bars`, fill by fill and atom by atom: averages are the same float operations in the same
order, money is whole numbers, and what a bar does to an order is `autohedge.simulation.bar_matching`, compiled. Money that does
not fit 64 bits ends the run before it is computed.

Plain functions over numbers and arrays; `autohedge.backtest.ema_cross` compiles them and is what one calls.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autohedge.backtest.result import F64, I64
from autohedge.simulation.bar_matching import (
    ACCEPTED,
    INSUFFICIENT_BALANCE,
    LARGEST,
    MarketRules,
    buy_cost_atoms,
    fails,
    fee_between,
    is_due,
    lots_for_cash,
    refusal_by_rules,
    share_lots,
    taking_price_ticks,
)

# an order under way, a whole number per field; none is when its side is 0
SIDE, SIZE, FILLED, DONE_ATOMS, ARRIVAL_NS, IS_OPEN, IS_LOST, NUMBER = range(8)
ORDER_FIELDS = 8

# the books of a run; `SHARE` is what is left of the bar that `SHARE_OF` − 1 numbers
QUOTE, LOTS, SENT, TAKEN, FILLS, FEES, SLIPPAGE, REJECTED, LOST, CANCELLED, ROUND_TRIPS = range(11)
RETRY, TOO_LARGE, TABLE_FULL, SHARE, SHARE_OF = range(11, 16)
BOOK_FIELDS = 16

FILL_FIELDS = 12
"""As `autohedge.backtest.broker.FillRow`."""

A_SHARE = -1
"""Instead of a size: a share of the cash."""


class Columns(NamedTuple):
    """The bars."""

    ts_ns: I64
    open_ticks: I64
    close_ticks: I64
    volume_lots: I64
    closes: F64


class Entry(NamedTuple):
    """How an entry is sized, in lots or by a share of the cash (`A_SHARE`), and when its order trades; bare numbers."""

    size_lots: int
    cash_share_bps: int
    at_close: int
    most_ticks: int


class Lanes(NamedTuple):
    """The state of many runs, an element or a row each; `unit_atoms` is what one tick moves the equity by."""

    fast_weight: F64
    slow_weight: F64
    warm_up: I64
    fast: F64
    slow: F64
    is_above: NDArray[np.uint8]
    wants_to_act: NDArray[np.uint8]
    quote_atoms: I64
    unit_atoms: I64
    peak: F64
    max_drawdown_frac: F64
    orders: I64
    books: I64
    fills: I64


# --- an order ----------------------------------------------------------------------------------------------------------------


def send(order: I64, books: I64, rules: MarketRules, side: int, lots: int, now_ns: int) -> None:
    """A market order leaves."""
    order[SIDE] = side
    order[SIZE] = lots
    order[FILLED] = 0
    order[DONE_ATOMS] = 0
    order[ARRIVAL_NS] = now_ns + rules.latency_ns
    order[IS_OPEN] = 0
    order[IS_LOST] = fails(rules, books[SENT])
    order[NUMBER] = books[SENT]
    books[SENT] += 1


def act(order: I64, books: I64, rules: MarketRules, entry: Entry, is_above: bool, close_ticks: int, now_ns: int) -> None:
    """Enter or leave after a crossing, if there is something to enter or to leave."""
    if is_above and books[LOTS] == 0:
        lots = entry.size_lots
        if lots == A_SHARE:
            lots = lots_for_cash(books[QUOTE], entry.cash_share_bps, close_ticks, rules.atoms_per_tick_lot)
        # slippage at most doubles a price; what an entry can cost at worst bounds everything that follows from it
        if 2.0 * entry.most_ticks * lots * rules.atoms_per_tick_lot * max(1, rules.fee_numerator) >= LARGEST:
            books[TOO_LARGE] = 1
        elif lots > 0:
            send(order, books, rules, 1, lots, now_ns)
    elif not is_above and books[LOTS] > 0:
        send(order, books, rules, -1, books[LOTS], now_ns)


def is_met(order: I64, rules: MarketRules, open_ns: int) -> Any:
    """Whether an order is under way that the bar of that open executes."""
    return order[SIDE] != 0 and (order[IS_OPEN] != 0 or is_due(open_ns, rules.interval_ns, order[ARRIVAL_NS]))


def meet(order: I64, books: I64, fill: I64, rules: MarketRules, price_ticks: int, volume_lots: int, bar: int) -> None:
    """An order under way meets a price of a bar: it arrives if it has not, and takes what the bar's share allows.

    A fill's row gets all but its times and the price before it.
    """
    if books[SHARE_OF] != bar + 1:
        books[SHARE_OF] = bar + 1
        books[SHARE] = share_lots(rules, volume_lots)
    if order[IS_OPEN] == 0:
        arrive(order, books, rules, price_ticks)
    if order[SIDE] != 0:
        take(order, books, fill, rules, price_ticks, volume_lots)


def arrive(order: I64, books: I64, rules: MarketRules, price_ticks: int) -> None:
    """An order reaches the market: it is lost, refused, or open from now on."""
    if order[IS_LOST] != 0:
        order[SIDE] = 0
        books[LOST] += 1
        books[REJECTED] += 1
        books[RETRY] = 1
        return
    code = refusal_by_rules(rules, order[SIZE], price_ticks)
    if code == ACCEPTED and order[SIDE] > 0 and buy_cost_atoms(rules, order[SIZE], price_ticks, 0) > books[QUOTE]:
        code = INSUFFICIENT_BALANCE
    if code == ACCEPTED:
        order[IS_OPEN] = 1
    else:
        order[SIDE] = 0
        books[REJECTED] += 1


def take(order: I64, books: I64, fill: I64, rules: MarketRules, price_ticks: int, volume_lots: int) -> None:
    """Fill what the bar's share allows, or end an order that the cash no longer pays."""
    side = order[SIDE]
    lots = min(order[SIZE] - order[FILLED], books[SHARE])
    if lots <= 0:
        return
    price = taking_price_ticks(rules, side, price_ticks, lots, volume_lots, books[TAKEN])
    books[TAKEN] += 1
    done = order[DONE_ATOMS]
    if side > 0 and buy_cost_atoms(rules, lots, price, done) > books[QUOTE]:
        order[SIDE] = 0
        books[CANCELLED] += 1
        return
    notional = price * lots * rules.atoms_per_tick_lot
    fee = fee_between(rules, done, done + notional)
    slippage = side * (price - price_ticks) * lots * rules.atoms_per_tick_lot
    books[QUOTE] -= side * notional + fee
    books[LOTS] += side * lots
    books[SHARE] -= lots
    books[FILLS] += 1
    books[FEES] += fee
    books[SLIPPAGE] += slippage
    if max(books[QUOTE], books[FEES], books[SLIPPAGE]) >= LARGEST:
        books[TOO_LARGE] = 1
    order[DONE_ATOMS] += notional
    order[FILLED] += lots
    if order[FILLED] == order[SIZE]:
        order[SIDE] = 0
        if side < 0:
            books[ROUND_TRIPS] += 1
    fill[2], fill[3], fill[4], fill[5], fill[6] = side, price, lots, fee, slippage
    fill[9], fill[10], fill[11] = order[NUMBER], books[QUOTE], books[LOTS]


def stamp(fill: I64, ts_ns: int, bar: int, before_ticks: int) -> None:
    """When a fill was, and the price known just before; it took."""
    fill[0], fill[1], fill[7], fill[8] = ts_ns, bar, 0, before_ticks


# --- whole runs --------------------------------------------------------------------------------------------------------------


def run_one(
    columns: Columns,
    rules: MarketRules,
    entry: Entry,
    fast_weight: float,
    slow_weight: float,
    warm_up: int,
    equity_atoms: I64,
    base_lots: I64,
    drawdown_frac: F64,
    fills: I64,
    order: I64,
    books: I64,
) -> None:
    """One run, into arrays that the caller made: equity, base and drawdown as of each close, a row per fill, and the books,
    whose `QUOTE` holds the opening cash and the rest zeros. Stops early, and says so in the books, when the fills do not fit
    their table or money does not fit 64 bits."""
    ts_ns, opens, closes, closes_ticks = columns.ts_ns, columns.open_ticks, columns.closes, columns.close_ticks
    quote, lots = books[QUOTE], 0
    fast = slow = closes[0]
    is_above = wants_to_act = False
    peak = float(quote)
    for i in range(len(ts_ns)):
        row = books[FILLS]
        if row + 2 > len(fills):
            books[TABLE_FULL] = 1
            break
        if is_met(order, rules, ts_ns[i]):
            meet(order, books, fills[row], rules, opens[i], columns.volume_lots[i], i)
            if books[FILLS] != row:
                stamp(fills[row], ts_ns[i], i, closes_ticks[i - 1])
            wants_to_act = wants_to_act or books[RETRY] != 0
            books[RETRY] = 0
            quote, lots = books[QUOTE], books[LOTS]
        fast += fast_weight * (closes[i] - fast)
        slow += slow_weight * (closes[i] - slow)
        if (fast > slow) != is_above:
            is_above = fast > slow
            wants_to_act = True
        if wants_to_act and i >= warm_up and order[SIDE] == 0:
            wants_to_act = False
            close_ns = ts_ns[i] + rules.interval_ns
            act(order, books, rules, entry, is_above, closes_ticks[i], close_ns)
            if entry.at_close != 0 and order[SIDE] != 0:
                row = books[FILLS]
                meet(order, books, fills[row], rules, closes_ticks[i], columns.volume_lots[i], i)
                if books[FILLS] != row:
                    stamp(fills[row], close_ns, i, opens[i])
                wants_to_act = books[RETRY] != 0
                books[RETRY] = 0
                quote, lots = books[QUOTE], books[LOTS]
        if books[TOO_LARGE] != 0:
            break
        equity = quote + lots * rules.atoms_per_tick_lot * closes_ticks[i]
        equity_atoms[i] = equity
        base_lots[i] = lots
        worth = float(equity)
        peak = max(peak, worth)
        drawdown_frac[i] = (peak - worth) / peak


def run_many(columns: Columns, rules: MarketRules, entry: Entry, lanes: Lanes) -> int:
    """Many runs at once, bar by bar; 0, or 1 when the money of a lane does not fit 64 bits. Nothing is kept per bar.

    The averages and the worth of all lanes advance together, in vector registers; only lanes that want to act or have an order
    under way are looked at one by one.
    """
    fast, slow, is_above, wants = lanes.fast, lanes.slow, lanes.is_above, lanes.wants_to_act
    fast_weight, slow_weight = lanes.fast_weight, lanes.slow_weight
    quote_atoms, unit_atoms, peak, worst = lanes.quote_atoms, lanes.unit_atoms, lanes.peak, lanes.max_drawdown_frac
    under_way = 0
    for i in range(len(columns.ts_ns)):
        if under_way != 0:
            under_way = meet_all(columns, rules, lanes, i)
        close = columns.closes[i]
        attention = 0
        for j in range(len(fast)):
            a = fast[j] + fast_weight[j] * (close - fast[j])
            b = slow[j] + slow_weight[j] * (close - slow[j])
            fast[j] = a
            slow[j] = b
            now = 1 if a > b else 0
            wanting = wants[j] | (now ^ is_above[j])
            is_above[j] = now
            wants[j] = wanting
            attention |= wanting
        if attention != 0:
            under_way += act_all(columns, rules, entry, lanes, i)
            if under_way < 0:
                return 1
        close_ticks = columns.close_ticks[i]
        for j in range(len(fast)):
            worth = float(quote_atoms[j] + unit_atoms[j] * close_ticks)
            highest = max(peak[j], worth)
            peak[j] = highest
            worst[j] = max(worst[j], (highest - worth) / highest)
    return 0


def meet_all(columns: Columns, rules: MarketRules, lanes: Lanes, i: int) -> int:
    """The open of a bar, for all orders under way; how many still are."""
    under_way = 0
    for j in range(len(lanes.orders)):
        order = lanes.orders[j]
        if is_met(order, rules, columns.ts_ns[i]):
            meet_in_lane(columns, rules, lanes, i, j, columns.open_ticks[i])
        under_way += order[SIDE] != 0
    return under_way


def meet_in_lane(columns: Columns, rules: MarketRules, lanes: Lanes, i: int, j: int, price_ticks: int) -> None:
    """A price of a bar, for one lane."""
    books = lanes.books[j]
    meet(lanes.orders[j], books, lanes.fills[j], rules, price_ticks, columns.volume_lots[i], i)
    if books[RETRY] != 0:
        lanes.wants_to_act[j] = 1
        books[RETRY] = 0
    lanes.quote_atoms[j] = books[QUOTE]
    lanes.unit_atoms[j] = books[LOTS] * rules.atoms_per_tick_lot


def act_all(columns: Columns, rules: MarketRules, entry: Entry, lanes: Lanes, i: int) -> int:
    """The lanes that want to act and can; how many orders are under way since, or a very negative number for too much money."""
    sent = 0
    for j in range(len(lanes.orders)):
        order = lanes.orders[j]
        if lanes.wants_to_act[j] != 0 and i >= lanes.warm_up[j] and order[SIDE] == 0:
            lanes.wants_to_act[j] = 0
            books = lanes.books[j]
            now_ns = columns.ts_ns[i] + rules.interval_ns
            act(order, books, rules, entry, lanes.is_above[j] != 0, columns.close_ticks[i], now_ns)
            if entry.at_close != 0 and order[SIDE] != 0:
                meet_in_lane(columns, rules, lanes, i, j, columns.close_ticks[i])
            if books[TOO_LARGE] != 0:
                return -LARGEST
            sent += order[SIDE] != 0
    return sent
