"""`autohedge data download|check|list|record`: market data on disk, and whether it is fit for use."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from autohedge.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED
from autohedge.cli.options import AsJson
from autohedge.errors import AutoHedgeError, ConfigError

if TYPE_CHECKING:
    from autohedge.market.calendars import TradingCalendar
    from autohedge.market.candle_download import Downloaded
    from autohedge.market.candle_files import FileLayout
    from autohedge.market.candle_sources import CandleSource
    from autohedge.market.candle_store import CandleSeries, CandleStore
    from autohedge.market.data_report import DataReport
    from autohedge.market.timeframes import Timeframe
    from autohedge.ports import Clock, MarketFeed

T = TypeVar("T")

app = typer.Typer(name="data", help="Download, check, list and record market data.", no_args_is_help=True)

Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Where candles are kept.")]
TimeframeName = Annotated[
    str | None, typer.Option("--timeframe", metavar="1m|5m|15m|1h|4h|1d", help="Default 1m, or what a file's times show.")
]
CalendarName = Annotated[
    str | None, typer.Option("--calendar", metavar="XNYS", help="The exchange's sessions, for markets that close.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="A file's name for time, open, high, low, close or volume."),
]
TimeUnitName = Annotated[str, typer.Option("--time-unit", metavar="s|ms|us|ns", help="What a file's whole numbers count.")]
TimezoneName = Annotated[str, typer.Option("--timezone", metavar="ZONE", help="Of a file's times without an offset.")]


# --- download -------------------------------------------------------------------------------------------------------------


@app.command()
def download(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="BASE/QUOTE, or a ticker with --from.")],
    timeframe: TimeframeName = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE|30d", help="From when. Default 30d ago, or all of a file.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE|1d", help="Up to when. Default now.")] = None,
    from_path: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="Take a CSV or Parquet file, or the trades of a recording.")
    ] = None,
    venue: Annotated[str | None, typer.Option("--venue", metavar="NAME", help="Whose candles. Default binance.")] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="A server that speaks Binance's public interface.")
    ] = None,
    columns: Columns = None,
    time_unit: TimeUnitName = "ns",
    timezone: TimezoneName = "UTC",
    calendar: CalendarName = None,
    root: Root = Path("candles"),
    as_json: AsJson = False,
) -> None:
    """Bring candles into the store, from the venue or a file; what is there already is not fetched again.

    Only closed candles are stored, none is ever made up, and Ctrl-C keeps what has been received. Candles that cannot be right
    are refused with the reason.
    """
    from autohedge.cli.data_render import downloaded_json, print_downloaded, print_json
    from autohedge.market.candle_store import CandleStore
    from autohedge.market.timeframes import timeframe as timeframe_named
    from autohedge.operations.clock import SystemClock

    clock = SystemClock()
    span = tuple(None if text is None else _moment_ns(text, clock.now_ns()) for text in (since, until))
    named = None if timeframe is None else timeframe_named(timeframe)
    store = CandleStore(root)
    done: list[Downloaded] = []
    if from_path is not None:
        if len(symbols) != 1 or base_url is not None:
            raise ConfigError("--from takes one file of one symbol, and no --base-url")
        layout = _layout(columns, time_unit, timezone, calendar, named)
        source, series = _file_source(from_path, symbols[0], venue, named, layout, calendar, clock)
        done.append(_run_download(source, store, series, _span_of(span, source.first_ns, source.end_ns), calendar, clock))
    else:
        _require_unused(columns, time_unit, timezone)
        done += _from_venue(symbols, venue, base_url, named, span, store, calendar, clock)
    if as_json:
        print_json([downloaded_json(each) for each in done])
        return
    for each in done:
        print_downloaded(each)
