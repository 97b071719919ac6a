"""Replay of recorded sessions of several venues, as the recorder of the cryptofeed project writes them (its `sample_data`).

Of a venue there are, plain or gzipped: `COINBASE.0`, its instrument list over REST; `COINBASE.ws.28.0`, what one WebSocket
connection sent; `BINANCE.http.0.0`, answers over REST. A line is one of

    wss://… <-> 1618677816.8434298                 connected, at this time in seconds
    wss://… <- 1618677817.020616: {…}              sent by us
    1618677817.061845: {…}                         received
    https://… -> 1633998512.320639: {…}            the answer to a request

Promise: the events of one instrument in the order in which they were received, by the rules of its venue's parser; what cannot
be used is counted in `report`. Refused with `MarketDataError`: a missing list or connection, an unknown instrument, damaged
files.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BookSnapshot, MarketEvent, rows_of
from autohedge.errors import MarketDataError
from autohedge.market.binance import CorruptLine, LineParser, Skip, symbol_code
from autohedge.market.binance_futures import BinanceFuturesParser
from autohedge.market.bybit import BybitParser
from autohedge.market.coinbase import CoinbaseParser
from autohedge.market.instrument_lists import listed_instruments
from autohedge.market.kraken import KrakenParser
from autohedge.market.lines import lines_of
from autohedge.market.raw import BATCH_EVENTS, MAX_STEP_NS, add_example, described
from autohedge.market.venue_messages import UNUSABLE, VenueParser, corrupt, decoded
from autohedge.ports import FeedReport

_NAME = re.compile(r"(?P<venue>[A-Z][A-Z_]*)\.(?P<kind>0|ws\.[0-9]+\.[0-9]+|http\.[0-9]+\.[0-9]+)(\.gz)?")
_LINE = re.compile(
    rb"(?:(?P<address>[a-z]+://\S+) (?P<arrow><->|<-|->) )?"
    rb"(?P<seconds>[0-9]{1,10})(?:\.(?P<fraction>[0-9]{1,9}))?"
    rb"(?:: (?P<body>.*))?"
)


class SessionFiles(NamedTuple):
    """The files of one venue: its instrument list, its connections and its answers over REST."""

    venue: str
    instruments: Path | None
    connections: tuple[Path, ...]
    answers: tuple[Path, ...]


class BinanceSpotParser:
    """A `VenueParser` for one symbol of Binance spot: what `LineParser` reads, and aggregated trades where there are no others.

    Whether single trades are subscribed to is in the address of the connection.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._lines = LineParser(instrument)
        self._aggregated: BinanceFuturesParser | None = BinanceFuturesParser(instrument)
        self._code = symbol_code(instrument.symbol)

    @property
    def rounded(self) -> int:
        """How many sizes finer than a lot have been rounded down so far."""
        return self._lines.rounded + (self._aggregated.rounded if self._aggregated is not None else 0)

    def connected(self, ts_init_ns: int, address: str) -> None:
        """Nothing is lost unseen: the venue's own ids show what was lost."""
        if f"{self._code.lower()}@trade" in address:
            self._aggregated = None

    def parse(self, ts_init_ns: int, body: bytes) -> Sequence[MarketEvent] | Skip:
        """The event in a message. Raises `CorruptLine`."""
        if self._aggregated is not None and b'"aggTrade"' in body:
            try:
                data = decoded(body).get("data", {})
                return (self._aggregated.aggregated_trade(ts_init_ns, data),) if data["s"] == self._code else Skip.FOREIGN
            except UNUSABLE as error:
                raise corrupt(error) from error
        event = self._lines.parse(b"%d %b" % (ts_init_ns, body))
        return event if isinstance(event, Skip) else (event,)


PARSERS: dict[str, Callable[[Instrument], VenueParser]] = {
    "binance": BinanceSpotParser,
    "binance-futures": BinanceFuturesParser,
    "bybit": BybitParser,
    "coinbase": CoinbaseParser,
    "kraken": KrakenParser,
}
"""Venue → its parser."""


def session_files(path: Path) -> list[SessionFiles]:
    """The recorded sessions in a folder, one per venue; of a file, the one it belongs to. Empty when there is none."""
    folder, only = (path, None) if path.is_dir() else (path.parent, _NAME.fullmatch(path.name))
    if folder is not path and only is None:
        return []
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError:
        return []  # whoever looks for other recordings there says what is wrong
    found: dict[str, dict[str, list[Path]]] = {}
    for matched in filter(None, map(_NAME.fullmatch, names)):
        if only is None or matched["venue"] == only["venue"]:
            kinds = found.setdefault(matched["venue"], {"0": [], "ws": [], "http": []})
            kinds[matched["kind"].split(".")[0]].append(folder / matched.string)
    return [
        SessionFiles(venue.lower().replace("_", "-"), next(iter(kinds["0"]), None), tuple(kinds["ws"]), tuple(kinds["http"]))
        for venue, kinds in found.items()
        if kinds["ws"]
    ]


def session_instruments(files: SessionFiles) -> dict[str, Instrument]:
    """The instruments in a session's list, by the venue's code. Raises `MarketDataError`, `ConfigError`."""
    if files.instruments is None:
        raise MarketDataError(f"the session of {files.venue} has no instrument list ({files.venue.upper()}.0)")
    for entry in _entries(files.instruments):
        if entry.arrow == b"->":
            day = datetime.fromtimestamp(entry.ts_ns // 10**9, UTC)
            return listed_instruments(files.venue, entry.body, f"{day:%Y-%m-%d}")
    raise MarketDataError(f"{files.instruments}: no instrument list in it")


def speaks_of(files: SessionFiles, code: str) -> tuple[Path, ...]:
    """The connections with a message, to or from the venue, in which the code is. Raises `MarketDataError`."""
    needle = code.encode()
    return tuple(path for path in files.connections if any(needle in entry.body for entry in _entries(path)))


class SessionFeed:
    """A `MarketFeed` over one instrument of a recorded session.

    Raises `MarketDataError` when no connection speaks of the instrument, or there is no book snapshot of it.
    """

    simulated = False

    def __init__(self, files: SessionFiles, code: str, instrument: Instrument) -> None:
        connections = speaks_of(files, code)
        if files.venue not in PARSERS or not connections:
            raise MarketDataError(f"no connection to {files.venue} in this session speaks of {code}")
        self.instrument = instrument
        self.description = described(connections)
        self.report = FeedReport()
        self._code = code
        self._files = (*connections, *files.answers)
        self._make_parser = PARSERS[files.venue]
        self._parser = self._make_parser(instrument)
        self._require_snapshot()

    def _require_snapshot(self) -> None:
        unusable = ""
        for place, _, told in self.messages():
            if isinstance(told, CorruptLine):
                unusable = unusable or f"; the first message that cannot be used is {place}: {told}"
            elif not isinstance(told, Skip) and any(isinstance(event, BookSnapshot) for event in told):
                return
        raise MarketDataError(
            f"{self._files[0]}: no book snapshot of {self._code} in this session, so it cannot be synchronised{unusable}"
        )

    @property
    def rounded(self) -> int:
        """How many displayed sizes finer than a lot have been rounded down in the last pass over `messages`."""
        return self._parser.rounded

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """Events, some hundreds at a time; other tasks get their turn between batches. Raises `MarketDataError`."""
        events = self._events()
        while batch := list(islice(events, BATCH_EVENTS)):
            yield batch
            await asyncio.sleep(0)

    def messages(self) -> Iterator[tuple[str, bytes, list[MarketEvent] | Skip | CorruptLine]]:
        """Each message with its place and what it tells: events, nothing of ours, or why it cannot be used.

        Raises `MarketDataError` for a damaged file.
        """
        parser = self._parser = self._make_parser(self.instrument)
        for entry in merge(*map(_entries, self._files), key=attrgetter("ts_ns")):
            told: list[MarketEvent] | Skip | CorruptLine
            if entry.arrow == b"<->":
                parser.connected(entry.ts_ns, entry.address.decode())
                continue
            if entry.arrow == b"<-" or (entry.arrow == b"->" and not self._is_answer_about_us(entry.address)):
                continue
            try:
                events = parser.parse(entry.ts_ns, entry.body)
                told = events if isinstance(events, Skip) else list(events)
            except CorruptLine as error:
                told = error
            yield entry.place, entry.body, told

    def _events(self) -> Iterator[MarketEvent]:
        report = self.report
        last_ns: int | None = None
        for place, body, told in self.messages():
            if isinstance(told, CorruptLine):
                report.corrupt += 1
                add_example(report, f"{place}: {told}", body.decode("ascii", "replace"))
                continue
            if isinstance(told, Skip):
                report.foreign += told is Skip.FOREIGN
                continue
            for event in told:
                ts_ns = event.ts_init_ns
                last_ns = ts_ns if last_ns is None else last_ns
                if ts_ns < last_ns:
                    report.out_of_order += 1
                    continue
                if ts_ns > last_ns + MAX_STEP_NS:
                    raise MarketDataError(f"{place}: received more than a year after the line before; the recording is damaged")
                last_ns = ts_ns
                report.rounded = self.rounded
                report.messages += 1
                report.rows += rows_of(event)
                yield event

    def _is_answer_about_us(self, address: bytes) -> bool:
        """Whether a request was for the book of our symbol."""
        return b"/depth?" in address and f"symbol={self._code}&".encode() in address + b"&"


class _Entry(NamedTuple):
    """A line: `arrow` is empty for what was received, `place` is for messages to people."""

    ts_ns: int
    place: str
    address: bytes
    arrow: bytes
    body: bytes


def _entries(path: Path) -> Iterator[_Entry]:
    """The lines of a file but for empty ones; one that is no line of a session is given as if it had been received."""
    number = last_ns = 0
    for lines in lines_of(path):
        for line in lines:
            number += 1
            place = f"{path.name}:{number}"
            matched = _LINE.fullmatch(line)
            if matched is not None:
                last_ns = int(matched["seconds"]) * 10**9 + int((matched["fraction"] or b"").ljust(9, b"0"))
                yield _Entry(last_ns, place, matched["address"] or b"", matched["arrow"] or b"", matched["body"] or b"")
            elif line.strip():
                # at the time of the line before, so that it keeps its place; the parser says what is wrong with it
                yield _Entry(last_ns, place, b"", b"", line)
