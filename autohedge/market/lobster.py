"""Replay of LOBSTER files (lobsterdata.com): the messages of single orders, and the book after each, as market events.

The message file has seconds after midnight, type (1 new, 2 partial cancellation, 3 deletion, 4 execution, 5 execution of a
hidden order, 6 cross, 7 halt), order id, size, price × 10,000 and direction (1 buy, −1 sell: that of the resting order, so
whoever took is the other side). The book file has, in the line of the same number, ask price, ask size, bid price and bid size
of each level after the message; a level that does not exist has a price of ±9,999,999,999.

Only messages within the levels of the book file are given, and a level that moves up from below them has none. So the first
line is a snapshot, and each later one a delta to the levels that are shown then; a level that is pushed out is removed. Each
message is checked against the change of the book: files that contradict each other are refused with `MarketDataError`. A
hidden order may be executed between two cents; a day with such trades needs an instrument with a finer tick.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from itertools import islice, zip_longest
from pathlib import Path

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, Side, Trade, rows_of
from autohedge.errors import MarketDataError
from autohedge.market.lines import lines_of
from autohedge.market.raw import BATCH_EVENTS, described
from autohedge.ports import FeedReport

NEW, REDUCED, DELETED, EXECUTED, EXECUTED_HIDDEN, CROSSED, HALTED = range(1, 8)
"""The types of messages."""

_NO_PRICE = 9_999_999_999
_UNITS = 10_000  # prices are in hundredths of a cent
_MESSAGE = re.compile(rb"([0-9]{1,5})(?:\.([0-9]{1,9}))?,([1-7]),-?[0-9]{1,18},([0-9]{1,15}),(-?[0-9]{1,15}),(-?1)\r?")
_Side = dict[int, int]


class LobsterFeed:
    """A `MarketFeed` over one day of one stock.

    `midnight_ns` is the UTC time of the exchange's midnight, from which the seconds count. Raises `MarketDataError` for a tick
    that is no whole number of 1/10,000.
    """

    simulated = False

    def __init__(self, messages: Path, book: Path, instrument: Instrument, midnight_ns: int) -> None:
        units = instrument.tick_size * _UNITS
        if units != units.to_integral_value() or instrument.lot_size != Decimal(1):
            raise MarketDataError(
                f"{instrument.symbol}: LOBSTER files need a tick of whole 1/10,000 and a lot of one share, "
                f"found {instrument.tick_size} and {instrument.lot_size}"
            )
        self.instrument = instrument
        self.description = described([messages])
        self.report = FeedReport()
        self._messages, self._book = messages, book
        self._midnight_ns = midnight_ns
        self._tick_units = int(units)

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """Events, some hundreds at a time; other tasks get their turn between batches. Raises `MarketDataError`."""
        events = self._events()
        while batch := list(islice(events, BATCH_EVENTS)):
            yield batch
            await asyncio.sleep(0)

    def _events(self) -> Iterator[MarketEvent]:
        report = self.report
        shown: tuple[_Side, _Side] | None = None
        trades = last_ns = 0
        lines = zip_longest(_lines(self._messages), _lines(self._book))
        for number, (message, row) in enumerate(lines, 1):
            if message is None or row is None:
                raise MarketDataError(f"{self._messages} and {self._book} have different numbers of lines, one {number - 1}")
            ts_ns, kind, size, price_ticks, side = self._message(message, number)
            if ts_ns < last_ns:
                raise MarketDataError(f"{self._messages}:{number}: happened before the message before it")
            last_ns = ts_ns
            after = self._sides(row, number)
            events: list[MarketEvent] = []
            if kind in (EXECUTED, EXECUTED_HIDDEN):
                trades += 1
                events.append(Trade(ts_ns, ts_ns, trades, price_ticks, size, SELL if side is BUY else BUY))
            if shown is None:
                events.append(BookSnapshot(ts_ns, ts_ns, number, _best_first(after[0], BUY), _best_first(after[1], SELL)))
            else:
                change = {NEW: size, REDUCED: -size, DELETED: -size, EXECUTED: -size}.get(kind, 0)
                self._require_consistent(shown, after, side, price_ticks, change, number)
                bids, asks = (_difference(before, now) for before, now in zip(shown, after, strict=True))
                events.append(BookDelta(ts_ns, ts_ns, number, number, bids, asks))
            shown = after
            for event in events:
                report.messages += 1
                report.rows += rows_of(event)
                yield event

    def _message(self, line: bytes, number: int) -> tuple[int, int, int, int, Side]:
        """Time, type, size, price and side of the resting order."""
        matched = _MESSAGE.fullmatch(line)
        if matched is None:
            raise MarketDataError(f"{self._messages}:{number}: expected time,type,id,size,price,direction, found {line[:60]!r}")
        ts_ns = self._midnight_ns + int(matched[1]) * 10**9 + int((matched[2] or b"").ljust(9, b"0"))
        kind, size, price = int(matched[3]), int(matched[4]), int(matched[5])
        ticks = 0 if kind in (CROSSED, HALTED) else self._ticks(price, self._messages, number)
        return ts_ns, kind, size, ticks, BUY if matched[6] == b"1" else SELL

    def _sides(self, row: bytes, number: int) -> tuple[_Side, _Side]:
        """Bids and asks of a line of the book."""
        try:
            values = [int(value) for value in row.split(b",")]
        except ValueError as error:
            raise MarketDataError(f"{self._book}:{number}: expected whole numbers, found {row[:60]!r}") from error
        if len(values) % 4 or not values:
            raise MarketDataError(f"{self._book}:{number}: expected ask and bid, price and size of each level")
        made: tuple[_Side, _Side] = ({}, {})
        for side, (at, levels) in enumerate(((2, made[0]), (0, made[1]))):
            for price, size in zip(values[at::4], values[at + 1 :: 4], strict=True):
                if abs(price) != _NO_PRICE:
                    levels[self._ticks(price, self._book, number)] = size
            ordered = sorted(levels, reverse=not side)
            if ordered != list(levels) or any(size <= 0 for size in levels.values()):
                raise MarketDataError(f"{self._book}:{number}: the levels are not best first, or one is empty")
        return made

    def _require_consistent(
        self, shown: tuple[_Side, _Side], after: tuple[_Side, _Side], side: Side, price_ticks: int, change: int, number: int
    ) -> None:
        """The book after a message is the book before it with the order's change, as far as that was shown."""
        for at, (before, now) in enumerate(zip(shown, after, strict=True)):
            expected = dict(before)
            if change and (at == 0) is (side is BUY):
                expected[price_ticks] = expected.get(price_ticks, 0) + change
                if not expected[price_ticks]:
                    del expected[price_ticks]
            known = _best_first(expected, BUY if at == 0 else SELL)
            if _best_first(now, BUY if at == 0 else SELL)[: len(known)] != known[: len(now)]:
                raise MarketDataError(
                    f"{self._book}:{number}: the book is not the one before with the change of line {number} of "
                    f"{self._messages.name}; the files do not belong together, or lines are missing"
                )

    def _ticks(self, price: int, path: Path, number: int) -> int:
        ticks, rest = divmod(price, self._tick_units)
        if rest or ticks <= 0:
            raise MarketDataError(f"{path}:{number}: price {price} is not a positive multiple of {self.instrument.tick_size}")
        return ticks


def _lines(path: Path) -> Iterator[bytes]:
    for lines in lines_of(path):
        yield from (line for line in lines if line.strip())


def _best_first(levels: _Side, side: Side) -> tuple[Level, ...]:
    return tuple(sorted(levels.items(), reverse=side is BUY))


def _difference(before: _Side, now: _Side) -> tuple[Level, ...]:
    """The levels that are new, changed or gone."""
    changed = [(price, size) for price, size in now.items() if before.get(price) != size]
    return (*changed, *((price, 0) for price in before if price not in now))
