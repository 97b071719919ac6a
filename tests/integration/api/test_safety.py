"""Who is let in, by what name, and with what: over a real socket, because that is where it is attacked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from autohedge_api import guard
from autohedge_api.guard import MAX_BODY_BYTES
from tests.integration.api.serving import KEY, GatedDesk, Served, served

JSON = {"Content-Type": "application/json"}


# One server of each kind for all tests here: none of them starts a cycle on it.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """On loopback, without a key."""
    async with served(tmp_path_factory.mktemp("open"), desk=GatedDesk(), allowed_hosts=["hedge.example", "fd00::7"]) as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """With a key."""
    async with served(tmp_path_factory.mktemp("locked"), desk=GatedDesk(), api_key=KEY) as it:
        yield it


def is_error(answer: httpx.Response, status: int, error: str) -> bool:
    """An error in the one shape that all have."""
    said: dict[str, Any] = answer.json()
    return (answer.status_code, said.keys(), said["error"]) == (status, {"error", "detail"}, error)


# --- the key ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/inventory", "/cycles/1", "/runs/1", "/openapi.json", "/nothing"])
async def test_without_the_key_nothing_is_told_but_health(locked_server: Served, path: str) -> None:
    answer = await locked_server.http.get(path)
    assert is_error(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await locked_server.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": ""},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
)
async def test_a_wrong_key_starts_nothing_and_is_not_repeated(locked_server: Served, headers: dict[str, str]) -> None:
    answer = await locked_server.http.post("/cycles", json={}, headers=headers)
    assert is_error(answer, 401, "unauthorized")
    assert KEY[:-1] not in answer.text
    assert locked_server.jobs.queued == 0 and locked_server.jobs.running is None


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}]
)
async def test_the_key_opens_by_either_header(locked_server: Served, headers: dict[str, str]) -> None:
    assert (await locked_server.http.get("/inventory", headers=headers)).status_code == 200
    described = (await locked_server.http.get("/openapi.json", headers=headers)).json()
    assert {"/cycles", "/cycles/{job_id}", "/runs/{run_id}", "/inventory", "/health"} == described["paths"].keys()


async def test_a_key_of_bytes_that_are_no_text_is_just_wrong(locked_server: Served) -> None:
    answer = await locked_server.raw(b"GET /inventory HTTP/1.1\r\nHost: localhost\r\nX-API-Key: \xff\xfe\xe9\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


# --- the name --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["attacker.example", "localhost.attacker.example", "127.0.0.1.nip.example", "0.0.0.0", "", "[::2]"]
)
async def test_a_host_that_is_not_ours_is_refused_even_for_health(open_server: Served, host: str) -> None:
    """A page whose name was rebound to loopback reaches the server, but with its own name in the Host header."""
    for path in ("/health", "/inventory"):
        assert is_error(await open_server.http.get(path, headers={"Host": host}), 421, "unknown_host")
    posted = await open_server.http.post("/cycles", json={}, headers={"Host": host})
    assert is_error(posted, 421, "unknown_host")
    assert open_server.jobs.running is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:8000", "hedge.example", "[fd00::7]:1"])
async def test_loopback_names_and_allowed_names_are_answered(open_server: Served, host: str) -> None:
    assert (await open_server.http.get("/inventory", headers={"Host": host})).status_code == 200


# --- the content -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
)
async def test_a_post_that_is_not_declared_as_json_is_refused(open_server: Served, kind: str | None) -> None:
    """A form of a foreign page can post, but not with this content type, and another page's script may not ask."""
    answer = await open_server.http.post("/cycles", content=b"{}", headers={} if kind is None else {"Content-Type": kind})
    assert is_error(answer, 415, "unsupported_media_type")
    assert open_server.jobs.running is None


async def test_json_with_a_charset_is_json(tmp_path: Path) -> None:
    async with served(tmp_path, desk=GatedDesk()) as it:
        declared = {"Content-Type": "Application/JSON; charset=utf-8"}
        assert (await it.http.post("/cycles", content=b"{}", headers=declared)).status_code == 202


async def test_no_foreign_origin_is_allowed(open_server: Served) -> None:
    asked = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
    preflight = await open_server.http.options("/cycles", headers=asked)
    assert preflight.status_code == 405
    read = await open_server.http.get("/inventory", headers={"Origin": "https://attacker.example"})
    for answer in (preflight, read):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_a_body_that_is_declared_too_large_is_refused_unread(open_server: Served) -> None:
    head = "POST /cycles HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = await open_server.raw(f"{head}Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ") and json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "body_too_large"


async def test_a_body_that_grows_too_large_is_refused(open_server: Served) -> None:
    head = b"POST /cycles HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    size = MAX_BODY_BYTES + 1
    answer = await open_server.raw(head, f"{size:x}\r\n".encode(), b" " * size)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_dribbles_in_is_not_waited_for(open_server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_DEADLINE_S", 0.05)
    head = b"POST /cycles HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
    assert (await open_server.raw(head)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"task": "x", "sybmols": ["secret-word"]}', "sybmols"),
        ('{"task": 5}', "task"),
        ('{"task": ""}', "task"),
        ('{"task": "  \\n "}', "task"),
        ('{"task": ["secret-word"]}', "task"),
        (json.dumps({"task": "secret-word" * 400}), "task"),
        ('{"task": "\\ud800"}', "task"),
        ('["secret-word"]', "body"),
        ('"secret-word"', "body"),
        ('{"task": secret-word', "body"),
        ("NaN", "body"),
    ],
)
async def test_a_body_of_another_shape_is_refused_and_not_repeated(open_server: Served, body: str, told: str) -> None:
    answer = await open_server.http.post("/cycles", content=body.encode(), headers=JSON)
    assert is_error(answer, 422, "invalid_request")
    assert told in answer.json()["detail"] and "secret-word" not in answer.text
    assert len(answer.json()["detail"]) <= 300
    assert open_server.jobs.running is None


@pytest.mark.parametrize("body", [b"\xff\xfe{", b"[" * 60_000])
async def test_a_body_that_cannot_be_parsed_is_the_callers_mistake(open_server: Served, body: bytes) -> None:
    answer = await open_server.http.post("/cycles", content=body, headers=JSON)
    assert answer.status_code in (400, 422) and answer.json().keys() == {"error", "detail"}
    assert (await open_server.http.get("/health")).json()["status"] == "ok"


async def test_a_task_of_the_greatest_length_fits(tmp_path: Path) -> None:
    async with served(tmp_path, desk=GatedDesk()) as it:
        assert (await it.start("é" * 2_000)).status_code == 202
        assert is_error(await it.start("é" * 4_001), 422, "invalid_request")


async def test_unknown_routes_and_methods_are_told_in_the_same_shape(open_server: Served) -> None:
    assert is_error(await open_server.http.get("/nothing"), 404, "unknown_route")
    assert is_error(await open_server.http.delete("/inventory"), 405, "method_not_allowed")
    for page in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert (await open_server.http.get(page)).status_code == 404, "a page that loads scripts from elsewhere"


async def test_a_websocket_is_no_way_in(locked_server: Served) -> None:
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"
    )
    answer = await locked_server.raw(f"GET /inventory HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
