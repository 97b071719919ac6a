"""The newest closed candles: asked for once per bar, never old, never unclosed."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest

from autohedge.errors import ConfigError
from autohedge.market import candle_cache
from autohedge.market.candle_cache import CandleCache
from autohedge.market.candle_sources import CandlePage, SourceBusy
from autohedge.market.timeframes import Timeframe
from autohedge.testing import ManualClock
from tests.unit.market.candle_tables import MIDNIGHT_NS, walk

M1, H1 = Timeframe.M1, Timeframe.H1
STEP_NS = M1.interval_ns


def minute(number: int) -> int:
    return MIDNIGHT_NS + number * STEP_NS


class Venue:
    """Has every candle that has begun by the clock, also the one that is still open, as venues do."""

    venue = "test"
    is_complete = True
    requests_per_minute = None

    def __init__(self, clock: ManualClock, table: pl.DataFrame) -> None:
        self.clock = clock
        self.table = table
        self.late_s = 0.0
        self.page_candles = 1_000
        self.asked: list[tuple[str, int, int]] = []
        self.failure: Exception | None = None

    async def page(self, symbol: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> CandlePage:
        self.asked.append((symbol, start_ns, end_ns))
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        times = pl.col("ts_ns")
        there = (times >= start_ns) & (times <= self.clock.now_ns() - round(self.late_s * 1e9))
        candles = self.table.filter(there).head(self.page_candles)
        full = candles.height == self.page_candles
        return CandlePage(candles, int(candles["ts_ns"][-1]) + timeframe.interval_ns if full else end_ns)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(minute(100) + 5 * 10**9)


@pytest.fixture
def venue(clock: ManualClock) -> Venue:
    return Venue(clock, walk(300))


async def test_only_closed_candles_are_given_and_asked_for_once_per_bar(clock: ManualClock, venue: Venue) -> None:
    cache = CandleCache(venue, clock)
    assert (await cache.latest("A/B", M1, 20)).equals(walk(300)[80:100])
    clock.advance(54)
    assert (await cache.latest("A/B", M1, 20)).equals(walk(300)[80:100])
    assert len(venue.asked) == 1
    clock.advance(1)
    assert (await cache.latest("A/B", M1, 20)).equals(walk(300)[81:101])
    assert venue.asked[1:] == [("A/B", minute(100), minute(101))]


async def test_fewer_candles_need_no_question_and_more_do(clock: ManualClock, venue: Venue) -> None:
    cache = CandleCache(venue, clock)
    await cache.latest("A/B", M1, 20)
    assert (await cache.latest("A/B", M1, 5)).equals(walk(300)[95:100])
    assert len(venue.asked) == 1
    assert (await cache.latest("A/B", M1, 50)).equals(walk(300)[50:100])
    assert len(venue.asked) == 2


async def test_all_pages_are_fetched(clock: ManualClock, venue: Venue) -> None:
    venue.page_candles = 7
    assert (await CandleCache(venue, clock).latest("A/B", M1, 40)).equals(walk(300)[60:100])


async def test_a_late_candle_is_asked_for_again_but_not_every_time(clock: ManualClock, venue: Venue) -> None:
    """A venue that is a second late at the end of a day must not cost the day."""
    cache = CandleCache(venue, clock)
    await cache.latest("A/B", M1, 3)
    venue.late_s = 62.0
    clock.advance(55.5)
    assert (await cache.latest("A/B", M1, 3)).equals(walk(300)[98:100])
    clock.advance(2)
    await cache.latest("A/B", M1, 3)
    assert len(venue.asked) == 2
    clock.advance(3)
    assert (await cache.latest("A/B", M1, 3)).equals(walk(300)[98:101])
    assert len(venue.asked) == 3


async def test_a_failure_is_raised_and_never_covered_with_old_candles(clock: ManualClock, venue: Venue) -> None:
    cache = CandleCache(venue, clock)
    await cache.latest("A/B", M1, 3)
    clock.advance(60)
    venue.failure = SourceBusy("down")
    with pytest.raises(SourceBusy):
        await cache.latest("A/B", M1, 3)
    venue.failure = None
    assert (await cache.latest("A/B", M1, 3)).equals(walk(300)[98:101])


async def test_many_who_ask_at_once_cause_one_question(clock: ManualClock, venue: Venue) -> None:
    cache = CandleCache(venue, clock)
    answers = await asyncio.gather(*(cache.latest("A/B", M1, 10) for _ in range(8)))
    assert len(venue.asked) == 1
    assert all(answer.equals(walk(300)[90:100]) for answer in answers)


async def test_series_do_not_mix_and_the_least_used_goes(
    clock: ManualClock, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candle_cache, "MAX_SERIES", 2)
    cache = CandleCache(venue, clock)
    for symbol in ("A/B", "C/D", "A/B", "E/F", "A/B", "C/D"):
        await cache.latest(symbol, M1, 3)
    assert [symbol for symbol, _, _ in venue.asked] == ["A/B", "C/D", "E/F", "C/D"]


async def test_what_is_kept_is_bounded(clock: ManualClock, venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_cache, "MAX_CANDLES", 10)
    cache = CandleCache(venue, clock)
    await cache.latest("A/B", M1, 10)
    for _ in range(30):
        clock.advance(60)
        assert (await cache.latest("A/B", M1, 10)).height == 10
    assert len(venue.asked) == 31
    with pytest.raises(ConfigError, match="expected 1 to 10 candles, found 11"):
        await cache.latest("A/B", M1, 11)
    with pytest.raises(ConfigError, match="found 0"):
        await cache.latest("A/B", M1, 0)


async def test_a_venue_with_nothing_gives_nothing(clock: ManualClock) -> None:
    empty = Venue(clock, walk(300).clear())
    assert (await CandleCache(empty, clock).latest("A/B", H1, 5)).is_empty()
