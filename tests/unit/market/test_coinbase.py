"""Coinbase: messages as events, and a book that is held back whenever something may have been lost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Trade
from autohedge.market.binance import CorruptLine, Skip
from autohedge.market.coinbase import CoinbaseParser, code_of
from autohedge.market.sync import Applied, SyncedBook

T0 = 1_618_677_817_000_000_000
TIME = "2021-04-17T16:43:37.075687Z"
TIME_NS = 1_618_677_817_075_687_000


def snapshot(**values: Any) -> bytes:
    message = {"type": "snapshot", "product_id": "BTC-USDT", "bids": [["100.00", "1"]], "asks": [["100.02", "2.5"]]}
    return orjson.dumps(message | values)


def update(*changes: list[str], **values: Any) -> bytes:
    message = {"type": "l2update", "product_id": "BTC-USDT", "changes": list(changes), "time": TIME}
    return orjson.dumps(message | values)


def match(**values: Any) -> bytes:
    message = {"type": "match", "product_id": "BTC-USDT", "trade_id": 7, "side": "sell", "size": "0.5", "price": "100.01"}
    return orjson.dumps(message | {"time": TIME, "sequence": 9} | values)


@pytest.fixture
def parser(btc: Instrument) -> CoinbaseParser:
    parser = CoinbaseParser(btc)
    parser.connected(T0, "wss://ws-feed.pro.coinbase.com")
    return parser


def test_the_book_is_a_snapshot_and_its_changes(parser: CoinbaseParser, btc: Instrument) -> None:
    [first] = parser.parse(T0, snapshot())
    assert isinstance(first, BookSnapshot)
    assert first == (0, T0, first.last_update_id, ((10_000, 100_000),), ((10_002, 250_000),))
    [second] = parser.parse(T0 + 1, update(["buy", "100.01", "3"], ["sell", "100.02", "0"], ["sell", "100.03", "1"]))
    assert isinstance(second, BookDelta)
    assert second[:2] == (TIME_NS, T0 + 1)
    assert second.first_update_id == second.last_update_id == first.last_update_id + 1
    assert (second.bids, second.asks) == (((10_001, 300_000),), ((10_002, 0), (10_003, 100_000)))
    assert code_of(btc) == "BTC-USDT"


def test_a_match_tells_the_side_of_the_maker(parser: CoinbaseParser) -> None:
    assert parser.parse(T0, match()) == (Trade(TIME_NS, T0, 7, 10_001, 50_000, BUY),)
    assert parser.parse(T0, match(side="buy")) == (Trade(TIME_NS, T0, 7, 10_001, 50_000, SELL),)


def test_what_is_no_event_of_now_is_foreign(parser: CoinbaseParser) -> None:
    assert parser.parse(T0, match(type="last_match")) is Skip.FOREIGN
    assert parser.parse(T0, match(type="ticker")) is Skip.FOREIGN
    assert parser.parse(T0, snapshot(product_id="ETH-USD")) is Skip.FOREIGN
    assert parser.parse(T0, b'{"type":"subscriptions","channels":[]}') is Skip.NOTE


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        update(["buy", "100.01"]),  # type: ignore[list-item]
        update(["bid", "100.01", "1"]),
        update(["buy", "0.00", "1"]),
        update(["buy", "-1", "1"]),
        update(["buy", "100.001", "1"]),
        update(["buy", "NaN", "1"]),
        update(["buy", "100.01", "1e5"]),
        update(changes=None),
        update(time="yesterday"),
        update(time="2021-04-17T16:43:37.0756871234Z"),
        update(time=5),
        update(product_id="BTC-USDT", time=None),
        snapshot(bids=[["100.00", "1"], ["100.01", "1"]]),
        snapshot(bids="many"),
        snapshot(asks=[["100.00"]]),
    ],
)
def test_after_a_message_that_cannot_be_used_the_book_waits_for_a_snapshot(parser: CoinbaseParser, message: bytes) -> None:
    synced = SyncedBook(OrderBook())
    for body in (snapshot(), update(["buy", "100.01", "3"])):
        for event in parser.parse(T0, body):
            assert synced.apply(event) is Applied.APPLIED
    with pytest.raises(CorruptLine):
        parser.parse(T0, message)
    [after] = parser.parse(T0, update(["buy", "100.01", "4"]))
    assert synced.apply(after) is Applied.GAP
    [healed] = parser.parse(T0, snapshot())
    assert synced.apply(healed) is Applied.APPLIED
    assert synced.book.levels(BUY) == [(10_000, 100_000)], "what waited is older than the snapshot"


@pytest.mark.parametrize(
    "values", [{"side": "up"}, {"size": "0"}, {"price": "0"}, {"trade_id": "x"}, {"trade_id": -1}, {"trade_id": True}]
)
def test_a_damaged_trade_is_corrupt_and_leaves_the_book_alone(parser: CoinbaseParser, values: dict[str, Any]) -> None:
    [first] = parser.parse(T0, snapshot())
    with pytest.raises(CorruptLine):
        parser.parse(T0, match(**values))
    [second] = parser.parse(T0, update(["buy", "100.01", "3"]))
    assert isinstance(first, BookSnapshot)
    assert isinstance(second, BookDelta)
    assert second.first_update_id == first.last_update_id + 1


def test_a_new_connection_holds_the_book_back_until_its_snapshot(parser: CoinbaseParser) -> None:
    synced = SyncedBook(OrderBook())
    [event] = parser.parse(T0, snapshot())
    synced.apply(event)
    parser.connected(T0 + 5, "wss://again")
    [event] = parser.parse(T0 + 6, update(["buy", "100.01", "3"]))
    assert synced.apply(event) is Applied.GAP
    assert not synced.is_synced
    [event] = parser.parse(T0 + 7, snapshot(bids=[["99.00", "1"]]))
    assert synced.apply(event) is Applied.APPLIED
    assert synced.book.best_bid_ticks == 9_900


def test_a_time_before_1970_is_not_known(parser: CoinbaseParser) -> None:
    [event] = parser.parse(T0, update(["buy", "100.01", "3"], time="0001-01-01T00:00:00.000000Z"))
    assert event.ts_event_ns == 0
    [event] = parser.parse(T0, update(["buy", "100.01", "3"], time="2021-04-17T16:43:37Z"))
    assert event.ts_event_ns == TIME_NS // 10**9 * 10**9


def test_sizes_finer_than_a_lot_are_rounded_down_and_counted(parser: CoinbaseParser) -> None:
    [event] = parser.parse(T0, update(["buy", "100.01", "0.00001999"]))
    assert isinstance(event, BookDelta)
    assert event.bids == ((10_001, 1),)
    assert parser.rounded == 1
