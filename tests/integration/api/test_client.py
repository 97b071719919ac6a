"""The client against answers that a healthy server would not give."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
import respx

from autohedge.client import AutoHedgeClient, CycleJob, SymbolInventory
from autohedge.errors import ApiError, ConfigError

URL = "http://127.0.0.1:8000"


def job(status: str) -> dict[str, Any]:
    return {
        "id": "r-000001",
        "run_id": "r",
        "status": status,
        "simulated": True,
        "task": None,
        "reason": "",
        "queued_wall_ns": "1723161600000000001",
        "started_wall_ns": None,
        "ended_wall_ns": None,
        "fills": 0,
        "outcomes": [],
        "a_field_of_a_later_version": 1,
    }


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def client(time: FakeTime | None = None, **given: Any) -> AutoHedgeClient:
    time = time or FakeTime()
    return AutoHedgeClient(URL, monotonic_s=time.monotonic_s, sleep=time.sleep, **given)


def test_nanoseconds_and_money_are_exact_both_ways() -> None:
    """2^53 is not enough for nanoseconds and a float not for money: both travel as strings, the money in plain notation."""
    read = CycleJob.model_validate(job("queued"))
    assert read.queued_wall_ns == 1723161600000000001
    assert json.loads(read.model_dump_json())["queued_wall_ns"] == "1723161600000000001"
    inventory = SymbolInventory(
        base_asset="BTC",
        quote_asset="USDT",
        base=Decimal("1E-8"),
        quote=Decimal("9999999999999999999999.123456789012345600"),
        mark_price=None,
        total_value=Decimal("-0.000"),
        as_of_ns=None,
        simulated=True,
    )
    said = json.loads(inventory.model_dump_json())
    assert (said["base"], said["quote"], said["total_value"]) == (
        "0.00000001",
        "9999999999999999999999.1234567890123456",
        "0",
    )
    assert SymbolInventory.model_validate(said).quote == Decimal("9999999999999999999999.1234567890123456")


@respx.mock
def test_wait_looks_again_until_the_cycle_is_over() -> None:
    time = FakeTime()
    route = respx.get(f"{URL}/cycles/r-000001")
    route.side_effect = [httpx.Response(200, json=job(status)) for status in ("queued", "running", "failed")]
    with client(time) as api:
        assert api.wait("r-000001", timeout_s=60).status == "failed"
    assert route.call_count == 3 and time.now_s == pytest.approx(100.4)


@respx.mock
def test_wait_gives_up_in_time_and_says_that_the_cycle_goes_on() -> None:
    time = FakeTime()
    route = respx.get(f"{URL}/cycles/r-000001").respond(json=job("running"))
    with client(time) as api, pytest.raises(ApiError, match="still running") as caught:
        api.wait("r-000001", timeout_s=1.0)
    assert caught.value.code == "timeout" and caught.value.status is None
    assert time.now_s == pytest.approx(101.0) and route.call_count == 6


@respx.mock
def test_an_error_answer_carries_its_word_and_when_to_come_back() -> None:
    answer = {"error": "queue_full", "detail": "16 cycles wait already"}
    respx.post(f"{URL}/cycles").respond(429, json=answer, headers={"Retry-After": "7"})
    with client() as api, pytest.raises(ApiError, match="16 cycles wait already") as caught:
        api.start_cycle()
    assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == ("queue_full", 429, 7.0)


@respx.mock
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>a router's login page</html>"),
        httpx.Response(200, json={"id": 5}),
        httpx.Response(200, json=job("paused")),
        httpx.Response(502, text="bad gateway", headers={"Retry-After": "soon"}),
        httpx.Response(302, headers={"Location": "http://elsewhere.example/"}),
    ],
)
def test_an_answer_of_another_shape_is_an_error_of_ours(answer: httpx.Response) -> None:
    respx.get(f"{URL}/cycles/1").mock(return_value=answer)
    with client() as api, pytest.raises(ApiError) as caught:
        api.cycle("1")
    assert caught.value.code == "unexpected_answer" and caught.value.retry_after_s is None


@respx.mock
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ConnectError("refused"), "unreachable"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.ReadError("cut"), "unreachable"),
    ],
)
def test_no_answer_is_told_apart_from_an_answer(error: Exception, code: str) -> None:
    respx.post(f"{URL}/cycles").mock(side_effect=error)
    with client() as api, pytest.raises(ApiError) as caught:
        api.start_cycle("x")
    assert (caught.value.code, caught.value.status) == (code, None)


@respx.mock
def test_the_key_goes_into_the_header_and_nowhere_else() -> None:
    route = respx.post(f"{URL}/cycles").respond(202, json=job("queued"))
    with client(api_key="a-very-secret-key") as api:
        api.start_cycle(idempotency_key="monday")
        assert "secret" not in repr(api)
    sent = route.calls.last.request
    assert sent.headers["X-API-Key"] == "a-very-secret-key" and sent.headers["Idempotency-Key"] == "monday"
    assert sent.content == b"{}"


@respx.mock
def test_an_id_cannot_lead_to_another_path() -> None:
    route = respx.get(url__startswith=URL).respond(404, json={"error": "unknown_run", "detail": "none"})
    with client() as api, pytest.raises(ApiError):
        api.run("../inventory?x=1")
    assert route.calls.last.request.url.raw_path == b"/runs/..%2Finventory%3Fx%3D1"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://x", "http://", "http://user:key@host", "http://host?x=1", "http://a b"]
)
def test_a_url_that_is_none_is_the_callers_mistake(url: str) -> None:
    with pytest.raises(ConfigError, match="expected a URL"):
        AutoHedgeClient(url)


@pytest.mark.parametrize("key", ["", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_the_callers_mistake(key: str) -> None:
    with pytest.raises(ConfigError, match="API key") as caught:
        AutoHedgeClient(URL, key)
    assert not key or key not in str(caught.value)
    with client() as api, pytest.raises(ConfigError, match="idempotency key"):
        api.start_cycle(idempotency_key=key)
