"""What each figure of a backtest is called, its unit, and what it means, once for table, page and command line.

A test holds that every figure of `Metrics` has its definition here and in docs/metrics.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

NS_PER_S = 1_000_000_000


class Definition(NamedTuple):
    """`unit` decides how a value is shown (see `shown`); `better` is +1 where more is better, −1 where less is, 0 otherwise."""

    title: str
    unit: str
    better: int
    text: str


def _d(title: str, unit: str, text: str, better: int = 0) -> Definition:
    return Definition(title, unit, better, text)


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
    "pnl.initial_equity_quote": _d("Initial equity", "quote", "Cash and holdings at the start, at the first price."),
    "pnl.final_equity_quote": _d("Final equity", "quote", "Cash and holdings at the end, at the last price.", +1),
    "pnl.total_quote": _d("PnL", "quote", "Final minus initial equity: after fees, before the cost of a model.", +1),
    "pnl.spread_captured_quote": _d(
        "Spread captured",
        "quote",
        "Sum over fills of side × (mid just before − price) × size: + when filled better than mid.",
        +1,
    ),
    "pnl.adverse_selection_quote": _d(
        "Adverse selection",
        "quote",
        "Sum over fills of side × (mid one horizon later − mid just before) × size: − when the market moved against the fill. "
        "A fill nearer to the end than the horizon is marked at the last price.",
        +1,
    ),
    "pnl.inventory_quote": _d(
        "Inventory", "quote", "The rest: PnL + fees − spread captured − adverse selection; what holding brought.", +1
    ),
    "pnl.fees_quote": _d("Fees", "quote", "Fees paid less rebates. PnL = spread + adverse selection + inventory − fees.", -1),
    "pnl.unexplained_quote": _d(
        "Unexplained",
        "quote",
        "The part of Inventory that fills and prices do not account for: 0 up to rounding; a fee taken in base, whose worth "
        "moves on, appears here.",
    ),
    "pnl.horizon_s": _d(
        "Horizon of the split", "s", "1 s, or the shortest of 5, 30 and 60 s that the prices are fine enough for."
    ),
    "pnl.fills_without_mid": _d(
        "Fills without a mid", "count", "No mid was known before these: they count under Inventory.", -1
    ),
    "returns.total_frac": _d("Total return", "frac", "Final ÷ initial equity − 1.", +1),
    "returns.annual_frac": _d(
        "Annual return",
        "frac",
        "(Final ÷ initial equity)^(365 days ÷ length of the run) − 1: geometric, by calendar time. Not for runs below 7 days.",
        +1,
    ),
    "returns.roi_frac": _d(
        "ROI",
        "frac",
        "(PnL − cost of the model) ÷ initial equity; without a model it is the total return. 1 USD is 1 quote.",
        +1,
    ),
    "returns.period": _d(
        "Period of the returns",
        "text",
        "Day from 60 days on, hour from 60 hours on, else minute; UTC; no finer than the curve.",
    ),
    "returns.periods": _d("Periods", "count", "How many whole periods; one counts when the run covers nine tenths of it."),
    "returns.periods_per_year": _d(
        "Periods per year",
        "ratio",
        "Trading days per year (365 crypto, 252 stocks) × periods per day: 24 or 1,440 with 365 days, else those seen.",
    ),
    "returns.risk_free_frac": _d("Risk-free rate", "frac", "Per year; per period it is (1 + rate)^(1 ÷ periods per year) − 1."),
    "returns.sharpe": _d(
        "Sharpe ratio",
        "ratio",
        "Mean ÷ standard deviation (n − 1) of the periods' simple returns less the risk-free return, × √periods per year.",
        +1,
    ),
    "returns.sharpe_error": _d(
        "Standard error of it", "ratio", "Lo (2002) with the terms for skewness and kurtosis, annualised as the ratio is.", -1
    ),
    "returns.sharpe_per_period": _d("Sharpe ratio per period", "ratio", "The Sharpe ratio before it is annualised.", +1),
    "returns.sharpe_probability_frac": _d(
        "Probability of a true Sharpe > 0",
        "frac",
        "Probabilistic Sharpe ratio against 0 (Bailey and López de Prado 2012); says nothing of how many variants were tried.",
        +1,
    ),
    "returns.sortino": _d(
        "Sortino ratio",
        "ratio",
        "Mean excess return ÷ downside deviation × √periods per year; the deviation is √(mean of min(excess, 0)²).",
        +1,
    ),
    "returns.calmar": _d("Calmar ratio", "ratio", "Annual return ÷ maximum drawdown.", +1),
    "returns.volatility_frac": _d(
        "Volatility, annual", "frac", "Standard deviation (n − 1) of the periods' returns × √periods per year.", -1
    ),
    "returns.mean_frac": _d("Mean return", "frac", "Arithmetic mean of the periods' returns.", +1),
    "returns.skewness": _d("Skewness", "ratio", "Third central moment ÷ second^1.5, moments over n.", +1),
    "returns.kurtosis": _d(
        "Kurtosis", "ratio", "Fourth central moment ÷ second², moments over n: 3 for a normal distribution."
    ),
    "returns.var_95_frac": _d(
        "Value at risk, 95 %", "frac", "Minus the 5 % quantile of the periods' returns (linear). From 20 periods on.", -1
    ),
    "returns.cvar_95_frac": _d(
        "Expected shortfall, 95 %",
        "frac",
        "Minus the mean of the periods' returns up to that quantile. From 20 periods on.",
        -1,
    ),
    "returns.best_frac": _d("Best period", "frac", "The largest return of a period.", +1),
    "returns.worst_frac": _d("Worst period", "frac", "The smallest return of a period.", +1),
    "returns.positive_frac": _d("Periods with a gain", "frac", "Share of periods with a return above 0.", +1),
    "drawdown.max_frac": _d(
        "Maximum drawdown", "frac", "Deepest fall of equity from its peak so far, ÷ that peak, over every row of the curve.", -1
    ),
    "drawdown.peak_ns": _d("Its peak", "ns", "The last moment at the peak before the deepest fall."),
    "drawdown.trough_ns": _d("Its trough", "ns", "The moment of the deepest fall."),
    "drawdown.recovery_ns": _d("Its recovery", "ns", "The first moment back at the peak."),
    "drawdown.duration_s": _d("Its duration", "s", "From the peak to the recovery, or to the end of the run.", -1),
    "drawdown.longest_s": _d(
        "Longest below a peak", "s", "The longest time from a peak until it was reached again, or the end.", -1
    ),
    "round_trips.count": _d(
        "Round trips",
        "count",
        "Orders that reduced a position, at average cost; all fills of one order are one. What is open at the end is none.",
    ),
    "round_trips.win_rate_frac": _d("Win rate", "frac", "Round trips with a profit after fees ÷ all round trips.", +1),
    "round_trips.profit_factor": _d("Profit factor", "ratio", "Sum of winning ÷ sum of losing round trips, after fees.", +1),
    "round_trips.average_win_quote": _d("Average win", "quote", "Mean profit of the winning round trips, after fees.", +1),
    "round_trips.average_loss_quote": _d("Average loss", "quote", "Mean of the losing round trips, after fees (negative).", +1),
    "round_trips.largest_win_quote": _d("Largest win", "quote", "The best round trip, after fees.", +1),
    "round_trips.largest_loss_quote": _d("Largest loss", "quote", "The worst round trip, after fees (negative).", +1),
    "round_trips.expectancy_quote": _d("Expectancy", "quote", "Mean profit per round trip, after fees.", +1),
    "round_trips.expectancy_bps": _d(
        "Expectancy", "bps", "Profit of all round trips, after fees, ÷ the value they opened with.", +1
    ),
    "round_trips.median_hold_s": _d("Median holding time", "s", "From the average time of opening to the last closing fill."),
    "round_trips.realized_quote": _d("Realised", "quote", "Profit of all round trips before fees, at average cost.", +1),
    "round_trips.unrealized_quote": _d(
        "Unrealised", "quote", "Profit of the open position at the last price, before fees.", +1
    ),
    "round_trips.open_base": _d("Open position", "base", "Base held at the end by the fills; not a win and not a loss."),
    "costs.fees_bps": _d("Fees", "bps", "Fees ÷ value traded.", -1),
    "costs.slippage_quote": _d("Slippage", "quote", "What taking orders paid beyond the price they were decided at.", -1),
    "costs.slippage_bps": _d("Slippage", "bps", "Slippage ÷ value traded.", -1),
    "costs.volume_quote": _d("Volume", "quote", "Value traded: sum of price × size."),
    "costs.turnover": _d("Turnover", "ratio", "Volume ÷ equity averaged over time."),
    "costs.turnover_per_day": _d("Turnover per day", "ratio", "Turnover ÷ days of the run."),
    "costs.model_usd": _d(
        "Cost of the model", "usd", "What model calls cost; none without a model or with an unknown price.", -1
    ),
    "costs.model_per_fill_usd": _d("Model cost per fill", "usd", "Cost of the model ÷ fills.", -1),
    "costs.model_share_frac": _d(
        "Model cost of the profit", "frac", "Cost of the model ÷ PnL, where there was a profit; 1 USD counted as 1 quote.", -1
    ),
    "exposure.time_frac": _d("Time with a position", "frac", "Share of time with a holding worth 1 bp of the equity or more."),
    "exposure.mean_frac": _d("Mean exposure", "frac", "|Holding| ÷ equity, averaged over time."),
    "exposure.max_frac": _d("Largest exposure", "frac", "The largest |holding| ÷ equity of any row."),
    "making.fills": _d("Fills", "count", "Executions; one order may have several."),
    "making.maker_fills": _d("Maker fills", "count", "Fills of resting orders."),
    "making.fills_per_hour": _d("Fills per hour", "ratio", "Fills ÷ hours of the run."),
    "making.orders_placed": _d("Orders placed", "count", "Orders sent to the venue, those it rejected included."),
    "making.filled_orders": _d("Orders with a fill", "count", "Distinct orders with at least one fill.", +1),
    "making.fill_ratio_frac": _d("Fill ratio", "frac", "Orders with a fill ÷ orders placed."),
    "making.order_to_trade": _d("Order-to-trade ratio", "ratio", "(Orders placed + orders cancelled) ÷ fills.", -1),
    "making.order_success_frac": _d(
        "Order success rate", "frac", "(Placed − rejected by the venue) ÷ (placed + denied by our own risk checks).", +1
    ),
    "making.bid_uptime_frac": _d("Bid uptime", "frac", "Share of time with a bid working.", +1),
    "making.ask_uptime_frac": _d("Ask uptime", "frac", "Share of time with an ask working.", +1),
    "making.spread_captured_bps": _d(
        "Spread captured", "bps", "Spread captured ÷ value traded, of the fills before which a mid was known.", +1
    ),
}


def shown(value: Any, unit: str) -> str:
    """A value for people: shares in percent, times in UTC, money with separators; "-" for None."""
    if value is None:
        return "-"
    match unit:
        case "frac":
            return f"{float(value):.4%}"
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
    digits = 2 if size >= 100 else 4 if size >= 0.01 else 8
    return f"{value:,.{digits}f}"


def utc(ts_ns: int) -> str:
    """A time in UTC, to the second."""
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: 3 d 4 h, 12 min 5 s, 0.250 s."""
    if abs(seconds) < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days:,} d {h} h"
    return f"{h} h {m} min" if h else f"{m} min {s} s"
