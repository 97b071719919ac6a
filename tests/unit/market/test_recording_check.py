"""The check of recordings: each fault, put into a file that is otherwise good, is found under its name and at its place."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market import parquet_recorder, recording_check
from autohedge.market.binance import LineWriter
from autohedge.market.data_report import DataReport, Finding, Severity
from autohedge.market.faults import KINDS
from autohedge.market.parquet_folder import read_dataset
from autohedge.market.parquet_recorder import ParquetRecorder
from autohedge.market.recording_check import check_recording, require_clean

Save = Callable[..., Path]
Events = list[MarketEvent]
S = 10**9

# The session: a snapshot (0), then a delta, best prices and a trade again and again; 1 + 3 n is a delta.
DELTA, TOP, TRADE = 31, 32, 33


def kinds(report: DataReport) -> dict[str, int]:
    return {finding.kind: finding.count for finding in report.findings}


def found(report: DataReport, kind: str) -> Finding:
    return next(finding for finding in report.findings if finding.kind == kind)


def flattened(path: Path, events: Sequence[MarketEvent]) -> Path:
    """The events in the flattened layout."""
    rows = []
    for event in events:
        head = (event.ts_init_ns, event.ts_event_ns // 1_000_000)
        match event:
            case Trade(_, _, at, price, lots, aggressor):
                rows.append((*head, "T", int(aggressor), price, lots, at, at))
            case TopOfBook(_, _, at, bid, bid_lots, ask, ask_lots):
                rows += [(*head, "Q", 1, bid, bid_lots, at, at), (*head, "Q", -1, ask, ask_lots, at, at)]
            case BookSnapshot(_, _, last, bids, asks):
                rows += [(*head, "S", 1, *level, last, last) for level in bids]
                rows += [(*head, "S", -1, *level, last, last) for level in asks]
            case BookDelta(_, _, first, last, bids, asks):
                rows += [(*head, "D", 1, *level, first, last) for level in bids]
                rows += [(*head, "D", -1, *level, first, last) for level in asks]
    names = ["local_ts_ns", "exch_ts_ms", "kind", "side", "px_e8", "qty_e8", "id_first", "id_last"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    frame.with_columns(pl.col("px_e8") * 1_000_000, pl.col("qty_e8") * 1_000).write_parquet(path)
    return path


@pytest.fixture(params=["raw", "flattened", "parquet"])
def saved(request: pytest.FixtureRequest, tmp_path: Path, btc: Instrument, save: Save) -> Callable[[Events], Path]:
    """Save events as a recording of each kind."""

    def saved(events: Events) -> Path:
        if request.param == "raw":
            writer = LineWriter(btc)
            return save([writer.line(event).rstrip("\n").encode() for event in events])
        if request.param == "flattened":
            return flattened(tmp_path / "btcusdt.parquet", events)
        recorder = ParquetRecorder(tmp_path / "BTC-USDT", btc)
        for event in events:
            recorder.write(event)
        recorder.close()
        return tmp_path / "BTC-USDT"

    return saved


def test_a_good_recording_has_nothing_to_find(saved: Callable[[Events], Path], session: Events, btc: Instrument) -> None:
    path = saved(session)
    report = check_recording(path)
    assert report.findings == ()
    assert report.ok
    assert (report.source, report.what) == (str(path), "book and trades of BTC/USDT")
    assert (report.first_ns, report.last_ns) == (session[0].ts_init_ns, session[-1].ts_init_ns)
    assert report.rows == 4 + 40 * 6
    assert check_recording(path, "BTC/USDT", btc) == report
    require_clean(report)


def test_an_update_that_its_snapshot_contains_is_nothing_wrong(saved: Callable[[Events], Path], session: Events) -> None:
    """A snapshot over REST may overtake updates of the stream."""
    contained = BookDelta(0, session[0].ts_init_ns, 98, 100, ((9_999, 6),), ())
    assert check_recording(saved([session[0], contained, *session[1:]])).findings == ()


# --- faults that are events: they may come in any kind of recording ----------------------------------------------------------


def replace(at: int, **values: object) -> Callable[[Events], Events]:
    return lambda events: [*events[:at], events[at]._replace(**values), *events[at + 1 :]]


def later(at: int, by_ns: int) -> Callable[[Events], Events]:
    """Everything from an event on is received later, and happened later."""

    def moved(event: MarketEvent) -> MarketEvent:
        happened = event.ts_event_ns + by_ns if event.ts_event_ns else 0
        return event._replace(ts_init_ns=event.ts_init_ns + by_ns, ts_event_ns=happened)

    return lambda events: [*events[:at], *map(moved, events[at:])]


def scaled(event: MarketEvent, times: int) -> MarketEvent:
    """An event with its prices in another unit."""
    match event:
        case Trade():
            return event._replace(price_ticks=event.price_ticks * times)
        case TopOfBook():
            return event._replace(bid_ticks=event.bid_ticks * times, ask_ticks=event.ask_ticks * times)
        case _:
            bids, asks = (tuple((price * times, lots) for price, lots in side) for side in (event.bids, event.asks))
            return event._replace(bids=bids, asks=asks)


def cents_for_a_stretch(events: Events) -> Events:
    return [*events[:40], *(scaled(event, 100) for event in events[40:70]), *events[70:]]


def in_ms(events: Events) -> Events:
    return [event._replace(ts_init_ns=event.ts_init_ns // 1_000_000) for event in events]


def venue_time_in_s(events: Events) -> Events:
    """The seconds of a venue, taken for its milliseconds."""
    return [event._replace(ts_event_ns=event.ts_event_ns // 10**9 * 10**6) for event in events]


def both(*damages: Callable[[Events], Events]) -> Callable[[Events], Events]:
    """One after the other."""

    def damaged(events: Events) -> Events:
        for damage in damages:
            events = damage(events)
        return events

    return damaged


def without(at: int) -> Callable[[Events], Events]:
    return lambda events: [*events[:at], *events[at + 1 :]]


def twice(at: int) -> Callable[[Events], Events]:
    return lambda events: [*events[: at + 1], *events[at:]]


def again(begin: int, stop: int) -> Callable[[Events], Events]:
    """Some events, at the time of the last of them, once more."""
    return lambda events: [
        *events[:stop],
        *(event._replace(ts_init_ns=events[stop - 1].ts_init_ns) for event in events[begin:stop]),
        *events[stop:],
    ]


def snapshot_third(events: Events) -> Events:
    """A delta and best prices that come before the snapshot."""
    snapshot = events[0]._replace(ts_init_ns=events[2].ts_init_ns)
    return [events[1], events[2], snapshot, *events[3:]]


def old_snapshot(events: Events) -> Events:
    return [*events[:TRADE], events[0]._replace(ts_init_ns=events[TOP].ts_init_ns), *events[TRADE:]]


def happened_later(by_ns: int) -> Callable[[Events], Events]:
    return lambda events: [event._replace(ts_event_ns=event.ts_event_ns and event.ts_event_ns + by_ns) for event in events]


def stretch(begin: int, stop: int, damage: Callable[[Events], Events]) -> Callable[[Events], Events]:
    return lambda events: [*events[:begin], *damage(events[begin:stop]), *events[stop:]]


LOCKED_TOP = {"bid_ticks": 10_001, "ask_ticks": 10_001}
CROSSING = both(replace(DELTA, bids=((10_005, 1),)), replace(DELTA + 3, bids=((10_005, 0), (9_980, 1))))
LOCKING = both(replace(DELTA, bids=((10_001, 1),)), replace(DELTA + 3, bids=((10_001, 0), (9_980, 1))))
NO_BIDS_AT_FIRST = both(replace(0, bids=()), replace(1, bids=((9_999, 6), (10_000, 5))))
# name, how often, what is done to the good session, what else may be found because of it
FAULTY_EVENTS: list[tuple[str, int, Callable[[Events], Events], set[str]]] = [
    ("gap", 1, without(DELTA), set()),
    ("trade_gap", 1, without(TRADE), set()),
    ("duplicate", 1, twice(DELTA), set()),
    ("duplicate", 1, twice(TRADE), set()),
    ("duplicate", 1, twice(TOP), set()),
    ("duplicate", 1, twice(0), set()),
    ("duplicate", 3, again(DELTA, TRADE + 1), set()),
    ("out_of_order", 1, replace(TOP, ts_init_ns=1_600_000_000 * S), set()),
    ("out_of_order", 1, replace(TRADE, trade_id=1), {"trade_gap"}),
    ("overlap", 1, replace(DELTA, first_update_id=119), {"gap"}),
    ("time_unit", 121, in_ms, set()),
    ("time_unit", 30, stretch(40, 70, in_ms), set()),
    ("time_unit", 80, venue_time_in_s, set()),
    ("clock", 1, replace(TRADE, ts_event_ns=1_600_000_000 * S), set()),
    ("time_leap", 1, replace(120, ts_init_ns=2_000_000_000 * S), set()),
    ("no_snapshot", 1, without(0), set()),
    ("crossed", 1, replace(TOP, bid_ticks=10_005), set()),
    ("locked", 1, replace(TOP, **LOCKED_TOP), set()),
    ("crossed", 1, CROSSING, set()),
    ("locked", 1, LOCKING, set()),
    ("crossed", 41, replace(0, bids=((10_002, 1), (10_000, 5))), set()),
    ("price_unit", 7, cents_for_a_stretch, {"crossed", "trade_outside", "price_jump"}),
    ("price_jump", 2, replace(TRADE, price_ticks=15_500), {"trade_outside"}),
    ("trade_outside", 1, replace(TRADE, price_ticks=9_900), set()),
    ("one_sided", 1, replace(TOP, bid_ticks=0, bid_lots=0), set()),
    ("one_sided", 1, NO_BIDS_AT_FIRST, set()),
    ("stale_quote", 1, replace(TOP, update_id=50), set()),
    ("stale_snapshot", 1, old_snapshot, set()),
    ("before_snapshot", 2, snapshot_third, {"gap"}),
    ("negative_latency", 80, happened_later(S), set()),
    ("silence", 1, later(TRADE, 61 * S), set()),
]


@pytest.mark.parametrize(("kind", "count", "damage", "also"), FAULTY_EVENTS)
def test_a_fault_among_events_is_found_and_named(
    kind: str,
    count: int,
    damage: Callable[[Events], Events],
    also: set[str],
    saved: Callable[[Events], Path],
    session: Events,
) -> None:
    report = check_recording(saved(damage(session)), "BTC/USDT")
    assert found(report, kind).severity is KINDS[kind][0]
    assert set(kinds(report)) - {kind} <= also
    assert found(report, kind).count == count
    assert re.search(r":\d+|whole recording", found(report, kind).first)
    assert report.ok is all(KINDS[each][0] is Severity.WARNING for each in kinds(report))


def test_an_update_that_its_snapshot_contains_is_a_duplicate_when_it_comes_again(
    session: Events, btc: Instrument, save: Save
) -> None:
    writer = LineWriter(btc)
    contained = BookDelta(0, session[0].ts_init_ns, 98, 100, ((9_999, 6),), ())
    events = [session[0], contained, contained, *session[1:]]
    assert kinds(check_recording(save([writer.line(event).rstrip("\n").encode() for event in events]))) == {"duplicate": 1}


def test_the_place_and_the_figures_are_told(session: Events, btc: Instrument, save: Save) -> None:
    writer = LineWriter(btc)

    def lines(events: Events) -> list[bytes]:
        return [writer.line(event).rstrip("\n").encode() for event in events]

    gapped = check_recording(save(lines(without(DELTA)(session))))
    finding = found(gapped, "gap")
    assert finding.first == "btcusdt.jsonl.gz:34, 2024-10-03T23:59:59.600Z"
    assert "expected update 121, found 123" in finding.detail
    assert finding.detail.endswith("57 more messages could not be used and no snapshot came")
    detail = found(check_recording(save(lines(happened_later(2 * S)(session)))), "negative_latency").detail
    assert "median -2.000 s of all messages, from -2.000 s to" in detail
    outside = found(check_recording(save(lines(replace(TRADE, price_ticks=9_000)(session)))), "trade_outside")
    assert outside.first.startswith("btcusdt.jsonl.gz:34")
    assert "of 40 trades 2.5% print outside them at all" in outside.detail
    cents = found(check_recording(save(lines(cents_for_a_stretch(session)))), "price_unit")
    assert "from 10000 to 999900 ticks" in cents.detail
    silent = check_recording(save(lines(later(TRADE, 5 * S)(session))), silence_s=4)
    assert "(longer than 4 s); the longest 5.0 s" in found(silent, "silence").detail


def test_a_gap_that_a_snapshot_heals_is_told_with_what_was_lost(session: Events, btc: Instrument, save: Save) -> None:
    writer = LineWriter(btc)
    last = session[DELTA + 6]
    assert isinstance(last, BookDelta)
    healed = BookSnapshot(0, last.ts_init_ns, last.last_update_id, ((10_000, 5),), ((10_002, 5),))
    events = [*session[:DELTA], *session[DELTA + 1 : DELTA + 7], healed, *session[DELTA + 7 :]]
    report = check_recording(save([writer.line(event).rstrip("\n").encode() for event in events]))
    assert kinds(report) == {"gap": 1}
    assert "2 more messages could not be used until a snapshot came" in found(report, "gap").detail


# --- faults that are no events: of raw lines ---------------------------------------------------------------------------------


def swap(old: bytes, new: bytes, count: int = 1) -> Callable[[bytes], bytes]:
    return lambda line: line.replace(old, new, count)


FAULTY_LINES: list[tuple[str, int, Callable[[bytes], bytes], set[str]]] = [
    ("negative", DELTA, swap(b'"b":[["', b'"b":[["-'), {"gap"}),
    ("negative", TRADE, swap(b'"q":"', b'"q":"-'), {"trade_gap"}),
    ("negative", TOP, swap(b"1727", b"-1727"), set()),
    ("negative", TRADE, swap(b'"t":', b'"t":-'), {"trade_gap"}),
    ("negative", TRADE, swap(b'"T":', b'"T":-'), {"trade_gap"}),
    ("not_a_number", TRADE, lambda line: re.sub(rb'"p":"[^"]*"', b'"p":NaN', line), {"trade_gap"}),
    ("not_a_number", TRADE, lambda line: re.sub(rb'"p":"[^"]*"', b'"p":"nan"', line), {"trade_gap"}),
    ("not_a_number", TRADE, lambda line: re.sub(rb'"q":"[^"]*"', b'"q":"Infinity"', line), {"trade_gap"}),
    ("not_a_number", TOP, lambda line: re.sub(rb'"B":"[^"]*"', b'"B":null', line), set()),
    ("not_a_number", TOP, lambda line: re.sub(rb'"B":"[^"]*"', b'"B":"ten"', line), set()),
    ("zero", TRADE, lambda line: re.sub(rb'"p":"[^"]*"', b'"p":"0.00"', line), {"trade_gap"}),
    ("zero", TRADE, lambda line: re.sub(rb'"q":"[^"]*"', b'"q":"0"', line), {"trade_gap"}),
    ("zero", TOP, lambda line: re.sub(rb'"B":"[^"]*"', b'"B":"0"', line), set()),
    ("zero", DELTA, lambda line: re.sub(rb'"b":\[\["[^"]*"', b'"b":[["0"', line), {"gap"}),
    ("price_off_grid", TRADE, lambda line: re.sub(rb'"p":"([^"]*)"', rb'"p":"\g<1>5"', line), {"trade_gap"}),
    ("price_off_grid", DELTA, lambda line: re.sub(rb'"b":\[\["([^"]*)"', rb'"b":[["\g<1>5"', line), {"gap"}),
    ("out_of_range", TRADE, lambda line: re.sub(rb'"p":"[^"]*"', b'"p":"123456789012345678"', line), {"trade_gap"}),
    ("out_of_range", TRADE, lambda line: re.sub(rb'"q":"[^"]*"', b'"q":"1' + b"0" * 35 + b'"', line), {"trade_gap"}),
    ("size_off_grid", DELTA, lambda line: re.sub(rb'"b":\[\["([^"]*)","([^"]*)"', rb'"b":[["\1","\g<2>7"', line), set()),
    ("time_unit", TOP, lambda line: re.sub(rb"^(\d{10})\d{9}", rb"\1.550000010", line), set()),
    ("time_unit", TRADE, lambda line: re.sub(rb'"T":(\d*)', rb'"T":\g<1>000000', line), {"trade_gap"}),
    ("unsorted", 0, lambda line: re.sub(rb'"bids":\[(\[.*?\]),(\[.*?\])\]', rb'"bids":[\2,\1]', line), {"no_snapshot"}),
    ("corrupt", TOP, lambda line: line[:-9], set()),
    ("corrupt", TOP, lambda line: b"no line at all", set()),
    ("corrupt", TRADE, swap(b'"m":', b'"n":'), {"trade_gap"}),
    ("foreign", TRADE, swap(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'), {"trade_gap"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "at", "damage", "also"), FAULTY_LINES)
def test_a_line_that_cannot_be_used_is_named_for_its_fault(
    kind: str, at: int, damage: Callable[[bytes], bytes], also: set[str], lines: list[bytes], save: Save
) -> None:
    damaged = damage(lines[at])
    assert damaged != lines[at]
    report = check_recording(save([*lines[:at], damaged, *lines[at + 1 :]]), "BTC/USDT")
    finding = found(report, kind)
    assert finding.count == 1
    assert finding.first.split(",")[0] == f"btcusdt.jsonl.gz:{at + 1}"
    assert set(kinds(report)) - {kind} <= also
    if finding.severity is Severity.ERROR:
        with pytest.raises(MarketDataError, match=f"not fit for a backtest.*{kind} 1 times, first at"):
            require_clean(report)
        require_clean(report, allow={kind, *also})


def test_a_truncated_file_is_named_and_what_can_be_read_is_checked(lines: list[bytes], save: Save) -> None:
    path = save(lines)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    report = check_recording(path, "BTC/USDT")
    assert set(kinds(report)) == {"truncated"}
    assert "readable up to line" in found(report, "truncated").detail
    assert 0 < report.rows < 244


def test_a_recording_of_several_files_names_the_file(lines: list[bytes], save: Save, tmp_path: Path) -> None:
    save(lines[:50], "btcusdt_1.jsonl")
    save([*lines[50:60], lines[59], *lines[60:]], "btcusdt_2.jsonl.gz")
    report = check_recording(tmp_path)
    assert kinds(report) == {"duplicate": 1}
    assert found(report, "duplicate").first.startswith("btcusdt_2.jsonl.gz:11")


def test_lines_without_any_event_are_no_events(save: Save) -> None:
    report = check_recording(save([b"1727999999000000000 {}", b"", b"x"]), "BTC/USDT")
    assert kinds(report) == {"no_events": 1, "corrupt": 2}
    assert (report.ok, report.first_ns, report.last_ns) == (False, None, None)


# --- of Parquet ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "column", "change"),
    [
        ("negative", "px_e8", lambda value: -value),
        ("negative", "qty_e8", lambda value: -value),
        ("not_a_number", "px_e8", lambda value: None),
        ("not_a_number", "px_e8", lambda value: float("nan")),
        ("not_a_number", "qty_e8", lambda value: float("inf")),
        ("not_a_number", "qty_e8", lambda value: value + 0.5),
        ("zero", "px_e8", lambda value: 0),
        ("zero", "qty_e8", lambda value: 0),
        ("price_off_grid", "px_e8", lambda value: value + 1),
        ("time_unit", "exch_ts_ms", lambda value: value * 10**6),
        ("negative", "local_ts_ns", lambda value: -value),
        ("corrupt", "side", lambda value: 3),
        ("corrupt", "kind", lambda value: "X"),
    ],
)
def test_a_flattened_row_that_cannot_be_used_is_named_for_its_fault(
    kind: str, column: str, change: Callable[[object], object], session: Events, tmp_path: Path
) -> None:
    path = flattened(tmp_path / "btcusdt.parquet", session)
    frame = pl.read_parquet(path)
    row = frame["kind"].to_list().index("T", 60)
    values = frame[column].to_list()
    values[row] = change(values[row])
    as_float = any(isinstance(value, float) for value in values)
    series = pl.Series(column, [float(value) for value in values] if as_float else values)
    frame.with_columns(series).write_parquet(path)
    report = check_recording(path)
    finding = found(report, kind)
    assert (finding.count, finding.first.split(",")[0]) == (1, f"btcusdt.parquet:{row}")
    assert set(kinds(report)) - {kind} <= {"trade_gap"}


def test_a_damaged_flattened_file_is_named(session: Events, tmp_path: Path) -> None:
    path = flattened(tmp_path / "btcusdt.parquet", session * 50)
    content = bytearray(path.read_bytes())
    content[100:-2_000] = bytes(len(content) - 2_100)
    path.write_bytes(content)
    assert "truncated" in kinds(check_recording(path))


@pytest.fixture
def folder(session: Events, btc: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Parquet recording of ours in many files."""
    monkeypatch.setattr(parquet_recorder, "FLUSH_ROWS", 60)
    recorder = ParquetRecorder(tmp_path / "BTC-USDT", btc)
    for event in session:
        recorder.write(event)
    recorder.close()
    return tmp_path / "BTC-USDT"


@pytest.mark.parametrize(
    ("kind", "column", "value"),
    [
        ("negative", "price_ticks", -5),
        ("negative", "size_lots", -5),
        ("zero", "price_ticks", 0),
        ("out_of_range", "size_lots", 2**60),
        ("corrupt", "side", 3),
        ("corrupt", "kind", 9),
        ("corrupt", "ends_message", False),
    ],
)
def test_a_row_of_ours_that_cannot_be_used_is_named_for_its_fault(kind: str, column: str, value: int, folder: Path) -> None:
    part = read_dataset(folder).parts[1]
    frame = pl.read_parquet(part)
    row = frame["kind"].to_list().index(3)
    values = frame[column].to_list()
    values[row] = value
    frame.with_columns(pl.Series(column, values, dtype=frame.schema[column])).write_parquet(part)
    report = check_recording(folder)
    assert found(report, kind).first.startswith("000002.parquet:")
    assert abs(int(found(report, kind).first.split(":")[1]) - row) <= 1
    assert set(kinds(report)) - {kind} <= {"trade_gap", "corrupt", "gap"}


def test_files_of_ours_that_are_damaged_missing_or_torn_are_named(folder: Path) -> None:
    parts = read_dataset(folder).parts
    torn = parts[-1].with_name("000099.parquet.partial")
    torn.write_bytes(b"PAR1")
    report = check_recording(folder)
    assert kinds(report) == {"torn": 1}
    assert found(report, "torn").first == "000099.parquet.partial"
    content = parts[1].read_bytes()
    parts[1].write_bytes(content[:-20])
    report = check_recording(folder)
    assert set(kinds(report)) == {"truncated", "gap", "trade_gap", "torn"}
    assert found(report, "truncated").first == "000002.parquet"
    parts[1].unlink()
    report = check_recording(folder)
    assert set(kinds(report)) == {"truncated", "no_events"}
    assert "000002.parquet of" in found(report, "truncated").detail


def test_a_column_of_another_type_is_named(folder: Path) -> None:
    part = read_dataset(folder).parts[1]
    pl.read_parquet(part).with_columns(pl.col("price_ticks").cast(pl.Float64)).write_parquet(part)
    assert "expected columns price_ticks Int64" in found(check_recording(folder), "truncated").detail


# --- the whole -------------------------------------------------------------------------------------------------------------


def test_every_kind_of_fault_has_a_test() -> None:
    named = {each[0] for each in [*FAULTY_EVENTS, *FAULTY_LINES]} | {"truncated", "no_events", "torn"}
    assert named == set(KINDS)


def test_errors_come_first_and_allowed_ones_are_accepted(session: Events, btc: Instrument, save: Save) -> None:
    writer = LineWriter(btc)
    events = happened_later(S)(session)
    damaged = [*events[:DELTA], *events[DELTA + 1 : TRADE + 3], *events[TRADE + 4 :]]
    report = check_recording(save([writer.line(event).rstrip("\n").encode() for event in damaged]))
    assert [finding.severity for finding in report.findings] == sorted((each.severity for each in report.findings), key=str)
    assert list(kinds(report)) == ["gap", "trade_gap", "negative_latency"]
    with pytest.raises(MarketDataError, match=r"gap 1 times.*; trade_gap 1 times.*Repair the data, or allow these by name"):
        require_clean(report)
    with pytest.raises(MarketDataError, match=r"backtest: trade_gap 1 times"):
        require_clean(report, allow=["gap"])
    require_clean(report, allow=["gap", "trade_gap"])


def test_progress_is_told(save: Save, lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_check, "_PROGRESS_ROWS", 100)
    told: list[int] = []
    check_recording(save(lines), on_progress=told.append)
    assert told == sorted(told)
    assert [at // 100 for at in told] == [1, 2]


def test_what_is_no_recording_of_a_known_symbol_is_refused(tmp_path: Path, lines: list[bytes], save: Save) -> None:
    with pytest.raises(MarketDataError, match="no such file"):
        check_recording(tmp_path / "none")
    with pytest.raises(MarketDataError, match="expected a recording of ETH/USDT, found lines of BTCUSDT"):
        check_recording(save(lines), "ETH/USDT")
    unknown = [line.replace(b"BTCUSDT", b"XYZUSDT") for line in lines]
    with pytest.raises(MarketDataError, match="cannot tell of which symbol"):
        check_recording(save(unknown, "unknown.jsonl"))
    with pytest.raises(ConfigError, match="no instrument rules for 'XYZ/USDT' at binance"):
        check_recording(save(unknown, "unknown.jsonl"), "XYZ/USDT")
    empty = tmp_path / "empty.jsonl.gz"
    empty.write_bytes(gzip.compress(b""))
    with pytest.raises(MarketDataError, match="is empty"):
        check_recording(empty, "BTC/USDT")
