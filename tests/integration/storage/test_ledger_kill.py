"""SIGKILL at any moment, and disks that are full: what is there is an exact beginning of the run."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from autohedge.errors import StorageError
from autohedge.storage.csv_log import csv_name, read_csv_log, replay_csv
from autohedge.storage.database import DATABASE_NAME, open_database
from autohedge.storage.ledger import RunStatus
from autohedge.storage.runs import list_runs, rebuild_inventory
from autohedge.storage.stream import STREAM_NAME, Divergence, compare_streams

STEPS = 3_000
TABLES = ("openings", "orders", "order_events", "fills", "quote_states", "cycles", "decisions", "model_calls")
NOT_CANONICAL = ("decisions", "model_calls")


@dataclass(frozen=True)
class Left:
    """What a run left in its folder: database rows in order of `seq`, the bytes of the CSV log and of the stream."""

    rows: list[tuple[Any, ...]]
    csv: bytes
    stream: bytes

    @property
    def last_seq(self) -> int:
        """The last number in the database."""
        return max((row[0] for row in self.rows), default=0)

    @property
    def inventory_events(self) -> int:
        """Openings and fills in the database."""
        return sum(row[1] in ("openings", "fills") for row in self.rows)


def read(out: Path, run_id: str) -> Left:
    """Everything, with the database read by nothing but SQLite."""
    rows = []
    with closing(sqlite3.connect(out / DATABASE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in TABLES:
            found = connection.execute(f"SELECT seq, '{table}', * FROM {table} WHERE run_id = ?", (run_id,)).fetchall()
            rows += found
    folder = out / run_id
    csv = (folder / csv_name(["A/B", "C/D"], run_id)).read_bytes()
    return Left(sorted(rows, key=str_place), csv, (folder / STREAM_NAME).read_bytes())


def str_place(row: tuple[Any, ...]) -> tuple[int, int, str, int]:
    """Order of rows: by `seq`, the cycle before its parts, parts by number."""
    seq, table = row[0], row[1]
    return (seq, table in NOT_CANONICAL, table, row[6] if table in NOT_CANONICAL else 0)


@pytest.fixture(scope="module")
def whole(scripted_session: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Left:
    """The same session, never interrupted."""
    out = tmp_path_factory.mktemp("whole")
    ledger = scripted_session.start(out)
    scripted_session.play(ledger, STEPS)
    ledger.finish(RunStatus.FINISHED, {})
    left = read(out, scripted_session.RUN_ID)
    assert [row[0] for row in left.rows if row[1] not in NOT_CANONICAL] == list(range(1, ledger.seq + 1))
    assert left.stream.count(b"\n") == ledger.seq
    return left


def assert_exact_beginning(left: Left, whole: Left, out: Path, session: ModuleType) -> None:
    """Each record is a beginning of the whole; the CSV log lags by at most one event; each alone rebuilds the inventory."""
    assert left.rows == [row for row in whole.rows if row[0] <= left.last_seq]
    assert whole.csv.startswith(left.csv)
    assert whole.stream.startswith(left.stream)
    assert left.stream.count(b"\n") <= left.last_seq

    log = read_csv_log(out / session.RUN_ID / csv_name(["A/B", "C/D"], session.RUN_ID))
    assert left.inventory_events - len(log.rows) in (0, 1)
    replayed = replay_csv(log.path).inventories
    engine = open_database(out / DATABASE_NAME, create=False)
    rebuilt = rebuild_inventory(engine, session.RUN_ID, session.INSTRUMENTS)
    engine.dispose()
    if left.inventory_events == len(log.rows):
        assert replayed.keys() == rebuilt.keys()
    for symbol, inventory in replayed.items():
        instrument = rebuilt[symbol].instrument
        in_database = (instrument.base_amount(rebuilt[symbol].base_atoms), instrument.quote_amount(rebuilt[symbol].quote_atoms))
        assert in_database == (inventory.base, inventory.quote) or left.inventory_events > len(log.rows)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, scripted_session: ModuleType) -> Iterator[list[Path]]:
    """Output folders of eight processes, each killed after a step that chance chose, wherever it had got to by then."""
    rng = random.Random(20240808)
    program = str(scripted_session.__file__)
    outs = [tmp_path_factory.mktemp(f"killed{number}") for number in range(8)]
    for pair in zip(outs[::2], outs[1::2], strict=True):
        processes = [
            subprocess.Popen(
                [sys.executable, program, "kill", str(out), str(STEPS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
            for out in pair
        ]
        for process in processes:
            with process:
                assert process.stdout
                for _ in range(rng.randint(1, STEPS // 2)):
                    assert process.stdout.read(1) == b"."
                process.kill()
            assert process.returncode == -9
    yield outs


@pytest.mark.parametrize("number", range(8))
def test_a_killed_run_leaves_an_exact_beginning(
    number: int, killed: list[Path], whole: Left, scripted_session: ModuleType
) -> None:
    out = killed[number]
    left = read(out, scripted_session.RUN_ID)
    assert left.last_seq > 0
    assert_exact_beginning(left, whole, out, scripted_session)


def test_the_kills_came_at_different_places_and_in_the_middle(
    killed: list[Path], whole: Left, scripted_session: ModuleType
) -> None:
    """Otherwise the test before would prove little."""
    ends = {read(out, scripted_session.RUN_ID).last_seq for out in killed}
    assert len(ends) > 4
    assert min(ends) < whole.last_seq


def test_a_killed_run_is_told_as_interrupted(killed: list[Path], scripted_session: ModuleType) -> None:
    engine = open_database(killed[0] / DATABASE_NAME, create=False)
    run = list_runs(engine)[0]
    engine.dispose()
    assert (run.run_id, run.status, run.ended_wall_ns, run.summary) == (
        scripted_session.RUN_ID,
        RunStatus.INTERRUPTED,
        None,
        None,
    )


def test_a_killed_runs_stream_agrees_with_its_replay_as_far_as_it_goes(
    killed: list[Path], whole: Left, scripted_session: ModuleType
) -> None:
    recorded = killed[1] / scripted_session.RUN_ID / STREAM_NAME
    difference = compare_streams(recorded, whole.stream.splitlines(keepends=True))
    assert difference is None or difference.kind is Divergence.RECORDED_ENDS_EARLIER


@pytest.mark.parametrize("limit_kib", [100, 500])
def test_a_full_disk_stops_the_run_and_tears_nothing(
    limit_kib: int, whole: Left, tmp_path: Path, scripted_session: ModuleType
) -> None:
    """No file may grow beyond a limit: the run fails with a storage error, and what is there is whole."""
    done = subprocess.run(
        [sys.executable, str(scripted_session.__file__), "full", str(tmp_path), str(STEPS), str(limit_kib * 1024)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "cannot write to" in said["play"]
    assert "nothing more is recorded" in said["commit"]
    left = read(tmp_path, scripted_session.RUN_ID)
    assert left.csv.endswith(b"\n")
    assert left.stream.endswith(b"\n")
    assert 0 < left.last_seq < whole.last_seq
    assert_exact_beginning(left, whole, tmp_path, scripted_session)


@pytest.mark.parametrize("failing", ["csv", "jsonl"])
def test_a_log_that_cannot_be_written_stops_the_run_without_a_torn_line(
    failing: str, whole: Left, tmp_path: Path, scripted_session: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle of a line of one of the two files."""
    ledger = scripted_session.start(tmp_path)
    write, room = os.write, {"bytes": 10_000}

    def short_of_room(descriptor: int, data: bytes) -> int:
        if not Path(f"/proc/self/fd/{descriptor}").resolve().name.endswith(failing):
            return write(descriptor, data)
        if room["bytes"] == 0:
            raise OSError(28, "No space left on device")
        taken = write(descriptor, data[: room["bytes"]])
        room["bytes"] -= taken
        return taken

    monkeypatch.setattr(os, "write", short_of_room)
    with pytest.raises(StorageError, match="No space left"):
        scripted_session.play(ledger, STEPS)
    with pytest.raises(StorageError, match="nothing more is recorded"):
        ledger.commit()
    ledger.finish(RunStatus.FAILED, {}, note="disk full")
    left = read(tmp_path, scripted_session.RUN_ID)
    assert left.csv.endswith(b"\n")
    assert left.stream.endswith(b"\n")
    assert_exact_beginning(left, whole, tmp_path, scripted_session)
