"""LOBSTER: messages and books become events, and files that contradict each other are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Trade
from autohedge.errors import MarketDataError
from autohedge.market.instruments import simulated_instrument
from autohedge.market.lobster import LobsterFeed

MIDNIGHT_NS = 1_340_251_200_000_000_000
NINE_THIRTY = MIDNIGHT_NS + 34_200 * 10**9
NONE = "9999999999,0"
MESSAGES = [
    "34200.000000001,1,11,10,1000000,1",  # the first book shows it already
    "34200.1,1,12,5,1000100,1",  # a better bid, which pushes one out of two levels
    "34200.2,4,12,2,1000100,1",
    "34200.2,5,0,7,1000200,-1",  # hidden: no change of the book
    "34200.3,2,12,1,1000100,1",
    "34200.4,3,12,2,1000100,1",  # the level is gone, and one moves up that nobody told of
    "34200.5,7,0,0,-1,-1",  # a halt
]
BOOKS = [
    f"1000300,4,1000000,10,{NONE},999900,3",
    f"1000300,4,1000100,5,{NONE},1000000,10",
    f"1000300,4,1000100,3,{NONE},1000000,10",
    f"1000300,4,1000100,3,{NONE},1000000,10",
    f"1000300,4,1000100,2,{NONE},1000000,10",
    f"1000300,4,1000000,10,{NONE},999900,3",
    f"1000300,4,1000000,10,{NONE},999900,3",
]
Made = Callable[..., LobsterFeed]


@pytest.fixture
def stock() -> Instrument:
    return replace(simulated_instrument("AAPL"), lot_size=Decimal(1), min_qty=Decimal(1))


@pytest.fixture
def made(tmp_path: Path, stock: Instrument) -> Made:
    def made(messages: Sequence[str] = MESSAGES, books: Sequence[str] = BOOKS) -> LobsterFeed:
        paths = tmp_path / "messages.csv", tmp_path / "book.csv"
        for path, lines in zip(paths, (messages, books), strict=True):
            path.write_text("\n".join(lines) + "\n")
        return LobsterFeed(*paths, stock, MIDNIGHT_NS)

    return made


async def test_messages_and_books_become_events(made: Made, events_of: Any) -> None:
    feed = made()
    events = await events_of(feed)
    ms = [NINE_THIRTY + each * 1_000_000 for each in range(0, 600, 100)]
    first = NINE_THIRTY + 1
    assert events == [
        BookSnapshot(first, first, 1, ((10_000, 10), (9_999, 3)), ((10_003, 4),)),
        BookDelta(ms[1], ms[1], 2, 2, ((10_001, 5), (9_999, 0)), ()),
        Trade(ms[2], ms[2], 1, 10_001, 2, SELL),
        BookDelta(ms[2], ms[2], 3, 3, ((10_001, 3),), ()),
        Trade(ms[2], ms[2], 2, 10_002, 7, BUY),
        BookDelta(ms[2], ms[2], 4, 4, (), ()),
        BookDelta(ms[3], ms[3], 5, 5, ((10_001, 2),), ()),
        BookDelta(ms[4], ms[4], 6, 6, ((9_999, 3), (10_001, 0)), ()),
        BookDelta(ms[5], ms[5], 7, 7, (), ()),
    ]
    assert (feed.report.messages, feed.report.rows, feed.description) == (9, 11, "replay of messages.csv")


def changed(lines: Sequence[str], at: int, line: str | None) -> list[str]:
    return [*lines[:at], *([] if line is None else [line]), *lines[at + 1 :]]


@pytest.mark.parametrize(
    ("messages", "books", "why"),
    [
        (changed(MESSAGES, 2, None), changed(BOOKS, 2, None), r"book\.csv:3: the book is not the one before"),
        (changed(MESSAGES, 1, "34200.1,1,12,5,1000100,-1"), BOOKS, r"book\.csv:2: the book is not the one before"),
        (changed(MESSAGES, 2, "34200.2,4,12,1,1000100,1"), BOOKS, r"book\.csv:3: the book is not the one before"),
        (MESSAGES, changed(BOOKS, 3, f"1000300,9,1000100,3,{NONE},1000000,10"), r"book\.csv:4: the book is not"),
        (changed(MESSAGES, 6, None), BOOKS, "different numbers of lines, one 6"),
        (changed(MESSAGES, 2, "34200.05,4,12,2,1000100,1"), BOOKS, r"messages\.csv:3: happened before"),
        (changed(MESSAGES, 2, "34200.2,9,12,2,1000100,1"), BOOKS, r"messages\.csv:3: expected time,type"),
        (changed(MESSAGES, 3, "34200.2,5,0,7,1000250,-1"), BOOKS, r"messages\.csv:4: price 1000250 is not a positive multiple"),
        (MESSAGES, changed(BOOKS, 0, "1000300,4,1000000"), r"book\.csv:1: expected ask and bid"),
        (MESSAGES, changed(BOOKS, 0, "1000300,4,1000000,x"), r"book\.csv:1: expected whole numbers"),
        (MESSAGES, changed(BOOKS, 0, "1000300,0,1000000,10"), r"book\.csv:1: the levels are not best first"),
        (MESSAGES, changed(BOOKS, 0, f"1000300,4,999900,3,{NONE},1000000,10"), r"book\.csv:1: the levels are not best first"),
        (MESSAGES, changed(BOOKS, 0, "1000350,4,1000000,10"), r"book\.csv:1: price 1000350 is not"),
        ([], [], "is empty"),
    ],
)
async def test_files_that_contradict_each_other_or_are_damaged_are_refused(
    messages: list[str], books: list[str], why: str, made: Made, events_of: Any, tmp_path: Path
) -> None:
    feed = made(messages, books)
    if not messages:
        (tmp_path / "messages.csv").write_bytes(b"")
    with pytest.raises(MarketDataError, match=why):
        await events_of(feed)


def test_an_instrument_in_other_steps_is_refused(tmp_path: Path, stock: Instrument) -> None:
    for other in (replace(stock, tick_size=Decimal("0.00001")), replace(stock, lot_size=Decimal("0.1"))):
        with pytest.raises(MarketDataError, match="a lot of one share"):
            LobsterFeed(tmp_path, tmp_path, other, 0)
