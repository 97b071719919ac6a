"""`autohedge backtest list|show|compare|html|delete` over a real store."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from autohedge.backtest.metrics import RISK_FREE_RATE, measure
from autohedge.backtest.store import Saved
from autohedge.cli.backtests import app, open_store
from autohedge.errors import ConfigError, StorageError


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def kept(out: Path, make: Any) -> dict[str, Saved]:
    """Three results: a maker, and two runs of a hundred days that differ by noise."""
    noise = np.random.default_rng(6).normal(0.0, 0.01, (2, 100))
    made = {"maker": make.sample(), **{name: make.with_returns(row) for name, row in zip(("one", "two"), noise, strict=True)}}
    return {name: open_store(out).save(result, measure(result), name=name) for name, result in made.items()}


def run(out: Path, *words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [*words, "--out", str(out)], input=given)


def answer(out: Path, *words: str) -> Any:
    done = run(out, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_list_shows_the_newest_first_with_their_figures(out: Path, kept: dict[str, Saved]) -> None:
    rows = answer(out, "list")
    assert {row["name"]: row["id"] for row in rows} == {name: saved.id for name, saved in kept.items()}
    maker = next(row for row in rows if row["name"] == "maker")
    assert (maker["fills"], maker["symbol"], maker["problem"]) == (5, "BTC/USDT", "")
    assert maker["return"] == pytest.approx(-1.7e-05)
    assert len(answer(out, "list", "--limit", "1")) == 1
    table = run(out, "list").stdout
    assert "maker" in table
    assert "-0.0017%" in table


def test_list_of_nothing_is_an_empty_table_and_makes_no_folder(out: Path) -> None:
    assert answer(out, "list") == []
    assert run(out, "list").exit_code == 0
    assert not out.exists()


def test_list_names_what_is_damaged(out: Path, kept: dict[str, Saved]) -> None:
    """A broken result does not hide the others."""
    (kept["one"].folder / "result.json").write_text("{")
    rows = {row["name"]: row for row in answer(out, "list")}
    assert "damaged" in rows["one"]["problem"]
    assert rows["two"]["problem"] == ""
    assert "damaged" in run(out, "list").stdout


def test_show_prints_every_figure_and_why_one_is_missing(out: Path, kept: dict[str, Saved]) -> None:
    whole = answer(out, "show", "maker")
    assert whole["metrics"]["pnl"]["total_quote"] == "-0.17"
    assert whole["result"]["start_ns"] == "1704067200000000000"
    assert whole["why_no_fills"] is None
    printed = run(out, "show", kept["maker"].id[:10]).stdout
    for words in ("Spread captured", "(simulated)", "less than 7", "Mark-outs", "hour 00", "note: a note"):
        assert words in printed
    assert "Fees paid less rebates" not in printed
    assert "Fees paid less rebates" in run(out, "show", "maker", "--meanings").stdout
    assert "0 fills: no order was placed" in run(out, "show", "one").stdout


def test_show_measures_with_the_rate_that_is_asked_for(out: Path, kept: dict[str, Saved]) -> None:
    with_interest = answer(out, "show", "one")["metrics"]["returns"]
    without = answer(out, "show", "one", "--risk-free", "0")["metrics"]["returns"]
    assert with_interest["risk_free_frac"] == RISK_FREE_RATE
    assert without["sharpe"] > with_interest["sharpe"]


def test_compare_says_whether_it_is_more_than_noise(out: Path, kept: dict[str, Saved]) -> None:
    found = answer(out, "compare", "one", "two")
    assert found["verdict"].startswith("Not told apart from noise: two − one is ")
    assert (found["a_id"], found["b_id"]) == (kept["one"].id, kept["two"].id)
    assert found["paired"]["apart"] is False
    printed = run(out, "compare", "one", "two").stdout
    assert "Not told apart from noise" in printed
    assert "The settings and the data are the same." in printed
    assert "figures are equal" in printed


def test_compare_writes_a_page_with_both_curves(out: Path, kept: dict[str, Saved], tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    assert answer(out, "compare", "one", "maker", "--html", str(page))["html"] == str(page)
    text = page.read_text(encoding="utf-8")
    assert "Backtests compared" in text
    assert "counts" in text or "settings" in text
    assert [each.name for each in tmp_path.iterdir() if "unfinished" in each.name] == []


def test_html_is_written_beside_the_result_or_where_it_is_wanted(out: Path, kept: dict[str, Saved], tmp_path: Path) -> None:
    printed = run(out, "html", "maker").stdout.strip()
    assert Path(printed) == kept["maker"].folder / "tear_sheet.html"
    assert Path(printed).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    wanted = tmp_path / "sheet.html"
    assert answer(out, "html", "maker", "--to", str(wanted))["html"] == str(wanted)
    assert wanted.stat().st_size > 4_000_000
    assert answer(out, "show", "maker")["id"] == kept["maker"].id  # the page beside it does not make it another result
    done = run(out, "html", "maker", "--to", str(tmp_path / "no" / "such" / "folder.html"))
    assert isinstance(done.exception, StorageError)


def test_delete_asks_first(out: Path, kept: dict[str, Saved]) -> None:
    assert run(out, "delete", "one", given="n\n").exit_code == 1
    assert kept["one"].folder.is_dir()
    assert run(out, "delete", "one", given="y\n").exit_code == 0
    assert not kept["one"].folder.exists()
    assert answer(out, "delete", "two", "--yes") == {"deleted": kept["two"].id, "name": "two"}
    assert [row["name"] for row in answer(out, "list")] == ["maker"]
    assert isinstance(run(out, "delete", "maker", "--json").exception, ConfigError)


@pytest.mark.parametrize("words", [("show", "zzz"), ("compare", "one", "zzz"), ("html", "zzz"), ("delete", "zzz", "--yes")])
def test_an_unknown_result_is_told_plainly(out: Path, kept: dict[str, Saved], words: tuple[str, ...]) -> None:
    done = run(out, *words)
    assert isinstance(done.exception, ConfigError)
    assert "the newest are" in str(done.exception)


def test_without_numpy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message says what to install; any other missing module is not taken for it."""
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "autohedge.backtest.store":
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'autohedge\[backtest\]'"):
        open_store(tmp_path)


def test_the_commands_load_nothing_heavy_until_they_run() -> None:
    """`autohedge --help` stays fast with them registered."""
    code = "import sys, autohedge.cli.backtests; print(sorted({'numpy', 'plotly', 'polars', 'rich.table'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
