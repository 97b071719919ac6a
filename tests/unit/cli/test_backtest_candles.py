"""`autohedge backtest … --market candles:…`: the maker and the strategies from their words to kept results."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Ended
from tests.unit.market.candle_tables import walk

Cli = Callable[..., Ended]

NEAR = ("--set", "min_profit_threshold=none", "--set", "quoting_model=fixed_spread", "--set", "spread_percentage=0.0005")


@pytest.fixture
def candles(tmp_path: Path) -> str:
    """`--market` of a file with 300 minutes."""
    walk(300).write_csv(tmp_path / "walk.csv")
    return "candles:walk.csv"


def told(cli: Cli, *words: str) -> Any:
    done = cli("backtest", *words, "--json")
    assert done.code == 0, done.err
    return done.json


def test_the_maker_on_candles_is_measured_kept_shown_and_compared(autohedge: Cli, candles: str, tmp_path: Path) -> None:
    words = ("BTC/USDT", "--market", candles, "--every", "10m", *NEAR)
    first = told(autohedge, *words, "--name", "desk", "--html", "sheet.html")
    assert (first["engine"], first["simulated"], first["counts"]["cycles"]) == ("bars", False, 30)
    assert first["counts"]["fills"] > 0 and Decimal(first["fees"]) > 0
    assert first["decisions"]["by_source"] == {"rules": 120}
    assert "market maker on bars" in (tmp_path / "sheet.html").read_text(encoding="utf-8")
    again = told(autohedge, *words)
    assert (again["id"], again["final_equity"], again["other_outcomes"]) == (first["id"], first["final_equity"], [])
    told(autohedge, *words, "--mandates", "frozen", "--name", "frozen")
    assert autohedge("backtest", "compare", "desk", "frozen", "--json").json["verdict"]
    shown = autohedge("backtest", "show", "desk")
    assert shown.code == 0 and "fixed_spread" in shown.out
    printed = autohedge("backtest", *words)
    assert "candles, simulated fills" in printed.out and "300 bars" in printed.out
    assert "note: on bars the book is taken as one tick" in printed.out


def test_strategies_take_parameters_and_assumptions(autohedge: Cli, candles: str) -> None:
    market = ("BTC/USDT", "--market", candles)
    crossed = told(autohedge, *market, "--strategy", "dual_moving_average", "--param", "fast=3", "--param", "slow=8")
    dear = told(
        autohedge, *market, "--strategy", "dual_moving_average", "--param", "fast=3", "--param", "slow=8",
        "--assume", "slippage_factor_frac=0.05", "--assume", "slippage_floor_frac=0.01",
    )  # fmt: skip
    assert Decimal(dear["final_equity"]) < Decimal(crossed["final_equity"]) < 10_000
    assert crossed["decisions"] is None
    grid = told(autohedge, *market, "--strategy", "grid", "--param", "spacing_frac=0.001")
    assert grid["strategy"] == "GridStrategy" and grid["counts"]["fills"] > 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("BTC/USDT", "--strategy", "grid"), "--market candles:FILE"),
        (("--market", "candles:walk.csv"), "name the symbol"),
        (("BTC/USDT", "--market", "candles:nowhere.csv"), "no such file"),
        (("BTC/USDT", "--market", "candles:"), "candles:PATH"),
        (("BTC/USDT", "--market", "candles:walk.csv", "--sample", "5"), "--sample"),
        (("BTC/USDT", "--market", "candles:walk.csv", "--strategy", "luck"), "dual_moving_average"),
        (("BTC/USDT", "--market", "candles:walk.csv", "--strategy", "grid", "--mandates", "frozen"), "--mandates"),
        (("BTC/USDT", "--market", "candles:walk.csv", "--mandates", "nobody"), "desk, frozen or a run"),
        (("BTC/USDT", "--market", "candles:walk.csv", "--strategy", "grid", "--param", "levels"), "NAME=VALUE"),
        (("BTC/USDT", "--market", "candles:walk.csv", "--assume", "seed=1", "--assume", "seed=2"), "twice"),
        (("BTC/USDT", "--market", "candles:walk.csv", "--set", "touch=join"), "touch=join"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(autohedge: Cli, candles: str, words: tuple[str, ...], named: str) -> None:
    done = autohedge("backtest", *words)
    assert done.code == 2
    assert named in done.err and len(done.err.strip().splitlines()) == 1
    assert not Path("outputs").exists()


@pytest.mark.parametrize("command", ["run", "optimise"])
def test_candles_are_for_backtests_only(autohedge: Cli, candles: str, command: str) -> None:
    extra = ("--param", "levels=1,2") if command == "optimise" else ()
    done = autohedge(command, "BTC/USDT", "--market", candles, *extra)
    assert done.code == 2 and "only for `autohedge backtest`" in done.err
