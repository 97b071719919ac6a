"""A session from its opening to its end: driven or run, stopped, cancelled, broken, and what it lets go of each time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohedge.domain.mandate import MandateProposal, Regime, RiskLevel
from autohedge.domain.orders import OrderState
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionRecord, DecisionSource, ModelCallRecord
from autohedge.session import Progress
from tests.integration.session.rig import FixedDesk, MemoryLedger, S, Tape, played, session_of, settings_of, sim_feed

SAID = MandateProposal(1.0, 0.0, 1.0, 600.0, Regime.RANGE_BOUND, RiskLevel.LOW)


def market(seconds: int = 20) -> Tape:
    tape = Tape()
    for step in range(seconds):
        tape.quiet(1).top((step % 3) - 1)
    return tape


async def test_cycles_and_then_the_rest_of_the_market() -> None:
    """run(2): two cycles at their times, and the market to its end; the drained session holds no order."""
    desk = FixedDesk()
    session, ledger = await played(market(), desk, desk={"cycles": 2, "every_s": 3})
    assert [(request.view.as_of_ns - desk.requests[0].view.as_of_ns) / S for request in desk.requests] == [0, 3]
    assert session.market_over and not session.interrupted
    assert session.messages == len(market().events)
    assert not session.lanes[0].order_desk.working
    assert {order.state for order in session.lanes[0].order_desk.orders.values()} <= {
        OrderState.CANCELLED,
        OrderState.FILLED,
        OrderState.REJECTED,
    }
    assert ledger.order_events[-1].detail == "session_end"


async def test_driven_cycle_by_cycle_it_is_the_same_session() -> None:
    """The API and the scheduler call `cycle`; the stream is the one of `run`, as far as they drive it."""
    _, ran = await played(market(), desk={"cycles": 5, "every_s": 2})
    ledger = MemoryLedger()
    session = session_of(settings_of(desk={"every_s": 2}), sim_feed(market().events), ledger)
    for _ in range(5):
        assert len(await session.cycle()) == 1
    assert len(ledger.lines) > 10 and len(ledger.mandates) == 5
    assert ran.lines[: len(ledger.lines)] == ledger.lines


async def test_a_cycle_has_its_own_task_or_the_sessions() -> None:
    """`task` is for one cycle alone."""
    desk = FixedDesk()
    settings = settings_of(desk={"task": "the session's", "every_s": 2})
    session = session_of(settings, sim_feed(market().events), MemoryLedger(), desk)
    for task in (None, "this time only", None):
        await session.cycle(task)
    assert [request.task for request in desk.requests] == ["the session's", "this time only", "the session's"]


async def test_a_stop_takes_effect_at_the_next_batch_and_drains() -> None:
    """request_stop from a progress callback: no further cycle, quotes cancelled with that reason, and it is told."""
    ledger = MemoryLedger()
    feed = sim_feed(market(60).events)

    def watch(progress: Progress) -> None:
        if progress.messages >= 100:
            session.request_stop()

    session = session_of(settings_of(desk={"every_s": 5}), feed, ledger, on_progress=watch)
    await session.run(None)
    assert session.interrupted and 100 <= session.messages < 110
    await session.close()
    assert feed.closed, "a feed that was not read to its end is closed too"
    assert ledger.order_events[-1].detail == "interrupted"
    assert ledger.quote_states[-1].reason == "interrupted"
    assert not session.lanes[0].order_desk.working


async def test_a_stop_while_the_desk_works_does_not_wait_for_it() -> None:
    """A model that never answers cannot hold a draining session; its call is cancelled, not left behind."""
    cancelled = asyncio.Event()
    asked = asyncio.Event()

    async def never(_: CycleRequest) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    ledger = MemoryLedger()
    session = session_of(settings_of(), sim_feed(market().events), ledger, FixedDesk(before=never))
    running = asyncio.ensure_future(session.run(None))
    await asked.wait()
    session.request_stop()
    await asyncio.wait_for(running, 5)
    assert cancelled.is_set() and not session.outcomes and not ledger.mandates
    await session.close()
    assert ledger.order_events[-1].detail == "interrupted"


async def test_cancelling_the_task_of_a_session_cancels_what_it_asked_for() -> None:
    """Nothing goes on behind a cancelled session, and it can still be closed."""
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def never(_: CycleRequest) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    desk = FixedDesk(before=never)
    session = session_of(settings_of(), sim_feed(market().events), MemoryLedger(), desk)
    running = asyncio.ensure_future(session.run(None))
    await asked.wait()
    before = asyncio.all_tasks() - {asyncio.current_task(), running}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cancelled.is_set()
    assert before and all(task.done() for task in before)
    await session.close()
    assert desk.closed == 1


async def test_a_desk_that_breaks_its_promise_ends_the_session_and_nothing_is_left_open() -> None:
    """The port says that a desk never raises; one that does ends the run, and what is held is still let go."""

    def raises(_: CycleRequest) -> None:
        raise RuntimeError("a defect")

    desk, feed, ledger = FixedDesk(before=raises), sim_feed(market().events), MemoryLedger()
    session = session_of(settings_of(), feed, ledger, desk)
    with pytest.raises(RuntimeError, match="a defect"):
        await session.run(None)
    await session.close()
    assert desk.closed == 1 and feed.closed and not session.lanes[0].order_desk.working


async def test_what_a_session_keeps_does_not_grow_with_the_prompts() -> None:
    """Model calls are in the ledger, whole; the session keeps the decisions for its report and lets the calls go."""
    call = ModelCallRecord(
        "c", "BTC/USDT", "trading_director", 1, "m", "ok", "", "[]" * 10_000, "{}" * 10_000, 1, 1, None, 0, 1.0
    )  # type: ignore[arg-type]
    decision = DecisionRecord(
        "c",
        "BTC/USDT",
        0,
        1,
        "trading_director",
        "TradingThesis",
        DecisionSource.LLM,
        "ok",
        "",
        "m",
        "",
        "",
        1,
        1,
        None,
        1.0,
        1,
        {},
    )  # type: ignore[arg-type]

    class Wordy(FixedDesk):
        async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
            return (await super().run_cycle(request))._replace(decisions=(decision,), calls=(call,))

    class Shelf(MemoryLedger):
        calls = 0

        def cycle(self, outcome: CycleOutcome, mandate: Any) -> None:
            super().cycle(outcome, mandate)
            self.calls += len(outcome.calls)

    ledger = Shelf()
    session = session_of(settings_of(desk={"every_s": 2}), sim_feed(market().events), ledger, Wordy())
    await session.run(None)
    await session.close()
    assert ledger.calls == len(session.outcomes) > 5
    assert {len(outcome.calls) for outcome in session.outcomes} == {0}
    assert session.model_driven() == (ledger.calls, ledger.calls)


async def test_progress_is_told_and_never_goes_back() -> None:
    """Messages, cycles, orders and fills as they stand, to whoever watches."""
    told: list[Progress] = []
    session = session_of(settings_of(desk={"every_s": 5}), sim_feed(market().events), MemoryLedger(), on_progress=told.append)
    await session.run(None)
    await session.close()
    assert len(told) > 10
    for name in Progress._fields:
        values = [getattr(progress, name) for progress in told]
        assert values == sorted(values), name
    assert told[-1].messages == len(market().events) and told[-1].cycles == len(session.outcomes)


async def test_an_empty_book_at_the_beginning_is_waited_for() -> None:
    """Best prices and trades before a snapshot are nobody's market: the session opens with the book, not before."""
    tape = market(5)
    early = Tape(start_ns=tape.now_ns - 60 * S).quiet(1)
    events = [event._replace(update_id=1) if hasattr(event, "update_id") else event for event in early.events[1:]]
    ledger = MemoryLedger()
    session = session_of(settings_of(), sim_feed([*events, *tape.events]), ledger)
    await session.run(None)
    await session.close()
    assert session.lanes[0].opening is not None
    assert session.lanes[0].opening.ts_ns == tape.events[0].ts_init_ns == ledger.records[0].ts_ns
    assert type(ledger.records[0]).__name__ == "OpeningRecord"
