"""Options become settings: defaults < --config < options < --set, and a contradiction is told."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autohedge.cli.options import settings_from
from autohedge.errors import ConfigError
from autohedge.settings import Settings
from tests.unit.cli.conftest import Ended

NOTHING: dict[str, Any] = dict.fromkeys(
    (
        "symbols",
        "market",
        "model",
        "base_url",
        "cycles",
        "every",
        "task",
        "seed",
        "out",
        "record",
        "record_format",
        "agents",
        "prompts",
        "require_llm",
        "config",
        "assign",
    )
) | {"no_model": False}


def settings(**given: Any) -> Settings:
    return settings_from(**{**NOTHING, **given})


def test_no_option_at_all_is_the_default_run() -> None:
    """The settings of `autohedge run` are those of the code."""
    assert settings() == Settings()


def test_how_to_record_is_only_said_where_something_is_recorded() -> None:
    assert settings(record=Path("r"), record_format="parquet").record_format == "parquet"
    assert settings(record=Path("r")).record_format == "raw"
    with pytest.raises(ConfigError, match="add --record DIR"):
        settings(record_format="parquet")
    with pytest.raises(ConfigError, match="record_format: input should be 'raw' or 'parquet', found 'csv'"):
        settings(record=Path("r"), record_format="csv")


def test_each_layer_wins_over_the_one_before(tmp_path: Path) -> None:
    """File over default, option over file, --set over both."""
    file = tmp_path / "my.toml"
    file.write_text(
        'seed = 3\nsymbols = ["ETH/USDT"]\n[maker]\nlatency_ms = 20\nmaker_fee_bps = 1\n'
        '[desk]\ncycles = 4\nevery_s = 7\ntask = "from the file"\n[limits]\nmax_requests_per_min = 5\n'
    )
    alone = settings(config=file)
    assert (alone.seed, alone.symbols, alone.desk.cycles, alone.desk.every_s) == (3, ("ETH/USDT",), 4, 7)
    assert alone.desk.task == "from the file" and alone.limits.max_requests_per_min == 5
    mixed = settings(config=file, seed=9, cycles=2, every="2m", symbols=["BTC/USDT"], assign=["latency_ms=11"], task="mine")
    assert (mixed.seed, mixed.symbols, mixed.desk.cycles, mixed.desk.every_s) == (9, ("BTC/USDT",), 2, 120)
    assert (mixed.maker.latency_ms, mixed.maker.maker_fee_bps, mixed.desk.task) == (11, Decimal(1), "mine")


def test_both_names_of_the_spread_are_one_setting(tmp_path: Path) -> None:
    """base_spread_bps from the file gives way to spread_percentage from --set."""
    file = tmp_path / "my.toml"
    file.write_text("[maker]\nbase_spread_bps = 30\n")
    assert settings(config=file).maker.spread_percentage == Decimal("0.003")
    assert settings(config=file, assign=["spread_percentage=0.0005"]).maker.spread_percentage == Decimal("0.0005")


def test_no_model_overrules_the_file(tmp_path: Path) -> None:
    """--no-model: rules only, whatever --config says; together with --model it is a contradiction."""
    file = tmp_path / "my.toml"
    file.write_text('[model]\nname = "m"\nbase_url = "http://127.0.0.1:1/v1"\n')
    assert settings(config=file).model.name == "m"
    plain = settings(config=file, no_model=True).model
    assert plain.name is None and plain.base_url is None
    with pytest.raises(ConfigError, match="contradicts"):
        settings(no_model=True, model="m")


def test_the_symbol_is_the_configured_pair_or_the_recordings_own(tmp_path: Path) -> None:
    """Nothing named: trading_pair, else what the recording says, else BTC/USDT; two different answers are refused."""
    assert settings(assign=["trading_pair=SOL/USDT"]).symbols == ("SOL/USDT",)
    (tmp_path / "ethusdt.jsonl.gz").write_bytes(
        gzip.compress(b'1723161254087891268 {"stream":"ethusdt@bookTicker","data":{"u":1,"s":"ETHUSDT","b":"1"}}\n')
    )
    assert settings(market=f"replay:{tmp_path}").symbols == ("ETH/USDT",)
    with pytest.raises(ConfigError, match="trading_pair is SOL/USDT and the symbols are BTC/USDT; give one of the two"):
        settings(symbols=["BTC/USDT"], assign=["trading_pair=SOL/USDT"])


@pytest.mark.parametrize("command", ["run", "serve", "schedule", "explain-quote"])
def test_every_command_that_makes_a_session_takes_the_shared_options(autohedge: Callable[..., Ended], command: str) -> None:
    """`serve` takes `run`'s options, and so do the others."""
    shown = autohedge(command, "--help").out
    for name in ("market", "model", "base-url", "no-model", "cycles", "every", "task", "seed", "out", "record", "agents"):
        assert f"--{name}" in shown, name
    for name in ("prompts", "require-llm", "config", "set"):
        assert f"--{name}" in shown, name
