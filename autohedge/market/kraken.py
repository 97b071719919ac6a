"""Messages of Kraken (WebSocket v2): channels `book` and `trade`, as market events.

The book is a window of as many levels a side as were subscribed to (the answer to the subscription says how many): a level
that is pushed out of it is not removed by a message and is removed here. Updates have no numbers; instead each message has a
CRC-32 of the ten best levels of a side (docs.kraken.com, "Book checksum (WebSocket v2)"): a checksum that does not fit is the
sign of a loss, the updates, which are numbered here, get a hole, and the book waits for the next snapshot.

The trades that the venue repeats after subscribing (type `snapshot`) are no events of now and count as foreign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, Trade
from autohedge.market.binance import CorruptLine, Skip
from autohedge.market.venue_messages import (
    UNUSABLE,
    Grid,
    Numbering,
    corrupt,
    decoded_exactly,
    number_text,
    time_of_text_ns,
    whole,
)

VENUE = "kraken"
CHECKED_LEVELS = 10

_SIDES = ("bids", "asks")
_Texts = dict[int, str]
"""Price in ticks → what the level adds to the text of the checksum."""


class KrakenParser:
    """A `VenueParser` for one pair."""

    def __init__(self, instrument: Instrument) -> None:
        self._symbol = instrument.symbol
        self._grid = Grid(instrument)
        self._updates = Numbering()
        self._depth: int | None = None
        self._window: dict[str, _Texts] | None = None

    @property
    def rounded(self) -> int:
        """How many sizes finer than a lot have been rounded down so far."""
        return self._grid.rounded

    def connected(self, ts_init_ns: int, address: str) -> None:
        """Updates may have been lost: the book waits for the next snapshot."""
        self._lose()

    def parse(self, ts_init_ns: int, body: bytes) -> Sequence[MarketEvent] | Skip:
        """The events in a message. Raises `CorruptLine`; what it was is then lost, and the book waits for a snapshot."""
        channel = ""
        try:
            message = decoded_exactly(body)
            if "method" in message:
                return self._answer(message)
            channel = message["channel"]
            if channel == "book":
                return self._book(ts_init_ns, message)
            return self._new_trades(ts_init_ns, message) if channel == "trade" else Skip.FOREIGN
        except UNUSABLE as error:
            if channel != "trade":
                self._lose()
            raise corrupt(error) from error

    def _answer(self, message: dict[str, Any]) -> Skip:
        result = message.get("result")
        if type(result) is dict and result.get("channel") == "book" and result.get("symbol") == self._symbol:
            self._depth = whole(result["depth"], "the depth")
        return Skip.NOTE

    def _book(self, ts_init_ns: int, message: dict[str, Any]) -> Sequence[MarketEvent] | Skip:
        if type(message["data"]) is not list or len(message["data"]) != 1:
            raise CorruptLine("not one book in a message")
        data = message["data"][0]
        if data["symbol"] != self._symbol:
            return Skip.FOREIGN
        changes = {side: [self._level(row) for row in data[side]] for side in _SIDES}
        checksum = whole(data["checksum"], "the checksum")
        if message["type"] == "snapshot":
            return (self._snapshot(ts_init_ns, changes, checksum),)
        if message["type"] != "update":
            raise CorruptLine("the type is neither snapshot nor update")
        ts_event_ns = time_of_text_ns(data["timestamp"])
        bids, asks = (self._changed(side, changes[side]) for side in _SIDES)
        if self._window is not None and _checksum(self._window) != checksum:
            self._lose()
        number = self._updates.following()
        return (BookDelta(ts_event_ns, ts_init_ns, number, number, bids, asks),)

    def _snapshot(self, ts_init_ns: int, levels: dict[str, list[tuple[int, int, str]]], checksum: int) -> BookSnapshot:
        window = {side: {price: text for price, _, text in levels[side]} for side in _SIDES}
        if any(len(window[side]) != len(levels[side]) for side in _SIDES):
            raise CorruptLine("a level of the snapshot is there twice")
        if _checksum(window) != checksum:
            raise CorruptLine("the checksum of the snapshot does not fit")
        self._window = window
        bids, asks = (
            tuple(sorted(((price, lots) for price, lots, _ in levels[side]), reverse=side == "bids")) for side in _SIDES
        )
        return BookSnapshot(0, ts_init_ns, self._updates.following(), bids, asks)

    def _changed(self, side: str, rows: list[tuple[int, int, str]]) -> tuple[Level, ...]:
        """The changes of a side, and the levels that they push out of the window, which then is the one after them."""
        made = {price: lots for price, lots, _ in rows}
        if self._window is not None:
            window = self._window[side]
            for price, _, text in rows:
                if text:
                    window[price] = text
                else:
                    window.pop(price, None)
            if self._depth is not None:
                for price in _best_first(window, side)[self._depth :]:
                    del window[price]
                    made[price] = 0
        return tuple(made.items())

    def _level(self, row: Any) -> tuple[int, int, str]:
        """Price, size and the level's text for the checksum, which is empty for a level that is removed."""
        price, size = number_text(row["price"]), number_text(row["qty"])
        ticks, lots = self._grid.price(price), self._grid.size(size)
        digits = size.replace(".", "").lstrip("0")
        return ticks, lots, price.replace(".", "").lstrip("0") + digits if digits else ""

    def _lose(self) -> None:
        self._updates.lose()
        self._window = None

    def _new_trades(self, ts_init_ns: int, message: dict[str, Any]) -> Sequence[Trade] | Skip:
        if message["type"] != "update":
            return Skip.FOREIGN
        trades = []
        for row in message["data"]:
            if row["symbol"] != self._symbol:
                continue
            if row["side"] not in ("buy", "sell"):
                raise CorruptLine("the side is neither buy nor sell")
            trades.append(
                Trade(
                    time_of_text_ns(row["timestamp"]),
                    ts_init_ns,
                    whole(row["trade_id"], "the trade's id"),
                    self._grid.price(number_text(row["price"])),
                    self._grid.traded(number_text(row["qty"])),
                    BUY if row["side"] == "buy" else SELL,
                )
            )
        return trades or Skip.FOREIGN


def _best_first(window: _Texts, side: str) -> list[int]:
    return sorted(window, reverse=side == "bids")


def _checksum(window: dict[str, _Texts]) -> int:
    """CRC-32 over the best asks and then the best bids, each as price and size without point and leading zeros."""
    texts = [window[side][price] for side in ("asks", "bids") for price in _best_first(window[side], side)[:CHECKED_LEVELS]]
    return crc32("".join(texts).encode())
