"""How values become text: exact, one spelling each, and safe to write whatever a model or a venue put into them.

A `Decimal` is written in plain notation and read back as the same number. Text that UTF-8 or a database cannot hold (lone
surrogates, NUL) is replaced character by character and never loses the record it is in. A number that is not finite is
refused: unknown is not a value.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import PurePath
from typing import Any

import orjson

from autohedge.errors import StorageError

REPLACEMENT = "\ufffd"
_LARGEST_JSON_INTEGER = 2**63 - 1


def plain(value: Decimal) -> str:
    """Plain notation, every digit kept: 1E-5 → 0.00001; `StorageError` for NaN and infinities."""
    if not value.is_finite():
        raise StorageError(f"expected a finite number to record, found {value}")
    return format(value, "f")


def clean_text(text: str) -> str:
    """The text itself, unless it holds NUL or a lone surrogate: these become U+FFFD."""
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", REPLACEMENT) if "\0" in text else text


def to_json(value: Any, *, sort_keys: bool = False) -> str:
    """JSON of plain data; decimals and paths as strings; `StorageError` for anything else that JSON does not have."""
    option = orjson.OPT_SORT_KEYS if sort_keys else 0
    try:
        return orjson.dumps(value, default=_as_text, option=option).decode()
    except TypeError:
        pass  # text that is not valid Unicode, or an integer beyond 64 bits: spell those differently, once
    try:
        return orjson.dumps(_writable(value), default=_as_text, option=option).decode()
    except TypeError as error:
        raise StorageError(f"expected plain data to record as JSON: {error.__cause__ or error}") from error


def from_json(text: str) -> Any:
    """The plain data of `to_json`; `StorageError` if the text is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise StorageError(f"expected JSON in the ledger, found {text[:60]!r}: {error}") from error


def _as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a record")


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_JSON_INTEGER:
        return str(value)
    if isinstance(value, dict):
        return {_writable(key): _writable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(entry) for entry in value]
    return value
