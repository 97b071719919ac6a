"""The schedule's grid, by a clock that only moves when somebody sleeps on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.records import ScheduledCycle
from autohedge.errors import ConfigError, InvariantBroken, MarketDataError, StorageError
from autohedge.operations.scheduler import CycleScheduler
from autohedge.testing.clock import ManualClock

T0_NS = 1_723_161_600_000_000_000
S = 1_000_000_000


class Schedule:
    """A schedule over a manual clock whose n-th cycle takes `takes_s[n]` seconds (default none)."""

    def __init__(
        self,
        every_s: float = 60.0,
        cycles: int | None = None,
        takes_s: dict[int, float] | None = None,
        then: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.clock = ManualClock(T0_NS)
        self.rows: list[ScheduledCycle] = []
        self.started_at_s: dict[int, float] = {}
        self.running = 0
        self._takes_s = takes_s or {}
        self._then = then
        self.scheduler = CycleScheduler(self.clock, every_s, self._cycle, self.rows.append, cycles)

    async def _cycle(self, n: int) -> None:
        assert self.running == 0, "two cycles overlap"
        self.running += 1
        self.started_at_s[n] = self.clock.monotonic_s()
        try:
            await self.clock.sleep(self._takes_s.get(n, 0.0))
            if self._then is not None:
                await self._then(n)
        finally:
            self.running -= 1

    def statuses(self) -> list[tuple[int, str]]:
        return [(row.n, row.status) for row in self.rows]


async def test_cycles_start_on_the_grid_whatever_they_take() -> None:
    schedule = Schedule(every_s=60, cycles=3, takes_s={1: 59.0, 2: 10.0, 3: 1.0})
    await schedule.scheduler.run()
    assert schedule.started_at_s == {1: 0.0, 2: 60.0, 3: 120.0}
    assert schedule.rows == [
        ScheduledCycle(1, T0_NS, T0_NS, T0_NS + 59 * S, "ok", ""),
        ScheduledCycle(2, T0_NS + 60 * S, T0_NS + 60 * S, T0_NS + 70 * S, "ok", ""),
        ScheduledCycle(3, T0_NS + 120 * S, T0_NS + 120 * S, T0_NS + 121 * S, "ok", ""),
    ]


async def test_no_cycle_waits_after_the_last_one() -> None:
    schedule = Schedule(every_s=60, cycles=1)
    await schedule.scheduler.run()
    assert schedule.clock.monotonic_s() == 0.0


async def test_an_overrun_is_recorded_its_missed_ticks_are_skipped_and_the_next_one_runs() -> None:
    schedule = Schedule(every_s=60, cycles=2, takes_s={1: 150.0})
    await schedule.scheduler.run()
    assert schedule.statuses() == [(1, "overrun"), (2, "skipped"), (3, "skipped"), (4, "ok")]
    assert schedule.started_at_s == {1: 0.0, 4: 180.0}
    assert schedule.rows[1] == ScheduledCycle(2, T0_NS + 60 * S, None, None, "skipped", "cycle 1 had not ended")
    assert "150.000 s" in schedule.rows[0].reason
    assert "missed 2" in schedule.rows[0].reason


async def test_a_cycle_that_ends_exactly_at_the_next_tick_misses_nothing() -> None:
    schedule = Schedule(every_s=60, cycles=2, takes_s={1: 60.0})
    await schedule.scheduler.run()
    assert schedule.statuses() == [(1, "ok"), (2, "ok")]
    assert schedule.started_at_s == {1: 0.0, 2: 60.0}


async def test_the_last_cycle_swallows_no_ticks_because_none_is_due() -> None:
    schedule = Schedule(every_s=60, cycles=1, takes_s={1: 150.0})
    await schedule.scheduler.run()
    assert schedule.statuses() == [(1, "overrun")]


async def test_a_failed_cycle_is_a_row_with_its_reason_and_the_next_one_runs() -> None:
    async def then(n: int) -> None:
        if n == 1:
            raise MarketDataError("the feed is corrupt at line 7")

    schedule = Schedule(cycles=2, then=then)
    await schedule.scheduler.run()
    assert [(row.status, row.reason) for row in schedule.rows] == [("failed", "the feed is corrupt at line 7"), ("ok", "")]


async def test_a_failed_cycle_that_also_overran_is_failed_and_its_missed_ticks_are_skipped() -> None:
    async def then(n: int) -> None:
        if n == 1:
            raise MarketDataError("late and wrong")

    schedule = Schedule(cycles=2, takes_s={1: 61.0}, then=then)
    await schedule.scheduler.run()
    assert schedule.statuses() == [(1, "failed"), (2, "skipped"), (3, "ok")]


@pytest.mark.parametrize("error", [InvariantBroken("cash is negative"), StorageError("the disk is full")])
async def test_errors_after_which_nothing_may_go_on_are_recorded_and_end_the_schedule(error: Exception) -> None:
    async def then(n: int) -> None:
        raise error

    schedule = Schedule(cycles=5, then=then)
    with pytest.raises(type(error)):
        await schedule.scheduler.run()
    assert [(row.n, row.status, row.reason) for row in schedule.rows] == [(1, "failed", str(error))]


async def test_an_error_that_is_not_ours_is_not_swallowed() -> None:
    async def then(n: int) -> None:
        raise ZeroDivisionError

    schedule = Schedule(cycles=5, then=then)
    with pytest.raises(ZeroDivisionError):
        await schedule.scheduler.run()
    assert schedule.rows == []


async def test_a_cancellation_passes() -> None:
    started = asyncio.Event()

    async def then(n: int) -> None:
        started.set()
        await asyncio.Event().wait()

    schedule = Schedule(then=then)
    task = asyncio.ensure_future(schedule.scheduler.run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert schedule.rows == []
    assert schedule.running == 0


async def test_stop_inside_a_cycle_lets_it_end_and_starts_no_other() -> None:
    async def then(n: int) -> None:
        if n == 2:
            schedule.scheduler.stop()

    schedule = Schedule(then=then)
    await schedule.scheduler.run()
    assert schedule.statuses() == [(1, "ok"), (2, "ok")]


async def test_stop_wakes_a_schedule_that_waits_for_its_tick() -> None:
    class Asleep(ManualClock):
        """Nobody who sleeps on it ever wakes."""

        async def sleep(self, seconds: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

    asleep = asyncio.Event()
    rows: list[ScheduledCycle] = []

    async def cycle(n: int) -> None: ...

    scheduler = CycleScheduler(Asleep(), 60, cycle, rows.append)
    task = asyncio.ensure_future(scheduler.run())
    await asleep.wait()
    scheduler.stop()
    await asyncio.wait_for(task, 10)
    assert [row.n for row in rows] == [1]


async def test_a_clock_that_wakes_too_early_is_slept_on_again() -> None:
    class Hasty(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds / 2 if seconds > 1 else seconds)

    clock = Hasty()
    at_s: list[float] = []

    async def cycle(n: int) -> None:
        at_s.append(clock.monotonic_s())

    await CycleScheduler(clock, 60, cycle, lambda row: None, 2).run()
    assert at_s == [0.0, 60.0]


async def test_zero_cycles_run_none() -> None:
    schedule = Schedule(cycles=0)
    await schedule.scheduler.run()
    assert schedule.rows == []


@pytest.mark.parametrize(("every_s", "cycles"), [(0.0, 1), (-1.0, 1), (60.0, -1)])
def test_an_interval_or_number_that_makes_no_sense_is_refused(every_s: float, cycles: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Schedule(every_s=every_s, cycles=cycles)


@given(
    every_s=st.integers(1, 100),
    takes_s=st.lists(st.integers(0, 500), min_size=1, max_size=12),
)
def test_every_tick_up_to_the_last_is_recorded_once_in_order_and_on_the_grid(every_s: int, takes_s: list[int]) -> None:
    started: list[int] = []

    async def then(n: int) -> None:
        started.append(n)

    class Taking(dict[int, float]):
        """The k-th cycle that starts takes the k-th duration, whatever its tick."""

        def get(self, n: int, default: float = 0.0) -> float:  # type: ignore[override]
            return float(takes_s[len(started)])

    schedule = Schedule(every_s=every_s, cycles=len(takes_s), takes_s=Taking(), then=then)
    asyncio.run(schedule.scheduler.run())
    assert [row.n for row in schedule.rows] == list(range(1, started[-1] + 1))
    assert len(started) == len(takes_s)
    for row in schedule.rows:
        assert row.planned_wall_ns == T0_NS + (row.n - 1) * every_s * S
        assert row.started_wall_ns == (row.planned_wall_ns if row.status != "skipped" else None)
        overran = row.ended_wall_ns is not None and row.ended_wall_ns > row.planned_wall_ns + every_s * S
        assert (row.status == "overrun") == overran
