"""What is remembered: cycles with their decisions and model calls, orders, order events, fills. Plain values.

Market time (`ts_ns`) is part of the canonical stream that a replay must reproduce byte for byte; wall-clock facts
(`latency_ms`, `started_wall_ns`) are kept beside it and never compared.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from autohedge.domain.ids import CycleId
from autohedge.domain.mandate import Mandate, MandateProposal
from autohedge.domain.orders import Liquidity, OrderState
from autohedge.domain.view import MarketView


class DecisionSource(StrEnum):
    """Where a decision came from. `llm` and `repaired` are model-driven; `abstained` called for no model."""

    LLM = "llm"
    REPAIRED = "repaired"
    RULES = "rules"
    ABSTAINED = "abstained"


MAX_TASK_CHARS = 2_000
"""A task is put into every prompt, so it is short; a longer one is refused, never cut."""

MODEL_DRIVEN = frozenset({DecisionSource.LLM, DecisionSource.REPAIRED})


class ModelCallRecord(NamedTuple):
    """One attempt at one model call. `outcome` is "ok" or a failure class; `response` is what came back, as far as it did."""

    cycle_id: CycleId
    symbol: str
    role: str
    attempt: int
    model: str
    outcome: str
    detail: str
    messages_json: str
    response: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    started_wall_ns: int
    latency_ms: float


class DecisionRecord(NamedTuple):
    """One agent's decision with its provenance. `value` is the schema's plain data (an abstention says so)."""

    cycle_id: CycleId
    symbol: str
    ts_ns: int
    sequence: int
    role: str
    schema: str
    source: DecisionSource
    reason_code: str
    reason: str
    model: str | None
    prompt_hash: str
    input_hash: str
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    latency_ms: float
    attempts: int
    value: dict[str, Any]


class CycleRequest(NamedTuple):
    """What the desk is asked: the task in the operator's words, and the view as of the cycle's time."""

    cycle_id: CycleId
    symbol: str
    task: str
    view: MarketView


class CycleOutcome(NamedTuple):
    """What the desk answered. `proposal` is None when it holds; `outcome` is "proposal", "hold", "refused" or "failed".

    `source` is that of the execution plan (`rules` when there was none). The desk never raises for a model's or an agent's
    failure; "failed" means that the desk itself broke, with the reason.
    """

    cycle_id: CycleId
    symbol: str
    ts_ns: int
    outcome: str
    reason: str
    proposal: MandateProposal | None
    source: DecisionSource
    revisions: int
    decisions: tuple[DecisionRecord, ...]
    calls: tuple[ModelCallRecord, ...]


class OrderRecord(NamedTuple):
    """An intent, written before it is sent, or a denial (`state` denied with the limit that denied it)."""

    symbol: str
    ts_ns: int
    client_order_id: str
    side: str
    kind: str
    price: Decimal | None
    size: Decimal
    post_only: bool
    state: OrderState
    reason: str
    detail: str
    mandate_id: str
    decision_source: str


class OrderEventRecord(NamedTuple):
    """A change of an order after the intent: accepted, rejected, cancelling, cancelled, cancel_rejected, filled …"""

    symbol: str
    ts_ns: int
    client_order_id: str
    event: str
    state: OrderState
    detail: str


class FillRecord(NamedTuple):
    """One fill, with the inventory right after it; `total_value` = base × last price + quote."""

    symbol: str
    ts_ns: int
    trade_id: str
    client_order_id: str
    side: str
    price: Decimal
    size: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: Liquidity
    base_after: Decimal
    quote_after: Decimal
    total_value: Decimal
    mandate_id: str
    decision_source: str
    reason: str


class OpeningRecord(NamedTuple):
    """The inventory a symbol starts with, at the first known price."""

    symbol: str
    ts_ns: int
    price: Decimal
    base: Decimal
    quote: Decimal
    total_value: Decimal


class MandateRecord(NamedTuple):
    """A cycle's outcome as the maker saw it: the mandate after the clamp, or None and why not."""

    symbol: str
    ts_ns: int
    cycle_id: CycleId
    outcome: str
    reason: str
    mandate: Mandate | None


class ScheduledCycle(NamedTuple):
    """One tick of a schedule's fixed grid, in wall time; `n` counts ticks from 1.

    `status` is "ok", "failed" (`reason` says why), "overrun" (it ended well, but after a later tick was due) or "skipped" (due
    while an earlier cycle was still running, so never started: `started_wall_ns` and `ended_wall_ns` are None).
    """

    n: int
    planned_wall_ns: int
    started_wall_ns: int | None
    ended_wall_ns: int | None
    status: str
    reason: str


class QuoteStateRecord(NamedTuple):
    """The maker began or stopped quoting a side, with the reason."""

    symbol: str
    ts_ns: int
    side: str
    quoting: bool
    reason: str
