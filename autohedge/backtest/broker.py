"""The account and the order traffic of a simulated run: everything that does not depend on what the market is made of.

Promise: money is exact, in atoms; every request ends in exactly one way that the strategy is told of; fills reach the balance,
the position and the order together, partial ones too. Engines derive from it and add the market: what an arriving order meets,
and what an event does to resting ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.strategy import Cancellation, Fill, History, Position, Rejection, Strategy, WorkingOrder
from autohedge.domain.ids import ClientOrderId, IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Liquidity, OrderFilled
from autohedge.errors import InvariantBroken
from autohedge.simulation.account import SpotAccount
from autohedge.simulation.bar_matching import (
    MAX_NOTIONAL,
    MAX_QTY,
    MIN_NOTIONAL,
    MIN_QTY,
    REASONS,
    MarketRules,
    buy_cost_atoms,
    fails,
    fee_between,
    refusal_by_rules,
    taking_price_ticks,
)

_ZERO = Decimal(0)


@dataclass(slots=True, eq=False)
class SimulatedOrder:
    """An order of ours. `done_atoms` is the value of its fills, `reserved_atoms` what the account set aside for its rest."""

    number: int
    order_id: ClientOrderId
    side: Side
    price_ticks: int | None
    size_lots: int
    post_only: bool
    reason: str
    filled_lots: int = 0
    done_atoms: int = 0
    reserved_atoms: int = 0
    is_open: bool = False

    @property
    def remaining_lots(self) -> int:
        """Lots that may still fill."""
        return self.size_lots - self.filled_lots


class Request(NamedTuple):
    """A message on its way to the venue: an order, or the cancel of one. `is_lost` when the venue's interface fails."""

    arrival_ns: int
    sent_at_event: int
    order: SimulatedOrder | None
    order_id: ClientOrderId
    reason: str
    is_lost: bool


class FillRow(NamedTuple):
    """A fill and the balances after it, for the report. `mid_ticks` is the price known just before."""

    ts_ns: int
    event: int
    side: int
    price_ticks: int
    lots: int
    fee_atoms: int
    slippage_atoms: int
    is_maker: bool
    mid_ticks: int
    order: int
    quote_atoms: int
    base_lots: int


class SimulatedBroker(ABC):
    """A `Broker` over a spot account that begins with cash alone; engines call the methods of its second half.

    `event` numbers the market's events from 0; it is −1 before the first.
    """

    def __init__(self, strategy: Strategy, instrument: Instrument, assumptions: Assumptions, rules: MarketRules) -> None:
        self.opening_atoms = opening_atoms = instrument.quote_atoms_floor(assumptions.initial_capital)
        self.instrument = instrument
        self.strategy = strategy
        self.rules = rules
        self.account = SpotAccount(instrument, 0, opening_atoms)
        self.inventory = Inventory(instrument, 0, opening_atoms)
        self.fills: list[FillRow] = []
        self.counts = dict.fromkeys(
            ("orders_placed", "orders_rejected", "orders_cancelled", "cancels_rejected", "api_failures"), 0
        )
        self.event = -1
        self.requests: list[Request] = []
        self.working: dict[ClientOrderId, SimulatedOrder] = {}
        self.is_over = False
        self._sent = 0
        self._taken = 0
        self._ids = IdFactory(instrument.symbol)
        self._position: Position | None = None
        self._tells_fills = type(strategy).on_order_filled is not Strategy.on_order_filled
        self._tells_position = type(strategy).on_position_changed is not Strategy.on_position_changed

    # --- what an engine knows ---------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def now_ns(self) -> int:
        """The time of the market."""

    @property
    @abstractmethod
    def mark_ticks(self) -> int:
        """The newest known price; 0 before there is one."""

    # --- what a strategy asks ---------------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        """What is held."""
        if self._position is None:
            instrument, books = self.instrument, self.inventory
            size = instrument.base_amount(books.base_atoms)
            average = instrument.quote_amount(books.cost_atoms) / size if size else None
            realized, fees = instrument.quote_amount(books.realized_atoms), instrument.quote_amount(books.fees_atoms)
            self._position = Position(size, average, realized, fees)
        return self._position

    @property
    def cash(self) -> Decimal:
        """The quote balance."""
        return self.instrument.quote_amount(self.account.quote_atoms)

    @property
    def available_cash(self) -> Decimal:
        """The quote balance without what open orders have set aside."""
        return self.instrument.quote_amount(self.account.free_quote_atoms)

    @property
    def equity(self) -> Decimal:
        """The quote balance and what is held, at the newest known price."""
        return self.instrument.quote_amount(self.inventory.value_atoms(2 * self.mark_ticks))

    @property
    def open_orders(self) -> tuple[WorkingOrder, ...]:
        """Orders that may still fill, those on their way included, oldest first."""
        instrument = self.instrument
        return tuple(
            WorkingOrder(
                order.order_id,
                order.side,
                None if order.price_ticks is None else instrument.price(order.price_ticks),
                instrument.size(order.size_lots),
                instrument.size(order.filled_lots),
                order.reason,
            )
            for order in self.working.values()
        )

    def place(self, side: Side, size_lots: int, price_ticks: int | None, *, post_only: bool, reason: str) -> ClientOrderId:
        """Send an order."""
        order_id = self._ids.order()
        order = SimulatedOrder(self.counts["orders_placed"], order_id, side, price_ticks, size_lots, post_only, reason)
        self.counts["orders_placed"] += 1
        self.working[order_id] = order
        if self.is_over:
            self.reject(order, "no_market", "the market is over")
        else:
            self._send(order, order_id, reason)
        return order_id

    def cancel(self, order_id: ClientOrderId, reason: str) -> None:
        """Send a cancel."""
        if self.is_over:
            self._reject_cancel(order_id, "no_market", "the market is over")
        else:
            self._send(None, order_id, reason)

    def history(self, bars: int) -> History:
        """Empty: only a market of bars has a history of them."""
        nothing = np.empty(0)
        return History(np.empty(0, dtype=np.int64), nothing, nothing, nothing, nothing, nothing)

    # --- what an engine calls: requests -------------------------------------------------------------------------------------

    def arrivals(self, until_ns: int) -> Sequence[Request]:
        """Requests that arrive before `until_ns`, in the order in which they were sent; asked for once per event, so that what
        is sent meanwhile waits for the next one."""
        arrived: list[Request] = []
        waiting: list[Request] = []
        for request in self.requests:
            # commands never overtake one another
            on_time = not waiting and request.arrival_ns < until_ns
            (arrived if on_time else waiting).append(request)
        self.requests = waiting
        return arrived

    def receive(self, request: Request) -> SimulatedOrder | None:
        """Carry out what does not need the market: losses and cancels. An order that now meets the market, else None."""
        order = request.order
        if request.is_lost:
            self.counts["api_failures"] += 1
            detail = "the request to the venue failed and had no effect"
            if order is None:
                self._reject_cancel(request.order_id, "api_failure", detail)
            else:
                self.reject(order, "api_failure", detail)
            return None
        if order is not None:
            return order
        open_order = self.working.get(request.order_id)
        if open_order is None or not open_order.is_open:
            self._reject_cancel(request.order_id, "not_open", "the order was filled, cancelled or rejected before")
        else:
            self.end(open_order, request.reason)
        return None

    def is_refused(self, order: SimulatedOrder, price_ticks: int) -> bool:
        """Whether the rules refuse an order, valued at its own price or else at `price_ticks`; it is rejected if so."""
        if order.size_lots <= 0 or (order.price_ticks is not None and order.price_ticks <= 0):
            self.reject(order, "invalid_order", "the size rounds down to no lot" if order.size_lots <= 0 else "no such price")
            return True
        if order.post_only and order.price_ticks is None:
            self.reject(order, "invalid_order", "a market order cannot be post-only")
            return True
        code = refusal_by_rules(self.rules, order.size_lots, order.price_ticks or price_ticks)
        if code:
            self.reject(order, REASONS[code], self._detail(code, order, order.price_ticks or price_ticks))
        return code != 0

    def can_pay(self, order: SimulatedOrder, lots: int, price_ticks: int) -> bool:
        """Whether the free balance covers `lots` of the order at a price, with what it has set aside itself."""
        if order.side is SELL:
            free = self.account.free_base_atoms + order.reserved_atoms
            return lots * self.instrument.base_atoms_per_lot <= free
        free = self.account.free_quote_atoms + order.reserved_atoms
        return buy_cost_atoms(self.rules, lots, price_ticks, order.done_atoms) <= free

    def reserve(self, order: SimulatedOrder) -> None:
        """Set aside what the rest of a resting order may cost, instead of what was set aside for it before."""
        self.release(order)
        rest = order.remaining_lots
        if order.side is SELL:
            order.reserved_atoms = rest * self.instrument.base_atoms_per_lot
        else:
            order.reserved_atoms = buy_cost_atoms(self.rules, rest, order.price_ticks or 0, order.done_atoms)
        self.account.reserve(order.side, order.reserved_atoms)

    def release(self, order: SimulatedOrder) -> None:
        """Give back what was set aside for an order."""
        if order.reserved_atoms:
            self.account.reserve(order.side, -order.reserved_atoms)
            order.reserved_atoms = 0

    def reject(self, order: SimulatedOrder, reason: str, detail: str) -> None:
        """The order never came to be."""
        del self.working[order.order_id]
        self.counts["orders_rejected"] += 1
        self.strategy.on_order_rejected(Rejection(self.now_ns, order.order_id, "place", reason, detail))

    def end(self, order: SimulatedOrder, reason: str) -> None:
        """What is left of an order is gone."""
        self.release(order)
        order.is_open = False
        del self.working[order.order_id]
        self.counts["orders_cancelled"] += 1
        remaining = self.instrument.size(order.remaining_lots)
        self.strategy.on_order_cancelled(Cancellation(self.now_ns, order.order_id, remaining, reason))

    def insufficient(self, order: SimulatedOrder) -> str:
        """The sentence for an order that the account cannot pay."""
        instrument, account = self.instrument, self.account
        if order.side is SELL:
            free, asset = instrument.base_amount(account.free_base_atoms), instrument.base
        else:
            free, asset = instrument.quote_amount(account.free_quote_atoms), instrument.quote
        return f"{instrument.size(order.size_lots)} {instrument.base} need more than the {free:f} {asset} that are free"

    # --- what an engine calls: fills ----------------------------------------------------------------------------------------

    def taking_price(self, order: SimulatedOrder, reference_ticks: int, lots: int, available_lots: int) -> int:
        """The price of a fill that takes, slippage included; a limit order never pays more than its limit."""
        price = taking_price_ticks(self.rules, order.side, reference_ticks, lots, available_lots, self._taken)
        self._taken += 1
        if order.price_ticks is not None and (order.price_ticks - price) * order.side < 0:
            return order.price_ticks
        return price

    def fill(
        self, order: SimulatedOrder, lots: int, price_ticks: int, *, reference_ticks: int, mid_ticks: int, is_maker: bool
    ) -> None:
        """Book a fill everywhere at once, and tell the strategy. `InvariantBroken` when it does not fit the order."""
        if not 0 < lots <= order.remaining_lots:
            raise InvariantBroken(f"order {order.order_id}: {lots} lots do not fit the {order.remaining_lots} left")
        instrument, account = self.instrument, self.account
        notional = instrument.notional_atoms(price_ticks, lots)
        fee = fee_between(self.rules, order.done_atoms, order.done_atoms + notional)
        self.release(order)
        account.trade(order.side, price_ticks, lots, fee, fee_in_base=False)
        liquidity = Liquidity.MAKER if is_maker else Liquidity.TAKER
        trade_id, asset = self._ids.fill(), instrument.quote
        self.inventory.apply(
            OrderFilled(self.now_ns, order.order_id, trade_id, order.side, price_ticks, lots, liquidity, asset, fee)
        )
        order.filled_lots += lots
        order.done_atoms += notional
        if not order.remaining_lots:
            order.is_open = False
            del self.working[order.order_id]
        elif order.price_ticks is not None:
            self.reserve(order)
        slippage = order.side * (price_ticks - reference_ticks) * lots * self.rules.atoms_per_tick_lot
        base_lots = account.base_atoms // instrument.base_atoms_per_lot
        self.fills.append(
            FillRow(
                self.now_ns,
                self.event,
                order.side,
                price_ticks,
                lots,
                fee,
                slippage,
                is_maker,
                mid_ticks,
                order.number,
                account.quote_atoms,
                base_lots,
            )
        )
        self._position = None
        self._tell(order, lots, price_ticks, fee, is_maker=is_maker)

    def check_books(self) -> None:
        """The venue's account and our inventory agree, atom by atom; `InvariantBroken` otherwise."""
        account, books = self.account, self.inventory
        if (account.base_atoms, account.quote_atoms) != (books.base_atoms, books.quote_atoms):
            raise InvariantBroken(f"{self.instrument.symbol}: account {account} and inventory {books} differ")

    # --- inside -----------------------------------------------------------------------------------------------------------

    def _send(self, order: SimulatedOrder | None, order_id: ClientOrderId, reason: str) -> None:
        is_lost = fails(self.rules, self._sent)
        self._sent += 1
        self.requests.append(Request(self.now_ns + self.rules.latency_ns, self.event, order, order_id, reason, is_lost))

    def _reject_cancel(self, order_id: ClientOrderId, reason: str, detail: str) -> None:
        self.counts["cancels_rejected"] += 1
        self.strategy.on_order_rejected(Rejection(self.now_ns, order_id, "cancel", reason, detail))

    def _tell(self, order: SimulatedOrder, lots: int, price_ticks: int, fee_atoms: int, *, is_maker: bool) -> None:
        instrument = self.instrument
        if self._tells_fills:
            price, size, fee = instrument.price(price_ticks), instrument.size(lots), instrument.quote_amount(fee_atoms)
            remaining = instrument.size(order.remaining_lots) if order.remaining_lots else _ZERO
            self.strategy.on_order_filled(Fill(self.now_ns, order.order_id, order.side, price, size, fee, remaining, is_maker))
        if self._tells_position:
            self.strategy.on_position_changed(self.position)

    def _detail(self, code: int, order: SimulatedOrder, price_ticks: int) -> str:
        instrument = self.instrument
        size = instrument.size(order.size_lots)
        value = instrument.quote_amount(instrument.notional_atoms(price_ticks, order.size_lots))
        return {
            MIN_QTY: f"the size {size} is below the minimum {instrument.min_qty}",
            MAX_QTY: f"the size {size} is above the maximum {instrument.max_qty}",
            MIN_NOTIONAL: f"the value {value} is below the minimum {instrument.min_notional}",
            MAX_NOTIONAL: f"the value {value} is above the maximum {instrument.max_notional}",
        }[code]


def opposite(side: Side) -> Side:
    """The other side."""
    return SELL if side is BUY else BUY
