"""The scripted session as a fixture: test folders are no packages, so its file is loaded by path."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).with_name("scripted_session.py")


@pytest.fixture(scope="session")
def scripted_session() -> ModuleType:
    """The module that plays a deterministic session into a ledger; `__file__` runs it as a program."""
    spec = importlib.util.spec_from_file_location("scripted_session", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
