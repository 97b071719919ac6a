"""What the commands of `autohedge data` do once their options are read: choose a source, drive it, end well on Ctrl-C."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import sys
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from autohedge.cli.data_render import download_bar, print_report, row_counter
from autohedge.cli.errors import EXIT_INTERRUPTED
from autohedge.errors import AutoHedgeError, ConfigError, MarketDataError
from autohedge.market.candle_download import Downloaded, download_candles
from autohedge.market.candle_files import FileLayout, has_candles
from autohedge.market.candle_loading import accepted, check_file, check_stored, unfit
from autohedge.market.candle_sources import CandleSource, TableSource
from autohedge.market.candle_store import NOTE, CandleSeries, CandleStore
from autohedge.market.candles import candles_of_feed
from autohedge.market.instruments import instrument, simulated_instrument
from autohedge.market.recordings import open_replay, recorded_instrument, symbol_of
from autohedge.market.stocks import STOCK_CALENDAR, STOCK_VENUE
from autohedge.market.timeframes import NS_PER_S, Timeframe, timeframe

if TYPE_CHECKING:
    from autohedge.market.calendars import TradingCalendar
    from autohedge.market.data_report import DataReport
    from autohedge.market.parquet_recorder import Recorded
    from autohedge.ports import Clock, MarketFeed

T = TypeVar("T")

DEFAULT_SYMBOL = "BTC/USDT"
DEFAULT_SPAN = "30d"
DEFAULT_DURATION = "10m"
PUBLIC_VENUE = "binance"

_PAIR = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}", re.ASCII)


class Job(NamedTuple):
    """One series to bring into the store from one source."""

    source: CandleSource
    series: CandleSeries
    start_ns: int
    end_ns: int
    calendar: str | None


class Wanted(NamedTuple):
    """What `download` was asked for, as it was written."""

    symbols: tuple[str, ...]
    venue: str | None
    timeframe: str | None
    since: str | None
    until: str | None
    calendar: str | None
    now_ns: int

    def venue_jobs(self, layout: FileLayout, base_url: str | None) -> list[Job]:
        """A job per symbol at the venue. Raises `ConfigError` for another venue or options that belong to files."""
        from autohedge.market.binance_candles import BASE_URL, BinanceCandles

        if layout != FileLayout():
            raise ConfigError("--column, --time-unit and --timezone are about a file; name it with --from PATH")
        if self.venue not in (None, PUBLIC_VENUE):
            raise ConfigError(
                f"candles can be downloaded from {PUBLIC_VENUE}, found {self.venue}; import others with --from PATH"
            )
        odd = next((symbol for symbol in self.symbols if not _PAIR.fullmatch(symbol)), None)
        if odd is not None:
            raise ConfigError(
                f"expected a symbol of {PUBLIC_VENUE} such as BTC/USDT, in capitals and with its slash, found {odd!r}"
            )
        length = Timeframe.M1 if self.timeframe is None else timeframe(self.timeframe)
        start_ns, end_ns = self.span_ns()
        start_ns = moment_ns(DEFAULT_SPAN, self.now_ns) if start_ns is None else start_ns
        end_ns = self.now_ns if end_ns is None else end_ns
        source = BinanceCandles(base_url or BASE_URL)
        named = [CandleSeries(source.venue, symbol, length) for symbol in self.symbols]
        return [Job(source, series, start_ns, end_ns, self.calendar) for series in named]

    def span_ns(self) -> tuple[int | None, int | None]:
        """--since and --until; None where they were not given."""
        start_ns, end_ns = (None if text is None else moment_ns(text, self.now_ns) for text in (self.since, self.until))
        return start_ns, end_ns


def moment_ns(text: str, now_ns: int) -> int:
    """A date or time in ISO 8601 (UTC unless it has an offset), or how long before now (30d, 12h). `ConfigError` for others."""
    from autohedge.settings import parse_duration_s

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now_ns - round(parse_duration_s(text) * NS_PER_S)
        except ConfigError:
            raise ConfigError(f"expected a date such as 2025-05-20, or 30d or 12h before now, found {text[:40]!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000) * 1_000


def layout_of(columns: Sequence[str] | None, time_unit: str, timezone: str) -> FileLayout:
    """The options that describe a file. Raises `ConfigError`."""
    pairs = [pair.partition("=") for pair in columns or ()]
    wrong = [name for name, sign, value in pairs if not sign or not value]
    if wrong:
        raise ConfigError(f"expected --column OURS=THEIRS such as time=Date, found {wrong[0][:40]!r}")
    return FileLayout({name.strip(): value.strip() for name, _, value in pairs}, time_unit, timezone)  # type: ignore[arg-type]


# --- download -------------------------------------------------------------------------------------------------------------


def file_job(path: Path, wanted: Wanted, layout: FileLayout, base_url: str | None) -> Job:
    """The job of a file of candles, or of the trades of a recording. Shows what is wrong with a file that is refused.

    Raises `ConfigError` for options that do not go together, `MarketDataError` for a file that is not fit for use.
    """
    if len(wanted.symbols) != 1 or base_url is not None:
        raise ConfigError("--from takes one file or recording of one symbol, and no --base-url")
    symbol = wanted.symbols[0]
    length = None if wanted.timeframe is None else timeframe(wanted.timeframe)
    calendar = wanted.calendar
    if has_candles(path, layout):
        venue = wanted.venue or (PUBLIC_VENUE if "/" in symbol else STOCK_VENUE)
        if venue == STOCK_VENUE and calendar is None:
            calendar = STOCK_CALENDAR
        checked = check_file(path, now_ns=wanted.now_ns, timeframe=length, layout=layout, calendar=_calendar(calendar))
        if checked.report.findings:
            print_report(checked.report, on_stderr=True)
        if unfit(checked.report, {"gap"}):
            raise MarketDataError(f"{path}: not stored, because of the errors above")
        candles, length, _ = accepted(checked, now_ns=wanted.now_ns, allow={"gap"})
    else:
        rules = recorded_instrument(path, symbol) or instrument(PUBLIC_VENUE, symbol)
        venue, length = wanted.venue or rules.venue, length or Timeframe.M1
        with row_counter(f"reading {path}"):
            candles = run_to_the_end(candles_of_feed(open_replay(path, symbol, rules), length), "stopped; nothing was stored")
    if candles.is_empty():
        raise MarketDataError(f"{path}: no whole {length} candle of {symbol} in it")
    series = CandleSeries(venue, symbol, length)
    start_ns, end_ns = wanted.span_ns()
    first_ns, last_ns = int(candles["ts_ns"][0]), int(candles["ts_ns"][-1])
    return Job(
        TableSource(series, candles),
        series,
        first_ns if start_ns is None else start_ns,
        last_ns + length.interval_ns if end_ns is None else end_ns,
        calendar,
    )


def download_jobs(jobs: Sequence[Job], store: CandleStore, clock: Clock) -> tuple[list[Downloaded], list[AutoHedgeError]]:
    """Run the jobs one after the other; what one fails with is told and does not touch the others."""
    done: list[Downloaded] = []
    failures: list[AutoHedgeError] = []

    async def run() -> None:
        for job in jobs:
            with download_bar(str(job.series)) as follow:
                try:
                    done.append(
                        await download_candles(
                            job.source,
                            store,
                            job.series,
                            job.start_ns,
                            job.end_ns,
                            clock=clock,
                            rng=random.Random(),
                            calendar=job.calendar,
                            on_progress=follow,
                        )
                    )
                except AutoHedgeError as error:
                    failures.append(error)
                    if len(jobs) > 1:
                        say(f"{job.series}: {error}")
        for source in {id(job.source): job.source for job in jobs}.values():
            await source.aclose()

    run_to_the_end(run(), "stopped; what was received is stored, and the same command goes on from there")
    return done, failures


# --- check ----------------------------------------------------------------------------------------------------------------


def check_path(
    path: Path, symbol: str | None, length: str | None, layout: FileLayout, calendar: str | None
) -> list[DataReport]:
    """The reports about whatever is at a path: a file of candles, a store or one series of it, or else a recording.

    Raises `MarketDataError` where there is nothing to check.
    """
    from autohedge.market.recording_check import check_recording
    from autohedge.operations.clock import SystemClock

    now_ns = SystemClock().now_ns()
    named = None if length is None else timeframe(length)
    if has_candles(path, layout):
        return [check_file(path, now_ns=now_ns, timeframe=named, layout=layout, calendar=_calendar(calendar)).report]
    stored = _stored_at(path)
    if stored is None and not path.exists():
        raise MarketDataError(
            f"{path}: nothing here; name a file of candles, a recording or a store of `autohedge data download`"
        )
    if stored is None:
        with row_counter(f"checking {path}") as follow:
            return [check_recording(path, symbol, on_progress=follow)]
    if layout != FileLayout() or calendar is not None:
        raise ConfigError("stored candles know their columns and calendar; leave these options out")
    store, found = stored
    wanted = [each for each in found if symbol in (None, each.symbol) and named in (None, each.timeframe)]
    if not wanted:
        raise MarketDataError(f"{path}: no stored candles of {symbol or 'any symbol'} {named or ''}; see `autohedge data list`")
    return [check_stored(store, series, now_ns=now_ns) for series in wanted]


def _stored_at(path: Path) -> tuple[CandleStore, list[CandleSeries]] | None:
    """The store and series that a folder means; None when it is no store."""
    if (path / NOTE).is_file():
        folder = path.resolve()
        store = CandleStore(folder.parents[2])
        return store, [series for series in store.series() if store.folder(series) == folder]
    if any(path.glob(f"*/*/*/{NOTE}")):
        store = CandleStore(path)
        return store, store.series()
    return None


def _calendar(name: str | None) -> TradingCalendar | None:
    from autohedge.market.calendars import TradingCalendar

    return None if name is None else TradingCalendar(name)


# --- record ---------------------------------------------------------------------------------------------------------------


def record_to(folder: Path, symbol: str | None, market: str, duration: str | None, seed: int) -> tuple[MarketFeed, Recorded]:
    """Record a market until it ends, the duration is over or Ctrl-C. Raises `ConfigError`, `MarketDataError`."""
    from autohedge.market.parquet_recorder import record_market
    from autohedge.settings import parse_duration_s
    from autohedge.simulation.feed import SimulatedFeed

    feed: MarketFeed
    duration_s = None if duration is None else parse_duration_s(duration)
    if market == "sim":
        duration_s = parse_duration_s(DEFAULT_DURATION) if duration_s is None else duration_s
        feed = SimulatedFeed(simulated_instrument(symbol or DEFAULT_SYMBOL), seed, duration_s)
    elif market.startswith("replay:"):
        path = Path(market.removeprefix("replay:"))
        symbol = symbol or symbol_of(path) or DEFAULT_SYMBOL
        feed = open_replay(path, symbol, recorded_instrument(path, symbol) or instrument(PUBLIC_VENUE, symbol))
    else:
        raise ConfigError(f"expected --market sim or replay:PATH, found {market[:80]!r}")
    with row_counter(f"recording {feed.instrument.symbol}") as follow:
        work = record_market(feed, folder, duration_s=duration_s, on_progress=lambda report, _: follow(report.rows))
        return feed, run_to_the_end(work, f"stopped; what came till then is recorded in {folder}")


# --- ending well ----------------------------------------------------------------------------------------------------------


def run_to_the_end(work: Coroutine[Any, Any, T], if_stopped: str) -> T:
    """The result of `work`. Ctrl-C and SIGTERM cancel it, let it put away what it has, and end the command with 130."""

    async def stoppable() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(stoppable())
    except (KeyboardInterrupt, asyncio.CancelledError):
        say(if_stopped)
        raise SystemExit(EXIT_INTERRUPTED) from None


def say(text: str) -> None:
    """One line on stderr."""
    print(f"autohedge: {text}", file=sys.stderr, flush=True)
