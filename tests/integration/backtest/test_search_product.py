"""The search over the backtest's own objective: real trials, in this process and beside it."""

from __future__ import annotations

import pytest

from autohedge.backtest.objective import MakerObjective, build_objective
from autohedge.backtest.search import optimise
from autohedge.backtest.search_space import parse_space
from autohedge.backtest.walk_forward import parse_walk_forward, walk_forward
from autohedge.settings import build_settings

SPACE = parse_space(["max_spread_bps=10,30", "touch=join,distance", "max_inventory_exposure=0.02:0.2:0.09"])


@pytest.fixture(scope="module")
def objective() -> MakerObjective:
    """Five minutes of the simulated market, its arrays read once; a maker without a floor, so that it trades."""
    settings = build_settings(
        {
            "desk": {"cycles": 5},
            "maker": {"min_profit_threshold": None, "maker_fee_bps": 0, "spread_percentage": "0.0008"},
        }
    )
    return build_objective(settings, metric="pnl_quote", names=list(SPACE.parameters))


def test_trials_in_other_processes_are_those_of_this_one(objective: MakerObjective) -> None:
    """Market arrays shared, kernels compiled or read from the cache there: every score, return and figure is the same."""
    here = optimise(objective, SPACE)
    assert here.failed == 0 and len({row.trial.score for row in here.rows}) > 1
    assert optimise(objective, SPACE, n_jobs=2) == here


def test_walk_forward_tests_each_choice_on_the_next_minute(objective: MakerObjective) -> None:
    plan = parse_walk_forward("train=2m,test=1m,purge=1s")
    result = walk_forward(objective, SPACE, plan)
    assert len(result.folds) == result.tested == 2 and result.stitched.periods > 100
    for each in result.folds:
        assert each.chosen is not None and each.test is not None
        direct = objective(each.chosen.params, *each.fold.test)
        assert each.test.score == direct.score and each.test.periods == direct.returns.size
