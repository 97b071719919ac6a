"""One line of a raw recording and the market event in it, both ways.

A line is `<local receive time, ns> <space> <JSON as the exchange sent it>`: depth diffs, best bid/ask and trades of Binance
spot, bare or in the wrapper of a combined stream, and the REST answer of `/depth` (`lastUpdateId` and no stream). What is
written here can be read here, and gives the same event. A line that is damaged in any way raises `CorruptLine`: no part of it
is used, nothing is guessed.

Times are whole milliseconds in the venue's messages, or microseconds where it was asked for them (the number of digits tells).
Our own recordings of finer times, as a simulated market has them, write nanoseconds as a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from enum import Enum, auto
from itertools import pairwise
from typing import Any

import orjson

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, TopOfBook, Trade
from autohedge.errors import ConfigError
from autohedge.market.exact import OffGrid, StepText, price_grid, size_grid

INSTRUMENT_KIND = "instrument"
"""The `e` of the first line of our own recordings: which instrument, with which rules, from which venue."""

_MS_BELOW = 10**14  # no time that fits in 64 bits of nanoseconds has so many milliseconds
_INT64_END = 2**63
_new = tuple.__new__
"""A named tuple from its values without the Python call that its constructor is: these are most of what is made here."""


class Skip(Enum):
    """Why an undamaged line has no event for us: it is of something else, or it is the note our recordings begin with."""

    FOREIGN = auto()
    NOTE = auto()


class CorruptLine(ValueError):
    """The line cannot be used; the message is the reason."""


def symbol_code(symbol: str) -> str:
    """The venue's spelling of a symbol: BTC/USDT → BTCUSDT."""
    return symbol.replace("/", "").upper()


class LineParser:
    """Lines of one instrument. Keeps the texts it has converted, so use one parser for a whole recording."""

    __slots__ = ("_code", "_level_ticks", "_lots", "_ticks", "instrument")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._code = symbol_code(instrument.symbol)
        self._ticks = price_grid(instrument)
        self._level_ticks = price_grid(instrument, positive=True)
        self._lots = size_grid(instrument)

    @property
    def rounded(self) -> int:
        """How many sizes finer than a lot have been rounded down so far."""
        return self._lots.rounded

    def parse(self, line: bytes) -> MarketEvent | Skip:
        """The event in a line. Another symbol, a stream that is not read and an answer to a request are foreign.

        Raises `CorruptLine`.
        """
        stamp, _, body = line.partition(b" ")
        if not stamp.isdigit() or len(stamp) > 19:
            raise CorruptLine("no receive time in ns before the first space")
        ts_init_ns = int(stamp)
        if ts_init_ns >= _INT64_END:
            raise CorruptLine("receive time out of range")
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise CorruptLine(f"not JSON ({error.msg})") from error
        try:
            return self._event(ts_init_ns, message)
        except KeyError as error:
            raise CorruptLine(f"field {error} is missing") from error
        except (OffGrid, TypeError) as error:
            raise CorruptLine(str(error)) from error

    def _event(self, ts_init_ns: int, message: Any) -> MarketEvent | Skip:
        if type(message) is not dict:
            raise CorruptLine("not an object")
        data = message.get("data", message)
        if type(data) is not dict:
            raise CorruptLine("data is not an object")
        kind = data.get("e")
        symbol = data.get("s")
        if symbol != self._code:
            return self._of_another(ts_init_ns, message, data)
        if kind is None or kind == "bookTicker":
            return self._top(ts_init_ns, data)
        if kind == "trade":
            return self._trade(ts_init_ns, data)
        if kind == "depthUpdate":
            return self._delta(ts_init_ns, data)
        if type(kind) is not str:
            raise CorruptLine("kind is not a text")
        return Skip.NOTE if kind == INSTRUMENT_KIND else Skip.FOREIGN

    def _of_another(self, ts_init_ns: int, message: dict[str, Any], data: dict[str, Any]) -> BookSnapshot | Skip:
        """A line that does not say that it is of our symbol; a snapshot names none."""
        if "s" in data or data.get("e") is not None:
            if type(data["s"]) is not str:
                raise CorruptLine("symbol is not a text")
            return Skip.FOREIGN
        if "lastUpdateId" in data:
            # partial depth streams look alike but show only the best levels, so diffs cannot continue them
            return Skip.FOREIGN if "stream" in message else self._snapshot(ts_init_ns, data)
        if "result" in data and "id" in data:
            return Skip.FOREIGN
        raise CorruptLine("neither depth, best prices, trade nor snapshot")

    def _top(self, ts_init_ns: int, data: dict[str, Any]) -> TopOfBook:
        ticks, lots = self._ticks, self._lots
        ts_event_ns = _venue_time_ns(data["E"]) if "E" in data else 0
        update_id = _id(data["u"])
        bid, bid_lots, ask, ask_lots = ticks[data["b"]], lots[data["B"]], ticks[data["a"]], lots[data["A"]]
        # an empty side is all zeros; one zero alone is damage, or a best size of less than a lot
        if not (bid and bid_lots and ask and ask_lots) and ((not bid) != (not bid_lots) or (not ask) != (not ask_lots)):
            raise CorruptLine("price is zero or size less than a lot")
        return _new(TopOfBook, (ts_event_ns, ts_init_ns, update_id, bid, bid_lots, ask, ask_lots))

    def _trade(self, ts_init_ns: int, data: dict[str, Any]) -> Trade:
        buyer_is_maker = data["m"]
        if type(buyer_is_maker) is not bool:
            raise CorruptLine("m is not true or false")
        ts_event_ns = _venue_time_ns(data["T"]) if "T" in data else _venue_time_ns(data["E"]) if "E" in data else 0
        trade_id, price, lots = _id(data["t"]), self._ticks[data["p"]], self._lots[data["q"]]
        if not price or not lots:
            raise CorruptLine("price is zero or size less than a lot")
        return _new(Trade, (ts_event_ns, ts_init_ns, trade_id, price, lots, SELL if buyer_is_maker else BUY))

    def _delta(self, ts_init_ns: int, data: dict[str, Any]) -> BookDelta:
        first, last = _id(data["U"]), _id(data["u"])
        if first > last:
            raise CorruptLine("the first update id is above the last")
        ts_event_ns = _venue_time_ns(data["E"]) if "E" in data else 0
        return BookDelta(ts_event_ns, ts_init_ns, first, last, self._levels(data["b"]), self._levels(data["a"]))

    def _snapshot(self, ts_init_ns: int, data: dict[str, Any]) -> BookSnapshot:
        ts_event_ns = _venue_time_ns(data["E"]) if "E" in data else 0
        update_id = _id(data["lastUpdateId"])
        bids, asks = self._levels(data["bids"]), self._levels(data["asks"])
        if not best_first(bids, asks):
            raise CorruptLine("the levels of the snapshot are not in order")
        return BookSnapshot(ts_event_ns, ts_init_ns, update_id, bids, asks)

    def _levels(self, levels: Any) -> tuple[Level, ...]:
        if type(levels) is not list:
            raise CorruptLine("levels are not a list")
        if not levels:
            return ()
        if set(map(type, levels)) != {list}:
            raise CorruptLine("a level is not a pair")
        ticks, lots = self._level_ticks, self._lots
        try:
            return tuple([(ticks[price], lots[size]) for price, size in levels])
        except OffGrid:
            raise
        except ValueError as error:  # too few or too many to unpack
            raise CorruptLine("a level is not a pair") from error


def best_first(bids: Sequence[Level], asks: Sequence[Level]) -> bool:
    """Whether bids fall and asks rise strictly, as a snapshot's must."""
    return all(worse[0] < better[0] for better, worse in pairwise(bids)) and all(
        worse[0] > better[0] for better, worse in pairwise(asks)
    )


def _id(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _INT64_END:
        raise CorruptLine("an id is not a whole number")
    return value


def _venue_time_ns(value: Any) -> int:
    if type(value) is int and value > 0:
        time_ns = value * (1_000_000 if value < _MS_BELOW else 1_000)
        if time_ns < _INT64_END:
            return time_ns
    elif type(value) is str and len(value) <= 19 and value.isascii() and value.isdigit() and int(value) < _INT64_END:
        return int(value)
    raise CorruptLine("a time is not a whole number of ms since 1970")


class LineWriter:
    """Events of one instrument as lines, each ending in a newline."""

    __slots__ = ("_code", "_lots", "_stream", "_ticks")

    def __init__(self, instrument: Instrument) -> None:
        self._code = symbol_code(instrument.symbol)
        self._stream = self._code.lower()
        self._ticks = StepText(instrument.tick_size)
        self._lots = StepText(instrument.lot_size)

    def line(self, event: MarketEvent) -> str:
        """The line of an event."""
        time = "" if not event.ts_event_ns else f'"E":{_venue_time(event.ts_event_ns)},'
        ticks, lots = self._ticks, self._lots
        if isinstance(event, TopOfBook):
            stream = "bookTicker"
            data = (
                f'{{{time}"u":{event.update_id},"s":"{self._code}","b":"{ticks[event.bid_ticks]}","B":"{lots[event.bid_lots]}",'
                f'"a":"{ticks[event.ask_ticks]}","A":"{lots[event.ask_lots]}"}}'
            )
        elif isinstance(event, Trade):
            stream = "trade"
            traded = time.replace("E", "T")
            maker_is_buyer = "true" if event.aggressor is SELL else "false"
            data = (
                f'{{"e":"trade",{time}"s":"{self._code}","t":{event.trade_id},"p":"{ticks[event.price_ticks]}",'
                f'"q":"{lots[event.size_lots]}",{traded}"m":{maker_is_buyer},"M":true}}'
            )
        elif isinstance(event, BookDelta):
            stream = "depth@100ms"
            data = (
                f'{{"e":"depthUpdate",{time}"s":"{self._code}","U":{event.first_update_id},"u":{event.last_update_id},'
                f'"b":{self._levels(event.bids)},"a":{self._levels(event.asks)}}}'
            )
        else:
            bids, asks = self._levels(event.bids), self._levels(event.asks)
            return f'{event.ts_init_ns} {{{time}"lastUpdateId":{event.last_update_id},"bids":{bids},"asks":{asks}}}\n'
        return f'{event.ts_init_ns} {{"stream":"{self._stream}@{stream}","data":{data}}}\n'

    def _levels(self, levels: tuple[Level, ...]) -> str:
        ticks, lots = self._ticks, self._lots
        return "[" + ",".join([f'["{ticks[price]}","{lots[size]}"]' for price, size in levels]) + "]"


def _venue_time(ts_event_ns: int) -> str:
    """What `_venue_time_ns` reads back as the same time: whole ms as the venue writes them, else ns as a text."""
    ms, rest = divmod(ts_event_ns, 1_000_000)
    return f'"{ts_event_ns}"' if rest else str(ms)


# --- the line that says what was recorded -----------------------------------------------------------------------------


def instrument_line(instrument: Instrument, ts_init_ns: int) -> str:
    """The first line of a recording of ours: the instrument, with its rules and its venue."""
    values = {field.name: getattr(instrument, field.name) for field in fields(instrument)}
    data = {"e": INSTRUMENT_KIND, "s": symbol_code(instrument.symbol)}
    data |= {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}
    stream = f"{symbol_code(instrument.symbol).lower()}@{INSTRUMENT_KIND}"
    return f"{ts_init_ns} {orjson.dumps({'stream': stream, 'data': data}).decode()}\n"


def instrument_of(line: bytes) -> Instrument | None:
    """The instrument that a line names, if it is such a line. `CorruptLine` when it is one and is damaged."""
    _, _, body = line.partition(b" ")
    if f'"{INSTRUMENT_KIND}"'.encode() not in body:
        return None
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, dict) or data.get("e") != INSTRUMENT_KIND:
        return None
    return _instrument(data)


def _instrument(data: Mapping[str, Any]) -> Instrument:
    def text(name: str) -> str:
        value = data[name]
        if not isinstance(value, str):
            raise CorruptLine(f"{name} is not a text")
        return value

    try:
        return Instrument(
            symbol=text("symbol"),
            base=text("base"),
            quote=text("quote"),
            tick_size=Decimal(text("tick_size")),
            lot_size=Decimal(text("lot_size")),
            min_qty=Decimal(text("min_qty")),
            max_qty=Decimal(text("max_qty")),
            min_notional=Decimal(text("min_notional")),
            max_notional=None if data["max_notional"] is None else Decimal(text("max_notional")),
            venue=text("venue"),
            rules_as_of=text("rules_as_of"),
        )
    except KeyError as error:
        raise CorruptLine(f"field {error} is missing") from error
    except (ArithmeticError, ConfigError) as error:
        raise CorruptLine(f"a rule of the instrument is not usable ({error})") from error
