"""What an endpoint sent back, read: a reply of the model, or the one failure that it is.

Promises that any body and any status end in a `ModelReply`, `ModelUnavailable` or `ModelOutputInvalid`; fields of the wrong
type count as absent. Refuses to look inside the model's text: that is `extract`'s and the ladder's work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from autohedge.errors import ModelUnavailable
from autohedge.llm.capability import SchemaMode
from autohedge.llm.failures import FailureClass, UnusableReply, printable
from autohedge.ports import ModelReply

_TOLD_CHARS = 300
"""How much of a foreign message is repeated in ours."""

_OUT_OF_CREDIT = ("insufficient_quota", "billing", "credit balance", "out of credit")


def read_reply(body: bytes, content_type: str, *, asked_model: str, schema_mode: SchemaMode) -> ModelReply:
    """The reply in the body of a status 200. Raises `ModelUnavailable` (server_error) when it is no chat completion."""
    completion = _completion(body, content_type)
    choices = completion.get("choices")
    choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
    message = _mapping(choice.get("message"))
    usage = _mapping(completion.get("usage"))
    model = completion.get("model")
    finish_reason = choice.get("finish_reason")
    reply = ModelReply(
        text=_text(message.get("content")),
        model=model if isinstance(model, str) and model else asked_model,
        finish_reason=finish_reason if isinstance(finish_reason, str) else "",
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens")),
        schema_mode=schema_mode,
    )
    if "error" in choice or reply.finish_reason == "error":
        raise _error_in_body(_mapping(choice.get("error")))
    _check_usable(reply, message)
    return reply


def _check_usable(reply: ModelReply, message: Mapping[str, Any]) -> None:
    """Raise what stands between the model's words and their use, the most telling cause first."""
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        raise UnusableReply(FailureClass.REFUSAL, f"the model declined: {printable(refusal, _TOLD_CHARS)}", reply)
    if reply.finish_reason == "content_filter":
        raise UnusableReply(FailureClass.FILTERED, "the provider's content filter withheld the answer", reply)
    if reply.finish_reason in ("length", "max_tokens"):
        used = f" after {reply.output_tokens} tokens" if reply.output_tokens is not None else ""
        raise UnusableReply(FailureClass.TRUNCATED, f"the answer was cut off at the token limit{used}", reply)
    if reply.text.strip():
        return
    if message.get("tool_calls") or message.get("function_call"):
        raise UnusableReply(FailureClass.TOOL_CALL, "the model called a tool instead of answering", reply)
    raise UnusableReply(FailureClass.EMPTY, "the answer has no content", reply)


def unavailable_for_status(status: int, headers: Mapping[str, str], said: str) -> ModelUnavailable:
    """The failure that a status other than 2xx is; `said` is what the endpoint says of it (`said_by`)."""
    message = f"status {status}: {printable(said, _TOLD_CHARS)}" if said else f"status {status}"
    retry_after_s = read_retry_after(headers)
    if status == 408:
        return ModelUnavailable(FailureClass.TIMEOUT, message, retry_after_s=retry_after_s)
    if status == 429:
        out_of_credit = any(word in said.lower() for word in _OUT_OF_CREDIT)
        return ModelUnavailable(FailureClass.RATE_LIMITED, message, retry_after_s=retry_after_s, retryable=not out_of_credit)
    if status >= 500:
        return ModelUnavailable(FailureClass.SERVER_ERROR, message, retry_after_s=retry_after_s)
    return ModelUnavailable(FailureClass.BAD_REQUEST, message, retryable=False)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or an HTTP date); None without a usable header.

    A date is counted from the answer's own `date`, so that neither clock has to be right.
    """
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        if not math.isnan(seconds):
            return max(0.0, seconds)
    try:
        until, now = (parsedate_to_datetime(headers.get(name, "")) for name in ("retry-after", "date"))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def said_by(body: bytes) -> str:
    """What an error body says: message, code, parameter and detail of the usual shapes, else its beginning."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:2_000].decode("utf-8", "replace")
    error = _mapping(data).get("error", data)
    if not isinstance(error, dict):
        return str(error)[:2_000]
    parts = [error.get(name) for name in ("message", "code", "type", "param", "detail")]
    metadata = _mapping(error.get("metadata"))
    told = " · ".join(str(part) for part in (*parts, metadata.get("raw")) if part not in (None, "", [], {}))
    return (told or str(error))[:2_000]


def _completion(body: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object of a chat completion."""
    if content_type.startswith("text/event-stream"):
        raise ModelUnavailable(
            FailureClass.SERVER_ERROR, "the endpoint answered with a stream that was not asked for", retryable=False
        )
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        start = printable(body[:200].decode("utf-8", "replace"), 80)
        raise ModelUnavailable(
            FailureClass.SERVER_ERROR, f"status 200 with a body that is not JSON ({content_type or 'no type'}): {start!r}"
        ) from None
    if not isinstance(data, dict):
        raise ModelUnavailable(FailureClass.SERVER_ERROR, "status 200 with JSON that is no chat completion")
    if data.get("error"):
        raise _error_in_body(_mapping(data["error"]))
    if "choices" not in data:
        raise ModelUnavailable(FailureClass.SERVER_ERROR, "status 200 with JSON that is no chat completion (no choices)")
    return data


def _error_in_body(error: Mapping[str, Any]) -> ModelUnavailable:
    """Gateways report a failure behind them with status 200 and an error object, whose code is often an HTTP status."""
    code = error.get("code")
    said = str(error.get("message") or "no message")
    if isinstance(code, int) and 400 <= code <= 599:
        if code == 429:
            return ModelUnavailable(FailureClass.RATE_LIMITED, f"error {code} in a status 200: {printable(said, _TOLD_CHARS)}")
        if code < 500 and code != 408:
            return ModelUnavailable(
                FailureClass.BAD_REQUEST, f"error {code} in a status 200: {printable(said, _TOLD_CHARS)}", retryable=False
            )
    return ModelUnavailable(FailureClass.SERVER_ERROR, f"error in a status 200: {printable(said, _TOLD_CHARS)}")


def _text(content: Any) -> str:
    """The text of a message; some providers send it in parts, of which thoughts are not the answer."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (_mapping(part) for part in content)
        return "".join(part["text"] for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str))
    return ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
