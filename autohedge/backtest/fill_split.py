"""What fills were worth, then and later: spread captured, mark-outs, inventory and fees; by side, hour and liquidity.

For a fill of size s at price p, side +1 for a buy, with the mid m known just before it and the mid m(h) that held h later:

    spread captured       = side × (m − p) × s
    mark-out (h)          = side × (m(h) − p) × s           in bps: side × (m(h) − p) ÷ p × 10,000
    adverse selection (h) = side × (m(h) − m) × s           the market's move against (−) or for (+) us within h
    inventory (h)         = side × (last price − m(h)) × s  what holding on from there brought

so that spread captured + adverse selection + inventory − fees is what the fill added to the final equity. The same split as in
the report of a live session (`autohedge.portfolio.attribution`). By side, inventory is meant so, and in a long run buys and
sells have large and opposite ones. By hour it is what the position earned in that hour, whenever it was opened. Both ways the
parts add up to the whole.

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
HOUR_NS = 3_600 * NS_PER_S


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
    """What a group of fills or an hour brought, in quote; net = spread captured + adverse selection + inventory − fees.

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
    """One row per fill, in quote, at `horizon_s` (None: prices are too coarse for any, and adverse selection is 0).

    `reference` is the price that spread captured is measured from: the mid, or the fill's own price where none was known.
    """

    horizon_s: int | None
    spread: F64
    adverse: F64
    inventory: F64
    reference: F64
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
    """The fills of each side, liquidity and level, those groups alone that have any; `all` is always there, and levels only
    where quotes rest on several."""
    fills = result.fills
    found = {"buy": fills.side > 0, "sell": fills.side < 0, "maker": fills.is_maker, "taker": ~fills.is_maker}
    levels = np.unique(fills.level)
    if len(levels) > 1:
        found |= {f"level {level}": fills.level == level for level in levels.tolist()}
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
        reference=np.where(known, mid, fills.price),
        mark_out_bps=marked,
        unknown_mid=int((~known).sum()),
    )


def by_group(result: BacktestResult, split: FillSplit) -> tuple[Part, ...]:
    """Buys, sells, maker and taker fills, each that there are."""
    masks = {name: mask for name, mask in groups(result).items() if name != "all"}
    return tuple(_part(name, result, split, mask, float(split.inventory[mask].sum())) for name, mask in masks.items())


def by_hour(result: BacktestResult, split: FillSplit, opening: tuple[float, float], last_price: float) -> tuple[Part, ...]:
    """Each hour of the day (UTC, "00" to "23") with fills or a position; `opening` is the base and the price of the start."""
    hours = result.fills.ts_ns // HOUR_NS
    held = _held_by_hour(result, split, opening, last_price)
    parts = []
    for hour in range(HOURS):
        mask = hours % HOURS == hour
        if mask.any() or held[hour]:
            parts.append(_part(f"{hour:02d}", result, split, mask, float(held[hour])))
    return tuple(parts)


def _held_by_hour(result: BacktestResult, split: FillSplit, opening: tuple[float, float], last_price: float) -> F64:
    """What holding earned in each hour of the day, adverse selection left out.

    The position at the start of each hour of the run times the price's move in it, and for each fill of the hour its size times
    the move from its reference to the end of the hour.
    """
    fills = result.fills
    moments = np.concatenate(([result.start_ns, result.end_ns], fills.ts_ns))
    first, last = int(moments.min()) // HOUR_NS, int(moments.max()) // HOUR_NS
    edges = np.arange(first, last + 2, dtype=np.int64) * HOUR_NS
    opening_base, opening_price = opening
    prices = price_at(result.mids, edges)
    prices = np.where(np.isnan(prices), opening_price, prices)
    prices[0], prices[-1] = opening_price, last_price
    signed = fills.side * fills.size_base
    position = opening_base + np.concatenate(([0.0], np.cumsum(signed)))[np.searchsorted(fills.ts_ns, edges[:-1])]
    earned = position * np.diff(prices)
    at = fills.ts_ns // HOUR_NS - first
    np.add.at(earned, at, signed * (prices[at + 1] - split.reference) - split.adverse)
    found = np.zeros(HOURS)
    np.add.at(found, np.arange(first, last + 1) % HOURS, earned)
    return found


def _part(group: str, result: BacktestResult, split: FillSplit, mask: Bools, inventory: float) -> Part:
    """The sums of the fills in `mask`, with this inventory."""
    fills = result.fills
    values = fills.price[mask] * fills.size_base[mask]
    spread, adverse = float(split.spread[mask].sum()), float(split.adverse[mask].sum())
    fees = float(fills.fee_quote[mask].sum())
    marked = mark_out(group, split.horizon_s or 0, split.mark_out_bps[mask], values).weighted_bps
    net = spread + adverse + inventory - fees
    return Part(group, int(mask.sum()), float(values.sum()), spread, adverse, inventory, fees, net, marked)
