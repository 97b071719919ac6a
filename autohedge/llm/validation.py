"""What is wrong with an answer that is JSON but not what was asked for: its class, and a short list for the model to read.

Promises that the list is bounded whatever the answer contains, because it goes back into a prompt and into the records.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from autohedge.llm.failures import FailureClass, printable

_BOUNDS = frozenset(
    {
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "multiple_of",
        "finite_number",
        "string_too_short",
        "string_too_long",
        "too_short",
        "too_long",
    }
)
"""Pydantic's names for values of the right type outside their bounds."""

_MAX_FAULTS = 8
_FIELD_CHARS = 60
_FOUND_CHARS = 80
_EXPECTED_CHARS = 200


def fault_class(error: ValidationError) -> FailureClass:
    """`out_of_range` when bounds are all that is broken, `not_json` when the text cannot be read, else `wrong_schema`."""
    kinds = {fault["type"] for fault in error.errors(include_url=False, include_context=False, include_input=False)}
    if "json_invalid" in kinds:
        return FailureClass.NOT_JSON
    return FailureClass.OUT_OF_RANGE if kinds <= _BOUNDS else FailureClass.WRONG_SCHEMA


def described_faults(error: ValidationError) -> str:
    """One line per fault: the field, what was expected, what was found."""
    faults = error.errors(include_url=False, include_context=False)
    lines = [f"- {_place(fault['loc'])}: {_expected_and_found(fault)}" for fault in faults[:_MAX_FAULTS]]
    if len(faults) > _MAX_FAULTS:
        lines.append(f"- and {len(faults) - _MAX_FAULTS} more")
    return "\n".join(lines)


def _place(path: Sequence[int | str]) -> str:
    return printable(".".join(str(part) for part in path), _FIELD_CHARS) or "the whole answer"


def _expected_and_found(fault: ErrorDetails) -> str:
    if fault["type"] == "missing":
        return "expected a value, found nothing"
    if fault["type"] == "extra_forbidden":
        return "expected no such field, found one"
    expected = printable(fault["msg"], _EXPECTED_CHARS).removeprefix("Input should be ")
    return f"expected {expected}, found {printable(json.dumps(fault['input'], default=str), _FOUND_CHARS)}"
