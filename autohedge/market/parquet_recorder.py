"""Recording of market events in Parquet, a file at a time while the session runs (`autohedge.market.parquet_folder`).

Promise: a file is on the disk, whole, before it gets its name; so after a kill or a power cut everything up to the last flush
can be replayed, and what was being written is known as torn. A flush comes after some thousands of rows or half a minute of
market time, at the end of each UTC day of receipt, and at `close`. A folder that already holds a recording is refused: two
sessions in one folder would be replayed as one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.event_rows import columns_of
from autohedge.market.lines import SUFFIXES
from autohedge.market.parquet import first_line, require_polars
from autohedge.market.parquet_dataset import part_schema
from autohedge.market.parquet_folder import INSTRUMENT_FILE, PART_SUFFIX, TORN_SUFFIX, instrument_text
from autohedge.ports import FeedReport, MarketFeed

FLUSH_ROWS = 16_384
"""A flush of so many rows takes about 20 ms, which is the longest that a session waits for its recorder."""
FLUSH_NS = 30_000_000_000
ROW_GROUP_ROWS = 65_536
"""A snapshot of any size still makes row groups of bounded size."""

_COMPRESSION = 6  # on depth data as fast as 1 and 5 % smaller
_NS_PER_S = 1_000_000_000
_NS_PER_DAY = 86_400 * _NS_PER_S


class MarketRecorder(Protocol):
    """Where the events of one instrument are recorded, in the order given."""

    def write(self, event: MarketEvent) -> None:
        """Record an event. Raises `MarketDataError` when the disk refuses."""
        ...

    def close(self) -> None:
        """Write what is left; may be called twice. Raises `MarketDataError` when the disk refuses."""
        ...


class ParquetRecorder:
    """Writes the events of one instrument, in the order given, into `folder` (made if missing).

    Raises `ConfigError` when polars is missing, the folder cannot be written to or already has a recording.
    """

    def __init__(self, folder: Path, instrument: Instrument) -> None:
        require_polars()
        self._folder = folder
        self._instrument = instrument
        self._pending: list[MarketEvent] = []
        self._pending_rows = 0
        self._flush_at_ns = 0
        self._day_end_ns = 0
        self._parts = 0
        _check_folder(folder)

    def write(self, event: MarketEvent) -> None:
        """Record an event. Raises `MarketDataError` when the disk refuses; `close` then tries once more what was waiting."""
        ts_ns = event.ts_init_ns
        if ts_ns >= self._day_end_ns or ts_ns >= self._flush_at_ns:
            self._flush()
            self._flush_at_ns = ts_ns + FLUSH_NS
            self._day_end_ns = max(self._day_end_ns, ts_ns - ts_ns % _NS_PER_DAY + _NS_PER_DAY)
        self._pending.append(event)
        self._pending_rows += rows_of(event)
        if self._pending_rows >= FLUSH_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left; may be called twice. Raises `MarketDataError` when the disk refuses."""
        self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        day = datetime.fromtimestamp(self._day_end_ns // _NS_PER_S - 86_400, UTC)
        part = self._folder / f"date={day:%Y-%m-%d}" / f"{self._parts + 1:06d}{PART_SUFFIX}"
        try:
            part.parent.mkdir(exist_ok=True)
            if not self._parts:
                _write_durably(self._folder / INSTRUMENT_FILE, instrument_text(self._instrument))
                _sync_folder(self._folder)
            self._write_part(part)
        except OSError as error:
            raise MarketDataError(f"cannot record to {part}: {error.strerror or error}") from error
        self._parts += 1
        self._pending, self._pending_rows = [], 0

    def _write_part(self, part: Path) -> None:
        pl = require_polars()
        columns = columns_of(self._pending)
        frame = pl.DataFrame(columns._asdict(), schema=part_schema())
        partial = part.with_name(part.name.removesuffix(PART_SUFFIX) + TORN_SUFFIX)
        try:
            with partial.open("wb") as file:
                frame.write_parquet(
                    file, compression="zstd", compression_level=_COMPRESSION, row_group_size=ROW_GROUP_ROWS, statistics=True
                )
                file.flush()
                os.fsync(file.fileno())
        except pl.exceptions.PolarsError as error:
            raise MarketDataError(f"cannot record to {part}: {first_line(error)}") from error
        partial.replace(part)
        _sync_folder(part.parent)


class Recorded(NamedTuple):
    """What was recorded: events and their rows, received from `first_ns` to `last_ns` (None without events)."""

    folder: Path
    events: int
    rows: int
    first_ns: int | None
    last_ns: int | None


async def record_market(
    feed: MarketFeed,
    folder: Path,
    *,
    duration_s: float | None = None,
    make_recorder: Callable[[Path, Instrument], MarketRecorder] = ParquetRecorder,
    on_progress: Callable[[FeedReport, int], None] | None = None,
) -> Recorded:
    """Record what a feed gives into `folder`, until the feed ends, `duration_s` of receive time are over or the task is
    cancelled; what was given till then is on the disk either way.

    `on_progress` is told, after each batch, the feed's report and the newest receive time. Raises `ConfigError` for a folder
    that cannot be recorded into or a duration that is not positive, `MarketDataError` as the feed and the disk do.
    """
    if duration_s is not None and not duration_s > 0:
        raise ConfigError(f"expected a duration of more than 0 s, found {duration_s}")
    recorder = make_recorder(folder, feed.instrument)
    events = rows = 0
    first_ns: int | None = None
    last_ns: int | None = None
    end_ns: float = float("inf")
    try:
        async for batch in feed.batches():
            for event in batch:
                if first_ns is None:
                    first_ns = event.ts_init_ns
                    end_ns = float("inf") if duration_s is None else first_ns + round(duration_s * _NS_PER_S)
                if event.ts_init_ns >= end_ns:
                    break
                recorder.write(event)
                events, rows, last_ns = events + 1, rows + rows_of(event), event.ts_init_ns
            if on_progress is not None and last_ns is not None:
                on_progress(feed.report, last_ns)
            if batch and batch[-1].ts_init_ns >= end_ns:
                break
    finally:
        recorder.close()
    return Recorded(folder, events, rows, first_ns, last_ns)


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(each.name for each in folder.iterdir())
    except OSError as error:
        raise ConfigError(f"cannot record into {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot record into {folder}: the folder is not writable")
    for name in names:
        if name == INSTRUMENT_FILE or name.startswith("date=") or name.endswith((*SUFFIXES, PART_SUFFIX)):
            raise ConfigError(f"cannot record into {folder}: it already has a recording ({name}); choose a new folder")


def _write_durably(path: Path, content: bytes) -> None:
    """The whole content under its name, or nothing."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
