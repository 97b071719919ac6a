"""Indicators against their definitions, written out here one candle at a time; and that none of them sees the future."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.candles import in_floats, no_candles
from autohedge.market.indicators import NAMES, IndicatorPeriods, Indicators, indicator_table, indicators_at
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, changed, walk

M1 = Timeframe.M1
STEP_NS = M1.interval_ns
Line = list[float | None]

TABLE = walk(150)
HIGH, LOW, CLOSE, VOLUME = (in_floats(TABLE)[name].to_list() for name in ("high", "low", "close", "volume"))


# --- definitions ----------------------------------------------------------------------------------------------------------


def each_window(values: list[float], n: int, of: Callable[[list[float]], float]) -> Line:
    return [None] * (n - 1) + [of(values[end - n : end]) for end in range(n, len(values) + 1)]


def sma(values: list[float], n: int) -> Line:
    return each_window(values, n, statistics.fmean)


def ema(values: list[float], n: int, first: int = 0) -> Line:
    """Seeded with the mean of the first `n` values from `first` on; then a step of 2/(n+1) towards each new one."""
    out: Line = [None] * (first + n - 1)
    now = statistics.fmean(values[first : first + n])
    out.append(now)
    for value in values[first + n :]:
        now += (value - now) * 2 / (n + 1)
        out.append(now)
    return out


def wilder(values: list[float], n: int) -> list[float]:
    """Wilder's average: the mean of the first `n`, then a step of 1/n towards each new one."""
    now = statistics.fmean(values[:n])
    out = [now]
    for value in values[n:]:
        now = (now * (n - 1) + value) / n
        out.append(now)
    return out


def macd() -> tuple[Line, Line, Line]:
    """12/26/9; the fast average is seeded where it ends together with the slow one, as TA-Lib defines it."""
    fast, slow = ema(CLOSE, 12, 26 - 12), ema(CLOSE, 26)
    difference = [a - b for a, b in zip(fast, slow, strict=True) if a is not None and b is not None]
    signal = [*[None] * 25, *ema(difference, 9)]
    shown = [None if line is None else value for value, line in zip([*[None] * 25, *difference], signal, strict=True)]
    histogram = [None if a is None or b is None else a - b for a, b in zip(shown, signal, strict=True)]
    return shown, signal, histogram


def rsi(n: int = 14) -> Line:
    steps = [now - before for before, now in pairwise(CLOSE)]
    ups, downs = wilder([max(0.0, step) for step in steps], n), wilder([max(0.0, -step) for step in steps], n)
    return [*[None] * n, *(100 * up / (up + down) for up, down in zip(ups, downs, strict=True))]


def true_ranges() -> list[float]:
    rest = zip(HIGH[1:], LOW[1:], CLOSE, strict=False)
    return [max(high, before) - min(low, before) for high, low, before in rest]


def atr(n: int = 14) -> Line:
    return [*[None] * n, *wilder(true_ranges(), n)]


def adx(n: int = 14) -> Line:
    """Wilder 1978: sums of n − 1 steps first, each then decayed by 1/n; of n DX values the mean, then Wilder's average."""
    plus, minus = [], []
    for at in range(1, len(HIGH)):
        up, down = HIGH[at] - HIGH[at - 1], LOW[at - 1] - LOW[at]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
    ranges = true_ranges()
    sums = [sum(values[: n - 1]) for values in (ranges, plus, minus)]
    dx = []
    for at in range(n - 1, len(ranges)):
        sums = [total - total / n + values[at] for total, values in zip(sums, (ranges, plus, minus), strict=True)]
        plus_di, minus_di = sums[1] / sums[0], sums[2] / sums[0]
        dx.append(100 * abs(plus_di - minus_di) / (plus_di + minus_di))
    return [*[None] * (2 * n - 1), *wilder(dx, n)]


def stochastic(n: int = 14, smooth: int = 3) -> tuple[Line, Line]:
    raw = []
    for at in range(n - 1, len(CLOSE)):
        top, bottom = max(HIGH[at - n + 1 : at + 1]), min(LOW[at - n + 1 : at + 1])
        raw.append(100 * (CLOSE[at] - bottom) / (top - bottom))
    k = [value for value in sma(raw, smooth) if value is not None]
    d = [value for value in sma(k, smooth) if value is not None]
    begins = n - 1 + 2 * (smooth - 1)
    return [*[None] * begins, *k[smooth - 1 :]], [*[None] * begins, *d]


def obv() -> Line:
    now, out = VOLUME[0], [VOLUME[0]]
    for before, close, volume in zip(CLOSE, CLOSE[1:], VOLUME[1:], strict=False):
        now += volume if close > before else -volume if close < before else 0.0
        out.append(now)
    return list(out)


def bollinger(sign: int) -> Line:
    return each_window(CLOSE, 20, lambda window: statistics.fmean(window) + sign * 2 * statistics.pstdev(window))


DEFINITIONS: dict[str, Callable[[], Line]] = {
    "sma": lambda: sma(CLOSE, 20),
    "ema": lambda: ema(CLOSE, 20),
    "macd": lambda: macd()[0],
    "macd_signal": lambda: macd()[1],
    "macd_histogram": lambda: macd()[2],
    "rsi": rsi,
    "bollinger_upper": lambda: bollinger(1),
    "bollinger_middle": lambda: bollinger(0),
    "bollinger_lower": lambda: bollinger(-1),
    "atr": atr,
    "adx": adx,
    "stochastic_k": lambda: stochastic()[0],
    "stochastic_d": lambda: stochastic()[1],
    "obv": obv,
}


@pytest.mark.parametrize("name", NAMES)
def test_an_indicator_is_what_its_definition_says_at_every_candle(name: str) -> None:
    found = indicator_table(TABLE)[name].to_list()
    expected = DEFINITIONS[name]()
    assert [value is None for value in found] == [value is None for value in expected]
    for at, (value, wanted) in enumerate(zip(found, expected, strict=True)):
        if wanted is not None:
            assert value == pytest.approx(wanted, rel=1e-9, abs=1e-9), f"candle {at}"


def test_other_periods_are_obeyed() -> None:
    periods = IndicatorPeriods(sma=3, ema=7, bollinger=5, bollinger_width=1.0, stochastic=5, stochastic_smooth=2)
    table = indicator_table(TABLE, periods)
    assert table["sma"].to_list() == pytest.approx(sma(CLOSE, 3))
    assert table["ema"].to_list() == pytest.approx(ema(CLOSE, 7))
    assert table["stochastic_d"].to_list() == pytest.approx(stochastic(5, 2)[1])
    width = (table["bollinger_upper"] - table["bollinger_middle"]).drop_nulls().to_list()
    assert width == pytest.approx([statistics.pstdev(CLOSE[end - 5 : end]) for end in range(5, 151)], abs=1e-9)


# --- as of a time ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), known=st.integers(1, 149), ahead_ns=st.integers(0, STEP_NS - 1))
def test_a_value_known_then_is_the_value_of_the_whole_record_at_that_candle(seed: int, known: int, ahead_ns: int) -> None:
    """Bit for bit: what comes later changes nothing that was known before."""
    table = walk(150, seed=seed)
    now_ns = MIDNIGHT_NS + known * STEP_NS + ahead_ns
    found = indicators_at(table, M1, now_ns)
    whole = indicator_table(table).row(known - 1, named=True)
    assert (found.as_of_ns, found.ts_ns, found.candles) == (now_ns, MIDNIGHT_NS + (known - 1) * STEP_NS, known)
    assert {name: getattr(found, name) for name in NAMES} == {name: whole[name] for name in NAMES}
    assert found == indicators_at(table[:known], M1, now_ns)


@settings(max_examples=20, deadline=None)
@given(known=st.integers(1, 148), planted=st.decimals("0.01", 99_999, places=2))
def test_a_planted_future_value_changes_nothing(known: int, planted: Decimal) -> None:
    now_ns = MIDNIGHT_NS + known * STEP_NS
    future = changed(TABLE, known, open=planted, high=planted, low=planted, close=planted, volume=planted)
    assert indicators_at(future, M1, now_ns) == indicators_at(TABLE, M1, now_ns)
    if known < 149:
        assert indicators_at(future, M1, now_ns + STEP_NS).close == float(planted)


def test_the_candle_that_is_still_open_is_not_looked_at() -> None:
    now_ns = MIDNIGHT_NS + 100 * STEP_NS - 1
    assert indicators_at(TABLE, M1, now_ns) == indicators_at(TABLE[:99], M1, now_ns)


@pytest.mark.parametrize("count", [1, 2, 13, 14, 19, 25])
def test_while_it_is_too_early_there_is_none_and_never_zero(count: int) -> None:
    found = indicators_at(walk(count), M1, MIDNIGHT_NS + count * STEP_NS)
    for name, definition in DEFINITIONS.items():
        value = getattr(found, name)
        if definition()[count - 1] is None:
            assert value is None, name
        else:
            assert value is not None, name
            assert math.isfinite(value)


def test_a_market_that_does_not_move_is_not_oversold() -> None:
    """0 ÷ 0 is no number; the library says 0, which a reader takes for a bargain."""
    still = pl.int_range(pl.len()) < 40
    prices = ("open", "high", "low", "close")
    table = indicator_table(
        in_floats(TABLE).with_columns(pl.when(still).then(100.0).otherwise(name).alias(name) for name in prices)
    )
    assert table["rsi"][:40].null_count() == table["stochastic_k"][:40].null_count() == 40
    assert table["rsi"][40:].null_count() == 0
    assert table["stochastic_k"][42:].null_count() == 0
    assert (table["stochastic_k"][:42].null_count(), table["stochastic_d"][:44].null_count()) == (42, 44)
    assert table["stochastic_d"][44:].null_count() == 0


def test_without_a_closed_candle_all_is_none() -> None:
    nothing = Indicators(MIDNIGHT_NS, None, 0)
    assert indicators_at(TABLE, M1, MIDNIGHT_NS) == indicators_at(no_candles(), M1, MIDNIGHT_NS) == nothing
    assert all(getattr(nothing, name) is None for name in NAMES)
    assert indicator_table(no_candles()).is_empty()


# --- refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"close": float("nan")},
        {"high": float("inf")},
        {"volume": float("nan")},
        {"volume": -1.0},
        {"low": 0.0},
        {"open": None},
    ],
    ids=str,
)
def test_one_bad_value_is_refused_because_it_would_poison_all_that_follows(change: dict[str, Any]) -> None:
    with pytest.raises(MarketDataError, match=r"positive finite prices and volumes, found .* in row 41"):
        indicator_table(changed(TABLE, 40, **change))


def test_disorder_and_missing_columns_are_refused() -> None:
    with pytest.raises(MarketDataError, match="in order of time and none twice"):
        indicator_table(pl.concat([TABLE, TABLE.tail(1)]))
    with pytest.raises(MarketDataError, match="volume is missing"):
        indicator_table(TABLE.drop("volume"))


@pytest.mark.parametrize(
    "periods", [{"sma": 1}, {"rsi": 0}, {"ema": 10_001}, {"atr": 2.5}, {"bollinger_width": 0.0}, {"macd_fast": 26}], ids=str
)
def test_lengths_that_no_indicator_can_have_are_refused(periods: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(periods))):
        IndicatorPeriods(**periods)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "talib", None)
    with pytest.raises(ConfigError, match=r"pip install 'autohedge\[indicators\]'"):
        indicator_table(TABLE)
