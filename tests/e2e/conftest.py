"""The command line as a user meets it: a subprocess in an empty folder, without keys in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

AUTOHEDGE = [sys.executable, "-m", "autohedge"]


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without keys and without colour."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return kept | {"NO_COLOR": "1", "COLUMNS": "160"} | more


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one object it must be."""
        return json.loads(self.out)


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Finished]:
    """Run `autohedge …` in an empty folder and wait for it."""

    def run(*arguments: str, timeout_s: float = 120, cwd: Path = tmp_path, **environment: str) -> Finished:
        done = subprocess.run(
            [*AUTOHEDGE, *arguments],
            cwd=cwd,
            env=clean_environment(**environment),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run
