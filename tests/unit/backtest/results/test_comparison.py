"""Two results beside each other: differences that are there, and no winner made of noise."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from autohedge.backtest.comparison import Side, compare, mean_interval
from autohedge.backtest.definitions import DEFINITIONS
from autohedge.backtest.metrics import measure

NOISE = np.random.default_rng(5).normal(0.0, 0.01, (2, 200))


def side(name: str, result: Any) -> Side:
    return Side(name, result, measure(result))


def test_noise_is_not_called_better(make: Any) -> None:
    """Two hundred days of pure chance differ in every total, and in nothing that counts."""
    a, b = (side(name, make.with_returns(row)) for name, row in zip("AB", NOISE, strict=True))
    found = compare(a, b)
    assert found.paired is not None
    assert not found.paired.apart
    assert found.verdict.startswith("Not told apart from noise: B − A is ")
    assert next(each for each in found.figures if each.name == "returns.total_frac").difference != 0


@pytest.mark.parametrize(("edge", "winner"), [(0.005, "B"), (-0.005, "A")])
def test_a_real_difference_is_told_with_its_size(make: Any, edge: float, winner: str) -> None:
    """Half a percent a day on top of the same market is seen, because the market's own noise pairs off."""
    extra = edge + NOISE[1] / 10
    found = compare(side("A", make.with_returns(NOISE[0])), side("B", make.with_returns(NOISE[0] + extra)))
    assert found.verdict.startswith(f"{winner} earned more than ")
    assert found.paired is not None
    assert found.paired.period == "day"
    assert found.paired.periods == 200
    assert found.paired.mean_difference_frac == pytest.approx(float(extra.mean()), abs=1e-12)
    assert found.paired.low_frac < edge < found.paired.high_frac


def test_the_same_two_results_give_the_same_verdict(make: Any) -> None:
    """The draws are seeded, and swapping the two swaps the signs."""
    a, b = (side(name, make.with_returns(row)) for name, row in zip("AB", NOISE, strict=True))
    assert compare(a, b) == compare(a, b)
    there, back = compare(a, b).paired, compare(b, a).paired
    assert there is not None
    assert back is not None
    assert back.mean_difference_frac == -there.mean_difference_frac
    assert back.low_frac == pytest.approx(-there.high_frac, rel=1e-9)


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    """Of 200 samples of independent noise, 95 % hold the true mean; a percentile interval of 60 values comes near."""
    draws = np.random.default_rng(8)
    inside = 0
    for _ in range(200):
        low, high = mean_interval(draws.normal(0.3, 1.0, 60), 1)
        inside += low <= 0.3 <= high
    assert 0.87 <= inside / 200 <= 0.99


def test_dependent_returns_get_a_wider_interval() -> None:
    """Blocks keep what belongs together: the same values in clumps are less certain than shuffled."""
    clumped = np.repeat(np.random.default_rng(2).normal(0, 1, 100), 10)
    shuffled = np.random.default_rng(3).permutation(clumped)
    wide, narrow = (np.ptp(mean_interval(each, 1)) for each in (clumped, shuffled))
    assert wide > 1.6 * narrow


def test_identical_runs_are_told_as_identical(make: Any) -> None:
    """No interval of rounding noise, no winner."""
    found = compare(side("A", make.with_returns(NOISE[0])), side("B", make.with_returns(NOISE[0])))
    assert found.verdict == "The returns of A and B are the same in every day."
    assert found.settings == ()
    assert all(each.difference in (0, None) for each in found.figures)


def test_settings_and_data_that_differ_are_named(make: Any) -> None:
    """Dotted names, what one side lacks, and a warning that different data are compared."""
    a = make.with_returns(NOISE[0], settings={"maker": {"levels": 1, "gamma": 0.1}, "seed": 7})
    b = make.with_returns(NOISE[0], settings={"maker": {"levels": 2, "gamma": 0.1}}, data={"source": "x"}, strategy="grid")
    found = compare(side("A", a), side("B", b))
    rows = {each.name: (each.a, each.b) for each in found.settings}
    assert rows["settings.maker.levels"] == ("1", "2")
    assert rows["settings.seed"] == ("7", "(none)")
    assert rows["strategy"] == ("maker", "grid")
    assert "settings.maker.gamma" not in rows
    assert found.verdict.endswith("The two ran on different data.")


def test_only_common_time_is_compared_on_the_coarser_grid(make: Any) -> None:
    """A hundred hours beside a run of minutes that covers half of them: fifty hours are paired; without overlap nothing is."""
    hours = make.with_returns(NOISE[0][:100], step_s=3_600)
    minutes = make.with_returns(np.resize(NOISE[1], 3_000) / 60, step_s=60)
    found = compare(side("A", hours), side("B", minutes))
    assert found.paired is not None
    assert (found.paired.period, found.paired.periods) == ("hour", 50)
    later = make.with_returns(NOISE[0][:100], step_s=3_600, start_ns=hours.end_ns, end_ns=2 * hours.end_ns - hours.start_ns)
    nothing = compare(side("A", hours), side("B", later))
    assert nothing.paired is None
    assert nothing.verdict == "Not compared: the two cover no time in common."
    few = compare(side("A", make.with_returns([0.1] * 5)), side("B", make.with_returns([0.2] * 5)))
    assert "10 periods in common are needed and there are 5" in few.verdict


def test_every_figure_is_there_once_and_json_holds_it(make: Any) -> None:
    """Exact money differs exactly; text and times have no difference."""
    sample, other = side("A", make.sample()), side("B", make.with_returns(NOISE[0]))
    found = compare(sample, other)
    assert [each.name for each in found.figures] == list(DEFINITIONS)
    rows = {each.name: each for each in found.figures}
    assert rows["pnl.fees_quote"].difference == Decimal("-0.22")
    assert rows["returns.period"].difference is None
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["figures"][0]["name"] == "pnl.initial_equity_quote"
