"""Where candles come from: the port, and tables that are already here.

A source never invents a candle, never fills a gap and never gives one twice. Empty is not failed: a page without candles means
that the source has none in that span; a source that cannot answer raises.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from autohedge.errors import ConfigError, VenueUnavailable
from autohedge.market.candle_store import CandleSeries
from autohedge.market.candles import require_candles
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import Timeframe


class SourceBusy(VenueUnavailable):
    """The source did not answer now; `retry_after_s` is the wait that it asked for (None where it did not)."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CandlePage(NamedTuple):
    """One answer: the candles that open from the start asked for up to `end_ns`, all that the source has, in order.

    `as_of_ns` is the source's own time of the answer (None where it does not say): what has not closed by then is not final.
    """

    candles: pl.DataFrame
    end_ns: int
    as_of_ns: int | None = None


class CandleSource(Protocol):
    """Candles of one venue, a page at a time.

    `is_complete` says that a candle which is not in an answer does not exist at the venue, so that a hole need not be asked for
    again. `requests_per_minute` is the most it may be asked (None: no limit).
    """

    venue: str
    is_complete: bool
    requests_per_minute: float | None

    async def page(self, symbol: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> CandlePage:
        """Candles that open in [start_ns, end_ns), from the first one on; makes one attempt.

        Raises `SourceBusy` (ask again), `VenueRefused` (do not), `MarketDataError` for an answer that cannot be candles, and
        `ConfigError` for a symbol or timeframe that the source does not have.
        """
        ...

    async def aclose(self) -> None:
        """Close connections; may be called twice."""
        ...


class TableSource:
    """Candles of one series that are already in memory: read from a file, or made of recorded trades.

    What a table lacks may still exist at the venue, so it never counts as complete. Raises `MarketDataError` for a table that
    is not exact, in order and unique.
    """

    is_complete = False
    requests_per_minute: float | None = None

    def __init__(self, series: CandleSeries, candles: pl.DataFrame) -> None:
        require_candles(candles, series.timeframe, f"candles of {series}")
        self.venue = series.venue
        self._series = series
        self._candles = candles

    async def page(self, symbol: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> CandlePage:
        """All candles of the span at once."""
        if (symbol, timeframe) != (self._series.symbol, self._series.timeframe):
            raise ConfigError(f"this table has {self._series}, found a question for {symbol} {timeframe}")
        times = pl.col("ts_ns")
        return CandlePage(self._candles.filter((times >= start_ns) & (times < end_ns)), end_ns)

    async def aclose(self) -> None:
        """Nothing is open."""
