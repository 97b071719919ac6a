"""A market whose σ, A and k are known: a random walk of best prices, one tick apart, and orders with exponential depths."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, BookSnapshot, MarketEvent, Side, TopOfBook, Trade
from autohedge.market.instruments import simulated_instrument
from autohedge.ports import FeedReport

S = 1_000_000_000
MS = 1_000_000
START_NS = 1_700_000_000 * S
PRICE = 1_000_000


class ListFeed:
    """A feed over a list of events."""

    simulated = True
    description = "a list of events"

    def __init__(self, events: Sequence[MarketEvent], instrument: Instrument | None = None) -> None:
        self.instrument = instrument or simulated_instrument("BTC/USDT")
        self.report = FeedReport()
        self._events = events

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        yield self._events


def at(seconds: float) -> int:
    """A time of receipt, so long after the start."""
    return START_NS + round(seconds * S)


def snapshot(seconds: float, update_id: int = 1, bid: int = PRICE) -> BookSnapshot:
    ts_ns = at(seconds)
    levels = range(1, 50)
    bids, asks = tuple((bid + 1 - n, 100) for n in levels), tuple((bid + n, 100) for n in levels)
    return BookSnapshot(ts_ns, ts_ns, update_id, bids, asks)


def top(seconds: float, update_id: int, bid: int = PRICE, ask: int | None = None) -> TopOfBook:
    return TopOfBook(0, at(seconds), update_id, bid, 100, bid + 1 if ask is None else ask, 100)


def trade(seconds: float, trade_id: int, price: int, side: Side = BUY, venue_s: float | None = None) -> Trade:
    return Trade(at(seconds if venue_s is None else venue_s), at(seconds), trade_id, price, 10, side)


def taker_market(seed: int, *, sigma: float, a: float, k: float, seconds: float) -> list[MarketEvent]:
    """σ in ticks/√s, a move every half second; A per second and side, k per tick; an order prints its first and last price."""
    rng = random.Random(seed)
    events: list[MarketEvent] = [snapshot(0.0)]
    mid, bid, update_id, trade_id = float(PRICE), PRICE, 1, 0
    arrivals = sorted((ts_s, side) for side in Side for ts_s in _times(rng, a, seconds))
    for step in range(1, int(2 * seconds)):
        while arrivals and arrivals[0][0] < step / 2:
            ts_s, side = arrivals.pop(0)
            reach = rng.expovariate(k)
            touch = bid + 1 if side is BUY else bid
            worst = touch + side * int(reach - 0.5)
            for price in dict.fromkeys((touch, worst)) if reach >= 0.5 else ():
                trade_id += 1
                events.append(trade(ts_s, trade_id, price, side))
        mid += rng.gauss(0, sigma / 2**0.5)
        bid, update_id = round(mid), update_id + 1
        events.append(top(step / 2, update_id, bid))
    return events


def _times(rng: random.Random, a: float, seconds: float) -> list[float]:
    times, ts_s = [], rng.expovariate(a)
    while ts_s < seconds:
        times.append(ts_s)
        ts_s += rng.expovariate(a)
    return times
