"""What a person sees: all of it, and nothing that data could turn into formatting or a crash."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autohedge.bootstrap import prepare
from autohedge.cli import render
from autohedge.cli.render import LiveProgress, clock_text, print_report, shortened
from autohedge.session import Progress
from autohedge.settings import build_settings


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The summary of a short run of two symbols."""
    settings = build_settings(
        {
            "symbols": ("BTC/USDT", "ETH/USDT"),
            "out_dir": tmp_path_factory.mktemp("out"),
            "desk": {"cycles": 2, "every_s": 20},
            "maker": {"min_profit_threshold": "none"},
        }
    )
    return asyncio.run(prepare(settings).start().drive())


def test_the_report_tells_everything_there_is_to_tell(summary: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Decisions with source and reason, mandates over time, quotes, fills, inventory, fees, the split of the PnL, the files."""
    print_report(summary)
    shown = capsys.readouterr().out
    for words in (
        f"Run {summary['run_id']}: BTC/USDT, ETH/USDT on sim (simulated)",
        "No model was used: all 16 decisions are rules",
        "Mandates over time",
        "risk_manager",
        "no_model",
        "quotes",
        "withheld:",
        "inventory",
        "spread captured",
        "adverse selection",
        "fees",
        "mark-out",
        "Together: start 10000",
        summary["csv"],
        summary["database"],
        f"autohedge replay {summary['run_id']} --out {Path(summary['database']).parent}",
    ):
        assert words in shown, words
    for symbol in ("BTC/USDT", "ETH/USDT"):
        assert f"{symbol} (simulated)" in shown


def test_the_way_to_do_it_again_needs_no_option_in_the_default_folder(
    summary: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """outputs is where replay looks by itself; a folder with a space is quoted."""
    print_report(summary | {"database": "outputs/autohedge.db"})
    assert f"autohedge replay {summary['run_id']}\n" in capsys.readouterr().out
    print_report(summary | {"database": "my runs/autohedge.db"})
    assert f"autohedge replay {summary['run_id']} --out 'my runs'\n" in capsys.readouterr().out


def test_data_is_never_taken_for_formatting(summary: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in a path, a reason or a corrupt line are shown as they are; a closing tag does not crash the report."""
    evil = "[/bold] [red]x[/red] [link=http://x]"
    lane = summary["per_symbol"]["BTC/USDT"]
    quality = lane["data_quality"] | {"corrupt": 1, "examples": [f"a.jsonl:3: not JSON: {evil}"]}
    bent = lane | {"data_quality": quality, "market": evil, "why_no_fills": evil}
    mandates = [summary["mandates"][0] | {"reason": evil}]
    roles = [summary["decisions_by_role"][0] | {"last_reason": evil}]
    print_report(
        summary
        | {
            "market": f"replay:{evil}",
            "model": evil,
            "csv": evil,
            "per_symbol": {"BTC/USDT": bent},
            "mandates": mandates,
            "decisions_by_role": roles,
        }
    )
    assert capsys.readouterr().out.count(evil) >= 6


def test_progress_goes_to_standard_error_and_only_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In a pipe nothing moves; on a terminal one line does, and standard output stays clean for --json."""
    plan = prepare(build_settings({"out_dir": tmp_path}))
    told = Progress(market_ns=1_704_067_260_000_000_000, messages=1_234, cycles=2, orders=7, fills=1)
    with LiveProgress(plan) as progress:
        progress.update(told)
    assert capsys.readouterr() == ("", "")
    screen = io.StringIO()
    monkeypatch.setattr(render, "Console", lambda **options: Console(file=screen, force_terminal=options["stderr"], width=120))
    with LiveProgress(plan) as progress:
        progress.update(told)
    assert "simulated market  2024-01-01 00:01:00  1,234 messages  2 cycles  7 orders  1 fills" in screen.getvalue()
    assert capsys.readouterr().out == ""
    narrow = io.StringIO()
    monkeypatch.setattr(render, "Console", lambda **options: Console(file=narrow, force_terminal=True, width=40))
    with LiveProgress(plan) as progress:
        progress.update(told)
    assert "…" in narrow.getvalue() and "fills" not in narrow.getvalue(), "one line, however narrow the terminal"


def test_small_words() -> None:
    """Times to the second in UTC; a long reason ends in an ellipsis."""
    assert clock_text(1_723_161_253_937_085_768) == "2024-08-08 23:54:13"
    assert shortened("x" * 60) == "x" * 60 and shortened("x" * 61) == "x" * 59 + "…"
