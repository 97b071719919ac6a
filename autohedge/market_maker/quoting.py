"""Where to quote: pure functions from the market, the inventory and the mandate to two prices, with every term kept.

The order-book pricing, in fractions of the mid:

    floor  = min_profit_threshold + 2 × maker fee
    spread = min(max(base, floor) × spread_multiplier × (1 + 2σ), max_spread)          σ per hour; the cap is last
    b      = clamp(inventory_bias + (target − inventory_ratio) × skew_factor, −1, 1)
    bid    = mid − half + b × half,   ask = mid + half + b × half,   half = mid × spread ÷ 2

b > 0 wants more base and moves both quotes up. The fixed spread is the same without the σ term. In the touch styles the
quotes start from the best prices; the multiplier and b then scale the market's own spread, and the floor still holds.
An unknown σ is not zero: the spread is then the widest allowed (a touch style has no σ; it only quotes smaller then).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import NamedTuple

from autohedge.domain.mandate import MandateValues, RiskLevel
from autohedge.market_maker.config import BPS, MarketMakingConfig, QuotingModel, Touch

RISK_SCORE: dict[RiskLevel, float] = {RiskLevel.LOW: 1.0, RiskLevel.MEDIUM: 0.7, RiskLevel.HIGH: 0.4}

_GRID_TOLERANCE_TICKS = 1e-9
"""A price this close to a tick is that tick: the binary form of 99.9 must not cost a tick."""


@dataclass(frozen=True, slots=True)
class QuoteRules:
    """The configuration as the numbers that the arithmetic uses; made once."""

    base_frac: float
    floor_frac: float | None
    max_frac: float
    skew_factor: float
    target: float
    uses_volatility: bool
    touch: Touch

    @classmethod
    def of(cls, config: MarketMakingConfig) -> QuoteRules:
        """Rules of a configuration."""
        floor_frac = config.spread_floor_frac
        return cls(
            base_frac=float(config.spread_percentage),
            floor_frac=None if floor_frac is None else float(floor_frac),
            max_frac=float(config.max_spread_bps / BPS),
            skew_factor=config.skew_factor,
            target=config.inventory_target,
            uses_volatility=config.quoting_model is QuotingModel.ORDER_BOOK,
            touch=config.touch,
        )


class QuoteTerms(NamedTuple):
    """Every term of a quote, for whoever asks why. Prices in ticks; a price is None when nothing can be quoted."""

    bid_ticks: int | None
    ask_ticks: int | None
    reason: str
    mid_ticks: float
    base_frac: float
    floor_frac: float | None
    spread_multiplier: float
    volatility: float | None
    uncapped_frac: float
    spread_frac: float
    half_ticks: float
    inventory_bias: float
    inventory_skew: float
    shift: float


def inventory_ratio(base_lots: float, neutral_lots: float, max_lots: float) -> float:
    """Inventory in [0, 1], 0.5 neutral: 0.5 ± 0.5 × distance from neutral ÷ the room on that side.

    `max_lots` is capital × max exposure ÷ mid in lots. Below neutral the room is `neutral_lots`.
    """
    distance = base_lots - neutral_lots
    room = max_lots - neutral_lots if distance >= 0 else neutral_lots
    if distance == 0:
        return 0.5
    if room <= 0:
        return 1.0 if distance > 0 else 0.0
    return min(1.0, max(0.0, 0.5 + 0.5 * distance / room))


def quote_confidence(depth_score: float, volatility: float | None, risk_level: RiskLevel) -> float:
    """Mean of depth_score ÷ 100, max(0, 1 − 10σ) (0 when σ is unknown) and the risk score; in [0, 1]."""
    calm = 0.0 if volatility is None else max(0.0, 1.0 - 10.0 * volatility)
    return (depth_score / 100.0 + calm + RISK_SCORE[risk_level]) / 3.0


def spread_frac(rules: QuoteRules, spread_multiplier: float, volatility: float | None) -> tuple[float, float]:
    """(before the cap, after the cap): the full spread as a fraction of the mid."""
    base = rules.base_frac if rules.floor_frac is None else max(rules.base_frac, rules.floor_frac)
    if not rules.uses_volatility:
        uncapped = base * spread_multiplier
    elif volatility is None:
        uncapped = max(rules.max_frac, base * spread_multiplier)
    else:
        uncapped = base * spread_multiplier * (1.0 + 2.0 * volatility)
    return uncapped, min(uncapped, rules.max_frac)


def price_quotes(
    rules: QuoteRules,
    best_bid_ticks: int,
    best_ask_ticks: int,
    volatility: float | None,
    ratio: float,
    mandate: MandateValues,
    *,
    full_skew: int = 0,
) -> QuoteTerms:
    """Bid and ask in whole ticks: never crossing the book or each other, bids rounded down, asks up.

    `full_skew` −1 or +1 forces b (inventory beyond the rebalance threshold); 0 leaves it to the formula. The reason is "ok",
    or `min_profit_unreachable` when the profit floor is above the spread cap; then both prices are None.
    """
    mid = (best_bid_ticks + best_ask_ticks) / 2.0
    uncapped, spread = spread_frac(rules, mandate.spread_multiplier, volatility)
    skew = (rules.target - ratio) * rules.skew_factor
    shift = float(full_skew) if full_skew else min(1.0, max(-1.0, mandate.inventory_bias + skew))
    bid: int | None
    ask: int | None
    if rules.floor_frac is not None and rules.floor_frac > rules.max_frac:
        bid = ask = None
        reason, half = "min_profit_unreachable", 0.0
    else:
        reason = "ok"
        if rules.touch is Touch.DISTANCE:
            half = mid * spread / 2.0
            bid = floor(mid - half + shift * half + _GRID_TOLERANCE_TICKS)
            ask = ceil(mid + half + shift * half - _GRID_TOLERANCE_TICKS)
        else:
            bid, ask, half = _touch_prices(rules, best_bid_ticks, best_ask_ticks, mid, shift, mandate.spread_multiplier)
        bid = min(bid, best_ask_ticks - 1)
        ask = max(ask, best_bid_ticks + 1)
        if bid >= ask:
            # a spread of almost nothing around a mid that is on the grid
            bid, ask = bid - 1, ask + 1
    return QuoteTerms(
        bid_ticks=bid if bid is None or bid > 0 else None,
        ask_ticks=ask,
        reason=reason,
        mid_ticks=mid,
        base_frac=rules.base_frac,
        floor_frac=rules.floor_frac,
        spread_multiplier=mandate.spread_multiplier,
        volatility=volatility,
        uncapped_frac=uncapped,
        spread_frac=spread,
        half_ticks=half,
        inventory_bias=mandate.inventory_bias,
        inventory_skew=skew,
        shift=shift,
    )


def _touch_prices(
    rules: QuoteRules, best_bid_ticks: int, best_ask_ticks: int, mid: float, shift: float, spread_multiplier: float
) -> tuple[int, int, float]:
    """Join or improve the best prices; whole-tick steps away for the multiplier, both the same way for the shift.

    A doubled spread steps back by at least a tick, so that a maker without a mandate leaves the touch. In a one-tick market a
    shift below full strength is less than a tick and moves nothing; at full strength it is at least one.
    """
    market_half = (best_ask_ticks - best_bid_ticks) / 2.0
    improve = 1 if rules.touch is Touch.IMPROVE and best_ask_ticks - best_bid_ticks > 2 else 0
    back = int((spread_multiplier - 1.0) * max(market_half, 1.0))
    steps = int(shift * market_half)
    if steps == 0 and abs(shift) >= 1.0:
        steps = 1 if shift > 0 else -1
    bid = best_bid_ticks + improve - back + steps
    ask = best_ask_ticks - improve + back + steps
    half = market_half
    if rules.floor_frac is not None:
        least = mid * rules.floor_frac / 2.0
        half = max(half, least)
        bid = min(bid, floor(mid - least + shift * least + _GRID_TOLERANCE_TICKS))
        ask = max(ask, ceil(mid + least + shift * least - _GRID_TOLERANCE_TICKS))
    return bid, ask, half
