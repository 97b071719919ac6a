"""The whole desk over the openai client and a real HTTP server: good answers steer, and under every fault the rules do."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from autohedge.desk.decisions import called_for_model, model_driven_share
from autohedge.desk.desk import LangGraphDesk
from autohedge.domain.ids import CycleId
from autohedge.domain.mandate import RiskLevel
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource
from autohedge.domain.view import BookStatistics, MarketView, TradeStatistics
from autohedge.llm.catalog import AgentCatalog, load_catalog
from autohedge.llm.ladder import Ladder, RetryPolicy
from autohedge.llm.openai_client import OpenAIModelClient
from autohedge.operations.clock import SystemClock
from autohedge.testing import ModelServer

AT = 1_723_118_400_000_000_000
BOOK = BookStatistics("ETH/EUR", AT, 1, 2_499.0, 2_501.0, 2_500.0, 2_500.1, 8.0, 8.1, -0.4, -0.2, None, None, 55.0, None)
TRADES = TradeStatistics(60.0, 3, 0.5, 0.7, 2_500.2, 2_503.0, 2_498.0, 2_500.0, -2.0)
VIEW = MarketView("ETH/EUR", AT, 12, True, BOOK, TRADES, 0.3, 0.5, 0.02, 0.2, 0.0, 0.0, ((AT - 1, "Rates unchanged"),))
REQUEST = CycleRequest(CycleId("ETH-EUR-c0001"), "ETH/EUR", "Quote calmly.", VIEW)


def desk_over(client: OpenAIModelClient | None, deadline_s: float) -> LangGraphDesk:
    loaded = load_catalog(model="any-1")
    catalog = AgentCatalog({role: replace(spec, deadline_s=deadline_s) for role, spec in loaded.agents.items()})
    ladder = Ladder(client, SystemClock(), RetryPolicy(wait_initial_s=0.001, wait_max_s=0.002), random.Random(1))
    return LangGraphDesk(catalog, ladder, "any-1", SystemClock())


async def cycle_against(server: ModelServer, *, deadline_s: float = 30.0) -> CycleOutcome:
    async with server:
        client = OpenAIModelClient(server.base_url, None, "any-1")
        try:
            return await desk_over(client, deadline_s).run_cycle(REQUEST)
        finally:
            await client.aclose()


@pytest.mark.parametrize("mode", ["good", "fenced", "prose", "only_object", "only_text"])
async def test_good_answers_steer_in_whatever_form_they_come(mode: str) -> None:
    """Strict schema, JSON object or plain text: the same proposal, all of it model-driven."""
    outcome = await cycle_against(ModelServer(mode))
    assert outcome.outcome == "proposal", outcome.reason
    assert outcome.proposal is not None
    assert (outcome.proposal.spread_multiplier, outcome.proposal.risk_level) == (2.0, RiskLevel.LOW)
    driven, called = model_driven_share(outcome.decisions)
    assert driven == called == len(outcome.decisions)


@pytest.mark.parametrize(
    ("mode", "failure"),
    [
        ("unauthorized", "bad_request"),
        ("server_error", "server_error"),
        ("reset", "connection"),
        ("empty", "empty"),
        ("filtered", "filtered"),
        ("length", "truncated"),
        ("tool_call", "tool_call"),
        ("no_json", "not_json"),
        ("wrong_schema", "wrong_schema"),
        ("out_of_range", "out_of_range"),
        ("wrong_symbol", "wrong_symbol"),
        ("hang", "timeout"),
    ],
)
async def test_under_every_fault_the_outcome_is_the_rule_desks(mode: str, failure: str) -> None:
    """What steers the maker is the same as without a model, and the records name the fault."""
    deadline_s = 0.1 if mode == "hang" else 30.0
    outcome = await cycle_against(ModelServer(mode, retry_after_s=0.0), deadline_s=deadline_s)
    without = await desk_over(None, 30.0).run_cycle(REQUEST)
    assert (outcome.outcome, outcome.proposal, outcome.reason) == (without.outcome, without.proposal, without.reason)
    assert outcome.source is DecisionSource.RULES
    steered = [decision for decision in outcome.decisions if decision.role == "execution_agent"]
    assert [(decision.source, decision.reason_code) for decision in steered] == [(DecisionSource.RULES, failure)]
    assert model_driven_share(outcome.decisions)[1] == sum(map(called_for_model, outcome.decisions)) == 5
