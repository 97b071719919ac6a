"""Rolling statistics of one book, point in time: nothing received after the asked time is ever in an answer about it.

What is sampled is sampled on a fixed grid of whole UTC seconds of receive time, so that a burst of updates weighs no more
than a quiet second. The mid and the spread of a grid second are the last ones known *before* it; a second without events
repeats them. The imbalance of a grid second is that of the book at the first event from it on. While the book is not valid or
one-sided there is no mid, and the grid begins anew with the next one: a price that nobody knows is not sampled.

Volatility is the root mean square of the last 20 one-second log returns × √3600, so per hour; annualised with 365 × 24 hours
(for display). Depth score: 100 × min(1, Σ over 10 levels of size × mid ÷ (i + 1), averaged over both sides, ÷ reference).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Protocol

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Level, MarketEvent, Side, Trade
from autohedge.domain.measures import depth_score_of, imbalance_of, realised_volatility, spread_bps_of
from autohedge.domain.view import BookStatistics, TradeStatistics

NS_PER_S = 1_000_000_000
WINDOW_S = 100
"""Grid seconds over which spread and imbalance are averaged."""
VOLATILITY_RETURNS = 20
LATENCY_EVENTS = 1_000
TRADE_WINDOW_S = 60
MAX_TRADES = 1_000_000
"""A bound on memory, far above what any market prints in a window."""
IMBALANCE_LEVELS = 5
DEPTH_LEVELS = 10

_PER_YEAR_OF_HOURS = sqrt(365 * 24)
_TRADE_WINDOW_NS = TRADE_WINDOW_S * NS_PER_S


def depth_scale(instrument: Instrument, reference_quote: float) -> float:
    """What turns Σ lots ÷ level × twice the mid in ticks into a score, where `reference_quote` of depth scores 100."""
    return 100.0 * float(instrument.lot_size * instrument.tick_size) / 2.0 / 2.0 / reference_quote


class ReadableBook(Protocol):
    """The book as the statistics read it."""

    is_valid: bool
    best_bid_ticks: int
    best_bid_lots: int
    best_ask_ticks: int
    best_ask_lots: int

    @property
    def newest_update_id(self) -> int:
        """The newest update the book contains."""
        ...

    def levels(self, side: Side, n: int) -> Sequence[Level]:
        """Up to `n` displayed levels, best first."""
        ...


class RollingStatistics:
    """Statistics of one instrument's book and trades; `on_event` is to be called once per applied event, after the book.

    `depth_reference_quote` is the depth, in quote, that scores 100.
    """

    __slots__ = (
        "_ask_ticks",
        "_bid_ticks",
        "_depth_scale",
        "_imbalance_mean",
        "_imbalances",
        "_instrument",
        "_latencies_ns",
        "_latency_sum_ns",
        "_lot",
        "_mids",
        "_next_ns",
        "_spread_mean_bps",
        "_spreads_bps",
        "_tick",
        "_trades",
        "_volatility",
    )

    def __init__(self, instrument: Instrument, depth_reference_quote: float = 100_000) -> None:
        self._instrument = instrument
        self._depth_scale = depth_scale(instrument, depth_reference_quote)
        # as ratios, because a quotient of integers is the float nearest to the price, and a product with 0.01 is not
        self._tick = instrument.tick_size.as_integer_ratio()
        self._lot = instrument.lot_size.as_integer_ratio()
        self._bid_ticks = self._ask_ticks = 0  # the last uncrossed best prices; 0 while there are none
        self._next_ns = 0  # the next grid second; 0 before the first mid
        # one more than the returns need, and what a question about a time up to WINDOW_S back may need more
        self._mids: deque[int] = deque(maxlen=WINDOW_S + VOLATILITY_RETURNS + 1)
        self._spreads_bps: deque[float] = deque(maxlen=WINDOW_S)
        self._imbalances: deque[float] = deque(maxlen=WINDOW_S)
        self._spread_mean_bps: float | None = None
        self._imbalance_mean: float | None = None
        self._volatility: tuple[int, float | None] = (0, None)
        self._latencies_ns: deque[int] = deque()
        self._latency_sum_ns = 0
        self._trades: deque[Trade] = deque(maxlen=MAX_TRADES)

    # --- what happens --------------------------------------------------------------------------------------------------

    def on_event(self, event: MarketEvent, book: ReadableBook) -> None:
        """Take an event that was received and, if it was one for the book, has just been applied to `book`."""
        ts_ns = event.ts_init_ns
        if ts_ns >= self._next_ns:
            self._cross_grid(ts_ns, book)
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if bid < ask:
            self._bid_ticks = bid  # 0 when there are no bids
            self._ask_ticks = ask
        elif not ask:
            self._bid_ticks = 0
        if event.ts_event_ns:
            latency_ns = ts_ns - event.ts_event_ns
            self._latency_sum_ns += latency_ns
            latencies = self._latencies_ns
            latencies.append(latency_ns)
            if len(latencies) > LATENCY_EVENTS:
                self._latency_sum_ns -= latencies.popleft()
        if isinstance(event, Trade):
            trades = self._trades
            trades.append(event)
            while trades[0].ts_init_ns < ts_ns - 2 * _TRADE_WINDOW_NS:
                trades.popleft()

    def _cross_grid(self, ts_ns: int, book: ReadableBook) -> None:
        """Sample the grid seconds up to `ts_ns` from what was known before the event that crossed them."""
        crossed = (ts_ns - self._next_ns) // NS_PER_S + 1
        bid, ask = self._bid_ticks, self._ask_ticks
        if not bid:
            self._mids.clear()
            self._spreads_bps.clear()
            self._imbalances.clear()
            self._spread_mean_bps = self._imbalance_mean = None
        else:
            spread_bps = spread_bps_of(bid, ask)
            imbalance = self.imbalance(book)
            for _ in range(min(crossed, self._mids.maxlen or 0)):
                self._mids.append(bid + ask)
                self._spreads_bps.append(spread_bps)
                self._imbalances.append(imbalance)
            self._spread_mean_bps = sum(self._spreads_bps) / len(self._spreads_bps)
            self._imbalance_mean = sum(self._imbalances) / len(self._imbalances)
        self._next_ns = (ts_ns // NS_PER_S + 1) * NS_PER_S

    def take_up(
        self,
        *,
        best_ticks: tuple[int, int],
        next_grid_ns: int,
        mids_twice_ticks: Sequence[int],
        spreads_bps: Sequence[float],
        imbalances: Sequence[float],
        latencies_ns: Sequence[int],
        trades: Iterable[Trade],
    ) -> None:
        """Go on from what another driver of these rules has sampled, in place of having seen the events."""
        self._bid_ticks, self._ask_ticks = best_ticks
        self._next_ns = next_grid_ns
        self._mids.extend(mids_twice_ticks)
        self._spreads_bps.extend(spreads_bps)
        self._imbalances.extend(imbalances)
        self._spread_mean_bps = sum(spreads_bps) / len(spreads_bps) if spreads_bps else None
        self._imbalance_mean = sum(imbalances) / len(imbalances) if imbalances else None
        self._latencies_ns.extend(latencies_ns)
        self._latency_sum_ns = sum(latencies_ns)
        self._trades.extend(trades)

    # --- what is known ---------------------------------------------------------------------------------------------------

    def snapshot(self, book: ReadableBook, now_ns: int) -> BookStatistics | None:
        """All statistics of the book at `now_ns`; None without a valid, two-sided, uncrossed book."""
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if not book.is_valid or not 0 < bid < ask:
            return None
        bid_lots, ask_lots = book.best_bid_lots, book.best_ask_lots
        spread_bps, imbalance = spread_bps_of(bid, ask), self.imbalance(book)
        volatility = self.volatility_per_hour(now_ns)
        unit, per = self._tick
        latencies = len(self._latencies_ns)
        return BookStatistics(
            symbol=self._instrument.symbol,
            as_of_ns=now_ns,
            sequence=book.newest_update_id,
            best_bid=bid * unit / per,
            best_ask=ask * unit / per,
            mid_price=(bid + ask) * unit / (2 * per),
            microprice=(bid * ask_lots + ask * bid_lots) * unit / ((bid_lots + ask_lots) * per),
            spread_bps=spread_bps,
            spread_bps_mean=spread_bps if self._spread_mean_bps is None else self._spread_mean_bps,
            imbalance=imbalance,
            imbalance_mean=imbalance if self._imbalance_mean is None else self._imbalance_mean,
            volatility=volatility,
            volatility_annualised=None if volatility is None else volatility * _PER_YEAR_OF_HOURS,
            depth_score=self.depth_score(book),
            avg_latency_ms=self._latency_sum_ns / latencies / 1e6 if latencies else None,
        )

    def volatility_per_hour(self, now_ns: int) -> float | None:
        """σ per hour of the mid on the 1 s grid up to `now_ns`; None with fewer than 20 returns. Cheap within a second."""
        second = now_ns // NS_PER_S
        if self._volatility[0] != second or second * NS_PER_S >= self._next_ns:
            self._volatility = (second, self._measured_volatility(second))
        return self._volatility[1]

    def _measured_volatility(self, second: int) -> float | None:
        mids = list(self._mids)
        # grid seconds since the last sample (a quiet market repeats the mid), or samples that are younger than the question
        ahead = second - (self._next_ns // NS_PER_S - 1)
        if ahead > 0 and self._bid_ticks:
            mids += [self._bid_ticks + self._ask_ticks] * min(ahead, VOLATILITY_RETURNS + 1)
        elif ahead < 0:
            del mids[max(0, len(mids) + ahead) :]
        if len(mids) <= VOLATILITY_RETURNS:
            return None
        last = len(mids) - 1
        return realised_volatility(mids, last - VOLATILITY_RETURNS, last)

    def trades(self, now_ns: int) -> TradeStatistics:
        """Public trades received in the 60 s up to `now_ns`."""
        since_ns = now_ns - _TRADE_WINDOW_NS
        window = [trade for trade in self._trades if since_ns < trade.ts_init_ns <= now_ns]
        if not window:
            return TradeStatistics(float(TRADE_WINDOW_S), 0, 0.0, None, None, None, None, None, None)
        lots = sum(trade.size_lots for trade in window)
        prices = [trade.price_ticks for trade in window]
        (unit, per), (base, per_base) = self._tick, self._lot
        return TradeStatistics(
            window_s=float(TRADE_WINDOW_S),
            trade_count=len(window),
            volume_base=lots * base / per_base,
            buy_volume_frac=sum(trade.size_lots for trade in window if trade.aggressor is BUY) / lots,
            vwap=sum(trade.price_ticks * trade.size_lots for trade in window) * unit / (lots * per),
            high=max(prices) * unit / per,
            low=min(prices) * unit / per,
            last_price=prices[-1] * unit / per,
            return_bps=(prices[-1] / prices[0] - 1.0) * 1e4,
        )

    def depth_score(self, book: ReadableBook) -> float:
        """0–100, how much rests near the mid; 0 for a one-sided or empty book."""
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if not bid or not ask:
            return 0.0
        weighted = 0.0
        for side in (BUY, SELL):
            for i, (_, lots) in enumerate(book.levels(side, DEPTH_LEVELS), 1):
                weighted += lots / i
        return depth_score_of(weighted, bid + ask, self._depth_scale)

    def imbalance(self, book: ReadableBook) -> float:
        """(bids − asks) ÷ (bids + asks) of the sizes of the best five levels: −1 only asks … +1 only bids; 0 when empty."""
        bids = sum([lots for _, lots in book.levels(BUY, IMBALANCE_LEVELS)])
        asks = sum([lots for _, lots in book.levels(SELL, IMBALANCE_LEVELS)])
        return imbalance_of(bids, asks)
