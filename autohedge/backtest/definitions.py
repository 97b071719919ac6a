"""What each figure of a backtest is called, its unit, and what it means, once for table, page and command line.

A test holds that every figure of `Metrics` has its definition here and in docs/metrics.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

NS_PER_S = 1_000_000_000


class Definition(NamedTuple):
    """`unit` decides how a value is shown (see `shown`)."""

    title: str
    unit: str
    text: str


SECTIONS = {
    "pnl": "Profit and where it came from",
    "returns": "Returns",
    "drawdown": "Drawdown",
    "round_trips": "Round trips",
    "costs": "Costs and turnover",
    "exposure": "Exposure",
    "making": "Orders, quotes and fills",
}

DEFINITIONS: dict[str, Definition] = {
    "pnl.initial_equity_quote": Definition("Initial equity", "quote", "Cash and holdings at the start, at the first price."),
    "pnl.final_equity_quote": Definition("Final equity", "quote", "Cash and holdings at the end, at the last price."),
    "pnl.total_quote": Definition("PnL", "quote", "Final minus initial equity: after fees, before the cost of a model."),
    "pnl.spread_captured_quote": Definition(
        "Spread captured", "quote", "Sum over fills of side × (mid just before − price) × size: + when filled better than mid."
    ),
    "pnl.adverse_selection_quote": Definition(
        "Adverse selection",
        "quote",
        "Sum over fills of side × (mid one horizon later − mid just before) × size: − when the market moved against the fill. "
        "A fill nearer to the end than the horizon is marked at the last price.",
    ),
    "pnl.inventory_quote": Definition(
        "Inventory", "quote", "The rest: PnL + fees − spread captured − adverse selection; what holding brought."
    ),
    "pnl.fees_quote": Definition(
        "Fees", "quote", "Fees paid less rebates. PnL = spread + adverse selection + inventory − fees."
    ),
    "pnl.unexplained_quote": Definition(
        "Unexplained",
        "quote",
        "The part of Inventory that fills and prices do not account for: 0 up to rounding; a fee taken in base, whose worth "
        "moves on, appears here.",
    ),
    "pnl.horizon_s": Definition(
        "Horizon of the split", "s", "1 s, or the shortest of 5, 30 and 60 s that the prices are fine enough for."
    ),
    "pnl.fills_without_mid": Definition(
        "Fills without a mid", "count", "No mid was known before these: they count under Inventory."
    ),
    "returns.total_frac": Definition("Total return", "frac", "Final ÷ initial equity − 1."),
    "returns.annual_frac": Definition(
        "Annual return",
        "frac",
        "(Final ÷ initial equity)^(365 days ÷ length of the run) − 1: geometric, by calendar time. Not for runs below 7 days.",
    ),
    "returns.roi_frac": Definition(
        "ROI", "frac", "(PnL − cost of the model) ÷ initial equity; without a model it is the total return. 1 USD is 1 quote."
    ),
    "returns.period": Definition(
        "Period of the returns",
        "text",
        "Day from 60 days on, hour from 60 hours on, else minute; UTC; no finer than the curve.",
    ),
    "returns.periods": Definition(
        "Periods", "count", "How many whole periods; one counts when the run covers nine tenths of it."
    ),
    "returns.periods_per_year": Definition(
        "Periods per year",
        "ratio",
        "Trading days per year (365 crypto, 252 stocks) × periods per day: 24 or 1,440 with 365 days, else those seen.",
    ),
    "returns.risk_free_frac": Definition(
        "Risk-free rate", "frac", "Per year; per period it is (1 + rate)^(1 ÷ periods per year) − 1."
    ),
    "returns.sharpe": Definition(
        "Sharpe ratio",
        "ratio",
        "Mean ÷ standard deviation (n − 1) of the periods' simple returns less the risk-free return, × √periods per year.",
    ),
    "returns.sharpe_error": Definition(
        "Standard error of it", "ratio", "Lo (2002) with the terms for skewness and kurtosis, annualised as the ratio is."
    ),
    "returns.sharpe_per_period": Definition("Sharpe ratio per period", "ratio", "The Sharpe ratio before it is annualised."),
    "returns.sharpe_probability_frac": Definition(
        "Probability of a true Sharpe > 0",
        "frac",
        "Probabilistic Sharpe ratio against 0 (Bailey and López de Prado 2012); says nothing of how many variants were tried.",
    ),
    "returns.sortino": Definition(
        "Sortino ratio",
        "ratio",
        "Mean excess return ÷ downside deviation × √periods per year; the deviation is √(mean of min(excess, 0)²).",
    ),
    "returns.calmar": Definition("Calmar ratio", "ratio", "Annual return ÷ maximum drawdown."),
    "returns.volatility_frac": Definition(
        "Volatility, annual", "frac", "Standard deviation (n − 1) of the periods' returns × √periods per year."
    ),
    "returns.mean_frac": Definition("Mean return", "frac", "Arithmetic mean of the periods' returns."),
    "returns.skewness": Definition("Skewness", "ratio", "Third central moment ÷ second^1.5, moments over n."),
    "returns.kurtosis": Definition(
        "Kurtosis", "ratio", "Fourth central moment ÷ second², moments over n: 3 for a normal distribution."
    ),
    "returns.var_95_frac": Definition(
        "Value at risk, 95 %", "frac", "Minus the 5 % quantile of the periods' returns (linear). From 20 periods on."
    ),
    "returns.cvar_95_frac": Definition(
        "Expected shortfall, 95 %", "frac", "Minus the mean of the periods' returns up to that quantile. From 20 periods on."
    ),
    "returns.best_frac": Definition("Best period", "frac", "The largest return of a period."),
    "returns.worst_frac": Definition("Worst period", "frac", "The smallest return of a period."),
    "returns.positive_frac": Definition("Periods with a gain", "frac", "Share of periods with a return above 0."),
    "drawdown.max_frac": Definition(
        "Maximum drawdown", "frac", "Deepest fall of equity from its peak so far, ÷ that peak, over every row of the curve."
    ),
    "drawdown.peak_ns": Definition("Its peak", "ns", "The last moment at the peak before the deepest fall."),
    "drawdown.trough_ns": Definition("Its trough", "ns", "The moment of the deepest fall."),
    "drawdown.recovery_ns": Definition("Its recovery", "ns", "The first moment back at the peak."),
    "drawdown.duration_s": Definition("Its duration", "s", "From the peak to the recovery, or to the end of the run."),
    "drawdown.longest_s": Definition(
        "Longest below a peak", "s", "The longest time from a peak until it was reached again, or the end."
    ),
    "round_trips.count": Definition(
        "Round trips",
        "count",
        "Orders that reduced a position, at average cost; all fills of one order are one. What is open at the end is none.",
    ),
    "round_trips.win_rate_frac": Definition("Win rate", "frac", "Round trips with a profit after fees ÷ all round trips."),
    "round_trips.profit_factor": Definition(
        "Profit factor", "ratio", "Sum of winning ÷ sum of losing round trips, after fees."
    ),
    "round_trips.average_win_quote": Definition("Average win", "quote", "Mean profit of the winning round trips, after fees."),
    "round_trips.average_loss_quote": Definition(
        "Average loss", "quote", "Mean of the losing round trips, after fees (negative)."
    ),
    "round_trips.largest_win_quote": Definition("Largest win", "quote", "The best round trip, after fees."),
    "round_trips.largest_loss_quote": Definition("Largest loss", "quote", "The worst round trip, after fees (negative)."),
    "round_trips.expectancy_quote": Definition("Expectancy", "quote", "Mean profit per round trip, after fees."),
    "round_trips.expectancy_bps": Definition(
        "Expectancy ÷ value", "bps", "Profit of all round trips, after fees, ÷ the value they opened with."
    ),
    "round_trips.median_hold_s": Definition(
        "Median holding time", "s", "From the average time of opening to the last closing fill."
    ),
    "round_trips.realized_quote": Definition("Realised", "quote", "Profit of all round trips before fees, at average cost."),
    "round_trips.unrealized_quote": Definition(
        "Unrealised", "quote", "Profit of the open position at the last price, before fees."
    ),
    "round_trips.open_base": Definition(
        "Open position", "base", "Base held at the end by the fills; not a win and not a loss."
    ),
    "costs.fees_bps": Definition("Fees ÷ volume", "bps", "Fees ÷ value traded."),
    "costs.slippage_quote": Definition("Slippage", "quote", "What taking orders paid beyond the price they were decided at."),
    "costs.slippage_bps": Definition("Slippage ÷ volume", "bps", "Slippage ÷ value traded."),
    "costs.volume_quote": Definition("Volume", "quote", "Value traded: sum of price × size."),
    "costs.turnover": Definition("Turnover", "ratio", "Volume ÷ equity averaged over time."),
    "costs.turnover_per_day": Definition("Turnover per day", "ratio", "Turnover ÷ days of the run."),
    "costs.model_usd": Definition(
        "Cost of the model", "usd", "What model calls cost; none without a model or with an unknown price."
    ),
    "costs.model_per_fill_usd": Definition("Model cost per fill", "usd", "Cost of the model ÷ fills."),
    "costs.model_share_frac": Definition(
        "Model cost of the profit", "frac", "Cost of the model ÷ PnL, where there was a profit; 1 USD counted as 1 quote."
    ),
    "exposure.time_frac": Definition(
        "Time with a position", "frac", "Share of time with a holding worth 1 bp of the equity or more."
    ),
    "exposure.mean_frac": Definition("Mean exposure", "frac", "|Holding| ÷ equity, averaged over time."),
    "exposure.max_frac": Definition("Largest exposure", "frac", "The largest |holding| ÷ equity of any row."),
    "making.fills": Definition("Fills", "count", "Executions; one order may have several."),
    "making.maker_fills": Definition("Maker fills", "count", "Fills of resting orders."),
    "making.fills_per_hour": Definition("Fills per hour", "ratio", "Fills ÷ hours of the run."),
    "making.orders_placed": Definition("Orders placed", "count", "Orders sent to the venue, those it rejected included."),
    "making.filled_orders": Definition("Orders with a fill", "count", "Distinct orders with at least one fill."),
    "making.fill_ratio_frac": Definition("Fill ratio", "frac", "Orders with a fill ÷ orders placed."),
    "making.order_to_trade": Definition("Order-to-trade ratio", "ratio", "(Orders placed + orders cancelled) ÷ fills."),
    "making.order_success_frac": Definition(
        "Order success rate", "frac", "(Placed − rejected by the venue) ÷ (placed + denied by our own risk checks)."
    ),
    "making.bid_uptime_frac": Definition("Bid uptime", "frac", "Share of time with a bid working."),
    "making.ask_uptime_frac": Definition("Ask uptime", "frac", "Share of time with an ask working."),
    "making.spread_captured_bps": Definition(
        "Spread captured ÷ volume", "bps", "Spread captured ÷ value traded, of the fills before which a mid was known."
    ),
}


def shown(value: Any, unit: str) -> str:
    """A value for people: shares in percent, times in UTC, money with separators; "-" for None."""
    if value is None:
        return "-"
    match unit:
        case "frac":
            return f"{float(value):.4%}" if value == 0 or abs(value) >= 1e-4 else f"{float(value) * 100:.3g}%"
        case "quote" | "usd":
            return money(value)
        case "bps":
            return f"{value:+.3f} bps"
        case "s":
            return duration(float(value))
        case "ns":
            return utc(int(value))
        case "count":
            return f"{value:,}"
        case "ratio":
            return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
        case "base":
            return f"{value:.8g}"
        case _:
            return str(value)


def money(value: Decimal | float) -> str:
    """An amount with separators: cents from 100 up, more digits below, 0 below the eighth."""
    size = abs(float(value))
    if size < 5e-9:
        return "0"
    if size < 0.01:
        return f"{value:.8f}".rstrip("0")
    return f"{value:,.{2 if size >= 100 else 4}f}"


def utc(ts_ns: int) -> str:
    """A time in UTC, to the second."""
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: 3 d 4 h, 12 min 5 s, 0.250 s."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days:,} d {h} h"
    return f"{h} h {m} min" if h else f"{m} min {s} s"
