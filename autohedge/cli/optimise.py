"""`autohedge optimise`: search parameters over backtests, resumable, with what the best is worth next to it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from autohedge.cli import options
from autohedge.cli.errors import EXIT_INTERRUPTED
from autohedge.errors import AutoHedgeError, ConfigError

if TYPE_CHECKING:
    from autohedge.backtest.search import Sampler, SearchResult, WindowObjective
    from autohedge.backtest.search_space import Space
    from autohedge.backtest.walk_forward import WalkForward, WalkForwardResult
    from autohedge.settings import Settings

STUDIES = "searches"
"""Where below the output folder studies are kept that were given no folder."""
SAMPLERS = ("grid", "tpe")
DEFAULT_TRIALS = 100
DEFAULT_BATCH = 8
MAX_GRID = 1_000_000


class ObjectiveFactory(Protocol):
    """Makes the objective of a search from settings. Raises `ConfigError` for an unknown metric or parameter name."""

    def __call__(self, settings: Settings, *, metric: str, names: Sequence[str]) -> WindowObjective:
        """An objective whose score is `metric` (higher is better), to be asked about the parameters `names`."""
        ...


ParamSpecs = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=SPEC", help="What to vary: A,B,… or LOW:HIGH[:STEP] or log:LOW:HIGH. Repeat it."),
]
SamplerName = Annotated[str, typer.Option("--sampler", metavar="grid|tpe", help="Every point, or Bayesian search.")]
Trials = Annotated[int | None, typer.Option("--trials", metavar="N", min=1, help=f"Trials of tpe. Default {DEFAULT_TRIALS}.")]
Batch = Annotated[
    int | None,
    typer.Option("--batch", metavar="N", min=1, help=f"Trials that tpe asks for at a time. Default {DEFAULT_BATCH}."),
]
MaxGrid = Annotated[int, typer.Option("--max-grid", metavar="N", min=1, help="Refuse a grid of more points.")]
Jobs = Annotated[int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes here. Default one per core.")]
ClusterName = Annotated[
    str | None, typer.Option("--cluster", metavar="local[:N]|HOST:PORT|ray", help="Search on a dask or ray cluster instead.")
]
Metric = Annotated[str, typer.Option("--metric", metavar="NAME", help="What is made as high as possible.")]
WalkForwardSpec = Annotated[
    str | None,
    typer.Option("--walk-forward", metavar="SPEC", help="train=7d,test=1d[,purge=1h][,anchored]: choose, then judge, in turn."),
]
StudyDir = Annotated[
    Path | None, typer.Option("--study", metavar="DIR", help="Where trials are kept. The same command goes on from there.")
]
Top = Annotated[int, typer.Option("--top", metavar="N", min=1, help="Rows of the table to show; --json has all.")]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for, checked, before anything runs."""

    space: Space
    sampler: Sampler
    count: int
    walk_forward: WalkForward | None
    jobs: int | None
    cluster: str | None


def command_with(factory: Callable[[], ObjectiveFactory]) -> Callable[..., None]:
    """The command over objectives of the factory that `factory` loads when the command runs."""

    @options.takes_settings
    def optimise(
        *,
        settings: Settings,
        param: ParamSpecs = None,
        sampler: SamplerName = "grid",
        trials: Trials = None,
        batch: Batch = None,
        max_grid: MaxGrid = MAX_GRID,
        jobs: Jobs = None,
        cluster: ClusterName = None,
        metric: Metric = "sharpe",
        walk_forward: WalkForwardSpec = None,
        study: StudyDir = None,
        top: Top = 20,
        as_json: options.AsJson = False,
    ) -> None:
        """Backtest many parameters, rank them, and say how much of the best is luck.

        Trials are kept as they finish: after Ctrl-C or a kill the same command goes on from there, and once it is through it
        prints its table again.
        """
        _need_numpy()
        chosen = _sampler(sampler, trials, batch, max_grid, settings.seed)
        plan = _plan(param or [], chosen, walk_forward, jobs, cluster)
        objective = factory()(settings, metric=metric, names=list(plan.space.parameters))
        from autohedge.backtest.search import study_name

        folder = study or settings.out_dir / STUDIES / study_name(objective.identity)
        _say(_size(plan, objective))
        _say(f"trials are kept in {folder}")
        with _interruptible(folder):
            result = _run(plan, objective, folder)
        about = {"sampler": sampler, "metric": metric, "space": plan.space.describe(), "study": str(folder)}
        _show(about, result, top, as_json)

    return optimise


def _product_factory() -> ObjectiveFactory:
    """The backtest's own objective."""
    from autohedge.backtest.objective import build_objective

    return build_objective


optimise = command_with(_product_factory)


# ---------------------------------------------------------------- what was asked for


def _need_numpy() -> None:
    """Everything below is arithmetic on arrays."""
    try:
        import numpy  # noqa: F401 - only to know whether it is there
    except ImportError as error:
        raise ConfigError("a search needs numpy, which is not installed: run  pip install 'autohedge[backtest]'") from error


def _sampler(name: str, trials: int | None, batch: int | None, max_grid: int, seed: int) -> Sampler:
    from autohedge.backtest.bayesian import Bayesian
    from autohedge.backtest.search import Grid

    if name not in SAMPLERS:
        raise ConfigError(f"--sampler expects one of {', '.join(SAMPLERS)}, found {name!r}")
    if name == "tpe":
        return Bayesian(trials or DEFAULT_TRIALS, batch or DEFAULT_BATCH, seed)
    if trials is not None or batch is not None:
        raise ConfigError("--trials and --batch belong to --sampler tpe; a grid makes a trial of each of its points")
    return Grid(max_grid)


def _plan(specs: list[str], sampler: Sampler, walk_forward: str | None, jobs: int | None, cluster: str | None) -> _Plan:
    from autohedge.backtest.cluster import parse_cluster
    from autohedge.backtest.search_space import parse_space
    from autohedge.backtest.walk_forward import parse_walk_forward

    if not specs:
        raise ConfigError("expected what to vary, such as  --param spread_percentage=0.0005:0.003:0.0005  , found no --param")
    if cluster is not None:
        if jobs is not None:
            raise ConfigError("--jobs counts processes on this machine and --cluster replaces them; give one of the two")
        parse_cluster(cluster)
    space = parse_space(specs)
    folds = parse_walk_forward(walk_forward) if walk_forward is not None else None
    return _Plan(space, sampler, sampler.count(space), folds, jobs, cluster)


def _size(plan: _Plan, objective: WindowObjective) -> str:
    trials = f"{plan.count:,} trials ({plan.space.describe()})"
    if plan.walk_forward is None:
        return trials
    folds = len(plan.walk_forward.folds(*objective.span_ns))
    return f"{folds} folds with {trials} and a test each: {folds * (plan.count + 1):,} trials"


# ---------------------------------------------------------------- doing it


def _run(plan: _Plan, objective: WindowObjective, folder: Path) -> SearchResult | WalkForwardResult:
    from autohedge.backtest import search
    from autohedge.backtest.walk_forward import walk_forward
    from autohedge.cli.optimise_render import SearchProgress

    with SearchProgress() as progress:
        where: dict[str, Any] = {
            "sampler": plan.sampler,
            "study_dir": folder,
            "n_jobs": plan.jobs,
            "cluster": plan.cluster,
            "on_progress": progress.update,
        }
        if plan.walk_forward is not None:
            return walk_forward(objective, plan.space, plan.walk_forward, **where)
        return search.optimise(objective, plan.space, **where)


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    """Ctrl-C and SIGTERM end in one line and exit code 130; what is finished is on disk."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        _say(f"stopped; the finished trials are in {folder} and the same command goes on from there")
        raise SystemExit(EXIT_INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(about: dict[str, str], result: SearchResult | WalkForwardResult, top: int, as_json: bool) -> None:
    """The result on stdout; `AutoHedgeError` when there is nothing to choose from."""
    from autohedge.backtest.search import SearchResult
    from autohedge.cli.optimise_render import print_search, print_walk_forward

    is_search = isinstance(result, SearchResult)
    if as_json:
        import orjson

        sys.stdout.buffer.write(orjson.dumps({**about, "search" if is_search else "walk_forward": result.to_dict()}) + b"\n")
        sys.stdout.buffer.flush()
    elif isinstance(result, SearchResult):
        print_search(about, result, top)
    else:
        print_walk_forward(about, result)
    if isinstance(result, SearchResult):
        if result.best is None:
            raise AutoHedgeError(f"no trial has a score; the first: {result.rows[0].trial.reason}")
    elif not result.tested:
        raise AutoHedgeError(f"no fold has a test score; the first: {result.folds[0].reason}")


def _say(text: str) -> None:
    print(f"autohedge: {text}", file=sys.stderr, flush=True)
