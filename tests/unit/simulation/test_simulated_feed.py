"""The artificial market behind the port: marked, counted, repeatable, and friendly to the event loop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BookSnapshot, MarketEvent, rows_of
from autohedge.errors import ConfigError
from autohedge.simulation.feed import DEFAULT_START_NS, SimulatedFeed
from autohedge.simulation.market_generator import MarketGenerator
from autohedge.simulation.market_parameters import MarketParameters

COIN = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.0001"),
    min_qty=Decimal("0.0001"),
    max_qty=Decimal(9_000),
    min_notional=Decimal(10),
    max_notional=None,
    venue="simulated",
    rules_as_of="2024-01-01",
)


async def collect(feed: SimulatedFeed) -> list[MarketEvent]:
    return [event async for batch in feed.batches() for event in batch]


async def test_the_feed_hands_out_the_generated_market_and_counts_it() -> None:
    feed = SimulatedFeed(COIN, 3, 120)
    found = await collect(feed)
    assert found == [
        event for action in MarketGenerator(COIN, 3, 120, DEFAULT_START_NS, MarketParameters()).actions() for event in action
    ]
    assert isinstance(found[0], BookSnapshot)
    assert (feed.report.messages, feed.report.rows) == (len(found), sum(map(rows_of, found)))
    assert (feed.report.corrupt, feed.report.foreign, feed.report.out_of_order, feed.report.examples) == (0, 0, 0, [])


async def test_the_feed_says_that_it_is_simulated_and_from_which_seed() -> None:
    feed = SimulatedFeed(COIN, 42, 1)
    assert feed.simulated is True
    assert feed.description == "simulated market (seed 42)"
    assert feed.instrument is COIN


async def test_the_market_starts_at_a_fixed_documented_instant() -> None:
    first = (await collect(SimulatedFeed(COIN, 1, 1)))[0]
    assert first.ts_event_ns == DEFAULT_START_NS
    assert datetime.fromtimestamp(DEFAULT_START_NS / 1e9, UTC) == datetime(2024, 1, 1, tzinfo=UTC)


async def test_each_call_of_batches_plays_the_market_from_its_beginning() -> None:
    feed = SimulatedFeed(COIN, 8, 60)
    assert await collect(feed) == await collect(feed)


async def test_parameters_and_start_reach_the_market() -> None:
    feed = SimulatedFeed(COIN, 1, 1, start_ns=5_000, parameters=MarketParameters(start_price=Decimal(200)))
    first = (await collect(feed))[0]
    assert isinstance(first, BookSnapshot)
    assert first.ts_event_ns == 5_000
    assert first.bids[0][0] < 20_000 < first.asks[0][0]


async def test_other_tasks_get_their_turn_between_batches() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    batches = [len(batch) async for batch in SimulatedFeed(COIN, 1, 600).batches()]
    task.cancel()
    assert len(batches) > 10
    assert turns >= len(batches) - 1


async def test_a_month_costs_nothing_until_it_is_asked_for() -> None:
    """Events are made batch by batch: the first of the longest market come at once and few at a time."""
    feed = SimulatedFeed(COIN, 1, 30 * 86_400)
    async for batch in feed.batches():
        assert 0 < len(batch) < 1_000
        if feed.report.messages > 2_000:
            break
    assert feed.report.messages < 3_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"duration_s": float("nan")}, "duration"),
        ({"start_ns": -1}, "start"),
        ({"parameters": MarketParameters(start_price=Decimal("0.5"))}, "needs a tick of at most"),
    ],
)
def test_what_cannot_be_simulated_is_refused_when_the_feed_is_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulatedFeed(**{"instrument": COIN, "seed": 1, "duration_s": 60, **arguments})
