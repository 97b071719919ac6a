"""Runs and health over a real socket."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autohedge.bootstrap import Run, prepare
from autohedge_api import app
from tests.integration.api.serving import GatedDesk, served, settings_of


async def earlier_run(folder: Path) -> str:
    run = prepare(settings_of(folder), environ={}, desk=GatedDesk()).start()
    await run.session.open()
    await run.finish()
    return run.run_id


async def test_the_served_run_is_live_and_earlier_ones_come_from_the_ledger(tmp_path: Path) -> None:
    earlier = await earlier_run(tmp_path)
    async with served(tmp_path, desk=GatedDesk()) as it:
        live = (await it.http.get(f"/runs/{it.run.run_id}")).json()
        stored = (await it.http.get(f"/runs/{earlier}")).json()
    assert (live["live"], live["kind"], live["status"], live["simulated"]) == (True, "serve", "running", True)
    assert live["summary"]["run_id"] == it.run.run_id and live["summary"]["interrupted"] is False
    assert (stored["live"], stored["kind"], stored["status"]) == (False, "run", "finished")
    assert stored["run_id"] == earlier and stored["summary"]["run_id"] == earlier and stored["symbols"] == ["BTC/USDT"]


async def test_a_run_that_is_not_there_is_404_and_a_beginning_of_an_id_is_no_id(tmp_path: Path) -> None:
    earlier = await earlier_run(tmp_path)
    async with served(tmp_path, desk=GatedDesk()) as it:
        for unknown in (earlier[:-1], it.run.run_id[:-1], "x", "' OR 1=1 --"):
            answer = await it.http.get(f"/runs/{unknown}")
            assert answer.status_code == 404 and answer.json()["error"] == "unknown_run", unknown
            assert earlier not in answer.text, "an answer names no run that was not asked for"


async def test_a_ledger_that_cannot_be_read_is_503_and_the_live_summary_still_there(tmp_path: Path) -> None:
    earlier = await earlier_run(tmp_path)
    async with served(tmp_path, desk=GatedDesk()) as it:
        with closing(sqlite3.connect(it.run.database)) as database, database:
            database.execute("UPDATE runs SET symbols_json = 'not json' WHERE run_id = ?", (earlier,))
        database.close()
        broken = await it.http.get(f"/runs/{earlier}")
        live = await it.http.get(f"/runs/{it.run.run_id}")
    assert broken.status_code == 503 and broken.json()["error"] == "unavailable"
    assert live.status_code == 200


async def test_health_tells_nothing_of_the_market_or_of_money(tmp_path: Path) -> None:
    async with served(tmp_path, desk=GatedDesk()) as it:
        health = (await it.http.get("/health")).json()
    assert health == {
        "status": "ok",
        "reason": "",
        "run_id": it.run.run_id,
        "simulated": True,
        "queued": 0,
        "queue_size": 16,
        "running": False,
        "cycles_done": 0,
    }


async def test_a_defect_in_a_route_tells_nothing_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns that it was not their mistake, the operator's log has the trace, and the server goes on."""

    def broken(run: Run) -> None:
        raise ZeroDivisionError("a detail of the inside")

    monkeypatch.setattr(app, "inventory_view", broken)
    async with served(tmp_path, desk=GatedDesk()) as it:
        answer = await it.http.get("/inventory")
        assert (await it.http.get("/health")).json()["status"] == "ok"
    assert answer.status_code == 500 and answer.json()["error"] == "internal_error"
    assert "inside" not in answer.text
    assert "a detail of the inside" in caplog.text
