"""`autohedge serve` as a user meets it: a process, a port, a signal, and what is left in the ledger."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from autohedge.client import AutoHedgeClient
from autohedge.errors import ApiError
from autohedge.storage.database import open_database
from autohedge.storage.runs import RecordedRun, list_runs
from tests.e2e.conftest import AUTOHEDGE, Finished, clean_environment

Cli = Callable[..., Finished]
KEY = "correct-horse-battery-staple"
CLOSE = ("--set", "min_profit_threshold=none", "--set", "spread_percentage=0.0004")


@dataclass
class Server:
    """A served run; `end` sends a signal and waits."""

    process: subprocess.Popen[str]
    url: str
    said: str

    def end(self, number: signal.Signals) -> Finished:
        """Signal it and collect what it leaves behind."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return Finished(self.process.returncode, out, self.said + err)


@contextmanager
def serving(folder: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """`autohedge serve --port 0` in `folder`, up when its line with the URL is there; killed if the test leaves it running."""
    process = subprocess.Popen(
        [*AUTOHEDGE, "serve", "--port", "0", *arguments],
        cwd=folder,
        env=clean_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert " at http://" in said, said + process.stderr.read()
        yield Server(process, said.split(" at ")[1].split()[0], said)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=20)


def only_run(folder: Path) -> RecordedRun:
    """The one run of the ledger."""
    engine = open_database(folder / "outputs" / "autohedge.db", create=False)
    [run] = list_runs(engine)
    engine.dispose()
    return run


def test_a_cycle_over_http_then_ctrl_c_leaves_a_run_that_can_be_replayed(tmp_path: Path, cli: Cli) -> None:
    """The URL is told with the real port, a cycle trades, Ctrl-C drains and exits 130, the ledger has it all."""
    with serving(tmp_path, *CLOSE, "--cycles", "2") as server:
        assert "simulated market" in server.said and "no API key" in server.said
        with AutoHedgeClient(server.url) as api:
            job = api.wait(api.start_cycle("Quote tightly.").id, timeout_s=60)
            assert job.status == "done" and job.fills > 0
            inventory = api.inventory().symbols["BTC/USDT"]
            api.wait(api.start_cycle().id, timeout_s=60)
            with pytest.raises(ApiError, match="--cycles") as refused:
                api.start_cycle()
            assert refused.value.status == 409
        done = server.end(signal.SIGINT)
    assert done.code == 130 and "draining" in done.err and "cycles 2" in done.err
    assert done.out == ""
    run = only_run(tmp_path)
    assert (run.kind, run.status, run.run_id) == ("serve", "interrupted", job.run_id)
    assert run.summary is not None and run.summary["cycles"] == 2 and run.summary["interrupted"] is True
    orders = run.summary["orders"]
    assert orders["placed"] > orders["cancelled"] > 0
    assert inventory.quote != 10_000
    replayed = cli("replay", run.run_id)
    assert replayed.code == 0, replayed.out + replayed.err


def test_sigterm_is_a_regular_end_even_in_the_middle_of_a_cycle(tmp_path: Path) -> None:
    """A service manager's stop: the cycle is cut off, quotes are cancelled, the run is recorded, exit 0."""
    with serving(tmp_path, *CLOSE, "--every", "10h") as server:
        with AutoHedgeClient(server.url) as api:
            job = api.start_cycle()
            while api.cycle(job.id).status == "queued":
                pass
        done = server.end(signal.SIGTERM)
    assert done.code == 0, done.err
    run = only_run(tmp_path)
    assert run.status == "interrupted" and run.summary is not None
    assert run.summary["per_symbol"]["BTC/USDT"]["messages"] > 0


def test_a_key_is_asked_for_and_written_nowhere(tmp_path: Path) -> None:
    with serving(tmp_path, "--allow-host", "hedge.example", AUTOHEDGE_API_KEY=KEY) as server:
        assert "with an API key" in server.said
        for host, status in (("localhost", 401), ("hedge.example", 401), ("attacker.example", 421)):
            assert httpx.get(f"{server.url}/inventory", headers={"Host": host}, trust_env=False).status_code == status
        with AutoHedgeClient(server.url, KEY) as api:
            assert api.inventory().symbols.keys() == {"BTC/USDT"}
        done = server.end(signal.SIGINT)
    assert done.code == 130
    assert KEY not in done.out + done.err
    for file in (path for path in (tmp_path / "outputs").rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes(), file


def test_too_few_model_driven_decisions_fail_the_run_at_its_end(tmp_path: Path) -> None:
    with serving(tmp_path, "--require-llm", "0.5") as server:
        with AutoHedgeClient(server.url) as api:
            assert api.wait(api.start_cycle().id, timeout_s=60).status == "done"
        done = server.end(signal.SIGTERM)
    assert done.code == 1 and "model-driven" in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (("--host", "0.0.0.0"), {}, "AUTOHEDGE_API_KEY"),
        (("--host", "192.0.2.1"), {"AUTOHEDGE_API_KEY": KEY}, "cannot listen on 192.0.2.1"),
        ((), {"AUTOHEDGE_API_KEY": "weak"}, "AUTOHEDGE_API_KEY"),
        (("--market", "replay:nowhere"), {}, "nowhere"),
        (("--allow-host", "*"), {}, "wildcards"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    done = cli("serve", "--port", "0", *arguments, **environment)
    assert done.code == 2 and done.out == ""
    [line] = done.err.splitlines()
    assert told in line and "weak" not in line
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_no_option(cli: Cli) -> None:
    """Options are visible to everybody who may list processes."""
    assert "key" not in "".join(word for word in cli("serve", "--help").out.split() if word.startswith("--"))
