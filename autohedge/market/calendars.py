"""When an exchange trades: sessions, half days, holidays and lunch breaks, so that a closed market is no gap in its candles.

The days are those of the library exchange_calendars (extra `stocks`), by its names: XNYS and NASDAQ, XLON, XTKS … A market
that never closes has no calendar (None). Refused: an unknown name (`ConfigError`), and years for which the calendar has no
holidays (`MarketDataError`), because a holiday taken for a session would be a gap that never was.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Any

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import NS_PER_S, Timeframe

CRYPTO_DAYS_PER_YEAR = 365
STOCK_DAYS_PER_YEAR = 252

_NS_PER_DAY = 86_400 * NS_PER_S
_MARGIN_DAYS = 15
"""A session's label and its hours may lie on neighbouring UTC days, and the library wants at least one session in a range."""


class TradingCalendar:
    """The sessions of one exchange; `name` is the library's own for it, whatever alias it was asked for by."""

    def __init__(self, name: str) -> None:
        known = _library().get_calendar_names()
        if name not in known:
            raise ConfigError(f"expected the name of an exchange's calendar such as XNYS, XLON or XTKS, found {name[:40]!r}")
        self.name: str = _library().resolve_alias(name)
        self._stretches: pl.DataFrame | None = None
        self._known_days = (0, 0)

    def stretches(self, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Unbroken stretches of trading that touch [start_ns, end_ns), in order; none is an empty frame.

        Columns `session_ns` (its date at 00:00 UTC), `open_ns`, `close_ns`; a lunch break makes two rows of a session.
        Raises `MarketDataError` for years that the calendar does not know.
        """
        first_day, last_day = start_ns // _NS_PER_DAY - _MARGIN_DAYS, end_ns // _NS_PER_DAY + _MARGIN_DAYS
        known_first, known_last = self._known_days
        if self._stretches is None or first_day < known_first or last_day > known_last:
            if self._stretches is not None:
                first_day, last_day = min(first_day, known_first), max(last_day, known_last)
            self._stretches = self._read(first_day, last_day)
            self._known_days = (first_day, last_day)
        return self._stretches.filter((pl.col("close_ns") > start_ns) & (pl.col("open_ns") < end_ns))

    def opens(self, timeframe: Timeframe, start_ns: int, end_ns: int) -> pl.DataFrame:
        """The open times of the candles that a full record has in [start_ns, end_ns), with their session; in order.

        Columns `ts_ns`, `session_ns`. A daily candle is named by its session's date at 00:00 UTC; others by the bucket of the
        clock that any trading falls into, so the first hour of a session that opens at 13:30 is named 13:00.
        """
        within = (pl.col("ts_ns") >= start_ns) & (pl.col("ts_ns") < end_ns)
        stretches = self.stretches(start_ns - _NS_PER_DAY, end_ns + _NS_PER_DAY)
        if timeframe is Timeframe.D1:
            days = stretches.select(ts_ns="session_ns", session_ns="session_ns").unique(maintain_order=True)
            return days.filter(within)
        step = timeframe.interval_ns
        buckets = stretches.select(
            pl.int_ranges(pl.col("open_ns") - pl.col("open_ns") % step, pl.col("close_ns"), step).alias("ts_ns"), "session_ns"
        )
        return buckets.explode("ts_ns").unique(subset="ts_ns", keep="first", maintain_order=True).filter(within)

    def _read(self, first_day: int, last_day: int) -> pl.DataFrame:
        start, end = (f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}" for day in (first_day, last_day))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # the library uses what pandas will drop: not our caller's affair
            try:
                schedule = _library().get_calendar(self.name, start=start, end=end).schedule
            except ValueError as error:
                raise MarketDataError(f"calendar {self.name} does not cover {start} to {end}: {error}") from error
        times = {name: _nanoseconds(schedule[name]) for name in ("open", "break_start", "break_end", "close")}
        whole = pl.DataFrame({"session_ns": _nanoseconds(schedule.index.to_series()), **times})
        has_break = pl.col("break_start") > 0  # no break is a number far below zero
        before = whole.select("session_ns", open_ns="open", close_ns=pl.when(has_break).then("break_start").otherwise("close"))
        after = whole.filter(has_break).select("session_ns", open_ns="break_end", close_ns="close")
        return pl.concat([before, after]).sort("open_ns")


def trading_days_per_year(calendar: TradingCalendar | None) -> int:
    """For annualising: 252 with an exchange calendar, 365 for a market that never closes."""
    return CRYPTO_DAYS_PER_YEAR if calendar is None else STOCK_DAYS_PER_YEAR


def _nanoseconds(times: Any) -> Any:
    """A pandas series of times as UTC nanoseconds; what is missing becomes the smallest number."""
    naive = times.dt.tz_convert(None) if times.dt.tz is not None else times
    return naive.to_numpy().astype("datetime64[ns]").astype("int64")


def _library() -> Any:
    try:
        import exchange_calendars
    except ImportError as error:
        raise ConfigError(
            "exchange calendars need exchange_calendars, which is not installed: run  pip install 'autohedge[stocks]'"
        ) from error
    return exchange_calendars
