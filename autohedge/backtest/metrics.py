"""The figures of one backtest, each defined in `autohedge.backtest.definitions` and docs/metrics.md.

`measure` promises that every figure is finite or None, and that a None has its reason in `undefined`. Profit, fees and their
split are exact decimals that add up: total = spread captured + adverse selection + inventory − fees. Everything else is
statistics in floats. It refuses, with `MarketDataError`, columns that are not finite, unequal in length or out of order: what
comes of them would look like a figure. By level of the quote there is no split: a fill does not know the level of its order.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from autohedge.backtest import returns as on_grid
from autohedge.backtest.columns import check_columns
from autohedge.backtest.figures import (
    CostMetrics,
    ExposureMetrics,
    MakingMetrics,
    Metrics,
    PnlMetrics,
    ReturnMetrics,
    RoundTripMetrics,
)
from autohedge.backtest.fill_split import (
    BPS,
    HORIZONS_S,
    FillSplit,
    all_mark_outs,
    by_group,
    by_hour,
    measurable_horizons_s,
    price_step_s,
    split_fills,
)
from autohedge.backtest.result import BacktestResult
from autohedge.backtest.returns import NS_PER_S, Reasons
from autohedge.backtest.round_trips import opening_base, opening_price, round_trips
from autohedge.backtest.sharpe import probabilistic_sharpe_ratio, sharpe_standard_error
from autohedge.errors import ConfigError

__all__ = ["RISK_FREE_RATE", "Metrics", "measure"]

RISK_FREE_RATE = 0.03
CALENDAR_YEAR_S = on_grid.CALENDAR_DAYS * 86_400
ANNUAL_FROM_S = 7 * 86_400
EXACT_DIGITS = 100
SPLIT_DECIMALS = 8
"""Sums over fills are floats; what is below this digit is rounding. The rest goes to inventory, so the sum stays exact."""
DOLLARS = frozenset({"USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI"})


def measure(result: BacktestResult, *, risk_free_rate: float = RISK_FREE_RATE) -> Metrics:
    """All figures of `result`; `risk_free_rate` is a fraction per year, above −1.

    Raises `ConfigError` for a rate that is none and `MarketDataError` for columns that no engine should leave behind.
    """
    if not math.isfinite(risk_free_rate) or risk_free_rate <= -1.0:
        raise ConfigError(f"expected a risk-free rate as a fraction per year (0.03), found {risk_free_rate}")
    check_columns(result)
    why = Reasons()
    horizons = measurable_horizons_s(result)
    began_at = opening_price(result)
    last_price = float(result.curve.price[-1]) if result.curve.price.size else (began_at or 0.0)
    split = split_fills(result, horizons[0] if horizons else None, last_price)
    falls = on_grid.drawdown(result)
    _explain_drawdown(falls, why)
    if len(horizons) < len(HORIZONS_S):
        step_s = price_step_s(result.mids)
        why["mark_outs"] = f"there is a price every {step_s:g} s only; shorter horizons are not measured"
    return Metrics(
        pnl=_pnl(result, split, began_at, last_price, why),
        returns=_returns(result, risk_free_rate, falls, why),
        drawdown=falls,
        round_trips=_round_trips(result, last_price, why),
        costs=_costs(result, why),
        exposure=_exposure(result, why),
        making=_making(result, split, why),
        mark_outs=all_mark_outs(result),
        by_group=by_group(result, split),
        by_hour=by_hour(result, split, (opening_base(result), began_at), last_price) if began_at is not None else (),
        undefined=dict(why),
    )


# --- profit ----------------------------------------------------------------------------------------------------------------


def _pnl(result: BacktestResult, split: FillSplit, began_at: float | None, last_price: float, why: Reasons) -> PnlMetrics:
    spread, adverse = float(split.spread.sum()), float(split.adverse.sum())
    with localcontext(prec=EXACT_DIGITS):
        total = result.final_equity - result.initial_equity
        spread_exact, adverse_exact = (Decimal(repr(round(each, SPLIT_DECIMALS))) for each in (spread, adverse))
        inventory = total + result.fees - spread_exact - adverse_exact
    unexplained: float | None
    if began_at is None:
        unexplained = why.none("pnl.unexplained_quote", "there is no price")
    else:
        held_on = float(split.inventory.sum()) + opening_base(result) * (last_price - began_at)
        unexplained = float(inventory) - held_on
    if split.horizon_s is None:
        why["pnl.horizon_s"] = "the prices are more than 60 s apart: adverse selection is not told from inventory"
    return PnlMetrics(
        initial_equity_quote=result.initial_equity,
        final_equity_quote=result.final_equity,
        total_quote=total,
        spread_captured_quote=spread_exact,
        adverse_selection_quote=adverse_exact,
        inventory_quote=inventory,
        fees_quote=result.fees,
        unexplained_quote=unexplained,
        horizon_s=split.horizon_s,
        fills_without_mid=split.unknown_mid,
    )


# --- returns ---------------------------------------------------------------------------------------------------------------


def _returns(result: BacktestResult, rate: float, falls: on_grid.Drawdown, why: Reasons) -> ReturnMetrics:
    total = _total_return(result, why)
    annual = _annual_return(result, why)
    grid = on_grid.periodic_returns(result)
    values, n = grid.values, grid.values.size
    risk_free = on_grid.period_risk_free(grid, rate) if n else 0.0
    excess = values - risk_free
    scale = math.sqrt(grid.periods_per_year)
    deviation = float(values.std(ddof=1)) if n > 1 else None
    too_few = grid.problem or f"two returns per {grid.period} are needed and there is {n}"
    flat = "the returns do not vary"
    sharpe = error = chance = skewness = kurtosis = None
    if n > 1 and deviation is not None and grid.spread_out:
        sharpe = float(excess.mean()) / deviation
        skewness, kurtosis = on_grid.moments(values)
        error = sharpe_standard_error(sharpe, n, skewness, kurtosis)
        chance = probabilistic_sharpe_ratio(sharpe, n, skewness, kurtosis)
    else:
        names = ("sharpe", "sharpe_error", "sharpe_per_period", "sharpe_probability_frac", "skewness", "kurtosis")
        why |= {f"returns.{name}": flat if n > 1 else too_few for name in names}
    if not n:
        why |= {f"returns.{name}": too_few for name in ("mean_frac", "best_frac", "worst_frac", "positive_frac")}
    value_at_risk, shortfall = _tail(grid, why)
    return ReturnMetrics(
        total_frac=total,
        annual_frac=annual,
        roi_frac=_roi(result, total, why),
        period=grid.period,
        periods=n,
        periods_per_year=grid.periods_per_year,
        risk_free_frac=rate,
        sharpe=None if sharpe is None else sharpe * scale,
        sharpe_error=None if error is None else error * scale,
        sharpe_per_period=sharpe,
        sharpe_probability_frac=chance,
        sortino=_sortino(excess, scale, too_few, why),
        calmar=why.ratio("returns.calmar", annual, falls.max_frac, "no annual return, or no drawdown to compare it with"),
        volatility_frac=why.none("returns.volatility_frac", too_few) if deviation is None else deviation * scale,
        mean_frac=float(values.mean()) if n else None,
        skewness=skewness,
        kurtosis=kurtosis,
        var_95_frac=value_at_risk,
        cvar_95_frac=shortfall,
        best_frac=float(values.max()) if n else None,
        worst_frac=float(values.min()) if n else None,
        positive_frac=float((values > 0).mean()) if n else None,
    )


def _total_return(result: BacktestResult, why: Reasons) -> float | None:
    if result.initial_equity <= 0:
        return why.none("returns.total_frac", f"the initial equity is {result.initial_equity}")
    return float(result.final_equity / result.initial_equity - 1)


def _annual_return(result: BacktestResult, why: Reasons) -> float | None:
    name, span_s = "returns.annual_frac", (result.end_ns - result.start_ns) / NS_PER_S
    if span_s < ANNUAL_FROM_S:
        return why.none(name, f"a year is not told from less than 7 days, and the run lasts {span_s / 86_400:.3g}")
    if result.initial_equity <= 0 or result.final_equity <= 0:
        return why.none(name, "the initial or the final equity is not positive")
    try:
        return math.expm1(math.log(result.final_equity / result.initial_equity) * CALENDAR_YEAR_S / span_s)
    except OverflowError:
        return why.none(name, "too large to be a number")


def _roi(result: BacktestResult, total: float | None, why: Reasons) -> float | None:
    """The total return less what the model cost, where that is known in the quote's own currency."""
    name, cost = "returns.roi_frac", result.model_cost_usd
    if total is None:
        return why.none(name, why["returns.total_frac"])
    if cost is None:
        asked = (result.decisions or {}).get("model_driven")
        return total if not asked else why.none(name, "a model was called and its price is unknown")
    if cost and not _in_dollars(result.symbol):
        return why.none(name, f"the model is paid in USD and {result.symbol} is not quoted in dollars")
    return float((result.final_equity - result.initial_equity - cost) / result.initial_equity)


def _in_dollars(symbol: str) -> bool:
    """Whether one unit of the quote counts as one dollar; a stock without a quote asset is priced in dollars."""
    _, slash, quote = symbol.partition("/")
    return not slash or quote in DOLLARS


def _sortino(excess: Any, scale: float, too_few: str, why: Reasons) -> float | None:
    if excess.size < 2:
        return why.none("returns.sortino", too_few)
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2)))
    return why.ratio("returns.sortino", float(excess.mean()) * scale, downside, "no return was below the risk-free one")


def _tail(grid: on_grid.PeriodicReturns, why: Reasons) -> tuple[float | None, float | None]:
    if grid.values.size >= on_grid.TAIL_PERIODS:
        return on_grid.tail(grid.values)
    reason = grid.problem or f"{on_grid.TAIL_PERIODS} returns per {grid.period} are needed and there are {grid.values.size}"
    return why.none("returns.var_95_frac", reason), why.none("returns.cvar_95_frac", reason)


def _explain_drawdown(falls: on_grid.Drawdown, why: Reasons) -> None:
    if falls.trough_ns is None:
        why |= {f"drawdown.{name}": "the equity never fell" for name in ("peak_ns", "trough_ns", "recovery_ns")}
    elif falls.recovery_ns is None:
        why["drawdown.recovery_ns"] = "the run ended below the peak"


# --- trades and costs --------------------------------------------------------------------------------------------------------


def _round_trips(result: BacktestResult, last_price: float, why: Reasons) -> RoundTripMetrics:
    trips, left = round_trips(result)
    net, n = trips.net_quote, trips.side.size
    wins, losses = net[net > 0], net[net < 0]
    none = "no round trip was completed"
    no_win, no_loss = ("no round trip won", "no round trip lost") if n else (none, none)

    def mean(name: str, values: Any, reason: str) -> float | None:
        return float(values.mean()) if values.size else why.none(f"round_trips.{name}", reason)

    won, lost = float(wins.sum()), -float(losses.sum())
    opened_with = float((trips.entry_price * trips.size_base).sum())
    return RoundTripMetrics(
        count=n,
        win_rate_frac=why.ratio("round_trips.win_rate_frac", wins.size, n, none),
        profit_factor=why.ratio("round_trips.profit_factor", won, lost, no_loss),
        average_win_quote=mean("average_win_quote", wins, no_win),
        average_loss_quote=mean("average_loss_quote", losses, no_loss),
        largest_win_quote=float(wins.max()) if wins.size else why.none("round_trips.largest_win_quote", no_win),
        largest_loss_quote=float(losses.min()) if losses.size else why.none("round_trips.largest_loss_quote", no_loss),
        expectancy_quote=mean("expectancy_quote", net, none),
        expectancy_bps=why.ratio("round_trips.expectancy_bps", float(net.sum()) * BPS, opened_with, none),
        median_hold_s=float(np.median(trips.exit_ns - trips.entry_ns)) / NS_PER_S
        if n
        else why.none("round_trips.median_hold_s", none),
        realized_quote=float(trips.gross_quote.sum()),
        unrealized_quote=left.unrealized_quote(last_price),
        open_base=left.base,
    )


def _costs(result: BacktestResult, why: Reasons) -> CostMetrics:
    volume, fills = float(result.volume), result.fills.ts_ns.size
    nothing = "nothing was traded"
    turnover = why.ratio("costs.turnover", volume, on_grid.mean_equity(result), "the mean equity is 0")
    days = (result.end_ns - result.start_ns) / NS_PER_S / 86_400
    cost = result.model_cost_usd
    profit = float(result.final_equity - result.initial_equity)
    if cost is None:
        free = "no model was called, or its price is unknown"
        why |= {f"costs.{name}": free for name in ("model_usd", "model_per_fill_usd", "model_share_frac")}
    per_fill = share = None
    if cost is not None:
        per_fill = why.ratio("costs.model_per_fill_usd", float(cost), fills, "there was no fill")
        comparable = profit > 0 and _in_dollars(result.symbol)
        share = why.ratio(
            "costs.model_share_frac", float(cost) if comparable else None, profit, "there was no profit in dollars to compare"
        )
    return CostMetrics(
        fees_bps=why.ratio("costs.fees_bps", float(result.fees) * BPS, volume, nothing),
        slippage_quote=result.slippage,
        slippage_bps=why.ratio("costs.slippage_bps", float(result.slippage) * BPS, volume, nothing),
        volume_quote=result.volume,
        turnover=turnover,
        turnover_per_day=why.ratio("costs.turnover_per_day", turnover, days, "the run has no length"),
        model_usd=cost,
        model_per_fill_usd=per_fill,
        model_share_frac=share,
    )


def _exposure(result: BacktestResult, why: Reasons) -> ExposureMetrics:
    found = on_grid.exposure(result.curve, result.end_ns)
    if found is None:
        reason = "the curve has no length, or the equity was not positive"
        why |= {f"exposure.{name}": reason for name in ("time_frac", "mean_frac", "max_frac")}
        return ExposureMetrics(time_frac=None, mean_frac=None, max_frac=None)
    return ExposureMetrics(time_frac=found[0], mean_frac=found[1], max_frac=found[2])


def _making(result: BacktestResult, split: FillSplit, why: Reasons) -> MakingMetrics:
    fills, counts = result.fills, result.counts
    n, filled = int(fills.ts_ns.size), int(np.unique(fills.order).size)
    placed, uncounted = counts.get("orders_placed"), "the engine did not count its orders"
    if placed is None:
        why["making.orders_placed"] = uncounted
    no_order = uncounted if placed is None else "no order was placed"
    sent = None if placed is None else placed - counts.get("orders_rejected", 0)
    wanted = None if placed is None else placed + counts.get("orders_denied", 0)
    messages = None if placed is None else placed + counts.get("orders_cancelled", 0)
    hours = (result.end_ns - result.start_ns) / NS_PER_S / 3_600
    known = ~np.isnan(fills.mid)
    valued = float((fills.price * fills.size_base)[known].sum())
    uptime = {side: (result.uptime_frac or {}).get(side) for side in ("bid", "ask")}
    why |= {f"making.{side}_uptime_frac": "the strategy does not quote" for side, share in uptime.items() if share is None}
    return MakingMetrics(
        fills=n,
        maker_fills=int(fills.is_maker.sum()),
        fills_per_hour=why.ratio("making.fills_per_hour", n, hours, "the run has no length"),
        orders_placed=placed,
        filled_orders=filled,
        fill_ratio_frac=why.ratio("making.fill_ratio_frac", filled, placed, no_order),
        order_to_trade=why.ratio("making.order_to_trade", messages, n, uncounted if placed is None else "there was no fill"),
        order_success_frac=why.ratio("making.order_success_frac", sent, wanted, no_order),
        bid_uptime_frac=uptime["bid"],
        ask_uptime_frac=uptime["ask"],
        spread_captured_bps=why.ratio(
            "making.spread_captured_bps", float(split.spread.sum()) * BPS, valued, "no fill had a mid known before it"
        ),
    )
