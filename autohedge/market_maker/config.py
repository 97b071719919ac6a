"""Every setting of the maker, with its unit, its bounds and the meaning of its limits."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from autohedge.domain.numbers import Exact, Real, Whole

BPS = Decimal(10_000)
MOST_BASE = Decimal("1e15")


def _none_word(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _is_zero(value: str | int | float | Decimal) -> bool:
    try:
        return float(value) == 0
    except (ValueError, OverflowError):
        return False


class QuotingModel(StrEnum):
    """How the distance from the mid is found: fixed, widened by volatility and moved by inventory (order-book pricing), or by
    a model of the literature, which takes its spread and shift from risk aversion, volatility and the flow of orders."""

    FIXED_SPREAD = "fixed_spread"
    ORDER_BOOK = "order_book"
    AVELLANEDA_STOIKOV = "avellaneda_stoikov"
    GLFT = "glft"
    GLFT_EXACT = "glft_exact"


class FairValue(StrEnum):
    """What quotes are centred on: the mid, or the microprice, which leans to the side where less rests."""

    MID = "mid"
    MICROPRICE = "microprice"


class ToxicityAction(StrEnum):
    """What becomes of the quotes that would be run over: pulled, or moved away."""

    PULL = "pull"
    WIDEN = "widen"


class Touch(StrEnum):
    """Where quotes rest: at the model's distance, joining the best price, or improving it by a tick."""

    DISTANCE = "distance"
    JOIN = "join"
    IMPROVE = "improve"


class FeeAsset(StrEnum):
    """What a fee is taken from: the quote asset, or whatever the fill brings in (base for a buy, quote for a sell)."""

    QUOTE = "quote"
    RECEIVED = "received"


class MarketMakingConfig(BaseModel):
    """Settings of one market maker.

    The first seven names and defaults are the familiar ones. Fractions are of `total_capital` unless said otherwise.
    Unknown names, NaN, infinities and values outside the bounds are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    trading_pair: str = Field(default="BTC/USDT", min_length=1, max_length=40, description="Symbol, BASE/QUOTE.")
    total_capital: Exact = Field(default=Decimal(10_000), gt=0, le=Decimal("1e12"), description="Capital in the quote asset.")
    spread_percentage: Exact = Field(
        default=Decimal("0.001"),
        gt=0,
        lt=1,
        description="Full target spread as a fraction of the mid (0.001 = 10 bps).",
    )
    order_size_percentage: Exact = Field(
        default=Decimal("0.01"), gt=0, le=1, description="Value of one order, fraction of capital."
    )
    max_inventory_exposure: Exact = Field(
        default=Decimal("0.2"), gt=0, le=1, description="Hard cap of base held and bid for, fraction of capital."
    )
    rebalance_threshold: Exact = Field(
        default=Decimal("0.1"),
        gt=0,
        le=1,
        description="Distance from neutral, fraction of capital, where skew is full.",
    )
    min_profit_threshold: Annotated[Exact | None, BeforeValidator(_none_word)] = Field(
        default=Decimal("0.002"),
        ge=0,
        lt=1,
        description="Profit floor of a round trip after two maker fees, fraction; none switches the floor (fees included) off.",
    )

    quoting_model: QuotingModel = QuotingModel.ORDER_BOOK
    touch: Touch = Touch.DISTANCE
    fair_value: FairValue = Field(default=FairValue.MID, description="What quotes are centred on: mid or microprice.")
    max_spread_bps: Exact = Field(default=Decimal(50), gt=0, le=5_000, description="Cap of the full spread, in bps.")
    skew_factor: Real = Field(
        default=0.3, ge=0, le=2, description="Shift of both quotes per unit of inventory_ratio off target."
    )
    inventory_target: Real = Field(default=0.5, ge=0, le=1, description="Target of inventory_ratio; 0.5 is neutral.")
    initial_base: Exact = Field(default=Decimal(0), ge=0, le=MOST_BASE, description="Base held at the start, in base.")
    neutral_base: Exact = Field(default=Decimal(0), ge=0, le=MOST_BASE, description="Base that counts as neutral, in base.")
    rebalance: bool = Field(default=False, description="Beyond rebalance_threshold also send a crossing order back to neutral.")
    risk_aversion: Real = Field(
        default=0.01, gt=0, le=1e3, description="γ of the literature's models, per tick and order size."
    )
    intensity_decay_per_tick: Real = Field(
        default=0.3, ge=1e-9, le=1e3, description="k of the literature's models: A × exp(−k δ) orders per s reach δ ticks."
    )
    arrival_rate_per_s: Real = Field(
        default=0.9, ge=1e-9, le=1e9, description="A of the literature's models: orders of one side per s that reach the mid."
    )
    horizon_s: Real = Field(
        default=60, gt=0, le=31_536_000, description="Rolling T − t of Avellaneda–Stoikov; GLFT is stationary and has none."
    )
    inventory_limit_orders: Whole = Field(
        default=30, ge=1, le=200, description="Q of glft_exact: with so many orders of inventory one side is not quoted."
    )
    levels: Whole = Field(default=1, ge=1, le=10, description="Quotes per side.")
    level_spacing_bps: Real = Field(default=5.0, ge=0.001, le=1_000, description="From a level to the next, in bps of the mid.")
    level_size_factor: Real = Field(default=1.0, gt=0, le=10, description="Size of a level as a multiple of the one before it.")
    size_by_confidence: bool = Field(
        default=True, description="Scale sizes by depth, calm and risk; false quotes one size, as the literature assumes."
    )
    toxic_trades_ratio: Real = Field(
        default=0, ge=0, le=1e6, description="Net volume of aggressors, in usual touch sizes, that is a burst; 0: off."
    )
    toxic_window_s: Real = Field(default=1.0, ge=0.01, le=600, description="Seconds over which aggressors are counted.")
    toxic_depletion_frac: Real = Field(
        default=0, ge=0, lt=1, description="Best size, fraction of its usual one, below which a touch is depleted; 0: off."
    )
    toxic_imbalance: Real = Field(
        default=0, ge=0, lt=1, description="Imbalance of the best five levels beyond which one side is toxic; 0: off."
    )
    toxic_hold_s: Real = Field(default=0, ge=0, le=600, description="A toxic side stays so at least this long.")
    toxicity_action: ToxicityAction = Field(
        default=ToxicityAction.PULL, description="What a toxic side's quotes do: pull (not quoted) or widen."
    )
    toxicity_widen_factor: Real = Field(
        default=2.0, ge=1, le=1_000, description="Distance of a widened side from the fair value, as a multiple."
    )
    depth_reference_quote: Real = Field(default=100_000, ge=1e-6, le=1e15, description="Depth, in quote, that scores 100.")

    maker_fee_bps: Exact = Field(default=Decimal(10), ge=-10, le=500, description="Maker fee in bps; negative is a rebate.")
    taker_fee_bps: Exact = Field(default=Decimal(10), ge=0, le=500, description="Taker fee in bps.")
    fee_asset: FeeAsset = FeeAsset.QUOTE
    latency_ms: Real = Field(
        default=50,
        ge=0.001,
        le=60_000,
        description="From our decision to the venue, in ms. Zero would be look-ahead and is refused.",
    )

    min_requote_ms: Real = Field(
        default=100, ge=0, le=3_600_000, description="Quotes are reconsidered at most this often; 0 at every message."
    )
    refresh_tolerance_bps: Real = Field(
        default=3.0, ge=0, le=1_000, description="Moves below it leave an order alone, except right at the touch."
    )
    max_order_age_s: Real = Field(default=1_800, ge=0.001, le=31_536_000, description="An older order is replaced.")
    request_reserve_frac: Real = Field(
        default=0.5, ge=0, le=1, description="Below this fraction of the request budget orders are moved less and less; 0: off."
    )
    queue_value_bps: Real = Field(
        default=0, ge=0, le=1_000, description="What the front of a queue is worth: an order moves for more only; 0: nothing."
    )
    hanging_orders: bool = Field(default=False, description="After a side fills, the other side's orders keep their place.")
    hanging_cancel_bps: Real = Field(
        default=20, gt=0, le=5_000, description="A hanging order so far from the mid is moved again, in bps."
    )
    filled_order_delay_s: Real = Field(default=0, ge=0, le=3_600, description="Pause of a side after its fill.")

    @field_validator("latency_ms", mode="before")
    @classmethod
    def _no_look_ahead(cls, value: Any) -> Any:
        """At zero latency quotes move before the trades that moved the market print, and a touch maker earns: refused."""
        if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool) and _is_zero(value):
            raise ValueError(
                "zero latency is look-ahead (quotes would move before the trades they answer); give more than 0 ms"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _base_spread_is_the_same_thing(cls, data: Any) -> Any:
        """`base_spread_bps` is another name of spread_percentage × 10,000; giving both is a contradiction."""
        if isinstance(data, dict) and "base_spread_bps" in data:
            data = dict(data)
            if "spread_percentage" in data:
                raise ValueError("give spread_percentage or base_spread_bps, not both: they are one setting")
            given = data.pop("base_spread_bps")
            try:
                data["spread_percentage"] = Decimal(str(given)) / BPS
            except ArithmeticError:
                raise ValueError(f"base_spread_bps: expected a number of bps, found {str(given)[:80]!r}") from None
        return data

    @model_validator(mode="after")
    def _consistent(self) -> MarketMakingConfig:
        if self.order_size_percentage > self.max_inventory_exposure:
            raise ValueError(
                f"order_size_percentage {self.order_size_percentage} is above max_inventory_exposure "
                f"{self.max_inventory_exposure}: not one order would fit"
            )
        if self.spread_percentage * BPS > self.max_spread_bps:
            raise ValueError(
                f"spread_percentage {self.spread_percentage} ({self.spread_percentage * BPS} bps) is above max_spread_bps "
                f"{self.max_spread_bps}"
            )
        return self

    @property
    def base_spread_bps(self) -> Decimal:
        """The full target spread in bps."""
        return self.spread_percentage * BPS

    def warnings(self) -> tuple[str, ...]:
        """Settings outside the usual ranges, one sentence each; empty when all are usual."""
        usual = (
            ("max_inventory_exposure", Decimal("0.15"), Decimal("0.25")),
            ("order_size_percentage", Decimal("0.005"), Decimal("0.02")),
            ("rebalance_threshold", Decimal("0.05"), Decimal("0.1")),
        )
        found = [
            f"{name} is {getattr(self, name)}; usual are {low} to {high}"
            for name, low, high in usual
            if not low <= getattr(self, name) <= high
        ]
        if self.spread_floor_frac is not None and self.spread_floor_frac * BPS > self.max_spread_bps:
            found.append(
                f"the profit floor of {self.spread_floor_frac * BPS} bps (min_profit_threshold + 2 x maker fee) is above "
                f"max_spread_bps {self.max_spread_bps}: nothing will be quoted (min_profit_unreachable)"
            )
        wanted = 2 * (Decimal(repr(self.inventory_target)) - Decimal("0.5")) * self.max_inventory_exposure
        if not self.neutral_base and wanted > self.rebalance_threshold:
            found.append(
                f"inventory_target {self.inventory_target} wants {wanted:f} of capital in base, but beyond rebalance_threshold "
                f"{self.rebalance_threshold} the quotes lean back at full strength: it will not be reached"
            )
        return tuple(found)

    @property
    def spread_floor_frac(self) -> Decimal | None:
        """min_profit_threshold + 2 × maker fee, as a fraction of the mid; None when the floor is off."""
        if self.min_profit_threshold is None:
            return None
        return self.min_profit_threshold + 2 * self.maker_fee_bps / BPS
