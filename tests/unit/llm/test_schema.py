"""Schemas as strict structured output takes them everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from autohedge.errors import ConfigError
from autohedge.llm.schema import read_schema_instruction, schema_instruction, strict_schema


class Side(StrEnum):
    """Which way."""

    BUY = "buy"
    SELL = "sell"


class Levels(BaseModel):
    """Prices that matter."""

    model_config = ConfigDict(extra="forbid")
    support: float | None = Field(description="Where buyers were.", gt=0)


class Leg(BaseModel):
    side: Side
    size_frac: float = Field(default=0.1, ge=0, le=1, multiple_of=0.01)


class Plan(BaseModel):
    """A plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ticker: str = Field(min_length=1, max_length=40, pattern="^[A-Z/]+$", description="The symbol.")
    score: float = Field(ge=0, le=1, description="0 is no, 1 is yes.")
    count: int = Field(gt=0, lt=10)
    kind: Literal["limit"] = "limit"
    mood: Literal["calm", "wild"]
    levels: Levels = Field(description="Key levels.")
    leg: Leg | None = None
    sides: tuple[Side, ...] = Field(min_length=1, max_length=2)


_ALLOWED = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "description"}


def _nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    parts += [schema["items"]] if "items" in schema else []
    for part in parts:
        yield from _nodes(part)


def test_only_keywords_that_strict_output_knows_are_left() -> None:
    for node in _nodes(strict_schema(Plan)):
        assert set(node) <= _ALLOWED


def test_every_object_is_closed_and_every_field_required() -> None:
    objects = [node for node in _nodes(strict_schema(Plan)) if node.get("type") == "object"]
    assert len(objects) == 3
    for node in objects:
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])


def test_choices_and_optional_fields_are_said_plainly() -> None:
    fields = strict_schema(Plan)["properties"]
    assert fields["kind"] == {"type": "string", "enum": ["limit"]}
    assert fields["mood"] == {"type": "string", "enum": ["calm", "wild"]}
    assert fields["sides"]["items"]["enum"] == ["buy", "sell"]
    assert fields["leg"]["anyOf"][1] == {"type": "null"}
    assert fields["leg"]["anyOf"][0]["properties"]["side"]["enum"] == ["buy", "sell"]


def test_descriptions_stay_and_bounds_become_words() -> None:
    fields = strict_schema(Plan)["properties"]
    assert fields["score"]["description"] == "0 is no, 1 is yes. (minimum 0, maximum 1)"
    assert fields["count"]["description"] == "(above 0, below 10)"
    assert fields["levels"]["description"] == "Key levels."
    assert fields["levels"]["properties"]["support"]["anyOf"][0]["description"] == "(above 0)"
    assert "pattern ^[A-Z/]+$" in fields["ticker"]["description"]


def test_a_schema_is_made_once() -> None:
    assert strict_schema(Plan) is strict_schema(Plan)


class Recursive(BaseModel):
    children: list[Recursive]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (create_model("Free", notes=(dict[str, int], ...)), "Free.notes is a free-form dictionary"),
        (create_model("Bare", notes=(dict, ...)), "Bare.notes is a free-form dictionary"),
        (create_model("Open", notes=(Any, ...)), "Open.notes allows any value"),
        (create_model("Untyped", notes=(list, ...)), r"Untyped.notes\[\] allows any value"),
        (create_model("Pair", notes=(tuple[int, str], ...)), "Pair.notes is a tuple"),
        (create_model("Mixed", notes=(Literal["a", 1], ...)), "Mixed.notes mixes types"),
        (Recursive, "contains itself"),
        (RootModel[list[int]], "is not an object"),
    ],
)
def test_what_strict_output_cannot_say_is_refused_by_name(model: type[BaseModel], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        strict_schema(model)


def test_the_schema_in_words_can_be_read_back() -> None:
    text = f"You are the quant.\n\n{schema_instruction('Plan', strict_schema(Plan))}\n\nThanks."
    assert read_schema_instruction(text) == ("Plan", strict_schema(Plan))
    assert read_schema_instruction("You are the quant.") is None
