"""Kraken: the checksum of each message decides whether the book is believed; the window is cut to its depth."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from zlib import crc32

import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, Trade
from autohedge.market.binance import CorruptLine, Skip
from autohedge.market.kraken import KrakenParser
from autohedge.market.sync import Applied, SyncedBook

T0 = 1_700_000_000_000_000_000
BIDS = """45283.5 0.10000000  45283.4 1.54582015  45282.1 0.10000000  45281.0 0.10000000  45280.3 1.54592586
          45279.0 0.07990000  45277.6 0.03310103  45277.5 0.30000000  45277.3 1.54602737  45276.6 0.15445238"""
ASKS = """45285.2 0.00100000  45286.4 1.54571953  45286.6 1.54571109  45289.6 1.54560911  45290.2 0.15890660
          45291.8 1.54553491  45294.7 0.04454749  45296.1 0.35380000  45297.5 0.09945542  45299.5 0.18772827"""
PUBLISHED = 3_310_070_434
"""The checksum of this book in the venue's own guide."""

Side = dict[str, str]


def side(text: str) -> Side:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def rows(levels: Side) -> str:
    return "[" + ",".join(f'{{"price":{price},"qty":{size}}}' for price, size in levels.items()) + "]"


def book(kind: str, bids: Side, asks: Side, checksum: int, symbol: str = "BTC/USD") -> bytes:
    data = f'{{"symbol":"{symbol}","bids":{rows(bids)},"asks":{rows(asks)},"checksum":{checksum}'
    return f'{{"channel":"book","type":"{kind}","data":[{data},"timestamp":"2023-10-06T17:35:55.440295Z"}}]}}'.encode()


def checksum(bids: Side, asks: Side) -> int:
    """Computed here from the description, on its own."""
    best_asks = sorted(asks, key=Decimal)[:10]
    best_bids = sorted(bids, key=Decimal, reverse=True)[:10]
    texts = [(price, asks[price]) for price in best_asks] + [(price, bids[price]) for price in best_bids]
    return crc32("".join(str(int(number.replace(".", ""))) for pair in texts for number in pair).encode())


@pytest.fixture
def instrument(btc: Instrument) -> Instrument:
    rules = {"tick_size": Decimal("0.1"), "lot_size": Decimal("1e-8")}
    return replace(btc, symbol="BTC/USD", quote="USD", venue="kraken", **rules)


@pytest.fixture
def parser(instrument: Instrument) -> KrakenParser:
    parser = KrakenParser(instrument)
    parser.connected(T0, "wss://ws.kraken.com/v2")
    answer = b'{"method":"subscribe","result":{"channel":"book","depth":10,"symbol":"BTC/USD"},"success":true}'
    assert parser.parse(T0, answer) is Skip.NOTE
    return parser


def one(parser: KrakenParser, body: bytes) -> MarketEvent:
    told = parser.parse(T0, body)
    assert not isinstance(told, Skip)
    [event] = told
    return event


def test_the_published_example_has_the_published_checksum(parser: KrakenParser) -> None:
    assert checksum(side(BIDS), side(ASKS)) == PUBLISHED
    event = one(parser, book("snapshot", side(BIDS), side(ASKS), PUBLISHED))
    assert isinstance(event, BookSnapshot)
    assert (event.bids[0], event.asks[-1]) == ((452_835, 10_000_000), (452_995, 18_772_827))
    assert [len(event.bids), len(event.asks)] == [10, 10]


@pytest.mark.parametrize("wrong", [PUBLISHED + 1, 0])
def test_a_snapshot_with_another_checksum_is_corrupt(parser: KrakenParser, wrong: int) -> None:
    with pytest.raises(CorruptLine, match="checksum"):
        parser.parse(T0, book("snapshot", side(BIDS), side(ASKS), wrong))


def test_updates_keep_the_window_at_its_depth(parser: KrakenParser) -> None:
    bids, asks = side(BIDS), side(ASKS)
    synced = SyncedBook(OrderBook())
    synced.apply(one(parser, book("snapshot", bids, asks, PUBLISHED)))
    bids = {"45284.0": "1.00000000"} | bids
    del bids["45276.6"]  # pushed out, without a message of its own
    event = one(parser, book("update", {"45284.0": "1.00000000"}, {}, checksum(bids, asks)))
    assert isinstance(event, BookDelta)
    assert event.bids == ((452_840, 100_000_000), (452_766, 0))
    assert event.ts_event_ns == 1_696_613_755_440_295_000
    assert synced.apply(event) is Applied.APPLIED
    del bids["45283.5"]
    bids["45276.0"] = "2.00000000"
    event = one(parser, book("update", {"45283.5": "0", "45276.0": "2.00000000"}, {}, checksum(bids, asks)))
    assert synced.apply(event) is Applied.APPLIED
    assert [price for price, _ in synced.book.levels(BUY)] == sorted((int(Decimal(each) * 10) for each in bids), reverse=True)
    assert len(synced.book.levels(SELL)) == 10


def test_a_checksum_that_does_not_fit_holds_the_book_back_until_a_snapshot(parser: KrakenParser) -> None:
    bids, asks = side(BIDS), side(ASKS)
    synced = SyncedBook(OrderBook())
    synced.apply(one(parser, book("snapshot", bids, asks, PUBLISHED)))
    assert synced.apply(one(parser, book("update", {"45283.5": "0.2"}, {}, 12_345))) is Applied.GAP
    assert synced.apply(one(parser, book("update", {"45283.5": "0.3"}, {}, 12_345))) is Applied.BUFFERED
    assert synced.apply(one(parser, book("snapshot", bids, asks, PUBLISHED))) is Applied.APPLIED
    bids["45283.5"] = "0.30000000"
    event = one(parser, book("update", {"45283.5": "0.30000000"}, {}, checksum(bids, asks)))
    assert synced.apply(event) is Applied.APPLIED
    parser.connected(T0, "wss://again")
    assert synced.apply(one(parser, book("update", {"45283.5": "0.1"}, {}, 5))) is Applied.GAP


def test_trades_of_now_are_events_and_those_of_before_are_foreign(parser: KrakenParser) -> None:
    row = b'{"symbol":"BTC/USD","side":"sell","price":45283.4,"qty":0.0005,"ord_type":"market","trade_id":9,'
    row += b'"timestamp":"2023-10-06T17:35:55.440295Z"}'
    message = b'{"channel":"trade","type":"%b","data":[%b]}'
    assert parser.parse(T0, message % (b"update", row)) == [Trade(1_696_613_755_440_295_000, T0, 9, 452_834, 50_000, SELL)]
    assert parser.parse(T0, message % (b"snapshot", row)) is Skip.FOREIGN
    assert parser.parse(T0, (message % (b"update", row)).replace(b"BTC/USD", b"ETH/USD")) is Skip.FOREIGN


@pytest.mark.parametrize(("channel", "told"), [("status", Skip.FOREIGN), ("heartbeat", Skip.FOREIGN), ("ticker", Skip.FOREIGN)])
def test_other_channels_are_foreign(parser: KrakenParser, channel: str, told: Skip) -> None:
    assert parser.parse(T0, f'{{"channel":"{channel}"}}'.encode()) is told
    assert parser.parse(T0, book("snapshot", {}, {}, 0, "ETH/USD")) is Skip.FOREIGN


GOOD: Any = (side(BIDS), side(ASKS), PUBLISHED)


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"{}",
        b'{"channel":"book","type":"update","data":[]}',
        book("other", *GOOD),
        book("snapshot", *GOOD).replace(b'"checksum"', b'"sum"'),
        book("snapshot", *GOOD).replace(b"45283.5", b"45283.55"),
        book("snapshot", *GOOD).replace(b"45283.5", b"-45283.5"),
        book("snapshot", *GOOD).replace(b"45283.5", b"NaN"),
        book("snapshot", *GOOD).replace(b"45283.4", b"45283.5"),
        book("update", *GOOD).replace(b"2023-10-06", b"someday"),
    ],
)
def test_after_a_message_that_cannot_be_used_the_book_waits_for_a_snapshot(parser: KrakenParser, body: bytes) -> None:
    synced = SyncedBook(OrderBook())
    synced.apply(one(parser, book("snapshot", *GOOD)))
    with pytest.raises(CorruptLine):
        parser.parse(T0, body)
    assert synced.apply(one(parser, book("update", {}, {}, PUBLISHED))) is Applied.GAP
