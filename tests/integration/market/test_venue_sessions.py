"""Recorded sessions of four venues through their parsers, and a LOBSTER day: books checked against what the venues say."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.errors import MarketDataError
from autohedge.market.bybit import BybitParser
from autohedge.market.coinbase import CoinbaseParser
from autohedge.market.instruments import simulated_instrument
from autohedge.market.lobster import LobsterFeed
from autohedge.market.parquet_recorder import record_market
from autohedge.market.recording_check import check_recording
from autohedge.market.recordings import open_replay, recorded_instrument
from autohedge.market.sample_sessions import SessionFeed, SessionFiles, Skip, session_files, session_instruments
from autohedge.market.sync import SyncedBook
from autohedge.ports import MarketFeed

# deltas and trades of each symbol, counted apart from the parsers
COINBASE = {
    "SKL-USD": (2_592, 52), "DASH-BTC": (1_925, 15), "SKL-BTC": (1_539, 8), "BAND-BTC": (1_005, 8), "CRV-EUR": (670, 0),
    "NMR-EUR": (665, 8), "YFI-BTC": (487, 0), "BAND-GBP": (471, 4), "SKL-GBP": (289, 1), "NU-GBP": (76, 1),
}  # fmt: skip
BYBIT = {
    "BCHUSDT": (477, 16), "XTZUSDT": (448, 28), "UNIUSDT": (218, 4), "LTCUSDT": (646, 28), "DOTUSDT": (406, 0),
    "LINKUSDT": (395, 3), "ADAUSDT": (374, 9), "ETHUSDT": (288, 4),
}  # fmt: skip
INVERSE = {"BTCUSD": (506, "0.5"), "EOSUSD": (510, "0.001")}


@pytest.fixture(scope="module")
def sessions(recordings: Path) -> dict[str, SessionFiles]:
    folder = recordings / "recordings_ws"
    if not folder.is_dir():
        pytest.skip(f"{recordings} has no recorded sessions of venues")
    return {files.venue: files for files in session_files(folder)}


@pytest.fixture(scope="module")
def listed(sessions: dict[str, SessionFiles]) -> dict[str, dict[str, Instrument]]:
    return {venue: session_instruments(files) for venue, files in sessions.items()}


def read(feed: MarketFeed) -> list[MarketEvent]:
    async def events() -> list[MarketEvent]:
        return [event async for batch in feed.batches() for event in batch]

    return asyncio.run(events())


def booked(events: list[MarketEvent]) -> SyncedBook:
    synced = SyncedBook(OrderBook())
    for event in events:
        synced.apply(event)
    return synced


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Time in ns and body of what was received, read apart from the product."""
    for line in gzip.decompress(path.read_bytes()).splitlines():
        if line[:1].isdigit():
            stamp, _, body = line.partition(b": ")
            seconds, _, fraction = stamp.partition(b".")
            yield int(seconds) * 10**9 + int(fraction.ljust(9, b"0")), body


def test_the_sessions_and_their_lists_are_found(
    sessions: dict[str, SessionFiles], listed: dict[str, dict[str, Instrument]]
) -> None:
    assert {venue: len(files.connections) for venue, files in sessions.items()} == {"binance": 1, "bybit": 2, "coinbase": 1}
    assert {venue: len(each) for venue, each in listed.items()} == {"binance": 1_262, "bybit": 9, "coinbase": 162}
    assert listed["binance"]["NKNUSDT"].tick_size == Decimal("0.0001")
    assert (listed["binance"]["NKNUSDT"].rules_as_of, listed["bybit"]["ETHUSDT"].tick_size) == ("2021-10-12", Decimal("0.05"))


@pytest.mark.parametrize("code", COINBASE)
def test_coinbase_books_end_uncrossed_without_a_gap(
    code: str, sessions: dict[str, SessionFiles], listed: dict[str, dict[str, Instrument]]
) -> None:
    feed = SessionFeed(sessions["coinbase"], code, listed["coinbase"][code])
    events = read(feed)
    deltas, trades = COINBASE[code]
    expected = Counter({BookSnapshot: 1, BookDelta: deltas, Trade: trades})
    assert Counter(map(type, events)) == +expected
    synced = booked(events)
    assert (synced.gaps, synced.crossed, synced.is_synced) == ([], 0, True)
    assert (feed.report.corrupt, feed.report.rounded, feed.report.out_of_order) == (0, 0, 0)


def test_coinbase_books_show_the_prices_of_every_live_ticker(
    sessions: dict[str, SessionFiles], listed: dict[str, dict[str, Instrument]]
) -> None:
    """The first ticker of each product is the last one from before the session."""
    books = {code: (CoinbaseParser(listed["coinbase"][code]), SyncedBook(OrderBook())) for code in COINBASE}
    seen: Counter[str] = Counter()
    for ts_ns, body in lines(sessions["coinbase"].connections[0]):
        message = json.loads(body)
        code = message.get("product_id", "")
        if message["type"] != "ticker":
            for parser, synced in [books[code]] if code in books else []:
                told = parser.parse(ts_ns, body)
                for event in () if isinstance(told, Skip) else told:
                    synced.apply(event)
            continue
        seen[code] += 1
        if seen[code] > 1:
            of, book = listed["coinbase"][code], books[code][1].book
            shown = (of.price(book.best_bid_ticks), of.price(book.best_ask_ticks))
            assert shown == (Decimal(message["best_bid"]), Decimal(message["best_ask"]))
    assert sum(seen.values()) == 107
    assert len(seen) == 10


@pytest.mark.parametrize("code", BYBIT)
def test_bybit_windows_hold_25_levels_a_side_after_every_message(
    code: str, sessions: dict[str, SessionFiles], listed: dict[str, dict[str, Instrument]]
) -> None:
    feed = SessionFeed(sessions["bybit"], code, listed["bybit"][code])
    deltas, trades = BYBIT[code]
    synced, counted = SyncedBook(OrderBook()), Counter[type]()
    for event in read(feed):
        synced.apply(event)
        counted[type(event)] += 1
        assert [len(synced.book.depth_levels(side, 99)) for side in (BUY, SELL)] == [25, 25] or not counted[BookSnapshot]
    assert counted == +Counter({BookSnapshot: 1, BookDelta: deltas, Trade: trades})
    assert (synced.gaps, synced.crossed, feed.report.corrupt, feed.report.rounded) == ([], 0, 0, 0)
    trades_seen = [event for event in read(feed) if isinstance(event, Trade)]
    assert [trade.trade_id for trade in trades_seen] == list(range(1, trades + 1))


@pytest.mark.parametrize("code", INVERSE)
def test_bybit_books_of_inverse_contracts_keep_their_window_too(code: str, sessions: dict[str, SessionFiles]) -> None:
    """Their sizes are in USD, so no instrument of a list holds them; the rules of their stream are the same."""
    deltas, tick = INVERSE[code]
    of = replace(simulated_instrument(f"{code[:3]}/USD"), tick_size=Decimal(tick), lot_size=Decimal(1), min_qty=Decimal(1))
    parser, synced, counted = BybitParser(of), SyncedBook(OrderBook()), Counter[type]()
    for ts_ns, body in lines(sessions["bybit"].connections[1]):
        told = parser.parse(ts_ns, body)
        for event in () if isinstance(told, Skip) else told:
            synced.apply(event)
            counted[type(event)] += 1
    assert (counted[BookSnapshot], counted[BookDelta]) == (1, deltas)
    assert counted[Trade] > 10
    assert (synced.gaps, synced.crossed, parser.rounded) == ([], 0, 0)
    assert [len(synced.book.depth_levels(side, 99)) for side in (BUY, SELL)] == [25, 25]


@pytest.mark.parametrize(
    ("code", "deltas", "tops", "trades"), [("LRCBTC", 15, 9, 1), ("BLZETH", 10, 1, 0), ("RUNEEUR", 2, 0, 0)]
)
def test_binance_sessions_are_synchronised_with_their_answers_over_rest(
    code: str,
    deltas: int,
    tops: int,
    trades: int,
    sessions: dict[str, SessionFiles],
    listed: dict[str, dict[str, Instrument]],
) -> None:
    feed = SessionFeed(sessions["binance"], code, listed["binance"][code])
    events = read(feed)
    assert Counter(map(type, events)) == +Counter({BookSnapshot: 1, BookDelta: deltas, TopOfBook: tops, Trade: trades})
    synced = booked(events)
    assert (synced.gaps, synced.crossed, synced.book.is_crossed, synced.is_synced) == ([], 0, False, True)
    assert check_recording(sessions["binance"].connections[0], code).ok


def test_a_book_with_levels_finer_than_its_tick_is_refused_and_replayed_on_a_finer_one(
    recordings: Path, sessions: dict[str, SessionFiles], listed: dict[str, dict[str, Instrument]]
) -> None:
    """Orders from before the venue coarsened the tick; on the finer one the venue's best prices are the book's own."""
    folder, of = recordings / "recordings_ws", listed["binance"]["NKNUSDT"]
    with pytest.raises(MarketDataError, match=r"BINANCE\.http\.0\.0\.gz:1: price is not a multiple of 0\.0001"):
        open_replay(folder, "NKN/USDT", of)
    events = read(open_replay(folder, "NKN/USDT", replace(of, tick_size=Decimal("0.00001"))))
    assert Counter(map(type, events)) == Counter({BookSnapshot: 1, BookDelta: 150, TopOfBook: 74, Trade: 1})
    synced, compared = SyncedBook(OrderBook()), 0
    quotes = {event.update_id: event for event in events if isinstance(event, TopOfBook)}
    for event in events:
        synced.apply(event)
        quote = quotes.get(synced.book.last_update_id) if isinstance(event, BookDelta) else None
        if quote is not None and synced.is_synced:
            compared += 1
            best = (*synced.book.depth_levels(BUY, 1)[0], *synced.book.depth_levels(SELL, 1)[0])
            assert best == quote[3:]
    assert (synced.gaps, synced.crossed) == ([], 0)
    assert compared > 5


@pytest.mark.parametrize(("symbol", "venue"), [("SKL/USD", "coinbase"), ("LTC/USDT", "bybit"), ("LRC/BTC", "binance")])
def test_the_folder_is_replayed_checked_and_recorded_like_any_other(
    symbol: str, venue: str, recordings: Path, tmp_path: Path
) -> None:
    folder = recordings / "recordings_ws"
    of = recorded_instrument(folder, symbol)
    assert of is not None
    assert of.venue == venue
    report = check_recording(folder, symbol)
    assert report.ok
    assert {finding.kind for finding in report.findings} <= {"foreign", "negative_latency", "before_snapshot"}
    events = read(open_replay(folder, symbol, of))
    asyncio.run(record_market(open_replay(folder, symbol, of), tmp_path))
    again = recorded_instrument(tmp_path)
    assert again == of
    assert read(open_replay(tmp_path, symbol, of)) == events


def test_a_lobster_day_shows_the_published_book_after_every_message(recordings: Path) -> None:
    folder = recordings / "lobster_aapl"
    if not folder.is_dir():
        pytest.skip(f"{recordings} has no LOBSTER sample")
    of = replace(simulated_instrument("AAPL"), lot_size=Decimal(1), min_qty=Decimal(1))
    paths = folder / "AAPL_message_10_998.csv.gz", folder / "AAPL_orderbook_10_998.csv.gz"
    feed = LobsterFeed(*paths, of, midnight_ns=1_340_251_200_000_000_000)
    published: list[Any] = [[int(each) for each in line.split(b",")] for line in gzip.decompress(paths[1].read_bytes()).split()]
    synced, trades = SyncedBook(OrderBook()), []
    for event in read(feed):
        synced.apply(event)
        if isinstance(event, Trade):
            trades.append(event)
            continue
        row = published[event.last_update_id - 1]
        shown = [
            value
            for ask, bid in zip(synced.book.depth_levels(SELL), synced.book.depth_levels(BUY), strict=True)
            for price, lots in (ask, bid)
            for value in (price * 100, lots)
        ]
        assert shown == row
    assert synced.book.last_update_id == len(published) == 999
    assert (len(trades), synced.gaps, synced.crossed) == (98 + 61, [], 0)
