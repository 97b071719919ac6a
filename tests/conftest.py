"""What all tests share: where recordings are, and a closed network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip that says how to get them into reach."""
    folder = os.environ.get("AUTOHEDGE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("AUTOHEDGE_DATA does not name a folder with recordings")
    return Path(folder)


@pytest.fixture(autouse=True)
def closed_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only loopback and unix sockets may be connected to; anything else fails the test at once."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in _LOOPBACK:
            raise AssertionError(f"a test tried to reach {address[0]}; the network is closed in tests")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
