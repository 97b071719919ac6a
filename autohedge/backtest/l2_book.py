"""The order book of the compiled loop: lots by tick in two arrays, under the venue's newer best prices.

The rules are those of `autohedge.domain.book`; a parity test holds the two together. Functions over one record and arrays, to
be compiled.
"""

from __future__ import annotations

from typing import Any

from autohedge.backtest.l2_layout import KIND_MASK, LoopNumbers, MarketTable
from autohedge.domain.measures import depth_score_of, imbalance_of


def clear_book(s: Any, bids: Any, asks: Any, base_tick: int) -> None:
    """Forget everything; the book is not valid until the next snapshot."""
    clear_depth(s, bids, asks, base_tick)
    s.valid = 0
    s.last_update_id = 0
    s.top_on = 0
    s.best_bid = 0
    s.best_ask = 0


def clear_depth(s: Any, bids: Any, asks: Any, base_tick: int) -> None:
    """Take every level out."""
    if s.depth_bid > 0:
        bids[s.low_bid - base_tick : s.depth_bid - base_tick + 1] = 0
    if s.depth_ask > 0:
        asks[s.depth_ask - base_tick : s.high_ask - base_tick + 1] = 0
    s.depth_bid = 0
    s.depth_ask = 0
    s.low_bid = 0
    s.high_ask = 0


def set_bid(s: Any, bids: Any, base_tick: int, price: int, lots: int) -> None:
    """The size of a bid level; 0 removes it."""
    bids[price - base_tick] = lots
    if lots > 0:
        s.depth_bid = max(s.depth_bid, price)
        if s.low_bid == 0 or price < s.low_bid:
            s.low_bid = price
    elif price == s.depth_bid:
        at = price - 1
        while at >= s.low_bid and bids[at - base_tick] == 0:
            at -= 1
        s.depth_bid = at if at >= s.low_bid else 0
        if s.depth_bid == 0:
            s.low_bid = 0


def set_ask(s: Any, asks: Any, base_tick: int, price: int, lots: int) -> None:
    """The size of an ask level; 0 removes it."""
    asks[price - base_tick] = lots
    if lots > 0:
        if s.depth_ask == 0 or price < s.depth_ask:
            s.depth_ask = price
        s.high_ask = max(s.high_ask, price)
    elif price == s.depth_ask:
        at = price + 1
        while at <= s.high_ask and asks[at - base_tick] == 0:
            at += 1
        s.depth_ask = at if at <= s.high_ask else 0
        if s.depth_ask == 0:
            s.high_ask = 0


def depth_moved_to(s: Any, update_id: int) -> None:
    """The depth is now that of `update_id`: an overlay that is not newer ends."""
    s.last_update_id = update_id
    if s.top_on:
        if update_id < s.top_id:
            return
        s.top_on = 0
    s.best_bid = s.depth_bid
    s.best_ask = s.depth_ask


def set_top(s: Any, update_id: int) -> None:
    """Lay the best bid and ask that were read (`new_…`) over the depth; a side of size 0 is empty."""
    s.top_on = 1
    s.top_id = update_id
    s.top_bid = s.new_bid if s.new_bid_lots > 0 else 0
    s.top_bid_lots = s.new_bid_lots
    s.top_ask = s.new_ask if s.new_ask_lots > 0 else 0
    s.top_ask_lots = s.new_ask_lots
    s.best_bid = s.top_bid
    s.best_ask = s.top_ask


def newest_id(s: Any) -> int:
    """The newest update the shown book contains."""
    return int(s.top_id if s.top_on else s.last_update_id)


def size_at(s: Any, bids: Any, asks: Any, c: LoopNumbers, side: int, price: int) -> int:
    """Displayed lots at a price of a side; 0 = none."""
    at = price - c.base_tick
    inside = 0 <= at < c.window_ticks
    if side > 0:
        if s.top_on and price >= s.top_bid:
            return int(s.top_bid_lots) if price == s.top_bid else 0
        return int(bids[at]) if inside else 0
    if s.top_on and (price <= s.top_ask or s.top_ask_lots == 0):
        return int(s.top_ask_lots) if price == s.top_ask else 0
    return int(asks[at]) if inside else 0


def next_level(s: Any, bids: Any, asks: Any, base_tick: int, side: int, after: int) -> int:
    """The best displayed price of a side strictly behind `after` (0: the best of all); 0 when there is none."""
    if side > 0:
        if after == 0:
            return int(s.best_bid)
        if s.top_on and s.top_bid_lots == 0:
            return 0
        at = min(after - 1, s.depth_bid)
        while at >= s.low_bid and at > 0:
            if bids[at - base_tick] != 0:
                return int(at)
            at -= 1
        return 0
    if after == 0:
        return int(s.best_ask)
    if s.top_on and s.top_ask_lots == 0:
        return 0
    at = max(after + 1, s.depth_ask)
    while at <= s.high_ask and s.depth_ask > 0:
        if asks[at - base_tick] != 0:
            return int(at)
        at += 1
    return 0


def depth_score(s: Any, bids: Any, asks: Any, c: LoopNumbers, levels: int) -> float:
    """0–100, how much rests near the mid; 0 for a one-sided or empty book."""
    if s.best_bid == 0 or s.best_ask == 0:
        return 0.0
    weighted = 0.0
    for side in (1, -1):
        price = 0
        for i in range(1, levels + 1):
            price = next_level(s, bids, asks, c.base_tick, side, price)
            if price == 0:
                break
            weighted += size_at(s, bids, asks, c, side, price) / i
    return depth_score_of(weighted, s.best_bid + s.best_ask, c.depth_scale)


def imbalance(s: Any, bids: Any, asks: Any, c: LoopNumbers, levels: int) -> float:
    """Imbalance of the sizes of the best levels."""
    bid_lots = side_lots(s, bids, asks, c, 1, levels)
    return imbalance_of(bid_lots, side_lots(s, bids, asks, c, -1, levels))


def side_lots(s: Any, bids: Any, asks: Any, c: LoopNumbers, side: int, levels: int) -> int:
    """Lots of the best levels of a side."""
    lots = 0
    price = 0
    for _ in range(levels):
        price = next_level(s, bids, asks, c.base_tick, side, price)
        if price == 0:
            break
        lots += size_at(s, bids, asks, c, side, price)
    return lots


def apply_row(s: Any, bids: Any, asks: Any, c: LoopNumbers, market: MarketTable, row: int) -> None:
    """One row of a snapshot, delta or quote; a message without levels has side 0."""
    side = market.side[row]
    if side == 0:
        return
    price, lots = market.price_ticks[row], market.size_lots[row]
    kind = market.op[row] & KIND_MASK
    if kind <= 1:
        if side > 0:
            set_bid(s, bids, c.base_tick, price, lots)
        else:
            set_ask(s, asks, c.base_tick, price, lots)
    elif side > 0:
        s.new_bid, s.new_bid_lots = price, lots
    else:
        s.new_ask, s.new_ask_lots = price, lots
