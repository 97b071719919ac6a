"""Filling the candle store from a source: a page at a time, at the source's pace, going on where it stopped.

Promises: what the store covers already is not asked for again; what was received before a failure or a kill is kept; only
candles that had closed, by our clock and by the source's, are stored; a page with a candle that cannot be right stops the
download and is not stored; the same download twice leaves the same store. A hole in a source's own record stays a hole and is
noted as the venue's. Waits use the injected clock, jitter the injected chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candle_check import check_candles
from autohedge.market.candle_sources import CandlePage, CandleSource, SourceBusy
from autohedge.market.candle_store import CandleSeries, CandleStore, Merged
from autohedge.market.candles import Gap, gaps, no_candles, require_candles
from autohedge.market.data_report import Severity
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import NS_PER_S
from autohedge.ports import Clock

Span = tuple[int, int]

_NEIGHBOUR_NS = 31 * 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """How patient a download is.

    A page gets `max_attempts`, with waits that double from `wait_initial_s` up to `wait_max_s`. A wait that the source asks for
    is kept instead; one above `longest_retry_after_s` ends the download. At most `flush_candles` wait in memory to be stored.
    """

    max_attempts: int = 6
    wait_initial_s: float = 1.0
    wait_max_s: float = 60.0
    longest_retry_after_s: float = 300.0
    flush_candles: int = 20_000


DEFAULT_POLICY = DownloadPolicy()


class DownloadProgress(NamedTuple):
    """How far a download is: nanoseconds of the span done and in all, candles received, and why it waits now ("" if not)."""

    done_ns: int
    total_ns: int
    candles: int
    waiting: str


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What a download did, in [start_ns, end_ns). `gaps` are the holes now stored in that span, whoever's they are."""

    series: CandleSeries
    start_ns: int
    end_ns: int
    received: int
    merged: Merged
    requests: int
    retries: int
    gaps: tuple[Gap, ...]


async def download_candles(
    source: CandleSource,
    store: CandleStore,
    series: CandleSeries,
    start_ns: int,
    end_ns: int,
    *,
    clock: Clock,
    rng: random.Random,
    calendar: str | None = None,
    policy: DownloadPolicy = DEFAULT_POLICY,
    on_progress: Callable[[DownloadProgress], None] | None = None,
) -> Downloaded:
    """Bring the closed candles that open in [start_ns, end_ns) into the store, as far as they are not there.

    Raises `ConfigError` when nothing in the span can have closed; `VenueUnavailable` when the source does not answer in the
    attempts allowed, `VenueRefused` when it says no, `MarketDataError` for candles that cannot be right. What came before
    is kept.
    """
    if series.venue != source.venue:
        raise ConfigError(f"expected a series of {source.venue}, found {series}")
    timeframe = series.timeframe
    start_ns, end_ns = timeframe.ceil_ns(start_ns), timeframe.floor_ns(min(end_ns, clock.now_ns()))
    if start_ns >= end_ns:
        raise ConfigError(f"{series}: no candle has opened and closed in the time asked for")
    spans = list(_uncovered((start_ns, end_ns), store.covered(series) if source.is_complete else ()))
    run = _Download(source, store, series, clock, rng, calendar, policy, on_progress, spans)
    for span in spans:
        if not await run.fetch(span):
            break
    there = store.read(series, start_ns, end_ns)["ts_ns"] if store.has(series) else no_candles()["ts_ns"]
    holes = tuple(gaps(there, timeframe, store.calendar(series)))
    return Downloaded(series, start_ns, end_ns, run.received, run.merged, run.requests, run.retries, holes)


class _Download:
    """The state of one download."""

    def __init__(
        self,
        source: CandleSource,
        store: CandleStore,
        series: CandleSeries,
        clock: Clock,
        rng: random.Random,
        calendar: str | None,
        policy: DownloadPolicy,
        on_progress: Callable[[DownloadProgress], None] | None,
        spans: Sequence[Span],
    ) -> None:
        self.received = self.requests = self.retries = 0
        self.merged = Merged()
        self._source, self._store, self._series = source, store, series
        self._clock, self._rng, self._policy = clock, rng, policy
        self._calendar = calendar
        self._hours = None if calendar is None else TradingCalendar(calendar)
        self._on_progress = on_progress
        self._total_ns, self._done_ns = sum(end - start for start, end in spans), 0
        self._next_request_s = clock.monotonic_s()

    async def fetch(self, span: Span) -> bool:
        """All pages of a span; what was received is stored also when a page fails. False when the rest has not closed yet."""
        start_ns, end_ns = span
        cursor_ns = stored_ns = start_ns
        waiting: list[pl.DataFrame] = []
        before = self._neighbour(start_ns)
        try:
            while cursor_ns < end_ns:
                page = await self._page(cursor_ns, end_ns)
                told_to_ns, candles = self._closed(page, cursor_ns, end_ns)
                if told_to_ns <= cursor_ns:
                    return False
                self._require_sound(before, candles)
                before = candles.tail(1) if candles.height else before
                waiting.append(candles)
                self.received += candles.height
                self._done_ns += told_to_ns - cursor_ns
                cursor_ns = told_to_ns
                self._tell("")
                if sum(each.height for each in waiting) >= self._policy.flush_candles:
                    self._keep(waiting, (stored_ns, cursor_ns))
                    waiting, stored_ns = [], cursor_ns
        finally:
            if cursor_ns > stored_ns:
                self._keep(waiting, (stored_ns, cursor_ns))
        return True

    def _keep(self, pages: list[pl.DataFrame], span: Span) -> None:
        covered = span if self._source.is_complete else None
        now_ns = self._clock.now_ns()
        self.merged += self._store.merge(
            self._series, pl.concat(pages), now_ns=now_ns, covered=covered, calendar=self._calendar
        )

    # --- what a page may be -----------------------------------------------------------------------------------------------

    def _closed(self, page: CandlePage, start_ns: int, end_ns: int) -> tuple[int, pl.DataFrame]:
        """Up to when a page tells all there is, and its candles from `start_ns` till then: those that are final."""
        timeframe = self._series.timeframe
        now_ns = self._clock.now_ns()
        if page.as_of_ns is not None:
            now_ns = min(now_ns, page.as_of_ns)
        require_candles(page.candles, timeframe, f"a page of {self._series}")
        told_to_ns = min(page.end_ns, end_ns, timeframe.floor_ns(now_ns))
        times = pl.col("ts_ns")
        return told_to_ns, page.candles.filter((times >= start_ns) & (times < told_to_ns))

    def _require_sound(self, before: pl.DataFrame, candles: pl.DataFrame) -> None:
        """Refuse candles with any error but a hole; the one before them tells whether the scale of prices is still the same."""
        if candles.is_empty():
            return
        report = check_candles(
            pl.concat([before, candles]),
            source=str(self._series),
            timeframe=self._series.timeframe,
            now_ns=self._clock.now_ns(),
            calendar=self._hours,
        )
        wrong = [found for found in report.findings if found.severity is Severity.ERROR and found.kind != "gap"]
        if wrong:
            told = "; ".join(f"{found.kind}: {found.detail} ({found.first})" for found in wrong)
            raise MarketDataError(f"{self._series}: the source gave candles that cannot be right and are not stored: {told}")

    def _neighbour(self, start_ns: int) -> pl.DataFrame:
        """The last stored candle of the month before; none is an empty table."""
        if not self._store.has(self._series):
            return no_candles()
        return self._store.read(self._series, start_ns - _NEIGHBOUR_NS, start_ns).tail(1)

    # --- asking -----------------------------------------------------------------------------------------------------------

    async def _page(self, start_ns: int, end_ns: int) -> CandlePage:
        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            retry=retry_if_exception_type(SourceBusy),
            wait=self._wait_s,
            stop=self._is_enough,
            before_sleep=self._before_retry,
            reraise=True,
        )
        page: CandlePage = await retrying(self._ask, start_ns, end_ns)
        return page

    async def _ask(self, start_ns: int, end_ns: int) -> CandlePage:
        """One attempt, not sooner than the source's pace allows."""
        early_s = self._next_request_s - self._clock.monotonic_s()
        if early_s > 0:
            await self._clock.sleep(early_s)
        if self._source.requests_per_minute is not None:
            self._next_request_s = self._clock.monotonic_s() + 60.0 / self._source.requests_per_minute
        self.requests += 1
        return await self._source.page(self._series.symbol, self._series.timeframe, start_ns, end_ns)

    def _wait_s(self, state: RetryCallState) -> float:
        """What the source asks for, or exponential; with jitter, so that not everybody comes back at once."""
        policy = self._policy
        asked_s = _asked_wait_s(state)
        if asked_s is not None:
            return asked_s + self._rng.uniform(0.0, policy.wait_initial_s)
        doubled_s = policy.wait_initial_s * 2.0 ** min(state.attempt_number - 1, 30)
        return min(policy.wait_max_s, doubled_s) * self._rng.uniform(0.5, 1.0)

    def _is_enough(self, state: RetryCallState) -> bool:
        return state.attempt_number >= self._policy.max_attempts or (
            (_asked_wait_s(state) or 0.0) > self._policy.longest_retry_after_s
        )

    def _before_retry(self, state: RetryCallState) -> None:
        self.retries += 1
        self._tell(f"{_failure(state)}; again in {state.upcoming_sleep:.0f} s")

    def _tell(self, waiting: str) -> None:
        if self._on_progress is not None:
            self._on_progress(DownloadProgress(self._done_ns, self._total_ns, self.received, waiting))


def _failure(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _asked_wait_s(state: RetryCallState) -> float | None:
    failure = _failure(state)
    return failure.retry_after_s if isinstance(failure, SourceBusy) else None


def _uncovered(wanted: Span, covered: Sequence[Span]) -> Iterator[Span]:
    """The parts of a span that are in none of the covered ones, which are in order and apart."""
    start_ns, end_ns = wanted
    for covered_start_ns, covered_end_ns in covered:
        if covered_start_ns >= end_ns:
            break
        if covered_start_ns > start_ns:
            yield start_ns, covered_start_ns
        start_ns = max(start_ns, covered_end_ns)
    if start_ns < end_ns:
        yield start_ns, end_ns
