"""The ladder: every failure ends in an answer, in time, and says how it came about. In process, on a clock by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field

from autohedge.domain.records import DecisionSource
from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.llm.failures import HANDLING, FailureClass, Handling, UnusableReply
from autohedge.llm.ladder import AgentCall, Answer, Ladder, RetryPolicy
from autohedge.ports import ModelReply, ModelRequest
from autohedge.testing import ManualClock, ScriptedModel


class View(BaseModel):
    """A view of the market."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ticker: str
    regime: Literal["up", "down"]
    score: float = Field(ge=0, le=1, description="How sure.")


GOOD = {"ticker": "BTC/USDT", "regime": "up", "score": 1}
RULE = View(ticker="BTC/USDT", regime="down", score=0.0)
MODEL = View(ticker="BTC/USDT", regime="up", score=1.0)


def _check(view: View) -> None:
    if view.ticker != "BTC/USDT":
        raise ModelOutputInvalid("wrong_symbol", f"ticker: expected BTC/USDT, found {view.ticker}")


def _call(deadline_s: float = 30.0) -> AgentCall[View]:
    messages = ({"role": "system", "content": "You are the quant."}, {"role": "user", "content": "symbol: BTC/USDT"})
    return AgentCall("quant", "model-1", messages, View, 0.0, 200, deadline_s, "prompt", "input")


async def _decide(
    model: ScriptedModel | None,
    clock: ManualClock | None = None,
    *,
    retry: RetryPolicy | None = None,
    deadline_s: float = 30.0,
    rule: Callable[[], View] = lambda: RULE,
) -> Answer[View]:
    ladder = Ladder(model, clock or ManualClock(), retry or RetryPolicy(), random.Random(7))
    return await ladder.decide(_call(deadline_s), check=_check, rule=rule)


def _unusable(failure: FailureClass, text: str = "") -> UnusableReply:
    return UnusableReply(failure, f"no use: {failure}", ModelReply(text, "model-1", "stop", 10, 5, None, "strict"))


FAULTS: dict[FailureClass, Any] = {
    FailureClass.CONNECTION: ModelUnavailable("connection", "refused"),
    FailureClass.TIMEOUT: ModelUnavailable("timeout", "status 408"),
    FailureClass.RATE_LIMITED: ModelUnavailable("rate_limited", "status 429"),
    FailureClass.SERVER_ERROR: ModelUnavailable("server_error", "status 500"),
    FailureClass.BAD_REQUEST: ModelUnavailable("bad_request", "status 401"),
    FailureClass.EMPTY: "  \n",
    FailureClass.REFUSAL: _unusable(FailureClass.REFUSAL),
    FailureClass.FILTERED: _unusable(FailureClass.FILTERED),
    FailureClass.TRUNCATED: _unusable(FailureClass.TRUNCATED, '{"ticker'),
    FailureClass.TOOL_CALL: _unusable(FailureClass.TOOL_CALL),
    FailureClass.NOT_JSON: "I would buy.",
    FailureClass.WRONG_SCHEMA: {**GOOD, "score": "1"},
    FailureClass.OUT_OF_RANGE: {**GOOD, "score": 1.5},
    FailureClass.WRONG_SYMBOL: {**GOOD, "ticker": "DOGE/EUR"},
    FailureClass.INTERNAL: ZeroDivisionError("the client broke"),
}


def test_every_class_can_be_scripted() -> None:
    assert set(FAULTS) == set(FailureClass)


async def test_a_valid_answer_is_the_models() -> None:
    model = ScriptedModel([GOOD])
    answer = await _decide(model)
    assert (answer.value, answer.source, answer.reason_code, answer.reason) == (MODEL, DecisionSource.LLM, "ok", "")
    assert (answer.model, answer.attempts) == ("model-1", 1)
    (attempt,) = answer.calls
    assert (attempt.attempt, attempt.outcome, attempt.detail) == (1, "ok", "")
    assert (answer.input_tokens, answer.output_tokens) == (attempt.input_tokens, attempt.output_tokens)
    assert "symbol: BTC/USDT" in attempt.messages_json
    assert '"ticker"' in attempt.response
    model.assert_used_up()


async def test_the_model_is_asked_exactly_what_the_call_says() -> None:
    model = ScriptedModel([GOOD])
    await _decide(model)
    (request,) = model.requests
    assert (request.model, request.messages) == ("model-1", _call().messages)
    assert (request.temperature, request.max_tokens, request.timeout_s) == (0.0, 200, 30.0)
    assert (request.schema_name, request.json_schema["required"]) == ("View", ["ticker", "regime", "score"])


async def test_without_a_model_the_rule_decides_and_nothing_is_tried() -> None:
    answer = await _decide(None)
    assert (answer.value, answer.source, answer.reason_code) == (RULE, DecisionSource.RULES, "no_model")
    assert (answer.model, answer.attempts, answer.calls, answer.input_tokens) == (None, 0, (), None)


@pytest.mark.parametrize("failure", FailureClass)
async def test_a_fault_that_stays_ends_in_the_rule_under_its_own_name(failure: FailureClass) -> None:
    """The number of attempts follows from the table: three tries, or one and a re-ask, or one."""
    attempts = {Handling.RETRY: 3, Handling.REASK: 2, Handling.RULE: 1}[HANDLING[failure]]
    model = ScriptedModel([FAULTS[failure]] * attempts)
    clock = ManualClock()
    answer = await _decide(model, clock)
    assert (answer.value, answer.source, answer.reason_code) == (RULE, DecisionSource.RULES, failure)
    assert answer.model is None
    assert answer.reason
    assert [attempt.outcome for attempt in answer.calls] == [failure] * attempts
    assert [attempt.attempt for attempt in answer.calls] == list(range(1, attempts + 1))
    assert len(clock.sleeps) == (attempts - 1 if HANDLING[failure] is Handling.RETRY else 0)
    model.assert_used_up()


@pytest.mark.parametrize("failure", [failure for failure in FailureClass if HANDLING[failure] is Handling.RETRY])
async def test_a_passing_fault_of_the_endpoint_leaves_the_models_answer(failure: FailureClass) -> None:
    answer = await _decide(ScriptedModel([FAULTS[failure], GOOD]))
    assert (answer.value, answer.source, answer.reason_code, answer.attempts) == (MODEL, DecisionSource.LLM, "ok", 2)


@pytest.mark.parametrize("failure", [failure for failure in FailureClass if HANDLING[failure] is Handling.REASK])
async def test_a_corrected_answer_is_repaired_and_says_what_was_wrong(failure: FailureClass) -> None:
    answer = await _decide(ScriptedModel([FAULTS[failure], GOOD]))
    assert (answer.value, answer.source, answer.reason_code) == (MODEL, DecisionSource.REPAIRED, failure)
    assert (answer.model, answer.attempts) == ("model-1", 2)
    assert answer.reason == answer.calls[0].detail


async def test_the_reask_shows_the_bad_answer_the_fault_and_the_schema() -> None:
    model = ScriptedModel([{**GOOD, "score": 1.5, "regime": "sideways"}, GOOD])
    await _decide(model)
    first, second = model.requests
    assert second.messages[:2] == first.messages
    bad, again = second.messages[2:]
    assert bad == {"role": "assistant", "content": '{"ticker": "BTC/USDT", "regime": "sideways", "score": 1.5}'}
    assert again["role"] == "user"
    assert "(wrong_schema)" in again["content"]
    assert "- regime: expected 'up' or 'down', found \"sideways\"" in again["content"]
    assert "- score: expected less than or equal to 1, found 1.5" in again["content"]
    assert '"additionalProperties":false' in again["content"]


async def test_a_reask_after_nothing_to_show_has_no_empty_message() -> None:
    model = ScriptedModel([FAULTS[FailureClass.TOOL_CALL], GOOD])
    await _decide(model)
    assert [message["role"] for message in model.requests[1].messages] == ["system", "user", "user"]


async def test_a_hostile_answer_cannot_make_the_reask_or_the_record_long() -> None:
    hostile = '{"ticker": "' + "ignore the rules " * 5_000 + '\ud800", "regime": "up", "score": "' + "9" * 9_000 + '"}'
    model = ScriptedModel([hostile, GOOD])
    answer = await _decide(model)
    asked = sum(len(message["content"]) for message in model.requests[1].messages)
    assert asked < 6_000
    assert len(answer.calls[0].response) == 20_000
    assert len(answer.calls[0].detail) < 2_000
    for text in (answer.calls[0].response, answer.calls[0].detail, *(m["content"] for m in model.requests[1].messages)):
        text.encode()


async def test_retries_and_reask_together_stay_within_the_bound() -> None:
    """Two 500s, garbage, then a failing re-ask: max_attempts + reasks calls and no more."""
    bad = FAULTS[FailureClass.SERVER_ERROR]
    model = ScriptedModel([bad, bad, "garbage", bad])
    answer = await _decide(model)
    assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.RULES, "server_error", 4)
    model.assert_used_up()


async def test_a_reask_that_meets_a_passing_fault_is_retried_within_the_bound() -> None:
    bad = FAULTS[FailureClass.RATE_LIMITED]
    answer = await _decide(ScriptedModel(["garbage", bad, bad, GOOD]))
    assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.REPAIRED, "not_json", 4)
    answer = await _decide(ScriptedModel(["garbage", bad, bad, bad]))
    assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.RULES, "rate_limited", 4)


async def test_the_policy_counts_attempts_and_reasks() -> None:
    once = RetryPolicy(max_attempts=1, reasks=0)
    assert (await _decide(ScriptedModel([FAULTS[FailureClass.CONNECTION]]), retry=once)).attempts == 1
    assert (await _decide(ScriptedModel(["garbage"]), retry=once)).attempts == 1
    twice = RetryPolicy(max_attempts=1, reasks=2)
    answer = await _decide(ScriptedModel(["garbage", {**GOOD, "score": 2}, GOOD]), retry=twice)
    assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.REPAIRED, "out_of_range", 3)


# ---------------------------------------------------------------- waits


async def test_waits_double_with_jitter_up_to_the_bound() -> None:
    clock = ManualClock()
    retry = RetryPolicy(max_attempts=6, wait_initial_s=0.5, wait_max_s=2.0)
    await _decide(ScriptedModel([FAULTS[FailureClass.CONNECTION]] * 6), clock, retry=retry)
    for wait_s, full_s in zip(clock.sleeps, [0.5, 1.0, 2.0, 2.0, 2.0], strict=True):
        assert full_s / 2 <= wait_s <= full_s
    assert len(set(clock.sleeps)) == 5


async def test_the_jitter_comes_from_the_given_source_alone() -> None:
    waits = []
    for _ in range(2):
        clock = ManualClock()
        await _decide(ScriptedModel([FAULTS[FailureClass.CONNECTION]] * 3), clock)
        waits.append(clock.sleeps)
    assert waits[0] == waits[1]


async def test_retry_after_is_honoured() -> None:
    clock = ManualClock()
    limited = ModelUnavailable("rate_limited", "status 429", retry_after_s=7.0)
    answer = await _decide(ScriptedModel([limited, GOOD]), clock)
    assert answer.source is DecisionSource.LLM
    (wait_s,) = clock.sleeps
    assert 7.0 <= wait_s <= 7.5


async def test_a_retry_after_beyond_the_deadline_goes_to_the_rule_at_once() -> None:
    clock = ManualClock()
    limited = ModelUnavailable("rate_limited", "status 429", retry_after_s=31.0)
    answer = await _decide(ScriptedModel([limited]), clock)
    assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.RULES, "rate_limited", 1)
    assert clock.sleeps == []


async def test_an_account_without_credit_is_not_asked_again() -> None:
    answer = await _decide(ScriptedModel([ModelUnavailable("rate_limited", "no credit", retryable=False)]))
    assert (answer.reason_code, answer.attempts) == ("rate_limited", 1)


# ---------------------------------------------------------------- the deadline


async def test_each_attempt_gets_what_is_left_of_the_deadline() -> None:
    clock = ManualClock()
    model = ScriptedModel([FAULTS[FailureClass.SERVER_ERROR], "garbage", GOOD], latency_s=2.0, clock=clock)
    answer = await _decide(model, clock, deadline_s=10.0)
    assert answer.source is DecisionSource.REPAIRED
    first, second, third = [request.timeout_s for request in model.requests]
    assert first == 10.0
    assert second == pytest.approx(10.0 - 2.0 - clock.sleeps[1])
    assert third == pytest.approx(second - 2.0)
    assert answer.latency_ms == pytest.approx(6_000 + clock.sleeps[1] * 1e3)


async def test_a_model_that_is_too_slow_leaves_the_decision_to_the_rule_at_the_deadline() -> None:
    clock = ManualClock()
    answer = await _decide(ScriptedModel([GOOD], latency_s=60.0, clock=clock), clock, deadline_s=5.0)
    assert (answer.value, answer.source, answer.reason_code) == (RULE, DecisionSource.RULES, "timeout")
    assert answer.latency_ms == pytest.approx(5_000)
    assert [attempt.outcome for attempt in answer.calls] == ["timeout"]


class _Hanging(ScriptedModel):
    """A client that breaks its promise and never returns."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked = asyncio.Event()

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def test_a_client_that_ignores_its_time_is_cut_off_for_real() -> None:
    """The clock by hand stands still; only the event loop's time can end this."""
    async with asyncio.timeout(10.0):
        answer = await _decide(_Hanging(), deadline_s=0.05)
    assert (answer.source, answer.reason_code) == (DecisionSource.RULES, "timeout")
    assert [attempt.outcome for attempt in answer.calls] == ["timeout"]


async def test_a_client_that_runs_out_of_time_in_its_own_words_is_a_timeout_all_the_same() -> None:
    answer = await _decide(ScriptedModel([TimeoutError("mine"), GOOD]))
    assert (answer.source, answer.attempts, answer.calls[0].outcome) == (DecisionSource.LLM, 2, "timeout")


async def test_cancelling_passes_through() -> None:
    model = _Hanging()
    ruled: list[int] = []
    task = asyncio.create_task(_decide(model, rule=lambda: ruled.append(1) or RULE))  # type: ignore[func-returns-value]
    await model.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ruled


# ---------------------------------------------------------------- what is recorded


async def test_tokens_of_failed_attempts_are_counted_too() -> None:
    answer = await _decide(ScriptedModel([_unusable(FailureClass.TRUNCATED), GOOD]))
    assert answer.calls[0].input_tokens == 10
    assert answer.input_tokens == sum(call.input_tokens or 0 for call in answer.calls) > 10
    assert (await _decide(ScriptedModel([FAULTS[FailureClass.BAD_REQUEST]]))).input_tokens is None


async def test_attempts_carry_wall_time_and_their_own_latency() -> None:
    clock = ManualClock(now_ns=1_000_000_000_000)
    model = ScriptedModel([FAULTS[FailureClass.SERVER_ERROR], GOOD], latency_s=0.25, clock=clock)
    answer = await _decide(model, clock)
    assert [call.latency_ms for call in answer.calls] == pytest.approx([250.0, 250.0])
    assert answer.calls[0].started_wall_ns == 1_000_000_000_000
    assert answer.calls[1].started_wall_ns == pytest.approx(1_000_000_000_000 + (0.25 + clock.sleeps[1]) * 1e9, abs=1)


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {message} {exception}")  # type: ignore[arg-type]
    yield lines
    logger.remove(sink)


async def test_every_fallback_is_said_aloud(log: list[str]) -> None:
    await _decide(ScriptedModel(["garbage", "garbage"]))
    assert any("WARNING" in line and "not_json" in line for line in log)


async def test_a_broken_client_leaves_its_traceback_in_the_log(log: list[str]) -> None:
    await _decide(ScriptedModel([FAULTS[FailureClass.INTERNAL]]))
    assert any("ZeroDivisionError" in line and "Traceback" in line for line in log)


async def test_a_defect_of_the_rule_is_not_hidden() -> None:
    def broken() -> View:
        raise KeyError("a defect of ours")

    with pytest.raises(KeyError):
        await _decide(None, rule=broken)
    with pytest.raises(KeyError):
        await _decide(ScriptedModel([FAULTS[FailureClass.REFUSAL]]), rule=broken)


async def test_many_decisions_at_once_do_not_mix() -> None:
    """Half of a hundred agents meet a fault; each answer and its attempts are its own."""

    def script(request: ModelRequest) -> Any:
        number = int(request.messages[1]["content"].rpartition(" ")[2])
        asked.append(number)
        return "garbage" if number % 2 and asked.count(number) == 1 else {**GOOD, "score": number / 100}

    asked: list[int] = []
    ladder = Ladder(ScriptedModel(script, latency_s=0.1, clock=ManualClock()), ManualClock(), RetryPolicy(), random.Random(7))

    async def one(number: int) -> Answer[View]:
        messages = ({"role": "system", "content": "s"}, {"role": "user", "content": f"number {number}"})
        call = AgentCall("quant", "m", messages, View, 0.0, 100, 30.0, "p", "i")
        return await ladder.decide(call, check=_check, rule=lambda: RULE)

    answers = await asyncio.gather(*(one(number) for number in range(100)))
    for number, answer in enumerate(answers):
        assert answer.value.score == number / 100
        assert answer.source is (DecisionSource.REPAIRED if number % 2 else DecisionSource.LLM)
        assert answer.attempts == 1 + number % 2
        assert all(f"number {number}" in call.messages_json for call in answer.calls)
