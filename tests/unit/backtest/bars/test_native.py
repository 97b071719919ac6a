"""Compiled code is always that of the source that lies there, and keeping it is never needed for running it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest

from autohedge.backtest import native
from autohedge.backtest.native import KEPT_VERSIONS, cache_folder, compile_kernel
from autohedge.errors import ConfigError

CONSTANTS = "FACTOR = 2\n"
HELPER = "def doubled(x):\n    return x * 2\n"
KERNEL = """
from kept_helper import doubled
from kept_constants import FACTOR

def total(values):
    result = 0
    for value in values:
        result += doubled(value) * FACTOR
    return result
"""
VALUES = np.arange(4)


class Project:
    """Three modules in a folder that are written and imported afresh."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.sources = {"kept_constants": CONSTANTS, "kept_helper": HELPER, "kept_kernel": KERNEL}

    def compiled(self) -> Any:
        """The kernel of the sources as they are now, as a fresh process would get it."""
        modules: dict[str, ModuleType] = {}
        for name, text in self.sources.items():
            path = self.folder / f"{name}.py"
            path.write_text(text)
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None and spec.loader is not None
            modules[name] = importlib.util.module_from_spec(spec)
            self.monkeypatch.setitem(sys.modules, name, modules[name])
            exec(compile(text, str(path), "exec"), modules[name].__dict__)
        return compile_kernel(modules["kept_kernel"].total, uses=(modules["kept_helper"].doubled,))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOHEDGE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "native"


@pytest.fixture
def project(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path, monkeypatch)


def test_an_unchanged_source_is_loaded_and_a_changed_one_compiled(project: Project) -> None:
    """The file of a function that a kernel uses counts as much as its own, and so does a constant from a third file."""
    first = project.compiled()
    assert first(VALUES) == 24
    assert not first.stats.cache_hits
    again = project.compiled()
    assert again(VALUES) == 24
    assert sum(again.stats.cache_hits.values()) == 1
    project.sources["kept_helper"] = HELPER.replace("2", "5")
    assert project.compiled()(VALUES) == 60
    project.sources["kept_constants"] = "FACTOR = 3\n"
    assert project.compiled()(VALUES) == 90


def test_one_process_compiles_a_kernel_once(project: Project) -> None:
    compiled = project.compiled()
    kernel = sys.modules["kept_kernel"].total
    assert compile_kernel(kernel) is compiled


def test_a_cache_that_cannot_be_written_costs_only_the_keeping(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be: nobody can write there, not even root."""
    (tmp_path / "in the way").write_text("")
    monkeypatch.setenv("AUTOHEDGE_CACHE_DIR", str(tmp_path / "in the way"))
    assert project.compiled()(VALUES) == 24


def test_the_settings_of_numba_are_left_as_they_were(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "somebody else's")
    project.compiled()
    assert numba.config.CACHE_DIR == "somebody else's"


def test_old_versions_do_not_pile_up(project: Project, cache: Path) -> None:
    for number in range(KEPT_VERSIONS + 3):
        project.sources["kept_constants"] = f"FACTOR = {number}\n"
        project.compiled()
    assert len(list((cache / "kept_kernel.total").iterdir())) == KEPT_VERSIONS


def test_the_cache_is_in_the_users_cache_folder_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AUTOHEDGE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "autohedge" / "native"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "autohedge" / "native"


def test_without_numba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    kernel: Callable[[int], int] = lambda x: x  # noqa: E731
    with pytest.raises(ConfigError, match=r"numba.*autohedge\[backtest\]"):
        native.compile_kernel(kernel)
