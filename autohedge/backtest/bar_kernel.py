"""The dual moving average compiled: one run with everything that is reported, and many pairs of spans at once.

Both follow `DualMovingAverage` on `run_bars`, fill by fill and atom by atom: averages are the same float operations in the same
order, money is whole numbers, and what a bar does to an order is `autohedge.simulation.bar_matching`, compiled. Nothing wraps
around: what is too large for 64 bits ends the run before it is computed.

The functions below run as they are, too; `autohedge.backtest.ema_cross` compiles them and is what one calls.
"""

from __future__ import annotations

from typing import NamedTuple

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

# an order under way, a whole number per field; no order when its side is 0
SIDE, SIZE, FILLED, DONE_ATOMS, ARRIVAL_NS, IS_OPEN, IS_LOST, NUMBER = range(8)
ORDER_FIELDS = 8

# the books of a run
QUOTE, LOTS, SENT, TAKEN, FILLS, FEES, SLIPPAGE, REJECTED, LOST, CANCELLED, ROUND_TRIPS, RETRY, TOO_LARGE, TABLE_FULL = range(14)
BOOK_FIELDS = 14

FILL_FIELDS = 12
"""As `autohedge.backtest.broker.FillRow`."""

A_SHARE = -1
"""Instead of a size: a share of the cash."""


class Entry(NamedTuple):
    """How an entry is sized, in lots or by a share of the cash (`A_SHARE`), and when its order trades; bare numbers."""

    size_lots: int
    cash_share_bps: int
    at_close: int
    most_ticks: int


def send(order: I64, books: I64, rules: MarketRules, side: int, lots: int, now_ns: int) -> None:
    """A market order leaves."""
    order[SIDE] = side
    order[SIZE] = lots
    order[FILLED] = 0
    order[DONE_ATOMS] = 0
    order[IS_OPEN] = 0
    order[ARRIVAL_NS] = now_ns + rules.latency_ns
    order[IS_LOST] = fails(rules, books[SENT])
    order[NUMBER] = books[SENT]
    books[SENT] += 1


def act(
    order: I64, books: I64, rules: MarketRules, entry: Entry, is_above: bool, close_ticks: int, now_ns: int
) -> None:
    """Enter or leave after a crossing, if there is something to enter or to leave."""
    if is_above and books[LOTS] == 0:
        lots = entry.size_lots
        if lots == A_SHARE:
            lots = lots_for_cash(books[QUOTE], entry.cash_share_bps, close_ticks, rules.atoms_per_tick_lot)
        if lots > 0:
            worst = 2.0 * entry.most_ticks * lots * rules.atoms_per_tick_lot * max(1, rules.fee_numerator)
            if worst >= LARGEST:
                books[TOO_LARGE] = 1
            else:
                send(order, books, rules, 1, lots, now_ns)
    elif not is_above and books[LOTS] > 0:
        send(order, books, rules, -1, books[LOTS], now_ns)


def arrive(order: I64, books: I64, rules: MarketRules, price_ticks: int) -> None:
    """An order reaches the market: it is lost, refused, or open from now on."""
    if order[IS_LOST]:
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


def take(
    order: I64,
    books: I64,
    fill: I64,
    rules: MarketRules,
    price_ticks: int,
    volume_lots: int,
    left_lots: int,
) -> int:
    """Fill what the share of the bar that is left allows; the lots that it took. `fill` gets side, price, lots, fee, slippage,
    and the balances after it, in the places of a fill's row."""
    side = order[SIDE]
    lots = min(order[SIZE] - order[FILLED], left_lots)
    if lots <= 0:
        return 0
    price = taking_price_ticks(rules, side, price_ticks, lots, volume_lots, books[TAKEN])
    books[TAKEN] += 1
    done = order[DONE_ATOMS]
    if side > 0 and buy_cost_atoms(rules, lots, price, done) > books[QUOTE]:
        order[SIDE] = 0
        books[CANCELLED] += 1
        return 0
    notional = price * lots * rules.atoms_per_tick_lot
    fee = fee_between(rules, done, done + notional)
    slippage = side * (price - price_ticks) * lots * rules.atoms_per_tick_lot
    books[QUOTE] -= side * notional + fee
    books[LOTS] += side * lots
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
    return lots


def meet(
    order: I64,
    books: I64,
    fill: I64,
    rules: MarketRules,
    price_ticks: int,
    volume_lots: int,
    left_lots: int,
) -> int:
    """An order under way meets a price at which so much is to be had; the lots that it took."""
    if order[IS_OPEN] == 0:
        arrive(order, books, rules, price_ticks)
    if order[SIDE] == 0:
        return 0
    return take(order, books, fill, rules, price_ticks, volume_lots, left_lots)


def run_one(
    ts_ns: I64,
    open_ticks: I64,
    close_ticks: I64,
    volume_lots: I64,
    closes: F64,
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
    quote, lots = books[QUOTE], 0
    fast = slow = closes[0]
    is_above = wants_to_act = False
    peak = float(quote)
    for i in range(len(ts_ns)):
        row = books[FILLS]
        if row + 2 > len(fills):
            books[TABLE_FULL] = 1
            break
        left = -1
        if order[SIDE] != 0 and (order[IS_OPEN] != 0 or is_due(ts_ns[i], rules.interval_ns, order[ARRIVAL_NS])):
            left = share_lots(rules, volume_lots[i])
            left -= meet(order, books, fills[row], rules, open_ticks[i], volume_lots[i], left)
            if books[FILLS] != row:
                stamp(fills[row], ts_ns[i], i, close_ticks[i - 1])
            wants_to_act = wants_to_act or books[RETRY] != 0
            books[RETRY] = 0
            quote, lots = books[QUOTE], books[LOTS]
        close = closes[i]
        fast += fast_weight * (close - fast)
        slow += slow_weight * (close - slow)
        if (fast > slow) != is_above:
            is_above = fast > slow
            wants_to_act = True
        if wants_to_act and i >= warm_up and order[SIDE] == 0:
            wants_to_act = False
            act(order, books, rules, entry, is_above, close_ticks[i], ts_ns[i] + rules.interval_ns)
            if entry.at_close != 0 and order[SIDE] != 0:
                if left < 0:
                    left = share_lots(rules, volume_lots[i])
                row = books[FILLS]
                meet(order, books, fills[row], rules, close_ticks[i], volume_lots[i], left)
                if books[FILLS] != row:
                    stamp(fills[row], ts_ns[i] + rules.interval_ns, i, open_ticks[i])
                wants_to_act = books[RETRY] != 0
                books[RETRY] = 0
                quote, lots = books[QUOTE], books[LOTS]
        if books[TOO_LARGE] != 0:
            break
        equity = quote + lots * rules.atoms_per_tick_lot * close_ticks[i]
        equity_atoms[i] = equity
        base_lots[i] = lots
        worth = float(equity)
        peak = max(peak, worth)
        drawdown_frac[i] = (peak - worth) / peak


def stamp(fill: I64, ts_ns: int, event: int, before_ticks: int) -> None:
    """When a fill was, and the price known just before; it took."""
    fill[0], fill[1], fill[7], fill[8] = ts_ns, event, 0, before_ticks
