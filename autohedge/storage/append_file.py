"""A new file that grows by whole writes: what `append` has returned from survives the death of the process.

It never overwrites a file, and a write that fails (disk full, size limit) is undone before the error is raised, so what
is in the file is always a sequence of whole appends. Only a kill in the middle of one write can leave a torn end.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from autohedge.errors import ConfigError, StorageError


class AppendFile:
    """Written by one process, unbuffered, and locked while it is open, so that others can tell a live run from a dead one."""

    __slots__ = ("_descriptor", "_size", "path")

    def __init__(self, path: Path) -> None:
        """Create `path`; `ConfigError` if it exists or cannot be created."""
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError:
            raise ConfigError(f"{path} exists already and is never overwritten; use another run id or output folder") from None
        except OSError as error:
            raise ConfigError(
                f"expected to create {path}: {error.strerror}; choose an output folder you may write to"
            ) from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.path = path
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def append(self, data: bytes) -> None:
        """Write all of `data`; `StorageError`, with the file as it was before, if that fails."""
        try:
            done = os.write(self._descriptor, data)
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {error.strerror}{self._cut_back()}") from error
        self._size += len(data)

    def _cut_back(self) -> str:
        """Take back a write that failed half-way; returns what to add to the message if not even that works."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError as error:
            return f"; its last line is torn ({error.strerror})"
        return ""

    def close(self) -> None:
        """Release the file; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Remove a file that turned out not to be wanted."""
        self.close()
        self.path.unlink(missing_ok=True)


def is_being_written(path: Path) -> bool:
    """True while a living process has `path` open as an `AppendFile`; False when it is missing or nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
