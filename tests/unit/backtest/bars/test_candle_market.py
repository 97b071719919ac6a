"""From a file or a store of candles to a market: whose rules, which hours, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from autohedge.backtest.candle_market import CandleMarket, read_candle_market
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candle_store import CandleSeries, CandleStore
from autohedge.market.candles import in_floats
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, changed, walk

NOW_NS = 1_790_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


def saved(folder: Path, table: pl.DataFrame, name: str = "candles.csv") -> Path:
    path = folder / name
    table.write_csv(path)
    return path


def read(path: Path, symbol: str, **options: bool) -> CandleMarket:
    return read_candle_market(path, symbol, now_ns=NOW_NS, **options)


def in_session(timeframe: Timeframe, start_ns: int, end_ns: int) -> pl.DataFrame:
    """A walk with the times of New York's exchange, in whole shares."""
    times = TradingCalendar("XNYS").opens(timeframe, start_ns, end_ns)["ts_ns"]
    table = walk(len(times), timeframe=timeframe)
    return table.with_columns(ts_ns=times, volume=table["volume"].cast(pl.Float64).ceil().cast(table.schema["volume"]))


def test_a_pair_has_its_venues_rules_and_no_hours(tmp_path: Path) -> None:
    market = read(saved(tmp_path, walk(50)), "BTC/USDT")
    assert (market.instrument.venue, market.instrument.lot_size) == ("binance", Decimal("0.00001"))
    assert (len(market.bars), market.bars.interval_ns) == (50, 60_000_000_000)
    assert (market.trading_days_per_year, market.market_closes_ns, market.notes) == (365, frozenset(), ())
    assert market.bars.close.tolist() == in_floats(walk(50))["close"].to_list()


def test_a_ticker_is_a_stock_with_252_days_and_its_weekends_are_no_gaps(tmp_path: Path) -> None:
    start = MIDNIGHT_NS
    market = read(saved(tmp_path, in_session(Timeframe.D1, start, start + 60 * 24 * HOUR_NS)), "NVDA")
    assert (market.instrument.quote, market.instrument.lot_size, market.trading_days_per_year) == ("USD", Decimal(1), 252)
    assert market.bars.gaps > 5, "the calendar's weekends"
    assert market.market_closes_ns == frozenset(), "a daily bar stands for a session, and the next one is the next"


def test_the_last_bar_of_each_session_is_known_from_the_calendar_alone(tmp_path: Path) -> None:
    """2024-10-04 and 2024-10-07 in New York's summer: 13:30 to 20:00 UTC; a hole in the data is no end of a session."""
    table = in_session(Timeframe.M5, MIDNIGHT_NS, MIDNIGHT_NS + 4 * 24 * HOUR_NS)
    whole = read(saved(tmp_path, table), "NVDA")
    ends = sorted(whole.market_closes_ns)
    assert [f"{datetime.fromtimestamp(each // 10**9, UTC):%m-%d %H:%M}" for each in ends[:2]] == ["10-04 20:00", "10-07 20:00"]
    holed = read(saved(tmp_path, table.filter(pl.int_range(pl.len()) != 40), "holed.csv"), "NVDA", allow_bad_data=True)
    assert holed.market_closes_ns == whole.market_closes_ns


def test_prices_of_a_stock_finer_than_a_cent_are_rounded_and_told(tmp_path: Path) -> None:
    """As vendors adjust them for splits; those of a pair are refused, because its venue has no such prices."""
    table = in_session(Timeframe.D1, MIDNIGHT_NS, MIDNIGHT_NS + 30 * 24 * HOUR_NS)
    close = Decimal(str(table["close"][4])) + Decimal("0.0004")
    high = Decimal(str(table["high"][4])) + Decimal("0.5")
    odd = changed(changed(table, 4, close=close), 4, high=high)
    market = read(saved(tmp_path, odd), "NVDA")
    assert any("1 prices finer than the tick" in note for note in market.notes)
    assert float(market.bars.close[4]) == float(table["close"][4])
    minutes = changed(changed(walk(30), 4, close=walk(30)["close"][4] + Decimal("0.0004")), 4, high=Decimal(200))
    with pytest.raises(MarketDataError, match="tick"):
        read(saved(tmp_path, minutes, "pair.csv"), "BTC/USDT")


def test_bad_candles_are_refused_unless_told_otherwise_and_then_noted(tmp_path: Path) -> None:
    holed = saved(tmp_path, walk(50).filter(pl.int_range(pl.len()) != 20))
    with pytest.raises(MarketDataError, match=r"gap \(1, .*--allow-bad-data"):
        read(holed, "BTC/USDT")
    market = read(holed, "BTC/USDT", allow_bad_data=True)
    assert market.bars.gaps == 1
    assert any(note.startswith("bad data: gap") for note in market.notes)


@pytest.mark.parametrize("wrong", [{"close": float("nan")}, {"high": Decimal("1")}, {"open": Decimal("-3")}])
def test_what_cannot_be_traded_on_is_refused_always(tmp_path: Path, wrong: dict[str, object]) -> None:
    path = saved(tmp_path, changed(walk(50), 20, **wrong))
    with pytest.raises(MarketDataError):
        read(path, "BTC/USDT", allow_bad_data=True)


@pytest.mark.parametrize(
    ("symbol", "error", "told"),
    [
        ("DOGE/USDT", ConfigError, "known symbols"),
        ("nvda", ConfigError, "ticker"),
        ("BRK.B", MarketDataError, "out_of_session"),
    ],
)
def test_a_symbol_without_rules_or_with_other_hours_is_refused(
    tmp_path: Path, symbol: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        read(saved(tmp_path, walk(50)), symbol)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="no such file"):
        read(tmp_path / "nothing.csv", "BTC/USDT")


# --- stores -------------------------------------------------------------------------------------------------------------------


def store_of(folder: Path, *series: CandleSeries) -> CandleStore:
    store = CandleStore(folder / "candles")
    for each in series:
        table = walk(48, timeframe=each.timeframe)
        store.merge(each, table, now_ns=NOW_NS)
    return store


def test_a_store_knows_its_venue_and_one_of_its_files_whose_it_is(tmp_path: Path) -> None:
    series = CandleSeries("binance", "ETH/USDT", Timeframe.H1)
    store = store_of(tmp_path, series)
    for path in (store.root, store.folder(series), next(store.folder(series).glob("*.parquet"))):
        market = read(path, "ETH/USDT")
        assert (market.instrument.symbol, market.bars.interval_ns) == ("ETH/USDT", HOUR_NS)
        with pytest.raises(MarketDataError, match="ETH/USDT"):
            read(path, "BTC/USDT")


def test_several_series_of_a_symbol_ask_for_one(tmp_path: Path) -> None:
    store = store_of(tmp_path, *(CandleSeries("binance", "BTC/USDT", each) for each in (Timeframe.M1, Timeframe.H1)))
    with pytest.raises(ConfigError, match=r"2 series of BTC/USDT; name one: candles:.*1h"):
        read(store.root, "BTC/USDT")


def test_candles_of_the_simulated_market_say_so(tmp_path: Path) -> None:
    market = read(store_of(tmp_path, CandleSeries("sim", "AAA/USD", Timeframe.M1)).root, "AAA/USD")
    assert market.simulated and market.instrument.venue == "sim"


def test_a_stock_without_the_extra_names_it(tmp_path: Path) -> None:
    path = saved(tmp_path, walk(50, timeframe=Timeframe.D1))
    code = (
        "import sys; sys.modules['exchange_calendars'] = None\n"
        "from pathlib import Path\n"
        "from autohedge.backtest.candle_market import read_candle_market\n"
        f"read_candle_market(Path({str(path)!r}), 'NVDA', now_ns={NOW_NS})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'autohedge[stocks]'" in done.stderr.splitlines()[-1]
