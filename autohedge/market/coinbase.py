"""Messages of Coinbase (Exchange WebSocket feed): channels `level2` and `matches`, as market events.

The level2 channel sends a snapshot after each subscription and then every change in order, without numbers: TCP keeps the
order, and only a lost connection can lose a change. So updates are numbered here, a new connection makes a hole, and the book
waits for the snapshot that comes with it. The channel's snapshot has no time.

A match tells the side of the *maker*: "sell" means that a buyer took. `last_match`, sent after subscribing, is a trade from
before and no event of now; nor is `ticker`, which has best prices without sizes. Both count as foreign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, Trade
from autohedge.market.binance import CorruptLine, Skip, best_first
from autohedge.market.venue_messages import UNUSABLE, Grid, Numbering, corrupt, decoded, time_of_text_ns, whole

VENUE = "coinbase"


def code_of(instrument: Instrument) -> str:
    """The venue's spelling: BTC/USD → BTC-USD."""
    return instrument.symbol.replace("/", "-").upper()


class CoinbaseParser:
    """A `VenueParser` for one product."""

    def __init__(self, instrument: Instrument) -> None:
        self._code = code_of(instrument)
        self._grid = Grid(instrument)
        self._updates = Numbering()

    @property
    def rounded(self) -> int:
        """How many sizes finer than a lot have been rounded down so far."""
        return self._grid.rounded

    def connected(self, ts_init_ns: int, address: str) -> None:
        """Changes may have been lost: the book waits for the next snapshot."""
        self._updates.lose()

    def parse(self, ts_init_ns: int, body: bytes) -> Sequence[MarketEvent] | Skip:
        """The event in a message. Raises `CorruptLine`; what it was is then lost, and the book waits for a snapshot."""
        kind: Any = None
        try:
            message = decoded(body)
            kind = message["type"]
            if message.get("product_id") != self._code:
                return Skip.NOTE if kind == "subscriptions" else Skip.FOREIGN
            if kind == "l2update":
                return (self._delta(ts_init_ns, message),)
            if kind == "match":
                return (self._trade(ts_init_ns, message),)
            return (self._snapshot(ts_init_ns, message),) if kind == "snapshot" else Skip.FOREIGN
        except UNUSABLE as error:
            if kind != "match":
                self._updates.lose()
            raise corrupt(error) from error

    def _snapshot(self, ts_init_ns: int, message: dict[str, Any]) -> BookSnapshot:
        bids, asks = self._grid.levels(message["bids"]), self._grid.levels(message["asks"])
        if not best_first(bids, asks):
            raise CorruptLine("the levels of the snapshot are not in order")
        return BookSnapshot(0, ts_init_ns, self._updates.following(), bids, asks)

    def _delta(self, ts_init_ns: int, message: dict[str, Any]) -> BookDelta:
        changed: dict[str, list[Level]] = {"buy": [], "sell": []}
        if type(message["changes"]) is not list:
            raise CorruptLine("the changes are not a list")
        for change in message["changes"]:
            if type(change) is not list or len(change) != 3 or change[0] not in changed:
                raise CorruptLine("a change is not side, price and size")
            changed[change[0]].append((self._grid.price(change[1]), self._grid.size(change[2])))
        ts_event_ns = time_of_text_ns(message["time"])
        number = self._updates.following()
        return BookDelta(ts_event_ns, ts_init_ns, number, number, tuple(changed["buy"]), tuple(changed["sell"]))

    def _trade(self, ts_init_ns: int, message: dict[str, Any]) -> Trade:
        maker = message["side"]
        if maker not in ("buy", "sell"):
            raise CorruptLine("the side is neither buy nor sell")
        return Trade(
            time_of_text_ns(message["time"]),
            ts_init_ns,
            whole(message["trade_id"], "the trade's id"),
            self._grid.price(message["price"]),
            self._grid.traded(message["size"]),
            BUY if maker == "sell" else SELL,
        )
