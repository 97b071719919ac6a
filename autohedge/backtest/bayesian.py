"""Bayesian search with optuna's tree-structured Parzen estimator, asked and told in fixed batches.

Promise: the same seed, batch size and space ask for the same parameters, with one worker or many, and after a resume. A batch
is asked as a whole before any of it is told, and told in the order in which it was asked, whichever finished first; optuna's
own study lives in memory and is rebuilt by asking and telling again, so the trial table is the only truth. A larger batch
keeps more workers busy and learns less per trial.

A trial without a score is told as one that was given up: worse than any score, and no number at all, so the search learns to
keep away from it.
Source of the method: Bergstra et al. (2011), "Algorithms for Hyper-Parameter Optimization".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from autohedge.backtest.search_space import Choice, FloatRange, IntRange, Parameter, Space
from autohedge.backtest.trials import Params, Trial
from autohedge.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial as Asked

MAX_TRIALS = 100_000
MAX_BATCH = 10_000
WARM_UP = 10
"""Trials drawn at random before the model is asked."""


@dataclass(frozen=True, slots=True)
class Bayesian:
    """How a Bayesian search is run: so many `trials` in batches of `batch`, from one `seed`.

    `ConfigError` for numbers out of bounds, and for a space that a grid would cover with no more trials.
    """

    trials: int = 100
    batch: int = 8
    seed: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= MAX_TRIALS:
            raise ConfigError(f"expected 1 to {MAX_TRIALS:,} trials, found {self.trials:,}")
        if not 1 <= self.batch <= MAX_BATCH:
            raise ConfigError(f"expected a batch of 1 to {MAX_BATCH:,}, found {self.batch:,}")

    def count(self, space: Space) -> int:
        """How many trials will be asked for."""
        points = space.size
        if points is not None and points <= self.trials:
            raise ConfigError(f"the space has only {points} points and {self.trials} trials were wanted; use the grid sampler")
        return self.trials

    def asking(self, space: Space) -> Asking:
        """The search from its beginning. Raises `ConfigError` without optuna."""
        self.count(space)
        return Asking(self, space)


class Asking:
    """One search under way: `ask` a batch, `tell` its trials in the same order, until `ask` gives none."""

    def __init__(self, plan: Bayesian, space: Space) -> None:
        self._optuna = _optuna()
        self._space = space
        self._batch = plan.batch
        self._left = plan.trials
        self._open: list[Asked] = []
        sampler = self._optuna.samplers.TPESampler(
            seed=plan.seed, n_startup_trials=WARM_UP, multivariate=True, constant_liar=True
        )
        with _quiet(self._optuna):
            self._study: Study = self._optuna.create_study(sampler=sampler, direction="maximize")
        self._distributions = {name: self._distribution(each) for name, each in space.parameters.items()}

    def ask(self) -> Sequence[Params]:
        """The next parameters to try; empty when all trials were asked for. The same ones may come up again."""
        wanted = min(self._batch, self._left)
        self._left -= wanted
        with _quiet(self._optuna):
            self._open = [self._study.ask(self._distributions) for _ in range(wanted)]
        return [
            {name: _value(each, asked.params[name]) for name, each in self._space.parameters.items()} for asked in self._open
        ]

    def tell(self, trials: Sequence[Trial]) -> None:
        """What became of the batch, in the order in which it was asked."""
        given_up = self._optuna.trial.TrialState.PRUNED
        with _quiet(self._optuna):
            for asked, trial in zip(self._open, trials, strict=True):
                if trial.score is None:
                    self._study.tell(asked, state=given_up)
                else:
                    self._study.tell(asked, trial.score)
        self._open = []

    def _distribution(self, parameter: Parameter) -> BaseDistribution:
        distributions = self._optuna.distributions
        found: BaseDistribution
        match parameter:
            case Choice():
                found = distributions.CategoricalDistribution(tuple(range(parameter.size)))  # numbers, as 1 and true are equal
            case IntRange(low, high, step):
                found = distributions.IntDistribution(low, high, step=step)
            case FloatRange(step=None):
                found = distributions.FloatDistribution(parameter.low, parameter.high, log=parameter.log)
            case FloatRange():
                found = distributions.IntDistribution(0, (parameter.size or 1) - 1)  # the number of a point, which is exact
        return found


def _value(parameter: Parameter, suggested: Any) -> Any:
    """The parameter's own value for what optuna suggests."""
    match parameter:
        case Choice():
            return parameter.value(suggested)
        case FloatRange() if parameter.step is not None:
            return parameter.value(suggested)
        case _:
            return suggested


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "Bayesian search needs optuna, which is not installed: run  pip install 'autohedge[backtest]'"
        ) from error
    return optuna


@contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Without optuna's own messages; a host that wants them elsewhere keeps its setting."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
