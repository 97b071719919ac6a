"""Is a recording fit for a backtest? What is wrong with it, by name, how often and where first.

Reads any recording that can be replayed, and many that cannot: raw lines, flattened Parquet and Parquet recordings of ours. A
message that a replay would count as corrupt is looked at again, number by number, to name its fault. Promise: a recording
without an error can be replayed from its first snapshot to its end without a gap, a crossed book or a message left out, but
for foreign ones. What the checks are is told by `autohedge.market.faults.KINDS`.

Refused with `MarketDataError`: where there is no recording at all, or none of the symbol.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import rows_of
from autohedge.errors import MarketDataError
from autohedge.market.binance import CorruptLine, LineParser, Skip, symbol_code
from autohedge.market.data_report import DataReport, Severity
from autohedge.market.event_check import DEFAULT_SILENCE_S, EventCheck
from autohedge.market.faults import Faults, first_fault, value_fault
from autohedge.market.instruments import instrument as known_instrument
from autohedge.market.lines import lines_of
from autohedge.market.parquet import ParquetRecordingFeed
from autohedge.market.parquet_folder import Dataset, read_dataset
from autohedge.market.recordings import (
    PARQUET,
    dataset_of_symbol,
    files_of_symbol,
    recorded_instrument,
    session_of_symbol,
    symbol_of,
)
from autohedge.market.sample_sessions import SessionFeed

if TYPE_CHECKING:
    from autohedge.market.event_rows import EventColumns

REPLAY_VENUE = "binance"
"""Whose rules a recording is checked by that does not name its own instrument."""

_PROGRESS_ROWS = 50_000
_DECIMAL = re.compile(rb"-?[0-9]+\.[0-9]+|[0-9]+e[0-9]+", re.IGNORECASE)
_NS_IN_MS = 10**17  # as ms this would be far beyond any date: it is ns
_E8 = Decimal(10**8)


def check_recording(
    path: Path,
    symbol: str | None = None,
    instrument: Instrument | None = None,
    *,
    silence_s: float = DEFAULT_SILENCE_S,
    on_progress: Callable[[int], None] | None = None,
) -> DataReport:
    """Check the recording of one symbol at `path`, as `open_replay` finds it.

    `symbol` may be left out where the recording is of one; `instrument` where the recording names it or its rules are bundled.
    `on_progress` is told the rows read so far, now and then. Raises `MarketDataError` when there is nothing to check, and
    `ConfigError` for an unknown symbol or a missing extra.
    """
    symbol = symbol or (instrument.symbol if instrument is not None else symbol_of(path))
    if symbol is None:
        raise MarketDataError(f"{path}: cannot tell of which symbol this recording is; name the symbol")
    instrument = instrument or recorded_instrument(path, symbol) or known_instrument(REPLAY_VENUE, symbol)
    check = _Check(instrument, silence_s, on_progress)
    session = session_of_symbol(path, symbol, instrument.venue)
    folder = None if session is not None else dataset_of_symbol(path, symbol)
    if session is not None:
        check.session(SessionFeed(session.files, session.code, instrument))
    elif folder is not None:
        check.dataset(folder)
    else:
        files = files_of_symbol(path, symbol)
        if files[0].suffix == PARQUET:
            check.flattened(files[0])
        else:
            check.raw(files)
    return check.report(str(path))


async def read_and_check(
    path: Path, symbol: str, instrument: Instrument, *, silence_s: float = DEFAULT_SILENCE_S
) -> tuple[EventColumns, DataReport]:
    """What `read_columns` gives and what `check_recording` finds; of a recording with next to nothing to find in one reading.

    Raises as those two do.
    """
    from autohedge.market.checked_columns import read_clean
    from autohedge.market.recordings import read_columns

    clean = read_clean(path, symbol, instrument, silence_s)
    if clean is not None:
        return clean
    return await read_columns(path, symbol, instrument), check_recording(path, symbol, instrument, silence_s=silence_s)


def require_clean(report: DataReport, allow: Collection[str] = ()) -> None:
    """See to it that data are fit for a backtest. `allow` are kinds of findings that are accepted.

    Raises `MarketDataError` with the errors that are not allowed.
    """
    unfit = [each for each in report.findings if each.severity is Severity.ERROR and each.kind not in allow]
    if unfit:
        listed = "; ".join(f"{each.kind} {each.count} times, first at {each.first}: {each.detail}" for each in unfit)
        raise MarketDataError(f"{report.source}: not fit for a backtest: {listed}. Repair the data, or allow these by name")


def subject(instrument: Instrument) -> str:
    """What a report is about."""
    return f"book and trades of {instrument.symbol}"


class _Check:
    """One pass over a recording; each source tells `_where` it is and gives its events to `_events`."""

    def __init__(self, instrument: Instrument, silence_s: float, on_progress: Callable[[int], None] | None) -> None:
        self._instrument = instrument
        self._faults = Faults()
        self._events = EventCheck(self._faults, self._where, silence_s)
        self._on_progress = on_progress
        self._rows = 0
        self._told_rows = 0
        self._file = ""
        self._number = 0

    def report(self, source: str) -> DataReport:
        """What was found, once a source has been read."""
        events, faults = self._events, self._faults
        if events.messages:
            events.finish()
        else:
            faults.note("no_events", source)
        return DataReport(source, subject(self._instrument), self._rows, events.first_ns, events.last_ns, faults.findings())

    def _where(self) -> str:
        return f"{self._file}:{self._number}"

    def _count(self, rows: int) -> None:
        self._rows += rows
        if self._on_progress is not None and self._rows >= self._told_rows + _PROGRESS_ROWS:
            self._told_rows = self._rows
            self._on_progress(self._rows)

    # --- raw lines -----------------------------------------------------------------------------------------------------

    def raw(self, files: Sequence[Path]) -> None:
        parser = LineParser(self._instrument)
        for file in files:
            self._file, self._number = file.name, 0
            try:
                for lines in lines_of(file):
                    for line in lines:
                        self._number += 1
                        self._line(parser, line)
            except MarketDataError as error:
                self._faults.note("truncated", file.name, str(error))

    def _line(self, parser: LineParser, line: bytes) -> None:
        rounded = parser.rounded
        try:
            event = parser.parse(line)
        except CorruptLine as error:
            if line.strip():
                self._count(1)
                self._faults.note(_line_fault(line, self._instrument), self._where, str(error))
            return
        if parser.rounded > rounded:
            self._faults.note("size_off_grid", self._where, count=parser.rounded - rounded)
        if isinstance(event, Skip):
            if event is Skip.FOREIGN:
                self._faults.note("foreign", self._where)
            return
        self._count(rows_of(event))
        self._events.take(event)

    def session(self, feed: SessionFeed) -> None:
        try:
            for place, body, told in feed.messages():
                self._file, _, number = place.rpartition(":")
                self._number = int(number)
                if isinstance(told, CorruptLine):
                    self._faults.note("corrupt", self._where, f"{told}: {body[:60].decode('ascii', 'replace')}")
                elif isinstance(told, Skip):
                    if told is Skip.FOREIGN:
                        self._faults.note("foreign", self._where)
                else:
                    for event in told:
                        self._count(rows_of(event))
                        self._events.take(event)
        except MarketDataError as error:
            self._faults.note("truncated", self._file, str(error))
        if feed.rounded:
            self._faults.note("size_off_grid", "the whole recording", count=feed.rounded)

    # --- Parquet ---------------------------------------------------------------------------------------------------------

    def flattened(self, file: Path) -> None:
        feed = ParquetRecordingFeed(file, self._instrument, any_numbers=True)
        self._file = file.name
        rounded = 0
        try:
            for self._number, rows in feed.messages():
                self._count(len(rows))
                try:
                    event = feed.event_of(rows)
                except CorruptLine as error:
                    self._faults.note(_row_fault(rows, self._instrument), self._where, str(error))
                    continue
                if feed.report.rounded > rounded:
                    self._faults.note("size_off_grid", self._where, count=feed.report.rounded - rounded)
                    rounded = feed.report.rounded
                self._events.take(event)
        except MarketDataError as error:
            self._faults.note("truncated", file.name, str(error))

    def dataset(self, folder: Path) -> None:
        from autohedge.market.event_rows import events_of, without_faults
        from autohedge.market.parquet_dataset import read_part

        dataset = self._found(folder)
        for part in dataset.parts if dataset is not None else ():
            self._file, self._number = part.name, 0
            try:
                columns = read_part(part)
            except MarketDataError as error:
                self._faults.note("truncated", part.name, str(error))
                continue
            self._count(len(columns.kind))
            sound, faults = without_faults(columns)
            for kind, what, count, first in faults:
                self._faults.note(kind, f"{part.name}:{first}", what, count)
            for event in events_of(sound):
                self._events.take(event)
                self._number += max(1, rows_of(event))
        for torn in dataset.torn if dataset is not None else ():
            self._faults.note("torn", torn.name)

    def _found(self, folder: Path) -> Dataset | None:
        try:
            return read_dataset(folder)
        except MarketDataError as error:
            self._faults.note("truncated", folder.name, str(error))
            return None


# --- naming what is wrong with a message that cannot be used -----------------------------------------------------------------


def _line_fault(line: bytes, instrument: Instrument) -> str:
    stamp, _, body = line.partition(b" ")
    if stamp.startswith(b"-") and stamp[1:].isdigit():
        return "negative"
    if _DECIMAL.fullmatch(stamp):
        return "time_unit"  # seconds with a fraction
    try:
        message = json.loads(body)  # unlike orjson it reads NaN and Infinity, which have to be named
    except ValueError:
        return "corrupt"
    data = message.get("data", message) if isinstance(message, dict) else None
    if not isinstance(data, dict) or data.get("s", symbol_code(instrument.symbol)) != symbol_code(instrument.symbol):
        return "corrupt"
    return first_fault(_faults_in(data, instrument))


def _faults_in(data: dict[str, Any], instrument: Instrument) -> Iterator[str | None]:
    """Faults of the numbers of a message of Binance, in the order in which they are looked at."""
    for name in ("bids", "asks", "b", "a"):
        levels = data.get(name)
        for level in levels if isinstance(levels, list) else ():
            if isinstance(level, list) and len(level) == 2:
                yield value_fault(level[0], level[1], instrument, empty_is_fine=False, size_needed=False)
    if "B" in data:
        for price, size in (("b", "B"), ("a", "A")):
            yield value_fault(data.get(price), data.get(size), instrument, empty_is_fine=True, size_needed=True)
    if "p" in data:
        yield value_fault(data["p"], data.get("q"), instrument, empty_is_fine=False, size_needed=True)
    for name in ("E", "T"):
        value = data.get(name, 1)
        if isinstance(value, int | float):
            yield "negative" if value < 0 else "time_unit" if value >= _NS_IN_MS or isinstance(value, float) else None
    for name in ("U", "u", "t", "lastUpdateId"):
        yield "negative" if isinstance(data.get(name), int) and data[name] < 0 else None
    bids, asks = data.get("bids"), data.get("asks")
    yield "unsorted" if bids and asks else None


def _row_fault(rows: Sequence[tuple[Any, ...]], instrument: Instrument) -> str:
    return first_fault(_faults_of(rows, instrument))


def _faults_of(rows: Sequence[tuple[Any, ...]], instrument: Instrument) -> Iterator[str | None]:
    """Faults of the rows of a message in the flattened layout."""
    for row in rows:
        kind, _, *times_and_ids, price_e8, size_e8 = row
        if price_e8 is None or size_e8 is None:
            yield "not_a_number"
            continue
        price, size = Decimal(price_e8) / _E8, Decimal(size_e8) / _E8
        yield value_fault(price, size, instrument, empty_is_fine=kind == "Q", size_needed=kind in ("Q", "T"))
        for value in times_and_ids:
            yield "negative" if value is not None and value < 0 else None
        venue_ms = times_and_ids[1]
        yield "time_unit" if venue_ms is not None and venue_ms >= _NS_IN_MS else None
    yield "unsorted" if rows[0][0] == "S" and len({row[1] for row in rows} - {1, -1}) == 0 else None
