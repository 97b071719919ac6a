"""The main job on the simulated market: what it prints, what it writes, and that it does the same thing twice."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import AUTOHEDGE, Finished, clean_environment

Cli = Callable[..., Finished]
MONEY = ("volume_quote", "fees_quote", "start_value", "final_value", "realized_pnl", "unrealized_pnl")


def rows_of(path: str | Path, folder: Path) -> list[dict[str, str]]:
    with (folder / path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_defaults_need_nothing_and_say_what_they_are(cli: Cli, tmp_path: Path) -> None:
    """No key, no network, no option: it trades on the simulated market, says so, says that no model was used, and has fills."""
    done = cli("run")
    assert done.code == 0, done.err
    assert "simulated" in done.out
    assert "No model was used" in done.out
    assert "PnL" in done.out and "spread captured" in done.out
    run_dir = next(path for path in (tmp_path / "outputs").iterdir() if path.is_dir())
    rows = rows_of(next(run_dir.glob("trades_*.csv")), tmp_path)
    assert rows[0]["event_type"] == "START"
    assert len(rows) > 1, "a first run should have fills to look at"
    assert {row["simulated"] for row in rows} == {"true"}


def test_json_is_one_object_with_money_as_decimal_strings(cli: Cli) -> None:
    """Whatever reads the output of --json finds the promised names, and no float where money is meant."""
    done = cli("run", "--json", "--cycles", "3")
    summary = done.json
    assert done.code == 0
    assert summary["simulated"] is True and summary["market"] == "sim" and summary["symbols"] == ["BTC/USDT"]
    assert summary["cycles"] == 3
    assert set(summary["decisions"]) == {"total", "model_driven", "by_source"}
    assert summary["decisions"]["model_driven"] == 0 and summary["decisions"]["by_source"].keys() == {"rules"}
    assert set(summary["orders"]) == {"placed", "cancelled", "denied", "rejected"}
    for name in MONEY:
        assert isinstance(summary[name], str)
        Decimal(summary[name])
    assert set(summary["inventory"]) == {"base", "quote"}
    assert all(Path(summary[name]).name for name in ("csv", "database", "report"))


def test_pnl_adds_up_to_the_last_digit(cli: Cli) -> None:
    """final − start = realised + unrealised − fees = spread captured + adverse selection + inventory + fees (negative)."""
    summary = cli("run", "--json", "--set", "min_profit_threshold=none", "--set", "spread_percentage=0.0006").json
    lane = summary["per_symbol"]["BTC/USDT"]
    assert summary["fills"] > 0
    pnl = Decimal(summary["final_value"]) - Decimal(summary["start_value"])
    assert pnl == Decimal(summary["realized_pnl"]) + Decimal(summary["unrealized_pnl"]) - Decimal(summary["fees_quote"])
    split = lane["pnl"]
    assert pnl == Decimal(split["total"])
    parts = ("spread_captured", "adverse_selection_1s", "inventory", "fees")
    assert pnl == sum(Decimal(split[name]) for name in parts)


def events_of(summary: dict[str, Any], folder: Path) -> bytes:
    return (folder / Path(summary["report"]).parent / "events.jsonl").read_bytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(cli: Cli, tmp_path: Path) -> None:
    """CSV and event stream of two runs with one seed are equal byte for byte."""
    first, second, other = (cli("run", "--json", "--cycles", "4", "--seed", seed).json for seed in ("11", "11", "12"))
    assert events_of(first, tmp_path) == events_of(second, tmp_path)
    assert (tmp_path / first["csv"]).read_bytes() == (tmp_path / second["csv"]).read_bytes()
    assert events_of(first, tmp_path) != events_of(other, tmp_path)


def test_replay_proves_a_run_and_shows_the_first_difference_of_a_forged_one(cli: Cli, tmp_path: Path) -> None:
    """`autohedge replay RUN`: 0 when every byte comes out again, 1 with both lines when one was changed."""
    summary = cli("run", "--json", "--cycles", "3").json
    assert cli("replay", summary["run_id"]).code == 0
    stream = tmp_path / Path(summary["report"]).parent / "events.jsonl"
    lines = stream.read_bytes().splitlines(keepends=True)
    forged = lines[5].replace(b'"symbol":"BTC/USDT"', b'"symbol":"BTC/USDC"', 1)
    assert forged != lines[5]
    stream.write_bytes(b"".join([*lines[:5], forged, *lines[6:]]))
    done = cli("replay", summary["run_id"])
    assert done.code == 1
    assert "line 6 differs" in done.out and "BTC/USDC" in done.out


def test_replay_csv_rebuilds_the_inventory_from_the_log_alone(cli: Cli, tmp_path: Path) -> None:
    """The CSV is enough: the rebuilt balances are those of the report."""
    summary = cli("run", "--json").json
    done = cli("replay-csv", str(tmp_path / summary["csv"]))
    assert done.code == 0
    base, quote = (Decimal(done.out.split(f"{name} ")[1].split(",")[0]) for name in ("base", "quote"))
    assert {"base": base, "quote": quote} == {name: Decimal(value) for name, value in summary["inventory"].items()}


def test_several_symbols_split_the_capital_and_share_one_log(cli: Cli, tmp_path: Path) -> None:
    """Two symbols: half of the capital each, one CSV with a symbol column, sums that add up."""
    summary = cli("run", "BTC/USDT", "ETH/USDT", "--json", "--cycles", "3").json
    assert summary["symbols"] == ["BTC/USDT", "ETH/USDT"]
    assert "inventory" not in summary
    lanes = summary["per_symbol"]
    assert [Decimal(lanes[symbol]["start_value"]) for symbol in lanes] == [5000, 5000]
    assert Decimal(summary["final_value"]) == sum(Decimal(lane["final_value"]) for lane in lanes.values())
    rows = rows_of(summary["csv"], tmp_path)
    assert sorted(row["symbol"] for row in rows if row["event_type"] == "START") == ["BTC/USDT", "ETH/USDT"]


def test_symbols_in_different_currencies_are_refused(cli: Cli, tmp_path: Path) -> None:
    """One capital has one currency; nothing is written."""
    done = cli("run", "BTC/USDT", "ETH/EUR")
    assert done.code == 2
    assert "EUR and USDT" in done.err
    assert not (tmp_path / "outputs").exists()


def test_a_recording_of_the_simulated_market_replays_as_the_same_market(cli: Cli, tmp_path: Path) -> None:
    """--record writes what --market replay: reads, row for row."""
    recorded = cli("run", "--json", "--cycles", "2", "--record", "tape").json
    replayed = cli("run", "--json", "--market", "replay:tape").json
    assert replayed["events"] == recorded["events"] and replayed["messages"] == recorded["messages"]
    assert replayed["simulated"] is True, "a recording does not make a simulated market real"
    refused = cli("run", "--cycles", "1", "--record", "tape")
    assert refused.code == 2 and "already" in refused.err


def test_a_run_without_fills_says_why(cli: Cli) -> None:
    """Nobody has to guess: how far the quotes rested and from what market."""
    done = cli("run", "--cycles", "1", "--every", "5s", "--set", "max_spread_bps=500", "--set", "spread_percentage=0.05")
    assert done.code == 0, done.err
    assert "0 fills: quotes rest" in done.out and "-tick market" in done.out


def test_an_unreachable_profit_floor_is_told_before_and_after(cli: Cli) -> None:
    """min_profit_unreachable: a note at the start, and the reason in the report."""
    done = cli("run", "--cycles", "1", "--every", "5s", "--set", "min_profit_threshold=0.004")
    assert done.code == 0
    assert "min_profit_unreachable" in done.err and "min_profit_unreachable" in done.out


def test_too_few_model_driven_decisions_fail_the_run(cli: Cli) -> None:
    """--require-llm: silent success of the rules is a failure here, told with the share."""
    done = cli("run", "--cycles", "1", "--every", "5s", "--require-llm", "0.5")
    assert done.code == 1
    assert "0 of 4 decisions were model-driven" in done.err


def test_a_key_in_the_environment_alone_calls_nobody(cli: Cli) -> None:
    """Spending starts when a model is named, not when a key is found."""
    done = cli("run", "--json", "--cycles", "1", "--every", "5s", OPENAI_API_KEY="sk-not-a-real-key-000000")
    assert done.json["decisions"]["by_source"].keys() == {"rules"}
    assert "sk-not-a-real-key" not in done.out + done.err


def test_a_hosted_model_without_a_key_is_refused_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    """The message names the variable that is missing."""
    done = cli("run", "--model", "gpt-4.1")
    assert done.code == 2 and "OPENAI_API_KEY" in done.err
    assert not (tmp_path / "outputs").exists()


def test_runs_are_listed_and_shown(cli: Cli) -> None:
    """`runs list` and `runs show` read the ledger; a beginning of the id is enough."""
    summary = cli("run", "--json", "--cycles", "2", "--every", "10s").json
    listed = cli("runs", "list", "--json").json
    assert [row["run_id"] for row in listed] == [summary["run_id"]]
    shown = cli("runs", "show", summary["run_id"][:12], "--json").json
    assert shown["summary"]["final_value"] == summary["final_value"]
    assert len(shown["decisions"]) == 8
    assert {row["source"] for row in shown["decisions"]} == {"rules"}
    assert "trading_director" in cli("runs", "show", summary["run_id"]).out
    assert cli("runs", "show", "nope").code == 2


def test_config_file_options_and_set_are_layers(cli: Cli, tmp_path: Path) -> None:
    """--config gives settings, options and --set win over it."""
    (tmp_path / "my.toml").write_text(
        "seed = 3\n[maker]\ntotal_capital = 5000\nmaker_fee_bps = 0\n[desk]\ncycles = 1\nevery_s = 5\n"
    )
    summary = cli("run", "--json", "--config", "my.toml", "--set", "total_capital=2500.50", "--cycles", "2").json
    assert summary["start_value"] == "2500.5"
    assert summary["cycles"] == 2
    assert summary["fees_quote"] == "0"


def test_interrupting_drains_reports_and_exits_130(tmp_path: Path) -> None:
    """SIGINT: quotes are cancelled, the report is printed, and what was done can be replayed."""
    process = subprocess.Popen(
        [*AUTOHEDGE, "run", "--json", "--cycles", "2000"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_fills(tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "draining" in err
    import json

    summary = json.loads(out)
    assert summary["interrupted"] is True
    orders = summary["orders"]
    assert orders["placed"] == orders["cancelled"] + orders["rejected"] + filled_orders(tmp_path, summary)
    done = subprocess.run(
        [*AUTOHEDGE, "replay", summary["run_id"]],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for_fills(folder: Path) -> None:
    """Until the run has written some rows; bounded by the test's own time limit."""
    import time

    for _ in range(600):
        if any(len(path.read_bytes().splitlines()) > 3 for path in folder.glob("outputs/*/trades_*.csv")):
            return
        time.sleep(0.05)
    raise AssertionError("the run never had a fill")


def filled_orders(folder: Path, summary: dict[str, Any]) -> int:
    """Orders that ended by being filled, from the event stream."""
    return events_of(summary, folder).count(b'"event":"filled"')


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C twice means it."""
    process = subprocess.Popen(
        [*AUTOHEDGE, "run", "--json", "--cycles", "2000"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_fills(tmp_path)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("run", "--help"), ("graph",)])
def test_the_front_door_answers(cli: Cli, arguments: tuple[str, ...]) -> None:
    """Version, help and the desk's graph."""
    done = cli(*arguments)
    assert done.code == 0
    assert done.out.strip()
    if arguments == ("graph",):
        assert "assess_risk" in done.out


def test_the_example_runs(tmp_path: Path) -> None:
    """example.py works as it stands and says that it is simulated."""
    example = Path(__file__).parents[2] / "example.py"
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "simulated: True" in done.stdout and "the rules decided" in done.stdout


def test_a_bare_ticker_works_like_a_pair(cli: Cli, tmp_path: Path) -> None:
    """`autohedge run NVDA` on the simulated market, and its log rebuilds the inventory like any other."""
    summary = cli("run", "NVDA", "--json", "--cycles", "4").json
    assert summary["symbols"] == ["NVDA"] and summary["fills"] > 0
    done = cli("replay-csv", str(tmp_path / summary["csv"]))
    assert done.code == 0, done.err
    assert f"base {Decimal(summary['inventory']['base']):.8f}" in done.out


def test_the_maker_alone_runs(tmp_path: Path) -> None:
    """experimental/market_making.py works as it stands."""
    study = Path(__file__).parents[2] / "experimental" / "market_making.py"
    done = subprocess.run(
        [sys.executable, str(study)], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fills, volume" in done.stdout and "inventory" in done.stdout
