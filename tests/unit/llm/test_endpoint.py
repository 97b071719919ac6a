"""Where a model is asked: checked before anything is sent, and silent about the key."""

from __future__ import annotations

import pytest

from autohedge.errors import ConfigError
from autohedge.llm.endpoint import resolve_endpoint

KEY = "sk-test-0123456789abcdef"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "http://localhost:11434/v1/", "http://[::1]:1/v1", "https://127.8.9.1/v1"]
)
def test_an_endpoint_on_this_machine_needs_no_key(url: str) -> None:
    endpoint = resolve_endpoint(url, None)
    assert endpoint.loopback
    assert endpoint.key
    assert not endpoint.base_url.endswith("/")


@pytest.mark.parametrize(
    "url",
    [None, "https://api.example.com/v1", "http://192.168.1.5:8000/v1", "http://localhost.example.com/v1", "http://0.0.0.0/v1"],
)
@pytest.mark.parametrize("key", [None, "", "  "])
def test_any_other_endpoint_without_a_key_is_refused_by_the_name_of_the_variable(url: str | None, key: str | None) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        resolve_endpoint(url, key)


def test_without_an_address_it_is_openai() -> None:
    endpoint = resolve_endpoint(None, KEY)
    assert endpoint.base_url == "https://api.openai.com/v1"
    assert not endpoint.loopback


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("api.example.com/v1", "must begin with http"),
        ("ftp://example.com/v1", "must begin with http"),
        ("http:///v1", "name a host"),
        ("https://example.com/v1?key=1", "end with its path"),
        ("https://example.com/v1#x", "end with its path"),
        ("https://exam ple.com/v1", "end with its path"),
        ("https://example.com/v1/chat/completions", "before /chat/completions"),
        ("https://example.com:notaport/v1", "cannot be read"),
        ("http://[::1/v1", "cannot be read"),
    ],
)
def test_a_wrong_address_is_refused_with_what_was_expected(url: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        resolve_endpoint(url, KEY)


def test_a_secret_in_the_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError, match="user or password") as caught:
        resolve_endpoint("https://me:hunter22@example.com/v1", KEY)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-with space", "sk-line\nbreak", "sk-ключ", "sk-nul\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        resolve_endpoint("https://example.com/v1", key)
    assert "sk-" not in str(caught.value)


def test_the_key_is_in_no_representation_and_in_no_body() -> None:
    endpoint = resolve_endpoint("https://example.com/v1", f" {KEY}\n")
    assert endpoint.key == KEY
    assert KEY not in repr(endpoint)
    assert endpoint.without_key(f"wrong key {KEY}!".encode()) == b"wrong key [key]!"
