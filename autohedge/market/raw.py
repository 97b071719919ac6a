"""Replay of raw recordings: files of `<receive time, ns> <JSON of the exchange>` lines, several in order as one session.

Promise: events come in the order in which they were received, each exactly as the venue sent it. A line that cannot be used
is counted in `report` and never applied: corrupt (with the first examples), foreign, or received before its predecessor.
Refused with `MarketDataError`: a file that is missing, empty, damaged or truncated. Sequence rules are not this module's: a
duplicate or a hole in the update ids is found by `autohedge.market.sync`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.market.binance import CorruptLine, LineParser, Skip
from autohedge.market.lines import lines_of
from autohedge.ports import FeedReport

BATCH_EVENTS = 512
MAX_EXAMPLES = 5
MAX_EXAMPLE_CHARS = 80
MAX_STEP_NS = 366 * 86_400 * 1_000_000_000
"""A receive time more than a year after the line before is damage: accepting it would make all that follows out of order."""


class RawRecordingFeed:
    """A `MarketFeed` over raw files in the given order.

    `report.messages` and `.rows` count the events given, `.rounded` displayed sizes finer than a lot that were rounded down.
    """

    def __init__(self, files: Sequence[Path], instrument: Instrument, *, simulated: bool = False) -> None:
        self.instrument = instrument
        self.simulated = simulated
        self.description = described(files)
        self.report = FeedReport()
        self._files = tuple(files)
        self._parser = LineParser(instrument)

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """Events, some hundreds at a time; other tasks get their turn between batches. Raises `MarketDataError`."""
        report, parser = self.report, self._parser
        events = self._events()
        while batch := list(islice(events, BATCH_EVENTS)):
            report.messages += len(batch)
            report.rows += sum(map(rows_of, batch))
            report.rounded = parser.rounded
            yield batch
            await asyncio.sleep(0)

    def _events(self) -> Iterator[MarketEvent]:
        report, parse = self.report, self._parser.parse
        last_ns: int | None = None
        for file in self._files:
            number = 0
            for lines in lines_of(file):
                for line in lines:
                    number += 1
                    try:
                        event = parse(line)
                        if isinstance(event, Skip):
                            report.foreign += event is Skip.FOREIGN
                            continue
                        ts_ns = event.ts_init_ns
                        if last_ns is None:
                            last_ns = ts_ns
                        if not 0 <= ts_ns - last_ns <= MAX_STEP_NS:
                            if ts_ns > last_ns:
                                raise CorruptLine("the receive time is more than a year after the line before")
                            report.out_of_order += 1
                            continue
                    except CorruptLine as error:
                        if line.strip():  # an empty line holds nothing that could be lost
                            report.corrupt += 1
                            text = line[:MAX_EXAMPLE_CHARS].decode("ascii", "replace")
                            add_example(report, f"{file.name}:{number}: {error}", text)
                        continue
                    last_ns = ts_ns
                    yield event


def described(files: Sequence[Path]) -> str:
    """In words: "replay of a.jsonl.gz" or "replay of 3 files, a.jsonl.gz … c.jsonl.gz"."""
    first, last = files[0].name, files[-1].name
    return f"replay of {first}" if len(files) == 1 else f"replay of {len(files)} files, {first} … {last}"


def add_example(report: FeedReport, where_and_why: str, content: str) -> None:
    """Keep one of the first examples of what could not be used: its beginning, in printable characters."""
    if len(report.examples) < MAX_EXAMPLES:
        text = "".join(each if each.isascii() and each.isprintable() else "?" for each in content[:MAX_EXAMPLE_CHARS])
        report.examples.append(f"{where_and_why}: {text}")
