"""A clock that stands still unless it is told to move, or somebody sleeps on it."""

from __future__ import annotations

import asyncio


class ManualClock:
    """An adapter of `ports.Clock` without real time.

    Sleeping returns at once and moves the clock to the time of waking; tasks that sleep at the same time move it once, to the
    latest of them. `sleeps` keeps every wait that was asked for, in seconds.
    """

    def __init__(self, now_ns: int = 1_723_161_600_000_000_000) -> None:
        self._started_ns = now_ns
        self._elapsed_s = 0.0
        self.sleeps: list[float] = []

    def now_ns(self) -> int:
        """UTC nanoseconds since 1970; 2024-08-09 00:00 at the beginning, unless told otherwise."""
        return self._started_ns + round(self._elapsed_s * 1e9)

    def monotonic_s(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run, then be awake `seconds` later."""
        self.sleeps.append(seconds)
        waking_s = self._elapsed_s + max(0.0, seconds)
        await asyncio.sleep(0)
        self._elapsed_s = max(self._elapsed_s, waking_s)

    def advance(self, seconds: float) -> None:
        """Move the clock by hand; it never goes back."""
        if seconds < 0:
            raise ValueError(f"a clock never goes back, found a step of {seconds} s")
        self._elapsed_s += seconds
