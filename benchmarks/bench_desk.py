"""What the desk itself costs: one cycle of all five agents whose model answers at once, recorded on disk.

CPU milliseconds of the process per cycle: view, prompts, the graph, the ladder, validation, the clamp, and the ledger's rows of
decisions, model calls and mandate. Beside it the limit: LangGraph alone, the same five nodes with nothing in them.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

from autohedge.bootstrap import prepare
from autohedge.operations.heap import settle_heap
from autohedge.session import TradingSession
from autohedge.testing import ScriptedModel
from benchmarks.desks import ReadyAnswers, desk_of, settings_of
from benchmarks.figures import Bar, Figure, Options, ratio

ROUNDS = 7
CYCLES = 60
EXPECTED_MS = 10.0
AGENTS = 5


class Passed(TypedDict):
    """What trivial nodes hand on."""

    thesis: int
    quant: int
    sentiment: int
    risk: int
    plan: int


def bare_graph() -> Callable[[], Awaitable[Any]]:
    """A compiled graph of the desk's shape, with routers, whose nodes only set a number."""
    from langgraph.graph import END, START, StateGraph
    from langsmith import tracing_context

    graph = StateGraph(Passed)

    def add(node: str, key: str) -> None:
        async def work(state: Passed) -> dict[str, int]:
            return {key: 1}

        graph.add_node(node, work)

    async def to_analysts(state: Passed) -> list[str]:
        return ["analyze_market", "read_sentiment"]

    async def to_risk(state: Passed) -> str:
        return "assess_risk"

    async def to_plan(state: Passed) -> str:
        return "plan_execution"

    for node, key in (
        ("write_thesis", "thesis"),
        ("analyze_market", "quant"),
        ("read_sentiment", "sentiment"),
        ("assess_risk", "risk"),
        ("plan_execution", "plan"),
    ):
        add(node, key)
    graph.add_edge(START, "write_thesis")
    graph.add_conditional_edges("write_thesis", to_analysts, ["analyze_market", "read_sentiment"])
    graph.add_conditional_edges("analyze_market", to_risk, ["assess_risk"])
    graph.add_conditional_edges("read_sentiment", to_risk, ["assess_risk"])
    graph.add_conditional_edges("assess_risk", to_plan, ["plan_execution", END])
    graph.add_edge("plan_execution", END)
    compiled = graph.compile()
    start = Passed(thesis=0, quant=0, sentiment=0, risk=0, plan=0)

    async def once() -> Any:
        with tracing_context(enabled=False):
            return await compiled.ainvoke(start)

    return once


async def _ms_per_cycle(cycle: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """(CPU, wall) milliseconds."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(CYCLES):
        await cycle()
    return (time.process_time() - cpu_s) / CYCLES * 1e3, (time.perf_counter() - wall_s) / CYCLES * 1e3


async def _asked(session: TradingSession, model: ScriptedModel) -> None:
    """One cycle; what does not measure what it says is no figure."""
    model.requests.clear()
    (outcome,) = await session.ask_desk()
    if outcome.outcome != "proposal" or len(model.requests) != AGENTS:
        raise RuntimeError(f"the desk answered {outcome.outcome} after {len(model.requests)} calls: {outcome.reason}")


async def _measured(out_dir: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]], float]:
    """(CPU, wall) milliseconds of the desk and of the bare graph, in turn; and the first cycle's wall milliseconds."""
    settings = settings_of(1, out_dir)
    model = ScriptedModel(ReadyAnswers().in_process)
    run = prepare(settings, desk=desk_of(settings, model)).start()
    session, bare = run.session, bare_graph()
    await session.open()
    settle_heap()
    began_s = time.perf_counter()
    await _asked(session, model)
    first_ms = (time.perf_counter() - began_s) * 1e3
    await bare()
    desk, alone = [], []
    for _ in range(ROUNDS):
        desk.append(await _ms_per_cycle(lambda: _asked(session, model)))
        alone.append(await _ms_per_cycle(bare))
    await run.finish()
    return desk, alone, first_ms


def figures(_options: Options) -> list[Figure]:
    """CPU milliseconds per cycle of both, and their ratio."""
    gc.unfreeze()
    gc.collect()
    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as out_dir:
        desk, alone, first_ms = asyncio.run(_measured(out_dir))
    cpu_ms, alone_ms = [cpu for cpu, _ in desk], [cpu for cpu, _ in alone]
    return [
        Figure("desk: bare LangGraph, same nodes", tuple(alone_ms), "ms CPU", note="limit: the graph with nothing in it"),
        Figure(
            "desk: one cycle, five agents, records",
            tuple(cpu_ms),
            "ms CPU",
            Bar(EXPECTED_MS),
            f"{CYCLES} cycles a run, 5 model calls each, the ledger on disk",
        ),
        Figure("desk: the same by wall time", tuple(wall for _, wall in desk), "ms"),
        Figure("desk: first cycle", (first_ms,), "ms"),
        ratio("desk: cycle ÷ bare LangGraph", cpu_ms, alone_ms),
    ]
