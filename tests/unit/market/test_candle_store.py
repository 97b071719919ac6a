"""Candles on disk: unique, idempotent, by month, whole after any kill, and honest about what is missing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise, product
from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.candle_store import CandleSeries, CandleStore, Conflict, Merged, series_of_file
from autohedge.market.candles import SCHEMA, Gap, in_floats, no_candles
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, changed, walk

M1, D1 = Timeframe.M1, Timeframe.D1
STEP_NS = M1.interval_ns
NOW_NS = MIDNIGHT_NS + 3_650 * 86_400 * 10**9
BTC = CandleSeries("binance", "BTC/USDT", M1)


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "candles")


def test_what_was_stored_is_read_back_to_the_last_digit(store: CandleStore) -> None:
    table = walk(300)
    assert store.merge(BTC, table, now_ns=NOW_NS) == Merged(added=300)
    assert store.read(BTC).equals(table)
    assert store.read(BTC).schema == SCHEMA


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "KRW-BTC", "BRK.B", "1000SATS/USDT", "a/../../b"])
def test_no_symbol_breaks_its_path_or_leaves_the_root(symbol: str, store: CandleStore) -> None:
    series = CandleSeries("binance", symbol, M1)
    store.merge(series, walk(3), now_ns=NOW_NS)
    assert store.series() == [series]
    assert store.read(series).height == 3
    assert store.folder(series).parent.parent == store.root / "binance"
    assert [path.name for path in store.root.parent.iterdir()] == ["candles"]


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [("Binance", "A/B"), ("", "A/B"), ("../x", "A/B"), ("binance", ""), ("binance", "/A"), ("binance", "A B")],
)
def test_names_that_are_no_venue_or_symbol_are_refused(venue: str, symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a (venue|symbol)"):
        CandleSeries(venue, symbol, M1)


# --- merging --------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(st.integers(0, 79), st.integers(1, 40)), min_size=1, max_size=6))
def test_overlapping_downloads_leave_one_of_each_candle(
    parts: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In whatever pieces and order, with whatever overlap, and as often as one likes."""
    table, store = walk(120), CandleStore(tmp_path_factory.mktemp("store"))
    wanted: set[int] = set()
    for first, count in parts:
        rows = set(range(first, first + count))
        merged = store.merge(BTC, table[first : first + count], now_ns=NOW_NS)
        assert merged == Merged(added=len(rows - wanted), same=len(rows & wanted))
        wanted |= rows
    assert store.read(BTC).equals(table[sorted(wanted)])


def test_a_candle_that_comes_again_otherwise_replaces_the_old_one_and_is_told(store: CandleStore) -> None:
    store.merge(BTC, walk(10), now_ns=NOW_NS)
    other = changed(walk(10), 3, close=walk(10)["high"][3], volume=Decimal("0.5"))
    merged = store.merge(BTC, other, now_ns=NOW_NS)
    was, kept = (tuple(f"{value.normalize():f}" for value in table.row(3)[1:]) for table in (walk(10), other))
    assert merged == Merged(same=9, replaced=1, conflicts=(Conflict(MIDNIGHT_NS + 3 * STEP_NS, was, kept),))
    assert kept[-1] == "0.5"
    assert store.read(BTC).equals(other)


def test_all_conflicts_are_counted_and_the_first_are_told(store: CandleStore) -> None:
    store.merge(BTC, walk(50), now_ns=NOW_NS)
    merged = store.merge(BTC, walk(50, seed=2), now_ns=NOW_NS)
    assert (merged.replaced, len(merged.conflicts)) == (50, 5)
    assert merged.conflicts[0].ts_ns == MIDNIGHT_NS


def test_candles_lie_in_a_file_per_month_and_a_range_reads_over_its_ends(store: CandleStore) -> None:
    series = CandleSeries("binance", "BTC/USDT", D1)
    table = walk(100, timeframe=D1)
    store.merge(series, table, now_ns=NOW_NS)
    names = sorted(path.name for path in store.folder(series).glob("*.parquet"))
    assert names == ["2024-10.parquet", "2024-11.parquet", "2024-12.parquet", "2025-01.parquet"]
    start_ns, end_ns = (round(datetime(*day, tzinfo=UTC).timestamp()) * 10**9 for day in ((2024, 10, 31), (2024, 12, 1)))  # type: ignore[misc, arg-type]
    expected = table.filter((pl.col("ts_ns") >= start_ns) & (pl.col("ts_ns") < end_ns))
    assert expected.height == 31
    assert store.read(series, start_ns, end_ns).equals(expected)
    assert store.read(series, NOW_NS).is_empty()
    assert store.read(series, end_ns=1).schema == SCHEMA


def test_a_file_says_whose_candles_it_holds(store: CandleStore, tmp_path: Path) -> None:
    store.merge(BTC, walk(3), now_ns=NOW_NS)
    assert series_of_file(store.folder(BTC) / "2024-10.parquet") == BTC
    walk(3).write_parquet(tmp_path / "other.parquet")
    assert series_of_file(tmp_path / "other.parquet") is None
    assert series_of_file(tmp_path / "none.parquet") is None


# --- what is not stored ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [walk(5).reverse(), in_floats(walk(5)), walk(5, start_ns=MIDNIGHT_NS + 1), changed(walk(5), 1, low=None)],
    ids=["unordered", "floats", "off the grid", "empty cell"],
)
def test_a_table_that_is_not_sound_changes_nothing(table: pl.DataFrame, store: CandleStore) -> None:
    with pytest.raises(MarketDataError):
        store.merge(BTC, table, now_ns=NOW_NS)
    assert store.series() == []


def test_a_candle_that_has_not_closed_is_never_stored(store: CandleStore) -> None:
    with pytest.raises(MarketDataError, match="has not closed"):
        store.merge(BTC, walk(5), now_ns=MIDNIGHT_NS + 5 * STEP_NS - 1)
    assert not store.has(BTC)
    store.merge(BTC, walk(5), now_ns=MIDNIGHT_NS + 5 * STEP_NS)


def test_nothing_stored_is_an_error_with_the_way_out(store: CandleStore) -> None:
    with pytest.raises(
        MarketDataError, match="no candles of BTC/USDT 1m of binance; fetch them with `autohedge data download`"
    ):
        store.read(BTC)
    with pytest.raises(MarketDataError, match="no candles"):
        store.describe(BTC)


# --- what is missing ------------------------------------------------------------------------------------------------------


def test_the_venues_own_gaps_are_told_from_what_was_never_downloaded(store: CandleStore) -> None:
    minute = [MIDNIGHT_NS + number * STEP_NS for number in range(60)]
    table = walk(60).filter(~pl.col("ts_ns").is_in([minute[5], minute[30], minute[31]]))
    store.merge(BTC, table[:15], now_ns=NOW_NS, covered=(minute[0], minute[10]))
    store.merge(BTC, table[15:], now_ns=NOW_NS, covered=(minute[10], minute[20]))
    stored = store.describe(BTC)
    assert store.covered(BTC) == ((minute[0], minute[20]),)
    assert stored.venue_gaps == (Gap(minute[5], minute[6], 1),)
    assert stored.gaps == (Gap(minute[30], minute[32], 2),)
    assert (stored.rows, stored.first_ns, stored.last_ns, stored.calendar) == (57, minute[0], minute[59], None)
    assert stored.size_bytes > 0


@given(spans=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8))
@settings(max_examples=25, deadline=None)
def test_spans_that_touch_become_one(spans: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = CandleStore(tmp_path_factory.mktemp("store"))
    for span in spans:
        store.merge(BTC, no_candles(), now_ns=NOW_NS, covered=span)
    covered = store.covered(BTC)
    assert {at for span in covered for at in range(*span)} == {at for span in spans for at in range(*span)}
    assert all(first[1] < second[0] for first, second in pairwise(covered))


def test_the_calendar_of_a_series_is_kept_and_not_changed(store: CandleStore) -> None:
    """Friday and Monday are neighbours at an exchange."""
    nvda = CandleSeries("stocks", "NVDA", D1)
    days = walk(4, timeframe=D1)  # Friday 2024-10-04 to Monday
    store.merge(nvda, days[[0, 3]], now_ns=NOW_NS, calendar="XNYS")
    stored = store.describe(nvda)
    assert (stored.calendar, stored.gaps, stored.venue_gaps) == ("XNYS", (), ())
    store.merge(nvda, days[[0]], now_ns=NOW_NS)
    calendar = store.calendar(nvda)
    assert calendar is not None
    assert calendar.name == "XNYS"
    with pytest.raises(ConfigError, match="kept by the calendar XNYS, found XLON"):
        store.merge(nvda, days[[0]], now_ns=NOW_NS, calendar="XLON")


def test_all_series_are_listed_in_order(store: CandleStore) -> None:
    named = product(("binance", "kraken"), ("A/B", "C/D"), (D1, M1))
    series = [CandleSeries(venue, symbol, length) for venue, symbol, length in named]
    for each in reversed(series):
        store.merge(each, walk(2, timeframe=each.timeframe), now_ns=NOW_NS)
    assert store.series() == sorted(series)
    assert CandleStore(store.root / "nothing").series() == []


# --- damage and death -----------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_named(store: CandleStore) -> None:
    store.merge(BTC, walk(300), now_ns=NOW_NS)
    month = store.folder(BTC) / "2024-10.parquet"
    month.write_bytes(month.read_bytes()[:200])
    with pytest.raises(MarketDataError, match=r"1m: candles are damaged .* download again"):
        store.read(BTC)
    with pytest.raises(MarketDataError, match=r"2024-10\.parquet: candles are damaged"):
        store.merge(BTC, walk(3), now_ns=NOW_NS)
    pl.DataFrame({"ts_ns": [1]}).write_parquet(month)
    with pytest.raises(MarketDataError, match="expected candles with"):
        store.read(BTC)


def test_a_damaged_note_is_named(store: CandleStore) -> None:
    store.merge(BTC, walk(3), now_ns=NOW_NS)
    (store.folder(BTC) / "series.json").write_bytes(b'{"covered": 5')
    with pytest.raises(MarketDataError, match=r"series\.json: damaged"):
        store.covered(BTC)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "candles").write_text("in the way")
    with pytest.raises(MarketDataError, match="candles cannot be stored here"):
        CandleStore(tmp_path / "candles").merge(BTC, walk(3), now_ns=NOW_NS)


def test_what_a_killed_writer_left_is_never_read_and_is_cleared(store: CandleStore) -> None:
    store.merge(BTC, walk(3), now_ns=NOW_NS)
    torn = store.folder(BTC) / "2024-10.parquet.tmp"
    torn.write_bytes(b"half a file")
    assert store.read(BTC).height == 3
    store.merge(BTC, walk(5), now_ns=NOW_NS)
    assert not torn.exists()
    assert store.read(BTC).height == 5


MERGE_ONE_BY_ONE = """
import sys
from pathlib import Path
from autohedge.market.candle_store import CandleStore, CandleSeries
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, walk
store, series = CandleStore(Path(sys.argv[1])), CandleSeries("binance", "BTC/USDT", Timeframe.D1)
step = Timeframe.D1.interval_ns
table = walk(2_000, timeframe=Timeframe.D1)
for row in range(0, 2_000, 10):
    span = (MIDNIGHT_NS + row * step, MIDNIGHT_NS + (row + 10) * step)
    store.merge(series, table[row : row + 10], now_ns=2**62, covered=span)
    print(row + 10, flush=True)
"""


def test_a_kill_loses_nothing_that_was_merged_and_notes_nothing_that_was_not(tmp_path: Path) -> None:
    series, step_ns = CandleSeries("binance", "BTC/USDT", D1), D1.interval_ns
    table = walk(2_000, timeframe=D1)
    rng = random.Random(5)
    for attempt in range(3):
        root = tmp_path / str(attempt)
        process = subprocess.Popen(
            [sys.executable, "-c", MERGE_ONE_BY_ONE, str(root)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert process.stdout is not None
        merged = 0
        for line in process.stdout:
            merged = int(line)
            if merged >= rng.randint(1, 40) * 10:
                process.send_signal(signal.SIGKILL)
                break
        merged = max([merged, *map(int, process.stdout.read().split())])
        assert process.wait(20) == -signal.SIGKILL
        process.stdout.close()
        store = CandleStore(root)
        found = store.read(series)
        assert merged <= found.height <= merged + 10
        assert found.equals(table.head(found.height))
        [(start_ns, end_ns)] = store.covered(series)
        assert start_ns == MIDNIGHT_NS
        assert merged * step_ns <= end_ns - start_ns <= found.height * step_ns
        store.merge(series, table, now_ns=NOW_NS)
        assert store.read(series).equals(table)


MERGE_EVERY_SECOND = """
import sys
from pathlib import Path
from autohedge.market.candle_store import CandleStore, CandleSeries
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import MIDNIGHT_NS, walk
store, series, table = CandleStore(Path(sys.argv[1])), CandleSeries("binance", "BTC/USDT", Timeframe.M1), walk(60)
print("ready", flush=True)
sys.stdin.readline()
for row in range(int(sys.argv[2]), 60, 2):
    opens = int(table["ts_ns"][row])
    store.merge(series, table[row : row + 1], now_ns=2**62, covered=(opens, opens + 60 * 10**9))
"""


def test_two_who_write_at_once_lose_nothing_of_each_other(store: CandleStore) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", MERGE_EVERY_SECOND, str(store.root), str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for first in (0, 1)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=30)
        assert writer.returncode == 0
    assert store.read(BTC).equals(walk(60))
    assert store.covered(BTC) == ((MIDNIGHT_NS, MIDNIGHT_NS + 60 * STEP_NS),)


def test_the_note_has_nanoseconds_as_texts(store: CandleStore) -> None:
    """They exceed what a JSON number holds elsewhere."""
    store.merge(BTC, walk(3), now_ns=NOW_NS, covered=(MIDNIGHT_NS, MIDNIGHT_NS + STEP_NS))
    note = orjson.loads((store.folder(BTC) / "series.json").read_bytes())
    assert note == {"calendar": None, "covered": [[str(MIDNIGHT_NS), str(MIDNIGHT_NS + STEP_NS)]]}
