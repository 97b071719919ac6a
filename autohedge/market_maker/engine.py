"""The quote engine: from a state and an event to the next state and what should be done. Pure.

It decides desired quotes and reconciles them with the orders that work already: an order that is good enough keeps its queue
place; one that is not is cancelled and replaced, and until the cancel is confirmed it still counts against every limit.
Price or inventory unknown, stale or crossed: the quotes are withheld, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, assert_never

from autohedge.domain.fees import FeeRate
from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateValues
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import CancelOrder, Order, OrderState
from autohedge.market_maker.config import MarketMakingConfig, Touch
from autohedge.market_maker.quoting import QuoteRules, QuoteTerms, inventory_ratio, price_quotes, quote_confidence
from autohedge.market_maker.sizing import (
    SizeRules,
    WorkingTotals,
    buyable_lots,
    exposure_atoms,
    order_size_lots,
    placeable_lots,
    scaled_lots,
)

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PAUSE_AFTER_DENIAL_NS = NS_PER_S
"""A side that our own risk denied waits this long, so that one standing reason is not recorded ten times a second."""
PAUSE_AFTER_REBALANCE_NS = 10 * NS_PER_S
"""Between two crossing orders the book may refill and the quotes, at full skew, may do the work; one denied blocks nothing."""


class MarketState(NamedTuple):
    """The market as the maker may use it. `problem` is "" when it can be quoted, else why not (gap, stale, crossed …)."""

    best_bid_ticks: int
    best_ask_ticks: int
    volatility: float | None
    depth_score: float
    problem: str


class Reconsider(NamedTuple):
    """Time to look at the quotes again, with everything the decision may depend on.

    `blocked` maps a side to the risk reason that forbids opening orders on it; `requests_left` is what the venue's request
    budget still allows (cancels are never held back).
    """

    now_ns: int
    market: MarketState
    base_atoms: int
    quote_atoms: int
    working: Sequence[Order]
    mandate: MandateValues
    blocked: dict[Side, str]
    requests_left: int


class SideFilled(NamedTuple):
    """One of our orders on `side` was filled."""

    now_ns: int
    side: Side


class SideDenied(NamedTuple):
    """Our own risk refused an order on `side`."""

    now_ns: int
    side: Side


class Drain(NamedTuple):
    """Cancel everything and quote no more."""

    working: Sequence[Order]
    reason: str


MakerEvent = Reconsider | SideFilled | SideDenied | Drain


class OrderStyle(StrEnum):
    """How an order is meant to trade."""

    QUOTE = "quote"
    REBALANCE = "rebalance"


class OrderIntent(NamedTuple):
    """An order the maker wants; it has no id until risk has allowed it. `price_ticks` is None for a crossing rebalance."""

    side: Side
    price_ticks: int | None
    size_lots: int
    style: OrderStyle


@dataclass(frozen=True, slots=True)
class MakerState:
    """What the maker remembers between events."""

    buy_paused_until_ns: int = 0
    sell_paused_until_ns: int = 0
    buy_denied_until_ns: int = 0
    sell_denied_until_ns: int = 0
    rebalance_paused_until_ns: int = 0
    drained: bool = False


class Decision(NamedTuple):
    """What should be done now: cancels first, then new orders; `withheld` says per side why it is not quoted."""

    cancels: tuple[CancelOrder, ...] = ()
    intents: tuple[OrderIntent, ...] = ()
    withheld: tuple[tuple[Side, str], ...] = ()
    terms: QuoteTerms | None = None
    confidence: float | None = None


NOTHING = Decision()


class QuoteEngine:
    """The maker's rules for one instrument. Holds configuration only; all memory is in `MakerState`."""

    def __init__(self, config: MarketMakingConfig, instrument: Instrument) -> None:
        self.config = config
        self.instrument = instrument
        self.quote_rules = QuoteRules.of(config)
        self.size_rules = SizeRules.of(config, instrument)
        self._max_age_ns = int(config.max_order_age_s * NS_PER_S)
        self._fill_pause_ns = int(config.filled_order_delay_s * NS_PER_S)
        self._tolerance_frac = config.refresh_tolerance_bps / 10_000
        self._taker_fee = FeeRate.from_bps(config.taker_fee_bps)
        self._neutral_lots = self.size_rules.neutral_base_atoms / instrument.base_atoms_per_lot

    def step(self, state: MakerState, event: MakerEvent) -> tuple[MakerState, Decision]:
        """The next state and decision; the same inputs always give the same result."""
        if isinstance(event, Reconsider):
            return self._reconsider(state, event)
        if isinstance(event, SideFilled):
            until_ns = event.now_ns + self._fill_pause_ns
            if event.side is BUY:
                return replace(state, buy_paused_until_ns=until_ns), NOTHING
            return replace(state, sell_paused_until_ns=until_ns), NOTHING
        if isinstance(event, SideDenied):
            until_ns = event.now_ns + PAUSE_AFTER_DENIAL_NS
            if event.side is BUY:
                return replace(state, buy_denied_until_ns=until_ns), NOTHING
            return replace(state, sell_denied_until_ns=until_ns), NOTHING
        if isinstance(event, Drain):
            return replace(state, drained=True), Decision(cancels=_cancel_all(event.working, event.reason))
        assert_never(event)

    # --- one reconsideration --------------------------------------------------------------------------------------

    def ratio(self, base_atoms: int, mid_ticks: float) -> float:
        """inventory_ratio at this mid."""
        instrument = self.instrument
        max_lots = self.size_rules.cap_atoms / (mid_ticks * instrument.quote_atoms_per_tick_lot)
        return inventory_ratio(base_atoms / instrument.base_atoms_per_lot, self._neutral_lots, max_lots)

    def _reconsider(self, state: MakerState, event: Reconsider) -> tuple[MakerState, Decision]:
        market = event.market
        if state.drained or market.problem:
            reason = "drained" if state.drained else market.problem
            return state, Decision(cancels=_cancel_all(event.working, reason), withheld=((BUY, reason), (SELL, reason)))
        mid_ticks = (market.best_bid_ticks + market.best_ask_ticks) / 2.0
        full_skew = self._full_skew(event.base_atoms, mid_ticks)
        terms = price_quotes(
            self.quote_rules,
            market.best_bid_ticks,
            market.best_ask_ticks,
            market.volatility,
            self.ratio(event.base_atoms, mid_ticks),
            event.mandate,
            full_skew=full_skew,
        )
        confidence = quote_confidence(market.depth_score, market.volatility, event.mandate.risk_level)
        crossing = self._crossing_order(state, event, full_skew)
        if crossing is not None:
            return self._give_way(state, event, crossing, Decision(terms=terms, confidence=confidence))
        return state, self._quote(state, event, terms, confidence)

    def _quote(self, state: MakerState, event: Reconsider, terms: QuoteTerms, confidence: float) -> Decision:
        """Both sides: withheld with its reason, or reconciled with what works."""
        withheld = {
            side: self._withhold_reason(state, event, side, price, terms)
            for side, price in ((BUY, terms.bid_ticks), (SELL, terms.ask_ticks))
        }
        cancels = [
            cancel for side, reason in withheld.items() if reason for cancel in _cancel_side(event.working, side, reason)
        ]
        intents: list[OrderIntent] = []
        budget = event.requests_left - len(cancels)
        tolerance_frac = 0.0 if self._at_touch(event.market, terms) else self._tolerance_frac
        for side, price in ((BUY, terms.bid_ticks), (SELL, terms.ask_ticks)):
            if price is not None and not withheld[side]:
                budget, withheld[side] = self._reconcile(
                    event, side, price, confidence, tolerance_frac, budget, cancels, intents
                )
        while intents and budget < 0:
            # a cancel of the other side, which is never held back, used up what this order had counted on
            withheld[intents.pop().side] = "order_rate"
            budget += 1
        reasons = tuple((side, reason) for side, reason in withheld.items() if reason)
        return Decision(tuple(cancels), tuple(intents), reasons, terms, confidence)

    def _at_touch(self, market: MarketState, terms: QuoteTerms) -> bool:
        """True while a touch style follows the best prices; held off by the profit floor it keeps a distance like any other."""
        return (
            self.config.touch is not Touch.DISTANCE and 2.0 * terms.half_ticks <= market.best_ask_ticks - market.best_bid_ticks
        )

    def _full_skew(self, base_atoms: int, mid_ticks: float) -> int:
        """−1 when base beyond neutral is worth more than the rebalance threshold, +1 when as much is missing, else 0."""
        rules = self.size_rules
        off_lots = (base_atoms - rules.neutral_base_atoms) / self.instrument.base_atoms_per_lot
        off_atoms = off_lots * mid_ticks * self.instrument.quote_atoms_per_tick_lot
        if abs(off_atoms) <= rules.rebalance_atoms:
            return 0
        return -1 if off_atoms > 0 else 1

    def _withhold_reason(self, state: MakerState, event: Reconsider, side: Side, price: int | None, terms: QuoteTerms) -> str:
        if price is None:
            return terms.reason if terms.reason != "ok" else "price_below_a_tick"
        return self._pause(state, side, event.now_ns) or event.blocked.get(side, "")

    @staticmethod
    def _pause(state: MakerState, side: Side, now_ns: int) -> str:
        """Why the side pauses: "denied" by our own risk, "paused" after a fill, "" when it does not."""
        denied_ns = state.buy_denied_until_ns if side is BUY else state.sell_denied_until_ns
        paused_ns = state.buy_paused_until_ns if side is BUY else state.sell_paused_until_ns
        return "denied" if now_ns < denied_ns else "paused" if now_ns < paused_ns else ""

    def _reconcile(
        self,
        event: Reconsider,
        side: Side,
        price: int,
        confidence: float,
        tolerance_frac: float,
        budget: int,
        cancels: list[CancelOrder],
        intents: list[OrderIntent],
    ) -> tuple[int, str]:
        """Keep, replace or place one side's quote; returns the budget left and why the side is not quoted ("" if it is)."""
        live = [order for order in event.working if order.side is side and order.state is not OrderState.CANCELLING]
        if any(order.price_ticks is None for order in live):
            return budget, "rebalance"
        if len(live) == 1 and self._good_enough(live[0], event, price, confidence, tolerance_frac):
            return budget, ""
        if live and budget < len(live) + 1:
            stale = [order for order in live if _more_aggressive(order, price)]
            cancels += [CancelOrder(order.client_order_id, "order_rate") for order in stale]
            return budget - len(stale), "order_rate" if len(stale) == len(live) else ""
        replaced = [CancelOrder(order.client_order_id, "refresh") for order in live]
        if self._meets_own(event.working, side, price):
            cancels += replaced
            return budget - len(replaced), "self_trade"
        lots = self._quote_lots(event, side, price, confidence)
        if lots == 0 and live and self._quote_lots(event, side, price, confidence, without=live) > 0:
            # the room is taken by the order that is to be replaced: cancel now, place when that is confirmed
            cancels += replaced
            return budget - len(replaced), "replacing"
        cancels += replaced
        budget -= len(replaced)
        if lots == 0:
            return budget, self._why_no_size(event, side, price)
        if budget < 1:
            return budget, "order_rate"
        intents.append(OrderIntent(side, price, lots, OrderStyle.QUOTE))
        return budget - 1, ""

    def _quote_lots(self, event: Reconsider, side: Side, price: int, confidence: float, without: Sequence[Order] = ()) -> int:
        working = WorkingTotals.of((order for order in event.working if order not in without), self.size_rules)
        lots = order_size_lots(self.size_rules, side, price, event.base_atoms, event.quote_atoms, working)
        return placeable_lots(self.instrument, price, scaled_lots(lots, confidence, event.mandate.size_multiplier))

    def _why_no_size(self, event: Reconsider, side: Side, price: int) -> str:
        """The binding reason behind a size of zero."""
        working = WorkingTotals.of(event.working, self.size_rules)
        whole = self.size_rules.order_value_atoms // self.instrument.notional_atoms(price, 1)
        if (
            placeable_lots(self.instrument, price, whole) == 0
            or order_size_lots(self.size_rules, side, price, event.base_atoms, event.quote_atoms, working) > 0
        ):
            return "below_min_notional"
        if side is SELL:
            return "no_base"
        room = self.size_rules.cap_atoms - exposure_atoms(self.size_rules, event.base_atoms, working, price, 0)
        return "exposure_cap" if room < self.size_rules.order_value_atoms else "no_quote"

    def _good_enough(self, order: Order, event: Reconsider, price: int, confidence: float, tolerance_frac: float) -> bool:
        """True when the order may keep its place: price within tolerance, not too old, not half as large again as wanted.

        Nor smaller than half of what is wanted, unless it has begun to fill: then it is at the front of its queue.
        """
        if order.price_ticks is None or event.now_ns - order.created_ns > self._max_age_ns:
            return False
        if abs(order.price_ticks - price) > tolerance_frac * price:
            return False
        wanted = self._quote_lots(event, order.side, order.price_ticks, confidence, without=(order,))
        if order.filled_lots == 0 and 2 * order.remaining_lots < wanted:
            return False
        return 2 * order.remaining_lots <= 3 * wanted

    @staticmethod
    def _meets_own(working: Sequence[Order], side: Side, price: int) -> bool:
        """True when an own order on the other side rests where the new one would trade with it."""
        return any(
            order.side is not side
            and order.is_working
            and order.price_ticks is not None
            and (price >= order.price_ticks if side is BUY else price <= order.price_ticks)
            for order in working
        )

    # --- the rebalance ----------------------------------------------------------------------------------------------

    def _crossing_order(self, state: MakerState, event: Reconsider, full_skew: int) -> OrderIntent | None:
        """The crossing order back to neutral that is due now; None when the policy is off or something forbids it."""
        if not self.config.rebalance or not full_skew or event.requests_left < 1:
            return None
        side = BUY if full_skew > 0 else SELL
        if event.now_ns < state.rebalance_paused_until_ns or self._pause(state, side, event.now_ns) or side in event.blocked:
            return None
        rules = self.size_rules
        price = event.market.best_ask_ticks if side is BUY else event.market.best_bid_ticks
        lots = abs(event.base_atoms - rules.neutral_base_atoms) // self.instrument.base_atoms_per_lot
        if side is BUY:
            lots = min(lots, buyable_lots(rules, price, event.base_atoms, event.quote_atoms, WorkingTotals(), self._taker_fee))
        lots = placeable_lots(self.instrument, price, lots)
        return OrderIntent(side, None, lots, OrderStyle.REBALANCE) if lots else None

    @staticmethod
    def _give_way(
        state: MakerState, event: Reconsider, crossing: OrderIntent, considered: Decision
    ) -> tuple[MakerState, Decision]:
        """Cancel every quote, because the crossing order must not meet one; send it when nothing of ours works any more."""
        considered = considered._replace(withheld=((BUY, "rebalance"), (SELL, "rebalance")))
        if event.working:
            return state, considered._replace(cancels=_cancel_all(event.working, "rebalance"))
        waits = replace(state, rebalance_paused_until_ns=event.now_ns + PAUSE_AFTER_REBALANCE_NS)
        return waits, considered._replace(intents=(crossing,))


def _more_aggressive(order: Order, price: int) -> bool:
    """True when the order would trade sooner than a quote at `price`."""
    if order.price_ticks is None:
        return False
    return order.price_ticks > price if order.side is BUY else order.price_ticks < price


def _cancel_side(working: Sequence[Order], side: Side, reason: str) -> list[CancelOrder]:
    return [
        CancelOrder(ClientOrderId(order.client_order_id), reason)
        for order in working
        if order.side is side
        and order.is_working
        and order.state is not OrderState.CANCELLING
        and order.price_ticks is not None  # a market order never rests, so there is nothing to cancel
    ]


def _cancel_all(working: Sequence[Order], reason: str) -> tuple[CancelOrder, ...]:
    return tuple(_cancel_side(working, BUY, reason) + _cancel_side(working, SELL, reason))
