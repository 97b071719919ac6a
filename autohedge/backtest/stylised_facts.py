"""The stylised facts of a market, measured from its public messages, and the bands in which they are usually found.

Promises: only what a participant could see is used, in order of arrival, so a recorded session, the simulated market and a
live one are measured alike; each number comes with its standard error. Refuses a market that is too short or too quiet to be
measured (`MarketDataError`).

Mids are half the sum of the best prices; returns are differences of their logarithms on a grid of whole seconds since the
first two-sided book, each the last known before its second. Trades of one side that the venue executed at one instant are one
*order*. Standard errors are those of the jackknife that leaves out one of twenty stretches of time in turn (Künsch 1989, "The
jackknife and the bootstrap for general stationary observations"), so what hangs together within a stretch is not counted twice.

Sources, by the number given in `FACTS`: [1] Cont 2001, "Empirical properties of asset returns"; [2] Ding, Granger and Engle
1993, "A long memory property of stock market returns"; [3] Lillo and Farmer 2004, "The long memory of the efficient market";
[4] Bouchaud, Gefen, Potters and Wyart 2004, "Fluctuations and response in financial markets"; [5] Bouchaud, Mézard and Potters
2002, "Statistical properties of stock order books"; [6] Gould and Bonart 2016, "Queue imbalance as a one-tick-ahead price
predictor"; [7] Gopikrishnan, Plerou, Gabaix and Stanley 2000, "Statistical properties of share volume traded"; [8] Engle and
Russell 1998, "Autoregressive conditional duration"; [9] Farmer, Gillemot, Lillo, Mike and Sen 2004, "What really causes large
price changes?"; [10] Lo and MacKinlay 1988, "Stock market prices do not follow random walks"; [11] Hill 1975, "A simple general
approach to inference about the tail of a distribution".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, MarketEvent, Side, Trade
from autohedge.errors import MarketDataError
from autohedge.market.sync import SyncedBook

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_SECONDS = 300
MIN_ORDERS = 200
STRETCHES = 20
"""Stretches of time that the jackknife leaves out in turn."""
DEPTH_BPS = 10
"""Displayed sizes are looked at up to so many basis points from the mid."""

_S = 1_000_000_000
_TAIL_FRAC = 0.05
_SIGN_LAGS = 30
_MANY_LEVELS = 10_000


class Estimate(NamedTuple):
    """A measured number and its standard error; NaN where there is nothing to measure, or nothing varies."""

    value: float
    error: float


class Fact(NamedTuple):
    """What a number says, where it comes from, and the band `low` … `high` in which it is to be found."""

    low: float
    high: float
    meaning: str
    sources: str

    def holds(self, estimate: Estimate) -> bool:
        """Whether the value is within the band; NaN is not."""
        return self.low <= estimate.value <= self.high


_INF = float("inf")

FACTS: Mapping[str, Fact] = MappingProxyType(
    {
        "kurtosis_1s": Fact(2.0, 60.0, "excess kurtosis of 1 s returns", "[1]"),
        "kurtosis_10s": Fact(0.4, 20.0, "excess kurtosis of 10 s returns: less than of 1 s", "[1]"),
        "tail_index": Fact(1.5, 4.5, "Hill index of the largest 5 % of 1 s returns", "[1] [11]"),
        "clustering_near": Fact(0.02, 0.5, "autocorrelation of |1 s returns|, mean of lags 1 to 5 s", "[1] [2]"),
        "clustering_far": Fact(0.005, 0.3, "the same, mean of lags 6 to 30 s", "[1] [2]"),
        "return_memory": Fact(-0.05, 0.05, "autocorrelation of 1 s returns, mean of lags 2 to 10 s", "[1]"),
        "variance_ratio": Fact(0.7, 1.5, "variance of 10 s returns ÷ 10 × that of 1 s returns", "[10]"),
        "one_tick_frac": Fact(0.5, 1.0, "share of time with a spread of one tick", "[5]"),
        "wide_frac": Fact(0.003, 0.15, "share of time with a spread above three ticks", "[5]"),
        "touch_dispersion": Fact(1.5, 8.0, "sizes at the best prices, 90th percentile ÷ median", "[5]"),
        "depth_behind": Fact(0.5, 3.0, "depth per bp, 1 to 10 bps from the mid ÷ within 1 bp of it", "[5]"),
        "sign_memory_1": Fact(0.2, 0.8, "autocorrelation of order signs, lag 1", "[3] [4]"),
        "sign_memory_10": Fact(0.08, 0.5, "the same, mean of lags 6 to 15", "[3] [4]"),
        "sign_exponent": Fact(0.3, 1.1, "exponent of its decay as a power of the lag, lags 1 to 30", "[3] [4]"),
        "size_dispersion": Fact(20.0, 5_000.0, "order sizes, 99th percentile ÷ median", "[7]"),
        "size_tail_index": Fact(0.8, 4.0, "Hill index of the largest 5 % of order sizes", "[7] [11]"),
        "interval_variation": Fact(1.3, 4.0, "times between orders, standard deviation ÷ mean", "[8]"),
        "arrival_dispersion": Fact(5.0, 60.0, "orders in 10 s, variance ÷ mean", "[8]"),
        "imbalance_memory_1s": Fact(0.1, 0.8, "autocorrelation of the imbalance at the best prices, 1 s", "[6]"),
        "imbalance_memory_30s": Fact(-0.12, 0.12, "the same, 30 s: it reverts", "[6]"),
        "imbalance_foretells": Fact(0.6, 0.95, "share of next mid moves to the side of an imbalance above ½", "[6]"),
        "response_100ms": Fact(0.05, 0.6, "mean move of the mid with an order 100 ms later, in σ of 1 s", "[4]"),
        "response_1s": Fact(0.15, 0.9, "the same, 1 s later", "[4]"),
        "response_10s": Fact(0.2, 1.6, "the same, 10 s later", "[4]"),
        "walk_frac": Fact(0.03, 0.4, "share of orders that trade at more than one price", "[9]"),
        "depletion_frac": Fact(0.15, 0.6, "share of orders whose best price is gone 100 ms later", "[9]"),
    }
)


@dataclass(frozen=True, slots=True)
class StylisedFacts:
    """`estimates` by the names in `FACTS`; `seconds` and `orders` say from how much.

    `depth_profile`: mean displayed size in each basis point from the mid, in that of the first.
    """

    seconds: float
    orders: float
    estimates: Mapping[str, Estimate]
    depth_profile: tuple[float, ...]

    def outside(self) -> list[str]:
        """The names of the facts that are not within their bands."""
        return [name for name, fact in FACTS.items() if not fact.holds(self.estimates[name])]


def measure(events: Iterable[MarketEvent]) -> StylisedFacts:
    """The facts of one market from its events in order of arrival.

    Raises `MarketDataError` for less than `MIN_SECONDS` of a two-sided book or fewer than `MIN_ORDERS` orders.
    """
    return _facts(_watch(events))


def pooled(markets: Sequence[StylisedFacts]) -> StylisedFacts:
    """The mean over markets of one kind (seeds, days), at least two, with the standard error of that mean."""
    estimates = {}
    for name in FACTS:
        values = np.array([market.estimates[name].value for market in markets])
        estimates[name] = Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))
    profile = np.mean([market.depth_profile for market in markets], axis=0)
    return StylisedFacts(
        float(np.mean([market.seconds for market in markets])),
        float(np.mean([market.orders for market in markets])),
        MappingProxyType(estimates),
        tuple(map(float, profile)),
    )


# --- what is seen ------------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """`tops`: (ns, bid, bid lots, ask, ask lots) at each change. `orders`: (ns, side, first price, lots, prices) each.

    `depth`: displayed lots on both sides by whole basis points from the mid, each second.
    """

    tops: Ints
    orders: Ints
    depth: Floats


class _Watcher:
    """Keeps the book, and notes what the facts are made from."""

    def __init__(self) -> None:
        self.synced = SyncedBook(OrderBook())
        self.tops: list[tuple[int, int, int, int, int]] = []
        self.orders: list[list[int]] = []
        self.depth: list[list[float]] = []
        self._order: tuple[int, Side, int] | None = None
        self._next_ns = 0

    def take(self, event: MarketEvent) -> None:
        """The next event in order of arrival."""
        if self.tops:
            while event.ts_init_ns >= self._next_ns:
                self.depth.append(_depth(self.synced.book))
                self._next_ns += _S
        self.synced.apply(event)
        if isinstance(event, Trade):
            self._trade(event)
        else:
            self._top(event.ts_init_ns)

    def _trade(self, trade: Trade) -> None:
        at_ns = trade.ts_event_ns or trade.ts_init_ns
        if self._order is not None and self._order[:2] == (at_ns, trade.aggressor):
            order = self.orders[-1]
            order[3] += trade.size_lots
            order[4] += self._order[2] != trade.price_ticks
        elif self.tops:
            self.orders.append([trade.ts_init_ns, int(trade.aggressor), trade.price_ticks, trade.size_lots, 1])
        else:
            return
        self._order = (at_ns, trade.aggressor, trade.price_ticks)

    def _top(self, ts_ns: int) -> None:
        book = self.synced.book
        top = (book.best_bid_ticks, book.best_bid_lots, book.best_ask_ticks, book.best_ask_lots)
        if not 0 < top[0] < top[2]:
            return
        if not self.tops:
            self._next_ns = ts_ns + _S
        if not self.tops or self.tops[-1][1:] != top:
            self.tops.append((ts_ns, *top))


def _depth(book: OrderBook) -> list[float]:
    mid = (book.best_bid_ticks + book.best_ask_ticks) / 2
    shown = [0.0] * DEPTH_BPS
    for side in (BUY, SELL):
        for price, lots in book.levels(side, _MANY_LEVELS):
            bps = int(abs(price - mid) / mid * 1e4) if mid else DEPTH_BPS
            if bps >= DEPTH_BPS:
                break
            shown[bps] += lots
    return shown


def _watch(events: Iterable[MarketEvent]) -> _Seen:
    watcher = _Watcher()
    for event in events:
        watcher.take(event)
    seconds = len(watcher.depth)
    if seconds < MIN_SECONDS or len(watcher.orders) < MIN_ORDERS:
        raise MarketDataError(
            f"expected at least {MIN_SECONDS} s of a two-sided book and {MIN_ORDERS} orders to measure stylised facts from, "
            f"found {seconds} s and {len(watcher.orders)}; take a longer session"
        )
    return _Seen(np.array(watcher.tops), np.array(watcher.orders), np.array(watcher.depth))


# --- the facts ---------------------------------------------------------------------------------------------------------


def _facts(seen: _Seen) -> StylisedFacts:
    tops, orders = seen.tops, seen.orders
    grid = tops[0, 0] + _S * np.arange(1, len(seen.depth) + 1)
    each_second = _known_at(tops, grid)
    mids = np.log(each_second[:, 1] + each_second[:, 3]) * 1e4
    estimates = {
        **_of_returns(np.diff(mids), mids[10:] - mids[:-10]),
        **_of_book(each_second, seen.depth),
        **_of_flow(orders, grid),
        **_of_imbalance(each_second, tops),
        **_of_impact(tops, orders, float(np.diff(mids).std())),
    }
    profile = seen.depth.mean(axis=0)
    return StylisedFacts(
        float(len(grid)),
        float(len(orders)),
        MappingProxyType({name: estimates[name] for name in FACTS}),
        tuple(map(float, profile / profile[0])) if profile[0] else (float("nan"),) * DEPTH_BPS,
    )


def _of_returns(returns: Floats, ten_s: Floats) -> dict[str, Estimate]:
    sizes = np.abs(returns)
    near = [_autocorrelation(sizes, lag) for lag in range(1, 6)]
    far = [_autocorrelation(sizes, lag) for lag in range(6, 31)]
    return {
        "kurtosis_1s": _estimate(_kurtosis, returns),
        "kurtosis_10s": _estimate(_kurtosis, ten_s),
        "tail_index": _estimate(_hill, sizes),
        "clustering_near": _mean(near),
        "clustering_far": _mean(far),
        "return_memory": _mean([_autocorrelation(returns, lag) for lag in range(2, 11)]),
        "variance_ratio": _estimate(_ratio, _square(ten_s) / 10, _square(returns)[: len(ten_s)]),
    }
