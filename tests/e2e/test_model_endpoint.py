"""`autohedge run` against a real HTTP model endpoint, good and bad: the run ends in time and never hides what happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autohedge.testing.model_server import ModelServer
from tests.e2e.conftest import Finished

Cli = Callable[..., Finished]
DEADLINES = """
[desk]
agent_deadline_s = 0.6
cycle_deadline_s = 4
[model]
wait_initial_s = 0.01
wait_max_s = 0.05
"""
CYCLES = 3


def run(cli: Cli, tmp_path: Path, *arguments: str) -> Finished:
    (tmp_path / "deadlines.toml").write_text(DEADLINES)
    return cli("run", "--json", "--cycles", str(CYCLES), "--config", "deadlines.toml", *arguments)


def orders_of(summary: dict[str, Any], folder: Path) -> list[bytes]:
    """The canonical stream: commands, order events, fills, inventory and mandates."""
    return (folder / Path(summary["report"]).parent / "events.jsonl").read_bytes().splitlines()


def test_good_answers_drive_the_mandates(cli: Cli, tmp_path: Path) -> None:
    """Every decision that called for a model is model-driven; the key is not needed on loopback and the share is reached."""
    with ModelServer.in_thread("good") as server:
        done = run(cli, tmp_path, "--model", "any", "--base-url", server.base_url, "--require-llm", "1.0")
        assert done.code == 0, done.err
        decisions = done.json["decisions"]
        assert decisions["model_driven"] == decisions["total"] == len(server.requests) > 0
        assert decisions["by_source"].keys() == {"llm"}
        assert {row["source"] for row in done.json["mandates"]} == {"llm"}
        assert {request.body["model"] for request in server.requests} == {"any"}


FAULTS = {
    "garbage": {
        "not_json",
        "wrong_schema",
        "out_of_range",
        "wrong_symbol",
        "empty",
        "truncated",
        "refusal",
        "tool_call",
        "filtered",
    },
    "rate_limited": {"rate_limited"},
    "hang": {"timeout"},
    "server_error": {"server_error"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_under_a_fault_the_orders_are_those_of_the_rule_desk(cli: Cli, tmp_path: Path, fault: str) -> None:
    """The run ends in time, each decision says why it is a rule's, and the market maker does exactly what the rules do."""
    rules = run(cli, tmp_path, "--no-model").json
    with ModelServer.in_thread(fault) as server:
        done = run(cli, tmp_path, "--model", "any", "--base-url", server.base_url)
        assert server.requests
    assert done.code == 0, done.err
    summary = done.json
    assert summary["decisions"]["by_source"] == {"rules": summary["decisions"]["total"]}
    assert summary["decisions"]["model_driven"] == 0
    assert {row["reason_code"] for row in summary["decisions_by_role"] if row["source"] == "rules"} <= FAULTS[fault]
    assert orders_of(summary, tmp_path) == orders_of(rules, tmp_path)


def test_a_run_against_a_model_replays_without_it(cli: Cli, tmp_path: Path) -> None:
    """The recorded answers are enough: the endpoint is gone, every byte comes out again."""
    with ModelServer.in_thread("good") as server:
        summary = run(cli, tmp_path, "--model", "any", "--base-url", server.base_url).json
    assert cli("replay", summary["run_id"]).code == 0


def test_nobody_at_the_endpoint_is_a_connection_failure(cli: Cli, tmp_path: Path) -> None:
    """A refused connection is told as such, and --require-llm makes the run fail."""
    done = run(cli, tmp_path, "--model", "any", "--base-url", "http://127.0.0.1:9/v1", "--require-llm", "0.1")
    assert done.code == 1
    assert {row["reason_code"] for row in done.json["decisions_by_role"]} == {"connection"}
    assert "0 of 12 decisions were model-driven" in done.err
