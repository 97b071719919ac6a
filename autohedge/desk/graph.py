"""The cycle as a LangGraph state graph: nodes are verbs, routers are questions, the state is plain data.

    write_thesis ──hold──► end
        │ the director's route
        ├──► analyze_market ──┐   both at once when both are named, neither when neither is
        ├──► read_sentiment ──┤
        └─────────────────────┴──► assess_risk ──approved──► plan_execution ──► end
                    ▲                  │ refused: back to the thesis, at most max_revisions times, then end
                    └──────────────────┘

Promises: the director's route is followed, except that execution never happens without a risk assessment, and the decision
says so when the route forgot it. A route without execution ends in a hold. The graph keeps nothing between cycles.
This module loads LangGraph; import it only where a desk is made. Nothing is traced to a service, whatever the environment says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langsmith import tracing_context

from autohedge.desk.briefing import Briefing
from autohedge.desk.decisions import Ending, Trail
from autohedge.desk.schemas import (
    ExecutionPlan,
    RiskAssessment,
    Step,
    TradingThesis,
    plain,
    quant_from_plain,
    sentiment_from_plain,
)
from autohedge.domain.mandate import MandateProposal, Regime, RiskLevel
from autohedge.domain.records import DecisionSource
from autohedge.domain.view import MarketView

if TYPE_CHECKING:
    from autohedge.desk.director import TradingDirector

_LONGEST_PATH = 3
"""Supersteps from one thesis to the next: thesis, analysts, risk."""


class CycleState(TypedDict):
    """What the cycle knows. Opinions are plain data, None when not (yet) asked about the present thesis."""

    theses: int
    max_revisions: int
    thesis: dict[str, Any]
    quant: dict[str, Any] | None
    sentiment: dict[str, Any] | None
    risk: dict[str, Any] | None
    refusals: list[str]
    plan: dict[str, Any] | None
    plan_source: str


@dataclass(frozen=True, slots=True)
class Cycle:
    """What the nodes of one cycle share beside the state: the agents, what was known, and where decisions are written."""

    director: TradingDirector
    view: MarketView
    briefing: Briefing
    trail: Trail


DeskGraph = CompiledStateGraph[CycleState, Cycle, CycleState, CycleState]


# ---------------------------------------------------------------- nodes


async def write_thesis(state: CycleState, runtime: Runtime[Cycle]) -> dict[str, Any]:
    """A new thesis; what was said about the one before no longer counts, except why it was refused."""
    cycle, number = runtime.context, state["theses"] + 1
    decision = await cycle.director.thesis_writer.write(cycle.view, refusals=state["refusals"], briefing=cycle.briefing)
    cycle.trail.add(number, decision)
    return {"theses": number, "thesis": plain(decision.value), "quant": None, "sentiment": None, "risk": None}


async def analyze_market(state: CycleState, runtime: Runtime[Cycle]) -> dict[str, Any]:
    """The quant analyst's opinion."""
    cycle = runtime.context
    decision = await cycle.director.quant_analyst.analyze(cycle.view, _thesis(state), briefing=cycle.briefing)
    cycle.trail.add(state["theses"], decision)
    return {"quant": plain(decision.value)}


async def read_sentiment(state: CycleState, runtime: Runtime[Cycle]) -> dict[str, Any]:
    """The sentiment analyst's opinion."""
    cycle = runtime.context
    decision = await cycle.director.sentiment_analyst.analyze(cycle.view, _thesis(state), briefing=cycle.briefing)
    cycle.trail.add(state["theses"], decision)
    return {"sentiment": plain(decision.value)}


async def assess_risk(state: CycleState, runtime: Runtime[Cycle]) -> dict[str, Any]:
    """The risk manager's verdict, after the veto in code."""
    cycle, thesis = runtime.context, _thesis(state)
    forgotten = (
        () if Step.RISK_MANAGER in thesis.route else ("risk_manager was not on the route; nothing is executed without it",)
    )
    decision = await cycle.director.risk_manager.assess_risk(
        cycle.view, thesis, *_analysts(state), briefing=cycle.briefing, notes=forgotten
    )
    cycle.trail.add(state["theses"], decision)
    refusals = state["refusals"] if decision.value.approved else [*state["refusals"], *decision.value.reasons]
    return {"risk": plain(decision.value), "refusals": refusals}


async def plan_execution(state: CycleState, runtime: Runtime[Cycle]) -> dict[str, Any]:
    """The execution agent's plan."""
    cycle, risk = runtime.context, RiskAssessment.model_validate(state["risk"])
    decision = await cycle.director.execution_agent.generate_order(
        cycle.view, _thesis(state), risk, *_analysts(state), briefing=cycle.briefing
    )
    cycle.trail.add(state["theses"], decision)
    return {"plan": plain(decision.value), "plan_source": str(decision.source)}


def _thesis(state: CycleState) -> TradingThesis:
    return TradingThesis.model_validate(state["thesis"])


def _analysts(state: CycleState) -> tuple[Any, Any]:
    quant, sentiment = state["quant"], state["sentiment"]
    return (
        None if quant is None else quant_from_plain(quant),
        None if sentiment is None else sentiment_from_plain(sentiment),
    )


# ---------------------------------------------------------------- routers (async: LangGraph runs others in a thread each)


async def route_after_thesis(state: CycleState) -> list[str]:
    """Who is next: the analysts that the director names, else risk, else nobody."""
    route = state["thesis"]["route"]
    analysts = [
        node
        for step, node in ((Step.QUANT_ANALYST, "analyze_market"), (Step.SENTIMENT_ANALYST, "read_sentiment"))
        if step in route
    ]
    return analysts or [_risk_or_end(route)]


async def route_after_analysis(state: CycleState) -> str:
    """Does risk come next? Only if the route goes on to risk or execution."""
    return _risk_or_end(state["thesis"]["route"])


async def route_after_risk(state: CycleState) -> str:
    """Approved: on to execution if the route says so. Refused: a new thesis while revisions are left."""
    risk = state["risk"]
    if risk is None or not risk["approved"]:
        return "write_thesis" if state["theses"] <= state["max_revisions"] else END
    return "plan_execution" if Step.EXECUTION_AGENT in state["thesis"]["route"] else END


def _risk_or_end(route: list[str]) -> str:
    return "assess_risk" if Step.RISK_MANAGER in route or Step.EXECUTION_AGENT in route else END


# ---------------------------------------------------------------- the graph


@lru_cache(maxsize=1)
def build_graph() -> DeskGraph:
    """The compiled graph. It holds no agents and no state, so one serves every desk of the process."""
    graph = StateGraph(CycleState, context_schema=Cycle)
    for node in (write_thesis, analyze_market, read_sentiment, assess_risk, plan_execution):
        graph.add_node(node)
    graph.add_edge(START, "write_thesis")
    graph.add_conditional_edges("write_thesis", route_after_thesis, ["analyze_market", "read_sentiment", "assess_risk", END])
    graph.add_conditional_edges("analyze_market", route_after_analysis, ["assess_risk", END])
    graph.add_conditional_edges("read_sentiment", route_after_analysis, ["assess_risk", END])
    graph.add_conditional_edges("assess_risk", route_after_risk, ["write_thesis", "plan_execution", END])
    graph.add_edge("plan_execution", END)
    return graph.compile(name="desk")


async def run_graph(graph: DeskGraph, cycle: Cycle) -> CycleState:
    """One pass; returns the last state. Raises whatever a node raised."""
    max_revisions = cycle.director.max_revisions
    start = CycleState(
        theses=0,
        max_revisions=max_revisions,
        thesis={},
        quant=None,
        sentiment=None,
        risk=None,
        refusals=[],
        plan=None,
        plan_source="",
    )
    most_steps = _LONGEST_PATH * (1 + max_revisions) + 2
    with tracing_context(enabled=False):
        state = await graph.ainvoke(start, {"recursion_limit": most_steps}, context=cycle)
    return cast(CycleState, state)


def ending(state: CycleState) -> Ending:
    """How a finished state ended."""
    risk, thesis = state["risk"], state["thesis"]
    if state["plan"] is not None:
        return Ending("proposal", state["plan"]["reason"], _proposal(state), DecisionSource(state["plan_source"]))
    if risk is not None and not risk["approved"]:
        return Ending("refused", "; ".join(risk["reasons"]), None, DecisionSource.RULES)
    if Step.HOLD in thesis["route"]:
        return Ending("hold", f"the director holds: {thesis['reason']}", None, DecisionSource.RULES)
    route = ", ".join(thesis["route"])
    return Ending("hold", f"the route has no execution_agent ({route}): {thesis['reason']}", None, DecisionSource.RULES)


def _proposal(state: CycleState) -> MandateProposal:
    """The plan with the quant's regime (range_bound when it has no opinion or was not asked) and the risk manager's level."""
    plan, quant, risk = ExecutionPlan.model_validate(state["plan"]), state["quant"], state["risk"]
    assert risk is not None, "a plan is only made after an approval"
    return MandateProposal(
        spread_multiplier=plan.spread_multiplier,
        inventory_bias=plan.inventory_bias,
        size_multiplier=plan.size_multiplier,
        ttl_s=plan.ttl_s,
        regime=Regime(quant["regime"]) if quant is not None and "regime" in quant else Regime.RANGE_BOUND,
        risk_level=RiskLevel(risk["risk_level"]),
    )


def mermaid() -> str:
    """The graph as Mermaid text, drawn from the compiled graph itself."""
    return build_graph().get_graph().draw_mermaid()
