"""Data that stop coming are not a price: the quotes are pulled at the moment when they become stale."""

from __future__ import annotations

from autohedge.domain.market_data import SELL
from autohedge.domain.orders import OrderState
from autohedge.domain.records import OrderRecord
from autohedge.report import summarise_lane
from tests.integration.session.rig import (
    MS,
    START_NS,
    FixedDesk,
    MemoryLedger,
    S,
    Tape,
    played,
    session_of,
    settings_of,
    sim_feed,
)

AGE_MS = 5_000
LATENCY_NS = 50 * MS


async def test_the_cancels_are_sent_when_the_data_become_stale_and_not_at_the_next_event() -> None:
    """Nothing is heard from 2 s on: every cancel is stamped 7 s and arrives 50 ms later; at 40 s quoting resumes."""
    tape = Tape().quiet(2).wait(38_000).top().quiet(1)
    last_heard_ns = START_NS + 2 * S
    session, ledger = await played(tape, limits={"max_data_age_ms": AGE_MS}, maker={"initial_base": 5})
    stale_ns = last_heard_ns + AGE_MS * MS
    pulled = [each for each in ledger.order_events if each.event == "cancelling" and each.detail == "stale"]
    assert {each.ts_ns for each in pulled} == {stale_ns}
    assert {order.side for order in ledger.orders if order.client_order_id in {each.client_order_id for each in pulled}} == {
        "buy",
        "sell",
    }
    gone = [each for each in ledger.order_events if each.event == "cancelled" and each.detail == "stale"]
    assert [each.ts_ns for each in gone] == [stale_ns + LATENCY_NS] * 2
    states = [(each.side, each.quoting, each.reason, each.ts_ns) for each in ledger.quote_states if last_heard_ns < each.ts_ns]
    assert states[:2] == [("buy", False, "stale", stale_ns), ("sell", False, "stale", stale_ns)]
    assert states[2][1] and states[2][3] == START_NS + 40 * S
    assert not [order for order in ledger.orders if last_heard_ns < order.ts_ns < START_NS + 40 * S]
    assert summarise_lane(session.lanes[0])["withheld_by"]["stale"] == 2
    assert session.lanes[0].counts.bid_up_ns == 7 * S + (START_NS + 41 * S) - (START_NS + 40 * S)


async def test_trades_alone_do_not_keep_a_book_fresh() -> None:
    """A book that nobody updates is stale however many trades are printed; while they are, nothing is quoted."""
    tape = Tape().quiet(1)
    for _ in range(20):
        tape.wait(1_000).trade(tape.bid, 1, SELL)
    _, ledger = await played(tape)
    stale_ns = START_NS + 6 * S
    assert {each.ts_ns for each in ledger.order_events if each.detail == "stale" and each.event == "cancelling"} == {stale_ns}
    assert not [order for order in ledger.orders if order.ts_ns > stale_ns]


async def test_a_fill_that_reaches_a_quote_before_its_cancel_arrives_is_booked() -> None:
    """The cancel of stale quotes takes its latency like any other: a sweep in between fills, and the order ends filled."""
    tape = Tape().quiet(1).wait(5_020).sweep(SELL, 30).wait(100).top()
    _, ledger = await played(tape)
    assert [each.side for each in ledger.fills] == ["buy"]
    assert ledger.fills[0].ts_ns == START_NS + 6 * S + 20 * MS
    filled = ledger.fills[0].client_order_id
    assert [each.event for each in ledger.order_events if each.client_order_id == filled] == [
        "accepted",
        "cancelling",
        "filled",
        "cancel_rejected",
    ]


async def test_the_desk_is_not_shown_a_market_that_is_stale() -> None:
    """A cycle that falls due in silence is a failed one with that reason; the desk is not asked, and no mandate changes."""
    tape = Tape().quiet(8).wait(30_000).top().quiet(30)
    desk = FixedDesk()
    session, ledger = await played(tape, desk, desk={"every_s": 10})
    at_s = [(request.view.as_of_ns - START_NS) / S for request in desk.requests]
    assert at_s == [0, 10, 40, 50, 60]
    failed = [each for each in session.outcomes if each.outcome == "failed"]
    assert [(each.ts_ns - START_NS) / S for each in failed] == [20, 30]
    assert {each.reason for each in failed} == {"no tradable market: stale"}
    pulled = next(at for at, each in enumerate(ledger.records) if getattr(each, "detail", "") == "stale")
    assert pulled < ledger.records.index(ledger.mandates[2]), "the record has the cancel of 13 s before the cycle of 20 s"
    assert [each.mandate is None for each in ledger.mandates] == [False, False, True, True, False, False, False]


async def test_a_lane_pulls_its_stale_quotes_while_another_lane_goes_on() -> None:
    """Silence in one market is noticed by the clock of the others, in order of time; the record has it in its place."""
    quiet_early = Tape().quiet(2)
    goes_on = Tape()
    for step in range(200):
        goes_on.wait(100).top(6 if step % 2 else -6)
    ledger = MemoryLedger()
    feeds = {
        "AAA/USDT": sim_feed(quiet_early.events, "AAA/USDT"),
        "BBB/USDT": sim_feed(goes_on.events, "BBB/USDT", batch=1_000),
    }
    settings = settings_of(
        "AAA/USDT",
        "BBB/USDT",
        maker={"quoting_model": "fixed_spread"},
        desk={"every_s": 10},
        limits={"max_requests_per_min": 10_000},
    )
    session = session_of(settings, feeds, ledger)
    await session.run(None)
    assert {order.state for order in session.lanes[0].order_desk.working.values()} == {OrderState.CANCELLING}
    await session.close()
    pulled = [each for each in ledger.order_events if each.symbol == "AAA/USDT" and each.detail == "stale"]
    assert {each.ts_ns for each in pulled if each.event == "cancelling"} == {START_NS + 7 * S}
    at = ledger.records.index(pulled[0])
    assert all(each.ts_ns <= START_NS + 7 * S for each in ledger.records[:at])
    assert all(each.ts_ns >= START_NS + 7 * S for each in ledger.records[at:] if isinstance(each, OrderRecord))
    assert any(each.symbol == "BBB/USDT" for each in ledger.records[at:])
    assert not session.lanes[0].order_desk.working
