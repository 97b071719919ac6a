"""What is wrong with a table of candles: every kind of fault by name, how often, and where first. Nothing is repaired.

A table read from a file is judged in the file's order, rows counted from 1. Times in the wrong unit are named once and then
read in the right one, so that what else is wrong with them shows too. What the checks are is told by `KINDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import exp, log, log10

from autohedge.errors import ConfigError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candles import COLUMNS, PRICES, VALUE_END, VALUES, Gap, gaps
from autohedge.market.data_report import DataReport, Finding, Severity
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import Timeframe, timeframe_of_interval

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

KINDS: dict[str, tuple[Severity, str]] = {
    "no_rows": (_ERROR, "there is not a single candle"),
    "no_time": (_ERROR, "a row without a readable time"),
    "time_unit": (_ERROR, "times are in another unit than nanoseconds"),
    "time_range": (_ERROR, "a time that is between 1980 and 2200 in no unit"),
    "future": (_ERROR, "opens after now"),
    "unclosed": (_ERROR, "has not closed by now"),
    "misaligned": (_ERROR, "an open time that is not on a whole bucket of UTC"),
    "out_of_order": (_ERROR, "comes after a later one"),
    "duplicate": (_ERROR, "has the time of another"),
    "gap": (_ERROR, "candles are missing"),
    "out_of_session": (_ERROR, "lies outside the sessions of its exchange"),
    "missing": (_ERROR, "an empty value"),
    "not_a_number": (_ERROR, "a value that is no number"),
    "nan": (_ERROR, "a value is NaN"),
    "infinite": (_ERROR, "a value is infinite"),
    "too_large": (_ERROR, f"a value of {VALUE_END:g} or more"),
    "negative_price": (_ERROR, "a price below zero"),
    "zero_price": (_ERROR, "a price of zero"),
    "negative_volume": (_ERROR, "a volume below zero"),
    "high_too_low": (_ERROR, "the high is below the open or the close"),
    "low_too_high": (_ERROR, "the low is above the open or the close"),
    "price_unit": (_ERROR, "prices a power of ten, from 100 on, away from the others: another unit, such as cents"),
    "venue_gap": (_WARNING, "candles that the venue itself does not have"),
    "price_jump": (_WARNING, "a close more than 1.5 times, or less than two thirds of, the one before: a split?"),
    "spike": (_WARNING, "a price shoots far off and comes back"),
    "flat": (_WARNING, "a long stretch without a change of price"),
    "no_volume": (_WARNING, "a long stretch without volume"),
}
"""Name → how bad it is, and what it means. Errors come first in a report."""

_YEAR_S = 31_556_952
_FIRST_S, _LAST_S = 10 * _YEAR_S, 230 * _YEAR_S
"""1980 and 2200 since 1970: in this range no two units of time can be taken for each other."""
_UNITS = (("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3), ("nanoseconds", 1))

_UNIT_TOLERANCE = log10(1.25)
_JUMP = log(1.5)
_SPIKE = log(1.1)
_SPIKE_TIMES_USUAL = 20.0
_FLAT_CANDLES, _FLAT_DAYS = 30, 5

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_candles(
    frame: pl.DataFrame,
    *,
    source: str,
    timeframe: Timeframe | None = None,
    now_ns: int,
    calendar: TradingCalendar | None = None,
    covered: Sequence[tuple[int, int]] = (),
) -> DataReport:
    """The faults of `ts_ns, open, high, low, close, volume` with values of any kind (text, floats, decimals).

    `timeframe` None takes the commonest distance of two candles, and raises `ConfigError` where that is none of ours. `now_ns`
    tells what is in the future. `calendar` is that of an exchange that closes. `covered` are spans in which the venue itself
    was asked for every candle, so that a gap in them is the venue's own and only a warning.
    """
    what = f"candles {timeframe}" if timeframe else "candles"
    if frame.is_empty():
        severity, meaning = KINDS["no_rows"]
        return DataReport(source, what, 0, None, None, (Finding("no_rows", severity, 1, "-", meaning),))
    found = _Findings(frame.select(pl.col("ts_ns").cast(pl.Int64, strict=False), *VALUES).with_row_index("row"))
    _check_units(found)
    timeframe = timeframe or _commonest(found.table["ts_ns"], source)
    _check_times(found, timeframe, now_ns)
    _check_record(found, timeframe, now_ns, calendar, covered)
    sound = _check_values(found)
    _check_changes(found, sound, timeframe, calendar)
    times = found.table["ts_ns"]
    first, last = times.min(), times.max()
    return DataReport(
        source,
        f"candles {timeframe}",
        frame.height,
        first if isinstance(first, int) else None,
        last if isinstance(last, int) else None,
        found.in_order(),
    )


class _Findings:
    """The rows, numbered, with what has been found about them."""

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        self._found: dict[str, Finding] = {}

    def in_order(self) -> tuple[Finding, ...]:
        """What was found, errors first."""
        return tuple(self._found[kind] for kind in KINDS if kind in self._found)

    def add(
        self, kind: str, wrong: pl.Series, more: str = "", *, table: pl.DataFrame | None = None, count: int | None = None
    ) -> None:
        """A finding if any row of the table is `wrong` (null is not), counted by rows unless `count` says otherwise."""
        rows = (self.table if table is None else table).filter(wrong.fill_null(value=False))
        if rows.height:
            row, ts_ns = rows.select("row", "ts_ns").row(0)
            where = f"row {row + 1}" if ts_ns is None else f"row {row + 1}, {_when(ts_ns)}"
            self.tell(kind, rows.height if count is None else count, where, more)

    def tell(self, kind: str, count: int, first: str, more: str) -> None:
        """A finding at a place."""
        severity, meaning = KINDS[kind]
        self._found[kind] = Finding(kind, severity, count, first, f"{meaning} ({more})" if more else meaning)


# --- times ----------------------------------------------------------------------------------------------------------------


def usual_timeframe(frame: pl.DataFrame, source: str) -> Timeframe:
    """The commonest distance of two candles, whatever unit their times are in; `ConfigError` where that is none of ours."""
    return _commonest(_by_unit(frame["ts_ns"])[0], source)


def _commonest(times: pl.Series, source: str) -> Timeframe:
    steps = times.drop_nulls().sort().diff().drop_nulls()
    usual = steps.filter(steps > 0).mode(maintain_order=True)
    timeframe = timeframe_of_interval(int(usual.sort()[0])) if len(usual) else None
    if timeframe is None:
        raise ConfigError(f"{source}: cannot tell the timeframe from the times; say which with --timeframe")
    return timeframe


def _by_unit(given: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Times as nanoseconds (null where they are in no unit), and which of them were in which other unit."""
    right = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(given))
    others: dict[str, pl.Series] = {}
    for unit, factor in _UNITS:
        is_unit = given.is_between(_FIRST_S * 10**9 // factor, _LAST_S * 10**9 // factor).fill_null(value=False)
        right = right.zip_with(~is_unit, given * factor)
        if factor > 1:
            others[unit] = is_unit
    return right, others


def _check_units(found: _Findings) -> None:
    """Name times that are not nanoseconds, and read them in their own unit from here on; null where there is none."""
    given = found.table["ts_ns"]
    right, others = _by_unit(given)
    found.table = found.table.with_columns(right.alias("ts_ns"))
    found.add("no_time", given.is_null())
    units = ", ".join(unit for unit, is_unit in others.items() if is_unit.any())
    found.add("time_unit", right != given, f"found {units}")
    found.add("time_range", given.is_not_null() & right.is_null())


def _check_times(found: _Findings, timeframe: Timeframe, now_ns: int) -> None:
    times, step = found.table["ts_ns"], timeframe.interval_ns
    found.add("future", times > now_ns, f"now is {_when(now_ns)}")
    found.add("unclosed", (times <= now_ns) & (times + step > now_ns), f"now is {_when(now_ns)}")
    found.add("misaligned", times % step != 0, f"of {timeframe}")
    known = times.fill_null(strategy="forward")
    found.add("out_of_order", times < known.cum_max().shift())
    copies = found.table.filter(times.is_not_null()).select(COLUMNS)
    conflicting = copies.unique().height - copies["ts_ns"].n_unique()
    repeated = times.is_not_null() & ~times.is_first_distinct()
    found.add("duplicate", repeated, f"{conflicting:,} of them with other values")


def _check_record(
    found: _Findings,
    timeframe: Timeframe,
    now_ns: int,
    calendar: TradingCalendar | None,
    covered: Sequence[tuple[int, int]],
) -> None:
    """Holes, and candles of a market that was closed."""
    times, step = found.table["ts_ns"], timeframe.interval_ns
    buckets = times - times % step
    past = buckets.filter(times <= now_ns).drop_nulls().unique().sort()
    holes = gaps(past, timeframe, calendar)
    at_venue = {hole for hole in holes if any(start <= hole.start_ns and hole.end_ns <= end for start, end in covered)}
    _tell_gaps(found, "gap", [hole for hole in holes if hole not in at_venue])
    _tell_gaps(found, "venue_gap", [hole for hole in holes if hole in at_venue])
    if calendar is not None and len(past):
        hours = calendar.opens(timeframe, int(past[0]), int(past[-1]) + 1)["ts_ns"]
        outside = (times <= now_ns) & ~buckets.is_in(hours.implode())
        found.add("out_of_session", outside, calendar.name)


def _tell_gaps(found: _Findings, kind: str, holes: Sequence[Gap]) -> None:
    if holes:
        longest = max(holes, key=lambda hole: hole.missing)
        missing = sum(hole.missing for hole in holes)
        more = f"{missing:,} in all, at most {longest.missing:,} in a row from {_when(longest.start_ns)}"
        found.tell(kind, len(holes), _when(holes[0].start_ns), more)


# --- values ---------------------------------------------------------------------------------------------------------------


def _check_values(found: _Findings) -> pl.DataFrame:
    """Judge each candle by itself; the sound ones as floats, in order of time, none twice."""
    table = found.table
    numbers = table.with_columns(pl.col(VALUES).cast(pl.Float64, strict=False))
    column = {name: numbers[name] for name in VALUES}

    def add(kind: str, names: Sequence[str], wrong: Sequence[pl.Series]) -> None:
        flags = pl.DataFrame([each.fill_null(value=False).alias(name) for name, each in zip(names, wrong, strict=True)])
        total = int(sum(flags[name].sum() for name in names))
        told = ", ".join(name for name in names if flags[name].any())
        found.add(kind, flags.select(pl.any_horizontal(pl.all())).to_series(), told, count=total)

    finite = {name: each.is_finite() for name, each in column.items()}
    add("missing", VALUES, [table[name].is_null() for name in VALUES])
    add("not_a_number", VALUES, [column[name].is_null() & table[name].is_not_null() for name in VALUES])
    add("nan", VALUES, [each.is_nan() for each in column.values()])
    add("infinite", VALUES, [each.is_infinite() for each in column.values()])
    add("too_large", VALUES, [finite[name] & (column[name].abs() >= VALUE_END) for name in VALUES])
    add("negative_price", PRICES, [finite[name] & (column[name] < 0) for name in PRICES])
    add("zero_price", PRICES, [column[name] == 0 for name in PRICES])
    add("negative_volume", ("volume",), [finite["volume"] & (column["volume"] < 0)])

    positive = pl.all_horizontal(pl.col(PRICES).is_finite() & (pl.col(PRICES) > 0))
    priced = numbers.filter(positive.fill_null(value=False))
    high_too_low = priced["high"] < priced.select(pl.max_horizontal("open", "close")).to_series()
    low_too_high = priced["low"] > priced.select(pl.min_horizontal("open", "close")).to_series()
    found.add("high_too_low", high_too_low, table=priced)
    found.add("low_too_high", low_too_high, table=priced)
    return (
        priced.filter(pl.col("ts_ns").is_not_null())
        .sort("ts_ns", maintain_order=True)
        .unique("ts_ns", keep="first", maintain_order=True)
    )


# --- changes from one to the next ---------------------------------------------------------------------------------------


def _check_changes(found: _Findings, sound: pl.DataFrame, timeframe: Timeframe, calendar: TradingCalendar | None) -> None:
    if sound.is_empty():
        return
    _check_stretches(found, sound, timeframe)
    changes = sound.select(
        "row",
        "ts_ns",
        back=pl.col("close").log().diff(),
        ahead=-pl.col("close").log().diff().shift(-1),
        up=(pl.col("high") / pl.max_horizontal("open", "close")).log(),
        down=(pl.min_horizontal("open", "close") / pl.col("low")).log(),
        inside=(pl.max_horizontal(PRICES) / pl.min_horizontal(PRICES)).log10(),
        is_next=pl.lit(True) if calendar is not None else pl.col("ts_ns").diff() == timeframe.interval_ns,
    )
    rescaled = _check_price_unit(found, changes)
    back, ahead = changes["back"], changes["ahead"]
    usual = back.abs().median()
    limit = max(_SPIKE, _SPIKE_TIMES_USUAL * usual) if isinstance(usual, float) else _SPIKE
    there_and_back = (back.abs() > limit) & (ahead.abs() > limit) & (back.sign() == ahead.sign())
    spike = (there_and_back | (changes["up"] > limit) | (changes["down"] > limit)) & ~rescaled
    found.add("spike", spike, f"more than {exp(limit) - 1:.0%} off", table=changes)
    after_spike = spike.fill_null(value=False).shift(1, fill_value=False)
    jump = (back.abs() > _JUMP) & changes["is_next"] & ~spike.fill_null(value=False) & ~after_spike & ~rescaled
    found.add("price_jump", jump, table=changes)


def _check_price_unit(found: _Findings, changes: pl.DataFrame) -> pl.Series:
    """Stretches that are 100 times (or another power of ten from there on) their neighbours; True where the scale changes."""
    powers = (changes["back"] / log(10)).fill_null(0.0)
    steps = powers.round().cast(pl.Int64)
    changed = (steps.abs() >= 2) & ((powers - steps).abs() <= _UNIT_TOLERANCE)
    level = steps.zip_with(changed, pl.Series([0], dtype=pl.Int64).new_from_index(0, len(steps))).cum_sum()
    usual = int(level.value_counts(sort=True)["back"][0])
    inside = changes["inside"].round()
    mixed = (inside >= 2) & ((changes["inside"] - inside).abs() <= _UNIT_TOLERANCE)
    wrong = (level != usual) | mixed
    if wrong.any():
        off = level.filter(level != usual)
        power = abs(int(off[0]) - usual) if len(off) else int(inside.filter(mixed)[0])
        found.add("price_unit", wrong, f"{10**power:,} times too high or low", table=changes)
    return changed | mixed


def _check_stretches(found: _Findings, sound: pl.DataFrame, timeframe: Timeframe) -> None:
    """Long runs without a change or without a trade: a halted market, or a feed that repeated itself."""
    least = _FLAT_DAYS if timeframe is Timeframe.D1 else _FLAT_CANDLES
    still = (pl.max_horizontal(PRICES) == pl.min_horizontal(PRICES)) & (pl.col("close") == pl.col("close").shift()).fill_null(
        value=True
    )
    for kind, holds in {"flat": still, "no_volume": pl.col("volume") == 0}.items():
        runs = (
            sound.select("row", "ts_ns", holds=holds.fill_null(value=False))
            .with_columns(run=pl.col("holds").rle_id())
            .filter("holds")
            .group_by("run", maintain_order=True)
            .agg(pl.col("row").first(), pl.col("ts_ns").first(), length=pl.len())
            .filter(pl.col("length") >= least)
        )
        if runs.height:
            longest = int(runs["length"].sort()[-1])
            found.add(kind, runs["length"] > 0, f"the longest of {longest:,} candles", table=runs)


def _when(ts_ns: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=ts_ns // 1_000):%Y-%m-%dT%H:%M:%SZ}"
