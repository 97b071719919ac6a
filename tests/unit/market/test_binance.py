"""One line of a raw recording, and the event in it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.market.binance import CorruptLine, LineParser, LineWriter, Skip, instrument_line, instrument_of
from autohedge.market.instruments import instrument, simulated_instrument

BTC = instrument("binance", "BTC/USDT")
AT = 1_723_161_253_937_085_768

DEPTH: dict[str, Any] = {
    "e": "depthUpdate",
    "E": 1723161255208,
    "s": "BTCUSDT",
    "U": 11,
    "u": 14,
    "b": [["61737.63000000", "0.00000000"], ["61730.17", "2"]],
    "a": [["61837.64000000", "1.54698000"]],
}
QUOTE = {"u": 12, "s": "BTCUSDT", "b": "61837.63000000", "B": "3.78826000", "a": "61837.64000000", "A": "1.54698000"}
TRADE: dict[str, Any] = {
    "e": "trade",
    "E": 1723161255343,
    "s": "BTCUSDT",
    "t": 3735683259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1723161255342,
    "m": True,
    "M": True,
}
REST = {"lastUpdateId": 10, "bids": [["100.00", "1"], ["99.99", "2"]], "asks": [["100.01", "3"]]}


def line(message: object, at: object = AT) -> bytes:
    return f"{at} {json.dumps(message)}".encode()


def wrapped(stream: str, data: object) -> dict[str, object]:
    return {"stream": f"btcusdt@{stream}", "data": data}


def parse(message: object) -> MarketEvent | Skip:
    return LineParser(BTC).parse(line(message))


def reason(raw: bytes) -> str:
    with pytest.raises(CorruptLine) as caught:
        LineParser(BTC).parse(raw)
    return str(caught.value)


@pytest.mark.parametrize("wrap", [True, False])
def test_every_kind_of_message_becomes_its_event(wrap: bool) -> None:
    def of(stream: str, data: object) -> object:
        return wrapped(stream, data) if wrap else data

    assert parse(of("depth@100ms", DEPTH)) == BookDelta(
        1723161255208_000_000, AT, 11, 14, ((6173763, 0), (6173017, 200_000)), ((6183764, 154_698),)
    )
    assert parse(of("bookTicker", QUOTE)) == TopOfBook(0, AT, 12, 6183763, 378_826, 6183764, 154_698)
    assert parse(of("trade", TRADE)) == Trade(1723161255342_000_000, AT, 3735683259, 6183763, 2_000, SELL)
    assert parse(REST) == BookSnapshot(0, AT, 10, ((10000, 100_000), (9999, 200_000)), ((10001, 300_000),))


def test_a_buyer_who_was_not_the_maker_is_the_aggressor() -> None:
    event = parse(TRADE | {"m": False})
    assert isinstance(event, Trade)
    assert event.aggressor is BUY


@pytest.mark.parametrize(
    ("time", "ts_event_ns"),
    [
        (1723161255208, 1723161255208_000_000),
        (1723161255208123, 1723161255208_123_000),
        ("1723161255208123456", 1723161255208123456),
    ],
)
def test_the_digits_of_a_time_tell_its_unit(time: object, ts_event_ns: int) -> None:
    event = parse(DEPTH | {"E": time})
    assert isinstance(event, BookDelta)
    assert event.ts_event_ns == ts_event_ns


def test_a_time_that_the_venue_does_not_give_is_zero() -> None:
    data = {key: value for key, value in TRADE.items() if key not in "ET"}
    event = parse(data)
    assert isinstance(event, Trade)
    assert event.ts_event_ns == 0


@pytest.mark.parametrize(
    "message",
    [
        DEPTH | {"s": "ETHUSDT"},
        wrapped("trade", TRADE | {"s": "ETHUSDT"}),
        wrapped("kline_1m", {"e": "kline", "E": 1, "s": "BTCUSDT"}),
        wrapped("depth20", REST),
        {"result": None, "id": 1},
    ],
)
def test_what_is_of_another_symbol_or_stream_is_foreign(message: object) -> None:
    assert parse(message) is Skip.FOREIGN


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no receive time"),
        (b"{}", "no receive time"),
        (b"-5 {}", "no receive time"),
        (b"12345678901234567890 {}", "no receive time"),
        (b"9999999999999999999 {}", "receive time out of range"),
        (b"5", "not JSON"),
        (b"5 {", "not JSON"),
        (b"5 \xff\xfe", "not JSON"),
        (b"5 [1]", "not an object"),
        (b"5 NaN", "not JSON"),
        (b"5 {}", "neither"),
        (line({"data": 3}), "data is not an object"),
        (line(wrapped("depth", DEPTH))[:-40], "not JSON"),
        (b'5 {"lastUpdateId":' + b"[" * 100_000, "not JSON"),
    ],
)
def test_a_line_that_is_no_message_is_corrupt(raw: bytes, why: str) -> None:
    assert why in reason(raw)


BAD_PRICES = ["61837.635", "-1.00", "NaN", "Infinity", "1e5", "", "0.00", 61837.63, None, True, ["1"], {"a": 1}]
BAD_SIZES = ["0.000000001", "-1", "NaN", "1e9", 2, None, False, ["1"]]


@pytest.mark.parametrize("price", BAD_PRICES)
def test_a_price_that_is_not_one_makes_the_line_corrupt(price: object) -> None:
    reason(line(TRADE | {"p": price}))
    reason(line(QUOTE | {"b": price}))
    reason(line(DEPTH | {"b": [["100.00", "1"], [price, "1"]]}))
    reason(line(REST | {"asks": [[price, "1"]]}))


@pytest.mark.parametrize("size", BAD_SIZES)
def test_a_size_that_is_not_one_makes_the_line_corrupt(size: object) -> None:
    reason(line(TRADE | {"q": size}))
    reason(line(QUOTE | {"A": size}))
    reason(line(DEPTH | {"a": [["100.00", size]]}))


@pytest.mark.parametrize(
    "levels", [None, {}, "ab", ["12"], [{"1": 1, "2": 2}], [["1.00"]], [["1.00", "1", "1"]], [1], {"1": "1"}]
)
def test_levels_that_are_not_pairs_make_the_line_corrupt(levels: object) -> None:
    reason(line(DEPTH | {"b": levels}))


@pytest.mark.parametrize("key", ["U", "u", "b", "a", "s"])
def test_a_missing_field_makes_a_depth_line_corrupt(key: str) -> None:
    assert reason(line({name: value for name, value in DEPTH.items() if name != key}))


@pytest.mark.parametrize("value", [-1, 1.5, "12", True, None, 2**64, 1e30])
def test_an_id_that_is_no_whole_number_makes_the_line_corrupt(value: object) -> None:
    assert "an id" in reason(line(QUOTE | {"u": value}))
    assert "an id" in reason(line(TRADE | {"t": value}))
    assert "an id" in reason(line(DEPTH | {"U": value}))


def test_ids_in_the_wrong_order_make_a_depth_line_corrupt() -> None:
    assert "above the last" in reason(line(DEPTH | {"U": 15}))


@pytest.mark.parametrize("time", [-1, 0, 1.5, "now", "", None, True, 2**63, "99999999999999999999"])
def test_a_time_that_is_none_makes_the_line_corrupt(time: object) -> None:
    assert "a time" in reason(line(DEPTH | {"E": time}))


@pytest.mark.parametrize(
    "change",
    [
        {"bids": [["99.99", "2"], ["100.00", "1"]]},
        {"bids": [["100.00", "1"], ["100.00", "1"]]},
        {"asks": [["100.02", "3"], ["100.01", "3"]]},
    ],
)
def test_a_snapshot_out_of_order_is_corrupt(change: dict[str, object]) -> None:
    assert "not in order" in reason(line(REST | change))


def test_a_trade_needs_a_side_and_a_size() -> None:
    assert "m is not" in reason(line(TRADE | {"m": 1}))
    assert "less than a lot" in reason(line(TRADE | {"q": "0.00"}))


def test_an_empty_side_of_the_best_prices_is_all_zeros() -> None:
    assert parse(QUOTE | {"b": "0.00", "B": "0.00"}) == TopOfBook(0, AT, 12, 0, 0, 6183764, 154_698)
    assert "less than a lot" in reason(line(QUOTE | {"B": "0.00"}))


@given(st.binary(max_size=200))
def test_hostile_bytes_are_corrupt_and_nothing_else(raw: bytes) -> None:
    for content in (raw, b"5 " + raw):
        with contextlib.suppress(CorruptLine):
            assert LineParser(BTC).parse(content) is Skip.FOREIGN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(message=st.sampled_from([DEPTH, QUOTE, TRADE, REST]), data=st.data())
def test_any_other_value_in_any_field_gives_a_valid_event_or_a_corrupt_line(
    message: dict[str, Any], data: st.DataObject
) -> None:
    changed = dict(message)
    for key in data.draw(st.lists(st.sampled_from(sorted(message)), min_size=1, max_size=2)):
        changed[key] = data.draw(JSON)
    try:
        event = parse(changed)
    except CorruptLine:
        return
    if not isinstance(event, Skip):
        assert LineParser(BTC).parse(LineWriter(BTC).line(event).encode()) == event


LEVELS = st.dictionaries(st.integers(1, 10**7), st.integers(0, 10**6), max_size=5)
TIMES = st.one_of(st.just(0), st.integers(1, 2**62), st.integers(1, 9 * 10**12).map(lambda ms: ms * 1_000_000))
ID = st.integers(0, 2**62)
EVENTS = st.one_of(
    st.builds(
        lambda time, at, ids, bids, asks: BookDelta(time, at, *sorted(ids), tuple(bids.items()), tuple(asks.items())),
        TIMES,
        TIMES,
        st.tuples(ID, ID),
        LEVELS,
        LEVELS,
    ),
    st.builds(
        lambda time, at, last, bids, asks: BookSnapshot(
            time, at, last, tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items()))
        ),
        TIMES,
        TIMES,
        ID,
        LEVELS,
        LEVELS,
    ),
    st.builds(TopOfBook, TIMES, TIMES, ID, *[st.integers(1, 10**9)] * 4),
    st.builds(Trade, TIMES, TIMES, ID, st.integers(1, 10**9), st.integers(1, 10**9), st.sampled_from([BUY, SELL])),
)


@given(event=EVENTS, of=st.sampled_from([BTC, instrument("upbit", "BTC/KRW"), simulated_instrument("NVDA")]))
def test_what_is_written_is_read_back_as_the_same_event(event: MarketEvent, of: Any) -> None:
    written = LineWriter(of).line(event)
    assert written.endswith("}\n")
    assert LineParser(of).parse(written.rstrip("\n").encode()) == event


@pytest.mark.parametrize("of", [BTC, instrument("upbit", "BTC/KRW"), simulated_instrument("BRK.B/USD")])
def test_the_line_that_names_the_instrument_is_read_back_and_is_no_event(of: Any) -> None:
    noted = instrument_line(of, AT).encode()
    assert instrument_of(noted) == of
    assert LineParser(of).parse(noted) is Skip.NOTE


def test_other_lines_name_no_instrument_and_a_damaged_one_is_corrupt() -> None:
    noted = instrument_line(BTC, AT).encode()
    assert instrument_of(line(TRADE)) is None
    assert instrument_of(noted[:-20]) is None
    for old, new in ((b'"0.01"', b'"-0.01"'), (b'"0.01"', b'"x"'), (b'"0.01"', b"0.01"), (b'"base"', b'"bose"')):
        with pytest.raises(CorruptLine):
            instrument_of(noted.replace(old, new))
