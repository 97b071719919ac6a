"""Twenty times SIGKILL at a random moment: what is left is an exact beginning of the uninterrupted run."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from autohedge.market.instruments import simulated_instrument
from autohedge.storage.csv_log import read_csv_log, replay_csv
from autohedge.storage.database import open_database
from autohedge.storage.runs import fills, rebuild_inventory
from tests.e2e.conftest import AUTOHEDGE, clean_environment

KILLS = 20
CYCLES = "20"
RUN = [*AUTOHEDGE, "run", "--json", "--cycles", CYCLES, "--seed", "5", "--set", "min_profit_threshold=none"]
TABLES = ("orders", "order_events", "fills", "openings", "quote_states", "cycles")
WALL = {"run_id", "latency_ms"}


def canonical_rows(database: Path) -> list[tuple[Any, ...]]:
    """Every row of the run without its wall-clock facts, in the order of the canonical stream."""
    rows: list[tuple[Any, ...]] = []
    with closing(sqlite3.connect(database)) as connection:
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            kept = [name for name in columns if name not in WALL and not name.endswith("_wall_ns")]
            rows += [(row[0], table, *row[1:]) for row in connection.execute(f"SELECT {', '.join(kept)} FROM {table}")]
    return sorted(rows, key=lambda row: (row[0], row[1]))


def run_folder(folder: Path) -> Path:
    return next(path for path in (folder / "outputs").iterdir() if path.is_dir())


def wait_until_written(folder: Path, process: subprocess.Popen[bytes], wanted_bytes: int) -> None:
    """Until the run has written so much of its event stream, however fast or slow the machine is."""
    while process.poll() is None and sum(path.stat().st_size for path in folder.glob("outputs/*/events.jsonl")) < wanted_bytes:
        time.sleep(0.001)


def test_whatever_a_kill_leaves_is_an_exact_beginning(tmp_path: Path) -> None:
    """CSV and database parse, are prefixes, differ by at most the last event, and rebuild the inventory exactly."""
    whole = tmp_path / "whole"
    whole.mkdir()
    done = subprocess.run(RUN, cwd=whole, env=clean_environment(), capture_output=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["fills"] > 10
    all_rows = canonical_rows(whole / "outputs" / "autohedge.db")
    all_csv = (whole / summary["csv"]).read_bytes()
    all_bytes = (whole / summary["report"]).with_name("events.jsonl").stat().st_size
    chance = random.Random(20)
    cut_short = 0
    for number in range(KILLS):
        folder = tmp_path / f"killed-{number}"
        folder.mkdir()
        process = subprocess.Popen(
            RUN, cwd=folder, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until_written(folder, process, int(all_bytes * 0.95 * chance.random()))
        process.send_signal(signal.SIGKILL)
        cut_short += process.wait(timeout=30) == -signal.SIGKILL
        check_remains(folder, all_rows, all_csv)
    assert cut_short > KILLS // 2, "the kills came too late to test anything"


def check_remains(folder: Path, all_rows: list[tuple[Any, ...]], all_csv: bytes) -> None:
    database = folder / "outputs" / "autohedge.db"
    run_dir = run_folder(folder)
    csv_path = next(run_dir.glob("trades_*.csv"))
    assert all_csv.startswith(csv_path.read_bytes())
    engine = open_database(database)
    rows = canonical_rows(database)
    assert rows == all_rows[: len(rows)]
    in_database = fills(engine, run_dir.name)
    log = read_csv_log(csv_path)
    in_csv = [row for row in log.rows if row.event_type != "START"]
    assert 0 <= len(in_database) - len(in_csv) <= 1
    assert [fill.client_order_id for fill in in_database[: len(in_csv)]] == [row.order_id for row in in_csv]
    rebuilt = rebuild_inventory(engine, run_dir.name, [simulated_instrument("BTC/USDT")])
    if in_database:
        inventory = rebuilt["BTC/USDT"]
        assert inventory.instrument.base_amount(inventory.base_atoms) == in_database[-1].base_after
        assert inventory.instrument.quote_amount(inventory.quote_atoms) == in_database[-1].quote_after
    if in_csv:
        from_csv = replay_csv(csv_path).inventories["BTC/USDT"]
        assert (from_csv.base, from_csv.quote) == (in_csv[-1].base_inventory, in_csv[-1].quote_inventory)
    engine.dispose()


def test_a_killed_run_replays_as_far_as_it_got(tmp_path: Path) -> None:
    """`autohedge replay` of a run without an end: equal byte for byte until the kill."""
    process = subprocess.Popen(RUN, cwd=tmp_path, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_written(tmp_path, process, 20_000)
    process.kill()
    process.wait(timeout=30)
    run_id = run_folder(tmp_path).name
    done = subprocess.run(
        [*AUTOHEDGE, "replay", run_id], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal byte for byte" in done.stdout
