"""Processes beside this one: the objective travels once, its arrays are shared, and whatever happens to a worker is told."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from autohedge.backtest.cluster import Cluster, parse_cluster
from autohedge.backtest.parallel import Crash, Task, Workers, usable_cores
from autohedge.backtest.search import optimise
from autohedge.backtest.search_space import parse_space
from autohedge.backtest.trials import TrialOutcome
from autohedge.errors import AutoHedgeError, ConfigError
from tests.unit.backtest.search_objectives import Faulty, Heavy

SPACE = parse_space(["x=1:40"])


def test_the_objective_is_sent_once_to_each_worker_and_its_arrays_are_shared(tmp_path: Path) -> None:
    """Forty trials in two processes, or in one if the other is late: an arrival in each, arrays mapped from a file, and
    each process writing to its own view of them."""
    objective = Heavy(np.ones(500_000), tmp_path / "loads")
    result = optimise(objective, SPACE, n_jobs=2)
    metrics = [row.trial.metrics for row in result.rows]
    pids = {each["pid"] for each in metrics}
    assert float(os.getpid()) not in pids
    loads = (tmp_path / "loads").read_text().split()
    assert sorted(loads) == sorted(str(int(float(str(pid)))) for pid in pids)
    assert {each["memory"] for each in metrics} == {"mmap"}
    assert [row.trial.score for row in result.rows] == [499_999.0 + x for x in range(40, 0, -1)]
    assert objective.array[0] == 1.0


def test_a_worker_runs_one_thread_per_library(tmp_path: Path) -> None:
    """Two workers that each start a thread per core would ask for four cores where there are two."""
    result = optimise(Heavy(np.ones(10), tmp_path / "loads"), SPACE, n_jobs=2)
    assert {(row.trial.metrics["threads"], row.trial.metrics["polars_threads"]) for row in result.rows} == {("1", "1")}


def test_the_shared_file_is_gone_after_the_search_and_so_is_what_a_kill_left(tmp_path: Path) -> None:
    (tmp_path / "autohedge-workers-old").mkdir()
    (tmp_path / "autohedge-workers-old" / "objective").write_bytes(b"left by a kill")
    optimise(Faulty({}), SPACE, study_dir=tmp_path, n_jobs=2)
    assert [path.name for path in tmp_path.iterdir()] == ["trials-0001.jsonl"]


def test_a_second_search_has_its_own_objective(tmp_path: Path) -> None:
    """The workers live on; what they know of the first objective does not count for the second."""
    first = optimise(Heavy(np.zeros(100), tmp_path / "loads"), SPACE, n_jobs=2)
    second = optimise(Heavy(np.ones(100), tmp_path / "loads"), SPACE, n_jobs=2)
    assert first.rows[0].trial.score == 40.0 and second.rows[0].trial.score == 99.0 + 40.0


def test_workers_find_the_objective_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They live on from an earlier search; the study's folder is named relative to where this process is now."""
    optimise(Faulty({}), SPACE, n_jobs=2)
    monkeypatch.chdir(tmp_path)
    assert optimise(Faulty({}), SPACE, study_dir=Path("study"), n_jobs=2).failed == 0


def test_an_objective_that_only_this_process_knows_can_be_sent() -> None:
    """A class of a script or of a function, which nobody else can import."""

    class Local:
        identity = {"objective": "local"}  # noqa: RUF012 - a constant of this test

        def __call__(self, params: dict[str, object]) -> TrialOutcome:
            return TrialOutcome(float(str(params["x"])))

    assert optimise(Local(), SPACE, n_jobs=2).rows[0].trial.score == 40.0  # type: ignore[arg-type]


def test_an_objective_that_cannot_be_sent_is_refused_in_one_line() -> None:
    class Locked:
        identity = {"objective": "locked"}  # noqa: RUF012 - a constant of this test

        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self, params: dict[str, object]) -> TrialOutcome:
            return TrialOutcome(1.0)

    with pytest.raises(ConfigError, match=r"cannot be sent to other processes.*search with one job"):
        optimise(Locked(), SPACE, n_jobs=2)  # type: ignore[arg-type]
    assert optimise(Locked(), SPACE).failed == 0  # type: ignore[arg-type]


def test_an_objective_that_a_worker_cannot_build_is_told(tmp_path: Path) -> None:
    """The folder of its note has gone by the time that a worker wants to write to it."""
    with pytest.raises(AutoHedgeError, match=r"broke: FileNotFoundError.*gone/loads"):
        optimise(Heavy(np.ones(10), tmp_path / "gone" / "loads"), SPACE, n_jobs=2)


def test_a_worker_that_dies_ends_the_search_with_words_and_keeps_the_rest(tmp_path: Path) -> None:
    space = parse_space(["x=0:9"])
    with pytest.raises(AutoHedgeError, match=r"the workers are gone \(TerminatedWorkerError\).*is kept"):
        optimise(Faulty({6: "killed"}), space, study_dir=tmp_path, n_jobs=2)
    assert optimise(Faulty({}), space, study_dir=tmp_path, n_jobs=2) == optimise(Faulty({}), space)


def test_workers_start_with_their_first_task_only() -> None:
    """A finished study shows its table without starting anything."""
    with Workers(Faulty({}), n_jobs=2, cluster=Cluster("dask", address="tcp://127.0.0.1:1")) as workers:
        assert list(workers.run([])) == []


def test_after_a_crash_no_more_tasks_are_taken_and_those_under_way_end() -> None:
    """A caller stops by ending its tasks: nothing that was handed out is lost."""
    taken: list[str] = []
    ended: dict[str, object] = {}

    def tasks() -> object:
        for x in range(1_000):
            if any(isinstance(each, Crash) for each in ended.values()):
                return
            taken.append(str(x))
            yield Task(str(x), {"x": x}, None)

    with Workers(Faulty({5: "broken"}), n_jobs=2) as workers:
        for key, finished in workers.run(tasks()):  # type: ignore[arg-type]
            ended[key] = finished
    assert ended.keys() == set(taken) and len(taken) < 1_000
    assert isinstance(ended["5"], Crash)


def test_a_killed_search_leaves_no_workers_behind(tmp_path: Path) -> None:
    """The one that is busy and the one that waits for work: both notice that nobody waits for them, and end."""
    script = """
import os, signal, time
from pathlib import Path
from autohedge.backtest.search import optimise
from autohedge.backtest.search_space import parse_space
from autohedge.backtest.trials import TrialOutcome

class Slow:
    identity = {"objective": "slow"}
    def __init__(self):
        self.waiting = os.getpid()
    def __call__(self, params):
        if params["x"] == 1:
            while not Path("other-is-done").exists():
                time.sleep(0.01)
            os.kill(self.waiting, signal.SIGKILL)
        return TrialOutcome(1.0)

optimise(Slow(), parse_space(["x=1:2"]), n_jobs=2, on_progress=lambda progress: Path("other-is-done").touch())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False, cwd=tmp_path)
    # the pipes of standard output close when the last process that has them is gone, and only then `run` returns
    assert done.returncode == -9


@pytest.mark.parametrize("n_jobs", [0, -1, 4_097])
def test_numbers_of_jobs_out_of_bounds_are_refused(n_jobs: int) -> None:
    with pytest.raises(ConfigError, match="parallel jobs"):
        Workers(Faulty({}), n_jobs=n_jobs)


def test_without_a_number_there_is_a_job_per_core() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    assert optimise(Faulty({}), SPACE, n_jobs=None) == optimise(Faulty({}), SPACE)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("local:3", Cluster("dask", workers=3)),
        ("local", Cluster("dask", workers=usable_cores())),
        ("10.0.0.5:8786", Cluster("dask", address="tcp://10.0.0.5:8786")),
        ("tls://scheduler.example:8786", Cluster("dask", address="tls://scheduler.example:8786")),
        ("ray", Cluster("ray")),
    ],
)
def test_each_form_of_a_cluster_means_one(text: str, meant: Cluster) -> None:
    assert parse_cluster(text) == meant


@pytest.mark.parametrize("text", ["", "local:0", "local:9999", "local:x", "somewhere", "http://host:80", "host:port", "spark"])
def test_any_other_cluster_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_cluster(text)
