"""`autohedge`: the command line's front door."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autohedge import __version__
from autohedge.cli.errors import EXIT_FAILED, told_plainly

app = typer.Typer(
    name="autohedge",
    help="A desk of LLM agents whose views steer a deterministic market maker that they cannot overrule.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"autohedge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A desk of LLM agents whose views steer a deterministic market maker that they cannot overrule."""


def _register() -> None:
    """Every noun brings its own commands."""
    from autohedge.cli.backtest import app as backtest
    from autohedge.cli.calibrate import calibrate
    from autohedge.cli.data import app as data
    from autohedge.cli.explain import explain_quote
    from autohedge.cli.graph import graph
    from autohedge.cli.optimise import optimise
    from autohedge.cli.replay import replay, replay_csv
    from autohedge.cli.run import run
    from autohedge.cli.runs import app as runs
    from autohedge.cli.schedule import schedule
    from autohedge.cli.serve import serve

    for command in (run, optimise, calibrate, replay, replay_csv, explain_quote, graph, schedule, serve):
        app.command(name=command.__name__.replace("_", "-"))(command)
    app.add_typer(runs, name="runs")
    app.add_typer(backtest, name="backtest")
    app.add_typer(data, name="data")


def main() -> None:
    """Run the command line; our own errors end in one line and an exit code."""
    _register()
    try:
        with told_plainly():
            app()
    except MemoryError:
        print("autohedge: out of memory", file=sys.stderr)
        raise SystemExit(EXIT_FAILED) from None
