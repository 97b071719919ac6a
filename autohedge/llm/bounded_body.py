"""A bound on what is read from an endpoint. Imports httpx2, so it is imported only where a client is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2

from autohedge.errors import ModelUnavailable
from autohedge.llm.failures import FailureClass


def body_bound(max_bytes: int) -> Callable[[httpx2.Response], Awaitable[None]]:
    """A response hook after which reading more than `max_bytes` of the body raises `ModelUnavailable` (server_error)."""

    async def bound(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, max_bytes)

    return bound


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._stream:
            total += len(chunk)
            if total > self._max_bytes:
                raise ModelUnavailable(
                    FailureClass.SERVER_ERROR, f"the endpoint sent a body of more than {self._max_bytes} bytes", retryable=False
                )
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
