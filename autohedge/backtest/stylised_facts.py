"""The stylised facts of a market, measured from its public messages, and the bands in which they are usually found.

Promises: only what a participant could see is used, in order of arrival, so a recorded session, the simulated market and a
live one are measured alike; each number comes with its standard error. Refuses a market that is too short or too quiet to be
measured (`MarketDataError`).

Mids are half the sum of the best prices; returns are differences of their logarithms on a grid of whole seconds since the
first two-sided book, each the last known before its second. Trades of one side that the venue executed at one instant are one
*order*. Standard errors are those of `autohedge.backtest.jackknife`.

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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autohedge.backtest.jackknife import (
    NAN,
    NOTHING,
    Estimate,
    Floats,
    average,
    dispersion,
    estimate,
    hill,
    kurtosis,
    memory,
    products,
    quantile_ratio,
    ratio,
    share,
    variation,
)
from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, MarketEvent, Side, Trade
from autohedge.errors import MarketDataError
from autohedge.market.sync import SyncedBook
from autohedge.ports import MarketFeed

Ints = NDArray[np.int64]

MIN_SECONDS = 300
MIN_ORDERS = 200
LONGEST_SILENCE_S = 600
DEPTH_BPS = 10
"""Displayed sizes are looked at up to so many basis points from the mid."""

_S = 1_000_000_000
_SIGN_LAGS = 30
_MANY_LEVELS = 10_000


class Fact(NamedTuple):
    """What a number says, where it comes from, and the band `low` … `high` in which it is to be found."""

    low: float
    high: float
    meaning: str
    sources: str

    def holds(self, measured: Estimate) -> bool:
        """Whether the value is within the band; NaN is not."""
        return self.low <= measured.value <= self.high


FACTS: Mapping[str, Fact] = MappingProxyType(
    {
        "kurtosis_1s": Fact(2.0, 60.0, "excess kurtosis of 1 s returns", "[1]"),
        "kurtosis_10s": Fact(0.4, 20.0, "excess kurtosis of 10 s returns: less than of 1 s", "[1]"),
        "tail_index": Fact(1.5, 3.4, "Hill index of the largest 5 % of 1 s returns", "[1] [11]"),
        "clustering_near": Fact(0.02, 0.5, "autocorrelation of the sizes of 1 s returns, mean of lags 1 to 5 s", "[1] [2]"),
        "clustering_far": Fact(0.005, 0.3, "the same, mean of lags 6 to 30 s", "[1] [2]"),
        "return_memory": Fact(-0.05, 0.05, "autocorrelation of 1 s returns, mean of lags 2 to 10 s", "[1]"),
        "variance_ratio": Fact(0.7, 1.5, "variance of 10 s returns ÷ 10 × that of 1 s returns", "[10]"),
        "one_tick_frac": Fact(0.5, 1.0, "share of time with a spread of one tick", "[5]"),
        "wide_frac": Fact(0.002, 0.15, "share of time with a spread above three ticks", "[5]"),
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
        "depletion_frac": Fact(0.22, 0.6, "share of orders whose best price is gone 100 ms later", "[9]"),
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

    Raises `MarketDataError` for less than `MIN_SECONDS` of a two-sided book, for fewer than `MIN_ORDERS` orders, and for a
    silence of more than `LONGEST_SILENCE_S`.
    """
    watcher = _Watcher()
    for event in events:
        watcher.take(event)
    return _facts(watcher.seen())


async def measure_feed(feed: MarketFeed) -> StylisedFacts:
    """The facts of the market that a feed gives, to its end; its events are not kept. Raises as `measure` and the feed do."""
    watcher = _Watcher()
    async for batch in feed.batches():
        for event in batch:
            watcher.take(event)
    return _facts(watcher.seen())


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
            if event.ts_init_ns > self._next_ns + LONGEST_SILENCE_S * _S:
                raise MarketDataError(
                    f"expected messages at least every {LONGEST_SILENCE_S} s to measure stylised facts, "
                    f"found none for {(event.ts_init_ns - self._next_ns) // _S} s; measure the sessions one by one"
                )
            while event.ts_init_ns >= self._next_ns:
                self.depth.append(_depth(self.synced.book))
                self._next_ns += _S
        self.synced.apply(event)
        if isinstance(event, Trade):
            self._trade(event)
        else:
            self._top(event.ts_init_ns)

    def seen(self) -> _Seen:
        """All of it. Raises `MarketDataError` when it is too little to measure."""
        seconds, orders = len(self.depth), len(self.orders)
        if seconds < MIN_SECONDS or orders < MIN_ORDERS:
            raise MarketDataError(
                f"expected at least {MIN_SECONDS} s of a two-sided book and {MIN_ORDERS} orders to measure stylised facts, "
                f"found {seconds} s and {orders}; take a longer session"
            )
        return _Seen(np.array(self.tops), np.array(self.orders), np.array(self.depth))

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


# --- the facts ---------------------------------------------------------------------------------------------------------


def _facts(seen: _Seen) -> StylisedFacts:
    tops, orders = seen.tops, seen.orders
    grid = tops[0, 0] + _S * np.arange(1, len(seen.depth) + 1)
    each_second = _known_at(tops, grid)
    mids = np.log(each_second[:, 1] + each_second[:, 3]) * 1e4
    estimates = {
        **_of_returns(np.diff(mids), mids[10:] - mids[:-10]),
        **_of_book(tops, int(grid[-1]), each_second, seen.depth),
        **_of_flow(orders, grid),
        **_of_imbalance(each_second, tops),
        **_of_impact(tops, orders, float(np.diff(mids).std())),
    }
    profile = seen.depth.mean(axis=0)
    return StylisedFacts(
        float(len(grid)),
        float(len(orders)),
        MappingProxyType({name: estimates[name] for name in FACTS}),
        tuple(map(float, profile / profile[0])) if profile[0] else (NAN,) * DEPTH_BPS,
    )


def _of_returns(returns: Floats, ten_s: Floats) -> dict[str, Estimate]:
    sizes = np.abs(returns)
    return {
        "kurtosis_1s": estimate(kurtosis, returns),
        "kurtosis_10s": estimate(kurtosis, ten_s),
        "tail_index": estimate(hill, sizes),
        "clustering_near": memory(sizes, range(1, 6)),
        "clustering_far": memory(sizes, range(6, 31)),
        "return_memory": memory(returns, range(2, 11)),
        "variance_ratio": estimate(ratio, ten_s**2 / 10, returns[: len(ten_s)] ** 2),
    }


def _of_book(tops: Ints, end_ns: int, each_second: Ints, depth: Floats) -> dict[str, Estimate]:
    spreads = tops[:, 3] - tops[:, 1]
    lasted = np.diff(np.append(tops[:, 0], max(end_ns, tops[-1, 0]))).astype(float)
    return {
        "one_tick_frac": estimate(ratio, lasted * (spreads == 1), lasted),
        "wide_frac": estimate(ratio, lasted * (spreads > 3), lasted),
        "touch_dispersion": estimate(quantile_ratio(0.9), each_second[:, [2, 4]].astype(float)),
        "depth_behind": estimate(ratio, depth[:, 1:].mean(axis=1), depth[:, 0]),
    }


def _of_flow(orders: Ints, grid: Ints) -> dict[str, Estimate]:
    signs, sizes = orders[:, 1].astype(float), orders[:, 3].astype(float)
    intervals = np.diff(orders[:, 0]) / _S
    counts = np.histogram(orders[:, 0], bins=grid[::10])[0].astype(float)
    return {
        "sign_memory_1": memory(signs, range(1, 2)),
        "sign_memory_10": memory(signs, range(6, 16)),
        "sign_exponent": estimate(_decay, *products(signs, range(1, _SIGN_LAGS + 1))),
        "size_dispersion": estimate(quantile_ratio(0.99), sizes),
        "size_tail_index": estimate(hill, sizes),
        "interval_variation": estimate(variation, intervals),
        "arrival_dispersion": estimate(dispersion, counts),
        "walk_frac": share(orders[:, 4] > 1),
    }


def _of_imbalance(each_second: Ints, tops: Ints) -> dict[str, Estimate]:
    imbalances = _imbalance(each_second)
    mids = tops[:, 1] + tops[:, 3]
    moves = np.flatnonzero(np.diff(mids))  # the mid moves after each of these
    before = np.arange(moves[-1] + 1) if len(moves) else np.arange(0)
    following = moves[np.searchsorted(moves, before)]
    leaning = _imbalance(tops[before])
    clear = np.abs(leaning) > 0.5
    foretold = np.sign(mids[following + 1] - mids[following]) == np.sign(leaning)
    return {
        "imbalance_memory_1s": memory(imbalances, range(1, 2)),
        "imbalance_memory_30s": memory(imbalances, range(30, 31)),
        "imbalance_foretells": share(foretold[clear]),
    }


def _of_impact(tops: Ints, orders: Ints, sigma_bps: float) -> dict[str, Estimate]:
    at_ns, side, price = orders[:, 0], orders[:, 1], orders[:, 2]
    before = _log_mids(_known_at(tops, at_ns - 1))

    def response(after_ns: int) -> Estimate:
        moved = side * (_log_mids(_known_at(tops, at_ns + after_ns)) - before)
        return estimate(average, moved / sigma_bps) if sigma_bps else NOTHING

    soon = _known_at(tops, at_ns + _S // 10)
    return {
        "response_100ms": response(_S // 10),
        "response_1s": response(_S),
        "response_10s": response(10 * _S),
        "depletion_frac": share(np.where(side == BUY, soon[:, 3] > price, soon[:, 1] < price)),
    }


# --- arithmetic --------------------------------------------------------------------------------------------------------


def _known_at(tops: Ints, at_ns: Ints) -> Ints:
    """The best prices known at each time; the first ones before any were known."""
    return tops[np.maximum(np.searchsorted(tops[:, 0], at_ns, side="right") - 1, 0)]


def _log_mids(tops: Ints) -> Floats:
    """Logarithms of twice the mid, in bps."""
    return np.asarray(np.log(tops[:, 1] + tops[:, 3]) * 1e4)


def _imbalance(tops: Ints) -> Floats:
    bids, asks = tops[:, 2].astype(float), tops[:, 4].astype(float)
    return np.asarray((bids - asks) / (bids + asks))


def _decay(by_lag: Floats, squares: Floats) -> float:
    """Minus the slope of log autocorrelation on log lag, over the lags before the first where it is not positive."""
    total = float(squares.sum())
    correlations = by_lag.sum(axis=0) / total if total else np.zeros(by_lag.shape[1])
    lags = int(np.argmax(correlations <= 0)) if (correlations <= 0).any() else len(correlations)
    if lags < 3:
        return NAN
    slope, _ = np.polyfit(np.log(np.arange(1, lags + 1)), np.log(correlations[:lags]), 1)
    return -float(slope)
