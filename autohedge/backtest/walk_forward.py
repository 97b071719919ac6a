"""Walk-forward: parameters chosen on one stretch of market time are judged on the next, again and again.

Each fold searches its training window, takes the best, and evaluates it once on the test window that follows, after an
optional gap (`purge`) so that nothing which is open at the end of training reaches into the test. Test windows follow each
other without overlap, so their returns, stitched together, are one out-of-sample record of "search, then trade". Training
windows roll, or are anchored at the beginning and grow.

Nothing is invented where there is nothing: a fold whose training has no best is not tested, a test that failed has no returns,
and both are told with their reason. What is left at the end of the data and fills no whole test window is not used.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from autohedge.backtest.overfitting import Overfitting
from autohedge.backtest.search import Grid, Progress, Sampler, SearchResult, Study, WindowObjective, open_study, trial_dict
from autohedge.backtest.search_space import Choice, Space
from autohedge.backtest.sharpe import probabilistic_sharpe_ratio
from autohedge.backtest.trials import F64, Params, Scalar, Trial, Window
from autohedge.errors import ConfigError
from autohedge.settings import parse_duration_s

NS_PER_S = 1_000_000_000
MAX_FOLDS = 10_000
_FORM = "train=7d,test=1d with purge=DURATION and anchored as you like"


class Fold(NamedTuple):
    """One window to choose on and the one to judge on."""

    train: Window
    test: Window


@dataclass(frozen=True, slots=True)
class WalkForward:
    """How time is cut: lengths in nanoseconds of market time; `anchored` training begins at the beginning of the data."""

    train_ns: int
    test_ns: int
    purge_ns: int = 0
    anchored: bool = False

    def __post_init__(self) -> None:
        if self.train_ns <= 0 or self.test_ns <= 0 or self.purge_ns < 0:
            raise ConfigError(
                f"expected train and test above 0 and purge of 0 or more, found {self.train_ns}, {self.test_ns} and "
                f"{self.purge_ns} ns"
            )

    def folds(self, start_ns: int, end_ns: int) -> list[Fold]:
        """The folds of data from `start_ns` to `end_ns` (exclusive), in order; `ConfigError` if not even one fits."""
        ahead = self.train_ns + self.purge_ns
        count = (end_ns - start_ns - ahead) // self.test_ns
        if count < 1:
            raise ConfigError(
                f"walk-forward needs {_length(ahead + self.test_ns)} of market time for train, purge and test; the data have "
                f"{_length(end_ns - start_ns)}"
            )
        if count > MAX_FOLDS:
            raise ConfigError(f"walk-forward would make {count:,} folds, more than {MAX_FOLDS:,}; use a longer test")
        folds = []
        for number in range(count):
            begin = start_ns + number * self.test_ns
            train = Window(start_ns if self.anchored else begin, begin + self.train_ns)
            folds.append(Fold(train, Window(begin + ahead, begin + ahead + self.test_ns)))
        return folds


def parse_walk_forward(text: str) -> WalkForward:
    """`train=7d,test=1d`, in any order, with `purge=1h` and `anchored`; `ConfigError` for anything else."""
    lengths: dict[str, int] = {}
    anchored = False
    for part in (each.strip() for each in text.split(",")):
        name, equals, value = part.partition("=")
        if part == "anchored" and not anchored:
            anchored = True
        elif equals and name in ("train", "test", "purge") and name not in lengths:
            lengths[name] = round(parse_duration_s(value) * NS_PER_S)
        else:
            raise ConfigError(f"expected {_FORM}, found {text[:120]!r}")
    if not {"train", "test"} <= lengths.keys():
        raise ConfigError(f"expected {_FORM}, found {text[:120]!r}")
    return WalkForward(lengths["train"], lengths["test"], lengths.get("purge", 0), anchored)


# ---------------------------------------------------------------- what comes back


@dataclass(frozen=True, slots=True)
class FoldResult:
    """One fold. `chosen` is None when no training trial has a score; `test` is then None too. Both trials have the same
    parameters; `reason` says why there is no test score, where there is none."""

    fold: Fold
    chosen: Trial | None
    test: Trial | None
    overfitting: Overfitting
    reason: str


@dataclass(frozen=True, slots=True)
class Stitched:
    """The test windows' returns in one record. Ratios are per period, without a risk-free rate, and None where undefined.

    `believed` is the probability that the true Sharpe ratio is above 0; nothing was chosen on these returns, so there is no
    luck of many tries to deduct. Total return and drawdown compound the returns.
    """

    periods: int
    total_return_frac: float | None
    max_drawdown_frac: float | None
    sharpe_per_period: float | None
    believed: float | None


@dataclass(frozen=True, slots=True)
class Stability:
    """How one parameter's choice moved from fold to fold.

    `changes_frac`: share of steps from one chosen fold to the next at which it changed (None with fewer than two);
    `range_frac`: largest minus smallest choice as a share of the searched range (None for choices).
    """

    usual: Scalar
    usual_frac: float
    changes_frac: float | None
    range_frac: float | None


@dataclass(frozen=True, slots=True)
class WalkForwardResult:
    """All folds and what they come to.

    `train_score` and `test_score` are means over the folds that have both; `kept_frac` is the second as a share of the first
    (None unless the first is above 0): 1 where choosing held up, 0 or less where nothing of it was left.
    """

    folds: tuple[FoldResult, ...]
    stitched: Stitched
    train_score: float | None
    test_score: float | None
    kept_frac: float | None
    stability: dict[str, Stability]

    @property
    def tested(self) -> int:
        """Folds with a test score."""
        return sum(each.test is not None and each.test.score is not None for each in self.folds)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folds": [_fold_dict(each) for each in self.folds],
            "tested": self.tested,
            "stitched": asdict(self.stitched),
            "train_score": self.train_score,
            "test_score": self.test_score,
            "kept_frac": self.kept_frac,
            "stability": {name: asdict(each) for name, each in self.stability.items()},
        }

    def sentences(self) -> tuple[str, ...]:
        """What it means, in words."""
        out = self.stitched
        if out.sharpe_per_period is None:
            record = f"Out of sample: {out.periods:,} periods, from which no Sharpe ratio follows."
        else:
            record = (
                f"Out of sample: a Sharpe ratio of {out.sharpe_per_period:.4f} per period over {out.periods:,}, above 0 with "
                f"probability {out.believed or 0.0:.3f}; total return {out.total_return_frac or 0.0:.2%}."
            )
        if self.train_score is None:
            return (record, "Degradation: not known, no fold has a score in training and in test.")
        kept = "" if self.kept_frac is None else f", {self.kept_frac:.0%} of it"
        return (record, f"Degradation: mean score {self.train_score:.4g} in training, {self.test_score:.4g} in test{kept}.")


# ---------------------------------------------------------------- the work


def walk_forward(
    objective: WindowObjective,
    space: Space,
    plan: WalkForward,
    *,
    sampler: Sampler | None = None,
    study_dir: Path | None = None,
    n_jobs: int | None = 1,
    cluster: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> WalkForwardResult:
    """Choose on each training window, judge on each test window. The sampler begins anew for every fold.

    Everything else as in `autohedge.backtest.search.optimise`. Raises `ConfigError` also when the data are too short.
    """
    sampler = sampler or Grid()
    folds = plan.folds(*objective.span_ns)
    count = sampler.count(space)
    with open_study(objective, study_dir=study_dir, n_jobs=n_jobs, cluster=cluster, on_progress=on_progress) as study:
        study.expect(len(folds) * (count + 1))
        searches = [study.search(space, sampler, fold.train) for fold in folds]
        wanted = [
            (search.best.params, fold.test) for fold, search in zip(folds, searches, strict=True) if search.best is not None
        ]
        tests = {trial.key: trial for trial in study.evaluate(wanted)}
        results = tuple(_fold(study, *each, tests) for each in zip(folds, searches, strict=True))
        returns = list(study.table.returns(each.test for each in results if each.test is not None))
    return _summed(results, space, np.concatenate(returns) if returns else np.empty(0))


def _fold(study: Study, fold: Fold, search: SearchResult, tests: dict[str, Trial]) -> FoldResult:
    chosen = search.best
    if chosen is None:
        why = f"no trial has a score in training; the first: {search.rows[0].trial.reason}"
        return FoldResult(fold, None, None, search.overfitting, why)
    test = tests[study.table.key(chosen.params, fold.test)]
    return FoldResult(fold, chosen, test, search.overfitting, test.reason)


def _summed(folds: tuple[FoldResult, ...], space: Space, returns: F64) -> WalkForwardResult:
    pairs = [
        (each.chosen.score, each.test.score)
        for each in folds
        if each.chosen is not None and each.chosen.score is not None and each.test is not None and each.test.score is not None
    ]
    train = math.fsum(pair[0] for pair in pairs) / len(pairs) if pairs else None
    test = math.fsum(pair[1] for pair in pairs) / len(pairs) if pairs else None
    kept = test / train if train is not None and test is not None and train > 0 else None
    chosen = [each.chosen.params for each in folds if each.chosen is not None]
    stability = {name: _stability(name, space, chosen) for name in space.parameters} if chosen else {}
    return WalkForwardResult(folds, _stitched(returns), train, test, kept, stability)


def _stitched(returns: F64) -> Stitched:
    if not returns.size or not np.isfinite(returns).all():
        return Stitched(returns.size, None, None, None, None)
    worth = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    highest = np.maximum.accumulate(worth)
    drawdown = float((1.0 - worth / highest).max())
    deviation = float(returns.std(ddof=1)) if returns.size > 1 else 0.0
    if not deviation > 0.0:
        return Stitched(returns.size, float(worth[-1]) - 1.0, drawdown, None, None)
    sharpe = float(returns.mean()) / deviation
    standard = (returns - returns.mean()) / returns.std()
    believed = probabilistic_sharpe_ratio(sharpe, returns.size, float((standard**3).mean()), float((standard**4).mean()))
    return Stitched(returns.size, float(worth[-1]) - 1.0, drawdown, sharpe, believed)


def _stability(name: str, space: Space, chosen: list[Params]) -> Stability:
    values = [params[name] for params in chosen]
    usual, times = Counter(values).most_common(1)[0]
    steps = list(pairwise(values))
    parameter = space.parameters[name]
    numbers = [float(value) for value in values] if not isinstance(parameter, Choice) else []
    width = 0.0 if isinstance(parameter, Choice) else float(parameter.high) - float(parameter.low)
    return Stability(
        usual=usual,
        usual_frac=times / len(values),
        changes_frac=sum(before != after for before, after in steps) / len(steps) if steps else None,
        range_frac=(max(numbers) - min(numbers)) / width if numbers else None,
    )


def _fold_dict(each: FoldResult) -> dict[str, Any]:
    return {
        "train": [str(each.fold.train.start_ns), str(each.fold.train.end_ns)],
        "test": [str(each.fold.test.start_ns), str(each.fold.test.end_ns)],
        "chosen": None if each.chosen is None else trial_dict(each.chosen),
        "tested": None if each.test is None else trial_dict(each.test),
        "overfitting": each.overfitting.to_dict(),
        "reason": each.reason,
    }


def _length(ns: int) -> str:
    """A stretch of time for a sentence."""
    seconds = ns / NS_PER_S
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.4g}{unit}"
    return f"{seconds:.4g}s"
