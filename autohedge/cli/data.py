"""`autohedge data download|check|list|record`: market data on disk, and whether it is fit for use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autohedge.cli.errors import EXIT_FAILED
from autohedge.cli.options import AsJson

if TYPE_CHECKING:
    from autohedge.market.data_report import DataReport

app = typer.Typer(name="data", help="Download, check, list and record market data.", no_args_is_help=True)

Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Where candles are kept.")]
TimeframeName = Annotated[
    str | None, typer.Option("--timeframe", metavar="1m|5m|15m|1h|4h|1d", help="Default 1m, or what a file's times show.")
]
CalendarName = Annotated[
    str | None, typer.Option("--calendar", metavar="XNYS", help="The exchange's sessions, for a market that closes.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="A file's name for time, open, high, low, close or volume."),
]
TimeUnitName = Annotated[str, typer.Option("--time-unit", metavar="s|ms|us|ns", help="What a file's whole numbers count.")]
TimezoneName = Annotated[str, typer.Option("--timezone", metavar="ZONE", help="Of a file's times without an offset.")]


@app.command()
def download(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL", help="BASE/QUOTE, or with --from a ticker.")],
    timeframe: TimeframeName = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE|30d", help="From when on. Default 30d ago, or all of a file.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE|1d", help="Up to when. Default now.")] = None,
    from_path: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="Take a CSV or Parquet file, or the trades of a recording.")
    ] = None,
    venue: Annotated[
        str | None, typer.Option("--venue", metavar="NAME", help="Whose candles: binance, or any name with --from.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="A server that speaks Binance's public interface.")
    ] = None,
    column: Columns = None,
    time_unit: TimeUnitName = "ns",
    timezone: TimezoneName = "UTC",
    calendar: CalendarName = None,
    root: Root = Path("candles"),
    as_json: AsJson = False,
) -> None:
    """Bring candles into the store, from the venue or a file; what is there already is not fetched again.

    Only closed candles are stored and none is ever made up. Ctrl-C keeps what has been received. Candles that cannot be right
    are refused with the reason.
    """
    from autohedge.cli.data_jobs import Wanted, download_jobs, file_job, layout_of
    from autohedge.cli.data_render import downloaded_json, print_downloaded, print_json
    from autohedge.market.candle_store import CandleStore
    from autohedge.operations.clock import SystemClock

    clock = SystemClock()
    layout = layout_of(column, time_unit, timezone)
    wanted = Wanted(tuple(symbols), venue, timeframe, since, until, calendar, clock.now_ns())
    jobs = wanted.venue_jobs(layout, base_url) if from_path is None else [file_job(from_path, wanted, layout, base_url)]
    done, failures = download_jobs(jobs, CandleStore(root), clock)
    if as_json:
        print_json([downloaded_json(each) for each in done])
    else:
        for each in done:
            print_downloaded(each)
    if failures:
        raise failures[0]


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="A file of candles, a recording or a store. Default: --root.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this one, where there are more.")
    ] = None,
    timeframe: TimeframeName = None,
    column: Columns = None,
    time_unit: TimeUnitName = "ns",
    timezone: TimezoneName = "UTC",
    calendar: CalendarName = None,
    root: Root = Path("candles"),
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with candles or a recording: each kind of fault, how often, and where first. Exit 1 on errors.

    Gaps, duplicates, disorder, NaN, negative and impossible prices, times in the wrong unit, prices in cents, candles of a
    closed market or of the future …; nothing is repaired.
    """
    from autohedge.cli.data_jobs import check_path, layout_of
    from autohedge.cli.data_render import print_json, print_report, report_json

    layout = layout_of(column, time_unit, timezone)
    reports = check_path(root if path is None else path, symbol, timeframe, layout, calendar)
    if as_json:
        print_json({"ok": _all_fit(reports), "reports": [report_json(report) for report in reports]})
    else:
        for report in reports:
            print_report(report)
    if not _all_fit(reports):
        raise SystemExit(EXIT_FAILED)


def _all_fit(reports: list[DataReport]) -> bool:
    return all(report.ok for report in reports)


@app.command(name="list")
def list_command(root: Root = Path("candles"), as_json: AsJson = False) -> None:
    """The candles that are stored: from when to when, and what is missing between."""
    from autohedge.cli.data_render import print_json, print_stored, stored_json
    from autohedge.market.candle_store import CandleStore

    store = CandleStore(root)
    stored = [store.describe(series) for series in store.series()]
    if as_json:
        print_json([stored_json(each) for each in stored])
    elif stored:
        print_stored(stored)
    else:
        print(f"no candles in {root}; fetch some with: autohedge data download BTC/USDT")


@app.command()
def record(
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A new folder for the recording.")],
    symbol: Annotated[str | None, typer.Argument(metavar="[SYMBOL]", help="Default BTC/USDT, or the recording's own.")] = None,
    market: Annotated[
        str, typer.Option("--market", metavar="sim|replay:PATH", help="Simulated market (default), or a recording.")
    ] = "sim",
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="10m", help="Market time. Default 10m on sim, all of a replay.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the simulated market.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Record a market's book and trades as Parquet, a folder per day; `--market replay:DIR` plays it again. Ctrl-C ends it."""
    from autohedge.cli.data_jobs import record_to
    from autohedge.cli.data_render import print_json, print_recorded, recorded_json

    feed, recorded = record_to(to, symbol, market, duration, seed)
    if as_json:
        print_json(recorded_json(feed, recorded))
    else:
        print_recorded(feed, recorded)
