"""A market of candles, from a file or a store to bars that can be traded on: `candles:PATH` of the settings.

A pair (BASE/QUOTE) has the rules of its venue, a bare ticker those of a US stock, in the hours of its exchange. Candles that
`data check` finds unfit are refused unless told otherwise; what cannot be traded on at all (NaN, high below low, disorder)
is refused always. Prices of stocks finer than a cent, as vendors adjust them for splits, are rounded to the cent and told.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from autohedge.backtest.bars import GRID_TOLERANCE_TICKS, Bars
from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.calendars import TradingCalendar, trading_days_per_year
from autohedge.market.candle_check import KINDS
from autohedge.market.candle_loading import CheckedFile, accepted, check_file, check_stored, unfit
from autohedge.market.candle_store import NOTE, CandleSeries, CandleStore, series_of_file
from autohedge.market.candles import PRICES
from autohedge.market.instruments import SIMULATED_VENUE, simulated_instrument
from autohedge.market.instruments import instrument as rules_of
from autohedge.market.polars_extra import pl
from autohedge.market.stocks import STOCK_CALENDAR, STOCK_VENUE, stock_instrument
from autohedge.market.timeframes import Timeframe

PAIR_VENUE = "binance"
"""Whose rules hold for a pair in a file that names no venue."""

NEAREST_TICK = 0.5


@dataclass(frozen=True)
class CandleMarket:
    """The bars of one symbol, the closes after which its exchange is shut (none for a market that never closes, and for daily
    bars), the days a year has for it, and what is to be told of the data. `simulated` is that of candles of an invented market.
    """

    bars: Bars
    simulated: bool
    market_closes_ns: frozenset[int]
    trading_days_per_year: int
    notes: tuple[str, ...]

    @property
    def instrument(self) -> Instrument:
        """What is traded."""
        return self.bars.instrument


class _Found(NamedTuple):
    rows: CheckedFile
    venue: str
    calendar: TradingCalendar | None
    source: str


def read_candle_market(path: Path, symbol: str, *, now_ns: int, allow_bad_data: bool = False) -> CandleMarket:
    """The candles of `symbol` in a CSV or Parquet file, a store of `autohedge data download`, or one series of it.

    Raises `MarketDataError` for candles that are not there or not fit, `ConfigError` for a symbol without rules, a store with
    several series of it, or a stock without the extra `stocks`.
    """
    found = _in_store(path, symbol, now_ns) if path.is_dir() else _in_file(path, symbol, now_ns)
    instrument = _rules(found.venue, symbol)
    wrong = unfit(found.rows.report)
    if wrong and not allow_bad_data:
        raise MarketDataError(
            f"{path}: not fit for use: {'; '.join(wrong)}; see `autohedge data check`, or run with --allow-bad-data"
        )
    candles, timeframe, _ = accepted(found.rows, now_ns=now_ns, allow=tuple(KINDS))
    if candles.is_empty():
        raise MarketDataError(f"{path}: no closed candle of {symbol} in it")
    notes = [f"bad data: {each}" for each in wrong]
    tolerance = GRID_TOLERANCE_TICKS
    if found.venue == STOCK_VENUE or allow_bad_data:
        rounded = _off_tick(candles, instrument)
        if rounded:
            tolerance = NEAREST_TICK
            notes.append(f"{rounded:,} prices finer than the tick {instrument.tick_size} were rounded to the nearest")
    bars = Bars.from_candles(instrument, timeframe.interval_ns, candles, source=found.source, tolerance_ticks=tolerance)
    return CandleMarket(
        bars,
        found.venue == SIMULATED_VENUE,
        _market_closes(bars, timeframe, found.calendar),
        trading_days_per_year(found.calendar),
        tuple(notes),
    )


def _rules(venue: str, symbol: str) -> Instrument:
    if venue == STOCK_VENUE:
        return stock_instrument(symbol)
    return simulated_instrument(symbol) if venue == SIMULATED_VENUE else rules_of(venue, symbol)


def _in_file(path: Path, symbol: str, now_ns: int) -> _Found:
    own = series_of_file(path)
    if own is not None and own.symbol != symbol:
        raise MarketDataError(f"{path}: holds candles of {own.symbol}, not of {symbol}")
    venue = own.venue if own is not None else PAIR_VENUE if "/" in symbol else STOCK_VENUE
    calendar = _calendar(venue)
    return _Found(check_file(path, now_ns=now_ns, calendar=calendar), venue, calendar, str(path))


def _in_store(path: Path, symbol: str, now_ns: int) -> _Found:
    if (path / NOTE).is_file():
        folder = path.resolve()
        store = CandleStore(folder.parents[2])
        stored = [each for each in store.series() if store.folder(each) == folder]
    else:
        store = CandleStore(path)
        stored = store.series()
    found = [each for each in stored if each.symbol == symbol]
    if len(found) > 1:
        folders = ", ".join(f"candles:{store.folder(each)}" for each in found)
        raise ConfigError(f"{path} has {len(found)} series of {symbol}; name one: {folders}")
    if not found:
        held = ", ".join(sorted({each.symbol for each in stored})) or "none"
        raise MarketDataError(f"{path}: no candles of {symbol} in it (symbols: {held}); see `autohedge data list`")
    series = found[0]
    report = check_stored(store, series, now_ns=now_ns)
    rows = CheckedFile(store.read(series), series.timeframe, report)
    return _Found(rows, series.venue, store.calendar(series), _named(store, series))


def _named(store: CandleStore, series: CandleSeries) -> str:
    return f"{series} ({store.folder(series)})"


def _calendar(venue: str) -> TradingCalendar | None:
    return TradingCalendar(STOCK_CALENDAR) if venue == STOCK_VENUE else None


def _off_tick(candles: pl.DataFrame, instrument: Instrument) -> int:
    """How many prices lie between two ticks; exact."""
    scale = pl.lit(instrument.tick_size)
    off = candles.select(pl.sum_horizontal(((pl.col(name) % scale) != 0).cast(pl.Int64) for name in PRICES).sum())
    return int(off.item())


def _market_closes(bars: Bars, timeframe: Timeframe, calendar: TradingCalendar | None) -> frozenset[int]:
    """Closes after which the calendar has no bar at once. A daily bar stands for a session, and the next one is the next."""
    if calendar is None or timeframe is Timeframe.D1:
        return frozenset()
    opens = calendar.opens(timeframe, int(bars.ts_ns[0]), bars.end_ns + Timeframe.D1.interval_ns)["ts_ns"].to_numpy()
    closes = opens[:-1] + timeframe.interval_ns
    return frozenset(np.asarray(closes[opens[1:] != closes]).tolist())
