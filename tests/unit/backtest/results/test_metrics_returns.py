"""Returns, risk and drawdown against other libraries' numbers, closed forms, and properties that must hold for any path."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autohedge.backtest.metrics import measure
from autohedge.backtest.returns import calendar_returns, period_of, periodic_returns
from autohedge.errors import ConfigError, MarketDataError

DAY_S = 86_400
DAY_NS = DAY_S * 1_000_000_000
START_NS = 1_704_067_200_000_000_000  # 2024-01-01

# a hundred days without any generator of random numbers
WAVES = [0.004 * math.sin(1.7 * i) + 0.002 * math.cos(0.31 * i) + 0.0008 for i in range(100)]

returns_of_days = st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=80)


def test_daily_figures_equal_those_of_other_libraries(make: Any) -> None:
    """Numbers of quantstats 0.0.86 and empyrical-reloaded 0.7.1, moments of scipy 1.17.1, from commands in the comment."""
    # uv pip install quantstats==0.0.86 empyrical-reloaded==0.7.1
    # s = pandas.Series(WAVES, pandas.date_range("2024-01-01", periods=100))
    # quantstats.stats: sharpe(s, rf=0.03, periods=365), sortino(s, rf=0.03, periods=365), volatility(s, periods=365),
    #   max_drawdown(s); empyrical: the same four, annual_return(s, annualization=365), calmar_ratio(s, annualization=365),
    #   value_at_risk(s, 0.05), conditional_value_at_risk(s, 0.05); scipy.stats: skew(s), kurtosis(s, fisher=False)
    metrics = measure(make.with_returns(WAVES))
    found = metrics.returns
    assert (found.period, found.periods, found.periods_per_year) == ("day", 100, 365)
    assert found.total_frac == pytest.approx(0.0793815694764819, rel=1e-12)
    assert found.annual_frac == pytest.approx(0.32156565418330674, rel=1e-11)
    assert found.sharpe == pytest.approx(4.144769057400546, rel=1e-11)
    assert found.sortino == pytest.approx(7.175797135725465, rel=1e-11)
    assert found.volatility_frac == pytest.approx(0.06060172753801173, rel=1e-11)
    assert found.calmar == pytest.approx(30.512786600458803, rel=1e-10)
    assert found.skewness == pytest.approx(0.007377245537852118, abs=1e-11)
    assert found.kurtosis == pytest.approx(1.9955352161148596, rel=1e-11)
    assert found.var_95_frac == pytest.approx(0.004303572045396215, rel=1e-10)
    assert found.cvar_95_frac == pytest.approx(0.004700797031504484, rel=1e-10)
    assert found.positive_frac == 0.56
    assert metrics.drawdown.max_frac == pytest.approx(0.01053871802644435, rel=1e-10)


def test_two_points_by_hand(make: Any) -> None:
    """Returns of +10 % and −10 %, no interest: mean 0, deviation √2 × 10 %, a drawdown of 10 % on the second of two days."""
    coarse = measure(make.with_equity([11_000, 9_900], step_s=DAY_S * 40), risk_free_rate=0.0)
    assert coarse.returns.sharpe is None
    assert "less often than once a day" in coarse.undefined["returns.sharpe"]
    minutes = measure(make.with_equity([11_000, 9_900], step_s=60), risk_free_rate=0.0)
    assert minutes.returns.periods == 2
    assert minutes.returns.sharpe == pytest.approx(0.0, abs=1e-10)
    assert minutes.returns.sharpe_per_period == pytest.approx(0.0, abs=1e-14)
    assert minutes.returns.volatility_frac == pytest.approx(0.1 * math.sqrt(2) * math.sqrt(365 * 24 * 60))
    assert minutes.drawdown.max_frac == pytest.approx(0.1)
    assert minutes.drawdown.peak_ns == START_NS + 60 * 10**9
    assert minutes.drawdown.trough_ns == START_NS + 120 * 10**9
    assert minutes.returns.total_frac == pytest.approx(-0.01)
    assert (minutes.returns.best_frac, minutes.returns.worst_frac) == (pytest.approx(0.1), pytest.approx(-0.1))


def test_a_geometric_brownian_motion_gives_its_own_drift_and_volatility(make: Any) -> None:
    """Ten years of days, drift 40 %, volatility 50 %: Sharpe (e^{μ/365} − 1)·365/σ within three of its standard errors."""
    days, drift, volatility = 3_650, 0.4, 0.5
    draws = np.random.default_rng(11).standard_normal(days)
    steps = (drift - volatility**2 / 2) / 365 + volatility / math.sqrt(365) * draws
    found = measure(make.with_returns(np.expm1(steps)), risk_free_rate=0.0).returns
    assert found.volatility_frac == pytest.approx(volatility, rel=3 / math.sqrt(2 * days))
    assert found.sharpe_error == pytest.approx(1 / math.sqrt(10), rel=0.02)  # one over the root of the years
    assert abs(found.sharpe - math.expm1(drift / 365) * 365 / volatility) < 3 * found.sharpe_error
    assert found.kurtosis == pytest.approx(3.0, abs=3 * math.sqrt(24 / days))
    normal_quantile = 1.6448536269514722
    assert found.var_95_frac == pytest.approx(normal_quantile * volatility / math.sqrt(365), rel=0.06)
    assert found.annual_frac == pytest.approx(math.expm1(float(steps.sum()) / 10), rel=1e-9)


@settings(deadline=None)
@given(rate=st.floats(-0.01, 0.01))
def test_constant_returns_have_no_sharpe_ratio(make: Any, rate: float) -> None:
    """A ratio to a deviation of nothing is undefined, told with its reason, and never an infinity."""
    metrics = measure(make.with_returns([rate] * 70))
    assert metrics.returns.sharpe is None
    assert metrics.returns.sharpe_error is None
    assert metrics.undefined["returns.sharpe"] == "the returns do not vary"
    assert metrics.returns.volatility_frac == pytest.approx(0.0, abs=1e-12)


def test_sharpe_is_made_of_returns_and_not_of_profit_levels(make: Any) -> None:
    """The same order of gains and losses in another sequence gives the same ratio; from levels it would not."""
    returns = [0.01, -0.005, 0.02, 0.003] * 20
    one = measure(make.with_returns(returns)).returns
    other = measure(make.with_returns(sorted(returns))).returns
    assert one.sharpe == pytest.approx(other.sharpe, rel=1e-9)


@settings(deadline=None)
@given(returns=returns_of_days, factor=st.sampled_from(["0.01", "3", "1000000"]))
def test_figures_do_not_depend_on_the_size_of_the_capital(make: Any, returns: list[float], factor: str) -> None:
    """Ratios and fractions stay when all money is multiplied; returns that differ by rounding alone have no ratio to keep."""
    assume(max(returns) == min(returns) or max(returns) - min(returns) > 1e-6)
    small = measure(make.with_returns(returns))
    large = measure(make.with_returns(returns, initial=str(Decimal(10_000) * Decimal(factor))))
    for name in ("total_frac", "sharpe", "sortino", "volatility_frac", "skewness", "var_95_frac"):
        one, two = getattr(small.returns, name), getattr(large.returns, name)
        assert (one is None) == (two is None), name
        if one is not None and name != "skewness":
            assert one == pytest.approx(two, rel=1e-6, abs=1e-6), name
    assert small.drawdown.max_frac == pytest.approx(large.drawdown.max_frac, abs=1e-9)


@settings(deadline=None)
@given(returns=returns_of_days)
def test_every_figure_is_finite_or_explained(make: Any, returns: list[float]) -> None:
    """JSON holds no NaN and no infinity, and every null of a figure has its reason."""
    metrics = measure(make.with_returns(returns))
    text = json.dumps(metrics.to_dict(), allow_nan=False)
    assert json.loads(text)["undefined"] == metrics.undefined
    for name, value in metrics.flat().items():
        if value is None:
            assert metrics.undefined[name], name


@settings(deadline=None)
@given(returns=returns_of_days)
def test_a_drawdown_is_a_fraction_and_its_times_are_in_order(make: Any, returns: list[float]) -> None:
    """0 ≤ drawdown ≤ 1, peak before trough before recovery, and as deep as the worst of all pairs of rows."""
    result = make.with_returns(returns)
    found = measure(result).drawdown
    levels = [float(result.initial_equity), *result.curve.equity_quote.tolist()]
    deepest = max((1 - levels[j] / levels[i] for i in range(len(levels)) for j in range(i, len(levels))), default=0.0)
    assert found.max_frac == pytest.approx(deepest, abs=1e-12)
    assert 0.0 <= found.max_frac <= 1.0
    if found.trough_ns is None:
        assert found.duration_s == found.longest_s == 0.0
    else:
        assert found.peak_ns < found.trough_ns
        assert found.recovery_ns is None or found.recovery_ns > found.trough_ns
        assert found.longest_s >= found.duration_s - 1e-6


def test_drawdown_times_of_a_path_made_by_hand(make: Any) -> None:
    """100 → 120 → 90 → 120 → 115: a quarter from day 1 to day 2, back on day 3, then under water to the end."""
    found = measure(make.with_equity([12_000, 9_000, 12_000, 11_500])).drawdown
    assert found.max_frac == 0.25
    days = [START_NS + day * DAY_NS for day in range(5)]
    assert (found.peak_ns, found.trough_ns, found.recovery_ns) == (days[1], days[2], days[3])
    assert found.duration_s == 2 * DAY_S
    assert found.longest_s == 2 * DAY_S
    still = measure(make.with_equity([12_000, 9_000, 11_000, 11_500])).drawdown
    assert still.recovery_ns is None
    assert still.duration_s == 3 * DAY_S


@pytest.mark.parametrize(
    ("steps", "step_s", "period", "per_year"),
    [
        (60, DAY_S, "day", 365),
        (60 * 24, 3_600, "day", 365),
        (59 * 24, 3_600, "hour", 365 * 24),
        (60 * 60, 60, "hour", 365 * 24),
        (59 * 60, 60, "minute", 365 * 24 * 60),
        (50, DAY_S, "day", 365),  # a grid of hours would be finer than the curve
    ],
)
def test_the_grid_follows_the_length_of_the_run(make: Any, steps: int, step_s: int, period: str, per_year: int) -> None:
    """Days from 60 days on, hours from 60 hours on, minutes below, and never finer than the rows."""
    result = make.with_returns([0.001, -0.0005] * (steps // 2) + [0.0] * (steps % 2), step_s=step_s)
    assert period_of(result) == period
    assert periodic_returns(result).periods_per_year == per_year


def test_a_period_that_the_run_hardly_covers_is_not_counted(make: Any) -> None:
    """A run from 06:00 has no first day; one from 00:01, as of the first close of a bar, has."""
    result = make.with_returns([0.001] * 100)
    late = make.with_returns([0.001] * 100, start_ns=START_NS + DAY_NS // 4)
    nearly = make.with_returns([0.001] * 100, start_ns=START_NS + 60 * 10**9)
    assert periodic_returns(result).values.size == periodic_returns(nearly).values.size == 100
    assert periodic_returns(late).values.size == 99


def test_days_without_a_market_are_no_periods_for_stocks(make: Any) -> None:
    """Weekends do not dilute the returns of a stock; for crypto a day without a row is a day without change."""
    levels = [10_000 * 1.001 ** (day + 1) for day in range(100)]
    weekdays = np.array([day for day in range(100) if day % 7 < 5])
    full = make.with_equity(levels)
    thin = full.curve._replace(**{name: column[weekdays] for name, column in full.curve._asdict().items()})
    stock = periodic_returns(make.with_equity(levels, curve=thin, trading_days_per_year=252))
    assert stock.values.size == weekdays.size
    assert stock.periods_per_year == 252
    assert stock.values.min() > 0
    crypto = periodic_returns(make.with_equity(levels, curve=thin))
    assert crypto.values.size == 100
    assert (crypto.values == 0).sum() == 100 - weekdays.size


def test_an_hour_of_a_stock_is_annualised_with_the_hours_that_were_traded(make: Any) -> None:
    """Seven hours a day with rows make 252 × 7 hours a year, not 252 × 24."""
    full = make.with_equity([10_000.0 + hour for hour in range(20 * 24)], step_s=3_600, trading_days_per_year=252)
    open_hours = np.array([hour for hour in range(20 * 24) if 13 <= hour % 24 < 20])
    thin = full.curve._replace(**{name: column[open_hours] for name, column in full.curve._asdict().items()})
    found = periodic_returns(make.with_equity([1.0], curve=thin, trading_days_per_year=252, end_ns=full.end_ns))
    assert found.period == "hour"
    assert found.periods_per_year == 252 * 7


def test_an_equity_of_nothing_has_no_returns(make: Any) -> None:
    """Ruin is told as such: no ratio is made from equity at or below 0, and the drawdown is whole."""
    metrics = measure(make.with_equity([9_000, 0.0, 0.0]))
    assert metrics.returns.sharpe is None
    assert "fell to 0" in metrics.undefined["returns.sharpe"]
    assert metrics.returns.total_frac == -1.0
    assert metrics.returns.annual_frac is None
    assert metrics.drawdown.max_frac == 1.0


def test_a_year_is_not_told_from_less_than_a_week(make: Any) -> None:
    """Eleven minutes have no annual return; 7 days do."""
    short = measure(make.with_returns([0.001] * 11, step_s=60))
    assert short.returns.annual_frac is None
    assert "less than 7" in short.undefined["returns.annual_frac"]
    week = measure(make.with_returns([0.001] * 7))
    assert week.returns.annual_frac == pytest.approx(1.001**365 - 1)


def test_an_annual_return_beyond_all_numbers_is_none(make: Any) -> None:
    """A week that multiplies the capital by 10^12 has no annual figure rather than an infinite one."""
    metrics = measure(make.with_equity([1e4] * 6 + [1e16]))
    assert metrics.returns.annual_frac is None
    assert metrics.undefined["returns.annual_frac"] == "too large to be a number"
    assert metrics.returns.calmar is None


def test_months_multiply_to_the_total(make: Any) -> None:
    """Calendar months and days of a run chain to its total return; midnight belongs to the day that ends."""
    result = make.with_returns(WAVES)
    starts, months = calendar_returns(result, "M")
    assert [str(np.datetime64(int(ns), "ns"))[:7] for ns in starts] == ["2024-01", "2024-02", "2024-03", "2024-04"]
    assert np.prod(1 + months) - 1 == pytest.approx(0.0793815694764819)
    assert months[0] == pytest.approx(np.prod(1 + np.array(WAVES[:31])) - 1)
    assert calendar_returns(result, "D")[1] == pytest.approx(WAVES)


def test_exposure_is_weighted_by_time(make: Any) -> None:
    """A position of 2 % of the equity for half of the time: 50 % of the time, 1 % on average."""
    fills = [make.fill(100.0, +1, "100", "2", mid="100"), make.fill(600.0, -1, "100", "2", mid="100")]
    found = measure(make.traded(fills, [(0.0, "100")], end_s=1_000.0)).exposure
    assert found.time_frac == pytest.approx(0.5)
    assert found.mean_frac == pytest.approx(0.01)
    assert found.max_frac == pytest.approx(0.02)


@pytest.mark.parametrize("rate", [math.nan, math.inf, -1.0])
def test_a_risk_free_rate_that_is_none_is_refused(make: Any, rate: float) -> None:
    """The rate is a fraction per year."""
    with pytest.raises(ConfigError, match="risk-free rate"):
        measure(make.sample(), risk_free_rate=rate)


def test_columns_that_no_engine_may_leave_behind_are_refused(make: Any) -> None:
    """NaN, disorder, unequal lengths and impossible sides would all give a figure that means nothing."""
    good = make.sample()
    curve, fills = good.curve, good.fills
    broken_equity = curve.equity_quote.copy()
    broken_equity[3] = np.nan
    cases = {
        "curve.equity_quote: row 3 is nan": {"curve": curve._replace(equity_quote=broken_equity)},
        "curve.base: expected": {"curve": curve._replace(base=curve.base[:-1])},
        "curve.ts_ns: expected times in order": {"curve": curve._replace(ts_ns=curve.ts_ns[::-1])},
        "fills.side": {"fills": fills._replace(side=np.zeros_like(fills.side))},
        "fills.price: row 0 is -": {"fills": fills._replace(price=-fills.price)},
        "end after the start": {"end_ns": good.start_ns - 1},
        "finite totals": {"fees": Decimal("NaN")},
    }
    parts = {name: getattr(good, name) for name in type(good).__dataclass_fields__}
    for message, change in cases.items():
        with pytest.raises(MarketDataError, match=message):
            measure(type(good)(**(parts | change)))
