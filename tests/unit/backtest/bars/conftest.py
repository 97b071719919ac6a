"""Bars written down by hand, a market that wanders, and a strategy that does what a table says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bars import Bars
from autohedge.backtest.strategy import Bar, Cancellation, Fill, Position, Rejection, Strategy
from autohedge.domain.instrument import Instrument

MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_040_000_000_000


@pytest.fixture
def instrument() -> Instrument:
    """A tick of 0.01, a lot of 0.001, no least notional."""
    return Instrument(
        symbol="AAA/USD",
        base="AAA",
        quote="USD",
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1_000_000),
        min_notional=Decimal(0),
        max_notional=None,
        venue="simulated",
        rules_as_of="test",
    )


@pytest.fixture
def bars_of(instrument: Instrument) -> Callable[..., Bars]:
    """Minute bars from rows of open, high, low, close (in units of quote) and, if given, volume (1,000)."""

    def make(rows: Sequence[Sequence[float]], of: Instrument = instrument) -> Bars:
        columns = np.array([[*row, 1_000.0][:5] for row in rows])
        return Bars.from_prices(
            of,
            MINUTE_NS,
            ts_ns=START_NS + MINUTE_NS * np.arange(len(rows)),
            open=columns[:, 0],
            high=columns[:, 1],
            low=columns[:, 2],
            close=columns[:, 3],
            volume=columns[:, 4],
        )

    return make


@pytest.fixture
def walk(bars_of: Callable[..., Bars]) -> Callable[..., Bars]:
    """A seeded random walk of so many bars around 100, with gaps between close and open, and bars without volume."""

    def make(count: int, seed: int = 1, *, step: float = 0.002) -> Bars:
        chance = np.random.default_rng(seed)
        close = np.round(100 * np.exp(np.cumsum(chance.normal(0, step, count))), 2)
        opened = np.round(np.concatenate(([100.0], close[:-1])) * (1 + chance.normal(0, step / 4, count)), 2)
        reach = np.abs(chance.normal(0, step / 2, count)) * close
        high = np.round(np.maximum(opened, close) + reach, 2)
        low = np.round(np.minimum(opened, close) - reach, 2)
        volume = np.where(chance.random(count) < 0.02, 0, np.round(chance.exponential(40, count), 3))
        return bars_of(list(zip(opened, high, low, close, volume, strict=True)))

    return make


@pytest.fixture
def plain() -> Assumptions:
    """No fee, no slippage, no failures, all of the volume: what is left is the rule under test."""
    return Assumptions.of(commission_frac=0, slippage_model="none", api_failure_frac=0, participation_frac=1)


class Scripted(Strategy):
    """Does on bar i what `script[i]` says, and keeps all it was told."""

    def __init__(self, script: dict[int, Callable[[Scripted], Any]]) -> None:
        super().__init__()
        self.script = script
        self.bars: list[Bar] = []
        self.fills: list[Fill] = []
        self.positions: list[Position] = []
        self.rejections: list[Rejection] = []
        self.cancellations: list[Cancellation] = []
        self.told: list[str] = []

    def on_start(self) -> None:
        self.told.append("start")

    def on_stop(self) -> None:
        self.told.append("stop")
        self.script.get(-1, lambda _: None)(self)

    def on_bar(self, bar: Bar) -> None:
        self.bars.append(bar)
        self.told.append("bar")
        self.script.get(len(self.bars) - 1, lambda _: None)(self)

    def on_order_filled(self, fill: Fill) -> None:
        self.fills.append(fill)
        self.told.append("fill")

    def on_position_changed(self, position: Position) -> None:
        self.positions.append(position)
        self.told.append("position")

    def on_order_rejected(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)

    def on_order_cancelled(self, cancellation: Cancellation) -> None:
        self.cancellations.append(cancellation)


@pytest.fixture
def scripted() -> type[Scripted]:
    """The class, to be made with a script."""
    return Scripted
