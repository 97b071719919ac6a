"""Buckets of the UTC clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.errors import ConfigError
from autohedge.market.timeframes import Timeframe, timeframe, timeframe_of_interval


@pytest.mark.parametrize(
    ("name", "seconds"), [("1m", 60), ("5m", 300), ("15m", 900), ("1h", 3_600), ("4h", 14_400), ("1d", 86_400)]
)
def test_a_timeframe_is_named_by_its_length(name: str, seconds: int) -> None:
    assert timeframe(name).interval_ns == seconds * 10**9
    assert timeframe_of_interval(seconds * 10**9) is timeframe(name)


def test_an_unknown_timeframe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"1m, 5m, 15m, 1h, 4h, 1d, found '2m'"):
        timeframe("2m")
    assert timeframe_of_interval(120 * 10**9) is None


@given(st.integers(0, 2**61), st.sampled_from(Timeframe))
def test_a_time_lies_in_its_bucket_and_a_bucket_begins_on_its_own_grid(ts_ns: int, each: Timeframe) -> None:
    floor, ceil = each.floor_ns(ts_ns), each.ceil_ns(ts_ns)
    assert floor % each.interval_ns == ceil % each.interval_ns == 0
    assert floor <= ts_ns < floor + each.interval_ns
    assert ceil - each.interval_ns < ts_ns <= ceil


def test_days_begin_at_midnight_utc() -> None:
    midnight_ns = 1_723_161_600 * 10**9  # 2024-08-09T00:00:00Z
    assert Timeframe.D1.floor_ns(midnight_ns - 1) == midnight_ns - 86_400 * 10**9
    assert Timeframe.H4.floor_ns(midnight_ns + 1) == midnight_ns
