"""What a person sees of market data: reports, tables and bars that move; and the same as JSON, nanoseconds as texts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from autohedge.cli.render import PIPE_WIDTH, clock_text, stdout_console

if TYPE_CHECKING:
    from autohedge.market.candle_download import Downloaded, DownloadProgress
    from autohedge.market.candle_store import StoredSeries
    from autohedge.market.candles import Gap
    from autohedge.market.data_report import DataReport
    from autohedge.market.parquet_recorder import Recorded
    from autohedge.ports import MarketFeed

_SHOWN_CHARS = 60


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    import orjson

    print(orjson.dumps(value).decode())


# --- reports --------------------------------------------------------------------------------------------------------------


def report_json(report: DataReport) -> dict[str, Any]:
    """A report as plain data."""
    return {
        "source": report.source,
        "what": report.what,
        "ok": report.ok,
        "rows": report.rows,
        "first_ns": _text_of(report.first_ns),
        "last_ns": _text_of(report.last_ns),
        "findings": [{**asdict(found), "severity": found.severity.value} for found in report.findings],
    }


def print_report(report: DataReport, *, on_stderr: bool = False) -> None:
    """One report: what was read, and a table of what is wrong with it."""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH) if on_stderr else stdout_console()
    span = ""
    if report.first_ns is not None and report.last_ns is not None:
        span = f", {clock_text(report.first_ns)} to {clock_text(report.last_ns)} UTC"
    console.print(Text(report.source, style="bold").append(f": {report.what}, {report.rows:,} rows{span}", style="not bold"))
    if not report.findings:
        console.print(Text("  nothing wrong was found", style="green"))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("", "kind"):
        table.add_column(name, no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    for name in ("first", "what"):
        table.add_column(name, overflow="fold")
    for found in report.findings:
        style = "red" if found.severity == "error" else "yellow"
        table.add_row(
            Text(found.severity.value, style=style), found.kind, f"{found.count:,}", Text(found.first), Text(found.detail)
        )
    console.print(table)


# --- the store ------------------------------------------------------------------------------------------------------------


def stored_json(stored: StoredSeries) -> dict[str, Any]:
    """What is stored of a series, as plain data."""
    return {
        "venue": stored.series.venue,
        "symbol": stored.series.symbol,
        "timeframe": stored.series.timeframe.value,
        "candles": stored.rows,
        "first_ns": str(stored.first_ns),
        "last_ns": str(stored.last_ns),
        "gaps": _gaps_json(stored.gaps),
        "venue_gaps": _gaps_json(stored.venue_gaps),
        "calendar": stored.calendar,
        "size_bytes": stored.size_bytes,
    }


def print_stored(stored: Iterable[StoredSeries]) -> None:
    """A table of series, a row each."""
    table = Table()
    for name in ("venue", "symbol", "timeframe", "candles", "from", "to", "gaps", "of the venue", "calendar", "MB"):
        right = name in ("candles", "gaps", "of the venue", "MB")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for each in stored:
        table.add_row(
            each.series.venue,
            Text(each.series.symbol),
            each.series.timeframe.value,
            f"{each.rows:,}",
            clock_text(each.first_ns),
            clock_text(each.last_ns),
            _gaps_text(each.gaps),
            _gaps_text(each.venue_gaps),
            each.calendar or "-",
            f"{each.size_bytes / 1e6:.1f}",
        )
    stdout_console().print(table)


def downloaded_json(done: Downloaded) -> dict[str, Any]:
    """What a download did, as plain data."""
    return {
        "venue": done.series.venue,
        "symbol": done.series.symbol,
        "timeframe": done.series.timeframe.value,
        "start_ns": str(done.start_ns),
        "end_ns": str(done.end_ns),
        "received": done.received,
        "added": done.merged.added,
        "same": done.merged.same,
        "replaced": done.merged.replaced,
        "conflicts": [
            {"ts_ns": str(each.ts_ns), "was": list(each.was), "kept": list(each.kept)} for each in done.merged.conflicts
        ],
        "requests": done.requests,
        "retries": done.retries,
        "gaps": _gaps_json(done.gaps),
    }


def print_downloaded(done: Downloaded) -> None:
    """What a download did, in a few lines."""
    console, merged = stdout_console(), done.merged
    span = f"{clock_text(done.start_ns)} to {clock_text(done.end_ns)} UTC"
    heading = Text(str(done.series), style="bold").append(f": {span}", style="not bold")
    console.print(heading)
    console.print(
        Text(
            f"  {done.received:,} candles received, {merged.added:,} new, {merged.same:,} already there, "
            f"{merged.replaced:,} replaced; {done.requests:,} requests, {done.retries:,} of them again"
        )
    )
    if done.gaps:
        console.print(
            Text(f"  gaps: {_gaps_text(done.gaps)}, the first from {clock_text(done.gaps[0].start_ns)}", style="yellow")
        )
    for each in merged.conflicts:
        was, kept = (", ".join(values) for values in (each.was, each.kept))
        console.print(Text(f"  {clock_text(each.ts_ns)} came again otherwise: was {was}; kept {kept}", style="yellow"))


# --- recordings -----------------------------------------------------------------------------------------------------------


def recorded_json(feed: MarketFeed, recorded: Recorded) -> dict[str, Any]:
    """What was recorded, as plain data."""
    return {
        "folder": str(recorded.folder),
        "symbol": feed.instrument.symbol,
        "market": feed.description,
        "simulated": feed.simulated,
        "events": recorded.events,
        "rows": recorded.rows,
        "first_ns": _text_of(recorded.first_ns),
        "last_ns": _text_of(recorded.last_ns),
    }


def print_recorded(feed: MarketFeed, recorded: Recorded) -> None:
    """What was recorded, in two lines."""
    span = ""
    if recorded.first_ns is not None and recorded.last_ns is not None:
        span = f", {clock_text(recorded.first_ns)} to {clock_text(recorded.last_ns)} UTC"
    heading = Text(feed.instrument.symbol, style="bold")
    console = stdout_console()
    console.print(
        heading.append(f" of {feed.description}: {recorded.events:,} events, {recorded.rows:,} rows{span}", style="not bold")
    )
    console.print(Text(f"  in {recorded.folder}; again with --market replay:{recorded.folder}"), soft_wrap=True)


def _gaps_text(gaps: tuple[Gap, ...]) -> str:
    return f"{len(gaps):,} ({sum(gap.missing for gap in gaps):,} candles)" if gaps else "0"


def _gaps_json(gaps: tuple[Gap, ...]) -> list[dict[str, Any]]:
    return [{"start_ns": str(gap.start_ns), "end_ns": str(gap.end_ns), "missing": gap.missing} for gap in gaps]


def _text_of(ts_ns: int | None) -> str | None:
    return None if ts_ns is None else str(ts_ns)


# --- bars that move -------------------------------------------------------------------------------------------------------


@contextmanager
def download_bar(label: str) -> Iterator[Callable[[DownloadProgress], None]]:
    """A bar on stderr that follows a download, where somebody can see it move."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}"))
    with _progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(label, total=None, told="")

        def update(now: DownloadProgress) -> None:
            told = f"{now.candles:,} candles" if not now.waiting else now.waiting[:_SHOWN_CHARS]
            progress.update(task, total=now.total_ns, completed=now.done_ns, told=told)

        yield update


@contextmanager
def row_counter(label: str) -> Iterator[Callable[[int], None]]:
    """A count on stderr of what has been read of something whose length is not known."""
    with _progress(SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} rows")) as progress:
        task = progress.add_task(label, total=None)
        yield lambda rows: progress.update(task, completed=rows)


def _progress(*columns: Any) -> Progress:
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
