"""The matching core: what a public market would have done to our orders. Integers only; no clock, no ids, no I/O.

Paper trading and backtests share it. It promises that nothing in the market is used twice: one trade's quantity fills all our
orders together at most once, one reduction of the queue counts once although the book and the trade both tell of it, and
displayed size that we took stays taken until that level changes. Our own orders are not in the public book, and the market
does not react to them: both make a simulation kinder than the truth, and the second cannot be helped.

The functions at the top and those of `autohedge.simulation.queueing` are the arithmetic, which a compiled loop shares;
`MatchingCore` drives them one event at a time. The rules in words: docs/paper-venue.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, Side, Trade
from autohedge.errors import InvariantBroken
from autohedge.simulation.queueing import AT_FRONT, BEHIND_ALL, REPORT_LAG_NS, QueueModel, RestingOrder

_WALK_LEVELS = 16
"""Levels looked at first when an order takes; more are asked for only when these are not enough."""


# --- the arithmetic -----------------------------------------------------------------------------------------------------


def is_marketable(side: int, limit_ticks: int, opposite_ticks: int) -> bool:
    """Whether an order of `side` at `limit_ticks` reaches an opposite price; False when there is none (0)."""
    return opposite_ticks > 0 and (limit_ticks - opposite_ticks) * side >= 0


def walk(levels: Iterable[Level], taken_lots: Mapping[int, int], side: Side, limit_ticks: int | None, lots: int) -> list[Level]:
    """What an order of `side` gets from opposite `levels` (best first): (price, lots) per level, nothing beyond the limit.

    `taken_lots` of a level are not there any more. Empty when nothing can be had.
    """
    got: list[Level] = []
    for price, shown in levels:
        if lots <= 0 or (limit_ticks is not None and (limit_ticks - price) * side < 0):
            break
        here = min(lots, shown - taken_lots.get(price, 0))
        if here > 0:
            got.append((price, here))
            lots -= here
    return got


# --- what the core needs to see -------------------------------------------------------------------------------------------


class BookReader(Protocol):
    """The public book as the core reads it; prices and sizes of an empty side are 0. The core never changes it."""

    best_bid_ticks: int
    best_ask_ticks: int
    is_valid: bool
    last_update_id: int
    """That of the depth, which a newer quote may lie over."""

    @property
    def newest_update_id(self) -> int:
        """The newest update the book contains."""
        ...

    @property
    def is_crossed(self) -> bool:
        """Whether the book contradicts itself: best bid at or above best ask."""
        ...

    def size_at(self, side: Side, price_ticks: int) -> int:
        """Displayed lots at a price; 0 = none."""
        ...

    def levels(self, side: Side, n: int) -> Sequence[Level]:
        """Up to `n` displayed levels, best first."""
        ...


class Match(NamedTuple):
    """A resting order got `lots` at its own price."""

    order: RestingOrder
    lots: int


class _Taken(NamedTuple):
    """What we took of a displayed level: of the `shown_lots` displayed at update `as_of_id`."""

    lots: int
    shown_lots: int
    as_of_id: int


_NOTHING: tuple[Match, ...] = ()


class MatchingCore:
    """Our resting orders of one instrument against the public book and trades.

    `book` is read, never changed. The caller moves it on and then tells the core, event by event; whatever the core returns
    has already happened to its orders. `resting` are the open orders by id; `is_idle` when no market event could matter.
    `queue_power` is the exponent of `QueueModel.POWER`.
    """

    __slots__ = ("_asks", "_bids", "_book", "_power", "_queue", "_taken_asks", "_taken_bids", "is_idle", "resting")

    def __init__(self, book: BookReader, queue: QueueModel = QueueModel.BEHIND_ALL, queue_power: float = 1.0) -> None:
        self._book = book
        self._queue = queue.code
        self._power = queue_power
        self.resting: dict[str, RestingOrder] = {}
        # in priority: better price first, then earlier
        self._bids: list[RestingOrder] = []
        self._asks: list[RestingOrder] = []
        self._taken_bids: dict[int, _Taken] = {}
        self._taken_asks: dict[int, _Taken] = {}
        self.is_idle = True

    # --- orders come and go ---------------------------------------------------------------------------------------------

    def best_ticks(self, side: Side) -> int:
        """The best price of our own orders on a side; 0 without any."""
        orders = self._bids if side is BUY else self._asks
        return orders[0].price_ticks if orders else 0

    def rest(self, order_id: str, side: Side, price_ticks: int, lots: int, now_ns: int) -> RestingOrder:
        """Put an order into the market, behind what is displayed at its price now."""
        order = RestingOrder(order_id, side, price_ticks, lots, lots, generation=now_ns // REPORT_LAG_NS)
        orders = self._bids if side is BUY else self._asks
        index = len(orders)
        while index and (price_ticks - orders[index - 1].price_ticks) * side > 0:
            index -= 1
        if self._queue != AT_FRONT:
            order.ahead_lots = order.shown_lots = self._book.size_at(side, price_ticks)
            order.by_chance = self._queue > BEHIND_ALL
            order.shown_as_of_id = self._as_of(side, price_ticks)
            if index and orders[index - 1].price_ticks == price_ticks:
                order.queue_up_behind(orders[index - 1])
        orders.insert(index, order)
        self.resting[order_id] = order
        self.is_idle = False
        return order

    def remove(self, order_id: str) -> RestingOrder | None:
        """Take an order out of the market; None when it is not there."""
        order = self.resting.pop(order_id, None)
        if order is not None:
            (self._bids if order.side is BUY else self._asks).remove(order)
            self._note_idle()
        return order

    # --- taking -----------------------------------------------------------------------------------------------------------

    def takeable(self, side: Side, limit_ticks: int | None, lots: int) -> list[Level]:
        """What an order of `side` could take now: (price, lots), best first. Nothing is taken yet; empty when nothing."""
        opposite = SELL if side is BUY else BUY
        taken = self._taken_asks if side is BUY else self._taken_bids
        gone = {price: each.lots for price, each in taken.items()}
        depth = _WALK_LEVELS
        while True:
            levels = self._book.levels(opposite, depth)
            got = walk(levels, gone, side, limit_ticks, lots)
            whole_side = len(levels) < depth
            past_limit = limit_ticks is not None and not whole_side and (limit_ticks - levels[-1][0]) * side < 0
            if whole_side or past_limit or sum(here for _, here in got) == lots:
                return got
            depth *= 8

    def take(self, side: Side, levels: Iterable[Level]) -> None:
        """Take these levels, as `takeable` gave them: what was taken stays taken until the level changes."""
        opposite = SELL if side is BUY else BUY
        taken = self._taken_asks if side is BUY else self._taken_bids
        as_of_id = self._book.newest_update_id
        for price, lots in levels:
            shown = self._book.size_at(opposite, price)
            before = taken[price].lots if price in taken else 0
            if before + lots > shown:
                raise InvariantBroken(f"took {before + lots} lots at {price} where {shown} are displayed")
            taken[price] = _Taken(before + lots, shown, as_of_id)
            self.is_idle = False

    # --- the market moves ---------------------------------------------------------------------------------------------------

    def on_market(self, event: MarketEvent, now_ns: int) -> Sequence[Match]:
        """What `event`, which the book already contains, does to our orders; in order of priority. Usually empty."""
        if isinstance(event, Trade):
            return self._on_trade(event, now_ns)
        return self._on_book(event, now_ns)

    def _on_trade(self, trade: Trade, now_ns: int) -> Sequence[Match]:
        """One trade over all our orders on the side it hit: each of its lots is used at most once."""
        orders = self._bids if trade.aggressor is SELL else self._asks
        price = trade.price_ticks
        if not orders or (orders[0].price_ticks - price) * orders[0].side < 0:
            return _NOTHING
        left = trade.size_lots
        matches: list[Match] = []
        for order in orders:
            beyond_ticks = (order.price_ticks - price) * order.side
            if beyond_ticks < 0:
                break
            lots = order.see_trade_through(left) if beyond_ticks else order.see_trade(left, now_ns)
            if lots:
                left -= lots
                matches.append(Match(order, lots))
        return self._filled(orders, matches)

    def _on_book(self, event: MarketEvent, now_ns: int) -> Sequence[Match]:
        """A changed display: levels that changed are free again, it caps our queues, and it may cross our orders."""
        book = self._book
        if not book.is_valid:
            return _NOTHING
        if self._taken_bids or self._taken_asks:
            self._release_changed(event)
        bids, asks = self._bids, self._asks
        if self._queue == BEHIND_ALL:
            for order in self.resting.values():
                if order.ahead_lots:
                    shown = book.size_at(order.side, order.price_ticks)
                    if shown < order.ahead_lots:
                        order.see_shown(shown, now_ns)
        elif self._queue > BEHIND_ALL:
            self._see_changes(now_ns)
        if bids and 0 < book.best_ask_ticks <= bids[0].price_ticks:
            return self._crossed(bids)
        if asks and book.best_bid_ticks >= asks[0].price_ticks:
            return self._crossed(asks)
        return _NOTHING

    def _see_changes(self, now_ns: int) -> None:
        """The display of the prices where we queue. Where the best price has moved on, the depth may be older than what it
        showed before: that is no news."""
        for order in self.resting.values():
            if order.ahead_lots:
                as_of_id = self._as_of(order.side, order.price_ticks)
                if as_of_id >= order.shown_as_of_id:
                    shown = self._book.size_at(order.side, order.price_ticks)
                    order.see_changed(self._queue, self._power, shown, as_of_id, now_ns)

    def _as_of(self, side: Side, price_ticks: int) -> int:
        """The update as of which a price is displayed: at the best price and before it that of the newest quote."""
        book = self._book
        best = book.best_bid_ticks if side is BUY else book.best_ask_ticks
        return book.newest_update_id if not best or (price_ticks - best) * side >= 0 else book.last_update_id

    def _crossed(self, orders: list[RestingOrder]) -> Sequence[Match]:
        """The display reaches our orders: they get what it shows at their price or better. A display that crosses itself
        is wrong somewhere and fills nobody."""
        if self._book.is_crossed:
            return _NOTHING
        matches: list[Match] = []
        for order in orders:
            levels = self.takeable(order.side, order.price_ticks, order.remaining_lots)
            if not levels:
                break
            self.take(order.side, levels)
            matches.append(Match(order, sum(lots for _, lots in levels)))
        return self._filled(orders, matches)

    def _filled(self, orders: list[RestingOrder], matches: list[Match]) -> Sequence[Match]:
        for order, lots in matches:
            order.remaining_lots -= lots
            if not order.remaining_lots:
                orders.remove(order)
                del self.resting[order.order_id]
        if matches:
            self._note_idle()
        return matches

    def _release_changed(self, event: MarketEvent) -> None:
        """Forget what we took of levels that changed since: another size is displayed, or a later update names them."""
        for side, taken in ((BUY, self._taken_bids), (SELL, self._taken_asks)):
            if isinstance(event, BookSnapshot):
                taken.clear()
            for price in [price for price, each in taken.items() if self._book.size_at(side, price) != each.shown_lots]:
                del taken[price]
            if taken and isinstance(event, BookDelta):
                for price, _ in event.bids if side is BUY else event.asks:
                    if price in taken and event.first_update_id > taken[price].as_of_id:
                        del taken[price]
        self._note_idle()

    def _note_idle(self) -> None:
        self.is_idle = not (self.resting or self._taken_bids or self._taken_asks)
