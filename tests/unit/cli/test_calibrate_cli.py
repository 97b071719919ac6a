"""`autohedge calibrate` from its words to its exit code, on recordings of a market whose parameters are known."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import typer

from autohedge.cli.calibrate import calibrate
from autohedge.cli.errors import told_plainly
from autohedge.domain.market_data import MarketEvent, Trade
from autohedge.market.instruments import simulated_instrument
from autohedge.market.recorder import Recorder
from autohedge.settings import build_settings
from tests.unit.backtest.taker_market import taker_market
from tests.unit.cli.conftest import Ended

Cli = Callable[..., Ended]


def record(folder: Path, events: Iterable[MarketEvent]) -> Path:
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
    return record(tmp_path_factory.mktemp("recorded"), market)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(calibrate)

    def run(*arguments: str | Path) -> Ended:
        code: object = 0
        try:
            with told_plainly():
                app([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code or 0
        captured = capsys.readouterr()
        return Ended(int(str(code)), captured.out, captured.err)

    return run


def test_numbers_with_intervals_and_units_and_settings_to_paste(cli: Cli, recording: Path) -> None:
    """What comes last is a [maker] table that the settings take; what speaks against the numbers is said above it."""
    done = cli(recording)
    assert (done.code, done.err) == (0, "")
    for said in (
        "BTC/USDT (simulated): one tick is 0.01 USDT",
        "ticks/sqrt(s)",
        "1/s, a side",
        "1/tick",
        "doubt: measured over",
    ):
        assert said in done.out
    pasted = tomllib.loads(done.out[done.out.index("[maker]") :], parse_float=str)
    assert float(pasted["maker"]["intensity_decay_per_tick"]) == pytest.approx(0.06, rel=0.25)
    maker = build_settings(pasted).maker
    assert maker.quoting_model == "glft"
    assert maker.arrival_rate_per_s == pytest.approx(0.8, rel=0.25)


def test_json_is_one_object_with_everything_in_it(cli: Cli, recording: Path) -> None:
    """Finite numbers, intervals by name, times as texts of nanoseconds; the same numbers whatever the form."""
    done = cli(recording, "--json", "--symbol", "BTC/USDT")
    assert (done.code, done.err) == (0, "") and done.out.count("\n") == 1
    found = done.json
    assert found["symbol"] == "BTC/USDT" and found["simulated"] is True and found["refusals"] == {}
    assert found["volatility"]["interval"]["low"] < 12.0 < found["volatility"]["interval"]["high"]
    assert found["intensity"]["a_interval"]["low"] < 0.8 < found["intensity"]["a_interval"]["high"]
    assert found["intensity"]["k_interval"]["low"] < 0.06 < found["intensity"]["k_interval"]["high"]
    assert found["arrival_rate_per_s"] == found["intensity"]["a"]
    assert found["intensity"]["points"][0].keys() == {"depth_ticks", "orders", "rate_per_s", "fitted_per_s"}
    assert int(found["last_ns"]) - int(found["first_ns"]) == pytest.approx(1_800e9, rel=0.01)
    assert found["settings"]["risk_aversion"] == pytest.approx(found["suggestion"]["risk_aversion"], rel=1e-3)


def test_the_options_change_what_they_name(cli: Cli, recording: Path) -> None:
    """Grid, range of depths and the choice behind risk_aversion."""
    plain = cli(recording, "--json").json
    chosen = cli(recording, "--json", "--grid", "5s", "--from-ticks", "3", "--to-ticks", "30", "--orders-to-mid", "5").json
    assert chosen["volatility"]["grid_s"] == 5
    depths = [point["depth_ticks"] for point in chosen["intensity"]["points"]]
    assert depths[0] == 3 and depths[-1] <= 30
    assert chosen["settings"]["risk_aversion"] > 2 * plain["settings"]["risk_aversion"]


def test_the_picture_is_written_and_named(cli: Cli, recording: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    done = cli(recording, "--html", "fit.html")
    assert done.code == 0 and "Picture: fit.html" in done.out
    assert "measured, in the fit" in (tmp_path / "fit.html").read_text(encoding="utf-8")
    nowhere = cli(recording, "--html", "nowhere/fit.html")
    assert nowhere.code == 2
    assert nowhere.err == "autohedge: --html nowhere/fit.html: expected a file in an existing folder\n"


def test_what_cannot_be_measured_is_refused_with_its_reason(cli: Cli, market: list[MarketEvent], tmp_path: Path) -> None:
    """Exit 2 and the reason; what could be measured is shown all the same, and there are no settings."""
    quiet = record(tmp_path / "quiet", (event for event in market if not isinstance(event, Trade)))
    done = cli(quiet)
    assert done.code == 2
    assert "sigma, volatility" in done.out and "[maker]" not in done.out
    assert done.err.startswith("autohedge: intensity refused: too_few_orders") and done.err.count("\n") == 1
    data = cli(quiet, "--json")
    assert data.code == 2
    assert data.json["settings"] is None and data.json["arrival_rate_per_s"] is None
    assert data.json["refusals"]["intensity"]["reason"] == "too_few_orders"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--grid", "soon"), "expected a duration above zero"),
        (("--from-ticks", "9", "--to-ticks", "3"), "expected 0 <= from < to"),
        (("--orders-to-mid", "0"), "expected 1 to 200 orders"),
        (("--symbol", "ETH/USDT"), "ETH/USDT"),
    ],
)
def test_a_mistake_is_told_in_one_line(cli: Cli, recording: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cli(recording, *arguments)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
    assert done.out == ""


def test_a_recording_that_is_not_there_is_told(cli: Cli) -> None:
    assert cli("nothing").err == "autohedge: nothing: no such file or folder; expected a recording\n"


def test_asking_for_help_loads_no_engine() -> None:
    """numpy, plotly and the backtest are loaded when something is measured."""
    code = "import sys; import autohedge.cli.calibrate; print(sorted({n.split('.')[0] for n in sys.modules}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "autohedge" in done.stderr
    assert not {"'numpy'", "'plotly'", "'numba'", "'polars'", "'rich'"} & set(done.stderr.strip("[]\n").split(", "))
