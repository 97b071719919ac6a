"""What cannot be written down is not done: a ledger that fails ends the session, and nothing reaches the venue after it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autohedge.domain.market_data import SELL, MarketEvent
from autohedge.domain.orders import Command, OrderState, PlaceOrder, VenueEvent
from autohedge.errors import StorageError
from autohedge.ports import Venue
from autohedge.session import TradingSession
from tests.integration.session.rig import FixedDesk, MemoryLedger, Tape, session_of, settings_of, sim_feed

A, B = "AAA/USDT", "BBB/USDT"
CLOSE = {"quoting_model": "fixed_spread", "refresh_tolerance_bps": 0}


class FullDisk(MemoryLedger):
    """Keeps records until the `fails_at`-th commit of something new; from then on nothing can be written."""

    def __init__(self, fails_at: int) -> None:
        super().__init__()
        self.fails_at = fails_at
        self.durable = 0
        self.commits = 0
        self.full = False

    def commit(self) -> None:
        if self.full:
            raise StorageError("the ledger failed before; nothing more is recorded")
        if self.durable == len(self.records):
            return
        self.commits += 1
        if self.commits >= self.fails_at:
            self.full = True
            raise StorageError("cannot write to the ledger: disk full")
        self.durable = len(self.records)


class Witness:
    """Stands before a venue and compares: whatever is sent must be durable at that moment."""

    def __init__(self, venue: Venue, ledger: FullDisk) -> None:
        self._venue, self._ledger = venue, ledger
        self.simulated = venue.simulated
        self.sent: list[str] = []

    def submit(self, command: Command, now_ns: int) -> None:
        assert not self._ledger.full, "a command was sent after the ledger had failed"
        durable = {getattr(each, "client_order_id", "") for each in self._ledger.records[: self._ledger.durable]}
        assert command.client_order_id in durable, "a command was sent before it was written down"
        if isinstance(command, PlaceOrder):
            self.sent.append(command.client_order_id)
        self._venue.submit(command, now_ns)

    def advance(self, now_ns: int) -> Sequence[VenueEvent]:
        return self._venue.advance(now_ns)

    def on_market(self, event: MarketEvent) -> Sequence[VenueEvent]:
        return self._venue.on_market(event)


def market() -> Tape:
    tape = Tape()
    for step in range(12):
        tape.quiet(1).top((step % 3) - 1).sweep(SELL, 40, 3_000)
    return tape


def watched(ledger: FullDisk, *symbols: str, agents: FixedDesk | None = None) -> tuple[TradingSession, list[Witness]]:
    feeds = {symbol: sim_feed(market().events, symbol) for symbol in symbols}
    session = session_of(settings_of(*symbols, maker=CLOSE, desk={"every_s": 2}), feeds, ledger, agents)
    witnesses = []
    for lane in session.lanes:
        witness = Witness(lane.venue, ledger)
        lane.venue = witness  # type: ignore[assignment]
        lane.order_desk._venue = witness  # type: ignore[assignment]
        witnesses.append(witness)
    return session, witnesses


async def test_whatever_is_sent_was_durable_before() -> None:
    """The whole of a session with a ledger that never fails: every command found itself written."""
    ledger = FullDisk(fails_at=10**9)
    session, witnesses = watched(ledger, A, B)
    await session.run(None)
    await session.close()
    assert len(witnesses[0].sent) > 10 and ledger.fills
    assert ledger.durable == len(ledger.records), "the drain is written to its end"


@pytest.mark.parametrize("fails_at", [1, 2, 3, 5, 8, 13, 21, 34])
async def test_after_the_first_failed_write_nothing_is_sent_and_the_session_ends(fails_at: int) -> None:
    """At any commit: StorageError, no command after it, quotes or cancels; desk and feeds are let go all the same."""
    ledger, desk = FullDisk(fails_at), FixedDesk()
    session, witnesses = watched(ledger, A, B, agents=desk)
    with pytest.raises(StorageError, match="disk full"):
        await session.run(None)
    sent = [len(witness.sent) for witness in witnesses]
    with pytest.raises(StorageError, match="failed before"):
        await session.close()
    assert [len(witness.sent) for witness in witnesses] == sent
    assert desk.closed == 1
    assert all(lane.feed.closed for lane in session.lanes)
    await session.close()
    assert desk.closed == 1, "closing twice is closing once"


@pytest.mark.parametrize("fails_at", [3, 5, 8, 13])
async def test_an_order_whose_intent_was_not_written_never_existed_for_the_venue(fails_at: int) -> None:
    """No half-applied state: the venue knows exactly the orders whose intents are durable."""
    ledger = FullDisk(fails_at)
    session, (witness,) = watched(ledger, A)
    with pytest.raises(StorageError):
        await session.run(None)
    durable = ledger.records[: ledger.durable]
    written = [each.client_order_id for each in ledger.orders if each in durable and each.state is OrderState.PENDING_SUBMIT]
    assert witness.sent == written
