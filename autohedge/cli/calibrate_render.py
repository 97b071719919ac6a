"""What `autohedge calibrate` shows: numbers with intervals and units, doubts, settings to paste; and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from autohedge.backtest.calibrate import Calibration, Suggestion
from autohedge.cli.render import clock_text, stdout_console


def print_json(found: Calibration, suggestion: Suggestion | None) -> None:
    """One JSON object on stdout."""
    import orjson

    print(orjson.dumps(as_plain_data(found, suggestion)).decode())


def as_plain_data(found: Calibration, suggestion: Suggestion | None) -> dict[str, Any]:
    """A calibration for JSON; times are strings of nanoseconds, a refused number is null."""
    volatility, intensity = found.volatility, found.intensity
    data: dict[str, Any] = {
        "symbol": found.instrument.symbol,
        "source": found.source,
        "simulated": found.simulated,
        "tick_size": str(found.instrument.tick_size),
        "first_ns": str(found.first_ns),
        "last_ns": str(found.last_ns),
        "observed_s": found.observed_s,
        "mid_ticks": found.mid_ticks,
        "trades": found.trades,
        "outside_trades": found.outside_trades,
        "market_orders": found.market_orders,
        "late_orders": found.late_orders,
        "unplaced_orders": found.unplaced_orders,
        "sigma_ticks_per_sqrt_s": None,
        "arrival_rate_per_s": None,
        "intensity_decay_per_tick": None,
        "refusals": {name: {"reason": refusal.reason, "message": str(refusal)} for name, refusal in found.refusals.items()},
        "doubts": list(found.doubts),
        "settings": None if suggestion is None else suggestion.settings(),
        "suggestion": None if suggestion is None else asdict(suggestion),
    }
    if volatility is not None:
        data["sigma_ticks_per_sqrt_s"] = volatility.sigma
        data["volatility"] = asdict(volatility) | {
            "interval": volatility.interval._asdict(),
            "coarser": [check._asdict() for check in volatility.coarser],
            "grid_is_fine": volatility.grid_is_fine,
        }
    if intensity is not None:
        data["arrival_rate_per_s"], data["intensity_decay_per_tick"] = intensity.a, intensity.k
        data["intensity"] = asdict(intensity) | {
            "a_interval": intensity.a_interval._asdict(),
            "k_interval": intensity.k_interval._asdict(),
            "likelihood_k_interval": intensity.likelihood_k_interval._asdict(),
            "touch": intensity.touch._asdict(),
            "points": [point._asdict() for point in intensity.points],
        }
    return data


def print_calibration(found: Calibration, suggestion: Suggestion | None, picture: Path | None) -> None:
    """The numbers as a table, how the orders were found, what speaks against it all, and settings to paste."""
    console = stdout_console()
    instrument = found.instrument
    tag = " (simulated)" if found.simulated else ""
    title = f"{instrument.symbol}{tag}: one tick is {instrument.tick_size:f} {instrument.quote}"
    table = Table(title=title, title_justify="left")
    for column in ("parameter", "value", "95 %", "unit", "how"):
        table.add_column(column, overflow="fold")
    for row in _rows(found):
        table.add_row(*map(Text, row))
    console.print(table)
    span = f"{clock_text(found.first_ns)} to {clock_text(found.last_ns)} UTC, {found.observed_s:,.0f} s with a book"
    console.print(Text(f"{span}: {_about_the_orders(found)}"))
    for doubt in found.doubts:
        console.print(Text(f"doubt: {doubt}"))
    if picture is not None:
        console.print(Text(f"Picture: {picture}"), soft_wrap=True)
    if suggestion is not None:
        console.print(Text(_about_the_suggestion(found, suggestion)))
        print("\n[maker]")
        for name, value in suggestion.settings().items():
            print(f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value!r}")


def _rows(found: Calibration) -> Iterator[tuple[str, str, str, str, str]]:
    if (sigma := found.volatility) is not None:
        yield (
            "sigma, volatility",
            f"{sigma.sigma:.4g}",
            f"{sigma.interval.low:.4g} to {sigma.interval.high:.4g}",
            "ticks/sqrt(s)",
            f"{sigma.changes:,} changes on a {sigma.grid_s:g} s grid, {sigma.unmoved_frac:.0%} of them 0, worth "
            f"{sigma.effective_changes:,.0f} even ones",
        )
    if (fit := found.intensity) is not None:
        depths = f"{fit.points[0].depth_ticks:g} to {fit.points[-1].depth_ticks:g} ticks"
        line = f"line through {len(fit.points)} points at {depths}, R^2 {fit.r_squared:.3f}"
        check = f"maximum likelihood {fit.likelihood_k:.4g}"
        yield "A, arrival rate", f"{fit.a:.4g}", f"{fit.a_interval.low:.4g} to {fit.a_interval.high:.4g}", "1/s, a side", line
        yield "k, decay", f"{fit.k:.4g}", f"{fit.k_interval.low:.4g} to {fit.k_interval.high:.4g}", "1/tick", check
    for name, refusal in found.refusals.items():
        yield name, "refused", "-", "-", str(refusal)


def _about_the_orders(found: Calibration) -> str:
    if not found.market_orders:
        return "no market orders."
    return (
        f"{found.trades:,} trades were {found.market_orders:,} market orders. {found.outside_trades / found.trades:.0%} of the "
        "trades printed outside the best prices received last: deeper levels of one order, and best prices that came before "
        "the trades that moved them. An order's depth is taken from the book whose best price was its first print. For "
        f"{found.late_orders:,} orders that book had been replaced already; for {found.unplaced_orders:,} it was not found "
        "(left out)."
    )


def _about_the_suggestion(found: Calibration, suggestion: Suggestion) -> str:
    bps = 10_000.0 / found.mid_ticks
    half, step = suggestion.half_spread_ticks, suggestion.step_ticks
    return (
        f"With these settings glft quotes {half:.4g} ticks ({half * bps:.3g} bps) from the mid and moves both quotes by "
        f"{step:.4g} ticks ({step * bps:.3g} bps) per order held. risk_aversion is a choice: here "
        f"{suggestion.orders_to_mid} orders bring the reducing quote to the mid. avellaneda_stoikov quotes the same at this "
        "volatility; sigma is measured live."
    )
