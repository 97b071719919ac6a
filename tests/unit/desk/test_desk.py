"""The desk as the session sees it: always an outcome, always in time, and many symbols that do not touch each other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import autohedge
from autohedge.desk.agent import Agent
from autohedge.desk.decisions import called_for_model
from autohedge.desk.desk import LangGraphDesk
from autohedge.desk.schemas import Abstention, QuantAnalysis
from autohedge.domain.mandate import MandateProposal, Regime, RiskLevel
from autohedge.domain.records import CycleRequest, DecisionSource
from autohedge.domain.view import MarketView
from autohedge.errors import ConfigError
from autohedge.llm.catalog import AgentCatalog, Role
from autohedge.ports import ModelReply, ModelRequest
from autohedge.testing import ManualClock, ScriptedModel
from autohedge.testing.good_answers import symbol_in

Answers = Callable[..., dict[str, dict[str, Any]]]
Desks = Callable[..., LangGraphDesk]
Requests = Callable[..., CycleRequest]
Views = Callable[..., MarketView]

NEWS = ((1, "A bank buys bitcoin"),)


class Hanging:
    """A model that never answers."""

    name = "hanging"

    async def complete(self, request: ModelRequest) -> ModelReply:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")

    async def aclose(self) -> None:
        """Nothing to close."""


def by_symbol(answers: Answers) -> Callable[[ModelRequest], dict[str, Any]]:
    """Good answers about whatever symbol is asked about."""
    return lambda request: answers(symbol_in(request.messages))[request.schema_name]


# ---------------------------------------------------------------- in time


async def test_a_model_that_hangs_ends_in_the_rules(
    make_desk: Desks, make_view: Views, request_for: Requests, catalog: AgentCatalog
) -> None:
    """Each agent gives up at its own deadline; what steers the maker is what the rule desk says."""
    hurried = AgentCatalog({role: replace(spec, deadline_s=0.01) for role, spec in catalog.agents.items()})
    request = request_for(make_view(news=NEWS))
    outcome = await make_desk(Hanging(), catalog=hurried).run_cycle(request)
    without = await make_desk().run_cycle(request)
    assert (outcome.outcome, outcome.proposal, outcome.reason) == (without.outcome, without.proposal, without.reason)
    assert {decision.reason_code for decision in outcome.decisions} == {"timeout"}
    assert {call.outcome for call in outcome.calls} == {"timeout"}


async def test_when_the_cycles_time_is_used_up_the_other_agents_answer_by_rule(
    make_desk: Desks, make_view: Views, request_for: Requests, answers: Answers
) -> None:
    """The director thinks for nine tenths of the cycle's deadline; nobody else asks a model any more."""
    clock = ManualClock()
    model = ScriptedModel(answers(), latency_s=9.0, clock=clock)
    outcome = await make_desk(model, clock=clock, cycle_deadline_s=10.0).run_cycle(request_for(make_view()))
    assert outcome.outcome == "proposal"
    assert outcome.source is DecisionSource.RULES
    sources = {decision.role: (decision.source, decision.reason_code) for decision in outcome.decisions}
    assert sources["trading_director"] == (DecisionSource.RULES, "timeout")
    assert sources["execution_agent"] == (DecisionSource.RULES, "timeout")
    assert len(model.requests) == 1


async def test_what_hangs_beyond_the_deadline_is_cut_off_with_the_decisions_so_far(
    make_desk: Desks, make_view: Views, request_for: Requests, answers: Answers
) -> None:
    desk = make_desk(ScriptedModel(answers()), cycle_deadline_s=0.5)
    desk.director.risk_manager = Broken(asyncio.Event().wait)  # type: ignore[assignment]
    outcome = await desk.run_cycle(request_for(make_view()))
    assert (outcome.outcome, outcome.proposal) == ("failed", None)
    assert outcome.reason == "the cycle did not end within its deadline of 0.5 s"
    assert [decision.role for decision in outcome.decisions] == ["trading_director", "quant_analyst", "sentiment_analyst"]


class Broken:
    """An agent that does something else than it should."""

    def __init__(self, does: Callable[[], Any]) -> None:
        self._does = does

    async def assess_risk(self, *_: Any, **__: Any) -> Any:
        return await self._does()


# ---------------------------------------------------------------- always an outcome


async def test_a_broken_agent_is_an_outcome_and_not_an_exception(
    make_desk: Desks, make_view: Views, request_for: Requests, answers: Answers
) -> None:
    """Told with its cause, the decisions so far and their calls; the next cycle of a sound desk is whole."""

    async def fail() -> None:
        raise ZeroDivisionError("by nothing")

    desk = make_desk(ScriptedModel(answers()))
    sound, desk.director.risk_manager = desk.director.risk_manager, Broken(fail)  # type: ignore[assignment]
    outcome = await desk.run_cycle(request_for(make_view()))
    assert (outcome.outcome, outcome.proposal, outcome.source) == ("failed", None, DecisionSource.RULES)
    assert outcome.reason == "the desk broke: ZeroDivisionError: by nothing"
    assert [decision.role for decision in outcome.decisions][:2] == ["trading_director", "quant_analyst"]
    assert len(outcome.calls) == 2
    desk.director.risk_manager = sound
    assert (await desk.run_cycle(request_for(make_view()))).outcome == "proposal"


async def test_a_timeout_that_is_not_the_cycles_is_a_broken_desk(
    make_desk: Desks, make_view: Views, request_for: Requests
) -> None:
    async def fail() -> None:
        raise TimeoutError("somewhere else")

    desk = make_desk()
    desk.director.risk_manager = Broken(fail)  # type: ignore[assignment]
    outcome = await desk.run_cycle(request_for(make_view()))
    assert outcome.reason == "the desk broke: TimeoutError: somewhere else"


async def test_a_view_of_another_symbol_is_refused(make_desk: Desks, make_view: Views, request_for: Requests) -> None:
    request = request_for(make_view("BTC/USDT"))._replace(symbol="ETH/USDT")
    outcome = await make_desk().run_cycle(request)
    assert (outcome.outcome, outcome.symbol, outcome.decisions) == ("failed", "ETH/USDT", ())
    assert "ETH/USDT with a view of BTC/USDT" in outcome.reason


async def test_being_cancelled_is_not_a_failure_of_the_desk(make_desk: Desks, make_view: Views, request_for: Requests) -> None:
    """Ctrl-C stops a cycle at once and is not swallowed."""
    cycle = asyncio.create_task(make_desk(Hanging()).run_cycle(request_for(make_view())))
    await asyncio.sleep(0)
    cycle.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cycle


async def test_closing_twice_is_harmless(make_desk: Desks) -> None:
    desk = make_desk()
    await desk.aclose()
    await desk.aclose()


# ---------------------------------------------------------------- many symbols at once


async def test_symbols_wait_for_their_models_together(
    make_desk: Desks, make_view: Views, request_for: Requests, answers: Answers
) -> None:
    """No answer comes before all symbols have asked: cycles one after the other would never end."""
    together = asyncio.Barrier(50)
    scripted = ScriptedModel(by_symbol(answers))

    class Meeting(Hanging):
        async def complete(self, request: ModelRequest) -> ModelReply:
            if request.schema_name in ("TradingThesis", "ExecutionPlan"):
                await together.wait()
            return await scripted.complete(request)

    desk = make_desk(Meeting())
    views = [make_view(f"COIN{number}/USDT") for number in range(50)]
    outcomes = await asyncio.gather(*(desk.run_cycle(request_for(view)) for view in views))
    assert [outcome.symbol for outcome in outcomes] == [view.symbol for view in views]
    assert {outcome.outcome for outcome in outcomes} == {"proposal"}
    for outcome in outcomes:
        assert (
            {decision.symbol for decision in outcome.decisions} == {call.symbol for call in outcome.calls} == {outcome.symbol}
        )


async def test_one_symbols_failing_model_changes_no_other_symbols_outcome(
    make_desk: Desks, make_view: Views, request_for: Requests, answers: Answers
) -> None:
    """One gets garbage, one a broken client, one a hopeless market; the others are as they are alone."""
    good = by_symbol(answers)

    def answer(request: ModelRequest) -> Any:
        match symbol_in(request.messages):
            case "BAD/USDT":
                return "Buy!"
            case "WORSE/USDT":
                return RuntimeError("the client broke")
            case _:
                return good(request)

    views = [make_view(f"{name}/USDT", news=NEWS) for name in ("AAA", "BAD", "BBB", "WORSE", "CCC")]
    views.append(make_view("LOST/USDT", drawdown_frac=0.5))
    desk = make_desk(ScriptedModel(answer))
    outcomes = {
        outcome.symbol: outcome for outcome in await asyncio.gather(*(desk.run_cycle(request_for(view)) for view in views))
    }
    for view in views:
        alone = await make_desk(ScriptedModel(answer)).run_cycle(request_for(view))
        assert outcomes[view.symbol].proposal == alone.proposal
        assert [decision.value for decision in outcomes[view.symbol].decisions] == [
            decision.value for decision in alone.decisions
        ]
    asked = MandateProposal(1.4, 0.2, 0.8, 120.0, Regime.TRENDING_UP, RiskLevel.LOW)
    assert [outcomes[f"{name}/USDT"].proposal for name in ("AAA", "BBB", "CCC")] == [asked] * 3
    for name in ("BAD", "WORSE"):
        sources = {decision.source for decision in outcomes[f"{name}/USDT"].decisions if called_for_model(decision)}
        assert sources == {DecisionSource.RULES}
    assert outcomes["LOST/USDT"].outcome == "refused"


# ---------------------------------------------------------------- agents on their own


async def test_the_agents_work_on_their_own_with_nothing_but_a_view(make_view: Views) -> None:
    """As a library user tries them: bundled agents, no model, familiar names."""
    view = make_view()
    director = autohedge.TradingDirector()
    thesis = await director.generate_thesis(view, "Quote calmly.")
    quant = await autohedge.QuantAnalyst().analyze(view, thesis.value)
    sentiment = await autohedge.SentimentAnalyst().analyze(view, thesis.value)
    risk = await autohedge.RiskManager().assess_risk(view, thesis.value, quant.value, sentiment.value)
    plan = await autohedge.ExecutionAgent().generate_order(view, thesis.value, risk.value)
    assert isinstance(quant.value, QuantAnalysis)
    assert isinstance(sentiment.value, Abstention)
    assert risk.value.approved
    assert plan.value.spread_multiplier == 1.1
    assert {each.source for each in (thesis, quant, risk, plan)} == {DecisionSource.RULES}
    whole = await director.make_decision(view, "Quote calmly.")
    assert whole.proposal is not None
    assert whole.proposal.spread_multiplier == plan.value.spread_multiplier


def test_an_agent_is_not_made_from_another_roles_file(catalog: AgentCatalog) -> None:
    with pytest.raises(ConfigError, match="RiskManager expects the agent risk_manager, found quant_analyst"):
        autohedge.RiskManager(catalog[Role.QUANT_ANALYST])


@pytest.mark.parametrize("role", list(Role))
def test_every_role_has_one_class(role: Role) -> None:
    assert [agent.role for agent in Agent.__subclasses__()].count(role) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_revisions", -1),
        ("max_revisions", 11),
        ("cycle_deadline_s", 0.0),
        ("cycle_deadline_s", float("nan")),
        ("max_drawdown_frac", 0.0),
        ("max_drawdown_frac", float("nan")),
        ("max_drawdown_frac", 1.1),
    ],
)
def test_a_setting_outside_its_bounds_is_refused(option: str, value: float, make_desk: Desks) -> None:
    with pytest.raises(ConfigError, match=f"found {value}"):
        make_desk(**{option: value})


# ---------------------------------------------------------------- what LangGraph must not do


async def test_nothing_is_traced_to_a_service_whatever_the_environment_says(
    make_desk: Desks, make_view: Views, request_for: Requests, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langsmith import utils

    seen = []

    def answer(request: ModelRequest) -> dict[str, Any]:
        seen.append(utils.tracing_is_enabled())
        return answers()[request.schema_name]

    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "true")
    utils.get_env_var.cache_clear()
    try:
        assert utils.tracing_is_enabled()
        await make_desk(ScriptedModel(answer)).run_cycle(request_for(make_view()))
    finally:
        monkeypatch.undo()
        utils.get_env_var.cache_clear()
    assert seen == [False] * 4


def test_the_agents_load_without_langgraph_and_without_openai() -> None:
    code = "import sys, autohedge.desk; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"langgraph", "langsmith", "langchain_core", "openai", "httpx2"} & set(done.stdout.split())
