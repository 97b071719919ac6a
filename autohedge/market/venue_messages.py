"""What the parsers of venues' messages share: decoding, exact numbers, times, and numbers for updates that have none.

A parser takes one message at a time and gives the market events in it. Promise: a message is used whole or not at all, and
nothing is guessed. Where a venue does not number its updates, the parser numbers them, and makes every possible loss visible
as a hole in the numbers (a new connection, a message that cannot be used, one that contradicts what is known), so that
`autohedge.market.sync` holds the book back until the next snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import Level, MarketEvent
from autohedge.market.binance import CorruptLine, Skip
from autohedge.market.exact import OffGrid, price_grid, size_grid

NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_INT64_END = 2**63


class VenueParser(Protocol):
    """Messages of one venue, of one instrument, as market events."""

    @property
    def rounded(self) -> int:
        """How many displayed sizes finer than a lot have been rounded down so far."""
        ...

    def connected(self, ts_init_ns: int, address: str) -> None:
        """A connection was made at this time: nothing that comes now continues what came before."""
        ...

    def parse(self, ts_init_ns: int, body: bytes) -> Sequence[MarketEvent] | Skip:
        """The events in a message, one or more; `Skip` when it is of something else. Raises `CorruptLine`."""
        ...


class Grid:
    """A venue's texts as whole ticks and lots of an instrument; anything that is no such number raises `OffGrid`."""

    __slots__ = ("_lots", "_ticks")

    def __init__(self, instrument: Instrument) -> None:
        self._ticks = price_grid(instrument)
        self._lots = size_grid(instrument)

    @property
    def rounded(self) -> int:
        """How many sizes finer than a lot have been rounded down so far."""
        return self._lots.rounded

    def price(self, text: str) -> int:
        """A price in ticks, more than zero."""
        ticks = self._ticks[text]
        if not ticks:
            raise CorruptLine("a price is zero")
        return ticks

    def size(self, text: str) -> int:
        """A size in lots; zero is less than a lot, or none."""
        return self._lots[text]

    def traded(self, text: str) -> int:
        """The size of a trade or quote in lots, more than zero."""
        lots = self._lots[text]
        if not lots:
            raise CorruptLine("a size is less than a lot")
        return lots

    def levels(self, rows: Any) -> tuple[Level, ...]:
        """Levels given as a list of [price, size]."""
        if type(rows) is not list:
            raise CorruptLine("levels are not a list")
        made = []
        for row in rows:
            if type(row) is not list or len(row) != 2:
                raise CorruptLine("a level is not a pair")
            made.append((self.price(row[0]), self.size(row[1])))
        return tuple(made)


class Numbering:
    """Update ids for a venue that gives none: one after the other, with a hole wherever something may have been lost."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def following(self) -> int:
        """The id of the next update."""
        self.last += 1
        return self.last

    def lose(self) -> None:
        """What comes next does not continue what came before."""
        self.last += 1


UNUSABLE = (CorruptLine, OffGrid, KeyError, TypeError, AttributeError)
"""What reading a damaged message raises."""


def corrupt(error: Exception) -> CorruptLine:
    """The reason why a message cannot be used, from one of `UNUSABLE`."""
    return CorruptLine(f"field {error} is missing" if isinstance(error, KeyError) else str(error))


def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object in a message. Raises `CorruptLine`."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise CorruptLine(f"not JSON ({error.msg})") from error
    if type(message) is not dict:
        raise CorruptLine("not an object")
    return message


def decoded_exactly(body: bytes) -> dict[str, Any]:
    """The same with fractions as the texts they are written as, for venues that send prices as numbers and not as texts."""
    try:
        message = json.loads(body, parse_float=str, parse_constant=str)
    except ValueError as error:
        raise CorruptLine("not JSON") from error
    if type(message) is not dict:
        raise CorruptLine("not an object")
    return message


def number_text(value: Any) -> str:
    """A price or size of `decoded_exactly` as it is written. Raises `CorruptLine`."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise CorruptLine("a price or size is not a number")
    return value


def whole(value: Any, what: str) -> int:
    """A whole number of zero or more that fits in 64 bits, given as a number or as its text. Raises `CorruptLine`."""
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    if type(value) is not int or not 0 <= value < _INT64_END:
        raise CorruptLine(f"{what} is not a whole number")
    return value


def time_of_ms_ns(value: Any) -> int:
    """A venue's time in ms, in ns. Raises `CorruptLine`."""
    ms = whole(value, "a time")
    if not 0 < ms < _INT64_END // NS_PER_MS:
        raise CorruptLine("a time is not in ms since 1970")
    return ms * NS_PER_MS


def time_of_text_ns(value: Any) -> int:
    """A time like 2021-04-17T16:43:37.075687Z in ns; 0 for one before 1970, with which venues say that they do not know.

    Raises `CorruptLine`.
    """
    if type(value) is not str or not value.endswith("Z"):
        raise CorruptLine("a time is not an ISO text in UTC")
    seconds, _, fraction = value[:-1].partition(".")
    try:
        at = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    except ValueError as error:
        raise CorruptLine("a time is not an ISO text in UTC") from error
    if len(fraction) > 9 or (fraction and not (fraction.isascii() and fraction.isdigit())):
        raise CorruptLine("a time has no plain fraction of a second")
    time_ns = int(at.timestamp()) * _NS_PER_S + int(fraction.ljust(9, "0") or 0)
    return max(0, time_ns)
