"""The page about recordings names every fault a check can find, every column and every venue, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from autohedge.market.event_rows import DTYPES
from autohedge.market.faults import KINDS
from autohedge.market.parquet_recorder import FLUSH_NS, FLUSH_ROWS
from autohedge.market.sample_sessions import PARSERS

PAGE = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_fault_is_there_with_its_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", section("What a check finds"), re.MULTILINE)
    assert rows == [(kind, severity.value, meaning) for kind, (severity, meaning) in KINDS.items()]


def test_every_column_and_every_venue_is_there() -> None:
    cells = re.findall(r"^\| (`.*?`) \| (\w+) \|", section("Parquet"), re.MULTILINE)
    columns = {name: kind for names, kind in cells for name in re.findall(r"`(\w+)`", names)}
    assert columns == {name: dtype.__name__.rstrip("_") for name, dtype in DTYPES.items()}
    assert set(re.findall(r"^\| `([\w-]+)`", section("Venues"), re.MULTILINE)) == set(PARSERS)


def test_the_figures_are_the_codes() -> None:
    assert f"every {FLUSH_ROWS:,} rows or {FLUSH_NS // 10**9} s" in PAGE
