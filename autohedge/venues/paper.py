"""The paper venue: a real (live or recorded) or simulated public market, our orders in it on paper only.

Promise: it can lose money. Orders arrive after a latency, stand in a queue, fill in part, pay fees and are refused by the
instrument's rules and the account's balances, and nothing the market offers is used twice (`autohedge.simulation.matching`).
Everything is deterministic: the same commands and market events give the same events, ids included; chance is seeded. Refused:
a latency of zero, because it is look-ahead. All rules in words: docs/paper-venue.md.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

from autohedge.domain.account import AccountInfo, Position
from autohedge.domain.fees import FeeSchedule
from autohedge.domain.ids import ClientOrderId, IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Level, MarketEvent, Side
from autohedge.domain.orders import (
    REQUEST_FAILED,
    CancelOrder,
    CancelRejected,
    Command,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    VenueEvent,
)
from autohedge.errors import ConfigError
from autohedge.simulation.account import SpotAccount, fee_step
from autohedge.simulation.conditions import Conditions, request_fails
from autohedge.simulation.latency import Way
from autohedge.simulation.matching import BookReader, MatchingCore, is_marketable
from autohedge.simulation.queueing import RestingOrder

CLIENT_ORDER_IDS_KEPT = 100_000
"""An order id is known as used for at least this many later orders, and as long as its order is open."""

_NEVER_NS = 1 << 63
_NOTHING: tuple[VenueEvent, ...] = ()


class _Refusal(NamedTuple):
    """Why an order is rejected: a code and a sentence."""

    reason: str
    detail: str


class PaperVenue:
    """A venue for one instrument over a public book that somebody else keeps current; an adapter of the port `Venue`.

    `conditions` are what orders meet besides the market; the balances are those the account opens with.
    """

    simulated = True

    def __init__(
        self,
        instrument: Instrument,
        book: BookReader,
        fees: FeeSchedule,
        *,
        conditions: Conditions,
        ids: IdFactory,
        base_atoms: int,
        quote_atoms: int,
    ) -> None:
        self.account = SpotAccount(instrument, base_atoms, quote_atoms)
        self._instrument = instrument
        self._book = book
        self._fees = fees
        self._ids = ids
        self._core = MatchingCore(book, conditions.queue, conditions.queue_power)
        self._way = Way(conditions.latency)
        self._watches_feed = self._way.watches_feed
        self._failure = (conditions.failure_frac, conditions.failure_key)
        self._requests = 0
        self._halts = deque(conditions.halts_ns)
        self._halt_from_ns = conditions.halts_ns[0][0] if conditions.halts_ns else _NEVER_NS
        self._opening = (base_atoms, quote_atoms)
        self._opening_mark: Decimal | None = None
        self._trades = 0
        self._now_ns = 0
        self._in_flight: deque[tuple[int, Command]] = deque()
        self._next_arrival_ns = _NEVER_NS
        self._used_ids: OrderedDict[str, None] = OrderedDict()

    # --- the port -----------------------------------------------------------------------------------------------------

    def submit(self, command: Command, now_ns: int) -> None:
        """Send a command at `now_ns`; it arrives after the latency, never before one that was sent earlier."""
        arrival_ns = self._way.arrival_ns(now_ns)
        if not self._in_flight:
            self._next_arrival_ns = arrival_ns
        self._in_flight.append((arrival_ns, command))

    def advance(self, now_ns: int) -> Sequence[VenueEvent]:
        """Execute what arrives up to and including `now_ns` against the book as it stands; stamped with its arrival."""
        if now_ns < self._next_arrival_ns:
            return _NOTHING
        in_flight = self._in_flight
        events: list[VenueEvent] = []
        while in_flight and in_flight[0][0] <= now_ns:
            arrival_ns, command = in_flight.popleft()
            self._now_ns = max(self._now_ns, arrival_ns)
            fails = request_fails(*self._failure, self._requests)
            self._requests += 1
            if isinstance(command, CancelOrder):
                events.append(self._lost_cancel(command) if fails else self._cancel(command))
            elif fails:
                events.append(self._lost_order(command))
            else:
                self._place(command, events)
        self._next_arrival_ns = in_flight[0][0] if in_flight else _NEVER_NS
        return events

    def on_market(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Match resting orders against `event`, which the book already contains; fills are stamped with its receive time."""
        if self._opening_mark is None:
            self._note_opening()
        if self._watches_feed:
            self._way.see(event)
        core = self._core
        if core.is_idle:
            return _NOTHING
        self._now_ns = max(self._now_ns, event.ts_init_ns)
        if self._now_ns >= self._halt_from_ns and self._is_halted():
            return _NOTHING
        matches = core.on_market(event, self._now_ns)
        if not matches:
            return _NOTHING
        return [self._maker_fill(order, lots) for order, lots in matches]

    # --- what arrives ---------------------------------------------------------------------------------------------------

    def _place(self, order: PlaceOrder, events: list[VenueEvent]) -> None:
        refusal = self._refusal_by_halt() or self._refusal_by_rules(order) or self._refusal_by_market(order)
        takes: list[Level] = []
        if refusal is None:
            if not order.post_only:
                takes = self._core.takeable(order.side, order.price_ticks, order.size_lots)
            refusal = self._refusal_by_account(order, takes)
        if order.client_order_id not in self._used_ids:
            self._remember(order.client_order_id)
        if refusal is not None:
            events.append(OrderRejected(self._now_ns, order.client_order_id, refusal.reason, refusal.detail))
            return
        events.append(OrderAccepted(self._now_ns, order.client_order_id))
        events += self._taker_fills(order, takes)
        rest_lots = order.size_lots - sum(lots for _, lots in takes)
        if not rest_lots:
            return
        if order.price_ticks is None:
            events.append(OrderCancelled(self._now_ns, order.client_order_id, rest_lots, "insufficient_depth"))
        else:
            self.account.reserve(order.side, self._reserve_atoms(order.side, order.price_ticks, rest_lots, 0))
            self._core.rest(order.client_order_id, order.side, order.price_ticks, rest_lots, self._now_ns)

    def _cancel(self, cancel: CancelOrder) -> VenueEvent:
        order = self._core.remove(cancel.client_order_id)
        if order is None:
            return CancelRejected(self._now_ns, cancel.client_order_id, "not_open")
        done_lots = order.rested_lots - order.remaining_lots
        reserved = self._reserve_atoms(order.side, order.price_ticks, order.rested_lots, done_lots)
        self.account.reserve(order.side, -reserved)
        return OrderCancelled(self._now_ns, cancel.client_order_id, order.remaining_lots, cancel.reason)

    def _lost_order(self, order: PlaceOrder) -> VenueEvent:
        detail = "the venue did not answer; nothing was placed"
        return OrderRejected(self._now_ns, order.client_order_id, REQUEST_FAILED, detail)

    def _lost_cancel(self, cancel: CancelOrder) -> VenueEvent:
        return CancelRejected(self._now_ns, cancel.client_order_id, REQUEST_FAILED)

    def _is_halted(self) -> bool:
        """Whether it is a halt now; halts that are over are forgotten."""
        halts = self._halts
        while halts and halts[0][1] <= self._now_ns:
            halts.popleft()
        self._halt_from_ns = halts[0][0] if halts else _NEVER_NS
        return self._halt_from_ns <= self._now_ns

    def _remember(self, order_id: str) -> None:
        used = self._used_ids
        used[order_id] = None
        while len(used) > CLIENT_ORDER_IDS_KEPT + len(self._core.resting):
            oldest = next(iter(used))
            if oldest in self._core.resting:
                used.move_to_end(oldest)
            else:
                del used[oldest]

    # --- refusals ---------------------------------------------------------------------------------------------------------

    def _refusal_by_halt(self) -> _Refusal | None:
        if self._now_ns >= self._halt_from_ns and self._is_halted():
            return _Refusal("halted", "the venue is halted and takes only cancels")
        return None

    def _refusal_by_rules(self, order: PlaceOrder) -> _Refusal | None:
        """What is wrong with the order whatever the market is."""
        instrument, lots, price = self._instrument, order.size_lots, order.price_ticks
        if order.client_order_id in self._used_ids:
            return _Refusal("duplicate_client_order_id", f"the order id {order.client_order_id} was used before")
        if price is None and order.post_only:
            return _Refusal("invalid_order", "a market order cannot be post-only")
        if price is not None and price <= 0:
            return _Refusal("invalid_order", f"the price must be at least one tick, found {price} ticks")
        if lots <= 0:
            return _Refusal("invalid_order", f"the size must be at least one lot, found {lots} lots")
        if lots < instrument.min_lots:
            return _Refusal("min_qty", f"the size {instrument.size(lots)} is below the minimum {instrument.min_qty}")
        if lots > instrument.max_lots:
            return _Refusal("max_qty", f"the size {instrument.size(lots)} is above the maximum {instrument.max_qty}")
        return None

    def _refusal_by_market(self, order: PlaceOrder) -> _Refusal | None:
        """What the book as it stands has against the order."""
        instrument, book = self._instrument, self._book
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if not book.is_valid:
            return _Refusal("no_market", "the book is not synchronised, so nothing can be matched")
        if not bid or not ask:
            return _Refusal("no_market", f"the book has no {'asks' if bid else 'bids'}, so there is no market")
        if book.is_crossed:
            best_bid, best_ask = instrument.price(bid), instrument.price(ask)
            return _Refusal("no_market", f"the book is crossed, bid {best_bid} and ask {best_ask}, so nothing can be matched")
        opposite = ask if order.side is BUY else bid
        notional = instrument.notional_atoms(order.price_ticks or opposite, order.size_lots)
        value = instrument.quote_amount(notional)
        if notional < instrument.min_notional_atoms:
            return _Refusal("min_notional", f"the value {value} is below the minimum {instrument.min_notional}")
        if instrument.max_notional is not None and value > instrument.max_notional:
            return _Refusal("max_notional", f"the value {value} is above the maximum {instrument.max_notional}")
        if order.price_ticks is None:
            return None
        if order.post_only and is_marketable(order.side, order.price_ticks, opposite):
            limit, best = instrument.price(order.price_ticks), instrument.price(opposite)
            return _Refusal("post_only_would_cross", f"the price {limit} would take from the best opposite price {best}")
        return self._refusal_of_self_trade(order.side, order.price_ticks)

    def _refusal_by_account(self, order: PlaceOrder, takes: list[Level]) -> _Refusal | None:
        """What the account, or its other orders, have against the order; `takes` is what it would take at once."""
        instrument, account = self._instrument, self.account
        if order.price_ticks is None and takes:
            refusal = self._refusal_of_self_trade(order.side, takes[-1][0])
            if refusal is not None:
                return refusal
        if order.side is SELL:
            need, free = order.size_lots * instrument.base_atoms_per_lot, account.free_base_atoms
            if need <= free:
                return None
            asset, needed, found = instrument.base, instrument.base_amount(need), instrument.base_amount(free)
        else:
            need, free = self._buy_cost_atoms(order, takes), account.free_quote_atoms
            if need <= free:
                return None
            asset, needed, found = instrument.quote, instrument.quote_amount(need), instrument.quote_amount(free)
        return _Refusal("insufficient_balance", f"the order needs {needed} {asset} with its fee, free are {found}")

    def _refusal_of_self_trade(self, side: Side, worst_ticks: int) -> _Refusal | None:
        own_ticks = self._core.best_ticks(SELL if side is BUY else BUY)
        if not is_marketable(side, worst_ticks, own_ticks):
            return None
        return _Refusal("self_trade", f"the order would trade with our own order at {self._instrument.price(own_ticks)}")

    # --- money ------------------------------------------------------------------------------------------------------------

    def _buy_cost_atoms(self, order: PlaceOrder, takes: list[Level]) -> int:
        """Quote that a buy spends at once or sets aside, fees included where they are paid in quote."""
        instrument = self._instrument
        cost = sum(instrument.notional_atoms(price, lots) for price, lots in takes)
        if not self._pays_in_base(BUY):
            cost += max(0, self._fees.taker.of(cost))
        rest_lots = order.size_lots - sum(lots for _, lots in takes)
        if order.price_ticks is not None and rest_lots:
            cost += self._reserve_atoms(BUY, order.price_ticks, rest_lots, 0)
        return cost

    def _reserve_atoms(self, side: Side, price_ticks: int, rested_lots: int, done_lots: int) -> int:
        """What a resting order sets aside for its rest: quote with the maker fee for a buy, base for a sell."""
        instrument = self._instrument
        if side is SELL:
            return (rested_lots - done_lots) * instrument.base_atoms_per_lot
        whole = instrument.notional_atoms(price_ticks, rested_lots)
        done = instrument.notional_atoms(price_ticks, done_lots)
        fee = 0 if self._pays_in_base(side) else max(0, fee_step(self._fees.maker, done, whole))
        return whole - done + fee

    def _pays_in_base(self, side: Side) -> bool:
        return side is BUY and self._fees.in_received_asset

    def _taker_fills(self, order: PlaceOrder, takes: list[Level]) -> list[OrderFilled]:
        """One fill per level taken; the fee is rounded up over all of them together."""
        self._core.take(order.side, takes)
        fills: list[OrderFilled] = []
        paid_on = 0
        for price, lots in takes:
            amount = self._fee_base_atoms(order.side, price, lots)
            fee = fee_step(self._fees.taker, paid_on, paid_on + amount)
            paid_on += amount
            fills.append(self._fill(order.client_order_id, order.side, price, lots, fee, Liquidity.TAKER))
        return fills

    def _maker_fill(self, order: RestingOrder, lots: int) -> OrderFilled:
        """A fill at the order's own price: what was set aside for it is freed, then the trade is booked."""
        side, price, rested = order.side, order.price_ticks, order.rested_lots
        done = rested - order.remaining_lots
        before = self._reserve_atoms(side, price, rested, done - lots)
        self.account.reserve(side, self._reserve_atoms(side, price, rested, done) - before)
        fee = self._maker_fee_atoms(side, price, done - lots, done)
        return self._fill(ClientOrderId(order.order_id), side, price, lots, fee, Liquidity.MAKER)

    def _maker_fee_atoms(self, side: Side, price_ticks: int, lots_before: int, lots_after: int) -> int:
        before, after = (self._fee_base_atoms(side, price_ticks, lots) for lots in (lots_before, lots_after))
        return fee_step(self._fees.maker, before, after)

    def _fee_base_atoms(self, side: Side, price_ticks: int, lots: int) -> int:
        """The amount that a fee is a fraction of: the base received, or the value in quote."""
        if self._pays_in_base(side):
            return lots * self._instrument.base_atoms_per_lot
        return self._instrument.notional_atoms(price_ticks, lots)

    def _fill(
        self, order_id: ClientOrderId, side: Side, price: int, lots: int, fee_atoms: int, liquidity: Liquidity
    ) -> OrderFilled:
        in_base = self._pays_in_base(side)
        self.account.trade(side, price, lots, fee_atoms, fee_in_base=in_base)
        self._trades += 1
        asset = self._instrument.base if in_base else self._instrument.quote
        return OrderFilled(self._now_ns, order_id, self._ids.fill(), side, price, lots, liquidity, asset, fee_atoms)

    # --- the account as a person sees it ------------------------------------------------------------------------------------

    def account_info(self, mark_price: Decimal) -> AccountInfo:
        """The account with its base valued at `mark_price` (quote per base).

        What it opened with counts at the first mid that the venue saw (until then at `mark_price`, so that PnL is 0).
        Raises `ConfigError` for a mark that is not a positive number.
        """
        if not mark_price.is_finite() or mark_price <= 0:
            raise ConfigError(f"{self._instrument.symbol}: expected a positive mark price, found {mark_price}")
        instrument, account = self._instrument, self.account
        opening_base, opening_quote = self._opening
        with localcontext(prec=60):
            size = instrument.base_amount(account.base_atoms)
            cash = instrument.quote_amount(account.quote_atoms)
            opened_at = mark_price if self._opening_mark is None else self._opening_mark
            initial = instrument.quote_amount(opening_quote) + instrument.base_amount(opening_base) * opened_at
            balance = cash + size * mark_price
            pnl = balance - initial
        positions: dict[str, Position] = {}
        if size:
            positions[instrument.base] = Position(size=size, mark_price=mark_price, value=balance - cash)
        return AccountInfo(
            mode="paper",
            is_paper=True,
            balance=balance,
            initial_balance=initial,
            cash=cash,
            available=instrument.quote_amount(account.free_quote_atoms),
            positions=positions,
            total_trades=self._trades,
            pnl=pnl,
            pnl_percentage=pnl / initial * 100 if initial else None,
        )

    def _note_opening(self) -> None:
        book = self._book
        if book.is_valid and book.best_bid_ticks and book.best_ask_ticks:
            self._opening_mark = self._instrument.tick_size * (book.best_bid_ticks + book.best_ask_ticks) / 2
