"""What figures are called and how they are shown, and that the page of the documentation says the same."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autohedge.backtest.definitions import DEFINITIONS, duration, money, shown

PAGE = Path(__file__).parents[4] / "docs" / "metrics.md"


def test_the_page_defines_every_figure_in_the_same_words() -> None:
    """Name, title and meaning in docs/metrics.md are those of the code, and the page defines nothing else."""
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "\0").split("|")]
        if len(cells) == 6 and cells[1].startswith("`"):
            rows[cells[1].strip("`")] = (cells[2], cells[4].replace("\0", "|"))
    assert rows == {name: (each.title, each.text) for name, each in DEFINITIONS.items()}


def test_no_two_figures_have_the_same_title() -> None:
    """A table without sections can still be read."""
    titles = [each.title for each in DEFINITIONS.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "frac", "-"),
        (0.123456, "frac", "12.3456%"),
        (0.0000018, "frac", "0.00018%"),
        (Decimal("1234.567"), "quote", "1,234.57"),
        (-0.0045, "quote", "-0.0045"),
        (1e-12, "quote", "0"),
        (1.23456, "bps", "+1.235 bps"),
        (1_704_067_200_000_000_000, "ns", "2024-01-01 00:00:00"),
        (12_345, "count", "12,345"),
        (525_600, "ratio", "525,600"),
        (0.5, "base", "0.5"),
        ("day", "text", "day"),
    ],
)
def test_values_are_shown_for_people(value: Any, unit: str, text: str) -> None:
    """Percent, money with separators, UTC, and a dash for what is not defined."""
    assert shown(value, unit) == text


def test_lengths_of_time_are_in_two_units() -> None:
    """Also negative ones, which are differences."""
    found = [duration(each) for each in (0.25, 59.0, 125.0, 7_260.0, 93_600.0, -5_460.0)]
    assert found == ["0.25 s", "59 s", "2 min 5 s", "2 h 1 min", "1 d 2 h", "-1 h 31 min"]
    assert money(99.5) == "99.5000"
