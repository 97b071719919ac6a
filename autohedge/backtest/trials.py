"""Trials of a search, and the table they are kept in: durable as they finish, and never made twice.

A study is a folder with one line per trial, of one objective. What `add` has returned from survives the death of the process
(not a power cut: that would need a sync to disk for each). Every run that adds trials writes a part of its own,
`trials-0001.jsonl`, `trials-0002.jsonl` …, and finished parts are only read. A kill can tear the last line of a part: that
trial does not count and is made again. Any other damage is refused with its line number, and so is a folder that holds another
objective or that another living process is writing to.

A trial is known by its parameters and its window under the objective's identity. Returns stay on disk until they are asked for,
so the table of a long search is small in memory.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autohedge.errors import ConfigError, StorageError
from autohedge.storage.append_file import AppendFile, is_being_written
from autohedge.storage.encoding import from_json, to_json

F64 = NDArray[np.float64]
Scalar = bool | int | float | str
Params = dict[str, Scalar]

FORMAT = 1
_PART = re.compile(r"trials-(\d{4,})\.jsonl", re.ASCII)
_LITTLE_ENDIAN = np.dtype("<f8")


class Window(NamedTuple):
    """A stretch of market time, UTC nanoseconds: from `start_ns` up to but not including `end_ns`."""

    start_ns: int
    end_ns: int


def _no_returns() -> F64:
    return np.empty(0, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class TrialOutcome:
    """What an objective says of one set of parameters.

    `score`: higher is better; None when the trial failed or its score is undefined, and then `reason` says why. `returns`: one
    number per period of `period_ns` on a fixed grid, the same for all trials, from which overfitting is measured; may be
    empty. `metrics`: further figures by name, plain numbers or text, for people; one that is not finite is kept as None.
    """

    score: float | None
    reason: str = ""
    returns: F64 = field(default_factory=_no_returns)
    period_ns: int | None = None
    metrics: Mapping[str, float | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One line of the table. `score` is finite, or None with a `reason`; `periods` is the number of returns kept."""

    key: str
    params: Params
    window: Window | None
    score: float | None
    reason: str
    metrics: dict[str, float | str | None]
    periods: int
    period_ns: int | None


class _Place(NamedTuple):
    path: Path
    offset: int
    length: int


def digest_of(value: Any) -> str:
    """32 hex digits of plain data; equal data have equal digests, whatever the order of their names."""
    return blake2b(to_json(value, sort_keys=True).encode(), digest_size=16).hexdigest()


class TrialTable:
    """The trials of one study folder. Open it in one process at a time; it is a context manager.

    Raises `ConfigError` if the folder cannot be used, holds another objective, or is being written by another process, and
    `StorageError` if it is damaged or cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        self.folder = folder
        self.torn = 0
        self._identity = from_json(to_json(dict(identity)))
        self._identity_digest = digest_of(self._identity)
        self._trials: dict[str, Trial] = {}
        self._places: dict[str, _Place] = {}
        parts = _parts(folder)
        for _, path in parts:
            self._read(path)
        self._added = 0
        self._closed = False
        self._file = AppendFile(folder / f"trials-{(parts[-1][0] if parts else 0) + 1:04d}.jsonl")
        self._file.append(_line({"trials": FORMAT, "identity": self._identity}))

    def __enter__(self) -> TrialTable:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._trials)

    def key(self, params: Params, window: Window | None = None) -> str:
        """What these parameters on this window are known by in this study."""
        return digest_of([self._identity_digest, params, list(window) if window else None])

    def get(self, key: str) -> Trial | None:
        """The finished trial; None if it has not been made."""
        return self._trials.get(key)

    def trials(self, window: Window | None = None) -> list[Trial]:
        """All finished trials of a window (None: of the whole data), in the order of their keys: the same after any resume."""
        return sorted((trial for trial in self._trials.values() if trial.window == window), key=lambda trial: trial.key)

    def add(self, params: Params, window: Window | None, outcome: TrialOutcome) -> Trial:
        """Keep a finished trial; durable on return. Raises `StorageError` if it cannot be written or is not plain data."""
        key = self.key(params, window)
        if key in self._trials:
            return self._trials[key]
        line = _line(_plain(key, params, window, outcome))
        place = _Place(self._file.path, self._file.size, len(line))
        self._file.append(line)
        self._added += 1
        trial = _trial(from_json(line.decode()))  # what a resumed search will read is what this one sees
        self._trials[key], self._places[key] = trial, place
        return trial

    def returns(self, trials: Iterable[Trial]) -> Iterator[F64]:
        """The returns of each trial in turn, read from the file; empty arrays where a trial has none."""
        opened: Path | None = None
        descriptor = -1
        try:
            for trial in trials:
                place = self._places[trial.key]
                if place.path != opened:
                    if descriptor >= 0:
                        os.close(descriptor)
                    descriptor, opened = os.open(place.path, os.O_RDONLY), place.path
                line = os.pread(descriptor, place.length, place.offset)
                yield _decoded(from_json(line.decode())["returns"])
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def close(self) -> None:
        """Release the folder; a part without trials is removed. May be called twice."""
        if not self._closed:
            self._closed = True
            if self._added:
                self._file.close()
            else:
                self._file.discard()

    def _read(self, path: Path) -> None:
        if is_being_written(path):
            raise ConfigError(f"{path.parent} is being written by another search; wait for its end or choose another folder")
        offset = 0
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n"):
                        self.torn += 1
                        return
                    self._take(path, number, offset, line)
                    offset += len(line)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error

    def _take(self, path: Path, number: int, offset: int, line: bytes) -> None:
        try:
            found = from_json(line.decode())
            if number == 1:
                self._check_head(path, found)
                return
            trial = _trial(found)
        except ConfigError:
            raise
        except (StorageError, KeyError, TypeError, ValueError) as error:  # not UTF-8, not JSON, or not of this shape
            raise StorageError(f"{path}, line {number}: expected a trial of a search, found {line[:60]!r}") from error
        if trial.key != self.key(trial.params, trial.window):
            raise StorageError(f"{path}, line {number}: the parameters are not those of the trial's key; the file was changed")
        self._trials.setdefault(trial.key, trial)
        self._places.setdefault(trial.key, _Place(path, offset, len(line)))

    def _check_head(self, path: Path, head: Any) -> None:
        if head["trials"] != FORMAT:
            raise ConfigError(f"{path}: expected format {FORMAT} of a study, found {head['trials']}; choose another folder")
        different = _first_difference(head["identity"], self._identity)
        if different:
            raise ConfigError(f"{path.parent} is a study of another objective: {different}; choose another folder")


def _parts(folder: Path) -> list[tuple[int, Path]]:
    """The parts of a study in order; makes the folder if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = [(int(match[1]), path) for path in folder.iterdir() if (match := _PART.fullmatch(path.name))]
    except OSError as error:
        raise ConfigError(f"the study folder {folder} cannot be used: {error.strerror}") from error
    return sorted(found)


def _line(value: dict[str, Any]) -> bytes:
    return (to_json(value) + "\n").encode()


def _plain(key: str, params: Params, window: Window | None, outcome: TrialOutcome) -> dict[str, Any]:
    """An outcome as plain data. A score that is not finite is no score: unknown is not a number."""
    score = None if outcome.score is None else float(outcome.score)
    reason = outcome.reason
    if score is not None and not math.isfinite(score):
        score, reason = None, reason or f"the score is {outcome.score}"
    if score is None and not reason:
        reason = "the objective gave no score and no reason"
    returns = np.asarray(outcome.returns, dtype=_LITTLE_ENDIAN)
    if returns.ndim != 1:
        raise StorageError(f"expected one return per period, found an array of {returns.ndim} dimensions")
    return {
        "key": key,
        "params": params,
        "window": list(window) if window else None,
        "score": score,
        "reason": "" if score is not None else reason,
        "metrics": {name: _plain_metric(value) for name, value in outcome.metrics.items()},
        "period_ns": outcome.period_ns,
        "returns": base64.b64encode(returns.tobytes()).decode(),
    }


def _plain_metric(value: float | str | None) -> float | str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _trial(found: Any) -> Trial:
    window = found["window"]
    return Trial(
        key=found["key"],
        params=found["params"],
        window=None if window is None else Window(*window),
        score=found["score"],
        reason=found["reason"],
        metrics=found["metrics"],
        periods=_decoded(found["returns"]).size,
        period_ns=found["period_ns"],
    )


def _decoded(text: str) -> F64:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=_LITTLE_ENDIAN).astype(np.float64)


def _first_difference(there: Any, here: Any, at: str = "") -> str:
    """Where two pieces of plain data differ, in words; empty where they are equal."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in sorted({*there, *here}):
            found = _first_difference(there.get(name), here.get(name), f"{at}.{name}" if at else name)
            if found:
                return found
        return ""
    return "" if there == here else f"its {at or 'identity'} is {str(there)[:60]}, here it is {str(here)[:60]}"
