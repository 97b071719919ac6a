"""The real clock. The only place in the product that reads one."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Wall time of this machine; an adapter of `ports.Clock`."""

    def now_ns(self) -> int:
        """UTC nanoseconds since 1970."""
        return time.time_ns()

    def monotonic_s(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of real time; zero and less only let other tasks run."""
        await asyncio.sleep(max(0.0, seconds))
