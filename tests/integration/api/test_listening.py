"""Where the server may listen, by what names it goes, and which keys protect anything."""

from __future__ import annotations

import socket

import pytest

from autohedge.errors import ConfigError
from autohedge_api.app import create_app
from autohedge_api.guard import allowed_names, api_key_of, host_of, listen, names_of
from tests.integration.api.serving import KEY


def test_a_key_that_protects_nothing_is_refused_without_being_shown() -> None:
    assert api_key_of({}) is None
    assert api_key_of({"AUTOHEDGE_API_KEY": KEY}) == KEY
    for weak in ("", "   ", "short-secret", "has a space in the middle", "ümläut-ümläut-ümläut", "line\nbreak-line-break"):
        with pytest.raises(ConfigError, match="AUTOHEDGE_API_KEY") as caught:
            api_key_of({"AUTOHEDGE_API_KEY": weak})
        assert not weak.strip() or weak not in str(caught.value)


def test_an_app_is_not_made_with_such_a_key() -> None:
    with pytest.raises(ConfigError, match="16"):
        create_app(None, api_key="short")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "name"),
    [("A.b:1", "a.b"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("", ""), ("[::1", "[::1]"), ("a:b:c", "a")],
)
def test_host_of(header: str, name: str) -> None:
    """The name without the port, whatever is sent."""
    assert host_of(header) == name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    with pytest.raises(ConfigError, match="AUTOHEDGE_API_KEY"):
        listen(host, 0, None)


def test_with_a_key_it_listens_everywhere() -> None:
    with listen("0.0.0.0", 0, KEY) as bound:
        assert bound.getsockname()[0] == "0.0.0.0"
        with socket.create_connection(("127.0.0.1", bound.getsockname()[1]), timeout=5):
            pass


def test_loopback_needs_no_key() -> None:
    for host in ("127.0.0.1", "127.0.0.2", "localhost"):
        with listen(host, 0, None) as bound:
            assert bound.getsockname()[1] > 0


def test_a_taken_port_is_told_in_one_line() -> None:
    with listen("127.0.0.1", 0, None) as bound:
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1 port \d+: .*choose another"):
            listen("127.0.0.1", bound.getsockname()[1], None)


@pytest.mark.parametrize("host", ["", "300.1.2.3.4", "no such host", "\x00", "x" * 300])
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="expected an address"):
        listen(host, 0, KEY)


def test_every_address_is_no_name() -> None:
    """Listening everywhere must not make the server answer for the name 0.0.0.0, which any page can use."""
    assert names_of("0.0.0.0") == names_of("::") == []
    assert names_of("192.0.2.1") == ["192.0.2.1"] and names_of("hedge.example") == ["hedge.example"]


@pytest.mark.parametrize("name", ["", "*", "*.example", "http://hedge.example", "a b", "hedge.example/x", ":8000", "[]"])
def test_what_is_no_name_is_not_answered_for(name: str) -> None:
    """An empty name would let a request without a Host in, and a wildcard every page."""
    with pytest.raises(ConfigError, match="without wildcards"):
        allowed_names([name])


def test_names_are_compared_without_case_or_port() -> None:
    assert allowed_names(["Hedge.Example:443", "FD00::7", "[::9]:80"]) == {"hedge.example", "[fd00::7]", "[::9]"}
    assert allowed_names(allowed_names(["FD00::7"])) == {"[fd00::7]"}
