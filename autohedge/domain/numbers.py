"""Numbers as an operator may write them in settings: text or number, finite, and never `true` for 1."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _no_bool(value: Any) -> Any:
    """`true` is no number, although Python would take it for 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, found {value}")
    return value


def _shortest_decimal(value: Any) -> Any:
    """A float is taken by its shortest decimal form: 0.001, not 0.00100000000000000002…"""
    return Decimal(repr(value)) if isinstance(value, float) else value


Exact = Annotated[Decimal, BeforeValidator(_shortest_decimal), BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
"""Money and rates: never binary."""

Real = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
"""Measures and opinions."""

Whole = Annotated[int, BeforeValidator(_no_bool)]
"""Counts."""
