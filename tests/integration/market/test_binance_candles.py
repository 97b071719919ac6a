"""Candles over a real socket from a server that speaks the venue's interface, well and badly."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from autohedge.errors import ConfigError, MarketDataError, VenueRefused, VenueUnavailable
from autohedge.market.binance_candles import BinanceCandles
from autohedge.market.candle_download import Downloaded, DownloadPolicy, download_candles
from autohedge.market.candle_sources import SourceBusy
from autohedge.market.candle_store import CandleSeries, CandleStore
from autohedge.market.candles import Gap
from autohedge.market.timeframes import Timeframe
from autohedge.testing import ManualClock
from tests.integration.market.klines_server import Fault, Venue, serving
from tests.unit.market.candle_tables import MIDNIGHT_NS, changed, walk

M1 = Timeframe.M1
STEP_NS = M1.interval_ns
BTC = CandleSeries("binance", "BTC/USDT", M1)
TABLE = walk(2_500)


def minute(number: int) -> int:
    return MIDNIGHT_NS + number * STEP_NS


@pytest.fixture
def venue() -> Iterator[Venue]:
    with serving(Venue({"BTCUSDT": TABLE})) as venue:
        yield venue


@pytest.fixture
async def source(venue: Venue) -> AsyncIterator[BinanceCandles]:
    source = BinanceCandles(venue.url)
    yield source
    await source.aclose()


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "candles")


async def download(
    source: BinanceCandles, store: CandleStore, end: int = 2_500, *, clock: ManualClock | None = None, attempts: int = 6
) -> Downloaded:
    return await download_candles(
        source,
        store,
        BTC,
        minute(0),
        minute(end),
        clock=clock or ManualClock(minute(5_000)),
        rng=random.Random(1),
        policy=DownloadPolicy(max_attempts=attempts),
    )


async def test_a_history_arrives_exactly_as_the_venue_has_it(venue: Venue, source: BinanceCandles, store: CandleStore) -> None:
    done = await download(source, store)
    assert store.read(BTC).equals(TABLE)
    assert (done.received, done.requests, done.gaps) == (2_500, 3, ())
    assert venue.requests[0] == {
        "symbol": "BTCUSDT",
        "interval": "1m",
        "startTime": str(minute(0) // 10**6),
        "endTime": str(minute(2_500) // 10**6 - 1),
        "limit": "1000",
    }
    assert [int(asked["startTime"]) for asked in venue.requests] == [minute(number) // 10**6 for number in (0, 1_000, 2_000)]


async def test_digits_beyond_a_float_survive(venue: Venue, source: BinanceCandles) -> None:
    venue.candles["BTCUSDT"] = changed(walk(1), 0, volume=Decimal("123456789012.12345678"))
    page = await source.page("BTC/USDT", M1, minute(0), minute(1))
    assert page.candles["volume"].to_list() == [Decimal("123456789012.12345678")]


async def test_a_server_with_smaller_pages_than_asked_for_is_read_to_the_end(
    venue: Venue, source: BinanceCandles, store: CandleStore
) -> None:
    """A short page is not the end: taking it for one would note a hole that the venue does not have."""
    venue.page_candles = 400
    await download(source, store)
    assert store.read(BTC).equals(TABLE)


async def test_a_hole_of_the_venue_is_noted_and_not_filled(venue: Venue, source: BinanceCandles, store: CandleStore) -> None:
    venue.candles["BTCUSDT"] = TABLE.filter((pl.col("ts_ns") < minute(300)) | (pl.col("ts_ns") >= minute(1_700)))
    done = await download(source, store)
    assert done.gaps == (Gap(minute(300), minute(1_700), 1_400),)
    assert store.describe(BTC).venue_gaps == done.gaps
    assert store.read(BTC).height == 1_100


async def test_no_candles_in_a_span_is_an_answer(venue: Venue, source: BinanceCandles, store: CandleStore) -> None:
    venue.candles["BTCUSDT"] = TABLE.clear()
    done = await download(source, store)
    assert (done.received, done.requests) == (0, 1)
    assert not store.has(BTC)
    assert (await download(source, store)).requests == 0


async def test_the_open_candle_that_the_venue_sends_is_not_stored(
    venue: Venue, source: BinanceCandles, store: CandleStore
) -> None:
    """By the venue's own clock, even where ours runs a day ahead."""
    venue.date = "Fri, 04 Oct 2024 00:20:30 GMT"
    await download(source, store, clock=ManualClock(minute(1_440)))
    assert store.read(BTC).equals(TABLE[:20])
    assert store.covered(BTC) == ((minute(0), minute(20)),)


@pytest.mark.parametrize("status", [429, 418])
async def test_a_limit_is_waited_out_as_long_as_the_venue_says(
    status: int, venue: Venue, source: BinanceCandles, store: CandleStore
) -> None:
    body = b'{"code":-1003,"msg":"Too much request weight used."}'
    venue.faults = [None, Fault(status, {"Retry-After": "42"}, body)]
    clock = ManualClock(minute(5_000))
    done = await download(source, store, clock=clock)
    assert done.retries == 1
    assert 42.0 <= max(clock.sleeps) <= 43.0
    assert store.read(BTC).equals(TABLE)


async def test_a_wait_until_a_date_is_kept_too(venue: Venue, source: BinanceCandles) -> None:
    venue.date = "Sat, 05 Oct 2024 00:00:00 GMT"
    venue.faults = [Fault(503, {"Retry-After": "Sat, 05 Oct 2024 00:01:30 GMT"}), Fault(503, {"Retry-After": "soon"})]
    for expected in (90.0, None):
        with pytest.raises(SourceBusy) as failure:
            await source.page("BTC/USDT", M1, minute(0), minute(1))
        assert failure.value.retry_after_s == expected


PASSING = {
    "500": Fault(500, body=b"oops"),
    "502 of a proxy": Fault(502, body=b"<html>Bad gateway</html>"),
    "503": Fault(503, body=b""),
    "truncated JSON": Fault(cut_bytes=1_000),
    "HTML instead of JSON": Fault(body=b"<html>log in to this network</html>"),
    "hung up": Fault(hang_up=True),
    "cut in the middle": Fault(cut_bytes=1_000, announce_whole=True),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_a_failure_that_passes_is_tried_again(
    fault: Fault, venue: Venue, source: BinanceCandles, store: CandleStore
) -> None:
    venue.faults = [None, fault]
    done = await download(source, store)
    assert done.retries == 1
    assert store.read(BTC).equals(TABLE)


async def test_an_answer_that_begins_and_does_not_go_on_is_given_up(venue: Venue) -> None:
    venue.faults = [Fault(stall=True)]
    source = BinanceCandles(venue.url, timeout_s=0.3)
    with pytest.raises(SourceBusy, match=r"did not (send a page within 0\.3 s|answer: ReadTimeout)"):
        await source.page("BTC/USDT", M1, minute(0), minute(1))
    await source.aclose()


async def test_a_venue_that_stays_down_is_told_and_what_came_is_kept(
    venue: Venue, source: BinanceCandles, store: CandleStore
) -> None:
    venue.faults = [None, *[Fault(500, body=b"oops")] * 3]
    with pytest.raises(VenueUnavailable, match=r"127\.0\.0\.1 answered 500: oops"):
        await download(source, store, attempts=3)
    assert store.read(BTC).equals(TABLE[:1_000])
    done = await download(source, store)
    assert (done.received, store.read(BTC).equals(TABLE)) == (1_500, True)


async def test_an_unknown_symbol_is_the_operators_mistake(source: BinanceCandles, venue: Venue) -> None:
    with pytest.raises(ConfigError, match=r"does not know the symbol BTC/DOGS \(BTCDOGS\)"):
        await source.page("BTC/DOGS", M1, minute(0), minute(1))
    assert len(venue.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"), [(400, b'{"code":-1100,"msg":"Illegal"}'), (403, b"WAF"), (451, b"no"), (301, b"")]
)
async def test_a_refusal_is_told_and_not_repeated(
    status: int, body: bytes, venue: Venue, source: BinanceCandles, store: CandleStore
) -> None:
    venue.faults = [Fault(status, {"Location": "http://elsewhere.invalid/"}, body)]
    with pytest.raises(VenueRefused, match=f"answered {status}"):
        await download(source, store)
    assert len(venue.requests) == 1


GOOD = f'[{minute(0) // 10**6},"1","2","0.5","1","3",0]'
NO_CANDLES = {
    "an object": (b'{"candles": []}', "expected a list of candles"),
    "a short row": (b'[[1728000000000,"1","2"]]', "expected a candle of a time and five texts"),
    "numbers for texts": (b'[[1728000000000,1.0,2.0,0.5,1.0,3.0,0]]', "expected a candle of a time and five texts"),
    "microseconds": (GOOD.replace("00,", "00000,", 1).join("[]").encode(), "expected an open time in milliseconds"),
    "a negative time": (b'[[-1,"1","2","0.5","1","3",0]]', "expected an open time in milliseconds"),
    "a time as text": (b'[["1728000000000","1","2","0.5","1","3",0]]', "expected an open time in milliseconds"),
    "no number": (GOOD.replace('"2"', '"NaN"').join("[]").encode(), "found high 'NaN'"),
    "another time": (b'[[1700000040000,"1","2","0.5","1","3",0]]', "expected candles of the span asked for"),
    "twice": (f"[{GOOD},{GOOD}]".encode(), "none twice"),
    "high below low": (GOOD.replace('"2"', '"0.1"').join("[]").encode(), "high_too_low"),
    "endless": (b"[" + b" " * 9_000_000 + b"]", "more than 8,388,608 bytes"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "why"), NO_CANDLES.values(), ids=NO_CANDLES)
async def test_an_answer_that_cannot_be_candles_is_never_used(
    body: bytes, why: str, venue: Venue, source: BinanceCandles, store: CandleStore
) -> None:
    venue.faults = [Fault(body=body)]
    with pytest.raises(MarketDataError, match=why):
        await download(source, store)
    assert not store.has(BTC)


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as https://"):
        BinanceCandles(url)


async def test_a_server_that_is_not_there_is_a_failure_that_may_pass() -> None:
    source = BinanceCandles("http://127.0.0.1:9")
    with pytest.raises(SourceBusy, match="did not answer: ConnectError"):
        await source.page("BTC/USDT", M1, minute(0), minute(1))
    await source.aclose()
