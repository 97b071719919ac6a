"""How long it takes to begin: the import, and the command line's help, beside an empty Python.

Each start is a process of its own, in turn with the others, with compiled bytecode as after an install. Wall time, because that
is what somebody at a terminal waits for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Bar, Figure, Options, ratio

ROUNDS = 15

COMMANDS = {
    "nothing": [sys.executable, "-c", "pass"],
    "import": [sys.executable, "-c", "import autohedge"],
    "fund": [sys.executable, "-c", "from autohedge import AutoHedge"],
    "help": [str(Path(sys.executable).with_name("autohedge")), "--help"],
}


def _start_s(command: list[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began_s = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - began_s


def figures(_options: Options) -> list[Figure]:
    """Seconds of each start, and how many times an empty Python's."""
    for command in COMMANDS.values():
        _start_s(command)  # the first one may have to write the bytecode
    rounds = [{name: _start_s(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)]
    taken = {name: tuple(each[name] for each in rounds) for name in COMMANDS}
    return [
        Figure("start: python -c pass", taken["nothing"], "s", note="limit"),
        Figure("start: import autohedge", taken["import"], "s", Bar(0.15)),
        ratio("start: import ÷ empty Python", taken["import"], taken["nothing"]),
        Figure("start: from autohedge import AutoHedge", taken["fund"], "s", note="what a library user waits for"),
        Figure("start: autohedge --help", taken["help"], "s", Bar(0.4)),
        ratio("start: --help ÷ empty Python", taken["help"], taken["nothing"]),
    ]
