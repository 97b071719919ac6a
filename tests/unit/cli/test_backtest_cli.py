"""`autohedge backtest`: what it prints, keeps and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

SHORT = (
    "--cycles", "3", "--every", "20s", "--set", "touch=join", "--set", "min_profit_threshold=none", "--set", "latency_ms=5",
)  # fmt: skip


def autohedge(*words: str, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autohedge", *words, "--out", str(out)], capture_output=True, text=True, check=False, timeout=170
    )


def told(*words: str, out: Path) -> dict[str, object]:
    done = autohedge(*words, "--json", out=out)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_backtest_is_measured_kept_and_found_again(tmp_path: Path) -> None:
    """Without a word after `backtest` it runs; equal runs are one result; the page needs nothing else."""
    page = tmp_path / "sheet.html"
    first = told("backtest", "BTC/USDT", *SHORT, "--name", "usual", "--html", str(page), out=tmp_path)
    assert first["simulated"] is True
    assert first["decisions"] == {"total": 12, "model_driven": 0, "by_source": {"rules": 12}, "model": None}
    counts = first["counts"]
    assert isinstance(counts, dict) and counts["fills"] > 0 and counts["cycles"] == 3
    assert Decimal(str(first["fees"])) > 0
    assert "http://" not in page.read_text(encoding="utf-8").split("<body", 1)[1][:2_000]
    again = told("backtest", *SHORT, "--name", "usual", out=tmp_path)
    assert (again["id"], again["final_equity"]) == (first["id"], first["final_equity"])
    frozen = told("backtest", *SHORT, "--mandates", "frozen", "--name", "frozen", out=tmp_path)
    assert frozen["decisions"] is None
    listed = json.loads(autohedge("backtest", "list", "--json", out=tmp_path).stdout)
    assert {row["name"] for row in listed} == {"usual", "frozen"}
    compared = json.loads(autohedge("backtest", "compare", "usual", "frozen", "--json", out=tmp_path).stdout)
    assert compared["verdict"]


def test_recorded_decisions_steer_a_backtest_as_they_did_the_run(tmp_path: Path) -> None:
    ran = told("run", *SHORT, out=tmp_path)
    same = told("backtest", *SHORT, "--mandates", str(ran["run_id"]), out=tmp_path)
    assert same["counts"]["fills"] == ran["fills"] > 0  # type: ignore[index, operator]
    orders = ran["orders"]
    assert isinstance(orders, dict)
    assert same["counts"]["orders_placed"] == orders["placed"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("words", "told_word"),
    [
        (("--mandates", "nobody"), "nobody"),
        (("--sample", "0"), "0.001 to 86400"),
        (("--market", "replay:/nowhere"), "/nowhere"),
        (("--set", "latency_ms=0"), "look-ahead"),
        (("BTC/USDT", "ETH/USDT", "--name", "both"), "--name"),
    ],
)
def test_what_cannot_be_backtested_is_refused_in_one_line(words: tuple[str, ...], told_word: str, tmp_path: Path) -> None:
    done = autohedge("backtest", *words, out=tmp_path)
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and told_word in lines[0], done.stderr
    assert not (tmp_path / "backtests").exists() or not list((tmp_path / "backtests").iterdir())


def test_a_search_over_the_maker_ranks_resumes_and_says_what_luck_explains(tmp_path: Path) -> None:
    words = (
        "optimise", "BTC/USDT", *SHORT[:4], "--set", "min_profit_threshold=none", "--set", "latency_ms=5",
        "--param", "base_spread_bps=2:6:2", "--param", "skew_factor=0.1,1", "--metric", "pnl_quote", "--jobs", "1",
    )  # fmt: skip
    first = told(*words, out=tmp_path)
    search = first["search"]
    assert isinstance(search, dict)
    trials = search["trials"]
    assert isinstance(trials, list) and len(trials) == 6
    scores = [trial["score"] for trial in trials if trial["score"] is not None]
    assert scores == sorted(scores, reverse=True) and scores
    assert told(*words, out=tmp_path) == first
    unknown = autohedge("optimise", *SHORT, "--param", "colour=1,2", "--metric", "sharpe", out=tmp_path)
    assert unknown.returncode != 0 and "colour" in unknown.stderr
