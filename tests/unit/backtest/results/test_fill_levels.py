"""Fills of several quote levels are told apart, and add up to the whole."""

from __future__ import annotations

from typing import Any

from autohedge.backtest.metrics import measure

TICKS = [(0, "100"), (10, "100")]


def test_levels_are_groups_of_their_own_and_add_up(make: Any) -> None:
    fill = make.fill
    fills = [
        fill(1, 1, "99", "1", mid="100", level=0),
        fill(2, 1, "98", "2", mid="100", level=1),
        fill(3, -1, "101", "3", mid="100", level=0),
    ]
    parts = {part.group: part for part in measure(make.traded(fills, TICKS, end_s=60)).by_group}
    assert parts["level 0"].spread_captured_quote == 4.0
    assert parts["level 1"].spread_captured_quote == 4.0
    assert (parts["level 0"].fills, parts["level 1"].fills) == (2, 1)


def test_one_level_is_no_group(make: Any) -> None:
    result = make.traded([make.fill(1, 1, "99", "1", mid="100")], TICKS, end_s=60)
    assert not any(part.group.startswith("level") for part in measure(result).by_group)
