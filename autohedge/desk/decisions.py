"""A decision with its provenance, and the trail of one cycle.

Promises: whatever an agent said is kept with where it came from, in an order that does not depend on who answered first. The
trail is written as the cycle goes, so a cycle that breaks still shows what had been decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from autohedge.desk.schemas import Said, plain
from autohedge.domain.ids import CycleId
from autohedge.domain.mandate import MandateProposal
from autohedge.domain.records import MODEL_DRIVEN, DecisionRecord, DecisionSource, ModelCallRecord
from autohedge.llm.catalog import Role
from autohedge.llm.ladder import CallAttempt

V_co = TypeVar("V_co", bound=Said, covariant=True)

_ORDER = {role: at for at, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Decision(Generic[V_co]):
    """What one agent decided. `model` is None when no model was asked, tokens are None where the provider gave none.

    `prompt_hash` covers the prompt's template and the agent's file, `input_hash` the messages as sent ("" when none were made).
    """

    role: Role
    schema: str
    value: V_co
    source: DecisionSource
    reason_code: str
    reason: str
    model: str | None
    prompt_hash: str
    input_hash: str
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: float
    attempts: int
    calls: tuple[CallAttempt, ...]


class Trail:
    """The decisions of one cycle as they come; `records` puts them in order: by thesis, then by role."""

    def __init__(self) -> None:
        self._decisions: list[tuple[int, Decision[Said]]] = []

    def add(self, thesis: int, decision: Decision[Said]) -> None:
        """Remember a decision about the `thesis`-th thesis of the cycle (from 1)."""
        self._decisions.append((thesis, decision))

    @property
    def theses(self) -> int:
        """How many theses have been decided about."""
        return max((thesis for thesis, _ in self._decisions), default=0)

    def _ordered(self) -> list[Decision[Said]]:
        return [each for _, each in sorted(self._decisions, key=lambda entry: (entry[0], _ORDER[entry[1].role]))]

    def records(self, cycle_id: CycleId, symbol: str, ts_ns: int) -> tuple[DecisionRecord, ...]:
        """The decisions as records, numbered from 1; their cost is unknown here."""
        return tuple(
            DecisionRecord(
                cycle_id=cycle_id,
                symbol=symbol,
                ts_ns=ts_ns,
                sequence=sequence,
                role=str(decision.role),
                schema=decision.schema,
                source=decision.source,
                reason_code=decision.reason_code,
                reason=decision.reason,
                model=decision.model,
                prompt_hash=decision.prompt_hash,
                input_hash=decision.input_hash,
                input_tokens=decision.input_tokens,
                output_tokens=decision.output_tokens,
                cost_usd=None,
                latency_ms=decision.latency_ms,
                attempts=decision.attempts,
                value=plain(decision.value),
            )
            for sequence, decision in enumerate(self._ordered(), start=1)
        )

    def calls(self, cycle_id: CycleId, symbol: str) -> tuple[ModelCallRecord, ...]:
        """Every attempt at a model call, in the order of the decisions and then of the attempts."""
        return tuple(
            ModelCallRecord(
                cycle_id=cycle_id,
                symbol=symbol,
                role=str(decision.role),
                attempt=call.attempt,
                model=call.model,
                outcome=call.outcome,
                detail=call.detail,
                messages_json=call.messages_json,
                response=call.response,
                input_tokens=call.input_tokens,
                output_tokens=call.output_tokens,
                cached_tokens=call.cached_tokens,
                started_wall_ns=call.started_wall_ns,
                latency_ms=call.latency_ms,
            )
            for decision in self._ordered()
            for call in decision.calls
        )


class Ending(NamedTuple):
    """How a cycle ended: "proposal", "hold", "refused" or "failed"; `source` is the plan's, rules when there is none."""

    outcome: str
    reason: str
    proposal: MandateProposal | None
    source: DecisionSource


def called_for_model(record: DecisionRecord) -> bool:
    """Whether a decision counts among the M of "N of M decisions were model-driven": all do but abstentions without a call."""
    return record.source is not DecisionSource.ABSTAINED


def model_driven_share(records: Iterable[DecisionRecord]) -> tuple[int, int]:
    """(N, M): decisions that a model drove, and decisions that called for a model."""
    called = [record for record in records if called_for_model(record)]
    return sum(record.source in MODEL_DRIVEN for record in called), len(called)
