"""A dask cluster of two workers on this machine gives the table of this process, to the last bit."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster

from autohedge.backtest.bayesian import Bayesian
from autohedge.backtest.search import optimise
from autohedge.backtest.search_space import parse_space
from autohedge.backtest.walk_forward import parse_walk_forward, walk_forward
from autohedge.errors import ConfigError, InvariantBroken
from tests.unit.backtest.search_objectives import Faulty, Heavy, Hill, Seasons

SPACE = parse_space(["x=0:5:0.5", "y=1,2,3"])
HERE = {
    "threads_per_worker": 1,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "memory_limit": 0,
    "silence_logs": 40,
}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster that was there before: two workers, each a process with one thread."""
    with LocalCluster(n_workers=2, **HERE) as cluster:
        yield cluster.scheduler_address


def test_one_option_takes_a_grid_to_two_workers_and_the_table_is_identical() -> None:
    """`local:2` starts the workers and ends them."""
    here = optimise(Hill(), SPACE)
    there = optimise(Hill(), SPACE, cluster="local:2")
    assert there == here and len(there.rows) == 33
    assert repr(there) == repr(here)


def test_a_cluster_that_is_there_already_is_named_by_its_address(scheduler: str) -> None:
    assert optimise(Hill(), SPACE, cluster=scheduler) == optimise(Hill(), SPACE)


def test_a_grid_resumed_on_a_cluster_makes_only_what_is_missing(scheduler: str, tmp_path: Path) -> None:
    objective = Hill(calls=tmp_path / "calls")
    optimise(objective, parse_space(["x=0:2:0.5", "y=1,2,3"]), study_dir=tmp_path / "study")
    resumed = optimise(objective, SPACE, study_dir=tmp_path / "study", cluster=scheduler)
    assert objective.made() == 33 and resumed == optimise(Hill(), SPACE)


def test_a_bayesian_search_asks_a_cluster_what_it_would_ask_here(scheduler: str) -> None:
    assert optimise(Hill(), SPACE, sampler=Bayesian(20, 5), cluster=scheduler) == optimise(
        Hill(), SPACE, sampler=Bayesian(20, 5)
    )


def test_walk_forward_on_a_cluster_is_the_same(scheduler: str) -> None:
    plan, space = parse_walk_forward("train=2d,test=1d"), parse_space(["x=1:5"])
    objective = Seasons((2, 2, 2, 2, 4, 4, 4))
    assert walk_forward(objective, space, plan, cluster=scheduler) == walk_forward(objective, space, plan)


def test_the_objective_travels_to_each_worker_once(scheduler: str, tmp_path: Path) -> None:
    """Not with every trial: forty of them, two arrivals, and none here."""
    result = optimise(Heavy(np.ones(200_000), tmp_path / "loads"), parse_space(["x=1:40"]), cluster=scheduler)
    loads = (tmp_path / "loads").read_text().split()
    assert len(loads) == len(set(loads)) == 2 and str(os.getpid()) not in loads
    assert {str(int(float(str(row.trial.metrics["pid"])))) for row in result.rows} <= set(loads)


def test_failures_and_crashes_are_told_as_here(scheduler: str, tmp_path: Path) -> None:
    space = parse_space(["x=0:9"])
    faulty = Faulty({2: "refused", 5: "undefined"})
    assert optimise(faulty, space, cluster=scheduler) == optimise(faulty, space)
    with pytest.raises(InvariantBroken, match="the trial x=6 broke: ZeroDivisionError: one by nought"):
        optimise(Faulty({6: "broken"}), space, study_dir=tmp_path, cluster=scheduler)
    assert optimise(Faulty({}), space, study_dir=tmp_path) == optimise(Faulty({}), space)


def test_a_scheduler_that_does_not_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autohedge.backtest.cluster.CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match=f"no dask scheduler answers at tcp://{address}"):
        optimise(Hill(), SPACE, cluster=address)


def test_a_scheduler_without_workers_is_told_in_one_line() -> None:
    with LocalCluster(n_workers=0, **HERE) as empty:
        with pytest.raises(ConfigError, match="has no workers"):
            optimise(Hill(), SPACE, cluster=empty.scheduler_address)
