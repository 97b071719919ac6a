"""`autohedge backtest`: run one; and, as `autohedge backtest list|show|compare|html|delete`, look at those that were kept."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from autohedge.cli import options
from autohedge.cli.backtests import RISK_FREE_FRAC, RiskFree, app, open_store
from autohedge.errors import ConfigError

if TYPE_CHECKING:
    from autohedge.backtest.bar_session import BarProgress
    from autohedge.backtest.l2_run import Mandates
    from autohedge.backtest.l2_session import BacktestProgress
    from autohedge.backtest.result import BacktestResult
    from autohedge.backtest.store import Saved
    from autohedge.ports import Desk
    from autohedge.settings import Settings

__all__ = ["app"]

RUN = "run"
MAKER = "maker"
SAMPLE_S = 1.0

MandatesFrom = Annotated[
    str,
    typer.Option(
        "--mandates",
        metavar="desk|frozen|RUN",
        help="The desk (rules, or the model named), one neutral mandate, or the recorded decisions of a run.",
    ),
]
AllowBadData = Annotated[bool, typer.Option("--allow-bad-data", help="Run although `data check` finds the data unfit.")]
SampleEvery = Annotated[
    float | None,
    typer.Option(
        "--sample", metavar="SECONDS", help="A point of the equity curve so often. Default 1; on candles one per bar."
    ),
]
StrategyName = Annotated[
    str, typer.Option("--strategy", metavar="maker|dual_moving_average|grid", help="What trades; on a book it is the maker.")
]
StrategyParameters = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the strategy; may be repeated.")
]
Assumed = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        metavar="NAME=VALUE",
        help="What candles do not tell: slippage_model, participation_frac, api_failure_frac …; may be repeated.",
    ),
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="A name for the result.")]
Page = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write the tear sheet.")]


class RunsByDefault(TyperGroup):
    """A group whose command `run` needs not be named: what is no command of the group is an argument of it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where none is named."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


@options.takes_settings
def run(
    *,
    settings: Settings,
    mandates: MandatesFrom = "desk",
    strategy: StrategyName = MAKER,
    param: StrategyParameters = None,
    assume: Assumed = None,
    sample: SampleEvery = None,
    allow_bad_data: AllowBadData = False,
    risk_free: RiskFree = RISK_FREE_FRAC,
    name: Name = None,
    html: Page = None,
    as_json: options.AsJson = False,
) -> None:
    """Backtest the desk and its maker on a recording, a simulated market or candles, measure it, and keep the result.

    On candles (--market candles:FILE_OR_STORE) other strategies run as well.
    """
    if name is not None and len(settings.symbols) > 1:
        raise ConfigError("--name names one result; with several symbols leave it out")
    store = open_store(settings.out_dir)
    parameters, assumptions = _pairs("--param", param), _pairs("--assume", assume)
    if settings.candles_path is not None:
        if sample is not None:
            raise ConfigError("--sample is about a book; on candles the curve has a point per bar")
        results = asyncio.run(_run_on_bars(settings, strategy, parameters, assumptions, mandates, allow_bad_data))
    else:
        if strategy != MAKER or parameters or assumptions:
            raise ConfigError("--strategy, --param and --assume are about candles; give --market candles:FILE")
        results = asyncio.run(_run(settings, mandates, allow_bad_data, SAMPLE_S if sample is None else sample))
    from autohedge.backtest.metrics import measure

    told: list[dict[str, Any]] = []
    for result in results:
        metrics = measure(result, risk_free_rate=risk_free)
        saved = store.save(result, metrics, name=name)
        page = _page(html, result, metrics, len(results))
        told.append(_told(result, metrics, saved, page))
    if as_json:
        _print_json(told[0] if len(told) == 1 else told)
        return
    for each in told:
        _print(each)


async def _run(settings: Settings, mandates: str, allow_bad_data: bool, sample_s: float) -> tuple[BacktestResult, ...]:
    from autohedge.backtest.l2_run import backtest

    mode, desk = _mandates_from(settings, mandates)
    with _Watching() as watching:
        return await backtest(
            settings,
            mandates=mode,
            allow_bad_data=allow_bad_data,
            sample_s=sample_s,
            desk=desk,
            on_progress=watching.update,
        )


async def _run_on_bars(
    settings: Settings,
    strategy: str,
    parameters: dict[str, str],
    assumptions: dict[str, str],
    mandates: str,
    allow_bad_data: bool,
) -> tuple[BacktestResult, ...]:
    from autohedge.backtest.bar_run import Choice, backtest_bars

    if strategy != MAKER and mandates != "desk":
        raise ConfigError(f"--mandates steer the maker; leave it out with --strategy {strategy}")
    mode, desk = _mandates_from(settings, mandates)
    with _Watching() as watching:
        return await backtest_bars(
            settings,
            Choice(strategy, parameters, assumptions),
            mandates=mode,
            allow_bad_data=allow_bad_data,
            desk=desk,
            on_progress=watching.update_on_bars,
        )


def _mandates_from(settings: Settings, mandates: str) -> tuple[Mandates, Desk | None]:
    """Whether a desk is asked, and which, if it is that of a recorded run. Raises `ConfigError` for neither."""
    from autohedge.backtest.l2_run import Mandates
    from autohedge.backtest.recorded_desk import recorded_desk

    if mandates in {each.value for each in Mandates}:
        return Mandates(mandates), None
    try:
        desk = recorded_desk(settings.out_dir, mandates, on_bars=settings.candles_path is not None)
    except ConfigError as error:
        raise ConfigError(f"--mandates expects desk, frozen or a run, found {mandates!r}: {error}") from None
    return Mandates.DESK, desk


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """NAME=VALUE pairs. Raises `ConfigError` for one that is none, or a name twice."""
    found: dict[str, str] = {}
    for pair in given or ():
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise ConfigError(f"{option} expects NAME=VALUE, found {pair[:60]!r}")
        if name in found:
            raise ConfigError(f"{option} {name} is given twice; give it once")
        found[name] = value
    return found


class _Watching:
    """One line that follows the backtest, on stderr and only where somebody can see it move."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def __enter__(self) -> _Watching:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *ended: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: BacktestProgress) -> None:
        """Show where the backtest stands."""
        self._show(progress.market_ns, f"{progress.messages:,} messages", progress.cycles, progress.fills)

    def update_on_bars(self, progress: BarProgress) -> None:
        """Show where the backtest on bars stands."""
        done = progress.bars / progress.of_bars
        self._show(progress.market_ns, f"{progress.bars:,} bars ({done:.0%})", progress.cycles, progress.fills)

    def _show(self, market_ns: int, seen: str, cycles: int, fills: int) -> None:
        if self._live is not None:
            from rich.text import Text

            from autohedge.cli.render import clock_text

            self._live.update(
                Text(f"backtest  {clock_text(market_ns)}  {seen}  {cycles:,} cycles  {fills:,} fills", no_wrap=True)
            )


def _page(html: Path | None, result: BacktestResult, metrics: Any, results: int) -> Path | None:
    if html is None:
        return None
    from autohedge.backtest.tear_sheet import tear_sheet

    path = html if results == 1 else html.with_stem(f"{html.stem}_{result.symbol.replace('/', '-')}")
    try:
        path.write_text(tear_sheet(result, metrics), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the page {path} cannot be written: {error.strerror or error}") from None
    return path


def _told(result: BacktestResult, metrics: Any, saved: Saved, page: Path | None) -> dict[str, Any]:
    from autohedge.backtest.no_fills import why_no_fills
    from autohedge.report import plain

    return {
        "id": saved.id,
        "name": saved.name,
        "symbol": result.symbol,
        "strategy": result.strategy,
        "engine": result.engine,
        "simulated": bool(result.data.get("simulated")),
        "market": result.data.get("market"),
        "initial_equity": plain(result.initial_equity),
        "final_equity": plain(result.final_equity),
        "fees": plain(result.fees),
        "volume": plain(result.volume),
        "counts": result.counts,
        "uptime_frac": result.uptime_frac,
        "decisions": result.decisions,
        "metrics": metrics.to_dict(),
        "why_no_fills": why_no_fills(result),
        "notes": list(result.notes),
        "folder": str(saved.folder),
        "other_outcomes": list(saved.other_outcomes),
        "html": None if page is None else str(page),
    }


def _print(told: dict[str, Any]) -> None:
    from rich.text import Text

    from autohedge.cli.render import stdout_console

    console = stdout_console()
    heading = Text(f"Backtest {told['id']}", style="bold")
    on_bars = told["engine"] == "bars"
    kind = (
        "simulated market" if told["simulated"] else "candles, simulated fills" if on_bars else "recorded market, paper fills"
    )
    console.print(heading.append(f" {told['name']}: {told['symbol']}, {told['strategy']} ({kind})", style="not bold"))
    for note in told["notes"]:
        console.print(Text(f"note: {note}"))
    decisions, counts, rows = told["decisions"], told["counts"], "bars" if on_bars else "market rows"
    if decisions is not None:
        driven, total = decisions["model_driven"], decisions["total"]
        console.print(Text(f"{driven} of {total} decisions were model-driven" + ("" if driven else ". No model was used.")))
    console.print(
        Text(
            f"equity {told['initial_equity']} -> {told['final_equity']}, fees {told['fees']}, volume {told['volume']}, "
            f"{counts['fills']:,} fills of {counts['orders_placed']:,} orders, {counts['events']:,} {rows}"
        )
    )
    if told["why_no_fills"] is not None:
        console.print(Text(f"0 fills: {told['why_no_fills']}"))
    if told["other_outcomes"]:
        others = ", ".join(told["other_outcomes"])
        console.print(Text(f"the same settings and data gave another result before: {others}"), soft_wrap=True)
    console.print(Text(f"kept in {told['folder']}"), soft_wrap=True)
    console.print(Text(f"figures: autohedge backtest show {told['id']}"), soft_wrap=True)
    if told["html"] is not None:
        console.print(Text(f"tear sheet: {told['html']}"), soft_wrap=True)


def _print_json(value: Any) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(value, default=str) + b"\n")
    sys.stdout.buffer.flush()


app.info.cls = RunsByDefault
app.info.no_args_is_help = False
app.command(name=RUN)(run)
