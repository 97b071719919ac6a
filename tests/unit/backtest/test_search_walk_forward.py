"""Walk-forward: windows that never look ahead, and a record of what choosing came to."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.backtest.bayesian import Bayesian
from autohedge.backtest.search import Progress
from autohedge.backtest.search_space import parse_space
from autohedge.backtest.sharpe import probabilistic_sharpe_ratio
from autohedge.backtest.trials import Window
from autohedge.backtest.walk_forward import WalkForward, parse_walk_forward, walk_forward
from autohedge.errors import ConfigError
from tests.unit.backtest.search_objectives import NS, Seasons

DAY = 86_400 * NS
SPACE = parse_space(["x=1:5"])
PLAN = parse_walk_forward("train=2d,test=1d")


@given(
    start=st.integers(0, 10**19),
    train=st.integers(1, 10**6),
    test=st.integers(1, 10**6),
    purge=st.integers(0, 10**6),
    folds=st.integers(1, 50),
    rest=st.floats(0, 0.999),
    anchored=st.booleans(),
)
def test_windows_follow_each_other_and_never_look_ahead(
    start: int, train: int, test: int, purge: int, folds: int, rest: float, anchored: bool
) -> None:
    """Training ends a purge before its test; tests touch and do not overlap; all lie within the data, and no more would."""
    end = start + train + purge + folds * test + int(rest * test)
    found = WalkForward(train, test, purge, anchored).folds(start, end)
    assert len(found) == folds
    for before, after in pairwise(found):
        assert before.test.end_ns == after.test.start_ns
    for number, fold in enumerate(found):
        assert fold.train.start_ns == (start if anchored else start + number * test)
        assert fold.train.end_ns == start + number * test + train
        assert fold.train.end_ns + purge == fold.test.start_ns
        assert fold.test.end_ns - fold.test.start_ns == test and fold.test.end_ns <= end


def test_data_that_are_too_short_are_refused_with_both_lengths() -> None:
    with pytest.raises(ConfigError, match=r"needs 3.042d .* the data have 3d"):
        parse_walk_forward("train=2d,test=1d,purge=1h").folds(0, 3 * DAY)
    with pytest.raises(ConfigError, match="folds, more than 10,000"):
        parse_walk_forward("train=1s,test=1s").folds(0, DAY)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("train=7d,test=1d", WalkForward(7 * DAY, DAY)),
        ("test=90m, anchored, train=12h, purge=500ms", WalkForward(DAY // 2, DAY // 16, NS // 2, anchored=True)),
    ],
)
def test_each_form_of_text_means_one_plan(text: str, meant: WalkForward) -> None:
    assert parse_walk_forward(text) == meant


@pytest.mark.parametrize(
    "text", ["", "train=7d", "test=1d", "train=7d,test=1d,test=2d", "train=7d,test=1d,gap=1h", "train=7d,test=0s", "train,test",
             "train=7d,test=1d,anchored,anchored", "train=7d,test=1d,anchored=yes"]
)  # fmt: skip
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_walk_forward(text)


def test_lengths_out_of_bounds_are_refused() -> None:
    for wrong in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(ConfigError, match="above 0"):
            WalkForward(*wrong)


def test_the_best_of_training_is_judged_on_the_next_window(tmp_path: Path) -> None:
    """Seasons change after day 4: the fold that trained on the old one is wrong once, as it would have been."""
    objective = Seasons((2, 2, 2, 2, 4, 4, 4), tmp_path / "calls")
    result = walk_forward(objective, SPACE, PLAN)
    assert [each.chosen and each.chosen.params["x"] for each in result.folds] == [2, 2, 2, 3, 4]
    assert [each.test and each.test.score for each in result.folds] == pytest.approx([0.01, 0.01, 0.002, 0.008, 0.01])
    assert [each.fold.test for each in result.folds] == [Window(day * DAY, (day + 1) * DAY) for day in range(2, 7)]
    asked = [tuple(map(int, line.split())) for line in (tmp_path / "calls").read_text().splitlines()]
    assert asked == [
        *((x, first, first + 2) for first in range(5) for x in range(1, 6)),
        *((x, day, day + 1) for x, day in zip((2, 2, 2, 3, 4), range(2, 7), strict=True)),
    ]


def test_the_future_does_not_reach_the_choice() -> None:
    """Whatever the test day is like, the choice for it is the same."""
    chosen = set()
    for last in range(1, 6):
        result = walk_forward(Seasons((2, 2, 3, 3, last)), SPACE, PLAN)
        chosen.add(tuple(each.chosen.params["x"] for each in result.folds if each.chosen is not None))
    assert len(chosen) == 1


def test_anchored_training_begins_at_the_beginning() -> None:
    result = walk_forward(Seasons((2, 2, 2, 2, 4, 4, 4, 4)), SPACE, parse_walk_forward("train=2d,test=1d,anchored"))
    assert [each.fold.train.start_ns for each in result.folds] == [0] * 6
    assert [each.chosen and each.chosen.params["x"] for each in result.folds] == [2, 2, 2, 2, 3, 3]


def test_what_the_folds_come_to_is_what_a_hand_computes() -> None:
    result = walk_forward(Seasons((2, 2, 2, 2, 4, 4, 4)), SPACE, PLAN)
    assert result.tested == 5 and [each.overfitting.trials for each in result.folds] == [5] * 5
    train, test = (0.02 + 0.02 + 0.02 + 0.016 + 0.02) / 5, (0.01 + 0.01 + 0.002 + 0.008 + 0.01) / 5
    assert (result.train_score, result.test_score, result.kept_frac) == pytest.approx((train, test, test / train))
    daily = (0.01, 0.01, 0.002, 0.008, 0.01)
    returns = np.array([each / 4 + wave for each in daily for wave in (0.002, -0.001, -0.002, 0.001)])
    worth = [1.0]
    for each in returns:
        worth.append(worth[-1] * (1 + each))
    fall = max(1 - now / max(worth[: number + 1]) for number, now in enumerate(worth))
    sharpe = returns.mean() / returns.std(ddof=1)
    out = result.stitched
    assert out.periods == 20
    assert (out.total_return_frac, out.max_drawdown_frac, out.sharpe_per_period) == pytest.approx((worth[-1] - 1, fall, sharpe))
    z = (returns - returns.mean()) / returns.std()
    assert out.believed == pytest.approx(probabilistic_sharpe_ratio(sharpe, 20, (z**3).mean(), (z**4).mean()))
    x = result.stability["x"]
    assert (x.usual, x.usual_frac, x.changes_frac, x.range_frac) == (2, 0.6, 0.5, 0.5)
    assert f"{sharpe:.4f}" in result.sentences()[0] and "42%" in result.sentences()[1]


def test_what_lost_in_training_has_nothing_to_keep() -> None:
    """A share of a loss would say nothing, or the opposite."""
    result = walk_forward(Seasons((2,) * 5), parse_space(["x=6,7"]), PLAN)
    assert result.train_score is not None and result.train_score < 0 and result.kept_frac is None
    assert "of it" not in result.sentences()[1]


def test_a_choice_has_no_range_and_one_fold_no_changes() -> None:
    result = walk_forward(Seasons((2, 2, 2)), parse_space(["x=1,2"]), PLAN)
    assert (result.stability["x"].changes_frac, result.stability["x"].range_frac) == (None, None)


def test_a_fold_without_a_choice_is_told_and_not_made_up() -> None:
    result = walk_forward(Seasons((2,) * 4), parse_space(["x=8,9"]), PLAN)
    assert result.tested == 0 and [each.chosen for each in result.folds] == [None, None]
    assert "no trade was made" in result.folds[0].reason
    assert result.stitched.periods == 0 and result.stitched.sharpe_per_period is None and result.stability == {}
    assert (result.train_score, result.test_score, result.kept_frac) == (None, None, None)
    assert "no fold has a score" in result.sentences()[1]
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_record_that_never_moves_has_no_ratio() -> None:
    class Flat(Seasons):
        def __call__(self, params, start_ns=None, end_ns=None):  # type: ignore[no-untyped-def]
            outcome = super().__call__(params, start_ns, end_ns)
            return type(outcome)(outcome.score, returns=np.zeros(4), period_ns=1)

    out = walk_forward(Flat((2,) * 4), SPACE, PLAN).stitched
    assert (out.total_return_frac, out.max_drawdown_frac, out.sharpe_per_period, out.believed) == (0.0, 0.0, None, None)


def test_it_is_resumed_and_parallel_and_the_same(tmp_path: Path) -> None:
    objective = Seasons((2, 2, 2, 2, 4, 4, 4), tmp_path / "calls")
    whole = walk_forward(objective, SPACE, PLAN, study_dir=tmp_path / "study")
    made = len((tmp_path / "calls").read_text().splitlines())
    seen: list[Progress] = []
    again = walk_forward(objective, SPACE, PLAN, study_dir=tmp_path / "study", on_progress=seen.append)
    assert again == whole and len((tmp_path / "calls").read_text().splitlines()) == made == 5 * 6
    assert seen[-1].done == seen[-1].total == seen[-1].found == 30
    assert walk_forward(objective, SPACE, PLAN, n_jobs=2) == whole


def test_a_bayesian_search_chooses_on_each_fold() -> None:
    space = parse_space(["x=1:5", "y=0.0:1.0"])
    result = walk_forward(Seasons((2, 2, 2, 2, 4, 4, 4)), space, PLAN, sampler=Bayesian(12, 4))
    assert result == walk_forward(Seasons((2, 2, 2, 2, 4, 4, 4)), space, PLAN, sampler=Bayesian(12, 4))
    assert [each.chosen and each.chosen.params["x"] for each in result.folds] == [2, 2, 2, 3, 4]


def test_the_result_is_plain_data() -> None:
    plain = json.loads(json.dumps(walk_forward(Seasons((2,) * 5), SPACE, PLAN).to_dict(), allow_nan=False))
    assert plain["folds"][0]["train"] == ["0", str(2 * DAY)] and plain["folds"][0]["tested"]["params"] == {"x": 2}
    assert math.isclose(plain["stitched"]["total_return_frac"], 0.03, rel_tol=0.02)
