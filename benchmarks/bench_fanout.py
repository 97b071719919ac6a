"""A hundred symbols asked at once, with a model that takes 200 ms for each call: how far from the ideal.

The ideal is the longest path of calls that must wait for each other, counted in the records of the run itself, times 200 ms.
Everything is in the figure: the views of all symbols, all agents with news to read, the records of every decision and call.
Once with the model in this process, once through the openai library and a socket to a server in another one.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from autohedge.bootstrap import prepare
from autohedge.domain.records import CycleOutcome, CycleRequest, ModelCallRecord
from autohedge.llm.openai_client import OpenAIModelClient
from autohedge.operations.heap import settle_heap
from autohedge.ports import Desk, ModelClient
from autohedge.testing import ScriptedModel
from benchmarks import bench_llm
from benchmarks.desks import MODEL, ReadyAnswers, desk_of, model_server, settings_of
from benchmarks.figures import Bar, Figure, Options

SYMBOLS = 100
LATENCY_S = 0.2
ROUNDS = 7
IN_PROCESS_EXPECTED = 1.3
SOCKET_EXPECTED = 2.2


class Fan(NamedTuple):
    """One time that all symbols were asked: wall seconds over the ideal, CPU seconds, calls of all and in a row."""

    over_ideal: float
    cpu_s: float
    calls: int
    path: int


class Watched:
    """A desk that keeps the model calls of its cycles for counting."""

    def __init__(self, desk: Desk) -> None:
        self.model_name = desk.model_name
        self.calls: list[tuple[ModelCallRecord, ...]] = []
        self._desk = desk

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """The cycle of the desk inside."""
        outcome = await self._desk.run_cycle(request)
        self.calls.append(outcome.calls)
        return outcome

    async def aclose(self) -> None:
        """Closes the desk inside."""
        await self._desk.aclose()


def longest_path(calls: Sequence[ModelCallRecord]) -> int:
    """How many of the calls waited for one another: the most that do not overlap in time."""
    length, free_at_ns = 0, 0.0
    for began_ns, ended_ns in sorted(
        ((call.started_wall_ns, call.started_wall_ns + call.latency_ms * 1e6) for call in calls), key=lambda each: each[1]
    ):
        if began_ns >= free_at_ns:
            length, free_at_ns = length + 1, ended_ns
    return length


async def _fans(client: ModelClient, out_dir: str) -> list[Fan]:
    settings = settings_of(SYMBOLS, out_dir)
    desk = Watched(desk_of(settings, client))
    run = prepare(settings, desk=desk, model_client=client).start()
    session = run.session
    await session.open()
    settle_heap()
    fans: list[Fan] = []
    for round_ in range(ROUNDS + 1):
        desk.calls.clear()
        if isinstance(client, ScriptedModel):
            client.requests.clear()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        outcomes = await session.ask_desk()
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        if {outcome.outcome for outcome in outcomes} != {"proposal"}:
            raise RuntimeError(f"not every symbol got its proposal: {outcomes[0].reason}")
        if round_:  # the first one opens connections and fills caches
            path = max(map(longest_path, desk.calls))
            fans.append(Fan(wall_s / (path * LATENCY_S), cpu_s, sum(map(len, desk.calls)), path))
    await run.finish()
    return fans


def _measured(client: Callable[[], ModelClient]) -> list[Fan]:
    gc.unfreeze()
    gc.collect()

    async def run() -> list[Fan]:
        with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as out_dir:
            return await _fans(client(), out_dir)

    return asyncio.run(run())


async def _sleepers(path: int) -> float:
    """Wall seconds over the ideal of tasks that only wait: what the event loop itself takes."""

    async def sleeper() -> None:
        for _ in range(path):
            await asyncio.sleep(LATENCY_S)

    waiting: list[Awaitable[None]] = [sleeper() for _ in range(SYMBOLS)]
    began_s = time.perf_counter()
    await asyncio.gather(*waiting)
    return (time.perf_counter() - began_s) / (path * LATENCY_S)


def figures(_options: Options) -> list[Figure]:
    """How many times the ideal each takes, and its CPU seconds."""
    near = _measured(lambda: ScriptedModel(ReadyAnswers().in_process, latency_s=LATENCY_S))
    with model_server(LATENCY_S) as base_url:
        far = _measured(lambda: OpenAIModelClient(base_url, None, MODEL))
        bare = bench_llm.bare_openai(base_url)
    path = near[0].path
    idle = tuple(asyncio.run(_sleepers(path)) for _ in range(3))
    ideal = f"{path} calls in a row × {LATENCY_S:.3g} s"
    peer = f"{SYMBOLS} × {bench_llm.CALLS} calls, no desk, no records; {min(bare.cpu_s):.2f} s CPU"
    return [
        Figure("fanout: 100 tasks that only wait", idle, "× ideal", note="limit: the event loop"),
        _over_ideal("fanout: 100 symbols, model in process", near, IN_PROCESS_EXPECTED, ideal),
        Figure("fanout: CPU of all, model in process", tuple(fan.cpu_s for fan in near), "s"),
        Figure("fanout: bare openai library, socket", bare.over_ideal, "× ideal", note=f"peer: {peer}"),
        _over_ideal("fanout: 100 symbols, openai and socket", far, SOCKET_EXPECTED, ideal),
        Figure("fanout: CPU of all, openai and socket", tuple(fan.cpu_s for fan in far), "s"),
    ]


def _over_ideal(name: str, fans: Sequence[Fan], expected: float, ideal: str) -> Figure:
    note = f"ideal: {ideal}; {fans[0].calls} calls in all, recorded"
    return Figure(name, tuple(fan.over_ideal for fan in fans), "× ideal", Bar(expected), note)
