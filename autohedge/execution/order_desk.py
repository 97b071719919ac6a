"""The order desk of one symbol: checks, records, sends and follows orders. One writer, no awaiting.

An intent is recorded and committed before it is sent; what the venue answers moves the order along its table of states. An
order that may still fill counts as working, cancelled or not, until the venue has said how it ended.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from autohedge.domain.ids import IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateValues
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import (
    REQUEST_FAILED,
    CancelOrder,
    CancelRejected,
    Command,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    OrderState,
    PlaceOrder,
    VenueEvent,
)
from autohedge.domain.records import OrderEventRecord, OrderRecord
from autohedge.market_maker.engine import OrderIntent
from autohedge.ports import Ledger, Venue
from autohedge.risk.pretrade import CheckResult, OrderRequest, PreTradeRisk, RiskContext

NS_PER_S = 1_000_000_000
REQUEST_WINDOW_NS = 60 * NS_PER_S
CLOSED_ORDERS_KEPT = 10_000
"""Closed orders are kept this long for late events; a venue does not report on older ones."""

SIDE_WORD = {BUY: "buy", SELL: "sell"}


@dataclass(slots=True)
class OrderCounts:
    """What became of orders."""

    placed: int = 0
    cancelled: int = 0
    denied: int = 0
    rejected: int = 0
    denied_by: dict[str, int] = field(default_factory=dict)
    rejected_by: dict[str, int] = field(default_factory=dict)


class OrderDesk:
    """`orders` by client id (working ones and the last closed ones); `working` those that may still fill; `heard_ns` is the
    time of the last thing that the venue said."""

    def __init__(
        self,
        instrument: Instrument,
        risk: PreTradeRisk,
        venue: Venue,
        ledger: Ledger,
        ids: IdFactory,
        on_fill: Callable[[Order, OrderFilled], None],
    ) -> None:
        self.orders: OrderedDict[str, Order] = OrderedDict()
        self.working: dict[str, Order] = {}
        self.counts = OrderCounts()
        self.heard_ns = 0
        self._instrument = instrument
        self._risk = risk
        self._venue = venue
        self._ledger = ledger
        self._ids = ids
        self._on_fill = on_fill
        self._requests_ns: deque[int] = deque()

    # --- what we do -----------------------------------------------------------------------------------------------

    def carry_out(
        self,
        ts_ns: int,
        cancels: Sequence[CancelOrder],
        intents: Sequence[OrderIntent],
        context: RiskContext,
        values: MandateValues,
    ) -> dict[Side, str]:
        """Check, record, commit, then send; returns the sides that risk denied, with the check.

        What `context` says of working orders and requests is filled in here, because each order of a batch counts for the
        next.
        """
        denied: dict[Side, str] = {}
        commands = self._ask_cancels(ts_ns, cancels)
        for intent in intents:
            placed = self._place(ts_ns, intent, context, values)
            if isinstance(placed, PlaceOrder):
                commands.append(placed)
            else:
                denied[intent.side] = placed.check
        self._send(ts_ns, commands)
        return denied

    def cancel(self, ts_ns: int, cancels: Sequence[CancelOrder]) -> None:
        """Record, commit, then send cancels alone."""
        self._send(ts_ns, self._ask_cancels(ts_ns, cancels))

    def _send(self, ts_ns: int, commands: Sequence[Command]) -> None:
        self._ledger.commit()
        for command in commands:
            self._venue.submit(command, ts_ns)

    def requests_last_min(self, ts_ns: int) -> int:
        """Requests sent to the venue in the 60 s up to `ts_ns`."""
        window = self._requests_ns
        horizon = ts_ns - REQUEST_WINDOW_NS
        while window and window[0] <= horizon:
            window.popleft()
        return len(window)

    def _ask_cancels(self, ts_ns: int, cancels: Sequence[CancelOrder]) -> list[Command]:
        for cancel in cancels:
            order = self.orders[cancel.client_order_id]
            order.apply(OrderEvent.ASK_CANCEL)
            self._requests_ns.append(ts_ns)
            self._record_event(ts_ns, order, "cancelling", cancel.reason)
        return list(cancels)

    def _place(self, ts_ns: int, intent: OrderIntent, context: RiskContext, values: MandateValues) -> PlaceOrder | CheckResult:
        """The order, recorded and ready to be sent, or the check that denied it."""
        order = Order(
            client_order_id=self._ids.order(),
            side=intent.side,
            price_ticks=intent.price_ticks,
            size_lots=intent.size_lots,
            post_only=intent.price_ticks is not None,
            reason=intent.style.value,
            created_ns=ts_ns,
            mandate_id=values.mandate_id,
            decision_source=values.source,
            level=intent.level,
        )
        request = OrderRequest(order.client_order_id, intent.side, intent.price_ticks, intent.size_lots)
        as_of_now = context._replace(
            working=tuple(self.working.values()),
            requests_last_min=self.requests_last_min(ts_ns),
            used_order_ids=self.orders,
        )
        failure = self._risk.first_failure(request, as_of_now)
        if failure is not None:
            order.apply(OrderEvent.DENY)
            self.counts.denied += 1
            self.counts.denied_by[failure.check] = self.counts.denied_by.get(failure.check, 0) + 1
            self._record(ts_ns, order, failure.check, f"{failure.reason}; {failure.suggestion}")
            return failure
        order.apply(OrderEvent.SUBMIT)
        self._remember(order)
        self.counts.placed += 1
        self._requests_ns.append(ts_ns)
        self._record(ts_ns, order, order.reason, "")
        return PlaceOrder(order.client_order_id, order.side, order.price_ticks, order.size_lots, order.post_only, order.reason)

    def _remember(self, order: Order) -> None:
        self.orders[order.client_order_id] = order
        self.working[order.client_order_id] = order
        while len(self.orders) > CLOSED_ORDERS_KEPT + len(self.working):
            oldest = next(iter(self.orders))
            if oldest in self.working:
                self.orders.move_to_end(oldest)
            else:
                del self.orders[oldest]

    # --- what the venue says --------------------------------------------------------------------------------------

    def arrivals(self, ts_ns: int) -> None:
        """Take what became of commands that reached the venue by `ts_ns`."""
        outcomes = self._venue.advance(ts_ns)
        if outcomes:
            self.take(outcomes)

    def take(self, outcomes: Sequence[VenueEvent]) -> None:
        """Move orders along; a fill is booked by `on_fill` once the order has it, and told after that."""
        counts = self.counts
        if outcomes:
            self.heard_ns = outcomes[-1].ts_ns
        for outcome in outcomes:
            order = self.orders[outcome.client_order_id]
            if isinstance(outcome, OrderFilled):
                order.fill(outcome.size_lots)
                whole = order.state is OrderState.FILLED
                # the books first: a fill that they refuse is not told as having happened
                self._on_fill(order, outcome)
                self._record_event(outcome.ts_ns, order, "filled" if whole else "partially_filled", "")
            elif isinstance(outcome, OrderAccepted):
                order.apply(OrderEvent.ACCEPT)
                self._record_event(outcome.ts_ns, order, "accepted", "")
            elif isinstance(outcome, OrderRejected):
                order.apply(OrderEvent.REJECT)
                counts.rejected += 1
                counts.rejected_by[outcome.reason] = counts.rejected_by.get(outcome.reason, 0) + 1
                self._record_event(outcome.ts_ns, order, "rejected", f"{outcome.reason}: {outcome.detail}")
            elif isinstance(outcome, OrderCancelled):
                order.apply(OrderEvent.CANCEL)
                counts.cancelled += 1
                self._record_event(outcome.ts_ns, order, "cancelled", outcome.reason)
            elif isinstance(outcome, CancelRejected):
                if outcome.reason == REQUEST_FAILED:
                    order.lose_cancel()
                else:
                    order.apply(OrderEvent.REFUSE_CANCEL)
                self._record_event(outcome.ts_ns, order, "cancel_rejected", outcome.reason)
            else:
                assert_never(outcome)
            if not order.is_working:
                self.working.pop(order.client_order_id, None)

    # --- records --------------------------------------------------------------------------------------------------

    def _record(self, ts_ns: int, order: Order, reason: str, detail: str) -> None:
        instrument = self._instrument
        self._ledger.order(
            OrderRecord(
                symbol=instrument.symbol,
                ts_ns=ts_ns,
                client_order_id=order.client_order_id,
                side=SIDE_WORD[order.side],
                kind="market" if order.price_ticks is None else "limit",
                price=None if order.price_ticks is None else instrument.price(order.price_ticks),
                size=instrument.size(order.size_lots),
                post_only=order.post_only,
                state=order.state,
                reason=reason,
                detail=detail,
                mandate_id=order.mandate_id,
                decision_source=order.decision_source,
            )
        )

    def _record_event(self, ts_ns: int, order: Order, event: str, detail: str) -> None:
        self._ledger.order_event(
            OrderEventRecord(self._instrument.symbol, ts_ns, order.client_order_id, event, order.state, detail)
        )
