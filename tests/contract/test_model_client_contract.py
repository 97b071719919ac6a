"""What every model client promises (`ports.ModelClient`), held to by each adapter: in process, and over a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.llm.openai_client import OpenAIModelClient
from autohedge.ports import ModelClient, ModelRequest
from autohedge.testing import ModelServer, ScriptedModel, completion

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def _request(content: str = "Well?", timeout_s: float = 5.0) -> ModelRequest:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": content})
    return ModelRequest("model-1", messages, "Answer", SCHEMA, 0.0, 100, timeout_s)


@dataclass
class Rig:
    """A client, and how many attempts its other side has seen."""

    client: ModelClient
    attempts: Callable[[], int]


class MakeRig(Protocol):
    """How a test gets a rig: with texts to answer one after the other, or one function of the user's message."""

    def __call__(self, answers: Sequence[str] | Callable[[str], str], latency_s: float = 0.0) -> Any: ...


@asynccontextmanager
async def _in_process(answers: Sequence[str] | Callable[[str], str], latency_s: float = 0.0) -> AsyncIterator[Rig]:
    script: Any = (lambda request: answers(request.messages[-1]["content"])) if callable(answers) else answers
    client = ScriptedModel(script, latency_s=latency_s)
    yield Rig(client, lambda: len(client.requests))
    await client.aclose()


@asynccontextmanager
async def _over_a_socket(answers: Sequence[str] | Callable[[str], str], latency_s: float = 0.0) -> AsyncIterator[Rig]:
    def by_message(body: Any) -> Any:
        assert callable(answers)
        return completion(answers(body["messages"][-1]["content"]))

    script: Any = by_message if callable(answers) else [completion(text) for text in answers]
    async with ModelServer(script, latency_s=latency_s) as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        yield Rig(client, lambda: server.count)
        await client.aclose()


@pytest.fixture(params=[_in_process, _over_a_socket], ids=["scripted", "openai"])
def rig(request: pytest.FixtureRequest) -> MakeRig:
    made: MakeRig = request.param
    return made


async def test_a_call_is_one_attempt_and_brings_the_text_as_it_was_said(rig: MakeRig) -> None:
    said = '  {"n": 1}\n'
    async with rig([said]) as made:
        reply = await made.client.complete(_request())
        assert made.attempts() == 1
    assert reply.text == said
    assert reply.finish_reason == "stop"
    assert reply.schema_mode in ("strict", "object", "text")
    assert reply.model
    for tokens in (reply.input_tokens, reply.output_tokens, reply.cached_tokens):
        assert tokens is None or tokens >= 0


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
async def test_a_blank_text_is_never_returned(rig: MakeRig, blank: str) -> None:
    async with rig([blank]) as made:
        with pytest.raises(ModelOutputInvalid) as caught:
            await made.client.complete(_request())
        assert made.attempts() == 1
    assert caught.value.failure == "empty"


async def test_an_answer_that_comes_too_late_is_a_timeout_in_time(rig: MakeRig) -> None:
    async with rig(["late"], latency_s=30.0) as made:
        began = time.monotonic()
        with pytest.raises(ModelUnavailable) as caught:
            await made.client.complete(_request(timeout_s=0.1))
        assert time.monotonic() - began < 5.0
        assert made.attempts() <= 1
    assert caught.value.failure == "timeout"


async def test_cancelling_the_task_stops_the_call(rig: MakeRig) -> None:
    async with rig(["late"], latency_s=30.0) as made:
        task = asyncio.create_task(made.client.complete(_request(timeout_s=30.0)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_client_answers_again_after_a_timeout(rig: MakeRig) -> None:
    async with rig(lambda content: content, latency_s=0.2) as made:
        with pytest.raises(ModelUnavailable):
            await made.client.complete(_request(timeout_s=0.01))
        assert (await made.client.complete(_request("again"))).text == "again"


async def test_calls_at_the_same_time_get_their_own_answers(rig: MakeRig) -> None:
    async with rig(lambda content: f"re: {content}", latency_s=0.02) as made:
        replies = await asyncio.gather(*(made.client.complete(_request(f"number {n}")) for n in range(100)))
        assert made.attempts() == 100
    assert [reply.text for reply in replies] == [f"re: number {n}" for n in range(100)]


async def test_a_client_has_a_name_and_may_be_closed_twice(rig: MakeRig) -> None:
    async with rig(["x"]) as made:
        assert made.client.name
        await made.client.complete(_request())
        await made.client.aclose()
        await made.client.aclose()
