"""What the desk says counts from cycle time + desk latency until it expires, and market time stands still while it works."""

from __future__ import annotations

import asyncio
from math import floor
from typing import Any

import pytest

from autohedge.domain.mandate import Clamped, MandateProposal, MandateState, Regime, RiskLevel
from autohedge.domain.market_data import SELL
from autohedge.domain.records import CycleRequest, MandateRecord, OrderRecord
from tests.integration.session.rig import START_NS, FixedDesk, MemoryLedger, S, Tape, played, session_of, settings_of, sim_feed

LATENCY_S = 2
FREE: dict[str, Any] = {"limits": {"max_requests_per_min": 100_000}}
WIDE: dict[str, Any] = {
    "quoting_model": "fixed_spread",
    "spread_percentage": "0.01",  # half of it is 50 ticks of a mid of 10,000
    "max_spread_bps": 500,
    "refresh_tolerance_bps": 0,
}


def said(spread: float = 1.0, bias: float = 0.0, size: float = 1.0, ttl_s: float = 600.0) -> MandateProposal:
    return MandateProposal(spread, bias, size, ttl_s, Regime.VOLATILE, RiskLevel.HIGH)


def at_s(record: OrderRecord) -> float:
    return (record.ts_ns - START_NS) / S


async def test_a_mandate_counts_from_cycle_time_plus_latency_to_the_event() -> None:
    """Cycles at 0, 5, 10 s: the orders obey nobody until 2 s, then the first, from 7 s the second, from 12 s the third."""
    desk = FixedDesk(said(1.0), said(1.4), said(1.8))
    _, ledger = await played(Tape().quiet(14.9), desk, maker=WIDE, desk={"every_s": 5, "latency_ms": 2_000}, **FREE)
    by_mandate: dict[str, list[OrderRecord]] = {}
    for order in ledger.orders:
        by_mandate.setdefault(order.mandate_id, []).append(order)
    assert list(by_mandate) == ["", "BTC-USDT-m0001", "BTC-USDT-m0002", "BTC-USDT-m0003"]
    assert [at_s(orders[0]) for orders in by_mandate.values()] == [0, 2, 7, 12]
    # without a mandate the maker is conservative: twice as wide
    assert [int(orders[0].price * 100) for orders in by_mandate.values() if orders[0].price] == [9_900, 9_950, 9_930, 9_910]
    assert [orders[0].decision_source for orders in by_mandate.values()] == ["conservative", "rules", "rules", "rules"]


@pytest.mark.parametrize("latency_ms", [0, 350, 4_999])
async def test_the_latency_of_the_desk_is_a_setting(latency_ms: int) -> None:
    """Any latency, down to none: the first event at or after cycle time + latency obeys."""
    desk = FixedDesk(said(1.0))
    _, ledger = await played(
        Tape().quiet(6, every_ms=50), desk, maker=WIDE | {"min_requote_ms": 1}, desk={"latency_ms": latency_ms}, **FREE
    )
    first = next(order for order in ledger.orders if order.mandate_id)
    # the event of the opening itself comes before the first cycle
    expected_ms = max(50, -(-latency_ms // 50) * 50)
    assert first.ts_ns - START_NS == expected_ms * 1_000_000


async def test_an_expired_mandate_slides_to_conservative_within_one_ttl() -> None:
    """In force from 2 to 12 s, then wider from tick to tick until 22 s, then conservative: seen in the orders themselves."""
    session, ledger = await played(
        Tape().quiet(30), FixedDesk(said(1.0, ttl_s=10)), maker=WIDE, desk={"every_s": 3_600}, **FREE
    )
    seen: set[str] = set()
    for order in ledger.orders:
        at = at_s(order)
        multiplier = 2.0 if at < 2 else 1.0 + min(1.0, max(0.0, (at - 12) / 10))
        assert order.price is not None
        assert int(order.price * 100) == floor(10_000 - 50 * multiplier + 1e-9), at
        seen.add("before" if at < 2 else "in force" if at < 12 else "sliding")
    assert seen == {"before", "in force", "sliding"}
    assert ledger.orders[-1].price == 99 and at_s(ledger.orders[-1]) <= 22
    explained = session.lanes[0].explanation
    assert explained is not None and explained.mandate.state is MandateState.EXPIRED
    assert len(ledger.orders) > 40, "every tick of the slide is an order of its own"


@pytest.mark.parametrize("answer", ["hold", "refused", "failed"])
async def test_a_cycle_without_a_proposal_changes_nothing(answer: str) -> None:
    """Held, refused and failed cycles leave the mandate in force and every order where it was; they are recorded."""
    tape = Tape().quiet(4).top(3).quiet(8)
    _, alone = await played(tape, FixedDesk(said()), maker=WIDE, desk={"every_s": 3_600}, **FREE)
    _, ledger = await played(tape, FixedDesk(said(), answer), maker=WIDE, desk={"every_s": 3}, **FREE)
    without = [record for record in ledger.records if not isinstance(record, MandateRecord)]
    assert without == [record for record in alone.records if not isinstance(record, MandateRecord)]
    told = [(record.outcome, record.mandate is None) for record in ledger.mandates]
    assert told == [("proposal", False), *[(answer, True)] * 4]


async def test_what_the_envelope_cut_is_recorded() -> None:
    """Bounds on both sides and the step per cycle: each hit is in the mandate's record and in the canonical stream."""
    desk = FixedDesk(said(9.0, -3.0, 0.0, 5.0), said(9.0, 0.5, 1.0, 10_000.0))
    _, ledger = await played(Tape().quiet(8), desk, desk={"every_s": 4})
    first, second = (record.mandate for record in ledger.mandates[:2])
    assert first is not None and second is not None
    assert first.clamps == (
        Clamped("spread_multiplier", 9.0, 3.0, "spread_multiplier_max"),
        Clamped("spread_multiplier", 3.0, 1.5, "spread_multiplier_max_change"),
        Clamped("inventory_bias", -3.0, -0.5, "inventory_bias_min"),
        Clamped("inventory_bias", -0.5, -0.25, "inventory_bias_max_change"),
        Clamped("size_multiplier", 0.0, 0.25, "size_multiplier_min"),
        Clamped("size_multiplier", 0.25, 0.75, "size_multiplier_max_change"),
        Clamped("ttl_s", 5.0, 10.0, "ttl_min_s"),
    )
    assert (second.spread_multiplier, second.inventory_bias, second.size_multiplier) == (2.0, 0.0, 1.0)
    line = next(line for line in ledger.lines if b'"type":"mandate"' in line)
    assert b"spread_multiplier_max_change" in line and b"ttl_min_s" in line


async def test_a_second_cycle_is_clamped_against_the_first_even_before_that_takes_effect() -> None:
    """A desk that is faster than its latency cannot take two steps at once."""
    desk = FixedDesk(said(3.0))
    _, ledger = await played(Tape().quiet(5), desk, desk={"every_s": 1, "latency_ms": 3_000})
    assert [record.mandate.spread_multiplier for record in ledger.mandates if record.mandate][:4] == [1.5, 2.0, 2.5, 3.0]


async def test_market_time_stands_still_while_the_desk_works() -> None:
    """A desk that takes real time, and a different one for each symbol, changes not one byte of the event stream."""

    def events() -> dict[str, Any]:
        one, two = Tape(), Tape(bid=4_999, ask=5_001, start_ns=START_NS + 30_000_000)
        for step in range(6):
            one.quiet(1).top(step % 3)
            two.quiet(1, every_ms=70).top(-(step % 2)).sweep(SELL, 40)
        return {"AAA/USDT": sim_feed(one.events, "AAA/USDT"), "BBB/USDT": sim_feed(two.events, "BBB/USDT")}

    async def slow(request: CycleRequest) -> None:
        for _ in range(50 if request.symbol == "AAA/USDT" else 500):
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

    streams = []
    for before in (None, slow):
        ledger = MemoryLedger()
        settings = settings_of("AAA/USDT", "BBB/USDT", maker=WIDE, desk={"every_s": 1}, **FREE)
        session = session_of(settings, events(), ledger, FixedDesk(said(1.0), said(1.3), before=before))
        await session.run(None)
        await session.close()
        streams.append(ledger.lines)
    assert len(streams[0]) > 50
    assert streams[0] == streams[1]
