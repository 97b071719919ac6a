"""The simulated market has the stylised facts that the recorded one has, and a market without features has not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from autohedge.backtest.featureless import featureless_market
from autohedge.backtest.stylised_facts import FACTS, StylisedFacts, measure, pooled
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.simulation.market_generator import MarketGenerator
from autohedge.simulation.market_parameters import MarketParameters

SEEDS = range(8)
DURATION_S = 1_800
START_NS = 1_704_067_200_000_000_000
SHARED = {"return_memory", "variance_ratio", "one_tick_frac", "depth_behind"}
"""Facts of every fair market with a small spread: no memory of returns, one tick, as much behind as in front."""


@pytest.fixture(scope="module")
def simulated() -> StylisedFacts:
    """The mean over eight seeds of half an hour with the default parameters."""
    coin = Instrument(
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
    markets = (MarketGenerator(coin, seed, DURATION_S, START_NS, MarketParameters()) for seed in SEEDS)
    return pooled([measure(event for action in market.actions() for event in action) for market in markets])


@pytest.fixture(scope="module")
def featureless() -> StylisedFacts:
    """The mean over eight seeds of half an hour of a random walk with Poisson trades."""
    return pooled([measure(featureless_market(seed, DURATION_S, START_NS)) for seed in SEEDS])


@pytest.fixture(scope="module")
def real(events: list[MarketEvent]) -> StylisedFacts:
    """The recorded session."""
    return measure(events)


@pytest.mark.parametrize("name", FACTS)
def test_the_simulated_market_has_the_fact(simulated: StylisedFacts, name: str) -> None:
    assert FACTS[name].holds(simulated.estimates[name]), simulated.estimates[name]


@pytest.mark.parametrize("name", FACTS)
def test_the_recorded_session_has_the_fact(real: StylisedFacts, name: str) -> None:
    assert FACTS[name].holds(real.estimates[name]), real.estimates[name]


def test_a_random_walk_with_poisson_trades_has_none_but_those_of_every_fair_market(featureless: StylisedFacts) -> None:
    """The bands tell a market from noise: what a featureless one meets is named, and nothing else."""
    assert set(featureless.outside()) == set(FACTS) - SHARED


def test_most_facts_tell_the_simulated_market_from_a_random_walk_by_far(
    simulated: StylisedFacts, featureless: StylisedFacts
) -> None:
    """By more than five standard errors, wherever the random walk has a number at all."""
    apart = [
        name
        for name in set(FACTS) - SHARED
        if not abs(simulated.estimates[name].value - featureless.estimates[name].value)
        <= 5 * (simulated.estimates[name].error + featureless.estimates[name].error)
    ]
    assert len(apart) >= len(set(FACTS) - SHARED) - 4


def test_clusters_of_volatility_fade_slowly_and_tails_grow_thinner_with_the_horizon(simulated: StylisedFacts) -> None:
    """Ten to thirty seconds later a quarter of the autocorrelation is left at least; 10 s returns are nearer the normal."""
    facts = simulated.estimates
    assert facts["clustering_near"].value > facts["clustering_far"].value > facts["clustering_near"].value / 4
    assert facts["kurtosis_1s"].value > facts["kurtosis_10s"].value
