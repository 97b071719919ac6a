"""One symbol of a session: market events in; quotes, fills and records out. One writer, one thread, no awaiting.

Order of things at a market event received at t: orders in flight that arrive by t meet the book as it was; the event is
applied; resting orders are matched against it; due mark-outs are settled; then, at most every `min_requote_ms`, the quotes
are reconsidered. An intent is recorded and committed before it is sent.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, assert_never

from autohedge.domain.ids import IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.mandate import Envelope, Mandate, MandateValues, clamp, in_force
from autohedge.domain.market_data import BUY, SELL, MarketEvent, Side, Trade, rows_of
from autohedge.domain.orders import (
    CancelOrder,
    CancelRejected,
    Command,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    OrderState,
    PlaceOrder,
    VenueEvent,
)
from autohedge.domain.records import (
    CycleOutcome,
    FillRecord,
    MandateRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.domain.view import MarketView
from autohedge.market.recorder import Recorder
from autohedge.market.statistics import RollingStatistics
from autohedge.market.sync import Applied, SyncedBook
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.engine import (
    Decision,
    Drain,
    MakerState,
    MarketState,
    OrderIntent,
    QuoteEngine,
    Reconsider,
    SideDenied,
    SideFilled,
)
from autohedge.portfolio.attribution import Attribution, CombinedDrawdown, Drawdown
from autohedge.ports import Ledger, MarketFeed, Venue
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.pretrade import OrderRequest, PreTradeRisk, RiskContext

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_HOUR = 3_600 * NS_PER_S
NEVER_NS = 1 << 63
REQUEST_WINDOW_NS = 60 * NS_PER_S
CLOSED_ORDERS_KEPT = 10_000
"""Closed orders are kept this long for late events; a venue does not report on older ones."""

SIDE_WORD = {BUY: "buy", SELL: "sell"}


@dataclass(slots=True)
class Counts:
    """What happened to orders, and how quotes stood; sums for means are kept as they come."""

    placed: int = 0
    cancelled: int = 0
    denied: int = 0
    rejected: int = 0
    fills: int = 0
    messages: int = 0
    rows: int = 0
    reconsidered: int = 0
    quoted: int = 0
    quote_distance_bps_sum: float = 0.0
    market_spread_ticks_sum: int = 0
    bid_up_ns: int = 0
    ask_up_ns: int = 0
    denied_by: dict[str, int] = field(default_factory=dict)
    rejected_by: dict[str, int] = field(default_factory=dict)
    withheld_by: dict[str, int] = field(default_factory=dict)


class Explanation(NamedTuple):
    """The last reconsideration, with everything that decided it."""

    ts_ns: int
    market: MarketState
    mandate: MandateValues
    inventory_ratio: float
    blocked: dict[Side, str]
    decision: Decision


class Lane:
    """Everything of one symbol; owned and driven by one session."""

    def __init__(
        self,
        *,
        feed: MarketFeed,
        config: MarketMakingConfig,
        envelope: Envelope,
        risk: PreTradeRisk,
        engine: QuoteEngine,
        book: SyncedBook,
        statistics: RollingStatistics,
        venue: Venue,
        inventory: Inventory,
        daily_loss: DailyLoss,
        ids: IdFactory,
        ledger: Ledger,
        desk_latency_ns: int,
        combined: CombinedDrawdown,
        recorder: Recorder | None = None,
    ) -> None:
        self.feed = feed
        self.instrument: Instrument = feed.instrument
        self.symbol = feed.instrument.symbol
        self.config = config
        self.sync = book
        self.book = book.book
        self.statistics = statistics
        self.venue = venue
        self.inventory = inventory
        self.attribution = Attribution(feed.instrument)
        self.drawdown = Drawdown()
        self.ids = ids
        self.counts = Counts()
        self.mandates: list[MandateRecord] = []
        self.orders: OrderedDict[str, Order] = OrderedDict()
        self.working: dict[str, Order] = {}
        self.mandate: Mandate | None = None
        self.opening: OpeningRecord | None = None
        self.last_trade: Trade | None = None
        self.explanation: Explanation | None = None
        self.feed_failure = ""
        self.stale_at_ns = NEVER_NS
        self.now_ns = 0
        self.mid_half_ticks = 0

        self._envelope = envelope
        self._risk = risk
        self._engine = engine
        self._maker = MakerState()
        self._daily_loss = daily_loss
        self._ledger = ledger
        self._recorder = recorder
        self.combined = combined
        self._desk_latency_ns = desk_latency_ns
        self._requote_ns = int(config.min_requote_ms * NS_PER_MS)
        self._max_age_ns = int(risk.limits.max_data_age_ms * NS_PER_MS)
        self._pending_mandates: deque[Mandate] = deque()
        self._requests_ns: deque[int] = deque()
        self._quote_states: dict[Side, str | None] = {BUY: None, SELL: None}
        self._last_reconsider_ns = 0
        self._next_requote_ns = 0
        self._dirty = False
        self._draining = False

    # --- the market moves -----------------------------------------------------------------------------------------

    def on_event(self, event: MarketEvent) -> None:
        """Take the next market event."""
        ts_ns = event.ts_init_ns
        if self._recorder is not None:
            self._recorder.write(event)
        if ts_ns >= self.stale_at_ns:
            self.go_stale()
        self.counts.messages += 1
        self.counts.rows += rows_of(event)
        self.now_ns = ts_ns
        self._arrivals(ts_ns)
        if ts_ns >= self.attribution.next_due_ns:
            self.attribution.settle(ts_ns, self.mid_half_ticks)
        applied = self.sync.apply(event)
        if applied is Applied.APPLIED:
            for each in self.sync.applied_now:
                self._apply(each)
        elif applied is Applied.GAP:
            self._next_requote_ns = 0
        if ts_ns >= self._next_requote_ns and self.opening is not None:
            self._next_requote_ns = ts_ns + self._requote_ns
            self._reconsider(ts_ns)
        if self._dirty:
            self._commit()

    def go_stale(self) -> None:
        """Nothing was heard for too long: the quotes are pulled as of `stale_at_ns`, when that became true."""
        stale_ns, self.stale_at_ns = self.stale_at_ns, NEVER_NS
        if self.opening is None:
            return
        self.now_ns = stale_ns
        self._arrivals(stale_ns)
        self._reconsider(stale_ns)
        self._commit()

    def fail_feed(self, reason: str) -> None:
        """No event will come any more, because the feed failed: drain."""
        self.feed_failure = reason
        self.drain("feed_failed")

    def _apply(self, event: MarketEvent) -> None:
        book = self.book
        self.statistics.on_event(event, book)
        if isinstance(event, Trade):
            self.last_trade = event
        else:
            self.stale_at_ns = self.now_ns + self._max_age_ns
            if book.is_valid and book.best_bid_ticks and book.best_ask_ticks:
                self.mid_half_ticks = book.best_bid_ticks + book.best_ask_ticks
                if self.opening is None and not book.is_crossed:
                    self._open()
        outcomes = self.venue.on_market(event)
        if outcomes:
            self._take(outcomes)

    def _arrivals(self, ts_ns: int) -> None:
        outcomes = self.venue.advance(ts_ns)
        if outcomes:
            self._take(outcomes)

    def _open(self) -> None:
        """The first price is known: the opening inventory gets its value."""
        instrument, inventory = self.instrument, self.inventory
        inventory.open_at(self.mark_half_ticks)
        self._daily_loss.day_open_atoms = self.value_atoms()
        self.opening = OpeningRecord(
            symbol=self.symbol,
            ts_ns=self.now_ns,
            price=self.mark_price,
            base=instrument.base_amount(inventory.base_atoms),
            quote=instrument.quote_amount(inventory.quote_atoms),
            total_value=instrument.quote_amount(self.value_atoms()),
        )
        self._ledger.opening(self.opening)
        self._dirty = True
        self.drawdown.update(self.value_atoms())
        self.combined.update(self.instrument, self.value_atoms())
        self._last_reconsider_ns = self.now_ns

    # --- value ----------------------------------------------------------------------------------------------------

    @property
    def mark_half_ticks(self) -> int:
        """The mark: the last trade's price, or the mid before there is one; in half ticks."""
        return 2 * self.last_trade.price_ticks if self.last_trade is not None else self.mid_half_ticks

    @property
    def mark_price(self) -> Decimal:
        """The mark as a price."""
        return self.instrument.tick_size * self.mark_half_ticks / 2

    def value_atoms(self) -> int:
        """Base at the mark plus quote, in quote atoms."""
        return self.inventory.value_atoms(self.mark_half_ticks)

    # --- quotes ---------------------------------------------------------------------------------------------------

    def market_problem(self, ts_ns: int) -> str:
        """Why the market cannot be traded at `ts_ns`: gap, one_sided, crossed or stale; "" when it can."""
        book = self.book
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if not book.is_valid:
            return "gap"
        if not bid or not ask:
            return "one_sided"
        if bid >= ask:
            return "crossed"
        return "stale" if ts_ns >= self.stale_at_ns or self.stale_at_ns == NEVER_NS else ""

    def _market_state(self, ts_ns: int) -> MarketState:
        book, statistics, problem = self.book, self.statistics, self.market_problem(ts_ns)
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if problem:
            return MarketState(bid, ask, None, 0.0, problem)
        return MarketState(bid, ask, statistics.volatility_per_hour(ts_ns), statistics.depth_score(book), "")

    def mandate_values(self, ts_ns: int) -> MandateValues:
        """What the maker obeys at `ts_ns`."""
        while self._pending_mandates and self._pending_mandates[0].effective_ns <= ts_ns:
            self.mandate = self._pending_mandates.popleft()
        return in_force(self.mandate, ts_ns, self._envelope)

    def _reconsider(self, ts_ns: int) -> None:
        counts = self.counts
        counts.reconsidered += 1
        if self._quote_states[BUY] == "":
            counts.bid_up_ns += ts_ns - self._last_reconsider_ns
        if self._quote_states[SELL] == "":
            counts.ask_up_ns += ts_ns - self._last_reconsider_ns
        self._last_reconsider_ns = ts_ns
        market = self._market_state(ts_ns)
        value = self.value_atoms()
        self.drawdown.update(value)
        self.combined.update(self.instrument, value)
        daily_loss = self._daily_loss.update(ts_ns, value)
        ratio = 0.5
        blocked: dict[Side, str] = {}
        if not market.problem:
            ratio = self._engine.ratio(self.inventory.base_atoms, (market.best_bid_ticks + market.best_ask_ticks) / 2.0)
            blocked = self._risk.blocked_sides(self.inventory.base_atoms, ratio, daily_loss)
        values = self.mandate_values(ts_ns)
        self._maker, decision = self._engine.step(
            self._maker,
            Reconsider(
                now_ns=ts_ns,
                market=market,
                base_atoms=self.inventory.base_atoms,
                quote_atoms=self.inventory.quote_atoms,
                working=tuple(self.working.values()),
                mandate=values,
                blocked=blocked,
                requests_left=self._risk.limits.max_requests_per_min - self._requests_last_min(ts_ns),
            ),
        )
        self.explanation = Explanation(ts_ns, market, values, ratio, blocked, decision)
        if decision.terms is not None and decision.terms.bid_ticks is not None:
            counts.quoted += 1
            counts.quote_distance_bps_sum += (1 - decision.terms.bid_ticks / decision.terms.mid_ticks) * 10_000
            counts.market_spread_ticks_sum += market.best_ask_ticks - market.best_bid_ticks
        denied = self._carry_out(ts_ns, decision, market, ratio, daily_loss, values)
        self._note_quote_states(ts_ns, dict(decision.withheld) | denied)

    def _carry_out(
        self, ts_ns: int, decision: Decision, market: MarketState, ratio: float, daily_loss: str, values: MandateValues
    ) -> dict[Side, str]:
        """Record what was decided, make it durable, then send it; returns the sides that risk denied, with the check."""
        denied: dict[Side, str] = {}
        if not decision.cancels and not decision.intents:
            return denied
        commands: list[Command] = []
        for cancel in decision.cancels:
            commands.append(self._prepare_cancel(ts_ns, cancel))
        for intent in decision.intents:
            context = RiskContext(
                now_ns=ts_ns,
                best_bid_ticks=market.best_bid_ticks,
                best_ask_ticks=market.best_ask_ticks,
                market_problem=market.problem,
                base_atoms=self.inventory.base_atoms,
                quote_atoms=self.inventory.quote_atoms,
                inventory_ratio=ratio,
                working=tuple(self.working.values()),
                daily_loss_hit=daily_loss,
                requests_last_min=self._requests_last_min(ts_ns),
                used_order_ids=self.orders,
            )
            placed = self._prepare_order(ts_ns, intent, context, values)
            if isinstance(placed, PlaceOrder):
                commands.append(placed)
            else:
                denied[intent.side] = placed
        self._commit()
        for command in commands:
            self.venue.submit(command, ts_ns)
        return denied

    def _prepare_cancel(self, ts_ns: int, cancel: CancelOrder) -> CancelOrder:
        order = self.orders[cancel.client_order_id]
        order.apply(OrderEvent.ASK_CANCEL)
        self._requests_ns.append(ts_ns)
        self._event(ts_ns, order, "cancelling", cancel.reason)
        return cancel

    def _prepare_order(self, ts_ns: int, intent: OrderIntent, context: RiskContext, values: MandateValues) -> PlaceOrder | str:
        """The order, recorded and ready to be sent, or the check that denied it."""
        order = Order(
            client_order_id=self.ids.order(),
            side=intent.side,
            price_ticks=intent.price_ticks,
            size_lots=intent.size_lots,
            post_only=intent.price_ticks is not None,
            reason=intent.style.value,
            created_ns=ts_ns,
            mandate_id=values.mandate_id,
            decision_source=values.source,
        )
        verdict = self._risk.check(
            OrderRequest(order.client_order_id, intent.side, intent.price_ticks, intent.size_lots), context
        )
        failure = verdict.first_failure
        if failure is not None:
            order.apply(OrderEvent.DENY)
            self.counts.denied += 1
            self.counts.denied_by[failure.check] = self.counts.denied_by.get(failure.check, 0) + 1
            self._maker, _ = self._engine.step(self._maker, SideDenied(ts_ns, intent.side))
            self._ledger.order(self._order_record(ts_ns, order, failure.check, f"{failure.reason}; {failure.suggestion}"))
            self._dirty = True
            return failure.check
        order.apply(OrderEvent.SUBMIT)
        self._remember(order)
        self.counts.placed += 1
        self._requests_ns.append(ts_ns)
        self._ledger.order(self._order_record(ts_ns, order, order.reason, ""))
        self._dirty = True
        return PlaceOrder(order.client_order_id, order.side, order.price_ticks, order.size_lots, order.post_only, order.reason)

    def _order_record(self, ts_ns: int, order: Order, reason: str, detail: str) -> OrderRecord:
        instrument = self.instrument
        return OrderRecord(
            symbol=self.symbol,
            ts_ns=ts_ns,
            client_order_id=order.client_order_id,
            side=SIDE_WORD[order.side],
            kind="market" if order.price_ticks is None else "limit",
            price=None if order.price_ticks is None else instrument.price(order.price_ticks),
            size=instrument.size(order.size_lots),
            post_only=order.post_only,
            state=order.state,
            reason=reason,
            detail=detail,
            mandate_id=order.mandate_id,
            decision_source=order.decision_source,
        )

    def _remember(self, order: Order) -> None:
        self.orders[order.client_order_id] = order
        self.working[order.client_order_id] = order
        while len(self.orders) > CLOSED_ORDERS_KEPT + len(self.working):
            oldest = next(iter(self.orders))
            if oldest in self.working:
                self.orders.move_to_end(oldest)
            else:
                del self.orders[oldest]

    def _requests_last_min(self, ts_ns: int) -> int:
        window = self._requests_ns
        horizon = ts_ns - REQUEST_WINDOW_NS
        while window and window[0] <= horizon:
            window.popleft()
        return len(window)

    def _note_quote_states(self, ts_ns: int, withheld: Mapping[Side, str]) -> None:
        """Record when a side begins or stops being quoted, and why."""
        for side, before in self._quote_states.items():
            reason = withheld.get(side, "")
            if reason:
                self.counts.withheld_by[reason] = self.counts.withheld_by.get(reason, 0) + 1
            if reason != before:
                self._quote_states[side] = reason
                self._ledger.quote_state(QuoteStateRecord(self.symbol, ts_ns, SIDE_WORD[side], not reason, reason))
                self._dirty = True

    # --- what the venue says --------------------------------------------------------------------------------------

    def _take(self, outcomes: Sequence[VenueEvent]) -> None:
        for outcome in outcomes:
            order = self.orders[outcome.client_order_id]
            if isinstance(outcome, OrderFilled):
                self._book_fill(order, outcome)
            elif isinstance(outcome, OrderAccepted):
                order.apply(OrderEvent.ACCEPT)
                self._event(outcome.ts_ns, order, "accepted", "")
            elif isinstance(outcome, OrderRejected):
                order.apply(OrderEvent.REJECT)
                self.counts.rejected += 1
                self.counts.rejected_by[outcome.reason] = self.counts.rejected_by.get(outcome.reason, 0) + 1
                self._event(outcome.ts_ns, order, "rejected", f"{outcome.reason}: {outcome.detail}")
            elif isinstance(outcome, OrderCancelled):
                order.apply(OrderEvent.CANCEL)
                self.counts.cancelled += 1
                self._event(outcome.ts_ns, order, "cancelled", outcome.reason)
            elif isinstance(outcome, CancelRejected):
                order.apply(OrderEvent.REFUSE_CANCEL)
                self._event(outcome.ts_ns, order, "cancel_rejected", outcome.reason)
            else:
                assert_never(outcome)
            if not order.is_working:
                self.working.pop(order.client_order_id, None)

    def _book_fill(self, order: Order, fill: OrderFilled) -> None:
        instrument, inventory = self.instrument, self.inventory
        order.fill(fill.size_lots)
        inventory.apply(fill)
        self.attribution.fill(fill, self.mid_half_ticks)
        self.counts.fills += 1
        self._maker, _ = self._engine.step(self._maker, SideFilled(fill.ts_ns, fill.side))
        self._event(fill.ts_ns, order, "filled" if order.state is OrderState.FILLED else "partially_filled", "")
        in_base = fill.fee_asset == instrument.base
        self._ledger.fill(
            FillRecord(
                symbol=self.symbol,
                ts_ns=fill.ts_ns,
                trade_id=fill.trade_id,
                client_order_id=fill.client_order_id,
                side=SIDE_WORD[fill.side],
                price=instrument.price(fill.price_ticks),
                size=instrument.size(fill.size_lots),
                fee=instrument.base_amount(fill.fee_atoms) if in_base else instrument.quote_amount(fill.fee_atoms),
                fee_asset=fill.fee_asset,
                liquidity=fill.liquidity,
                base_after=instrument.base_amount(inventory.base_atoms),
                quote_after=instrument.quote_amount(inventory.quote_atoms),
                total_value=instrument.quote_amount(self.value_atoms()),
                mandate_id=order.mandate_id,
                decision_source=order.decision_source,
                reason=order.reason,
            )
        )

    def _event(self, ts_ns: int, order: Order, event: str, detail: str) -> None:
        self._ledger.order_event(OrderEventRecord(self.symbol, ts_ns, order.client_order_id, event, order.state, detail))
        self._dirty = True

    def _commit(self) -> None:
        self._ledger.commit()
        self._dirty = False

    # --- the desk speaks ------------------------------------------------------------------------------------------

    def view(self, now_ns: int) -> MarketView | None:
        """What the desk may know at `now_ns`; None while the market cannot be traded, see `market_problem`."""
        if self.opening is None or self.market_problem(now_ns):
            return None
        book = self.statistics.snapshot(self.book, now_ns)
        if book is None:
            return None
        cap_frac = float(self.config.max_inventory_exposure)
        capital_atoms = self.instrument.quote_atoms_floor(self.config.total_capital)
        opening_atoms = self._daily_loss.day_open_atoms
        mid_ticks = self.mid_half_ticks / 2.0
        return MarketView(
            symbol=self.symbol,
            as_of_ns=now_ns,
            hour_utc=now_ns // NS_PER_HOUR % 24,
            simulated=self.feed.simulated,
            book=book,
            trades=self.statistics.trades(now_ns),
            inventory_ratio=self._engine.ratio(self.inventory.base_atoms, mid_ticks),
            inventory_target=self.config.inventory_target,
            exposure_frac=self.inventory.base_value_atoms(self.mid_half_ticks) / capital_atoms,
            max_exposure_frac=cap_frac,
            pnl_frac=(self.value_atoms() - opening_atoms) / capital_atoms,
            drawdown_frac=self.drawdown.last_frac,
        )

    def accept(self, outcome: CycleOutcome) -> MandateRecord:
        """Clamp the desk's proposal into a mandate that takes effect after the desk's latency; without one the old runs out."""
        mandate: Mandate | None = None
        if outcome.proposal is not None:
            previous = self._pending_mandates[-1] if self._pending_mandates else self.mandate
            mandate = clamp(
                outcome.proposal,
                self._envelope,
                previous,
                mandate_id=self.ids.mandate(),
                cycle_id=outcome.cycle_id,
                symbol=self.symbol,
                effective_ns=outcome.ts_ns + self._desk_latency_ns,
                source=outcome.source.value,
                reason=outcome.reason,
            )
            self._pending_mandates.append(mandate)
        record = MandateRecord(self.symbol, outcome.ts_ns, outcome.cycle_id, outcome.outcome, outcome.reason, mandate)
        self.mandates.append(record)
        self._ledger.cycle(outcome, record)
        return record

    # --- the end --------------------------------------------------------------------------------------------------

    def drain(self, reason: str) -> None:
        """Cancel every quote, wait out the venue's latency, keep the inventory. Harmless when called twice."""
        if self._draining or self.opening is None:
            return
        self._draining = True
        self.stale_at_ns = NEVER_NS
        ts_ns = self.now_ns
        self._maker, decision = self._engine.step(self._maker, Drain(tuple(self.working.values()), reason))
        commands = [self._prepare_cancel(ts_ns, cancel) for cancel in decision.cancels]
        self._commit()
        for command in commands:
            self.venue.submit(command, ts_ns)
        self._arrivals(ts_ns + 2 * int(self.config.latency_ms * NS_PER_MS) + 1)
        self._note_quote_states(ts_ns, {BUY: reason, SELL: reason})
        self._commit()
        if self.mid_half_ticks:
            self.attribution.close(self.mid_half_ticks)
        self.drawdown.update(self.value_atoms())
        self.combined.update(self.instrument, self.value_atoms())
