"""Objectives for tests of the search, in a module of their own so that workers in other processes can import them."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autohedge.backtest.trials import F64, Params, TrialOutcome
from autohedge.errors import ConfigError, StorageError

NS = 1_000_000_000
PERIODS = 240


def noise(seed: int, periods: int = PERIODS) -> F64:
    """Returns without any merit."""
    return np.random.default_rng(seed).normal(0.0, 0.01, periods)


def owner_of(array: F64) -> object:
    """Whose memory an array looks at: itself, or what it was made a view of."""
    owner: object = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    while isinstance(owner, memoryview):
        owner = owner.obj
    return owner


@dataclass(frozen=True)
class Hill:
    """The nearer x is to `top`, the better; y only changes the noise. `calls`: a file that grows by a line per call."""

    top: float = 3.0
    calls: Path | None = None
    identity: Mapping[str, object] = field(default_factory=lambda: {"objective": "hill", "data": "abc"})

    def __call__(self, params: Params) -> TrialOutcome:
        if self.calls is not None:
            with self.calls.open("a") as file:
                file.write(f"{params}\n")
        merit = -0.001 * (float(params["x"]) - self.top) ** 2
        returns = noise(int(float(params["x"]) * 1000) + 7 * int(params.get("y", 0))) + 0.001 + merit
        score = float(returns.mean() / returns.std())
        return TrialOutcome(score, returns=returns, period_ns=NS, metrics={"total": float(returns.sum()), "word": "w"})

    def made(self) -> int:
        """How many calls there were."""
        return len(self.calls.read_text().splitlines()) if self.calls is not None and self.calls.exists() else 0


@dataclass(frozen=True)
class Faulty:
    """What becomes of x: its score is −x, unless `faults` names something else."""

    faults: Mapping[int, str]
    identity: Mapping[str, object] = field(default_factory=lambda: {"objective": "faulty"})

    def __call__(self, params: Params) -> TrialOutcome:
        x = int(params["x"])
        match self.faults.get(x):
            case "refused":
                raise ConfigError(f"x = {x} is out of the model's domain")
            case "undefined":
                return TrialOutcome(None, "no trade was made")
            case "nan":
                return TrialOutcome(math.nan)
            case "broken":
                raise ZeroDivisionError("one by nought")
            case "disk":
                raise StorageError("no space left on device")
            case "interrupted":
                raise KeyboardInterrupt
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "nothing":
                return None  # type: ignore[return-value]
        return TrialOutcome(-float(x), metrics={"x": float(x)})


@dataclass
class Heavy:
    """Holds an array, tells of the process it is in, and leaves a line in `loads` wherever it is unpickled."""

    array: F64
    loads: Path
    identity: Mapping[str, object] = field(default_factory=lambda: {"objective": "heavy"})

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        with self.loads.open("a") as file:
            file.write(f"{os.getpid()}\n")

    def __call__(self, params: Params) -> TrialOutcome:
        x = int(params["x"])
        self.array[0] = x  # its own copy of that page: nobody else sees it
        total = math.fsum(math.sin(step) for step in range(20_000))  # some work, so that both workers get some
        return TrialOutcome(
            float(self.array[1:].sum()) + x,
            metrics={
                "pid": float(os.getpid()),
                "memory": type(owner_of(self.array)).__name__,
                "threads": os.environ.get("NUMBA_NUM_THREADS"),
                "polars_threads": os.environ.get("POLARS_MAX_THREADS"),
                "work": total,
            },
        )


@dataclass(frozen=True)
class Seasons:
    """Over `len(best)` days: on each, the parameter x that is best that day earns, others the less the further off."""

    best: tuple[int, ...]
    calls: Path | None = None
    identity: Mapping[str, object] = field(default_factory=lambda: {"objective": "seasons"})

    @property
    def span_ns(self) -> tuple[int, int]:
        return 0, len(self.best) * 86_400 * NS

    def __call__(self, params: Params, start_ns: int | None = None, end_ns: int | None = None) -> TrialOutcome:
        day = 86_400 * NS
        first, last = (start_ns or 0) // day, (end_ns or len(self.best) * day) // day
        if self.calls is not None:
            with self.calls.open("a") as file:
                file.write(f"{params['x']} {first} {last}\n")
        if params["x"] == 9:
            raise ConfigError("nine is never allowed")
        if params["x"] == 8:
            return TrialOutcome(None, "no trade was made")
        daily = [0.01 - 0.002 * (int(params["x"]) - self.best[each]) ** 2 for each in range(first, last)]
        returns = np.array([each / 4 + wave for each in daily for wave in (0.002, -0.001, -0.002, 0.001)])
        return TrialOutcome(float(returns.sum()), returns=returns, period_ns=day // 4)
