"""The paper venue on the recorded BTC/USDT session: whoever joins the touch without thinking loses, as in the real market.

The driver is as naive as can be: every 100 ms of market time it moves a post-only bid and ask of 0.0016 BTC to the best
prices, sells only what it holds and buys up to 20 orders' worth.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.fees import FeeRate, FeeSchedule
from autohedge.domain.ids import ClientOrderId, IdFactory
from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL, MarketEvent, Side
from autohedge.domain.orders import CancelOrder, OrderCancelled, OrderFilled, OrderRejected, PlaceOrder, VenueEvent
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.market.sync import Applied, SyncedBook
from autohedge.simulation.conditions import Conditions
from autohedge.simulation.queueing import QueueModel
from autohedge.venues.paper import PaperVenue

BTC = instrument("binance", "BTC/USDT")
LOTS = 160
MAX_ORDERS_HELD = 20
REQUOTE_NS = 100_000_000
SECOND_NS = 1_000_000_000
OPENING_QUOTE_ATOMS = BTC.quote_atoms_floor(Decimal(10_000))


@dataclass
class Outcome:
    """What the driver ended with. Marks are mids, in half ticks."""

    fills: list[OrderFilled]
    pnl_atoms: int
    fees_atoms: int
    volume_atoms: int
    mark_out_half_atoms: int
    venue_pnl: Decimal
    account_matches: bool

    @property
    def mark_out_bps(self) -> float:
        return self.mark_out_half_atoms / 2 / self.volume_atoms * 10_000


@dataclass
class TouchJoiner:
    """The naive driver with its own books of what it did."""

    venue: PaperVenue
    book: OrderBook
    ids: IdFactory
    inventory: Inventory = field(default_factory=lambda: Inventory(BTC, 0, OPENING_QUOTE_ATOMS))
    quotes: dict[Side, tuple[ClientOrderId, int]] = field(default_factory=dict)
    filled: dict[ClientOrderId, int] = field(default_factory=dict)
    fills: list[OrderFilled] = field(default_factory=list)
    unmarked: deque[tuple[int, OrderFilled]] = field(default_factory=deque)
    mark_out_half_atoms: int = 0
    mid_half_ticks: int = 0
    requote_ns: int = 0

    def hear(self, said: list[VenueEvent]) -> None:
        for event in said:
            order_id = event.client_order_id
            over = isinstance(event, OrderRejected | OrderCancelled)
            if isinstance(event, OrderFilled):
                self.inventory.apply(event)
                self.fills.append(event)
                self.unmarked.append((event.ts_ns + SECOND_NS, event))
                self.filled[order_id] = self.filled.get(order_id, 0) + event.size_lots
                over = self.filled[order_id] == LOTS
            if over:
                self.quotes = {side: quote for side, quote in self.quotes.items() if quote[0] != order_id}

    def mark(self, now_ns: int) -> None:
        """A fill is marked, a second later, at the mid known until then."""
        while self.unmarked and self.unmarked[0][0] <= now_ns:
            _, fill = self.unmarked.popleft()
            moved = fill.side * (self.mid_half_ticks - 2 * fill.price_ticks)
            self.mark_out_half_atoms += moved * fill.size_lots * BTC.quote_atoms_per_tick_lot

    def requote(self, now_ns: int) -> None:
        held = self.inventory.base_atoms // BTC.base_atoms_per_lot
        wanted = {
            BUY: self.book.best_bid_ticks if held < MAX_ORDERS_HELD * LOTS else 0,
            SELL: self.book.best_ask_ticks if held >= LOTS else 0,
        }
        for side, price in wanted.items():
            if side in self.quotes and self.quotes[side][1] != price:
                self.venue.submit(CancelOrder(self.quotes.pop(side)[0], "moved"), now_ns)
            if price and side not in self.quotes:
                order_id = self.ids.order()
                self.quotes[side] = (order_id, price)
                self.venue.submit(PlaceOrder(order_id, side, price, LOTS, True, "join"), now_ns)


def trade_session(
    events: list[MarketEvent], latency_ms: int, fee_bps: int = 0, queue: QueueModel = QueueModel.BEHIND_ALL
) -> Outcome:
    """The whole session with the naive driver."""
    book, ids, fee = OrderBook(), IdFactory("BTC/USDT"), FeeRate.from_bps(Decimal(fee_bps))
    synced = SyncedBook(book)
    venue = PaperVenue(
        BTC, book, FeeSchedule(fee, fee), conditions=Conditions.constant(latency_ms * 1_000_000, queue), ids=ids, base_atoms=0,
        quote_atoms=OPENING_QUOTE_ATOMS,
    )  # fmt: skip
    driver = TouchJoiner(venue, book, ids)
    for event in events:
        now_ns = event.ts_init_ns
        driver.hear(list(venue.advance(now_ns)))
        driver.mark(now_ns)
        if synced.apply(event) is Applied.APPLIED:
            for each in synced.applied_now:
                driver.hear(list(venue.on_market(each)))
        if book.is_valid and book.best_bid_ticks and book.best_ask_ticks:
            driver.mid_half_ticks = book.best_bid_ticks + book.best_ask_ticks
            if now_ns >= driver.requote_ns and not book.is_crossed:
                driver.requote_ns = now_ns + REQUOTE_NS
                driver.requote(now_ns)
    driver.mark(1 << 63)
    inventory, mid = driver.inventory, driver.mid_half_ticks
    return Outcome(
        fills=driver.fills,
        pnl_atoms=inventory.value_atoms(mid) - OPENING_QUOTE_ATOMS,
        fees_atoms=inventory.fees_atoms,
        volume_atoms=inventory.volume_atoms,
        mark_out_half_atoms=driver.mark_out_half_atoms,
        venue_pnl=venue.account_info(BTC.tick_size * mid / 2)["pnl"],
        account_matches=(venue.account.base_atoms, venue.account.quote_atoms) == (inventory.base_atoms, inventory.quote_atoms),
    )


@pytest.fixture(scope="module")
def events(recordings: Path) -> list[MarketEvent]:
    """The recorded session: 10 minutes, 99,574 messages."""
    folder = recordings / "binance_spot_btcusdt_20240808"
    if not folder.is_dir():
        pytest.skip(f"{recordings} has no recorded BTC/USDT session")
    feed = open_replay(folder, "BTC/USDT", BTC)

    async def read() -> list[MarketEvent]:
        return [event async for batch in feed.batches() for event in batch]

    return asyncio.run(read())


@pytest.fixture(scope="module")
def outcome(events: list[MarketEvent]) -> Callable[..., Outcome]:
    """`outcome(latency_ms, fee_bps, queue)`, each computed once."""
    return cache(lambda *choices: trade_session(events, *choices))


@pytest.mark.parametrize("latency_ms", [5, 50])
def test_joining_the_touch_without_a_fee_loses_money_marked_to_the_mid(
    outcome: Callable[..., Outcome], latency_ms: int
) -> None:
    traded = outcome(latency_ms)
    assert len(traded.fills) > 300
    assert traded.pnl_atoms < 0
    assert traded.fees_atoms == 0


@pytest.mark.parametrize("latency_ms", [5, 50])
def test_a_second_after_a_fill_the_mid_is_on_the_wrong_side_on_average(
    outcome: Callable[..., Outcome], latency_ms: int
) -> None:
    assert outcome(latency_ms).mark_out_bps < -0.5


@pytest.mark.parametrize("latency_ms", [5, 50])
def test_the_queue_leaves_at_most_a_third_of_the_volume_of_a_venue_without_one(
    outcome: Callable[..., Outcome], latency_ms: int
) -> None:
    honest, naive = outcome(latency_ms), outcome(latency_ms, 0, QueueModel.NONE)
    assert 0 < 3 * honest.volume_atoms <= naive.volume_atoms


def test_a_queue_by_chance_trades_more_than_behind_all_far_less_than_none_and_still_loses(
    outcome: Callable[..., Outcome],
) -> None:
    models = QueueModel.BEHIND_ALL, QueueModel.POWER, QueueModel.LOG, QueueModel.NONE
    surely, by_size, by_log, naive = (outcome(5, 0, model) for model in models)
    assert surely.volume_atoms < by_size.volume_atoms < by_log.volume_atoms < naive.volume_atoms // 2
    assert max(by_size.pnl_atoms, by_log.pnl_atoms) < 0
    assert max(by_size.mark_out_bps, by_log.mark_out_bps) < -0.5


@pytest.mark.parametrize("latency_ms", [5, 50])
def test_with_a_fee_of_ten_bps_the_pnl_is_the_gross_minus_the_fees_exactly(
    outcome: Callable[..., Outcome], latency_ms: int
) -> None:
    gross, net = outcome(latency_ms), outcome(latency_ms, 10)
    assert [fill._replace(fee_atoms=0) for fill in net.fills] == gross.fills
    assert net.pnl_atoms == gross.pnl_atoms - net.fees_atoms
    assert net.fees_atoms == sum(fill.fee_atoms for fill in net.fills)
    assert 0 <= 1_000 * net.fees_atoms - net.volume_atoms < 1_000 * len(net.fills)


def test_the_venues_own_account_agrees_with_the_books_of_the_driver(outcome: Callable[..., Outcome]) -> None:
    traded = outcome(5, 10)
    assert traded.account_matches
    assert abs(traded.venue_pnl - BTC.quote_amount(traded.pnl_atoms)) < Decimal("1e-7")


def test_partial_fills_are_told_and_no_order_fills_beyond_its_size(outcome: Callable[..., Outcome]) -> None:
    by_order: dict[str, int] = {}
    for fill in outcome(5).fills:
        by_order[fill.client_order_id] = by_order.get(fill.client_order_id, 0) + fill.size_lots
    assert max(by_order.values()) == LOTS
    assert any(fill.size_lots < LOTS for fill in outcome(5).fills)


def test_the_same_session_trades_the_same_twice(events: list[MarketEvent], outcome: Callable[..., Outcome]) -> None:
    assert trade_session(events, 5) == outcome(5)
