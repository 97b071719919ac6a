"""Messages of Binance futures (USD-margined): streams `depth`, `bookTicker` and `aggTrade`, as market events.

Ids of depth updates have holes, because the venue numbers the updates of all symbols together; instead each update names the
last id of the one before it (`pu`). So an update covers everything from `pu` + 1 to `u`, whatever `U` is, and with that the
sequence rules are those of spot (developers.binance.com, "How to manage a local order book correctly", of each market): the
first one after the snapshot must cover its id, each later one must begin where the last one ended.

Trades are the aggregated ones, which are what the venue documents for futures: one per taker order, price and moment, numbered
without holes. Single trades (`trade`), which not every recording has, count as foreign, because both together would be
everything twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.market.binance import CorruptLine, Skip, best_first, symbol_code
from autohedge.market.venue_messages import UNUSABLE, Grid, corrupt, decoded, time_of_ms_ns, whole

VENUE = "binance-futures"


class BinanceFuturesParser:
    """A `VenueParser` for one contract: bare messages, those of a combined stream, and the REST answer of `/depth`."""

    def __init__(self, instrument: Instrument) -> None:
        self._code = symbol_code(instrument.symbol)
        self._grid = Grid(instrument)

    @property
    def rounded(self) -> int:
        """How many sizes finer than a lot have been rounded down so far."""
        return self._grid.rounded

    def connected(self, ts_init_ns: int, address: str) -> None:
        """Nothing to do: the venue's own ids show what was lost."""

    def parse(self, ts_init_ns: int, body: bytes) -> Sequence[MarketEvent] | Skip:
        """The event in a message. Raises `CorruptLine`."""
        try:
            message = decoded(body)
            data = message.get("data", message)
            if type(data) is not dict:
                raise CorruptLine("data is not an object")
            if "lastUpdateId" in data:
                # partial depth streams look alike but show only the best levels, so updates cannot continue them
                return Skip.FOREIGN if "stream" in message else (self._snapshot(ts_init_ns, data),)
            if "result" in data and "id" in data:
                return Skip.NOTE
            kind = data["e"]
            if data.get("s", self._code) != self._code:
                return Skip.FOREIGN
            if kind == "depthUpdate":
                return (self._delta(ts_init_ns, data),)
            if kind == "bookTicker":
                return (self._top(ts_init_ns, data),)
            return (self.aggregated_trade(ts_init_ns, data),) if kind == "aggTrade" else Skip.FOREIGN
        except UNUSABLE as error:
            raise corrupt(error) from error

    def aggregated_trade(self, ts_init_ns: int, data: dict[str, Any]) -> Trade:
        """The trade in an `aggTrade` message, which spot sends alike. Raises one of `UNUSABLE`."""
        buyer_is_maker = data["m"]
        if type(buyer_is_maker) is not bool:
            raise CorruptLine("m is not true or false")
        return Trade(
            time_of_ms_ns(data["T"]),
            ts_init_ns,
            whole(data["a"], "the trade's id"),
            self._grid.price(data["p"]),
            self._grid.traded(data["q"]),
            SELL if buyer_is_maker else BUY,
        )

    def _delta(self, ts_init_ns: int, data: dict[str, Any]) -> BookDelta:
        first, last, previous = (whole(data[name], "an id") for name in ("U", "u", "pu"))
        if not previous < first <= last:
            raise CorruptLine("the ids are not in order")
        bids, asks = self._grid.levels(data["b"]), self._grid.levels(data["a"])
        return BookDelta(time_of_ms_ns(data["T"]), ts_init_ns, previous + 1, last, bids, asks)

    def _snapshot(self, ts_init_ns: int, data: dict[str, Any]) -> BookSnapshot:
        bids, asks = self._grid.levels(data["bids"]), self._grid.levels(data["asks"])
        if not best_first(bids, asks):
            raise CorruptLine("the levels of the snapshot are not in order")
        ts_event_ns = time_of_ms_ns(data["T"]) if "T" in data else 0
        return BookSnapshot(ts_event_ns, ts_init_ns, whole(data["lastUpdateId"], "an id"), bids, asks)

    def _top(self, ts_init_ns: int, data: dict[str, Any]) -> TopOfBook:
        grid = self._grid
        return TopOfBook(
            time_of_ms_ns(data["T"]),
            ts_init_ns,
            whole(data["u"], "an id"),
            grid.price(data["b"]),
            grid.traded(data["B"]),
            grid.price(data["a"]),
            grid.traded(data["A"]),
        )
