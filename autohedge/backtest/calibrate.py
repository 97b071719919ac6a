"""Calibration of the quoting models from a market feed: what is measured, how, and as a picture.

The book is kept as a session keeps it. σ comes from its mid on a fixed grid of receive time; A and k from market orders. Trades
of the same aggressor and venue time that follow each other are one order: the venue prints each level that an order took.

An order's depth is taken from the mid of *the book it met*: the newest book, of those shown in the last 250 ms, whose best
price is the order's first print. The book received last is often not that one: best prices and trades come on separate
streams, and in busy moments the best prices that a sweep left behind arrive before its trades. Measured from those, an order
would seem to have reached nothing, or to trade on the wrong side of the mid. Orders whose book is not found are counted and
left out.

Where the book is not valid, or nothing was received for a minute, nothing is observed: no mid is sampled and no order counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, MarketEvent, Side, Trade
from autohedge.errors import ConfigError
from autohedge.market.sync import Applied, SyncedBook
from autohedge.market_maker.calibration import (
    IntensityFit,
    MarketOrder,
    Window,
    equivalent_horizon_s,
    fit_intensity,
    risk_aversion_for,
)
from autohedge.market_maker.models import glft_closed, inventory_step
from autohedge.market_maker.volatility import CalibrationRefused, VolatilityEstimate, estimate_volatility
from autohedge.ports import MarketFeed

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
LOOKBACK_NS = 250 * NS_PER_MS
"""How much older than the trade's message the book that the order met may be."""
SILENCE_NS = 60 * NS_PER_S
"""A silence longer than this is a hole in the data and not a quiet market."""
LEAST_PLACED_FRAC = 0.9
"""A and k are refused when the book was found for fewer of the orders: those that are missing are the ones that swept."""
DOUBTED_UNPLACED_FRAC = 0.02


class MarketObserver:
    """Mids on a grid, market orders and observed windows, from events in order of arrival.

    `on_event` takes each event once, `finish` ends the last window. `mid_stretches` are mids in half ticks, `grid_ns` apart;
    `trades` and `market_orders` are all that were seen, `outside_trades` those that printed outside the best prices received
    last, `late_orders` those whose book had been replaced already, `unplaced_orders` those whose book was not found.
    """

    def __init__(self, grid_ns: int) -> None:
        self.grid_ns = grid_ns
        self.mid_stretches: list[list[int]] = []
        self.orders: list[MarketOrder] = []
        self.windows: list[Window] = []
        self.trades = self.outside_trades = 0
        self.market_orders = self.late_orders = self.unplaced_orders = 0
        self.first_ns = self.last_ns = self.mid_half_ticks = 0
        self._sync = SyncedBook(OrderBook())
        self._books: deque[tuple[int, int, int]] = deque()  # (since, best bid, best ask); empty while nothing is observed
        self._window_from_ns = self._next_grid_ns = 0
        self._order: tuple[Side, int] | None = None
        self._order_ns = self._order_mid_half_ticks = self._order_worst_ticks = 0

    def on_event(self, event: MarketEvent) -> None:
        """Take the next event."""
        ts_ns = event.ts_init_ns
        if self._books and ts_ns - self.last_ns > SILENCE_NS:
            self._stop_observing(self.last_ns)
        self.first_ns = self.first_ns or ts_ns
        self._sample_grid(ts_ns)
        self.last_ns = ts_ns
        applied = self._sync.apply(event)
        if isinstance(event, Trade):
            if applied is Applied.APPLIED and self._books:
                self._on_trade(event)
        elif not self._sync.is_synced:
            if self._books:
                self._stop_observing(ts_ns)
        elif applied is Applied.APPLIED:
            self._on_book(ts_ns)

    def finish(self) -> None:
        """No event comes any more."""
        if self._books:
            self._stop_observing(self.last_ns + 1)

    def _on_book(self, ts_ns: int) -> None:
        book = self._sync.book
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if not 0 < bid < ask:
            return  # one-sided or crossed: the last good prices stand until it is over
        books = self._books
        if not books:
            self._window_from_ns = ts_ns
            self._next_grid_ns = (ts_ns // self.grid_ns + 1) * self.grid_ns
            self.mid_stretches.append([])
        elif books[-1][1:] == (bid, ask):
            return
        books.append((ts_ns, bid, ask))
        self.mid_half_ticks = bid + ask
        while len(books) > 1 and books[1][0] <= ts_ns - LOOKBACK_NS:
            books.popleft()

    def _on_trade(self, trade: Trade) -> None:
        _, bid, ask = self._books[-1]
        self.trades += 1
        self.outside_trades += not bid <= trade.price_ticks <= ask
        order = (trade.aggressor, trade.ts_event_ns or trade.ts_init_ns)
        if order != self._order:
            self._end_order()
            self._order, self._order_ns = order, trade.ts_init_ns
            self._order_mid_half_ticks, self._order_worst_ticks = self._mid_met(trade), trade.price_ticks
        elif (trade.price_ticks - self._order_worst_ticks) * trade.aggressor > 0:
            self._order_worst_ticks = trade.price_ticks

    def _mid_met(self, first: Trade) -> int:
        """The mid, in half ticks, of the book that the order met; 0 when it is not found."""
        self.market_orders += 1
        until_ns = first.ts_init_ns + 1
        for since_ns, bid, ask in reversed(self._books):
            if until_ns <= first.ts_init_ns - LOOKBACK_NS:
                break
            if first.price_ticks == (ask if first.aggressor is BUY else bid):
                self.late_orders += until_ns <= first.ts_init_ns
                return bid + ask
            until_ns = since_ns
        self.unplaced_orders += 1
        return 0

    def _end_order(self) -> None:
        if self._order is not None and self._order_mid_half_ticks:
            side, mid = self._order[0], self._order_mid_half_ticks
            self.orders.append(MarketOrder(self._order_ns, side, side * (2 * self._order_worst_ticks - mid)))
        self._order = None

    def _sample_grid(self, ts_ns: int) -> None:
        """The grid points up to `ts_ns`, each with the mid known before it."""
        if self._books:
            mids = self.mid_stretches[-1]
            while self._next_grid_ns <= ts_ns:
                mids.append(self.mid_half_ticks)
                self._next_grid_ns += self.grid_ns

    def _stop_observing(self, ts_ns: int) -> None:
        self._end_order()
        if ts_ns > self._window_from_ns:
            self.windows.append(Window(self._window_from_ns, ts_ns))
        self._books.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a market gave: σ, A and k, or the reasons why not; and how the orders were found.

    A number that is None has its refusal in `refusals`, by name (sigma, intensity). `observed_s` is the time with a book.
    """

    instrument: Instrument
    source: str
    simulated: bool
    first_ns: int
    last_ns: int
    observed_s: float
    mid_ticks: float
    trades: int
    outside_trades: int
    market_orders: int
    late_orders: int
    unplaced_orders: int
    volatility: VolatilityEstimate | None
    intensity: IntensityFit | None
    refusals: dict[str, CalibrationRefused]

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the numbers, a sentence each."""
        found = [*(self.volatility.doubts if self.volatility else ()), *(self.intensity.doubts if self.intensity else ())]
        if self.unplaced_orders > DOUBTED_UNPLACED_FRAC * self.market_orders:
            found.append(f"the book that an order met was not found for {self.unplaced_orders} of {self.market_orders} orders")
        return tuple(found)

    def suggestion(self, orders_to_mid: int) -> Suggestion | None:
        """Settings for the literature's models; None where σ, A or k is refused. Raises `ConfigError` for a wrong number."""
        if self.volatility is None or self.intensity is None:
            return None
        sigma, k, a = self.volatility.sigma, self.intensity.k, self.intensity.a
        gamma = risk_aversion_for(sigma, k, a, orders_to_mid)
        return Suggestion(
            orders_to_mid=orders_to_mid,
            risk_aversion=gamma,
            intensity_decay_per_tick=k,
            arrival_rate_per_s=a,
            horizon_s=equivalent_horizon_s(sigma, gamma, k, a),
            half_spread_ticks=glft_closed(0.0, sigma, gamma, k, a, 0.0, 0.0)[1],
            step_ticks=inventory_step(sigma, gamma, k, a),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Settings that follow from a calibration and one choice, and what the models then quote at the measured σ.

    The choice: `orders_to_mid` orders of inventory bring the reducing quote to the mid; that sets `risk_aversion`. With
    `horizon_s` Avellaneda–Stoikov quotes the same as the closed form of GLFT: `half_spread_ticks` from the mid when flat, and
    both quotes moved by `step_ticks` per order held.
    """

    orders_to_mid: int
    risk_aversion: float
    intensity_decay_per_tick: float
    arrival_rate_per_s: float
    horizon_s: float
    half_spread_ticks: float
    step_ticks: float

    def settings(self, quoting_model: str = "glft") -> dict[str, str | float]:
        """The fields of `MarketMakingConfig`, numbers to four digits; σ is not among them, a maker measures it as it goes."""
        return {
            "quoting_model": quoting_model,
            "risk_aversion": _four_digits(self.risk_aversion),
            "intensity_decay_per_tick": _four_digits(self.intensity_decay_per_tick),
            "arrival_rate_per_s": _four_digits(self.arrival_rate_per_s),
            "horizon_s": _four_digits(self.horizon_s),
        }


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")


async def calibrate(
    feed: MarketFeed,
    *,
    grid_s: float = 1.0,
    from_ticks: float | None = None,
    to_ticks: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Calibrate on all of a feed; `from_ticks` and `to_ticks` bound the depths that A and k are fitted over.

    `on_progress` is called with (messages so far, time of the last) after each batch. Raises `ConfigError` for a grid or depths
    that make no sense, `MarketDataError` when the feed fails; what the data cannot support is in `refusals`.
    """
    if not 0.001 <= grid_s <= 3_600.0:
        raise ConfigError(f"the grid of the mid: expected 1 ms to 1 h, found {grid_s:g} s")
    if not 0.0 <= (from_ticks or 0.0) < (float("inf") if to_ticks is None else to_ticks):
        raise ConfigError(f"depths of the fit: expected 0 <= from < to, found {from_ticks} to {to_ticks}")
    observer = MarketObserver(round(grid_s * NS_PER_S))
    messages = 0
    async for batch in feed.batches():
        for event in batch:
            observer.on_event(event)
        messages += len(batch)
        if on_progress is not None:
            on_progress(messages, observer.last_ns)
    observer.finish()
    refusals: dict[str, CalibrationRefused] = {}
    volatility: VolatilityEstimate | None = None
    intensity: IntensityFit | None = None
    try:
        volatility = estimate_volatility(observer.mid_stretches, observer.grid_ns / NS_PER_S)
    except CalibrationRefused as refused:
        refusals["sigma"] = refused
    try:
        intensity = _intensity(observer, from_ticks, to_ticks)
    except CalibrationRefused as refused:
        refusals["intensity"] = refused
    return Calibration(
        instrument=feed.instrument,
        source=feed.description,
        simulated=feed.simulated,
        first_ns=observer.first_ns,
        last_ns=observer.last_ns,
        observed_s=sum(window.end_ns - window.start_ns for window in observer.windows) / NS_PER_S,
        mid_ticks=observer.mid_half_ticks / 2.0,
        trades=observer.trades,
        outside_trades=observer.outside_trades,
        market_orders=observer.market_orders,
        late_orders=observer.late_orders,
        unplaced_orders=observer.unplaced_orders,
        volatility=volatility,
        intensity=intensity,
        refusals=refusals,
    )


def _intensity(observer: MarketObserver, from_ticks: float | None, to_ticks: float | None) -> IntensityFit:
    placed = observer.market_orders - observer.unplaced_orders
    if placed < LEAST_PLACED_FRAC * observer.market_orders:
        raise CalibrationRefused(
            "missing_book",
            f"the book that an order met was found for {placed} of {observer.market_orders} orders only: its best prices "
            f"were not shown within {LOOKBACK_NS // NS_PER_MS} ms before the trades",
        )
    return fit_intensity(observer.orders, observer.windows, from_ticks=from_ticks, to_ticks=to_ticks)
