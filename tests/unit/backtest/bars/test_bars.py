"""Bars: exact conversions, and every kind of bad bar refused by its name, with its row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.backtest.bars import Bars, in_units
from autohedge.domain.instrument import Instrument
from autohedge.errors import MarketDataError

MINUTE_NS = 60_000_000_000
GOOD: dict[str, list[Any]] = {
    "ts_ns": [MINUTE_NS * row for row in range(10, 14)],
    "open": [100.0, 101.0, 100.5, 100.1],
    "high": [101.0, 102.0, 101.0, 100.9],
    "low": [99.5, 100.0, 100.0, 100.0],
    "close": [101.0, 100.5, 100.1, 100.9],
    "volume": [1.0, 2.5, 0.0, 0.0019],
}


@pytest.fixture
def make(instrument: Instrument) -> Callable[..., Bars]:
    """The good bars with some columns changed."""

    def bars(interval_ns: int = MINUTE_NS, **changed: Any) -> Bars:
        options = {name: changed.pop(name) for name in ("tolerance_ticks", "source") if name in changed}
        return Bars.from_prices(instrument, interval_ns, **(GOOD | changed), **options)

    return bars


def test_prices_become_ticks_and_volumes_whole_lots(make: Callable[..., Bars]) -> None:
    """A volume is rounded down: there is no more to be had than there was."""
    bars = make()
    assert bars.open_ticks.tolist() == [10_000, 10_100, 10_050, 10_010]
    assert bars.low_ticks.tolist() == [9_950, 10_000, 10_000, 10_000]
    assert bars.volume_lots.tolist() == [1_000, 2_500, 0, 1]
    assert bars.close.tolist() == GOOD["close"]
    assert bars.end_ns == 14 * MINUTE_NS
    assert len(bars) == 4 and bars.gaps == 0


def test_decimals_give_the_same_bars_as_floats(make: Callable[..., Bars]) -> None:
    exact = {name: [Decimal(repr(value)) for value in GOOD[name]] for name in GOOD if name != "ts_ns"}
    bars = make(**exact)
    assert bars.fingerprint == make().fingerprint


@given(ticks=st.lists(st.integers(1, 10**9), min_size=1, max_size=20), places=st.integers(0, 8), half=st.booleans())
def test_every_price_survives_as_a_float(ticks: list[int], places: int, half: bool) -> None:
    """Ticks → the float a person would write → the same ticks, for ticks like 0.01 and like 0.25."""
    tick = Decimal(25 if half else 1).scaleb(-places)
    instrument = Instrument("A/B", "A", "B", tick, Decimal(1), Decimal(1), Decimal(9), Decimal(0), None, "sim", "test")
    prices = in_units(np.array(ticks), tick)
    assert prices.tolist() == [float(tick * each) for each in ticks]
    rows = range(1, len(ticks) + 1)
    bars = Bars.from_prices(
        instrument, 1, ts_ns=list(rows), open=prices, high=prices, low=prices, close=prices, volume=np.zeros(len(ticks))
    )
    assert bars.close_ticks.tolist() == ticks


def test_columns_cannot_be_changed(make: Callable[..., Bars]) -> None:
    bars = make()
    for column in (bars.ts_ns, bars.close_ticks, bars.volume_lots, bars.close, bars.close_ns):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_a_gap_is_allowed_and_counted(make: Callable[..., Bars]) -> None:
    bars = make(ts_ns=[MINUTE_NS * row for row in (10, 11, 20, 21)])
    assert bars.described()["gaps"] == 1


def test_a_part_is_the_same_bars(make: Callable[..., Bars]) -> None:
    part = make().between(1, 3)
    assert part.close_ticks.tolist() == [10_050, 10_010]
    with pytest.raises(MarketDataError, match="at least one bar"):
        part.between(2, 2)


def test_the_fingerprint_tells_one_tick_apart(make: Callable[..., Bars]) -> None:
    other = make(close=[101.0, 100.5, 100.1, 100.89])
    assert other.fingerprint != make().fingerprint
    assert make(source="elsewhere").fingerprint == make().fingerprint
    assert replace(make(), interval_ns=MINUTE_NS - 1).fingerprint != make().fingerprint


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"close": [101.0, float("nan"), 100.1, 100.9]}, r"bar 1: close not a finite number"),
        ({"volume": [1.0, 2.0, float("inf"), 1.0]}, r"bar 2: volume not a finite number"),
        ({"open": [100.0, 0.0, 100.5, 100.1]}, r"bar 1: open not a positive price"),
        ({"low": [-99.5, 100.0, 100.0, 100.0]}, r"bar 0: low not a positive price"),
        ({"high": [101.0, 102.0, 99.0, 100.9]}, r"bar 2: high below low"),
        ({"open": [100.0, 102.5, 100.5, 100.1]}, r"bar 1: open outside low … high"),
        ({"close": [101.0, 100.5, 99.9, 99.0]}, r"bar 2: close outside low … high: 9990; 2 such bars"),
        ({"volume": [1.0, -2.0, 0.0, 1.0]}, r"bar 1: a negative volume"),
        ({"close": [101.0, 100.505, 100.1, 100.9]}, r"bar 1: close off the tick 0.01: 100.505"),
        ({"close": [101.0, 1e19, 100.1, 100.9]}, r"bar 1: close too large to be exact"),
        (
            {"ts_ns": [10 * MINUTE_NS, 11 * MINUTE_NS, 11 * MINUTE_NS, 12 * MINUTE_NS]},
            r"bar 2: the time of the bar before again",
        ),
        ({"ts_ns": [10 * MINUTE_NS, 12 * MINUTE_NS, 11 * MINUTE_NS, 13 * MINUTE_NS]}, r"bar 2: a time before that"),
        ({"ts_ns": [600_000, 660_000, 720_000, 780_000]}, r"bar 1: begun before .*nanoseconds\?.*3 such bars"),
        ({"ts_ns": [-1, 0, MINUTE_NS, 2 * MINUTE_NS]}, r"bar 0: a time before 1970"),
        ({"ts_ns": [0.5, 1.5, 2.5, 3.5]}, r"whole nanoseconds"),
        ({"volume": [1.0]}, r"columns of one length.*volume_lots 1"),
        ({"close": ["a", "b", "c", "d"]}, r"close as numbers"),
        ({"close": [Decimal(101), Decimal("NaN"), Decimal(100), Decimal(100)]}, r"bar 1: close not a finite Decimal"),
        ({"close": [Decimal(101), Decimal("100.505"), Decimal(100), Decimal(100)]}, r"bar 1: close off the tick 0.01: 100.505"),
        ({"interval_ns": 0}, r"positive bar interval"),
    ],
)
def test_what_cannot_be_traded_on_is_refused(make: Callable[..., Bars], changed: dict[str, Any], told: str) -> None:
    with pytest.raises(MarketDataError, match=told):
        make(**changed)


def test_no_bars_are_refused(make: Callable[..., Bars]) -> None:
    with pytest.raises(MarketDataError, match="at least one bar"):
        make(**{name: [] for name in GOOD if name != "ts_ns"}, ts_ns=np.empty(0, np.int64))


def test_adjusted_prices_are_rounded_when_told_to(make: Callable[..., Bars]) -> None:
    adjusted = {"close": [101.0, 100.5049, 100.1, 100.9]}
    with pytest.raises(MarketDataError, match="off the tick"):
        make(**adjusted)
    assert make(**adjusted, tolerance_ticks=0.5).close_ticks[1] == 10_050
