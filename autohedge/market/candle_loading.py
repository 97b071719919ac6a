"""A file of candles, read, checked and exact: what stands between anybody's CSV or Parquet and a use of it.

Promise: what `load_candles` gives has passed every check but those that the caller allows by name. Nothing is repaired: a file
with an error is refused with the error. Only one thing is left out and told: a last candle that has not closed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from autohedge.errors import MarketDataError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candle_check import check_candles, usual_timeframe
from autohedge.market.candle_files import FileLayout, read_candle_file
from autohedge.market.candle_store import CandleSeries, CandleStore, series_of_file
from autohedge.market.candles import exact, known_at
from autohedge.market.data_report import DataReport, Severity
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import Timeframe

DEFAULT_LAYOUT = FileLayout()
UNCLOSED = "unclosed"


class CheckedFile(NamedTuple):
    """A file's rows as they are, the timeframe they are taken for (None of an empty file), and what is wrong with them."""

    rows: pl.DataFrame
    timeframe: Timeframe | None
    report: DataReport


class LoadedCandles(NamedTuple):
    """Exact closed candles in order, and the report of the check they passed."""

    candles: pl.DataFrame
    timeframe: Timeframe
    report: DataReport


def check_file(
    path: Path,
    *,
    now_ns: int,
    timeframe: Timeframe | None = None,
    layout: FileLayout = DEFAULT_LAYOUT,
    calendar: TradingCalendar | None = None,
) -> CheckedFile:
    """Read a CSV or Parquet file and check it. `timeframe` None is what a file of our store says or what the times show.

    With a calendar, times of daily candles count as dates (`FileLayout.dates`). Raises `MarketDataError` for a file that cannot
    be read as candles at all, `ConfigError` where its timeframe cannot be told.
    """
    own = series_of_file(path)
    rows = read_candle_file(path, layout)
    if rows.is_empty():
        return CheckedFile(rows, timeframe, check_candles(rows, source=str(path), now_ns=now_ns))
    timeframe = timeframe or (own.timeframe if own is not None else usual_timeframe(rows, str(path)))
    if calendar is not None and timeframe is Timeframe.D1 and not layout.dates:
        rows = read_candle_file(path, replace(layout, dates=True))
    report = check_candles(rows, source=str(path), timeframe=timeframe, now_ns=now_ns, calendar=calendar)
    return CheckedFile(rows, timeframe, report)


def check_stored(store: CandleStore, series: CandleSeries, *, now_ns: int) -> DataReport:
    """Check all candles that the store has of a series, by its calendar; the venue's own holes are only warnings.

    Raises `MarketDataError` when there is none of them or their files are damaged.
    """
    return check_candles(
        store.read(series),
        source=str(store.folder(series)),
        timeframe=series.timeframe,
        now_ns=now_ns,
        calendar=store.calendar(series),
        covered=store.covered(series),
    )


def load_candles(
    path: Path,
    *,
    now_ns: int,
    timeframe: Timeframe | None = None,
    layout: FileLayout = DEFAULT_LAYOUT,
    calendar: TradingCalendar | None = None,
    allow: Collection[str] = (),
) -> LoadedCandles:
    """The candles of a file, as `check_file` reads it, if nothing is wrong with them but what `allow` names (`gap` …).

    A last candle that has not closed is left out. Raises `MarketDataError` with every error that is not allowed.
    """
    checked = check_file(path, now_ns=now_ns, timeframe=timeframe, layout=layout, calendar=calendar)
    return accepted(checked, now_ns=now_ns, allow=allow)


def unfit(report: DataReport, allow: Collection[str] = ()) -> list[str]:
    """The errors of a report that are neither allowed nor told away, each in a few words; none means fit for use."""
    return [
        f"{found.kind} ({found.count:,}, first {found.first}): {found.detail}"
        for found in report.findings
        if found.severity is Severity.ERROR and found.kind not in (UNCLOSED, *allow)
    ]


def accepted(checked: CheckedFile, *, now_ns: int, allow: Collection[str] = ()) -> LoadedCandles:
    """A checked file's candles, exact; raises `MarketDataError` for errors that are not allowed."""
    wrong = unfit(checked.report, allow)
    if wrong or checked.timeframe is None:
        raise MarketDataError(f"{checked.report.source}: not fit for use: {'; '.join(wrong)}")
    candles = known_at(exact(checked.rows, checked.report.source), checked.timeframe, now_ns)
    return LoadedCandles(candles, checked.timeframe, checked.report)
