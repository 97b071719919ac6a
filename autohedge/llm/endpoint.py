"""Where a model is asked: the address and the key, checked once, before anything is sent.

Promises that the key never appears in a representation or a message. Refuses addresses that carry secrets or a path too
many, and a remote endpoint without a key; an endpoint on this machine needs none.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from autohedge.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"

_NO_KEY = "none-needed"
"""Sent to a loopback endpoint that was given no key: the protocol wants a header, local servers ignore it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible endpoint: `base_url` without a slash at the end, and the key to send."""

    base_url: str
    loopback: bool
    key: str = field(repr=False)

    def without_key(self, body: bytes) -> bytes:
        """`body` without the key: some endpoints repeat it in their errors. A very short one is a placeholder."""
        return body.replace(self.key.encode(), b"[key]") if len(self.key) >= 8 and self.key != _NO_KEY else body


def resolve_endpoint(base_url: str | None, api_key: str | None) -> Endpoint:
    """Check an address (None: OpenAI's own) and a key. Raises `ConfigError` with what was expected and what was found."""
    url = (base_url or OPENAI_URL).strip().rstrip("/")
    loopback = _is_loopback(_checked_host(url))
    key = (api_key or "").strip()
    if not key:
        if not loopback:
            raise ConfigError(
                f"the model endpoint {url} needs a key, found none; set OPENAI_API_KEY "
                "(any word if the endpoint checks none), or name an endpoint on this machine"
            )
        key = _NO_KEY
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError("OPENAI_API_KEY must be printable ASCII without spaces, found other characters; copy the key again")
    return Endpoint(base_url=url, loopback=loopback, key=key)


def _checked_host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("the model's base URL cannot be read; expected one like http://127.0.0.1:8000/v1") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the model's base URL contains a user or password; remove them and set OPENAI_API_KEY")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"the model's base URL must begin with http:// or https:// and name a host, found {url!r}")
    if parts.query or parts.fragment or any(character.isspace() for character in url):
        raise ConfigError(f"the model's base URL must end with its path (…/v1), found {url!r}")
    if parts.path.endswith("/completions"):
        raise ConfigError(f"the model's base URL must stop before /chat/completions, found {url!r}")
    return host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
