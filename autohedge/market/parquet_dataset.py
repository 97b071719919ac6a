"""Reading recordings of ours in Parquet (`autohedge.market.parquet_folder`): as events, or as arrays of everything.

Promise: the events come back as they were written, in that order, also when the recorder was killed; a torn file is never
read and always named. Refused with `MarketDataError`: a file that is missing, damaged or laid out differently, an instrument
with other steps than the recorded ones, and rows that make no message. Needs polars, which is an extra.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.errors import MarketDataError
from autohedge.market.event_rows import SNAPSHOT, EventColumns, events_of, in_order_of_receipt, require_well_formed
from autohedge.market.parquet import first_line, require_polars
from autohedge.market.parquet_folder import LAYOUT, Dataset, read_dataset
from autohedge.market.raw import BATCH_EVENTS, MAX_STEP_NS, add_example
from autohedge.ports import FeedReport

if TYPE_CHECKING:
    import polars


def load_columns(folder: Path) -> EventColumns:
    """All rows of a recording as arrays, without a step of Python per row: what a feed over it gives, as `columns_of_feed`
    would make it.

    Messages that were received before their predecessors are left out, as a feed leaves them out. Raises `MarketDataError`.
    """
    parts = read_dataset(folder).parts
    pl = require_polars()
    try:
        frame = pl.read_parquet(list(parts), glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        for part in parts:
            require_part(part)  # finds and names the part at fault
        raise MarketDataError(f"{folder}: Parquet data are damaged or truncated ({first_line(error)})") from error
    if not _is_ours(frame.schema):
        raise _another_layout(folder, frame.schema)
    columns = _as_columns(frame, folder)
    require_well_formed(columns, str(folder))
    return in_order_of_receipt(columns, str(folder))


def read_part(part: Path) -> EventColumns:
    """The rows of one file. Raises `MarketDataError`; whether they make messages is not looked at."""
    pl = require_polars()
    try:
        frame = pl.read_parquet(part, glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MarketDataError(f"{part}: Parquet data are damaged or truncated ({first_line(error)})") from error
    if not _is_ours(frame.schema):
        raise _another_layout(part, frame.schema)
    return _as_columns(frame, part)


def require_part(part: Path) -> None:
    """See to it that a file is whole and laid out as expected, from its footer alone. Raises `MarketDataError`."""
    pl = require_polars()
    try:
        schema = pl.read_parquet_schema(part)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MarketDataError(f"{part}: Parquet data are damaged or truncated ({first_line(error)})") from error
    if not _is_ours(pl.Schema(schema)):
        raise _another_layout(part, pl.Schema(schema))


def part_schema() -> polars.Schema:
    """The columns of a file, in their order, with their types."""
    pl = require_polars()
    types = (pl.Int64, pl.Int64, pl.UInt8, pl.Int8, pl.Int64, pl.Int64, pl.Int64, pl.Int64, pl.Boolean)
    schema: polars.Schema = pl.Schema(zip(EventColumns._fields, types, strict=True))
    return schema


class ParquetDatasetFeed:
    """A `MarketFeed` over one recording of ours.

    Raises `MarketDataError` when it is made for what can be known from the files' names and footers. A torn file counts as
    one corrupt message in `report`, and is named in its examples.
    """

    def __init__(self, dataset: Dataset, instrument: Instrument, *, simulated: bool = False) -> None:
        recorded = dataset.instrument
        steps, recorded_steps = (instrument.tick_size, instrument.lot_size), (recorded.tick_size, recorded.lot_size)
        if steps != recorded_steps:
            raise MarketDataError(
                f"{dataset.folder}: recorded in ticks of {recorded_steps[0]} and lots of {recorded_steps[1]}, "
                f"asked for in ticks of {steps[0]} and lots of {steps[1]}; use the recording's own instrument"
            )
        for part in dataset.parts:
            require_part(part)
        self.instrument = instrument
        self.simulated = simulated
        self.description = f"replay of {dataset.folder.name} ({len(dataset.parts)} Parquet files)"
        self.report = FeedReport()
        self._dataset = dataset

    def has_snapshot(self) -> bool:
        """Whether there is any book snapshot to begin from. Raises `MarketDataError`."""
        return any(bool((read_part(part).kind == SNAPSHOT).any()) for part in self._dataset.parts)

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """Events, some hundreds at a time; other tasks get their turn between batches. Raises `MarketDataError`."""
        batch: list[MarketEvent] = []
        for event in self._events():
            batch.append(event)
            if len(batch) >= BATCH_EVENTS:
                yield batch
                batch = []
                await asyncio.sleep(0)
        if batch:
            yield batch

    def _events(self) -> Iterator[MarketEvent]:
        report = self.report
        last_ns: int | None = None
        for part in self._dataset.parts:
            columns = read_part(part)
            require_well_formed(columns, str(part))
            for event in events_of(columns):
                ts_ns = event.ts_init_ns
                if last_ns is not None:
                    if ts_ns < last_ns:
                        report.out_of_order += 1
                        continue
                    if ts_ns - last_ns > MAX_STEP_NS:
                        raise _leap(part)
                last_ns = ts_ns
                report.messages += 1
                report.rows += rows_of(event)
                yield event
        for torn in self._dataset.torn:
            report.corrupt += 1
            add_example(report, torn.name, "was being written when the recording was killed, and is not read")


def _as_columns(frame: polars.DataFrame, source: Path) -> EventColumns:
    if any(frame.null_count().row(0)):
        raise MarketDataError(f"{source}: a value is missing; not a recording of ours, or a damaged one")
    return EventColumns._make(frame[name].to_numpy() for name in EventColumns._fields)


def _is_ours(schema: polars.Schema) -> bool:
    return schema == part_schema()


def _another_layout(source: Path, found: polars.Schema) -> MarketDataError:
    expected = part_schema()
    wrong = [f"{name} {expected[name]}" for name in expected if found.get(name) != expected[name]]
    return MarketDataError(f"{source}: not laid out as {LAYOUT!r}: expected columns {', '.join(wrong) or list(expected)}")


def _leap(source: Path) -> MarketDataError:
    return MarketDataError(f"{source}: the receive time is more than a year after the message before; the recording is damaged")
