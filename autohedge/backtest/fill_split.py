"""What fills were worth, then and later: spread captured, mark-outs, inventory and fees; by side, hour and liquidity.

For a fill of size s at price p, side +1 for a buy, with the mid m known just before it and the mid m(h) that held h later:

    spread captured       = side × (m − p) × s
    mark-out (h)          = side × (m(h) − p) × s           in bps: side × (m(h) − p) ÷ p × 10,000
    adverse selection (h) = side × (m(h) − m) × s           the market's move against (−) or for (+) us within h
    inventory (h)         = side × (last price − m(h)) × s  what holding on from there brought

so that spread captured + adverse selection + inventory − fees is what the fill added to the final equity. The same split as in
the report of a live session (`autohedge.portfolio.attribution`).

For the split, a fill near the end is marked at the last mid; a fill before which no mid was known has its whole worth under
inventory. For mean mark-outs neither a fill near the end nor one without a later mid is counted. Where all prices lie on a grid
of time (bars), a horizon finer than its step is not measured: the last close is not the price 1 s later.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from autohedge.backtest.result import F64, I64, BacktestResult, Bools, Mids

NS_PER_S = 1_000_000_000
HORIZONS_S = (1, 5, 30, 60)
BPS = 10_000
HOURS = 24


class MarkOut(NamedTuple):
    """Mark-outs of a group of fills at one horizon, in bps of the price paid; positive is good for us.

    `fills` were measured, `unmeasured` not (the run ended before, or no mid was known). The weighted mean is by value traded.
    The standard errors take fills as independent; those of one moment are not, so the true error is larger. None: too few
    fills.
    """

    group: str
    horizon_s: int
    fills: int
    unmeasured: int
    weighted_bps: float | None
    weighted_error_bps: float | None
    equal_bps: float | None
    equal_error_bps: float | None


class Part(NamedTuple):
    """What one group of fills brought, in quote; net = spread captured + adverse selection + inventory − fees.

    `mark_out_bps` is the mean by value traded at the horizon of the split; None when no fill could be measured.
    """

    group: str
    fills: int
    volume_quote: float
    spread_captured_quote: float
    adverse_selection_quote: float
    inventory_quote: float
    fees_quote: float
    net_quote: float
    mark_out_bps: float | None


class FillSplit(NamedTuple):
    """One row per fill, in quote, at `horizon_s` (None: prices are too coarse for any, and adverse selection is 0)."""

    horizon_s: int | None
    spread: F64
    adverse: F64
    inventory: F64
    mark_out_bps: F64
    unknown_mid: int


def price_at(mids: Mids, times: I64) -> F64:
    """The mid that held at each time (a change at that very time counts); NaN before the first."""
    rows = np.searchsorted(mids.ts_ns, times, side="right") - 1
    if not mids.mid.size:
        return np.full(times.shape, math.nan)
    return np.where(rows >= 0, mids.mid[np.maximum(rows, 0)], math.nan)


def price_step_s(mids: Mids) -> float:
    """The step of the time grid that all prices lie on, in seconds: the interval of bars, next to 0 for events.

    The greatest common divisor of the times between prices; 0 for fewer than two prices.
    """
    return int(np.gcd.reduce(np.diff(mids.ts_ns))) / NS_PER_S if mids.ts_ns.size > 1 else 0.0


def measurable_horizons_s(result: BacktestResult) -> tuple[int, ...]:
    """Those of 1, 5, 30 and 60 s that the prices are fine enough for."""
    step_s = price_step_s(result.mids)
    return tuple(horizon for horizon in HORIZONS_S if horizon >= step_s)


def mark_outs_bps(result: BacktestResult, horizon_s: int) -> F64:
    """The mark-out of each fill; NaN where the run ended before the horizon or no mid was known by then."""
    fills = result.fills
    due = fills.ts_ns + horizon_s * NS_PER_S
    later = np.where(due <= result.end_ns, price_at(result.mids, due), math.nan)
    return fills.side * (later - fills.price) / fills.price * BPS


def mark_out(group: str, horizon_s: int, bps: F64, values: F64) -> MarkOut:
    """The means of these mark-outs (NaN: not measured), weighted by `values` and equally, with standard errors."""
    measured = ~np.isnan(bps)
    x, weights = bps[measured], values[measured]
    n = int(x.size)
    if n == 0:
        return MarkOut(group, horizon_s, 0, int(bps.size), None, None, None, None)
    weighted = float((weights * x).sum() / weights.sum())
    if n == 1:
        return MarkOut(group, horizon_s, 1, int(bps.size) - 1, weighted, None, weighted, None)
    # of a ratio of sums (Cochran, "Sampling Techniques", 6.4), from the residuals of each fill
    residuals = weights * (x - weighted)
    weighted_error = math.sqrt(n / (n - 1) * float((residuals**2).sum())) / float(weights.sum())
    equal_error = float(x.std(ddof=1)) / math.sqrt(n)
    return MarkOut(group, horizon_s, n, int(bps.size) - n, weighted, weighted_error, float(x.mean()), equal_error)


def groups(result: BacktestResult) -> dict[str, Bools]:
    """The fills of each side and each liquidity, those groups alone that have any; `all` is always there."""
    fills = result.fills
    found = {"buy": fills.side > 0, "sell": fills.side < 0, "maker": fills.is_maker, "taker": ~fills.is_maker}
    return {"all": np.ones(fills.ts_ns.shape, np.bool_)} | {name: mask for name, mask in found.items() if mask.any()}


def all_mark_outs(result: BacktestResult) -> tuple[MarkOut, ...]:
    """Mean mark-outs of every group at every horizon that the prices are fine enough for; empty without fills."""
    if not result.fills.ts_ns.size:
        return ()
    values = result.fills.price * result.fills.size_base
    masks = groups(result)
    found = []
    for horizon in measurable_horizons_s(result):
        bps = mark_outs_bps(result, horizon)
        found += [mark_out(name, horizon, bps[mask], values[mask]) for name, mask in masks.items()]
    return tuple(found)


def split_fills(result: BacktestResult, horizon_s: int | None, last_price: float) -> FillSplit:
    """Each fill's spread captured, adverse selection within the horizon, and inventory until the end at `last_price`."""
    fills = result.fills
    mid = fills.mid
    if horizon_s is None:
        later, marked = mid, np.full(mid.shape, math.nan)
    else:
        marked = mark_outs_bps(result, horizon_s)
        due = fills.ts_ns + horizon_s * NS_PER_S
        later = np.where(due <= result.end_ns, price_at(result.mids, due), last_price)
    known = ~(np.isnan(mid) | np.isnan(later))
    signed = fills.side * fills.size_base
    return FillSplit(
        horizon_s=horizon_s,
        spread=np.where(known, signed * (mid - fills.price), 0.0),
        adverse=np.where(known, signed * (later - mid), 0.0),
        inventory=signed * (last_price - np.where(known, later, fills.price)),
        mark_out_bps=marked,
        unknown_mid=int((~known).sum()),
    )


def part(group: str, result: BacktestResult, split: FillSplit, mask: Bools) -> Part:
    """The sums of the fills in `mask`."""
    fills = result.fills
    values = fills.price[mask] * fills.size_base[mask]
    spread, adverse, inventory = (float(column[mask].sum()) for column in (split.spread, split.adverse, split.inventory))
    fees = float(fills.fee_quote[mask].sum())
    marked = mark_out(group, split.horizon_s or 0, split.mark_out_bps[mask], values).weighted_bps
    net = spread + adverse + inventory - fees
    return Part(group, int(mask.sum()), float(values.sum()), spread, adverse, inventory, fees, net, marked)


def by_group(result: BacktestResult, split: FillSplit) -> tuple[Part, ...]:
    """Buys, sells, maker and taker fills, each that there are."""
    return tuple(part(name, result, split, mask) for name, mask in groups(result).items() if name != "all")


def by_hour(result: BacktestResult, split: FillSplit) -> tuple[Part, ...]:
    """Each hour of the day (UTC, "00" to "23") that had fills."""
    hours = result.fills.ts_ns // (3_600 * NS_PER_S) % HOURS
    return tuple(part(f"{hour:02d}", result, split, hours == hour) for hour in np.unique(hours))
