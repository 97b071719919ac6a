"""The whole core in motion: engine, pre-trade risk and inventory against a small venue with delays, in any market.

After every step: no balance is negative, no bid of ours meets an ask of ours, no order could exceed the exposure cap at its own
price with everything that works, none is below the venue's minimums, and pre-trade risk agrees with whatever the engine
places. At the end the market calms down, and a side that is then not quoted must have a standing reason.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autohedge.domain.fees import FeeRate
from autohedge.domain.ids import IdFactory
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.mandate import MandateState, MandateValues, RiskLevel
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import (
    CancelOrder,
    CancelRejected,
    Command,
    Liquidity,
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
from autohedge.market_maker.config import FeeAsset, MarketMakingConfig, QuotingModel, Touch
from autohedge.market_maker.engine import (
    Decision,
    Drain,
    MakerState,
    MarketState,
    OrderIntent,
    QuoteEngine,
    Reconsider,
    SideFilled,
)
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.limits import RiskLimits
from autohedge.risk.pretrade import OrderRequest, PreTradeRisk, RiskContext

MS = 1_000_000
S = 1_000 * MS
INSTRUMENT = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    min_qty=Decimal("0.003"),
    max_qty=Decimal(50),
    min_notional=Decimal(10),
    max_notional=Decimal(5_000),
    venue="test",
    rules_as_of="",
)
"""A lot is a thousandth, so that at a price near 100 an order of 1 % of 10,000 has a thousand lots."""

STANDING = {
    "no_base",
    "inventory_limit",
    "no_quote",
    "exposure_cap",
    "below_min_notional",
    "inventory_imbalance",
    "daily_loss",
    "min_profit_unreachable",
}
"""Reasons that can rightly hold for ever in a calm market; all others must pass."""


class SmallVenue:
    """Orders arrive after a delay, in the order sent; they fill in any parts the test likes, at their own price."""

    def __init__(self, maker: FeeRate, taker: FeeRate, in_received: bool) -> None:
        self.resting: dict[str, tuple[PlaceOrder, int]] = {}
        self.ids = IdFactory("BTC/USDT")
        self._fees = {Liquidity.MAKER: maker, Liquidity.TAKER: taker}
        self._in_received = in_received
        self._in_flight: deque[tuple[int, Command]] = deque()

    def submit(self, command: Command, arrival_ns: int) -> None:
        if self._in_flight:
            arrival_ns = max(arrival_ns, self._in_flight[-1][0])
        self._in_flight.append((arrival_ns, command))

    def arrivals(self, now_ns: int, bid: int, ask: int, free_quote: int) -> list[VenueEvent]:
        events: list[VenueEvent] = []
        while self._in_flight and self._in_flight[0][0] <= now_ns:
            at_ns, command = self._in_flight.popleft()
            if isinstance(command, CancelOrder):
                events.append(self._cancel(at_ns, command))
            else:
                events += self._place(at_ns, command, bid, ask, free_quote)
        return events

    def _cancel(self, at_ns: int, command: CancelOrder) -> VenueEvent:
        found = self.resting.pop(command.client_order_id, None)
        if found is None:
            return CancelRejected(at_ns, command.client_order_id, "not_open")
        return OrderCancelled(at_ns, command.client_order_id, found[1], command.reason)

    def _place(self, at_ns: int, order: PlaceOrder, bid: int, ask: int, free_quote: int) -> list[VenueEvent]:
        opposite = ask if order.side is BUY else bid
        accepted = OrderAccepted(at_ns, order.client_order_id)
        if order.price_ticks is None:
            cost = INSTRUMENT.notional_atoms(opposite, order.size_lots)
            if order.side is BUY and cost + self._fees[Liquidity.TAKER].of(cost) > free_quote:
                return [OrderRejected(at_ns, order.client_order_id, "insufficient_balance", "")]
            taken = min(order.size_lots, 700)
            fill = self._fill(at_ns, order, opposite, taken, Liquidity.TAKER)
            rest = order.size_lots - taken
            return [accepted, fill, *([OrderCancelled(at_ns, order.client_order_id, rest, "depth")] if rest else [])]
        if order.side * (order.price_ticks - opposite) >= 0:
            return [OrderRejected(at_ns, order.client_order_id, "post_only_would_cross", "")]
        self.resting[order.client_order_id] = (order, order.size_lots)
        return [accepted]

    def take(self, at_ns: int, order_id: str, lots: int) -> OrderFilled:
        order, left = self.resting.pop(order_id)
        if lots < left:
            self.resting[order_id] = (order, left - lots)
        return self._fill(at_ns, order, order.price_ticks or 0, lots, Liquidity.MAKER)

    def _fill(self, at_ns: int, order: PlaceOrder, price: int, lots: int, liquidity: Liquidity) -> OrderFilled:
        in_base = self._in_received and order.side is BUY
        amount = lots * INSTRUMENT.base_atoms_per_lot if in_base else INSTRUMENT.notional_atoms(price, lots)
        asset = "BTC" if in_base else "USDT"
        fee = self._fees[liquidity].of(amount)
        return OrderFilled(at_ns, order.client_order_id, self.ids.fill(), order.side, price, lots, liquidity, asset, fee)


configs = st.fixed_dictionaries(
    {
        "order_size_percentage": st.sampled_from(["0.01", "0.05", "0.003"]),
        "max_inventory_exposure": st.sampled_from(["0.05", "0.2", "1"]),
        "rebalance_threshold": st.sampled_from(["0.02", "0.1", "0.5"]),
        "min_profit_threshold": st.sampled_from([None, "0", "0.002"]),
        "spread_percentage": st.sampled_from(["0.00001", "0.001", "0.004"]),
        "maker_fee_bps": st.sampled_from(["-2.5", "0", "7.77", "10"]),
        "fee_asset": st.sampled_from(list(FeeAsset)),
        "quoting_model": st.sampled_from(list(QuotingModel)),
        "touch": st.sampled_from(list(Touch)),
        "skew_factor": st.sampled_from([0, 0.3, 2]),
        "inventory_target": st.sampled_from([0.0, 0.5, 1.0]),
        "initial_base": st.sampled_from(["0", "0.0125", "3.7000001", "17"]),
        "neutral_base": st.sampled_from(["0", "4", "15"]),
        "rebalance": st.booleans(),
        "refresh_tolerance_bps": st.sampled_from([0, 1, 50]),
        "max_order_age_s": st.sampled_from([0.3, 1_800]),
        "filled_order_delay_s": st.sampled_from([0, 0.25, 5]),
    }
)


class CoreInMotion(RuleBasedStateMachine):
    """One maker, one venue, one market that does what it likes."""

    @initialize(
        config=configs,
        requests_per_min=st.sampled_from([3, 20, 1_000]),
        daily_loss=st.sampled_from(["5", "1000"]),
        delay_ms=st.sampled_from([1, 50, 350]),
        quote=st.sampled_from([10_000 * 10**8, 2_000 * 10**8 + 7]),
    )
    def open(self, config: dict[str, Any], requests_per_min: int, daily_loss: str, delay_ms: int, quote: int) -> None:
        self.config = MarketMakingConfig(**config)
        limits = RiskLimits(
            max_requests_per_min=requests_per_min, max_daily_loss_quote=Decimal(daily_loss), price_collar_frac=0.9
        )
        self.engine = QuoteEngine(self.config, INSTRUMENT)
        rules = self.engine.size_rules
        self.risk = PreTradeRisk(limits, rules)
        self.venue = SmallVenue(rules.maker_fee, rules.taker_fee, self.config.fee_asset is FeeAsset.RECEIVED)
        self.delay_ns = delay_ms * MS
        self.now_ns = 1_700_000_000 * S
        self.bid, self.ask, self.problem = 9_999, 10_001, ""
        self.volatility: float | None = None
        self.depth = 50.0
        base = INSTRUMENT.base_atoms_floor(self.config.initial_base)
        self.inventory = Inventory(INSTRUMENT, base, quote)
        self.inventory.open_at(self.mid_half_ticks)
        self.opening_atoms = self.inventory.value_atoms(self.mid_half_ticks)
        self.daily_loss = DailyLoss(INSTRUMENT, limits, self.opening_atoms)
        self.maker = MakerState()
        self.mandate = MandateValues("", 2.0, 0.0, 0.5, RiskLevel.MEDIUM, "conservative", MandateState.MISSING)
        self.ids = IdFactory("BTC/USDT")
        self.orders: dict[str, Order] = {}
        self.requests: deque[int] = deque()
        self.last: Decision | None = None

    # --- what the market and the venue do -------------------------------------------------------------------------------------

    @property
    def mid_half_ticks(self) -> int:
        return self.bid + self.ask

    @property
    def working(self) -> tuple[Order, ...]:
        return tuple(order for order in self.orders.values() if order.is_working)

    @rule(
        bid_moves=st.integers(-60, 60) | st.integers(-400, 400),
        width=st.sampled_from([2, 1, 3, 20, 300]),
        after_ms=st.sampled_from([100, 1, 60, 700, 12_000]),
    )
    def market_moves(self, bid_moves: int, width: int, after_ms: int) -> None:
        self.pass_time(after_ms)
        self.move_to(bid_moves, width)
        self.requote()

    @rule(moves=st.lists(st.integers(-40, 40), min_size=3, max_size=12))
    def market_wanders(self, moves: list[int]) -> None:
        for each in moves:
            self.market_moves(each, 2, 100)

    def move_to(self, bid_moves: int, width: int) -> None:
        self.bid = max(2_000, min(50_000, self.bid + bid_moves))
        self.ask = self.bid + width
        for order_id, (order, left) in list(self.venue.resting.items()):
            if order.side * ((order.price_ticks or 0) - (self.ask if order.side is BUY else self.bid)) >= 0:
                self.take([self.venue.take(self.now_ns, order_id, left)])

    @rule(volatility=st.sampled_from([None, 0.0, 0.0075, 0.5]), depth=st.sampled_from([0.0, 40.0, 100.0]))
    def statistics_change(self, volatility: float | None, depth: float) -> None:
        self.volatility, self.depth = volatility, depth

    @rule(problem=st.sampled_from(["gap", "stale", "crossed"]), after_ms=st.sampled_from([1, 60, 700]))
    def book_breaks_and_heals(self, problem: str, after_ms: int) -> None:
        self.problem = problem
        self.requote()
        assert self.last is not None and not self.last.intents
        self.pass_time(after_ms)
        self.requote()
        self.problem = ""

    @precondition(lambda self: self.venue.resting)
    @rule(which=st.integers(0, 5), share=st.sampled_from([0.001, 0.3, 0.5, 1.0]))
    def somebody_trades_with_us(self, which: int, share: float) -> None:
        order_id, (_, left) = list(self.venue.resting.items())[which % len(self.venue.resting)]
        self.take([self.venue.take(self.now_ns, order_id, max(1, int(left * share)))])
        self.requote()

    @rule(after_ms=st.sampled_from([1, 50, 400, 3_000, 61_000]))
    def pass_time(self, after_ms: int) -> None:
        self.now_ns += after_ms * MS
        self.take(self.venue.arrivals(self.now_ns, self.bid, self.ask, self.inventory.quote_atoms))

    @rule(
        multiplier=st.sampled_from([1.0, 1.5, 3.0]),
        bias=st.sampled_from([-0.5, 0.0, 0.5]),
        size=st.sampled_from([0.25, 1.0]),
        risk=st.sampled_from(list(RiskLevel)),
    )
    def desk_speaks(self, multiplier: float, bias: float, size: float, risk: RiskLevel) -> None:
        self.mandate = MandateValues("m", multiplier, bias, size, risk, "rules", MandateState.IN_FORCE)

    def take(self, events: list[VenueEvent]) -> None:
        """Book what happened; an order that breaks the table or a balance fails the test here."""
        for event in events:
            order = self.orders[event.client_order_id]
            if isinstance(event, OrderFilled):
                order.fill(event.size_lots)
                self.inventory.apply(event)
                self.maker, _ = self.engine.step(self.maker, SideFilled(event.ts_ns, event.side))
            elif isinstance(event, OrderAccepted):
                order.apply(OrderEvent.ACCEPT)
            elif isinstance(event, OrderRejected):
                order.apply(OrderEvent.REJECT)
            elif isinstance(event, OrderCancelled):
                assert event.remaining_lots == order.remaining_lots
                order.apply(OrderEvent.CANCEL)
            else:
                order.apply(OrderEvent.REFUSE_CANCEL)

    # --- what the maker does --------------------------------------------------------------------------------------------------

    @rule()
    def requote(self) -> None:
        loss = self.daily_loss.update(self.now_ns, self.inventory.value_atoms(self.mid_half_ticks))
        ratio = 0.5 if self.problem else self.engine.ratio(self.inventory.base_atoms, self.mid_half_ticks / 2)
        event = Reconsider(
            now_ns=self.now_ns,
            market=MarketState(self.bid, self.ask, self.volatility, self.depth, self.problem),
            base_atoms=self.inventory.base_atoms,
            quote_atoms=self.inventory.quote_atoms,
            working=self.working,
            mandate=self.mandate,
            blocked={} if self.problem else self.risk.blocked_sides(self.inventory.base_atoms, ratio, loss),
            requests_left=self.risk.limits.max_requests_per_min - self.requests_last_min(),
        )
        state = self.maker
        self.maker, decision = self.engine.step(state, event)
        assert self.engine.step(state, event) == (self.maker, decision)
        self.last = decision
        for cancel in decision.cancels:
            self.cancel(cancel)
        for intent in decision.intents:
            self.place(intent, ratio, loss)

    def cancel(self, cancel: CancelOrder) -> None:
        order = self.orders[cancel.client_order_id]
        assert order.state is not OrderState.CANCELLING, "cancelled twice"
        assert order.price_ticks is not None, "a market order cannot be cancelled"
        order.apply(OrderEvent.ASK_CANCEL)
        self.requests.append(self.now_ns)
        self.venue.submit(cancel, self.now_ns + self.delay_ns)

    def place(self, intent: OrderIntent, ratio: float, loss: str) -> None:
        assert not self.problem
        order = Order(
            self.ids.order(), intent.side, intent.price_ticks, intent.size_lots, intent.price_ticks is not None,
            intent.style.value, self.now_ns, "m", "rules",
        )  # fmt: skip
        verdict = self.risk.check(
            OrderRequest(order.client_order_id, order.side, order.price_ticks, order.size_lots),
            RiskContext(
                now_ns=self.now_ns,
                best_bid_ticks=self.bid,
                best_ask_ticks=self.ask,
                market_problem=self.problem,
                base_atoms=self.inventory.base_atoms,
                quote_atoms=self.inventory.quote_atoms,
                inventory_ratio=ratio,
                daily_loss_hit=loss,
                working=self.working,
                requests_last_min=self.requests_last_min(),
                used_order_ids=self.orders,
            ),
        )
        assert verdict.allowed, verdict.first_failure
        self.check_placement(order)
        order.apply(OrderEvent.SUBMIT)
        self.orders[order.client_order_id] = order
        self.requests.append(self.now_ns)
        self.venue.submit(
            PlaceOrder(order.client_order_id, order.side, order.price_ticks, order.size_lots, order.post_only, order.reason),
            self.now_ns + self.delay_ns,
        )

    def check_placement(self, order: Order) -> None:
        price = order.price_ticks or (self.ask if order.side is BUY else self.bid)
        notional = INSTRUMENT.notional_atoms(price, order.size_lots)
        assert INSTRUMENT.min_notional_atoms <= notional <= INSTRUMENT.quote_atoms_floor(INSTRUMENT.max_notional or Decimal(0))
        assert INSTRUMENT.min_lots <= order.size_lots <= INSTRUMENT.max_lots
        if order.price_ticks is not None:
            assert order.price_ticks < self.ask if order.side is BUY else order.price_ticks > self.bid
        else:
            assert not self.working, "a crossing order could meet an own quote"
        if order.side is BUY:
            held_lots = -(-self.inventory.base_atoms // INSTRUMENT.base_atoms_per_lot)
            lots = held_lots + order.size_lots + sum(each.remaining_lots for each in self.working if each.side is BUY)
            assert INSTRUMENT.notional_atoms(price, lots) <= INSTRUMENT.quote_atoms_floor(
                self.config.total_capital * self.config.max_inventory_exposure
            )

    def requests_last_min(self) -> int:
        while self.requests and self.requests[0] <= self.now_ns - 60 * S:
            self.requests.popleft()
        return len(self.requests)

    # --- what always holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def no_balance_is_negative_and_pnl_adds_up(self) -> None:
        inventory = self.inventory
        assert inventory.base_atoms >= 0 and inventory.quote_atoms >= 0
        gained = inventory.value_atoms(self.mid_half_ticks) - self.opening_atoms
        assert gained == inventory.realized_atoms + inventory.unrealized_atoms(self.mid_half_ticks) - inventory.fees_atoms

    @invariant()
    def everything_that_works_could_fill(self) -> None:
        """All working orders together never promise more base than there is."""
        sells = sum(order.remaining_lots for order in self.working if order.side is SELL)
        assert sells * INSTRUMENT.base_atoms_per_lot <= self.inventory.base_atoms

    @invariant()
    def own_quotes_never_meet(self) -> None:
        prices: dict[Side, list[int]] = {BUY: [], SELL: []}
        for order in self.working:
            if order.price_ticks is not None:
                prices[order.side].append(order.price_ticks)
        assert max(prices[BUY], default=0) < min(prices[SELL], default=1 << 60)

    def teardown(self) -> None:
        """The market calms down: a side without a quote must have a reason that stands. Then a drain leaves nothing behind."""
        if not hasattr(self, "engine"):
            return
        self.volatility, self.depth = 0.0, 100.0
        self.move_to(9_999 - self.bid, 2)
        for _ in range(45):  # longer than any pause, than the budget's window, and than it takes to cross back to neutral
            self.pass_time(61_000)
            self.requote()
        quoted: set[Side] = set()
        reasons: dict[Side, str] = {}
        for _ in range(6):
            self.pass_time(61_000)
            self.requote()
            assert self.last is not None
            reasons = dict(self.last.withheld)
            quoted |= {order.side for order in self.working if order.state is not OrderState.CANCELLING}
        for side in (BUY, SELL):
            assert side in quoted or reasons.get(side) in STANDING, (side, reasons.get(side))
        self.drain()

    def drain(self) -> None:
        self.maker, decision = self.engine.step(self.maker, Drain(self.working, "session_end"))
        for cancel in decision.cancels:
            self.cancel(cancel)
        placed = len(self.orders)
        self.pass_time(61_000)
        self.requote()
        assert not self.working
        assert len(self.orders) == placed


CoreInMotion.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestCoreInMotion = CoreInMotion.TestCase
