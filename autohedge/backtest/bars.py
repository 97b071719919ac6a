"""Candles as columns of whole numbers: what a backtest on bars reads.

Promise: what is in `Bars` can be traded on. Prices are positive ticks with low ≤ open, close ≤ high, volumes are lots, times
are in order and no bar begins before the one before has ended. What is not so is refused with the first bad row, its number and
how many there are; nothing is repaired. Gaps are allowed and counted: a market may close, and a venue may be down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autohedge.backtest.result import F64, I64, Bools
from autohedge.domain.instrument import Instrument
from autohedge.errors import MarketDataError
from autohedge.simulation.bar_matching import MOST_STEPS

if TYPE_CHECKING:
    import polars

GRID_TOLERANCE_TICKS = 0.001
"""How far a price may lie off its tick as a float: what is left of an exact price after a few float operations."""

_EARLIEST_NS = 0
_LATEST_NS = 7_258_118_400_000_000_000  # 2200-01-01: a year of nanoseconds above it is a mistake
_PRICES = ("open", "high", "low", "close")
_COLUMNS = ("ts_ns", *(f"{each}_ticks" for each in _PRICES), "volume_lots")

_Column = TypeVar("_Column", I64, F64)


@dataclass(frozen=True, eq=False)
class Bars:
    """Candles of one instrument, one array element per bar; `ts_ns` is when a bar opens, UTC. Arrays are read-only.

    `source` says where they come from. Raises `MarketDataError` for anything that the module's promise excludes.
    """

    instrument: Instrument
    interval_ns: int
    ts_ns: I64
    open_ticks: I64
    high_ticks: I64
    low_ticks: I64
    close_ticks: I64
    volume_lots: I64
    source: str = "memory"

    def __post_init__(self) -> None:
        if self.interval_ns <= 0:
            raise MarketDataError(f"{self.instrument.symbol}: expected a positive bar interval, found {self.interval_ns} ns")
        self._check_lengths()
        for name in _COLUMNS:
            column = np.ascontiguousarray(getattr(self, name), dtype=np.int64)
            if column is getattr(self, name):
                column = column.view()
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        self._check_times()
        self._check_prices()

    # --- making them ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_prices(
        cls,
        instrument: Instrument,
        interval_ns: int,
        *,
        ts_ns: Sequence[int] | I64,
        open: Sequence[Any] | NDArray[Any],
        high: Sequence[Any] | NDArray[Any],
        low: Sequence[Any] | NDArray[Any],
        close: Sequence[Any] | NDArray[Any],
        volume: Sequence[Any] | NDArray[Any],
        source: str = "memory",
        tolerance_ticks: float = GRID_TOLERANCE_TICKS,
    ) -> Bars:
        """Bars from prices in quote units and volumes in base units, as `Decimal`s (exact) or as floats.

        A price further than `tolerance_ticks` off its tick is refused; 0.5 rounds every price to the nearest tick, as prices
        adjusted for splits need it. Volumes are rounded down to whole lots.
        """
        symbol = instrument.symbol
        ticks = {
            f"{name}_ticks": _ticks(symbol, name, column, instrument.tick_size, tolerance_ticks)
            for name, column in zip(_PRICES, (open, high, low, close), strict=True)
        }
        return cls(
            instrument,
            interval_ns,
            ts_ns=_times(symbol, ts_ns),
            volume_lots=_lots(symbol, volume, instrument.lot_size),
            source=source,
            **ticks,
        )

    @classmethod
    def from_candles(
        cls,
        instrument: Instrument,
        interval_ns: int,
        candles: polars.DataFrame,
        *,
        source: str,
        tolerance_ticks: float = GRID_TOLERANCE_TICKS,
    ) -> Bars:
        """Bars from a table of `autohedge.market.candles`; else as `from_prices`."""
        from autohedge.market.candles import in_floats

        columns = {name: column.to_numpy() for name, column in in_floats(candles).to_dict().items()}
        return cls.from_prices(instrument, interval_ns, **columns, source=source, tolerance_ticks=tolerance_ticks)

    # --- what they are ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def end_ns(self) -> int:
        """When the last bar closes."""
        return int(self.ts_ns[-1]) + self.interval_ns

    @cached_property
    def close_ns(self) -> I64:
        """When each bar closes."""
        return _read_only(self.ts_ns + self.interval_ns)

    @cached_property
    def close(self) -> F64:
        """Closing prices in quote units, for signals: the float nearest to each price."""
        return self.prices(self.close_ticks)

    def prices(self, ticks: I64) -> F64:
        """Prices of `ticks` in quote units: for each the nearest float."""
        return _read_only(in_units(ticks, self.instrument.tick_size))

    def sizes(self, lots: I64) -> F64:
        """Sizes of `lots` in base units: for each the nearest float."""
        return _read_only(in_units(lots, self.instrument.lot_size))

    @cached_property
    def most_ticks(self) -> int:
        """The highest price of all."""
        return int(self.high_ticks.max())

    @cached_property
    def gaps(self) -> int:
        """How many times a bar does not begin where the one before ended."""
        return int(np.count_nonzero(np.diff(self.ts_ns) != self.interval_ns))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all columns, interval and symbol: equal for equal data, wherever they come from."""
        digest = hashlib.sha256(f"{self.instrument.symbol}|{self.interval_ns}|".encode())
        for name in _COLUMNS:
            digest.update(getattr(self, name).data)
        return digest.hexdigest()

    def described(self) -> dict[str, Any]:
        """Source, fingerprint and size, as a result keeps them."""
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "rows": len(self),
            "interval_ns": self.interval_ns,
            "gaps": self.gaps,
        }

    def between(self, first: int, last: int) -> Bars:
        """The bars number `first` … `last` − 1, without copying them. Raises `MarketDataError` when there is none."""
        part = slice(first, last)
        columns = {name: getattr(self, name)[part] for name in _COLUMNS}
        return Bars(self.instrument, self.interval_ns, source=self.source, **columns)

    # --- refusals ---------------------------------------------------------------------------------------------------------

    def _check_lengths(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in _COLUMNS}
        if len(set(lengths.values())) != 1:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise MarketDataError(f"{self.instrument.symbol}: expected columns of one length, found {found}")
        if not lengths["ts_ns"]:
            raise MarketDataError(f"{self.instrument.symbol}: expected at least one bar, found none")

    def _check_times(self) -> None:
        ts_ns, symbol = self.ts_ns, self.instrument.symbol
        refuse_rows(symbol, "a time before 1970 or after 2200", (ts_ns < _EARLIEST_NS) | (ts_ns > _LATEST_NS), ts_ns)
        steps = np.diff(ts_ns)
        refuse_rows(symbol, "the time of the bar before again", _after_first(steps == 0), ts_ns)
        refuse_rows(symbol, "a time before that of the bar before", _after_first(steps < 0), ts_ns)
        what = f"begun before the bar before has ended (interval {self.interval_ns} ns; are the times nanoseconds?)"
        refuse_rows(symbol, what, _after_first(steps < self.interval_ns), ts_ns)

    def _check_prices(self) -> None:
        symbol, low, high = self.instrument.symbol, self.low_ticks, self.high_ticks
        for name in _PRICES:
            ticks = getattr(self, f"{name}_ticks")
            refuse_rows(symbol, f"{name} not a positive price", ticks <= 0, ticks)
            refuse_rows(symbol, f"{name} too large to be exact", ticks >= MOST_STEPS, ticks)
        refuse_rows(symbol, "high below low", high < low, high)
        for name in ("open", "close"):
            ticks = getattr(self, f"{name}_ticks")
            refuse_rows(symbol, f"{name} outside low … high", (ticks < low) | (ticks > high), ticks)
        volume = self.volume_lots
        refuse_rows(symbol, "a negative volume", volume < 0, volume)
        refuse_rows(symbol, "a volume too large to be exact", volume >= MOST_STEPS, volume)


def refuse_rows(symbol: str, what: str, bad: Bools, values: NDArray[Any]) -> None:
    """Raise `MarketDataError` for the first bad row, with the number of all of them; nothing when there is none."""
    count = int(np.count_nonzero(bad))
    if count:
        row = int(np.argmax(bad))
        more = f"; {count} such bars" if count > 1 else ""
        raise MarketDataError(f"{symbol}: bar {row}: {what}: {values[row]}{more}")


def _after_first(bad: Bools) -> Bools:
    return np.concatenate(([False], bad))


def _read_only(column: _Column) -> _Column:
    column.flags.writeable = False
    return column


def in_units(steps: I64, step: Decimal) -> F64:
    """Ticks or lots as prices or sizes: for each the nearest float, wherever its product with the numerator is exact."""
    numerator, denominator = step.as_integer_ratio()
    product: F64 = steps.astype(np.float64)
    if numerator != 1:
        product *= float(numerator)
    if denominator != 1:
        product /= float(denominator)
    return product


def _times(symbol: str, column: Any) -> I64:
    times = np.asarray(column)
    if times.dtype.kind not in "iu":
        raise MarketDataError(f"{symbol}: expected times as whole nanoseconds, found {times.dtype}")
    return times.astype(np.int64)


def _ticks(symbol: str, name: str, column: Any, tick: Decimal, tolerance_ticks: float) -> I64:
    values = np.asarray(column)
    if values.dtype == object:
        return _exact(symbol, name, values, tick, tolerance_ticks)
    steps = _in_steps(symbol, name, values, tick)
    nearest = np.rint(steps)
    refuse_rows(symbol, f"{name} off the tick {tick}", np.abs(steps - nearest) > tolerance_ticks, values)
    return nearest.astype(np.int64)


def _lots(symbol: str, column: Any, lot: Decimal) -> I64:
    values = np.asarray(column)
    if values.dtype == object:
        steps = [_steps(symbol, "volume", row, value, lot) for row, value in enumerate(values.tolist())]
        return np.array([int(each // 1) for each in steps], dtype=np.int64)
    # an exact volume may be a hair below its lot as a float
    return np.floor(_in_steps(symbol, "volume", values, lot) + 1e-6).astype(np.int64)


def _in_steps(symbol: str, name: str, values: NDArray[Any], step: Decimal) -> F64:
    if values.dtype.kind not in "fiu":
        raise MarketDataError(f"{symbol}: expected {name} as numbers, found {values.dtype}")
    floats = values.astype(np.float64)
    refuse_rows(symbol, f"{name} not a finite number", ~np.isfinite(floats), values)
    numerator, denominator = step.as_integer_ratio()
    steps = floats * float(denominator) / float(numerator)
    refuse_rows(symbol, f"{name} too large to be exact", np.abs(steps) >= MOST_STEPS, values)
    return steps


def _exact(symbol: str, name: str, values: NDArray[Any], tick: Decimal, tolerance_ticks: float) -> I64:
    ticks = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values.tolist()):
        steps = _steps(symbol, name, row, value, tick)
        nearest = steps.to_integral_value()
        if abs(steps - nearest) > tolerance_ticks:
            raise MarketDataError(f"{symbol}: bar {row}: {name} off the tick {tick}: {value}")
        ticks[row] = int(nearest)
    return ticks


def _steps(symbol: str, name: str, row: int, value: Any, step: Decimal) -> Decimal:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise MarketDataError(f"{symbol}: bar {row}: {name} not a finite Decimal: {value!r}")
    steps = value / step
    if abs(steps) >= MOST_STEPS:
        raise MarketDataError(f"{symbol}: bar {row}: {name} too large to be exact: {value}")
    return steps
