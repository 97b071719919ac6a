"""What a desk is told of a market that is known by its candles only: statistics of the bars that have closed.

Promise: all comes from ended bars that are handed in, so there is no way from here to a later one; what cannot be computed is
None, with the reason for the indicators. Without TA-Lib (extra `indicators`) there are none, and the rest stays as it is.

Sources: the trend is the efficiency ratio of Kaufman ("Smarter Trading", 1995) with the sign of the move; indicators are those
of `autohedge.market.indicators`. They remember every bar since the first one given; of 500 that is nothing.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from importlib.util import find_spec
from math import fsum, log, sqrt

from autohedge.backtest.result import F64
from autohedge.backtest.strategy import History
from autohedge.domain.view import BarIndicators, BarStatistics

WINDOW_BARS = 20
HISTORY_BARS = 500
"""How many bars statistics are made of."""
LEAST_CHANGES = 10
"""Changes of the close below which there is no volatility."""

_NS_PER_S = 1_000_000_000
_NS_PER_HOUR = 3_600 * _NS_PER_S
_BPS = 10_000.0


class BarVolatility:
    """σ per hour of closes: the root mean square of the last 20 log returns × √(hour ÷ bar).

    Only returns between bars that touch count: over a night or a hole in the data more than a bar's time has passed. An hour is
    one of the bars' own time, of which a daily bar has 24.
    """

    def __init__(self) -> None:
        self._squares: deque[float] = deque(maxlen=WINDOW_BARS)
        self._closed_ns = -1
        self._close = 0.0
        self._bars_per_hour = 1.0

    def add(self, ts_ns: int, interval_ns: int, close: float) -> None:
        """The next bar, which opened at `ts_ns`, has closed."""
        if ts_ns == self._closed_ns:
            change = log(close / self._close)
            self._squares.append(change * change)
        self._closed_ns, self._close = ts_ns + interval_ns, close
        self._bars_per_hour = _NS_PER_HOUR / interval_ns

    @property
    def per_hour(self) -> float | None:
        """σ per hour as a fraction of the price; None before there were ten changes."""
        count = len(self._squares)
        return sqrt(fsum(self._squares) / count * self._bars_per_hour) if count >= LEAST_CHANGES else None


def bar_statistics(
    symbol: str, history: History, interval_ns: int, now_ns: int, *, bars: int, volatility: float | None
) -> BarStatistics:
    """Statistics of the newest bars in `history` (at least one), of the `bars` that have closed by `now_ns`."""
    close, high, low = history.close, history.high, history.low
    last = float(close[-1])
    indicators, problem = _indicators(history)
    return BarStatistics(
        symbol=symbol,
        as_of_ns=now_ns,
        interval_s=interval_ns / _NS_PER_S,
        bars=bars,
        closed_ns=int(history.ts_ns[-1]) + interval_ns,
        close=last,
        high=float(high[-1]),
        low=float(low[-1]),
        volume_base=float(history.volume[-1]),
        range_bps=(float(high[-1]) - float(low[-1])) / last * _BPS,
        window_high=float(high[-WINDOW_BARS:].max()),
        window_low=float(low[-WINDOW_BARS:].min()),
        return_1_bps=_return_bps(close, 1),
        return_5_bps=_return_bps(close, 5),
        return_20_bps=_return_bps(close, 20),
        volatility=volatility,
        volume_zscore=_volume_zscore(history.volume),
        trend=_trend(close),
        indicators=indicators,
        indicators_problem=problem,
    )


def _return_bps(close: F64, bars: int) -> float | None:
    return None if len(close) <= bars else (float(close[-1]) / float(close[-1 - bars]) - 1.0) * _BPS


def _trend(close: F64) -> float | None:
    """Net move ÷ path walked over the window; 0 when nothing moved, None before there is a whole window."""
    if len(close) <= WINDOW_BARS:
        return None
    walked = [
        float(after) - float(before) for before, after in zip(close[-WINDOW_BARS - 1 : -1], close[-WINDOW_BARS:], strict=True)
    ]
    path = fsum(map(abs, walked))
    return fsum(walked) / path if path else 0.0


def _volume_zscore(volume: F64) -> float | None:
    """The last volume against the window before it; None where that did not vary and the last one differs."""
    if len(volume) <= WINDOW_BARS:
        return None
    before = volume[-1 - WINDOW_BARS : -1]
    off = float(volume[-1]) - float(before.mean())
    if not before.any() or float(before.max()) == float(before.min()):
        return 0.0 if off == 0.0 else None
    return off / float(before.std(ddof=1))


@cache
def _has_talib() -> bool:
    return find_spec("talib") is not None


def _indicators(history: History) -> tuple[BarIndicators | None, str]:
    if not _has_talib():
        return None, "TA-Lib is not installed"
    from autohedge.market.indicators import newest_indicators

    found = newest_indicators(history.high, history.low, history.close, history.volume)
    return BarIndicators(**{name: found[name] for name in BarIndicators.__dataclass_fields__}), ""
