"""Backtests on bars, one bar at a time: a strategy is called with each bar that has ended, and what it sends trades later.

Promise: nothing of a bar is known before it has ended, and nothing sent on a bar trades in it. The rules of what a bar does to
an order are those of `autohedge.simulation.bar_matching`; the compiled runs of `autohedge.backtest.bar_kernel` use the same.
Long only: there is no margin and no short sale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

from autohedge.backtest.assumptions import Assumptions, FillAt
from autohedge.backtest.bar_result import account_over_bars, bar_result
from autohedge.backtest.bars import Bars
from autohedge.backtest.broker import Request, SimulatedBroker, SimulatedOrder, opposite
from autohedge.backtest.fill_table import fill_table
from autohedge.backtest.result import BacktestResult
from autohedge.backtest.strategy import Bar, History, Strategy
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.simulation.bar_matching import adverse_side, goes_through, share_lots
from autohedge.simulation.matching import is_marketable

CHUNK_BARS = 65_536
"""Bars turned into Python objects at a time."""


def run_bars(
    strategy: Strategy,
    bars: Bars,
    assumptions: Assumptions | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> BacktestResult:
    """Run `strategy` over `bars`; `on_progress` is told how many bars are done, every some ten thousand.

    What the strategy holds at the end is valued at the last close. Raises `ConfigError` for a strategy object that ran before.
    """
    run = BarRun(strategy, bars, assumptions)
    for first in range(0, len(bars), CHUNK_BARS):
        run.advance(first + CHUNK_BARS)
        if on_progress is not None:
            on_progress(run.done)
    return run.finish()


class BarRun:
    """A run that can pause between two bars, for whoever has something to do there; `done` bars have been taken."""

    def __init__(self, strategy: Strategy, bars: Bars, assumptions: Assumptions | None = None) -> None:
        self.bars = bars
        self.assumptions = assumptions or Assumptions()
        self.done = 0
        self._strategy = strategy
        self._broker = BarBroker(strategy, bars, self.assumptions)
        strategy.start(self._broker)

    @property
    def fills(self) -> int:
        """How many there were so far."""
        return len(self._broker.fills)

    def advance(self, until: int) -> None:
        """Take all bars before number `until`, as far as there are any."""
        broker, on_bar, at_close = self._broker, self._strategy.on_bar, self.assumptions.fill_at is FillAt.CLOSE
        until = min(until, len(self.bars))
        while self.done < until:
            last = min(self.done + CHUNK_BARS, until)
            for broker.event, bar in enumerate(_bar_objects(self.bars, self.done, last), self.done):
                if broker.requests or (broker.working and broker.is_concerned(bar)):
                    broker.match()
                on_bar(bar)
                if at_close and broker.requests:
                    broker.match_at_close()
            self.done = last

    def finish(self) -> BacktestResult:
        """Take the rest of the bars, stop the strategy, and report."""
        self.advance(len(self.bars))
        broker, bars = self._broker, self.bars
        broker.is_over = True
        self._strategy.on_stop()
        broker.check_books()
        table = fill_table(broker.fills, bars.instrument.symbol)
        equity_atoms, base_lots = account_over_bars(bars, table, broker.opening_atoms)
        return bar_result(
            bars,
            self.assumptions,
            strategy=type(self._strategy).__name__,
            engine="bars",
            parameters=self._strategy.parameters.model_dump(mode="json"),
            table=table,
            equity_atoms=equity_atoms,
            base_lots=base_lots,
            counts=broker.counts | {"orders_open": len(broker.working)},
        )


def _bar_objects(bars: Bars, first: int, last: int) -> Iterator[Bar]:
    """The bars as named tuples; made from whole columns, because there are millions of them."""
    part = slice(first, last)
    prices = (bars.prices(each[part]).tolist() for each in (bars.open_ticks, bars.high_ticks, bars.low_ticks))
    rows = zip(
        bars.ts_ns[part].tolist(),
        *prices,
        bars.close[part].tolist(),
        bars.sizes(bars.volume_lots[part]).tolist(),
        strict=True,
    )
    return cast("Iterator[Bar]", map(partial(tuple.__new__, Bar), rows))


class BarBroker(SimulatedBroker):
    """A `Broker` whose market is a series of bars; `event` is the number of the bar."""

    def __init__(self, strategy: Strategy, bars: Bars, assumptions: Assumptions) -> None:
        super().__init__(strategy, bars.instrument, assumptions, assumptions.market_rules(bars.instrument, bars.interval_ns))
        self._bars = bars
        self._is_opening = False
        self._takers: list[SimulatedOrder] = []
        # between these prices no resting order is reached
        self._highest_bid = -math.inf
        self._lowest_ask = math.inf
        # what is left of the share of the bar that was last looked at
        self._looked_at = -1
        self._volume_lots = 0
        self._left_lots = 0

    # --- what was known ---------------------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """While a bar opens the time of its open, then that of its close."""
        opened_ns = int(self._bars.ts_ns[max(0, self.event)])
        return opened_ns if self._is_opening or self.event < 0 else opened_ns + self._bars.interval_ns

    @property
    def mark_ticks(self) -> int:
        """While a bar opens its open, then its close."""
        if self.event < 0:
            return 0
        return int((self._bars.open_ticks if self._is_opening else self._bars.close_ticks)[self.event])

    def history(self, bars: int) -> History:
        """Up to so many of the newest ended bars."""
        ended = self.event if self._is_opening else self.event + 1
        part = slice(max(0, ended - max(0, bars)), ended)
        columns = self._bars
        ticks = (columns.open_ticks, columns.high_ticks, columns.low_ticks, columns.close_ticks)
        opened, high, low, close = (columns.prices(each[part]) for each in ticks)
        return History(columns.ts_ns[part].copy(), opened, high, low, close, columns.sizes(columns.volume_lots[part]))

    # --- what a bar does --------------------------------------------------------------------------------------------------

    def is_concerned(self, bar: Bar) -> bool:
        """Whether a bar could do anything to an order that arrived before it; far from most bars it cannot."""
        return bool(self._takers) or bar.low <= self._highest_bid or bar.high >= self._lowest_ask

    def match(self) -> None:
        """What the bar of `event` does to our orders: first at its open, then in its range."""
        self._look()
        self._is_opening = True
        opened = self.mark_ticks
        waiting, self._takers = self._takers, []
        for order in waiting:
            # one that the market has left behind rests from now on
            if order.is_open and _reaches(order, opened):
                self._take(order, opened)
        for request in self.arrivals(self.now_ns + self._bars.interval_ns):
            self._arrive(request, opened)
        self._is_opening = False
        self._fill_resting()
        self._note_resting()

    def match_at_close(self) -> None:
        """Market orders sent on this bar trade at its close; all else, and what a strategy answers, waits for the next open."""
        if self._looked_at != self.event:
            self._look()
        sent, self.requests = self.requests, []
        now: list[Request] = []
        for request in sent:
            is_market = request.order is not None and request.order.price_ticks is None
            (now if is_market and request.sent_at_event == self.event else self.requests).append(request)
        for request in now:
            self._arrive(request, self.mark_ticks)

    def _look(self) -> None:
        self._looked_at = self.event
        self._volume_lots = int(self._bars.volume_lots[self.event])
        self._left_lots = share_lots(self.rules, self._volume_lots)

    def _arrive(self, request: Request, price_ticks: int) -> None:
        """A request meets a market whose price is this: the open, or the close of a closing auction."""
        order = self.receive(request)
        if order is None or self.is_refused(order, price_ticks):
            return
        limit = price_ticks if order.price_ticks is None else order.price_ticks
        is_taking = _reaches(order, price_ticks)
        own_ticks = self._best_own_ticks(opposite(order.side))
        if is_marketable(order.side, limit, own_ticks):
            own = self.instrument.price(own_ticks)
            self.reject(order, "self_trade", f"the order would trade with our own order at {own}")
        elif order.post_only and is_taking:
            opened = self.instrument.price(price_ticks)
            self.reject(order, "post_only_would_cross", f"the price {self.instrument.price(limit)} would take at {opened}")
        elif not self.can_pay(order, order.size_lots, limit):
            self.reject(order, "insufficient_balance", self.insufficient(order))
        else:
            order.is_open = True
            if order.price_ticks is not None:
                self.reserve(order)
            if is_taking:
                self._take(order, price_ticks)

    def _take(self, order: SimulatedOrder, price_ticks: int) -> None:
        """Fill what the bar's share allows, at this price and slippage; the rest goes on at the next open."""
        lots = min(order.remaining_lots, self._left_lots)
        if lots:
            price = self.taking_price(order, price_ticks, lots, self._volume_lots)
            if not self.can_pay(order, lots, price):
                self.end(order, "insufficient_balance")
                return
            self._left_lots -= lots
            self.fill(order, lots, price, reference_ticks=price_ticks, mid_ticks=self._before_ticks(), is_maker=False)
        if order.is_open:
            self._takers.append(order)

    def _fill_resting(self) -> None:
        """Orders that the bar's range goes through, at their own prices: better ones first, then the earlier."""
        low, high = int(self._bars.low_ticks[self.event]), int(self._bars.high_ticks[self.event])
        reached = [
            (order.price_ticks, order)
            for order in self.working.values()
            if order.is_open and order.price_ticks is not None and goes_through(order.side, order.price_ticks, low, high)
        ]
        if not reached or not self._left_lots:
            return
        bids = sorted((each for each in reached if each[1].side is BUY), key=lambda each: -each[0])
        asks = sorted((each for each in reached if each[1].side is SELL), key=lambda each: each[0])
        if bids and asks:
            worse = adverse_side(bids[0][0], asks[0][0], self.mark_ticks)
            bids, asks = (bids, []) if worse == BUY else ([], asks)
        mid = int(self._bars.open_ticks[self.event])
        for price, order in bids or asks:
            lots = min(order.remaining_lots, self._left_lots)
            if not lots:
                return
            self._left_lots -= lots
            self.fill(order, lots, price, reference_ticks=price, mid_ticks=mid, is_maker=True)

    def _note_resting(self) -> None:
        bid, ask = self._best_own_ticks(BUY), self._best_own_ticks(SELL)
        self._highest_bid = float(self.instrument.price(bid)) if bid else -math.inf
        self._lowest_ask = float(self.instrument.price(ask)) if ask else math.inf

    def _best_own_ticks(self, side: Side) -> int:
        """The best price of our own resting orders on a side; 0 without any."""
        prices = [each.price_ticks for each in self.working.values() if each.is_open and each.side is side and each.price_ticks]
        return (max if side is BUY else min)(prices, default=0)

    def _before_ticks(self) -> int:
        """The newest price known before the one that now trades: the close before an open, the open before a close."""
        bars, event = self._bars, self.event
        return int(bars.close_ticks[event - 1] if self._is_opening and event else bars.open_ticks[event])


def _reaches(order: SimulatedOrder, price_ticks: int) -> bool:
    """Whether an order would trade at a price: a market order at any, a limit order at its own or a better one."""
    return order.price_ticks is None or (order.price_ticks - price_ticks) * order.side >= 0
