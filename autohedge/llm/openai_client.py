"""The model client for any OpenAI-compatible endpoint: OpenAI, a gateway, vLLM, Ollama …, over the openai library.

One call of `complete` is one attempt, within one deadline that covers everything; retries belong to the ladder. Promises
that each attempt ends in a reply, `ModelUnavailable` or `ModelOutputInvalid`, and that the key is in none of them. What an
endpoint cannot do (`capability`) is learnt from its refusals, within the attempt, and remembered for the model. Refuses
redirects and bodies beyond `MAX_BODY_BYTES`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loguru import logger

from autohedge.errors import ModelUnavailable
from autohedge.llm.capability import Dialect, SchemaMode, plainer
from autohedge.llm.endpoint import OPENAI_URL, Endpoint, resolve_endpoint
from autohedge.llm.envelope import read_reply, said_by, unavailable_for_status
from autohedge.llm.failures import FailureClass, printable
from autohedge.ports import ModelReply, ModelRequest

if TYPE_CHECKING:
    import ssl

    import httpx2
    from openai import AsyncOpenAI

MAX_BODY_BYTES = 4_194_304
"""Longest body that is read; an answer of the desk has a few kilobytes."""

KEEP_ALIVE_S = 30.0
"""How long an idle connection is kept: longer than between two agents of a cycle, shorter than most servers keep it."""

POOL_CONNECTIONS = 8
"""Connections of one pool. The library looks at every connection of a pool twice per request, idle ones with a system call, so
that a hundred calls at once spend most of their CPU time in one large pool and none worth naming in several small ones."""


class OpenAIModelClient:
    """Chat completions of one endpoint. Belongs to the event loop that first uses it; any number of tasks may call at once.

    `schema_mode` "auto" begins with strict JSON schemas and steps down when the endpoint refuses them. `max_connections` beyond
    which calls wait for each other (within their deadline). Raises `ConfigError` for an unusable address or a missing key.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key: str | None,
        name: str,
        schema_mode: Literal["auto", "strict", "object", "text"] = "auto",
        max_connections: int = 256,
    ) -> None:
        self.name = name
        self._endpoint = resolve_endpoint(base_url, api_key)
        first: SchemaMode = "strict" if schema_mode == "auto" else schema_mode
        self._first_dialect = Dialect(schema_mode=first, fixed_schema_mode=schema_mode != "auto")
        self._learnt: dict[str, Dialect] = {}
        self._max_connections = max_connections
        self._connections = asyncio.Semaphore(max_connections)
        self._tls = _tls(self._endpoint)
        self._pools = [self._new_pool(max_connections)]

    def __repr__(self) -> str:
        return f"OpenAIModelClient(name={self.name!r}, base_url={self._endpoint.base_url!r})"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """One attempt within `request.timeout_s`; cancelling the task closes the connection."""
        try:
            async with asyncio.timeout(request.timeout_s):
                return await self._attempt(request)
        except TimeoutError:
            raise ModelUnavailable(FailureClass.TIMEOUT, f"no complete answer within {request.timeout_s:.3g} s") from None

    async def aclose(self) -> None:
        """Close connections; may be called twice."""
        for pool in self._pools:
            await pool.sdk.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncOpenAI]:
        """A client with a free connection, waited for when all are taken. Pools are filled in order and opened on demand."""
        async with self._connections:
            pool = next((each for each in self._pools if each.busy < each.size), None)
            if pool is None:
                pool = self._new_pool(self._max_connections - sum(each.size for each in self._pools))
                self._pools.append(pool)
            pool.busy += 1
            try:
                yield pool.sdk
            finally:
                pool.busy -= 1

    def _new_pool(self, most: int) -> _Pool:
        size = min(most, POOL_CONNECTIONS)
        return _Pool(_sdk(self._endpoint, self._tls, size), size)

    async def _attempt(self, request: ModelRequest) -> ModelReply:
        """Ask in the best dialect known for the model, then in plainer ones for as long as the endpoint names what to drop."""
        begun = dialect = self._learnt.get(request.model, self._first_dialect)
        while True:
            response = await self._post(dialect, request)
            body = self._endpoint.without_key(response.content)
            if response.is_success:
                break
            said = said_by(body)
            plain = plainer(dialect, response.status_code, said)
            if plain is None:
                raise unavailable_for_status(response.status_code, response.headers, said)
            dialect = plain
        if dialect != begun and self._learnt.get(request.model) != dialect:
            self._learnt[request.model] = dialect
            logger.warning("{}: {} does not take the request as it was; from now on: {}", self.name, request.model, dialect)
        content_type = response.headers.get("content-type", "")
        return read_reply(body, content_type, asked_model=request.model, schema_mode=dialect.schema_mode)

    async def _post(self, dialect: Dialect, request: ModelRequest) -> httpx2.Response:
        """One HTTP exchange; any status is an answer."""
        import httpx2
        from openai import APIConnectionError, APIStatusError

        try:
            # `post` and not `chat.completions.create`: the same exchange at half the CPU time, and the body as it came
            async with self._connection() as sdk:
                return await sdk.post("/chat/completions", cast_to=httpx2.Response, body=dialect.body(request))
        except APIStatusError as error:
            return error.response
        except APIConnectionError as error:
            # the library's errors hold the request with its key: only their words are passed on
            cause = error.__cause__ or error
            told = printable(f"{type(cause).__name__}: {cause}", 200)
        raise ModelUnavailable(FailureClass.CONNECTION, f"{self._endpoint.base_url}: {told}")


@dataclass(slots=True)
class _Pool:
    """A client of the library with `size` connections of its own, `busy` of them carrying a call."""

    sdk: AsyncOpenAI
    size: int
    busy: int = 0


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    """The certificates to trust; read once, because that takes longer than making all the rest of a client."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=not endpoint.loopback)


def _sdk(endpoint: Endpoint, tls: ssl.SSLContext, max_connections: int) -> AsyncOpenAI:
    """The library's client: no retries, no timeouts and no redirects of its own, nothing from the environment but proxies."""
    import httpx2
    from openai import AsyncOpenAI

    from autohedge.llm.bounded_body import body_bound

    http_client = httpx2.AsyncClient(
        timeout=None,
        follow_redirects=False,
        trust_env=not endpoint.loopback,
        verify=tls,
        limits=httpx2.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=KEEP_ALIVE_S
        ),
        event_hooks={"response": [body_bound(MAX_BODY_BYTES)]},
    )
    sdk = AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.key,
        max_retries=0,
        timeout=None,
        http_client=http_client,
        default_headers={"Authorization": f"Bearer {endpoint.key}", "Accept-Encoding": "identity"},
    )
    if endpoint.base_url != OPENAI_URL:
        sdk.organization = sdk.project = None  # identifiers of an OpenAI account are nobody else's business
    return sdk
