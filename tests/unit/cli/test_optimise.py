"""`autohedge optimise` from its words to its exit code, over an objective that needs no market."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import typer

from autohedge.cli.errors import told_plainly
from autohedge.cli.optimise import ObjectiveFactory, command_with
from autohedge.errors import ConfigError
from autohedge.settings import Settings
from tests.unit.backtest.search_objectives import Faulty, Hill, Seasons
from tests.unit.cli.conftest import Ended

Cli = Callable[..., Ended]


class Wanted:
    """A factory that notes what it was asked for."""

    def __init__(self, objective: object) -> None:
        self.objective = objective
        self.settings: Settings | None = None
        self.asked: tuple[str, tuple[str, ...]] | None = None

    def __call__(self, settings: Settings, *, metric: str, names: Sequence[str]) -> object:
        self.settings, self.asked = settings, (metric, tuple(names))
        if metric == "luck":
            raise ConfigError("no metric is called luck")
        return self.objective


@pytest.fixture
def factory() -> Wanted:
    return Wanted(Hill())


@pytest.fixture
def optimise(tmp_path: Path, factory: Wanted, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run the command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()

    def load() -> ObjectiveFactory:
        return factory  # type: ignore[return-value]

    app.command()(command_with(load))

    def run(*arguments: str) -> Ended:
        code: object = 0
        try:
            with told_plainly():
                app([*arguments])
        except SystemExit as ended:
            code = ended.code or 0
        captured = capfd.readouterr()
        return Ended(int(str(code)), captured.out, captured.err)

    return run


BEST = max(((x, y) for x in range(6) for y in (1, 2)), key=lambda each: Hill()({"x": each[0], "y": each[1]}).score or 0.0)
GRID = ("--param", "x=0:5", "--param", "y=1,2", "--jobs", "1")


def test_a_grid_is_sized_run_ranked_and_judged(optimise: Cli, factory: Wanted) -> None:
    done = optimise(*GRID, "--metric", "calmar")
    assert done.code == 0
    assert "12 trials (x 6 x y 2)" in done.err and "trials are kept in outputs/searches/" in done.err
    assert "Search for calmar (grid over x 6 x y 2): 12 trials, 0 without a score" in done.out
    rows = [line.split() for line in done.out.splitlines() if line.startswith("│ ")]
    assert [row[1] for row in rows] == [str(rank) for rank in range(1, 13)] and (rows[0][3], rows[0][5]) == tuple(
        map(str, BEST)
    )
    assert "Deflated Sharpe ratio 0." in done.out and "Probability of overfitting 0." in done.out
    assert factory.asked == ("calmar", ("x", "y"))


def test_settings_reach_the_objective_and_the_study_lies_in_the_output_folder(optimise: Cli, factory: Wanted) -> None:
    assert optimise(*GRID, "--out", "elsewhere", "--seed", "11", "--set", "levels=2").code in (0, 2)
    assert optimise(*GRID, "--out", "elsewhere", "--seed", "11").code == 0
    assert factory.settings is not None and factory.settings.seed == 11
    assert [path.name for path in Path("elsewhere/searches").glob("*/*")] == ["trials-0001.jsonl"]


def test_the_same_command_goes_on_and_json_is_one_object(optimise: Cli, factory: Wanted, tmp_path: Path) -> None:
    factory.objective = Hill(calls=tmp_path / "calls")
    first = optimise(*GRID, "--study", "mine", "--json")
    again = optimise(*GRID, "--study", "mine", "--json")
    assert first.out == again.out and first.code == again.code == 0
    assert len((tmp_path / "calls").read_text().splitlines()) == 12
    found = first.json
    assert found["study"] == "mine" and found["metric"] == "sharpe" and found["sampler"] == "grid"
    assert len(found["search"]["trials"]) == 12 and found["search"]["best"]["params"] == dict(zip("xy", BEST, strict=True))
    assert found["search"]["overfitting"]["deflated_sharpe_ratio"] is not None


def test_a_bayesian_search_takes_its_seed_from_the_settings(optimise: Cli) -> None:
    wide = ("--param", "x=0.0:8.0", "--sampler", "tpe", "--trials", "12", "--batch", "3", "--jobs", "1", "--json")
    first, second, other = (optimise(*wide, "--seed", seed, "--study", f"s{n}") for n, seed in enumerate(("5", "5", "6")))
    assert first.json["search"] == second.json["search"] != other.json["search"]
    assert first.json["search"]["asked"] == 12


def test_walk_forward_shows_each_fold_and_what_they_come_to(optimise: Cli, factory: Wanted) -> None:
    factory.objective = Seasons((2, 2, 2, 2, 4, 4, 4))
    spec = ("--param", "x=1:5", "--walk-forward", "train=2d,test=1d", "--jobs", "1")
    done = optimise(*spec)
    assert done.code == 0 and "5 folds with 5 trials (x 5) and a test each: 30 trials" in done.err
    assert "5 folds, 5 tested" in done.out and "1970-01-03 00:00:00" in done.out
    assert "x: mostly 2 (60%), changed at 50% of the steps, over 50% of its range" in done.out
    assert "Out of sample: a Sharpe ratio of" in done.out and "Degradation: mean score" in done.out
    assert len(optimise(*spec, "--json").json["walk_forward"]["folds"]) == 5


def test_two_jobs_print_what_one_prints(optimise: Cli) -> None:
    alone = optimise(*GRID, "--study", "a", "--json").json["search"]
    assert optimise("--param", "x=0:5", "--param", "y=1,2", "--jobs", "2", "--study", "b", "--json").json["search"] == alone


def test_failures_are_counted_with_their_reasons(optimise: Cli, factory: Wanted) -> None:
    factory.objective = Faulty({1: "refused", 2: "undefined", 3: "undefined"})
    done = optimise("--param", "x=0:5", "--jobs", "1", "--top", "2")
    assert done.code == 0 and "6 trials, 3 without a score" in done.out
    assert "2 without a score: no trade was made" in done.out and "and 1 more: --top N or --json" in done.out


def test_when_nothing_has_a_score_the_command_fails_and_says_why(optimise: Cli, factory: Wanted) -> None:
    factory.objective = Faulty(dict.fromkeys(range(6), "undefined"))
    done = optimise("--param", "x=0:5", "--jobs", "1")
    assert done.code == 1 and "autohedge: no trial has a score; the first: no trade was made" in done.err
    factory.objective = Seasons((2,) * 4)
    done = optimise("--param", "x=8,9", "--walk-forward", "train=2d,test=1d", "--jobs", "1")
    assert done.code == 1 and "no fold has a test score" in done.err


def test_a_broken_objective_ends_in_one_line(optimise: Cli, factory: Wanted) -> None:
    factory.objective = Faulty({4: "broken"})
    done = optimise("--param", "x=0:5", "--jobs", "1")
    assert done.code == 1 and "Traceback" not in done.err
    assert "the trial x=4 broke: ZeroDivisionError: one by nought" in done.err and "4 finished trials are kept" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on(optimise: Cli, factory: Wanted, number: signal.Signals) -> None:
    class Interrupted(Faulty):
        def __call__(self, params):  # type: ignore[no-untyped-def]
            if params["x"] == 4:
                os.kill(os.getpid(), number)
            return super().__call__(params)

    before = signal.getsignal(signal.SIGTERM)
    factory.objective = Interrupted({})
    done = optimise("--param", "x=0:5", "--jobs", "1", "--study", "s")
    assert done.code == 130 and "stopped; the finished trials are in s and the same command goes on" in done.err
    assert signal.getsignal(signal.SIGTERM) is before
    factory.objective = Faulty({})
    assert optimise("--param", "x=0:5", "--jobs", "1", "--study", "s").code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "found no --param"),
        (("--param", "x"), "expected NAME=SPEC"),
        (("--param", "x=5:1"), "low bound below"),
        (("--param", "x=0.1:0.9"), "a grid needs a step for x"),
        (("--param", "x=1:100", "--max-grid", "50"), "100 points"),
        (("--param", "x=1:5", "--sampler", "random"), "--sampler expects one of grid, tpe"),
        (("--param", "x=1:5", "--trials", "9"), "belong to --sampler tpe"),
        (("--param", "x=1:5", "--batch", "9"), "belong to --sampler tpe"),
        (("--param", "x=1:5", "--sampler", "tpe"), "only 5 points"),
        (("--param", "x=1:5", "--cluster", "moon"), "expected a cluster as local"),
        (("--param", "x=1:5", "--cluster", "local:2", "--jobs", "2"), "give one of the two"),
        (("--param", "x=1:5", "--walk-forward", "7d"), "expected train=7d,test=1d"),
        (("--param", "x=1:5", "--metric", "luck"), "no metric is called luck"),
        (("--param", "x=1:5", "--seed", "-1"), "seed"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_anything_runs(optimise: Cli, arguments: tuple[str, ...], why: str) -> None:
    done = optimise(*arguments)
    assert done.code == 2 and done.out == ""
    assert why in done.err and len(done.err.strip().splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_data_too_short_for_a_fold_are_refused_before_anything_runs(optimise: Cli, factory: Wanted) -> None:
    factory.objective = Seasons((2, 2))
    done = optimise("--param", "x=1:5", "--walk-forward", "train=2d,test=1d")
    assert done.code == 2 and "needs 3d" in done.err and list(Path().iterdir()) == []


def test_the_bar_moves_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one it writes nothing."""
    from autohedge.backtest.search import Progress
    from autohedge.cli.optimise_render import SearchProgress

    for forced, shown in (("1", True), ("", False)):
        monkeypatch.setenv("FORCE_COLOR", forced)
        with SearchProgress() as progress:
            progress.update(Progress(3, 12, 1, 0.5))
        assert ("3/12" in capsys.readouterr().err) is shown


def test_a_table_names_text_that_looks_like_markup_as_it_is(optimise: Cli) -> None:
    done = optimise("--param", "x=1,2", "--param", "y=1,2", "--param", "touch=[bold],[/x]", "--jobs", "1")
    assert done.code == 0 and "[bold]" in done.out and "[/x]" in done.out
    json.loads(optimise("--param", "x=1,2", "--param", "touch=[bold],[/x]", "--jobs", "1", "--json").out)
