"""The order book of one instrument, in ticks and lots.

Two layers: the depth, changed by snapshots and deltas only, and over it the venue's own best bid and ask (`TopOfBook`),
which usually is newer than the depth (Binance sends depth every 100 ms, the best prices at once). While the overlay is the
newer of the two it decides what the best level of each side is; depth that would be better is hidden, and nothing of the
depth is changed. A delta that reaches the overlay's update id ends the overlay.

The book believes what it is told. Whether an update may be applied at all is decided by `autohedge.market.sync`, and a
crossed book is shown as crossed: whoever quotes from it must look at `is_crossed`.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from autohedge.domain.market_data import BUY, BookDelta, BookSnapshot, Level, Side, TopOfBook

DEFAULT_DEPTH = 20
"""How many levels of a side are given when nobody says."""


class OrderBook:
    """Bids and asks of one instrument.

    `best_bid_ticks`, `best_bid_lots`, `best_ask_ticks`, `best_ask_lots` are the shown best level of each side, 0 when that
    side is empty or the book is not valid. `last_update_id` is that of the depth. `is_valid` is True from a snapshot until
    `clear`. Finding a best price costs nothing, a changed level a dictionary entry and at most one bisection.
    """

    # Prices are kept ascending with the best one last, because levels come and go near the best price and a list is cheap
    # to change at its end; ask prices are negated for that.
    __slots__ = (
        "_ask_keys",
        "_ask_sizes",
        "_bid_keys",
        "_bid_sizes",
        "_top",
        "best_ask_lots",
        "best_ask_ticks",
        "best_bid_lots",
        "best_bid_ticks",
        "is_valid",
        "last_update_id",
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything; the book is not valid until the next snapshot."""
        self.is_valid = False
        self.last_update_id = 0
        self.best_bid_ticks = self.best_bid_lots = 0
        self.best_ask_ticks = self.best_ask_lots = 0
        self._bid_sizes: dict[int, int] = {}
        self._ask_sizes: dict[int, int] = {}
        self._bid_keys: list[int] = []
        self._ask_keys: list[int] = []
        self._top: TopOfBook | None = None

    # --- updates ------------------------------------------------------------------------------------------------------

    def apply_snapshot(self, snapshot: BookSnapshot) -> None:
        """Replace the depth; levels of size 0 are left out. An overlay newer than the snapshot stays."""
        self._bid_sizes = {price: size for price, size in snapshot.bids if size}
        self._ask_sizes = {price: size for price, size in snapshot.asks if size}
        self._bid_keys = sorted(self._bid_sizes)
        self._ask_keys = sorted(-price for price in self._ask_sizes)
        self.is_valid = True
        self._depth_moved_to(snapshot.last_update_id)

    def apply_delta(self, delta: BookDelta) -> None:
        """Set the size of each level named; 0 removes it, and removing an unknown level is nothing unusual."""
        sizes, keys = self._bid_sizes, self._bid_keys
        for price, size in delta.bids:
            if size:
                if price not in sizes:
                    insort(keys, price)
                sizes[price] = size
            elif price in sizes:
                del sizes[price]
                del keys[bisect_left(keys, price)]
        sizes, keys = self._ask_sizes, self._ask_keys
        for price, size in delta.asks:
            if size:
                if price not in sizes:
                    insort(keys, -price)
                sizes[price] = size
            elif price in sizes:
                del sizes[price]
                del keys[bisect_left(keys, -price)]
        self._depth_moved_to(delta.last_update_id)

    def set_top(self, top: TopOfBook) -> bool:
        """Lay the venue's best bid and ask over the depth; a side of size 0 is empty.

        False, and nothing changed, when the book is not valid or already knows something at least as new.
        """
        _, _, update_id, bid_ticks, bid_lots, ask_ticks, ask_lots = top
        known = self._top
        if not self.is_valid or update_id <= (self.last_update_id if known is None else known.update_id):
            return False
        if not (bid_lots and ask_lots):
            bid_ticks, ask_ticks = bid_ticks if bid_lots else 0, ask_ticks if ask_lots else 0
            top = top._replace(bid_ticks=bid_ticks, ask_ticks=ask_ticks)
        self._top = top
        self.best_bid_ticks, self.best_bid_lots = bid_ticks, bid_lots
        self.best_ask_ticks, self.best_ask_lots = ask_ticks, ask_lots
        return True

    def _depth_moved_to(self, update_id: int) -> None:
        self.last_update_id = update_id
        if self._top is not None:
            if update_id < self._top.update_id:
                return
            self._top = None
        if self._bid_keys:
            self.best_bid_ticks = price = self._bid_keys[-1]
            self.best_bid_lots = self._bid_sizes[price]
        else:
            self.best_bid_ticks = self.best_bid_lots = 0
        if self._ask_keys:
            self.best_ask_ticks = price = -self._ask_keys[-1]
            self.best_ask_lots = self._ask_sizes[price]
        else:
            self.best_ask_ticks = self.best_ask_lots = 0

    # --- what it shows -------------------------------------------------------------------------------------------------

    @property
    def newest_update_id(self) -> int:
        """The newest update the shown book contains: the overlay's, else that of the depth; 0 when not valid."""
        return self.last_update_id if self._top is None else self._top.update_id

    @property
    def is_crossed(self) -> bool:
        """Whether the shown best bid is at or above the shown best ask; False when a side is empty."""
        return 0 < self.best_ask_ticks <= self.best_bid_ticks

    @property
    def is_depth_crossed(self) -> bool:
        """The same for the depth alone, whatever lies over it."""
        return bool(self._bid_keys) and bool(self._ask_keys) and self._bid_keys[-1] + self._ask_keys[-1] >= 0

    def size_at(self, side: Side, price_ticks: int) -> int:
        """Displayed lots at a price of a side (BUY: bids, SELL: asks); 0 = none."""
        top = self._top
        if side is BUY:
            if top is not None and price_ticks >= top.bid_ticks:
                return top.bid_lots if price_ticks == top.bid_ticks else 0
            return self._bid_sizes.get(price_ticks, 0)
        if top is not None and (price_ticks <= top.ask_ticks or not top.ask_lots):
            return top.ask_lots if price_ticks == top.ask_ticks else 0
        return self._ask_sizes.get(price_ticks, 0)

    def levels(self, side: Side, n: int = DEFAULT_DEPTH) -> list[Level]:
        """Up to `n` displayed levels of a side, best first; empty when the side is."""
        top = self._top
        if top is None:
            return self.depth_levels(side, n)
        price, lots = (top.bid_ticks, top.bid_lots) if side is BUY else (top.ask_ticks, top.ask_lots)
        if not lots or n <= 0:
            return []
        return [(price, lots), *self._depth_worse_than(side, price, n - 1)]

    def depth_levels(self, side: Side, n: int = DEFAULT_DEPTH) -> list[Level]:
        """Up to `n` levels of a side as snapshots and deltas say, without the overlay; best first."""
        if n <= 0:
            return []
        if side is BUY:
            sizes = self._bid_sizes
            return [(price, sizes[price]) for price in self._bid_keys[: -n - 1 : -1]]
        sizes = self._ask_sizes
        return [(-key, sizes[-key]) for key in self._ask_keys[: -n - 1 : -1]]

    def _depth_worse_than(self, side: Side, price_ticks: int, n: int) -> list[Level]:
        """Up to `n` depth levels strictly behind a price, best first."""
        if side is BUY:
            end = bisect_left(self._bid_keys, price_ticks)
            bids = self._bid_keys[max(0, end - n) : end]
            return [(price, self._bid_sizes[price]) for price in reversed(bids)]
        end = bisect_left(self._ask_keys, -price_ticks)
        asks = self._ask_keys[max(0, end - n) : end]
        return [(-key, self._ask_sizes[-key]) for key in reversed(asks)]
