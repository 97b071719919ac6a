"""Is the simulated market like a real one? `python experimental/stylised_facts.py [RECORDING] [--seeds N] [--seconds S]`.

Measures the stylised facts of the simulated market (the mean over some seeds), of a market without any feature, and of a
recording when one is named, and prints them side by side as a Markdown table, each with its standard error and its band. A
number outside its band is marked with a `!`. Needs numpy: `pip install 'autohedge[backtest]'`.
"""

import argparse
import asyncio
import math
from pathlib import Path

from autohedge.backtest.featureless import featureless_market
from autohedge.backtest.stylised_facts import FACTS, Fact, StylisedFacts, measure, measure_feed, pooled
from autohedge.market.instruments import instrument, simulated_instrument
from autohedge.market.recordings import open_replay, recorded_instrument, symbol_of
from autohedge.simulation.feed import DEFAULT_START_NS, SimulatedFeed

SYMBOL = "BTC/USDT"


async def main(recording: Path | None, seeds: int, seconds: float) -> None:
    coin = simulated_instrument(SYMBOL)
    columns = {"band": [f"{fact.low:g} … {fact.high:g}" for fact in FACTS.values()]}
    if recording is not None:
        symbol = symbol_of(recording) or SYMBOL
        rules = recorded_instrument(recording, symbol) or instrument("binance", symbol)
        columns["recorded"] = cells(await measure_feed(open_replay(recording, symbol, rules)))
    simulated = [await measure_feed(SimulatedFeed(coin, seed, seconds)) for seed in range(seeds)]
    walks = [measure(featureless_market(seed, seconds, DEFAULT_START_NS)) for seed in range(seeds)]
    columns["simulated"], columns["random walk"] = cells(pooled(simulated)), cells(pooled(walks))
    print(f"| fact | what it is | {' | '.join(columns)} |")
    print("|---|---|" + "---|" * len(columns))
    for at, (name, fact) in enumerate(FACTS.items()):
        print(f"| `{name}` | {fact.meaning} {fact.sources} | {' | '.join(column[at] for column in columns.values())} |")


def cells(facts: StylisedFacts) -> list[str]:
    return [cell(fact, *facts.estimates[name]) for name, fact in FACTS.items()]


def cell(fact: Fact, value: float, error: float) -> str:
    if math.isnan(value):
        return "none !"
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{places}f} ± {error:.{places}f}{'' if fact.low <= value <= fact.high else ' !'}"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("recording", nargs="?", type=Path)
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--seconds", type=float, default=1_800.0)
    given = options.parse_args()
    asyncio.run(main(given.recording, given.seeds, given.seconds))
