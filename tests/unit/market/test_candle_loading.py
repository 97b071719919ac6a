"""Between a file and its use: everything is checked, nothing is repaired, and only what is allowed by name gets through."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candle_files import FileLayout
from autohedge.market.candle_loading import check_file, check_stored, load_candles
from autohedge.market.candle_store import CandleSeries, CandleStore
from autohedge.market.candles import Gap, gaps, in_floats
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, walk

M1, D1 = Timeframe.M1, Timeframe.D1
NOW_NS = MIDNIGHT_NS + 365 * 86_400 * 10**9


def saved(folder: Path, table: pl.DataFrame, name: str = "candles.csv") -> Path:
    path = folder / name
    in_floats(table).write_csv(path)
    return path


def test_a_sound_file_is_loaded_exactly(tmp_path: Path) -> None:
    loaded = load_candles(saved(tmp_path, walk(100)), now_ns=NOW_NS)
    assert loaded.candles.equals(walk(100))
    assert (loaded.timeframe, loaded.report.findings) == (M1, ())


def test_every_error_is_told_and_one_that_is_allowed_is_not_in_the_way(tmp_path: Path) -> None:
    path = saved(tmp_path, walk(100)[[*range(40), *range(50, 100), 99]])
    with pytest.raises(MarketDataError, match=r"candles\.csv: not fit for use: duplicate \(1, first row 91, .*; gap \(1, "):
        load_candles(path, now_ns=NOW_NS)
    with pytest.raises(MarketDataError) as refused:
        load_candles(path, now_ns=NOW_NS, allow={"gap"})
    assert "duplicate" in str(refused.value)
    assert "gap" not in str(refused.value)
    gapped = saved(tmp_path, walk(100)[[*range(40), *range(50, 100)]])
    loaded = load_candles(gapped, now_ns=NOW_NS, allow={"gap"})
    assert gaps(loaded.candles["ts_ns"], M1) == [Gap(MIDNIGHT_NS + 40 * M1.interval_ns, MIDNIGHT_NS + 50 * M1.interval_ns, 10)]
    assert [found.kind for found in loaded.report.findings] == ["gap"]


def test_a_last_candle_that_is_still_open_is_left_out_and_told(tmp_path: Path) -> None:
    loaded = load_candles(saved(tmp_path, walk(10)), now_ns=MIDNIGHT_NS + 10 * M1.interval_ns - 1)
    assert loaded.candles.equals(walk(9))
    assert [found.kind for found in loaded.report.findings] == ["unclosed"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, walk(3).clear())
    assert [found.kind for found in check_file(path, now_ns=NOW_NS).report.findings] == ["no_rows"]
    with pytest.raises(MarketDataError, match="not a single candle"):
        load_candles(path, now_ns=NOW_NS)


def test_one_candle_needs_its_timeframe_unless_the_file_is_from_a_store(tmp_path: Path) -> None:
    path = saved(tmp_path, walk(1))
    with pytest.raises(ConfigError, match="--timeframe"):
        load_candles(path, now_ns=NOW_NS)
    assert load_candles(path, now_ns=NOW_NS, timeframe=M1).candles.height == 1
    store, series = CandleStore(tmp_path / "candles"), CandleSeries("binance", "BTC/USDT", D1)
    store.merge(series, walk(1), now_ns=NOW_NS)
    assert load_candles(store.folder(series) / "2024-10.parquet", now_ns=NOW_NS).timeframe is D1


def test_days_of_an_exchange_are_named_by_their_date_whatever_the_hour_in_the_file(tmp_path: Path) -> None:
    """As data sites write them: midnight in New York, in summer and in winter."""
    path = tmp_path / "nvda.csv"
    days = ["2024-11-01 00:00:00-04:00", "2024-11-04 00:00:00-05:00", "2024-11-05 00:00:00-05:00"]
    path.write_text("Date,Open,High,Low,Close,Volume\n" + "".join(f"{day},135,137,134,136,100\n" for day in days))
    nyse, layout = TradingCalendar("XNYS"), FileLayout(timezone="America/New_York")
    loaded = load_candles(path, now_ns=NOW_NS, timeframe=D1, layout=layout, calendar=nyse)
    opens = nyse.opens(D1, *(MIDNIGHT_NS + day * D1.interval_ns for day in (28, 33)))["ts_ns"]
    assert loaded.candles["ts_ns"].to_list() == opens.to_list()
    assert loaded.report.findings == ()


def test_a_store_is_checked_by_its_own_calendar_and_spans(tmp_path: Path) -> None:
    store, series = CandleStore(tmp_path), CandleSeries("stocks", "NVDA", D1)
    week = walk(6, timeframe=D1)[[0, 3, 5]]  # Friday, Monday and Wednesday
    store.merge(series, week, now_ns=NOW_NS, calendar="XNYS")
    assert [found.kind for found in check_stored(store, series, now_ns=NOW_NS).findings] == ["gap"]
    store.merge(series, week[:0], now_ns=NOW_NS, covered=(MIDNIGHT_NS, MIDNIGHT_NS + 6 * D1.interval_ns))
    report = check_stored(store, series, now_ns=NOW_NS)
    assert ([found.kind for found in report.findings], report.ok) == (["venue_gap"], True)
