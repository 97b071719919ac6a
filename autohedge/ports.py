"""The ports: what the session needs from the outside, and what an adapter may not do.

Adapters: feeds in `market` and `simulation`, venues in `venues`, model clients in `llm` and `testing`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from autohedge.domain.account import AccountInfo
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.domain.orders import Command, VenueEvent
from autohedge.domain.records import (
    CycleOutcome,
    CycleRequest,
    FillRecord,
    MandateRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)


class Clock(Protocol):
    """Wall time. Nothing else in the product reads a clock."""

    def now_ns(self) -> int:
        """UTC nanoseconds since 1970."""
        ...

    def monotonic_s(self) -> float:
        """Seconds of a clock that never goes back; for deadlines and durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(slots=True)
class FeedReport:
    """What a feed met on its way; nothing is dropped without being counted here.

    `messages` and `rows` were given on; `rounded` of their displayed sizes were finer than a lot and rounded down.
    """

    messages: int = 0
    rows: int = 0
    corrupt: int = 0
    foreign: int = 0
    out_of_order: int = 0
    rounded: int = 0
    examples: list[str] = field(default_factory=list)


class MarketFeed(Protocol):
    """Market events of one instrument in order of arrival.

    A feed never invents an event, never reorders, and never drops one silently: a message that cannot be used is counted in
    `report`. The end of the iterator means that the market is over. A failure raises `MarketDataError`.
    """

    instrument: Instrument
    simulated: bool
    description: str
    report: FeedReport

    def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """Events in batches; all events of a batch have already been received."""
        ...


class Venue(Protocol):
    """Where orders go. Idempotent by client order id: the same id is never executed twice.

    At each market event received at t the session calls `advance(t)`, then moves the book, then calls `on_market`. Both come
    back at once when there is nothing to tell. Empty is not failed: no events means that nothing happened; a venue that cannot
    answer raises `VenueUnavailable`.
    """

    simulated: bool

    def submit(self, command: Command, now_ns: int) -> None:
        """Send a command at `now_ns`; its outcome comes later, as events of `advance` or `on_market`."""
        ...

    def advance(self, now_ns: int) -> Sequence[VenueEvent]:
        """What became, up to and including `now_ns`, of commands on their way; the book is still as it was before `now_ns`."""
        ...

    def on_market(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """What `event`, which the book already contains, did to our orders; called once per event that was applied."""
        ...

    def account_info(self, mark_price: Decimal) -> AccountInfo:
        """The account by the venue's own books, with its base valued at `mark_price`."""
        ...


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model. `json_schema` is what the answer must satisfy; `schema_name` names it for the provider."""

    model: str
    messages: tuple[dict[str, str], ...]
    schema_name: str
    json_schema: dict[str, Any]
    temperature: float
    max_tokens: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What came back: the text, and the provider's own account of tokens (None where it gave none)."""

    text: str
    model: str
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    schema_mode: Literal["strict", "object", "text"]


class ModelClient(Protocol):
    """One endpoint that answers chat completions.

    Makes exactly one attempt per call (retries belong to the ladder). Raises `ModelUnavailable` (connection, timeout, 429,
    5xx, refused request) or `ModelOutputInvalid` (empty, refusal, truncated, filtered, tool call); never returns an empty text.
    """

    name: str

    async def complete(self, request: ModelRequest) -> ModelReply:
        """One attempt within `request.timeout_s`; cancelling the task stops the call."""
        ...

    async def aclose(self) -> None:
        """Close connections; may be called twice."""
        ...


class Desk(Protocol):
    """The agents. Answers within its own deadline, always; a failure inside is an outcome, never an exception."""

    model_name: str | None

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """One pass for one symbol. Several passes for different symbols may run at once."""
        ...

    async def aclose(self) -> None:
        """Release connections; may be called twice."""
        ...


class Ledger(Protocol):
    """Where a run is remembered. Everything before `commit` returns survives the death of the process.

    Never drops a record, never reorders; a failure raises `StorageError` and the session stops.
    """

    def opening(self, record: OpeningRecord) -> None:
        """The first row of a symbol."""
        ...

    def order(self, record: OrderRecord) -> None:
        """An intent or a denial."""
        ...

    def order_event(self, record: OrderEventRecord) -> None:
        """A change of an order."""
        ...

    def fill(self, record: FillRecord) -> None:
        """A fill; durable on return, in the database and in the CSV log."""
        ...

    def cycle(self, outcome: CycleOutcome, mandate: MandateRecord) -> None:
        """A desk cycle with its decisions, calls and mandate; durable on return."""
        ...

    def quote_state(self, record: QuoteStateRecord) -> None:
        """Quoting of a side began or stopped."""
        ...

    def commit(self) -> None:
        """Make all records so far durable; called before commands are sent and after each step that recorded something."""
        ...
