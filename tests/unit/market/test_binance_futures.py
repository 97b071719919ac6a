"""Binance futures: updates that name their predecessor keep the rules of the sequence, whatever their own numbers are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, TopOfBook, Trade
from autohedge.market.binance import CorruptLine, Skip
from autohedge.market.binance_futures import BinanceFuturesParser
from autohedge.market.sync import Applied, SyncedBook

T0 = 1_600_000_000_000_000_000


def depth(first: int, last: int, previous: int, **values: Any) -> bytes:
    message = {"e": "depthUpdate", "E": 1_600_000_000_001, "T": 1_600_000_000_000, "s": "BTCUSDT", "U": first, "u": last}
    return orjson.dumps(message | {"pu": previous, "b": [["100.00", "1"]], "a": [["100.02", "0"]]} | values)


def snapshot(update_id: int = 1_000, **values: Any) -> bytes:
    message = {"lastUpdateId": update_id, "E": 1, "T": 1_600_000_000_000, "bids": [["100.00", "2"]], "asks": [["100.02", "2"]]}
    return orjson.dumps(message | values)


QUOTE = {"e": "bookTicker", "u": 5, "T": 1_600_000_000_000, "s": "BTCUSDT", "b": "1.00", "B": "1", "a": "1.01", "A": "2"}
TRADE = {"e": "aggTrade", "a": 7, "s": "BTCUSDT", "p": "100.01", "q": "0.5", "f": 1, "l": 3, "T": 1_600_000_000_000, "m": True}


@pytest.fixture
def parser(btc: Instrument) -> BinanceFuturesParser:
    return BinanceFuturesParser(btc)


def test_each_message_is_an_event(parser: BinanceFuturesParser) -> None:
    happened = 1_600_000_000_000_000_000
    assert parser.parse(T0, depth(157, 160, 149)) == (BookDelta(happened, T0, 150, 160, ((10_000, 100_000),), ((10_002, 0),)),)
    assert parser.parse(T0, snapshot()) == (BookSnapshot(happened, T0, 1_000, ((10_000, 200_000),), ((10_002, 200_000),)),)
    assert parser.parse(T0, orjson.dumps(QUOTE)) == (TopOfBook(happened, T0, 5, 100, 100_000, 101, 200_000),)
    assert parser.parse(T0, orjson.dumps(TRADE)) == (Trade(happened, T0, 7, 10_001, 50_000, SELL),)
    assert parser.parse(T0, orjson.dumps(TRADE | {"m": False}))[0].aggressor is BUY  # type: ignore[index, union-attr]
    combined = orjson.dumps({"stream": "btcusdt@aggTrade", "data": TRADE})
    assert parser.parse(T0, combined) == parser.parse(T0, orjson.dumps(TRADE))


def applied(parser: BinanceFuturesParser, synced: SyncedBook, *bodies: bytes) -> list[Applied]:
    outcomes = []
    for body in bodies:
        told = parser.parse(T0, body)
        assert not isinstance(told, Skip)
        outcomes += [synced.apply(event) for event in told]
    return outcomes


def test_updates_follow_one_another_by_pu_and_not_by_their_own_numbers(parser: BinanceFuturesParser) -> None:
    synced = SyncedBook(OrderBook())
    outcomes = applied(
        parser,
        synced,
        depth(900, 980, 870),  # older than the snapshot
        depth(990, 1_010, 980),  # covers its id
        snapshot(1_000),
        depth(1_050, 1_060, 1_010),  # numbers 1,011 to 1,049 are of other symbols
        depth(1_090, 1_095, 1_060),
    )
    assert outcomes == [Applied.BUFFERED, Applied.BUFFERED, Applied.APPLIED, Applied.APPLIED, Applied.APPLIED]
    assert (synced.gaps, synced.book.last_update_id) == ([], 1_095)
    assert applied(parser, synced, depth(1_090, 1_095, 1_060)) == [Applied.DUPLICATE]


def test_a_pu_that_is_not_the_last_update_is_a_gap(parser: BinanceFuturesParser) -> None:
    synced = SyncedBook(OrderBook())
    outcomes = applied(parser, synced, snapshot(1_000), depth(1_001, 1_010, 1_000), depth(1_050, 1_060, 1_020))
    assert outcomes == [Applied.APPLIED, Applied.APPLIED, Applied.GAP]
    assert not synced.is_synced
    assert applied(parser, synced, snapshot(1_055)) == [Applied.APPLIED], "what waits covers the snapshot's id"
    assert synced.book.last_update_id == 1_060


def test_a_first_update_beyond_the_snapshot_is_a_gap(parser: BinanceFuturesParser) -> None:
    synced = SyncedBook(OrderBook())
    assert applied(parser, synced, snapshot(1_000), depth(1_050, 1_060, 1_040)) == [Applied.APPLIED, Applied.GAP]


def test_what_is_of_something_else_is_skipped(parser: BinanceFuturesParser) -> None:
    single = TRADE | {"e": "trade", "t": 7}
    for message in (TRADE | {"s": "ETHUSDT"}, single, {"e": "kline", "s": "BTCUSDT"}):
        assert parser.parse(T0, orjson.dumps(message)) is Skip.FOREIGN
    partial = {"stream": "btcusdt@depth5", "data": orjson.loads(snapshot())}
    assert parser.parse(T0, orjson.dumps(partial)) is Skip.FOREIGN
    assert parser.parse(T0, b'{"result":null,"id":1}') is Skip.NOTE
    parser.connected(T0, "wss://again")
    assert parser.parse(T0, depth(157, 160, 149))[0].first_update_id == 150  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"data":5}',
        depth(5, 4, 1),
        depth(5, 6, 5),
        depth(5, 6, -1),
        depth(5, 6, 4, pu=None),
        depth(5, 6, 4, b=[["1.001", "1"]]),
        depth(5, 6, 4, b=[["0", "1"]]),
        depth(5, 6, 4, T="now"),
        depth(5, 6, 4, T=10**17),
        snapshot(bids=[["1.00", "1"], ["2.00", "1"]]),
        snapshot(update_id="x"),  # type: ignore[arg-type]
        orjson.dumps(QUOTE | {"B": "0"}),
        orjson.dumps(TRADE | {"m": 1}),
        orjson.dumps(TRADE | {"q": "0"}),
        orjson.dumps(TRADE | {"p": 5.0}),
    ],
)
def test_damage_is_corrupt(parser: BinanceFuturesParser, body: bytes) -> None:
    with pytest.raises(CorruptLine):
        parser.parse(T0, body)
