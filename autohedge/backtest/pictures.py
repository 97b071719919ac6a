"""The pictures of a tear sheet as plain plotly data: small whatever the run, and honest about what they leave out.

A line of many rows keeps, for each of `BUCKETS` equal stretches of time, its first, lowest, highest and last row, so that no
spike is lost; fills beyond `FILLS_SHOWN` are every n-th, and the caption says so. No text of the user's is in any picture but
the names given to `overlay`, which are escaped.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from autohedge.backtest.fill_split import Part
from autohedge.backtest.metrics import Metrics
from autohedge.backtest.result import F64, I64, BacktestResult, Fills
from autohedge.backtest.returns import calendar_returns, drawdown_series, periodic_returns, with_start

BUCKETS = 1_500
FILLS_SHOWN = 4_000
MONTHS_FROM_NS = 60 * 86_400 * 1_000_000_000
NS_PER_MS = 1_000_000
NORMAL_95 = 1.959964
BLUE, ORANGE, GREEN, RED, VIOLET, GREY = "#3987e5", "#e08a1e", "#1f9d6b", "#d9534f", "#8a6fd1", "#8c8c8c"
COLOURS = (BLUE, ORANGE, GREEN, VIOLET, RED, GREY)


class Picture(NamedTuple):
    """One picture: plotly's data and layout, and the words under it."""

    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


# --- many rows to few ---------------------------------------------------------------------------------------------------------


def thinned(ts_ns: I64, values: F64, buckets: int = BUCKETS) -> I64:
    """Rows to keep, in order: the first, lowest, highest and last of each bucket of time; all of them when they are few."""
    n = int(ts_ns.size)
    if n <= 4 * buckets:
        return np.arange(n, dtype=np.int64)
    width = max(1, -(-(int(ts_ns[-1]) - int(ts_ns[0]) + 1) // buckets))
    bucket = (ts_ns - ts_ns[0]) // width
    starts = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    ends = np.append(starts[1:], n)
    keep = {int(row) for row in (*starts, *(ends - 1))}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = values[start:end]
        known = np.flatnonzero(~np.isnan(part))
        if known.size:
            keep.add(start + int(known[part[known].argmin()]))
            keep.add(start + int(known[part[known].argmax()]))
    return np.array(sorted(keep), dtype=np.int64)


def _packed(values: Any) -> dict[str, str]:
    """Numbers as plotly takes them in binary: exact, and a NaN is a gap."""
    raw = np.ascontiguousarray(values, dtype="<f8").tobytes()
    return {"dtype": "f8", "bdata": base64.b64encode(raw).decode("ascii")}


def _times(ts_ns: I64) -> dict[str, str]:
    return _packed(ts_ns / NS_PER_MS)


def _line(name: str, ts_ns: I64, values: F64, colour: str, **more: Any) -> dict[str, Any]:
    rows = thinned(ts_ns, values)
    base = {"type": "scatter", "mode": "lines", "name": name, "x": _times(ts_ns[rows]), "y": _packed(values[rows])}
    return base | {"line": {"color": colour, "width": 1.2} | more.pop("line", {})} | more


# --- pictures over time -------------------------------------------------------------------------------------------------------


def _over_time(**axes: Any) -> dict[str, Any]:
    return {"xaxis": {"type": "date", "title": {"text": "UTC"}}, "hovermode": "x unified", **axes}


def equity_and_drawdown(result: BacktestResult) -> Picture:
    """Equity above, the fall from its peak below."""
    ts, equity = with_start(result)
    falls = -drawdown_series(equity)
    data = [
        _line("equity", ts, equity, BLUE),
        _line("drawdown", ts, falls, RED, yaxis="y2", fill="tozeroy", fillcolor="rgba(217,83,79,0.25)"),
    ]
    layout = _over_time(
        yaxis={"domain": [0.36, 1.0], "title": {"text": "quote"}},
        yaxis2={"domain": [0.0, 0.28], "tickformat": ".2%"},
        showlegend=False,
    )
    layout["xaxis"]["anchor"] = "y2"
    return Picture("Equity and drawdown", "Equity after fees; below it the fall from its peak so far.", data, layout)


def inventory(result: BacktestResult) -> Picture:
    """Base held over time."""
    curve = result.curve
    data = [_line("base", curve.ts_ns, curve.base, VIOLET, line={"shape": "hv"}, fill="tozeroy")]
    layout = _over_time(yaxis={"title": {"text": "base"}}, showlegend=False)
    return Picture("Inventory", "Base held, as of each row of the curve.", data, layout)


def price_quotes_and_fills(result: BacktestResult) -> Picture:
    """The mid, the quotes that were wanted, and the fills."""
    data = [_line("mid", result.mids.ts_ns, result.mids.mid, GREY, line={"shape": "hv"})]
    if result.quotes is not None:
        for name, values, colour in (("our bid", result.quotes.bid, GREEN), ("our ask", result.quotes.ask, RED)):
            step = {"shape": "hv", "width": 0.8}
            data.append(_line(name, result.quotes.ts_ns, values, colour, line=step, opacity=0.7, connectgaps=False))
    fills = result.fills
    every = max(1, -(-int(fills.ts_ns.size) // FILLS_SHOWN))
    for name, side, symbol, colour in (("buys", 1, "triangle-up", GREEN), ("sells", -1, "triangle-down", RED)):
        data.append(_markers(name, fills, np.flatnonzero(fills.side == side)[::every], symbol, colour))
    shown = sum(int((fills.side == side).sum() + every - 1) // every for side in (1, -1))
    told = (
        f"{shown:,} of {fills.ts_ns.size:,} fills are shown, every {every}th." if every > 1 else f"{shown:,} fills, all shown."
    )
    layout = _over_time(yaxis={"title": {"text": "price"}})
    return Picture("Price, quotes and fills", f"{told} Lines keep the extremes of each stretch of time.", data, layout)


def _markers(name: str, fills: Fills, rows: I64, symbol: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": _times(fills.ts_ns[rows]),
        "y": _packed(fills.price[rows]),
        "customdata": _packed(fills.size_base[rows]),
        "hovertemplate": "%{y} × %{customdata}",
        "marker": {"symbol": symbol, "size": 7, "color": colour, "line": {"width": 0.5, "color": "white"}},
    }


def returns(result: BacktestResult) -> Picture:
    """Returns of the months of a run of 60 days or more; else of the periods of its grid."""
    if result.end_ns - result.start_ns >= MONTHS_FROM_NS:
        return _months(result)
    grid = periodic_returns(result)
    colours = [GREEN if value > 0 else RED for value in grid.values.tolist()]
    bars = {"type": "bar", "name": "return", "x": _times(grid.ts_ns), "y": _packed(grid.values), "marker": {"color": colours}}
    layout = _over_time(yaxis={"tickformat": ".3%"}, showlegend=False)
    caption = grid.problem or f"Simple return of each {grid.period}, at its end."
    return Picture(f"Returns per {grid.period}", caption[0].upper() + caption[1:], [bars], layout)


def _months(result: BacktestResult) -> Picture:
    starts, values = calendar_returns(result, "M")
    months = starts.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    years = sorted({1970 + int(month) // 12 for month in months})
    cells: list[list[float | None]] = [[None] * 12 for _ in years]
    for month, value in zip(months.tolist(), values.tolist(), strict=True):
        cells[years.index(1970 + month // 12)][month % 12] = value
    largest = max((abs(value) for value in values.tolist()), default=0.0) or 1.0
    heat = {
        "type": "heatmap",
        "x": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
        "y": [str(year) for year in years],
        "z": cells,
        "text": [["" if value is None else f"{value:+.2%}" for value in row] for row in cells],
        "texttemplate": "%{text}",
        "hovertemplate": "%{x} %{y}: %{text}<extra></extra>",
        "colorscale": [[0, RED], [0.5, "#e8e8e8"], [1, GREEN]],
        "zmin": -largest,
        "zmax": largest,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "textfont": {"color": "#222"},
    }
    layout = {"yaxis": {"type": "category", "autorange": "reversed"}, "xaxis": {"side": "top"}}
    return Picture("Returns per month", "Calendar months (UTC); the first and the last may be parts of one.", [heat], layout)


# --- pictures of fills --------------------------------------------------------------------------------------------------------


def mark_outs(metrics: Metrics) -> Picture:
    """Mean mark-out by value traded against the horizon, with 95 % intervals, of all fills and of each side."""
    data = []
    for group, colour in (("all", BLUE), ("buy", GREEN), ("sell", RED)):
        rows = [row for row in metrics.mark_outs if row.group == group and row.weighted_bps is not None]
        if not rows:
            continue
        errors = [NORMAL_95 * row.weighted_error_bps if row.weighted_error_bps is not None else 0.0 for row in rows]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": group,
                "x": [f"{row.horizon_s} s" for row in rows],
                "y": [row.weighted_bps for row in rows],
                "error_y": {"type": "data", "array": errors, "thickness": 1, "width": 4},
                "customdata": [row.fills for row in rows],
                "hovertemplate": "%{y:+.3f} bps of %{customdata} fills",
                "line": {"color": colour},
            }
        )
    layout = {"yaxis": {"title": {"text": "bps"}, "zeroline": True}, "xaxis": {"type": "category"}}
    missed = max((row.unmeasured for row in metrics.mark_outs), default=0)
    caption = "Mean by value traded with its 95 % interval (fills taken as independent); above 0 the fill was good for us."
    if missed:
        caption += f" Up to {missed:,} fills too near to the end are not counted."
    return Picture("Mark-outs", caption, data, layout)


def decomposition(metrics: Metrics) -> Picture:
    """From spread captured to PnL, step by step."""
    pnl = metrics.pnl
    steps = [float(each) for each in (pnl.spread_captured_quote, pnl.adverse_selection_quote, pnl.inventory_quote)]
    steps += [-float(pnl.fees_quote), float(pnl.total_quote)]
    horizon = "" if pnl.horizon_s is None else f"<br>({pnl.horizon_s} s)"
    bars = {
        "type": "waterfall",
        "x": ["spread<br>captured", f"adverse<br>selection{horizon}", "inventory", "fees", "PnL"],
        "y": steps,
        "measure": ["relative"] * 4 + ["total"],
        "text": [f"{step:+,.4g}" for step in steps],
        "textposition": "outside",
        "cliponaxis": False,
        "increasing": {"marker": {"color": GREEN}},
        "decreasing": {"marker": {"color": RED}},
        "totals": {"marker": {"color": BLUE}},
        "connector": {"line": {"color": GREY, "width": 1}},
    }
    layout = {"yaxis": {"title": {"text": "quote"}}, "showlegend": False, "xaxis": {"type": "category"}}
    return Picture("Where the profit came from", "The parts add up to the PnL exactly.", [bars], layout)


def by_hour(metrics: Metrics) -> Picture:
    """The parts of the profit for each hour of the day with fills or a position."""
    rows: tuple[Part, ...] = metrics.by_hour
    hours = [row.group for row in rows]
    parts = (
        ("spread captured", GREEN, [row.spread_captured_quote for row in rows]),
        ("adverse selection", ORANGE, [row.adverse_selection_quote for row in rows]),
        ("inventory", VIOLET, [row.inventory_quote for row in rows]),
        ("fees", GREY, [-row.fees_quote for row in rows]),
    )
    data: list[dict[str, Any]] = [
        {"type": "bar", "name": name, "x": hours, "y": values, "marker": {"color": colour}} for name, colour, values in parts
    ]
    net = {"type": "scatter", "mode": "markers", "name": "together", "x": hours, "y": [row.net_quote for row in rows]}
    data.append(net | {"marker": {"color": BLUE, "symbol": "diamond", "size": 9}})
    layout = {
        "barmode": "relative",
        "xaxis": {"type": "category", "title": {"text": "hour, UTC"}},
        "yaxis": {"title": {"text": "quote"}},
    }
    return Picture(
        "By hour",
        "Spread, adverse selection and fees of the fills of each hour, and what the position earned in it.",
        data,
        layout,
    )


# --- several results ---------------------------------------------------------------------------------------------------------


def overlay(results: Sequence[tuple[str, BacktestResult]]) -> list[Picture]:
    """Equity as a return since the start, and drawdown, of several results over each other."""
    growth, falls = [], []
    for number, (name, result) in enumerate(results):
        ts, equity = with_start(result)
        colour, label = COLOURS[number % len(COLOURS)], html.escape(name)
        start = float(result.initial_equity)
        growth.append(_line(label, ts, equity / start - 1.0 if start > 0 else np.full(equity.shape, math.nan), colour))
        falls.append(_line(label, ts, -drawdown_series(equity), colour))
    percent = {"tickformat": ".2%"}
    return [
        Picture("Equity", "Return since each one's own start, after fees.", growth, _over_time(yaxis=percent)),
        Picture("Drawdown", "The fall from each one's own peak so far.", falls, _over_time(yaxis=percent)),
    ]
