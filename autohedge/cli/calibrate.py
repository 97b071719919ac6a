"""`autohedge calibrate`: σ, A and k of a recorded market for the quoting models, with intervals and settings to paste."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autohedge.cli.errors import EXIT_USAGE, fail
from autohedge.cli.options import AsJson

if TYPE_CHECKING:
    from autohedge.backtest.calibrate import Calibration
    from autohedge.ports import MarketFeed

Recording = Annotated[Path, typer.Argument(metavar="PATH", help="A recording: a file, or a folder of them.")]
Symbol = Annotated[str | None, typer.Option("--symbol", metavar="BASE/QUOTE", help="Default: the recording's own.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also draw the fit into this HTML file.")]
Grid = Annotated[str, typer.Option("--grid", metavar="DURATION", help="Grid that the mid is sampled on for sigma.")]
FromTicks = Annotated[
    float | None,
    typer.Option("--from-ticks", metavar="N", help="Fit A and k from this depth on. Default: one tick behind the touch."),
]
ToTicks = Annotated[
    float | None,
    typer.Option("--to-ticks", metavar="N", help="Fit A and k up to this depth. Default: what a twentieth of them reach."),
]
OrdersToMid = Annotated[
    int,
    typer.Option(
        "--orders-to-mid",
        metavar="N",
        help="Sets risk_aversion: with so many orders of inventory the reducing quote is at the mid.",
    ),
]


def calibrate(
    path: Recording,
    symbol: Symbol = None,
    html: Html = None,
    grid: Grid = "1s",
    from_ticks: FromTicks = None,
    to_ticks: ToTicks = None,
    orders_to_mid: OrdersToMid = 20,
    as_json: AsJson = False,
) -> None:
    """Measure volatility and order arrivals of a recording for avellaneda_stoikov and glft; exit 2 where data cannot say."""
    from autohedge.cli.calibrate_render import print_calibration, print_json
    from autohedge.settings import parse_duration_s

    if html is not None:
        _require_drawable(html)
    found = _measured(_feed(path, symbol), parse_duration_s(grid), from_ticks, to_ticks)
    suggestion = found.suggestion(orders_to_mid)
    if html is not None:
        from autohedge.backtest.calibration_picture import write_picture

        write_picture(found, html)
    if as_json:
        print_json(found, suggestion)
    else:
        print_calibration(found, suggestion, html)
    if found.refusals:
        fail("; ".join(f"{name} refused: {refusal}" for name, refusal in found.refusals.items()), EXIT_USAGE)


def _require_drawable(html: Path) -> None:
    """`ConfigError` for a picture that could not be made; before the work and not after it."""
    from autohedge.backtest.calibration_picture import require_plotly
    from autohedge.errors import ConfigError

    require_plotly()
    if html.is_dir() or not html.parent.is_dir():
        raise ConfigError(f"--html {html}: expected a file in an existing folder")


def _feed(path: Path, symbol: str | None) -> MarketFeed:
    from autohedge.bootstrap import REPLAY_VENUE
    from autohedge.errors import ConfigError
    from autohedge.market.instruments import instrument
    from autohedge.market.recordings import open_replay, recorded_instrument, symbol_of

    symbol = symbol or symbol_of(path)
    if symbol is None:
        raise ConfigError(f"{path}: the recording does not say which symbol it is of; name it with --symbol BASE/QUOTE")
    return open_replay(path, symbol, recorded_instrument(path, symbol) or instrument(REPLAY_VENUE, symbol))


def _measured(feed: MarketFeed, grid_s: float, from_ticks: float | None, to_ticks: float | None) -> Calibration:
    """The calibration, with a line on stderr that follows it where somebody can see it move."""
    from rich.console import Console

    from autohedge.backtest.calibrate import calibrate as measure
    from autohedge.cli.render import clock_text

    console = Console(stderr=True)
    if not console.is_terminal:
        return asyncio.run(measure(feed, grid_s=grid_s, from_ticks=from_ticks, to_ticks=to_ticks))
    with console.status("reading") as status:

        def show(messages: int, ts_ns: int) -> None:
            status.update(f"{clock_text(ts_ns)}  {messages:,} messages")

        return asyncio.run(measure(feed, grid_s=grid_s, from_ticks=from_ticks, to_ticks=to_ticks, on_progress=show))
