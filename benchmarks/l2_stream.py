"""A seeded level-2 stream, for benchmarks and for tests that hold two engines against each other.

Promise: every row follows from a book that is kept exactly. The book is never crossed and never one-sided, a trade prints at
the touch and comes before the update of depth that it causes, no two rows after the snapshot have one time, and the same seed
gives the same rows. About 9 % of the rows are trades; something happens every 10 ms on average. It is no model of a market:
prices only wander, weakly drawn back to where they began.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from autohedge.domain.instrument import Instrument
from autohedge.market.event_rows import DELTA, SNAPSHOT, TRADE, EventColumns

LEVELS = 20
MIDDLE_TICKS = 20_000
WINDOW_TICKS = 2 * MIDDLE_TICKS
MEAN_GAP_NS = 10_000_000
ROW_NS = 1_000
"""Between the rows of one thing that happens, and at least between two things."""
START_NS = 1_700_000_000_000_000_000
MEAN_LEVEL_LOTS = 2_000
MEAN_TRADE_LOTS = 600
MEAN_DISTANCE_TICKS = 5.0

TRADES, IMPROVES, LEAVES = 0.10, 0.10, 0.04
"""How often the touch is traded with, improved by a tick where there is room, and taken away; else a level gets a new size."""
PULL_TICKS = 20_000.0
"""A price so far from the middle would always be drawn back."""

BID, ASK = 0, 1


class Stream(NamedTuple):
    """Rows by the venue's time; `side` +1 for a bid or a buyer, −1 for an ask or a seller; size 0 removes a level. The first
    2 × `LEVELS` rows are a snapshot, bids first."""

    ts_ns: npt.NDArray[np.int64]
    is_trade: npt.NDArray[np.bool_]
    side: npt.NDArray[np.int8]
    price_ticks: npt.NDArray[np.int32]
    size_lots: npt.NDArray[np.int32]


def l2_stream(rows: int, seed: int = 7) -> Stream:
    """So many rows, at least the snapshot's; `ValueError` when prices wandered out of the window."""
    if rows < 2 * LEVELS:
        raise ValueError(f"expected at least the {2 * LEVELS} rows of the snapshot, found {rows}")
    stream = Stream(
        ts_ns=np.empty(rows, np.int64),
        is_trade=np.zeros(rows, np.bool_),
        side=np.empty(rows, np.int8),
        price_ticks=np.empty(rows, np.int32),
        size_lots=np.empty(rows, np.int32),
    )
    if not _evolve(np.random.default_rng(seed), stream, np.zeros((2, WINDOW_TICKS), np.int64)):
        raise ValueError("the prices wandered out of the window; choose another seed")
    return stream


def coin() -> Instrument:
    """What the stream trades: a tick is 0.1, a lot 0.001."""
    return Instrument(
        symbol="COIN/USD",
        base="COIN",
        quote="USD",
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1_000_000),
        min_notional=Decimal(0),
        max_notional=None,
        venue="simulated",
        rules_as_of="simulated",
    )


def columns_of(stream: Stream, feed_latency_ns: int) -> EventColumns:
    """The rows as we receive them: one message each, but one for the whole snapshot."""
    rows = len(stream.ts_ns)
    first = 2 * LEVELS
    is_delta = ~stream.is_trade
    is_delta[:first] = False
    kind = np.where(stream.is_trade, TRADE, DELTA).astype(np.uint8)
    kind[:first] = SNAPSHOT
    # updates of depth are numbered without a gap, and so are trades
    number = np.where(stream.is_trade, np.cumsum(stream.is_trade), first + np.cumsum(is_delta))
    ends = np.ones(rows, np.bool_)
    ends[: first - 1] = False
    return EventColumns(
        ts_init_ns=stream.ts_ns + feed_latency_ns,
        ts_event_ns=stream.ts_ns,
        kind=kind,
        side=stream.side,
        price_ticks=stream.price_ticks.astype(np.int64),
        size_lots=stream.size_lots.astype(np.int64),
        first_id=number,
        last_id=number,
        ends_message=ends,
    )


@numba.njit
def _write(stream: Any, at: int, now_ns: int, is_trade: bool, side: int, price: int, lots: int) -> int:
    """One row, unless there are enough; returns how many there are."""
    if at == len(stream.ts_ns):
        return at
    stream.ts_ns[at] = now_ns
    stream.is_trade[at] = is_trade
    stream.side[at] = side
    stream.price_ticks[at] = price
    stream.size_lots[at] = lots
    return at + 1


@numba.njit
def _lots(chance: Any, mean: float) -> int:
    return 1 + int(chance.exponential(mean))


@numba.njit
def _evolve(chance: Any, stream: Any, shown: Any) -> bool:
    """Fill the stream from a book that begins full; False when it left the window. `shown` are lots by side and tick."""
    outward = (-1, 1)
    best = np.array([MIDDLE_TICKS, MIDDLE_TICKS + 1])
    now_ns = START_NS
    at = 0
    for which in (BID, ASK):
        for level in range(LEVELS):
            price = best[which] + outward[which] * level
            shown[which, price] = _lots(chance, MEAN_LEVEL_LOTS)
            at = _write(stream, at, now_ns, False, -outward[which], price, shown[which, price])
    while at < len(stream.ts_ns):
        if best[BID] < 4 * LEVELS or best[ASK] > WINDOW_TICKS - 4 * LEVELS:
            return False
        now_ns += ROW_NS + int(chance.exponential(MEAN_GAP_NS))
        which = ASK if chance.random() + (best[BID] - MIDDLE_TICKS) / PULL_TICKS < 0.5 else BID
        price = best[which]
        drawn = chance.random()
        if drawn < TRADES:
            # a buyer meets the asks
            lots = min(_lots(chance, MEAN_TRADE_LOTS), shown[which, price])
            at = _write(stream, at, now_ns, True, outward[which], price, lots)
            now_ns += ROW_NS
            lots = shown[which, price] - lots
        elif drawn < TRADES + LEAVES:
            lots = 0
        elif drawn < TRADES + LEAVES + IMPROVES and best[ASK] - best[BID] > 1:
            price -= outward[which]
            lots = _lots(chance, MEAN_LEVEL_LOTS / 2)
        else:
            price += outward[which] * min(int(chance.exponential(MEAN_DISTANCE_TICKS)), LEVELS - 1)
            lots = _lots(chance, MEAN_LEVEL_LOTS)
        behind = price + outward[which]
        if lots == 0 and shown[which, behind] == 0:
            # the next level is there before the touch goes
            shown[which, behind] = _lots(chance, MEAN_LEVEL_LOTS)
            at = _write(stream, at, now_ns, False, -outward[which], behind, shown[which, behind])
            now_ns += ROW_NS
        shown[which, price] = lots
        at = _write(stream, at, now_ns, False, -outward[which], price, lots)
        if lots == 0:
            best[which] = behind
        elif (price - best[which]) * outward[which] < 0:
            best[which] = price
    return True
