"""One symbol of a session: market events in; quotes, fills and records out. One writer, one thread, no awaiting.

Order of things at a market event received at t: orders in flight that arrive by t meet the book as it was; the event is
applied; resting orders are matched against it; due mark-outs are settled; then, at most every `min_requote_ms`, the quotes
are reconsidered. An intent is recorded and committed before it is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from autohedge.domain.ids import IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.mandate import Envelope, Mandate, MandateValues, clamp, in_force
from autohedge.domain.market_data import BUY, SELL, MarketEvent, Side, Trade, rows_of
from autohedge.domain.orders import (
    Order,
    OrderFilled,
)
from autohedge.domain.records import (
    CycleOutcome,
    FillRecord,
    MandateRecord,
    OpeningRecord,
    QuoteStateRecord,
)
from autohedge.domain.view import MarketView, maker_view
from autohedge.execution.order_desk import SIDE_WORD, OrderDesk
from autohedge.market.statistics import RollingStatistics
from autohedge.market.sync import Applied, SyncedBook
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP, MakerNumbers
from autohedge.market_maker.engine import (
    Decision,
    Drain,
    MakerState,
    MarketState,
    QuoteEngine,
    Reconsider,
    SideDenied,
    SideFilled,
)
from autohedge.market_maker.reasons import NONE
from autohedge.market_maker.toxicity import (
    MEMORY_CELLS,
    NEXT_SAMPLE_NS,
    Signs,
    note_touch,
    note_trade,
    signs_now,
    toxic_sides,
)
from autohedge.portfolio.attribution import Attribution, CombinedDrawdown, Drawdown
from autohedge.ports import Ledger, MarketFeed, Venue
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.portfolio import Held, Portfolio, held_by
from autohedge.risk.pretrade import PreTradeRisk, RiskContext

if TYPE_CHECKING:
    from autohedge.market.parquet_recorder import MarketRecorder

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NEVER_NS = 1 << 63
DRAIN_TRIES = 100
"""How often a drain asks for a cancel before it leaves an order that the venue does not let go."""


@dataclass(slots=True)
class Counts:
    """What was seen, and how quotes stood; sums for means are kept as they come."""

    fills: int = 0
    messages: int = 0
    rows: int = 0
    reconsidered: int = 0
    quoted: int = 0
    quote_distance_bps_sum: float = 0.0
    market_spread_ticks_sum: int = 0
    bid_up_ns: int = 0
    ask_up_ns: int = 0
    withheld_by: dict[str, int] = field(default_factory=dict)


class Explanation(NamedTuple):
    """The last reconsideration, with everything that decided it; `signs` is None while no toxicity guard is on.

    `requests_left` is what the request budget allowed then.
    """

    ts_ns: int
    market: MarketState
    mandate: MandateValues
    inventory_ratio: float
    blocked: dict[Side, str]
    decision: Decision
    signs: Signs | None
    requests_left: int


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
        portfolio: Portfolio | None = None,
        recorder: MarketRecorder | None = None,
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
        self.order_desk = OrderDesk(feed.instrument, risk, venue, ledger, ids, self._book_fill)
        self.mandate: Mandate | None = None
        self.opening: OpeningRecord | None = None
        self.last_trade: Trade | None = None
        self.explanation: Explanation | None = None
        self.feed_failure = ""
        self.stale_at_ns = NEVER_NS
        self.now_ns = 0
        self.mid_half_ticks = 0
        # the session's: told the time when this lane notices that the daily loss limit of all symbols is hit
        self.on_portfolio_loss: Callable[[int], None] | None = None

        self._envelope = envelope
        self._risk = risk
        self._engine = engine
        self._maker = MakerState()
        self._guard = engine.numbers.guard
        self._guard_memory = [0] * MEMORY_CELLS
        self._daily_loss = daily_loss
        self._ledger = ledger
        self._recorder = recorder
        self.combined = combined
        self._portfolio = portfolio
        self._desk_latency_ns = desk_latency_ns
        self._requote_ns = int(config.min_requote_ms * NS_PER_MS)
        self._max_age_ns = int(risk.limits.max_data_age_ms * NS_PER_MS)
        self._pending_mandates: deque[Mandate] = deque()
        self._quote_states: dict[Side, str | None] = {BUY: None, SELL: None}
        self._last_reconsider_ns = 0
        self._next_requote_ns = 0
        self._draining = False
        if portfolio is not None:
            portfolio.join(self.symbol, self._held)

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
        self.order_desk.arrivals(ts_ns)
        if ts_ns >= self.attribution.next_due_ns:
            self.attribution.settle(ts_ns, self.mid_half_ticks)
        if self._guard.on and ts_ns >= self._guard_memory[NEXT_SAMPLE_NS]:
            self._note_touch(ts_ns)
        applied = self.sync.apply(event)
        if applied is Applied.APPLIED:
            for each in self.sync.applied_now:
                self._apply(each)
        elif applied is Applied.GAP:
            self._next_requote_ns = 0
        if ts_ns >= self._next_requote_ns and self.opening is not None:
            self._next_requote_ns = ts_ns + self._requote_ns
            self._reconsider(ts_ns)
        self._ledger.commit()

    def go_stale(self) -> None:
        """Nothing was heard for too long: the quotes are pulled as of `stale_at_ns`, when that became true."""
        stale_ns, self.stale_at_ns = self.stale_at_ns, NEVER_NS
        self.look_again(stale_ns)

    def look_again(self, ts_ns: int) -> None:
        """Reconsider the quotes at `ts_ns`, although nothing of this symbol was received then."""
        if self.opening is None or self._draining:
            return
        self.now_ns = ts_ns
        self.order_desk.arrivals(ts_ns)
        self._reconsider(ts_ns)
        self._ledger.commit()

    def fail_feed(self, reason: str) -> None:
        """No event will come any more, because the feed failed: drain."""
        self.feed_failure = reason
        self.drain("feed_failed")

    def _apply(self, event: MarketEvent) -> None:
        book = self.book
        self.statistics.on_event(event, book)
        if isinstance(event, Trade):
            self.last_trade = event
            if self._guard.trades_ratio:
                note_trade(self._guard_memory, self.now_ns, self._guard.slice_ns, event.aggressor * event.size_lots)
        else:
            self.stale_at_ns = self.now_ns + self._max_age_ns
            if book.is_valid and book.best_bid_ticks and book.best_ask_ticks:
                self.mid_half_ticks = book.best_bid_ticks + book.best_ask_ticks
                if self.opening is None and not book.is_crossed:
                    self._open()
        outcomes = self.venue.on_market(event)
        if outcomes:
            self.order_desk.take(outcomes)

    def _open(self) -> None:
        """The first price is known: the opening inventory gets its value."""
        instrument, inventory = self.instrument, self.inventory
        inventory.open_at(self.mark_half_ticks)
        self._daily_loss.day_open_atoms = self.equity_atoms()
        self.opening = OpeningRecord(
            symbol=self.symbol,
            ts_ns=self.now_ns,
            price=self.mark_price,
            base=instrument.base_amount(inventory.base_atoms),
            quote=instrument.quote_amount(inventory.quote_atoms),
            total_value=instrument.quote_amount(self.value_atoms()),
        )
        self._ledger.opening(self.opening)
        if self._portfolio is not None:
            self._portfolio.opened(self.symbol, self.equity_atoms())
        self.drawdown.update(self.equity_atoms())
        self.combined.update(self.instrument, self.equity_atoms())
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
        """Base at the mark plus quote, in quote atoms: what the books say."""
        return self.inventory.value_atoms(self.mark_half_ticks)

    @property
    def numbers(self) -> MakerNumbers:
        """Everything of the configuration that a decision depends on."""
        return self._engine.numbers

    @property
    def requests_per_min(self) -> int:
        """The venue's request budget."""
        return self._risk.limits.max_requests_per_min

    def equity_atoms(self) -> int:
        """Base at the mid plus quote, in quote atoms: what risk looks at, because one odd trade must not halt anybody."""
        return self.inventory.value_atoms(self.mid_half_ticks)

    def _held(self) -> Held | None:
        if self.opening is None and self.inventory.base_atoms:
            return None  # nobody knows yet what it is worth
        inventory, working = self.inventory, self.order_desk.working.values()
        return held_by(self.instrument, inventory.base_atoms, inventory.quote_atoms, self.mid_half_ticks, working)

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

    def _market_state(self, ts_ns: int) -> tuple[MarketState, Signs | None]:
        book, statistics, problem = self.book, self.statistics, self.market_problem(ts_ns)
        bid, ask = book.best_bid_ticks, book.best_ask_ticks
        if problem:
            return MarketState(bid, ask, None, 0.0, problem), None
        volatility, depth_score = statistics.volatility_per_hour(ts_ns), statistics.depth_score(book)
        signs, buy_toxic, sell_toxic = None, NONE, NONE
        if self._guard.on:
            imbalance = statistics.imbalance(book) if self._guard.imbalance else 0.0
            signs = signs_now(self._guard_memory, self._guard, ts_ns, book.best_bid_lots, book.best_ask_lots, imbalance)
            buy_toxic, sell_toxic = toxic_sides(self._guard_memory, self._guard, ts_ns, signs)
        lots = book.best_bid_lots, book.best_ask_lots
        return MarketState(bid, ask, volatility, depth_score, "", *lots, buy_toxic, sell_toxic), signs

    def _note_touch(self, ts_ns: int) -> None:
        """Sample the best sizes as they were before what is received now."""
        book = self.book
        known = book.is_valid and 0 < book.best_bid_ticks < book.best_ask_ticks
        lots = (book.best_bid_lots, book.best_ask_lots) if known else (0, 0)
        note_touch(self._guard_memory, ts_ns, *lots)

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
        market, signs = self._market_state(ts_ns)
        equity_atoms = self.equity_atoms()
        self.drawdown.update(equity_atoms)
        self.combined.update(self.instrument, equity_atoms)
        daily_loss = self._daily_loss.update(ts_ns, equity_atoms)
        portfolio_loss, bid_lots = self._within_portfolio(ts_ns)
        ratio = 0.5
        blocked: dict[Side, str] = {}
        if not market.problem:
            ratio = self._engine.ratio(self.inventory.base_atoms, (market.best_bid_ticks + market.best_ask_ticks) / 2.0)
            blocked = self._risk.blocked_sides(self.inventory.base_atoms, ratio, daily_loss, portfolio_loss)
        values = self.mandate_values(ts_ns)
        working = tuple(self.order_desk.working.values())
        requests_left = self._risk.limits.max_requests_per_min - self.order_desk.requests_last_min(ts_ns)
        self._maker, decision = self._engine.step(
            self._maker,
            Reconsider(
                now_ns=ts_ns,
                market=market,
                base_atoms=self.inventory.base_atoms,
                quote_atoms=self.inventory.quote_atoms,
                working=working,
                mandate=values,
                blocked=blocked,
                requests_left=requests_left,
                requests_per_min=self._risk.limits.max_requests_per_min,
                shown_lots=tuple(self.book.size_at(each.side, each.price_ticks or 0) for each in working)
                if self.config.queue_value_bps
                else (),
                portfolio_bid_lots=bid_lots,
            ),
        )
        self.explanation = Explanation(ts_ns, market, values, ratio, blocked, decision, signs, requests_left)
        if decision.terms is not None and decision.terms.bid_ticks is not None:
            counts.quoted += 1
            counts.quote_distance_bps_sum += (1 - decision.terms.bid_ticks / decision.terms.mid_ticks) * 10_000
            counts.market_spread_ticks_sum += market.best_ask_ticks - market.best_bid_ticks
        denied: dict[Side, str] = {}
        if decision.cancels or decision.intents:
            context = RiskContext(
                now_ns=ts_ns,
                best_bid_ticks=market.best_bid_ticks,
                best_ask_ticks=market.best_ask_ticks,
                market_problem=market.problem,
                base_atoms=self.inventory.base_atoms,
                quote_atoms=self.inventory.quote_atoms,
                inventory_ratio=ratio,
                daily_loss_hit=daily_loss,
                portfolio_bid_lots=bid_lots,
                portfolio_loss_hit=portfolio_loss,
            )
            denied = self.order_desk.carry_out(ts_ns, decision.cancels, decision.intents, context, values)
            for side in denied:
                self._maker, _ = self._engine.step(self._maker, SideDenied(ts_ns, side))
        self._note_quote_states(ts_ns, dict(decision.withheld) | denied)

    def _within_portfolio(self, ts_ns: int) -> tuple[str, int]:
        """The daily loss limit of all symbols that is hit, or "", and the most that buys of this one may have."""
        portfolio = self._portfolio
        if portfolio is None:
            return "", NO_PORTFOLIO_CAP
        hit_before = portfolio.loss_hit
        hit = portfolio.daily_loss(ts_ns)
        if hit and not hit_before and self.on_portfolio_loss is not None:
            self.on_portfolio_loss(ts_ns)
        return hit, portfolio.bid_lots(self.symbol, self.inventory.base_atoms, self.mid_half_ticks)

    def _note_quote_states(self, ts_ns: int, withheld: Mapping[Side, str]) -> None:
        """Record when a side begins or stops being quoted, and why."""
        for side, before in self._quote_states.items():
            reason = withheld.get(side, "")
            if reason:
                self.counts.withheld_by[reason] = self.counts.withheld_by.get(reason, 0) + 1
            if reason != before:
                self._quote_states[side] = reason
                self._ledger.quote_state(QuoteStateRecord(self.symbol, ts_ns, SIDE_WORD[side], not reason, reason))

    # --- fills ----------------------------------------------------------------------------------------------------

    def _book_fill(self, order: Order, fill: OrderFilled) -> None:
        instrument, inventory = self.instrument, self.inventory
        inventory.apply(fill)
        self.attribution.fill(fill, self.mid_half_ticks)
        self.counts.fills += 1
        self._maker, _ = self._engine.step(self._maker, SideFilled(fill.ts_ns, fill.side))
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

    # --- the desk speaks ------------------------------------------------------------------------------------------

    def view(self, now_ns: int) -> MarketView | None:
        """What the desk may know at `now_ns`; None while the market cannot be traded, see `market_problem`."""
        if self.opening is None or self.market_problem(now_ns):
            return None
        book = self.statistics.snapshot(self.book, now_ns)
        if book is None:
            return None
        return maker_view(
            symbol=self.symbol,
            now_ns=now_ns,
            simulated=self.feed.simulated,
            book=book,
            trades=self.statistics.trades(now_ns),
            inventory_ratio=self._engine.ratio(self.inventory.base_atoms, self.mid_half_ticks / 2.0),
            inventory_target=self.config.inventory_target,
            max_exposure_frac=float(self.config.max_inventory_exposure),
            base_value_atoms=self.inventory.base_value_atoms(self.mid_half_ticks),
            equity_atoms=self.equity_atoms(),
            day_open_atoms=self._daily_loss.day_open_atoms,
            capital_atoms=self.instrument.quote_atoms_floor(self.config.total_capital),
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
        """Cancel every quote, wait until the venue has answered, keep the inventory. Harmless when called twice.

        A cancel that the venue did not answer is sent again, `DRAIN_TRIES` times at most.
        """
        if self._draining or self.opening is None:
            return
        self._draining = True
        self.stale_at_ns = NEVER_NS
        ts_ns = self.now_ns
        desk, sent_ns = self.order_desk, ts_ns
        for _ in range(DRAIN_TRIES):
            self._maker, decision = self._engine.step(self._maker, Drain(tuple(desk.working.values()), reason))
            desk.cancel(sent_ns, decision.cancels)
            desk.arrivals(NEVER_NS)
            sent_ns = max(sent_ns, desk.heard_ns)
            if not desk.working:
                break
        self._note_quote_states(ts_ns, {BUY: reason, SELL: reason})
        self._ledger.commit()
        if self.mid_half_ticks:
            self.attribution.close(self.mid_half_ticks)
        self.drawdown.update(self.equity_atoms())
        self.combined.update(self.instrument, self.equity_atoms())
