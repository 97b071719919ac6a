"""Files that grow by whole writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autohedge.errors import ConfigError, StorageError
from autohedge.storage.append_file import AppendFile, is_being_written

WRITE_UNTIL_FULL = """
import resource, sys
from pathlib import Path
from autohedge.errors import StorageError
from autohedge.storage.append_file import AppendFile
file = AppendFile(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
file.append(b"0123456789")
file.append(b"0123456789")
try:
    file.append(b"0123456789")
except StorageError as error:
    print(error)
"""


def test_appended_bytes_are_in_the_file_at_once(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "log")
    file.append(b"one\n")
    file.append(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    file.close()
    file.close()


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="never overwritten"):
        AppendFile(path)
    assert path.read_text() == "precious"


def test_a_file_that_cannot_be_made_is_the_operators_business(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="choose an output folder"):
        AppendFile(tmp_path / "file" / "log")


def test_a_write_that_fits_only_in_part_is_taken_back(tmp_path: Path) -> None:
    """The disk is full after 25 bytes: the third write of ten is undone, not torn."""
    path = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", WRITE_UNTIL_FULL, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "cannot write to" in done.stdout
    assert path.read_bytes() == b"0123456789" * 2


def test_a_write_that_comes_short_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take fewer bytes than it was given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    file = AppendFile(tmp_path / "log")
    file.append(b"0123456789")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"0123456789"


def test_what_cannot_be_taken_back_is_said(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "log")
    file.close()
    with pytest.raises(StorageError, match="its last line is torn"):
        file.append(b"x")


def test_a_discarded_file_is_gone(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "log")
    file.discard()
    assert not (tmp_path / "log").exists()


def test_others_can_tell_whether_a_file_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert not is_being_written(path)
    file = AppendFile(path)
    assert is_being_written(path)
    file.close()
    assert not is_being_written(path)
