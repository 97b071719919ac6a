"""Recorded candles, from the file to a result: the same by both engines, and after fees no gift."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import polars
import pytest

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bar_engine import run_bars
from autohedge.backtest.bars import Bars
from autohedge.backtest.ema_cross import ema_cross
from autohedge.backtest.strategies import DualMovingAverage, GridStrategy
from autohedge.domain.instrument import Instrument
from autohedge.errors import MarketDataError
from autohedge.market.candle_loading import load_candles
from autohedge.market.candles import exact
from autohedge.market.instruments import instrument as rules_of

AFTER_THE_RECORDING_NS = 1_790_000_000_000_000_000
DAYS = 10


@pytest.fixture(scope="module")
def bitcoin(recordings: Path) -> Bars:
    """The first days of the recording."""
    file = recordings / "candles_1m" / "binance_spot_BTCUSDT_1m_20250520_20250818.parquet"
    loaded = load_candles(file, now_ns=AFTER_THE_RECORDING_NS)
    bars = Bars.from_candles(rules_of("binance", "BTC/USDT"), loaded.timeframe.interval_ns, loaded.candles, source=file.name)
    assert len(bars) == 130_708 and bars.gaps == 0
    return bars.between(0, DAYS * 1_440)


def test_both_engines_agree_on_a_real_market(bitcoin: Bars) -> None:
    run = ema_cross(bitcoin)
    plain = run_bars(DualMovingAverage(), bitcoin)
    assert np.array_equal(run.result().curve.equity_quote, plain.curve.equity_quote)
    assert run.result().final_equity == plain.final_equity
    assert run.round_trips > 300
    assert plain.data["source"].startswith("binance_spot_BTCUSDT")


def test_trading_every_crossing_of_minutes_costs_more_than_it_brings(bitcoin: Bars) -> None:
    """A dual moving average pays some hundred times the commission; the loss is of that size, and it is what was paid."""
    paid = run_bars(DualMovingAverage(), bitcoin)
    free = run_bars(DualMovingAverage(), bitcoin, Assumptions.of(commission_frac=0, slippage_model="none"))
    assert paid.final_equity < Decimal(6_000)
    assert free.final_equity > paid.final_equity + paid.fees


def test_a_grid_on_a_real_market_never_fills_both_sides_of_a_bar(bitcoin: Bars) -> None:
    result = run_bars(GridStrategy(levels=10, spacing_frac="0.002"), bitcoin, Assumptions.of(participation_frac=None))
    resting = result.fills.is_maker
    bars = np.unique(np.stack([result.fills.ts_ns[resting], result.fills.side[resting]]), axis=1)[0]
    assert len(bars) == len(np.unique(bars)) > 20


def test_a_table_of_candles_becomes_bars_exactly(instrument: Instrument) -> None:
    """Without any recording: decimals in, the same ticks and lots out; off the tick is refused."""
    rows = {"ts_ns": [0, 60], "open": ["100.01", "100"], "high": ["101", "100.5"], "low": ["100", "99.99"]}
    table = polars.DataFrame(rows | {"close": ["100.5", "100.5"], "volume": ["0.0019", "7"]})
    bars = Bars.from_candles(instrument, 60, exact(table, "a table"), source="a table")
    assert bars.open_ticks.tolist() == [10_001, 10_000]
    assert bars.volume_lots.tolist() == [1, 7_000]
    odd = exact(table.with_columns(close=polars.lit("100.005")), "a table")
    with pytest.raises(MarketDataError, match="close off the tick"):
        Bars.from_candles(instrument, 60, odd, source="a table")
