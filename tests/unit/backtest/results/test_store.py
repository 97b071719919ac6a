"""Results as files: the same back, found by id or name, damage found and refused, and nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autohedge.backtest.metrics import measure
from autohedge.backtest.result import BacktestResult, Curve, Fills, Mids, Quotes
from autohedge.backtest.store import ResultStore, result_id
from autohedge.errors import ConfigError, StorageError

any_float = st.floats(width=64)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "\\u0000" not in json.dumps(value) and "\\ud" not in json.dumps(value))
amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=12)


@st.composite
def results(draw: Any) -> BacktestResult:
    """Any result at all, sensible or not: a store judges nothing."""

    def column(rows: int, kind: str = "<f8") -> Any:
        elements = any_float if kind == "<f8" else None
        return draw(arrays.arrays(np.dtype(kind), rows, elements=elements))

    def table(kind: type[Any]) -> Any:
        rows = draw(st.integers(0, 4))
        types = {"ts_ns": "<i8", "order": "<i8", "side": "|i1", "level": "|i1", "is_maker": "|b1"}
        return kind(*(column(rows, types.get(name, "<f8")) for name in kind._fields))

    plain = st.dictionaries(st.text(max_size=6).filter(lambda text: text.isprintable()), json_values, max_size=3)
    return BacktestResult(
        symbol=draw(st.sampled_from(["BTC/USDT", "NVDA", "../../etc", "<script>", "", "日本/円"])),
        engine="any",
        strategy=draw(st.sampled_from(["maker", "a b/c"])),
        settings=draw(plain),
        data=draw(plain),
        start_ns=draw(st.integers(0, 2**62)),
        end_ns=draw(st.integers(0, 2**62)),
        trading_days_per_year=365,
        **{name: draw(amounts) for name in ("initial_equity", "final_equity", "fees", "slippage", "volume")},
        curve=table(Curve),
        fills=table(Fills),
        mids=table(Mids),
        quotes=draw(st.none() | st.just(1)) and table(Quotes),
        counts=draw(st.dictionaries(st.sampled_from(["events", "orders_placed"]), st.integers(0, 10**12))),
        uptime_frac=draw(st.none() | st.just({"bid": 0.25, "ask": 1.0})),
        decisions=draw(st.none() | plain),
        model_cost_usd=draw(st.none() | amounts),
        notes=tuple(draw(st.lists(st.sampled_from(["a", "<b>", "ü"]), max_size=2))),
    )


def assert_equal(one: BacktestResult, two: BacktestResult) -> None:
    """Field by field, columns bit by bit in value and type."""
    for name in BacktestResult.__dataclass_fields__:
        first, second = getattr(one, name), getattr(two, name)
        if isinstance(first, Curve | Fills | Mids | Quotes):
            assert type(first) is type(second)
            for field, column in first._asdict().items():
                other = getattr(second, field)
                assert column.dtype == other.dtype, field
                assert np.array_equal(column, other, equal_nan=column.dtype.kind == "f"), field
        else:
            assert first == second, name
            assert type(first) is type(second), name


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """An empty store."""
    return ResultStore(tmp_path / "backtests")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(result=results())
def test_what_is_loaded_is_what_was_saved(store: ResultStore, make: Any, result: BacktestResult) -> None:
    """Every field comes back with its type and every column with its bits, whatever they hold."""
    saved = store.save(result, measure(make.sample()))
    loaded = store.load(saved.id)
    assert_equal(result, loaded)
    assert saved.id == result_id(result) == result_id(loaded)
    assert saved.folder.parent == store.root


def test_the_same_run_is_recognised_and_kept_once(store: ResultStore, make: Any) -> None:
    """Same settings, data and outcome: same id, one folder; a new name renames it, the old one is gone."""
    first = store.save(make.sample(), measure(make.sample()))
    again = store.save(make.sample(), measure(make.sample()), name="mine")
    assert first.is_new
    assert not again.is_new
    assert again.id == first.id
    assert [each.name for each in store.list()] == ["mine"]
    assert first.name == "BTC-USDT-maker-2024-01-01"
    assert again.other_outcomes == ()


def test_another_outcome_of_the_same_settings_and_data_is_told(store: ResultStore, make: Any) -> None:
    """A program that changed, or is not deterministic, is noticed when the result is saved."""
    one, two = make.with_returns([0.01, 0.02]), make.with_returns([0.01, 0.03])
    first = store.save(one, measure(one))
    second = store.save(two, measure(two))
    assert second.other_outcomes == (first.id,)
    other = make.with_returns([0.01, 0.03], settings={"seed": 8})
    assert store.save(other, measure(other)).other_outcomes == ()


@pytest.mark.parametrize("change", ["settings", "data", "fills", "fees", "notes"])
def test_any_difference_gives_another_id(make: Any, change: str) -> None:
    """The id stands for all of the content."""
    base = make.sample()
    fills = base.fills._replace(price=np.nextafter(base.fills.price, 1e9))
    changes = {"settings": {"seed": 8}, "data": {"rows": 1}, "fills": fills, "fees": Decimal("0.23"), "notes": ()}
    parts = {name: getattr(base, name) for name in BacktestResult.__dataclass_fields__}
    assert result_id(BacktestResult(**(parts | {change: changes[change]}))) != result_id(base)


def test_money_and_time_are_written_as_exact_strings(store: ResultStore, make: Any) -> None:
    """result.json holds decimals and nanoseconds that no JSON reader can round."""
    saved = store.save(make.sample(), measure(make.sample()))
    written = json.loads((saved.folder / "result.json").read_text())["result"]
    assert written["final_equity"] == "9999.83"
    assert written["start_ns"] == "1704067200000000000"
    assert written["model_cost_usd"] == "0.0123"


def test_results_are_found_by_id_and_name_and_their_beginnings(store: ResultStore, make: Any) -> None:
    """An exact name wins over a beginning; several candidates are named; an unknown one lists the newest."""
    made = [make.with_returns([0.01, step / 100]) for step in range(3)]
    saved = [store.save(each, measure(each), name=name) for each, name in zip(made, ("wide", "wide-2", "narrow"), strict=True)]
    assert store.find("wide").id == saved[0].id
    assert store.find("narr").id == saved[2].id
    assert store.find(saved[1].id[:12]).id == saved[1].id
    with pytest.raises(ConfigError, match=f"may be any of 2 results.*{saved[0].id} wide"):
        store.find("wid")
    with pytest.raises(ConfigError, match="the newest are"):
        store.find("zzz")
    with pytest.raises(ConfigError, match="the newest are"):
        store.find("")


def test_an_empty_store_says_that_it_is_empty(store: ResultStore) -> None:
    """Looking makes no folder."""
    assert store.list() == ()
    with pytest.raises(ConfigError, match="there is none in"):
        store.load("any")
    assert not store.root.exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 81])
def test_a_name_that_is_no_file_name_is_refused(store: ResultStore, make: Any, name: str) -> None:
    """Names become folders: nothing may lead out of the store or hide in it."""
    with pytest.raises(ConfigError, match="expected a name"):
        store.save(make.sample(), measure(make.sample()), name=name)
    assert not store.root.exists()


def test_a_name_belongs_to_one_result(store: ResultStore, make: Any) -> None:
    """A second result cannot take the name of another."""
    one, two = make.with_returns([0.01, 0.02]), make.with_returns([0.01, 0.03])
    first = store.save(one, measure(one), name="best")
    with pytest.raises(ConfigError, match=f"belongs to result {first.id}"):
        store.save(two, measure(two), name="best")
    assert len(store.list()) == 1


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _swap_column(path: Path) -> None:
    """A whole, valid archive with one number changed."""
    with np.load(path) as archive:
        columns = {name: archive[name] for name in archive.files}
    columns["fills.price"] = columns["fills.price"] + 0.01
    np.savez(path, **columns)


def _pickled(path: Path) -> None:
    with np.load(path) as archive:
        columns = {name: archive[name] for name in archive.files}
    columns["fills.price"] = np.array([{"a": 1}] * 5, dtype=object)
    np.savez(path, allow_pickle=True, **columns)


def _edit_equity(path: Path) -> None:
    path.write_text(path.read_text().replace('"final_equity":"9999.83"', '"final_equity":"19999.83"'))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("columns.npz", _cut),
        ("columns.npz", _flip),
        ("columns.npz", _swap_column),
        ("columns.npz", _pickled),
        ("columns.npz", Path.unlink),
        ("columns.npz", lambda path: path.write_bytes(b"")),
        ("columns.npz", lambda path: path.write_text("not an archive")),
        ("result.json", _cut),
        ("result.json", _edit_equity),
        ("result.json", Path.unlink),
        ("result.json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("result.json", lambda path: path.write_text("[1]")),
    ],
)
def test_damage_is_found_and_told_in_one_line(
    store: ResultStore, make: Any, file: str, damage: Callable[[Path], object]
) -> None:
    """Cut off, changed in one bit, edited by hand, or gone: refused by name, and saving the run again repairs it."""
    saved = store.save(make.sample(), measure(make.sample()))
    damage(saved.folder / file)
    with pytest.raises(StorageError) as caught:
        store.load(saved.id)
    assert "\n" not in str(caught.value)
    assert file in str(caught.value)
    listed = store.list()
    assert [each.id for each in listed] == [saved.id]
    assert bool(listed[0].problem) == (file == "result.json")
    assert store.save(make.sample(), measure(make.sample())).is_new
    assert_equal(store.load(saved.id), make.sample())


def test_missing_figures_are_no_damage(store: ResultStore, make: Any) -> None:
    """metrics.json is made from the rest, and may be lost."""
    saved = store.save(make.sample(), measure(make.sample()))
    assert store.list()[0].metrics["pnl"]["total_quote"] == "-0.17"
    (saved.folder / "metrics.json").write_text("{")
    assert store.list()[0].metrics is None
    assert store.list()[0].problem == ""
    store.load(saved.id)


def test_deleting_removes_one_result_damaged_or_not(store: ResultStore, make: Any) -> None:
    """The others stay."""
    one, two = make.sample(), make.with_returns([0.01, 0.03])
    first, second = store.save(one, measure(one), name="one"), store.save(two, measure(two), name="two")
    (first.folder / "result.json").unlink()
    assert store.delete("one").id == first.id
    assert [each.id for each in store.list()] == [second.id]
    assert sorted(each.name for each in store.root.iterdir()) == [".lock", second.folder.name]


def test_a_writer_killed_half_way_leaves_nothing_to_be_read(store: ResultStore, make: Any, tmp_path: Path) -> None:
    """The process dies before the rename: the store is empty, and the next writer clears up."""
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import conftest
from pathlib import Path
from autohedge.backtest import store
from autohedge.backtest.metrics import measure
store._sync = lambda path: os._exit(9)
store.ResultStore(Path({str(store.root)!r})).save(conftest.sample(), measure(conftest.sample()))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path, timeout=60).returncode == 9
    assert any(each.name.startswith(".unfinished-") for each in store.root.iterdir())
    assert store.list() == ()
    saved = store.save(make.sample(), measure(make.sample()))
    assert sorted(each.name for each in store.root.iterdir()) == [".lock", saved.folder.name]


def test_a_store_that_cannot_be_written_is_a_storage_error(make: Any, tmp_path: Path) -> None:
    """A file where the folder should be: one line, no traceback of the system."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="cannot write backtest results"):
        ResultStore(tmp_path / "taken").save(make.sample(), measure(make.sample()))


def test_unknown_numbers_in_the_settings_are_refused(store: ResultStore, make: Any) -> None:
    """JSON would turn NaN into nothing without a word."""
    result = make.with_returns([0.01, 0.02], settings={"maker": {"gamma": float("nan")}})
    with pytest.raises(StorageError, match=r"found nan at result.settings.maker.gamma"):
        store.save(result, measure(result))


def test_columns_are_stored_as_they_are(store: ResultStore, make: Any) -> None:
    """Uncompressed, with fixed types and no pickles: any reader of .npz can use them."""
    saved = store.save(make.sample(), measure(make.sample()))
    with zipfile.ZipFile(saved.folder / "columns.npz") as archive:
        assert all(each.compress_type == zipfile.ZIP_STORED for each in archive.infolist())
    with np.load(saved.folder / "columns.npz", allow_pickle=False) as columns:
        assert {columns[name].dtype.str for name in columns.files} == {"<i8", "<f8", "|i1", "|b1"}
    assert saved.folder.stat().st_mode & 0o777 == 0o755
