"""Reading a recording once, for use and for the check, where next to nothing is wrong with it.

Promise: where anything is given, the columns are those of `autohedge.market.recordings.read_columns` and the report is that of
`autohedge.market.recording_check.check_recording`, word for word. Of a recording that takes a closer look nothing is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.errors import MarketDataError
from autohedge.market.binance import CorruptLine, LineParser, Skip
from autohedge.market.column_check import check_columns
from autohedge.market.data_report import DataReport
from autohedge.market.event_rows import EventColumns, columns_of, joined, without_faults
from autohedge.market.faults import Faults
from autohedge.market.lines import lines_of
from autohedge.market.parquet import ParquetRecordingFeed
from autohedge.market.parquet_dataset import read_part
from autohedge.market.parquet_folder import read_dataset
from autohedge.market.recording_check import subject
from autohedge.market.recordings import PARQUET, dataset_of_symbol, files_of_symbol, session_of_symbol


class _Read(NamedTuple):
    """What was read: rows as a replay counts them, and `place`, which names the place of a message by its number."""

    columns: EventColumns
    rows: int
    place: Callable[[int], str]


def read_clean(path: Path, symbol: str, instrument: Instrument, silence_s: float) -> tuple[EventColumns, DataReport] | None:
    """The columns and the report of a recording, or None when a closer look has to be taken.

    Raises `MarketDataError` where there is no recording of the symbol.
    """
    if session_of_symbol(path, symbol, instrument.venue) is not None:
        return None
    folder, faults = dataset_of_symbol(path, symbol), Faults()
    try:
        if folder is not None:
            read = _dataset(folder, instrument, faults)
        else:
            files = files_of_symbol(path, symbol)
            read = _flattened(files[0], instrument, faults) if files[0].suffix == PARQUET else _raw(files, instrument, faults)
    except MarketDataError:
        return None
    if read is None or not check_columns(read.columns, read.place, faults, silence_s):
        return None
    times = read.columns.ts_init_ns
    found = faults.findings()
    return read.columns, DataReport(str(path), subject(instrument), read.rows, int(times[0]), int(times[-1]), found)


def _raw(files: Sequence[Path], instrument: Instrument, faults: Faults) -> _Read | None:
    parser = LineParser(instrument)
    events: list[MarketEvent] = []
    parts: list[EventColumns] = []
    places: list[tuple[str, int]] = []
    rows = 0
    for file in files:
        number = 0
        for lines in lines_of(file):
            for line in lines:
                number += 1
                rounded = parser.rounded
                try:
                    event = parser.parse(line)
                except CorruptLine:
                    if line.strip():
                        return None
                    continue
                if parser.rounded > rounded:
                    faults.note("size_off_grid", f"{file.name}:{number}", count=parser.rounded - rounded)
                if isinstance(event, Skip):
                    if event is Skip.FOREIGN:
                        faults.note("foreign", f"{file.name}:{number}")
                    continue
                rows += rows_of(event)
                events.append(event)
                places.append((file.name, number))
            parts.append(columns_of(events))
            events = []

    def place(message: int) -> str:
        name, line = places[message]
        return f"{name}:{line}"

    return _Read(joined(parts), rows, place)


def _flattened(file: Path, instrument: Instrument, faults: Faults) -> _Read | None:
    feed = ParquetRecordingFeed(file, instrument)
    columns, report = feed.columns(), feed.report
    if report.corrupt or report.out_of_order:
        return None
    if report.rounded:
        faults.note("size_off_grid", f"{file.name}:{feed.first_rounded_row}", count=report.rounded)
    begins = _begins(columns)
    return _Read(columns, report.rows, lambda message: f"{file.name}:{begins[message]}")


def _dataset(folder: Path, instrument: Instrument, faults: Faults) -> _Read | None:
    dataset = read_dataset(folder)
    recorded = dataset.instrument
    if (recorded.tick_size, recorded.lot_size) != (instrument.tick_size, instrument.lot_size):
        return None
    parts = [read_part(part) for part in dataset.parts]
    if any(without_faults(part)[1] for part in parts):
        return None
    columns, names = joined(parts), [part.name for part in dataset.parts]
    begins, offsets = _begins(columns), np.cumsum([0, *(len(part.kind) for part in parts)])
    for torn in dataset.torn:
        faults.note("torn", torn.name)

    def place(message: int) -> str:
        part = int(np.searchsorted(offsets, begins[message], side="right")) - 1
        return f"{names[part]}:{begins[message] - offsets[part]}"

    return _Read(columns, len(columns.kind), place)


def _begins(columns: EventColumns) -> list[int]:
    """The row with which each message begins."""
    ends: list[int] = np.flatnonzero(columns.ends_message).tolist()
    return [0, *(end + 1 for end in ends[:-1])] if ends else []
