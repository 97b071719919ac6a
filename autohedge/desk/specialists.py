"""The four specialists that the director can route to. Each works on its own, outside the graph, with the same answer.

Every method takes the view first and returns a `Decision`: the value, and where it came from. Without a model, or when the
model fails, the value is that of the agent's rule (`autohedge.desk.rules`) and the source says so.
"""

from __future__ import annotations

from autohedge.desk.agent import Agent
from autohedge.desk.briefing import Briefing, opinion_block
from autohedge.desk.checks import check_quant, check_said
from autohedge.desk.decisions import Decision
from autohedge.desk.rules import EXECUTION_RULES, NO_NEWS, QUANT_RULES, RISK_RULES, SENTIMENT_RULES, known_news
from autohedge.desk.schemas import (
    Abstention,
    ExecutionPlan,
    QuantAnalysis,
    QuantOpinion,
    RiskAssessment,
    Said,
    SentimentOpinion,
    SentimentReport,
    TradingThesis,
    plain,
)
from autohedge.desk.veto import after_veto, cut_to_operator
from autohedge.domain.records import DecisionSource
from autohedge.domain.view import MarketView
from autohedge.llm.catalog import Data, Role


class QuantAnalyst(Agent):
    """Reads the book's and the trades' statistics."""

    role = Role.QUANT_ANALYST

    async def analyze(
        self, view: MarketView, thesis: TradingThesis, *, briefing: Briefing | None = None
    ) -> Decision[QuantAnalysis | Abstention]:
        """Scores, levels and regime, or an abstention."""

        def check(answer: QuantOpinion) -> None:
            if answer.opinion is not None:
                check_quant(answer.opinion, view)

        def rule() -> QuantOpinion:
            said = QUANT_RULES[self.spec.rule](view)
            if isinstance(said, Abstention):
                return QuantOpinion(opinion=None, no_opinion_reason=said.reason)
            return QuantOpinion(opinion=said, no_opinion_reason=None)

        opinions = {"thesis": _block("thesis", thesis)}
        answer, input_hash = await self.ask(QuantOpinion, briefing or self.briefing(view), opinions, check=check, rule=rule)
        return self.decision(answer.value.said, answer, input_hash)


class SentimentAnalyst(Agent):
    """Reads dated headlines. Without headlines it abstains, and no model is asked."""

    role = Role.SENTIMENT_ANALYST

    async def analyze(
        self, view: MarketView, thesis: TradingThesis, *, briefing: Briefing | None = None
    ) -> Decision[SentimentReport | Abstention]:
        """The headlines' sentiment, or an abstention."""
        if not known_news(view):
            return self._abstained(NO_NEWS)

        def check(answer: SentimentOpinion) -> None:
            if answer.opinion is not None:
                check_said(answer.opinion, view)

        def rule() -> SentimentOpinion:
            return SentimentOpinion(opinion=None, no_opinion_reason=SENTIMENT_RULES[self.spec.rule](view).reason)

        opinions = {"thesis": _block("thesis", thesis)}
        answer, input_hash = await self.ask(SentimentOpinion, briefing or self.briefing(view), opinions, check=check, rule=rule)
        return self.decision(answer.value.said, answer, input_hash)

    def _abstained(self, reason: str) -> Decision[Abstention]:
        return Decision(
            role=self.role,
            schema=self.spec.output_schema,
            value=Abstention(role=self.role, reason=reason),
            source=DecisionSource.ABSTAINED,
            reason_code="no_news",
            reason=reason,
            model=None,
            prompt_hash=self.spec.prompt_hash,
            input_hash="",
            input_tokens=None,
            output_tokens=None,
            latency_ms=0.0,
            attempts=0,
            calls=(),
        )


class RiskManager(Agent):
    """Approves or refuses a thesis; then code cuts its limits to the operator's and may refuse what it approved."""

    role = Role.RISK_MANAGER

    async def assess_risk(
        self,
        view: MarketView,
        thesis: TradingThesis,
        quant: QuantAnalysis | Abstention | None = None,
        sentiment: SentimentReport | Abstention | None = None,
        *,
        briefing: Briefing | None = None,
        notes: tuple[str, ...] = (),
    ) -> Decision[RiskAssessment]:
        """The assessment as it stands after the veto; `notes` go into the decision's reason."""

        def rule() -> RiskAssessment:
            return RISK_RULES[self.spec.rule](view, self.max_drawdown_frac)

        opinions = {
            "thesis": _block("thesis", thesis),
            "quant": _block("quant", quant),
            "sentiment": _block("sentiment", sentiment),
        }
        answer, input_hash = await self.ask(
            RiskAssessment,
            briefing or self.briefing(view),
            opinions,
            check=lambda answer: check_said(answer, view),
            rule=rule,
        )
        approved = answer.value.approved
        cut, cuts = cut_to_operator(answer.value, view, self.max_drawdown_frac)
        final, vetoes = after_veto(cut, view)
        if approved and vetoes:
            notes = (*notes, f"refused in code although approved: {', '.join(vetoes)}")
        return self.decision(final, answer, input_hash, notes=(*notes, *cuts))


class ExecutionAgent(Agent):
    """Turns an approved thesis into a mandate proposal."""

    role = Role.EXECUTION_AGENT

    async def generate_order(
        self,
        view: MarketView,
        thesis: TradingThesis,
        risk: RiskAssessment,
        quant: QuantAnalysis | Abstention | None = None,
        sentiment: SentimentReport | Abstention | None = None,
        *,
        task: str = "",
        briefing: Briefing | None = None,
    ) -> Decision[ExecutionPlan]:
        """The plan: spread, lean, size and life of the next mandate. It is no order and has no price."""

        def rule() -> ExecutionPlan:
            return EXECUTION_RULES[self.spec.rule](view)

        opinions = {
            "thesis": _block("thesis", thesis),
            "quant": _block("quant", quant),
            "sentiment": _block("sentiment", sentiment),
            "risk": _block("risk", risk),
        }
        answer, input_hash = await self.ask(
            ExecutionPlan,
            briefing or self.briefing(view, task),
            opinions,
            check=lambda answer: check_said(answer, view),
            rule=rule,
        )
        return self.decision(answer.value, answer, input_hash)


def _block(name: str, said: Said | None) -> Data:
    return opinion_block(name, None if said is None else plain(said))
