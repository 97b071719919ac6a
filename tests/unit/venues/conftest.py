"""A paper venue on a market that a test moves by hand, in the order in which a session moves it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.fees import FeeRate, FeeSchedule
from autohedge.domain.ids import ClientOrderId, IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BookDelta, BookSnapshot, Level, MarketEvent, Side, TopOfBook, Trade
from autohedge.domain.orders import CancelOrder, OrderFilled, PlaceOrder, VenueEvent
from autohedge.market.sync import Applied, SyncedBook
from autohedge.simulation.conditions import Conditions
from autohedge.simulation.queueing import QueueModel
from autohedge.venues.paper import PaperVenue

MS = 1_000_000

COIN = Instrument(
    symbol="COIN/CASH",
    base="COIN",
    quote="CASH",
    tick_size=Decimal(1),
    lot_size=Decimal(1),
    min_qty=Decimal(1),
    max_qty=Decimal(1_000),
    min_notional=Decimal(0),
    max_notional=None,
    venue="test",
    rules_as_of="today",
)
BIDS: tuple[Level, ...] = ((100, 10), (99, 20), (98, 30))
ASKS: tuple[Level, ...] = ((101, 10), (102, 20), (103, 30))


class Exchange:
    """A venue with bids 100/10 99/20 98/30 and asks 101/10 102/20 103/30. Every market event comes 1 ms after the last.

    The market's methods return what the venue said at that event, arrivals included; `log` has all it ever said.
    """

    def __init__(
        self,
        *,
        instrument: Instrument = COIN,
        latency_ms: float = 5,
        maker_bps: str = "0",
        taker_bps: str = "0",
        in_received_asset: bool = False,
        base: int = 1_000,
        quote: int = 1_000_000,
        queue: QueueModel = QueueModel.BEHIND_ALL,
        with_book: bool = True,
        conditions: Conditions | None = None,
    ) -> None:
        self.instrument = instrument
        self.book = OrderBook()
        self.sync = SyncedBook(self.book)
        self.latency_ns = int(latency_ms * MS)
        self.ids = IdFactory(instrument.symbol)
        self.venue = PaperVenue(
            instrument,
            self.book,
            FeeSchedule(FeeRate.from_bps(Decimal(maker_bps)), FeeRate.from_bps(Decimal(taker_bps)), in_received_asset),
            conditions=conditions or Conditions.constant(self.latency_ns, queue),
            ids=self.ids,
            base_atoms=instrument.base_atoms_floor(Decimal(base)),
            quote_atoms=instrument.quote_atoms_floor(Decimal(quote)),
        )
        self.now_ns = 10**18
        self.update_id = 0
        self.trade_id = 0
        self.log: list[VenueEvent] = []
        if with_book:
            self.snapshot()

    # --- the market -----------------------------------------------------------------------------------------------------

    def snapshot(self, bids: tuple[Level, ...] = BIDS, asks: tuple[Level, ...] = ASKS) -> list[VenueEvent]:
        self._tick()
        return self.move(BookSnapshot(0, self.now_ns, self.update_id, bids, asks))

    def delta(self, bids: tuple[Level, ...] = (), asks: tuple[Level, ...] = (), *, lost: int = 0) -> list[VenueEvent]:
        """`lost` updates before this one never came: a gap."""
        self.update_id += lost
        self._tick()
        first = self.book.last_update_id + 1 if not lost else self.update_id
        return self.move(BookDelta(0, self.now_ns, first, self.update_id, bids, asks))

    def top(self, bid: int, bid_lots: int, ask: int, ask_lots: int) -> list[VenueEvent]:
        self._tick()
        return self.move(TopOfBook(0, self.now_ns, self.update_id, bid, bid_lots, ask, ask_lots))

    def trade(self, price: int, lots: int, aggressor: Side) -> list[VenueEvent]:
        self._tick()
        self.trade_id += 1
        return self.move(Trade(0, self.now_ns, self.trade_id, price, lots, aggressor))

    def move(self, event: MarketEvent) -> list[VenueEvent]:
        said = list(self.venue.advance(event.ts_init_ns))
        if self.sync.apply(event) is Applied.APPLIED:
            for each in self.sync.applied_now:
                said += self.venue.on_market(each)
        self.log += said
        return said

    def _tick(self) -> None:
        self.now_ns += MS
        self.update_id += 1

    # --- us ---------------------------------------------------------------------------------------------------------------

    def send(self, side: Side, price: int | None, lots: int, *, post_only: bool | None = None, order_id: str = "") -> str:
        """Submit an order now: post-only when it has a price and nothing else is said."""
        chosen = ClientOrderId(order_id) if order_id else self.ids.order()
        post = price is not None if post_only is None else post_only
        self.venue.submit(PlaceOrder(chosen, side, price, lots, post, "test"), self.now_ns)
        return chosen

    def send_cancel(self, order_id: str) -> None:
        self.venue.submit(CancelOrder(ClientOrderId(order_id), "test"), self.now_ns)

    def arrive(self) -> list[VenueEvent]:
        """Let everything on its way arrive; the market stands still."""
        self.now_ns += self.latency_ns
        said = list(self.venue.advance(self.now_ns))
        self.log += said
        return said

    def place(self, side: Side, price: int | None, lots: int, *, post_only: bool | None = None) -> list[VenueEvent]:
        """Submit and let it arrive."""
        self.send(side, price, lots, post_only=post_only)
        return self.arrive()

    @property
    def fills(self) -> list[OrderFilled]:
        return [event for event in self.log if isinstance(event, OrderFilled)]


@pytest.fixture
def exchange() -> Exchange:
    """The exchange with its defaults: 5 ms, no fees, 1,000 COIN and 1,000,000 CASH."""
    return Exchange()


@pytest.fixture(scope="session")
def make_exchange() -> Callable[..., Exchange]:
    """Makes exchanges that differ from the defaults."""
    return Exchange


@pytest.fixture(scope="session")
def coin() -> Instrument:
    """One tick is 1 CASH, one lot 1 COIN."""
    return COIN
