"""Random small markets, configurations and mandates through both drivers, and through a compiled run that is interrupted.

The markets hold what a recording may: quotes that cross or have one side, updates lost and told late, snapshots that are too
old, silence, and trades anywhere near. Orders rest near them, so that queues, fills, refusals and races all happen.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.backtest import l2_lane
from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_market import prepare_market
from autohedge.domain.mandate import MandateProposal, Regime, RiskLevel
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, TopOfBook, Trade
from autohedge.errors import ConfigError
from autohedge.market.event_rows import columns_of
from autohedge.market.instruments import simulated_instrument
from autohedge.settings import Settings
from tests.integration.backtest.twins import (
    SYMBOL,
    Drive,
    LiveRun,
    differences,
    lane_of,
    parts_of,
    prepared,
    run_compiled,
    run_live,
)
from tests.integration.session.rig import MS, START_NS, FixedDesk

COIN = simulated_instrument(SYMBOL)
MID = 10_000
START = datetime(2024, 1, 1, tzinfo=UTC)


class Street:
    """A market made up by chance: prices in ticks around 100.00, sizes in lots; time may stand still between two steps."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now_ns = START_NS
        self.mid = MID
        self.events: list[MarketEvent] = []
        self.update_id = self.depth_id = self.trade_id = 100
        self.snapshot(1)

    def step(self) -> None:
        """One message more, mostly one that a calm market sends."""
        rng = self.rng
        self.now_ns += int(rng.choice((0, 0, 1, 7, 40, 100, 130, 260)) * MS)
        what = rng.random()
        if what < 0.40:
            self.trade()
        elif what < 0.60:
            self.top(rng.choice((-1, 0, 0, 0, 1)), 1, rng.choice(SIZES), rng.choice(SIZES))
        elif what < 0.85:
            self.delta(rng.choice((0,) * 30 + (2,)))
        elif what < 0.92:
            self.top(rng.randint(-4, 4), rng.choice((1, 1, 2, 5)), rng.choice(SIZES), rng.choice(SIZES))
        elif what < 0.95:
            self.top(0, rng.choice((0, -1, 1)), rng.choice((0, *SIZES)), rng.choice((0, *SIZES)))
        elif what < 0.975:
            self.snapshot(rng.choice((1, 1, 2)))
        elif what < 0.985:
            self.old_snapshot()
        elif what < 0.995:
            self.events.append(self.events[-1]._replace(ts_init_ns=self.now_ns))
        else:
            self.now_ns += rng.choice((600, 1_500, 7_000)) * MS

    def snapshot(self, half: int) -> None:
        """Twelve levels a side."""
        self.depth_id = self.update_id = self.update_id + 1
        bids: tuple[Level, ...] = tuple((self.mid - half - i, self.rng.choice(SIZES)) for i in range(12))
        asks: tuple[Level, ...] = tuple((self.mid + half + i, self.rng.choice(SIZES)) for i in range(12))
        self.events.append(BookSnapshot(0, self.now_ns, self.update_id, bids, asks))

    def old_snapshot(self) -> None:
        """One that misses the last update or more."""
        newest = self.update_id
        self.update_id -= self.rng.randint(2, 9)
        self.snapshot(1)
        self.depth_id = self.update_id = newest

    def top(self, move: int, half: int, bid_lots: int, ask_lots: int) -> None:
        self.update_id += 1
        self.mid += move
        bid = (self.mid - half, bid_lots) if bid_lots else (0, 0)
        ask = (self.mid + half, ask_lots) if ask_lots else (0, 0)
        self.events.append(TopOfBook(0, self.now_ns, self.update_id, *bid, *ask))

    def delta(self, lost: int) -> None:
        first = self.depth_id + 1 + lost
        self.depth_id = self.update_id = self.update_id + 1 + lost
        nearest = self.rng.choice((1, 1, 1, 1, 1, 1, 0, -1))
        sides = []
        for side in (-1, 1):
            offs = [self.rng.randint(nearest, 8) for _ in range(self.rng.randint(0, 4))]
            sides.append(tuple({self.mid + side * off: self.rng.choice((0, *SIZES)) for off in offs}.items()))
        self.events.append(BookDelta(0, self.now_ns, first, self.update_id, sides[0], sides[1]))

    def trade(self) -> None:
        self.trade_id += 1
        aggressor = self.rng.choice((BUY, SELL))
        off = self.rng.choice((1, 1, 1, 1, 0, 2, 3, 5, -1)) * aggressor
        self.events.append(Trade(0, self.now_ns, self.trade_id, self.mid + off, self.rng.choice(SIZES), aggressor))


SIZES = (100, 300, 1_000, 3_000, 9_000, 20_000)
MAKER: dict[str, tuple[Any, ...]] = {
    "touch": ("join", "join", "improve", "distance"),
    "quoting_model": ("fixed_spread", "order_book", "glft", "glft_exact", "avellaneda_stoikov"),
    "fair_value": ("mid", "mid", "microprice"),
    "toxic_imbalance": (0, 0, 0.3),
    "toxic_depletion_frac": (0, 0, 0.5),
    "toxicity_action": ("pull", "widen"),
    "toxic_hold_s": (0, 0.3),
    "base_spread_bps": (1, 3, 10),
    "max_spread_bps": (200,),
    "latency_ms": (0.5, 5, 60, 400),
    "min_requote_ms": (0, 1, 50, 200),
    "levels": (1, 1, 2, 4),
    "level_spacing_bps": (1, 3),
    "maker_fee_bps": (-1, 0, 2.5, 10),
    "taker_fee_bps": (0, 7.5),
    "fee_asset": ("quote", "received"),
    "initial_base": (0, 0.7, 5),
    "rebalance": (False, True),
    "rebalance_threshold": (0.005, 0.02, 0.1),
    "order_size_percentage": (0.002, 0.01, 0.05),
    "max_inventory_exposure": (0.06, 0.2),
    "size_by_confidence": (False, True),
    "refresh_tolerance_bps": (0, 3),
    "max_order_age_s": (0.2, 1_800, 1_800),
    "filled_order_delay_s": (0, 0, 0.3),
    "skew_factor": (0.0, 0.3, 1.0),
}
LIMITS: dict[str, tuple[Any, ...]] = {
    "max_requests_per_min": (4, 40, 100_000, 100_000),
    "max_daily_loss_quote": (0.5, 1_000, 1_000),
    "price_collar_frac": (0.0002, 0.05, 0.05, 0.05),
    "max_data_age_ms": (90, 1_000, 5_000),
    "max_inventory_imbalance": (0.05, 0.4, 0.4),
    "duplicate_window_ms": (0, 1_000),
}
QUEUES: dict[str, tuple[Any, ...]] = {
    "queue_model": ("behind_all", "power", "log"),
    "queue_power": (0.5, 1, 2, 3.7),
    "latency_model": ("constant", "constant", "exponential", "log_normal", "feed", "recorded"),
    "latency_mean_ms": (1, 30, 200),
    "latency_sigma": (0.5, 2),
    "feed_latency_ms": (0, 0, 12.5),
    "api_failure_frac": (0, 0, 0.05, 0.4),
}
PACE: dict[str, tuple[Any, ...]] = {"every_s": (0.4, 1.0, 5.0), "latency_ms": (0, 50, 900)}
ENVELOPE = {"ttl_min_s": 0.2, "inventory_bias_max_change": 1.0, "spread_multiplier_max_change": 5.0, "size_multiplier_min": 0.0}

EXAMPLES = settings(max_examples=300, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**62)
LENGTHS = st.integers(20, 300)


def told(rng: Random, length: int) -> list[MarketEvent]:
    """A market of that many steps; a shorter one with the same chance is its beginning. Half of it says when it happened."""
    street = Street(rng)
    for _ in range(length):
        street.step()
        if rng.random() < 0.5:
            event = street.events[-1]
            street.events[-1] = event._replace(ts_event_ns=event.ts_init_ns - rng.choice((-5, 0, 3, 50, 400)) * MS)
    return street.events


def chosen(rng: Random, latency_file: Path | None = None) -> Settings:
    """Any configuration; with a file of recorded latencies also any conditions at the venue."""
    maker, limits, desk, paper = (
        {name: rng.choice(values) for name, values in each.items()} for each in (MAKER, LIMITS, PACE, QUEUES)
    )
    if latency_file is None:
        return parts_of(maker=maker, limits=limits, desk=desk, envelope=ENVELOPE)
    if paper["latency_model"] == "recorded":
        paper["latency_file"] = str(latency_file)
    bounds = sorted(rng.randint(0, 20_000) for _ in range(2 * rng.choice((0, 0, 1, 3))))
    times = [START + timedelta(milliseconds=ms) for ms in dict.fromkeys(bounds)]
    paper["halts"] = list(zip(times[::2], times[1::2], strict=False))
    return parts_of(maker=maker, limits=limits, desk=desk, envelope=ENVELOPE, paper=paper, seed=rng.randint(0, 9))


def said(rng: Random) -> list[MandateProposal | str]:
    """What a desk without a plan says."""
    return [
        rng.choice(("hold", "failed"))
        if rng.random() < 0.2
        else MandateProposal(
            rng.choice((0.5, 1.0, 1.0, 1.4, 9.0)),
            rng.choice((-1.0, -0.2, 0.0, 0.4)),
            rng.choice((0.0, 0.3, 1.0, 1.0)),
            rng.choice((0.3, 1.0, 100.0)),
            Regime.RANGE_BOUND,
            rng.choice(list(RiskLevel)),
        )
        for _ in range(5)
    ]


SEEN: Counter[str] = Counter()


def note(live: LiveRun) -> None:
    """What happened in these markets; a test below wants to have seen everything that can."""
    for each in live.ledger.order_events:
        SEEN[f"{each.event} {each.detail.split(':')[0]}".strip()] += 1
    SEEN.update(f"denied {reason}" for reason in live.lane.order_desk.counts.denied_by)
    SEEN.update(f"withheld {reason}" for reason in live.lane.counts.withheld_by)
    SEEN.update(f"fill {fill.liquidity}" for fill in live.ledger.fills)
    SEEN.update(f"book {name}" for name, count in live.lane.sync.counts.items() if count)


@pytest.fixture(scope="module")
def latency_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded latencies of half a minute."""
    path = tmp_path_factory.mktemp("latencies") / "latencies.csv"
    rows = "".join(f"{START_NS + i * 77 * MS},{i * 7_919 % 300 * MS}\n" for i in range(400))
    path.write_text("ts_ns,latency_ns\n" + rows)
    return path


@EXAMPLES
@given(SEEDS, LENGTHS, st.booleans())
def test_both_drivers_agree_on_any_market(latency_file: Path, seed: int, length: int, plain: bool) -> None:
    rng = Random(seed)
    config, desk, events = chosen(rng, None if plain else latency_file), said(rng), told(rng, length)
    live = run_live(events, COIN, config, FixedDesk(*desk))
    note(live)
    assert not differences(live, run_compiled(prepared(events, COIN), config, live.outcomes))


def test_the_random_markets_show_everything_that_can_happen() -> None:
    """Of the test above: a strategy that never meets a case would prove nothing about it."""
    if not SEEN:
        pytest.skip("the markets were not run")
    wanted = {
        "accepted", "filled", "partially_filled", "cancelled refresh", "cancel_rejected not_open", "fill maker", "fill taker",
        "rejected post_only_would_cross", "rejected no_market", "cancelled gap", "cancelled stale", "cancelled session_end",
        "denied price_collar", "withheld order_rate", "withheld daily_loss", "withheld inventory_imbalance", "withheld crossed",
        "withheld one_sided", "withheld rebalance", "withheld paused", "withheld exposure_cap", "book gap", "book buffered",
        "book duplicate", "book out_of_order", "book unsynced", "rejected request_failed", "cancel_rejected request_failed",
        "rejected halted",
    }  # fmt: skip
    assert not wanted - set(SEEN), SEEN


# --- interrupted ------------------------------------------------------------------------------------------------------------


def in_random_steps(rng: Random) -> Drive:
    """Moves a lane by small steps, some of which hold no message and some of which end within a moment."""

    def drive(lane: CompiledLane, until_ns: int) -> None:
        end_ns = min(until_ns, lane.market.end_ns)
        at_ns = int(lane.state.now_ns)
        while at_ns < end_ns:
            at_ns = min(end_ns, at_ns + rng.choice((0, 1, 3 * MS, 100 * MS, 2_000 * MS)) + rng.randint(0, MS))
            lane.advance(at_ns)
        lane.advance(until_ns)

    return drive


def logs_of(lane: CompiledLane) -> list[list[list[int]]]:
    """Everything that the loop wrote."""
    names = ("orders", "events", "fills", "quote_states", "mids", "samples", "quotes")
    return [lane.log(name).tolist() for name in names]


@settings(EXAMPLES, max_examples=60)
@given(SEEDS)
def test_an_interrupted_run_writes_what_an_uninterrupted_one_does(latency_file: Path, seed: int) -> None:
    rng = Random(seed)
    config, desk, events = chosen(rng, latency_file), said(rng), told(rng, 200)
    outcomes = run_live(events, COIN, config, FixedDesk(*desk)).outcomes
    market = prepared(events, COIN)
    whole = run_compiled(market, config, outcomes)
    parts = run_compiled(market, config, outcomes, in_random_steps(rng))
    assert logs_of(parts) == logs_of(whole)
    assert parts.state.tolist() == whole.state.tolist()


def test_tables_that_are_full_are_made_longer_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(5)
    events = told(rng, 12_000)
    config = parts_of(
        maker={"touch": "join", "min_requote_ms": 0, "latency_ms": 400, "levels": 4, "refresh_tolerance_bps": 0},
        limits={"max_requests_per_min": 1_000_000},
    )
    market = prepared(events, COIN)
    roomy = run_compiled(market, config, ())
    monkeypatch.setattr(l2_lane, "_LOG_ROOM", 2_700)
    monkeypatch.setattr(l2_lane, "_WORKING_ROOM", -8)
    tight = lane_of(market, config)
    room = {name: table.shape for name, table in tight._tables._asdict().items()}
    assert tight.open()
    tight.advance()
    tight.drain()
    grown = {name for name, table in tight._tables._asdict().items() if table.shape != room[name]}
    assert {"orders", "decision", "commands", "event_log"} <= grown
    assert logs_of(tight) == logs_of(roomy)


# --- one by one -------------------------------------------------------------------------------------------------------------


def test_nobody_meets_the_book_between_a_snapshot_and_the_updates_that_waited_for_it() -> None:
    """The snapshot alone would cross our bid; with the update that waits for it, it does not, and nothing is filled."""
    ns = START_NS
    bids, asks = ((9_999, 9_000),), ((10_001, 9_000),)
    events: list[MarketEvent] = [
        BookSnapshot(0, ns, 100, bids, asks),
        TopOfBook(0, ns + 100 * MS, 101, *bids[0], *asks[0]),
        BookDelta(0, ns + 900 * MS, 101, 102, bids, ()),
        BookDelta(0, ns + 910 * MS, 110, 111, (), ((9_998, 0),)),
        BookSnapshot(0, ns + 920 * MS, 109, ((9_997, 9_000),), ((9_998, 500), (10_001, 9_000))),
        Trade(0, ns + 930 * MS, 1, 10_001, 1, BUY),
    ]
    config = parts_of(maker={"touch": "join", "latency_ms": 300, "rebalance": False})
    live = run_live(events, COIN, config)
    compiled = run_compiled(prepared(events, COIN), config, live.outcomes)
    assert not differences(live, compiled)
    assert [each.event for each in live.ledger.order_events] == ["accepted", "cancelling", "cancelled"]
    assert live.lane.sync.counts["applied"] == 6  # type: ignore[index]


def test_amounts_that_do_not_fit_64_bits_are_refused_and_the_largest_that_fit_are_right() -> None:
    events = told(Random(11), 200)
    market = prepared(events, COIN)
    limits = {"max_order_notional_quote": 10**15}

    def rich(capital: int) -> Settings:
        return parts_of(maker={"total_capital": capital, "touch": "join", "latency_ms": 5, "maker_fee_bps": 3}, limits=limits)

    most = 1
    with pytest.raises(ConfigError, match="64-bit"):
        while True:
            lane_of(market, rich(10 * most))
            most *= 10
    assert most >= 10**6
    live = run_live(events, COIN, rich(most))
    assert live.lane.counts.fills
    assert not differences(live, run_compiled(market, rich(most), live.outcomes))


def test_displayed_sizes_that_do_not_fit_64_bits_are_refused() -> None:
    events = [BookSnapshot(0, START_NS, 1, ((9_999, 2**52),), ((10_001, 1),))]
    with pytest.raises(ConfigError, match="64-bit"):
        lane_of(prepare_market(columns_of(events), COIN), parts_of())
