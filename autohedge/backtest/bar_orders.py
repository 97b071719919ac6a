"""The maker's orders on bars: checked by the pre-trade rules, sent, and followed to their end.

A cancel and whatever replaces the order reach the market together, at the next open, and no command overtakes another. So an
order whose cancel is sent with a decision counts as gone in that decision; else the quotes would be away for a whole bar each
time they move. A cancel that has not been answered by the next decision counts no longer: its order may fill, and counts. One
that was lost brings its order back; meanwhile the venue's own account guards the balances.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from autohedge.backtest.strategy import Broker, Cancellation, Fill, Rejection
from autohedge.domain.ids import ClientOrderId
from autohedge.domain.mandate import MandateValues
from autohedge.domain.market_data import Side
from autohedge.domain.orders import CancelOrder, Order, OrderEvent, OrderState
from autohedge.market_maker.engine import OrderIntent
from autohedge.risk.pretrade import OrderRequest, PreTradeRisk, RiskContext

REQUEST_WINDOW_NS = 60_000_000_000
_NOT_YET = ClientOrderId("")


class BarOrders:
    """All orders of one maker; `denied_by` counts refusals of our own risk."""

    def __init__(self, broker: Broker, risk: PreTradeRisk) -> None:
        self.denied_by: Counter[str] = Counter()
        self._broker = broker
        self._risk = risk
        self._working: dict[ClientOrderId, Order] = {}
        self._leaving: dict[ClientOrderId, tuple[int, Order]] = {}
        self._requests_ns: deque[int] = deque()

    # --- what we do -------------------------------------------------------------------------------------------------------

    def working(self, now_ns: int) -> tuple[Order, ...]:
        """What counts in a decision at `now_ns`, in order of placement."""
        leaving = [order for left_ns, order in self._leaving.values() if left_ns != now_ns] if self._leaving else []
        return (*leaving, *self._working.values())

    def requests_left(self, now_ns: int) -> int:
        """What the request budget of any 60 s still allows."""
        window = self._requests_ns
        while window and window[0] <= now_ns - REQUEST_WINDOW_NS:
            window.popleft()
        return self._risk.limits.max_requests_per_min - len(window)

    def cancel(self, now_ns: int, cancels: Sequence[CancelOrder]) -> None:
        """Send cancels; their orders count as gone from now on, until the next decision."""
        for cancel in cancels:
            order_id = cancel.client_order_id
            order = self._working.pop(order_id)
            order.apply(OrderEvent.ASK_CANCEL)
            self._leaving[order_id] = (now_ns, order)
            self._requests_ns.append(now_ns)
            self._broker.cancel(order_id, cancel.reason)

    def place(
        self, now_ns: int, intents: Sequence[OrderIntent], context: RiskContext, mandate: MandateValues
    ) -> dict[Side, str]:
        """Check and send orders, each of which counts for the next; the sides that risk denied, with the check."""
        denied: dict[Side, str] = {}
        for intent in intents:
            request = OrderRequest(_NOT_YET, intent.side, intent.price_ticks, intent.size_lots)
            as_of_now = context._replace(
                working=self.working(now_ns),
                requests_last_min=self._risk.limits.max_requests_per_min - self.requests_left(now_ns),
            )
            failure = self._risk.first_failure(request, as_of_now)
            if failure is not None:
                self.denied_by[failure.check] += 1
                denied[intent.side] = failure.check
                continue
            self._send(now_ns, intent, mandate)
        return denied

    def _send(self, now_ns: int, intent: OrderIntent, mandate: MandateValues) -> None:
        rests = intent.price_ticks is not None
        order_id = self._broker.place(
            intent.side, intent.size_lots, intent.price_ticks, post_only=rests, reason=intent.style.value
        )
        self._requests_ns.append(now_ns)
        self._working[order_id] = Order(
            client_order_id=order_id,
            side=intent.side,
            price_ticks=intent.price_ticks,
            size_lots=intent.size_lots,
            post_only=rests,
            reason=intent.style.value,
            created_ns=now_ns,
            mandate_id=mandate.mandate_id,
            decision_source=mandate.source,
            state=OrderState.SUBMITTED,
            level=intent.level,
        )

    # --- what the broker says -----------------------------------------------------------------------------------------------

    def filled(self, fill: Fill) -> None:
        """Book a fill of one of our orders."""
        order = self._working.get(fill.order_id) or self._leaving[fill.order_id][1]
        order.fill(self._broker.instrument.floor_to_lot(fill.size))
        if not fill.remaining:
            self._forget(fill.order_id)

    def cancelled(self, cancellation: Cancellation) -> None:
        """What was left of an order is gone."""
        self._forget(cancellation.order_id)

    def rejected(self, rejection: Rejection) -> None:
        """A request came to nothing: an order that never was, or a cancel without effect, whose order still stands."""
        if rejection.request == "place":
            self._forget(rejection.order_id)
        elif rejection.order_id in self._leaving and rejection.reason != "not_open":
            _, order = self._leaving.pop(rejection.order_id)
            order.lose_cancel()
            self._working[rejection.order_id] = order

    def _forget(self, order_id: ClientOrderId) -> None:
        self._working.pop(order_id, None)
        self._leaving.pop(order_id, None)
