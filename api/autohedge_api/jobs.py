"""Cycles asked for over HTTP: a bounded queue, a bounded memory, and the one task that owns the session.

Promises: cycles run one after the other, in the order they were asked for; a job that was accepted always ends, done or failed
with its reason; the same idempotency key never runs a second cycle while its job is remembered. A cycle that fails with an
error of our own is a failed job and the next one runs, unless nothing may go on: after a ledger that cannot be written, a
contradiction or an unforeseen error the queue is failed and closed (`halted`), and the session is left to be drained.
"""

from __future__ import annotations

import asyncio
import math
import traceback
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from loguru import logger

from autohedge.bootstrap import Run
from autohedge.domain.records import CycleOutcome
from autohedge.errors import AutoHedgeError, ConfigError, InvariantBroken, StorageError

KEPT_JOBS = 1_000
MAX_RETRY_AFTER_S = 60


class Refused(Exception):
    """A request that cannot be served: an HTTP status, a word for programs, a sentence for people."""

    def __init__(self, status: int, error: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.retry_after_s = retry_after_s


class JobStatus(StrEnum):
    """The life of a job: queued, running, then done or failed for good."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Job:
    """One cycle that was asked for. `outcomes` has one entry per symbol once the desk has answered, even if the rest failed."""

    id: str
    task: str | None
    idempotency_key: str | None
    queued_wall_ns: int
    status: JobStatus = JobStatus.QUEUED
    started_wall_ns: int | None = None
    ended_wall_ns: int | None = None
    reason: str = ""
    fills: int = 0
    outcomes: Sequence[CycleOutcome] = ()


Condition = Literal["ok", "market_over", "used_up", "stopping", "halted"]


class CycleJobs:
    """The queue in front of one run's session. `submit` and the readers are called from the loop that `work` runs in."""

    def __init__(self, run: Run, *, queue_size: int, kept: int = KEPT_JOBS) -> None:
        if queue_size < 1 or kept <= queue_size:
            raise ConfigError(f"expected a queue of at least 1 and more jobs kept than queued, found {queue_size} and {kept}")
        self.queue_size = queue_size
        self.halted = ""
        self.cycles_done = 0
        self.running: Job | None = None
        self._run = run
        self._kept = kept
        self._limit = run.plan.settings.desk.cycles
        self._accepted = 0
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._by_key: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._last_took_s = 1.0

    # --- for the routes -----------------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def condition(self) -> tuple[Condition, str]:
        """Whether cycles are taken, and if not, why."""
        if self.halted:
            return "halted", self.halted
        if self._stopping or self._run.session.stopping:
            return "stopping", "the server is being stopped"
        if self._run.session.market_over:
            return "market_over", "the market is over: its data ended and no further cycle can run"
        if self._limit is not None and self._accepted >= self._limit:
            return "used_up", f"the {self._limit} cycles of this run (--cycles) have all been asked for"
        return "ok", ""

    def submit(self, task: str | None, idempotency_key: str | None) -> Job:
        """A new job, or the one that the same key made before; `Refused` when no cycle is taken now."""
        if idempotency_key is not None and idempotency_key in self._by_key:
            before = self._by_key[idempotency_key]
            if before.task != task:
                raise Refused(422, "idempotency_key_reused", f"this key belongs to cycle {before.id}, which has another task")
            return before
        condition, reason = self.condition()
        if condition != "ok":
            raise Refused(503 if condition == "stopping" else 409, condition, reason)
        if len(self._waiting) >= self.queue_size:
            wait_s = min(MAX_RETRY_AFTER_S, max(1, math.ceil(self._last_took_s)))
            raise Refused(429, "queue_full", f"{self.queue_size} cycles wait already; ask again in {wait_s} s", wait_s)
        self._accepted += 1
        job = Job(f"{self._run.run_id}-{self._accepted:06d}", task, idempotency_key, self._run.plan.clock.now_ns())
        self._remember(job)
        self._waiting.append(job)
        self._wake.set()
        return job

    def find(self, job_id: str) -> Job:
        """The job; `Refused` 404 when it never was or is no longer kept."""
        job = self._jobs.get(job_id)
        if job is not None:
            return job
        number = job_id.removeprefix(f"{self._run.run_id}-")
        if number != job_id and number.isascii() and number.isdigit() and 0 < int(number[:19]) <= self._accepted:
            raise Refused(404, "cycle_forgotten", f"only the last {self._kept} cycles are kept here; the ledger has them all")
        raise Refused(404, "unknown_cycle", "no cycle of this id was started on this server")

    # --- the owner of the session -------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Run jobs until `stop`; then what still waits is failed."""
        try:
            while not self._stopping and not self.halted:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._run_one(self._waiting.popleft())
        finally:
            self._fail_waiting(self.halted or "the server was stopped before it could run")

    def stop(self) -> None:
        """Take no further job and end `work` after the running one."""
        self._stopping = True
        self._wake.set()

    async def _run_one(self, job: Job) -> None:
        session, clock = self._run.session, self._run.plan.clock
        if session.market_over:
            self._end(job, JobStatus.FAILED, self.condition()[1])
            return
        job.status, job.started_wall_ns, self.running = JobStatus.RUNNING, clock.now_ns(), job
        began_s, fills, before = clock.monotonic_s(), self._fills(), len(session.outcomes)
        try:
            answered = bool(await session.cycle(job.task))
        except (InvariantBroken, StorageError) as error:
            self._halt(job, str(error))
        except AutoHedgeError as error:
            self._end(job, JobStatus.FAILED, str(error))
        except asyncio.CancelledError:
            self._end(job, JobStatus.FAILED, "the server was stopped while it ran")
            raise
        except Exception as error:  # the edge of the task: without it a defect would leave the job running for ever, unseen
            trace = "".join(traceback.format_exception(error))  # as text: a logger that shows variables would show keys
            logger.critical("cycle {} met an unforeseen error; no further cycle is taken\n{}", job.id, trace)
            self._halt(job, f"an unforeseen error ({type(error).__name__}); the server's log has it")
        else:
            self.cycles_done += answered
            self._end(
                job, JobStatus.DONE if answered else JobStatus.FAILED, "" if answered else "stopped before the desk answered"
            )
        finally:
            job.fills = self._fills() - fills
            job.outcomes = tuple(session.outcomes[before:])
            self._last_took_s = clock.monotonic_s() - began_s
            self.running = None

    def _halt(self, job: Job, reason: str) -> None:
        self.halted = reason
        self._end(job, JobStatus.FAILED, reason)

    def _end(self, job: Job, status: JobStatus, reason: str) -> None:
        job.status, job.reason, job.ended_wall_ns = status, reason, self._run.plan.clock.now_ns()

    def _fail_waiting(self, reason: str) -> None:
        while self._waiting:
            self._end(self._waiting.popleft(), JobStatus.FAILED, reason)

    def _fills(self) -> int:
        return sum(lane.counts.fills for lane in self._run.session.lanes)

    def _remember(self, job: Job) -> None:
        # first in, first out: the oldest job is over, because more are kept than may wait
        self._jobs[job.id] = job
        if job.idempotency_key is not None:
            self._by_key[job.idempotency_key] = job
        if len(self._jobs) > self._kept:
            _, oldest = self._jobs.popitem(last=False)
            if oldest.idempotency_key is not None:
                self._by_key.pop(oldest.idempotency_key, None)
