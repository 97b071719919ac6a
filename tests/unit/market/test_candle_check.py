"""Every kind of fault of candles is found, counted, placed and named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.errors import ConfigError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candle_check import KINDS, check_candles, usual_timeframe
from autohedge.market.candles import PRICES, VALUES, exact, in_floats, no_candles, require_candles
from autohedge.market.data_report import DataReport, Finding, Severity
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, changed, walk

M1, D1 = Timeframe.M1, Timeframe.D1
STEP_NS = M1.interval_ns
NOW_NS = MIDNIGHT_NS + 365 * 86_400 * 10**9

Made = Callable[[], pl.DataFrame]


def checked(table: pl.DataFrame, *, timeframe: Timeframe | None = M1, now_ns: int = NOW_NS) -> DataReport:
    return check_candles(table, source="test", timeframe=timeframe, now_ns=now_ns)


def only(report: DataReport, kind: str) -> Finding:
    """The one finding of a kind, and no other of any kind."""
    assert [found.kind for found in report.findings] == [kind]
    return report.findings[0]


def scaled(table: pl.DataFrame, first: int, last: int, factor: float, names: tuple[str, ...] = PRICES) -> pl.DataFrame:
    """The rows `first` … `last` with these values times `factor`, as floats."""
    inside = pl.int_range(pl.len()).is_between(first, last)
    return in_floats(table).with_columns(pl.when(inside).then(pl.col(name) * factor).otherwise(pl.col(name)) for name in names)


def at(row: int) -> str:
    """How a finding places a row of `walk` that is where it belongs."""
    return f"row {row + 1}, {datetime.fromtimestamp(MIDNIGHT_NS // 10**9 + row * 60, UTC):%Y-%m-%dT%H:%M:%SZ}"


def without(table: pl.DataFrame, *rows: int) -> pl.DataFrame:
    return table.with_row_index().filter(~pl.col("index").is_in(rows)).drop("index")


@pytest.mark.parametrize(
    "convert", [lambda table: table, in_floats, lambda table: table.cast(dict.fromkeys(VALUES, pl.String))]
)
def test_sound_candles_are_clean_whatever_their_type(convert: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    report = checked(convert(walk(500)), timeframe=None)
    assert report.findings == ()
    assert report.ok
    assert (report.what, report.rows, report.first_ns, report.last_ns) == (
        "candles 1m", 500, MIDNIGHT_NS, MIDNIGHT_NS + 499 * STEP_NS,
    )  # fmt: skip


def test_nothing_at_all_is_an_error() -> None:
    report = checked(no_candles())
    assert only(report, "no_rows").severity is Severity.ERROR
    assert (report.ok, report.rows, report.first_ns) == (False, 0, None)


ROWS = 100
FAULTS: dict[str, tuple[Made, int, str]] = {
    "no_time": (lambda: changed(walk(ROWS), 99, ts_ns=None), 1, "row 100"),
    "time_range": (lambda: changed(walk(ROWS), 99, ts_ns=123), 1, "row 100"),
    "future": (lambda: changed(walk(ROWS), 99, ts_ns=NOW_NS + STEP_NS), 1, "row 100, 2025-10-04T00:01:00Z"),
    "misaligned": (lambda: changed(walk(ROWS), 7, ts_ns=MIDNIGHT_NS + 7 * STEP_NS + 1), 1, at(7)),
    "out_of_order": (lambda: pl.concat([walk(ROWS)[50:], walk(ROWS)[:50]]), 50, "row 51, 2024-10-04T00:00:00Z"),
    "duplicate": (lambda: pl.concat([walk(ROWS), walk(ROWS)[99:], walk(ROWS)[99:]]), 2, "row 101, 2024-10-04T01:39:00Z"),
    "gap": (lambda: without(walk(ROWS), 10, 20, 21), 2, "2024-10-04T00:10:00Z"),
    "missing": (lambda: changed(changed(walk(ROWS), 8, volume=None), 30, volume=None), 2, at(8)),
    "not_a_number": (lambda: changed(walk(ROWS).cast({"low": pl.String}), 8, low="n/a"), 1, at(8)),
    "nan": (lambda: changed(changed(walk(ROWS), 9, high=float("nan")), 8, close=float("nan")), 2, at(8)),
    "infinite": (lambda: changed(walk(ROWS), 8, volume=float("inf")), 1, at(8)),
    "too_large": (lambda: changed(walk(ROWS), 8, volume=1e17), 1, at(8)),
    "negative_price": (lambda: changed(walk(ROWS), 8, open=-100.0), 1, at(8)),
    "zero_price": (lambda: changed(walk(ROWS), 8, low=0.0), 1, at(8)),
    "negative_volume": (lambda: changed(walk(ROWS), 8, volume=Decimal(-1)), 1, at(8)),
    "high_too_low": (lambda: changed(walk(ROWS), 8, high=walk(ROWS)["low"][8] - Decimal("0.01"), low=Decimal(99)), 1, at(8)),
    "low_too_high": (lambda: changed(walk(ROWS), 8, low=walk(ROWS)["high"][8] + Decimal("0.01"), high=Decimal(102)), 1, at(8)),
    "price_unit": (lambda: scaled(walk(ROWS), 60, 99, 100), 40, at(60)),
    "price_jump": (lambda: scaled(walk(ROWS), 60, 99, 0.5), 1, at(60)),
    "spike": (lambda: scaled(walk(ROWS), 60, 60, 1.3), 1, at(60)),
    "flat": (lambda: walk(ROWS).with_columns(pl.lit(100.0).alias(name) for name in PRICES), 1, at(0)),
    "no_volume": (lambda: scaled(walk(ROWS), 40, 80, 0.0, ("volume",)), 1, at(40)),
}  # fmt: skip
WARNINGS = {"venue_gap", "price_jump", "spike", "flat", "no_volume"}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_by_its_name_counted_and_placed(kind: str) -> None:
    make, count, first = FAULTS[kind]
    report = checked(make())
    found = only(report, kind)
    assert (found.kind, found.count, found.first) == (kind, count, first)
    assert found.severity is (Severity.WARNING if kind in WARNINGS else Severity.ERROR)
    assert report.ok is (kind in WARNINGS)


def test_every_kind_has_a_test_here() -> None:
    elsewhere = {"no_rows", "time_unit", "unclosed", "out_of_session", "venue_gap"}
    assert set(FAULTS) | elsewhere == set(KINDS)
    assert {kind for kind, (severity, _) in KINDS.items() if severity is Severity.WARNING} == WARNINGS


@pytest.mark.parametrize(("factor", "unit"), [(10**9, "seconds"), (10**6, "milliseconds"), (10**3, "microseconds")])
def test_times_in_another_unit_are_named_once_and_hide_no_other_fault(factor: int, unit: str) -> None:
    """The classic: milliseconds where nanoseconds belong."""
    wrong = pl.col("ts_ns") // factor
    found = only(checked(walk(ROWS).with_columns(wrong), timeframe=None), "time_unit")
    assert found.count == ROWS
    assert found.detail == f"times are in another unit than nanoseconds (found {unit})"
    report = checked(without(walk(ROWS), 10).with_columns(wrong))
    assert [each.kind for each in report.findings] == ["time_unit", "gap"]
    assert usual_timeframe(walk(ROWS).with_columns(wrong), "test") is M1


def test_some_times_in_milliseconds_among_nanoseconds_are_found() -> None:
    mixed = pl.when(pl.int_range(pl.len()) >= 40).then(pl.col("ts_ns") // 10**6).otherwise(pl.col("ts_ns"))
    found = only(checked(walk(ROWS).with_columns(mixed.alias("ts_ns"))), "time_unit")
    assert (found.count, found.first) == (60, at(40))


def test_a_candle_that_has_not_closed_is_told_from_one_of_the_future() -> None:
    now_ns = MIDNIGHT_NS + 99 * STEP_NS + 1
    assert only(checked(walk(ROWS), now_ns=now_ns), "unclosed").first == at(99)
    assert only(checked(walk(ROWS), now_ns=now_ns - 1), "unclosed").first == at(99)
    report = checked(walk(ROWS), now_ns=now_ns - 2)
    assert [(found.kind, found.first) for found in report.findings] == [("future", at(99)), ("unclosed", at(98))]
    assert checked(walk(ROWS), now_ns=MIDNIGHT_NS + 100 * STEP_NS).ok


@pytest.mark.parametrize("factor", [100, 0.01, 1_000, 1e-8])
@pytest.mark.parametrize(("first", "last"), [(0, 30), (40, 60), (99, 99)])
def test_a_stretch_in_another_price_unit_is_found_wherever_it_lies(factor: float, first: int, last: int) -> None:
    found = only(checked(scaled(walk(ROWS), first, last, factor)), "price_unit")
    assert (found.count, found.first) == (last - first + 1, at(first))


def test_one_price_of_a_candle_in_another_unit_is_found() -> None:
    found = checked(scaled(walk(ROWS), 50, 50, 0.01, ("low",))).findings[0]
    assert (found.kind, found.count, found.first) == ("price_unit", 1, at(50))


def test_a_year_of_days_with_months_in_cents_is_found() -> None:
    table = scaled(walk(365, timeframe=D1), 100, 220, 100)
    found = only(checked(table, timeframe=None, now_ns=NOW_NS), "price_unit")
    assert found.count == 121
    assert "100 times" in found.detail


def test_a_long_wick_is_a_spike() -> None:
    table = changed(walk(ROWS), 50, high=in_floats(walk(ROWS))["high"][50] * 1.2)
    assert only(checked(table), "spike").first == at(50)


def test_a_jump_across_a_gap_is_only_a_gap() -> None:
    table = without(scaled(walk(ROWS), 50, 99, 0.5), *range(45, 55))
    assert only(checked(table), "gap").count == 1


def test_a_gap_where_the_venue_was_asked_is_only_a_warning() -> None:
    table = without(walk(ROWS), 10, 11, 30)
    spans = [(MIDNIGHT_NS, MIDNIGHT_NS + 20 * STEP_NS)]
    report = check_candles(table, source="test", timeframe=M1, now_ns=NOW_NS, covered=spans)
    kinds = {found.kind: (found.count, found.severity, found.first) for found in report.findings}
    assert kinds == {
        "gap": (1, Severity.ERROR, "2024-10-04T00:30:00Z"),
        "venue_gap": (1, Severity.WARNING, "2024-10-04T00:10:00Z"),
    }
    assert "2 in all" in report.findings[1].detail


def test_duplicates_tell_whether_their_values_differ() -> None:
    other = changed(walk(ROWS)[99:], 0, volume=Decimal(7))
    found = only(checked(pl.concat([walk(ROWS), walk(ROWS)[99:], other])), "duplicate")
    assert found.count == 2
    assert "(1 of them with other values)" in found.detail


def test_a_timeframe_that_cannot_be_told_must_be_named() -> None:
    odd = walk(10).with_columns((pl.col("ts_ns") - MIDNIGHT_NS) * 7 + MIDNIGHT_NS)
    with pytest.raises(ConfigError, match=r"test: cannot tell the timeframe .* --timeframe"):
        checked(odd, timeframe=None)
    with pytest.raises(ConfigError, match="cannot tell the timeframe"):
        checked(walk(1), timeframe=None)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_any_single_candle_left_out_or_repeated_is_found(seed: int, data: st.DataObject) -> None:
    table = walk(60, seed=seed)
    row = data.draw(st.integers(1, 58))
    assert only(checked(without(table, row)), "gap").count == 1
    assert only(checked(pl.concat([table[: row + 1], table[row:]])), "duplicate").first.startswith(f"row {row + 2},")


# --- markets that close ---------------------------------------------------------------------------------------------------


def sessions(calendar: TradingCalendar, timeframe: Timeframe, first: datetime, last: datetime) -> pl.DataFrame:
    """A full record of an exchange."""
    opens = calendar.opens(timeframe, round(first.timestamp()) * 10**9, round(last.timestamp()) * 10**9)["ts_ns"]
    return walk(len(opens)).with_columns(opens)


@pytest.fixture(scope="module")
def nyse() -> TradingCalendar:
    return TradingCalendar("XNYS")


JULY, AUGUST = datetime(2024, 7, 1, tzinfo=UTC), datetime(2024, 8, 1, tzinfo=UTC)
AFTER_NS = 1_730_000_000 * 10**9


@pytest.mark.parametrize("timeframe", [M1, Timeframe.H1, D1])
def test_nights_weekends_holidays_and_half_days_are_no_gaps(timeframe: Timeframe, nyse: TradingCalendar) -> None:
    """July 2024 has a holiday on the 4th and closes early on the 3rd."""
    table = sessions(nyse, timeframe, JULY, AUGUST)
    report = check_candles(table, source="test", timeframe=timeframe, now_ns=AFTER_NS, calendar=nyse)
    assert [found.kind for found in report.findings if found.kind != "price_jump"] == []
    assert check_candles(table, source="test", timeframe=timeframe, now_ns=AFTER_NS).findings[0].kind == "gap"


def test_a_missing_session_is_a_gap_and_a_candle_of_a_holiday_is_out_of_session(nyse: TradingCalendar) -> None:
    table = without(sessions(nyse, D1, JULY, AUGUST), 5)
    holiday_ns = round(datetime(2024, 7, 4, tzinfo=UTC).timestamp()) * 10**9
    extra = walk(1).with_columns(pl.lit(holiday_ns).alias("ts_ns"))
    report = check_candles(pl.concat([table, extra]).sort("ts_ns"), source="test", timeframe=D1, now_ns=AFTER_NS, calendar=nyse)
    found = {each.kind: (each.count, each.first) for each in report.findings if each.severity is Severity.ERROR}
    assert found == {"gap": (1, "2024-07-09T00:00:00Z"), "out_of_session": (1, "row 4, 2024-07-04T00:00:00Z")}


def test_a_minute_after_the_early_close_is_out_of_session(nyse: TradingCalendar) -> None:
    table = sessions(nyse, M1, JULY, AUGUST)
    late_ns = round(datetime(2024, 7, 3, 17, 0, tzinfo=UTC).timestamp()) * 10**9
    table = pl.concat([table, walk(1).with_columns(pl.lit(late_ns).alias("ts_ns"))]).sort("ts_ns")
    report = check_candles(table, source="test", timeframe=M1, now_ns=AFTER_NS, calendar=nyse)
    assert [(each.kind, each.count) for each in report.findings if each.severity is Severity.ERROR] == [("out_of_session", 1)]


# --- anything at all ------------------------------------------------------------------------------------------------------

ANY_TIME = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 100).map(lambda at: MIDNIGHT_NS + at * STEP_NS)
)
ANY_VALUE = st.one_of(st.none(), st.floats(), st.floats(90, 110))
ANY_ROW = st.tuples(ANY_TIME, *[ANY_VALUE] * 5)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_ROW, min_size=1, max_size=12))
def test_no_table_however_broken_breaks_the_check(rows: list[tuple[float | None, ...]]) -> None:
    """And a table that passes can be used: its values convert exactly and its times are in order."""
    schema = {"ts_ns": pl.Int64, **dict.fromkeys(VALUES, pl.Float64)}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    report = checked(table)
    assert all(found.count >= 1 and found.first for found in report.findings)
    if report.ok:
        require_candles(exact(table, "test"), M1, "test")
