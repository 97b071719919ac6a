"""What an endpoint refuses to take is dropped, one thing at a time, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from autohedge.llm.capability import Dialect, plainer
from autohedge.ports import ModelRequest

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def _request(*messages: dict[str, str]) -> ModelRequest:
    asked = messages or ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Well?"})
    return ModelRequest("m", asked, "View", SCHEMA, temperature=0.0, max_tokens=50, timeout_s=1.0)


def test_strict_mode_sends_the_schema_and_leaves_the_messages_alone() -> None:
    body = Dialect().body(_request())
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "View", "strict": True, "schema": SCHEMA},
    }
    assert body["messages"] == list(_request().messages)
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.0, 50, False)


@pytest.mark.parametrize(("mode", "wanted"), [("object", {"type": "json_object"}), ("text", None)])
def test_without_a_schema_of_its_own_the_request_says_it_in_words(mode: Any, wanted: Any) -> None:
    body = Dialect(schema_mode=mode).body(_request())
    assert body.get("response_format") == wanted
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"].startswith("Be brief.")
    assert '"additionalProperties":false' in body["messages"][0]["content"]
    assert "JSON" in body["messages"][0]["content"]
    only_user = Dialect(schema_mode=mode).body(_request({"role": "user", "content": "Well?"}))
    assert [message["role"] for message in only_user["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("said", "dialect", "expected"),
    [
        ("Invalid parameter: 'response_format' of type 'json_schema' is not supported", Dialect(), Dialect("object")),
        ("json_schema is not supported by this model", Dialect(), Dialect("object")),
        ("'response_format.type' must be 'text'", Dialect("object"), Dialect("text")),
        ("response_format?", Dialect("text"), None),
        ("Use 'max_completion_tokens' instead.", Dialect(), Dialect(token_limit="max_completion_tokens")),
        ("'temperature' does not support 0.3 with this model", Dialect(), Dialect(temperature=False)),
        ("'temperature' does not support 0.3 with this model", Dialect(temperature=False), None),
        ("temperature must be at most 2", Dialect(), None),
        ("model not found", Dialect(), None),
        ("response_format is not supported", Dialect(fixed_schema_mode=True), None),
        ("Use 'max_completion_tokens'", Dialect("text", True), Dialect("text", True, "max_completion_tokens")),
    ],
)
def test_a_refusal_that_names_a_part_drops_that_part(said: str, dialect: Dialect, expected: Dialect | None) -> None:
    assert plainer(dialect, 400, said) == expected
    assert plainer(dialect, 422, said) == expected


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_other_refusals_change_nothing(status: int) -> None:
    assert plainer(Dialect(), status, "response_format json_schema max_completion_tokens") is None


def test_stepping_down_ends() -> None:
    everything = "response_format; temperature not supported; use max_completion_tokens"
    dialect: Dialect | None = Dialect()
    steps = 0
    while dialect is not None:
        dialect = plainer(dialect, 400, everything)
        steps += 1
    assert steps == 5
