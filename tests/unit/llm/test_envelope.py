"""Whatever an endpoint sends ends in a reply or in one named failure."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.llm.envelope import read_reply, read_retry_after, said_by, unavailable_for_status
from autohedge.llm.failures import FailureClass, UnusableReply
from autohedge.ports import ModelReply


def _read(body: bytes, content_type: str = "application/json") -> ModelReply:
    return read_reply(body, content_type, asked_model="asked", schema_mode="strict")


def _completion(message: Any, finish_reason: Any = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}], **more}).encode()


def test_a_good_completion_becomes_a_reply_with_the_providers_account() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    reply = _read(_completion({"content": "{}"}, model="real", usage=usage))
    assert reply == ModelReply("{}", "real", "stop", 7, 3, 2, "strict")


@pytest.mark.parametrize("usage", [None, [], {}, {"prompt_tokens": "7", "completion_tokens": True}, {"prompt_tokens": -1}])
def test_tokens_that_were_not_said_are_unknown_and_not_zero(usage: Any) -> None:
    reply = _read(_completion({"content": "x"}, usage=usage))
    assert (reply.model, reply.input_tokens, reply.output_tokens, reply.cached_tokens) == ("asked", None, None, None)


def test_text_that_comes_in_parts_is_joined_without_the_thoughts() -> None:
    parts = [{"type": "thinking", "text": "hm"}, {"type": "text", "text": '{"a"'}, {"type": "text", "text": ":1}"}]
    assert _read(_completion({"content": parts})).text == '{"a":1}'


TOOLS = [{"function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (_completion({"content": "no", "refusal": "I will not"}), "refusal"),
        (_completion({"content": "{}"}, "content_filter"), "filtered"),
        (_completion({"content": '{"a":'}, "length"), "truncated"),
        (_completion({"content": ""}, "length"), "truncated"),
        (_completion({"content": None, "tool_calls": TOOLS}, "tool_calls"), "tool_call"),
        (_completion({"tool_calls": TOOLS}), "tool_call"),
        (_completion({"content": "", "function_call": TOOLS[0]}), "tool_call"),
        (_completion({"content": None}), "empty"),
        (_completion({"content": " \n"}), "empty"),
        (_completion({"content": "", "tool_calls": None}), "empty"),
        (_completion(None), "empty"),
        (b'{"choices":[]}', "empty"),
        (b'{"choices":null}', "empty"),
        (b'{"choices":[7]}', "empty"),
    ],
)
def test_an_answer_of_no_use_is_named_and_keeps_what_it_cost(body: bytes, failure: str) -> None:
    counted = orjson.dumps({**orjson.loads(body), "usage": {"prompt_tokens": 11, "completion_tokens": 5}})
    with pytest.raises(UnusableReply) as caught:
        _read(counted)
    assert caught.value.failure == failure
    assert (caught.value.reply.input_tokens, caught.value.reply.output_tokens) == (11, 5)


def test_a_tool_call_beside_an_answer_leaves_the_answer() -> None:
    assert _read(_completion({"content": "{}", "tool_calls": TOOLS}, "tool_calls")).text == "{}"


@pytest.mark.parametrize(
    ("body", "content_type", "failure", "retryable"),
    [
        (b"<html>Bad gateway</html>", "text/html", "server_error", True),
        (b"", "application/json", "server_error", True),
        (b'{"choices":[{"mess', "application/json", "server_error", True),
        (b"[]", "application/json", "server_error", True),
        (b'{"object":"list"}', "application/json", "server_error", True),
        (b"data: {}\n\ndata: [DONE]", "text/event-stream; charset=utf-8", "server_error", False),
        (b'{"error":{"message":"slow down","code":429}}', "application/json", "rate_limited", True),
        (b'{"error":{"message":"boom","code":502}}', "application/json", "server_error", True),
        (b'{"error":{"message":"no such model","code":404}}', "application/json", "bad_request", False),
        (b'{"error":"boom"}', "application/json", "server_error", True),
        (b'{"choices":[{"error":{"code":429,"message":"m"},"message":{"content":"x"}}]}', "", "rate_limited", True),
        (b'{"choices":[{"finish_reason":"error","message":{"content":"x"}}]}', "", "server_error", True),
    ],
)
def test_a_status_200_without_a_completion_is_the_endpoints_fault(
    body: bytes, content_type: str, failure: str, retryable: bool
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        _read(body, content_type)
    assert (caught.value.failure, caught.value.retryable) == (failure, retryable)


@pytest.mark.parametrize(
    ("status", "said", "failure", "retryable"),
    [
        (400, "x", "bad_request", False),
        (401, "x", "bad_request", False),
        (403, "x", "bad_request", False),
        (404, "x", "bad_request", False),
        (307, "x", "bad_request", False),
        (408, "x", "timeout", True),
        (429, "slow down", "rate_limited", True),
        (429, "You exceeded your current quota · insufficient_quota", "rate_limited", False),
        (500, "x", "server_error", True),
        (503, "x", "server_error", True),
        (529, "", "server_error", True),
    ],
)
def test_a_status_is_one_failure(status: int, said: str, failure: str, retryable: bool) -> None:
    error = unavailable_for_status(status, {"retry-after": "3"}, said)
    assert (error.failure, error.retryable) == (failure, retryable)
    assert f"status {status}" in str(error)
    assert error.retry_after_s == (None if failure == "bad_request" else 3.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Fri, 09 Aug 2024 00:00:30 GMT", "date": "Fri, 09 Aug 2024 00:00:10 GMT"}, 20.0),
        ({"retry-after": "Fri, 09 Aug 2024 00:00:00 GMT", "date": "Fri, 09 Aug 2024 00:00:10 GMT"}, 0.0),
        ({"retry-after": "Fri, 09 Aug 2024 00:00:30 GMT"}, None),
        ({"retry-after": "soon", "date": "Fri, 09 Aug 2024 00:00:10 GMT"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error":{"message":"m","code":"c","param":"p"}}', "m · c · p"),
        (b'{"error":"plain"}', "plain"),
        (b'{"detail":"not found"}', "not found"),
        (b'{"message":"m","type":"BadRequestError"}', "m · BadRequestError"),
        (b"<html>", "<html>"),
        (b"[1]", "[1]"),
        (b"", ""),
    ],
)
def test_an_error_body_is_understood_in_its_usual_shapes(body: bytes, told: str) -> None:
    assert said_by(body) == told


def test_a_foreign_message_is_repeated_only_so_far() -> None:
    assert len(str(unavailable_for_status(500, {}, "x" * 10_000))) < 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "error", "code", "usage", "finish_reason", "type", "text"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON | st.fixed_dictionaries({"choices": st.lists(_JSON, max_size=2)}))
def test_no_body_escapes_the_classes(data: Any) -> None:
    try:
        assert _read(orjson.dumps(data)).text.strip()
    except (ModelUnavailable, ModelOutputInvalid) as error:
        assert FailureClass(error.failure)


@given(st.binary(max_size=80), st.sampled_from(["application/json", "", "text/html", "text/event-stream"]))
def test_no_bytes_escape_the_classes(body: bytes, content_type: str) -> None:
    with pytest.raises((ModelUnavailable, ModelOutputInvalid)):
        _read(body, content_type)
