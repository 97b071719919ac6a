"""Messages of Bybit (v2 WebSocket): topics `orderBookL2_25` and `trade` of linear and inverse perpetuals, as market events.

The book is a window of 25 levels a side: a snapshot, then messages that delete, update and insert levels. `cross_seq` rises but
has holes, because it counts the updates of several books, so a lost message does not show in it. It shows in the window:
what is deleted or updated must be there and what is inserted must not. A message that contradicts the window is the sign of a
loss: the updates, which are numbered here, get a hole, and the book waits for the next snapshot. One with a `cross_seq` not
above the last one is a repetition and gets the last number.

Sizes come through single-precision floats ("25.900002" for 25.9, "186.99998" for 187): such a size is the lot count that the
float stands for, which is exact as long as it is within that precision; any other size finer than a lot is rounded down.
Trades are named by UUIDs and numbered here in the order they come in; after subscribing the venue repeats its last trades, and
those from before the connection are no events of now and count as foreign.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, Side, Trade
from autohedge.market.binance import CorruptLine, Skip, symbol_code
from autohedge.market.exact import MAX_STEPS
from autohedge.market.venue_messages import (
    UNUSABLE,
    Grid,
    Numbering,
    corrupt,
    decoded_exactly,
    number_text,
    time_of_ms_ns,
    whole,
)

VENUE = "bybit"

_SIDES = {"Buy": BUY, "Sell": SELL}
_SINGLE_PRECISION = Decimal(2) ** -22  # half an ulp is 2^-24 of a value; the venue's sums of floats are off by a little more
_REMEMBERED_TRADES = 10_000


class BybitParser:
    """A `VenueParser` for one contract; the instrument's lot is what the venue counts its sizes in (inverse contracts: USD)."""

    def __init__(self, instrument: Instrument) -> None:
        self._code = symbol_code(instrument.symbol)
        self._grid = Grid(instrument)
        self._lot = instrument.lot_size
        self._rounded = 0
        self._updates = Numbering()
        self._window: dict[Side, set[int]] | None = None
        self._cross_seq = 0
        self._connected_ns = 0
        self._trades = Numbering()
        self._trade_ids: dict[str, int] = {}

    @property
    def rounded(self) -> int:
        """How many sizes finer than a lot have been rounded down so far."""
        return self._rounded

    def connected(self, ts_init_ns: int, address: str) -> None:
        """Updates may have been lost: the book waits for the next snapshot."""
        self._connected_ns = ts_init_ns
        self._lose()

    def parse(self, ts_init_ns: int, body: bytes) -> Sequence[MarketEvent] | Skip:
        """The events in a message. Raises `CorruptLine`; what it was is then lost, and the book waits for a snapshot."""
        name = ""
        try:
            message = decoded_exactly(body)
            if "topic" not in message and "success" in message:
                return Skip.NOTE
            name, _, code = message["topic"].partition(".")
            if code != self._code or name not in ("orderBookL2_25", "trade"):
                return Skip.FOREIGN
            return self._new_trades(ts_init_ns, message) if name == "trade" else (self._book(ts_init_ns, message),)
        except UNUSABLE as error:
            if name != "trade":
                self._lose()
            raise corrupt(error) from error

    # --- book ----------------------------------------------------------------------------------------------------------

    def _book(self, ts_init_ns: int, message: dict[str, Any]) -> BookSnapshot | BookDelta:
        ts_event_ns = whole(message["timestamp_e6"], "a time") * 1_000
        cross_seq = whole(message["cross_seq"], "cross_seq")
        data = message["data"]
        if message["type"] == "snapshot":
            return self._snapshot(ts_event_ns, ts_init_ns, cross_seq, data["order_book"] if type(data) is dict else data)
        if message["type"] != "delta":
            raise CorruptLine("the type is neither snapshot nor delta")
        changes = {action: list(self._rows(data[action], action != "delete")) for action in ("delete", "update", "insert")}
        if cross_seq <= self._cross_seq:
            number = self._updates.last
        else:
            if self._window is not None and not self._fits(changes):
                self._lose()
            number = self._updates.following()
        self._cross_seq = max(self._cross_seq, cross_seq)
        sizes: dict[Side, dict[int, int]] = {BUY: {}, SELL: {}}
        for rows in changes.values():
            for side, price, lots in rows:
                sizes[side][price] = lots
        bids, asks = tuple(sizes[BUY].items()), tuple(sizes[SELL].items())
        return BookDelta(ts_event_ns, ts_init_ns, number, number, bids, asks)

    def _snapshot(self, ts_event_ns: int, ts_init_ns: int, cross_seq: int, rows: Any) -> BookSnapshot:
        sides: dict[Side, list[Level]] = {BUY: [], SELL: []}
        for side, price, lots in self._rows(rows, True):
            sides[side].append((price, lots))
        window = {side: {price for price, _ in levels} for side, levels in sides.items()}
        if any(len(window[side]) < len(levels) for side, levels in sides.items()):
            raise CorruptLine("a level of the snapshot is there twice")
        self._window, self._cross_seq = window, cross_seq
        bids, asks = sorted(sides[BUY], reverse=True), sorted(sides[SELL])
        return BookSnapshot(ts_event_ns, ts_init_ns, self._updates.following(), tuple(bids), tuple(asks))

    def _rows(self, rows: Any, has_size: bool) -> Iterator[tuple[Side, int, int]]:
        if type(rows) is not list:
            raise CorruptLine("levels are not a list")
        for row in rows:
            if row["side"] not in _SIDES:
                raise CorruptLine("the side is neither Buy nor Sell")
            yield _SIDES[row["side"]], self._grid.price(number_text(row["price"])), self._lots(row["size"]) if has_size else 0

    def _fits(self, changes: dict[str, list[tuple[Side, int, int]]]) -> bool:
        """Whether the changes are of the window that is known; the window is then the one after them."""
        window = self._window or {}
        for action, rows in changes.items():
            for side, price, _ in rows:
                if (price in window[side]) is (action == "insert"):
                    return False
                if action == "delete":
                    window[side].remove(price)
                elif action == "insert":
                    window[side].add(price)
        return True

    def _lose(self) -> None:
        self._updates.lose()
        self._window = None
        self._cross_seq = 0

    # --- trades and numbers --------------------------------------------------------------------------------------------

    def _new_trades(self, ts_init_ns: int, message: dict[str, Any]) -> Sequence[Trade] | Skip:
        trades = []
        for row in message["data"]:
            ts_event_ns = time_of_ms_ns(row["trade_time_ms"])
            if row["side"] not in _SIDES or type(row["trade_id"]) is not str:
                raise CorruptLine("a trade has no side or no id")
            price, lots = self._grid.price(number_text(row["price"])), self._lots(row["size"])
            if not lots:
                raise CorruptLine("a size is less than a lot")
            if ts_event_ns >= self._connected_ns:
                trades.append((ts_event_ns, row["trade_id"], price, lots, _SIDES[row["side"]]))
        # numbered only when the whole message is known to be sound
        return [Trade(at, ts_init_ns, self._number(uuid), price, lots, side) for at, uuid, price, lots, side in trades] or (
            Skip.FOREIGN
        )

    def _number(self, uuid: str) -> int:
        known = self._trade_ids.get(uuid)
        if known is not None:
            return known
        if len(self._trade_ids) >= _REMEMBERED_TRADES:
            del self._trade_ids[next(iter(self._trade_ids))]
        number = self._trade_ids[uuid] = self._trades.following()
        return number

    def _lots(self, value: Any) -> int:
        text = number_text(value)
        size = Decimal(text) if _is_plain(text) else None
        if size is None or not 0 <= size / self._lot <= MAX_STEPS:
            raise CorruptLine("a size is not a plain number")
        lots = int((size / self._lot).to_integral_value())
        if abs(lots * self._lot - size) <= size * _SINGLE_PRECISION:
            return lots
        self._rounded += 1
        return int(size // self._lot)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit() and len(text) <= 40
