"""Bayesian search: fixed batches, so that it repeats with any number of workers and after a resume."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from autohedge.backtest.bayesian import Bayesian
from autohedge.backtest.search import SearchResult, optimise
from autohedge.backtest.search_space import parse_space
from autohedge.errors import ConfigError, InvariantBroken
from tests.unit.backtest.search_objectives import Faulty, Hill

SPACE = parse_space(["x=0:8:0.25", "y=1,2,3"])
WIDE = parse_space(["x=0:1000"])


def asked(result: SearchResult) -> list[object]:
    """The parameters in the order in which they were first asked for."""
    return [row.trial.params for row in sorted(result.rows, key=lambda row: row.number)]


def test_two_workers_ask_for_what_one_would() -> None:
    alone = optimise(Hill(), SPACE, sampler=Bayesian(30, 4))
    assert optimise(Hill(), SPACE, sampler=Bayesian(30, 4), n_jobs=2) == alone
    assert alone.asked == 30 and len(alone.rows) <= 30


def test_a_resumed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    """Stopped in the middle of a batch: what is there is told again, what is missing is made, and the end is the same."""
    whole = optimise(Hill(), SPACE, sampler=Bayesian(30, 4))
    objective = Hill(calls=tmp_path / "calls")
    part = optimise(objective, SPACE, sampler=Bayesian(14, 4), study_dir=tmp_path / "study")
    before = objective.made()
    assert before == len(part.rows)
    assert optimise(objective, SPACE, sampler=Bayesian(30, 4), study_dir=tmp_path / "study") == whole
    assert objective.made() == len(whole.rows) > before


def test_a_crash_in_the_middle_of_a_batch_changes_nothing_in_the_end(tmp_path: Path) -> None:
    whole = optimise(Faulty({}), WIDE, sampler=Bayesian(24, 6))
    broken_at = int(str(whole.rows[5].trial.params["x"]))
    with pytest.raises(InvariantBroken):
        optimise(Faulty({broken_at: "broken"}), WIDE, sampler=Bayesian(24, 6), study_dir=tmp_path)
    assert optimise(Faulty({}), WIDE, sampler=Bayesian(24, 6), study_dir=tmp_path) == whole


def test_seed_and_batch_decide_what_is_asked() -> None:
    searches = [
        asked(optimise(Hill(), SPACE, sampler=each)) for each in (Bayesian(24, 4, 7), Bayesian(24, 4, 8), Bayesian(24, 8, 7))
    ]
    assert searches[0] != searches[1] and searches[0] != searches[2]
    assert searches[0][:4] == searches[2][:4]


def test_it_learns() -> None:
    """Fifty trials among a thousand and one points: half of the later ones lie in the best tenth of the range."""
    result = optimise(Faulty({}), WIDE, sampler=Bayesian(50, 5))
    later = [int(str(params["x"])) for params in asked(result)[25:]]  # type: ignore[index]
    assert sum(x < 100 for x in later) >= len(later) / 2
    assert result.best is not None and int(str(result.best.params["x"])) < 10


def test_values_lie_on_the_step_exactly() -> None:
    space = parse_space(["x=0.1:0.9:0.1", "y=1:1000", "z=log:0.001:10", "on=true,false"])
    result = optimise(Hill(), space, sampler=Bayesian(25, 5))
    tenths = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}
    for row in result.rows:
        values = row.trial.params
        assert values["x"] in tenths and isinstance(values["y"], int) and isinstance(values["on"], bool)
        assert isinstance(values["z"], float) and 0.001 <= values["z"] <= 10


def test_the_search_keeps_away_from_where_trials_fail() -> None:
    """All below 500 fails, and would be best if a failure counted as 0: then the search would go there and stay."""
    result = optimise(Faulty(dict.fromkeys(range(500), "refused")), WIDE, sampler=Bayesian(60, 5))
    later = [int(str(params["x"])) for params in asked(result)[30:]]  # type: ignore[index]
    assert result.failed > 0 and result.best is not None and int(str(result.best.params["x"])) < 510
    assert sum(x >= 500 for x in later) > 0.4 * len(later)


def test_optuna_says_nothing_and_keeps_the_hosts_level(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        optimise(Faulty({1: "refused"}), WIDE, sampler=Bayesian(12, 4))
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")


def test_a_space_that_a_grid_would_cover_is_refused() -> None:
    with pytest.raises(ConfigError, match="only 2 points and 100 trials"):
        optimise(Hill(), parse_space(["x=1,2"]), sampler=Bayesian())


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"trials": 100_001}, {"batch": 0}, {"batch": 10_001}])
def test_numbers_out_of_bounds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Bayesian(**wrong)
