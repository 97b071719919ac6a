"""A model in the same process that answers by script.

Promises the contract of `ports.ModelClient` (one attempt, within the request's time, never an empty text) and that a test
notices a wrong script: `assert_used_up` fails on answers that nobody asked for and on questions that had none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from autohedge.errors import ModelUnavailable
from autohedge.llm.failures import FailureClass, UnusableReply
from autohedge.ports import Clock, ModelReply, ModelRequest

ScriptedAnswer: TypeAlias = "str | Mapping[str, Any] | Exception | Callable[[ModelRequest], ScriptedAnswer]"
"""A text, data to be written as JSON, an error to raise, or a function of the request that gives one of these."""

Script: TypeAlias = "Sequence[ScriptedAnswer] | ScriptedAnswer"
"""A list of answers, each given once and in order; or one answer, given every time."""

ANY = "*"
"""The key of a script for every schema that has none of its own."""


class ScriptedModel:
    """Answers requests from `answers`: a list, a function, or a script for each schema name ("*" for all others).

    A call takes `latency_s` on `clock` (real time without one). `requests` keeps every request in order.
    """

    def __init__(
        self,
        answers: Sequence[ScriptedAnswer] | Callable[[ModelRequest], ScriptedAnswer] | Mapping[str, Script],
        latency_s: float = 0.0,
        clock: Clock | None = None,
        name: str = "scripted",
    ) -> None:
        self.name = name
        self.requests: list[ModelRequest] = []
        self._latency_s = latency_s
        self._clock = clock
        self._always: dict[str, ScriptedAnswer] = {}
        self._queues: dict[str, list[ScriptedAnswer]] = {}
        scripts: Mapping[str, Script] = answers if isinstance(answers, Mapping) else {ANY: answers}
        for key, script in scripts.items():
            if isinstance(script, str | Mapping | Exception) or callable(script):
                self._always[key] = script
            else:
                self._queues[key] = list(script)
        self._unanswered: list[str] = []

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The next answer of the script."""
        self.requests.append(request)
        answer = self._next(request)
        if self._latency_s:
            await self._sleep(min(self._latency_s, request.timeout_s))
        if self._latency_s >= request.timeout_s:
            raise ModelUnavailable(FailureClass.TIMEOUT, f"no answer within {request.timeout_s:.3g} s")
        while callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        text = answer if isinstance(answer, str) else json.dumps(answer)
        reply = ModelReply(
            text=text,
            model=request.model,
            finish_reason="stop",
            input_tokens=sum(len(message["content"]) for message in request.messages) // 4,
            output_tokens=len(text) // 4,
            cached_tokens=None,
            schema_mode="strict",
        )
        if not text.strip():
            raise UnusableReply(FailureClass.EMPTY, "the scripted answer is blank", reply)
        return reply

    async def aclose(self) -> None:
        """Nothing to close."""

    def assert_used_up(self) -> None:
        """Fail if an answer was not asked for, or a question had no answer."""
        left = {key: len(queue) for key, queue in self._queues.items() if queue}
        assert not left, f"scripted answers that nobody asked for: {left}"
        assert not self._unanswered, f"questions that the script had no answer to: {self._unanswered}"

    def _next(self, request: ModelRequest) -> ScriptedAnswer:
        for key in (request.schema_name, ANY):
            if key in self._always:
                return self._always[key]
            if self._queues.get(key):
                return self._queues[key].pop(0)
        self._unanswered.append(request.schema_name)
        raise AssertionError(f"the script has no answer to call {len(self.requests)}, which asks for {request.schema_name}")

    async def _sleep(self, seconds: float) -> None:
        if self._clock is not None:
            await self._clock.sleep(seconds)
            return
        import asyncio

        await asyncio.sleep(seconds)
