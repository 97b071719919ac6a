"""What asking a model costs beside the model's own time: the ladder alone, and a hundred askers at once.

No desk and no records here (`bench_fanout` has them). The server runs in a process of its own; all share one event loop.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from autohedge.llm.ladder import AgentCall, Ladder, RetryPolicy
from autohedge.llm.openai_client import OpenAIModelClient
from autohedge.llm.schema import strict_schema
from autohedge.operations.clock import SystemClock
from autohedge.ports import ModelClient
from autohedge.testing import ScriptedModel
from benchmarks.figures import Bar, Figure, Options

SYMBOLS = 100
CALLS = 4
LATENCY_S = 0.2
IDEAL_S = CALLS * LATENCY_S
ROUNDS = 3
CALL_ROUNDS = 7


class View(BaseModel):
    """A view of about the size that agents give."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ticker: str
    regime: Literal["trending_up", "trending_down", "range_bound"]
    score: float = Field(ge=0, le=1, description="How sure.")
    bias: float = Field(ge=-0.5, le=0.5, description="Above 0 leans long.")
    reasons: list[str] = Field(max_length=5)


ANSWER = json.dumps(
    {"ticker": "BTC/USDT", "regime": "range_bound", "score": 0.7, "bias": 0.1, "reasons": ["Depth is balanced.", "No trend."]}
)
BOOK = json.dumps({"bids": [[60_000 - i * 0.1, 1.5] for i in range(20)], "asks": [[60_000 + i * 0.1, 1.5] for i in range(20)]})
MESSAGES = (
    {
        "role": "system",
        "content": "You are the quant analyst of a market-making desk. Answer with the JSON object of the schema.",
    },
    {"role": "user", "content": f"symbol: BTC/USDT\n{BOOK}"},
)
CALL = AgentCall("quant_analyst", "stub", MESSAGES, View, 0.3, 500, 30.0, "prompt", "input")


def _rule() -> View:
    raise RuntimeError("the model did not answer: the benchmark measures nothing")


def _ladder(client: ModelClient) -> Ladder:
    return Ladder(client, SystemClock(), RetryPolicy(), random.Random(1))


async def _cycle(ladder: Ladder) -> None:
    for _ in range(CALLS):
        await ladder.decide(CALL, check=lambda _: None, rule=_rule)


class Together(NamedTuple):
    """All symbols at once, several times: how many times the ideal, and CPU seconds."""

    over_ideal: tuple[float, ...]
    cpu_s: tuple[float, ...]


async def _together(cycle: Callable[[], Awaitable[None]]) -> Together:
    """The rounds after one to warm up."""
    walls, cpus = [], []
    for round_ in range(ROUNDS + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(cycle() for _ in range(SYMBOLS)))
        if round_:
            walls.append((time.perf_counter() - wall) / IDEAL_S)
            cpus.append(time.process_time() - cpu)
    return Together(tuple(walls), tuple(cpus))


@contextmanager
def _server() -> Iterator[str]:
    """A model server in its own process; yields its base URL."""
    command = [sys.executable, "-m", "autohedge.testing.model_server", "--latency-s", str(LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def ladder_overhead_ms(calls: int = 400) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """CPU milliseconds per call: through the ladder with a model that answers at once, and for validating alone."""

    async def through_the_ladder() -> float:
        ladder = _ladder(ScriptedModel(lambda _: ANSWER))
        began = time.process_time()
        for _ in range(calls):
            await ladder.decide(CALL, check=lambda _: None, rule=_rule)
        return (time.process_time() - began) / calls * 1e3

    def validated() -> float:
        began = time.process_time()
        for _ in range(calls):
            View.model_validate_json(ANSWER, strict=True)
        return (time.process_time() - began) / calls * 1e3

    asyncio.run(through_the_ladder())  # the first calls make schemas and compile what they need
    rounds = [(asyncio.run(through_the_ladder()), validated()) for _ in range(CALL_ROUNDS)]
    return tuple(ladder for ladder, _ in rounds), tuple(alone for _, alone in rounds)


def in_process() -> Together:
    """All symbols with a model in this process that takes its time."""

    async def run() -> Together:
        ladder = _ladder(ScriptedModel(lambda _: ANSWER, latency_s=LATENCY_S))
        return await _together(lambda: _cycle(ladder))

    return asyncio.run(run())


def over_a_socket(base_url: str) -> Together:
    """All symbols through the ladder, the openai client and a socket."""

    async def run() -> Together:
        client = OpenAIModelClient(base_url, None, "stub")
        try:
            ladder = _ladder(client)
            return await _together(lambda: _cycle(ladder))
        finally:
            await client.aclose()

    return asyncio.run(run())


def bare_openai(base_url: str) -> Together:
    """The peer: the openai library as its documentation uses it, answers validated, no ladder."""
    from openai import AsyncOpenAI

    schema = {"name": "View", "strict": True, "schema": strict_schema(View)}

    async def run() -> Together:
        async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as sdk:

            async def cycle() -> None:
                for _ in range(CALLS):
                    asked: Any = {"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": schema}}
                    done = await sdk.chat.completions.create(model="stub", temperature=0.3, max_tokens=500, **asked)
                    View.model_validate_json(done.choices[0].message.content or "", strict=True)

            return await _together(cycle)

    return asyncio.run(run())


def figures(_options: Options) -> list[Figure]:
    """CPU of one call, and how many times the ideal a hundred askers take."""
    ladder_ms, validate_ms = ladder_overhead_ms()
    near = in_process()
    with _server() as base_url:
        far = over_a_socket(base_url)
        bare = bare_openai(base_url)

    def over_ideal(name: str, found: Together, bar: Bar | None = None) -> Figure:
        return Figure(name, found.over_ideal, "× ideal", bar, f"{SYMBOLS} × {CALLS} calls; {min(found.cpu_s):.2f} s CPU")

    return [
        Figure("llm: validation of an answer", validate_ms, "ms CPU", note="limit of a call"),
        Figure("llm: a call through the ladder", ladder_ms, "ms CPU", Bar(0.3), "in-process model, answers at once"),
        over_ideal("llm: ladder, in-process model", near, Bar(1.3)),
        over_ideal("llm: ladder, openai, socket", far, Bar(2.2)),
        over_ideal("llm: bare openai library, socket", bare),
    ]
