"""The openai adapter over a real socket: what it sends, what it learns, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import gzip
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from autohedge.errors import ConfigError, ModelOutputInvalid, ModelUnavailable
from autohedge.llm.openai_client import MAX_BODY_BYTES, OpenAIModelClient
from autohedge.ports import ModelRequest
from autohedge.testing import HttpReply, ModelServer, completion, error_reply
from autohedge.testing.model_server import mode_names

KEY = "sk-secret-0123456789abcdefghijklmnop"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def _request(model: str = "model-1", temperature: float = 0.0, timeout_s: float = 5.0) -> ModelRequest:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Well? 5 €"})
    return ModelRequest(model, messages, "Answer", SCHEMA, temperature, 100, timeout_s)


# ---------------------------------------------------------------- what is sent


async def test_a_request_says_everything_the_port_says_and_nothing_else() -> None:
    async with ModelServer() as server:
        client = OpenAIModelClient(server.base_url, KEY, "local")
        await client.complete(_request())
        await client.aclose()
    (served,) = server.requests
    assert served.headers["authorization"] == f"Bearer {KEY}"
    assert served.headers["accept-encoding"] == "identity"
    assert served.body == {
        "model": "model-1",
        "messages": list(_request().messages),
        "max_tokens": 100,
        "stream": False,
        "temperature": 0.0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Answer", "strict": True, "schema": SCHEMA},
        },
    }


async def test_the_environment_neither_redirects_nor_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, an account or a proxy in the environment is for OpenAI; a local endpoint gets none of it."""
    for name, value in {
        "OPENAI_API_KEY": KEY,
        "OPENAI_ADMIN_KEY": KEY,
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_ORG_ID": "org-mine",
        "OPENAI_PROJECT_ID": "proj-mine",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    async with ModelServer() as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        await client.complete(_request())
        await client.aclose()
    (served,) = server.requests
    assert KEY not in str(served.headers)
    assert not {"openai-organization", "openai-project"} & set(served.headers)


async def test_a_remote_endpoint_without_a_key_is_refused_when_the_client_is_made() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIModelClient("https://api.example.com/v1", None, "remote")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIModelClient(None, None, "openai")


async def test_connections_are_kept_and_bounded() -> None:
    """Three connections serve twenty calls; the others wait for their turn."""
    connected: set[Any] = set()

    class Counting(ModelServer):
        async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.add(writer.get_extra_info("peername"))
            await super()._connected(reader, writer)

    async with Counting(latency_s=0.005) as server:
        client = OpenAIModelClient(server.base_url, None, "local", max_connections=3)
        await asyncio.gather(*(client.complete(_request()) for _ in range(20)))
        await client.aclose()
    assert server.count == 20
    assert len(connected) == 3


# ---------------------------------------------------------------- what an endpoint can do


async def test_an_endpoint_without_json_schemas_is_asked_for_objects_from_then_on() -> None:
    async with ModelServer("only_object") as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        first = await client.complete(_request())
        second = await client.complete(_request())
        await client.aclose()
    assert (first.schema_mode, second.schema_mode) == ("object", "object")
    kinds = [request.body["response_format"]["type"] for request in server.requests]
    assert kinds == ["json_schema", "json_object", "json_object"]
    assert '"required":["n"]' in server.requests[1].body["messages"][0]["content"]


async def test_an_endpoint_without_any_format_is_asked_in_words() -> None:
    async with ModelServer("only_text") as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        replies = [await client.complete(_request()) for _ in range(2)]
        await client.aclose()
    assert [reply.schema_mode for reply in replies] == ["text", "text"]
    assert ["response_format" in request.body for request in server.requests] == [True, True, False, False]
    assert replies[0].text == '{"n": 1}'


async def test_what_is_learnt_of_one_model_is_not_believed_of_another() -> None:
    async with ModelServer(["only_object", "only_object", "good"]) as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        modes = [(await client.complete(_request(model))).schema_mode for model in ("old", "new")]
        await client.aclose()
    assert modes == ["object", "strict"]


@pytest.mark.parametrize("mode", ["strict", "object", "text"])
async def test_a_mode_that_the_operator_chose_is_kept(mode: Any) -> None:
    async with ModelServer(["good", error_reply(400, "response_format is not supported")]) as server:
        client = OpenAIModelClient(server.base_url, None, "local", schema_mode=mode)
        assert (await client.complete(_request())).schema_mode == mode
        with pytest.raises(ModelUnavailable) as caught:
            await client.complete(_request())
        await client.aclose()
    assert caught.value.failure == "bad_request"


async def test_a_model_with_other_parameters_is_asked_its_own_way() -> None:
    """Reasoning models take no temperature and call the token limit by another name."""

    def reasoning_model(body: Any) -> Any:
        if "max_tokens" in body:
            return error_reply(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "temperature" in body:
            return error_reply(400, "Unsupported value: 'temperature' does not support 0.3 with this model.")
        return "good"

    async with ModelServer(reasoning_model) as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        for _ in range(2):
            assert (await client.complete(_request(temperature=0.3))).schema_mode == "strict"
        await client.aclose()
    assert server.count == 4
    assert server.requests[-1].body["max_completion_tokens"] == 100


async def test_learning_happens_within_the_one_deadline() -> None:
    async with ModelServer("only_text", latency_s=0.2) as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        with pytest.raises(ModelUnavailable) as caught:
            await client.complete(_request(timeout_s=0.3))
        await client.aclose()
    assert caught.value.failure == "timeout"
    assert server.count == 2


# ---------------------------------------------------------------- what is refused


async def test_a_redirect_is_not_followed() -> None:
    """It would carry the prompts, and perhaps the key, to another place."""
    async with ModelServer() as elsewhere:
        moved = HttpReply(307, headers=(("location", f"{elsewhere.base_url}/chat/completions"),))
        async with ModelServer(moved) as server:
            client = OpenAIModelClient(server.base_url, KEY, "local")
            with pytest.raises(ModelUnavailable, match="307") as caught:
                await client.complete(_request())
            await client.aclose()
    assert caught.value.failure == "bad_request"
    assert elsewhere.count == 0


@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_without_end_is_not_read_to_its_end(status: int) -> None:
    async with ModelServer([HttpReply(status, b"x" * (MAX_BODY_BYTES + 1)), "good"]) as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        with pytest.raises(ModelUnavailable, match="more than") as caught:
            await client.complete(_request())
        assert (await client.complete(_request())).text
        await client.aclose()
    assert (caught.value.failure, caught.value.retryable) == ("server_error", False)


async def test_a_body_that_is_packed_wrongly_is_a_named_failure() -> None:
    broken = HttpReply(200, b"not gzip", headers=(("content-encoding", "gzip"),))
    packed = HttpReply(200, gzip.compress(completion('{"n": 1}').body), headers=(("content-encoding", "gzip"),))
    async with ModelServer([broken, packed]) as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        with pytest.raises(ModelUnavailable) as caught:
            await client.complete(_request())
        assert (await client.complete(_request())).text == '{"n": 1}'
        await client.aclose()
    assert caught.value.failure == "connection"


# ---------------------------------------------------------------- the key


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """All that any library or the product says, at the most talkative level."""
    lines: list[str] = []

    class Sink(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = Sink(), logging.getLogger()
    names = ["", "openai", "httpx2", "httpcore2", "asyncio"]
    levels = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    sink = logger.add(lines.append, level=0, backtrace=True, diagnose=True)  # type: ignore[arg-type]
    yield lines
    logger.remove(sink)
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_the_key_is_nowhere_to_be_read(everything_logged: list[str]) -> None:
    """Every fault of the server, and one that repeats the key: not in errors, tracebacks, representations or logs."""
    echo = error_reply(401, f"Incorrect API key provided: {KEY}.")
    parrot = completion(None, refusal=f"no, {KEY}")
    modes = [mode for mode in mode_names() if mode not in ("hang", "drip")]
    async with ModelServer([*modes, echo, parrot]) as server:
        client = OpenAIModelClient(server.base_url, KEY, "local", schema_mode="strict")
        seen = [repr(client), str(client)]
        failures = 0
        for _ in range(len(modes) + 2):
            try:
                await client.complete(_request())
            except (ModelUnavailable, ModelOutputInvalid) as error:
                failures += 1
                logger.exception("a failure")
                seen += [str(error), repr(error), *traceback.format_exception(error)]
        await client.aclose()
        server.assert_used_up()
    assert failures > 20
    assert any("[key]" in text for text in seen)
    assert len(everything_logged) > 100
    for text in (*seen, *everything_logged):
        assert KEY not in text
        assert KEY[:20] not in text
