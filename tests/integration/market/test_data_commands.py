"""`autohedge data` from its options to its exit code: over a socket, from files, and what it says of bad data."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autohedge.cli.data import app
from autohedge.cli.errors import told_plainly
from autohedge.market.candle_store import CandleSeries, CandleStore
from autohedge.market.candles import in_floats
from autohedge.market.timeframes import Timeframe
from tests.integration.market.klines_server import Fault, Venue, serving
from tests.unit.market.candle_tables import MIDNIGHT_NS, walk

M1, D1 = Timeframe.M1, Timeframe.D1
BTC = CandleSeries("binance", "BTC/USDT", M1)
SPAN = ("--since", "2024-10-04", "--until", "2024-10-05")
TABLE = walk(2_000)

NVDA = """Date,Open,High,Low,Close,Adj Close,Volume
2024-07-01,123.47,124.84,118.83,124.30,124.28,284885500
2024-07-02,121.13,123.41,121.03,122.67,122.65,218374000
2024-07-03,121.66,128.28,121.36,128.28,128.26,215749000
2024-07-05,127.38,128.85,125.68,125.83,125.81,214176700
2024-07-08,127.49,130.77,127.04,128.20,128.18,237677300
"""


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: Any
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `autohedge data …` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["data", *map(str, arguments)])
        code: Any = 0
        try:
            with told_plainly():
                app()
        except SystemExit as ended:
            code = ended.code or 0
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def venue() -> Iterator[Venue]:
    with serving(Venue({"BTCUSDT": TABLE, "ETHUSDT": walk(2_000, seed=2)})) as venue:
        yield venue


# --- download and list ----------------------------------------------------------------------------------------------------


def test_a_download_fills_the_store_and_the_next_one_asks_for_nothing(venue: Venue, data: Callable[..., Ended]) -> None:
    done = data("download", "BTC/USDT", *SPAN, "--base-url", venue.url)
    assert done.code == 0, done.err
    assert "1,440 candles received, 1,440 new" in done.out
    assert CandleStore().read(BTC).equals(TABLE[:1_440])
    asked = len(venue.requests)
    again = data("download", "BTC/USDT", *SPAN, "--base-url", venue.url, "--json")
    assert (again.json[0]["received"], len(venue.requests)) == (0, asked)
    assert again.json[0]["start_ns"] == str(MIDNIGHT_NS)


def test_several_symbols_are_fetched_and_one_that_fails_does_not_touch_the_others(
    venue: Venue, data: Callable[..., Ended]
) -> None:
    done = data("download", "BTC/USDT", "DOGS/USDT", "ETH/USDT", *SPAN, "--base-url", venue.url, "--timeframe", "1m", "--json")
    assert [each["symbol"] for each in done.json] == ["BTC/USDT", "ETH/USDT"]
    assert done.code == 2
    assert "does not know the symbol DOGS/USDT" in done.err
    listed = data("list", "--json").json
    assert [(each["venue"], each["symbol"], each["timeframe"], each["candles"]) for each in listed] == [
        ("binance", "BTC/USDT", "1m", 1_440), ("binance", "ETH/USDT", "1m", 1_440),
    ]  # fmt: skip


def test_holes_of_the_venue_are_told_by_download_list_and_check(venue: Venue, data: Callable[..., Ended]) -> None:
    venue.candles["BTCUSDT"] = TABLE.filter(~pl.col("ts_ns").is_in(TABLE["ts_ns"][10:15].implode()))
    assert (
        "gaps: 1 (5 candles), the first from 2024-10-04 00:10:00"
        in data("download", "BTC/USDT", *SPAN, "--base-url", venue.url).out
    )
    [listed] = data("list", "--json").json
    hole = {"start_ns": str(TABLE["ts_ns"][10]), "end_ns": str(TABLE["ts_ns"][15]), "missing": 5}
    assert (listed["gaps"], listed["venue_gaps"]) == ([], [hole])
    checked = data("check")
    assert checked.code == 0
    assert "venue_gap" in checked.out
    assert "1 (5 candles)" in data("list").out


def test_candles_that_came_otherwise_before_are_told(venue: Venue, data: Callable[..., Ended], tmp_path: Path) -> None:
    in_floats(TABLE[:3].with_columns(volume=pl.lit(7.5))).write_csv(tmp_path / "old.csv")
    data("download", "BTC/USDT", "--from", tmp_path / "old.csv")
    done = data("download", "BTC/USDT", *SPAN, "--base-url", venue.url)
    assert "3 replaced" in done.out
    assert "2024-10-04 00:00:00 came again otherwise: was " in done.out
    assert ", 7.5; kept " in done.out


def test_a_venue_that_fails_ends_in_one_line_and_keeps_what_came(venue: Venue, data: Callable[..., Ended]) -> None:
    venue.faults = [None, Fault(403, body=b"no more")]
    done = data("download", "BTC/USDT", *SPAN, "--base-url", venue.url)
    assert done.code == 1
    assert done.err == "autohedge: 127.0.0.1 answered 403: no more\n"
    assert CandleStore().read(BTC).height == 1_000


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("BTC/USDT", "--since", "soon"), "expected a date such as 2025-05-20, or 30d"),
        (("BTC/USDT", "--timeframe", "7m"), "expected a timeframe of 1m, 5m"),
        (("BTC/USDT", "--venue", "moon"), "candles can be downloaded from binance, found moon"),
        (("BTC/USDT", "--time-unit", "ms"), "about a file; name it with --from"),
        (("BTC/USDT", "--column", "time"), "expected --column OURS=THEIRS"),
        (("BTC/USDT", "--base-url", "moon"), "expected an address such as"),
        (("BTC/USDT", "--since", "2099-01-01"), "no candle has opened and closed"),
        (("btc/usdt",), "in capitals and with its slash, found 'btc/usdt'"),
        (("BTCUSDT",), "in capitals and with its slash, found 'BTCUSDT'"),
        (("A/B", "C/D", "--from", "x.csv"), "--from takes one file"),
        (("A/B", "--from", "x.csv"), "no such file"),
    ],
)
def test_a_mistake_ends_in_one_line_and_2(arguments: tuple[str, ...], why: str, data: Callable[..., Ended]) -> None:
    done = data("download", *arguments)
    assert done.code == 2
    assert why in done.err
    assert done.err.count("\n") == 1
    assert not Path("candles").exists()


def test_nothing_stored_is_said(data: Callable[..., Ended]) -> None:
    assert "no candles in candles; fetch some with: autohedge data download" in data("list").out
    assert data("list", "--json").json == []
    done = data("check")
    assert (done.code, "candles: nothing here" in done.err) == (2, True)


# --- files ----------------------------------------------------------------------------------------------------------------


def test_stocks_come_from_a_file_by_the_exchanges_sessions(data: Callable[..., Ended], tmp_path: Path) -> None:
    """The file as data sites give it: a holiday and a weekend are no gaps."""
    (tmp_path / "nvda.csv").write_text(NVDA)
    done = data("download", "NVDA", "--from", "nvda.csv")
    assert (done.code, done.err) == (0, "")
    [listed] = data("list", "--json").json
    assert (listed["venue"], listed["symbol"], listed["timeframe"], listed["candles"]) == ("stocks", "NVDA", "1d", 5)
    assert (listed["calendar"], listed["gaps"]) == ("XNYS", [])
    assert data("check").code == 0
    close = CandleStore().read(CandleSeries("stocks", "NVDA", D1))["close"]
    assert [f"{price.normalize():f}" for price in close] == ["124.3", "122.67", "128.28", "125.83", "128.2"]


def test_a_file_with_faults_is_shown_and_not_stored(data: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "nvda.csv").write_text(NVDA.replace("2024-07-05", "2024-07-06").replace("128.28,121.36", "NaN,121.36"))
    checked = data("check", "nvda.csv", "--calendar", "XNYS")
    assert checked.code == 1
    for kind in ("nan", "out_of_session", "gap"):
        assert kind in checked.out
    done = data("download", "NVDA", "--from", "nvda.csv")
    assert (done.code, done.out) == (2, "")
    assert "out_of_session" in done.err
    assert "nvda.csv: not stored, because of the errors above" in done.err
    assert not Path("candles").exists()


def test_a_file_in_milliseconds_is_named_and_read_once_that_is_said(data: Callable[..., Ended], tmp_path: Path) -> None:
    in_floats(TABLE).with_columns(pl.col("ts_ns") // 10**6).rename({"ts_ns": "when"}).write_csv(tmp_path / "ms.csv")
    checked = data("check", "ms.csv", "--column", "time=when", "--json")
    assert checked.code == 1
    [report] = checked.json["reports"]
    assert [(found["kind"], found["count"]) for found in report["findings"]] == [("time_unit", 2_000)]
    assert (checked.json["ok"], report["ok"]) == (False, False)
    checked = data("check", "ms.csv", "--column", "time=when", "--time-unit", "ms", "--json")
    assert (checked.code, checked.json["reports"][0]["findings"]) == (0, [])
    assert checked.json["reports"][0]["first_ns"] == str(MIDNIGHT_NS)


def test_a_store_a_series_and_a_month_can_be_checked(venue: Venue, data: Callable[..., Ended]) -> None:
    data("download", "BTC/USDT", "ETH/USDT", *SPAN, "--base-url", venue.url)
    folder = CandleStore().folder(BTC)
    month = folder / "2024-10.parquet"
    for target, count in (((), 2), (("candles",), 2), ((folder,), 1), ((month,), 1), (("--symbol", "ETH/USDT"), 1)):
        checked = data("check", *target, "--json")
        assert (checked.code, len(checked.json["reports"])) == (0, count), target
    assert data("check", "--symbol", "XRP/USDT").code == 2
    assert "leave these options out" in data("check", "--time-unit", "ms").err


# --- recordings -----------------------------------------------------------------------------------------------------------


def test_a_simulated_market_is_recorded_checked_recorded_again_and_made_into_candles(data: Callable[..., Ended]) -> None:
    made = data("record", "--to", "sim", "--duration", "3m", "--json").json
    assert (made["symbol"], made["simulated"]) == ("BTC/USDT", True)
    assert made["events"] > 500
    checked = data("check", "sim", "--json")
    assert (checked.code, checked.json["reports"][0]["rows"]) == (0, made["rows"])
    again = data("record", "--market", "replay:sim", "--to", "copy", "--json").json
    assert {name: again[name] for name in ("events", "rows", "first_ns", "last_ns")} == {
        name: made[name] for name in ("events", "rows", "first_ns", "last_ns")
    }
    assert "again with --market replay:cut" in data("record", "--to", "cut", "--market", "replay:sim", "--duration", "1m").out
    done = data("download", "BTC/USDT", "--from", "copy", "--json")
    assert (done.code, done.json[0]["venue"], done.json[0]["added"]) == (0, "sim", 1)
    refused = data("record", "--to", "sim")
    assert (refused.code, "already has a recording" in refused.err) == (2, True)
    assert data("record", "--to", "x", "--market", "moon").code == 2


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_download_that_is_stopped_keeps_what_it_has(stop: signal.Signals, venue: Venue, tmp_path: Path) -> None:
    venue.page_candles = 200
    venue.faults = [None, None, Fault(503, {"Retry-After": "100"}, b"")]
    code = "from autohedge.cli.data import app; app()"
    command = [sys.executable, "-c", code, "download", "BTC/USDT", *SPAN, "--base-url", venue.url]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert all(venue.arrivals.acquire(timeout=30) for _ in range(3))
    process.send_signal(stop)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.splitlines() == ["autohedge: stopped; what was received is stored, and the same command goes on from there"]
    assert CandleStore(tmp_path / "candles").read(BTC).equals(TABLE[:400])
