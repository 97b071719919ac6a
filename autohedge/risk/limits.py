"""The operator's limits. Every one of them is read by a check, and a test makes each of them fire."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from autohedge.domain.numbers import Exact, Real, Whole

MOST_QUOTE = Decimal("1e15")


class RiskLimits(BaseModel):
    """Limits of each symbol, and, where the name says portfolio, of all symbols together. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_order_notional_quote: Exact = Field(
        default=Decimal(100_000), gt=0, le=MOST_QUOTE, description="Largest value of one order, in quote."
    )
    max_inventory_imbalance: Real = Field(
        default=0.4, gt=0, le=0.5, description="|inventory_ratio − 0.5| at which orders that raise it stop."
    )
    max_daily_loss_quote: Exact = Field(
        default=Decimal(1_000), gt=0, le=MOST_QUOTE, description="Loss since 00:00 UTC, in quote."
    )
    max_daily_loss_frac: Real = Field(
        default=0.05, gt=0, le=1, description="Loss since 00:00 UTC, fraction of the equity then."
    )
    max_requests_per_min: Whole = Field(
        default=100, ge=1, le=1_000_000, description="Requests to the venue in any 60 s; cancels are never held back."
    )
    price_collar_frac: Real = Field(default=0.05, gt=0, lt=1, description="Largest distance of a limit price from the mid.")
    max_data_age_ms: Real = Field(default=5_000, ge=0.001, le=86_400_000, description="Market data older than this is stale.")
    duplicate_window_ms: Real = Field(
        default=1_000,
        ge=0,
        le=86_400_000,
        description="Same side, price and size as a working order (not one being cancelled) within this time is a duplicate.",
    )
    max_portfolio_exposure_frac: Exact | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Cap of base held and bid for over all symbols, fraction of total_capital; none: each symbol's own alone.",
    )
    max_portfolio_daily_loss_quote: Exact | None = Field(
        default=None, gt=0, le=MOST_QUOTE, description="Loss of all symbols together since 00:00 UTC, in quote; none: no limit."
    )
    max_portfolio_daily_loss_frac: Real | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Loss of all symbols together since 00:00 UTC, fraction of their equity then; none: no limit.",
    )

    @property
    def portfolio_limits(self) -> tuple[str, ...]:
        """The names of the limits over all symbols together that are set."""
        names = ("max_portfolio_exposure_frac", "max_portfolio_daily_loss_quote", "max_portfolio_daily_loss_frac")
        return tuple(name for name in names if getattr(self, name) is not None)
