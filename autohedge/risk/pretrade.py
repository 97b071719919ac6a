"""The pre-trade checks: the last word of arithmetic before an order is sent. They can only refuse.

Each check answers passed / reason / suggestion / current / limit. All critical checks come first, and the first that fails
ends the list; the others are all told, so that an operator sees every reason at once.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from enum import StrEnum
from typing import NamedTuple

from autohedge.domain.fees import FeeRate
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, Side
from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.sizing import SizeRules, WorkingTotals, buy_cost_atoms, exposure_atoms
from autohedge.risk.limits import RiskLimits


class Priority(StrEnum):
    """How grave a failure is; the first critical one stops the checking."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"


class CheckResult(NamedTuple):
    """The answer of one check; `current` and `limit` are in the unit that the reason names."""

    check: str
    priority: Priority
    passed: bool
    reason: str = ""
    suggestion: str = ""
    current: str = ""
    limit: str = ""


class OrderRequest(NamedTuple):
    """The order in question; `price_ticks` is None for a market order."""

    client_order_id: str
    side: Side
    price_ticks: int | None
    size_lots: int


class RiskContext(NamedTuple):
    """What the checks may look at, as of `now_ns`. `market_problem` is "" when the market can be traded."""

    now_ns: int
    best_bid_ticks: int
    best_ask_ticks: int
    market_problem: str
    base_atoms: int
    quote_atoms: int
    inventory_ratio: float
    daily_loss_hit: str
    working: Sequence[Order] = ()
    requests_last_min: int = 0
    used_order_ids: Container[str] = ()


class Verdict(NamedTuple):
    """All answers given; the order may be sent only if every one passed."""

    results: tuple[CheckResult, ...]

    @property
    def allowed(self) -> bool:
        """True when no check failed."""
        return all(result.passed for result in self.results)

    @property
    def first_failure(self) -> CheckResult | None:
        """The gravest failure, or None."""
        return next((result for result in self.results if not result.passed), None)


class PreTradeRisk:
    """The checks for one instrument. Holds limits only."""

    def __init__(self, limits: RiskLimits, size_rules: SizeRules, taker_fee: FeeRate) -> None:
        self.limits = limits
        self._rules = size_rules
        self._instrument: Instrument = size_rules.instrument
        self._taker_fee = taker_fee
        self._max_notional_atoms = self._instrument.quote_atoms_floor(limits.max_order_notional_quote)
        self._duplicate_window_ns = int(limits.duplicate_window_ms * 1_000_000)
        critical: tuple[Callable[[OrderRequest, RiskContext], CheckResult], ...] = (
            self._market_data,
            self._instrument_rules,
            self._balance,
            self._exposure_cap,
            self._daily_loss,
            self._duplicate,
        )
        self._checks = (*critical, self._notional, self._inventory_imbalance, self._price_collar, self._order_rate)

    def check(self, order: OrderRequest, context: RiskContext) -> Verdict:
        """Every answer up to and including the first critical failure."""
        results: list[CheckResult] = []
        for check in self._checks:
            result = check(order, context)
            results.append(result)
            if not result.passed and result.priority is Priority.CRITICAL:
                break
        return Verdict(tuple(results))

    def blocked_sides(self, base_atoms: int, ratio: float, daily_loss_hit: str) -> dict[Side, str]:
        """Sides on which no order that raises exposure may work, with the reason: their quotes are pulled."""
        raising = self._raising_side(base_atoms)
        if daily_loss_hit:
            return {raising: "daily_loss"}
        if abs(ratio - 0.5) >= self.limits.max_inventory_imbalance:
            return {raising: "inventory_imbalance"}
        return {}

    def _raising_side(self, base_atoms: int) -> Side:
        """The side that takes the inventory further from neutral; at neutral a buy does, because it raises the exposure."""
        return BUY if base_atoms >= self._rules.neutral_base_atoms else Side.SELL

    # --- critical -------------------------------------------------------------------------------------------------

    def _market_data(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        if not context.market_problem:
            return CheckResult("market_data", Priority.CRITICAL, True)
        return CheckResult(
            "market_data",
            Priority.CRITICAL,
            False,
            f"the market cannot be traded: {context.market_problem}",
            "wait for a synchronised, two-sided, fresh book",
            context.market_problem,
            f"data at most {self.limits.max_data_age_ms} ms old",
        )

    def _instrument_rules(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        instrument, lots = self._instrument, order.size_lots
        notional = self._notional_atoms(order, context)
        broken = ""
        current, limit = str(instrument.size(lots)), ""
        if lots < instrument.min_lots:
            broken, limit = "min_qty", str(instrument.min_qty)
        elif lots > instrument.max_lots:
            broken, limit = "max_qty", str(instrument.max_qty)
        elif order.price_ticks is not None and order.price_ticks <= 0:
            broken, current, limit = "tick_size", str(order.price_ticks), "a positive number of ticks"
        elif notional < instrument.min_notional_atoms:
            broken, current, limit = "min_notional", str(instrument.quote_amount(notional)), str(instrument.min_notional)
        elif instrument.max_notional is not None and notional > instrument.quote_atoms_floor(instrument.max_notional):
            broken, current, limit = "max_notional", str(instrument.quote_amount(notional)), str(instrument.max_notional)
        if not broken:
            return CheckResult("instrument_rules", Priority.CRITICAL, True)
        return CheckResult(
            "instrument_rules",
            Priority.CRITICAL,
            False,
            f"{instrument.symbol} breaks the venue's rule {broken}",
            f"keep {broken} within {limit}",
            current,
            limit,
        )

    def _balance(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        working = WorkingTotals.of(context.working, self._rules)
        instrument = self._instrument
        if order.side is BUY:
            fee = self._rules.maker_fee if order.price_ticks is not None else self._taker_fee
            need = buy_cost_atoms(instrument, order.price_ticks or context.best_ask_ticks, order.size_lots, fee)
            free = context.quote_atoms - working.buy_reserve_atoms
            current, limit, asset = instrument.quote_amount(need), instrument.quote_amount(free), instrument.quote
        else:
            need = order.size_lots * instrument.base_atoms_per_lot
            free = context.base_atoms - working.sell_lots * instrument.base_atoms_per_lot
            current, limit, asset = instrument.base_amount(need), instrument.base_amount(free), instrument.base
        if need <= free:
            return CheckResult("balance", Priority.CRITICAL, True)
        return CheckResult(
            "balance",
            Priority.CRITICAL,
            False,
            f"needs {current} {asset} with the fee, free are {limit}",
            "make the order smaller or cancel a working one",
            str(current),
            str(limit),
        )

    def _exposure_cap(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        if order.side is not BUY:
            return CheckResult("exposure_cap", Priority.CRITICAL, True)
        working = WorkingTotals.of(context.working, self._rules)
        price = order.price_ticks or context.best_ask_ticks
        exposure = exposure_atoms(self._rules, context.base_atoms, working, price, order.size_lots)
        if exposure <= self._rules.cap_atoms:
            return CheckResult("exposure_cap", Priority.CRITICAL, True)
        amount = self._instrument.quote_amount
        return CheckResult(
            "exposure_cap",
            Priority.CRITICAL,
            False,
            f"base, working buys and this order would be worth {amount(exposure)} {self._instrument.quote}",
            "wait for a sale or raise max_inventory_exposure",
            str(amount(exposure)),
            str(amount(self._rules.cap_atoms)),
        )

    def _daily_loss(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        if not context.daily_loss_hit or order.side is not self._raising_side(context.base_atoms):
            return CheckResult("daily_loss", Priority.CRITICAL, True)
        return CheckResult(
            "daily_loss",
            Priority.CRITICAL,
            False,
            f"the daily loss limit is reached ({context.daily_loss_hit}): only orders that reduce exposure",
            "wait for 00:00 UTC or raise the limit",
            context.daily_loss_hit,
            f"{self.limits.max_daily_loss_quote} or {self.limits.max_daily_loss_frac:.2%}",
        )

    def _duplicate(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        if order.client_order_id in context.used_order_ids:
            same = order.client_order_id
        else:
            same = next(
                (
                    working.client_order_id
                    for working in context.working
                    if working.is_working
                    and working.state is not OrderState.CANCELLING
                    and working.side is order.side
                    and working.price_ticks == order.price_ticks
                    and working.remaining_lots == order.size_lots
                    and context.now_ns - working.created_ns < self._duplicate_window_ns
                ),
                "",
            )
        if not same:
            return CheckResult("duplicate", Priority.CRITICAL, True)
        return CheckResult(
            "duplicate",
            Priority.CRITICAL,
            False,
            f"{same} is the same order",
            "wait for the outcome of the first",
            same,
            f"one within {self.limits.duplicate_window_ms} ms",
        )

    # --- high and medium --------------------------------------------------------------------------------------------

    def _notional(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        notional = self._notional_atoms(order, context)
        if notional <= self._max_notional_atoms:
            return CheckResult("notional", Priority.HIGH, True)
        amount = self._instrument.quote_amount(notional)
        limit = self.limits.max_order_notional_quote
        return CheckResult(
            "notional", Priority.HIGH, False, f"the order is worth {amount}", f"split it below {limit}", str(amount), str(limit)
        )

    def _inventory_imbalance(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        imbalance = abs(context.inventory_ratio - 0.5)
        if imbalance < self.limits.max_inventory_imbalance or order.side is not self._raising_side(context.base_atoms):
            return CheckResult("inventory_imbalance", Priority.HIGH, True)
        return CheckResult(
            "inventory_imbalance",
            Priority.HIGH,
            False,
            f"inventory is {imbalance:.3f} off neutral and the order would raise that",
            "wait for a fill on the other side",
            f"{imbalance:.4f}",
            f"{self.limits.max_inventory_imbalance}",
        )

    def _price_collar(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        mid = (context.best_bid_ticks + context.best_ask_ticks) / 2.0
        distance = 0.0 if order.price_ticks is None else abs(order.price_ticks - mid) / mid
        if distance <= self.limits.price_collar_frac:
            return CheckResult("price_collar", Priority.HIGH, True)
        return CheckResult(
            "price_collar",
            Priority.HIGH,
            False,
            f"the price is {distance:.2%} from the mid",
            f"stay within {self.limits.price_collar_frac:.2%}",
            f"{distance:.6f}",
            f"{self.limits.price_collar_frac}",
        )

    def _order_rate(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        if context.requests_last_min < self.limits.max_requests_per_min:
            return CheckResult("order_rate", Priority.MEDIUM, True)
        return CheckResult(
            "order_rate",
            Priority.MEDIUM,
            False,
            f"{context.requests_last_min} requests were sent in the last 60 s",
            "requote less often or raise max_requests_per_min",
            str(context.requests_last_min),
            str(self.limits.max_requests_per_min),
        )

    def _notional_atoms(self, order: OrderRequest, context: RiskContext) -> int:
        price = order.price_ticks or (context.best_ask_ticks if order.side is BUY else context.best_bid_ticks)
        return self._instrument.notional_atoms(price, order.size_lots)
