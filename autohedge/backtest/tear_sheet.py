"""One result as one HTML file with figures and pictures, and several results over each other.

The file needs nothing but a browser: no server, no network (see `autohedge.backtest.sheet_page`). Its size is bounded whatever
the run: 5 to 6 MB, nearly all of it plotly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from autohedge.backtest import pictures as draw
from autohedge.backtest.comparison import Comparison, Side
from autohedge.backtest.definitions import DEFINITIONS, SECTIONS, duration, money, shown, utc
from autohedge.backtest.metrics import Metrics
from autohedge.backtest.no_fills import why_no_fills
from autohedge.backtest.result import BacktestResult
from autohedge.backtest.round_trips import round_trips
from autohedge.backtest.sheet_page import escaped, figures, page
from autohedge.backtest.store import result_id
from autohedge.storage.encoding import to_json

NS_PER_S = 1_000_000_000
SIMULATED = (
    "Simulated: no order reached a venue. Fills come from a model of queue, latency and fees; what was earned is no promise."
)
TEXT_SHOWN = 20_000
TRIPS_SHOWN = 200
NOTES_SHOWN, NOTE_SHOWN = 100, 2_000
_TRIP_HEADS = ("closed (UTC)", "side", "size", "opened at", "closed at", "held", "fees", "profit")
_MARK_OUT_HEADS = (
    "fills of",
    "after",
    "counted",
    "not counted",
    "by value traded",
    "± standard error",
    "each alike",
    "± standard error",
)
_PART_HEADS = (
    "fills of",
    "fills",
    "volume",
    "spread captured",
    "adverse selection",
    "inventory",
    "fees",
    "together",
    "mark-out",
)


def settings_hash(result: BacktestResult) -> str:
    """The beginning of a SHA-256 over the settings: equal settings, equal hash."""
    return hashlib.sha256(to_json(result.settings, sort_keys=True).encode()).hexdigest()[:16]


def tear_sheet(result: BacktestResult, metrics: Metrics) -> str:
    """The whole page for one result; `ConfigError` when plotly is missing."""
    over_time = [draw.equity_and_drawdown(result), draw.inventory(result), draw.price_quotes_and_fills(result)]
    over_time.append(draw.returns(result))
    silence = why_no_fills(result)
    of_fills = [] if silence else [draw.decomposition(metrics), draw.mark_outs(metrics), draw.by_hour(metrics)]
    drawn = [each for each in over_time + of_fills if each.data]
    body = "\n".join(
        [
            _header(result),
            f'<p class="warn">0 fills: {escaped(silence)}</p>' if silence else "",
            _figures_table(metrics),
            figures(drawn),
            _mark_out_table(metrics) if metrics.mark_outs else "",
            _parts_table("By side and liquidity", metrics.by_group) if metrics.by_group else "",
            _parts_table("By hour (UTC)", metrics.by_hour) if metrics.by_hour else "",
            _round_trip_table(result) if metrics.round_trips.count else "",
            _details("Settings", result.settings),
            _details("Data", result.data),
            _details("Counts", result.counts),
            _details("Decisions of the desk", result.decisions) if result.decisions is not None else "",
        ]
    )
    return page(f"{result.symbol} {result.strategy}: backtest", body, drawn)


def compare_sheet(sides: Sequence[Side], comparison: Comparison | None = None) -> str:
    """Several results over each other: equity, drawdown and every figure; with a comparison also its verdict and settings."""
    drawn = draw.overlay([(side.name, side.result) for side in sides])
    parts = ["<h1>Backtests compared</h1>", f'<p class="soft">{SIMULATED}</p>']
    if comparison is not None:
        parts.append(f"<p><strong>{escaped(comparison.verdict)}</strong></p>")
    parts += [_compared(sides), figures(drawn)]
    if comparison is not None and comparison.settings:
        rows = [[escaped(each.name), escaped(_cut(each.a)), escaped(_cut(each.b))] for each in comparison.settings]
        parts.append(_table("Settings and data that differ", ("setting", comparison.a, comparison.b), rows))
    return page("Backtests compared: " + ", ".join(side.name for side in sides), "\n".join(parts), drawn)


# --- parts of the page -------------------------------------------------------------------------------------------------------


def _header(result: BacktestResult) -> str:
    length = duration((result.end_ns - result.start_ns) / NS_PER_S)
    facts = {
        "Period (UTC)": f"{utc(result.start_ns)} to {utc(result.end_ns)}, {length}",
        "Engine": result.engine,
        "Data": result.data.get("source", "-"),
        "Data fingerprint": result.data.get("fingerprint", "-"),
        "Settings hash": settings_hash(result),
        "Result id": result_id(result),
    }
    listed = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(_cut(str(value)))}</dd>" for name, value in facts.items())
    notes = "".join(f"<li>{escaped(_cut(note, NOTE_SHOWN))}</li>" for note in result.notes[:NOTES_SHOWN])
    left_out = len(result.notes) - NOTES_SHOWN
    if left_out > 0:
        notes += f"<li>… and {left_out:,} more</li>"
    return (
        f"<h1>{escaped(result.symbol)}: {escaped(result.strategy)}</h1>\n"
        f'<p class="warn">{SIMULATED}</p>\n<dl>{listed}</dl>' + (f"<ul>{notes}</ul>" if notes else "")
    )


def _figures_table(metrics: Metrics) -> str:
    flat = metrics.flat()
    sections = []
    for section, title in SECTIONS.items():
        rows = "".join(
            f"<tr><th>{_term(name)}</th><td>{_value(name, flat[name], metrics)}</td></tr>"
            for name in DEFINITIONS
            if name.partition(".")[0] == section
        )
        sections.append(f"<section><h2>{escaped(title)}</h2><table>{rows}</table></section>")
    return f'<div class="panels">{"".join(sections)}</div>'


def _term(name: str) -> str:
    definition = DEFINITIONS[name]
    return f'<abbr title="{escaped(definition.text)}">{escaped(definition.title)}</abbr>'


def _value(name: str, value: Any, metrics: Metrics) -> str:
    if value is None:
        return f'<abbr title="{escaped(metrics.undefined.get(name, ""))}">–</abbr>'
    return escaped(shown(value, DEFINITIONS[name].unit))


def _compared(sides: Sequence[Side]) -> str:
    flats = [side.metrics.flat() for side in sides]
    rows = [
        [_term(name), *(_value(name, flat[name], side.metrics) for side, flat in zip(sides, flats, strict=True))]
        for name in DEFINITIONS
    ]
    return _table("Figures", ("figure", *(side.name for side in sides)), rows)


def _mark_out_table(metrics: Metrics) -> str:
    def bps(value: float | None) -> str:
        return escaped(shown(value, "bps"))

    rows = [
        [
            escaped(row.group),
            f"{row.horizon_s} s",
            f"{row.fills:,}",
            f"{row.unmeasured:,}",
            bps(row.weighted_bps),
            bps(row.weighted_error_bps).replace("+", ""),
            bps(row.equal_bps),
            bps(row.equal_error_bps).replace("+", ""),
        ]
        for row in metrics.mark_outs
    ]
    note = metrics.undefined.get("mark_outs")
    return _table("Mark-outs", _MARK_OUT_HEADS, rows) + (f'<p class="soft">{escaped(note)}</p>' if note else "")


def _parts_table(title: str, parts: Sequence[Any]) -> str:
    rows = [
        [
            escaped(part.group),
            f"{part.fills:,}",
            *(
                money(amount)
                for amount in (
                    part.volume_quote,
                    part.spread_captured_quote,
                    part.adverse_selection_quote,
                    part.inventory_quote,
                    -part.fees_quote,
                    part.net_quote,
                )
            ),
            escaped(shown(part.mark_out_bps, "bps")),
        ]
        for part in parts
    ]
    return _table(title, _PART_HEADS, rows)


def _round_trip_table(result: BacktestResult) -> str:
    """The round trips that won or lost most, in order of time."""
    trips, _ = round_trips(result)
    net = trips.net_quote
    chosen = np.sort(np.argsort(-np.abs(net), kind="stable")[:TRIPS_SHOWN]).tolist()
    rows = [
        [
            utc(int(trips.exit_ns[row])),
            "long" if trips.side[row] > 0 else "short",
            shown(float(trips.size_base[row]), "base"),
            money(float(trips.entry_price[row])),
            money(float(trips.exit_price[row])),
            duration((int(trips.exit_ns[row]) - int(trips.entry_ns[row])) / NS_PER_S),
            money(float(trips.fees_quote[row])),
            money(float(net[row])),
        ]
        for row in chosen
    ]
    title = (
        "Round trips" if net.size <= TRIPS_SHOWN else f"Round trips: the {TRIPS_SHOWN} of {net.size:,} that won or lost most"
    )
    return f"<details><summary>{title}</summary>{_table('', _TRIP_HEADS, rows)}</details>"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are HTML already; the first column is text."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in heads)
    body = "".join(f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>" for first, *rest in rows)
    heading = f"<h2>{escaped(title)}</h2>" if title else ""
    return f'{heading}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _details(title: str, data: Any) -> str:
    text = json.dumps(json.loads(to_json(data)), indent=2, ensure_ascii=False)
    return f"<details><summary>{escaped(title)}</summary><pre>{escaped(_cut(text))}</pre></details>"


def _cut(text: str, most: int = TEXT_SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} characters more)"
