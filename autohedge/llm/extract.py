"""Exactly one JSON object out of a model's text: bare, fenced, or with prose around it.

Promises that what comes back stands in the text character by character: nothing is completed, converted or repaired.
Refuses, always with the class `not_json` and the reason: no object, several different objects, an object inside a list or
inside something that was cut off, NaN and infinities, the same key twice, and texts beyond `MAX_CHARS`. The work is bounded.
"""

from __future__ import annotations

import json
import math
import re
from json import JSONDecodeError
from typing import Any, NoReturn

from autohedge.errors import ModelOutputInvalid
from autohedge.llm.failures import FailureClass

MAX_CHARS = 100_000
"""Longest text that is looked at; an answer of the desk has a few hundred characters."""

_MAX_FALSE_STARTS = 500
"""Brackets of prose that may be tried before giving up; it bounds the work on a hostile text."""

_OPENING = re.compile(r"[{\[]")
_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


class _Forbidden(ValueError):
    """JSON that Python reads and JSON does not have, or that says two things at once."""


def extract_json(text: str) -> dict[str, Any]:
    """The one JSON object in `text`. Raises `ModelOutputInvalid` (not_json) when there is none, or more than one."""
    return find_object(text)[0]


def find_object(text: str) -> tuple[dict[str, Any], str]:
    """The one JSON object in `text`, and the piece of `text` that spells it.

    A reasoning model's leading `<think>…</think>` is not part of its answer. The same object given twice counts once.
    """
    if len(text) > MAX_CHARS:
        _refuse(f"an answer of at most {MAX_CHARS} characters was expected, found {len(text)}")
    thought = _THOUGHT.match(text)
    answer = text[thought.end() :] if thought else text
    bare = answer.strip()
    try:
        whole = _DECODER.decode(bare)
    except JSONDecodeError:
        return _search(answer)
    except _Forbidden as error:
        if not bare.startswith("{"):
            return _search(answer)  # prose may begin with the word NaN
        _refuse(str(error))
    except (RecursionError, ValueError) as error:
        _refuse(f"the JSON cannot be read: {type(error).__name__}")
    if not isinstance(whole, dict):
        _refuse(f"a JSON object was expected, found a {_kind(whole)}")
    return whole, bare


def _search(text: str) -> tuple[dict[str, Any], str]:
    """Read a value at each opening bracket that no value before it has used up."""
    found: dict[str, Any] | None = None
    spelled = ""
    position = false_starts = 0
    while (opening := _OPENING.search(text, position)) is not None:
        start = opening.start()
        try:
            value, position = _DECODER.raw_decode(text, start)
        except JSONDecodeError as error:
            if error.msg.startswith("Unterminated string"):
                _refuse("the JSON is cut off in the middle of a string")
            # what lies before the fault belonged to a broken value: nothing inside it may be taken for the answer
            position = max(start + 1, error.pos)
            false_starts += 1
            if false_starts > _MAX_FALSE_STARTS:
                _refuse("no JSON object among very many brackets")
            continue
        except _Forbidden as error:
            _refuse(str(error))
        except (RecursionError, ValueError) as error:
            _refuse(f"the JSON cannot be read: {type(error).__name__}")
        if isinstance(value, list):
            if any(isinstance(item, dict) for item in value):
                _refuse("a JSON object was expected, found a list of objects")
            continue
        if found is not None and not _same(found, value):
            _refuse("ambiguous: several different JSON objects")
        found, spelled = value, text[start:position]
    if found is None:
        _refuse("no JSON object in the answer" if text.strip() else "the answer is blank")
    return found, spelled


def _refuse(message: str) -> NoReturn:
    raise ModelOutputInvalid(FailureClass.NOT_JSON, message) from None


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are different answers."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "list"
    return {bool: "boolean", str: "string", type(None): "null"}.get(type(value), "number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Forbidden(f"the key {twice[:60]!r} stands twice in one object")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Forbidden(f"the number {digits[:60]} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise _Forbidden(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_float=_finite, parse_constant=_no_constant)
