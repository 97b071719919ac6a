"""Where to quote: pure functions from the market, the inventory and the mandate to two prices, with every term kept.

The order-book pricing, in fractions of the mid:

    floor  = min_profit_threshold + 2 × maker fee
    spread = min(max(base, floor) × spread_multiplier × (1 + 2σ), max_spread)          σ per hour; the cap is last
    b      = clamp(inventory_bias + (target − inventory_ratio) × skew_factor, −1, 1)
    bid    = mid − half + b × half,   ask = mid + half + b × half,   half = mid × spread ÷ 2

b > 0 wants more base and moves both quotes up. The fixed spread is the same without the σ term. In the touch styles the
quotes start from the best prices; the multiplier and b then scale the market's own spread, and the floor still holds.
An unknown σ is not zero: the spread is then the widest allowed (a touch style has no σ; it only quotes smaller then).

The models of the literature (`autohedge.market_maker.models`) give the full spread in place of base × (1 + 2σ), and the
inventory's shift of both quotes in place of the skew, which then is only clamped where a quote would be further from the mid
than max_spread: with much inventory the model may want a quote beyond the mid, and the touch stops it. σ in ticks per √s is σ
per hour × mid ÷ 60.

The functions over plain numbers are compiled by the backtest as they stand: no None, no strings, no objects inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil, floor
from typing import Final, NamedTuple

from autohedge.domain.mandate import MandateValues, RiskLevel
from autohedge.market_maker.config import BPS, MarketMakingConfig, QuotingModel, Touch
from autohedge.market_maker.models import avellaneda_stoikov, glft_closed
from autohedge.market_maker.reasons import MIN_PROFIT_UNREACHABLE, NONE, REASONS

RISK_SCORE: dict[RiskLevel, float] = {RiskLevel.LOW: 1.0, RiskLevel.MEDIUM: 0.7, RiskLevel.HIGH: 0.4}

UNKNOWN: Final = -1.0
"""A volatility that is not known, among plain numbers."""
OFF: Final = -1.0
"""A floor that is switched off, among plain numbers."""

_GRID_TOLERANCE_TICKS = 1e-9
"""A price this close to a tick is that tick: the binary form of 99.9 must not cost a tick."""
_SQRT_S_PER_SQRT_HOUR = 60.0


class ModelCode(IntEnum):
    """The quoting model as a number."""

    FIXED_SPREAD = 0
    ORDER_BOOK = 1
    AVELLANEDA_STOIKOV = 2
    GLFT = 3


class TouchCode(IntEnum):
    """The touch style as a number."""

    DISTANCE = 0
    JOIN = 1
    IMPROVE = 2


_FIXED_SPREAD: Final = 0
_AVELLANEDA_STOIKOV: Final = 2
_DISTANCE: Final = 0
_IMPROVE: Final = 2


class QuoteNumbers(NamedTuple):
    """`QuoteRules` as plain numbers: `floor_frac` is `OFF` without a floor; the last four are those of the literature."""

    base_frac: float
    floor_frac: float
    max_frac: float
    skew_factor: float
    target: float
    model: int
    touch: int
    risk_aversion: float
    intensity_decay_per_tick: float
    arrival_rate_per_s: float
    horizon_s: float


class QuotePrices(NamedTuple):
    """Two prices in ticks and what led to them; `reason` is a code of `reasons`, 0 when prices were found."""

    reason: int
    bid_ticks: int
    ask_ticks: int
    mid_ticks: float
    uncapped_frac: float
    spread_frac: float
    half_ticks: float
    skew: float
    shift: float


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
    model: QuotingModel = QuotingModel.ORDER_BOOK
    risk_aversion: float = 0.0
    intensity_decay_per_tick: float = 1.0
    arrival_rate_per_s: float = 1.0
    horizon_s: float = 0.0
    numbers: QuoteNumbers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain_model = ModelCode.ORDER_BOOK if self.uses_volatility else ModelCode.FIXED_SPREAD
        literature = self.model in {QuotingModel.AVELLANEDA_STOIKOV, QuotingModel.GLFT}
        numbers = QuoteNumbers(
            base_frac=self.base_frac,
            floor_frac=OFF if self.floor_frac is None else self.floor_frac,
            max_frac=self.max_frac,
            skew_factor=self.skew_factor,
            target=self.target,
            model=int(ModelCode[self.model.name] if literature else plain_model),
            touch=int(TouchCode[self.touch.name]),
            risk_aversion=self.risk_aversion,
            intensity_decay_per_tick=self.intensity_decay_per_tick,
            arrival_rate_per_s=self.arrival_rate_per_s,
            horizon_s=self.horizon_s,
        )
        object.__setattr__(self, "numbers", numbers)

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
            uses_volatility=config.quoting_model is not QuotingModel.FIXED_SPREAD,
            touch=config.touch,
            model=config.quoting_model,
            risk_aversion=config.risk_aversion,
            intensity_decay_per_tick=config.intensity_decay_per_tick,
            arrival_rate_per_s=config.arrival_rate_per_s,
            horizon_s=config.horizon_s,
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


# --- over plain numbers -------------------------------------------------------------------------------------------------


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


def confidence_of(depth_score: float, volatility: float, risk_score: float) -> float:
    """Mean of depth_score ÷ 100, max(0, 1 − 10σ) (0 when σ is `UNKNOWN`) and the risk score; in [0, 1]."""
    calm = 0.0 if volatility < 0.0 else max(0.0, 1.0 - 10.0 * volatility)
    return (depth_score / 100.0 + calm + risk_score) / 3.0


def model_terms(numbers: QuoteNumbers, mid_ticks: float, volatility: float, q: float) -> tuple[float, float]:
    """(full spread as a fraction of the mid, shift in halves of it) of a model of the literature; σ must be known."""
    sigma = volatility * mid_ticks / _SQRT_S_PER_SQRT_HOUR
    if numbers.model == _AVELLANEDA_STOIKOV:
        offset, half = avellaneda_stoikov(q, sigma, numbers.risk_aversion, numbers.intensity_decay_per_tick, numbers.horizon_s)
    else:
        offset, half = glft_closed(
            q, sigma, numbers.risk_aversion, numbers.intensity_decay_per_tick, numbers.arrival_rate_per_s, 0.0, 0.0
        )
    return 2.0 * half / mid_ticks, offset / half


def spread_fracs(numbers: QuoteNumbers, spread_multiplier: float, volatility: float, model_frac: float) -> tuple[float, float]:
    """(before the cap, after the cap): the full spread as a fraction of the mid; `model_frac` is the literature's."""
    is_literature = numbers.model >= _AVELLANEDA_STOIKOV
    base = max(model_frac if is_literature else numbers.base_frac, numbers.floor_frac)
    if numbers.model == _FIXED_SPREAD:
        uncapped = base * spread_multiplier
    elif volatility < 0.0:
        uncapped = max(numbers.max_frac, base * spread_multiplier)
    elif is_literature:
        uncapped = base * spread_multiplier
    else:
        uncapped = base * spread_multiplier * (1.0 + 2.0 * volatility)
    return uncapped, min(uncapped, numbers.max_frac)


def quote_prices(
    numbers: QuoteNumbers,
    best_bid_ticks: int,
    best_ask_ticks: int,
    volatility: float,
    ratio: float,
    q: float,
    spread_multiplier: float,
    inventory_bias: float,
    full_skew: int,
) -> QuotePrices:
    """Bid and ask in whole ticks: never crossing the book or each other, bids rounded down, asks up.

    `full_skew` −1 or +1 forces the shift to full strength at least (inventory beyond the rebalance threshold); 0 leaves it to
    the formula. `q` is the inventory in order sizes, for the models of the literature. A bid below one tick is 0.
    """
    mid = (best_bid_ticks + best_ask_ticks) / 2.0
    model_frac, skew = 0.0, (numbers.target - ratio) * numbers.skew_factor
    is_literature = numbers.model >= _AVELLANEDA_STOIKOV and volatility >= 0.0
    if is_literature:
        model_frac, skew = model_terms(numbers, mid, volatility, q)
    uncapped, spread = spread_fracs(numbers, spread_multiplier, volatility, model_frac)
    shift = inventory_bias + skew
    if is_literature:
        # the model's shift is in ticks: a wider spread does not stretch it
        shift = inventory_bias + skew * model_frac / spread
        if full_skew:
            shift = full_skew * max(1.0, abs(shift))
        # nor is a quote ever further from the mid than the widest spread
        furthest = max(1.0, 2.0 * numbers.max_frac / spread - 1.0)
        shift = min(furthest, max(-furthest, shift))
    elif full_skew:
        shift = float(full_skew)
    else:
        shift = min(1.0, max(-1.0, shift))
    if numbers.floor_frac > numbers.max_frac:
        return QuotePrices(MIN_PROFIT_UNREACHABLE, 0, 0, mid, uncapped, spread, 0.0, skew, shift)
    if numbers.touch == _DISTANCE:
        half = mid * spread / 2.0
        bid = floor(mid - half + shift * half + _GRID_TOLERANCE_TICKS)
        ask = ceil(mid + half + shift * half - _GRID_TOLERANCE_TICKS)
    else:
        bid, ask, half = touch_prices(numbers, best_bid_ticks, best_ask_ticks, mid, shift, spread_multiplier)
    bid = min(bid, best_ask_ticks - 1)
    ask = max(ask, best_bid_ticks + 1)
    if bid >= ask:
        # a spread of almost nothing around a mid that is on the grid
        bid, ask = bid - 1, ask + 1
    return QuotePrices(NONE, max(bid, 0), ask, mid, uncapped, spread, half, skew, shift)


def touch_prices(
    numbers: QuoteNumbers, best_bid_ticks: int, best_ask_ticks: int, mid: float, shift: float, spread_multiplier: float
) -> tuple[int, int, float]:
    """Join or improve the best prices; whole-tick steps away for the multiplier, both the same way for the shift.

    A doubled spread steps back by at least a tick, so that a maker without a mandate leaves the touch. In a one-tick market a
    shift below full strength is less than a tick and moves nothing; at full strength it is at least one.
    """
    market_half = (best_ask_ticks - best_bid_ticks) / 2.0
    improve = 1 if numbers.touch == _IMPROVE and best_ask_ticks - best_bid_ticks > 2 else 0
    back = int((spread_multiplier - 1.0) * max(market_half, 1.0))
    steps = int(shift * market_half)
    if steps == 0 and abs(shift) >= 1.0:
        steps = 1 if shift > 0 else -1
    bid = best_bid_ticks + improve - back + steps
    ask = best_ask_ticks - improve + back + steps
    half = market_half
    if numbers.floor_frac >= 0.0:
        least = mid * numbers.floor_frac / 2.0
        half = max(half, least)
        bid = min(bid, floor(mid - least + shift * least + _GRID_TOLERANCE_TICKS))
        ask = max(ask, ceil(mid + least + shift * least - _GRID_TOLERANCE_TICKS))
    return bid, ask, half


# --- for people -----------------------------------------------------------------------------------------------------------


def quote_confidence(depth_score: float, volatility: float | None, risk_level: RiskLevel) -> float:
    """`confidence_of` with the words of the domain; an unknown σ is None."""
    return confidence_of(depth_score, UNKNOWN if volatility is None else volatility, RISK_SCORE[risk_level])


def spread_frac(rules: QuoteRules, spread_multiplier: float, volatility: float | None) -> tuple[float, float]:
    """(before the cap, after the cap): the full spread of the fixed or the order-book pricing, as a fraction of the mid."""
    return spread_fracs(rules.numbers, spread_multiplier, UNKNOWN if volatility is None else volatility, 0.0)


def price_quotes(
    rules: QuoteRules,
    best_bid_ticks: int,
    best_ask_ticks: int,
    volatility: float | None,
    ratio: float,
    mandate: MandateValues,
    *,
    full_skew: int = 0,
    q: float = 0.0,
) -> QuoteTerms:
    """`quote_prices` with every term. The reason is "ok", or `min_profit_unreachable` when the profit floor is above the
    spread cap; then both prices are None."""
    made = quote_prices(
        rules.numbers,
        best_bid_ticks,
        best_ask_ticks,
        UNKNOWN if volatility is None else volatility,
        ratio,
        q,
        mandate.spread_multiplier,
        mandate.inventory_bias,
        full_skew,
    )
    return quote_terms(rules, made, volatility, mandate)


def quote_terms(rules: QuoteRules, made: QuotePrices, volatility: float | None, mandate: MandateValues) -> QuoteTerms:
    """What `quote_prices` found, in words."""
    return QuoteTerms(
        bid_ticks=made.bid_ticks or None,
        ask_ticks=made.ask_ticks or None,
        reason=REASONS[made.reason] or "ok",
        mid_ticks=made.mid_ticks,
        base_frac=rules.base_frac,
        floor_frac=rules.floor_frac,
        spread_multiplier=mandate.spread_multiplier,
        volatility=volatility,
        uncapped_frac=made.uncapped_frac,
        spread_frac=made.spread_frac,
        half_ticks=made.half_ticks,
        inventory_bias=mandate.inventory_bias,
        inventory_skew=made.skew,
        shift=made.shift,
    )
