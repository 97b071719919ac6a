"""What a second worker is worth in a parameter search, and what the search itself costs per trial.

Each trial burns the same arithmetic in plain Python; the objective also holds 50 MB of arrays, as one over recorded market data
does. One process, the search with two workers, and two bare processes with half of the trials each (the limit: nothing
recorded, nothing shared) are measured in turn, by wall time, so that what neighbours take from the machine shows in all three.
The CPU time of all processes together tells what the second worker costs whatever the neighbours do.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import Bar, Figure, Options, Skipped, ratio

ROUNDS = 11
TRIALS = 40
STEPS = 600_000
"""Of arithmetic in each trial: some 30 ms."""
HELD_DOUBLES = 6_250_000
"""50 MB."""
EMPTY_TRIALS = 2_000
PERIODS = 500


@dataclass
class Burning:
    """An objective of pure arithmetic over data that it only has to hold."""

    held: Any
    identity: Mapping[str, object] = field(default_factory=lambda: {"objective": "burning"})

    def __call__(self, params: Mapping[str, Any]) -> Any:
        from autohedge.backtest.trials import TrialOutcome

        return TrialOutcome(_burn(int(params["x"])) + float(self.held[int(params["x"])]))


@dataclass
class Nothing:
    """An objective that costs nothing and returns what a backtest of a year of days would."""

    returns: Any
    identity: Mapping[str, object] = field(default_factory=lambda: {"objective": "nothing"})

    def __call__(self, params: Mapping[str, Any]) -> Any:
        from autohedge.backtest.trials import TrialOutcome

        return TrialOutcome(float(params["x"]), returns=self.returns, metrics={"fills": 12.0})


def _burn(x: int) -> float:
    total = 0.0
    for step in range(STEPS):
        total += math.sqrt(step + x)
    return total


class Spent(NamedTuple):
    """Of one piece of work: wall time, and CPU time of this process and all that it has started."""

    wall_s: float
    cpu_s: float


def _spent(work: Callable[[], object]) -> Spent:
    cpu_s, wall_s = _cpu_s(), time.perf_counter()
    work()
    return Spent(time.perf_counter() - wall_s, _cpu_s() - cpu_s)


def _cpu_s() -> float:
    import psutil

    this = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in (this, *this.children(recursive=True)))


def figures(_options: Options) -> list[Figure]:
    """Wall times, their ratios, and the search's own cost."""
    try:
        import joblib  # noqa: F401 - what is measured needs it
        import numpy as np
        import psutil  # noqa: F401 - CPU time of other processes comes from it
    except ModuleNotFoundError:
        raise Skipped("joblib, numpy and psutil come with the dev extra") from None
    if (os.cpu_count() or 1) < 2:
        raise Skipped("one processor cannot show what a second one is worth")
    from autohedge.backtest.search import open_study
    from autohedge.backtest.search_space import parse_space

    objective = Burning(np.zeros(HELD_DOUBLES))
    points = [({"x": x}, None) for x in range(TRIALS)]
    alone: list[Spent] = []
    bare: list[Spent] = []
    together: list[Spent] = []

    def search(n_jobs: int) -> Spent:
        with open_study(objective, n_jobs=n_jobs) as study:
            study.evaluate(({"x": TRIALS + x}, None) for x in range(2 * n_jobs))  # starts workers, sends the objective
            return _spent(lambda: study.evaluate(points))

    with get_context("spawn").Pool(2) as pool:
        pool.map(_burn, range(4))
        for _ in range(ROUNDS):
            alone.append(search(1))
            bare.append(_spent(lambda: _halves(pool)))
            together.append(search(2))
    space = parse_space([f"x=1:{EMPTY_TRIALS}"])
    kept = [_per_trial_us(Nothing(np.linspace(-0.01, 0.01, PERIODS)), space) for _ in range(5)]
    gained = [before.wall_s / after.wall_s for before, after in zip(alone, together, strict=True)]
    possible = [before.wall_s / after.wall_s for before, after in zip(alone, bare, strict=True)]
    cpu = [before.cpu_s for before in alone], [after.cpu_s for after in together]
    return [
        Figure("search: one process", tuple(TRIALS / each.wall_s for each in alone), "trials/s", note="objective holds 50 MB"),
        Figure("search: two workers", tuple(TRIALS / each.wall_s for each in together), "trials/s"),
        Figure("search: two bare processes ÷ one", tuple(possible), "×", note="limit: what the machine gave at that moment"),
        Figure("search: two workers ÷ one", tuple(gained), "×", Bar(1.7, at_least=True), "2 is linear, on a machine at rest"),
        ratio("search: gain ÷ gain of two bare processes", gained, possible, bar=Bar(0.9, at_least=True)),
        ratio("search: CPU of one ÷ CPU of all, two workers", *cpu, bar=Bar(0.85, at_least=True), note="1 costs nothing"),
        Figure("search: own cost", tuple(kept), "µs/trial", note=f"one process, {PERIODS} returns kept, ranked, measured"),
    ]


def _halves(pool: Pool) -> None:
    pool.map(_burn, range(TRIALS), chunksize=TRIALS // 2)


def _per_trial_us(objective: Nothing, space: Any) -> float:
    """Wall time of a grid over an objective that costs nothing, durable trials and measures of luck included."""
    from autohedge.backtest.search import optimise

    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as folder:
        return _spent(lambda: optimise(objective, space, study_dir=Path(folder) / "study")).wall_s / EMPTY_TRIALS * 1e6
