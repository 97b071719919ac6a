"""What a request must have before a route sees it: a Host that is ours, the key, the content type, a bounded body.

Refused, each as JSON {error, detail}: a Host outside the allow-list (421, against DNS rebinding), a missing or wrong key where
one is set (401), a body that is not declared as JSON (415, which also keeps forms of foreign pages out), one that is too large
(413) or that dribbles in too slowly (408). Keys and bodies are never repeated in an answer.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autohedge.client import API_KEY_HEADER
from autohedge.errors import ConfigError

API_KEY_VARIABLE = "AUTOHEDGE_API_KEY"
MIN_KEY_CHARS = 16
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAX_BODY_BYTES = 64 * 1024
BODY_DEADLINE_S = 10.0
OPEN_PATHS = frozenset({"/health"})
"""What can be asked without a key: nothing that tells of the market or of money."""

_NAME = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d+)?")


def refusal(status: int, error: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as every route answers it."""
    return JSONResponse({"error": error, "detail": detail}, status, headers)


def api_key_of(environ: Mapping[str, str]) -> str | None:
    """The key that callers must show, None when none is set; `ConfigError` for one that protects nothing."""
    key = environ.get(API_KEY_VARIABLE)
    if key is None:
        return None
    check_api_key(key)
    return key


def check_api_key(key: str) -> None:
    """`ConfigError`, without the key in it, unless it is long enough and can stand in a header."""
    if len(key) < MIN_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"expected at least {MIN_KEY_CHARS} printable ASCII characters without spaces in {API_KEY_VARIABLE}, found "
            f"{len(key)} characters; make one with: openssl rand -hex 32"
        )


def listen(host: str, port: int, api_key: str | None) -> socket.socket:
    """A socket that listens on `host` and `port` (0: any free one); callers queue until a server accepts them.

    `ConfigError` when the host does not exist here, the port is taken, or others could reach it and there is no key.
    """
    if not host:
        raise ConfigError("expected an address to listen on, found an empty --host; leave it out for 127.0.0.1")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigError(f"expected an address of this machine, found --host {host}, which does not resolve") from None
    addresses = {str(address[0]) for *_, address in found}
    if api_key is None and not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses):
        raise ConfigError(
            f"others could reach {host}: set an API key in {API_KEY_VARIABLE} (openssl rand -hex 32), or listen on 127.0.0.1"
        )
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --host or --port") from None
    return bound


def names_of(host: str) -> list[str]:
    """The Host names that come with listening on `host`: itself, but none for "every address", which is nobody's name."""
    try:
        return [] if ipaddress.ip_address(host).is_unspecified else [host]
    except ValueError:
        return [host]


def allowed_names(hosts: Iterable[str]) -> frozenset[str]:
    """Hosts as `host_of` gives them; `ConfigError` for one that is no plain name or address (there are no wildcards)."""
    names = set()
    for host in hosts:
        text = f"[{host}]" if host.count(":") > 1 and host[0] != "[" else host
        found = _NAME.fullmatch(text.lower())
        if found is None:
            raise ConfigError(f"expected a host name or an address to answer for, without wildcards, found {host!r}")
        names.add(found[1])
    return frozenset(names)


def host_of(header: str) -> str:
    """The name in a Host header, lower case, without the port; an IPv6 address keeps its brackets."""
    name = header.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


class Guard:
    """ASGI middleware around the whole app. `allowed_hosts` are added to the loopback names; `api_key` None asks for no key."""

    def __init__(self, app: ASGIApp, *, api_key: str | None, allowed_hosts: Iterable[str]) -> None:
        self._app = app
        self._key = None if api_key is None else api_key.encode()
        self._hosts = LOOPBACK_NAMES | allowed_names(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the refusal, or hand the request on with its body read."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "no such route"})
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is None and scope["method"] in ("POST", "PUT", "PATCH"):
            body = await _read_body(headers, receive)
            if isinstance(body, JSONResponse):
                refused = body
            else:
                receive = _replayed(body, receive)
        await (refused or self._app)(scope, receive, send)

    def _refused(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if host_of(headers.get("host", "")) not in self._hosts:
            return refusal(
                421, "unknown_host", "the Host header names no host that this server answers for; see --allow-host of serve"
            )
        if self._key is not None and scope["path"] not in OPEN_PATHS and not self._shows_key(headers):
            return refusal(
                401,
                "unauthorized",
                f"expected the API key in {API_KEY_HEADER} or as a bearer token",
                {"WWW-Authenticate": "Bearer"},
            )
        if scope["method"] in ("POST", "PUT", "PATCH"):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return refusal(415, "unsupported_media_type", "expected Content-Type: application/json")
        return None

    def _shows_key(self, headers: Headers) -> bool:
        given = headers.get(API_KEY_HEADER)
        if given is None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return False
        # header bytes are latin-1; anything but ASCII differs from every key
        return self._key is not None and hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._key)


async def _read_body(headers: Headers, receive: Receive) -> bytes | JSONResponse:
    too_large = refusal(413, "body_too_large", f"expected at most {MAX_BODY_BYTES} bytes", {"Connection": "close"})
    declared = headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()) or int(declared) > MAX_BODY_BYTES:
        return too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    break
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MAX_BODY_BYTES:
                    return too_large
    except TimeoutError:
        return refusal(408, "body_too_slow", f"expected the whole body within {BODY_DEADLINE_S:g} s", {"Connection": "close"})
    return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then whatever comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
