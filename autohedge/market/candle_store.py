"""Candles on disk: Parquet files by month, unique per venue, symbol, timeframe and open time.

Layout: `<root>/<venue>/<symbol>/<timeframe>/2025-05.parquet`, the symbol percent-encoded (BTC%2FUSDT), and beside them
`series.json` with the exchange calendar and the spans in which the source was asked for every candle: a hole inside such a span
is the venue's own gap, one outside was never downloaded.

Promises: merging is idempotent; a candle that comes again with other values replaces the old one and is told as a conflict;
a kill at any moment leaves each file as it was before or after a merge, and spans are noted only after their candles. Only
closed candles in the exact schema of `autohedge.market.candles` are taken. Writers of one series wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import orjson

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candles import SCHEMA, VALUES, Gap, gaps, no_candles, require_candles
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import NS_PER_S, Timeframe

DEFAULT_ROOT = Path("candles")
MAX_TOLD = 5
"""Conflicts that are kept as examples; all are counted."""

_VENUE = re.compile(r"[a-z0-9][a-z0-9_\-]{0,31}", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/_\-]{0,39}", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d\d\.parquet", re.ASCII)
NOTE = "series.json"
"""The file that makes a folder one of a series."""
_TEMPORARY = ".tmp"
_METADATA = "autohedge.series"


@dataclass(frozen=True, slots=True, order=True)
class CandleSeries:
    """Which candles: venue (lower case), symbol (BASE/QUOTE or a ticker) and timeframe.

    Raises `ConfigError` for a venue or symbol that cannot be one.
    """

    venue: str
    symbol: str
    timeframe: Timeframe

    def __post_init__(self) -> None:
        if not _VENUE.fullmatch(self.venue):
            raise ConfigError(f"expected a venue in lower case such as binance, found {self.venue[:40]!r}")
        if not _SYMBOL.fullmatch(self.symbol):
            raise ConfigError(f"expected a symbol such as BTC/USDT or NVDA, found {self.symbol[:60]!r}")

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} of {self.venue}"


class Conflict(NamedTuple):
    """A candle that came again with other values (open, high, low, close, volume as texts); `kept` are the newer ones."""

    ts_ns: int
    was: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did: candles added, already there, and replaced by other values (`conflicts` has the first of them)."""

    added: int = 0
    same: int = 0
    replaced: int = 0
    conflicts: tuple[Conflict, ...] = ()

    def __add__(self, other: Merged) -> Merged:
        return Merged(
            self.added + other.added,
            self.same + other.same,
            self.replaced + other.replaced,
            (self.conflicts + other.conflicts)[:MAX_TOLD],
        )


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """What is there of a series: candles from `first_ns` to `last_ns` (open times), holes between them, and the spans covered.

    `gaps` were never downloaded, `venue_gaps` are the venue's own; a closed market is neither.
    """

    series: CandleSeries
    rows: int
    first_ns: int
    last_ns: int
    gaps: tuple[Gap, ...]
    venue_gaps: tuple[Gap, ...]
    calendar: str | None
    size_bytes: int


class _Note(NamedTuple):
    calendar: str | None
    covered: tuple[tuple[int, int], ...]


class CandleStore:
    """The candles below `root`.

    Every method raises `MarketDataError` for files that are damaged or cannot be read or written.
    """

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    # --- reading ----------------------------------------------------------------------------------------------------------

    def read(self, series: CandleSeries, start_ns: int | None = None, end_ns: int | None = None) -> pl.DataFrame:
        """The candles that open in [start_ns, end_ns), in order; an empty table where there is none in the range.

        Raises `MarketDataError` when nothing of the series was ever stored.
        """
        return _collected(self.scan(series, start_ns, end_ns), self.folder(series))

    def scan(self, series: CandleSeries, start_ns: int | None = None, end_ns: int | None = None) -> pl.LazyFrame:
        """As `read`, without reading yet."""
        first, last = ("" if at is None else _month_of(at) for at in (start_ns, end_ns))
        files = self._files(series)
        if not files:
            raise MarketDataError(f"{self.root}: no candles of {series}; fetch them with `autohedge data download`")
        wanted = [file for file in files if (not first or file.stem >= first) and (not last or file.stem <= last)]
        if not wanted:
            return no_candles().lazy()
        frame = pl.scan_parquet(wanted, glob=False)
        if start_ns is not None:
            frame = frame.filter(pl.col("ts_ns") >= start_ns)
        return frame if end_ns is None else frame.filter(pl.col("ts_ns") < end_ns)

    def has(self, series: CandleSeries) -> bool:
        """Whether any candle of the series is stored."""
        return bool(self._files(series))

    def covered(self, series: CandleSeries) -> tuple[tuple[int, int], ...]:
        """Spans [start_ns, end_ns) in which the source was asked for every candle; in order, apart from each other."""
        return self._note(series).covered

    def calendar(self, series: CandleSeries) -> TradingCalendar | None:
        """The exchange calendar that the series was stored with; None for a market that never closes."""
        name = self._note(series).calendar
        return None if name is None else TradingCalendar(name)

    def series(self) -> list[CandleSeries]:
        """All series that have candles, in order of venue, symbol and timeframe."""
        found = []
        for note in sorted(self.root.glob(f"*/*/*/{NOTE}")):
            venue, symbol, length = note.parent.parts[-3:]
            try:
                series = CandleSeries(venue, unquote(symbol), Timeframe(length))
            except (ConfigError, ValueError) as error:
                raise MarketDataError(f"{note.parent}: not a folder of candles ({error})") from error
            if self._files(series):
                found.append(series)
        return sorted(found)

    def describe(self, series: CandleSeries) -> StoredSeries:
        """Ranges and gaps of a series. Raises `MarketDataError` when nothing of it was ever stored."""
        times = _collected(self.scan(series).select("ts_ns"), self.folder(series), whole=False)["ts_ns"]
        note = self._note(series)
        holes = gaps(times, series.timeframe, self.calendar(series))
        at_venue = {hole for hole in holes if _within(note.covered, hole.start_ns, hole.end_ns)}
        return StoredSeries(
            series,
            len(times),
            int(times[0]),
            int(times[-1]),
            tuple(hole for hole in holes if hole not in at_venue),
            tuple(hole for hole in holes if hole in at_venue),
            note.calendar,
            sum(file.stat().st_size for file in self._files(series)),
        )

    def folder(self, series: CandleSeries) -> Path:
        """Where a series lies."""
        return self.root / series.venue / quote(series.symbol, safe="") / series.timeframe.value

    # --- writing ----------------------------------------------------------------------------------------------------------

    def merge(
        self,
        series: CandleSeries,
        frame: pl.DataFrame,
        *,
        now_ns: int,
        covered: tuple[int, int] | None = None,
        calendar: str | None = None,
    ) -> Merged:
        """Add candles; `covered` is the span in which the source gave all it has. Durable on return.

        Raises `MarketDataError` for a table that is not exact, ordered and unique, or has a candle that is not closed at
        `now_ns`; `ConfigError` when the series is kept by another calendar.
        """
        require_candles(frame, series.timeframe, f"candles of {series}")
        if frame.height and int(frame["ts_ns"][-1]) + series.timeframe.interval_ns > now_ns:
            raise MarketDataError(f"{series}: the last candle has not closed; only closed candles are stored")
        folder = self.folder(series)
        with _locked(folder):
            note = self._note(series)
            if note.calendar is not None and calendar not in (None, note.calendar):
                raise ConfigError(f"{series} is kept by the calendar {note.calendar}, found {calendar}")
            merged = Merged()
            months = frame.with_columns(month=pl.from_epoch("ts_ns", time_unit="ns").dt.strftime("%Y-%m"))
            for (month,), part in months.group_by("month", maintain_order=True):
                merged += self._merge_month(series, folder / f"{month}.parquet", part.drop("month"))
            noted = _Note(calendar or note.calendar, _united(note.covered, covered))
            if noted != note or not (folder / NOTE).exists():
                spans = [[str(start), str(end)] for start, end in noted.covered]
                _replace(folder / NOTE, orjson.dumps({"calendar": noted.calendar, "covered": spans}))
        return merged

    def _merge_month(self, series: CandleSeries, file: Path, new: pl.DataFrame) -> Merged:
        old = _collected(pl.scan_parquet(file, glob=False), file) if file.exists() else no_candles()
        both = new.join(old, on="ts_ns", how="inner", suffix="_was", maintain_order="left")
        differs = pl.any_horizontal(pl.col(name) != pl.col(f"{name}_was") for name in VALUES)
        changed = both.filter(differs)
        merged = Merged(
            new.height - both.height,
            both.height - changed.height,
            changed.height,
            tuple(map(_conflict, changed.head(MAX_TOLD).rows())),
        )
        if merged.added or merged.replaced:
            whole = pl.concat([old.join(new, on="ts_ns", how="anti"), new]).sort("ts_ns")
            content = BytesIO()
            told = {"venue": series.venue, "symbol": series.symbol, "timeframe": series.timeframe.value}
            whole.write_parquet(content, compression="zstd", metadata={_METADATA: orjson.dumps(told).decode()})
            _replace(file, content.getvalue())
        return merged

    # --- files ------------------------------------------------------------------------------------------------------------

    def _files(self, series: CandleSeries) -> list[Path]:
        return sorted(file for file in self.folder(series).glob("*.parquet") if _MONTH.fullmatch(file.name))

    def _note(self, series: CandleSeries) -> _Note:
        file = self.folder(series) / NOTE
        try:
            told = orjson.loads(file.read_bytes())
            covered = tuple((int(start), int(end)) for start, end in told["covered"])
            return _Note(told["calendar"], covered)
        except FileNotFoundError:
            return _Note(None, ())
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise MarketDataError(
                f"{file}: damaged ({error}); without it the candles stay and their gaps are asked for again"
            ) from error


def series_of_file(file: Path) -> CandleSeries | None:
    """Which series a Parquet file of a store belongs to, by its own word; None for any other file."""
    try:
        told = orjson.loads(pl.read_parquet_metadata(file)[_METADATA])
        return CandleSeries(told["venue"], told["symbol"], Timeframe(told["timeframe"]))
    except (OSError, pl.exceptions.PolarsError, KeyError, ValueError, TypeError):
        return None


def _month_of(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m}"


def _conflict(row: Sequence[object]) -> Conflict:
    ts_ns, *values = row
    texts = tuple(f"{value:f}".rstrip("0").rstrip(".") for value in values)
    assert isinstance(ts_ns, int)
    return Conflict(ts_ns, texts[len(VALUES) :], texts[: len(VALUES)])


def _collected(frame: pl.LazyFrame, where: Path, *, whole: bool = True) -> pl.DataFrame:
    try:
        collected = frame.collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MarketDataError(
            f"{where}: candles are damaged or cannot be read ({reason}); delete the file and download again"
        ) from error
    if whole and collected.schema != SCHEMA:
        raise MarketDataError(f"{where}: expected candles with {dict(SCHEMA)}, found {dict(collected.schema)}")
    return collected


def _within(spans: Sequence[tuple[int, int]], start_ns: int, end_ns: int) -> bool:
    return any(start <= start_ns and end_ns <= end for start, end in spans)


def _united(spans: Sequence[tuple[int, int]], new: tuple[int, int] | None) -> tuple[tuple[int, int], ...]:
    """Spans in order, those that touch made one."""
    united: list[tuple[int, int]] = []
    for start, end in sorted([*spans, *([new] if new else [])]):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        elif start < end:
            united.append((start, end))
    return tuple(united)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The only writer below `folder`; what a killed writer left half-done is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise MarketDataError(f"{folder}: candles cannot be stored here ({error.strerror or error})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.glob(f"*{_TEMPORARY}"):
            left.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def _replace(file: Path, content: bytes) -> None:
    """The whole new content or the whole old one, also after a loss of power."""
    temporary = file.with_name(file.name + _TEMPORARY)
    try:
        with temporary.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
        descriptor = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MarketDataError(f"{file}: cannot be written ({error.strerror or error})") from error
