"""Cycles on a fixed grid of wall time: t0, t0 + every, t0 + 2·every …

Promises: two cycles never overlap; the grid never drifts; every tick becomes exactly one record. A cycle that is still running
when a later tick is due is an overrun: the ticks that it swallowed are recorded as skipped (after the last cycle of a schedule
none is due), never made up for, and the next one on the grid runs. A cycle that fails with an error of our own is recorded and
the next one runs, unless the error says that nothing may go on: a ledger that cannot be written and a contradiction of the
program end the schedule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from autohedge.domain.records import ScheduledCycle
from autohedge.errors import AutoHedgeError, ConfigError, InvariantBroken, StorageError
from autohedge.ports import Clock

NS_PER_S = 1_000_000_000


class CycleScheduler:
    """Runs `run_cycle(n)` at each tick n = 1, 2, …, the first one at once; `record` gets every tick as soon as it is settled.

    `every_s` is wall time in seconds. `cycles` is how many cycles are started, skipped ticks not counted; None: until `stop`.
    Raises `ConfigError` for an interval that is not above zero or a negative number of cycles.
    """

    def __init__(
        self,
        clock: Clock,
        every_s: float,
        run_cycle: Callable[[int], Awaitable[None]],
        record: Callable[[ScheduledCycle], None],
        cycles: int | None = None,
    ) -> None:
        self._every_ns = round(every_s * NS_PER_S)
        if self._every_ns <= 0:
            raise ConfigError(f"expected an interval above zero between scheduled cycles, found {every_s} s")
        if cycles is not None and cycles < 0:
            raise ConfigError(f"expected zero or more scheduled cycles, found {cycles}")
        self._clock = clock
        self._run_cycle = run_cycle
        self._record = record
        self._cycles = cycles
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Start no further cycle; one that is running ends by itself. Safe to call from a cycle or a signal handler."""
        self._stop.set()

    async def run(self) -> None:
        """Run until the number of cycles is reached or `stop` is called. To be called once.

        Raises what a cycle raised where nothing may go on, after recording it; a cancellation passes, unrecorded.
        """
        t0_wall_ns = self._clock.now_ns()
        t0_s = self._clock.monotonic_s()
        tick, started = 1, 0
        while not self._stop.is_set() and (self._cycles is None or started < self._cycles):
            due_ns = (tick - 1) * self._every_ns
            if not await self._wait_until(t0_s + due_ns / NS_PER_S):
                return
            started += 1
            next_tick = await self._tick(tick, t0_wall_ns + due_ns, t0_s)
            if started == self._cycles:
                return
            for skipped in range(tick + 1, next_tick):
                planned_ns = t0_wall_ns + (skipped - 1) * self._every_ns
                self._record(ScheduledCycle(skipped, planned_ns, None, None, "skipped", f"cycle {tick} had not ended"))
            tick = next_tick

    async def _tick(self, tick: int, planned_wall_ns: int, t0_s: float) -> int:
        """Run and record one cycle; the number of the next tick that is not missed."""
        clock = self._clock
        started_wall_ns = clock.now_ns()
        failure: AutoHedgeError | None = None
        try:
            await self._run_cycle(tick)
        except AutoHedgeError as error:
            failure = error
        ended_s = clock.monotonic_s()
        # a tick that is due at the very end of the cycle is not missed
        next_tick = max(tick + 1, -(-round((ended_s - t0_s) * NS_PER_S) // self._every_ns) + 1)
        missed = next_tick - tick - 1
        if failure is not None:
            status, reason = "failed", str(failure)
        elif missed:
            every_s = self._every_ns / NS_PER_S
            after_s = ended_s - t0_s - (tick - 1) * every_s
            status = "overrun"
            reason = f"ended {after_s:.3f} s after it was due; of the ticks every {every_s:g} s it missed {missed}"
        else:
            status, reason = "ok", ""
        self._record(ScheduledCycle(tick, planned_wall_ns, started_wall_ns, clock.now_ns(), status, reason))
        if isinstance(failure, InvariantBroken | StorageError):
            raise failure
        return next_tick

    async def _wait_until(self, due_s: float) -> bool:
        """Sleep until the clock reads `due_s`; False if `stop` was called before."""
        while not self._stop.is_set():
            left_s = due_s - self._clock.monotonic_s()
            if left_s <= 0:
                return True
            await self._sleep(left_s)
        return False

    async def _sleep(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopping.cancel()
        if sleeping.done() and not sleeping.cancelled():
            sleeping.result()
