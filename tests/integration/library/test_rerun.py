"""A run done again: whatever way it ended, what it recorded comes out again, and what was tampered with is shown."""

from __future__ import annotations

import asyncio
import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest

from autohedge.bootstrap import Run, prepare
from autohedge.domain.records import CycleOutcome, CycleRequest
from autohedge.errors import ConfigError, InvariantBroken, MarketDataError, StorageError
from autohedge.market.raw import RawRecordingFeed
from autohedge.rerun import rerun
from autohedge.session import Progress
from autohedge.settings import Settings, build_settings
from autohedge.simulation.feed import SimulatedFeed
from autohedge.storage.stream import Divergence

MAKER = {"min_profit_threshold": "none"}


def settings_in(folder: Path, **more: Any) -> Settings:
    desk = {"every_s": 10, **more.pop("desk", {})}
    return build_settings({"symbols": ("BTC/USDT",), "out_dir": folder, "maker": MAKER, "desk": desk, **more})


async def run_and_finish(run: Run, status: str | None = None) -> dict[str, Any]:
    await run.session.run(run.plan.cycles)
    return await run.finish(status)


def stopped_at(messages: int, settings: Settings) -> Run:
    """A started run that is asked to stop once it has seen so many messages."""
    started: list[Run] = []

    def watch(progress: Progress) -> None:
        if progress.messages >= messages:
            started[0].session.request_stop()

    started.append(prepare(settings).start(on_progress=watch))
    return started[0]


def files_below(folder: Path, but: str = "autohedge.db") -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and but not in path.name}


@pytest.fixture(scope="module")
def cut_recording(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 8,000 lines of the recorded session."""
    folder = tmp_path_factory.mktemp("recording")
    with gzip.open(recordings / "binance_spot_btcusdt_20240808" / "spot_btcusdt_20240808.jsonl.gz") as file:
        (folder / "btcusdt.jsonl").write_bytes(b"".join(file.readline() for _ in range(8_000)))
    return folder


async def test_a_finished_run_of_several_symbols_is_equal(tmp_path: Path) -> None:
    """Byte for byte, and the ledger is only read."""
    settings = settings_in(tmp_path, desk={"cycles": 4}).model_copy(update={"symbols": ("BTC/USDT", "ETH/USDT")})
    summary = await run_and_finish(prepare(settings).start())
    before = files_below(tmp_path)
    result = await rerun(tmp_path, summary["run_id"])
    assert result.difference is None and result.equal and not result.cut_short and result.lines > 50
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("messages", [1, 40, 333, 1_000])
async def test_an_interrupted_run_is_equal_up_to_where_it_was_stopped(tmp_path: Path, messages: int) -> None:
    """request_stop after any number of messages, as a signal handler does it: the replay stops at the same event."""
    summary = await run_and_finish(stopped_at(messages, settings_in(tmp_path, desk={"cycles": 50})))
    assert summary["interrupted"] is True
    result = await rerun(tmp_path, summary["run_id"])
    assert result.equal and not result.cut_short, result.difference


async def test_a_run_stopped_while_its_desk_worked_is_equal(tmp_path: Path) -> None:
    """Ctrl-C during a model call: the cycle that was cut off is in neither stream."""
    plan = prepare(settings_in(tmp_path, desk={"cycles": 50}))
    inner, asked = plan.desk, asyncio.Event()

    class HangsAtFour:
        model_name = None

        async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
            if request.cycle_id.endswith("c0004"):
                asked.set()
                await asyncio.Event().wait()
            return await inner.run_cycle(request)

        async def aclose(self) -> None:
            await inner.aclose()

    plan.desk = HangsAtFour()
    run = plan.start()
    running = asyncio.ensure_future(run.session.run(50))
    await asyncio.wait_for(asked.wait(), 30)
    run.session.request_stop()
    await running
    summary = await run.finish()
    assert summary["cycles"] == 3
    result = await rerun(tmp_path, summary["run_id"])
    assert result.equal and not result.cut_short


@pytest.mark.parametrize("kind", ["serve", "schedule"])
async def test_a_driven_session_is_equal(tmp_path: Path, kind: str) -> None:
    """Three cycles asked for from outside, then the end: no planned length is invented."""
    run = prepare(settings_in(tmp_path), kind=kind, open_end=True).start()
    for task in (None, "once", None):
        await run.session.cycle(task)
    summary = await run.finish()
    assert summary["cycles"] == 3 and summary["interrupted"] is False
    result = await rerun(tmp_path, summary["run_id"][:18])
    assert result.equal and not result.cut_short


async def test_a_driven_session_that_was_never_asked_is_equal(tmp_path: Path) -> None:
    """Opened, and stopped before the first cycle."""
    run = prepare(settings_in(tmp_path), kind="serve", open_end=True).start()
    await run.session.open()
    run.session.request_stop()
    summary = await run.finish()
    assert summary["cycles"] == 0
    assert (await rerun(tmp_path, summary["run_id"])).equal


async def test_a_run_whose_desk_broke_is_equal_up_to_there(tmp_path: Path) -> None:
    """status failed: what was done until then, and the drain, come out again."""
    plan = prepare(settings_in(tmp_path, desk={"cycles": 9}))
    inner = plan.desk

    class Breaks:
        model_name = None

        async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
            if request.cycle_id.endswith("c0003"):
                raise InvariantBroken("the test says so")
            return await inner.run_cycle(request)

        async def aclose(self) -> None: ...

    plan.desk = Breaks()
    run = plan.start()
    with pytest.raises(InvariantBroken):
        await run.drive()
    result = await rerun(tmp_path, run.run_id)
    assert result.run.status.value == "failed" and result.run.note == "the test says so"
    assert result.equal and not result.cut_short


async def test_a_run_whose_feed_failed_is_equal_up_to_there(
    tmp_path: Path, cut_recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk went away in the middle and is back: the replay ends where the run did."""
    run = prepare(settings_in(tmp_path, market=f"replay:{cut_recording}")).start()
    whole = RawRecordingFeed._events

    def torn(self: RawRecordingFeed) -> Any:
        for number, event in enumerate(whole(self)):
            if number == 5_000:
                raise MarketDataError("the disk went away")
            yield event

    with monkeypatch.context() as patched:
        patched.setattr(RawRecordingFeed, "_events", torn)
        with pytest.raises(MarketDataError, match="went away"):
            await run.drive()
    result = await rerun(tmp_path, run.run_id)
    assert result.run.status.value == "failed"
    assert result.equal and not result.cut_short, result.difference


async def test_a_feed_that_failed_among_others_is_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One symbol's market breaks off, the others go on to their end: the replay breaks it off at the same message."""
    symbols = ("AAA/USDT", "BBB/USDT", "CCC/USDT")
    settings = settings_in(tmp_path, desk={"cycles": 4}).model_copy(update={"symbols": symbols})
    run = prepare(settings).start()
    batches = SimulatedFeed.batches

    async def torn(self: SimulatedFeed) -> Any:
        async for batch in batches(self):
            yield batch
            if self.instrument.symbol == "BBB/USDT":
                raise MarketDataError("the wire was cut")

    with monkeypatch.context() as patched:
        patched.setattr(SimulatedFeed, "batches", torn)
        run.session._cursors[1]._batches = run.plan.feeds[1].batches()
        with pytest.raises(MarketDataError, match="the wire was cut"):
            await run.drive()
    result = await rerun(tmp_path, run.run_id)
    assert result.run.summary is not None
    assert result.run.summary["per_symbol"]["BBB/USDT"]["data_quality"]["feed_failure"] == "the wire was cut"
    assert result.equal and not result.cut_short, result.difference


async def test_a_run_whose_ledger_failed_agrees_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the record stops without an end, is an exact beginning, and nothing claims that it was drained."""
    run = prepare(settings_in(tmp_path, desk={"cycles": 9})).start()
    writer = run.ledger._writer
    real, count = writer.write, 0

    def full(statements: Any) -> None:
        nonlocal count
        count += 1
        if count > 25:
            raise StorageError("cannot write to the ledger: disk full")
        real(statements)

    monkeypatch.setattr(type(writer), "write", lambda self, statements: full(statements))
    with pytest.raises(StorageError, match="disk full"):
        await run.drive()
    monkeypatch.undo()
    result = await rerun(tmp_path, run.run_id)
    assert result.run.status.value == "failed" and "disk full" in result.run.note
    assert result.run.summary is not None and result.run.summary["drained"] is False
    assert result.equal and result.cut_short


async def test_a_forged_run_shows_its_first_difference(tmp_path: Path) -> None:
    """Whatever line is changed, dropped or added, it is found and not excused."""
    summary = await run_and_finish(prepare(settings_in(tmp_path, desk={"cycles": 3})).start())
    stream = tmp_path / summary["run_id"] / "events.jsonl"
    lines = stream.read_bytes().splitlines(keepends=True)
    forgeries: list[tuple[list[bytes], Divergence, int]] = [
        (lines[:-1], Divergence.RECORDED_ENDS_EARLIER, len(lines)),
        ([*lines, lines[-1]], Divergence.RECORDED_ENDS_LATER, len(lines) + 1),
        ([*lines[:7], lines[7].replace(b'"seq":8', b'"seq":9'), *lines[8:]], Divergence.DIFFERS, 8),
    ]
    for forged, kind, number in forgeries:
        stream.write_bytes(b"".join(forged))
        result = await rerun(tmp_path, summary["run_id"])
        assert not result.equal and result.difference is not None
        assert (result.difference.kind, result.difference.line_number) == (kind, number)


async def test_a_changed_recording_is_refused_and_a_moved_ledger_is_not(tmp_path: Path, cut_recording: Path) -> None:
    """The proof is about the same market data: their fingerprint is part of the record."""
    mine = tmp_path / "market"
    shutil.copytree(cut_recording, mine)
    home = tmp_path / "here"
    summary = await run_and_finish(prepare(settings_in(home, market=f"replay:{mine}")).start())
    moved = tmp_path / "there"
    shutil.move(home, moved)
    assert (await rerun(moved, summary["run_id"])).equal
    file = mine / "btcusdt.jsonl"
    file.write_bytes(file.read_bytes()[:-200] + b"\n")
    with pytest.raises(ConfigError, match=r"is not what run .* read"):
        await rerun(moved, summary["run_id"])
    shutil.rmtree(mine)
    with pytest.raises(MarketDataError, match="no such file"):
        await rerun(moved, summary["run_id"])


async def test_an_unknown_run_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """No ledger, no such id, an ambiguous beginning."""
    with pytest.raises(ConfigError, match="there is no ledger"):
        await rerun(tmp_path, "2026")
    assert not files_below(tmp_path)
    summaries = [await run_and_finish(prepare(settings_in(tmp_path, desk={"cycles": 1})).start()) for _ in range(2)]
    with pytest.raises(ConfigError, match=summaries[0]["run_id"]):
        await rerun(tmp_path, "nope")
    with pytest.raises(ConfigError, match="2 runs"):
        await rerun(tmp_path, "2")


async def test_stale_silence_in_the_middle_of_several_symbols_replays(
    tmp_path: Path,
) -> None:
    """Timers that fire between events are part of the record: silence that is too long again and again, stopped anywhere."""
    limits = {"max_data_age_ms": 60}
    settings = settings_in(tmp_path, limits=limits, desk={"cycles": 6, "every_s": 3}).model_copy(
        update={"symbols": ("AAA/USDT", "BBB/USDT", "CCC/USDT")}
    )
    for at in (10**9, 37, 111, 320):
        summary = await run_and_finish(stopped_at(at, settings))
        stale = sum(lane["withheld_by"].get("stale", 0) for lane in summary["per_symbol"].values())
        assert stale > 2
        result = await rerun(tmp_path, summary["run_id"])
        assert result.equal and not result.cut_short, result.difference
