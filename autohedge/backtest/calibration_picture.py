"""The picture of a calibration: one HTML page that loads nothing from outside."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autohedge.backtest.calibrate import Calibration
from autohedge.errors import ConfigError
from autohedge.market_maker.calibration import IntensityFit
from autohedge.market_maker.volatility import VolatilityEstimate

if TYPE_CHECKING:
    from types import ModuleType

_BLUE, _RED, _GREY = "#1f5fa8", "#b3261e", "#777777"
_BAND = "rgba(31,95,168,0.18)"
_BAND_STEPS = 60


def write_picture(calibration: Calibration, path: Path) -> None:
    """Write the fit of A and k with its points and band, and σ over the grid, to an HTML file.

    What was refused is said in place of its picture. Raises `ConfigError` without plotly, or where the file cannot be written.
    """
    go, subplots = require_plotly()
    titles = ("Market orders of one side that reach a depth", "Volatility of the mid by grid")
    figure = subplots.make_subplots(rows=1, cols=2, column_widths=[0.65, 0.35], subplot_titles=titles)
    if calibration.intensity is not None:
        _draw_intensity(go, figure, calibration.intensity)
    if calibration.volatility is not None:
        _draw_volatility(go, figure, calibration.volatility)
    _label(figure)
    heading = f"{calibration.instrument.symbol}{' (simulated)' if calibration.simulated else ''}: {calibration.source}"
    said = [f"{name} refused: {refusal}" for name, refusal in calibration.refusals.items()] + [
        f"doubt: {doubt}" for doubt in calibration.doubts
    ]
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Calibration {escape(heading)}</title>\n'
        "<style>body { font-family: sans-serif; margin: 1.5em; }</style>\n</head>\n<body>\n"
        f"<h1>{escape(heading)}</h1>\n<ul>\n{''.join(f'<li>{escape(each)}</li>{chr(10)}' for each in said)}</ul>\n"
        f"{figure.to_html(include_plotlyjs=True, full_html=False, default_height='640px')}\n</body>\n</html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the picture cannot be written ({error.strerror or error})") from error


def _draw_intensity(go: ModuleType, figure: Any, fit: IntensityFit) -> None:
    first, last = fit.touch.depth_ticks, fit.points[-1].depth_ticks
    depths = [first + (last - first) * step / _BAND_STEPS for step in range(_BAND_STEPS + 1)]
    rates = [fit.rate(depth) for depth in depths]
    band = [interval.high for _, interval in rates] + [interval.low for _, interval in reversed(rates)]
    figure.add_trace(
        go.Scatter(
            x=depths + depths[::-1], y=band, fill="toself", fillcolor=_BAND, line={"width": 0}, hoverinfo="skip", name="95 %"
        ),
        row=1,
        col=1,
    )
    name = f"A exp(-k d), A = {fit.a:.4g}/s, k = {fit.k:.4g}/tick, R² = {fit.r_squared:.3f}"
    figure.add_trace(
        go.Scatter(x=depths, y=[rate for rate, _ in rates], mode="lines", line={"color": _BLUE}, name=name), row=1, col=1
    )
    for points, label, colour in (
        (fit.points, "measured, in the fit", _BLUE),
        ((fit.touch,), "at the touch, not in the fit", _RED),
    ):
        figure.add_trace(
            go.Scatter(
                x=[point.depth_ticks for point in points],
                y=[point.rate_per_s for point in points],
                customdata=[point.orders for point in points],
                hovertemplate="%{x} ticks: %{y:.4g}/s, %{customdata} orders<extra></extra>",
                mode="markers",
                marker={"color": colour},
                name=label,
            ),
            row=1,
            col=1,
        )


def _draw_volatility(go: ModuleType, figure: Any, estimate: VolatilityEstimate) -> None:
    low, high = estimate.interval
    own = go.Scatter(
        x=[estimate.grid_s],
        y=[estimate.sigma],
        error_y={"array": [high - estimate.sigma], "arrayminus": [estimate.sigma - low]},
        mode="markers",
        marker={"color": _BLUE},
        name=f"σ = {estimate.sigma:.4g} ticks/√s, 95 %",
    )
    coarser = go.Scatter(
        x=[check.grid_s for check in estimate.coarser],
        y=[check.sigma for check in estimate.coarser],
        customdata=[check.z for check in estimate.coarser],
        hovertemplate="%{x} s: %{y:.4g}, z = %{customdata:+.1f}<extra></extra>",
        mode="markers+lines",
        marker={"color": _GREY},
        name="on coarser grids",
    )
    figure.add_trace(own, row=1, col=2)
    figure.add_trace(coarser, row=1, col=2)


def _label(figure: Any) -> None:
    figure.update_xaxes(title_text="depth from the mid, ticks", row=1, col=1)
    figure.update_yaxes(title_text="orders per second", type="log", row=1, col=1)
    figure.update_xaxes(title_text="grid, s", type="log", row=1, col=2)
    figure.update_yaxes(title_text="σ, ticks/√s", rangemode="tozero", row=1, col=2)
    figure.update_layout(legend={"orientation": "h", "y": -0.15}, margin={"t": 50})


def require_plotly() -> tuple[ModuleType, ModuleType]:
    """plotly's figures and its subplots; `ConfigError` where it is not installed."""
    try:
        import plotly.graph_objects as go
        from plotly import subplots
    except ImportError as error:
        raise ConfigError("pictures need plotly, which is not installed: run  pip install 'autohedge[backtest]'") from error
    return go, subplots
