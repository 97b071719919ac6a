"""The market maker as a strategy on bars: what it decides on a book, decided at each close, its quotes resting until the next.

At a close only one price is known, so the book is taken as one tick around it, and its depth as unknown: the depth score is 0,
which takes up to a third off the confidence and so up to a sixth of the configured size off an order, unless
`size_by_confidence` is off. σ is that of the last 20 closes, and unknown before there were ten changes. What is decided reaches
the market at the next open, and is filled or not by the rules of `autohedge.simulation.bar_matching`; a quote that the open has
overtaken is rejected, because quotes are post-only, and that side is not quoted for a bar.

Refused with `ConfigError`: what needs a book (touch styles, the microprice, toxicity), and what an account on bars does not
have (base at the start, fees in base).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container
from decimal import Decimal
from typing import Any

import numpy as np
from pydantic import Field

from autohedge.backtest.bar_orders import BarOrders
from autohedge.backtest.bar_statistics import HISTORY_BARS, BarVolatility, bar_statistics
from autohedge.backtest.result import Quotes
from autohedge.backtest.strategy import Bar, Cancellation, Fill, Parameters, Rejection, Strategy
from autohedge.domain.ids import CycleId, IdFactory, MandateId
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import Envelope, Mandate, MandateValues, Regime, RiskLevel, clamp, in_force
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.measures import base_value_atoms
from autohedge.domain.records import CycleOutcome, MandateRecord
from autohedge.domain.view import MarketView, maker_view
from autohedge.errors import ConfigError
from autohedge.market_maker.config import FairValue, FeeAsset, MarketMakingConfig, Touch
from autohedge.market_maker.engine import (
    Decision,
    MakerState,
    MarketState,
    QuoteEngine,
    Reconsider,
    SideDenied,
    SideFilled,
)
from autohedge.market_maker.reasons import ONE_SIDED, REASONS, SESSION_END
from autohedge.portfolio.attribution import Drawdown
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.limits import RiskLimits
from autohedge.risk.pretrade import PreTradeRisk, RiskContext

NS_PER_MS = 1_000_000
_NEVER_NS = 1 << 62


class MakerOnBarsParameters(Parameters):
    """The maker's settings, its limits, and whether a desk steers it."""

    maker: MarketMakingConfig = Field(default=MarketMakingConfig(), description="The maker's configuration.")
    limits: RiskLimits = Field(default=RiskLimits(), description="The operator's limits.")
    envelope: Envelope = Field(default=Envelope(), description="What a desk may set.")
    has_desk: bool = Field(
        default=False, description="A desk gives mandates, and without one the maker is cautious; else neutral for ever."
    )
    desk_latency_ms: float = Field(default=2_000.0, ge=0, le=600_000, description="From a desk's cycle to its mandate.")


class MakerOnBars(Strategy):
    """Quotes both sides around each close.

    A mandate that a desk proposed takes effect at the first close after its cycle and the desk's latency, and lives its ttl
    rounded up to whole bars. `market_closes_ns` holds closes after which the exchange is closed: quotes do not rest overnight.
    """

    Parameters = MakerOnBarsParameters
    parameters: MakerOnBarsParameters

    def __init__(self, *, market_closes_ns: Container[int] = (), **parameters: Any) -> None:
        super().__init__(**parameters)
        refuse_what_bars_lack(self.parameters.maker)
        self._market_closes_ns = market_closes_ns

    # --- the strategy -------------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Set up the books of a flat maker."""
        given, instrument = self.parameters, self.broker.instrument
        self._config = given.maker
        self._engine = QuoteEngine(given.maker, instrument)
        self._risk = PreTradeRisk(given.limits, self._engine.size_rules)
        self._orders = BarOrders(self.broker, self._risk)
        self._state = MakerState()
        self._base_atoms, self._quote_atoms = 0, 0
        self._read_balances()
        self._daily_loss = DailyLoss(instrument, given.limits, self._quote_atoms)
        self._drawdown = Drawdown()
        self._volatility = BarVolatility()
        self._ids = IdFactory(instrument.symbol)
        self._ticks_per_quote = float(1 / instrument.tick_size)
        self._requote_ns = int(given.maker.min_requote_ms * NS_PER_MS)
        self._next_requote_ns = 0
        self._mandate = None if given.has_desk else neutral_mandate(instrument.symbol)
        self._pending: deque[Mandate] = deque()
        self._proposed: Mandate | None = None
        self.mandates: list[MandateRecord] = []
        self.withheld_by: Counter[str] = Counter()
        self.bars_by_mandate: Counter[str] = Counter()
        self._bars = 0
        self._quoted_bars = {BUY: 0, SELL: 0}
        self._wanted = (0, 0)
        self._quotes: list[tuple[int, int, int]] = []
        self._closed_ns = self._interval_ns = self._close_ticks = 0

    def on_bar(self, bar: Bar) -> None:
        """Look at the quotes again."""
        now_ns = self.broker.now_ns
        self._closed_ns, self._interval_ns = now_ns, now_ns - bar.ts_ns
        self._close_ticks = round(bar.close * self._ticks_per_quote)
        self._volatility.add(bar.ts_ns, self._interval_ns, bar.close)
        self._bars += 1
        bid, ask = self._wanted
        self._quoted_bars[BUY] += bid > 0
        self._quoted_bars[SELL] += ask > 0
        equity_atoms = self._equity_atoms()
        self._drawdown.update(equity_atoms)
        daily_loss = self._daily_loss.update(now_ns, equity_atoms)
        mandate = self._mandate_values(now_ns)
        self.bars_by_mandate[mandate.state.value] += 1
        if now_ns >= self._next_requote_ns or now_ns in self._market_closes_ns:
            self._next_requote_ns = now_ns + self._requote_ns
            self._reconsider(now_ns, mandate, daily_loss)

    def on_order_filled(self, fill: Fill) -> None:
        """Book it; the side may pause."""
        self._orders.filled(fill)
        self._state, _ = self._engine.step(self._state, SideFilled(fill.ts_ns, fill.side))
        self._read_balances()

    def on_order_rejected(self, rejection: Rejection) -> None:
        """An order that never was, or a cancel without effect."""
        self._orders.rejected(rejection)

    def on_order_cancelled(self, cancellation: Cancellation) -> None:
        """What was left of a quote is gone."""
        self._orders.cancelled(cancellation)

    # --- the quotes -----------------------------------------------------------------------------------------------------------

    def _reconsider(self, now_ns: int, mandate: MandateValues, daily_loss: str) -> None:
        market = self._market(now_ns)
        ratio, blocked = 0.5, dict[Side, str]()
        if not market.problem:
            ratio = self._engine.ratio(self._base_atoms, self._close_ticks)
            blocked = self._risk.blocked_sides(self._base_atoms, ratio, daily_loss)
        orders = self._orders
        while True:
            # what is cancelled now is gone at the next open, before what replaces it arrives
            self._state, decision = self._engine.step(
                self._state,
                Reconsider(
                    now_ns=now_ns,
                    market=market,
                    base_atoms=self._base_atoms,
                    quote_atoms=self._quote_atoms,
                    working=orders.working(now_ns),
                    mandate=mandate,
                    blocked=blocked,
                    requests_left=orders.requests_left(now_ns),
                    requests_per_min=self.parameters.limits.max_requests_per_min,
                ),
            )
            if not decision.cancels:
                break
            orders.cancel(now_ns, decision.cancels)
        denied: dict[Side, str] = {}
        if decision.intents:
            context = RiskContext(
                now_ns=now_ns,
                best_bid_ticks=market.best_bid_ticks,
                best_ask_ticks=market.best_ask_ticks,
                market_problem=market.problem,
                base_atoms=self._base_atoms,
                quote_atoms=self._quote_atoms,
                inventory_ratio=ratio,
                daily_loss_hit=daily_loss,
            )
            denied = orders.place(now_ns, decision.intents, context, mandate)
            for side in denied:
                self._state, _ = self._engine.step(self._state, SideDenied(now_ns, side))
        self._note(now_ns, decision, dict(decision.withheld) | denied)

    def _market(self, now_ns: int) -> MarketState:
        close = self._close_ticks
        problem = ""
        if now_ns in self._market_closes_ns:
            problem = REASONS[SESSION_END]
        elif close <= 1:
            problem = REASONS[ONE_SIDED]
        return MarketState(
            best_bid_ticks=close - 1,
            best_ask_ticks=close + 1,
            volatility=self._volatility.per_hour,
            depth_score=0.0,
            problem=problem,
        )

    def _note(self, now_ns: int, decision: Decision, withheld: dict[Side, str]) -> None:
        terms = decision.terms
        bid = 0 if terms is None or BUY in withheld else terms.bid_ticks or 0
        ask = 0 if terms is None or SELL in withheld else terms.ask_ticks or 0
        self.withheld_by.update(withheld.values())
        if (bid, ask) != self._wanted:
            self._wanted = (bid, ask)
            self._quotes.append((now_ns, bid, ask))

    def _read_balances(self) -> None:
        instrument = self.broker.instrument
        self._base_atoms = instrument.base_atoms_floor(self.position.size)
        self._quote_atoms = instrument.quote_atoms_floor(self.cash)

    def _base_value_atoms(self) -> int:
        size = self._engine.size_rules.numbers
        return base_value_atoms(self._base_atoms, 2 * self._close_ticks, size.quote_atoms_per_tick_lot, size.base_atoms_per_lot)

    def _equity_atoms(self) -> int:
        return self._quote_atoms + self._base_value_atoms()

    # --- the desk -------------------------------------------------------------------------------------------------------------

    def view(self, now_ns: int, *, simulated: bool) -> MarketView:
        """What a desk may know at `now_ns`: the bars that have ended, and the maker's own position."""
        symbol = self.broker.instrument.symbol
        bars = bar_statistics(
            symbol, self.history(HISTORY_BARS), self._interval_ns, now_ns, bars=self._bars, volatility=self._volatility.per_hour
        )
        return maker_view(
            symbol=symbol,
            now_ns=now_ns,
            simulated=simulated,
            bars=bars,
            inventory_ratio=self._engine.ratio(self._base_atoms, self._close_ticks),
            inventory_target=self._config.inventory_target,
            max_exposure_frac=float(self._config.max_inventory_exposure),
            base_value_atoms=self._base_value_atoms(),
            equity_atoms=self._equity_atoms(),
            day_open_atoms=self._daily_loss.day_open_atoms,
            capital_atoms=self.broker.instrument.quote_atoms_floor(self._config.total_capital),
            drawdown_frac=self._drawdown.last_frac,
        )

    def next_cycle_id(self) -> CycleId:
        """The id of the next cycle about this maker."""
        return self._ids.cycle()

    def accept(self, outcome: CycleOutcome) -> MandateRecord:
        """Clamp a proposal into a mandate that takes effect after the desk's latency; without one the old runs out."""
        made: Mandate | None = None
        if outcome.proposal is not None:
            made = self._proposed = clamp(
                outcome.proposal,
                self.parameters.envelope,
                self._proposed,
                mandate_id=self._ids.mandate(),
                cycle_id=outcome.cycle_id,
                symbol=outcome.symbol,
                effective_ns=outcome.ts_ns + int(self.parameters.desk_latency_ms * NS_PER_MS),
                source=outcome.source.value,
                reason=outcome.reason,
            )
            self._pending.append(made)
        record = MandateRecord(outcome.symbol, outcome.ts_ns, outcome.cycle_id, outcome.outcome, outcome.reason, made)
        self.mandates.append(record)
        return record

    def _mandate_values(self, now_ns: int) -> MandateValues:
        while self._pending and self._pending[0].effective_ns <= now_ns:
            made = self._pending.popleft()
            bars = -((made.effective_ns - made.valid_until_ns) // self._interval_ns)
            self._mandate = made._replace(effective_ns=now_ns, valid_until_ns=now_ns + bars * self._interval_ns)
        return in_force(self._mandate, now_ns, self.parameters.envelope)

    # --- the report -----------------------------------------------------------------------------------------------------------

    @property
    def denied_by(self) -> Counter[str]:
        """Refusals of our own risk, by check."""
        return self._orders.denied_by

    def quotes(self) -> Quotes:
        """The best prices wanted on each side, a row per change."""
        tick = float(self.broker.instrument.tick_size)
        rows = np.array(self._quotes, dtype=np.int64).reshape(len(self._quotes), 3)
        prices = np.where(rows[:, 1:] > 0, rows[:, 1:] * tick, np.nan)
        return Quotes(rows[:, 0].copy(), prices[:, 0], prices[:, 1])

    def uptime_frac(self) -> dict[str, float]:
        """The share of bars that a side was quoted in."""
        bars = max(1, self._bars)
        return {"bid": self._quoted_bars[BUY] / bars, "ask": self._quoted_bars[SELL] / bars}


def neutral_mandate(symbol: str) -> Mandate:
    """Spread and size as configured, no bias, medium risk, for ever."""
    return Mandate(
        MandateId("frozen"), CycleId("frozen"), symbol, 1.0, 0.0, 1.0, Regime.RANGE_BOUND, RiskLevel.MEDIUM,
        0, _NEVER_NS, "frozen", "the default mandate, held for ever", (),
    )  # fmt: skip


def refuse_what_bars_lack(config: MarketMakingConfig) -> None:
    """`ConfigError` for settings of the maker that mean nothing where only bars are known."""
    lacking = (
        (
            config.touch is not Touch.DISTANCE,
            f"touch={config.touch.value} follows the best prices of a book; use touch=distance",
        ),
        (config.fair_value is not FairValue.MID, "fair_value=microprice needs the sizes of a book; use fair_value=mid"),
        (config.queue_value_bps > 0, "queue_value_bps is the worth of a place in a book's queue; leave it at 0"),
        (
            bool(config.toxic_trades_ratio or config.toxic_depletion_frac or config.toxic_imbalance),
            "toxic_trades_ratio, toxic_depletion_frac and toxic_imbalance read a book and its trades; leave them at 0",
        ),
        (config.initial_base > 0, "an account on bars begins with cash alone; leave initial_base at 0"),
        (config.fee_asset is not FeeAsset.QUOTE, "fees on bars are taken in quote; use fee_asset=quote"),
    )
    for is_lacking, why in lacking:
        if is_lacking:
            raise ConfigError(f"the maker on bars: {why}")


def smallest_order_problem(config: MarketMakingConfig, instrument: Instrument, price_ticks: int) -> str:
    """Why not even one whole order could be placed at a price, or ""."""
    order = config.total_capital * config.order_size_percentage
    price = instrument.price(price_ticks)
    least = max(instrument.min_notional, price * max(instrument.min_qty, instrument.lot_size))
    if order >= least:
        return ""
    return (
        f"{instrument.symbol}: one order is {_plain(order)} {instrument.quote} (capital x order_size_percentage), the least "
        f"that can be ordered at {_plain(price)} is {_plain(least)}; raise total_capital or order_size_percentage"
    )


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
