"""One type per identifier, and the factory that makes the ones we choose ourselves.

Ids are sequential within a run, never random or taken from a clock, so that a replay makes the same ones.
"""

from __future__ import annotations

from typing import NewType

RunId = NewType("RunId", str)
CycleId = NewType("CycleId", str)
MandateId = NewType("MandateId", str)
ClientOrderId = NewType("ClientOrderId", str)
TradeId = NewType("TradeId", str)


class IdFactory:
    """Sequential ids of one symbol in one run: order `BTC-USDT-000001`, cycle `BTC-USDT-c0001`, mandate `BTC-USDT-m0001`."""

    __slots__ = ("_cycles", "_fills", "_mandates", "_orders", "_stem")

    def __init__(self, symbol: str) -> None:
        # no symbol contains "_", so that A-B and A/B, which may trade side by side, never share an id
        self._stem = symbol.replace("-", "_").replace("/", "-")
        self._orders = self._fills = self._cycles = self._mandates = 0

    def order(self) -> ClientOrderId:
        """The next client order id."""
        self._orders += 1
        return ClientOrderId(f"{self._stem}-{self._orders:06d}")

    def fill(self) -> TradeId:
        """The next id of one of our own fills."""
        self._fills += 1
        return TradeId(f"{self._stem}-f{self._fills:06d}")

    def cycle(self) -> CycleId:
        """The next desk cycle's id."""
        self._cycles += 1
        return CycleId(f"{self._stem}-c{self._cycles:04d}")

    def mandate(self) -> MandateId:
        """The next mandate's id."""
        self._mandates += 1
        return MandateId(f"{self._stem}-m{self._mandates:04d}")
