"""What an endpoint's model takes, learnt from what it refuses.

One request is written in one dialect. When the endpoint answers that it does not know a part of it, the next plainer
dialect is tried: strict JSON schema → JSON object → text; `max_tokens` → `max_completion_tokens`; with → without a
temperature. Promises that each step only ever goes down, so that it ends. Refuses to guess: a refusal that does not name
one of these parts changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from autohedge.llm.schema import schema_instruction
from autohedge.ports import ModelRequest

SchemaMode = Literal["strict", "object", "text"]

_PLAINER: Mapping[SchemaMode, SchemaMode] = {"strict": "object", "object": "text"}

_SCHEMA_WORDS = ("response_format", "json_schema", "json_object", "json mode", "structured output", "guided_json", "grammar")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a request is written. `fixed_schema_mode`: the operator chose the mode, so it is never changed."""

    schema_mode: SchemaMode = "strict"
    fixed_schema_mode: bool = False
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """The JSON body of a chat completion."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": list(request.messages),
            self.token_limit: request.max_tokens,
            "stream": False,
        }
        if self.temperature:
            body["temperature"] = request.temperature
        if self.schema_mode == "strict":
            schema = {"name": request.schema_name, "strict": True, "schema": request.json_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
            return body
        if self.schema_mode == "object":
            body["response_format"] = {"type": "json_object"}
        body["messages"] = _with_instruction(request)
        return body


def plainer(dialect: Dialect, status: int, refusal: str) -> Dialect | None:
    """The next dialect after a refused request, or None when the refusal is about something else.

    `status` is the HTTP status, `refusal` all that the endpoint said.
    """
    if status not in (400, 422):
        return None
    said = refusal.lower()
    if dialect.token_limit == "max_tokens" and "max_completion_tokens" in said:
        return replace(dialect, token_limit="max_completion_tokens")
    if dialect.temperature and "temperature" in said and ("support" in said or "unknown" in said or "unrecognized" in said):
        return replace(dialect, temperature=False)
    if dialect.fixed_schema_mode or dialect.schema_mode not in _PLAINER:
        return None
    if any(word in said for word in _SCHEMA_WORDS):
        return replace(dialect, schema_mode=_PLAINER[dialect.schema_mode])
    return None


def _with_instruction(request: ModelRequest) -> list[dict[str, str]]:
    """The messages with the schema in words, added to the system message so that roles keep their order."""
    instruction = schema_instruction(request.schema_name, request.json_schema)
    first, *rest = request.messages
    if first["role"] == "system":
        return [{**first, "content": f"{first['content']}\n\n{instruction}"}, *rest]
    return [{"role": "system", "content": instruction}, *request.messages]
