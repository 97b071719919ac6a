"""A market without any feature: what a measurement of stylised facts must tell from a real one.

The mid is a plain random walk, one tick up or down at exponential intervals; the spread is one tick; every level shows the
same size; orders of one size come at exponential intervals, buying or selling by the toss of a coin, and move nothing. A band
that this market meets says nothing about the market that is measured. Promises: exact messages, and the same for the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, Trade

LEVELS = 30
LEVEL_LOTS = 1_000
ORDER_LOTS = 100
START_TICKS = 10_000
"""One tick is one basis point, as in the simulated market."""
MOVES_PER_S = 5.0
ORDERS_PER_S = 2.0

_S = 1_000_000_000


def featureless_market(seed: int, duration_s: float, start_ns: int) -> Iterator[MarketEvent]:
    """The events of `duration_s` seconds from `start_ns` on, which arrive when they happen; the snapshot first."""
    random = Random(seed)
    now_ns, end_ns = start_ns, start_ns + round(duration_s * _S)
    bid, update_id, trade_id = START_TICKS, 1, 0
    levels = range(LEVELS)
    yield BookSnapshot(
        now_ns,
        now_ns,
        update_id,
        tuple((bid - behind, LEVEL_LOTS) for behind in levels),
        tuple((bid + 1 + behind, LEVEL_LOTS) for behind in levels),
    )
    while True:
        now_ns += 1 + round(random.expovariate(MOVES_PER_S + ORDERS_PER_S) * _S)
        if now_ns > end_ns:
            return
        if random.random() * (MOVES_PER_S + ORDERS_PER_S) < ORDERS_PER_S:
            side = random.choice((BUY, SELL))
            trade_id += 1
            yield Trade(now_ns, now_ns, trade_id, bid + 1 if side is BUY else bid, ORDER_LOTS, side)
            continue
        step = random.choice((1, -1)) if bid > LEVELS else 1
        update_id += 2
        if step > 0:
            bids, asks = ((bid + 1, LEVEL_LOTS), (bid + 1 - LEVELS, 0)), ((bid + 1, 0), (bid + 1 + LEVELS, LEVEL_LOTS))
        else:
            bids, asks = ((bid, 0), (bid - LEVELS, LEVEL_LOTS)), ((bid, LEVEL_LOTS), (bid + LEVELS, 0))
        bid += step
        yield BookDelta(now_ns, now_ns, update_id - 1, update_id, bids, asks)
