"""σ from mids: recovered, with an interval that holds what it says, and doubted where the grid or the tails spoil it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest

from autohedge.market_maker.volatility import CalibrationRefused, estimate_volatility

START = 10**7
SEEDS = 200


def walk(seed: int, steps: int, move: Callable[[random.Random], float]) -> list[int]:
    """Mids in half ticks whose changes are what `move` draws, in ticks."""
    rng = random.Random(seed)
    mid, mids = 2.0 * START, [2 * START]
    for _ in range(steps):
        mid += 2.0 * move(rng)
        mids.append(round(mid))
    return mids


def share_covered(sigma: float, paths: Sequence[Sequence[int]], grid_s: float) -> float:
    estimates = [estimate_volatility([path], grid_s) for path in paths]
    return sum(each.interval.low <= sigma <= each.interval.high for each in estimates) / len(paths)


def test_sigma_by_hand() -> None:
    """Mean square of +1, −2, 0, +3 … ticks on a 0.25 s grid; a quarter of them 0."""
    moves = [1, -2, 0, 3] * 10
    mids = [2 * START + 2 * sum(moves[:n]) for n in range(len(moves) + 1)]
    found = estimate_volatility([mids], 0.25)
    assert found.sigma == pytest.approx(math.sqrt(14 / 4 / 0.25))
    assert (found.changes, found.unmoved_frac) == (40, 0.25)
    assert found.kurtosis == pytest.approx((98 / 4) / (14 / 4) ** 2)


def test_the_interval_holds_the_true_sigma_in_95_of_100_days() -> None:
    """Normal changes of 30 ticks per 4 s, 200 seeds: 0.95 ± 3 standard errors of a share."""
    paths = [walk(seed, 300, lambda rng: rng.gauss(0, 30)) for seed in range(SEEDS)]
    assert share_covered(15.0, paths, 4.0) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / SEEDS))


def test_fat_tails_and_bursts_widen_the_interval_so_that_it_still_holds() -> None:
    """Calm and wild spells at random, half of the changes 0: χ² with a degree per change would hold in every second market."""

    def uneven(rng: random.Random, state: list[float]) -> float:
        if rng.random() < 1 / 10:
            state[0] = rng.choice((5.0, 50.0))
        return rng.gauss(0, state[0]) if rng.random() < 0.5 else 0.0

    paths = []
    for seed in range(SEEDS):
        state = [random.Random(-seed).choice((5.0, 50.0))]
        paths.append(walk(seed, 600, lambda rng, state=state: uneven(rng, state)))  # type: ignore[misc]
    true = math.sqrt((25 + 2_500) / 2 / 2)
    assert share_covered(true, paths, 1.0) > 0.87
    found = estimate_volatility([paths[0]], 1.0)
    assert found.effective_changes < 200
    naive = 1.96 / math.sqrt(2 * found.changes)
    assert found.interval.high / found.sigma - 1 > 2 * naive


def test_a_mid_that_bounces_makes_the_grid_too_fine() -> None:
    """A true mid of 1 tick/√s under noise of 2 ticks: σ on the fine grid is mostly noise, and that is said."""
    rng = random.Random(3)
    true, mids = float(START), []
    for _ in range(3_000):
        true += rng.gauss(0, 1)
        mids.append(round(2 * (true + rng.gauss(0, 2))))
    found = estimate_volatility([mids], 1.0)
    assert not found.grid_is_fine
    assert found.sigma > 2.5
    assert [check.grid_s for check in found.coarser] == [2, 5, 10, 30]
    assert all(check.z < -5 for check in found.coarser)
    assert found.coarser[-1].sigma == pytest.approx(1.0, abs=0.4)
    assert any("depend on each other" in doubt for doubt in found.doubts)


def test_a_random_walk_makes_no_grid_too_fine() -> None:
    """In 100 of them at most a few checks at the 1 % level speak up."""
    fine = [estimate_volatility([walk(seed, 1_000, lambda rng: rng.gauss(0, 9))], 1.0).grid_is_fine for seed in range(100)]
    assert sum(fine) >= 92


def test_coarser_grids_are_those_of_the_same_mids() -> None:
    """The variance ratio is, but for its ends, the mean square of overlapping changes."""
    mids = walk(5, 2_000, lambda rng: rng.gauss(0, 7))
    found = estimate_volatility([mids], 1.0)
    for check in found.coarser:
        n = check.multiple
        squares = [((mids[at + n] - mids[at]) / 2) ** 2 for at in range(len(mids) - n)]
        assert check.sigma == pytest.approx(math.sqrt(sum(squares) / len(squares) / n), rel=0.02)


def test_no_change_is_made_up_between_two_stretches() -> None:
    """A hole in which the price moved by a thousand ticks leaves σ as it was."""
    mids = walk(1, 400, lambda rng: rng.gauss(0, 5))
    whole = estimate_volatility([mids], 1.0)
    moved = [mids[:200], [mid + 2_000 for mid in mids[200:]], [], [7]]
    parted = estimate_volatility(moved, 1.0)
    assert parted.changes == whole.changes - 1
    assert parted.sigma == pytest.approx(whole.sigma, rel=0.02)


@pytest.mark.parametrize(
    ("stretches", "reason"),
    [
        ([], "too_short"),
        ([[2 * START + n for n in range(30)]], "too_short"),
        ([[2 * START] * 100, [2 * START + 5] * 100], "mid_never_moved"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(stretches: list[list[int]], reason: str) -> None:
    with pytest.raises(CalibrationRefused) as refused:
        estimate_volatility(stretches, 1.0)
    assert refused.value.reason == reason
    assert str(refused.value).startswith(f"{reason}: ")


def test_one_jump_that_decides_sigma_is_doubted() -> None:
    mids = walk(2, 300, lambda rng: rng.choice((-0.5, 0.0, 0.5)))
    jumped = [mid + (4_000 if at >= 150 else 0) for at, mid in enumerate(mids)]
    found = estimate_volatility([jumped], 1.0)
    assert found.effective_changes < 5
    assert any("a few moves decide sigma" in doubt for doubt in found.doubts)
    assert found.interval.high > 1.5 * found.sigma
