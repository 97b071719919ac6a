"""The rules: documented arithmetic, the same schema and checks as a model's answer, and one sign for the lean."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.desk.checks import check_quant
from autohedge.desk.rules import (
    abstain_from_news,
    abstain_without_numbers,
    book_and_trades,
    imbalance_spread,
    known_news,
    neutral_thesis,
    within_limits,
)
from autohedge.desk.schemas import Abstention, Direction, ExecutionPlan, QuantAnalysis, RiskAssessment, Step, TradingThesis
from autohedge.domain.mandate import MandateState, MandateValues, Regime, RiskLevel
from autohedge.domain.view import MarketView
from autohedge.llm.catalog import Role, load_catalog
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.quoting import QuoteRules, price_quotes

Views = Callable[..., MarketView]

fracs = st.floats(0.0, 1.0)
imbalances = st.floats(-1.0, 1.0)


@given(imbalance=imbalances, ratio=fracs, target=fracs)
def test_the_execution_rule_is_the_documented_arithmetic(
    imbalance: float, ratio: float, target: float, make_view: Views
) -> None:
    plan = imbalance_spread(make_view(book_imbalance=imbalance, inventory_ratio=ratio, inventory_target=target))
    assert plan.spread_multiplier == 1.0 + 0.5 * abs(imbalance)
    assert plan.inventory_bias == 0.5 * (target - ratio)
    assert plan.size_multiplier == 1.0
    assert ExecutionPlan.model_validate(plan.model_dump()) == plan


def quoted(bias: float) -> tuple[int, int]:
    """The maker's bid and ask, in ticks, for a lean."""
    values = MandateValues("m", 1.0, bias, 1.0, RiskLevel.MEDIUM, "rules", MandateState.IN_FORCE)
    terms = price_quotes(QuoteRules.of(MarketMakingConfig(min_profit_threshold=None)), 99_990, 100_010, 0.01, 0.5, values)
    assert terms.bid_ticks is not None
    assert terms.ask_ticks is not None
    return terms.bid_ticks, terms.ask_ticks


def test_a_bias_above_zero_leans_long_in_rules_maker_and_prompts(make_view: Views) -> None:
    """One sign everywhere: short of the target → bias above 0 → both quotes move up → base is bought sooner."""
    short_of_target = imbalance_spread(make_view(inventory_ratio=0.3, inventory_target=0.5)).inventory_bias
    beyond_target = imbalance_spread(make_view(inventory_ratio=0.7, inventory_target=0.5)).inventory_bias
    assert short_of_target > 0.0 > beyond_target

    (bid, ask), (bid_long, ask_long), (bid_short, ask_short) = map(quoted, (0.0, short_of_target, beyond_target))
    assert bid_long > bid > bid_short
    assert ask_long > ask > ask_short

    told = [
        load_catalog()[Role.EXECUTION_AGENT].prompt.system,
        ExecutionPlan.model_fields["inventory_bias"].description or "",
    ]
    for text in told:
        assert "Above 0 leans long: both quotes move up" in text
        assert "Below 0 leans short" in text
    assert "inventory ratio above its target calls for a bias below 0" in told[0]


@given(
    imbalance=imbalances,
    depth=st.floats(0, 100),
    bought=fracs,
    mid=st.floats(1e-6, 1e9),
    low=st.floats(0.5, 1.0),
    high=st.floats(1.0, 2.0),
    at=fracs,
    moved=st.floats(-5_000, 5_000),
)
def test_the_quant_rule_passes_its_own_check_and_claims_no_trend(
    imbalance: float,
    depth: float,
    bought: float,
    mid: float,
    low: float,
    high: float,
    at: float,
    moved: float,
    make_view: Views,
) -> None:
    """Also when the trades are far from where the book is now."""
    view = make_view(
        book_imbalance_mean=imbalance,
        book_depth_score=depth,
        book_mid_price=mid,
        trades_buy_volume_frac=bought,
        trades_low=low * mid,
        trades_high=high * mid,
        trades_last_price=(low + at * (high - low)) * mid,
        trades_return_bps=moved,
    )
    said = book_and_trades(view)
    assert isinstance(said, QuantAnalysis)
    check_quant(said, view)
    assert said.regime is Regime.RANGE_BOUND
    assert QuantAnalysis.model_validate(said.model_dump()) == said


def test_the_quant_rule_is_the_documented_arithmetic(make_view: Views) -> None:
    said = book_and_trades(
        make_view(
            book_imbalance_mean=0.4,
            book_depth_score=80.0,
            trades_buy_volume_frac=0.9,
            trades_low=54_900.0,
            trades_high=55_100.0,
            trades_last_price=55_060.5,
            trades_return_bps=(55_060.5 / 55_000.0 - 1.0) * 1e4,
        )
    )
    assert isinstance(said, QuantAnalysis)
    assert said.technical_score == pytest.approx(0.7)
    assert said.volume_score == pytest.approx(0.8)
    assert said.trend_strength == pytest.approx(60.5 / 200.0)
    assert said.probability_score == pytest.approx(0.65)
    assert said.volatility == 0.0075
    levels = said.key_levels
    assert (levels.support, levels.resistance) == (54_900.0, 55_100.0)
    assert levels.pivot == pytest.approx(55_020.1666)


def test_without_trades_the_quant_rule_abstains_and_scores_nothing(make_view: Views) -> None:
    none = dict.fromkeys(
        ("trades_buy_volume_frac", "trades_vwap", "trades_high", "trades_low", "trades_last_price", "trades_return_bps")
    )
    said = book_and_trades(make_view(trades_trade_count=0, trades_volume_base=0.0, **none))
    assert said == Abstention(role=Role.QUANT_ANALYST, reason="Rule: no trades in the last 60 s.")
    assert isinstance(abstain_without_numbers(make_view()), Abstention)


@given(imbalance=imbalances)
def test_the_thesis_rule_is_neutral_and_asks_for_news_only_when_there_are_any(imbalance: float, make_view: Views) -> None:
    view = make_view(book_imbalance_mean=imbalance)
    thesis = neutral_thesis(view)
    assert thesis.direction is Direction.NEUTRAL
    assert thesis.confidence == 1.0 - abs(imbalance)
    assert thesis.route == [Step.QUANT_ANALYST, Step.RISK_MANAGER, Step.EXECUTION_AGENT]
    with_news = neutral_thesis(make_view(news=((1, "Something happened"),)))
    assert Step.SENTIMENT_ANALYST in with_news.route
    assert TradingThesis.model_validate(thesis.model_dump()) == thesis


def test_no_rule_pretends_to_read_news(make_view: Views) -> None:
    assert abstain_from_news(make_view()).reason == "There are no headlines."
    assert abstain_from_news(make_view(news=((1, "Up 10 %"),))).reason == "Rule: no rule can read news."


def test_news_from_the_future_is_not_known(make_view: Views) -> None:
    """A headline dated after the view does not exist yet; one without a word says nothing."""
    view = make_view()
    now = view.as_of_ns
    later = make_view(news=((now - 1, "before"), (now, "at"), (now, "  "), (now + 1, "after")))
    assert [text for _, text in known_news(later)] == ["before", "at"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"book_volatility": None}, None),
        ({"drawdown_frac": 0.1499, "exposure_frac": 0.2}, None),
        ({"drawdown_frac": 0.15}, "Rule: drawdown 0.1500 of capital has reached the limit 0.15."),
        ({"exposure_frac": 0.2001}, "Rule: exposure 0.2001 of capital is above the limit 0.2."),
        ({"book_mid_price": float("nan")}, "Rule: mid price unknown."),
        ({"inventory_ratio": float("nan")}, "Rule: inventory ratio unknown."),
    ],
)
def test_the_risk_rule_refuses_only_at_a_limit_or_without_what_it_needs(
    changed: dict[str, float], said: str | None, make_view: Views
) -> None:
    verdict = within_limits(make_view(**changed), 0.15)
    assert verdict.approved is (said is None)
    assert verdict.risk_level is RiskLevel.MEDIUM
    assert verdict.max_position_frac == 0.2
    if said is not None:
        assert verdict.reasons == [said]
    assert RiskAssessment.model_validate(verdict.model_dump()) == verdict
