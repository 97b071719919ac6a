"""Where to quote: pure functions from the market, the inventory and the mandate to two prices, with every term kept.

The order-book pricing, in fractions of the mid:

    floor  = min_profit_threshold + 2 × maker fee
    spread = min(max(base, floor) × spread_multiplier × (1 + 2σ), max_spread)          σ per hour; the cap is last
    b      = clamp(inventory_bias + (target − inventory_ratio) × skew_factor, −1, 1)
    bid    = mid − half + b × half,   ask = mid + half + b × half,   half = mid × spread ÷ 2

b > 0 wants more base and moves both quotes up. The fixed spread is the same without the σ term. In the touch styles the
quotes start from the best prices; the multiplier and b then scale the market's own spread, and the floor still holds.
An unknown σ is not zero: the spread is then the widest allowed (a touch style has no σ; it only quotes smaller then).

Quotes are centred on the fair value: the mid, or the microprice (bid × ask lots + ask × bid lots) ÷ (bid lots + ask lots). All
fractions are of the mid, and so is what inventory is worth. Where a toxic side is widened, its distance from the fair value is
multiplied, up to max_spread.

The models of the literature (`autohedge.market_maker.models`) give the full spread in place of base × (1 + 2σ), and the
inventory's shift of both quotes in place of the skew, which then is only clamped where a quote would be further from the mid
than max_spread: with much inventory the model may want a quote beyond the mid, and the touch stops it. σ in ticks per √s is σ
per hour × mid ÷ 60. The exact one has a table of distances for −Q … Q orders of inventory, filled anew when σ, to 11 bits,
changes.

The functions over plain numbers are compiled by the backtest as they stand: no None, no strings, no objects inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil, floor, frexp, inf, ldexp
from typing import Any, Final, NamedTuple

from autohedge.domain.mandate import MandateValues, RiskLevel
from autohedge.market_maker.config import BPS, FairValue, MarketMakingConfig, QuotingModel, Touch
from autohedge.market_maker.models import avellaneda_stoikov, glft_asymptotic_into, glft_closed, glft_interpolated
from autohedge.market_maker.reasons import INVENTORY_LIMIT, MIN_PROFIT_UNREACHABLE, NONE, PRICE_BELOW_A_TICK, REASONS

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
    GLFT_EXACT = 4


class TouchCode(IntEnum):
    """The touch style as a number."""

    DISTANCE = 0
    JOIN = 1
    IMPROVE = 2


_FIXED_SPREAD: Final = 0
_AVELLANEDA_STOIKOV: Final = 2
_GLFT_EXACT: Final = 4
_DISTANCE: Final = 0
_IMPROVE: Final = 2

BIDS, ASKS, SIGMA = range(3)
"""Rows of the table of the exact model: distances in ticks at −Q … Q orders of inventory, and in its first cell the σ they
hold for."""
_NO_SIGMA: Final = -1.0
_SIGMA_BITS: Final = 2_048.0

Table = Any
"""A table by rows: list[list[float]], or a numpy array of two dimensions."""


class QuoteNumbers(NamedTuple):
    """`QuoteRules` as plain numbers: `floor_frac` is `OFF` without a floor; the last five are those of the literature."""

    base_frac: float
    floor_frac: float
    max_frac: float
    skew_factor: float
    target: float
    model: int
    touch: int
    microprice: int
    risk_aversion: float
    intensity_decay_per_tick: float
    arrival_rate_per_s: float
    horizon_s: float
    inventory_limit: int


class ModelTerms(NamedTuple):
    """What a model of the literature is asked and says: σ in ticks/√s, q in orders of inventory, half spread and offset from
    the fair value in ticks, and why it does not quote a side (0: it does)."""

    sigma: float
    q: float
    half_ticks: float
    offset_ticks: float
    buy_reason: int
    sell_reason: int


NO_MODEL: Final = ModelTerms(0.0, 0.0, 0.0, 0.0, 0, 0)
"""Of a pricing that is none of the literature's, or without a σ."""


class QuotePrices(NamedTuple):
    """Two prices in ticks and what led to them. A price is 0 where there is none: then its reason is a code of `reasons`."""

    buy_reason: int
    sell_reason: int
    bid_ticks: int
    ask_ticks: int
    mid_ticks: float
    fair_ticks: float
    uncapped_frac: float
    spread_frac: float
    half_ticks: float
    skew: float
    shift: float
    model: ModelTerms


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
    inventory_limit_orders: int = 1
    fair_value: FairValue = FairValue.MID
    numbers: QuoteNumbers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain_model = ModelCode.ORDER_BOOK if self.uses_volatility else ModelCode.FIXED_SPREAD
        literature = self.model in {QuotingModel.AVELLANEDA_STOIKOV, QuotingModel.GLFT, QuotingModel.GLFT_EXACT}
        numbers = QuoteNumbers(
            base_frac=self.base_frac,
            floor_frac=OFF if self.floor_frac is None else self.floor_frac,
            max_frac=self.max_frac,
            skew_factor=self.skew_factor,
            target=self.target,
            model=int(ModelCode[self.model.name] if literature else plain_model),
            touch=int(TouchCode[self.touch.name]),
            microprice=int(self.fair_value is FairValue.MICROPRICE),
            risk_aversion=self.risk_aversion,
            intensity_decay_per_tick=self.intensity_decay_per_tick,
            arrival_rate_per_s=self.arrival_rate_per_s,
            horizon_s=self.horizon_s,
            inventory_limit=self.inventory_limit_orders,
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
            inventory_limit_orders=config.inventory_limit_orders,
            fair_value=config.fair_value,
        )


class QuoteTerms(NamedTuple):
    """Every term of a quote, for whoever asks why. Prices in ticks; a price is None when nothing can be quoted there, `reason`
    is "ok" unless that is so on both sides. `model` is None unless the pricing is one of the literature's and σ is known."""

    bid_ticks: int | None
    ask_ticks: int | None
    reason: str
    mid_ticks: float
    fair_ticks: float
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
    model: ModelTerms | None


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


def fair_value(numbers: QuoteNumbers, best_bid_ticks: int, best_ask_ticks: int, bid_lots: int, ask_lots: int) -> float:
    """What quotes are centred on, in ticks: between the best prices, or their mid where the sizes are not known (0)."""
    if numbers.microprice and bid_lots + ask_lots > 0:
        # the same as (bid × ask lots + ask × bid lots) ÷ both, without a product that a float cannot hold
        return best_bid_ticks + (best_ask_ticks - best_bid_ticks) * (bid_lots / (bid_lots + ask_lots))
    return (best_bid_ticks + best_ask_ticks) / 2.0


def model_terms(numbers: QuoteNumbers, table: Table, mid_ticks: float, volatility: float, q: float) -> ModelTerms:
    """What the model of the literature says at q orders of inventory; σ must be known."""
    sigma = volatility * mid_ticks / _SQRT_S_PER_SQRT_HOUR
    gamma, k = numbers.risk_aversion, numbers.intensity_decay_per_tick
    if numbers.model == _GLFT_EXACT:
        return exact_terms(numbers, table, sigma, q)
    if numbers.model == _AVELLANEDA_STOIKOV:
        offset, half = avellaneda_stoikov(q, sigma, gamma, k, numbers.horizon_s)
    else:
        offset, half = glft_closed(q, sigma, gamma, k, numbers.arrival_rate_per_s, 0.0, 0.0)
    return ModelTerms(sigma, q, half, offset, NONE, NONE)


def exact_terms(numbers: QuoteNumbers, table: Table, sigma: float, q: float) -> ModelTerms:
    """The exact GLFT quotes, far from the end. A side without room for one more order within ±Q is not quoted, and counts in
    the spread with the distance of the last order that had room."""
    mantissa, exponent = frexp(sigma)
    rounded = ldexp(floor(mantissa * _SIGMA_BITS + 0.5) / _SIGMA_BITS, exponent)
    if table[SIGMA][0] != rounded:
        fill_table(numbers, table, rounded)
    limit = numbers.inventory_limit
    buy_reason, sell_reason = NONE, NONE
    bid, ask = glft_interpolated(q, table[BIDS], table[ASKS], limit)
    if bid == inf:
        bid, buy_reason = table[BIDS][2 * limit - 1], INVENTORY_LIMIT
    if ask == inf:
        ask, sell_reason = table[ASKS][1], INVENTORY_LIMIT
    return ModelTerms(sigma, q, (bid + ask) / 2.0, (ask - bid) / 2.0, buy_reason, sell_reason)


def fill_table(numbers: QuoteNumbers, table: Table, sigma: float) -> None:
    """Work out the distances of the exact model for a σ in ticks/√s."""
    gamma, k, a = numbers.risk_aversion, numbers.intensity_decay_per_tick, numbers.arrival_rate_per_s
    glft_asymptotic_into(table[BIDS], table[ASKS], numbers.inventory_limit, sigma, gamma, k, a, 0.0, 0.0)
    table[SIGMA][0] = sigma


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


def model_shift(numbers: QuoteNumbers, shift: float, spread: float, full_skew: int) -> float:
    """The shift of a model of the literature, in halves of the spread, at full strength or clamped where it must be."""
    if full_skew:
        shift = full_skew * max(1.0, abs(shift))
    # a quote is never further from the fair value than the widest spread
    furthest = max(1.0, 2.0 * numbers.max_frac / spread - 1.0)
    return min(furthest, max(-furthest, shift))


def quote_prices(
    numbers: QuoteNumbers,
    table: Table,
    best_bid_ticks: int,
    best_ask_ticks: int,
    fair_ticks: float,
    volatility: float,
    ratio: float,
    q: float,
    spread_multiplier: float,
    inventory_bias: float,
    full_skew: int,
    bid_widening: float,
    ask_widening: float,
) -> QuotePrices:
    """Bid and ask in whole ticks: never crossing the book or each other, bids rounded down, asks up.

    `full_skew` −1 or +1 forces the shift to full strength at least (inventory beyond the rebalance threshold); 0 leaves it to
    the formula. `q` is the inventory in order sizes, for the models of the literature. A widening above 1 multiplies a side's
    distance from the fair value. A bid below one tick is 0.
    """
    mid = (best_bid_ticks + best_ask_ticks) / 2.0
    model, skew = NO_MODEL, (numbers.target - ratio) * numbers.skew_factor
    is_literature = numbers.model >= _AVELLANEDA_STOIKOV and volatility >= 0.0
    model_frac = 0.0
    if is_literature:
        model = model_terms(numbers, table, mid, volatility, q)
        model_frac, skew = 2.0 * model.half_ticks / mid, model.offset_ticks / model.half_ticks
    uncapped, spread = spread_fracs(numbers, spread_multiplier, volatility, model_frac)
    if is_literature:
        # the model's shift is in ticks: a wider spread does not stretch it
        shift = model_shift(numbers, inventory_bias + skew * model_frac / spread, spread, full_skew)
    elif full_skew:
        shift = float(full_skew)
    else:
        shift = min(1.0, max(-1.0, inventory_bias + skew))
    if numbers.floor_frac > numbers.max_frac:
        none = MIN_PROFIT_UNREACHABLE
        return QuotePrices(none, none, 0, 0, mid, fair_ticks, uncapped, spread, 0.0, skew, shift, model)
    if numbers.touch == _DISTANCE:
        half = mid * spread / 2.0
        bid = floor(fair_ticks - half + shift * half + _GRID_TOLERANCE_TICKS)
        ask = ceil(fair_ticks + half + shift * half - _GRID_TOLERANCE_TICKS)
    else:
        bid, ask, half = touch_prices(numbers, best_bid_ticks, best_ask_ticks, fair_ticks, mid, shift, spread_multiplier)
    furthest = numbers.max_frac * mid
    if bid_widening > 1.0:
        bid = floor(fair_ticks - widened(fair_ticks - bid, bid_widening, furthest) + _GRID_TOLERANCE_TICKS)
    if ask_widening > 1.0:
        ask = ceil(fair_ticks + widened(ask - fair_ticks, ask_widening, furthest) - _GRID_TOLERANCE_TICKS)
    bid = min(bid, best_ask_ticks - 1)
    ask = max(ask, best_bid_ticks + 1)
    if bid >= ask:
        # a spread of almost nothing around a fair value that is on the grid
        bid, ask = bid - 1, ask + 1
    buy_reason, sell_reason = model.buy_reason, model.sell_reason
    if buy_reason == NONE and bid <= 0:
        buy_reason = PRICE_BELOW_A_TICK
    if buy_reason != NONE:
        bid = 0
    if sell_reason != NONE:
        ask = 0
    return QuotePrices(buy_reason, sell_reason, bid, ask, mid, fair_ticks, uncapped, spread, half, skew, shift, model)


def widened(distance_ticks: float, factor: float, furthest_ticks: float) -> float:
    """A distance × `factor`, at most `furthest_ticks`; one that is further already, or beyond the fair value, stays."""
    return max(distance_ticks, min(distance_ticks * factor, furthest_ticks))


def touch_prices(
    numbers: QuoteNumbers,
    best_bid_ticks: int,
    best_ask_ticks: int,
    fair_ticks: float,
    mid: float,
    shift: float,
    spread_multiplier: float,
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
        bid = min(bid, floor(fair_ticks - least + shift * least + _GRID_TOLERANCE_TICKS))
        ask = max(ask, ceil(fair_ticks + least + shift * least - _GRID_TOLERANCE_TICKS))
    return bid, ask, half


# --- for people -----------------------------------------------------------------------------------------------------------


def new_table(numbers: QuoteNumbers) -> list[list[float]]:
    """A table of the exact model that nothing has been filled into."""
    return [[_NO_SIGMA] * (2 * numbers.inventory_limit + 1) for _ in range(3)]


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
    best_lots: tuple[int, int] = (0, 0),
    widening: tuple[float, float] = (1.0, 1.0),
) -> QuoteTerms:
    """`quote_prices` with every term; `best_lots` and `widening` are (bid, ask). The reason is "ok", or
    `min_profit_unreachable` when the profit floor is above the spread cap; then both prices are None."""
    numbers = rules.numbers
    made = quote_prices(
        numbers,
        new_table(numbers),
        best_bid_ticks,
        best_ask_ticks,
        fair_value(numbers, best_bid_ticks, best_ask_ticks, *best_lots),
        UNKNOWN if volatility is None else volatility,
        ratio,
        q,
        mandate.spread_multiplier,
        mandate.inventory_bias,
        full_skew,
        *widening,
    )
    return quote_terms(rules, made, volatility, mandate)


def quote_terms(rules: QuoteRules, made: QuotePrices, volatility: float | None, mandate: MandateValues) -> QuoteTerms:
    """What `quote_prices` found, in words."""
    return QuoteTerms(
        bid_ticks=made.bid_ticks or None,
        ask_ticks=made.ask_ticks or None,
        reason="ok" if made.ask_ticks or made.bid_ticks else REASONS[made.sell_reason],
        mid_ticks=made.mid_ticks,
        fair_ticks=made.fair_ticks,
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
        model=made.model if made.model.half_ticks else None,
    )
