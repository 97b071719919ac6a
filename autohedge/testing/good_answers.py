"""A model that always answers well: data that satisfy whatever schema is asked for.

Promises an answer that is the same for the same question, names the symbol that the question names, takes the middle of
every stated range, and leaves out what may be left out. Refuses nothing; it knows no market and has no view.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autohedge.ports import ModelRequest

DEFAULT_SYMBOL = "BTC/USDT"

_SYMBOL_FIELDS = frozenset({"symbol", "ticker", "current_stock"})
_NAMED_SYMBOL = re.compile(r"\b(?i:symbol|ticker)\b[\"'`*]*\s*[:=]\s*[\"'`*]*([A-Z0-9][A-Z0-9./:-]{0,30}[A-Z0-9])\b")
_PAIR = re.compile(r"\b[A-Z0-9]{2,12}/[A-Z0-9]{2,12}\b")
_BOUND = re.compile(r"\b(minimum|maximum|above|below|minimum items) (-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?=[,)])")


class GoodAnswers:
    """Answers to any request. `given` has the answers to keep for some schemas, by schema name; the rest is made up."""

    def __init__(self, given: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._given = dict(given or {})

    def __call__(self, request: ModelRequest) -> dict[str, Any]:
        """The answer to a request, for a `ScriptedModel`."""
        return self.answer(request.schema_name, request.json_schema, request.messages)

    def answer(self, schema_name: str, schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The answer to `messages` in `schema`."""
        if schema_name in self._given:
            return dict(self._given[schema_name])
        made = _value(schema, "", symbol_in(messages))
        assert isinstance(made, dict)
        return made


def symbol_in(messages: Sequence[Mapping[str, Any]]) -> str:
    """The symbol that the messages speak about: the one they name as such, else the first that looks like a pair."""
    texts = [str(message.get("content", "")) for message in messages]
    for pattern in (_NAMED_SYMBOL, _PAIR):
        for text in texts:
            found = pattern.search(text)
            if found:
                return found.group(found.lastindex or 0)
    return DEFAULT_SYMBOL


def _value(schema: Mapping[str, Any], field: str, symbol: str) -> Any:
    if "anyOf" in schema:
        return _value(_chosen(schema["anyOf"]), field, symbol)
    if "enum" in schema:
        return schema["enum"][0]
    bounds = {word: float(number) for word, number in _BOUND.findall(str(schema.get("description", "")))}
    match schema.get("type"):
        case "object":
            return {name: _value(part, name, symbol) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [_value(schema["items"], field, symbol) for _ in range(int(bounds.get("minimum items", 1)))]
        case "number":
            return _number(bounds)
        case "integer":
            return round(_number(bounds))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return symbol if field in _SYMBOL_FIELDS else "A scripted answer."


def _chosen(options: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What may be null is left out when it is a whole object; a single value is given."""
    real = [option for option in options if option.get("type") != "null"]
    if len(real) < len(options) and real[0].get("type") == "object":
        return {"type": "null"}
    return real[0]


def _number(bounds: Mapping[str, float]) -> float:
    low = bounds.get("minimum", bounds.get("above"))
    high = bounds.get("maximum", bounds.get("below"))
    if low is not None and high is not None:
        return (low + high) / 2.0
    if low is not None:
        return low + 1.0
    return high - 1.0 if high is not None else 1.0
