"""Answers that real providers gave, sent again over a socket: each ends in a reply or in one named failure."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.llm.failures import FailureClass
from autohedge.llm.openai_client import OpenAIModelClient
from autohedge.ports import ModelRequest
from autohedge.testing import HttpReply, ModelServer

MESSAGES = ({"role": "user", "content": "Well?"},)


@pytest.fixture(scope="module")
def records(recordings: Path) -> list[dict[str, Any]]:
    """The recorded exchanges whose path is that of chat completions."""
    with gzip.open(recordings / "llm_http" / "llm_http.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["path"].endswith("/chat/completions")]


def _as_sent(record: dict[str, Any]) -> HttpReply:
    text = record["response_text"]
    body = text.encode() if text is not None else json.dumps(record["response_json"]).encode()
    headers = (("retry-after", str(record["retry_after"])),) if record["retry_after"] else ()
    return HttpReply(record["status"], body, record["content_type"][0], headers)


async def _outcome(client: OpenAIModelClient) -> str:
    request = ModelRequest("model-1", MESSAGES, "Answer", {"type": "object"}, 0.0, 100, 5.0)
    try:
        reply = await client.complete(request)
    except (ModelUnavailable, ModelOutputInvalid) as error:
        assert str(error)
        return FailureClass(error.failure).value
    assert reply.text.strip()
    return "reply"


@pytest.fixture
async def outcomes(records: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Each record with what the client made of it."""
    async with ModelServer([_as_sent(record) for record in records]) as server:
        client = OpenAIModelClient(server.base_url, None, "recorded")
        found = [(record, await _outcome(client)) for record in records]
        await client.aclose()
        server.assert_used_up()
    return found


async def test_every_recorded_answer_ends_in_a_named_outcome(outcomes: list[tuple[dict[str, Any], str]]) -> None:
    assert Counter(outcome for _, outcome in outcomes) == {
        "reply": 11,
        "server_error": 11,
        "tool_call": 11,
        "bad_request": 8,
        "truncated": 5,
        "rate_limited": 3,
    }


async def test_the_outcome_is_what_the_recording_is_known_for(outcomes: list[tuple[dict[str, Any], str]]) -> None:
    """Told apart by what was recorded beside the answers, not by the code under test."""
    for record, outcome in outcomes:
        if record["status"] == 429:
            assert outcome == "rate_limited"
        elif record["status"] >= 400:
            assert outcome == "bad_request"
        elif record["content_type"][0].startswith("text/event-stream"):
            assert outcome == "server_error"
        elif "truncated" in record["why"]:
            assert outcome == "truncated"
        else:
            message = record["response_json"]["choices"][0]["message"]
            assert outcome == ("reply" if message.get("content") else "tool_call")
