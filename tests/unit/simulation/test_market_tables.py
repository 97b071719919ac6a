"""The tables of chance: exact quantiles, the right means, and probabilities that belong to the lengths."""

from __future__ import annotations

import math

import pytest

from autohedge.simulation.market_tables import ONE, URN, exponential_table, mean_gaps_ns, persistence, run_lengths


def test_waits_are_exponential_with_mean_one() -> None:
    table = exponential_table()
    assert len(table) == 256
    assert list(table) == sorted(table, reverse=True)
    assert sum(table) / len(table) == pytest.approx(ONE, rel=0.005)
    assert table[127] == int(-math.log(255 / 512) * ONE)


def test_parent_orders_have_a_pareto_number_of_pieces() -> None:
    """How many are longer than n falls like n to the power of −4/3; three in five are a single piece, the longest has 107."""
    lengths = run_lengths()
    assert (min(lengths), max(lengths), len(lengths)) == (1, 107, 256)
    for pieces in (2, 4, 8):
        assert sum(length >= pieces for length in lengths) / 256 == pytest.approx(pieces ** (-4 / 3), abs=1 / 256)


def test_persistence_is_the_share_of_parent_orders_that_go_on() -> None:
    lengths, likely = run_lengths(), persistence()
    assert likely[0] == 0 and likely[max(lengths)] == 0
    for pieces in (1, 2, 10):
        going = [length for length in lengths if length >= pieces]
        assert likely[pieces] == ONE * sum(length > pieces for length in going) // len(going)


@pytest.mark.parametrize("actions_per_s", [0.1, 3.6, 1_000.0])
def test_the_mean_gap_is_the_pace_and_four_balls_halve_it(actions_per_s: float) -> None:
    gaps = mean_gaps_ns(actions_per_s)
    mean = sum(math.comb(URN, balls) * gap for balls, gap in enumerate(gaps)) / 2**URN
    assert mean == pytest.approx(1e9 / actions_per_s, rel=1e-6)
    assert gaps[60] / gaps[64] == pytest.approx(2.0, rel=1e-4)
