"""A market that is known by its bars only: the same desk, no invented book, and what is unknown told as unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.desk.briefing import Briefing
from autohedge.desk.checks import check_quant
from autohedge.desk.director import TradingDirector
from autohedge.desk.rules import book_and_trades, imbalance_spread, neutral_thesis, within_limits
from autohedge.desk.schemas import Abstention, KeyLevels, QuantAnalysis
from autohedge.domain.mandate import Regime
from autohedge.domain.view import BarIndicators, BarStatistics, MarketView
from autohedge.errors import InvariantBroken, ModelOutputInvalid

Views = Callable[..., MarketView]

INDICATORS = BarIndicators(
    sma=54_950.0, ema=54_960.0, macd=12.5, macd_signal=None, macd_histogram=None, rsi=61.0,
    bollinger_upper=55_100.0, bollinger_middle=54_950.0, bollinger_lower=54_800.0, atr=40.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def of_bars(make_view: Views) -> Views:
    """The usual view without its book and trades, with bars in their place; `bars_…` reach into them."""

    def make(**changed: Any) -> MarketView:
        bars: dict[str, Any] = {
            "symbol": "BTC/USDT",
            "as_of_ns": make_view().as_of_ns,
            "interval_s": 60.0,
            "bars": 300,
            "closed_ns": make_view().as_of_ns,
            "close": 55_000.0,
            "high": 55_020.0,
            "low": 54_980.0,
            "volume_base": 12.5,
            "range_bps": 7.3,
            "window_high": 55_100.0,
            "window_low": 54_900.0,
            "return_1_bps": 1.0,
            "return_5_bps": -2.0,
            "return_20_bps": None,
            "volatility": 0.006,
            "volume_zscore": 0.5,
            "trend": 0.4,
            "indicators": INDICATORS,
            "indicators_problem": "",
        }
        for name in [each for each in changed if each.startswith("bars_")]:
            bars[name.removeprefix("bars_")] = changed.pop(name)
        return replace(make_view(**changed), book=None, trades=None, bars=BarStatistics(**bars))

    return make


def market_of(view: MarketView) -> str:
    return Briefing.of(view, "", 0.15).values["market"]


# --- the view and its text --------------------------------------------------------------------------------------------------


def test_a_view_of_nothing_is_refused(make_view: Views, of_bars: Views) -> None:
    with pytest.raises(InvariantBroken, match="neither"):
        replace(make_view(), book=None)
    assert (make_view().price, of_bars().price) == (55_000.0, 55_000.0)


def test_the_model_is_told_that_there_is_no_book_and_no_number_stands_for_it(of_bars: Views) -> None:
    market = market_of(of_bars())
    assert "best bid, best ask, spread, book imbalance, depth score, trades: unknown" in market
    for label in ("mid price", "microprice", "trades: count", "spread, bps"):
        assert label not in market
    assert "last close, quote units: 55000\n" in market
    assert "return over 20 bars, bps: unknown" in market
    assert "volatility, fraction per hour: 0.006" in market
    assert "bars: seconds since the last one closed: 0\n" in market
    assert "RSI 14, 0 to 100: 61" in market
    assert "MACD signal 9, quote units: unknown" in market


def test_missing_indicators_are_told_with_the_reason(of_bars: Views) -> None:
    market = market_of(of_bars(bars_indicators=None, bars_indicators_problem="TA-Lib is not installed"))
    assert "indicators: unknown: TA-Lib is not installed" in market
    assert "RSI" not in market


def test_a_book_is_told_as_it_was_before_there_were_bars(make_view: Views) -> None:
    """The whole text, so that nothing of the bars slips into a market with a book."""
    assert market_of(make_view()) == (
        "<market>\nsimulated market: no\nhour of day, UTC: 12\n"
        "best bid, quote units: 54999.99\nbest ask, quote units: 55000.01\n"
        "mid price, quote units: 55000\nmicroprice, quote units: 55000.002\nspread, bps of mid: 0.0036\n"
        "mean spread, bps of mid: 0.004\nbook imbalance, -1 all asks to +1 all bids: 0.2\nmean book imbalance, -1 to +1: 0.1\n"
        "volatility, fraction per hour: 0.0075\ndepth score, 0 to 100: 80\ntrades: window, seconds: 60\ntrades: count: 100\n"
        "trades: volume, base units: 2.5\ntrades: bought share of volume, 0 to 1: 0.6\ntrades: vwap, quote units: 55001\n"
        "trades: high, quote units: 55010\ntrades: low, quote units: 54990\ntrades: last price, quote units: 55000\n"
        "trades: return over the window, bps: 1\n</market>"
    )


# --- the rules --------------------------------------------------------------------------------------------------------------


@given(trend=st.floats(-1, 1), zscore=st.floats(-50, 50), ratio=st.floats(0, 1))
def test_the_rules_on_bars_are_the_documented_arithmetic(trend: float, zscore: float, ratio: float, of_bars: Views) -> None:
    view = of_bars(bars_trend=trend, bars_volume_zscore=zscore, inventory_ratio=ratio, inventory_target=0.5)
    assert neutral_thesis(view).confidence == 1.0 - abs(trend)
    plan = imbalance_spread(view)
    assert (plan.spread_multiplier, plan.inventory_bias) == (1.0 + 0.5 * abs(trend), 0.5 * (0.5 - ratio))
    said = book_and_trades(view)
    assert isinstance(said, QuantAnalysis)
    check_quant(said, view)
    assert said.technical_score == 0.5 + 0.5 * trend
    assert said.trend_strength == abs(trend)
    assert said.volume_score == pytest.approx(NormalDist().cdf(zscore), abs=1e-12)
    assert (said.probability_score, said.regime, said.volatility) == (0.5, Regime.RANGE_BOUND, 0.006)
    assert (said.key_levels.support, said.key_levels.resistance) == (54_900.0, 55_100.0)


def test_an_unknown_trend_is_neither_calm_nor_an_opinion(of_bars: Views) -> None:
    """The widest spread of the rule, a coin's confidence, and no analysis: unknown is not zero."""
    early = of_bars(bars_trend=None, bars_volume_zscore=None, bars_bars=3)
    assert imbalance_spread(early).spread_multiplier == 1.5
    assert neutral_thesis(early).confidence == 0.5
    said = book_and_trades(early)
    assert isinstance(said, Abstention) and "3 bars" in said.reason
    assert within_limits(early, 0.15).approved, "the maker quotes wide then"


def test_levels_far_from_the_last_close_are_refused_as_from_a_mid(of_bars: Views) -> None:
    said = book_and_trades(of_bars())
    assert isinstance(said, QuantAnalysis)
    far = said.model_copy(update={"key_levels": KeyLevels(support=10.0, resistance=55_100.0, pivot=55_000.0)})
    with pytest.raises(ModelOutputInvalid, match="last close"):
        check_quant(far, of_bars())


async def test_a_whole_cycle_on_bars_ends_in_a_plan_by_rule(of_bars: Views) -> None:
    outcome = await TradingDirector().make_decision(of_bars(), "Quote.")
    assert outcome.outcome == "proposal", outcome.reason
    assert outcome.proposal is not None and outcome.proposal.spread_multiplier == pytest.approx(1.2)
    assert [each.role for each in outcome.decisions] == ["trading_director", "quant_analyst", "risk_manager", "execution_agent"]
