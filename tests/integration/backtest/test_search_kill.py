"""A search that is killed outright goes on where it was, and ends with the table of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autohedge.backtest.bayesian import Bayesian
from autohedge.backtest.search import Grid, Progress, Sampler, optimise
from autohedge.backtest.search_space import parse_space
from tests.unit.backtest.search_objectives import Hill

SPACE = parse_space(["x=0:9:0.25", "y=1,2"])
SAMPLERS: dict[str, Sampler] = {"grid": Grid(), "tpe": Bayesian(40, 5)}

SEARCH = """
import os, signal, sys
from pathlib import Path
from tests.integration.backtest.test_search_kill import SAMPLERS, SPACE
from tests.unit.backtest.search_objectives import Hill
from autohedge.backtest.search import optimise

study, sampler, jobs, die_at = Path(sys.argv[1]), SAMPLERS[sys.argv[2]], int(sys.argv[3]), int(sys.argv[4])

def on_progress(progress):
    if progress.done == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

optimise(Hill(calls=study / "calls"), SPACE, sampler=sampler, study_dir=study, n_jobs=jobs, on_progress=on_progress)
"""


@pytest.mark.parametrize(("sampler", "jobs", "deaths"), [("grid", 1, (13,)), ("grid", 2, (13,)), ("tpe", 1, (13, 22))])
def test_a_killed_search_resumes_to_the_identical_table(
    tmp_path: Path, sampler: str, jobs: int, deaths: tuple[int, ...]
) -> None:
    """SIGKILL in the middle, then to the end; what was finished is never made again."""
    for die_at in deaths:
        arguments = [sys.executable, "-c", SEARCH, str(tmp_path), sampler, str(jobs), str(die_at)]
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kept = sum(len(path.read_text().splitlines()) - 1 for path in tmp_path.glob("trials-*.jsonl"))
        assert 0 < kept <= die_at and (sampler == "tpe" or kept == die_at)
    objective = Hill(calls=tmp_path / "calls")
    before = objective.made()
    whole = optimise(Hill(), SPACE, sampler=SAMPLERS[sampler])
    assert optimise(objective, SPACE, sampler=SAMPLERS[sampler], study_dir=tmp_path) == whole
    assert objective.made() - before == len(whole.rows) - kept


def test_a_search_killed_while_it_writes_loses_that_trial_alone(tmp_path: Path) -> None:
    """A torn last line, as a kill in the middle of a write leaves it."""
    whole = optimise(Hill(), SPACE, study_dir=tmp_path)
    part = tmp_path / "trials-0001.jsonl"
    os.truncate(part, part.stat().st_size - 40)
    seen: list[Progress] = []
    assert optimise(Hill(), SPACE, study_dir=tmp_path, on_progress=seen.append) == whole
    assert seen[-1].found == len(whole.rows) - 1
