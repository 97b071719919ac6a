"""`autohedge backtest list|show|compare|html|delete`: results that are kept, beside each other, and as pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autohedge.cli.options import AsJson
from autohedge.cli.replay import OutDir
from autohedge.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from rich.table import Table

    from autohedge.backtest.comparison import Comparison, Side
    from autohedge.backtest.metrics import Metrics
    from autohedge.backtest.result import BacktestResult
    from autohedge.backtest.store import ResultStore, StoredResult

app = typer.Typer(name="backtest", help="Run backtests; list, show and compare their results.", no_args_is_help=True)

DEFAULT_OUT = Path("outputs")
RESULTS_FOLDER = "backtests"
RISK_FREE_FRAC = 0.03

Result = Annotated[str, typer.Argument(metavar="RESULT", help="The id or name of a result, or its beginning.")]
First = Annotated[str, typer.Argument(metavar="A", help="The id or name of a result, or its beginning.")]
Second = Annotated[str, typer.Argument(metavar="B", help="The result that A is compared with; differences are B − A.")]
RiskFree = Annotated[float, typer.Option("--risk-free", metavar="FRAC", help="Risk-free rate per year for Sharpe and Sortino.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many, newest first.")]
Meanings = Annotated[bool, typer.Option("--meanings", help="Also say what each figure means.")]
To = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Where to write it. Default: beside the result.")]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with both curves over each other.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def open_store(out: Path) -> ResultStore:
    """The results kept below an output folder; `ConfigError` that names the extra when NumPy is missing."""
    try:
        from autohedge.backtest.store import ResultStore
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise ConfigError("backtest results need numpy: pip install 'autohedge[backtest]'") from error
    return ResultStore(out / RESULTS_FOLDER)


@app.command(name="list")
def list_command(out: OutDir = DEFAULT_OUT, limit: Limit = 20, as_json: AsJson = False) -> None:
    """The newest results with their main figures."""
    rows = [_row(stored) for stored in open_store(out).list()[:limit]]
    if as_json:
        _print_json(rows)
        return
    from rich.text import Text

    from autohedge.backtest.definitions import DEFINITIONS, shown
    from autohedge.cli.render import stdout_console

    table = _table(tuple(rows[0]) if rows else ("id",))
    units = {"return": "returns.total_frac", "sharpe": "returns.sharpe", "drawdown": "drawdown.max_frac"}
    for row in rows:
        cells = (
            shown(value, DEFINITIONS[units[name]].unit if name in units else "text") if name != "problem" else value
            for name, value in row.items()
        )
        table.add_row(*(Text(cell) for cell in cells))
    stdout_console().print(table)


@app.command()
def show(
    result: Result,
    out: OutDir = DEFAULT_OUT,
    risk_free: RiskFree = RISK_FREE_FRAC,
    meanings: Meanings = False,
    as_json: AsJson = False,
) -> None:
    """One result: every figure, with the reason where there is none."""
    store = open_store(out)
    stored, loaded, metrics = _measured(store, result, risk_free)
    from autohedge.backtest.no_fills import why_no_fills

    silence = why_no_fills(loaded)
    if as_json:
        about = {"id": stored.id, "name": stored.name, "folder": str(stored.folder)}
        _print_json({**about, "result": stored.header, "metrics": metrics.to_dict(), "why_no_fills": silence})
        return
    from rich.text import Text

    from autohedge.backtest.definitions import utc
    from autohedge.cli.render import stdout_console

    console = stdout_console()
    heading = Text(f"Backtest {stored.id}", style="bold")
    console.print(
        heading.append(f" {stored.name}: {loaded.symbol}, {loaded.strategy}, {loaded.engine} (simulated)", style="not bold")
    )
    console.print(Text(f"{utc(loaded.start_ns)} to {utc(loaded.end_ns)} UTC, data {loaded.data.get('source', '-')}"))
    for note in loaded.notes:
        console.print(Text(f"note: {note}"))
    if silence is not None:
        console.print(Text(f"0 fills: {silence}"))
    for table in _figure_tables(metrics, meanings=meanings):
        console.print(table)
    if metrics.mark_outs:
        console.print(_mark_out_table(metrics))
    if metrics.by_group:
        console.print(_part_table(metrics))
    console.print(Text(f"files {stored.folder}"), soft_wrap=True)


@app.command()
def compare(
    a: First,
    b: Second,
    out: OutDir = DEFAULT_OUT,
    risk_free: RiskFree = RISK_FREE_FRAC,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Two results: figures and settings that differ, and whether one earned more than noise explains."""
    store = open_store(out)
    first, second = (_measured(store, wanted, risk_free) for wanted in (a, b))
    from autohedge.backtest.comparison import Side
    from autohedge.backtest.comparison import compare as compare_sides

    names = [first[0].name, second[0].name]
    if names[0] == names[1]:
        names = [first[0].id, second[0].id]
    sides = [Side(name, result, metrics) for name, (_, result, metrics) in zip(names, (first, second), strict=True)]
    comparison = compare_sides(*sides)
    if html is not None:
        _write_page(html, _comparison_page(sides, comparison))
    if as_json:
        ids = {"a_id": first[0].id, "b_id": second[0].id, "html": None if html is None else str(html)}
        _print_json({**comparison.to_dict(), **ids})
        return
    _print_comparison(comparison)
    if html is not None:
        print(html)


@app.command()
def html(
    result: Result,
    to: To = None,
    out: OutDir = DEFAULT_OUT,
    risk_free: RiskFree = RISK_FREE_FRAC,
    as_json: AsJson = False,
) -> None:
    """Write the tear sheet of a result: one HTML file with figures and pictures that needs no network."""
    store = open_store(out)
    stored, loaded, metrics = _measured(store, result, risk_free)
    from autohedge.backtest.tear_sheet import tear_sheet

    path = stored.folder / "tear_sheet.html" if to is None else to
    _write_page(path, tear_sheet(loaded, metrics))
    if as_json:
        _print_json({"id": stored.id, "name": stored.name, "html": str(path)})
    else:
        print(path)


@app.command()
def delete(result: Result, out: OutDir = DEFAULT_OUT, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove a result with all its files."""
    store = open_store(out)
    found = store.find(result)
    if not yes:
        if as_json:
            raise ConfigError("--json cannot ask: give --yes as well to remove a result")
        typer.confirm(f"Remove {found.id} {found.name} and all files in {found.folder}?", abort=True)
    gone = store.delete(found.id)
    if as_json:
        _print_json({"deleted": gone.id, "name": gone.name})
    else:
        print(f"removed {gone.id} {gone.name}")


# --- reading --------------------------------------------------------------------------------------------------------------


def _measured(store: ResultStore, wanted: str, risk_free: float) -> tuple[StoredResult, BacktestResult, Metrics]:
    from autohedge.backtest.metrics import measure

    stored = store.find(wanted)
    result = store.load(stored.id)
    return stored, result, measure(result, risk_free_rate=risk_free)


def _row(stored: StoredResult) -> dict[str, Any]:
    from autohedge.backtest.definitions import utc

    header, metrics = stored.header, stored.metrics or {}
    return {
        "id": stored.id,
        "name": stored.name,
        "symbol": header.get("symbol"),
        "strategy": header.get("strategy"),
        "engine": header.get("engine"),
        "start": utc(int(header["start_ns"])) if header else None,
        "end": utc(int(header["end_ns"])) if header else None,
        "fills": metrics.get("making", {}).get("fills"),
        "return": metrics.get("returns", {}).get("total_frac"),
        "sharpe": metrics.get("returns", {}).get("sharpe"),
        "drawdown": metrics.get("drawdown", {}).get("max_frac"),
        "problem": stored.problem,
    }


# --- writing --------------------------------------------------------------------------------------------------------------


def _print_json(value: Any) -> None:
    from autohedge.storage.encoding import to_json

    print(to_json(value))


def _comparison_page(sides: list[Side], comparison: Comparison) -> str:
    from autohedge.backtest.tear_sheet import compare_sheet

    return compare_sheet(sides, comparison)


def _write_page(path: Path, text: str) -> None:
    """The whole page or nothing; `StorageError` when it cannot be written."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}; choose a folder that exists and may be written to"
        ) from error


def _table(columns: tuple[str, ...], title: str | None = None) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _figure_tables(metrics: Metrics, *, meanings: bool) -> list[Table]:
    from rich.text import Text

    from autohedge.backtest.definitions import DEFINITIONS, SECTIONS, shown

    flat = metrics.flat()
    tables = []
    for section, title in SECTIONS.items():
        table = _table(("figure", "value", "meaning") if meanings else ("figure", "value"), title)
        for name, definition in DEFINITIONS.items():
            if name.partition(".")[0] != section:
                continue
            value = flat[name]
            told = f"- ({metrics.undefined[name]})" if value is None else shown(value, definition.unit)
            table.add_row(definition.title, Text(told), *([Text(definition.text)] if meanings else []))
        tables.append(table)
    return tables


def _mark_out_table(metrics: Metrics) -> Table:
    from autohedge.backtest.definitions import shown

    table = _table(
        ("fills of", "after", "counted", "not counted", "by value traded", "each alike"), "Mark-outs (± standard error)"
    )
    for row in metrics.mark_outs:
        means = ((row.weighted_bps, row.weighted_error_bps), (row.equal_bps, row.equal_error_bps))
        told = (
            shown(mean, "bps") if error is None or mean is None else f"{mean:+.3f} ± {error:.3f} bps" for mean, error in means
        )
        table.add_row(row.group, f"{row.horizon_s} s", f"{row.fills:,}", f"{row.unmeasured:,}", *told)
    return table


def _part_table(metrics: Metrics) -> Table:
    from autohedge.backtest.definitions import money

    columns = ("fills of", "fills", "volume", "spread captured", "adverse selection", "inventory", "fees", "together")
    table = _table(columns, "PnL of the fills, by side, liquidity and hour (UTC)")
    for part in (*metrics.by_group, *metrics.by_hour):
        amounts = (part.volume_quote, part.spread_captured_quote, part.adverse_selection_quote, part.inventory_quote)
        told = [money(amount) for amount in (*amounts, -part.fees_quote, part.net_quote)]
        table.add_row(f"hour {part.group}" if part.group.isdigit() else part.group, f"{part.fills:,}", *told)
    return table


def _print_comparison(comparison: Comparison) -> None:
    from rich.text import Text

    from autohedge.backtest.definitions import DEFINITIONS, shown
    from autohedge.cli.render import stdout_console

    console = stdout_console()
    table = _table(("figure", comparison.a, comparison.b, "difference"), "Figures that differ")
    differing = [each for each in comparison.figures if each.a != each.b]
    for each in differing:
        definition = DEFINITIONS[each.name]
        told = ("-" if value is None else shown(value, definition.unit) for value in (each.a, each.b, each.difference))
        table.add_row(definition.title, *(Text(cell) for cell in told))
    console.print(table)
    console.print(Text(f"{len(comparison.figures) - len(differing)} figures are equal."))
    settings = _table(("setting", comparison.a, comparison.b), "Settings and data that differ")
    for row in comparison.settings:
        settings.add_row(*(Text(cell) for cell in row))
    console.print(settings if comparison.settings else Text("The settings and the data are the same."))
    console.print(Text(comparison.verdict, style="bold"))
