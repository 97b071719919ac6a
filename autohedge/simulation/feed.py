"""The simulated market as a feed: events made as they are asked for.

Promises: marked as simulated; the same arguments give the same events; nothing is dropped, corrupt or out of order; other
tasks get their turn between batches; memory does not grow with duration. Refuses arguments that cannot be simulated when it
is made, not when it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent, rows_of
from autohedge.ports import FeedReport
from autohedge.simulation.market_generator import MarketGenerator
from autohedge.simulation.market_parameters import MarketParameters, check_market

DEFAULT_START_NS = 1_704_067_200_000_000_000
"""2024-01-01T00:00:00Z: a simulated market has no date of its own, and a fixed one keeps runs comparable."""
DEFAULT_PARAMETERS = MarketParameters()

_BATCH_EVENTS = 256


class SimulatedFeed:
    """A seeded artificial market behind the port `MarketFeed`.

    `duration_s` and `start_ns` are of the market's own time. `ConfigError` for a seed, duration, start or instrument that
    cannot be simulated.
    """

    simulated = True

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        duration_s: float,
        start_ns: int = DEFAULT_START_NS,
        parameters: MarketParameters = DEFAULT_PARAMETERS,
    ) -> None:
        check_market(instrument, seed, duration_s, start_ns, parameters)
        self.instrument = instrument
        self.description = f"simulated market (seed {seed})"
        self.report = FeedReport()
        self._seed = seed
        self._duration_s = duration_s
        self._start_ns = start_ns
        self._parameters = parameters

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """The market from its beginning, on every call; the snapshot comes first. `report` counts what was handed out."""
        market = MarketGenerator(self.instrument, self._seed, self._duration_s, self._start_ns, self._parameters)
        batch: list[MarketEvent] = []
        for events in market.actions():
            batch += events
            if len(batch) >= _BATCH_EVENTS:
                yield self._counted(batch)
                batch = []
                await asyncio.sleep(0)
        if batch:
            yield self._counted(batch)

    def _counted(self, batch: list[MarketEvent]) -> list[MarketEvent]:
        self.report.messages += len(batch)
        self.report.rows += sum(map(rows_of, batch))
        return batch
