"""JSON schemas as model providers take them, made from pydantic models.

Promises the subset that strict structured output accepts everywhere: every object is closed, every field is required,
references are written out, and no keyword is left that a provider may refuse (`minimum`, `format`, `default` …). A bound
is not lost: it is added in words to the field's description, which is what instructs the model. Refuses, when the schema is
made and not when a model is asked, what strict output cannot say: recursion, free-form dictionaries, tuples, untyped values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from autohedge.errors import ConfigError

_BOUNDS = (
    ("minimum", "minimum"),
    ("maximum", "maximum"),
    ("exclusiveMinimum", "above"),
    ("exclusiveMaximum", "below"),
    ("multipleOf", "multiple of"),
    ("minLength", "minimum length"),
    ("maxLength", "maximum length"),
    ("minItems", "minimum items"),
    ("maxItems", "maximum items"),
    ("pattern", "pattern"),
)
"""JSON schema keyword → the words that replace it in the description."""

_SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})

_ASK = "Answer with exactly one JSON object and nothing else. It must satisfy this JSON schema, named "
_ASKED = re.compile(re.escape(_ASK) + r"([A-Za-z0-9_-]+):\n")


@lru_cache(maxsize=256)
def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The plain schema of `model`; the same object each time, not to be changed.

    Raises `ConfigError` for a model that strict structured output cannot express, naming the field.
    """
    raw = model.model_json_schema(mode="validation")
    if "anyOf" in raw or "oneOf" in raw or raw.get("type", "object") != "object":
        raise ConfigError(
            f"the answer schema {model.__name__} is not an object; strict output needs one object with named fields"
        )
    return _plain(raw, raw.get("$defs", {}), path=model.__name__, inside=())


def schema_instruction(name: str, schema: Mapping[str, Any]) -> str:
    """The schema in words and JSON, for an endpoint that takes no schema of its own accord."""
    return f"{_ASK}{name}:\n{json.dumps(schema, ensure_ascii=False, separators=(',', ':'))}"


def read_schema_instruction(text: str) -> tuple[str, dict[str, Any]] | None:
    """Name and schema from a text that contains `schema_instruction`, or None; what a stand-in for a model reads."""
    found = _ASKED.search(text)
    if found is None:
        return None
    schema, _ = json.JSONDecoder().raw_decode(text, found.end())
    return found.group(1), schema


def _plain(node: dict[str, Any], defs: dict[str, Any], *, path: str, inside: tuple[str, ...]) -> dict[str, Any]:
    """One node without references and refused keywords; `inside` are the definitions being written out, to find recursion."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name in inside:
            raise ConfigError(f"the answer schema at {path} contains itself ({name}); strict output needs a schema with an end")
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _plain({**defs[name], **beside}, defs, path=path, inside=(*inside, name))
    if "allOf" in node and len(node["allOf"]) == 1:
        beside = {key: value for key, value in node.items() if key != "allOf"}
        return _plain({**node["allOf"][0], **beside}, defs, path=path, inside=inside)

    plain = _typed(node, defs, path=path, inside=inside)
    description = _described(node)
    if description:
        plain["description"] = description
    return plain


def _typed(node: dict[str, Any], defs: dict[str, Any], *, path: str, inside: tuple[str, ...]) -> dict[str, Any]:
    """The part of a node that says which values are allowed."""
    for choice in ("anyOf", "oneOf"):
        if choice in node:
            return {"anyOf": [_plain(option, defs, path=path, inside=inside) for option in node[choice]]}
    if "const" in node or "enum" in node:
        values = [node["const"]] if "const" in node else list(node["enum"])
        return {"type": _json_type(values, path), "enum": values}
    kind = node.get("type")
    if kind == "object":
        if node.get("additionalProperties") not in (None, False) or "properties" not in node:
            raise ConfigError(f"the answer schema at {path} is a free-form dictionary; strict output needs named fields")
        fields = {name: _plain(field, defs, path=f"{path}.{name}", inside=inside) for name, field in node["properties"].items()}
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    if kind == "array":
        if "items" not in node or "prefixItems" in node:
            raise ConfigError(
                f"the answer schema at {path} is a tuple or an untyped list; strict output needs a list of one type"
            )
        return {"type": "array", "items": _plain(node["items"], defs, path=f"{path}[]", inside=inside)}
    if kind in _SCALARS:
        return {"type": kind}
    raise ConfigError(f"the answer schema at {path} allows any value; strict output needs a type")


def _json_type(values: list[Any], path: str) -> str:
    names = {bool: "boolean", str: "string", int: "integer", float: "number", type(None): "null"}
    kinds = {names.get(type(value)) for value in values}
    if len(kinds) != 1 or None in kinds:
        raise ConfigError(f"the answer schema at {path} mixes types in its choices; strict output needs choices of one type")
    return str(kinds.pop())


def _described(node: Mapping[str, Any]) -> str:
    bounds = ", ".join(f"{words} {node[keyword]}" for keyword, words in _BOUNDS if keyword in node)
    description = str(node.get("description", "")).strip()
    if not bounds:
        return description
    return f"{description} ({bounds})" if description else f"({bounds})"
