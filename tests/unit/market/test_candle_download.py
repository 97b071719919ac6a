"""A download: in pages, at a pace, patient, resumable, and never storing what it should not."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.errors import ConfigError, MarketDataError, VenueRefused
from autohedge.market.candle_download import Downloaded, DownloadPolicy, DownloadProgress, download_candles
from autohedge.market.candle_sources import CandlePage, CandleSource, SourceBusy, TableSource
from autohedge.market.candle_store import CandleSeries, CandleStore, Merged
from autohedge.market.candles import Gap, no_candles
from autohedge.market.timeframes import Timeframe
from autohedge.testing import ManualClock
from tests.unit.market.candle_tables import MIDNIGHT_NS, changed, walk

M1 = Timeframe.M1
STEP_NS = M1.interval_ns
BTC = CandleSeries("test", "BTC/USDT", M1)
LATER_NS = MIDNIGHT_NS + 30 * 86_400 * 10**9


def minute(number: int) -> int:
    return MIDNIGHT_NS + number * STEP_NS


class Paged:
    """A venue of `page_candles` per answer, with something to happen before some of them."""

    venue = "test"
    is_complete = True

    def __init__(self, table: pl.DataFrame, page_candles: int = 10, *, requests_per_minute: float | None = None) -> None:
        self.table = table
        self.page_candles = page_candles
        self.requests_per_minute = requests_per_minute
        self.as_of_ns: int | None = None
        self.asked: list[tuple[int, int]] = []
        self.failures: dict[int, Exception] = {}
        self.on_page: Callable[[CandlePage], CandlePage] = lambda page: page

    async def page(self, symbol: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> CandlePage:
        assert (symbol, timeframe) == (BTC.symbol, BTC.timeframe)
        self.asked.append((start_ns, end_ns))
        failure = self.failures.pop(len(self.asked), None)
        if failure is not None:
            raise failure
        times = pl.col("ts_ns")
        candles = self.table.filter((times >= start_ns) & (times < end_ns)).head(self.page_candles)
        told_to_ns = int(candles["ts_ns"][-1]) + STEP_NS if candles.height == self.page_candles else end_ns
        return self.on_page(CandlePage(candles, told_to_ns, self.as_of_ns))

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "candles")


async def download(
    source: CandleSource,
    store: CandleStore,
    first: int = 0,
    end: int = 100,
    *,
    clock: ManualClock | None = None,
    policy: DownloadPolicy = DownloadPolicy(),  # noqa: B008 a frozen value
    on_progress: Callable[[DownloadProgress], None] | None = None,
    calendar: str | None = None,
) -> Downloaded:
    """The minutes `first` … `end` − 1, a month later."""
    return await download_candles(
        source,
        store,
        BTC,
        minute(first),
        minute(end),
        clock=clock or ManualClock(LATER_NS),
        rng=random.Random(1),
        policy=policy,
        on_progress=on_progress,
        calendar=calendar,
    )


# --- pages and resuming ---------------------------------------------------------------------------------------------------


async def test_all_pages_arrive_in_the_store(store: CandleStore) -> None:
    source = Paged(walk(100))
    done = await download(source, store)
    assert store.read(BTC).equals(walk(100))
    assert (done.received, done.merged, done.requests, done.retries, done.gaps) == (100, Merged(added=100), 10, 0, ())
    assert store.covered(BTC) == ((minute(0), minute(100)),)


async def test_what_is_there_is_not_asked_for_again(store: CandleStore) -> None:
    source = Paged(walk(100))
    await download(source, store, 20, 40)
    await download(source, store, 60, 70)
    source.asked.clear()
    done = await download(source, store)
    assert [(start, end) for start, end in source.asked if start in (minute(0), minute(40), minute(70))] == [
        (minute(0), minute(20)), (minute(40), minute(60)), (minute(70), minute(100)),
    ]  # fmt: skip
    assert done.merged == Merged(added=70)
    source.asked.clear()
    again = await download(source, store)
    assert (source.asked, again.received, again.requests) == ([], 0, 0)


async def test_a_range_is_taken_in_whole_candles(store: CandleStore) -> None:
    source, clock = Paged(walk(10)), ManualClock(LATER_NS)
    start_ns, end_ns = minute(1) + 1, minute(5) + 1
    done = await download_candles(source, store, BTC, start_ns, end_ns, clock=clock, rng=random.Random(1))
    assert (done.start_ns, done.end_ns) == (minute(2), minute(5))
    assert store.read(BTC)["ts_ns"].to_list() == [minute(2), minute(3), minute(4)]


@settings(max_examples=12, deadline=None)
@given(missing=st.sets(st.integers(0, 59)), page=st.integers(5, 25), flush=st.integers(1, 40), cut=st.integers(1, 8))
async def test_a_download_that_fails_anywhere_is_completed_by_the_next(
    missing: set[int], page: int, flush: int, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The store ends as if nothing had failed, and what came before the failure is not asked for again."""
    table = walk(60)[[row for row in range(60) if row not in missing]]
    store, source = CandleStore(tmp_path_factory.mktemp("store")), Paged(table, page)
    policy = DownloadPolicy(flush_candles=flush)
    source.failures[cut] = VenueRefused("no")
    try:
        await download(source, store, 0, 60, policy=policy)
    except VenueRefused:
        assert source.asked[-1][0] == (store.covered(BTC) or ((0, minute(0)),))[0][1]
    first = len(source.asked)
    await download(source, store, 0, 60, policy=policy)
    assert all(asked[0] >= source.asked[first - 1][0] for asked in source.asked[first:])
    assert store.covered(BTC) == ((minute(0), minute(60)),)
    there = store.read(BTC) if store.has(BTC) else no_candles()
    assert there.equals(table)


async def test_a_hole_at_the_venue_stays_a_hole_and_is_noted_as_the_venues(store: CandleStore) -> None:
    table = walk(30)[[*range(5), *range(17, 30)]]
    done = await download(Paged(table), store, 0, 30)
    hole = Gap(minute(5), minute(17), 12)
    assert done.gaps == (hole,)
    assert store.read(BTC).equals(table)
    assert (store.describe(BTC).gaps, store.describe(BTC).venue_gaps) == ((), (hole,))


async def test_a_table_covers_nothing_because_the_venue_may_have_more(store: CandleStore) -> None:
    source = TableSource(BTC, walk(10)[[0, 1, 2, 5]])
    for merged in (Merged(added=4), Merged(same=4)):
        assert (await download(source, store, 0, 10)).merged == merged
    assert store.covered(BTC) == ()
    assert store.describe(BTC).gaps == (Gap(minute(3), minute(5), 2),)


async def test_a_conflict_is_reported(store: CandleStore) -> None:
    await download(TableSource(BTC, walk(10)), store, 0, 10)
    other = changed(walk(10), 4, volume=Decimal(5))
    done = await download(Paged(other), store, 0, 10)
    assert (done.merged.replaced, done.merged.conflicts[0].ts_ns) == (1, minute(4))


# --- only what has closed -------------------------------------------------------------------------------------------------


async def test_the_candle_that_is_still_open_is_not_stored(store: CandleStore) -> None:
    clock = ManualClock(minute(20) + 30 * 10**9)
    source = Paged(walk(21), 50)
    source.on_page = lambda page: CandlePage(walk(21), minute(21))
    done = await download(source, store, 0, 40, clock=clock)
    assert done.end_ns == minute(20)
    assert store.read(BTC).equals(walk(20))
    clock.advance(60)
    assert (await download(source, store, 0, 40, clock=clock)).merged.added == 1


async def test_pages_that_overlap_give_each_candle_once(store: CandleStore) -> None:
    source = Paged(walk(40))
    source.on_page = lambda page: page._replace(candles=walk(40).filter(pl.col("ts_ns") < page.end_ns))
    done = await download(source, store, 0, 40)
    assert (done.received, done.merged) == (40, Merged(added=40))


async def test_the_venues_clock_counts_where_ours_runs_ahead(store: CandleStore) -> None:
    """A candle of a minute that is not over at the venue is not final, whatever our clock says."""
    source = Paged(walk(40), 50)
    source.as_of_ns = minute(15) + 1
    await download(source, store, 0, 40)
    assert store.read(BTC).equals(walk(15))
    assert store.covered(BTC) == ((minute(0), minute(15)),)


async def test_a_span_of_which_nothing_can_have_closed_is_refused(store: CandleStore) -> None:
    for clock_ns, first, end in ((minute(5), 5, 10), (LATER_NS, 10, 10), (LATER_NS, 10, 5)):
        with pytest.raises(ConfigError, match="no candle has opened and closed"):
            await download(Paged(walk(10)), store, first, end, clock=ManualClock(clock_ns))


# --- pace and patience ----------------------------------------------------------------------------------------------------


async def test_pages_are_asked_for_at_the_pace_that_the_source_allows(store: CandleStore) -> None:
    clock = ManualClock(LATER_NS)
    await download(Paged(walk(100), requests_per_minute=30), store, clock=clock)
    assert clock.sleeps == [2.0] * 9


async def test_a_wait_that_the_source_asks_for_is_kept(store: CandleStore) -> None:
    source, clock = Paged(walk(30)), ManualClock(LATER_NS)
    source.failures = {2: SourceBusy("429", 17.0), 3: SourceBusy("418", 120.0)}
    done = await download(source, store, 0, 30, clock=clock)
    assert (done.requests, done.retries) == (5, 2)
    assert 17.0 <= clock.sleeps[0] <= 18.0
    assert 120.0 <= clock.sleeps[1] <= 121.0
    assert store.read(BTC).equals(walk(30))


async def test_other_failures_are_tried_again_at_growing_distances(store: CandleStore) -> None:
    source, clock = Paged(walk(10)), ManualClock(LATER_NS)
    source.failures = {number: SourceBusy("503") for number in (1, 2, 3, 4)}
    await download(source, store, 0, 10, clock=clock)
    for waited, most in zip(clock.sleeps, (1, 2, 4, 8), strict=True):
        assert most / 2 <= waited <= most


async def test_a_source_that_never_answers_ends_the_download_and_keeps_what_came(store: CandleStore) -> None:
    source, clock = Paged(walk(30)), ManualClock(LATER_NS)
    source.failures = {number: SourceBusy(f"failure {number}") for number in range(3, 20)}
    with pytest.raises(SourceBusy, match="failure 5"):
        await download(source, store, 0, 30, clock=clock, policy=DownloadPolicy(max_attempts=3))
    assert store.read(BTC).equals(walk(20))
    assert len(source.asked) == 5


async def test_a_wait_of_an_hour_is_not_waited_for(store: CandleStore) -> None:
    source, clock = Paged(walk(10)), ManualClock(LATER_NS)
    source.failures = {1: SourceBusy("banned", 3_600.0)}
    with pytest.raises(SourceBusy, match="banned"):
        await download(source, store, 0, 10, clock=clock)
    assert clock.sleeps == []


async def test_a_refusal_is_not_tried_again(store: CandleStore) -> None:
    source = Paged(walk(10))
    source.failures = {1: VenueRefused("no")}
    with pytest.raises(VenueRefused):
        await download(source, store, 0, 10)
    assert len(source.asked) == 1


async def test_progress_is_told_after_each_page_and_before_each_wait(store: CandleStore) -> None:
    source, told = Paged(walk(30)), []
    source.failures = {2: SourceBusy("busy", 3.0)}
    await download(source, store, 0, 30, on_progress=told.append)
    assert [(each.done_ns // STEP_NS, each.total_ns // STEP_NS, each.candles) for each in told] == [
        (10, 30, 10), (10, 30, 10), (20, 30, 20), (30, 30, 30),
    ]  # fmt: skip
    assert told[1].waiting.startswith("busy; again in ")
    assert told[2].waiting == ""


# --- what cannot be right -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (changed(walk(20), 13, high=Decimal(1)), "high_too_low"),
        (changed(walk(20), 13, low=Decimal(-1)), "negative_price"),
        (walk(20).with_columns((pl.col("open", "high", "low", "close") * 100).cast(pl.Decimal(38, 18)))[10:], "price_unit"),
        (walk(20).reverse(), "in order"),
        (pl.concat([walk(20)[10:], walk(20)[19:]]), "none twice"),
        (walk(20).with_columns(pl.col("ts_ns") + 1)[10:], "whole 1m buckets"),
    ],
    ids=["high", "negative", "cents", "unordered", "twice", "off the grid"],
)
async def test_a_page_that_cannot_be_right_is_not_stored_and_those_before_are(
    wrong: pl.DataFrame, why: str, store: CandleStore
) -> None:
    source = Paged(walk(20))
    source.on_page = lambda page: page if page.candles["ts_ns"][0] == minute(0) else page._replace(candles=wrong)
    with pytest.raises(MarketDataError, match=why):
        await download(source, store, 0, 20)
    assert store.read(BTC).equals(walk(10))


async def test_dollars_are_not_continued_in_cents(store: CandleStore) -> None:
    """The candle stored last tells the scale of prices, also in another process days later."""
    cents = walk(40).with_columns((pl.col("open", "high", "low", "close") * 100).cast(pl.Decimal(38, 18)))
    await download(Paged(walk(40)), store, 0, 20)
    with pytest.raises(MarketDataError, match=r"price_unit: .*100 times too high or low"):
        await download(Paged(cents), store, 20, 40)
    assert store.read(BTC).equals(walk(20))


async def test_a_candle_of_a_closed_exchange_is_refused(store: CandleStore) -> None:
    with pytest.raises(MarketDataError, match=r"out_of_session: lies outside the sessions of its exchange \(XNYS\)"):
        await download(Paged(walk(10)), store, 0, 10, calendar="XNYS")  # midnight in New York's evening
    assert not store.has(BTC)


async def test_a_source_that_makes_no_headway_ends_the_download(store: CandleStore) -> None:
    source = Paged(walk(10))
    source.on_page = lambda page: page._replace(candles=no_candles(), end_ns=source.asked[-1][0])
    await download(source, store, 0, 10)
    assert (len(source.asked), store.covered(BTC)) == (1, ())


async def test_a_series_of_another_venue_is_refused(store: CandleStore) -> None:
    other = CandleSeries("binance", "BTC/USDT", M1)
    with pytest.raises(ConfigError, match="expected a series of test, found BTC/USDT 1m of binance"):
        await download_candles(
            Paged(walk(1)), store, other, minute(0), minute(1), clock=ManualClock(LATER_NS), rng=random.Random(1)
        )
    with pytest.raises(ConfigError, match="this table has BTC/USDT 1m of test"):
        await TableSource(BTC, walk(1)).page("ETH/USDT", M1, 0, 1)
