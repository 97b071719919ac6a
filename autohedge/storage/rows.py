"""Records as plain values: what a database can hold and JSON can say, in the order of the table's columns.

A row of the database and a line of the canonical stream are made from the same values, so they cannot disagree. Free text
is made writable whatever it holds; a number that is not finite is refused with `StorageError` before anything is written.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from autohedge.domain.mandate import Mandate, MandateProposal, Regime, RiskLevel
from autohedge.domain.records import (
    CycleOutcome,
    DecisionRecord,
    FillRecord,
    MandateRecord,
    ModelCallRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.errors import StorageError
from autohedge.storage.encoding import clean_text, plain, to_json

_LARGEST_INTEGER = 2**63 - 1


def flat_opening(record: OpeningRecord) -> tuple[Any, ...]:
    """The record's fields in order, as plain values; likewise below."""
    symbol, ts_ns, price, base, quote, total_value = record
    return symbol, ts_ns, plain(price), plain(base), plain(quote), plain(total_value)


def flat_order(record: OrderRecord) -> tuple[Any, ...]:
    """An order or a denial."""
    symbol, ts_ns, order_id, side, kind, price, size, post_only, state, reason, detail, mandate_id, source = record
    price_text = None if price is None else plain(price)
    texts = (str(state), clean_text(reason), clean_text(detail), mandate_id, str(source))
    return symbol, ts_ns, order_id, side, kind, price_text, plain(size), post_only, *texts


def flat_order_event(record: OrderEventRecord) -> tuple[Any, ...]:
    """A change of an order."""
    symbol, ts_ns, order_id, event, state, detail = record
    return symbol, ts_ns, order_id, str(event), str(state), clean_text(detail)


def flat_fill(record: FillRecord) -> tuple[Any, ...]:
    """A fill with the inventory after it."""
    return (
        record.symbol,
        record.ts_ns,
        record.trade_id,
        record.client_order_id,
        record.side,
        plain(record.price),
        plain(record.size),
        plain(record.fee),
        record.fee_asset,
        record.liquidity.value,
        plain(record.base_after),
        plain(record.quote_after),
        plain(record.total_value),
        record.mandate_id,
        str(record.decision_source),
        clean_text(record.reason),
    )


def flat_quote_state(record: QuoteStateRecord) -> tuple[Any, ...]:
    """Quoting began or stopped."""
    symbol, ts_ns, side, quoting, reason = record
    return symbol, ts_ns, side, quoting, clean_text(reason)


def plain_mandate(mandate: Mandate) -> dict[str, Any]:
    """A mandate without the words it was given with; nanoseconds as strings. `StorageError` for a number that is not finite."""
    numbers = (mandate.spread_multiplier, mandate.inventory_bias, mandate.size_multiplier)
    if not all(map(isfinite, numbers)):
        raise StorageError(f"expected finite numbers in mandate {mandate.mandate_id}, found {numbers}")
    return {
        "mandate_id": mandate.mandate_id,
        "cycle_id": mandate.cycle_id,
        "spread_multiplier": mandate.spread_multiplier,
        "inventory_bias": mandate.inventory_bias,
        "size_multiplier": mandate.size_multiplier,
        "regime": mandate.regime.value,
        "risk_level": mandate.risk_level.value,
        "effective_ns": str(mandate.effective_ns),
        "valid_until_ns": str(mandate.valid_until_ns),
        "source": str(mandate.source),
        "clamps": [clamped._asdict() for clamped in mandate.clamps],
    }


def cycle_values(outcome: CycleOutcome, mandate: MandateRecord) -> tuple[Any, ...]:
    """A cycle's row after `run_id` and `seq`: what the desk said, and the mandate that came of it."""
    return (
        outcome.symbol,
        mandate.ts_ns,
        outcome.cycle_id,
        outcome.ts_ns,
        str(outcome.outcome),
        clean_text(outcome.reason),
        outcome.source.value,
        outcome.revisions,
        None if outcome.proposal is None else to_json(plain_proposal(outcome.proposal)),
        str(mandate.outcome),
        clean_text(mandate.reason),
        None if mandate.mandate is None else to_json({**plain_mandate(mandate.mandate), "reason": mandate.mandate.reason}),
    )


def plain_proposal(proposal: MandateProposal) -> dict[str, Any]:
    """A proposal as JSON data; `read_proposal` makes it a proposal again."""
    numbers = (proposal.spread_multiplier, proposal.inventory_bias, proposal.size_multiplier, proposal.ttl_s)
    if not all(map(isfinite, numbers)):
        raise StorageError(f"expected finite numbers in a proposal, found {numbers}")
    return {**proposal._asdict(), "regime": proposal.regime.value, "risk_level": proposal.risk_level.value}


def read_proposal(data: dict[str, Any]) -> MandateProposal:
    """The proposal of `plain_proposal`, equal to the last bit."""
    return MandateProposal(**{**data, "regime": Regime(data["regime"]), "risk_level": RiskLevel(data["risk_level"])})


def decision_values(number: int, record: DecisionRecord) -> tuple[Any, ...]:
    """A decision's row after `run_id` and `seq`."""
    return (
        record.symbol,
        record.ts_ns,
        number,
        record.cycle_id,
        record.role,
        record.sequence,
        record.schema,
        record.source.value,
        record.reason_code,
        clean_text(record.reason),
        record.model,
        record.prompt_hash,
        record.input_hash,
        _tokens(record.input_tokens),
        _tokens(record.output_tokens),
        None if record.cost_usd is None else plain(record.cost_usd),
        record.latency_ms,
        record.attempts,
        to_json(record.value),
    )


def call_values(number: int, record: ModelCallRecord, ts_ns: int) -> tuple[Any, ...]:
    """A model call's row after `run_id` and `seq`; `ts_ns` is its cycle's."""
    return (
        record.symbol,
        ts_ns,
        number,
        record.cycle_id,
        record.role,
        record.attempt,
        clean_text(record.model),
        record.outcome,
        clean_text(record.detail),
        clean_text(record.messages_json),
        clean_text(record.response),
        _tokens(record.input_tokens),
        _tokens(record.output_tokens),
        _tokens(record.cached_tokens),
        record.started_wall_ns,
        record.latency_ms,
    )


def _tokens(count: int | None) -> int | None:
    """A provider's count of tokens, or None where it is no count that a database could hold."""
    return count if count is not None and 0 <= count <= _LARGEST_INTEGER else None
