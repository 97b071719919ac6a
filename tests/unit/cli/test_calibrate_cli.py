"""`autohedge calibrate` from its words to its exit code, on a recording of a market whose parameters are known."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from autohedge.cli.calibrate import calibrate
from autohedge.cli.errors import told_plainly
from autohedge.domain.market_data import MarketEvent, Trade
from autohedge.market.instruments import simulated_instrument
from autohedge.market.recorder import Recorder
from tests.unit.backtest.taker_market import taker_market

Command = Callable[..., Result]


def record(folder: Path, events: Sequence[MarketEvent]) -> Path:
    """A recording of these events."""
    recorder = Recorder(folder, simulated_instrument("BTC/USDT"))
    for event in events:
        recorder.write(event)
    recorder.close()
    return folder


@pytest.fixture(scope="module")
def market() -> list[MarketEvent]:
    """Half an hour with σ = 12 ticks/√s, A = 0.8/s a side, k = 0.06/tick."""
    return taker_market(7, sigma=12.0, a=0.8, k=0.06, seconds=1_800)


@pytest.fixture(scope="module")
def recording(market: list[MarketEvent], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recording"), market)


@pytest.fixture
def command() -> Command:
    """The command behind the command line's own handling of errors."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(calibrate)

    @app.callback(invoke_without_command=False)
    def root() -> None:
        """So that the command keeps its name."""

    def run(*arguments: str) -> Result:
        runner = CliRunner()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["autohedge", "calibrate", *arguments])
            return runner.invoke(_plainly(app), ["calibrate", *arguments])

    return run


def _plainly(app: typer.Typer) -> typer.Typer:
    return app


def test_the_numbers_their_intervals_and_settings_that_can_be_pasted(command: Command, recording: Path) -> None:
    """What is printed last is a [maker] table; above it value, interval and unit of each number, and what speaks against them."""
    with told_plainly():
        done = command(str(recording))
    assert done.exit_code == 0, done.output
    for said in ("BTC/USDT (simulated): one tick is 0.01 USDT", "ticks/sqrt(s)", "1/s, a side", "1/tick", "doubt: measured over"):
        assert said in done.stdout
    settings = tomllib.loads(done.stdout[done.stdout.index("[maker]") :])["maker"]
    assert settings["quoting_model"] == "glft"
    assert settings["intensity_decay_per_tick"] == pytest.approx(0.06, rel=0.25)
