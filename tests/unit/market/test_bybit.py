"""Bybit: a window of levels that tells by itself when something was lost, single-precision sizes, trades without numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, Trade
from autohedge.market import bybit
from autohedge.market.binance import CorruptLine, Skip
from autohedge.market.bybit import BybitParser
from autohedge.market.sync import Applied, SyncedBook

T0 = 1_618_677_786_000_000_000
Row = dict[str, Any]


def level(side: str, price: str, size: Any = None) -> Row:
    row = {"price": price, "symbol": "BTCUSDT", "id": "1", "side": side}
    return row if size is None else row | {"size": size}


def snapshot(*rows: Row, seq: Any = "100", nested: bool = True) -> bytes:
    data: Any = {"order_book": list(rows)} if nested else list(rows)
    message = {"topic": "orderBookL2_25.BTCUSDT", "type": "snapshot", "data": data, "cross_seq": seq}
    return orjson.dumps(message | {"timestamp_e6": "1618677786389362"})


def delta(seq: Any = "101", **changes: Sequence[Row]) -> bytes:
    data = {"delete": [], "update": [], "insert": []} | changes
    message = {"topic": "orderBookL2_25.BTCUSDT", "type": "delta", "data": data, "cross_seq": seq}
    return orjson.dumps(message | {"timestamp_e6": 1618677786598877})


def trades(*rows: Row) -> bytes:
    row = {
        "symbol": "BTCUSDT",
        "price": "100.01",
        "size": 0.5,
        "trade_time_ms": "1618677786614",
        "side": "Buy",
        "trade_id": "a",
    }
    return orjson.dumps({"topic": "trade.BTCUSDT", "data": [row | each for each in rows]})


BID, ASK = level("Buy", "100.00", 1), level("Sell", "100.02", "2.5")


@pytest.fixture
def parser(btc: Instrument) -> BybitParser:
    parser = BybitParser(btc)
    parser.connected(T0, "wss://stream.bybit.com/realtime_public")
    return parser


def one(parser: BybitParser, body: bytes) -> MarketEvent:
    told = parser.parse(T0 + 1, body)
    assert not isinstance(told, Skip)
    [event] = told
    return event


def test_the_window_is_a_snapshot_and_its_changes(parser: BybitParser) -> None:
    first = one(parser, snapshot(level("Sell", "100.04", 4), ASK, level("Buy", "99.99", 3), BID))
    assert isinstance(first, BookSnapshot)
    assert first[:2] == (1_618_677_786_389_362_000, T0 + 1)
    assert first.bids == ((10_000, 100_000), (9_999, 300_000)), "best first, in whatever order they are sent"
    assert first.asks == ((10_002, 250_000), (10_004, 400_000))
    change = delta(
        delete=[level("Buy", "99.99")], update=[level("Sell", "100.02", 1)], insert=[level("Buy", "100.01", "0.00001")]
    )
    second = one(parser, change)
    assert isinstance(second, BookDelta)
    assert second.first_update_id == second.last_update_id == first.last_update_id + 1
    assert (second.bids, second.asks) == (((9_999, 0), (10_001, 1)), ((10_002, 100_000),))
    assert second.ts_event_ns == 1_618_677_786_598_877_000
    assert isinstance(one(parser, snapshot(BID, ASK, nested=False)), BookSnapshot), "inverse contracts send a bare list"


@pytest.mark.parametrize(
    "changes",
    [
        {"delete": [level("Buy", "99.90")]},
        {"delete": [level("Sell", "100.00")]},
        {"update": [level("Buy", "99.90", 1)]},
        {"insert": [level("Buy", "100.00", 1)]},
        {"delete": [level("Buy", "100.00")], "update": [level("Buy", "100.00", 1)]},
    ],
)
def test_a_message_that_contradicts_the_window_holds_the_book_back(parser: BybitParser, changes: Any) -> None:
    synced = SyncedBook(OrderBook())
    synced.apply(one(parser, snapshot(BID, ASK)))
    assert synced.apply(one(parser, delta(101, update=[level("Buy", "100.00", 2)]))) is Applied.APPLIED
    assert synced.apply(one(parser, delta(102, **changes))) is Applied.GAP
    assert synced.apply(one(parser, delta(103, update=[level("Buy", "100.00", 2)]))) is Applied.BUFFERED
    assert synced.apply(one(parser, snapshot(BID, ASK, seq=104))) is Applied.APPLIED
    assert synced.apply(one(parser, delta(105, insert=[level("Buy", "100.01", 2)]))) is Applied.APPLIED
    assert synced.book.levels(BUY) == [(10_001, 200_000), (10_000, 100_000)]
    assert len(synced.gaps) == 1


def test_a_repeated_message_is_a_duplicate_and_costs_nothing(parser: BybitParser) -> None:
    synced = SyncedBook(OrderBook())
    synced.apply(one(parser, snapshot(BID, ASK)))
    body = delta(105, insert=[level("Buy", "100.01", 2)])
    assert synced.apply(one(parser, body)) is Applied.APPLIED
    assert synced.apply(one(parser, body)) is Applied.DUPLICATE
    assert synced.apply(one(parser, delta(104, delete=[level("Buy", "100.01")]))) is Applied.DUPLICATE
    assert synced.apply(one(parser, delta(109, delete=[level("Buy", "100.01")]))) is Applied.APPLIED
    assert synced.gaps == []


@pytest.mark.parametrize(
    ("size", "lots", "rounded"),
    [
        ("25.900002", 259, 0),
        ("23.699999", 237, 0),
        ("186.99998", 1_870, 0),
        ("121.200005", 1_212, 0),
        ("294.69998", 2_947, 0),
        (12_851, 128_510, 0),
        ("0.1", 1, 0),
        ("0.15", 1, 1),
        ("25.95", 259, 1),
        ("25.9001", 259, 1),
    ],
)
def test_single_precision_sizes_are_the_lots_they_stand_for(size: Any, lots: int, rounded: int, uni: Instrument) -> None:
    parser = BybitParser(uni)
    body = snapshot(level("Buy", "35.356", size), level("Sell", "35.426", "23.7")).replace(b"BTCUSDT", b"UNIUSDT")
    event = one(parser, body)
    assert isinstance(event, BookSnapshot)
    assert (event.bids, parser.rounded) == (((35_356, lots),), rounded)


@pytest.fixture
def uni(btc: Instrument) -> Instrument:
    rules = {"tick_size": Decimal("0.001"), "lot_size": Decimal("0.1"), "min_qty": Decimal("0.1")}
    return replace(btc, symbol="UNI/USDT", base="UNI", venue="bybit", **rules)


def test_trades_are_numbered_in_their_order_and_repeated_ones_keep_their_number(
    parser: BybitParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = parser.parse(T0 + 9, trades({"trade_id": "a"}, {"trade_id": "b", "side": "Sell", "price": 100.02, "size": "0.1"}))
    at = 1_618_677_786_614_000_000
    assert told == [Trade(at, T0 + 9, 1, 10_001, 50_000, BUY), Trade(at, T0 + 9, 2, 10_002, 10_000, SELL)]
    assert [each.trade_id for each in parser.parse(T0 + 9, trades({"trade_id": "b"}, {"trade_id": "c"}))] == [2, 3]  # type: ignore[union-attr]
    monkeypatch.setattr(bybit, "_REMEMBERED_TRADES", 3)
    assert one(parser, trades({"trade_id": "d"}))[2] == 4
    assert one(parser, trades({"trade_id": "a"}))[2] == 5, "remembered trades are bounded"


def test_trades_from_before_the_connection_are_foreign(parser: BybitParser) -> None:
    assert parser.parse(T0, trades({"trade_time_ms": 1618677785999})) is Skip.FOREIGN
    assert len(parser.parse(T0, trades({"trade_time_ms": 1618677785999}, {"trade_id": "b"}))) == 1  # type: ignore[arg-type]


def test_what_is_of_something_else_is_skipped(parser: BybitParser) -> None:
    assert parser.parse(T0, snapshot(BID).replace(b"BTCUSDT", b"ETHUSDT")) is Skip.FOREIGN
    assert parser.parse(T0, b'{"topic":"instrument_info.100ms.BTCUSDT","data":{}}') is Skip.FOREIGN
    assert parser.parse(T0, b'{"success":true,"ret_msg":"","request":{}}') is Skip.NOTE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"topic":5}',
        snapshot(BID, BID, ASK),
        snapshot(level("Bid", "100.00", 1)),
        snapshot(level("Buy", "100.001", 1)),
        snapshot(level("Buy", "0", 1)),
        snapshot(level("Buy", "100.00", -1)),
        snapshot(level("Buy", "100.00", "1e3")),
        snapshot(level("Buy", "100.00", "NaN")),
        snapshot(level("Buy", "100.00", True)),
        snapshot(level("Buy", "100.00")),
        snapshot(BID, seq=None),
        snapshot(BID, seq="-5"),
        snapshot(BID).replace(b'"size":1', b'"size":NaN'),
        delta().replace(b'"delta"', b'"other"'),
        delta().replace(b'"insert"', b'"inserted"'),
        delta(insert="many"),
    ],
)
def test_after_a_message_that_cannot_be_used_the_book_waits_for_a_snapshot(parser: BybitParser, body: bytes) -> None:
    synced = SyncedBook(OrderBook())
    synced.apply(one(parser, snapshot(BID, ASK)))
    with pytest.raises(CorruptLine):
        parser.parse(T0, body)
    assert synced.apply(one(parser, delta(110, update=[level("Buy", "100.00", 2)]))) is Applied.GAP


@pytest.mark.parametrize("change", [{"side": "buy"}, {"size": 0}, {"price": "x"}, {"trade_id": 5}, {"trade_time_ms": "0"}])
def test_a_damaged_trade_is_corrupt_and_nothing_of_its_message_is_used(parser: BybitParser, change: Row) -> None:
    synced = SyncedBook(OrderBook())
    synced.apply(one(parser, snapshot(BID, ASK)))
    with pytest.raises(CorruptLine):
        parser.parse(T0, trades({}, {"trade_id": "b"} | change))
    assert synced.apply(one(parser, delta(110, update=[level("Buy", "100.00", 2)]))) is Applied.APPLIED
    assert one(parser, trades({"trade_id": "c"}))[2] == 1
