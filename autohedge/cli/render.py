"""What a person sees: the live progress on stderr and the report on stdout."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from autohedge.bootstrap import Plan
    from autohedge.session import Progress

NS_PER_S = 1_000_000_000
PIPE_WIDTH = 160
DEFAULT_OUT = "outputs"


def shortened(reason: str, max_chars: int = 60) -> str:
    """A reason that fits a table; the whole is in `autohedge runs show`."""
    return reason if len(reason) <= max_chars else reason[: max_chars - 1] + "…"


def clock_text(ts_ns: int) -> str:
    """Market time to the second, UTC."""
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"


class LiveProgress:
    """One line that follows the session, on stderr and only where somebody can see it move."""

    def __init__(self, plan: Plan) -> None:
        self._console = Console(stderr=True)
        self._label = "simulated market" if plan.simulated else plan.settings.market
        self._live = Live(console=self._console, refresh_per_second=8, transient=True) if self._console.is_terminal else None

    def __enter__(self) -> LiveProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show where the session stands."""
        if self._live is not None:
            self._live.update(
                Text(
                    f"{self._label}  {clock_text(progress.market_ns)}  {progress.messages:,} messages  "
                    f"{progress.cycles} cycles  {progress.orders:,} orders  {progress.fills:,} fills",
                    no_wrap=True,
                    overflow="ellipsis",
                )
            )


def stdout_console() -> Console:
    """The console for reports: as wide as the terminal, and wide enough for whole rows where the output is a file or pipe."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def print_report(summary: dict[str, Any]) -> None:
    """The report of a run."""
    console = stdout_console()
    tag = " (simulated)" if summary["simulated"] else ""
    heading = Text(f"Run {summary['run_id']}", style="bold")
    console.print(heading.append(f": {', '.join(summary['symbols'])} on {summary['market']}{tag}", style="not bold"))
    console.print(Text(_about_the_model(summary)))
    console.print(_decisions_table(summary))
    console.print(_cycles_table(summary))
    for symbol, lane in summary["per_symbol"].items():
        console.print(_symbol_table(symbol, lane))
        if lane["why_no_fills"]:
            console.print(Text(f"0 fills: {lane['why_no_fills']}"))
        problems = {name: found for name, found in lane["data_quality"].items() if found}
        if problems:
            console.print(Text(f"Market data not applied: {problems}"))
    if len(summary["per_symbol"]) > 1:
        total = f"Together: start {summary['start_value']}, final {summary['final_value']}, fees {summary['fees_quote']}"
        console.print(Text(total))
    console.print(Text("Files:"))
    for name in ("csv", "database", "report"):
        console.print(Text(f"  {name:9}{summary[name]}"), soft_wrap=True)
    console.print(Text(f"  again:   autohedge replay {summary['run_id']}{_out_option(summary)}"), soft_wrap=True)


def _out_option(summary: dict[str, Any]) -> str:
    """The option that finds the run's ledger again, where it is not in the default folder."""
    folder = str(Path(summary["database"]).parent)
    return "" if folder == DEFAULT_OUT else f" --out {shlex.quote(folder)}"


def _about_the_model(summary: dict[str, Any]) -> str:
    decisions = summary["decisions"]
    if summary["model"] is None:
        return f"No model was used: all {decisions['total']} decisions are rules. Name one with --model NAME [--base-url URL]."
    sources = ", ".join(f"{name} {count}" for name, count in sorted(decisions["by_source"].items()))
    share = f"{decisions['model_driven']} of {decisions['total']}"
    return f"{share} decisions were model-driven ({sources}); model {summary['model']}."


def _decisions_table(summary: dict[str, Any]) -> Table:
    table = Table(title="Decisions", title_justify="left", expand=False)
    for column in ("agent", "source", "code", "times"):
        table.add_column(column, no_wrap=True)
    table.add_column("last reason", overflow="fold")
    for row in summary["decisions_by_role"]:
        table.add_row(row["role"], row["source"], row["reason_code"], str(row["count"]), Text(shortened(row["last_reason"])))
    return table


def _cycles_table(summary: dict[str, Any]) -> Table:
    table = Table(title="Mandates over time", title_justify="left", expand=False)
    for column in ("time (UTC)", "symbol", "outcome", "source", "spread x", "bias", "size x", "until"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for row in summary["mandates"]:
        given = "mandate_id" in row
        table.add_row(
            clock_text(int(row["ts_ns"])),
            row["symbol"],
            row["outcome"],
            row.get("source", "-"),
            f"{row['spread_multiplier']:.3f}" if given else "-",
            f"{row['inventory_bias']:+.3f}" if given else "-",
            f"{row['size_multiplier']:.2f}" if given else "-",
            clock_text(int(row["valid_until_ns"]))[11:] if given else "-",
            Text(shortened(row["reason"])),
        )
    return table


def _symbol_table(symbol: str, lane: dict[str, Any]) -> Table:
    table = Table(title=f"{symbol}{' (simulated)' if lane['simulated'] else ''}", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("value", overflow="fold")
    orders, pnl = lane["orders"], lane["pnl"]
    rows = {
        "market": f"{lane['market']}: {lane['messages']:,} messages, {lane['events']:,} rows",
        "orders": ", ".join(f"{count:,} {name}" for name, count in orders.items())
        + _why("denied", lane["denied_by"])
        + _why("rejected", lane["rejected_by"]),
        "quotes": f"bid up {lane['quote_uptime_frac']['bid']:.1%} of the time, ask {lane['quote_uptime_frac']['ask']:.1%}"
        + _why("withheld", lane["withheld_by"]),
        "fills": f"{lane['fills']:,}, volume {lane['volume_quote']}, fees {lane['fees_quote']}",
        "inventory": f"{lane['inventory']['base']} base, {lane['inventory']['quote']} quote"
        + (f", dust {lane['dust_base']}" if lane["dust_base"] != "0" else ""),
        "value": f"{lane['start_value']} -> {lane['final_value']} at last price {lane['last_price']}",
        "PnL": f"{pnl['total']} = spread captured {pnl['spread_captured']} + adverse selection (1 s) "
        f"{pnl['adverse_selection_1s']} + inventory {pnl['inventory']} + fees {pnl['fees']}",
        "realised": f"{lane['realized_pnl']}, unrealised {lane['unrealized_pnl']}, "
        f"max drawdown {lane['max_drawdown_frac']:.4%}",
        "mark-out": ", ".join(f"{h} {bps:+.2f} bps" for h, bps in lane["mark_out_bps"].items() if bps is not None) or "-",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _why(word: str, reasons: dict[str, int]) -> str:
    if not reasons:
        return ""
    told = ", ".join(f"{name} {count}" for name, count in sorted(reasons.items(), key=lambda item: -item[1]))
    return f" ({word}: {told})"
