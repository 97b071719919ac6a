"""Candles in a CSV or Parquet file of anybody's making, read as they are: what is wrong with them is for `candle_check`.

Columns are found by their usual names in any case (time: ts_ns, open_time, timestamp, datetime, date, time; values: open, high,
low, close, volume or their initials) or as `FileLayout.columns` names them; a CSV file without a header has time, open, high,
low, close, volume in that order. Times are ISO 8601 or whole numbers since 1970. Nothing is sorted, rounded, dropped or
guessed: a time in another notation is none, and 08/09/2024 is another notation, because nobody can tell which month it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.candles import COLUMNS, VALUES
from autohedge.market.polars_extra import pl

CSV_SUFFIXES = (".csv", ".csv.gz")
PARQUET_SUFFIX = ".parquet"

TimeUnit = Literal["s", "ms", "us", "ns"]
NS_PER_UNIT: dict[TimeUnit, int] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}

_NAMES = {
    "time": ("ts_ns", "open_time", "timestamp", "datetime", "date", "time"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v"),
}
_ISO = (
    r"^(?<day>\d{4}-\d\d-\d\d)(?:[T ](?<minute>\d\d:\d\d)(?::(?<second>\d\d)(?:\.(?<fraction>\d{1,9})\d*)?)?"
    r"\s?(?<offset>Z|UTC|[+-]\d\d:?(?:\d\d)?)?)?$"
)
_WHOLE = r"^\s*\d{1,19}(\.0*)?\s*$"


@dataclass(frozen=True, slots=True)
class FileLayout:
    """How a file tells what `ts_ns, open, high, low, close, volume` are.

    `columns` gives the file's name for time, open, high, low, close, volume where it is not the usual one. `time_unit` is that
    of whole numbers, `timezone` that of times without an offset. `dates` takes of each time only its date in `timezone`, and
    names the candle by it at 00:00 UTC: for daily candles of an exchange. Raises `ConfigError` for names that do not exist.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    time_unit: TimeUnit = "ns"
    timezone: str = "UTC"
    dates: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.columns) - set(_NAMES))
        if unknown:
            raise ConfigError(f"expected columns named of {', '.join(_NAMES)}, found {', '.join(unknown)}")
        if self.time_unit not in NS_PER_UNIT:
            raise ConfigError(f"expected a time unit of {', '.join(NS_PER_UNIT)}, found {self.time_unit!r}")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigError(f"expected a time zone such as America/New_York, found {self.timezone!r}") from error


def read_candle_file(path: Path, layout: FileLayout) -> pl.DataFrame:
    """The rows of a file in its order: `ts_ns` (null where there is no readable time) and the values as the file has them.

    Text of a CSV file stays text. Raises `MarketDataError` for a file that is missing, damaged, of another format, without one
    of the columns or without any readable time.
    """
    if not path.is_file():
        raise MarketDataError(f"{path}: no such file; expected candles as *.csv, *.csv.gz or *.parquet")
    name = path.name.lower()
    if not name.endswith((*CSV_SUFFIXES, PARQUET_SUFFIX)):
        raise MarketDataError(f"{path}: expected candles as *.csv, *.csv.gz or *.parquet")
    try:
        frame = pl.read_parquet(path, glob=False) if name.endswith(PARQUET_SUFFIX) else _csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MarketDataError(f"{path}: cannot be read as a table ({reason})") from error
    found = _columns_of(frame.columns, layout, path)
    time = frame[found["time"]]
    in_ns = found["time"].lower() == "ts_ns"
    ts_ns = _times(time, FileLayout(timezone=layout.timezone, dates=layout.dates) if in_ns else layout)
    if len(time) and ts_ns.null_count() == len(ts_ns):
        raise MarketDataError(
            f"{path}: expected times as ISO 8601 or whole numbers since 1970 in column {found['time']!r}, "
            f"found {str(time[0])[:40]!r}"
        )
    return pl.DataFrame([ts_ns.alias("ts_ns"), *(frame[found[value]].alias(value) for value in VALUES)]).select(COLUMNS)


def _csv(path: Path) -> pl.DataFrame:
    """All cells as text; without a header line the columns are named by their place."""
    first = pl.read_csv(path, has_header=False, n_rows=1, infer_schema=False)
    headed = not re.match(r"\s*\d", str(first.item(0, 0)))
    frame = pl.read_csv(path, has_header=headed, infer_schema=False)
    if headed:
        return frame.rename({name: name.strip() for name in frame.columns})
    return frame.rename(dict(zip(frame.columns, _NAMES, strict=False)))


def _columns_of(present: list[str], layout: FileLayout, path: Path) -> dict[str, str]:
    """What the file calls time, open, high, low, close and volume."""
    by_lower = {name.lower(): name for name in reversed(present)}
    found: dict[str, str] = {}
    for ours, usual in _NAMES.items():
        wanted = layout.columns.get(ours)
        if wanted is not None and wanted in present:
            found[ours] = wanted
        elif wanted is None and (name := next((by_lower[each] for each in usual if each in by_lower), None)):
            found[ours] = name
        else:
            expected = wanted or " or ".join(usual)
            raise MarketDataError(
                f"{path}: expected a column {expected} for {ours}, found {', '.join(present[:12])}; "
                f"name it with --column {ours}=NAME"
            )
    return found


# --- times ----------------------------------------------------------------------------------------------------------------


def _times(given: pl.Series, layout: FileLayout) -> pl.Series:
    """UTC nanoseconds; null where it cannot be told."""
    if given.dtype == pl.String:
        numbers = given.str.contains(_WHOLE)
        counted = given.set(~numbers.fill_null(value=False), None).str.strip_chars().str.replace(r"\.0*$", "")
        ts_ns = _of_units(counted.cast(pl.Int64, strict=False), layout.time_unit)
        ts_ns = ts_ns.zip_with(numbers.fill_null(value=False), _of_text(given, layout.timezone))
    elif given.dtype == pl.Date or isinstance(given.dtype, pl.Datetime):
        ts_ns = _of_datetimes(
            given.cast(pl.Datetime("ns", getattr(given.dtype, "time_zone", None)), strict=False), layout.timezone
        )
    elif given.dtype.is_numeric():
        whole = given.cast(pl.Int64, strict=False)
        ts_ns = _of_units(
            whole.set((whole.cast(pl.Float64) != given.cast(pl.Float64)).fill_null(value=True), None), layout.time_unit
        )
    else:
        ts_ns = pl.Series([None] * len(given), dtype=pl.Int64)
    return _dates(ts_ns, layout.timezone) if layout.dates else ts_ns


def _of_units(counts: pl.Series, unit: TimeUnit) -> pl.Series:
    """Counts of a unit in nanoseconds; null beyond the year 2262, where 64 bits end."""
    factor = NS_PER_UNIT[unit]
    return counts.set((counts.abs() > (2**63 - 1) // factor).fill_null(value=False), None) * factor


def _of_text(given: pl.Series, timezone: str) -> pl.Series:
    """ISO 8601 with or without time, fraction and offset, also mixed."""
    parts = given.str.extract_groups(_ISO).struct.unnest()
    clock = (
        pl.col("day")
        + "T"
        + pl.col("minute").fill_null("00:00")
        + ":"
        + pl.col("second").fill_null("00")
        + "."
        + pl.col("fraction").fill_null("0").str.pad_end(9, "0")
    )
    signed = (
        pl.when(pl.col("offset").is_in(["Z", "UTC"])).then(pl.lit("+0000")).otherwise(pl.col("offset").str.replace(":", ""))
    )
    minutes = signed.str.slice(1, 2).cast(pl.Int64) * 60 + signed.str.slice(3, 2).replace("", "0").cast(pl.Int64)
    table = parts.select(
        naive=clock.str.to_datetime("%Y-%m-%dT%H:%M:%S%.9f", time_unit="ns", strict=False),
        offset_ns=minutes * pl.when(signed.str.starts_with("-")).then(-60_000_000_000).otherwise(60_000_000_000),
    )
    local = _of_datetimes(table["naive"], timezone)
    absolute = table["naive"].cast(pl.Int64) - table["offset_ns"]
    return absolute.zip_with(table["offset_ns"].is_not_null(), local)


def _of_datetimes(times: pl.Series, timezone: str) -> pl.Series:
    """Instants; a time without a zone is of `timezone`, and null where that had it twice or not at all."""
    if getattr(times.dtype, "time_zone", None) is None:
        times = times.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    return times.dt.epoch("ns")


def _dates(ts_ns: pl.Series, timezone: str) -> pl.Series:
    """The date in `timezone`, as its midnight in UTC."""
    local = ts_ns.cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(timezone)
    return local.dt.date().cast(pl.Datetime("ns")).cast(pl.Int64)


def has_candles(path: Path, layout: FileLayout) -> bool:
    """Whether a file looks like candles: any CSV, and a Parquet file with a column for the high."""
    name = path.name.lower()
    if not path.is_file() or not name.endswith((*CSV_SUFFIXES, PARQUET_SUFFIX)):
        return False
    if name.endswith(CSV_SUFFIXES):
        return True
    try:
        columns = pl.read_parquet_schema(path)
    except (OSError, pl.exceptions.PolarsError):
        return False
    wanted = {layout.columns["high"]} if "high" in layout.columns else set(_NAMES["high"])
    return any(each in wanted or each.lower() in wanted for each in columns)
