"""Backtest results as files: one folder per result, found again by id or name, and the folders are the index.

    <root>/<name>__<id>/result.json     settings, totals and the hash of every column; decimals and nanoseconds as strings
                        columns.npz     the columns, bit for bit
                        metrics.json    the figures, for listing; may be deleted, `measure` makes them again

The id is the beginning of a SHA-256 over everything in the first two files. So a run that is repeated with the same outcome has
the same id and is kept once, and whatever was cut off or changed since is found when it is read, and refused with
`StorageError`. A result appears whole or not at all: it is written beside its place, synced, and renamed. Writers wait for each
other.

Columns are an uncompressed .npz: NumPy is there wherever a backtest ran, it takes every type as it is, and writing stays faster
than the run that made the data (Parquet would need another library, compression ten times as long for a third of the size).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile

from autohedge import __version__
from autohedge.backtest.metrics import Metrics
from autohedge.backtest.result import BacktestResult, Curve, Fills, Mids, Quotes
from autohedge.errors import ConfigError, StorageError
from autohedge.storage.encoding import from_json, plain, to_json

FORMAT = 1
ID_DIGITS = 16
RESULT_FILE, COLUMNS_FILE, METRICS_FILE = "result.json", "columns.npz", "metrics.json"
_UNFINISHED = ".unfinished-"
_TABLES: dict[str, type[Any]] = {"curve": Curve, "fills": Fills, "mids": Mids, "quotes": Quotes}
_TYPES = {"ts_ns": "<i8", "order": "<i8", "side": "|i1", "level": "|i1", "is_maker": "|b1"}
_DECIMALS = ("initial_equity", "final_equity", "fees", "slippage", "volume")
_PLAIN = ("symbol", "engine", "strategy", "settings", "data", "trading_days_per_year", "counts", "uptime_frac", "decisions")
_INPUTS = ("symbol", "engine", "strategy", "settings", "data")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_NAMED = 5


class StoredResult(NamedTuple):
    """One result as its folder tells it; `header` is plain data as in result.json, `metrics` None when that file is missing.

    `problem` says what is wrong with a damaged one, whose header is then empty. `saved_ns` is the file's own time.
    """

    id: str
    name: str
    folder: Path
    saved_ns: int
    header: dict[str, Any]
    metrics: dict[str, Any] | None
    problem: str = ""


class Saved(NamedTuple):
    """What became of a result: where it is, whether it is new, and ids of other outcomes of the same settings and data."""

    id: str
    name: str
    folder: Path
    is_new: bool
    other_outcomes: tuple[str, ...]


class ResultStore:
    """The results below one folder, which is made when the first one is saved."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, result: BacktestResult, metrics: Metrics, *, name: str | None = None) -> Saved:
        """Keep a result; one that is there already is recognised, and renamed if another name is given.

        `ConfigError` for a name that is taken or has other characters than letters, digits, dots, dashes and underscores;
        `StorageError` when it cannot be written.
        """
        if name is not None and not _NAME.fullmatch(name):
            raise ConfigError(f"expected a name of up to 80 letters, digits, '.', '-' and '_', found {name!r}")
        columns = _columns(result)
        content = {"result": _header(result), "columns": _digests(columns)}
        result_id = _content_id(content)
        with self._writing():
            present = self.list()
            self._refuse_taken(name, result_id, present)
            same_inputs = [each.id for each in present if each.header and _inputs(each.header) == _inputs(content["result"])]
            others = tuple(each for each in same_inputs if each != result_id)
            for each in present:
                if each.id == result_id and _is_whole(each):
                    folder = self._renamed(each, name)
                    return Saved(result_id, name or each.name, folder, False, others)
            chosen = name or _default_name(result)
            folder = self.root / f"{chosen}__{result_id}"
            self._write(folder, {"format": FORMAT, "version": __version__, **content}, columns, metrics)
        return Saved(result_id, chosen, folder, True, others)

    def list(self) -> tuple[StoredResult, ...]:
        """Every result, newest first, damaged ones with their problem; empty when there is none."""
        if not self.root.is_dir():
            return ()
        folders = [each for each in self.root.iterdir() if each.is_dir() and "__" in each.name and each.name[0] != "."]
        return tuple(sorted((_stored(folder) for folder in folders), key=lambda each: (-each.saved_ns, each.id)))

    def find(self, wanted: str) -> StoredResult:
        """The result with this id or name, or the only one whose id or name begins so; `ConfigError` otherwise."""
        present = self.list()
        exact = [each for each in present if wanted in (each.id, each.name)]
        begins = [each for each in present if wanted and (each.id.startswith(wanted) or each.name.startswith(wanted))]
        found = exact or begins
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{wanted!r} may be any of {len(found)} results ({_names(found)}); give the id of one")
        known = f"the newest are {_names(present)}" if present else f"there is none in {self.root} yet"
        raise ConfigError(f"expected the id or name of a backtest result, or its beginning, found {wanted!r}; {known}")

    def load(self, wanted: str) -> BacktestResult:
        """The result itself, checked; `ConfigError` as `find` does, `StorageError` for one that was cut off or changed."""
        found = self.find(wanted)
        if found.problem:
            raise StorageError(f"{found.folder}: {found.problem}")
        return _result(found.header, _checked_columns(found))

    def delete(self, wanted: str) -> StoredResult:
        """Remove one result with all its files, damaged or not; `ConfigError` as `find` does."""
        with self._writing():
            found = self.find(wanted)
            gone = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.root))
            found.folder.rename(gone / found.folder.name)
            shutil.rmtree(gone)
        return found

    def _refuse_taken(self, name: str | None, result_id: str, present: Sequence[StoredResult]) -> None:
        taken = next((each.id for each in present if each.name == name and each.id != result_id), None)
        if taken is not None:
            raise ConfigError(f"the name {name!r} belongs to result {taken}; choose another, or delete that one")

    def _renamed(self, stored: StoredResult, name: str | None) -> Path:
        if name is None or name == stored.name:
            return stored.folder
        folder = self.root / f"{name}__{stored.id}"
        return stored.folder.rename(folder)

    def _write(self, folder: Path, described: dict[str, Any], columns: dict[str, Any], metrics: Metrics) -> None:
        """All files beside their place, then in it: a damaged result of the same content is replaced."""
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.root))
        np.savez(unfinished / COLUMNS_FILE, allow_pickle=False, **columns)
        (unfinished / RESULT_FILE).write_text(to_json(described, sort_keys=True), encoding="utf-8")
        (unfinished / METRICS_FILE).write_text(to_json(metrics.to_dict()), encoding="utf-8")
        for each in (*unfinished.iterdir(), unfinished):
            _sync(each)
        unfinished.chmod(0o755)
        for damaged in self.root.glob(f"*__{folder.name.rpartition('__')[2]}"):
            shutil.rmtree(damaged)
        unfinished.rename(folder)
        _sync(self.root)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time; what a killed one left unfinished is removed."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left in self.root.glob(f"{_UNFINISHED}*"):
                    shutil.rmtree(left)
                yield
        except OSError as error:
            raise StorageError(f"cannot write backtest results in {self.root}: {error.strerror or error}") from error


def result_id(result: BacktestResult) -> str:
    """The id that this result has in every store: equal contents have equal ids."""
    return _content_id({"result": _header(result), "columns": _digests(_columns(result))})


def _content_id(content: dict[str, Any]) -> str:
    return hashlib.sha256(to_json(content, sort_keys=True).encode()).hexdigest()[:ID_DIGITS]


def _inputs(header: dict[str, Any]) -> str:
    return to_json({name: header[name] for name in _INPUTS}, sort_keys=True)


def _default_name(result: BacktestResult) -> str:
    day = np.datetime64(result.start_ns, "ns").astype("datetime64[D]")
    text = re.sub(r"[^A-Za-z0-9.]+", "-", f"{result.symbol}-{result.strategy}").strip("-.")[:60]
    return f"{text or 'result'}-{day}"


def _names(results: Sequence[StoredResult]) -> str:
    listed = ", ".join(f"{each.id} {each.name}" for each in results[:_NAMED])
    return f"{listed} …" if len(results) > _NAMED else listed


# --- a result as plain data and columns, and back ----------------------------------------------------------------------------


def _header(result: BacktestResult) -> dict[str, Any]:
    """Everything but the columns, as JSON will give it back."""
    header = {name: getattr(result, name) for name in _PLAIN}
    header |= {name: plain(getattr(result, name)) for name in _DECIMALS}
    header |= {"start_ns": str(result.start_ns), "end_ns": str(result.end_ns), "notes": list(result.notes)}
    cost = result.model_cost_usd
    header["model_cost_usd"] = None if cost is None else plain(cost)
    _refuse_unknown_numbers(header, "result")
    normal: dict[str, Any] = from_json(to_json(header, sort_keys=True))
    return normal


def _refuse_unknown_numbers(value: Any, where: str) -> None:
    """JSON would turn NaN and infinities into nothing; they are refused by name instead."""
    if isinstance(value, float) and not np.isfinite(value):
        raise StorageError(f"expected finite numbers to keep, found {value} at {where}")
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, entry in entries:
        _refuse_unknown_numbers(entry, f"{where}.{name}")


def _columns(result: BacktestResult) -> dict[str, Any]:
    """Each column by its dotted name in its stored type; one NaN for all NaNs, so that equal columns have equal bytes."""
    columns: dict[str, Any] = {}
    for table_name in _TABLES:
        table = getattr(result, table_name)
        for name, column in table._asdict().items() if table is not None else ():
            stored = np.ascontiguousarray(column, dtype=_TYPES.get(name, "<f8"))
            if stored.dtype.kind == "f":
                stored = np.where(np.isnan(stored), np.nan, stored)
            columns[f"{table_name}.{name}"] = stored
    return columns


def _digests(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"rows": int(column.size), "type": column.dtype.str, "sha256": hashlib.sha256(column.tobytes()).hexdigest()}
        for name, column in columns.items()
    }


def _result(header: dict[str, Any], columns: dict[str, Any]) -> BacktestResult:
    tables: dict[str, Any] = {}
    for name, table in _TABLES.items():
        own = {field: columns.get(f"{name}.{field}") for field in table._fields}
        tables[name] = None if all(column is None for column in own.values()) else table(**own)
    cost = header["model_cost_usd"]
    parts: dict[str, Any] = {name: header[name] for name in _PLAIN} | {name: Decimal(header[name]) for name in _DECIMALS}
    parts |= {"start_ns": int(header["start_ns"]), "end_ns": int(header["end_ns"]), "notes": tuple(header["notes"])}
    return BacktestResult(**parts, **tables, model_cost_usd=None if cost is None else Decimal(cost))


# --- files ---------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stored(folder: Path) -> StoredResult:
    """One folder of the store, its header checked against the id that its name ends with."""
    name, _, found_id = folder.name.rpartition("__")
    file = folder / RESULT_FILE
    header: dict[str, Any] = {}
    problem, saved_ns = "", 0
    try:
        header = _described(file, found_id)["result"]
        saved_ns = file.stat().st_mtime_ns
    except (StorageError, OSError) as error:
        problem = f"damaged: {error}"
    return StoredResult(found_id, name, folder, saved_ns, header, _figures(folder / METRICS_FILE), problem)


def _described(file: Path, result_id: str) -> dict[str, Any]:
    """What result.json says, if that is what was saved; `StorageError` otherwise."""
    text = _read(file)
    try:
        described = from_json(text.decode())
    except (StorageError, UnicodeDecodeError) as error:
        raise StorageError(f"{RESULT_FILE} was cut off or changed: it is not JSON any more") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise StorageError(f"expected a {RESULT_FILE} of format {FORMAT}; it was changed, or made by another version")
    if _content_id({name: described.get(name) for name in ("result", "columns")}) != result_id:
        raise StorageError(f"{RESULT_FILE} was changed since it was saved: its content does not give the id {result_id}")
    return described


def _figures(file: Path) -> dict[str, Any] | None:
    """The figures for listing; None when they are missing or unreadable, for they can be made again."""
    try:
        figures = from_json(_read(file).decode())
    except (StorageError, UnicodeDecodeError):
        return None
    return figures if isinstance(figures, dict) else None


def _is_whole(stored: StoredResult) -> bool:
    try:
        _checked_columns(stored)
    except StorageError:
        return False
    return not stored.problem


def _checked_columns(stored: StoredResult) -> dict[str, Any]:
    return _read_columns(stored.folder / COLUMNS_FILE, _described(stored.folder / RESULT_FILE, stored.id)["columns"])


def _read_columns(path: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """The columns, each with the rows, type and hash that result.json tells; `StorageError` for the first that differs."""
    if not path.is_file():
        raise StorageError(f"{path}: expected the columns of the result, found no such file")
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            columns = {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise StorageError(f"{path}: cut off or changed since it was saved ({error})") from error
    found = _digests(columns)
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        raise StorageError(f"{path}: changed since it was saved: {', '.join(wrong[:_NAMED])} not as result.json tells")
    return columns
