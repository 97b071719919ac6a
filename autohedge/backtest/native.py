"""How a kernel becomes machine code: plain functions over numbers and arrays in, the same functions compiled out.

Promise: what runs is the source that lies there now. Compiled code is kept on disk between processes, under a key made of the
source files of the kernel and of everything it uses, the constants they read, and the versions of Python and numba; a change
in any of them compiles anew. A folder that cannot be written, or a source that cannot be read, costs only the keeping.

Kernels live at module level, take numbers and numpy arrays, and call nothing but each other's pure functions by their plain
names. Compiled arithmetic assumes that no whole number leaves 64 bits and divides by zero without an error: whoever calls a
kernel excludes both.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeVar, cast

from autohedge.errors import ConfigError

CACHE_DIR_VARIABLE = "AUTOHEDGE_CACHE_DIR"
KEPT_VERSIONS = 8
"""Versions of one kernel that stay on disk, newest first."""

_PACKAGE = __name__.partition(".")[0] + "."

_Function = TypeVar("_Function", bound=Callable[..., Any])

_lock = threading.Lock()
_compiled: dict[Callable[..., Any], Callable[..., Any]] = {}
_registered: set[Callable[..., Any]] = set()


def compile_kernel(
    kernel: _Function,
    *,
    uses: tuple[Callable[..., Any], ...] = (),
    apart: tuple[Callable[..., Any], ...] = (),
    allocates: bool = True,
) -> _Function:
    """`kernel` as machine code, for each combination of argument types on its first call; once per process.

    The plain functions of this package that it calls, and those that they call in turn, are found by their names, put in line,
    and make no arrays; `uses` are further ones, from elsewhere. Those in `apart` stay functions of their own: what is called
    from many places, or rarely, would only make the code long (and the compiler run out of memory). A kernel that makes no
    arrays either (`allocates=False`) counts no references, which for many small calls is most of the time. Without bounds
    checks; the interpreter's lock is released while it runs. Raises `ConfigError` without numba.
    """
    with _lock:
        if kernel not in _compiled:
            _compiled[kernel] = _compile(_numba(), kernel, _reached_from((kernel, *uses))[1:], apart, allocates)
        return cast("_Function", _compiled[kernel])


def _reached_from(functions: Iterable[Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
    """The functions and every plain function of this package that they name, directly or through others; each once."""
    found: dict[Callable[..., Any], None] = dict.fromkeys(functions)
    waiting = list(found)
    while waiting:
        function = waiting.pop()
        scope = function.__globals__
        for name in function.__code__.co_names:
            named = scope.get(name)
            if isinstance(named, FunctionType) and named.__module__.startswith(_PACKAGE) and named not in found:
                found[named] = None
                waiting.append(named)
    return tuple(found)


def cache_folder() -> Path:
    """Where compiled kernels are kept: $AUTOHEDGE_CACHE_DIR/native, else the user's cache folder. Raises `RuntimeError`
    where there is neither a home."""
    named = os.environ.get(CACHE_DIR_VARIABLE)
    if named:
        return Path(named) / "native"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "autohedge" / "native"


def _numba() -> ModuleType:
    try:
        import numba
    except ImportError as error:
        raise ConfigError("backtests need numba, which is not installed: run  pip install 'autohedge[backtest]'") from error
    return numba


def _compile(
    numba: ModuleType,
    kernel: Callable[..., Any],
    uses: Iterable[Callable[..., Any]],
    apart: tuple[Callable[..., Any], ...],
    allocates: bool,
) -> Callable[..., Any]:
    from numba.extending import register_jitable

    uses = tuple(uses)
    for function in uses:
        if function not in _registered:
            register_jitable(_nrt=False, forceinline=function not in apart)(function)
            _registered.add(function)
    folder = _folder_of(kernel, uses, numba.__version__)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder or "")
    try:
        decorate = numba.njit(cache=folder is not None, nogil=True, boundscheck=False, error_model="numpy", _nrt=allocates)
        return cast("Callable[..., Any]", decorate(kernel))
    finally:
        numba.config.CACHE_DIR = before


def _folder_of(kernel: Callable[..., Any], uses: tuple[Callable[..., Any], ...], numba_version: str) -> Path | None:
    """The folder of this very version of a kernel, made and seen to be writable; None when nothing can be kept."""
    try:
        versions = cache_folder() / f"{kernel.__module__}.{kernel.__qualname__}"
        folder = versions / _key(kernel, uses, numba_version)
        is_new = not folder.is_dir()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if is_new:
            _forget_old(versions)
    except (OSError, RuntimeError, TypeError):  # not writable; no home to write to; no source file to know the version by
        return None
    return folder


def _key(kernel: Callable[..., Any], uses: tuple[Callable[..., Any], ...], numba_version: str) -> str:
    """What the compiled code depends on. Raises `OSError` or `TypeError` where a source cannot be read."""
    functions = (kernel, *uses)
    digest = hashlib.sha256(f"{sys.version}|{numba_version}".encode())
    for source in sorted({Path(inspect.getfile(function)) for function in functions}):
        digest.update(source.read_bytes())
    for constant in chain.from_iterable(map(_constants, functions)):
        digest.update(constant.encode())
    return digest.hexdigest()[:32]


def _constants(function: Callable[..., Any]) -> list[str]:
    """The module-level numbers and texts that a function reads: wherever they come from, its machine code has them in it."""
    scope = function.__globals__
    read = sorted(name for name in function.__code__.co_names if isinstance(scope.get(name), int | float | str | tuple))
    return [f"{function.__qualname__}.{name}={scope[name]!r};" for name in read]


def _forget_old(versions: Path) -> None:
    """Remove all but the newest versions of a kernel."""
    by_age = sorted(versions.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
    for old in by_age[KEPT_VERSIONS:]:
        shutil.rmtree(old, ignore_errors=True)
