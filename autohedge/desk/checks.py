"""What a schema cannot say: the answer is about this symbol, and its prices are near this market.

A check raises `ModelOutputInvalid` ("wrong_symbol" or "out_of_range") with a sentence that the model is shown when it is asked
again. The risk manager's limits are not checked but clamped (`autohedge.desk.veto`): asking for more room than the operator
gives is no fault of form, and it is never given.
"""

from __future__ import annotations

from autohedge.desk.schemas import (
    ExecutionPlan,
    QuantAnalysis,
    RiskAssessment,
    SentimentReport,
    TradingThesis,
)
from autohedge.domain.view import MarketView
from autohedge.errors import ModelOutputInvalid

MAX_LEVEL_DISTANCE_FRAC = 0.2
"""Key levels further than this from the mid are no levels of this market."""


def check_symbol(said: str, view: MarketView) -> None:
    """The answer names the symbol that was asked about; case and surrounding space do not matter."""
    if said.strip().upper() != view.symbol.strip().upper():
        raise ModelOutputInvalid("wrong_symbol", f"expected the symbol {view.symbol!r}, found {said[:40]!r}")


def check_said(answer: TradingThesis | SentimentReport | RiskAssessment | ExecutionPlan, view: MarketView) -> None:
    """All that can be checked of an answer without prices."""
    check_symbol(answer.symbol, view)


def check_quant(answer: QuantAnalysis, view: MarketView) -> None:
    """The ticker, and levels in order and within 20 % of the mid (of the last close where there is no book)."""
    check_symbol(answer.ticker, view)
    levels, mid = answer.key_levels, view.price
    if not levels.support <= levels.pivot <= levels.resistance:
        raise ModelOutputInvalid(
            "out_of_range",
            f"expected support <= pivot <= resistance, found {levels.support}, {levels.pivot}, {levels.resistance}",
        )
    low, high = mid * (1.0 - MAX_LEVEL_DISTANCE_FRAC), mid * (1.0 + MAX_LEVEL_DISTANCE_FRAC)
    known_as = "mid price" if view.book is not None else "last close"
    for name, level in (("support", levels.support), ("resistance", levels.resistance)):
        if not low <= level <= high:
            raise ModelOutputInvalid("out_of_range", f"expected {name} within 20 % of the {known_as} {mid}, found {level}")
