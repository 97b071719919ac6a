"""What an OpenAI-compatible endpoint may send back: good answers, and every fault of the trade.

`MODES` names each behaviour of the model server once, with what it is called on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

FOREIGN_SYMBOL = "DOGE/EUR"
"""What a wrong_symbol answer speaks about."""


class Delivery(StrEnum):
    """How the bytes of an answer reach the client, if they do."""

    WHOLE = "whole"
    DRIP = "drip"
    """A byte at a time, with pauses."""
    HANG = "hang"
    """Nothing, for as long as the client waits."""
    RESET = "reset"
    """The connection is reset before an answer."""
    CUT = "cut"
    """The connection ends in the middle of the body."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One HTTP answer, or a way not to answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delivery: Delivery = Delivery.WHOLE


def completion(
    content: str | None,
    *,
    model: str = "scripted",
    finish_reason: str = "stop",
    refusal: str | None = None,
    tool_calls: list[dict[str, Any]] | None = None,
    input_tokens: int = 200,
    output_tokens: int = 60,
) -> HttpReply:
    """A chat completion with this message."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
    if tool_calls is not None:
        message["tool_calls"] = tool_calls
    body = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_723_161_600,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}],
        "usage": {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        },
    }
    return HttpReply(body=json.dumps(body).encode())


def error_reply(
    status: int, message: str, *, code: str | None = None, param: str | None = None, retry_after: str | None = None
) -> HttpReply:
    """An error in the shape that OpenAI uses; `retry_after` is the header as it is to be sent (seconds or an HTTP date)."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "code": code, "param": param}}
    headers = (("retry-after", retry_after),) if retry_after is not None else ()
    return HttpReply(status=status, body=json.dumps(body).encode(), headers=headers)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a mode is told of a request: the good answer to it, the body as sent, and the server's Retry-After."""

    good: Mapping[str, Any]
    body: Mapping[str, Any]
    retry_after_s: float

    @property
    def good_text(self) -> str:
        """The good answer as JSON."""
        return json.dumps(self.good)

    @property
    def response_format(self) -> str | None:
        """The kind of structured output that was asked for."""
        wanted = self.body.get("response_format")
        return wanted.get("type") if isinstance(wanted, dict) else None


# ---------------------------------------------------------------- answers that are not good


def _numbers_replaced(value: Any, number: float) -> Any:
    if isinstance(value, dict):
        return {key: _numbers_replaced(part, number) for key, part in value.items()}
    if isinstance(value, list):
        return [_numbers_replaced(part, number) for part in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return type(value)(number)


def _symbols_replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: FOREIGN_SYMBOL if key in ("symbol", "ticker", "current_stock") else _symbols_replaced(part)
            for key, part in value.items()
        }
    return [_symbols_replaced(part) for part in value] if isinstance(value, list) else value


def _wrong_schema(good: Mapping[str, Any]) -> str:
    fields = list(good.items())[1:]
    return json.dumps({**dict(fields), "unasked": "field"})


def _tool_call(asked: Asked) -> HttpReply:
    call = {"id": "call_1", "type": "function", "function": {"name": "place_order", "arguments": asked.good_text}}
    return completion(None, finish_reason="tool_calls", tool_calls=[call])


def _stream(asked: Asked) -> HttpReply:
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": asked.good_text}}]}
    return HttpReply(body=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(), content_type="text/event-stream")


def _only_formats(asked: Asked, taken: tuple[str | None, ...]) -> HttpReply:
    if asked.response_format in taken:
        return completion(asked.good_text)
    message = f"Invalid parameter: 'response_format' of type '{asked.response_format}' is not supported with this model."
    return error_reply(400, message, param="response_format")


def _after(asked: Asked) -> str:
    return f"{asked.retry_after_s:g}"


_HTML = HttpReply(body=b"<!doctype html><title>Sign in</title>", content_type="text/html; charset=utf-8")

MODES: Mapping[str, Callable[[Asked], HttpReply]] = MappingProxyType(
    {
        "good": lambda asked: completion(asked.good_text),
        "fenced": lambda asked: completion(f"```json\n{asked.good_text}\n```"),
        "prose": lambda asked: completion(f"Here is my view [1]:\n\n{asked.good_text}\n\nLet me know what you think."),
        "drip": lambda asked: replace(completion(asked.good_text), delivery=Delivery.DRIP),
        # the endpoint's faults
        "rate_limited": lambda asked: error_reply(429, "Too many requests.", retry_after=_after(asked)),
        "out_of_credit": lambda asked: error_reply(429, "You exceeded your current quota.", code="insufficient_quota"),
        "server_error": lambda asked: error_reply(500, "The server had an error."),
        "unavailable": lambda asked: error_reply(503, "Overloaded.", retry_after=_after(asked)),
        "bad_request": lambda asked: error_reply(400, "Unknown parameter.", code="unknown_parameter"),
        "unauthorized": lambda asked: error_reply(401, "Incorrect API key provided.", code="invalid_api_key"),
        "unknown_model": lambda asked: error_reply(404, "The model does not exist.", code="model_not_found"),
        "reset": lambda asked: HttpReply(delivery=Delivery.RESET),
        "cut": lambda asked: replace(completion(asked.good_text), delivery=Delivery.CUT),
        "hang": lambda asked: HttpReply(delivery=Delivery.HANG),
        "html": lambda asked: _HTML,
        "stream": _stream,
        "broken_body": lambda asked: HttpReply(body=completion(asked.good_text).body[:-40]),
        # the model's faults
        "no_choices": lambda asked: HttpReply(body=b'{"object":"chat.completion","model":"scripted","choices":[]}'),
        "empty": lambda asked: completion(""),
        "refusal": lambda asked: completion(None, refusal="I cannot help with trading decisions."),
        "filtered": lambda asked: completion("", finish_reason="content_filter"),
        "length": lambda asked: completion(asked.good_text[: len(asked.good_text) // 2], finish_reason="length"),
        "tool_call": _tool_call,
        "no_json": lambda asked: completion("I would buy here, with a tight stop."),
        "truncated_json": lambda asked: completion(asked.good_text[: len(asked.good_text) // 2]),
        "nan": lambda asked: completion(f'{{"score": NaN, {asked.good_text[1:]}'),
        "several": lambda asked: completion(f'{asked.good_text}\n{{"or": "this"}}'),
        "wrong_schema": lambda asked: completion(_wrong_schema(asked.good)),
        "out_of_range": lambda asked: completion(json.dumps(_numbers_replaced(asked.good, 1e6))),
        "wrong_symbol": lambda asked: completion(json.dumps(_symbols_replaced(asked.good))),
        # what an endpoint can do
        "only_object": lambda asked: _only_formats(asked, ("json_object", None)),
        "only_text": lambda asked: _only_formats(asked, (None,)),
    }
)
"""Behaviour by name. `out_of_range` and `wrong_symbol` are good answers where the schema has no number or no symbol."""

GARBAGE = ("no_json", "truncated_json", "nan", "wrong_schema", "html", "tool_call", "several")
"""What the mode `garbage` goes through, over and over; none of it is ever valid."""
