"""A real HTTP server that speaks chat completions, well or badly, on this machine only.

    async with ModelServer("good") as server:          # in a test's event loop
    with ModelServer.in_thread(["rate_limited", "good"]) as server:   # for code that has its own loop, or a subprocess
    python -m autohedge.testing.model_server --mode hang              # prints its base URL on the first line

Promises to answer by script only, to keep every request for assertions, and to notice a wrong script (`assert_used_up`).
Binds to 127.0.0.1 and nothing else, and takes any key.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from autohedge.llm.schema import read_schema_instruction
from autohedge.testing.good_answers import GoodAnswers
from autohedge.testing.replies import GARBAGE, MODES, Asked, Delivery, HttpReply, completion, error_reply

Behaviour: TypeAlias = "str | Mapping[str, Any] | HttpReply | Callable[[Mapping[str, Any]], Behaviour]"
"""The name of a mode, data to answer with, a reply as it is, or a function of the request's body that gives one of these."""

ANY = "*"
"""The key of a script for every schema that has none of its own."""

GARBAGE_MODE = "garbage"

_MAX_HEAD_BYTES = 65_536
_MAX_BODY_BYTES = 16_777_216


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request as it arrived; header names in lower case."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def schema_name(self) -> str:
        """The name of the schema that was asked for, "" without one."""
        return _schema_of(self.body)[0]


class ModelServer:
    """Answers POST …/chat/completions by `script`.

    `script` is one behaviour for every request, a list of behaviours used in order, or a mapping that gives either of them
    for each schema name ("*" for all others). `good` makes the good answers; `latency_s` delays each answer;
    `retry_after_s` is what a 429 or 503 asks for; `drip_s` is the pause between two bytes of a slow answer.
    """

    def __init__(
        self,
        script: Mapping[str, Behaviour | Sequence[Behaviour]] | Sequence[Behaviour] | Behaviour = "good",
        *,
        good: GoodAnswers | None = None,
        latency_s: float = 0.0,
        retry_after_s: float = 1.0,
        drip_s: float = 0.05,
        port: int = 0,
    ) -> None:
        self.requests: list[ServedRequest] = []
        self._good = good or GoodAnswers()
        self._latency_s = latency_s
        self._retry_after_s = retry_after_s
        self._drip_s = drip_s
        self._port = port
        self._always: dict[str, Behaviour] = {}
        self._queues: dict[str, list[Behaviour]] = {}
        self._unanswered: list[str] = []
        self._served_garbage = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        by_schema: Mapping[str, Any] = script if isinstance(script, Mapping) else {ANY: script}
        for key, behaviour in by_schema.items():
            self._add(key, behaviour)

    # ------------------------------------------------------------ life

    @property
    def base_url(self) -> str:
        """What a client is given, from the start of the server on."""
        if self._server is None:
            raise RuntimeError("the model server is not running; use `async with` or `in_thread`")
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, limit=_MAX_HEAD_BYTES, backlog=512)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, *args: Any, **options: Any) -> Iterator[ModelServer]:
        """A running server in a thread of its own; takes what the constructor takes."""
        server = cls(*args, **options)
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        running: Future[None] = Future()

        async def serve() -> None:
            try:
                await server.__aenter__()
            except OSError as error:
                running.set_exception(error)
                return
            running.set_result(None)
            await stop.wait()
            await server.__aexit__()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="model-server", daemon=True)
        thread.start()
        try:
            running.result(timeout=10.0)
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(timeout=10.0)
            loop.close()

    # ------------------------------------------------------------ what tests ask

    @property
    def count(self) -> int:
        """Requests so far."""
        return len(self.requests)

    def assert_used_up(self) -> None:
        """Fail if a behaviour was not asked for, or a request had none."""
        left = {key: len(queue) for key, queue in self._queues.items() if queue}
        assert not left, f"scripted behaviours that nobody asked for: {left}"
        assert not self._unanswered, f"requests that the script had no answer to: {self._unanswered}"

    # ------------------------------------------------------------ script

    def _add(self, key: str, script: Any) -> None:
        one = isinstance(script, str | Mapping | HttpReply) or callable(script)
        for behaviour in [script] if one else script:
            if isinstance(behaviour, str) and behaviour not in MODES and behaviour != GARBAGE_MODE:
                raise ValueError(f"unknown mode {behaviour!r} of the model server; known: {', '.join(sorted(mode_names()))}")
        if one:
            self._always[key] = script
        else:
            self._queues[key] = list(script)

    def _reply(self, body: Mapping[str, Any]) -> HttpReply:
        name, schema = _schema_of(body)
        behaviour = self._next(name)
        while callable(behaviour):
            behaviour = behaviour(body)
        if isinstance(behaviour, HttpReply):
            return behaviour
        if isinstance(behaviour, Mapping):
            return completion(json.dumps(behaviour))
        if behaviour == GARBAGE_MODE:
            behaviour = GARBAGE[self._served_garbage % len(GARBAGE)]
            self._served_garbage += 1
        good = self._good.answer(name, schema, body.get("messages", []))
        return MODES[behaviour](Asked(good=good, body=body, retry_after_s=self._retry_after_s))

    def _next(self, name: str) -> Behaviour:
        for key in (name, ANY):
            if key in self._always:
                return self._always[key]
            if self._queues.get(key):
                return self._queues[key].pop(0)
        self._unanswered.append(name)
        return error_reply(500, f"the script has no answer to request {self.count} ({name})")

    # ------------------------------------------------------------ HTTP

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, sent what is no HTTP, or the server is being stopped: the connection just ends
        finally:
            self._connections.discard(task)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            await _send(writer, error_reply(411, "a body with a content-length is needed"))
            return False
        raw = await reader.readexactly(int(length))
        method, _, path = request_line.partition(" ")
        if method != "POST" or not path.split(" ")[0].split("?")[0].endswith("/chat/completions"):
            await _send(writer, error_reply(404, "only POST /v1/chat/completions is served"))
            return True
        try:
            body = json.loads(raw)
            if not isinstance(body, dict):
                raise ValueError("not an object")
        except ValueError:
            await _send(writer, error_reply(400, "the body is not a JSON object"))
            return True
        self.requests.append(ServedRequest(headers=headers, body=body))
        reply = self._reply(body)
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        return await self._deliver(reader, writer, reply)

    async def _deliver(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: HttpReply) -> bool:
        match reply.delivery:
            case Delivery.WHOLE:
                await _send(writer, reply)
                return True
            case Delivery.HANG:
                await reader.read(1)  # ends when the client gives up
            case Delivery.RESET:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Delivery.CUT:
                writer.write(_written(reply)[:-20])
                await writer.drain()
            case Delivery.DRIP:
                for byte in _written(reply):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(self._drip_s)
                return True
        return False


def mode_names() -> list[str]:
    """Every mode that a script or `--mode` may name."""
    return [*MODES, GARBAGE_MODE]


def _schema_of(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and schema that a request asks for, from its response format or from its messages."""
    wanted = body.get("response_format")
    described = wanted.get("json_schema") if isinstance(wanted, dict) else None
    if isinstance(described, dict):
        return str(described.get("name", "")), described.get("schema", {})
    for message in body.get("messages", []):
        found = read_schema_instruction(str(message.get("content", "")))
        if found is not None:
            return found
    return "", {"type": "object", "properties": {}}


def _written(reply: HttpReply) -> bytes:
    """The bytes of an HTTP answer."""
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}.get(reply.status, "Answer")
    head = [
        f"HTTP/1.1 {reply.status} {reason}",
        f"content-type: {reply.content_type}",
        f"content-length: {len(reply.body)}",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + reply.body


async def _send(writer: asyncio.StreamWriter, reply: HttpReply) -> None:
    writer.write(_written(reply))
    await writer.drain()


# ---------------------------------------------------------------- command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one mode until SIGINT or SIGTERM; the first line of the output is the base URL."""
    parser = argparse.ArgumentParser(prog="python -m autohedge.testing.model_server", description=main.__doc__)
    parser.add_argument("--mode", choices=mode_names(), default="good")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency-s", type=float, default=0.0, help="delay of each answer")
    parser.add_argument("--retry-after-s", type=float, default=1.0, help="what a 429 or 503 asks for")
    options = parser.parse_args(arguments)
    server = ModelServer(options.mode, latency_s=options.latency_s, retry_after_s=options.retry_after_s, port=options.port)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with server:
            sys.stdout.write(f"{server.base_url}\n")
            sys.stdout.flush()
            await stop.wait()

    asyncio.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
