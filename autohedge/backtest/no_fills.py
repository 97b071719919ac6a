"""Why a backtest had no fill, in one sentence; never left to be guessed."""

from __future__ import annotations

import numpy as np

from autohedge.backtest.fill_split import BPS, price_at
from autohedge.backtest.result import BacktestResult


def why_no_fills(result: BacktestResult) -> str | None:
    """The reason that nothing was filled, from the counts of orders and the distance of quotes; None when there were fills."""
    if result.fills.ts_ns.size:
        return None
    counts = result.counts
    placed, denied, rejected = (counts.get(name, 0) for name in ("orders_placed", "orders_denied", "orders_rejected"))
    if not placed and denied:
        return f"no order was placed: our own risk checks denied all {denied:,}"
    if not placed:
        return "no order was placed: the strategy never wanted one, or the market could never be quoted"
    if rejected >= placed:
        return f"the venue rejected all {placed:,} orders"
    distance = mean_quote_distance_bps(result)
    if distance is None:
        return f"{placed:,} orders were placed and the market reached none of them"
    closer = "a smaller spread_percentage or min_profit_threshold=none"
    if result.engine != "bars":
        closer = "a smaller spread_percentage, min_profit_threshold=none or touch=join"
    return (
        f"{placed:,} orders rested {distance:.1f} bps from the mid on average and no trade reached them; {closer} quotes closer"
    )


def mean_quote_distance_bps(result: BacktestResult) -> float | None:
    """How far from the mid the quotes were, averaged over their changes and sides; None without quotes or mids."""
    if result.quotes is None or not result.quotes.ts_ns.size:
        return None
    mid = price_at(result.mids, result.quotes.ts_ns)
    away = np.concatenate([(mid - result.quotes.bid) / mid, (result.quotes.ask - mid) / mid])
    known = away[~np.isnan(away)]
    return float(known.mean()) * BPS if known.size else None
