"""Real candles: the exchange's own from its own trades, three months without a fault, and back from the store as they were."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, Trade
from autohedge.market.candle_check import check_candles
from autohedge.market.candle_files import FileLayout, read_candle_file
from autohedge.market.candle_loading import check_file, check_stored, load_candles
from autohedge.market.candle_store import CandleSeries, CandleStore, Merged
from autohedge.market.candles import PRICES, VALUES, aggregate, candles_from_trades, candles_of_feed, in_floats
from autohedge.market.recordings import open_replay
from autohedge.market.timeframes import Timeframe

M1, H1, D1 = Timeframe.M1, Timeframe.H1, Timeframe.D1
NOW_NS = 1_760_000_000 * 10**9
ROWS = 130_708


def test_candles_of_the_recorded_trades_are_the_exchanges_own(folder: Path, events: list[MarketEvent], btc: Instrument) -> None:
    oracle = load_candles(folder / "oracle" / "spot_btcusdt_1m_candles_independent.csv", now_ns=NOW_NS, timeframe=M1)
    rebuilt = candles_from_trades((event for event in events if isinstance(event, Trade)), btc, M1)
    assert rebuilt.height == 10
    assert rebuilt.equals(oracle.candles)
    five = candles_from_trades((event for event in events if isinstance(event, Trade)), btc, Timeframe.M5)
    assert five.equals(aggregate(oracle.candles, M1, Timeframe.M5))
    assert five.height == 2


async def test_a_feed_gives_the_same_candles(folder: Path, btc: Instrument) -> None:
    parquet = folder / "spot_btcusdt_events.parquet"
    oracle = load_candles(folder / "oracle" / "spot_btcusdt_1m_candles_independent.csv", now_ns=NOW_NS, timeframe=M1)
    assert (await candles_of_feed(open_replay(parquet, "BTC/USDT", btc), M1)).equals(oracle.candles)


@pytest.fixture(scope="module", params=["BTC", "ETH"])
def months(request: pytest.FixtureRequest, recordings: Path) -> Path:
    """Three months of minutes of one symbol."""
    path = recordings / "candles_1m" / f"binance_spot_{request.param}USDT_1m_20250520_20250818.parquet"
    if not path.is_file():
        pytest.skip(f"{recordings} has no recorded candles")
    return path


def test_three_real_months_have_no_fault_and_no_oddity(months: Path) -> None:
    report = check_file(months, now_ns=NOW_NS).report
    assert (report.what, report.rows, report.findings) == ("candles 1m", ROWS, ())


def test_one_fault_in_three_real_months_is_found(months: Path) -> None:
    rows = read_candle_file(months, FileLayout())
    row = pl.int_range(pl.len())
    faulty = rows.filter(row != 100_000).with_columns(
        pl.when(row.is_between(20_000, 30_000)).then(pl.col(name) * 100).otherwise(name).alias(name) for name in PRICES
    )
    found = check_candles(faulty, source="test", now_ns=NOW_NS).findings
    assert [(each.kind, each.count) for each in found] == [("gap", 1), ("price_unit", 10_001)]


def test_real_candles_come_back_from_the_store_as_they_were(months: Path, tmp_path: Path) -> None:
    store, series = CandleStore(tmp_path), CandleSeries("binance", "BTC/USDT", M1)
    loaded = load_candles(months, now_ns=NOW_NS)
    assert store.merge(series, loaded.candles, now_ns=NOW_NS) == Merged(added=ROWS)
    assert store.merge(series, loaded.candles, now_ns=NOW_NS) == Merged(same=ROWS)
    back = store.read(series)
    assert back.equals(loaded.candles)
    assert in_floats(back).select(VALUES).equals(pl.read_parquet(months).select(VALUES))
    months_there = sorted(path.stem for path in store.folder(series).glob("*.parquet"))
    assert months_there == ["2025-05", "2025-06", "2025-07", "2025-08"]
    assert check_stored(store, series, now_ns=NOW_NS).findings == ()


def test_real_hours_and_days_hold_what_their_minutes_hold(months: Path) -> None:
    minutes = load_candles(months, now_ns=NOW_NS).candles
    hours, days = aggregate(minutes, M1, H1), aggregate(minutes, M1, D1)
    assert (hours.height, days.height) == (ROWS // 60, ROWS // 1_440)
    assert hours["volume"].sum() == minutes["volume"][: ROWS // 60 * 60].sum()
    assert days["high"].max() == minutes["high"][: days.height * 1_440].max()
    assert check_candles(hours, source="test", now_ns=NOW_NS).findings == ()
