"""`AutoHedge` as a user of the library meets it: what goes in, what comes back, what is written, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autohedge import AutoHedge
from autohedge.errors import ConfigError, LlmShareTooLow, MarketDataError, ModelUnavailable
from autohedge.storage.database import open_database
from autohedge.storage.runs import list_runs
from autohedge.testing import GoodAnswers, ScriptedModel

LOG_KEYS = {"id", "current_stock", "thesis", "quant", "risk_assessment", "order", "decision", "timestamp"}
QUICK: dict[str, Any] = {"cycles": 1, "every": "10s"}


def test_one_log_per_symbol_with_the_familiar_keys(tmp_path: Path) -> None:
    """The default output: a list, in the order of the symbols, each with every promised key and plain data in it."""
    hedge = AutoHedge(stocks=["ETH/USDT", "BTC/USDT"], output_dir=tmp_path, **QUICK)
    logs = hedge.run(task="Make a market.")
    assert isinstance(logs, list) and logs is hedge.logs
    assert [log["current_stock"] for log in logs] == ["ETH/USDT", "BTC/USDT"]
    for log in logs:
        assert log.keys() >= LOG_KEYS
        assert log["thesis"]["symbol"] == log["risk_assessment"]["symbol"] == log["current_stock"]
        assert log["decision"]["outcome"] == "proposal" and set(log["decision"]["sources"].values()) <= {"rules", "abstained"}
        assert 1.0 <= log["order"]["mandate"]["spread_multiplier"] <= 3.0
        assert log["simulated"] is True
        assert datetime.fromisoformat(log["timestamp"]).tzinfo is not None
        json.dumps(log)
    assert len({log["id"] for log in logs}) == 2


def test_the_whole_run_as_a_dict_and_the_same_as_text(tmp_path: Path) -> None:
    """output_type dict and str: name, task, every cycle's logs and the summary; money in decimal strings."""
    about = {"name": "Fund", "description": "Two cycles", "strategy": "Stay small.", "output_dir": tmp_path}
    whole = AutoHedge(stocks=["BTC/USDT"], output_type="dict", cycles=2, every="10s", **about).run(task="Quote.")
    assert isinstance(whole, dict)
    assert (whole["name"], whole["description"], whole["stocks"]) == ("Fund", "Two cycles", ["BTC/USDT"])
    assert whole["task"] == "Stay small.\nQuote."
    assert len(whole["logs"]) == whole["summary"]["cycles"] == 2
    Decimal(whole["summary"]["final_value"])
    text = AutoHedge(stocks=["BTC/USDT"], output_type="str", cycles=2, every="10s", **about).run(task="Quote.")
    assert isinstance(text, str)
    again = json.loads(text)
    assert again.keys() == whole.keys()
    assert again["logs"][0]["thesis"] == whole["logs"][0]["thesis"]
    assert again["id"] != whole["id"]


def test_each_run_leaves_its_files(tmp_path: Path) -> None:
    """One folder per run with analysis.json and report.json, and a row in the ledger that says library."""
    hedge = AutoHedge(output_dir=tmp_path, output_type="dict", **QUICK)
    first, second = hedge.run(), hedge.run(task="Again.")
    assert isinstance(first, dict) and isinstance(second, dict)
    for whole in (first, second):
        folder = tmp_path / whole["id"]
        assert json.loads((folder / "analysis.json").read_bytes()) == json.loads(json.dumps(whole))
        report = json.loads((folder / "report.json").read_bytes())
        assert report["run_id"] == whole["id"] and report["drained"] is True
        assert Path(report["csv"]).exists() and Path(report["database"]) == tmp_path / "autohedge.db"
    engine = open_database(tmp_path / "autohedge.db")
    assert [(run.kind.value, run.status.value) for run in list_runs(engine)] == [("library", "finished")] * 2
    engine.dispose()


async def test_arun_awaits_and_run_in_a_loop_says_what_to_do(tmp_path: Path) -> None:
    """Inside a running loop `run` refuses in one line, writing nothing; `arun` is the way."""
    hedge = AutoHedge(output_dir=tmp_path / "out", **QUICK)
    with pytest.raises(ConfigError, match=r"await hedge\.arun\(task\)"):
        hedge.run()
    assert not (tmp_path / "out").exists()
    logs = await hedge.arun()
    assert [log["current_stock"] for log in logs] == ["BTC/USDT"]  # type: ignore[index]


def test_strategy_and_task_reach_the_model(tmp_path: Path) -> None:
    """Both are in what is asked of the agents, strategy first; without a task the standing one follows the strategy."""
    model = ScriptedModel(GoodAnswers())
    hedge = AutoHedge(
        output_dir=tmp_path, strategy="Prefer small inventories.", model="any", model_client=model, output_type="dict", **QUICK
    )
    whole = hedge.run(task="Lean long until noon.")
    assert isinstance(whole, dict)
    assert whole["summary"]["decisions"]["by_source"].keys() == {"llm"} and whole["summary"]["model"] == "any"
    said = "\n".join(message["content"] for message in model.requests[0].messages)
    assert said.index("Prefer small inventories.") < said.index("Lean long until noon.")
    model.requests.clear()
    hedge.run()
    said = "\n".join(message["content"] for message in model.requests[0].messages)
    assert said.index("Prefer small inventories.") < said.index("Make a market around a fair price")
    assert "Lean long" not in said


def test_your_own_client_stays_open_and_yours(tmp_path: Path) -> None:
    """A client given by the caller serves any number of runs and is never closed by one."""

    class Counted(ScriptedModel):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    model = Counted(GoodAnswers())
    hedge = AutoHedge(output_dir=tmp_path, model="any", model_client=model, **QUICK)
    for _ in range(2):
        assert hedge.run()[0]["decision"]["sources"]["execution_agent"] == "llm"  # type: ignore[index]
    assert model.closed == 0


def test_a_model_that_fails_for_one_symbol_costs_the_other_nothing(tmp_path: Path) -> None:
    """The rules stand in for the one, the other's decisions are the model's, and both logs say which."""

    def answer(request: Any) -> Any:
        if "AAA/USDT" in request.messages[-1]["content"]:
            return ModelUnavailable("bad_request", "not for this one", retryable=False)
        return GoodAnswers()(request)

    hedge = AutoHedge(
        stocks=["AAA/USDT", "BBB/USDT"], output_dir=tmp_path, model="any", model_client=ScriptedModel(answer), **QUICK
    )
    ill, well = hedge.run()
    assert set(ill["decision"]["sources"].values()) <= {"rules", "abstained"}
    assert set(well["decision"]["sources"].values()) <= {"llm", "abstained"}


def test_a_share_that_is_not_reached_fails_the_run_and_keeps_its_files(tmp_path: Path) -> None:
    """require_llm_frac: LlmShareTooLow, the ledger says failed, and the logs are there to see why."""
    hedge = AutoHedge(output_dir=tmp_path, settings={"desk": {"require_llm_frac": 0.5}}, **QUICK)
    with pytest.raises(LlmShareTooLow, match="0 of 4 decisions were model-driven"):
        hedge.run()
    assert len(hedge.logs) == 1
    engine = open_database(tmp_path / "autohedge.db")
    (run,) = list_runs(engine)
    engine.dispose()
    assert run.status.value == "failed" and "model-driven" in run.note
    assert (run.folder / "analysis.json").exists()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a text for a list": ({"stocks": "BTC/USDT"}, r"write \['BTC/USDT'\]"),
    "no symbol": ({"stocks": []}, "at least one symbol"),
    "twice": ({"stocks": ["BTC/USDT", "BTC/USDT"]}, "twice"),
    "output type": ({"output_type": "xml"}, "list, dict or str"),
    "market": ({"market": "mars"}, "sim, replay:PATH or candles:PATH"),
    "cycles": ({"cycles": -1}, "cycles"),
    "cycles of another kind": ({"cycles": "many"}, "cycles"),
    "every": ({"every": "soon"}, "duration"),
    "seed": ({"seed": -1}, "seed"),
    "unknown setting": ({"settings": {"maker": {"spred": 1}}}, "spred"),
    "unknown section": ({"settings": {"makers": {}, "x": 1}}, "not a setting"),
    "look-ahead": ({"settings": {"maker": {"latency_ms": 0}}}, "look-ahead"),
    "url without model": ({"base_url": "http://127.0.0.1:1/v1"}, "model"),
    "client without model": ({"model_client": ScriptedModel(GoodAnswers())}, "name it: model="),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_told_at_once_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    """ConfigError from the constructor, in one line."""
    arguments, told = WRONG[name]
    with pytest.raises(ConfigError, match=told) as caught:
        AutoHedge(output_dir=tmp_path / "out", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


LATER: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a hostile symbol": ({"stocks": ["../../etc"]}, ConfigError, "symbol"),
    "currencies": ({"stocks": ["BTC/USDT", "ETH/EUR"]}, ConfigError, "EUR and USDT"),
    "no recording": ({"market": "replay:nowhere"}, MarketDataError, "nowhere"),
    "no key": ({"model": "gpt-4.1"}, ConfigError, "OPENAI_API_KEY"),
    "too small": ({"settings": {"maker": {"total_capital": 100}}}, ConfigError, "minimum"),
    "unwritable": ({"output_dir": "/proc/nowhere"}, ConfigError, "/proc"),
}


@pytest.mark.parametrize("name", LATER)
def test_what_only_the_world_can_refuse_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The same for what is known when the run begins."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    arguments, kind, told = LATER[name]
    hedge = AutoHedge(**{"output_dir": tmp_path / "out", **arguments})
    with pytest.raises(kind, match=told):
        hedge.run()
    assert not (tmp_path / "out").exists()


def test_settings_are_the_floor_and_arguments_win(tmp_path: Path) -> None:
    """Whatever the TOML file may say can be said in `settings`; what is given as an argument wins over it."""
    base = {"seed": 3, "symbols": ["ETH/USDT"], "desk": {"cycles": 4, "every_s": 7}, "out_dir": str(tmp_path / "a")}
    alone = AutoHedge(settings=base).settings
    assert (alone.seed, alone.symbols, alone.desk.cycles, alone.desk.every_s) == (3, ("ETH/USDT",), 4, 7)
    assert alone.out_dir == tmp_path / "a"
    won = AutoHedge(["BTC/USDT"], settings=base, seed=5, cycles=2, every="9s", output_dir=tmp_path / "b").settings
    assert (won.seed, won.symbols, won.desk.cycles, won.desk.every_s) == (5, ("BTC/USDT",), 2, 9)
    assert won.out_dir == tmp_path / "b"
    assert AutoHedge().settings.desk.cycles == 1


def test_two_instances_share_nothing(tmp_path: Path) -> None:
    """Neither settings nor logs nor ids: each does what it would do alone, and in its own folder."""
    one = AutoHedge(["BTC/USDT"], output_dir=tmp_path / "1", output_type="dict", seed=1, **QUICK)
    two = AutoHedge(["ETH/USDT"], output_dir=tmp_path / "2", output_type="dict", seed=2, strategy="Wide.", **QUICK)
    first, second = one.run("A"), two.run("B")
    alone = AutoHedge(["BTC/USDT"], output_dir=tmp_path / "3", output_type="dict", seed=1, **QUICK).run("A")
    assert isinstance(first, dict) and isinstance(second, dict) and isinstance(alone, dict)
    assert (first["task"], second["task"]) == ("A", "Wide.\nB")
    for whole in (first, alone):
        for name in ("id", "csv", "database", "report"):
            whole["summary"].pop(name, None)
        whole["summary"].pop("run_id")
        whole.pop("id")
        for log in whole["logs"]:
            log["id"] = log["id"].split("/", 1)[1]
    assert first == alone
    assert one.logs[0]["current_stock"] == "BTC/USDT" and two.logs[0]["current_stock"] == "ETH/USDT"


def test_the_familiar_names_are_where_they_were() -> None:
    """Users of the earlier AutoHedge import these from the top, and find these methods."""
    import autohedge

    names = ("AutoHedge", "TradingDirector", "QuantAnalyst", "RiskManager", "ExecutionAgent")
    names += ("MarketMaker", "MarketMakingConfig", "MarketData")
    for name in names:
        assert isinstance(getattr(autohedge, name), type) and name in autohedge.__all__
    for owner, method in (
        (autohedge.TradingDirector, "generate_thesis"),
        (autohedge.QuantAnalyst, "analyze"),
        (autohedge.RiskManager, "assess_risk"),
        (autohedge.ExecutionAgent, "generate_order"),
        (autohedge.TradingDirector, "make_decision"),
        (autohedge.MarketMaker, "market_making_strategy"),
        (autohedge.MarketMaker, "simulate_order"),
        (autohedge.MarketMaker, "calculate_order_size"),
    ):
        assert callable(getattr(owner, method))


def test_nothing_is_frozen_at_import() -> None:
    """Defect: a clock read, or an id made, when the module is imported. Time that passes after the import is seen."""
    code = """
import time
real = time.time_ns
import autohedge.hedge, autohedge.maker, autohedge.bootstrap, autohedge.desk.desk, autohedge.storage.ledger
import tempfile, pathlib, re
from datetime import UTC, datetime
from autohedge import AutoHedge
seen = []
for day in (1, 200):
    time.time_ns = lambda: real() + day * 86_400 * 10**9
    whole = AutoHedge(output_dir=tempfile.mkdtemp(), output_type="dict", cycles=1, every="5s").run()
    then = datetime.fromtimestamp(time.time_ns() // 10**9, UTC)
    assert whole["id"].startswith(f"{then:%Y%m%d}"), (whole["id"], then)
    assert whole["timestamp"].startswith("2024-01-01"), "market time is the market's, not the wall's"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_cancelled_run_is_drained_recorded_as_interrupted_and_replays(tmp_path: Path) -> None:
    """Cancelling the task of `arun` leaves a ledger that says so and a stream that comes out again."""
    import asyncio

    from autohedge.rerun import rerun

    asked = asyncio.Event()

    async def hang() -> None:
        await asyncio.Event().wait()

    class Hangs(ScriptedModel):
        async def complete(self, request: Any) -> Any:
            if len(self.requests) >= 8:
                asked.set()
                await hang()
            return await super().complete(request)

    hedge = AutoHedge(output_dir=tmp_path, model="any", model_client=Hangs(GoodAnswers()), cycles=50, every="5s")
    running = asyncio.ensure_future(hedge.arun())
    await asyncio.wait_for(asked.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    engine = open_database(tmp_path / "autohedge.db")
    (run,) = list_runs(engine)
    engine.dispose()
    assert run.status.value == "interrupted" and run.summary is not None and run.summary["interrupted"] is True
    assert run.summary["cycles"] == 2
    result = await rerun(tmp_path, run.run_id)
    assert result.equal and not result.cut_short
