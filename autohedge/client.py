"""The HTTP API from Python: what goes over the wire, and a small typed client for it.

The models are the contract: the server answers with them and the client reads them, so the two cannot disagree. Money is
`Decimal` here and a decimal string on the wire; nanoseconds are `int` here and strings on the wire, because they exceed 2^53.
The client makes one attempt per call, follows no redirect, takes no proxy from the environment and never prints its key. An
unreachable server, an error answer and an answer of another shape all raise `ApiError`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, ValidationError

from autohedge.domain.records import MAX_TASK_CHARS
from autohedge.errors import ApiError, ConfigError
from autohedge.operations.clock import SystemClock

if TYPE_CHECKING:
    import httpx

IDEMPOTENCY_HEADER = "Idempotency-Key"
API_KEY_HEADER = "X-API-Key"
POLL_S = 0.2


def _plain(amount: Decimal) -> str:
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


Nanoseconds = Annotated[int, PlainSerializer(str, return_type=str, when_used="json")]
Amount = Annotated[Decimal, PlainSerializer(_plain, return_type=str, when_used="json"), Field(allow_inf_nan=False)]


class Wire(BaseModel):
    """Base of what the server says; a client of this version ignores fields that a newer server adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StartCycle(BaseModel):
    """Body of `POST /cycles`. `task` is what the desk is asked in this cycle; None leaves the session's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TASK_CHARS)] | None = None


class DecisionView(Wire):
    """One agent's decision with where it came from; `value` is its answer as plain data."""

    role: str
    answer: str = Field(description="Name of the answer's schema.")
    source: str = Field(description="llm, repaired, rules or abstained.")
    reason_code: str
    reason: str
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: float
    attempts: int
    value: dict[str, Any]


class ClampView(Wire):
    """One hit of the operator's envelope."""

    field: str
    asked: float
    given: float
    limit: str


class MandateView(Wire):
    """What the maker obeys, after the clamp."""

    mandate_id: str
    spread_multiplier: float
    inventory_bias: float
    size_multiplier: float
    regime: str
    risk_level: str
    effective_ns: Nanoseconds
    valid_until_ns: Nanoseconds
    clamps: tuple[ClampView, ...]


class OutcomeView(Wire):
    """What the desk said for one symbol, and the mandate that came of it (None: none did, `reason` says why)."""

    symbol: str
    cycle_id: str
    ts_ns: Nanoseconds = Field(description="Market time at which the desk was asked.")
    outcome: str = Field(description="proposal, hold, refused or failed.")
    source: str
    reason: str
    revisions: int
    decisions: tuple[DecisionView, ...]
    mandate: MandateView | None


class CycleJob(Wire):
    """A cycle that was asked for. Wall times are None until they happened; `reason` says why a cycle failed."""

    id: str
    run_id: str
    status: Literal["queued", "running", "done", "failed"]
    simulated: bool
    task: str | None
    reason: str
    queued_wall_ns: Nanoseconds
    started_wall_ns: Nanoseconds | None
    ended_wall_ns: Nanoseconds | None
    fills: int = Field(description="Fills in the market time that the cycle let pass.")
    outcomes: tuple[OutcomeView, ...]

    @property
    def is_over(self) -> bool:
        """True when it will not change any more."""
        return self.status in ("done", "failed")


class SymbolInventory(Wire):
    """One symbol's balances. `mark_price`, `total_value` and `as_of_ns` are None until the market has shown a price."""

    base_asset: str
    quote_asset: str
    base: Amount
    quote: Amount
    mark_price: Amount | None
    total_value: Amount | None = Field(description="base x mark_price + quote, in the quote asset.")
    as_of_ns: Nanoseconds | None = Field(description="Market time of the last event.")
    simulated: bool


class InventoryReport(Wire):
    """The inventory of the served run, by symbol."""

    run_id: str
    symbols: dict[str, SymbolInventory]


class RunReport(Wire):
    """A run: the one being served (`live`), or one from the ledger. `summary` is None for a run that left none."""

    run_id: str
    live: bool
    kind: str
    status: str
    simulated: bool
    symbols: tuple[str, ...]
    note: str
    summary: dict[str, Any] | None


class HealthReport(Wire):
    """Whether the served run takes cycles: `ok`; `market_over`, `used_up`, `stopping`; or `halted`, which needs a person."""

    status: Literal["ok", "market_over", "used_up", "stopping", "halted"]
    reason: str
    run_id: str
    simulated: bool
    queued: int
    queue_size: int
    running: bool
    cycles_done: int


class ErrorAnswer(Wire):
    """Every error: a word for programs and a sentence for people."""

    error: str
    detail: str


T = TypeVar("T", bound=Wire)


class AutoHedgeClient:
    """One server. Use it as a context manager, or call `close`; not for several threads at once.

    `timeout_s` bounds each wait of a call: connecting, sending, the next bytes of the answer. `monotonic_s` (by default the
    system's) and `sleep` are the clock that `wait` goes by. Raises `ConfigError` for a URL or key that cannot be used.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        timeout_s: float = 10.0,
        *,
        monotonic_s: Callable[[], float] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        if not re.match(r"^https?://[^\s/@?#]+(/[^\s?#]*)?$", base_url):
            raise ConfigError(f"expected a URL like http://127.0.0.1:8000, without user name or query, found {base_url[:80]!r}")
        if api_key is not None and not _fits_header(api_key):
            raise ConfigError("expected an API key of printable ASCII characters; take it as the server's operator gave it")
        self.base_url = base_url.rstrip("/")
        self._monotonic_s = monotonic_s or SystemClock().monotonic_s
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={} if api_key is None else {API_KEY_HEADER: api_key},
            timeout=timeout_s,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"AutoHedgeClient({self.base_url!r})"

    def __enter__(self) -> AutoHedgeClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close connections; may be called twice."""
        self._http.close()

    def start_cycle(self, task: str | None = None, idempotency_key: str | None = None) -> CycleJob:
        """Ask for a cycle; returns at once with the job.

        When an answer may have been lost (code `timeout` or `unreachable`), ask again with the same `idempotency_key`: the
        server then answers with the first job and runs no second cycle. `ConfigError` for a key that no header can hold.
        """
        if idempotency_key is not None and not _fits_header(idempotency_key):
            raise ConfigError(f"expected an idempotency key of printable ASCII characters, found {idempotency_key[:40]!r}")
        headers = {} if idempotency_key is None else {IDEMPOTENCY_HEADER: idempotency_key}
        body = {} if task is None else {"task": task}
        return self._call(CycleJob, "POST", "/cycles", json=body, headers=headers)

    def cycle(self, job_id: str) -> CycleJob:
        """A job as it stands; `ApiError` with status 404 for one that the server does not know or no longer keeps."""
        return self._call(CycleJob, "GET", f"/cycles/{quote(job_id, safe='')}")

    def wait(self, job_id: str, timeout_s: float = 120.0) -> CycleJob:
        """The job once it is over, done or failed; `ApiError` with code `timeout` if it is not over in time."""
        give_up_s = self._monotonic_s() + timeout_s
        while True:
            job = self.cycle(job_id)
            if job.is_over:
                return job
            left_s = give_up_s - self._monotonic_s()
            if left_s <= 0:
                raise ApiError(f"cycle {job_id} is still {job.status} after {timeout_s:g} s; it goes on", code="timeout")
            self._sleep(min(POLL_S, left_s))

    def run(self, run_id: str) -> RunReport:
        """The served run as it stands, or an earlier run of the same ledger."""
        return self._call(RunReport, "GET", f"/runs/{quote(run_id, safe='')}")

    def inventory(self) -> InventoryReport:
        """Balances of the served run."""
        return self._call(InventoryReport, "GET", "/inventory")

    def health(self) -> HealthReport:
        """Whether the server takes cycles; needs no key."""
        return self._call(HealthReport, "GET", "/health")

    def _call(self, shape: type[T], method: str, path: str, *, headers: Mapping[str, str] | None = None, json: Any = None) -> T:
        import httpx

        try:
            answer = self._http.request(method, path, headers=headers, json=json)
        except httpx.TimeoutException as error:
            raise ApiError(f"{self.base_url} did not answer {method} {path} in time", code="timeout") from error
        except httpx.RequestError as error:
            raise ApiError(
                f"{self.base_url} could not be reached ({error}); is `autohedge serve` running there?", code="unreachable"
            ) from error
        if not answer.is_success:
            raise _refusal(answer, f"{method} {path}")
        try:
            return shape.model_validate_json(answer.content)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise ApiError(
                f"{method} {path}: the answer is not a {shape.__name__} ({where}: {fault['msg']}); is it an AutoHedge server?",
                code="unexpected_answer",
                status=answer.status_code,
            ) from error


def _fits_header(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def _refusal(answer: httpx.Response, call: str) -> ApiError:
    try:
        said = ErrorAnswer.model_validate_json(answer.content)
    except ValidationError:
        said = ErrorAnswer(error="unexpected_answer", detail="the answer is not one of an AutoHedge server")
    wait = answer.headers.get("Retry-After", "")
    return ApiError(
        f"{call}: {said.detail} ({answer.status_code} {said.error})",
        code=said.error,
        status=answer.status_code,
        retry_after_s=float(wait) if wait.isascii() and wait.isdigit() else None,
    )
