"""The exact table of candles: conversion, aggregation, gaps, what is known when, and candles made of trades."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, Trade
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.candles import (
    COLUMNS,
    SCHEMA,
    VALUES,
    Gap,
    aggregate,
    candles_from_trades,
    exact,
    gaps,
    in_floats,
    known_at,
    no_candles,
    require_candles,
)
from autohedge.market.instruments import simulated_instrument
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, changed, walk

M1, M5, H1, D1 = Timeframe.M1, Timeframe.M5, Timeframe.H1, Timeframe.D1


# --- exact ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.decimals("0.00000001", 99_999_999, places=8), min_size=1, max_size=20))
def test_texts_and_floats_keep_every_digit(values: list[Decimal]) -> None:
    """A float is taken by its shortest form, so a price that a venue can send comes back as it was sent."""
    texts = pl.DataFrame({"ts_ns": range(len(values)), **{name: [f"{value:f}" for value in values] for name in VALUES}})
    assert exact(texts, "test")["close"].to_list() == values
    floats = texts.with_columns(pl.col(VALUES).cast(pl.Float64))
    short = [Decimal(repr(float(value))) for value in values]
    assert exact(floats, "test")["close"].to_list() == short


@pytest.mark.parametrize("value", ["", "abc", "NaN", "inf", "1e17", "0.0000000000000000001", "1e-19", "0,5", None])
def test_a_value_that_would_be_lost_is_refused_with_its_row(value: str | None) -> None:
    table = changed(walk(3).cast(dict.fromkeys(VALUES, pl.String)), 1, low=value)
    with pytest.raises(MarketDataError, match=r"file\.csv: .*found low .* in row 2"):
        exact(table, "file.csv")


def test_columns_that_are_missing_are_named() -> None:
    with pytest.raises(MarketDataError, match="high, volume is missing"):
        exact(walk(3).drop("high", "volume"), "file.csv")


def test_floats_are_the_nearest_ones() -> None:
    table = walk(50)
    for name in VALUES:
        assert in_floats(table)[name].to_list() == [float(value) for value in table[name]]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (walk(5).reverse(), "in order"),
        (pl.concat([walk(5), walk(5).tail(1)]), "none twice"),
        (walk(5, start_ns=MIDNIGHT_NS + 1), "whole 1m buckets"),
        (in_floats(walk(5)), "expected candles with"),
        (changed(walk(5), 2, low=None), "a value in every cell"),
    ],
    ids=["unordered", "twice", "off the grid", "floats", "empty cell"],
)
def test_whoever_needs_sound_candles_refuses_others(table: pl.DataFrame, why: str) -> None:
    with pytest.raises(MarketDataError, match=why):
        require_candles(table, M1, "test")


# --- what is known when ---------------------------------------------------------------------------------------------------


def test_a_candle_is_known_from_its_close_on() -> None:
    table = walk(10)
    third_close_ns = MIDNIGHT_NS + 3 * M1.interval_ns
    assert known_at(table, M1, third_close_ns - 1).height == 2
    assert known_at(table, M1, third_close_ns).equals(table.head(3))
    assert known_at(table, M1, 0).is_empty()


# --- gaps -----------------------------------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 60), min_size=1))
def test_gaps_are_exactly_the_minutes_that_are_not_there(present: set[int]) -> None:
    opens = [MIDNIGHT_NS + minute * M1.interval_ns for minute in sorted(present)]
    found = gaps(pl.Series(opens, dtype=pl.Int64), M1)
    missing = {(at - MIDNIGHT_NS) // M1.interval_ns for gap in found for at in range(gap.start_ns, gap.end_ns, M1.interval_ns)}
    assert missing == set(range(min(present), max(present))) - present
    assert sum(gap.missing for gap in found) == len(missing)
    assert all(gap.end_ns in opens for gap in found)


def test_nothing_and_one_candle_have_no_gap() -> None:
    assert gaps(no_candles()["ts_ns"], M1) == gaps(walk(1)["ts_ns"], M1) == []


# --- aggregation ----------------------------------------------------------------------------------------------------------


def by_hand(table: pl.DataFrame, step_ns: int) -> dict[int, list[Any]]:
    """Buckets as open, high, low, close, volume and number of candles, one candle at a time."""
    buckets: dict[int, list[Any]] = defaultdict(list)
    for ts_ns, opened, high, low, close, volume in table.rows():
        bucket = buckets[ts_ns // step_ns * step_ns]
        if not bucket:
            bucket[:] = [opened, high, low, close, volume, 1]
        else:
            bucket[:] = [bucket[0], max(bucket[1], high), min(bucket[2], low), close, bucket[4] + volume, bucket[5] + 1]
    return buckets


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 400), st.integers(0, 200), st.floats(0, 0.2))
def test_longer_candles_are_exactly_what_their_minutes_say(seed: int, count: int, offset: int, dropped: float) -> None:
    table = walk(count, start_ns=MIDNIGHT_NS + offset * M1.interval_ns, seed=seed)
    table = table.sample(fraction=1 - dropped, seed=seed).sort("ts_ns")
    for target in (M5, H1):
        expected = by_hand(table, target.interval_ns)
        ratio = target.interval_ns // M1.interval_ns
        whole = aggregate(table, M1, target, partial=True)
        assert whole.columns == [*COLUMNS, "complete"]
        assert {row[0]: list(row[1:6]) for row in whole.rows()} == {at: values[:5] for at, values in expected.items()}
        assert whole["complete"].to_list() == [values[5] == ratio for values in expected.values()]
        assert aggregate(table, M1, target).equals(whole.filter("complete").drop("complete"))


def test_only_complete_buckets_unless_asked() -> None:
    table = walk(10, start_ns=MIDNIGHT_NS + 3 * M1.interval_ns)
    assert aggregate(table, M1, M5)["ts_ns"].to_list() == [MIDNIGHT_NS + 5 * M1.interval_ns]
    assert aggregate(table, M1, M5, partial=True)["complete"].to_list() == [False, True, False]


def test_a_bucket_with_a_hole_is_not_complete_and_never_filled() -> None:
    table = walk(10).with_row_index().filter(pl.col("index") != 3).drop("index")
    assert aggregate(table, M1, M5)["ts_ns"].to_list() == [MIDNIGHT_NS + 5 * M1.interval_ns]


def test_aggregation_in_two_steps_is_aggregation_in_one() -> None:
    table = walk(2 * 1_440)
    twice = aggregate(aggregate(table, M1, H1), H1, D1)
    assert twice.equals(aggregate(table, M1, D1))
    assert twice.height == 2
    assert aggregate(table, M1, M1).equals(table)


def test_a_shorter_or_uneven_target_and_disorder_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot make 1m candles of 5m"):
        aggregate(walk(5, timeframe=M5), M5, M1)
    with pytest.raises(MarketDataError, match="in order"):
        aggregate(walk(5).reverse(), M1, M5)


def test_a_sum_that_would_overflow_is_refused() -> None:
    """The library would wrap around without a word."""
    table = changed(walk(1_440), 700, volume=Decimal(99_999_999_999_999_999))
    with pytest.raises(MarketDataError, match="too large to be added up exactly"):
        aggregate(table, M1, D1)
    assert aggregate(table, M1, M5).height == 288


def test_no_candles_are_no_candles_however_long() -> None:
    assert aggregate(no_candles(), M1, D1).schema == SCHEMA
    assert aggregate(no_candles(), M1, D1).is_empty()


# --- trades ---------------------------------------------------------------------------------------------------------------


def trade(second: float, ticks: int, lots: int) -> Trade:
    at_ns = MIDNIGHT_NS + round(second * 1e9)
    return Trade(at_ns, at_ns + 5, round(second * 1_000), ticks, lots, BUY)


def test_candles_of_trades_are_exact_and_leave_out_what_may_be_incomplete() -> None:
    instrument = simulated_instrument("BTC/USDT")
    trades = [trade(10, 100, 1), trade(60, 7, 1), trade(61, 9, 2), trade(90, 5, 3), trade(119.999, 8, 4), trade(120, 50, 1)]
    table = candles_from_trades(trades, instrument, M1)
    assert table.rows() == [(MIDNIGHT_NS + 60 * 10**9, *(Decimal(each) for each in ("0.07", "0.09", "0.05", "0.08", "0.0010")))]
    assert table.schema == SCHEMA
    whole = candles_from_trades(trades, instrument, M1, partial=True)
    assert whole["complete"].to_list() == [False, True, False]


def test_a_minute_without_a_trade_is_no_candle() -> None:
    trades = [trade(second, 100, 1) for second in (0, 70, 200, 250)]
    table = candles_from_trades(trades, simulated_instrument("BTC/USDT"), M1)
    assert [(at - MIDNIGHT_NS) // M1.interval_ns for at in table["ts_ns"]] == [1, 3]
    assert gaps(table["ts_ns"], M1) == [Gap(MIDNIGHT_NS + 2 * M1.interval_ns, MIDNIGHT_NS + 3 * M1.interval_ns, 1)]


def test_the_time_of_a_trade_is_the_venues_and_that_of_receipt_where_it_gives_none() -> None:
    late = Trade(0, MIDNIGHT_NS + 70 * 10**9, 1, 100, 1, BUY)
    table = candles_from_trades([trade(0, 1, 1), late, trade(130, 1, 1)], simulated_instrument("A/B"), M1)
    assert table["ts_ns"].to_list() == [MIDNIGHT_NS + 60 * 10**9]


def test_no_trades_are_no_candles_and_numbers_that_do_not_fit_are_refused() -> None:
    instrument = simulated_instrument("BTC/USDT")
    assert candles_from_trades([], instrument, M1).is_empty()
    coarse: Instrument = replace(instrument, tick_size=Decimal("1e6"))
    with pytest.raises(MarketDataError, match="too large"):
        candles_from_trades([trade(0, 2**53, 1)], coarse, M1)


def test_without_polars_the_error_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['polars'] = None\nimport autohedge.market.candles"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError: candles need polars" in done.stderr
    assert "autohedge[parquet]" in done.stderr
