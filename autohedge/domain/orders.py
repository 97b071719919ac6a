"""Commands we send, what comes back, and the life of an order as a table.

*Denied* = we refused before sending; *rejected* = the venue refused. A fill that arrives after a cancel was asked for, or
even after it was confirmed, is still booked: the venue's fill is a fact.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from autohedge.domain.ids import ClientOrderId, TradeId
from autohedge.domain.market_data import Side
from autohedge.errors import InvariantBroken


class PlaceOrder(NamedTuple):
    """Ask the venue for an order. `price_ticks` is None for a market order, which is never post-only."""

    client_order_id: ClientOrderId
    side: Side
    price_ticks: int | None
    size_lots: int
    post_only: bool
    reason: str


class CancelOrder(NamedTuple):
    """Ask the venue to cancel what is left of an order."""

    client_order_id: ClientOrderId
    reason: str


Command = PlaceOrder | CancelOrder


class Liquidity(StrEnum):
    """Whether a fill rested (maker) or took (taker)."""

    MAKER = "maker"
    TAKER = "taker"


class OrderAccepted(NamedTuple):
    """The venue took the order into its book."""

    ts_ns: int
    client_order_id: ClientOrderId


class OrderRejected(NamedTuple):
    """The venue refused the order. `reason` is a code, `detail` a sentence."""

    ts_ns: int
    client_order_id: ClientOrderId
    reason: str
    detail: str


class OrderFilled(NamedTuple):
    """A fill of `size_lots` at `price_ticks`; `fee_atoms` in atoms of `fee_asset` (negative = a rebate)."""

    ts_ns: int
    client_order_id: ClientOrderId
    trade_id: TradeId
    side: Side
    price_ticks: int
    size_lots: int
    liquidity: Liquidity
    fee_asset: str
    fee_atoms: int


class OrderCancelled(NamedTuple):
    """What was left of the order is gone from the book; nothing more can fill."""

    ts_ns: int
    client_order_id: ClientOrderId
    remaining_lots: int
    reason: str


REQUEST_FAILED = "request_failed"
"""Reason of a rejection that the venue never spoke: the request was lost, and nothing happened there."""


class CancelRejected(NamedTuple):
    """The cancel found no such open order (filled or cancelled before), or was lost (`REQUEST_FAILED`): all is as it was."""

    ts_ns: int
    client_order_id: ClientOrderId
    reason: str


VenueEvent = OrderAccepted | OrderRejected | OrderFilled | OrderCancelled | CancelRejected


class OrderState(StrEnum):
    """Where an order is in its life."""

    CREATED = "created"
    DENIED = "denied"
    PENDING_SUBMIT = "pending_submit"
    SUBMITTED = "submitted"
    PARTIALLY_FILLED = "partially_filled"
    CANCELLING = "cancelling"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class OrderEvent(StrEnum):
    """What can happen to an order."""

    DENY = "deny"
    SUBMIT = "submit"
    ACCEPT = "accept"
    REJECT = "reject"
    FILL_PART = "fill_part"
    FILL_REST = "fill_rest"
    ASK_CANCEL = "ask_cancel"
    CANCEL = "cancel"
    REFUSE_CANCEL = "refuse_cancel"
    LOSE_CANCEL = "lose_cancel"
    LOSE_CANCEL_PART = "lose_cancel_part"


_S, _E = OrderState, OrderEvent

TRANSITIONS: dict[tuple[OrderState, OrderEvent], OrderState] = {
    (_S.CREATED, _E.DENY): _S.DENIED,
    (_S.CREATED, _E.SUBMIT): _S.PENDING_SUBMIT,
    (_S.PENDING_SUBMIT, _E.ACCEPT): _S.SUBMITTED,
    (_S.PENDING_SUBMIT, _E.REJECT): _S.REJECTED,
    # a fill or a cancel may overtake the acknowledgement
    (_S.PENDING_SUBMIT, _E.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.PENDING_SUBMIT, _E.FILL_REST): _S.FILLED,
    (_S.PENDING_SUBMIT, _E.ASK_CANCEL): _S.CANCELLING,
    (_S.PENDING_SUBMIT, _E.CANCEL): _S.CANCELLED,
    (_S.SUBMITTED, _E.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.SUBMITTED, _E.FILL_REST): _S.FILLED,
    (_S.SUBMITTED, _E.ASK_CANCEL): _S.CANCELLING,
    (_S.SUBMITTED, _E.CANCEL): _S.CANCELLED,
    (_S.PARTIALLY_FILLED, _E.ACCEPT): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.FILL_REST): _S.FILLED,
    (_S.PARTIALLY_FILLED, _E.ASK_CANCEL): _S.CANCELLING,
    (_S.PARTIALLY_FILLED, _E.CANCEL): _S.CANCELLED,
    (_S.CANCELLING, _E.ACCEPT): _S.CANCELLING,
    (_S.CANCELLING, _E.REJECT): _S.REJECTED,
    (_S.CANCELLING, _E.FILL_PART): _S.CANCELLING,
    (_S.CANCELLING, _E.FILL_REST): _S.FILLED,
    (_S.CANCELLING, _E.CANCEL): _S.CANCELLED,
    # the cancel came too late: what ended the order is on its way, or is already here
    (_S.CANCELLING, _E.REFUSE_CANCEL): _S.CANCELLING,
    # the cancel never came: the order works on and may be cancelled again
    (_S.CANCELLING, _E.LOSE_CANCEL): _S.SUBMITTED,
    (_S.CANCELLING, _E.LOSE_CANCEL_PART): _S.PARTIALLY_FILLED,
    (_S.FILLED, _E.ACCEPT): _S.FILLED,
    (_S.FILLED, _E.REFUSE_CANCEL): _S.FILLED,
    (_S.FILLED, _E.LOSE_CANCEL_PART): _S.FILLED,
    (_S.CANCELLED, _E.ACCEPT): _S.CANCELLED,
    (_S.CANCELLED, _E.REFUSE_CANCEL): _S.CANCELLED,
    (_S.CANCELLED, _E.LOSE_CANCEL): _S.CANCELLED,
    (_S.CANCELLED, _E.LOSE_CANCEL_PART): _S.CANCELLED,
    (_S.REJECTED, _E.REFUSE_CANCEL): _S.REJECTED,
    (_S.REJECTED, _E.LOSE_CANCEL): _S.REJECTED,
    # late facts are booked
    (_S.CANCELLED, _E.FILL_PART): _S.CANCELLED,
    (_S.CANCELLED, _E.FILL_REST): _S.FILLED,
}

WORKING = frozenset({_S.PENDING_SUBMIT, _S.SUBMITTED, _S.PARTIALLY_FILLED, _S.CANCELLING})
"""States in which an order may still fill, so its size counts against balances and caps."""


def next_state(state: OrderState, event: OrderEvent) -> OrderState:
    """The state after `event`; `InvariantBroken` for a pair that the table does not list."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvariantBroken(f"an order in state {state} cannot take the event {event}") from None


@dataclass(slots=True)
class Order:
    """One of our orders; owned and changed by one session only. `level` is its place among the quotes of its side (0: best)."""

    client_order_id: ClientOrderId
    side: Side
    price_ticks: int | None
    size_lots: int
    post_only: bool
    reason: str
    created_ns: int
    mandate_id: str
    decision_source: str
    state: OrderState = OrderState.CREATED
    filled_lots: int = 0
    level: int = 0

    @property
    def remaining_lots(self) -> int:
        """Lots that may still fill."""
        return self.size_lots - self.filled_lots

    @property
    def is_working(self) -> bool:
        """True while the order may still fill."""
        return self.state in WORKING

    def apply(self, event: OrderEvent) -> None:
        """Move along the table."""
        self.state = next_state(self.state, event)

    def lose_cancel(self) -> None:
        """The cancel that was asked for is known to have been lost: an order that has not ended works on."""
        self.apply(OrderEvent.LOSE_CANCEL_PART if self.filled_lots else OrderEvent.LOSE_CANCEL)

    def fill(self, size_lots: int) -> None:
        """Book a fill; `InvariantBroken`, with nothing changed, if it is not positive or larger than what is left."""
        if not 0 < size_lots <= self.remaining_lots:
            raise InvariantBroken(
                f"order {self.client_order_id}: a fill of {size_lots} lots does not fit the {self.remaining_lots} left"
            )
        self.apply(OrderEvent.FILL_REST if size_lots == self.remaining_lots else OrderEvent.FILL_PART)
        self.filled_lots += size_lots
