"""Replay of a flattened recording: one Parquet row per level change, quote side or trade, in order of arrival.

Columns: `local_ts_ns`, `exch_ts_ms` (0 = not known), `kind` (S snapshot, D diff, Q quote side, T trade), `side` (+1 bid or
buyer, −1 ask or seller), `px_e8`, `qty_e8` (whole 1e-8), `id_first`, `id_last`.

All rows of one venue message become one event. A message's rows are together, with the same kind, times and ids, bids before
asks; a trade is one row, a quote one of each side. So a bid after an ask, or another trade, begins the next message even when
everything else is equal. Promise and refusals are those of `autohedge.market.raw`; Parquet needs polars, which is an extra.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BookDelta, BookSnapshot, MarketEvent, Side, TopOfBook, Trade, rows_of
from autohedge.errors import ConfigError, InvariantBroken, MarketDataError
from autohedge.market.binance import CorruptLine, best_first
from autohedge.market.exact import MAX_STEPS
from autohedge.market.raw import BATCH_EVENTS, MAX_STEP_NS, add_example, described
from autohedge.ports import FeedReport

if TYPE_CHECKING:
    import polars

    from autohedge.market.event_rows import EventColumns

COLUMNS = ("local_ts_ns", "exch_ts_ms", "kind", "side", "px_e8", "qty_e8", "id_first", "id_last")
ROW = ("kind", "side", "local_ts_ns", "exch_ts_ms", "id_first", "id_last", "px_e8", "qty_e8")
"""The columns in the order in which `messages` gives them."""
SLICE_ROWS = 131_072
"""Rows in memory at a time; also the most that one message may have."""

_E8 = Decimal(10**8)
MAX_MS = 2**63 // 1_000_000 - 1
"""The latest venue time whose nanoseconds fit in 64 bits."""
_LEAP = "the receive time is more than a year after the message before"


class ParquetRecordingFeed:
    """A `MarketFeed` over one flattened recording.

    Raises `ConfigError` without polars, `MarketDataError` for a file that is missing, damaged or laid out differently, or an
    instrument with a tick or lot that is not a whole number of 1e-8. With `any_numbers` columns of floats are taken too, and
    what is no whole number in them is missing: for a check, which names what is wrong with a file that nobody would replay.
    `first_rounded_row` begins the first message that was given on with a size finer than a lot; −1 before there is one.
    """

    def __init__(self, file: Path, instrument: Instrument, *, simulated: bool = False, any_numbers: bool = False) -> None:
        self.instrument = instrument
        self.simulated = simulated
        self.description = described([file])
        self.report = FeedReport()
        self.first_rounded_row = -1
        self._file = file
        self._tick_e8 = _whole_e8(instrument.tick_size, "tick", instrument.symbol)
        self._lot_e8 = _whole_e8(instrument.lot_size, "lot", instrument.symbol)
        self._rows = _scan(file, any_numbers)

    def has_snapshot(self) -> bool:
        """Whether there is any book snapshot to begin from."""
        pl = require_polars()
        return bool(_collected(self._rows.filter(pl.col("kind") == "S").head(1), self._file).height)

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """Events, some hundreds at a time; other tasks get their turn between batches. Raises `MarketDataError`."""
        from autohedge.market.event_rows import events_of

        report = self.report
        for columns in self._columns():
            events = events_of(columns)
            while batch := list(islice(events, BATCH_EVENTS)):
                report.messages += len(batch)
                report.rows += sum(map(rows_of, batch))
                yield batch
                await asyncio.sleep(0)

    def columns(self) -> EventColumns:
        """All that `batches` gives, as columns, counted in the report. Raises `MarketDataError`."""
        from autohedge.market.event_rows import joined

        columns = joined(self._columns())
        self.report.messages += int(columns.ends_message.sum())
        self.report.rows += len(columns.kind)
        return columns

    def _columns(self) -> Iterator[EventColumns]:
        """Slice by slice what can be replayed; the rest is counted."""
        from autohedge.market.flattened import messages_in, only

        report = self.report
        last_ns: int | None = None
        for offset, frame, starts in self._slices():
            found = messages_in(frame, starts, self._tick_e8, self._lot_e8)
            report.rounded += found.rounded
            if self.first_rounded_row < 0 <= found.first_rounded:
                self.first_rounded_row = offset + found.first_rounded
            columns = found.columns
            times = columns.ts_init_ns[columns.ends_message].tolist()
            kept = [True] * len(times)
            unusable = [(position, "") for position in found.unsound.tolist()]
            for at, ts_ns in enumerate(times):
                if last_ns is None:
                    last_ns = ts_ns
                if 0 <= ts_ns - last_ns <= MAX_STEP_NS:
                    last_ns = ts_ns
                    continue
                kept[at] = False
                if ts_ns < last_ns:
                    report.out_of_order += 1
                else:
                    unusable.append((int(found.positions[at]), _LEAP))
            for position, why in sorted(unusable):
                begin, end = starts[position : position + 2]
                self._count_unusable(offset + begin, frame.slice(begin, end - begin).rows(), why)
            yield only(columns, kept)

    def _count_unusable(self, row: int, message: list[tuple[Any, ...]], why: str) -> None:
        """Count a message that is left out, because of `why`, or of what making an event of it says."""
        try:
            if why:
                raise CorruptLine(why)
            self.event_of(message)
        except CorruptLine as error:
            self.report.corrupt += 1
            kind, *numbers = message[0]
            add_example(self.report, f"{self._file.name}: row {row}: {error}", f"{kind} {numbers}")
            return
        raise InvariantBroken(f"{self._file}: row {row} begins a sound message that was left out")

    def messages(self) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
        """Rows grouped into messages, with the number of the first one. Raises `MarketDataError`."""
        for offset, frame, starts in self._slices():
            rows = frame.rows()
            for start, end in pairwise(starts):
                yield offset + start, rows[start:end]

    def _slices(self) -> Iterator[tuple[int, polars.DataFrame, list[int]]]:
        """Some rows of the file, the number of the first, and where messages begin in them; the last is where they end."""
        offset = 0
        while True:
            frame = _collected(self._rows.slice(offset, SLICE_ROWS), self._file)
            starts: list[int] = _begins_message(frame).arg_true().to_list()
            is_last = frame.height < SLICE_ROWS
            if is_last:
                starts.append(frame.height)
            elif len(starts) < 2:
                raise MarketDataError(
                    f"{self._file}: a message of more than {SLICE_ROWS} rows at row {offset}; not a recording"
                )
            yield offset, frame, starts
            if is_last:
                return
            offset += starts[-1]  # the last message of a slice may go on in the next one

    def event_of(self, rows: list[tuple[Any, ...]]) -> MarketEvent:
        """The event of a message's rows, each in the order of `ROW`. Raises `CorruptLine` with what is wrong."""
        kind, side, ts_init_ns, ts_event_ms, first, last, *_ = rows[0]
        if any(value is None for row in rows for value in row):
            raise CorruptLine("a value is missing")
        if ts_init_ns < 0 or not 0 <= ts_event_ms <= MAX_MS:
            raise CorruptLine("a time is out of range")
        if not 0 <= first <= last:
            raise CorruptLine("the ids are not in order")
        ts_event_ns = ts_event_ms * 1_000_000
        levels = [self._level(row) for row in rows]
        bids = tuple(level for level, row in zip(levels, rows, strict=True) if row[1] > 0)
        asks = tuple(level for level, row in zip(levels, rows, strict=True) if row[1] < 0)
        if kind == "D":
            if any(not price for price, _ in levels):
                raise CorruptLine("a price is zero")
            return BookDelta(ts_event_ns, ts_init_ns, first, last, bids, asks)
        if kind == "S":
            if any(not price for price, _ in levels) or not best_first(bids, asks):
                raise CorruptLine("the levels of the snapshot are not in order")
            return BookSnapshot(ts_event_ns, ts_init_ns, last, bids, asks)
        if any((not price) != (not lots) for price, lots in levels):
            raise CorruptLine("price is zero or size less than a lot")
        if kind == "Q":
            if len(bids) != 1 or len(asks) != 1:
                raise CorruptLine("a quote needs one bid and one ask")
            return TopOfBook(ts_event_ns, ts_init_ns, last, *bids[0], *asks[0])
        if kind == "T":
            if not levels[0][0]:
                raise CorruptLine("price is zero or size less than a lot")
            return Trade(ts_event_ns, ts_init_ns, last, *levels[0], Side(side))
        raise CorruptLine("the kind is none of S, D, Q, T")

    def _level(self, row: tuple[Any, ...]) -> tuple[int, int]:
        side, price_e8, size_e8 = row[1], row[6], row[7]
        if side not in (1, -1):
            raise CorruptLine("the side is neither 1 nor -1")
        ticks, off_grid = divmod(price_e8, self._tick_e8)
        lots, rest = divmod(size_e8, self._lot_e8)
        if off_grid:
            raise CorruptLine(f"price is not a multiple of {self.instrument.tick_size}")
        if not 0 <= ticks <= MAX_STEPS or not 0 <= lots <= MAX_STEPS:
            raise CorruptLine("price or size out of range")
        if rest:
            self.report.rounded += 1
        return ticks, lots


def require_polars() -> Any:
    """The polars module. Raises `ConfigError` when it is not installed."""
    try:
        import polars
    except ImportError as error:
        raise ConfigError("Parquet recordings need polars, which is not installed: run  pip install -e '.[parquet]'") from error
    return polars


def _whole_e8(step: Decimal, name: str, symbol: str) -> int:
    units = step * _E8
    if units != units.to_integral_value():
        raise MarketDataError(f"{symbol}: a {name} of {step} is not a whole number of 1e-8, which this Parquet layout needs")
    return int(units)


def _scan(file: Path, any_numbers: bool) -> polars.LazyFrame:
    pl = require_polars()
    try:
        frame: polars.LazyFrame = pl.scan_parquet(file, glob=False)
        schema = frame.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MarketDataError(f"{file}: cannot be read as Parquet ({first_line(error)})") from error
    missing = [name for name in COLUMNS if name not in schema]
    if missing:
        found = ", ".join(list(schema)[:12])
        raise MarketDataError(f"{file}: not a flattened recording: expected columns {', '.join(missing)}, found {found}")
    whole = [name for name in COLUMNS if name != "kind"]
    wrong = [name for name in whole if not (schema[name].is_integer() or (any_numbers and schema[name].is_float()))]
    if wrong:
        raise MarketDataError(f"{file}: not a flattened recording: expected whole numbers in {', '.join(wrong)}")
    return frame.select(
        pl.col(name).cast(pl.String)
        if name == "kind"
        # of a float only a whole number is one: 1.5 and NaN become missing
        else pl.when(pl.col(name) == pl.col(name).round()).then(pl.col(name)).cast(pl.Int64, strict=False)
        if schema[name].is_float()
        else pl.col(name).cast(pl.Int64)
        for name in ROW
    )


def _collected(frame: polars.LazyFrame, file: Path) -> polars.DataFrame:
    pl = require_polars()
    try:
        collected: polars.DataFrame = frame.collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MarketDataError(f"{file}: Parquet data are damaged or truncated ({first_line(error)})") from error
    return collected


def _begins_message(frame: polars.DataFrame) -> polars.Series:
    pl = require_polars()
    same = ("kind", "local_ts_ns", "exch_ts_ms", "id_first", "id_last")
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in same)
    bid_after_ask = (pl.col("side") > 0) & (pl.col("side").shift() < 0)
    first = pl.int_range(pl.len()) == 0
    begins = (first | changes | bid_after_ask | (pl.col("kind") == "T")).fill_null(value=True)
    return frame.select(begins.alias("begins"))["begins"]


def first_line(error: Exception) -> str:
    """The first line of an error's message, which with polars may have many."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
