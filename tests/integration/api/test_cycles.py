"""Cycles over a real socket: asked for, queued, run one by one, and told of."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from loguru import logger

from autohedge.errors import InvariantBroken, MarketDataError, StorageError
from autohedge_api.app import create_app
from tests.integration.api.serving import GatedDesk, served, settings_of


async def test_a_cycle_of_the_rule_desk_is_run_and_told_with_its_reasons_and_mandate(tmp_path: Path) -> None:
    """202 and a Location at once; then every agent's decision with its source and reason, and the mandate after the clamp."""
    async with served(tmp_path) as it:
        before = (await it.http.get("/inventory")).json()["symbols"]["BTC/USDT"]
        asked = await it.start("Quote tightly.")
        assert asked.status_code == 202
        assert asked.json()["status"] in ("queued", "running")
        assert asked.headers["Location"] == f"/cycles/{asked.json()['id']}"
        job = await it.over(asked.json()["id"])
        after = (await it.http.get("/inventory")).json()["symbols"]["BTC/USDT"]
    assert job["status"] == "done" and job["reason"] == "" and job["task"] == "Quote tightly." and job["simulated"] is True
    assert int(job["queued_wall_ns"]) <= int(job["started_wall_ns"]) <= int(job["ended_wall_ns"])
    [outcome] = job["outcomes"]
    assert outcome["symbol"] == "BTC/USDT" and outcome["outcome"] == "proposal"
    assert isinstance(outcome["ts_ns"], str)
    roles = {decision["role"]: decision for decision in outcome["decisions"]}
    assert {"trading_director", "quant_analyst", "risk_manager", "execution_agent"} <= roles.keys()
    assert roles["quant_analyst"]["source"] == "rules" and roles["quant_analyst"]["reason"]
    assert roles["quant_analyst"]["value"]
    mandate = outcome["mandate"]
    assert 1.0 <= mandate["spread_multiplier"] <= 3.0
    assert int(mandate["effective_ns"]) < int(mandate["valid_until_ns"])
    assert int(after["as_of_ns"]) > int(before["as_of_ns"])
    assert job["fills"] > 0
    assert (after["base"], after["quote"]) != (before["base"], before["quote"])


async def test_the_client_reads_what_the_server_says(tmp_path: Path) -> None:
    """Start, wait, inventory, run and health through the typed client: money is Decimal and times are int on this side."""
    async with served(tmp_path, api_key="k" * 16) as it:
        started = await it.client(lambda client: client.start_cycle("Hold the target.", idempotency_key="one"))
        again = await it.client(lambda client: client.start_cycle("Hold the target.", idempotency_key="one"))
        job = await it.client(lambda client: client.wait(started.id, timeout_s=60))
        inventory = await it.client(lambda client: client.inventory())
        run = await it.client(lambda client: client.run(job.run_id))
        health = await it.client(lambda client: client.health())
    assert started.id == again.id == job.id
    assert job.status == "done" and job.is_over and job.task == "Hold the target."
    assert job.outcomes[0].mandate is not None and job.outcomes[0].ts_ns > 10**18
    symbol = inventory.symbols["BTC/USDT"]
    assert symbol.simulated and symbol.base_asset == "BTC" and symbol.quote_asset == "USDT"
    assert symbol.mark_price is not None and symbol.total_value == symbol.base * symbol.mark_price + symbol.quote
    assert isinstance(symbol.as_of_ns, int)
    assert run.live and run.status == "running" and run.summary is not None and run.summary["cycles"] == 1
    assert Decimal(run.summary["final_value"]) == symbol.total_value
    assert (health.status, health.run_id, health.cycles_done, health.simulated) == ("ok", job.run_id, 1, True)


async def test_several_symbols_are_asked_in_one_cycle(tmp_path: Path) -> None:
    settings = settings_of(tmp_path).model_copy(update={"symbols": ("BTC/USDT", "ETH/USDT")})
    async with served(tmp_path, settings=settings) as it:
        job = await it.over((await it.start()).json()["id"])
        inventory = (await it.http.get("/inventory")).json()
    assert [outcome["symbol"] for outcome in job["outcomes"]] == ["BTC/USDT", "ETH/USDT"]
    assert inventory["symbols"].keys() == {"BTC/USDT", "ETH/USDT"}
    assert inventory["symbols"]["ETH/USDT"]["base_asset"] == "ETH"


async def test_everything_can_be_read_while_the_desk_thinks(tmp_path: Path) -> None:
    """The desk waits for as long as it likes; the server answers all the same, and tells the job as running."""
    desk = GatedDesk()
    async with served(tmp_path, desk=desk) as it:
        job_id = (await it.start("Think.")).json()["id"]
        await desk.was_asked()
        assert (await it.http.get(f"/cycles/{job_id}")).json()["status"] == "running"
        assert (await it.http.get("/inventory")).status_code == 200
        assert (await it.http.get(f"/runs/{it.run.run_id}")).json()["summary"]["cycles"] == 0
        health = (await it.http.get("/health")).json()
        assert health["running"] is True and health["queued"] == 0
        desk.let_through()
        job = await it.over(job_id)
    assert job["status"] == "done" and job["outcomes"][0]["outcome"] == "hold" and job["outcomes"][0]["mandate"] is None


async def test_the_loop_answers_while_the_market_moves(tmp_path: Path) -> None:
    """Between two answers within one cycle the market went on: reading neither waits for a cycle nor stops it."""
    async with served(tmp_path, settings=settings_of(tmp_path, every_s=1_800.0)) as it:
        job_id = (await it.start()).json()["id"]
        seen: list[int] = []
        while (await it.http.get(f"/cycles/{job_id}")).json()["status"] != "done":
            seen.append(int((await it.http.get("/inventory")).json()["symbols"]["BTC/USDT"]["as_of_ns"]))
    assert len(set(seen)) >= 2


async def test_a_task_is_for_its_cycle_alone(tmp_path: Path) -> None:
    desk = GatedDesk()
    desk.let_through(3)
    async with served(tmp_path, desk=desk, settings=settings_of(tmp_path, task="The standing task.")) as it:
        await it.over((await it.start("Only now.")).json()["id"])
        await it.over((await it.start()).json()["id"])
        no_body = await it.http.post("/cycles", headers={"Content-Type": "application/json"})
        await it.over(no_body.json()["id"])
    assert [request.task for request in desk.requests] == ["Only now.", "The standing task.", "The standing task."]


async def test_the_queue_is_bounded_and_says_when_to_come_back(tmp_path: Path) -> None:
    """One runs, two wait, the next is refused with 429; what was accepted runs in the order it came."""
    desk = GatedDesk()
    async with served(tmp_path, desk=desk, queue_size=2) as it:
        first = (await it.start("1")).json()["id"]
        await desk.was_asked()
        others = [(await it.start(task)).json()["id"] for task in ("2", "3")]
        full = await it.start("4")
        assert full.status_code == 429 and full.json()["error"] == "queue_full"
        assert int(full.headers["Retry-After"]) >= 1
        assert (await it.http.get("/health")).json()["queued"] == 2
        desk.let_through(3)
        for job_id in (first, *others):
            assert (await it.over(job_id))["status"] == "done"
        assert (await it.start("5")).status_code == 202
        desk.let_through()
        await desk.was_asked()
    assert [request.task for request in desk.requests] == ["1", "2", "3", "5"]


async def test_the_same_idempotency_key_starts_no_second_cycle(tmp_path: Path) -> None:
    """Not while it runs, not when it is over, not when the queue is full; with another task it is refused."""
    desk = GatedDesk()
    key = {"Idempotency-Key": "monday-open"}
    async with served(tmp_path, desk=desk, queue_size=1) as it:
        first = (await it.start("A", **key)).json()
        await desk.was_asked()
        await it.start("B")
        again = await it.start("A", **key)
        assert again.status_code == 202 and again.json()["id"] == first["id"] and again.json()["status"] == "running"
        assert again.headers["Location"] == f"/cycles/{first['id']}"
        other = await it.start("C", **key)
        assert other.status_code == 422 and other.json()["error"] == "idempotency_key_reused"
        desk.let_through(2)
        await it.over(first["id"])
        await desk.was_asked()
        assert (await it.start("A", **key)).json() == (await it.http.get(f"/cycles/{first['id']}")).json()
        too_long = await it.start("D", **{"Idempotency-Key": "x" * 129})
        assert too_long.status_code == 422
    assert [request.task for request in desk.requests] == ["A", "B"]


async def test_only_the_last_jobs_are_kept_and_older_ones_say_so(tmp_path: Path) -> None:
    desk = GatedDesk()
    desk.let_through(4)
    async with served(tmp_path, desk=desk, queue_size=1, kept_jobs=2) as it:
        ids = []
        for number in range(3):
            ids.append((await it.start(**{"Idempotency-Key": f"key-{number}"})).json()["id"])
            await it.over(ids[-1])
        forgotten = await it.http.get(f"/cycles/{ids[0]}")
        assert forgotten.status_code == 404 and forgotten.json()["error"] == "cycle_forgotten"
        assert "last 2" in forgotten.json()["detail"]
        assert (await it.http.get(f"/cycles/{ids[1]}")).status_code == 200
        for unknown in ("nothing", f"{it.run.run_id}-000004", f"{it.run.run_id}-000000", f"{it.run.run_id}-x"):
            answer = await it.http.get(f"/cycles/{unknown}")
            assert answer.status_code == 404 and answer.json()["error"] == "unknown_cycle"
        # with its job the key is forgotten too: it starts a new cycle
        assert (await it.start(**{"Idempotency-Key": "key-0"})).json()["id"] not in ids


async def test_a_failed_cycle_is_a_job_with_its_reason_and_the_next_one_runs(tmp_path: Path) -> None:
    desk = GatedDesk()
    desk.errors[1] = MarketDataError("the feed is corrupt at line 7")
    desk.let_through(2)
    async with served(tmp_path, desk=desk) as it:
        failed = await it.over((await it.start()).json()["id"])
        fine = await it.over((await it.start()).json()["id"])
        assert (await it.http.get("/health")).json()["cycles_done"] == 1
    assert (failed["status"], failed["reason"], failed["outcomes"]) == ("failed", "the feed is corrupt at line 7", [])
    assert fine["status"] == "done"


@pytest.mark.parametrize(
    "error", [InvariantBroken("cash is negative"), StorageError("the disk is full"), ZeroDivisionError("oops")]
)
async def test_after_an_error_that_nothing_may_follow_no_cycle_runs(tmp_path: Path, error: Exception) -> None:
    """The job and all that wait fail with the reason, new ones are refused, reading goes on; a defect is in the log."""
    desk = GatedDesk()
    desk.errors[1] = error
    logged: list[str] = []
    sink = logger.add(lambda message: logged.append(str(message)), level="CRITICAL")
    try:
        async with served(tmp_path, desk=desk) as it:
            first = (await it.start()).json()["id"]
            await desk.was_asked()
            second = (await it.start()).json()["id"]
            desk.let_through(2)
            failed, waiting = await it.over(first), await it.over(second)
            refused = await it.start()
            health = (await it.http.get("/health")).json()
            assert (await it.http.get("/inventory")).status_code == 200
    finally:
        logger.remove(sink)
    reason = "an unforeseen error (ZeroDivisionError); the server's log has it" if error.args == ("oops",) else str(error)
    assert failed["status"] == waiting["status"] == "failed"
    assert failed["reason"] == waiting["reason"] == health["reason"] == reason
    assert refused.status_code == 409 and refused.json() == {"error": "halted", "detail": reason}
    assert health["status"] == "halted"
    assert len(desk.requests) == 1
    assert any("ZeroDivisionError: oops" in line for line in logged) == isinstance(error, ZeroDivisionError)


async def test_when_the_market_is_over_waiting_cycles_fail_and_new_ones_are_refused(tmp_path: Path) -> None:
    desk = GatedDesk()
    async with served(tmp_path, desk=desk, market_s=30.0) as it:
        first = (await it.start()).json()["id"]
        await desk.was_asked()
        second = (await it.start()).json()["id"]
        desk.let_through(2)
        done, failed = await it.over(first), await it.over(second)
        refused = await it.start()
        health = (await it.http.get("/health")).json()
    assert done["status"] == "done"
    assert failed["status"] == "failed" and "market is over" in failed["reason"]
    assert refused.status_code == 409 and refused.json()["error"] == health["status"] == "market_over"
    assert len(desk.requests) == 1


async def test_a_limited_number_of_cycles_is_used_up(tmp_path: Path) -> None:
    async with served(tmp_path, settings=settings_of(tmp_path, cycles=1)) as it:
        job = await it.over((await it.start(**{"Idempotency-Key": "the one"})).json()["id"])
        refused = await it.start()
        assert refused.status_code == 409 and refused.json()["error"] == "used_up"
        assert (await it.start(**{"Idempotency-Key": "the one"})).json()["id"] == job["id"]
        assert (await it.http.get("/health")).json()["status"] == "used_up"


async def test_stopping_cuts_the_running_cycle_off_and_fails_what_waits(tmp_path: Path) -> None:
    desk = GatedDesk()
    async with served(tmp_path, desk=desk) as it:
        await it.start()
        await desk.was_asked()
        await it.start()
        running, waiting = it.jobs.running, it.jobs.find(f"{it.run.run_id}-000002")
        assert running is not None
        it.run.session.request_stop()
        assert (await it.start()).status_code == 503
    assert (running.status, running.reason) == ("failed", "stopped before the desk answered")
    assert waiting.status == "failed"
    assert len(desk.requests) == 1
    assert it.run.summary()["interrupted"] is True


async def test_a_run_without_a_price_yet_has_no_value(tmp_path: Path) -> None:
    """Before the market has opened the balances are known and what they are worth is not: null, never zero."""
    from autohedge.bootstrap import prepare
    from autohedge_api.views import inventory_view

    run = prepare(settings_of(tmp_path), kind="serve", open_end=True, environ={}, desk=GatedDesk()).start()
    create_app(run, api_key=None)
    symbol = inventory_view(run).symbols["BTC/USDT"]
    await run.finish("failed")
    assert (symbol.mark_price, symbol.total_value, symbol.as_of_ns) == (None, None, None)
    assert symbol.quote == 10_000
