"""`autohedge backtest`: run one; and, as `autohedge backtest list|show|compare|html|delete`, look at those that were kept."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from autohedge.cli import options
from autohedge.cli.backtests import RISK_FREE_FRAC, RiskFree, open_store
from autohedge.cli.backtests import app as app
from autohedge.errors import ConfigError

if TYPE_CHECKING:
    from autohedge.backtest.l2_session import BacktestProgress
    from autohedge.backtest.result import BacktestResult
    from autohedge.backtest.store import Saved
    from autohedge.settings import Settings

RUN = "run"

MandatesFrom = Annotated[
    str,
    typer.Option(
        "--mandates",
        metavar="desk|frozen|RUN",
        help="The desk (rules, or the model named), one neutral mandate, or the recorded decisions of a run.",
    ),
]
AllowBadData = Annotated[bool, typer.Option("--allow-bad-data", help="Run although `data check` finds the recording unfit.")]
SampleEvery = Annotated[
    float, typer.Option("--sample", metavar="SECONDS", help="A point of the equity curve every so often.")
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
    sample: SampleEvery = 1.0,
    allow_bad_data: AllowBadData = False,
    risk_free: RiskFree = RISK_FREE_FRAC,
    name: Name = None,
    html: Page = None,
    as_json: options.AsJson = False,
) -> None:
    """Backtest the desk and its maker on a recording or a simulated market, measure it, and keep the result."""
    if name is not None and len(settings.symbols) > 1:
        raise ConfigError("--name names one result; with several symbols leave it out")
    store = open_store(settings.out_dir)
    results = asyncio.run(_run(settings, mandates, allow_bad_data, sample))
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
    from autohedge.backtest.l2_run import Mandates, backtest
    from autohedge.backtest.recorded_desk import recorded_desk

    known = {each.value for each in Mandates}
    desk = None
    if mandates not in known:
        try:
            desk = recorded_desk(settings.out_dir, mandates)
        except ConfigError as error:
            raise ConfigError(f"--mandates expects desk, frozen or a run, found {mandates!r}: {error}") from None
    with _Watching() as watching:
        return await backtest(
            settings,
            mandates=Mandates(mandates) if mandates in known else Mandates.DESK,
            allow_bad_data=allow_bad_data,
            sample_s=sample_s,
            desk=desk,
            on_progress=watching.update,
        )


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
        if self._live is not None:
            from rich.text import Text

            from autohedge.cli.render import clock_text

            self._live.update(
                Text(
                    f"backtest  {clock_text(progress.market_ns)}  {progress.messages:,} messages  "
                    f"{progress.cycles} cycles  {progress.fills:,} fills",
                    no_wrap=True,
                )
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
    kind = "simulated market" if told["simulated"] else "recorded market, paper fills"
    console.print(heading.append(f" {told['name']}: {told['symbol']}, {told['strategy']} ({kind})", style="not bold"))
    for note in told["notes"]:
        console.print(Text(f"note: {note}"))
    decisions, counts = told["decisions"], told["counts"]
    if decisions is not None:
        driven, total = decisions["model_driven"], decisions["total"]
        console.print(Text(f"{driven} of {total} decisions were model-driven" + ("" if driven else ". No model was used.")))
    console.print(
        Text(
            f"equity {told['initial_equity']} -> {told['final_equity']}, fees {told['fees']}, volume {told['volume']}, "
            f"{counts['fills']:,} fills of {counts['orders_placed']:,} orders, {counts['events']:,} market rows"
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
