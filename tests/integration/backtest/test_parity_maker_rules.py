"""Fair value, toxicity guard, exact model: both drivers quote, withhold and widen alike, on the record and by chance."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.settings import Settings
from tests.integration.backtest.test_parity_random import COIN, LIMITS, MAKER, PACE, SIZES, Street, said
from tests.integration.backtest.twins import SYMBOL, differences, parts_of, prepared, run_compiled, run_live
from tests.integration.session.rig import MS, FixedDesk

FREE = {"max_requests_per_min": 1_000_000}
JOIN = {"touch": "join", "latency_ms": 5, "initial_base": 0.01}
GUARD = {"toxic_trades_ratio": 3.0, "toxic_depletion_frac": 0.05, "toxic_imbalance": 0.9}
EXACT = {"quoting_model": "glft_exact", "risk_aversion": 6e-7, "intensity_decay_per_tick": 0.004, "arrival_rate_per_s": 0.66}

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "the microprice": {"maker": {"fair_value": "microprice", "spread_percentage": 0.00005, "refresh_tolerance_bps": 0}},
    "a guard that pulls": {"maker": JOIN | GUARD},
    "a guard that widens": {
        "maker": JOIN | GUARD | {"toxicity_action": "widen", "toxicity_widen_factor": 40, "toxic_hold_s": 0}
    },
    "places in queues and hanging orders": {
        "maker": JOIN | {"queue_value_bps": 2.0, "hanging_orders": True, "hanging_cancel_bps": 3, "filled_order_delay_s": 0.5}
    },
    "the exact model": {"maker": EXACT | {"initial_base": 0.01, "inventory_limit_orders": 4, "neutral_base": 0.005}},
}


@pytest.fixture(scope="module")
def btc() -> Instrument:
    return instrument("binance", SYMBOL)


@pytest.fixture(scope="module")
def events(recordings: Path, btc: Instrument) -> list[MarketEvent]:
    """Four minutes of the recorded session."""
    path = recordings / "binance_spot_btcusdt_20240808" / "spot_btcusdt_events.parquet"
    if not path.exists():
        pytest.skip(f"{recordings} has no recorded BTC/USDT session")

    async def read() -> list[MarketEvent]:
        return [event async for batch in open_replay(path, SYMBOL, btc).batches() for event in batch]

    return asyncio.run(read())[:40_000]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_both_drivers_write_the_same_records(events: list[MarketEvent], btc: Instrument, name: str) -> None:
    config = parts_of(**CONFIGURATIONS[name], limits=FREE)
    live = run_live(events, btc, config)
    assert not differences(live, run_compiled(prepared(events, btc), config, live.outcomes))
    withheld = live.lane.counts.withheld_by
    match name:
        case "a guard that pulls":
            assert {"toxic_trades", "toxic_depletion", "toxic_imbalance"} <= set(withheld)
        case "a guard that widens":
            assert not any(reason.startswith("toxic") for reason in withheld)
        case "the exact model":
            assert withheld["inventory_limit"]
    assert live.lane.counts.fills > 10


class CalmStreet(Street):
    """A street long enough to know what is usual: nothing is lost, and the best prices are seldom crossed."""

    def step(self) -> None:
        rng = self.rng
        self.now_ns += rng.choice((7, 40, 130, 260, 900)) * MS
        what = rng.random()
        if what < 0.45:
            self.trade()
        elif what < 0.75:
            self.top(rng.choice((-1, 0, 0, 1)), 1, rng.choice(SIZES), rng.choice(SIZES))
        elif what < 0.95:
            self.delta(0)
        else:
            self.snapshot(1)


EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
RULES: dict[str, tuple[Any, ...]] = {
    "quoting_model": ("fixed_spread", "order_book", "glft_exact", "glft_exact"),
    "fair_value": ("mid", "microprice"),
    "inventory_limit_orders": (1, 2, 30),
    "risk_aversion": (1e-6, 0.01, 1.0),
    "toxic_trades_ratio": (0, 0.3, 2.0),
    "toxic_window_s": (0.01, 0.5, 3.0),
    "toxic_depletion_frac": (0, 0.3),
    "toxic_imbalance": (0, 0.2, 0.8),
    "toxic_hold_s": (0, 0.3),
    "toxicity_action": ("pull", "widen"),
    "toxicity_widen_factor": (1, 2.5, 100),
    "request_reserve_frac": (0, 0.5, 1),
    "queue_value_bps": (0, 5, 100),
    "hanging_orders": (False, True),
    "hanging_cancel_bps": (1, 4),
}
SEEN: Counter[str] = Counter()


def chosen(rng: Random) -> Settings:
    """Any configuration, with any of the rules."""
    maker, limits, desk = (
        {name: rng.choice(values) for name, values in each.items()} for each in (MAKER | RULES, LIMITS, PACE)
    )
    return parts_of(maker=maker, limits=limits, desk=desk)


@EXAMPLES
@given(st.integers(0, 2**62), st.integers(100, 300))
def test_both_drivers_agree_on_any_market(seed: int, length: int) -> None:
    rng = Random(seed)
    config, desk, street = chosen(rng), said(rng), CalmStreet(rng)
    for _ in range(length):
        street.step()
    live = run_live(street.events, COIN, config, FixedDesk(*desk))
    SEEN.update(live.lane.counts.withheld_by)
    assert not differences(live, run_compiled(prepared(street.events, COIN), config, live.outcomes))


def test_the_random_markets_show_every_rule_at_work() -> None:
    """Of the test above: a strategy that never meets a rule would prove nothing about it."""
    if not SEEN:
        pytest.skip("the markets were not run")
    wanted = {"toxic_trades", "toxic_depletion", "toxic_imbalance", "inventory_limit"}
    assert not wanted - set(SEEN), SEEN
