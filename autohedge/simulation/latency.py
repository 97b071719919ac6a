"""How long a command takes to a simulated venue: always the same, by chance, as long as the market data just took, or recorded.

Promise: a command takes some time, and never arrives before one that was sent earlier; the same seed gives the same ways in the
live engine and in the compiled loop. Refused: no time at all, because it is look-ahead.

- `constant`: the least time and nothing more.
- `exponential`, `log_normal`: the least time and a draw of the given mean; σ is that of the logarithm. One draw per command.
- `feed`: the least time and by how much the newest market event with a time stamp of the venue took longer to us than the
  quickest one so far. The difference of the two clocks cancels out.
- `recorded`: the least time and what a table says, as a step function of the time of sending.

The last two look at what was known strictly before the command was sent; before there is anything, nothing is added.

The feed's own latency. A run sees the market in the order of receipt, and so does the simulated venue. News of a fill comes
with the feed. So a feed that is slower by f makes an order meet the market f later, as seen by us, and changes nothing else: it
is a longer way of the order, and is added to the least time.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import cos, exp, log, log1p, pi, sqrt
from pathlib import Path
from typing import Any, Final, NamedTuple

from autohedge.domain.market_data import MarketEvent
from autohedge.errors import ConfigError
from autohedge.simulation.chance import draw

CONSTANT: Final = 0
EXPONENTIAL: Final = 1
LOG_NORMAL: Final = 2
FEED: Final = 3
RECORDED: Final = 4
"""The models as numbers, for compiled code; `FEED` and above read a table."""

LONGEST_NS: Final = 600_000_000_000
"""What chance or a table adds at most: ten minutes. An order that takes longer is a failure, not a latency."""

HEADER = ("ts_ns", "latency_ns")


class LatencyModel(StrEnum):
    """What is added to the least time."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"
    LOG_NORMAL = "log_normal"
    FEED = "feed"
    RECORDED = "recorded"

    @property
    def code(self) -> int:
        """The model as a number."""
        return _CODES[self]


_CODES = {
    LatencyModel.CONSTANT: CONSTANT,
    LatencyModel.EXPONENTIAL: EXPONENTIAL,
    LatencyModel.LOG_NORMAL: LOG_NORMAL,
    LatencyModel.FEED: FEED,
    LatencyModel.RECORDED: RECORDED,
}


class LatencyNumbers(NamedTuple):
    """The way of a command as bare numbers. `scale_ns` is the mean of an exponential or the median of a log-normal draw."""

    model: int
    least_ns: int
    scale_ns: float
    sigma: float
    key: int


# --- the arithmetic -----------------------------------------------------------------------------------------------------


def drawn_ns(numbers: LatencyNumbers, command: int) -> int:
    """What chance adds to the least time of the command of this number (from 0)."""
    if numbers.model == EXPONENTIAL:
        extra = -log1p(-draw(numbers.key, command)) * numbers.scale_ns
    else:
        # Box and Muller: a normal deviate of two uniform ones
        radius = sqrt(-2.0 * log1p(-draw(numbers.key, 2 * command)))
        extra = exp(numbers.sigma * radius * cos(2.0 * pi * draw(numbers.key, 2 * command + 1))) * numbers.scale_ns
    return int(min(extra, float(LONGEST_NS)))


def entries_before(times_ns: Any, at: int, now_ns: int) -> int:
    """How many entries of an ascending table are earlier than `now_ns`, when `at` of them are known to be."""
    while at < len(times_ns) and times_ns[at] < now_ns:
        at += 1
    return at


# --- the live engine's --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Latency:
    """A model of the way; `times_ns` and `recorded_ns` are the table of `recorded`, ascending in time, else empty.

    `ConfigError` for a least time that is not above zero and for a table that cannot be read as a step function.
    """

    numbers: LatencyNumbers
    times_ns: Sequence[int] = ()
    recorded_ns: Sequence[int] = ()

    def __post_init__(self) -> None:
        least_ns = self.numbers.least_ns
        if least_ns <= 0:
            raise ConfigError(
                f"expected a latency above 0 ns, found {least_ns}: zero latency is look-ahead, because quotes would move "
                "before the trades that they answer; give the time that an order takes to the venue"
            )
        if len(self.times_ns) != len(self.recorded_ns) or (self.numbers.model == RECORDED) != bool(self.times_ns):
            raise ConfigError("a recorded latency is a table of times and as many latencies, and other models have none")
        for at, latency_ns in enumerate(self.recorded_ns):
            if at and self.times_ns[at] <= self.times_ns[at - 1]:
                raise ConfigError(f"recorded latencies: entry {at} is not later than the one before it")
            if not 0 <= latency_ns <= LONGEST_NS:
                raise ConfigError(f"recorded latencies: entry {at} takes {latency_ns} ns; expected 0 to {LONGEST_NS}")

    @classmethod
    def constant(cls, latency_ns: int) -> Latency:
        """The same for every command."""
        return cls(LatencyNumbers(CONSTANT, latency_ns, 0.0, 0.0, 0))

    @classmethod
    def drawn(cls, model: LatencyModel, least_ns: int, mean_ns: float, sigma: float, key: int) -> Latency:
        """By chance, with this mean on top of the least time; `sigma` is of no meaning to an exponential draw."""
        if model is LatencyModel.EXPONENTIAL:
            return cls(LatencyNumbers(EXPONENTIAL, least_ns, float(mean_ns), 0.0, key))
        # the mean of a log-normal is its median times exp(σ² ÷ 2)
        return cls(LatencyNumbers(LOG_NORMAL, least_ns, exp(log(mean_ns) - sigma * sigma / 2.0), sigma, key))

    @classmethod
    def as_the_feed(cls, least_ns: int) -> Latency:
        """By how much the newest event took longer than the quickest, on top of the least time."""
        return cls(LatencyNumbers(FEED, least_ns, 0.0, 0.0, 0))

    @classmethod
    def recorded(cls, least_ns: int, times_ns: Sequence[int], recorded_ns: Sequence[int]) -> Latency:
        """What a table says, on top of the least time."""
        return cls(LatencyNumbers(RECORDED, least_ns, 0.0, 0.0, 0), times_ns, recorded_ns)


class Way:
    """The way of commands to a venue, one after the other. `watches_feed` says whether it must `see` the market events."""

    __slots__ = (
        "_at",
        "_command",
        "_event_ns",
        "_known_ns",
        "_last_ns",
        "_latency",
        "_newest_ns",
        "_quickest_ns",
        "watches_feed",
    )

    def __init__(self, latency: Latency) -> None:
        self._latency = latency
        self._command = 0
        self._last_ns = 0
        self._at = 0
        self._event_ns = self._newest_ns = self._known_ns = 0
        self._quickest_ns = 1 << 63
        self.watches_feed = latency.numbers.model == FEED

    def see(self, event: MarketEvent) -> None:
        """A market event was received, not before the ones seen earlier."""
        if event.ts_init_ns > self._event_ns:
            self._event_ns, self._known_ns = event.ts_init_ns, self._newest_ns
        if event.ts_event_ns:
            took_ns = event.ts_init_ns - event.ts_event_ns
            self._quickest_ns = min(self._quickest_ns, took_ns)
            self._newest_ns = min(LONGEST_NS, took_ns - self._quickest_ns)

    def arrival_ns(self, now_ns: int) -> int:
        """When the command that is sent at `now_ns` arrives. Commands are sent in order of time."""
        numbers = self._latency.numbers
        arrival_ns = now_ns + numbers.least_ns
        if numbers.model != CONSTANT:
            arrival_ns += self._extra_ns(numbers, now_ns)
        self._command += 1
        self._last_ns = arrival_ns = max(arrival_ns, self._last_ns)
        return arrival_ns

    def _extra_ns(self, numbers: LatencyNumbers, now_ns: int) -> int:
        if numbers.model == FEED:
            return self._newest_ns if self._event_ns < now_ns else self._known_ns
        if numbers.model == RECORDED:
            self._at = entries_before(self._latency.times_ns, self._at, now_ns)
            return self._latency.recorded_ns[self._at - 1] if self._at else 0
        return drawn_ns(numbers, self._command)


def read_latencies(path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(times, latencies) of a CSV file with the columns ts_ns (UTC) and latency_ns. `ConfigError` when it is not one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != HEADER:
                raise ConfigError(f"{path}: expected the columns {','.join(HEADER)}")
            table = [(int(ts_ns), int(latency_ns)) for ts_ns, latency_ns in rows]
    except OSError as error:
        raise ConfigError(f"the recorded latencies {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: expected two whole numbers of ns in each row: {error}") from None
    if not table:
        raise ConfigError(f"{path}: expected recorded latencies, found none")
    times_ns, latencies_ns = zip(*table, strict=True)
    return times_ns, latencies_ns
