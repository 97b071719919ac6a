"""Each agent's rule: what it says when no model says it, by documented arithmetic on the view alone.

Promises: a rule returns the schema its agent's model would, is a pure function of the view, and passes the checks that a
model's answer must pass. It claims no trend and no news: where there is nothing to compute it abstains. A plan by rule is
the same whether a model failed or none was named.

    thesis      neutral, confidence = 1 − |mean imbalance|
    quant       technical   = 0.5 + 0.5 × mean imbalance              volume      = depth_score ÷ 100
                trend       = |last − first| ÷ (high − low), at most 1 (0 when the price did not move)
                probability = 0.5 + 0.5 × (mean(technical, bought share) − 0.5)
                levels      = low, high and (low + high + last) ÷ 3 of the window's trades, within 20 % of the mid
                regime range_bound; abstains when the window has no trades
    risk        medium; approves unless a limit of the view is reached
    execution   spread_multiplier = 1 + 0.5 × |imbalance|, inventory_bias = 0.5 × (target − inventory_ratio),
                size_multiplier = 1, ttl 300 s

Where there is no book but candles, the trend of the last 20 bars (net move ÷ path walked, −1 … +1: the efficiency ratio of
Kaufman, "Smarter Trading", 1995, with its sign) stands for the imbalance: both say how one-sided the market is.

    thesis      confidence = 1 − |trend|; 0.5 while the trend is unknown
    quant       technical = 0.5 + 0.5 × trend, volume = Φ(z-score of the volume), trend = |trend|, probability = 0.5: a trend
                of bars is not taken for a forecast
                levels = low, high and (low + high + close) ÷ 3 of the 20 bars; abstains while the bars are too few for that
    execution   spread_multiplier = 1 + 0.5 × |trend|; 1.5, the widest of this rule, while the trend is unknown
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, isfinite, sqrt

from autohedge.desk.checks import MAX_LEVEL_DISTANCE_FRAC
from autohedge.desk.schemas import (
    Abstention,
    Direction,
    ExecutionPlan,
    KeyLevels,
    QuantAnalysis,
    RiskAssessment,
    Step,
    TradingThesis,
)
from autohedge.desk.veto import veto_reasons
from autohedge.domain.mandate import Regime, RiskLevel
from autohedge.domain.view import BarStatistics, MarketView
from autohedge.llm.catalog import Role

RULE_TTL_S = 300.0
"""How long a plan by rule holds."""

NO_NEWS = "There are no headlines."


def neutral_thesis(view: MarketView) -> TradingThesis:
    """Quote both sides; every specialist that has something to look at is asked."""
    route = [Step.QUANT_ANALYST, Step.SENTIMENT_ANALYST, Step.RISK_MANAGER, Step.EXECUTION_AGENT]
    if not known_news(view):
        route.remove(Step.SENTIMENT_ANALYST)
    return TradingThesis(
        symbol=view.symbol,
        thesis="Quote both sides around the mid and let inventory return to its target; no direction is claimed.",
        direction=Direction.NEUTRAL,
        confidence=_neutral_confidence(view),
        route=route,
        reason="Rule: every specialist with something to look at.",
    )


def book_and_trades(view: MarketView) -> QuantAnalysis | Abstention:
    """Scores from the book's and the trades' statistics, or from the bars where there is no book.

    An abstention when the window has no trades, or the bars are too few.
    """
    book, trades = view.book, view.trades
    if book is None and view.bars is not None:
        return _from_bars(view, view.bars)
    if book is None or trades is None:
        return Abstention(role=Role.QUANT_ANALYST, reason="Rule: the trades are not known.")
    low, high, last, moved_bps, bought = trades.low, trades.high, trades.last_price, trades.return_bps, trades.buy_volume_frac
    if low is None or high is None or last is None or moved_bps is None or bought is None:
        return Abstention(role=Role.QUANT_ANALYST, reason=f"Rule: no trades in the last {trades.window_s:g} s.")
    technical = 0.5 + 0.5 * _unit(book.imbalance_mean)
    first = last / (1.0 + moved_bps / 10_000.0)
    trend = min(1.0, abs(last - first) / (high - low)) if high > low else 0.0
    return QuantAnalysis(
        ticker=view.symbol,
        technical_score=technical,
        volume_score=min(1.0, max(0.0, book.depth_score / 100.0)),
        trend_strength=trend,
        probability_score=0.5 + 0.5 * ((technical + min(1.0, max(0.0, bought))) / 2.0 - 0.5),
        volatility=book.volatility,
        key_levels=_levels(view.price, low, high, last),
        regime=Regime.RANGE_BOUND,
        summary=f"Rule: scores from the book and {trades.trade_count} trades in {trades.window_s:g} s.",
    )


def _from_bars(view: MarketView, bars: BarStatistics) -> QuantAnalysis | Abstention:
    if bars.trend is None or bars.volume_zscore is None:
        return Abstention(role=Role.QUANT_ANALYST, reason=f"Rule: {bars.bars} bars are too few to say anything.")
    trend = _unit(bars.trend)
    return QuantAnalysis(
        ticker=view.symbol,
        technical_score=0.5 + 0.5 * trend,
        volume_score=0.5 + 0.5 * erf(bars.volume_zscore / sqrt(2.0)),
        trend_strength=abs(trend),
        probability_score=0.5,
        volatility=bars.volatility,
        key_levels=_levels(view.price, bars.window_low, bars.window_high, bars.close),
        regime=Regime.RANGE_BOUND,
        summary=f"Rule: scores from the last bars of {bars.interval_s:g} s.",
    )


def _levels(price: float, low: float, high: float, last: float) -> KeyLevels:
    nearest, furthest = price * (1.0 - MAX_LEVEL_DISTANCE_FRAC), price * (1.0 + MAX_LEVEL_DISTANCE_FRAC)
    support, pivot, resistance = (min(max(level, nearest), furthest) for level in (low, (low + high + last) / 3.0, high))
    return KeyLevels(support=support, resistance=resistance, pivot=min(max(pivot, support), resistance))


def abstain_without_numbers(view: MarketView) -> Abstention:
    """The quant analyst's other rule: no model, no opinion."""
    return Abstention(role=Role.QUANT_ANALYST, reason=f"Rule: no opinion on {view.symbol} without a model.")


def abstain_from_news(view: MarketView) -> Abstention:
    """No rule can read news; without news there is nothing to read."""
    reason = "Rule: no rule can read news." if known_news(view) else NO_NEWS
    return Abstention(role=Role.SENTIMENT_ANALYST, reason=reason)


def within_limits(view: MarketView, max_drawdown_frac: float) -> RiskAssessment:
    """Medium risk; approved unless drawdown or exposure has reached its limit or is unknown. Unknown volatility is fine."""
    limits = RiskAssessment(
        symbol=view.symbol,
        approved=True,
        risk_level=RiskLevel.MEDIUM,
        max_position_frac=view.max_exposure_frac,
        max_drawdown_frac=max_drawdown_frac,
        reasons=["Rule: drawdown and exposure are within the operator's limits."],
    )
    broken = [f"Rule: {reason}." for reason in (*veto_reasons(limits, view), *_unusable(view))]
    return limits.model_copy(update={"approved": False, "reasons": broken}) if broken else limits


def imbalance_spread(view: MarketView) -> ExecutionPlan:
    """Wider the more one-sided the market is, leaning against the inventory: below target leans long (bias above 0)."""
    measure = "book's imbalance" if view.book is not None else "trend of the bars"
    return ExecutionPlan(
        symbol=view.symbol,
        spread_multiplier=1.0 + 0.5 * _one_sided(view),
        inventory_bias=0.5 * (view.inventory_target - view.inventory_ratio),
        size_multiplier=1.0,
        ttl_s=RULE_TTL_S,
        reason=f"Rule: spread widens with the {measure}, bias leads inventory back to its target.",
    )


def known_news(view: MarketView) -> tuple[tuple[int, str], ...]:
    """The view's headlines that had been published by its time and say something, newest last."""
    return tuple((at, text) for at, text in view.news if at <= view.as_of_ns and text.strip())


def _neutral_confidence(view: MarketView) -> float:
    if view.book is not None:
        return 1.0 - abs(_unit(view.book.imbalance_mean))
    trend = view.bars.trend if view.bars is not None else None
    return 0.5 if trend is None else 1.0 - abs(_unit(trend))


def _one_sided(view: MarketView) -> float:
    """How one-sided the market is, 0 … 1; 1 where nothing tells."""
    if view.book is not None:
        return abs(view.book.imbalance)
    trend = view.bars.trend if view.bars is not None else None
    return 1.0 if trend is None else abs(_unit(trend))


def _unit(value: float) -> float:
    return min(1.0, max(-1.0, value))


def _unusable(view: MarketView) -> list[str]:
    """What a plan needs and the view does not have."""
    needed = {"inventory ratio": view.inventory_ratio}
    if view.book is not None:
        needed = {"mid price": view.book.mid_price, "imbalance": view.book.imbalance, **needed}
    else:
        needed = {"price": view.price, **needed}
    return [f"{name} unknown" for name, value in needed.items() if not isfinite(value)]


THESIS_RULES: dict[str, Callable[[MarketView], TradingThesis]] = {"neutral_thesis": neutral_thesis}
QUANT_RULES: dict[str, Callable[[MarketView], QuantAnalysis | Abstention]] = {
    "book_and_trades": book_and_trades,
    "abstain": abstain_without_numbers,
}
SENTIMENT_RULES: dict[str, Callable[[MarketView], Abstention]] = {"abstain": abstain_from_news}
RISK_RULES: dict[str, Callable[[MarketView, float], RiskAssessment]] = {"within_limits": within_limits}
EXECUTION_RULES: dict[str, Callable[[MarketView], ExecutionPlan]] = {"imbalance_spread": imbalance_spread}
"""Rules by the names that agents' files use."""
