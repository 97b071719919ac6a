"""The commands from their words to their exit code, on runs of a few seconds of market time."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autohedge.storage.csv_log import replay_csv
from autohedge.testing.model_server import ModelServer
from tests.unit.cli.conftest import Ended

Cli = Callable[..., Ended]
QUICK = ("--cycles", "1", "--every", "5s")


def test_a_run_its_report_and_its_proof(autohedge: Cli, tmp_path: Path) -> None:
    """run, runs list, runs show, replay, replay-csv: 0 each, and they speak of the same run."""
    summary = autohedge("run", "--json", *QUICK).json
    assert json.loads((tmp_path / summary["report"]).read_bytes()) == summary
    assert autohedge("runs", "list", "--json").json[0]["run_id"] == summary["run_id"]
    assert summary["run_id"] in autohedge("runs", "list").out
    shown = autohedge("runs", "show", summary["run_id"])
    assert shown.code == 0 and "status finished; 0 of 4 decisions were model-driven" in shown.out
    replayed = autohedge("replay", summary["run_id"])
    assert replayed.code == 0 and "lines are equal byte for byte" in replayed.out
    rebuilt = autohedge("replay-csv", summary["csv"])
    assert rebuilt.code == 0 and rebuilt.out.startswith("BTC/USDT (simulated):")


def test_a_share_that_is_not_reached_is_a_failed_run(autohedge: Cli) -> None:
    """Exit 1, the report all the same, and `runs` says failed with the reason."""
    done = autohedge("run", "--json", *QUICK, "--require-llm", "0.1")
    assert done.code == 1 and done.json["decisions"]["model_driven"] == 0
    assert done.err == f"autohedge: {done.err.removeprefix('autohedge: ').rstrip()}\n" and "model-driven" in done.err
    (row,) = autohedge("runs", "list", "--json").json
    assert row["status"] == "failed"
    assert "status failed; 0 of 4 decisions were model-driven" in autohedge("runs", "show", row["run_id"]).out


def test_failures_of_a_model_are_single_lines_on_stderr_and_stdout_is_one_object(autohedge: Cli, tmp_path: Path) -> None:
    """--json prints nothing else, whatever a model does; each warning says agent, class and what came, without the key."""
    (tmp_path / "fast.toml").write_text("[desk]\nagent_deadline_s = 2\n[model]\nmax_attempts = 1\nwait_initial_s = 0\n")
    with ModelServer.in_thread("garbage") as server:
        done = autohedge("run", "--json", *QUICK, "--model", "m", "--base-url", server.base_url, "--config", "fast.toml")
    assert done.code == 0 and done.json["decisions"]["by_source"] == {"rules": 4}
    assert done.out.count("\n") == 1
    lines = done.err.splitlines()
    assert len([line for line in lines if "the rule decides" in line]) == 4
    assert all(line.startswith(("autohedge: warning: ", "autohedge: info: ")) for line in lines), done.err


def test_commands_without_a_ledger_are_told_what_to_do(autohedge: Cli, tmp_path: Path) -> None:
    """Exit 2 in one line; nothing is made by looking."""
    for command in (("runs", "list"), ("runs", "show", "x"), ("replay", "x"), ("replay-csv", "nowhere.csv")):
        done = autohedge(*command)
        assert done.code == 2 and done.err.count("\n") == 1 and done.err.startswith("autohedge: "), command
    assert list(tmp_path.iterdir()) == []


def test_a_usage_mistake_is_code_two(autohedge: Cli) -> None:
    """Unknown options and commands, and numbers that are none."""
    for command in (("run", "--nonsense"), ("walk",), ("run", "--cycles", "many"), ("serve", "--port", "70000")):
        done = autohedge(*command)
        assert done.code == 2 and "Traceback" not in done.err, command


def test_the_graph_is_printed_as_mermaid(autohedge: Cli) -> None:
    """The loop back to the thesis is in it."""
    shown = autohedge("graph")
    assert shown.code == 0 and "graph TD" in shown.out
    assert "assess_risk -.-> write_thesis" in shown.out.replace(" &nbsp;", "")


# ---------------------------------------------------------------- what needs a process of its own

AUTOHEDGE = [sys.executable, "-m", "autohedge"]


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    """`autohedge run | head -1`: no traceback, and the run is recorded all the same."""
    script = f"{sys.executable} -m autohedge run --cycles 1 --every 5s | head -1; echo codes ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr and "BrokenPipe" not in done.stderr
    assert done.stdout.splitlines()[-1] in ("codes 0", "codes 1")
    assert next((tmp_path / "outputs").glob("*/report.json")).stat().st_size > 1_000


def test_ctrl_c_while_a_run_is_being_prepared_is_130(tmp_path: Path) -> None:
    """Before there is anything to drain: 130, one line at most, no traceback."""
    code = (
        "import sys, os, signal\n"
        "import autohedge.cli.run as run, autohedge.bootstrap as bootstrap\n"
        "def interrupted(*a, **k):\n    os.kill(os.getpid(), signal.SIGINT)\n    import time; time.sleep(5)\n"
        "bootstrap.prepare = interrupted\n"
        "sys.argv = ['autohedge', 'run']\n"
        "from autohedge.cli.main import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (130, -signal.SIGINT), done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_is_full_ends_the_run_with_one_and_an_exact_beginning(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the disk: exit 1, one line, files that parse, and a replay that agrees."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))

    done = subprocess.run(
        [*AUTOHEDGE, "run", "--cycles", "200", "--set", "min_profit_threshold=none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=limited,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and "autohedge: cannot write to" in done.stderr
    (csv,) = (tmp_path / "outputs").glob("*/trades_*.csv")
    assert replay_csv(csv).inventories["BTC/USDT"].fills >= 0
    again = subprocess.run(
        [*AUTOHEDGE, "replay", csv.parent.name], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "stops without an end" in again.stdout


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    """Neither a model library, nor the graph, the database, the log or the web server."""
    code = (
        "import sys\nfrom autohedge.cli.main import main\n"
        f"sys.argv = ['autohedge', *{command!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'openai', 'langgraph', 'sqlalchemy', 'sqlmodel', 'httpx', 'fastapi', 'polars', 'alembic', 'loguru'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
