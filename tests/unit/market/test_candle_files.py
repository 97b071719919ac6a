"""CSV and Parquet files of anybody's making, read as they are."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.candle_files import FileLayout, has_candles, read_candle_file
from autohedge.market.candles import COLUMNS, VALUES, exact, in_floats
from tests.unit.market.candle_tables import MIDNIGHT_NS, walk

PLAIN = FileLayout()
ROW = "1,2,0.5,1.5,10"


def csv(folder: Path, *lines: str, name: str = "candles.csv") -> Path:
    path = folder / name
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def times(folder: Path, *texts: str, layout: FileLayout = PLAIN) -> list[int | None]:
    """The times of a file with these in its column `date`."""
    rows = read_candle_file(csv(folder, "date,open,high,low,close,volume", *(f"{text},{ROW}" for text in texts)), layout)
    return rows["ts_ns"].to_list()


def ns(*moment: int) -> int:
    return round(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[misc, arg-type]


@pytest.mark.parametrize("name", ["candles.csv", "candles.csv.gz"])
def test_a_csv_file_keeps_what_was_written_to_the_last_digit(name: str, tmp_path: Path) -> None:
    path = csv(tmp_path, "ts_ns,Open,HIGH,low,Close,Volume", f"{MIDNIGHT_NS},0.10,0.30000000000000001,0.1,0.2,7", name=name)
    rows = read_candle_file(path, PLAIN)
    assert rows.columns == list(COLUMNS)
    assert rows["high"].to_list() == ["0.30000000000000001"]
    assert rows["ts_ns"].to_list() == [MIDNIGHT_NS]


def test_a_csv_file_without_a_header_is_time_open_high_low_close_volume(tmp_path: Path) -> None:
    path = csv(tmp_path, f"1723161600000,{ROW},1723161659999,15.0,3", f"1723161660000,{ROW},1723161719999,15.0,3")
    rows = read_candle_file(path, FileLayout(time_unit="ms"))
    assert rows["ts_ns"].to_list() == [ns(2024, 8, 9), ns(2024, 8, 9, 0, 1)]
    assert rows.select(VALUES).row(0) == tuple(ROW.split(","))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("form", ["text", "whole", "float"])
def test_whole_numbers_count_the_unit_that_was_named(unit: Any, form: str, tmp_path: Path) -> None:
    count = 1_723_161_600 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    if form == "text":
        assert times(tmp_path, str(count), f"{count}.0", layout=FileLayout(time_unit=unit)) == [ns(2024, 8, 9)] * 2
        return
    path = tmp_path / "candles.parquet"
    column = pl.Series([count], dtype=pl.Int64 if form == "whole" else pl.Float64)
    pl.DataFrame({"time": column, **{name: [1.0] for name in VALUES}}).write_parquet(path)
    assert read_candle_file(path, FileLayout(time_unit=unit))["ts_ns"].to_list() == [ns(2024, 8, 9)]


def test_iso_times_are_read_in_every_usual_form(tmp_path: Path) -> None:
    found = times(
        tmp_path,
        "2024-08-09",
        "2024-08-09 12:34",
        "2024-08-09T12:34:56Z",
        "2024-08-09 12:34:56.25",
        "2024-08-09 12:34:56+00:00",
        "2024-08-09 08:34:56-04:00",
        "2024-08-09 18:04:56 +0530",
        "2024-08-09 12:34:56 UTC",
    )
    noon = ns(2024, 8, 9, 12, 34)
    exact_noon = noon + 56 * 10**9
    quarter = exact_noon + 250_000_000
    assert found == [ns(2024, 8, 9), noon, exact_noon, quarter, exact_noon, exact_noon, exact_noon, exact_noon]


@pytest.mark.parametrize("text", ["08/09/2024", "9.8.2024", "2024-13-01", "2024-08-09 25:00", "yesterday", "1.5", "-5", ""])
def test_a_time_in_another_notation_is_no_time(text: str, tmp_path: Path) -> None:
    """Nobody can tell which month 08/09/2024 is, so nobody tries."""
    assert times(tmp_path, "2024-08-09", text) == [ns(2024, 8, 9), None]


def test_a_file_without_any_readable_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MarketDataError, match="expected times as ISO 8601 or whole numbers since 1970 in column 'date', found '8/9/24'"
    ):
        times(tmp_path, "8/9/24", "8/10/24")


def test_local_times_are_taken_in_the_zone_that_was_named(tmp_path: Path) -> None:
    """A time that daylight saving skips or repeats cannot be told, and is none."""
    found = times(
        tmp_path,
        "2024-08-09 09:30",
        "2024-12-09 09:30",
        "2024-03-10 02:30",
        "2024-11-03 01:30",
        "2024-08-09 09:30+00:00",
        layout=FileLayout(timezone="America/New_York"),
    )
    assert found == [ns(2024, 8, 9, 13, 30), ns(2024, 12, 9, 14, 30), None, None, ns(2024, 8, 9, 9, 30)]


def test_daily_candles_of_an_exchange_are_named_by_their_date(tmp_path: Path) -> None:
    layout = FileLayout(timezone="Asia/Tokyo", dates=True)
    found = times(tmp_path, "2024-08-09", "2024-08-09 00:00:00+09:00", "2024-08-08T15:00:00Z", layout=layout)
    assert found == [ns(2024, 8, 9)] * 3


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([date(2024, 8, 9)]).cast(pl.Datetime("us")),
        pl.Series([datetime(2024, 8, 9, tzinfo=UTC)], dtype=pl.Datetime("ms", "UTC")),
        pl.Series([date(2024, 8, 9)]),
    ],
    ids=["naive", "aware", "date"],
)
def test_parquet_times_of_every_type_are_read(column: pl.Series, tmp_path: Path) -> None:
    path = tmp_path / "candles.parquet"
    pl.DataFrame({"Date": column, **{name: [1.0] for name in VALUES}}).write_parquet(path)
    assert read_candle_file(path, PLAIN)["ts_ns"].to_list() == [ns(2024, 8, 9)]


def test_columns_of_other_names_are_found_when_named(tmp_path: Path) -> None:
    path = csv(tmp_path, "when,first,high,low,last,vol", f"2024-08-09,{ROW}")
    with pytest.raises(MarketDataError, match=r"for time, found when, first, .* --column time=NAME"):
        read_candle_file(path, PLAIN)
    rows = read_candle_file(path, FileLayout({"time": "when", "open": "first", "close": "last"}))
    assert rows.row(0) == (ns(2024, 8, 9), *ROW.split(","))
    with pytest.raises(MarketDataError, match="expected a column whenever for time"):
        read_candle_file(path, FileLayout({"time": "whenever"}))


def test_a_parquet_file_gives_the_same_candles_as_the_csv_file_of_it(tmp_path: Path) -> None:
    table = in_floats(walk(200))
    table.write_csv(tmp_path / "a.csv")
    table.write_parquet(tmp_path / "a.parquet")
    from_csv, from_parquet = (exact(read_candle_file(tmp_path / name, PLAIN), name) for name in ("a.csv", "a.parquet"))
    assert from_csv.equals(from_parquet)
    assert from_csv.equals(walk(200))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("missing.csv", None, "no such file"),
        ("candles.txt", b"", r"expected candles as \*\.csv"),
        ("candles.parquet", b"PAR1 and no more", "cannot be read as a table"),
        ("candles.csv", b"", "cannot be read as a table"),
        ("candles.csv.gz", gzip.compress(b"date,open\n" * 1_000)[:-20], "cannot be read as a table"),
        ("ragged.csv", b"date,open,high,low,close,volume\n2024-08-09,1,2,3,4,5,6,7\n", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused_by_name(name: str, content: bytes | None, why: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MarketDataError, match=f"{name}: .*{why}"):
        read_candle_file(tmp_path / name, PLAIN)


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        ({"columns": {"price": "x"}}, "expected columns named of time, open"),
        ({"time_unit": "m"}, "expected a time unit of s, ms, us, ns"),
        ({"timezone": "Mars/Olympus"}, "expected a time zone such as America/New_York"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(layout: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        FileLayout(**layout)


def test_candles_are_told_from_recordings(tmp_path: Path) -> None:
    csv(tmp_path, "anything")
    walk(3).write_parquet(tmp_path / "candles.parquet")
    pl.DataFrame({"px_e8": [1]}).write_parquet(tmp_path / "events.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"no")
    answers = {path.name: has_candles(path, PLAIN) for path in tmp_path.iterdir()}
    assert answers == {"candles.csv": True, "candles.parquet": True, "events.parquet": False, "damaged.parquet": False}
    assert has_candles(tmp_path / "events.parquet", FileLayout({"high": "px_e8"}))
    assert not has_candles(tmp_path, PLAIN)
