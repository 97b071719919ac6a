"""The quote engine: from a state and an event to the next state and what should be done. Pure.

The rules are those of `autohedge.market_maker.decision`, which speak in numbers; here is what they mean for the domain's
objects, and what is remembered between two decisions. Price or inventory unknown, stale or crossed: the quotes are withheld,
with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple, assert_never

from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateValues
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import CancelOrder, Order, OrderState
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.decision import (
    NO_PORTFOLIO_CAP,
    PAUSE_AFTER_REBALANCE_NS,
    MakerNumbers,
    Situation,
    decide,
    ratio_at,
)
from autohedge.market_maker.quoting import RISK_SCORE, UNKNOWN, QuoteRules, QuoteTerms, new_table, quote_terms
from autohedge.market_maker.reasons import BLOCKED, REASONS
from autohedge.market_maker.sizing import SizeRules
from autohedge.market_maker.toxicity import guard_numbers
from autohedge.market_maker.working import (
    CANCEL_REASON,
    CANCEL_ROW,
    DECISION_ROWS,
    NEW_LEVEL,
    NEW_PRICE,
    NEW_SIDE,
    NEW_SIZE,
    UNSEEN,
    seen_in_queue,
    working_columns,
)

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PAUSE_AFTER_DENIAL_NS = NS_PER_S
"""A side that our own risk denied waits this long, so that one standing reason is not recorded ten times a second."""


class MarketState(NamedTuple):
    """The market as the maker may use it. `problem` is "" when it can be quoted, else why not (gap, stale, crossed …).

    The best sizes may be 0 when quotes are centred on the mid. A toxic side is one whose quotes are about to be run over, with
    the code of its reason; 0 when it is not.
    """

    best_bid_ticks: int
    best_ask_ticks: int
    volatility: float | None
    depth_score: float
    problem: str
    best_bid_lots: int = 0
    best_ask_lots: int = 0
    buy_toxic: int = 0
    sell_toxic: int = 0


class Reconsider(NamedTuple):
    """Time to look at the quotes again, with everything the decision may depend on.

    `blocked` holds the side on which risk forbids opening orders, with its reason, or nothing; `requests_left` is what the
    venue's request budget of `requests_per_min` still allows (cancels are never held back; 0 a minute: nobody knows of a
    budget). `shown_lots` are displayed at the prices of the working orders; none when places in queues are worth nothing.
    `portfolio_bid_lots` is the most that all buys of this maker together may have, given what others on the same capital hold.
    """

    now_ns: int
    market: MarketState
    base_atoms: int
    quote_atoms: int
    working: Sequence[Order]
    mandate: MandateValues
    blocked: dict[Side, str]
    requests_left: int
    requests_per_min: int = 0
    shown_lots: Sequence[int] = ()
    portfolio_bid_lots: int = NO_PORTFOLIO_CAP


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
    level: int = 0


@dataclass(frozen=True, slots=True)
class MakerState:
    """What the maker remembers between events; `queues` by client id is what it saw of the queues of its orders."""

    buy_paused_until_ns: int = 0
    sell_paused_until_ns: int = 0
    buy_denied_until_ns: int = 0
    sell_denied_until_ns: int = 0
    rebalance_paused_until_ns: int = 0
    drained: bool = False
    queues: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Decision(NamedTuple):
    """What should be done now: cancels first, then new orders; `withheld` says per side why it is not quoted."""

    cancels: tuple[CancelOrder, ...] = ()
    intents: tuple[OrderIntent, ...] = ()
    withheld: tuple[tuple[Side, str], ...] = ()
    terms: QuoteTerms | None = None
    confidence: float | None = None


NOTHING = Decision()


class QuoteEngine:
    """The maker's rules for one instrument. Holds configuration only; all memory is in `MakerState`.

    The table of the exact model is only kept to save work: it depends on nothing but the σ that is asked for.
    """

    def __init__(self, config: MarketMakingConfig, instrument: Instrument) -> None:
        self.config = config
        self.instrument = instrument
        self.quote_rules = QuoteRules.of(config)
        self.size_rules = SizeRules.of(config, instrument)
        self.numbers = MakerNumbers(
            quote=self.quote_rules.numbers,
            size=self.size_rules.numbers,
            guard=guard_numbers(config),
            max_order_age_ns=int(config.max_order_age_s * NS_PER_S),
            tolerance_frac=config.refresh_tolerance_bps / 10_000,
            rebalances=int(config.rebalance),
            levels=config.levels,
            level_spacing_frac=config.level_spacing_bps / 10_000,
            level_size_factor=config.level_size_factor,
            sizes_by_confidence=int(config.size_by_confidence),
            request_reserve_frac=config.request_reserve_frac,
            queue_value_frac=config.queue_value_bps / 10_000,
            hanging_frac=config.hanging_cancel_bps / 10_000 if config.hanging_orders else 0.0,
            fill_pause_ns=int(config.filled_order_delay_s * NS_PER_S),
        )
        self.fill_pause_ns = self.numbers.fill_pause_ns
        self._table = new_table(self.numbers.quote)

    def step(self, state: MakerState, event: MakerEvent) -> tuple[MakerState, Decision]:
        """The next state and decision; the same inputs always give the same result."""
        if isinstance(event, Reconsider):
            return self._reconsider(state, event)
        if isinstance(event, SideFilled):
            until_ns = event.now_ns + self.fill_pause_ns
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

    def ratio(self, base_atoms: int, mid_ticks: float) -> float:
        """inventory_ratio at this mid."""
        return ratio_at(self.size_rules.numbers, base_atoms, mid_ticks)

    def _reconsider(self, state: MakerState, event: Reconsider) -> tuple[MakerState, Decision]:
        market = event.market
        if state.drained or market.problem:
            reason = "drained" if state.drained else market.problem
            return state, Decision(cancels=_cancel_all(event.working, reason), withheld=((BUY, reason), (SELL, reason)))
        if event.shown_lots:
            state = replace(state, queues=_queues(state.queues, event.working, event.shown_lots))
        working = [order for order in event.working if order.is_working]
        out = _room_for(len(working), self.numbers.levels)
        columns = working_columns(working, state.queues)
        made = decide(self.numbers, _situation(state, event), self._table, columns, len(working), out)
        blocked_reason = next(iter(event.blocked.values()), "")

        def word(code: int) -> str:
            return blocked_reason if code == BLOCKED else REASONS[code]

        style = OrderStyle.REBALANCE if made.rebalances else OrderStyle.QUOTE
        decision = Decision(
            cancels=tuple(
                CancelOrder(working[out[CANCEL_ROW][i]].client_order_id, word(out[CANCEL_REASON][i]))
                for i in range(made.cancels)
            ),
            intents=tuple(
                OrderIntent(Side(out[NEW_SIDE][i]), out[NEW_PRICE][i] or None, out[NEW_SIZE][i], style, out[NEW_LEVEL][i])
                for i in range(made.orders)
            ),
            withheld=tuple((side, word(code)) for side, code in ((BUY, made.buy_withheld), (SELL, made.sell_withheld)) if code),
            terms=quote_terms(self.quote_rules, made.prices, market.volatility, event.mandate),
            confidence=made.confidence,
        )
        if made.rebalances:
            return replace(state, rebalance_paused_until_ns=event.now_ns + PAUSE_AFTER_REBALANCE_NS), decision
        return state, decision


def _situation(state: MakerState, event: Reconsider) -> Situation:
    market, mandate = event.market, event.mandate
    return Situation(
        now_ns=event.now_ns,
        best_bid_ticks=market.best_bid_ticks,
        best_ask_ticks=market.best_ask_ticks,
        best_bid_lots=market.best_bid_lots,
        best_ask_lots=market.best_ask_lots,
        volatility=UNKNOWN if market.volatility is None else market.volatility,
        depth_score=market.depth_score,
        buy_toxic=market.buy_toxic,
        sell_toxic=market.sell_toxic,
        base_atoms=event.base_atoms,
        quote_atoms=event.quote_atoms,
        spread_multiplier=mandate.spread_multiplier,
        inventory_bias=mandate.inventory_bias,
        size_multiplier=mandate.size_multiplier,
        risk_score=RISK_SCORE[mandate.risk_level],
        blocked_side=int(next(iter(event.blocked), 0)),
        requests_left=event.requests_left,
        requests_per_min=event.requests_per_min,
        buy_paused_until_ns=state.buy_paused_until_ns,
        sell_paused_until_ns=state.sell_paused_until_ns,
        buy_denied_until_ns=state.buy_denied_until_ns,
        sell_denied_until_ns=state.sell_denied_until_ns,
        rebalance_paused_until_ns=state.rebalance_paused_until_ns,
        portfolio_bid_lots=event.portfolio_bid_lots,
    )


def _queues(
    known: Mapping[str, tuple[int, int]], working: Sequence[Order], shown_lots: Sequence[int]
) -> dict[str, tuple[int, int]]:
    """What is known of the queues of the orders that rest, which is all that a market order or one on its way is not."""
    return {
        order.client_order_id: seen_in_queue(known.get(order.client_order_id, UNSEEN), lots)
        for order, lots in zip(working, shown_lots, strict=True)
        if order.is_working and order.price_ticks is not None and order.state is not OrderState.PENDING_SUBMIT
    }


def _room_for(orders: int, levels: int) -> list[list[int]]:
    return [[0] * max(orders, 2 * levels) for _ in range(DECISION_ROWS)]


def _cancel_all(working: Sequence[Order], reason: str) -> tuple[CancelOrder, ...]:
    return tuple(
        CancelOrder(order.client_order_id, reason)
        for side in (BUY, SELL)
        for order in working
        if order.side is side
        and order.is_working
        and order.state is not OrderState.CANCELLING
        and order.price_ticks is not None  # a market order never rests, so there is nothing to cancel
    )
