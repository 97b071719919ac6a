"""What a desk is told of bars: each figure against its definition, and nothing where there is nothing to say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import log, sqrt

import numpy as np
import pytest

from autohedge.backtest import bar_statistics as module
from autohedge.backtest.bar_statistics import BarVolatility, bar_statistics
from autohedge.backtest.strategy import History
from autohedge.domain.view import BarStatistics

MINUTE_NS = 60_000_000_000


def history(close: list[float], volume: list[float] | None = None) -> History:
    prices = np.array(close)
    volumes = np.array(volume if volume is not None else [1.0] * len(close))
    return History(MINUTE_NS * np.arange(len(close)), prices, prices + 1.0, prices - 2.0, prices, volumes)


def told(close: list[float], volume: list[float] | None = None) -> BarStatistics:
    return bar_statistics("A/B", history(close, volume), MINUTE_NS, 9, bars=len(close), volatility=0.5)


def test_the_figures_are_those_of_their_definitions() -> None:
    close = [100.0 + (7 * i) % 5 - i / 10 for i in range(30)]
    volume = [float(3 + i % 4) for i in range(30)]
    said = told(close, volume)
    assert (said.close, said.high, said.low, said.volume_base) == (close[-1], close[-1] + 1.0, close[-1] - 2.0, volume[-1])
    assert said.range_bps == pytest.approx(3.0 / close[-1] * 1e4)
    assert (said.window_high, said.window_low) == (max(close[-20:]) + 1.0, min(close[-20:]) - 2.0)
    for bars, found in ((1, said.return_1_bps), (5, said.return_5_bps), (20, said.return_20_bps)):
        assert found == pytest.approx((close[-1] / close[-1 - bars] - 1.0) * 1e4)
    path = sum(abs(after - before) for before, after in pairwise(close[-21:]))
    assert said.trend == pytest.approx((close[-1] - close[-21]) / path)
    before = np.array(volume[-21:-1])
    assert said.volume_zscore == pytest.approx((volume[-1] - before.mean()) / before.std(ddof=1))
    assert (said.closed_ns, said.as_of_ns, said.interval_s, said.bars, said.volatility) == (30 * MINUTE_NS, 9, 60.0, 30, 0.5)
    assert said.indicators is not None and said.indicators_problem == ""
    assert said.indicators.sma == pytest.approx(sum(close[-20:]) / 20)
    assert said.indicators.macd is None, "26 bars and 8 more are needed for its signal"


def test_too_few_bars_are_told_as_unknown_and_never_as_zero() -> None:
    said = told([100.0])
    assert (said.return_1_bps, said.return_5_bps, said.return_20_bps, said.trend, said.volume_zscore) == (None,) * 5
    assert said.indicators is not None
    assert {getattr(said.indicators, name) for name in said.indicators.__dataclass_fields__} == {None}
    assert told([100.0] * 20).trend is None
    assert told([100.0] * 21).trend == 0.0, "a market that stands still is known to stand still"


def test_a_trend_is_one_when_the_path_is_straight() -> None:
    assert told([100.0 + i for i in range(21)]).trend == 1.0
    assert told([100.0 - i for i in range(40)]).trend == -1.0


def test_a_volume_unlike_volumes_that_never_varied_has_no_score() -> None:
    assert told([100.0] * 21, [5.0] * 21).volume_zscore == 0.0
    assert told([100.0] * 21, [5.0] * 20 + [6.0]).volume_zscore is None


def test_without_talib_there_are_no_indicators_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = told([100.0 + i % 3 for i in range(40)])
    monkeypatch.setattr(module, "_has_talib", lambda: False)
    without = told([100.0 + i % 3 for i in range(40)])
    assert without.indicators is None and "TA-Lib" in without.indicators_problem
    assert replace(with_it, indicators=None, indicators_problem="TA-Lib is not installed") == without


# --- volatility -------------------------------------------------------------------------------------------------------------


def test_volatility_is_that_of_the_last_twenty_changes_per_hour() -> None:
    close = [100.0 * 1.001 ** ((i * i) % 7) for i in range(60)]
    measured = BarVolatility()
    for i, each in enumerate(close):
        measured.add(i * MINUTE_NS, MINUTE_NS, each)
    changes = [log(after / before) for before, after in pairwise(close)][-20:]
    assert measured.per_hour == pytest.approx(sqrt(sum(each * each for each in changes) / 20) * sqrt(60))


def test_volatility_is_unknown_before_ten_changes_and_zero_in_a_still_market() -> None:
    measured = BarVolatility()
    for i in range(10):
        measured.add(i * MINUTE_NS, MINUTE_NS, 100.0)
        assert measured.per_hour is None
    measured.add(10 * MINUTE_NS, MINUTE_NS, 100.0)
    assert measured.per_hour == 0.0


def test_a_jump_over_a_hole_is_no_change_of_one_bar() -> None:
    """A night between two sessions: the price may be elsewhere, and σ per hour is not what it moved by."""
    measured = BarVolatility()
    for i in range(30):
        measured.add((i + (1_000 if i >= 15 else 0)) * MINUTE_NS, MINUTE_NS, 100.0 if i < 15 else 200.0)
    assert measured.per_hour == 0.0
