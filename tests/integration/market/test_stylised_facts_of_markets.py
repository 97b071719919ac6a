"""The simulated market has the stylised facts that the recorded one has, and a market without features has not."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from autohedge.backtest.featureless import featureless_market
from autohedge.backtest.stylised_facts import FACTS, StylisedFacts, measure, pooled
from autohedge.domain.market_data import MarketEvent
from autohedge.market.instruments import simulated_instrument
from autohedge.simulation.market_generator import MarketGenerator
from autohedge.simulation.market_parameters import MarketParameters

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "experimental" / "stylised_facts.py"
SEEDS = range(8)
DURATION_S = 1_800
START_NS = 1_704_067_200_000_000_000
SHARED = {"return_memory", "variance_ratio", "one_tick_frac", "depth_behind"}
"""Facts of every fair market with a small spread: no memory of returns, one tick, as much behind as in front."""


@pytest.fixture(scope="module")
def simulated() -> StylisedFacts:
    """The mean over eight seeds of half an hour with the default parameters."""
    coin = simulated_instrument("BTC/USDT")
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


def shown() -> dict[str, list[str]]:
    """The cells after the name of each row of the table in docs/simulated-market.md: what it is, band, three markets."""
    page = (ROOT / "docs" / "simulated-market.md").read_text(encoding="utf-8")
    rows = [re.split(r" *\| *", line.strip("| ")) for line in page.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_page_shows_what_is_measured(simulated: StylisedFacts, featureless: StylisedFacts) -> None:
    cells = runpy.run_path(str(SCRIPT))["cells"]
    table = shown()
    assert list(table) == list(FACTS)
    assert [row[1] for row in table.values()] == [f"{fact.low:g} … {fact.high:g}" for fact in FACTS.values()]
    assert [row[3] for row in table.values()] == cells(simulated)
    assert [row[4] for row in table.values()] == cells(featureless)


def test_the_page_shows_what_the_recording_is_like(real: StylisedFacts) -> None:
    assert [row[2] for row in shown().values()] == runpy.run_path(str(SCRIPT))["cells"](real)


def test_the_script_prints_the_table_without_a_recording() -> None:
    command = [sys.executable, str(SCRIPT), "--seeds", "2", "--seconds", "400"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "| fact | what it is | band | simulated | random walk |"
    assert len(lines) == 2 + len(FACTS)
