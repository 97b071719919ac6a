"""Backtests on public trades alone, one trade at a time: for venues and times of which there is no recorded book.

Without a book nobody knows what stood before us, so an order that rests is last in its queue for ever: trades *at* its price
fill others, and only a trade beyond it fills us, at our own price and at most its own size (`autohedge.simulation.matching`).
A market order takes what others took: trades of its own side that come after its arrival, at their price and slippage, each at
most its size. One trade is used once over all our orders. Refused: a latency of zero, trades that are not in order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from struct import Struct

from autohedge.backtest.assumptions import Assumptions, FillAt
from autohedge.backtest.bars import in_units
from autohedge.backtest.broker import Request, SimulatedBroker, SimulatedOrder, opposite
from autohedge.backtest.fill_table import fill_table, fills_of, table_of, totals_of
from autohedge.backtest.result import BacktestResult, Curve, Mids
from autohedge.backtest.strategy import Strategy, Tick
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import Level, Side, Trade
from autohedge.errors import ConfigError, MarketDataError
from autohedge.simulation.matching import MatchingCore, is_marketable

SAMPLE_NS = 1_000_000_000
"""Market time between two rows of the equity curve."""
PROGRESS_TRADES = 65_536

_PACKED = Struct("<qqqq")

NO_BOOK_NOTE = "trades only: resting orders fill by trades beyond their price, never at it, because no queue is known"


def run_trades(
    strategy: Strategy,
    instrument: Instrument,
    trades: Iterable[Trade],
    assumptions: Assumptions | None = None,
    *,
    source: str = "memory",
    sample_ns: int = SAMPLE_NS,
    on_progress: Callable[[int], None] | None = None,
) -> BacktestResult:
    """Run `strategy` over trades in order of receipt: `on_tick` is called with each. `on_progress` is told how many are done.

    `participation_frac` is about bars and has no say here. Raises `MarketDataError` for no trades, or for one that is out of
    order or not positive; `ConfigError` for `fill_at=close`, or for a strategy object that ran before.
    """
    assumptions = assumptions or Assumptions()
    if assumptions.fill_at is FillAt.CLOSE:
        raise ConfigError("fill_at=close is for bars: trades have no close")
    broker = TradeBroker(strategy, instrument, assumptions, sample_ns)
    strategy.start(broker)
    done = 0
    for done, trade in enumerate(trades, 1):
        broker.on_trade(trade)
        strategy.on_tick(broker.tick(trade))
        if on_progress is not None and done % PROGRESS_TRADES == 0:
            on_progress(done)
    if not done:
        raise MarketDataError(f"{instrument.symbol}: expected trades, found none")
    broker.is_over = True
    strategy.on_stop()
    broker.check_books()
    return broker.result(source)


class NoBook:
    """The book of a market that shows none: more stands at any price than will ever trade there."""

    best_bid_ticks = 0
    best_ask_ticks = 0
    is_valid = False
    last_update_id = 0
    newest_update_id = 0
    is_crossed = False

    def size_at(self, side: Side, price_ticks: int) -> int:
        """As good as infinite."""
        return 1 << 62

    def levels(self, side: Side, n: int) -> Sequence[Level]:
        """None that could be taken."""
        return ()


class TradeBroker(SimulatedBroker):
    """A `Broker` whose market is a series of public trades; `event` is the number of the trade."""

    def __init__(self, strategy: Strategy, instrument: Instrument, assumptions: Assumptions, sample_ns: int) -> None:
        super().__init__(strategy, instrument, assumptions, assumptions.market_rules(instrument, 1))
        self._assumptions = assumptions
        self._core = MatchingCore(NoBook())
        self._market_orders: list[SimulatedOrder] = []
        self._now_ns = 0
        self._last_ticks = 0
        self._tick_ratio = instrument.tick_size.as_integer_ratio()
        self._lot_ratio = instrument.lot_size.as_integer_ratio()
        self._sample_ns = sample_ns
        self._next_sample_ns = 0
        self._begin_ns = 0
        self._samples: list[tuple[int, int, int, int]] = []
        self._changes: list[tuple[int, int]] = []
        self._digest = sha256(instrument.symbol.encode())

    @property
    def now_ns(self) -> int:
        """When the newest trade, or the request that is being carried out, arrived."""
        return self._now_ns

    @property
    def mark_ticks(self) -> int:
        """The price of the newest trade; 0 before there is one."""
        return self._last_ticks

    # --- what a trade does ------------------------------------------------------------------------------------------------

    def on_trade(self, trade: Trade) -> None:
        """Requests that arrive until then, then resting orders, then market orders."""
        self._check(trade)
        ts_ns = trade.ts_init_ns
        self._digest.update(_PACKED.pack(ts_ns, trade.price_ticks, trade.size_lots, trade.aggressor))
        self.event += 1
        if self.event == 0:
            self._begin_ns = ts_ns
            self._next_sample_ns = ts_ns + self._sample_ns
        while ts_ns >= self._next_sample_ns:
            self._sample(self._next_sample_ns)
            self._next_sample_ns += self._sample_ns
        if self.requests:
            for request in self.arrivals(ts_ns + 1):
                self._now_ns = max(self._now_ns, request.arrival_ns)
                self._arrive(request)
        self._now_ns = ts_ns
        before = self._last_ticks
        if trade.price_ticks != before:
            self._changes.append((ts_ns, trade.price_ticks))
            self._last_ticks = trade.price_ticks
        if self._core.resting or self._market_orders:
            self._fill(trade, before or trade.price_ticks)

    def tick(self, trade: Trade) -> Tick:
        """The trade as a strategy sees it."""
        price, of_price = self._tick_ratio
        size, of_size = self._lot_ratio
        return Tick(
            trade.ts_init_ns,
            trade.price_ticks * price / of_price,
            trade.size_lots * size / of_size,
            trade.aggressor,
            None,
            None,
        )

    def end(self, order: SimulatedOrder, reason: str) -> None:
        """What is left of an order is gone, from the market too."""
        self._core.remove(order.order_id)
        super().end(order, reason)

    def _check(self, trade: Trade) -> None:
        where = f"{self.instrument.symbol}: trade {self.event + 1}"
        if trade.ts_init_ns < self._now_ns:
            raise MarketDataError(f"{where}: received at {trade.ts_init_ns}, before the one before it at {self._now_ns}")
        if trade.price_ticks <= 0 or trade.size_lots <= 0:
            raise MarketDataError(f"{where}: expected a positive price and size, found {trade.price_ticks}, {trade.size_lots}")

    def _arrive(self, request: Request) -> None:
        order = self.receive(request)
        if order is None:
            return
        if not self._last_ticks:
            self.reject(order, "no_market", "there was no trade yet")
            return
        if self.is_refused(order, self._last_ticks):
            return
        limit = self._last_ticks if order.price_ticks is None else order.price_ticks
        own_ticks = self._core.best_ticks(opposite(order.side))
        if is_marketable(order.side, limit, own_ticks):
            own = self.instrument.price(own_ticks)
            self.reject(order, "self_trade", f"the order would trade with our own order at {own}")
        elif not self.can_pay(order, order.size_lots, limit):
            self.reject(order, "insufficient_balance", self.insufficient(order))
        else:
            order.is_open = True
            if order.price_ticks is None:
                self._market_orders.append(order)
            else:
                self.reserve(order)
                self._core.rest(order.order_id, order.side, order.price_ticks, order.size_lots, self._now_ns)

    def _fill(self, trade: Trade, before_ticks: int) -> None:
        left = trade.size_lots
        by_id: dict[str, SimulatedOrder] = {order.order_id: order for order in self.working.values()}
        for resting, lots in self._core.on_market(trade, self._now_ns):
            left -= lots
            price = resting.price_ticks
            order = by_id[resting.order_id]
            self.fill(order, lots, price, reference_ticks=price, mid_ticks=before_ticks, is_maker=True)
        waiting, self._market_orders = self._market_orders, []
        for order in waiting:
            if not order.is_open:
                continue
            lots = min(order.remaining_lots, left) if order.side is trade.aggressor else 0
            if lots:
                price = self.taking_price(order, trade.price_ticks, lots, trade.size_lots)
                if not self.can_pay(order, lots, price):
                    self.end(order, "insufficient_balance")
                    continue
                left -= lots
                self.fill(order, lots, price, reference_ticks=trade.price_ticks, mid_ticks=before_ticks, is_maker=False)
            if order.is_open:
                self._market_orders.append(order)

    # --- the result -------------------------------------------------------------------------------------------------------

    def _sample(self, ts_ns: int) -> None:
        base_lots = self.account.base_atoms // self.instrument.base_atoms_per_lot
        self._samples.append((ts_ns, self.account.quote_atoms, base_lots, self._last_ticks))

    def result(self, source: str) -> BacktestResult:
        """What the run has come to."""
        instrument, assumptions = self.instrument, self._assumptions
        self._sample(self._now_ns)
        sample_ns, quote, base, price = table_of(self._samples, 4, instrument.symbol).T
        changed_ns, changed = table_of(self._changes, 2, instrument.symbol).T
        table = fill_table(self.fills, instrument.symbol)
        totals = totals_of(instrument, table)
        prices, sizes = in_units(price, instrument.tick_size), in_units(base, instrument.lot_size)
        value_atoms = self.account.quote_atoms + self.inventory.base_value_atoms(2 * self._last_ticks)
        return BacktestResult(
            symbol=instrument.symbol,
            engine="trades",
            strategy=type(self.strategy).__name__,
            settings={
                "parameters": self.strategy.parameters.model_dump(mode="json"),
                "assumptions": assumptions.model_dump(mode="json"),
            },
            data={"source": source, "fingerprint": self._digest.hexdigest(), "rows": self.event + 1},
            start_ns=self._begin_ns,
            end_ns=self._now_ns,
            trading_days_per_year=assumptions.trading_days_per_year,
            initial_equity=instrument.quote_amount(self.opening_atoms),
            final_equity=instrument.quote_amount(value_atoms),
            fees=totals.fees,
            slippage=totals.slippage,
            volume=totals.volume,
            curve=Curve(sample_ns, quote / 10.0**instrument.quote_atom_exponent + sizes * prices, sizes, prices),
            fills=fills_of(instrument, table),
            mids=Mids(changed_ns, in_units(changed, instrument.tick_size)),
            counts={"events": self.event + 1, "fills": len(table), **self.counts, "orders_open": len(self.working)},
            notes=(NO_BOOK_NOTE, *assumptions.notes(on_bars=False)),
        )
