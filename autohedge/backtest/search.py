"""Parameter search: an objective, a space, a sampler; a ranked table comes back, with what its best is worth beside it.

Promise: the same objective, space and sampler give the same table, on one core or a cluster, in one go or resumed after a kill.
Each trial is durable as it finishes and is made once per study, whoever asks for it again. A trial that fails is in the table
with its reason; it is never dropped and never counts as 0. An exception that is no outcome of a trial stops the search and
loses nothing that is finished.

The search knows nothing of engines. What it needs is an `Objective`: something picklable that can be called with parameters and
whose `identity` names everything else that its answers depend on. It must answer the same for the same parameters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

from autohedge.backtest.cluster import parse_cluster
from autohedge.backtest.overfitting import Overfitting, measure
from autohedge.backtest.parallel import Crash, CrashTrace, Task, Workers
from autohedge.backtest.search_space import Space
from autohedge.backtest.trials import Params, Trial, TrialOutcome, TrialTable, Window, digest_of
from autohedge.errors import ConfigError, InvariantBroken

MAX_GRID = 1_000_000


class Objective(Protocol):
    """What a search asks about parameters. Higher scores are better.

    Raises `AutoHedgeError` where a trial fails. It travels to other processes by pickle, its arrays in shared memory, so data
    may be held as arrays or be named by a path. On a dask cluster with several threads per worker it is called from several.
    """

    @property
    def identity(self) -> Mapping[str, object]:
        """Plain data that decides the answers: settings, fingerprint of the data, version of the engine. Trials of equal
        identities are taken for each other."""
        ...

    def __call__(self, params: Params) -> TrialOutcome:
        """One trial on all of the data."""
        ...


class WindowObjective(Protocol):
    """An `Objective` that can also be asked about a part of its data, for walk-forward."""

    @property
    def identity(self) -> Mapping[str, object]:
        """As in `Objective`."""
        ...

    @property
    def span_ns(self) -> tuple[int, int]:
        """The market time of the data, UTC nanoseconds, the end exclusive."""
        ...

    def __call__(self, params: Params, start_ns: int | None = None, end_ns: int | None = None) -> TrialOutcome:
        """One trial from `start_ns` up to but not including `end_ns`; without them, on all of the data."""
        ...


class Asking(Protocol):
    """A search under way: batches are asked for and told until an empty one comes."""

    def ask(self) -> Iterable[Params]:
        """The next parameters to try; empty at the end."""
        ...

    def tell(self, trials: Sequence[Trial]) -> None:
        """What became of the batch, in the order in which it was asked."""
        ...


class Sampler(Protocol):
    """Which parameters are tried: `Grid`, or `autohedge.backtest.bayesian.Bayesian`."""

    def count(self, space: Space) -> int:
        """How many trials will be asked for; `ConfigError` if the space cannot be searched this way."""
        ...

    def asking(self, space: Space) -> Asking:
        """The search from its beginning."""
        ...


@dataclass(frozen=True, slots=True)
class Grid:
    """Every point of the space, in its order. Refuses more than `max_trials`."""

    max_trials: int = MAX_GRID

    def count(self, space: Space) -> int:
        """The number of points; `ConfigError` if there are too many or they cannot be counted."""
        size = space.require_countable()
        if size > self.max_trials:
            raise ConfigError(
                f"the grid has {size:,} points ({space.describe()}), more than the {self.max_trials:,} allowed; "
                "use larger steps, the tpe sampler, or allow more"
            )
        return size

    def asking(self, space: Space) -> Asking:
        """The grid from its first point."""
        self.count(space)
        return _OneBatch(space.grid())


class _OneBatch:
    """A grid has nothing to learn: all of it is one batch, taken as workers become free."""

    def __init__(self, points: Iterator[Params]) -> None:
        self._points = points

    def ask(self) -> Iterator[Params]:
        """All that is left."""
        return self._points

    def tell(self, trials: Sequence[Trial]) -> None:
        """Nothing follows from it."""


# ---------------------------------------------------------------- what comes back


class Row(NamedTuple):
    """A trial in its place: `rank` from 1, None without a score; `number` is the order in which it was first asked, from 0."""

    rank: int | None
    number: int
    trial: Trial


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The table, best first; equal scores in the order of asking, trials without a score at the end.

    `asked` counts askings, of which a Bayesian search may make several of the same parameters. `overfitting` is measured over
    all trials of the study on this data, those of earlier searches included: they were tries too.
    """

    rows: tuple[Row, ...]
    asked: int
    overfitting: Overfitting

    @property
    def best(self) -> Trial | None:
        """The first of the table; None if no trial has a score."""
        return self.rows[0].trial if self.rows and self.rows[0].rank is not None else None

    @property
    def failed(self) -> int:
        """Trials without a score."""
        return sum(row.rank is None for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "asked": self.asked,
            "failed": self.failed,
            "best": None if self.best is None else trial_dict(self.best),
            "overfitting": {**self.overfitting.to_dict(), "in_words": list(self.overfitting.sentences())},
            "trials": [{"rank": row.rank, "number": row.number, **trial_dict(row.trial)} for row in self.rows],
        }


def trial_dict(trial: Trial) -> dict[str, Any]:
    """A trial as plain data; times as text, for they exceed what JSON readers can hold."""
    plain = asdict(trial)
    window = trial.window
    return plain | {
        "window": None if window is None else [str(window.start_ns), str(window.end_ns)],
        "period_ns": None if trial.period_ns is None else str(trial.period_ns),
    }


class Progress(NamedTuple):
    """Where a search stands: trials made or found in the study, of `total`; `found` of them were there before."""

    done: int
    total: int
    found: int
    best_score: float | None


# ---------------------------------------------------------------- the search


class Study:
    """One objective with the trials made of it so far and the workers that make more; from `open_study`."""

    def __init__(
        self, table: TrialTable, workers: Workers, on_progress: Callable[[Progress], None] | None = None, total: int = 0
    ) -> None:
        self.table = table
        self._workers = workers
        self._on_progress = on_progress
        self._done = self._found = 0
        self._total = total
        self._best: float | None = None

    def expect(self, trials: int) -> None:
        """So many more trials are going to be asked for."""
        self._total += trials

    def search(self, space: Space, sampler: Sampler, window: Window | None = None) -> SearchResult:
        """Ask, make and tell until the sampler has no more; then rank. `expect` them before, for the progress."""
        asking = sampler.asking(space)
        asked: list[Trial] = []
        while batch := self.evaluate((params, window) for params in asking.ask()):
            asking.tell(batch)
            asked += batch
        return SearchResult(ranked(asked), len(asked), self.overfitting(asked, window))

    def evaluate(self, wanted: Iterable[tuple[Params, Window | None]]) -> list[Trial]:
        """The trials of these parameters, in this order; those that the study has are not made again.

        Raises `InvariantBroken` when a trial broke with an exception that is no outcome; everything finished is kept.
        """
        keys: list[str] = []
        under_way: dict[str, Task] = {}
        known: deque[Trial | None] = deque()  # filled by whichever thread takes the tasks, counted in this one
        crash: list[tuple[Task, Crash]] = []

        def missing() -> Iterator[Task]:
            for params, window in wanted:
                key = self.table.key(params, window)
                keys.append(key)
                found = self.table.get(key)
                if found is None and key not in under_way:
                    under_way[key] = Task(key, params, window)
                    yield under_way[key]
                else:
                    known.append(found)
                if crash:
                    return

        with closing(self._workers.run(missing())) as outcomes:
            for key, finished in outcomes:
                task = under_way[key]
                if isinstance(finished, Crash):
                    crash.append((task, finished))
                else:
                    self._count(self.table.add(task.params, task.window, finished), made=True)
                while known:
                    self._count(known.popleft())
        while known:
            self._count(known.popleft())
        if crash:
            task, what = crash[0]
            raise InvariantBroken(
                f"the trial {_told(task.params)} broke: {what.what}; the {len(self.table)} finished trials are kept"
            ) from CrashTrace(what.trace)
        return [trial for trial in map(self.table.get, keys) if trial is not None]

    def overfitting(self, trials: Iterable[Trial], window: Window | None = None) -> Overfitting:
        """What the best of `trials` is worth among all that the study has tried on this window."""
        scored = [trial for trial in self.table.trials(window) if trial.score is not None]
        rows = ranked(trials)
        if not rows or rows[0].rank is None:
            return Overfitting(
                trials=0, periods=0, deflated_sharpe_reason="no trial has a score", cscv_reason="no trial has a score"
            )
        (best,) = self.table.returns([rows[0].trial])
        return measure(self.table.returns(scored), count=len(scored), best=best)

    def _count(self, trial: Trial | None, *, made: bool = False) -> None:
        self._done += 1
        self._found += not made
        if trial is not None and trial.score is not None:
            self._best = trial.score if self._best is None else max(self._best, trial.score)
        if self._on_progress is not None:
            self._on_progress(Progress(self._done, self._total, self._found, self._best))


@contextmanager
def open_study(
    objective: Objective | WindowObjective,
    *,
    study_dir: Path | None = None,
    n_jobs: int | None = 1,
    cluster: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[Study]:
    """The study of an objective in `study_dir`, resumed if it is there; without one the trials are forgotten at the end.

    `n_jobs` processes on this machine (None: one per core), or the `cluster` of `parse_cluster`. Raises `ConfigError` for a
    folder of another objective or that another process writes to, and for workers that cannot be had.
    """
    where = parse_cluster(cluster) if cluster is not None else None
    with ExitStack() as stack:
        if study_dir is None:
            study_dir = Path(stack.enter_context(TemporaryDirectory(prefix="autohedge-study-")))
        table = stack.enter_context(TrialTable(study_dir, objective.identity))
        workers = stack.enter_context(Workers(objective, n_jobs=n_jobs, cluster=where, scratch_dir=study_dir))
        yield Study(table, workers, on_progress)


def optimise(
    objective: Objective | WindowObjective,
    space: Space,
    *,
    sampler: Sampler | None = None,
    study_dir: Path | None = None,
    n_jobs: int | None = 1,
    cluster: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search `space` for the parameters with the highest score; by default the whole grid, in this process.

    Everything else as in `open_study`. Raises `ConfigError` for a space that the sampler cannot search, and `InvariantBroken`
    when a trial broke.
    """
    sampler = sampler or Grid()
    count = sampler.count(space)
    with open_study(objective, study_dir=study_dir, n_jobs=n_jobs, cluster=cluster, on_progress=on_progress) as study:
        study.expect(count)
        return study.search(space, sampler)


def study_name(identity: Mapping[str, object]) -> str:
    """A folder name for the study of an objective: equal identities share it."""
    return digest_of(dict(identity))[:12]


def ranked(trials: Iterable[Trial]) -> tuple[Row, ...]:
    """Each trial once, in its place; `trials` are in the order of asking."""
    first: dict[str, tuple[int, Trial]] = {}
    for number, trial in enumerate(trials):
        first.setdefault(trial.key, (number, trial))
    ordered = sorted(first.values(), key=lambda each: (each[1].score is None, -(each[1].score or 0.0)))
    return tuple(
        Row(None if trial.score is None else rank, number, trial) for rank, (number, trial) in enumerate(ordered, start=1)
    )


def _told(params: Params) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())
