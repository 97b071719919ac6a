"""The connections of the openai adapter, over a real socket: bounded, shared fairly, and given back."""

from __future__ import annotations

import asyncio
from typing import Any

from autohedge.llm.openai_client import POOL_CONNECTIONS, OpenAIModelClient
from autohedge.ports import ModelRequest
from autohedge.testing import ModelServer

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
REQUEST = ModelRequest("model-1", ({"role": "user", "content": "Well?"},), "Answer", SCHEMA, 0.0, 100, 10.0)


class Counting(ModelServer):
    """Remembers who connected, and how many connections were open at most."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.connected: set[Any] = set()
        self.open_now = 0
        self.open_most = 0

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.add(writer.get_extra_info("peername"))
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            await super()._connected(reader, writer)
        finally:
            self.open_now -= 1


async def test_more_calls_than_a_pool_holds_use_every_connection_allowed_and_no_more() -> None:
    most = POOL_CONNECTIONS + 3
    async with Counting(latency_s=0.02) as server:
        client = OpenAIModelClient(server.base_url, None, "local", max_connections=most)
        replies = await asyncio.gather(*(client.complete(REQUEST) for _ in range(4 * most)))
        await client.aclose()
    assert [reply.text for reply in replies] == ['{"n": 1}'] * 4 * most
    assert server.open_most == most
    assert len(server.connected) == most


async def test_one_call_after_the_other_keeps_to_one_connection() -> None:
    async with Counting() as server:
        client = OpenAIModelClient(server.base_url, None, "local")
        for _ in range(5):
            await client.complete(REQUEST)
        await client.aclose()
    assert len(server.connected) == 1


async def test_a_cancelled_call_gives_its_connection_back() -> None:
    asked = asyncio.Event()

    def hang(_: Any) -> str:
        asked.set()
        return "hang"

    async with ModelServer({"*": [hang, "good"]}) as server:
        client = OpenAIModelClient(server.base_url, None, "local", max_connections=1)
        hanging = asyncio.create_task(client.complete(REQUEST))
        await asyncio.wait_for(asked.wait(), timeout=30.0)
        hanging.cancel()
        await asyncio.wait({hanging})
        assert (await client.complete(REQUEST)).text == '{"n": 1}'
        await client.aclose()
