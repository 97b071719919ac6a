"""The recorded BTC/USDT session through the live engine and through the compiled loop: equal, whatever the configuration.

Compared are every order with its level, mandate and denial, every event in the life of an order with its reason, every fill
with its fee and the balances after it, every change of a quote, and all counts. Nothing may differ in the last digit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autohedge.backtest import l2_kernel
from autohedge.backtest.l2_lane import APART
from autohedge.backtest.l2_market import PreparedMarket
from autohedge.backtest.native import compile_kernel
from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateProposal, Regime, RiskLevel
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, Trade
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.market.sync import Applied, SyncedBook
from tests.integration.backtest.twins import SYMBOL, LiveRun, differences, parts_of, prepared, run_compiled, run_live
from tests.integration.session.rig import FixedDesk

FREE = {"max_requests_per_min": 1_000_000}
TOUCH = {"touch": "join", "latency_ms": 5}
DESK = (
    MandateProposal(1.3, 0.2, 0.8, 20.0, Regime.VOLATILE, RiskLevel.HIGH),
    "hold",
    MandateProposal(1.0, -0.4, 1.0, 45.0, Regime.RANGE_BOUND, RiskLevel.LOW),
    "failed",
    MandateProposal(2.5, 0.1, 0.5, 10.0, Regime.TRENDING_UP, RiskLevel.MEDIUM),
)

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "joining the touch": {"maker": TOUCH},
    "improving the touch": {"maker": TOUCH | {"touch": "improve", "maker_fee_bps": 10}, "limits": FREE},
    "rebalancing, fees in what is received": {
        "maker": TOUCH
        | {
            "fee_asset": "received",
            "maker_fee_bps": 2,
            "rebalance": True,
            "rebalance_threshold": 0.02,
            "filled_order_delay_s": 1,
        }
    },
    "three levels": {
        "maker": TOUCH
        | {"latency_ms": 20, "levels": 3, "level_spacing_bps": 0.5, "level_size_factor": 1.5, "order_size_percentage": 0.005},
        "limits": FREE,
    },
    "glft with a rebate": {"maker": {"quoting_model": "glft", "max_spread_bps": 5_000, "maker_fee_bps": -1}, "limits": FREE},
    "avellaneda and stoikov, long to begin with": {
        "maker": {"quoting_model": "avellaneda_stoikov", "latency_ms": 5, "initial_base": 0.01}
    },
    "a tiny request budget": {"maker": TOUCH | {"touch": "improve"}, "limits": {"max_requests_per_min": 5}},
    "a loss limit that is hit": {
        "maker": TOUCH | {"touch": "improve", "maker_fee_bps": 20},
        "limits": FREE | {"max_daily_loss_quote": 1},
    },
    "a collar that denies": {"maker": {"spread_percentage": 0.004}, "limits": {"price_collar_frac": 0.0019}},
    "a desk that changes its mind": {
        "maker": TOUCH | {"initial_base": 0.01, "max_order_age_s": 30},
        "limits": FREE,
        "desk": {"every_s": 7, "latency_ms": 1_500},
    },
    "a queue by power, a way by chance and lost requests": {
        "maker": TOUCH,
        "limits": FREE,
        "paper": {"queue_model": "power", "queue_power": 1.5, "latency_model": "log_normal", "api_failure_frac": 0.02},
    },
    "a queue by logarithms, a way as the feed's, and a halt over midnight": {
        "maker": TOUCH,
        "limits": FREE,
        "paper": {
            "queue_model": "log",
            "latency_model": "feed",
            "feed_latency_ms": 2,
            "halts": [["2024-08-08T23:59:00Z", "2024-08-09T00:01:00Z"], ["2024-08-09T00:03:00Z", "2024-08-09T00:03:10Z"]],
        },
    },
}


@pytest.fixture(scope="module")
def btc() -> Instrument:
    return instrument("binance", SYMBOL)


@pytest.fixture(scope="module")
def events(recordings: Path, btc: Instrument) -> list[MarketEvent]:
    """Ten minutes of two days, 99,574 messages."""
    path = recordings / "binance_spot_btcusdt_20240808" / "spot_btcusdt_events.parquet"
    if not path.exists():
        pytest.skip(f"{recordings} has no recorded BTC/USDT session")

    async def read() -> list[MarketEvent]:
        return [event async for batch in open_replay(path, SYMBOL, btc).batches() for event in batch]

    return asyncio.run(read())


@pytest.fixture(scope="module")
def market(events: list[MarketEvent], btc: Instrument) -> PreparedMarket:
    return prepared(events, btc)


def agreed(events: Sequence[MarketEvent], market: PreparedMarket, *answers: Any, **parts: Any) -> LiveRun:
    """Both drivers over the same events; they must agree."""
    settings = parts_of(**parts)
    live = run_live(events, market.instrument, settings, FixedDesk(*(answers or ("hold",))))
    assert not differences(live, run_compiled(market, settings, live.outcomes))
    return live


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_both_drivers_write_the_same_records(events: list[MarketEvent], market: PreparedMarket, name: str) -> None:
    live = agreed(events, market, *DESK, **CONFIGURATIONS[name])
    counts = live.lane.order_desk.counts
    match name:
        case "three levels":
            assert {order.level for order in live.lane.order_desk.orders.values()} == {0, 1, 2}
        case "rebalancing, fees in what is received":
            assert {fill.fee_asset for fill in live.ledger.fills} == {"BTC", "USDT"}
            assert {"maker", "taker"} == {str(fill.liquidity) for fill in live.ledger.fills}
        case "a tiny request budget":
            assert live.lane.counts.withheld_by["order_rate"]
        case "a loss limit that is hit":
            assert live.lane.counts.withheld_by["daily_loss"]
        case "a collar that denies":
            assert counts.denied_by["price_collar"]
        case "a desk that changes its mind":
            assert {each.outcome for each in live.lane.mandates} == {"proposal", "hold", "failed"}
            assert len({order.mandate_id for order in live.ledger.orders}) > 10
        case "a queue by power, a way by chance and lost requests":
            assert counts.rejected_by["request_failed"] > 10
        case "a queue by logarithms, a way as the feed's, and a halt over midnight":
            assert counts.rejected_by["halted"] > 100
            halt_ns = 1_723_161_540 * 10**9, 1_723_161_660 * 10**9
            assert not any(halt_ns[0] <= fill.ts_ns < halt_ns[1] for fill in live.ledger.fills)
            assert any(fill.ts_ns >= halt_ns[1] for fill in live.ledger.fills)
        case "as it comes" | "avellaneda and stoikov, long to begin with" | "glft with a rebate":
            assert counts.placed > 50
        case _:
            assert live.lane.counts.fills > 100
    assert any(each.event == "partially_filled" for each in live.ledger.order_events) or live.lane.counts.fills < 100


def test_both_decide_the_same_at_every_message_with_a_latency_of_a_millisecond(
    events: list[MarketEvent], btc: Instrument
) -> None:
    some = events[:40_000]
    live = agreed(some, prepared(some, btc), maker={"touch": "join", "latency_ms": 1, "min_requote_ms": 0}, limits=FREE)
    assert live.lane.counts.reconsidered > 39_000
    assert live.lane.counts.fills > 300


def test_both_pull_their_quotes_at_the_same_time_when_data_are_missing(events: list[MarketEvent], btc: Instrument) -> None:
    """Twenty seconds without a word, and later ten without an update of the book; data older than two seconds are stale."""
    begin_ns = events[0].ts_init_ns
    some = [
        event
        for event in events[:60_000]
        if not 60 <= (at_s := (event.ts_init_ns - begin_ns) / 1e9) < 80 and (isinstance(event, Trade) or not 120 <= at_s < 130)
    ]
    live = agreed(some, prepared(some, btc), maker=TOUCH, limits=FREE | {"max_data_age_ms": 2_000})
    assert [each.reason for each in live.ledger.quote_states if each.reason in ("stale", "gap")][:2] == ["stale", "stale"]


def test_both_meet_a_gap_and_the_late_snapshot_after_it_alike(events: list[MarketEvent], btc: Instrument) -> None:
    """Updates are lost; the snapshot that heals the book is older than some updates that wait for it."""
    some, taken_out = with_a_gap(events[:50_000], lost_from=15_000, lost_to=15_050, taken_at=20_000, told_at=20_400)
    assert taken_out
    live = agreed(some, prepared(some, btc), maker=TOUCH, limits=FREE)
    assert len(live.lane.sync.gaps) == 1
    assert live.lane.sync.counts[Applied.BUFFERED] > live.lane.sync.counts[Applied.GAP]
    assert [each.reason for each in live.ledger.quote_states].count("gap") == 2
    assert any(each.ts_ns > some[21_000].ts_init_ns for each in live.ledger.fills)


def test_all_configurations_are_one_compiled_function(events: list[MarketEvent], market: PreparedMarket) -> None:
    """A setting never changes a type, so that nobody waits for the compiler twice."""
    agreed(events[:2_000], prepared(events[:2_000], market.instrument), **CONFIGURATIONS["as it comes"])
    compiled: Any = compile_kernel(l2_kernel.run, apart=APART, allocates=False)
    assert len(compiled.signatures) == 1


def with_a_gap(
    events: Sequence[MarketEvent], *, lost_from: int, lost_to: int, taken_at: int, told_at: int
) -> tuple[list[MarketEvent], int]:
    """Without the deltas of a range, and with a snapshot of the book as of one message that is told at a later one; and how
    many were lost."""
    sync = SyncedBook(OrderBook())
    snapshot: BookSnapshot | None = None
    told: list[MarketEvent] = []
    lost = 0
    for at, event in enumerate(events):
        sync.apply(event)
        if at == taken_at:
            bids, asks = (tuple(sync.book.depth_levels(side, 10**6)) for side in (BUY, SELL))
            snapshot = BookSnapshot(0, events[told_at].ts_init_ns, sync.book.last_update_id, bids, asks)
        if lost_from <= at < lost_to and isinstance(event, BookDelta):
            lost += 1
            continue
        if at == told_at:
            assert snapshot is not None
            told.append(snapshot)
        told.append(event)
    return told, lost
