"""Run a recorded run again and hold it against its record, byte for byte.

The market, the settings and the desk's recorded answers go in again; every command, order event, fill and inventory value comes
out again, or the first difference is shown. A run that was interrupted or failed is done again as far as it came, and one whose
record stops without an end (a kill, a disk that was full) is compared as far as the record goes. No model is called and nothing
is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

from autohedge.bootstrap import Opening, instruments_of, prepare
from autohedge.domain.market_data import MarketEvent
from autohedge.domain.records import CycleOutcome, CycleRequest, OpeningRecord
from autohedge.errors import AutoHedgeError, ConfigError, MarketDataError
from autohedge.market.recordings import fingerprint
from autohedge.ports import MarketFeed
from autohedge.session import StopPoint, TradingSession
from autohedge.settings import Settings, validated
from autohedge.storage.database import open_database
from autohedge.storage.ledger import RunStatus
from autohedge.storage.runs import RecordedRun, find_run, openings, recorded_cycles
from autohedge.storage.stream import Difference, Divergence, StreamLedger, compare_streams


class RecordedDesk:
    """Gives the recorded answers again; asked for one that was never recorded, it ends the session there."""

    def __init__(self, cycles: list[CycleOutcome]) -> None:
        self.model_name: str | None = None
        self._cycles = {cycle.cycle_id: cycle for cycle in cycles}
        self.session: TradingSession | None = None

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """The recorded answer for this cycle id."""
        recorded = self._cycles.get(request.cycle_id)
        if recorded is not None:
            return recorded
        if self.session is not None:
            self.session.request_stop()
        await asyncio.Event().wait()
        raise AssertionError("a stopped session cancels what it asked for")

    async def aclose(self) -> None:
        """Nothing is held open."""


class CutFeed:
    """A feed that fails where the recorded run's did, although the recording can be read again by now."""

    def __init__(self, feed: MarketFeed, messages: int, failure: str) -> None:
        self.instrument = feed.instrument
        self.simulated = feed.simulated
        self.description = feed.description
        self.report = feed.report
        self._feed, self._messages, self._failure = feed, messages, failure

    async def batches(self) -> AsyncIterator[Sequence[MarketEvent]]:
        """The first messages, then the failure."""
        left = self._messages
        async for batch in self._feed.batches():
            if len(batch) >= left:
                yield batch[:left]
                break
            yield batch
            left -= len(batch)
        raise MarketDataError(self._failure)


class RerunResult(NamedTuple):
    """`difference` is None when the streams are equal; `cut_short`: the record stops without an end and agrees until there."""

    run: RecordedRun
    lines: int
    difference: Difference | None
    cut_short: bool

    @property
    def equal(self) -> bool:
        """True when everything recorded came out again."""
        return self.difference is None or self.cut_short


async def rerun(out_dir: Path, run: str) -> RerunResult:
    """Re-run `run` (an id or its unique beginning) of the ledger in `out_dir` and compare.

    `ConfigError` when there is no such run, or when its recording is gone or has changed since.
    """
    engine = open_database(out_dir / "autohedge.db", create=False)
    try:
        recorded = find_run(engine, run)
        cycles, opened = recorded_cycles(engine, recorded.run_id), openings(engine, recorded.run_id)
    finally:
        engine.dispose()
    settings = validated(Settings, {**recorded.settings, "out_dir": out_dir})
    if settings.replay_path is not None and fingerprint(settings.replay_path) != recorded.market_fingerprint:
        raise ConfigError(
            f"the recording {settings.replay_path} is not what run {recorded.run_id} read; restore it to replay that run"
        )
    desk = RecordedDesk(cycles)
    plan = prepare(
        settings,
        desk=desk,
        environ={},
        openings=_openings(settings, opened),
        open_end=recorded.kind.value in ("serve", "schedule"),
    )
    failures = _feed_failures(recorded)
    plan.feeds = tuple(
        CutFeed(feed, *failures[feed.instrument.symbol]) if feed.instrument.symbol in failures else feed for feed in plan.feeds
    )
    ledger = StreamLedger()
    session = plan.session(ledger, stop_at=_stop_point(recorded))
    desk.session = session
    try:
        await session.run(plan.cycles)
    except AutoHedgeError:
        # a run that failed fails again in the same place, and what both did until then is compared
        if recorded.status is not RunStatus.FAILED and not failures:
            raise
    if recorded.summary:
        # a stop point also stands for the planned end of a driven session, and for a failure
        session.interrupted = recorded.summary["interrupted"]
    await session.close()
    difference = compare_streams(recorded.stream_path, ledger.lines)
    cut_short = not _has_an_end(recorded) and difference is not None and difference.kind is Divergence.RECORDED_ENDS_EARLIER
    return RerunResult(recorded, len(ledger.lines), difference, cut_short)


def _has_an_end(recorded: RecordedRun) -> bool:
    """False when the record just stops: the process was killed, or the ledger could not be written any more."""
    if recorded.summary is None:
        return recorded.status is RunStatus.FINISHED
    return bool(recorded.summary.get("drained", True))


def _feed_failures(recorded: RecordedRun) -> dict[str, tuple[int, str]]:
    """By symbol, after how many messages its feed failed, and with what words."""
    lanes = (recorded.summary or {}).get("per_symbol", {})
    return {
        symbol: (lane["messages"], lane["data_quality"]["feed_failure"])
        for symbol, lane in lanes.items()
        if lane["data_quality"].get("feed_failure")
    }


def _stop_point(recorded: RecordedRun) -> StopPoint | None:
    """Where an interrupted, driven or failed session ended; None for one that ran to its planned end or has no end."""
    summary = recorded.summary
    if not summary or not _has_an_end(recorded):
        return None
    cut_off = recorded.status is RunStatus.FAILED or recorded.kind.value in ("serve", "schedule")
    if not (summary["interrupted"] or (cut_off and not _feed_failures(recorded))):
        return None
    return StopPoint(messages=summary["messages"], cycles=summary["cycles"])


def _openings(settings: Settings, recorded: list[OpeningRecord]) -> dict[str, Opening]:
    rules = {each.symbol: each for each in instruments_of(settings)}
    return {
        each.symbol: Opening(rules[each.symbol].base_atoms_floor(each.base), rules[each.symbol].quote_atoms_floor(each.quote))
        for each in recorded
    }
