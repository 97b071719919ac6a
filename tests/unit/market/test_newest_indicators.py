"""The newest indicators are the last row of the table, at every length and also where a value is 0 ÷ 0."""

from __future__ import annotations

import polars as pl
import pytest

from autohedge.market.candles import in_floats
from autohedge.market.indicators import NAMES, IndicatorPeriods, indicator_table, newest_indicators
from tests.unit.market.candle_tables import walk

PERIODS = IndicatorPeriods(
    sma=5, ema=4, macd_fast=3, macd_slow=6, macd_signal=3, rsi=4, bollinger=5, atr=4, adx=3, stochastic=4
)


def newest(table: pl.DataFrame, periods: IndicatorPeriods) -> dict[str, float | None]:
    columns = (in_floats(table)[name].to_numpy() for name in ("high", "low", "close", "volume"))
    return newest_indicators(*columns, periods)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13, 40, 150])
def test_they_are_the_last_row_of_the_table(count: int) -> None:
    """Warm-up included: what the table does not know yet is None here too."""
    table = walk(count)
    for periods in (IndicatorPeriods(), PERIODS):
        last = indicator_table(table, periods).row(-1, named=True)
        found = newest(table, periods)
        assert found == pytest.approx({name: last[name] for name in NAMES}, nan_ok=False)
        assert set(found) == set(NAMES)


@pytest.mark.parametrize("flat", [3, 6, 9, 30])
def test_a_market_that_stands_still_has_no_oscillators(flat: int) -> None:
    """After some movement, and from the beginning: 0 ÷ 0 is None, not oversold."""
    moving = walk(20)
    close = moving["close"][-1]
    still = walk(flat, start_ns=int(moving["ts_ns"][-1]) + 60_000_000_000).with_columns(
        pl.lit(close, moving.schema["close"]).alias(name) for name in ("open", "high", "low", "close")
    )
    for table in (still, pl.concat([moving, still])):
        last = indicator_table(table, PERIODS).row(-1, named=True)
        assert newest(table, PERIODS) == pytest.approx({name: last[name] for name in NAMES})
    assert newest(still, PERIODS)["rsi"] is None
