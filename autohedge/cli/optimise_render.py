"""What a person sees of a search: its progress on stderr, the ranked table with its footer on stdout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from autohedge.cli.render import clock_text, shortened, stdout_console

if TYPE_CHECKING:
    from autohedge.backtest.search import Progress, SearchResult
    from autohedge.backtest.trials import Trial
    from autohedge.backtest.walk_forward import FoldResult, WalkForwardResult

SHOWN_METRICS = 4
SHOWN_REASONS = 3


class SearchProgress:
    """A bar on stderr, only where somebody can see it move; gone when the search is over."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("trials", total=None)

    def __enter__(self) -> SearchProgress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def update(self, progress: Progress) -> None:
        """Show where the search stands."""
        found = f", {progress.found:,} were there" if progress.found else ""
        best = "" if progress.best_score is None else f", best {_figure(progress.best_score).plain}"
        self._bars.update(self._task, completed=progress.done, total=progress.total, description=f"trials{found}{best}")


def print_search(about: dict[str, str], result: SearchResult, top: int) -> None:
    """The table, and under it what its first row is worth."""
    console = stdout_console()
    console.print(_heading(about, f"{len(result.rows):,} trials, {result.failed:,} without a score"))
    scored = [row for row in result.rows if row.rank is not None]
    if scored:
        params, metrics = list(scored[0].trial.params), list(scored[0].trial.metrics)[:SHOWN_METRICS]
        table = Table("rank", *params, about["metric"], *(name for name in metrics if name != about["metric"]))
        for row in scored[:top]:
            others = (row.trial.metrics.get(name) for name in metrics if name != about["metric"])
            table.add_row(
                str(row.rank), *_values(row.trial, params), _figure(row.trial.score), *(_figure(each) for each in others)
            )
        console.print(table)
    if len(scored) > top:
        console.print(Text(f"and {len(scored) - top:,} more: --top N or --json"))
    _print_reasons(console, [row.trial.reason for row in result.rows if row.rank is None])
    for sentence in result.overfitting.sentences():
        console.print(Text(sentence))


def print_walk_forward(about: dict[str, str], result: WalkForwardResult) -> None:
    """A row per fold, and under it what all test windows come to."""
    console = stdout_console()
    console.print(_heading(about, f"{len(result.folds):,} folds, {result.tested:,} tested"))
    params = list(result.stability)
    table = Table("train from", "test from", "test to", *params, "train", "test", "deflated Sharpe", "overfitting")
    for each in result.folds:
        table.add_row(*_fold_cells(each, params))
    console.print(table)
    _print_reasons(console, [each.reason for each in result.folds if each.reason])
    for name, stability in result.stability.items():
        changes = "" if stability.changes_frac is None else f", changed at {stability.changes_frac:.0%} of the steps"
        spread = "" if stability.range_frac is None else f", over {stability.range_frac:.0%} of its range"
        console.print(Text(f"{name}: mostly {stability.usual} ({stability.usual_frac:.0%}){changes}{spread}"))
    for sentence in result.sentences():
        console.print(Text(sentence))


def _fold_cells(each: FoldResult, params: Sequence[str]) -> list[str | Text]:
    cscv = each.overfitting.cscv
    return [
        clock_text(each.fold.train.start_ns),
        clock_text(each.fold.test.start_ns),
        clock_text(each.fold.test.end_ns),
        *(_values(each.chosen, params) if each.chosen is not None else ["-"] * len(params)),
        _figure(each.chosen.score if each.chosen is not None else None),
        _figure(each.test.score if each.test is not None else None),
        _figure(each.overfitting.deflated_sharpe_ratio),
        _figure(cscv.pbo if cscv is not None else None),
    ]


def _heading(about: dict[str, str], counted: str) -> Text:
    heading = Text("Search", style="bold")
    return heading.append(f" for {about['metric']} ({about['sampler']} over {about['space']}): {counted}", style="not bold")


def _print_reasons(console: Console, reasons: list[str]) -> None:
    """The most frequent reasons why something has no score."""
    common = Counter(reasons).most_common()
    for reason, times in common[:SHOWN_REASONS]:
        console.print(Text(f"{times:,} without a score: {shortened(reason, 120)}"))
    if len(common) > SHOWN_REASONS:
        console.print(Text(f"and {len(common) - SHOWN_REASONS:,} other reasons: --json"))


def _values(trial: Trial, names: Sequence[str]) -> list[Text]:
    return [_figure(trial.params.get(name)) for name in names]


def _figure(value: float | str | None) -> Text:
    """A number with the digits that count; a dash where there is none. Text is shown as it is, never as markup."""
    if value is None:
        return Text("-")
    return Text(f"{value:.6g}" if isinstance(value, float) else str(value))
