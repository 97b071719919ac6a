"""Whatever the market and the orders do: nothing is used twice, no limit is broken, no coin appears or is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import (
    WORKING,
    CancelRejected,
    Liquidity,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    OrderState,
    VenueEvent,
)
from autohedge.simulation.queueing import QueueModel

SIDES = st.sampled_from([BUY, SELL])
PRICES = st.integers(95, 106)
LEVELS = st.lists(st.tuples(PRICES, st.integers(0, 30)), max_size=3).map(lambda levels: tuple(dict(levels).items()))
FEES = st.sampled_from(["-1", "0", "0.03", "7.5", "10"])


class PaperTrading(RuleBasedStateMachine):
    """A random market, random orders, and an inventory and order states that only hear what the venue tells."""

    make_exchange: Callable[..., Any]

    @initialize(
        maker=FEES,
        taker=FEES,
        received=st.booleans(),
        base=st.integers(0, 60),
        quote=st.integers(0, 6_000),
        queue=st.sampled_from(list(QueueModel)),
    )
    def open(self, maker: str, taker: str, received: bool, base: int, quote: int, queue: QueueModel) -> None:
        self.exchange = self.make_exchange(
            maker_bps=maker, taker_bps=taker, in_received_asset=received, base=base, quote=quote, latency_ms=2, queue=queue
        )
        account = self.exchange.venue.account
        self.inventory = Inventory(self.exchange.instrument, account.base_atoms, account.quote_atoms)
        self.orders: dict[str, Order] = {}
        self.trade_ids: set[str] = set()
        self.last_ns = 0

    # --- what may happen --------------------------------------------------------------------------------------------------

    @rule(side=SIDES, price=st.none() | PRICES, lots=st.integers(-1, 60), post_only=st.booleans())
    def place(self, side: Side, price: int | None, lots: int, post_only: bool) -> None:
        order_id = self.exchange.send(side, price, lots, post_only=post_only)
        order = Order(order_id, side, price, lots, post_only, "test", self.exchange.now_ns, "m", "rules")
        order.apply(OrderEvent.SUBMIT)
        self.orders[order_id] = order

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        working = [order for order in self.orders.values() if order.state in WORKING]
        if working:
            order = data.draw(st.sampled_from(working))
            if order.state is not OrderState.CANCELLING:
                order.apply(OrderEvent.ASK_CANCEL)
            self.exchange.send_cancel(order.client_order_id)

    @rule()
    def arrive(self) -> None:
        self.heard(self.exchange.arrive())

    @rule(price=PRICES, lots=st.integers(1, 60), aggressor=SIDES)
    def trade(self, price: int, lots: int, aggressor: Side) -> None:
        self.heard(self.exchange.arrive())
        said = self.exchange.trade(price, lots, aggressor)
        assert sum(event.size_lots for event in said) <= lots
        for event in said:
            assert (event.liquidity, event.side) == (Liquidity.MAKER, -aggressor)
            assert (event.price_ticks - price) * event.side >= 0
        self.heard(said)

    @rule(bids=LEVELS, asks=LEVELS, lost=st.sampled_from([0, 0, 0, 0, 0, 3]))
    def delta(self, bids: Any, asks: Any, lost: int) -> None:
        self.book_moves(lambda: self.exchange.delta(bids, asks, lost=lost))

    @rule(bids=LEVELS, asks=LEVELS)
    def snapshot(self, bids: Any, asks: Any) -> None:
        self.book_moves(lambda: self.exchange.snapshot(bids, asks))

    @rule(bid=PRICES, gap=st.integers(1, 3), bid_lots=st.integers(0, 30), ask_lots=st.integers(0, 30))
    def top(self, bid: int, gap: int, bid_lots: int, ask_lots: int) -> None:
        self.book_moves(lambda: self.exchange.top(bid, bid_lots, bid + gap, ask_lots))

    # --- what must hold ---------------------------------------------------------------------------------------------------

    def book_moves(self, move: Callable[[], list[VenueEvent]]) -> None:
        """What a changed book fills is no more than it displays at our price or better."""
        self.heard(self.exchange.arrive())
        said = move()
        for side, opposite in ((BUY, SELL), (SELL, BUY)):
            fills = [event for event in said if isinstance(event, OrderFilled) and event.side is side]
            if fills:
                worst = max(fills, key=lambda fill: -fill.price_ticks * side).price_ticks
                displayed = self.exchange.book.levels(opposite, 99)
                reached = sum(lots for price, lots in displayed if (worst - price) * side >= 0)
                assert sum(fill.size_lots for fill in fills) <= reached
                best = max(fill.price_ticks * side for fill in fills) * side
                assert (best - displayed[0][0]) * side >= 0
        self.heard(said)

    def heard(self, said: list[VenueEvent]) -> None:
        for event in said:
            assert self.last_ns <= event.ts_ns <= self.exchange.now_ns
            self.last_ns = event.ts_ns
            order = self.orders[event.client_order_id]
            match event:
                case OrderFilled():
                    assert event.trade_id not in self.trade_ids
                    self.trade_ids.add(event.trade_id)
                    assert event.side is order.side
                    if order.price_ticks is not None:
                        assert (order.price_ticks - event.price_ticks) * order.side >= 0
                    assert event.liquidity is Liquidity.MAKER or not order.post_only
                    order.fill(event.size_lots)
                    self.inventory.apply(event)
                case OrderAccepted():
                    order.apply(OrderEvent.ACCEPT)
                case OrderRejected():
                    order.apply(OrderEvent.REJECT)
                case OrderCancelled():
                    assert event.remaining_lots == order.remaining_lots > 0
                    order.apply(OrderEvent.CANCEL)
                case CancelRejected():
                    assert order.state not in WORKING
                    order.apply(OrderEvent.REFUSE_CANCEL)

    @invariant()
    def the_venues_account_is_the_inventory_that_the_fills_make(self) -> None:
        if hasattr(self, "exchange"):
            account = self.exchange.venue.account
            assert (account.base_atoms, account.quote_atoms) == (self.inventory.base_atoms, self.inventory.quote_atoms)

    @invariant()
    def what_is_set_aside_covers_the_open_orders_and_nothing_free_is_negative(self) -> None:
        if hasattr(self, "exchange"):
            account, instrument = self.exchange.venue.account, self.exchange.instrument
            assert account.free_base_atoms >= 0 and account.free_quote_atoms >= 0
            resting = [
                order
                for order in self.orders.values()
                if order.state in WORKING and any(e.client_order_id == order.client_order_id for e in self.exchange.log)
            ]
            sells = sum(order.remaining_lots for order in resting if order.side is SELL)
            buys = sum(instrument.notional_atoms(o.price_ticks or 0, o.remaining_lots) for o in resting if o.side is BUY)
            assert account.reserved_base_atoms == sells * instrument.base_atoms_per_lot
            assert account.reserved_quote_atoms >= buys
            assert buys or account.reserved_quote_atoms == 0

    def teardown(self) -> None:
        """In the end every order is filled, cancelled or rejected, and nothing is set aside any more."""
        if not hasattr(self, "exchange"):
            return
        self.heard(self.exchange.arrive())
        for order in self.orders.values():
            if order.state in WORKING:
                order.apply(OrderEvent.ASK_CANCEL)
                self.exchange.send_cancel(order.client_order_id)
        self.heard(self.exchange.arrive())
        ended = {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED}
        assert {order.state for order in self.orders.values()} <= ended
        account = self.exchange.venue.account
        assert (account.reserved_base_atoms, account.reserved_quote_atoms) == (0, 0)


def test_paper_trading_keeps_its_promises(make_exchange: Callable[..., Any]) -> None:
    machine = type("Machine", (PaperTrading,), {"make_exchange": staticmethod(make_exchange)})
    run_state_machine_as_test(machine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))
