"""Named figures of repeated measurements, the machine they were taken on, and one table for all of them.

A figure keeps every sample: what is told is the median with the least and the most. Where a bar is given, the median is held
against it. Ratios are made sample by sample, from measurements taken one right after the other.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Skipped(Exception):
    """A benchmark that cannot run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a benchmark is told: where recordings are (None: nowhere), and whether a profile is wanted."""

    recordings: Path | None
    profile: bool = False

    def recorded_session(self) -> Path:
        """The folder of the recorded BTC/USDT session."""
        if self.recordings is None:
            raise Skipped("AUTOHEDGE_DATA does not name a folder with recordings")
        folder = self.recordings / "binance_spot_btcusdt_20240808"
        if not folder.is_dir():
            raise Skipped(f"AUTOHEDGE_DATA has no {folder.name}")
        return folder


class Bar(NamedTuple):
    """What is expected of a median: at least or at most so much."""

    limit: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Whether the expectation holds."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples of one quantity. `unit` follows the number; `note` says what the figure is (a limit, a peer) or includes."""

    name: str
    samples: tuple[float, ...]
    unit: str
    bar: Bar | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return statistics.median(self.samples)

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Name, median, range, number of samples, expectation with its verdict, note."""
        least, most = min(self.samples), max(self.samples)
        span = f"{_written(least)} – {_written(most)}" if len(self.samples) > 1 else ""
        if self.bar is None:
            held = ""
        else:
            sign = "≥" if self.bar.at_least else "≤"
            held = f"{sign} {_written(self.bar.limit)}: {'met' if self.bar.met_by(self.median) else 'MISSED'}"
        return self.name, f"{_written(self.median)} {self.unit}", span, str(len(self.samples)), held, self.note


def ratio(name: str, over: Sequence[float], under: Sequence[float], *, bar: Bar | None = None, note: str = "") -> Figure:
    """`over` ÷ `under`, pair by pair."""
    return Figure(name, tuple(a / b for a, b in zip(over, under, strict=True)), "×", bar, note)


def _written(value: float) -> str:
    """Three digits that count, thousands with commas."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


HEAD = ("figure", "median", "min – max", "runs", "expected", "what it is")


def table(figures: Iterable[Figure]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    rows = [HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> str:
    """Where and when: processors, their model, the Python, and how busy the machine is with everything."""
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    day = time.strftime("%Y-%m-%d", time.gmtime())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} processors, {_processor()}, {platform.system()}, {python}, load average {load}, {day}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
