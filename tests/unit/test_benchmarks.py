"""The benchmarks' own arithmetic, and that they end well where they cannot measure."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from autohedge.domain.ids import CycleId
from autohedge.domain.records import ModelCallRecord
from benchmarks.bench_fanout import longest_path
from benchmarks.figures import Bar, Figure, Options, Skipped, ratio, table


def test_an_expectation_is_held_against_the_median() -> None:
    samples = (1.0, 100.0, 2.0)
    assert "met" in Figure("a", samples, "s", Bar(2.0)).cells()[4]
    assert "MISSED" in Figure("a", samples, "s", Bar(1.9)).cells()[4]
    assert "met" in Figure("a", samples, "s", Bar(2.0, at_least=True)).cells()[4]
    assert "MISSED" in Figure("a", samples, "s", Bar(2.1, at_least=True)).cells()[4]


def test_a_ratio_is_made_pair_by_pair() -> None:
    """The ratio of the medians would be 2; what was measured together is compared together."""
    assert ratio("a", (2.0, 6.0, 40.0), (1.0, 2.0, 10.0)).samples == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("value", "written"),
    [(279_799.4, "279,799 s"), (119.6, "120 s"), (10.0, "10 s"), (2.345, "2.35 s"), (0.01234, "0.0123 s"), (0.0, "0 s")],
)
def test_numbers_are_written_with_the_digits_that_count(value: float, written: str) -> None:
    assert Figure("a", (value,), "s").cells()[1] == written


def test_the_table_is_markdown_with_columns_in_line() -> None:
    lines = table([Figure("short", (1.0,), "s"), Figure("a longer name", (1.0, 3.0), "rows/s", note="limit")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {7}
    assert set(lines[1]) == {"|", "-"}
    assert "2 rows/s" in lines[3] and "1 – 3" in lines[3] and "limit" in lines[3]


def _call(began_ms: int, took_ms: float) -> ModelCallRecord:
    values: dict[str, Any] = dict.fromkeys(ModelCallRecord._fields)
    return ModelCallRecord(
        **values | {"cycle_id": CycleId("c"), "started_wall_ns": began_ms * 1_000_000, "latency_ms": took_ms}
    )


def test_calls_that_overlap_count_once_in_the_longest_path() -> None:
    assert longest_path([]) == 0
    assert longest_path([_call(0, 200.0), _call(201, 200.0), _call(205, 200.0), _call(410, 200.0)]) == 3
    assert longest_path([_call(0, 1_000.0), _call(10, 20.0), _call(40, 20.0)]) == 2


def test_without_recordings_a_benchmark_of_them_is_skipped() -> None:
    with pytest.raises(Skipped, match="AUTOHEDGE_DATA"):
        Options(recordings=None).recorded_session()


def test_the_command_says_what_it_skipped_and_succeeds() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "AUTOHEDGE_DATA"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "book"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "book: skipped, AUTOHEDGE_DATA" in done.stdout


def test_an_unknown_benchmark_is_refused_with_the_known_ones() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks", "lottery"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "lottery" in done.stderr and "fanout" in done.stderr
