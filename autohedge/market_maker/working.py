"""The working orders as numbers: rows that are read, cancelled from and added to, by plain functions.

Working orders come as rows of whole numbers, `orders[SIDE][i]` being the side of the i-th of `n` in order of placement: side
(±1), price in ticks (0: a market order), remaining and filled lots, created_ns, cancelling (1 while a cancel is on its way),
level (0 is the best), and what is known of its queue: one more than the lots that were displayed at its price when the maker
first saw it rest (0: not yet seen, or not looked for), and the fewest since. What is decided goes into the rows of `out`, which
the caller keeps and which are as long as there can be orders and quotes. Lists of lists do for the live engine, an array of two
dimensions for the compiled loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.sizing import NO_ORDERS, SizeNumbers, Totals, with_order

BUY: Final = 1
SELL: Final = -1

SIDE, PRICE, REMAINING, FILLED, CREATED, CANCELLING, LEVEL, JOINED_BEHIND, MOST_AHEAD = range(9)
"""Rows of the working orders."""
CANCEL_ROW, CANCEL_REASON, NEW_SIDE, NEW_PRICE, NEW_SIZE, NEW_LEVEL = range(6)
"""Rows of a decision: which working orders to cancel and why, and the new orders (price 0: at market)."""
ORDER_ROWS: Final = 9
DECISION_ROWS: Final = 6

UNSEEN: Final = (0, 0)
"""The queue of an order that the maker has not seen rest."""
NO_QUEUES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({})

Columns = Any
"""A table by rows: list[list[int]], or a numpy array of two dimensions."""


def is_live(orders: Columns, row: int, side: int, level: int) -> bool:
    """True for an order of this side and level that is not being cancelled."""
    return bool(orders[SIDE][row] == side and orders[LEVEL][row] == level and orders[CANCELLING][row] == 0)


def live_orders(orders: Columns, n: int, side: int, level: int) -> tuple[int, int, bool]:
    """(how many are live on this level, the last one's row, whether a market order of this side is on its way)."""
    live, only = 0, -1
    for i in range(n):
        if orders[SIDE][i] == side and orders[CANCELLING][i] == 0:
            if orders[PRICE][i] == 0:
                return 0, -1, True
            if orders[LEVEL][i] == level:
                live += 1
                only = i
    return live, only, False


def working_totals(size: SizeNumbers, orders: Columns, n: int) -> Totals:
    """Totals of all working orders."""
    totals = NO_ORDERS
    for i in range(n):
        totals = with_order(size, totals, orders[SIDE][i], orders[PRICE][i], orders[REMAINING][i])
    return totals


def totals_without(size: SizeNumbers, orders: Columns, n: int, totals: Totals, side: int, level: int) -> Totals:
    """The totals without the live orders of one side and level."""
    for i in range(n):
        if is_live(orders, i, side, level):
            totals = with_order(size, totals, side, orders[PRICE][i], -orders[REMAINING][i])
    return totals


def meets_own(orders: Columns, n: int, side: int, price: int) -> bool:
    """True when an own order on the other side rests where the new one would trade with it."""
    for i in range(n):  # noqa: SIM110 - a generator cannot be compiled
        if orders[SIDE][i] != side and orders[PRICE][i] > 0 and (price - orders[PRICE][i]) * side >= 0:
            return True
    return False


def want(out: Columns, placed: int, side: int, price: int, lots: int, level: int) -> int:
    """Write down a new order; returns the new orders so far."""
    out[NEW_SIDE][placed] = side
    out[NEW_PRICE][placed] = price
    out[NEW_SIZE][placed] = lots
    out[NEW_LEVEL][placed] = level
    return placed + 1


def cancel_side(orders: Columns, n: int, side: int, reason: int, out: Columns, cancels: int) -> int:
    """Cancel every resting order of a side that is not being cancelled yet; returns the cancels so far."""
    for i in range(n):
        # a market order never rests, so there is nothing to cancel
        if orders[SIDE][i] == side and orders[CANCELLING][i] == 0 and orders[PRICE][i] > 0:
            out[CANCEL_ROW][cancels], out[CANCEL_REASON][cancels] = i, reason
            cancels += 1
    return cancels


def cancel_level(orders: Columns, n: int, side: int, level: int, reason: int, out: Columns, cancels: int) -> int:
    """The same for one level of a side."""
    for i in range(n):
        if is_live(orders, i, side, level) and orders[PRICE][i] > 0:
            out[CANCEL_ROW][cancels], out[CANCEL_REASON][cancels] = i, reason
            cancels += 1
    return cancels


def seen_in_queue(queue: tuple[int, int], shown_lots: int) -> tuple[int, int]:
    """What is known of the queue of a resting order, after `shown_lots` are seen at its price: (joined behind, most ahead)."""
    behind, ahead = queue
    return (shown_lots + 1, shown_lots) if behind == 0 else (behind, min(ahead, shown_lots))


# --- from the domain's objects ------------------------------------------------------------------------------------------------


def working_columns(working: Sequence[Order], queues: Mapping[str, tuple[int, int]] = NO_QUEUES) -> list[list[int]]:
    """Orders that may still fill, as the rows that `decide` reads; `queues` by client id is what is known of their queues."""
    known = [queues.get(order.client_order_id, UNSEEN) for order in working] if queues else [UNSEEN] * len(working)
    return [
        [int(order.side) for order in working],
        [order.price_ticks or 0 for order in working],
        [order.size_lots - order.filled_lots for order in working],
        [order.filled_lots for order in working],
        [order.created_ns for order in working],
        [int(order.state is OrderState.CANCELLING) for order in working],
        [order.level for order in working],
        [behind for behind, _ in known],
        [ahead for _, ahead in known],
    ]
