"""The search itself: one table however it is run, failures kept, nothing finished ever lost or made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autohedge.backtest.parallel import CrashTrace
from autohedge.backtest.search import Grid, Progress, Row, SearchResult, open_study, optimise, study_name
from autohedge.backtest.search_space import Space, parse_space
from autohedge.errors import ConfigError, InvariantBroken
from tests.unit.backtest.search_objectives import Faulty, Hill

SPACE = parse_space(["x=0:5", "y=1,2"])
ONE = parse_space(["x=0:9"])


def scores(result: SearchResult) -> list[tuple[int | None, object, float | None, str]]:
    return [(row.rank, row.trial.params["x"], row.trial.score, row.trial.reason) for row in result.rows]


def test_the_table_is_ranked_and_the_best_is_the_best() -> None:
    result = optimise(Hill(top=3.0), SPACE)
    assert len(result.rows) == result.asked == 12 and result.failed == 0
    found = [row.trial.score or 0.0 for row in result.rows]
    assert found == sorted(found, reverse=True) and [row.rank for row in result.rows] == list(range(1, 13))
    assert result.best is result.rows[0].trial and result.best.metrics["word"] == "w"
    by_hand = max(SPACE.grid(), key=lambda params: Hill(top=3.0)(params).score or 0.0)
    assert result.best.params == by_hand


def test_two_workers_make_the_table_of_one() -> None:
    """And everything that is measured on it."""
    alone, together = optimise(Hill(), SPACE), optimise(Hill(), SPACE, n_jobs=2)
    assert together == alone


def test_a_second_run_makes_nothing_and_finds_the_same(tmp_path: Path) -> None:
    objective = Hill(calls=tmp_path / "calls")
    first = optimise(objective, SPACE, study_dir=tmp_path / "study")
    seen: list[Progress] = []
    again = optimise(objective, SPACE, study_dir=tmp_path / "study", on_progress=seen.append)
    assert again == first and objective.made() == 12
    assert seen[-1] == Progress(12, 12, 12, first.rows[0].trial.score)


def test_another_space_of_the_same_study_adds_only_what_is_new_and_counts_all_tries(tmp_path: Path) -> None:
    """A finer grid after a coarse one: the trials of both are tries, and luck is measured over both."""
    objective = Hill(calls=tmp_path / "calls")
    optimise(objective, parse_space(["x=0:8:2"]), study_dir=tmp_path / "study")
    finer = optimise(objective, parse_space(["x=2:6"]), study_dir=tmp_path / "study")
    assert objective.made() == 5 + 2
    assert len(finer.rows) == 5 and finer.overfitting.trials == 7
    assert optimise(objective, parse_space(["x=2:6"])).overfitting.trials == 5


def test_a_study_of_another_objective_is_refused(tmp_path: Path) -> None:
    optimise(Hill(), SPACE, study_dir=tmp_path)
    with pytest.raises(ConfigError, match="data is abc, here it is abd"):
        optimise(Hill(identity={"objective": "hill", "data": "abd"}), SPACE, study_dir=tmp_path)


def test_studies_are_named_for_what_decides_their_answers() -> None:
    assert study_name({"a": 1, "b": 2}) == study_name({"b": 2, "a": 1}) != study_name({"a": 1, "b": 3})


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_failed_trial_is_in_the_table_with_its_reason_and_is_not_nought(n_jobs: int) -> None:
    """All scores here are below 0: a failure that counted as 0 would win."""
    result = optimise(Faulty({2: "refused", 5: "undefined", 0: "nan"}), ONE, n_jobs=n_jobs)
    assert [row[1] for row in scores(result)] == [1, 3, 4, 6, 7, 8, 9, 0, 2, 5]
    assert scores(result)[-3:] == [
        (None, 0, None, "the score is nan"),
        (None, 2, None, "ConfigError: x = 2 is out of the model's domain"),
        (None, 5, None, "no trade was made"),
    ]
    assert result.failed == 3 and result.best is not None and result.best.params == {"x": 1}


def test_a_failed_trial_is_not_tried_again(tmp_path: Path) -> None:
    """What it said of its parameters stands; a resumed search gives the same table."""
    first = optimise(Faulty({2: "refused"}), ONE, study_dir=tmp_path)
    assert optimise(Faulty({}), ONE, study_dir=tmp_path) == first


def test_when_every_trial_fails_there_is_no_best() -> None:
    result = optimise(Faulty(dict.fromkeys(range(10), "refused")), ONE)
    assert result.best is None and result.failed == 10
    assert "no trial has a score" in result.overfitting.sentences()[0]
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["best"] is None


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    ("fault", "said"), [("broken", "ZeroDivisionError: one by nought"), ("disk", "StorageError: no space")]
)
def test_an_exception_that_is_no_outcome_stops_the_search_and_loses_nothing(
    tmp_path: Path, n_jobs: int, fault: str, said: str
) -> None:
    """The trials before it are kept; once the cause is gone the search goes on to the same table."""
    with pytest.raises(InvariantBroken, match=rf"the trial x=6 broke: {said}.*finished trials are kept") as stopped:
        optimise(Faulty({6: fault}), ONE, study_dir=tmp_path, n_jobs=n_jobs)
    assert isinstance(stopped.value.__cause__, CrashTrace) and "search_objectives.py" in str(stopped.value.__cause__)
    seen: list[Progress] = []
    mended = optimise(Faulty({}), ONE, study_dir=tmp_path, on_progress=seen.append)
    assert mended == optimise(Faulty({}), ONE)
    assert seen[-1].found == 6 if n_jobs == 1 else seen[-1].found >= 1


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        optimise(Faulty({6: "interrupted"}), ONE, study_dir=tmp_path)
    seen: list[Progress] = []
    optimise(Faulty({}), ONE, study_dir=tmp_path, on_progress=seen.append)
    assert seen[-1].found == 6


def test_an_objective_that_returns_something_else_is_told_so() -> None:
    with pytest.raises(InvariantBroken, match="expected the objective to return a TrialOutcome, found NoneType"):
        optimise(Faulty({0: "nothing"}), ONE)


def test_equal_scores_stay_in_the_order_of_asking() -> None:
    """The same whatever finished first."""
    space = parse_space(["z=c,a,b", "x=1,2"])
    result = optimise(Faulty({}), space, n_jobs=2)
    assert [(row.trial.params["x"], row.trial.params["z"]) for row in result.rows] == [
        (x, z) for x in (1, 2) for z in ("c", "a", "b")
    ]
    assert [row.number for row in result.rows] == [0, 2, 4, 1, 3, 5]


def test_a_grid_that_is_too_large_is_refused_before_anything_runs(tmp_path: Path) -> None:
    objective = Hill(calls=tmp_path / "calls")
    huge = parse_space(["a=1:1000", "x=1:1001"])
    with pytest.raises(ConfigError, match=r"1,001,000 points \(a 1000 x x 1001\)"):
        optimise(objective, huge, study_dir=tmp_path / "study")
    with pytest.raises(ConfigError, match="more than the 5 allowed"):
        optimise(objective, SPACE, sampler=Grid(max_trials=5))
    assert objective.made() == 0 and not (tmp_path / "study").exists()
    assert Grid(max_trials=2_000_000).count(huge) == 1_001_000


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_parameters_asked_for_twice_are_made_once(tmp_path: Path, n_jobs: int) -> None:
    """Also while the first asking is still under way."""
    objective = Hill(calls=tmp_path / "calls")
    with open_study(objective, n_jobs=n_jobs) as study:
        trials = study.evaluate([({"x": 1 + number % 2}, None) for number in range(20)])
    assert objective.made() == 2 and trials[0] is trials[2] and trials[0] is not trials[1] and len(trials) == 20


def test_an_objective_cannot_change_the_parameters_it_is_given() -> None:
    class Greedy(Hill):
        def __call__(self, params: dict[str, object]) -> object:  # type: ignore[override]
            params["x"] = 3
            return super().__call__(params)  # type: ignore[arg-type]

    result = optimise(Greedy(), ONE)  # type: ignore[arg-type]
    assert sorted(row.trial.params["x"] for row in result.rows) == list(range(10))


def test_progress_counts_every_trial_once() -> None:
    seen: list[Progress] = []
    optimise(Faulty({3: "refused"}), ONE, n_jobs=2, on_progress=seen.append)
    assert [each.done for each in seen] == list(range(1, 11))
    assert {each.total for each in seen} == {10} and seen[-1].best_score == 0.0 and seen[-1].found == 0


def test_the_result_is_plain_data() -> None:
    plain = json.loads(json.dumps(optimise(Hill(), SPACE).to_dict(), allow_nan=False))
    assert plain["best"]["params"] == plain["trials"][0]["params"] and plain["trials"][0]["period_ns"] == "1000000000"
    assert plain["overfitting"]["cscv"]["splits"] == 12_870 and len(plain["overfitting"]["in_words"]) == 2


def test_a_row_is_its_trial_in_its_place() -> None:
    (row, *_) = optimise(Hill(), Space(ONE.parameters)).rows
    assert Row(1, row.number, row.trial) == row and row.trial.window is None
