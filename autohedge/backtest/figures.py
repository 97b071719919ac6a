"""The figures of a backtest as values: one class per section, and how they become plain data.

Every figure is finite or None; `Metrics.undefined` holds the reason of each None. `autohedge.backtest.metrics.measure` makes
them, `autohedge.backtest.definitions` says what each one means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from autohedge.backtest.fill_split import MarkOut, Part
from autohedge.backtest.returns import Drawdown
from autohedge.errors import InvariantBroken

SECTION_NAMES = ("pnl", "returns", "drawdown", "round_trips", "costs", "exposure", "making")


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlMetrics:
    """Profit and where it came from, in quote; exact, and adding up."""

    initial_equity_quote: Decimal
    final_equity_quote: Decimal
    total_quote: Decimal
    spread_captured_quote: Decimal
    adverse_selection_quote: Decimal
    inventory_quote: Decimal
    fees_quote: Decimal
    unexplained_quote: float | None
    horizon_s: int | None
    fills_without_mid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnMetrics:
    """Return and risk from the returns of whole periods."""

    total_frac: float | None
    annual_frac: float | None
    roi_frac: float | None
    period: str
    periods: int
    periods_per_year: float
    risk_free_frac: float
    sharpe: float | None
    sharpe_error: float | None
    sharpe_per_period: float | None
    sharpe_probability_frac: float | None
    sortino: float | None
    calmar: float | None
    volatility_frac: float | None
    mean_frac: float | None
    skewness: float | None
    kurtosis: float | None
    var_95_frac: float | None
    cvar_95_frac: float | None
    best_frac: float | None
    worst_frac: float | None
    positive_frac: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTripMetrics:
    """Wins and losses of round trips at average cost."""

    count: int
    win_rate_frac: float | None
    profit_factor: float | None
    average_win_quote: float | None
    average_loss_quote: float | None
    largest_win_quote: float | None
    largest_loss_quote: float | None
    expectancy_quote: float | None
    expectancy_bps: float | None
    median_hold_s: float | None
    realized_quote: float
    unrealized_quote: float
    open_base: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostMetrics:
    """What trading and the model cost."""

    fees_bps: float | None
    slippage_quote: Decimal
    slippage_bps: float | None
    volume_quote: Decimal
    turnover: float | None
    turnover_per_day: float | None
    model_usd: Decimal | None
    model_per_fill_usd: float | None
    model_share_frac: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureMetrics:
    """How long and how large the holding was."""

    time_frac: float | None
    mean_frac: float | None
    max_frac: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MakingMetrics:
    """Orders, quotes and fills."""

    fills: int
    maker_fills: int
    fills_per_hour: float | None
    orders_placed: int | None
    filled_orders: int
    fill_ratio_frac: float | None
    order_to_trade: float | None
    order_success_frac: float | None
    bid_uptime_frac: float | None
    ask_uptime_frac: float | None
    spread_captured_bps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """All figures of a run; `undefined` gives the reason of each None by its dotted name (`returns.sharpe`)."""

    pnl: PnlMetrics
    returns: ReturnMetrics
    drawdown: Drawdown
    round_trips: RoundTripMetrics
    costs: CostMetrics
    exposure: ExposureMetrics
    making: MakingMetrics
    mark_outs: tuple[MarkOut, ...]
    by_group: tuple[Part, ...]
    by_hour: tuple[Part, ...]
    undefined: dict[str, str] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Each single figure by its dotted name, in the order of the definitions; the tables are left out."""
        sections = {name: members(getattr(self, name)) for name in SECTION_NAMES}
        return {f"{section}.{name}": value for section, members in sections.items() for name, value in members.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: decimals and nanoseconds as strings, every float finite (`InvariantBroken` if not)."""
        plain: dict[str, Any] = {
            section: {name: _plain(name, value) for name, value in members(getattr(self, section)).items()}
            for section in SECTION_NAMES
        }
        for table in ("mark_outs", "by_group", "by_hour"):
            plain[table] = [{name: _plain(name, value) for name, value in members(row).items()} for row in getattr(self, table)]
        plain["undefined"] = dict(self.undefined)
        return plain


def members(value: Any) -> dict[str, Any]:
    """The fields of a dataclass or named tuple by name."""
    names = value._fields if isinstance(value, tuple) else [each.name for each in fields(value)]  # type: ignore[attr-defined]
    return {name: getattr(value, name) for name in names}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int) and name.endswith("_ns"):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvariantBroken(f"the figure {name} is {value}; an undefined figure must be None with a reason")
    return value
