"""The newest closed candles in memory, asked for again only when another one can have closed.

Point in time: only candles that have closed by the clock are given. A failure of the source is raised, never covered with old
candles. Where the newest candle is late at the source (or the market is closed), it is asked for again every few seconds and
not every time. Several tasks that want the same series at once cause one question. Bounded: the series least recently used
goes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from autohedge.errors import ConfigError
from autohedge.market.candle_sources import CandleSource
from autohedge.market.candles import known_at, no_candles
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import NS_PER_S, Timeframe
from autohedge.ports import Clock

MAX_CANDLES = 5_000
MAX_SERIES = 64
LATE_RETRY_NS = 5 * NS_PER_S
"""How long a late candle is not asked for again."""


@dataclass(slots=True)
class _Cached:
    """Closed candles that open in [from_ns, to_ns), as of the last question at `asked_at_ns`."""

    candles: pl.DataFrame = field(default_factory=no_candles)
    from_ns: int = 0
    to_ns: int = 0
    asked_at_ns: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class CandleCache:
    """Closed candles of one source, kept for one bar."""

    def __init__(self, source: CandleSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._kept: OrderedDict[tuple[str, Timeframe], _Cached] = OrderedDict()

    async def latest(self, symbol: str, timeframe: Timeframe, count: int) -> pl.DataFrame:
        """The closed candles of the last `count` bars, in order: fewer where the venue has holes, none where it has nothing.

        Raises what the source raises, and `ConfigError` for a count that is not between 1 and 5,000.
        """
        if not 1 <= count <= MAX_CANDLES:
            raise ConfigError(f"expected 1 to {MAX_CANDLES:,} candles, found {count:,}")
        cached = self._kept.setdefault((symbol, timeframe), _Cached())
        self._kept.move_to_end((symbol, timeframe))
        if len(self._kept) > MAX_SERIES:
            self._kept.popitem(last=False)
        async with cached.lock:
            now_ns = self._clock.now_ns()
            end_ns = timeframe.floor_ns(now_ns)
            start_ns = end_ns - count * timeframe.interval_ns
            if self._must_ask(cached, timeframe, start_ns, end_ns, now_ns):
                await self._ask(cached, symbol, timeframe, start_ns, end_ns)
            times = pl.col("ts_ns")
            return cached.candles.filter((times >= start_ns) & (times < end_ns))

    def _must_ask(self, cached: _Cached, timeframe: Timeframe, start_ns: int, end_ns: int, now_ns: int) -> bool:
        if start_ns < cached.from_ns or not cached.to_ns:
            return True
        newest = end_ns - timeframe.interval_ns
        is_there = cached.candles.height > 0 and cached.candles["ts_ns"][-1] >= newest
        return not is_there and (cached.to_ns < end_ns or now_ns >= cached.asked_at_ns + LATE_RETRY_NS)

    async def _ask(self, cached: _Cached, symbol: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> None:
        """Complete what is kept to [start_ns, end_ns); nothing changes when the source fails."""
        kept, from_ns = cached.candles, cached.from_ns
        if start_ns < from_ns or not cached.to_ns or kept.is_empty():
            kept, from_ns = no_candles(), start_ns
        cursor_ns = int(kept["ts_ns"][-1]) + timeframe.interval_ns if kept.height else from_ns
        parts = [kept]
        while cursor_ns < end_ns:
            page = await self._source.page(symbol, timeframe, cursor_ns, end_ns)
            as_of_ns = end_ns if page.as_of_ns is None else min(end_ns, page.as_of_ns)
            parts.append(known_at(page.candles, timeframe, as_of_ns))
            if page.end_ns <= cursor_ns:
                break
            cursor_ns = page.end_ns
        cached.candles = pl.concat(parts).tail(MAX_CANDLES)
        cached.from_ns = max(from_ns, end_ns - MAX_CANDLES * timeframe.interval_ns)
        cached.to_ns, cached.asked_at_ns = end_ns, self._clock.now_ns()
