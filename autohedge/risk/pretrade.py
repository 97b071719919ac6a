"""The pre-trade checks: the last word of arithmetic before an order is sent. They can only refuse.

Each check answers passed / reason / suggestion / current / limit. All critical checks come first, and the first that fails
ends the list; the others are all told, so that an operator sees every reason at once.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from enum import StrEnum
from typing import NamedTuple

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, Side
from autohedge.domain.orders import Order
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP
from autohedge.market_maker.reasons import PORTFOLIO_DAILY_LOSS, REASONS
from autohedge.market_maker.sizing import SizeRules, Totals, buy_cost, exposure, totals_of
from autohedge.market_maker.working import working_columns
from autohedge.risk.checks import (
    Checked,
    LimitNumbers,
    blocked_reason,
    collar_distance,
    first_failure,
    is_duplicate,
    raising_side,
)
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
    """What the checks may look at, as of `now_ns`. `market_problem` is "" when the market can be traded.

    `portfolio_bid_lots` is the most that all buys of this maker together may have, given what others on the same capital hold,
    and `portfolio_loss_hit` the limit of the daily loss of all that is hit (`autohedge.risk.portfolio`).
    """

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
    portfolio_bid_lots: int = NO_PORTFOLIO_CAP
    portfolio_loss_hit: str = ""


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

    def __init__(self, limits: RiskLimits, size_rules: SizeRules) -> None:
        self.limits = limits
        self.numbers = limit_numbers(limits, size_rules.instrument)
        self._rules = size_rules
        self._instrument: Instrument = size_rules.instrument
        critical: tuple[Callable[[OrderRequest, RiskContext], CheckResult], ...] = (
            self._market_data,
            self._instrument_rules,
            self._balance,
            self._exposure_cap,
            self._portfolio_exposure,
            self._daily_loss,
            self._portfolio_daily_loss,
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

    def first_failure(self, order: OrderRequest, context: RiskContext) -> CheckResult | None:
        """The gravest failure, or None: `check` without the words of what passed."""
        # the compiled loop knows no portfolio, so the numbers do not say whether an order keeps to its limits
        alone = context.portfolio_bid_lots == NO_PORTFOLIO_CAP and not context.portfolio_loss_hit
        if alone and order.client_order_id not in context.used_order_ids:
            working = [each for each in context.working if each.is_working]
            code = first_failure(
                self.numbers,
                self._rules.numbers,
                _checked(order, context),
                totals_of(working, self._rules.numbers),
                working_columns(working),
                len(working),
            )
            if not code:
                return None
        return self.check(order, context).first_failure

    def blocked_sides(
        self, base_atoms: int, ratio: float, daily_loss_hit: str, portfolio_loss_hit: str = ""
    ) -> dict[Side, str]:
        """The side on which no order that raises exposure may work, with the reason: its quotes are pulled. Empty: none."""
        code = blocked_reason(ratio, bool(daily_loss_hit), self.limits.max_inventory_imbalance)
        if portfolio_loss_hit and not daily_loss_hit:
            code = PORTFOLIO_DAILY_LOSS
        return {self._raising_side(base_atoms): REASONS[code]} if code else {}

    def _raising_side(self, base_atoms: int) -> Side:
        return Side(raising_side(base_atoms, self._rules.neutral_base_atoms))

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
        working = self._totals(context)
        instrument = self._instrument
        if order.side is BUY:
            fee = self._rules.maker_fee if order.price_ticks is not None else self._rules.taker_fee
            price = order.price_ticks or context.best_ask_ticks
            need = buy_cost(self._rules.numbers, price, order.size_lots, fee.numerator, fee.denominator)
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
        price = order.price_ticks or context.best_ask_ticks
        worth = exposure(self._rules.numbers, context.base_atoms, self._totals(context), price, order.size_lots)
        if worth <= self._rules.cap_atoms:
            return CheckResult("exposure_cap", Priority.CRITICAL, True)
        amount = self._instrument.quote_amount
        return CheckResult(
            "exposure_cap",
            Priority.CRITICAL,
            False,
            f"base, working buys and this order would be worth {amount(worth)} {self._instrument.quote}",
            "wait for a sale or raise max_inventory_exposure",
            str(amount(worth)),
            str(amount(self._rules.cap_atoms)),
        )

    def _portfolio_exposure(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        most = context.portfolio_bid_lots
        lots = self._totals(context).buy_lots + order.size_lots
        if order.side is not BUY or most == NO_PORTFOLIO_CAP or lots <= most:
            return CheckResult("portfolio_exposure", Priority.CRITICAL, True)
        size, base = self._instrument.size, self._instrument.base
        return CheckResult(
            "portfolio_exposure",
            Priority.CRITICAL,
            False,
            f"this and the working buys are {size(lots)} {base}, and what all symbols hold and bid for leaves {size(most)}",
            "wait for a sale of any symbol or raise max_portfolio_exposure_frac",
            str(size(lots)),
            str(size(most)),
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

    def _portfolio_daily_loss(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        hit, limits = context.portfolio_loss_hit, self.limits
        if not hit or order.side is not self._raising_side(context.base_atoms):
            return CheckResult("portfolio_daily_loss", Priority.CRITICAL, True)
        quote, frac = limits.max_portfolio_daily_loss_quote, limits.max_portfolio_daily_loss_frac
        limit = " or ".join([*([f"{quote}"] if quote is not None else []), *([f"{frac:.2%}"] if frac is not None else [])])
        return CheckResult(
            "portfolio_daily_loss",
            Priority.CRITICAL,
            False,
            f"the daily loss limit of all symbols together is reached ({hit}): only orders that reduce exposure",
            "wait for 00:00 UTC or raise the limit",
            hit,
            limit,
        )

    def _duplicate(self, order: OrderRequest, context: RiskContext) -> CheckResult:
        if order.client_order_id in context.used_order_ids:
            same = order.client_order_id
        else:
            checked = _checked(order, context)
            same = next(
                (
                    working.client_order_id
                    for working in context.working
                    if working.is_working and is_duplicate(self.numbers, checked, working_columns([working]), 1)
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
        if notional <= self.numbers.max_order_notional_atoms:
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
        distance = collar_distance(_checked(order, context))
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

    def _totals(self, context: RiskContext) -> Totals:
        return totals_of(context.working, self._rules.numbers)


def limit_numbers(limits: RiskLimits, instrument: Instrument) -> LimitNumbers:
    """The limits in the instrument's atoms."""
    return LimitNumbers(
        max_order_notional_atoms=instrument.quote_atoms_floor(limits.max_order_notional_quote),
        max_inventory_imbalance=limits.max_inventory_imbalance,
        max_daily_loss_atoms=instrument.quote_atoms_floor(limits.max_daily_loss_quote),
        max_daily_loss_frac=limits.max_daily_loss_frac,
        max_requests_per_min=limits.max_requests_per_min,
        price_collar_frac=limits.price_collar_frac,
        max_data_age_ns=int(limits.max_data_age_ms * 1_000_000),
        duplicate_window_ns=int(limits.duplicate_window_ms * 1_000_000),
    )


def _checked(order: OrderRequest, context: RiskContext) -> Checked:
    return Checked(
        now_ns=context.now_ns,
        side=int(order.side),
        # a limit price of zero ticks or less breaks the venue's rules; among plain numbers zero means "at market"
        price_ticks=0 if order.price_ticks is None else order.price_ticks or -1,
        size_lots=order.size_lots,
        best_bid_ticks=context.best_bid_ticks,
        best_ask_ticks=context.best_ask_ticks,
        base_atoms=context.base_atoms,
        quote_atoms=context.quote_atoms,
        inventory_ratio=context.inventory_ratio,
        requests_last_min=context.requests_last_min,
        market_problem=bool(context.market_problem),
        daily_loss_hit=bool(context.daily_loss_hit),
    )
