"""What the agents say. A schema is named for the thing said, and its field descriptions are instructions to a model.

Promises: numbers are numbers (no "0.5", no `true` for 1.0), finite and within bounds; every field is required; unknown fields
are refused. Texts are cleaned and cut, never refused: they inform people and other agents, and no code reads a word in them.
"No opinion" is an `Abstention`, never 0.0 and never a default. A directional order is not part of an execution plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from autohedge.domain.mandate import Regime, RiskLevel
from autohedge.llm.catalog import Role, clean_text

MAX_TEXT_CHARS = 1_000
MAX_REASONS = 8


def _cut(value: Any) -> Any:
    return clean_text(value, MAX_TEXT_CHARS) if isinstance(value, str) else value


def _first_few(value: Any) -> Any:
    return value[:MAX_REASONS] if isinstance(value, list) else value


Text = Annotated[str, BeforeValidator(_cut)]
"""Cleaned of control characters and cut to 1,000 characters."""

Frac = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Flag = Annotated[bool, Field(strict=True)]


class Said(BaseModel):
    """Base of everything an agent says: frozen, nothing unknown, nothing infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Abstention(Said):
    """No opinion, with the reason. It counts for nothing and is never read as zero, neutral or hold."""

    role: Role
    reason: Text


class Direction(StrEnum):
    """Where the price is thought to go."""

    UP = "up"
    DOWN = "down"
    NEUTRAL = "neutral"


class Step(StrEnum):
    """What the director can ask for next; `hold` stands alone and ends the cycle."""

    EXECUTION_AGENT = "execution_agent"
    RISK_MANAGER = "risk_manager"
    QUANT_ANALYST = "quant_analyst"
    SENTIMENT_ANALYST = "sentiment_analyst"
    HOLD = "hold"


class TradingThesis(Said):
    """The director's thesis, and who is to look at it next."""

    symbol: Text = Field(description="The symbol you were given, unchanged.")
    thesis: Text = Field(description="The thesis in at most 120 words.")
    direction: Direction = Field(description="Expected direction of the mid price over the next five minutes.")
    confidence: Frac = Field(description="Your confidence in that direction, 0 to 1.")
    route: Annotated[list[Step], Field(min_length=1, max_length=8)] = Field(
        description="Who is next: any of quant_analyst, sentiment_analyst, risk_manager, execution_agent; or hold alone."
    )
    reason: Text = Field(description="Why this route, in one sentence.")

    @model_validator(mode="after")
    def _hold_stands_alone(self) -> TradingThesis:
        if Step.HOLD in self.route and set(self.route) != {Step.HOLD}:
            raise ValueError(f"route must be hold alone or specialists without hold, found {', '.join(self.route)}")
        return self


class KeyLevels(Said):
    """Prices in quote units, support <= pivot <= resistance."""

    support: Annotated[float, Field(strict=True, gt=0.0)] = Field(description="Price below which the view is wrong.")
    resistance: Annotated[float, Field(strict=True, gt=0.0)] = Field(description="Price above which the view is wrong.")
    pivot: Annotated[float, Field(strict=True, gt=0.0)] = Field(description="Price between support and resistance.")


class QuantAnalysis(Said):
    """What the numbers say. `volatility` is σ per hour as a fraction of the price, null when it is unknown."""

    ticker: Text = Field(description="The symbol you were given, unchanged.")
    technical_score: Frac = Field(description="0 selling pressure in the book, 0.5 balanced, 1 buying pressure.")
    volume_score: Frac = Field(description="0 no liquidity to trade against, 1 deep.")
    trend_strength: Frac = Field(description="0 the price went nowhere, 1 it moved in one direction only.")
    probability_score: Frac = Field(description="Probability that the mid price is higher in five minutes; 0.5 is no edge.")
    volatility: Annotated[float, Field(strict=True, ge=0.0, le=10.0)] | None = Field(
        description="Standard deviation per hour as a fraction of the price (0.01 = 1 %); null when unknown."
    )
    key_levels: KeyLevels = Field(description="Price levels near the market, in quote units.")
    regime: Regime = Field(description="What the market does now.")
    summary: Text = Field(description="The finding in at most 60 words.")


class SentimentReport(Said):
    """What dated headlines say about the symbol."""

    symbol: Text = Field(description="The symbol you were given, unchanged.")
    sentiment_score: Annotated[float, Field(strict=True, ge=-1.0, le=1.0)] = Field(
        description="-1 bad for the price, +1 good for the price; 0 only when good and bad news balance."
    )
    confidence: Frac = Field(description="Your confidence in the score, 0 to 1.")
    summary: Text = Field(description="Which headlines matter and why, in at most 60 words.")


class RiskAssessment(Said):
    """The risk manager's verdict. Fractions are of the maker's capital."""

    symbol: Text = Field(description="The symbol you were given, unchanged.")
    approved: Flag = Field(description="false refuses the thesis: it goes back to the director with your reasons.")
    risk_level: RiskLevel = Field(description="low, medium or high; quotes get smaller as it rises.")
    max_position_frac: Frac = Field(description="Largest value of base held, as a fraction of capital.")
    max_drawdown_frac: Frac = Field(description="Drawdown, as a fraction of capital, from which on quoting must stop.")
    reasons: Annotated[list[Text], BeforeValidator(_first_few), Field(min_length=1)] = Field(
        description="One to eight short reasons."
    )


class ExecutionPlan(Said):
    """The mandate proposal: how wide, which lean, how large, how long. It has no price, no size and no order."""

    symbol: Text = Field(description="The symbol you were given, unchanged.")
    spread_multiplier: Annotated[float, Field(strict=True, ge=1.0, le=3.0)] = Field(
        description="Factor on the maker's base spread, 1.0 to 3.0; larger is wider and safer."
    )
    inventory_bias: Annotated[float, Field(strict=True, ge=-0.5, le=0.5)] = Field(
        description="-0.5 to +0.5. Above 0 leans long: both quotes move up and base is bought sooner. Below 0 leans short."
    )
    size_multiplier: Frac = Field(description="Factor on the maker's order size, 0 to 1.")
    ttl_s: Annotated[float, Field(strict=True, ge=1.0, le=86_400.0)] = Field(
        description="Seconds until the plan expires and fades to conservative values; 60 to 600 is usual."
    )
    reason: Text = Field(description="Why these values, in one or two sentences.")


# ---------------------------------------------------------------- plain data


def plain(said: Said) -> dict[str, Any]:
    """What was said as plain data; an abstention is `{"abstained": reason}` and nothing else."""
    return {"abstained": said.reason} if isinstance(said, Abstention) else said.model_dump(mode="json")


def quant_from_plain(data: Mapping[str, Any]) -> QuantAnalysis | Abstention:
    """The inverse of `plain` for the quant analyst."""
    if "abstained" in data:
        return Abstention(role=Role.QUANT_ANALYST, reason=data["abstained"])
    return QuantAnalysis.model_validate(data)


def sentiment_from_plain(data: Mapping[str, Any]) -> SentimentReport | Abstention:
    """The inverse of `plain` for the sentiment analyst."""
    if "abstained" in data:
        return Abstention(role=Role.SENTIMENT_ANALYST, reason=data["abstained"])
    return SentimentReport.model_validate(data)


# ---------------------------------------------------------------- opinions that may be withheld

S = TypeVar("S", bound=Said)


class Opinion(Said, Generic[S]):
    """What an analyst's model answers: an opinion, or null and why there is none.

    A bare opinion without the envelope is taken as one: models that are not held to the schema often leave it out.
    """

    role: ClassVar[Role]

    opinion: S | None
    no_opinion_reason: Text | None = Field(description="null with an opinion; otherwise why you have none, in one sentence.")

    @model_validator(mode="before")
    @classmethod
    def _bare_opinion(cls, data: Any) -> Any:
        if isinstance(data, dict) and data and not data.keys() & {"opinion", "no_opinion_reason"}:
            return {"opinion": data, "no_opinion_reason": None}
        return data

    @model_validator(mode="after")
    def _one_of_both(self) -> Opinion[S]:
        if (self.opinion is None) == (not self.no_opinion_reason):
            raise ValueError("expected either an opinion or a no_opinion_reason, and the other one null")
        return self

    @property
    def said(self) -> S | Abstention:
        """The opinion or the abstention."""
        if self.opinion is not None:
            return self.opinion
        return Abstention(role=self.role, reason=self.no_opinion_reason or "")


class QuantOpinion(Opinion[QuantAnalysis]):
    """The quant analyst's analysis, or none."""

    role = Role.QUANT_ANALYST

    opinion: QuantAnalysis | None = Field(description="Your analysis; null when you have no opinion. Never invent numbers.")


class SentimentOpinion(Opinion[SentimentReport]):
    """The sentiment analyst's report, or none."""

    role = Role.SENTIMENT_ANALYST

    opinion: SentimentReport | None = Field(description="Your report; null when the headlines do not concern the symbol.")


SCHEMAS: dict[str, type[Said]] = {
    schema.__name__: schema for schema in (TradingThesis, QuantAnalysis, SentimentReport, RiskAssessment, ExecutionPlan)
}
"""Schemas by the names that agents' files use."""
