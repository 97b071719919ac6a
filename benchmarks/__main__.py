"""`python -m benchmarks [NAME…]`: run the benchmarks named, or all of them, and print one table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from loguru import logger

from benchmarks.figures import Figure, Options, Skipped, machine, table

NAMES = ("start", "book", "session", "desk", "llm", "fanout", "storage", "memory", "l2")

QUOTED = """\
Quoted, not measured here (another machine, other versions; only the orders of magnitude compare):
- nautilus_trader 1.221, market making on level-2 data with a Python strategy: 56,000–59,000 events/s
- TradingAgents 0.3.0, one full cycle of 15 model calls against a stub that answers at once: 50.7 ms CPU"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all without a name")
    parser.add_argument("--profile", action="store_true", help="also print where the recorded session spends its time")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; known are {', '.join(NAMES)}")
    logger.remove()
    options = Options(recordings=_recordings(), profile=given.profile)
    began_s = time.perf_counter()
    print(machine(), flush=True)
    figures: list[Figure] = []
    for name in given.names or NAMES:
        figures += _measured(name, options)
    print(f"\n{table(figures)}\n\n{QUOTED}\n\n{time.perf_counter() - began_s:.0f} s; at the end: {machine()}")
    missed = [figure.name for figure in figures if figure.bar is not None and not figure.bar.met_by(figure.median)]
    print(f"expectations missed: {', '.join(missed) or 'none'}")
    return 0


def _measured(name: str, options: Options) -> list[Figure]:
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        found: list[Figure] = import_module(f"benchmarks.bench_{name}").figures(options)
    except Skipped as why:
        print(f"{name}: skipped, {why}")
        return []
    return found


def _recordings() -> Path | None:
    folder = os.environ.get("AUTOHEDGE_DATA")
    return Path(folder) if folder and Path(folder).is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
