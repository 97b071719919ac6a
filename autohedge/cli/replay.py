"""`autohedge replay` and `autohedge replay-csv`: prove a record by doing it again, and rebuild inventories from a CSV log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from autohedge.cli.errors import EXIT_FAILED

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run, or its unique beginning.")]
OutDir = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where runs are kept.")]
CsvFile = Annotated[Path, typer.Argument(metavar="CSV", help="A trades_….csv of a run.")]


def replay(run: RunId, out: OutDir = Path("outputs")) -> None:
    """Run a recorded run again and compare every command, fill and inventory value; exit 1 at the first difference."""
    from autohedge.rerun import rerun

    result = asyncio.run(rerun(out, run))
    if not result.equal and result.difference is not None:
        print(f"run {result.run.run_id}: {result.difference.describe()}")
        raise SystemExit(EXIT_FAILED)
    if result.cut_short and result.difference is not None:
        lines = result.difference.line_number - 1
        print(f"run {result.run.run_id}: its record stops without an end; the {lines} lines it left are equal byte for byte")
    else:
        print(f"run {result.run.run_id}: {result.lines} lines are equal byte for byte")


def replay_csv(csv: CsvFile) -> None:
    """Rebuild the inventory of each symbol from a CSV log alone, checking every row."""
    from autohedge.storage.csv_log import replay_csv as rebuild

    result = rebuild(csv)
    for symbol, inventory in result.inventories.items():
        tag = " (simulated)" if inventory.simulated else ""
        fees = ", ".join(f"{amount:f} {asset}" for asset, amount in inventory.fees.items()) or "0"
        print(
            f"{symbol}{tag}: {inventory.fills} fills, base {inventory.base:f}, quote {inventory.quote:f}, "
            f"total value {inventory.total_value:f}, fees {fees}"
        )
    if result.torn is not None:
        print(f"the last line was torn by a kill and is not counted: {result.torn[:80]!r}")
