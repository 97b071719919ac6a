"""A user's mistake ends in one line that says what to do, exit code 2, nothing written, and never a traceback."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Finished

Cli = Callable[..., Finished]

MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "nan": (("--set", "total_capital=nan"), "total_capital"),
    "infinite": (("--set", "total_capital=inf"), "total_capital"),
    "zero": (("--set", "total_capital=0"), "total_capital"),
    "negative": (("--set", "order_size_percentage=-0.01"), "order_size_percentage"),
    "huge": (("--set", "total_capital=1e400"), "total_capital"),
    "wrong type": (("--set", "spread_percentage=wide"), "spread_percentage"),
    "unknown key": (("--set", "spred=1"), "spred"),
    "no value": (("--set", "spread_percentage"), "NAME=VALUE"),
    "given twice": (("--set", "latency_ms=5", "--set", "latency_ms=6"), "twice"),
    "zero latency": (("--set", "latency_ms=0"), "look-ahead"),
    "unknown touch": (("--set", "touch=hug"), "touch"),
    "order above cap": (("--set", "order_size_percentage=0.5"), "max_inventory_exposure"),
    "too small to trade": (("--set", "total_capital=100"), "minimum"),
    "unknown market": (("--market", "mars"), "sim, replay:PATH or candles:PATH"),
    "missing recording": (("--market", "replay:nowhere"), "nowhere"),
    "hostile symbol": (("../../etc/passwd",), "symbol"),
    "symbol twice": (("BTC/USDT", "BTC/USDT"), "twice"),
    "bad duration": (("--every", "soon"), "duration"),
    "zero duration": (("--every", "0s"), "duration"),
    "negative cycles": (("--cycles", "-1"), "cycles"),
    "negative seed": (("--seed", "-1"), "seed"),
    "model and no model": (("--no-model", "--model", "x"), "--no-model"),
    "url without model": (("--base-url", "http://127.0.0.1:1/v1"), "model"),
    "url of another kind": (("--model", "x", "--base-url", "ftp://127.0.0.1"), "http"),
    "key in the url": (("--model", "x", "--base-url", "http://sk-secret@127.0.0.1/v1"), "OPENAI_API_KEY"),
    "require too much": (("--require-llm", "1.5"), "require_llm"),
    "require nan": (("--require-llm", "nan"), "require_llm"),
    "missing config": (("--config", "nowhere.toml"), "nowhere.toml"),
    "missing agents": (("--agents", "nowhere"), "nowhere"),
    "missing prompts": (("--prompts", "nowhere"), "nowhere"),
    "unwritable output": (("--out", "/proc/nowhere/outputs"), "/proc"),
    "output is a file": (("--out", "a-file/outputs"), "a-file"),
    "task too long": (("--task", "x" * 5_000), "task"),
    "empty task": (("--task", ""), "task"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(cli: Cli, tmp_path: Path, name: str) -> None:
    """Exit code 2, one line on stderr that names what was wrong, nothing on stdout, nothing written."""
    (tmp_path / "a-file").write_text("not a folder")
    arguments, named = MISTAKES[name]
    done = cli("run", "--cycles", "1", *arguments) if name != "negative cycles" else cli("run", *arguments)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert named in done.err
    assert not done.out
    assert "sk-secret" not in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file"]


CONFIGS = {
    "not toml": ("[maker\n", "not valid TOML"),
    "unknown section": ("[makers]\nx = 1\n", "makers"),
    "unknown limit": ("[limits]\nmax_notional = 5\n", "max_notional"),
    "unknown envelope": ("[envelope]\nspread = 5\n", "spread"),
    "limit of the wrong type": ('[limits]\nmax_requests_per_min = "many"\n', "max_requests_per_min"),
    "crossed envelope": ("[envelope]\nspread_multiplier_min = 3.0\nspread_multiplier_max = 2.0\n", "spread_multiplier"),
    "nan in the file": ("[maker]\ntotal_capital = nan\n", "total_capital"),
    "a table where a number is meant": ("[maker.total_capital]\nx = 1\n", "total_capital"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_mistake_in_the_configuration_file_is_told(cli: Cli, tmp_path: Path, name: str) -> None:
    """The same for --config: unknown limit names are refused, not dropped."""
    text, named = CONFIGS[name]
    (tmp_path / "my.toml").write_text(text)
    done = cli("run", "--cycles", "1", "--config", "my.toml")
    assert done.code == 2, done.err
    assert named in done.err and "Traceback" not in done.err
    assert not (tmp_path / "outputs").exists()


def test_an_unknown_agent_key_and_a_missing_prompt_variable_are_told(cli: Cli, tmp_path: Path) -> None:
    """Agents and prompts are data that is checked at the start, not when they are first needed."""
    import shutil

    root = Path(__file__).parents[2]
    shutil.copytree(root / "agents", tmp_path / "agents")
    shutil.copytree(root / "prompts", tmp_path / "prompts")
    mine = ("--agents", "agents", "--prompts", "prompts")
    assert cli("run", "--cycles", "1", "--every", "5s", *mine, "--json").code == 0
    agent = tmp_path / "agents" / "risk_manager.toml"
    good = agent.read_text()
    agent.write_text(good + "\ntemprature = 0.1\n")
    done = cli("run", "--cycles", "1", *mine)
    assert done.code == 2 and "temprature" in done.err and "risk_manager.toml" in done.err
    agent.write_text(good)
    prompt = tmp_path / "prompts" / "risk_manager.md"
    prompt.write_text(prompt.read_text() + "\n{{astrology}}\n")
    done = cli("run", "--cycles", "1", *mine)
    assert done.code == 2 and "astrology" in done.err and "Traceback" not in done.err


def test_unusable_recordings_are_told(cli: Cli, tmp_path: Path, recordings: Path) -> None:
    """An empty folder, a truncated gzip, and a recording without a snapshot: exit code 2, what to do, nothing written."""
    session = recordings / "binance_spot_btcusdt_20240808"
    (tmp_path / "empty").mkdir()
    whole = (session / "spot_btcusdt_20240808.jsonl.gz").read_bytes()
    (tmp_path / "btcusdt_cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "btcusdt_text.jsonl.gz").write_bytes(gzip.compress(b"\x00\xff not a recording \xfe\n" * 50))
    for path, named in (
        ("empty", "empty"),
        ("btcusdt_cut.jsonl.gz", "btcusdt_cut"),
        ("btcusdt_text.jsonl.gz", "btcusdt_text"),
        (str(session / "spot_btcusdt_20240809.jsonl.gz"), "snapshot"),
    ):
        done = cli("run", "BTC/USDT", "--json", "--market", f"replay:{path}")
        assert done.code == 2, (path, done.err)
        assert named in done.err and "Traceback" not in done.err
        assert not (tmp_path / "outputs").exists(), path


def test_a_symbol_without_rules_is_refused_on_a_recording(cli: Cli, recordings: Path) -> None:
    """Tick and lot of an unknown symbol are not guessed."""
    session = recordings / "binance_spot_btcusdt_20240808"
    done = cli("run", "DOGE/USDT", "--market", f"replay:{session}")
    assert done.code == 2 and "DOGE/USDT" in done.err


def test_a_replay_of_nothing_is_told(cli: Cli) -> None:
    """No ledger, no such run, no such CSV."""
    assert cli("replay", "2026").code == 2
    assert cli("runs", "list").code == 2
    assert cli("replay-csv", "nowhere.csv").code == 2
