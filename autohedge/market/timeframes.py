"""The lengths of candles. UTC: a bucket begins at a whole multiple of its length since 1970, a day at 00:00.

A candle is named by its open time, belongs to [open, open + interval) and is known only from open + interval on.
"""

from __future__ import annotations

from enum import StrEnum

from autohedge.errors import ConfigError

NS_PER_S = 1_000_000_000
_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "4h": 14_400, "1d": 86_400}


class Timeframe(StrEnum):
    """How much time one candle tells of."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def interval_ns(self) -> int:
        """Length in nanoseconds; 1d is 24 hours."""
        return _SECONDS[self.value] * NS_PER_S

    def floor_ns(self, ts_ns: int) -> int:
        """The open time of the bucket that `ts_ns` lies in."""
        return ts_ns - ts_ns % self.interval_ns

    def ceil_ns(self, ts_ns: int) -> int:
        """The first open time at or after `ts_ns`."""
        return -self.floor_ns(-ts_ns)


def timeframe(text: str) -> Timeframe:
    """`Timeframe` of its name (1m 5m 15m 1h 4h 1d); raises `ConfigError` for any other text."""
    try:
        return Timeframe(text)
    except ValueError:
        raise ConfigError(f"expected a timeframe of {', '.join(Timeframe)}, found {text[:20]!r}") from None


def timeframe_of_interval(interval_ns: int) -> Timeframe | None:
    """The timeframe of that length; None when there is none."""
    return next((each for each in Timeframe if each.interval_ns == interval_ns), None)
