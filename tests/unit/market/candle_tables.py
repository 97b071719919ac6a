"""Tables of candles for tests: a seeded walk on the tick, every candle sound."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import polars as pl

from autohedge.market.candles import COLUMNS, exact
from autohedge.market.timeframes import Timeframe

MIDNIGHT_NS = 20_000 * 86_400 * 1_000_000_000
"""2024-10-04T00:00:00Z."""


def walk(count: int, *, timeframe: Timeframe = Timeframe.M1, start_ns: int = MIDNIGHT_NS, seed: int = 1) -> pl.DataFrame:
    """`count` candles in a row around 100.00, in the exact schema."""
    rng = random.Random(seed)
    close = 10_000
    rows: list[tuple[Any, ...]] = []
    for number in range(count):
        opened = close + rng.randint(-2, 2)
        close = max(9_000, opened + rng.randint(-15, 15))
        high, low = max(opened, close) + rng.randint(0, 5), min(opened, close) - rng.randint(0, 5)
        prices = [str(Decimal(each).scaleb(-2)) for each in (opened, high, low, close)]
        rows.append((start_ns + number * timeframe.interval_ns, *prices, str(Decimal(rng.randint(1, 10**9)).scaleb(-5))))
    return exact(
        pl.DataFrame(rows, schema=[(name, pl.Int64 if name == "ts_ns" else pl.String) for name in COLUMNS], orient="row"),
        "walk",
    )


def changed(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """The table with other values in one row; floats where the exact ones cannot hold the value."""
    for name, value in values.items():
        column = frame[name].cast(pl.Float64) if isinstance(value, float) else frame[name]
        there = pl.int_range(pl.len()) == row
        frame = frame.with_columns(pl.when(there).then(pl.lit(value).cast(column.dtype)).otherwise(column).alias(name))
    return frame
