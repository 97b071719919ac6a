"""The kit that is shipped for tests: it must itself notice a wrong script."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.llm.schema import strict_schema
from autohedge.operations.clock import SystemClock
from autohedge.ports import ModelRequest
from autohedge.testing import GoodAnswers, ManualClock, ModelServer, ScriptedModel
from autohedge.testing.model_server import mode_names


class Levels(BaseModel):
    model_config = ConfigDict(extra="forbid")
    support: float | None = Field(gt=0)


class Anything(BaseModel):
    """One field of every kind that a schema of the desk may have."""

    model_config = ConfigDict(extra="forbid")
    ticker: str = Field(min_length=1, max_length=40)
    approved: bool
    mood: Literal["calm", "wild"]
    score: float = Field(ge=0, le=1, description="How sure.")
    bias: float = Field(ge=-0.5, le=0.5)
    ttl_s: float = Field(gt=10)
    budget: float = Field(lt=0)
    free: float
    count: int = Field(ge=2, le=4)
    levels: Levels
    maybe: Levels | None
    reasons: list[str] = Field(min_length=2)


def _request(content: str = "symbol: ETH/USDT", name: str = "Anything", timeout_s: float = 1.0) -> ModelRequest:
    return ModelRequest("m", ({"role": "user", "content": content},), name, strict_schema(Anything), 0.0, 100, timeout_s)


# ---------------------------------------------------------------- good answers


def test_a_good_answer_satisfies_the_schema_with_its_bounds() -> None:
    made = Anything.model_validate(GoodAnswers()(_request()))
    assert made.ticker == "ETH/USDT"
    assert (made.score, made.bias, made.count) == (0.5, 0.0, 3)
    assert made.maybe is None
    assert len(made.reasons) == 2
    assert made == Anything.model_validate(GoodAnswers()(_request()))


@pytest.mark.parametrize(
    ("content", "symbol"),
    [
        ("Symbol: SOL/USDT. News about BTC/USDT.", "SOL/USDT"),
        ('{"ticker": "NVDA", "best_bid": 1}', "NVDA"),
        ("**symbol**: `BRK.B`", "BRK.B"),
        ("Trade ETH/BTC now.", "ETH/BTC"),
        ("symbol: copy it from the input; the pair is ADA/EUR", "ADA/EUR"),
        ("Nothing named.", "BTC/USDT"),
    ],
)
def test_a_good_answer_speaks_about_the_symbol_asked_about(content: str, symbol: str) -> None:
    assert GoodAnswers()(_request(content))["ticker"] == symbol


def test_a_given_answer_is_given() -> None:
    assert GoodAnswers({"Anything": {"a": 1}})(_request()) == {"a": 1}


# ---------------------------------------------------------------- scripted model


async def test_scripted_answers_come_in_order_and_leave_none_over() -> None:
    model = ScriptedModel(["one", {"two": 2}, ValueError("three"), lambda request: request.schema_name])
    assert (await model.complete(_request())).text == "one"
    assert (await model.complete(_request())).text == '{"two": 2}'
    with pytest.raises(ValueError, match="three"):
        await model.complete(_request())
    with pytest.raises(AssertionError, match="nobody asked for"):
        model.assert_used_up()
    assert (await model.complete(_request())).text == "Anything"
    model.assert_used_up()


async def test_a_question_without_an_answer_is_noticed_even_if_its_error_was_swallowed() -> None:
    model = ScriptedModel([])
    with pytest.raises(AssertionError, match="no answer to call 1"):
        await model.complete(_request())
    with pytest.raises(AssertionError, match="had no answer"):
        model.assert_used_up()


async def test_scripts_may_differ_by_schema() -> None:
    model = ScriptedModel({"Anything": ["a"], "Other": "always", "*": ["rest"]})
    texts = [(await model.complete(_request(name=name))).text for name in ("Other", "Anything", "Third", "Other")]
    assert texts == ["always", "a", "rest", "always"]
    model.assert_used_up()


async def test_a_scripted_model_keeps_the_time_it_is_given() -> None:
    clock = ManualClock()
    model = ScriptedModel(["late"], latency_s=5.0, clock=clock)
    with pytest.raises(ModelUnavailable) as caught:
        await model.complete(_request(timeout_s=2.0))
    assert caught.value.failure == "timeout"
    assert clock.monotonic_s() == 2.0


async def test_a_blank_scripted_answer_is_an_empty_one() -> None:
    with pytest.raises(ModelOutputInvalid) as caught:
        await ScriptedModel([" "]).complete(_request())
    assert caught.value.failure == "empty"


# ---------------------------------------------------------------- server


def test_an_unknown_mode_is_refused_at_once() -> None:
    for script in ("hagn", ["good", "hagn"], {"*": "hagn"}):
        with pytest.raises(ValueError, match=r"unknown mode 'hagn'.*known: "):
            ModelServer(script)


def test_a_server_that_does_not_run_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = ModelServer().base_url


async def _exchange(server: ModelServer, raw: bytes) -> bytes:
    port = int(server.base_url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def _http(body: bytes, path: str = "/v1/chat/completions", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (_http(b"{}"), 200),
        (_http(b"{}") * 3, 200),
        (_http(b"{}", path="/v1/models"), 404),
        (_http(b"", method="GET"), 404),
        (_http(b"{"), 400),
        (_http(b"[]"), 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -4\r\n\r\n", 411),
    ],
)
async def test_the_server_speaks_http(raw: bytes, status: int) -> None:
    async with ModelServer() as server:
        answer = await _exchange(server, raw)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1 ") == max(1, raw.count(b"{}"))


@pytest.mark.parametrize("raw", [b"", b"garbage", b"x" * 200_000, b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nshort"])
async def test_what_is_no_http_ends_the_connection_and_not_the_server(raw: bytes) -> None:
    async with ModelServer() as server:
        with contextlib.suppress(ConnectionError):  # the server may close before it has read everything
            assert await _exchange(server, raw) == b""
        assert (await _exchange(server, _http(b"{}"))).startswith(b"HTTP/1.1 200")


async def test_requests_are_kept_for_assertions_and_the_script_is_checked() -> None:
    async with ModelServer(["good", "good"]) as server:
        await _exchange(server, _http(b'{"model": "m", "response_format": {"json_schema": {"name": "View", "schema": {}}}}'))
        assert server.count == 1
        assert server.requests[0].body["model"] == "m"
        assert server.requests[0].headers["host"] == "x"
        assert server.requests[0].schema_name == "View"
        with pytest.raises(AssertionError, match="nobody asked for"):
            server.assert_used_up()
        await _exchange(server, _http(b"{}") * 2)
        with pytest.raises(AssertionError, match="had no answer"):
            server.assert_used_up()


def test_the_server_runs_in_a_thread_of_its_own() -> None:
    with ModelServer.in_thread("good") as server:
        answer = asyncio.run(_exchange(server, _http(b"{}")))
        assert answer.startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError, match="in use"):
            with ModelServer.in_thread("good", port=int(server.base_url.split(":")[2].split("/")[0])):
                pass
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(_exchange(server, _http(b"{}")))


def test_the_server_is_a_command_that_prints_its_address_first_and_stops_when_told() -> None:
    command = [sys.executable, "-m", "autohedge.testing.model_server", "--mode", "no_json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        base_url = process.stdout.readline().strip()
        assert base_url.startswith("http://127.0.0.1:") and base_url.endswith("/v1")
        port = int(base_url.split(":")[2].split("/")[0])

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_http(b"{}"))
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

        assert b"I would buy here" in asyncio.run(ask())
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""


def test_the_garbage_mode_and_every_other_mode_have_names() -> None:
    names = mode_names()
    assert len(names) == len(set(names))
    assert {"good", "garbage", "rate_limited", "hang"} <= set(names)


# ---------------------------------------------------------------- clocks


async def test_sleeping_on_a_clock_by_hand_moves_it_and_takes_no_time() -> None:
    clock = ManualClock(now_ns=5)
    await clock.sleep(3_600.0)
    assert (clock.now_ns(), clock.monotonic_s(), clock.sleeps) == (5 + 3_600 * 10**9, 3_600.0, [3_600.0])
    clock.advance(0.5)
    assert clock.monotonic_s() == 3_600.5
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(-1.0)


async def test_sleeping_together_passes_the_time_once() -> None:
    clock = ManualClock()
    await asyncio.gather(clock.sleep(1.0), clock.sleep(3.0), clock.sleep(2.0))
    assert clock.monotonic_s() == 3.0


async def test_the_real_clock_goes_on() -> None:
    clock = SystemClock()
    before_ns, before_s = clock.now_ns(), clock.monotonic_s()
    await clock.sleep(-1.0)
    await clock.sleep(0.001)
    assert clock.monotonic_s() > before_s
    assert clock.now_ns() > before_ns > 1_700_000_000_000_000_000


# ---------------------------------------------------------------- imports


def _loaded_by(statement: str, *names: str) -> list[str]:
    code = f"import sys\n{statement}\nprint(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_nothing_of_the_model_floor_loads_openai_before_a_client_is_made() -> None:
    modules = "failures, schema, extract, validation, endpoint, capability, envelope, openai_client, ladder"
    assert _loaded_by(f"from autohedge.llm import {modules}", "openai", "httpx2", "httpx") == []


def test_the_kit_is_loaded_name_by_name() -> None:
    heavy: Any = ("autohedge.testing.model_server", "autohedge.testing.scripted_model", "tenacity", "openai")
    assert _loaded_by("import autohedge.testing", *heavy) == []
    assert _loaded_by("from autohedge.testing import ScriptedModel", *heavy) == ["autohedge.testing.scripted_model"]
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        from autohedge import testing

        testing.Nothing  # noqa: B018
