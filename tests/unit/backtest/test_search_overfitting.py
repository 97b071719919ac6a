"""Measures of luck: published numbers, a plain computation beside the fast one, and strategies with and without merit."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pytest

from autohedge.backtest.overfitting import (
    Overfitting,
    deflated_sharpe_ratio,
    effective_trials,
    expected_maximum_sharpe,
    measure,
    minimum_track_record_length,
    probability_of_backtest_overfitting,
)
from autohedge.backtest.trials import F64
from autohedge.errors import ConfigError


def worthless(seed: int, periods: int = 480, trials: int = 20) -> F64:
    return np.random.default_rng(seed).normal(0.0, 0.01, (periods, trials))


def measured(returns: F64, best: int | None = None) -> Overfitting:
    """Over all columns, of the one with the highest Sharpe ratio."""
    chosen = int((returns.mean(axis=0) / returns.std(axis=0)).argmax()) if best is None else best
    columns = [np.ascontiguousarray(column) for column in returns.T]
    return measure(iter(columns), count=len(columns), best=columns[chosen])


# ---------------------------------------------------------------- published numbers


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "expected"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_the_deflated_sharpe_ratio_is_the_published_one(trials: int, skewness: float, kurtosis: float, expected: float) -> None:
    """Bailey and López de Prado (2014): 2.5 a year over five years of 250 days, variance ½ a year over the trials."""
    found = deflated_sharpe_ratio(2.5 / math.sqrt(250), 1250, skewness, kurtosis, trials=trials, sharpe_variance=0.5 / 250)
    assert found == pytest.approx(expected, abs=5e-5)


def test_the_luck_to_be_expected_is_the_published_one() -> None:
    assert expected_maximum_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(
    ("per_year", "skewness", "kurtosis", "years"),
    [(12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99), (250, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83)],
)
def test_the_minimum_track_record_is_the_published_one(per_year: int, skewness: float, kurtosis: float, years: float) -> None:
    """Bailey and López de Prado (2012): a Sharpe ratio of 2 a year to be told from 1, at 95 %."""
    unit = math.sqrt(per_year)
    found = minimum_track_record_length(2 / unit, skewness, kurtosis, 1 / unit)
    assert found is not None and found / per_year == pytest.approx(years, abs=5e-3)


def test_no_track_record_is_long_enough_for_what_is_not_above_the_benchmark() -> None:
    assert minimum_track_record_length(0.1, 0.0, 3.0, 0.1) is None


# ---------------------------------------------------------------- luck


@pytest.mark.parametrize("trials", [5, 20, 200])
def test_the_luck_to_be_expected_is_that_of_a_simulation(trials: int) -> None:
    """The mean of the highest of so many standard normal draws; the formula is an approximation to some 3 %."""
    highest = np.random.default_rng(1).standard_normal((20_000, trials)).max(axis=1).mean()
    assert expected_maximum_sharpe(trials, 4.0) == pytest.approx(2.0 * highest, rel=0.035)


def test_luck_grows_with_trials_and_one_trial_has_none() -> None:
    luck = [expected_maximum_sharpe(trials, 1.0) for trials in (1, 1.05, 1.3, 2, 3, 10, 1e6)]
    assert luck[0] == luck[1] == 0.0 and luck == sorted(luck) and luck[3] > 0.5


def test_trials_that_move_together_count_as_one() -> None:
    assert effective_trials(50, 1.0) == 1.0
    assert effective_trials(50, 0.0) == effective_trials(50, -0.3) == 50.0
    assert effective_trials(50, 0.5) == 25.5


def test_the_effective_number_is_found_in_the_returns() -> None:
    """Twenty trials of which each has half of its variance from one common source."""
    own, common = worthless(3, periods=20_000), np.random.default_rng(4).normal(0.0, 0.01, (20_000, 1))
    correlations = np.corrcoef((own + common).T)
    mean = (correlations.sum() - 20) / (20 * 19)
    found = measured(own + common).effective_trials
    assert found == pytest.approx(effective_trials(20, mean), rel=1e-9) and found == pytest.approx(10.5, abs=0.5)


def test_out_of_its_domain_is_refused() -> None:
    for trials, variance in ((0.5, 1.0), (math.nan, 1.0), (5, -1.0), (5, math.inf)):
        with pytest.raises(ConfigError):
            expected_maximum_sharpe(trials, variance)
    for confidence in (0.5, 1.0):
        with pytest.raises(ConfigError, match="confidence"):
            minimum_track_record_length(0.1, 0.0, 3.0, 0.0, confidence)


# ---------------------------------------------------------------- cross-validation


def plainly(returns: F64, blocks: int) -> tuple[float, float]:
    """Probability of overfitting and of loss, computed as the definition reads, split by split."""
    size = len(returns) // blocks
    parts = np.split(returns[len(returns) - size * blocks :], blocks)
    overfit = lost = splits = 0
    for picked in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[each] for each in picked])
        outside = np.concatenate([parts[each] for each in range(blocks) if each not in picked])
        best = int((inside.mean(axis=0) / inside.std(axis=0, ddof=1)).argmax())
        there = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        rank = 1 + int((there < there[best]).sum())
        omega = rank / (len(there) + 1)
        overfit += math.log(omega / (1 - omega)) <= 0
        lost += there[best] < 0
        splits += 1
    return overfit / splits, lost / splits


@pytest.mark.parametrize(("blocks", "periods", "trials"), [(4, 41, 3), (6, 60, 8), (8, 103, 2), (10, 200, 15)])
def test_fast_and_plain_cross_validation_agree(blocks: int, periods: int, trials: int) -> None:
    returns = worthless(blocks, periods, trials) + np.linspace(-0.001, 0.001, trials)
    found = probability_of_backtest_overfitting(returns, blocks)
    assert (found.pbo, found.loss_frac) == pytest.approx(plainly(returns, blocks))
    assert found.splits == math.comb(blocks, blocks // 2) and found.blocks == blocks


def test_choosing_among_worthless_strategies_is_drawing_lots() -> None:
    """Over many markets; a single one says little, as its splits share their data."""
    found = [probability_of_backtest_overfitting(worthless(seed, trials=11), 8) for seed in range(60)]
    assert np.mean([each.pbo for each in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([each.loss_frac for each in found]) == pytest.approx(0.5, abs=0.1)
    assert all(each.sharpe_chosen > each.sharpe_after for each in found)


def test_a_strategy_with_merit_is_found_again() -> None:
    returns = worthless(5)
    returns[:, 7] += 0.003
    found = probability_of_backtest_overfitting(returns)
    assert found.pbo < 0.01 and found.loss_frac < 0.01


def test_a_fluke_of_one_block_each_is_overfitting() -> None:
    """Each trial has one good stretch: chosen where it lies inside, it is among the worst outside, in all but rare splits."""
    returns = worthless(6, periods=160, trials=16) / 100
    for trial in range(16):
        returns[trial * 10 : trial * 10 + 10, trial] += 0.01 + 0.001 * trial
    assert probability_of_backtest_overfitting(returns).pbo > 0.999


def test_equal_strategies_share_their_rank() -> None:
    """All the same: each is in the middle, which is no better than the median."""
    same = np.repeat(worthless(7, trials=1), 4, axis=1)
    assert probability_of_backtest_overfitting(same).pbo == 1.0


def test_a_strategy_that_never_trades_is_worth_nothing_and_beats_losers() -> None:
    returns = worthless(8, trials=5) - 0.01
    returns[:, 2] = 0.0
    found = probability_of_backtest_overfitting(returns)
    assert found.pbo == 0.0 and found.sharpe_chosen == found.sharpe_after == found.loss_frac == 0.0


@pytest.mark.parametrize(("shape", "blocks"), [((100, 1), 16), ((100, 5), 5), ((100, 5), 2), ((100, 5), 18), ((31, 5), 16)])
def test_what_cannot_be_split_is_refused(shape: tuple[int, int], blocks: int) -> None:
    with pytest.raises(ConfigError, match="expected 2 trials or more"):
        probability_of_backtest_overfitting(worthless(1, *shape), blocks)


def test_returns_that_are_not_finite_are_refused() -> None:
    returns = worthless(1)
    returns[5, 5] = math.nan
    with pytest.raises(ConfigError, match="finite"):
        probability_of_backtest_overfitting(returns)


# ---------------------------------------------------------------- both, beside the best


def test_the_best_of_worthless_strategies_is_seldom_called_significant() -> None:
    """At 95 %, some one in twenty; their plain probabilistic Sharpe ratio would call most of them so."""
    found = [measured(worthless(seed, periods=200)) for seed in range(40)]
    ratios = [each.deflated_sharpe_ratio or 0.0 for each in found]
    assert sum(ratio >= 0.95 for ratio in ratios) <= 5
    assert 0.3 < np.mean(ratios) < 0.7
    assert all("luck" in each.sentences()[0] for each in found)


def test_a_strategy_with_merit_is_called_significant_and_its_choice_sound() -> None:
    returns = worthless(9)
    returns[:, 3] += 0.003
    found = measured(returns)
    assert (found.deflated_sharpe_ratio or 0.0) > 0.99 and found.cscv is not None and found.cscv.pbo < 0.01
    assert "unlikely explanation" in found.sentences()[0] and "has held up" in found.sentences()[1]
    assert found.min_track_record_periods is not None and found.min_track_record_periods < found.periods


def test_what_would_be_needed_to_tell_is_said() -> None:
    """Some merit, too little data: the length after which the same figures would be significant."""
    returns = worthless(10, periods=120)
    returns[:, 3] += 0.003
    found = measured(returns, best=3)
    assert found.deflated_sharpe_ratio is not None and 0.5 < found.deflated_sharpe_ratio < 0.95
    assert found.min_track_record_periods is not None and found.min_track_record_periods > 120
    assert f"{math.ceil(found.min_track_record_periods):,} such periods" in found.sentences()[0]


@pytest.mark.parametrize(
    ("returns", "about_luck", "about_choosing"),
    [
        (worthless(1, trials=4), "4 trials with a score are too few", "4 trials with a score are too few"),
        (worthless(1, periods=0), "gives no returns", "gives no returns"),
        (worthless(1, periods=19), "19 periods are too few", "19 periods are too few"),
        (worthless(1, periods=29), "29 periods are too few", ""),
        (np.zeros((100, 6)), "never change", "of no trial ever change"),
        (np.where(np.arange(6) < 2, worthless(1, trials=6), 0.0), "of only 2 trials ever change", ""),
        (np.where(np.arange(6) == 3, math.nan, worthless(1, trials=6)), "not finite", "not finite"),
    ],
)
def test_what_cannot_be_computed_says_why(returns: F64, about_luck: str, about_choosing: str) -> None:
    found = measured(returns, best=0)
    assert found.deflated_sharpe_ratio is None and about_luck in found.deflated_sharpe_reason
    assert about_luck in found.sentences()[0]
    assert (found.cscv is None) == bool(about_choosing) and about_choosing in found.cscv_reason
    json.dumps(found.to_dict(), allow_nan=False)


def test_returns_of_different_length_cannot_be_compared() -> None:
    columns = [worthless(1)[:, 0]] * 5 + [worthless(1)[:-1, 1]]
    found = measure(columns, count=6, best=columns[0])
    assert "different length" in found.deflated_sharpe_reason and found.cscv is None


def test_more_trials_are_split_less_often() -> None:
    """The work is bounded: a thousand trials go through fewer splits than twenty."""
    few, many = measured(worthless(1, periods=100, trials=20)), measured(worthless(1, periods=100, trials=1000))
    assert few.cscv is not None and many.cscv is not None
    assert (few.cscv.splits, many.cscv.splits) == (12_870, 3_432)


def test_an_endless_ratio_is_no_number_in_json() -> None:
    """A strategy that gains the same in every period has no finite Sharpe ratio."""
    returns = worthless(1, trials=6)
    returns[:, 2] = 0.001
    found = measured(returns, best=0)
    assert found.cscv is not None and math.isinf(found.cscv.sharpe_chosen)
    assert found.to_dict()["cscv"]["sharpe_chosen"] is None
