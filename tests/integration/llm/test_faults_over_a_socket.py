"""The whole floor against a real server: the ladder over the openai client over HTTP, fault by fault."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from autohedge.domain.records import DecisionSource
from autohedge.errors import ModelOutputInvalid
from autohedge.llm.ladder import AgentCall, Answer, Ladder, RetryPolicy
from autohedge.llm.openai_client import OpenAIModelClient
from autohedge.operations.clock import SystemClock
from autohedge.ports import Clock
from autohedge.testing import ManualClock, ModelServer, error_reply
from autohedge.testing.model_server import mode_names


class View(BaseModel):
    """A view of the market."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ticker: str
    regime: Literal["up", "down"]
    score: float = Field(ge=0, le=1, description="How sure.")
    note: str


RULE = View(ticker="BTC/USDT", regime="down", score=0.0, note="the rule")


def _check(view: View) -> None:
    if view.ticker != "BTC/USDT":
        raise ModelOutputInvalid("wrong_symbol", f"ticker: expected BTC/USDT, found {view.ticker}")


def _call(deadline_s: float = 20.0) -> AgentCall[View]:
    messages = ({"role": "system", "content": "You are the quant."}, {"role": "user", "content": "symbol: BTC/USDT"})
    return AgentCall("quant", "model-1", messages, View, 0.3, 200, deadline_s, "prompt", "input")


@asynccontextmanager
async def _ladder(server: ModelServer, clock: Clock | None = None, **options: Any) -> AsyncIterator[Ladder]:
    client = OpenAIModelClient(server.base_url, None, "local", **options)
    try:
        yield Ladder(client, clock or ManualClock(), RetryPolicy(), random.Random(7))
    finally:
        await client.aclose()


async def _decide(ladder: Ladder, deadline_s: float = 20.0) -> Answer[View]:
    return await ladder.decide(_call(deadline_s), check=_check, rule=lambda: RULE)


OUTCOMES: dict[str, tuple[str, str, int]] = {
    # mode: source, reason code, requests that the server counted
    "good": ("llm", "ok", 1),
    "fenced": ("llm", "ok", 1),
    "prose": ("llm", "ok", 1),
    "drip": ("llm", "ok", 1),
    "rate_limited": ("rules", "rate_limited", 3),
    "out_of_credit": ("rules", "rate_limited", 1),
    "server_error": ("rules", "server_error", 3),
    "unavailable": ("rules", "server_error", 3),
    "bad_request": ("rules", "bad_request", 1),
    "unauthorized": ("rules", "bad_request", 1),
    "unknown_model": ("rules", "bad_request", 1),
    "reset": ("rules", "connection", 3),
    "cut": ("rules", "connection", 3),
    "hang": ("rules", "timeout", 1),
    "html": ("rules", "server_error", 3),
    "stream": ("rules", "server_error", 1),
    "broken_body": ("rules", "server_error", 3),
    "no_choices": ("rules", "empty", 3),
    "empty": ("rules", "empty", 3),
    "refusal": ("rules", "refusal", 1),
    "filtered": ("rules", "filtered", 1),
    "length": ("rules", "truncated", 2),
    "tool_call": ("rules", "tool_call", 2),
    "no_json": ("rules", "not_json", 2),
    "truncated_json": ("rules", "not_json", 2),
    "nan": ("rules", "not_json", 2),
    "several": ("rules", "not_json", 2),
    "wrong_schema": ("rules", "wrong_schema", 2),
    "out_of_range": ("rules", "out_of_range", 2),
    "wrong_symbol": ("rules", "wrong_symbol", 2),
    "only_object": ("llm", "ok", 2),
    "only_text": ("llm", "ok", 3),
    "garbage": ("rules", "not_json", 2),
}


def test_every_mode_of_the_server_has_its_outcome_here() -> None:
    assert set(OUTCOMES) == set(mode_names())


@pytest.mark.parametrize("mode", sorted(OUTCOMES))
async def test_a_fault_leads_to_its_documented_outcome(mode: str) -> None:
    source, reason_code, requests = OUTCOMES[mode]
    async with ModelServer(mode, drip_s=0.0) as server:
        async with _ladder(server) as ladder:
            answer = await _decide(ladder, deadline_s=0.3 if mode == "hang" else 20.0)
        assert server.count == requests
    assert (answer.source, answer.reason_code) == (source, reason_code)
    assert answer.value == RULE or answer.source == "llm"
    assert answer.attempts <= 4


@pytest.mark.parametrize("mode", sorted(mode for mode, (_, code, _n) in OUTCOMES.items() if code not in ("ok", "timeout")))
async def test_a_fault_that_passes_ends_well_or_was_never_worth_another_try(mode: str) -> None:
    """After one bad answer the server behaves: what is retried or re-asked ends model-driven, the rest with the rule."""
    async with ModelServer([mode, "good"]) as server:
        async with _ladder(server) as ladder:
            answer = await _decide(ladder)
    _, reason_code, requests = OUTCOMES[mode]
    if requests == 1:
        assert (answer.source, answer.attempts) == (DecisionSource.RULES, 1)
    elif requests == 2:
        assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.REPAIRED, reason_code, 2)
    else:
        assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.LLM, "ok", 2)


@pytest.mark.parametrize("mode", ["hang", "drip"])
async def test_the_deadline_holds_against_a_server_that_never_finishes(mode: str) -> None:
    async with ModelServer(mode, drip_s=10.0) as server:
        async with _ladder(server, SystemClock()) as ladder:
            began = time.monotonic()
            answer = await _decide(ladder, deadline_s=0.3)
            took_s = time.monotonic() - began
    assert (answer.source, answer.reason_code) == (DecisionSource.RULES, "timeout")
    assert 0.25 <= took_s < 3.0


async def test_a_deadline_covers_all_attempts_together() -> None:
    """Three slow failures would take longer than the deadline; it ends them in the middle."""
    async with ModelServer("server_error", latency_s=0.2) as server:
        async with _ladder(server, SystemClock()) as ladder:
            began = time.monotonic()
            answer = await _decide(ladder, deadline_s=0.3)
            took_s = time.monotonic() - began
        assert server.count <= 2
    assert answer.source is DecisionSource.RULES
    assert took_s < 3.0


@pytest.mark.parametrize(
    ("header", "least_s"), [("3", 3.0), ("0.5", 0.5), ("Fri, 09 Aug 2024 00:00:04 GMT", 4.0), ("nonsense", 0.25)]
)
async def test_retry_after_of_a_real_answer_is_honoured(header: str, least_s: float) -> None:
    limited = error_reply(429, "slow down", retry_after=header)
    dated = type(limited)(429, limited.body, headers=(*limited.headers, ("date", "Fri, 09 Aug 2024 00:00:00 GMT")))
    clock = ManualClock()
    async with ModelServer([dated, "good"]) as server:
        async with _ladder(server, clock) as ladder:
            answer = await _decide(ladder)
    assert answer.source is DecisionSource.LLM
    (wait_s,) = clock.sleeps
    assert least_s <= wait_s <= least_s + 0.5


async def test_nobody_listening_is_a_connection_failure() -> None:
    async with ModelServer() as server:
        pass
    async with _ladder(server) as ladder:
        answer = await _decide(ladder)
    assert (answer.source, answer.reason_code, answer.attempts) == (DecisionSource.RULES, "connection", 3)
    assert server.base_url in answer.reason


async def test_a_hundred_agents_at_once_each_stay_within_their_bounds() -> None:
    """Every fault in turn for a hundred agents: each gets an answer, and none asks more than four times."""
    modes = [mode for mode in OUTCOMES if mode not in ("hang", "drip")]
    asked: dict[str, int] = {}

    def by_agent(body: Any) -> Any:
        agent = body["messages"][1]["content"].rpartition(" ")[2]
        asked[agent] = asked.get(agent, 0) + 1
        return modes[int(agent) % len(modes)]

    async with ModelServer(by_agent) as server:
        async with _ladder(server) as ladder:

            async def one(number: int) -> Answer[View]:
                content = f"symbol: BTC/USDT, agent {number}"
                messages = ({"role": "system", "content": "s"}, {"role": "user", "content": content})
                call = AgentCall("quant", "m", messages, View, 0.3, 200, 30.0, "p", "i")
                return await ladder.decide(call, check=_check, rule=lambda: RULE)

            answers = await asyncio.gather(*(one(number) for number in range(100)))
    for number, answer in enumerate(answers):
        source, reason_code, _ = OUTCOMES[modes[number % len(modes)]]
        if modes[number % len(modes)] != "garbage":
            assert (answer.source, answer.reason_code) == (source, reason_code)
        assert asked[str(number)] <= 4
