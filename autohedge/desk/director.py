"""The trading director: writes the thesis, picks the route, and owns the graph that follows it.

Promises: `make_decision` never raises for what a model or an agent does and always ends within the cycle's deadline. The
deadline is kept twice: model calls get at most nine tenths of it, after which agents answer by their rules, and what still
does not end is cut off and told as "failed" with the decisions so far. Cycles share nothing, so many symbols run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from autohedge.desk.agent import Agent, rules_only
from autohedge.desk.briefing import Briefing, refusals_block
from autohedge.desk.checks import check_said
from autohedge.desk.decisions import Decision, Ending, Trail
from autohedge.desk.rules import THESIS_RULES
from autohedge.desk.schemas import MAX_TEXT_CHARS, TradingThesis
from autohedge.desk.specialists import ExecutionAgent, QuantAnalyst, RiskManager, SentimentAnalyst
from autohedge.desk.veto import DEFAULT_MAX_DRAWDOWN_FRAC
from autohedge.domain.ids import CycleId
from autohedge.domain.records import CycleOutcome, DecisionSource
from autohedge.domain.view import MarketView
from autohedge.errors import ConfigError
from autohedge.llm.catalog import AgentCatalog, Role, clean_text, load_catalog
from autohedge.llm.ladder import Ladder
from autohedge.operations.clock import SystemClock
from autohedge.ports import Clock

DEFAULT_CYCLE_DEADLINE_S = 120.0
MODEL_SHARE_OF_DEADLINE = 0.9
MAX_REVISIONS = 10


class ThesisWriter(Agent):
    """The director's own voice."""

    role = Role.TRADING_DIRECTOR

    async def write(
        self, view: MarketView, task: str = "", refusals: Sequence[str] = (), *, briefing: Briefing | None = None
    ) -> Decision[TradingThesis]:
        """A thesis and a route; `refusals` are the reasons why earlier theses of this cycle were refused."""
        answer, input_hash = await self.ask(
            TradingThesis,
            briefing or self.briefing(view, task),
            {"refusals": refusals_block(refusals)},
            check=lambda answer: check_said(answer, view),
            rule=lambda: THESIS_RULES[self.spec.rule](view),
        )
        return self.decision(answer.value, answer, input_hash)


class TradingDirector:
    """The desk's head: a LangGraph state graph over its agents, compiled once.

    Without a catalog the bundled agents are taken, without a ladder they work by their rules, without a clock time is real.
    `max_revisions` theses may follow the first one when the risk manager refuses. `max_drawdown_frac` of capital is the
    operator's limit, above what any agent says. `ConfigError` for values outside their bounds.
    """

    def __init__(
        self,
        catalog: AgentCatalog | None = None,
        ladder: Ladder | None = None,
        clock: Clock | None = None,
        *,
        max_revisions: int = 2,
        cycle_deadline_s: float = DEFAULT_CYCLE_DEADLINE_S,
        max_drawdown_frac: float = DEFAULT_MAX_DRAWDOWN_FRAC,
    ) -> None:
        from autohedge.desk.graph import build_graph

        if not 0 <= max_revisions <= MAX_REVISIONS:
            raise ConfigError(f"max_revisions must be 0 to {MAX_REVISIONS}, found {max_revisions}")
        if not 0.0 < cycle_deadline_s <= 86_400.0:
            raise ConfigError(f"the cycle deadline must be above 0 and at most 86400 s, found {cycle_deadline_s}")
        if not 0.0 < max_drawdown_frac <= 1.0:
            raise ConfigError(f"max_drawdown_frac must be above 0 and at most 1, found {max_drawdown_frac}")
        catalog, ladder = catalog or load_catalog(), ladder or rules_only()
        self.max_revisions = max_revisions
        self.cycle_deadline_s = cycle_deadline_s
        self.max_drawdown_frac = max_drawdown_frac
        self.thesis_writer = ThesisWriter(catalog[Role.TRADING_DIRECTOR], ladder)
        self.quant_analyst = QuantAnalyst(catalog[Role.QUANT_ANALYST], ladder)
        self.sentiment_analyst = SentimentAnalyst(catalog[Role.SENTIMENT_ANALYST], ladder)
        self.risk_manager = RiskManager(catalog[Role.RISK_MANAGER], ladder, max_drawdown_frac=max_drawdown_frac)
        self.execution_agent = ExecutionAgent(catalog[Role.EXECUTION_AGENT], ladder)
        self._clock = clock or SystemClock()
        self._graph = build_graph()

    async def generate_thesis(self, view: MarketView, task: str = "", refusals: Sequence[str] = ()) -> Decision[TradingThesis]:
        """A thesis on its own, without the rest of the cycle."""
        return await self.thesis_writer.write(view, task, refusals)

    async def make_decision(self, view: MarketView, task: str = "", *, cycle_id: str = "") -> CycleOutcome:
        """One whole cycle for the view's symbol: the outcome with its proposal, every decision and every model call."""
        from autohedge.desk.graph import Cycle, ending, run_graph

        begun_s = self._clock.monotonic_s()
        for_models_s = MODEL_SHARE_OF_DEADLINE * self.cycle_deadline_s

        def time_left_s() -> float:
            return begun_s + for_models_s - self._clock.monotonic_s()

        trail = Trail()
        limit = asyncio.timeout(self.cycle_deadline_s)
        try:
            briefing = Briefing.of(view, task, self.max_drawdown_frac, time_left_s)
            async with limit:
                state = await run_graph(self._graph, Cycle(self, view, briefing, trail))
            end = ending(state)
        except Exception as error:  # whatever breaks costs this cycle and is told; the session and other symbols go on
            end = self._broken(error, view.symbol, timed_out=limit.expired())
        known_as = CycleId(cycle_id)
        return CycleOutcome(
            cycle_id=known_as,
            symbol=view.symbol,
            ts_ns=view.as_of_ns,
            outcome=end.outcome,
            reason=end.reason,
            proposal=end.proposal,
            source=end.source,
            revisions=max(0, trail.theses - 1),
            decisions=trail.records(known_as, view.symbol, view.as_of_ns),
            calls=trail.calls(known_as, view.symbol),
        )

    def _broken(self, error: Exception, symbol: str, *, timed_out: bool) -> Ending:
        from loguru import logger

        if timed_out:
            reason = f"the cycle did not end within its deadline of {self.cycle_deadline_s:g} s"
            logger.error("{}: {}", symbol, reason)
        else:
            reason = f"the desk broke: {type(error).__name__}: {error}"
            logger.opt(exception=error).error("{}: {}", symbol, reason)
        return Ending("failed", clean_text(reason, MAX_TEXT_CHARS), None, DecisionSource.RULES)
