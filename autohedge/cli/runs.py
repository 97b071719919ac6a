"""`autohedge runs list|show`: what the ledger remembers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autohedge.cli.options import AsJson
from autohedge.cli.replay import OutDir, RunId

if TYPE_CHECKING:
    from autohedge.storage.runs import RecordedRun

app = typer.Typer(name="runs", help="List and show recorded runs.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many, newest first.")]


def _row(run: RecordedRun) -> dict[str, str | int | bool | None]:
    summary = run.summary or {}
    return {
        "run_id": run.run_id,
        "kind": run.kind.value,
        "status": run.status.value,
        "started": f"{datetime.fromtimestamp(run.started_wall_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}",
        "symbols": ",".join(run.symbols),
        "market": run.market["market"],
        "simulated": run.simulated,
        "fills": summary.get("fills"),
        "final_value": summary.get("final_value"),
    }


@app.command(name="list")
def list_command(out: OutDir = Path("outputs"), limit: Limit = 20, as_json: AsJson = False) -> None:
    """The newest runs."""
    from autohedge.storage.database import open_database
    from autohedge.storage.runs import list_runs

    rows = [_row(run) for run in list_runs(open_database(out / "autohedge.db", create=False), limit=limit)]
    if as_json:
        import orjson

        print(orjson.dumps(rows).decode())
        return
    from rich.table import Table
    from rich.text import Text

    from autohedge.cli.render import stdout_console

    table = Table()
    for name in rows[0] if rows else ("run_id",):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if value is None else str(value)) for value in row.values()))
    stdout_console().print(table)


@app.command()
def show(run: RunId, out: OutDir = Path("outputs"), as_json: AsJson = False) -> None:
    """One run: its report, its decisions with source and reason."""
    from autohedge.storage.database import open_database
    from autohedge.storage.runs import decisions, show_run

    engine = open_database(out / "autohedge.db", create=False)
    detail = show_run(engine, run)
    made = decisions(engine, detail.run.run_id)
    if as_json:
        import orjson

        whole = {
            **_row(detail.run),
            "records": detail.records,
            "summary": detail.run.summary,
            "settings": detail.run.settings,
            "note": detail.run.note,
            "decisions": [
                {
                    "cycle_id": each.cycle_id,
                    "symbol": each.symbol,
                    "role": each.role,
                    "source": each.source.value,
                    "reason_code": each.reason_code,
                    "reason": each.reason,
                    "value": each.value,
                }
                for each in made
            ],
        }
        print(orjson.dumps(whole).decode())
        return
    from rich.table import Table
    from rich.text import Text

    from autohedge.cli.render import print_report, stdout_console

    if detail.run.summary:
        print_report(detail.run.summary)
    console = stdout_console()
    note = f"; {detail.run.note}" if detail.run.note else ""
    console.print(Text(f"status {detail.run.status.value}{note}; {detail.decisions.sentence()}; records {detail.records}"))
    table = Table(title="Decisions", title_justify="left")
    for name in ("cycle", "role", "source", "code", "reason"):
        table.add_column(name, overflow="fold")
    for each in made:
        table.add_row(each.cycle_id, each.role, each.source.value, each.reason_code, Text(each.reason[:160]))
    console.print(table)
