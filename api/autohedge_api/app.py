"""The HTTP API of one served run: start cycles, look at them, at the run and at its inventory.

One task owns the session and runs the cycles; routes only put jobs into its queue and read. Everything is JSON; an error is
{error, detail}. There are no pages, nothing is loaded from elsewhere, and no foreign origin is allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from autohedge import __version__
from autohedge.bootstrap import Run
from autohedge.client import (
    IDEMPOTENCY_HEADER,
    CycleJob,
    ErrorAnswer,
    HealthReport,
    InventoryReport,
    RunReport,
    StartCycle,
)
from autohedge.errors import AutoHedgeError
from autohedge_api.guard import Guard, allowed_names, check_api_key, refusal
from autohedge_api.jobs import KEPT_JOBS, CycleJobs, Refused
from autohedge_api.views import inventory_view, job_view, run_view

QUEUE_SIZE = 16
_MAX_DETAIL_CHARS = 300
_ERRORS: dict[int, str] = {
    401: "The API key is missing or wrong.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    421: "The Host header names no host of this server.",
    422: "The request does not have the expected shape.",
}
_WORDS = {400: "bad_request", 404: "unknown_route", 405: "method_not_allowed"}


def create_app(
    run: Run,
    *,
    api_key: str | None,
    queue_size: int = QUEUE_SIZE,
    allowed_hosts: Iterable[str] = (),
    kept_jobs: int = KEPT_JOBS,
) -> FastAPI:
    """The app over a started run; while it is served, nothing else may drive the run's session.

    `api_key` None asks for no key, which only suits loopback. `allowed_hosts` are Host names beside the loopback ones. At most
    `queue_size` cycles wait, and the last `kept_jobs` are remembered. Whoever serves it finishes the run afterwards; after the
    app's shutdown `app.state.jobs.halted` says whether and why the run had to stop. Raises `ConfigError`.
    """
    if api_key is not None:
        check_api_key(api_key)
    names = allowed_names(allowed_hosts)
    jobs = CycleJobs(run, queue_size=queue_size, kept=kept_jobs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(jobs.work(), name="cycles")
        try:
            yield
        finally:
            jobs.stop()
            await worker

    app = FastAPI(
        title="AutoHedge",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # the pages that FastAPI would offer load scripts from elsewhere; /openapi.json stays
        redoc_url=None,
        redirect_slashes=False,
        responses={status: {"model": ErrorAnswer, "description": text} for status, text in _ERRORS.items()},
    )
    app.state.run, app.state.jobs = run, jobs
    app.include_router(_router)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(AutoHedgeError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_defect)
    app.add_middleware(Guard, api_key=api_key, allowed_hosts=names)
    return app


# --- routes -------------------------------------------------------------------------------------------------------------


def _run(request: Request) -> Run:
    run: Run = request.app.state.run
    return run


def _jobs(request: Request) -> CycleJobs:
    jobs: CycleJobs = request.app.state.jobs
    return jobs


TheRun = Annotated[Run, Depends(_run)]
TheJobs = Annotated[CycleJobs, Depends(_jobs)]
IdempotencyKey = Annotated[
    str | None,
    Header(alias=IDEMPOTENCY_HEADER, min_length=1, max_length=128, description="The same key starts no second cycle."),
]
Id = Annotated[str, Path(max_length=100)]
_router = APIRouter()


def _errors(**texts: str) -> dict[int | str, dict[str, Any]]:
    return {int(status[1:]): {"model": ErrorAnswer, "description": text} for status, text in texts.items()}


@_router.post(
    "/cycles",
    status_code=202,
    response_model=CycleJob,
    responses=_errors(
        _409="No cycle can run any more: the market is over, the cycles are used up, or the run is halted.",
        _429="The queue is full; Retry-After says when to ask again.",
        _503="The server is being stopped.",
    ),
)
async def start_cycle(
    run: TheRun, jobs: TheJobs, response: Response, body: StartCycle | None = None, idempotency_key: IdempotencyKey = None
) -> CycleJob:
    """Ask for a cycle: the desk is asked for every symbol, then the market goes on by one interval."""
    job = jobs.submit(body.task if body is not None else None, idempotency_key)
    response.headers["Location"] = f"/cycles/{job.id}"
    return job_view(job, run)


@_router.get("/cycles/{job_id}", response_model=CycleJob, responses=_errors(_404="Never started here, or no longer kept."))
async def read_cycle(run: TheRun, jobs: TheJobs, job_id: Id) -> CycleJob:
    """A cycle as it stands, with the decisions and the mandate per symbol once the desk has answered."""
    return job_view(jobs.find(job_id), run)


@_router.get(
    "/runs/{run_id}", response_model=RunReport, responses=_errors(_404="No such run.", _503="The ledger cannot be read.")
)
async def read_run(run: TheRun, run_id: Id) -> RunReport:
    """The summary of the served run as it stands, or of an earlier run of the same ledger."""
    return await run_view(run, run_id)


@_router.get("/inventory", response_model=InventoryReport)
async def read_inventory(run: TheRun) -> InventoryReport:
    """Balances by symbol, in decimal strings."""
    return inventory_view(run)


@_router.get("/health", response_model=HealthReport)
async def read_health(run: TheRun, jobs: TheJobs) -> HealthReport:
    """Whether cycles are taken. Needs no key and tells nothing of the market or of money."""
    status, reason = jobs.condition()
    return HealthReport(
        status=status,
        reason=reason,
        run_id=run.run_id,
        simulated=run.plan.simulated,
        queued=jobs.queued,
        queue_size=jobs.queue_size,
        running=jobs.running is not None,
        cycles_done=jobs.cycles_done,
    )


# --- errors -------------------------------------------------------------------------------------------------------------


async def _on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    headers = None if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return refusal(error.status, error.error, error.detail, headers)


async def _on_own_error(_: Request, error: Exception) -> Response:
    return refusal(503, "unavailable", str(error)[:_MAX_DETAIL_CHARS])


async def _on_invalid(_: Request, error: Exception) -> Response:
    """Where and why, without repeating what was sent."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    return refusal(422, "invalid_request", f"{where}: {fault['msg']}"[:_MAX_DETAIL_CHARS])


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    word = _WORDS.get(error.status_code, "refused")
    return refusal(error.status_code, word, str(error.detail)[:_MAX_DETAIL_CHARS], error.headers)


async def _on_defect(_: Request, error: Exception) -> Response:
    return refusal(500, "internal_error", "the server met an unforeseen error; its log has it")
