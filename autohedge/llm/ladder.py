"""The ladder: how an agent's question always ends in an answer, in time.

    attempt → the same again after a wait (bounded, with jitter, Retry-After honoured) → one re-ask that shows what was wrong
            → the agent's own rule

Which failure takes which rung stands in one table, `failures.HANDLING`. Promises that `decide` never raises for a model's
failure, never makes more than `max_attempts + reasks` attempts, never goes on beyond the call's deadline, and reports every
attempt with its outcome. Refuses to pass a rule's answer off as a model's: the source and the reason are in the answer.
Cancelling the task is not a failure and passes through.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson
from loguru import logger
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from autohedge.domain.records import DecisionSource
from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.llm.extract import find_object
from autohedge.llm.failures import FailureClass, Handling, UnusableReply, failure_class, handling, printable, storable
from autohedge.llm.schema import schema_instruction, strict_schema
from autohedge.llm.validation import described_faults, fault_class
from autohedge.ports import Clock, ModelClient, ModelReply, ModelRequest

T = TypeVar("T", bound=BaseModel)

NO_MODEL = "no_model"
"""Reason code of a decision that the rule took because no model was named."""

_DETAIL_CHARS = 500
_RECORDED_CHARS = 20_000
_SHOWN_CHARS = 2_000
"""Bounds of a failure's description, of a recorded answer, and of the bad answer that a re-ask shows."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently. Waits double from `wait_initial_s` up to `wait_max_s`; jitter cuts each to 50–100 %."""

    max_attempts: int = 3
    wait_initial_s: float = 0.5
    wait_max_s: float = 8.0
    reasks: int = 1


@dataclass(frozen=True, slots=True)
class AgentCall(Generic[T]):
    """One agent's question. `schema` is the type of the answer; `deadline_s` covers every attempt and wait.

    The hashes identify prompt and input in the decision's record; the ladder does not look at them.
    """

    role: str
    model: str
    messages: tuple[dict[str, str], ...]
    schema: type[T]
    temperature: float
    max_tokens: int
    deadline_s: float
    prompt_hash: str
    input_hash: str


@dataclass(frozen=True, slots=True)
class CallAttempt:
    """One attempt: what a `ModelCallRecord` says without the cycle, the symbol and the role."""

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


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A decision with its provenance.

    `reason_code` is "ok", or the failure class that led to the repair or to the rule, or "no_model". `model` is the one that
    answered, None for a rule. Tokens are summed over all attempts, failed ones included; None where no attempt reported any.
    """

    value: T
    source: DecisionSource
    reason_code: str
    reason: str
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: float
    attempts: int
    calls: tuple[CallAttempt, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why an attempt gave no answer, and what follows from it."""

    failure: FailureClass
    handling: Handling
    detail: str
    retry_after_s: float | None = None


@dataclass(slots=True)
class _Climb(Generic[T]):
    """The state of one `decide`: what is asked now, what was tried, and what went wrong last."""

    call: AgentCall[T]
    check: Callable[[T], None]
    messages: tuple[dict[str, str], ...]
    messages_json: str
    deadline_at_s: float
    tried: list[CallAttempt] = field(default_factory=list)
    fault: _Fault | None = None
    model: str | None = None

    def ask(self, messages: tuple[dict[str, str], ...]) -> None:
        self.messages = messages
        self.messages_json = orjson.dumps(messages).decode()


class Ladder:
    """Asks a model for one agent after the other, and falls back to the agent's rule. Safe for any number of tasks at once.

    `client` None means that no model was named: every decision is the rule's. `rng` gives the jitter of the waits.
    """

    def __init__(self, client: ModelClient | None, clock: Clock, retry: RetryPolicy, rng: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._retry = retry
        self._rng = rng

    async def decide(self, call: AgentCall[T], *, check: Callable[[T], None], rule: Callable[[], T]) -> Answer[T]:
        """An answer within `call.deadline_s`: the model's if it is valid and passes `check`, else the rule's.

        `check` raises `ModelOutputInvalid` (out_of_range or wrong_symbol) for what a schema cannot say. What `rule` raises
        passes through: it is a defect of ours, not a failure of the model.
        """
        began_s = self._clock.monotonic_s()
        if self._client is None:
            return _answer(rule(), DecisionSource.RULES, NO_MODEL, "no model was named", None, 0.0, [])
        climb = _Climb(call, check, (), "", deadline_at_s=began_s + call.deadline_s)
        climb.ask(call.messages)
        value: T | None = None
        limit = asyncio.timeout(call.deadline_s)
        try:
            async with limit:
                value = await self._climb(self._client, climb)
        except TimeoutError:
            if not limit.expired():
                raise
            climb.fault = _Fault(FailureClass.TIMEOUT, Handling.RULE, f"no valid answer within {call.deadline_s:.3g} s")
        latency_ms = (self._clock.monotonic_s() - began_s) * 1e3
        fault = climb.fault
        if value is None:
            assert fault is not None
            logger.warning("{}: the rule decides, the model did not ({}): {}", call.role, fault.failure, fault.detail)
            return _answer(rule(), DecisionSource.RULES, fault.failure, fault.detail, None, latency_ms, climb.tried)
        if fault is not None:
            return _answer(value, DecisionSource.REPAIRED, fault.failure, fault.detail, climb.model, latency_ms, climb.tried)
        return _answer(value, DecisionSource.LLM, "ok", "", climb.model, latency_ms, climb.tried)

    # ------------------------------------------------------------ rungs

    async def _climb(self, client: ModelClient, climb: _Climb[T]) -> T | None:
        """The question with its retries, then the re-ask with its own. None when only the rule is left, for `climb.fault`."""
        allowed = self._retry.max_attempts
        for reask in range(self._retry.reasks + 1):
            outcome = await self._with_retries(client, climb, allowed)
            if not isinstance(outcome, _Fault):
                return outcome
            climb.fault = outcome
            if outcome.handling is not Handling.REASK or reask == self._retry.reasks:
                return None
            climb.ask(_reask(climb.call, climb.tried[-1]))
            # a re-ask may be retried too, but never beyond the bound of the whole
            allowed = self._retry.max_attempts + reask + 1 - len(climb.tried)
        return None

    async def _with_retries(self, client: ModelClient, climb: _Climb[T], allowed: int) -> T | _Fault:
        """At most `allowed` attempts at the question as it stands; the last outcome."""

        def retried(outcome: T | _Fault) -> bool:
            return isinstance(outcome, _Fault) and outcome.handling is Handling.RETRY

        def exhausted(state: RetryCallState) -> bool:
            left_s = climb.deadline_at_s - self._clock.monotonic_s()
            return state.attempt_number >= allowed or state.upcoming_sleep >= left_s

        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            retry=retry_if_result(retried),
            wait=self._wait_s,
            stop=exhausted,
            retry_error_callback=_last_outcome,
        )
        outcome: T | _Fault = await retrying(self._attempt, client, climb)
        return outcome

    def _wait_s(self, state: RetryCallState) -> float:
        """Exponential with jitter. A Retry-After is honoured, with jitter on top so that not everybody comes back at once."""
        doubled_s = self._retry.wait_initial_s * 2.0 ** min(state.attempt_number - 1, 30)
        wait_s = min(self._retry.wait_max_s, doubled_s) * self._rng.uniform(0.5, 1.0)
        fault = _last_outcome(state)
        if isinstance(fault, _Fault) and fault.retry_after_s is not None:
            return fault.retry_after_s + self._rng.uniform(0.0, self._retry.wait_initial_s)
        return wait_s

    # ------------------------------------------------------------ one attempt

    async def _attempt(self, client: ModelClient, climb: _Climb[T]) -> T | _Fault:
        """Ask once; the valid value, or the fault. Every attempt leaves a record, also one that is cut off."""
        call = climb.call
        left_s = climb.deadline_at_s - self._clock.monotonic_s()
        if left_s <= 0:
            return _Fault(FailureClass.TIMEOUT, Handling.RULE, f"no valid answer within {call.deadline_s:.3g} s")
        request = ModelRequest(
            model=call.model,
            messages=climb.messages,
            schema_name=call.schema.__name__,
            json_schema=strict_schema(call.schema),
            temperature=call.temperature,
            max_tokens=call.max_tokens,
            timeout_s=left_s,
        )
        started_wall_ns, started_s = self._clock.now_ns(), self._clock.monotonic_s()
        reply: ModelReply | None = None
        outcome: T | _Fault = _Fault(FailureClass.TIMEOUT, Handling.RULE, "cut off")
        try:
            reply, fault = await _asked(client, request, call.role)
            outcome = fault if fault is not None else _judged(reply, climb)
        finally:
            latency_ms = (self._clock.monotonic_s() - started_s) * 1e3
            climb.tried.append(_record(climb, reply, outcome, started_wall_ns, latency_ms))
        return outcome


async def _asked(client: ModelClient, request: ModelRequest, role: str) -> tuple[ModelReply | None, _Fault | None]:
    """What came back, as far as it did, and the fault if it cannot be used."""
    try:
        return await client.complete(request), None
    except UnusableReply as error:
        return error.reply, _fault(error)
    except (ModelOutputInvalid, ModelUnavailable) as error:
        return None, _fault(error)
    except TimeoutError:
        return None, _Fault(FailureClass.TIMEOUT, Handling.RETRY, "the model client ran out of time")
    except Exception as error:
        # a client of someone else's making may raise anything, and a decision is due all the same; nothing of it is hidden
        trace = "".join(traceback.format_exception(error))  # as text: a logger that shows variables would show keys
        logger.error("{}: the model client broke\n{}", role, trace)
        return None, _Fault(FailureClass.INTERNAL, Handling.RULE, printable(f"{type(error).__name__}: {error}", _DETAIL_CHARS))


def _judged(reply: ModelReply | None, climb: _Climb[T]) -> T | _Fault:
    """The reply's text as a valid value, or what is wrong with it."""
    assert reply is not None
    schema = climb.call.schema
    try:
        _, spelled = find_object(reply.text)
        value = schema.model_validate_json(spelled, strict=True)
        climb.check(value)
    except ValidationError as error:
        return _Fault(fault_class(error), Handling.REASK, described_faults(error))
    except ModelOutputInvalid as error:
        return _fault(error)
    climb.model = reply.model
    return value


def _fault(error: ModelOutputInvalid | ModelUnavailable) -> _Fault:
    retry_after_s = error.retry_after_s if isinstance(error, ModelUnavailable) else None
    return _Fault(failure_class(error), handling(error), printable(str(error), _DETAIL_CHARS), retry_after_s)


def _last_outcome(state: RetryCallState) -> Any:
    return state.outcome.result() if state.outcome is not None else None


def _reask(call: AgentCall[T], bad: CallAttempt) -> tuple[dict[str, str], ...]:
    """The question again, with the bad answer, what was wrong with it, and the schema in words."""
    shown = bad.response[:_SHOWN_CHARS]
    said = ({"role": "assistant", "content": shown},) if shown.strip() else ()
    wrong = f"Your answer could not be used ({bad.outcome}):\n{bad.detail}"
    instruction = schema_instruction(call.schema.__name__, strict_schema(call.schema))
    return (*call.messages, *said, {"role": "user", "content": f"{wrong}\n\n{instruction}"})


def _record(
    climb: _Climb[T], reply: ModelReply | None, outcome: T | _Fault, started_wall_ns: int, latency_ms: float
) -> CallAttempt:
    fault = outcome if isinstance(outcome, _Fault) else None
    text = reply.text if reply is not None else ""
    return CallAttempt(
        attempt=len(climb.tried) + 1,
        model=reply.model if reply is not None else climb.call.model,
        outcome=fault.failure.value if fault is not None else "ok",
        detail=fault.detail if fault is not None else "",
        messages_json=climb.messages_json,
        response=storable(text, _RECORDED_CHARS),
        input_tokens=reply.input_tokens if reply is not None else None,
        output_tokens=reply.output_tokens if reply is not None else None,
        cached_tokens=reply.cached_tokens if reply is not None else None,
        started_wall_ns=started_wall_ns,
        latency_ms=latency_ms,
    )


def _answer(
    value: T,
    source: DecisionSource,
    reason_code: str,
    reason: str,
    model: str | None,
    latency_ms: float,
    tried: list[CallAttempt],
) -> Answer[T]:
    inputs = [attempt.input_tokens for attempt in tried if attempt.input_tokens is not None]
    outputs = [attempt.output_tokens for attempt in tried if attempt.output_tokens is not None]
    return Answer(
        value=value,
        source=source,
        reason_code=str(reason_code),
        reason=reason,
        model=model,
        input_tokens=sum(inputs) if inputs else None,
        output_tokens=sum(outputs) if outputs else None,
        latency_ms=latency_ms,
        attempts=len(tried),
        calls=tuple(tried),
    )
