"""The measurement of stylised facts, on markets made to have just one: each band tells it from its absence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from autohedge.backtest.featureless import featureless_market
from autohedge.backtest.stylised_facts import FACTS, StylisedFacts, measure, measure_feed, pooled
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookSnapshot, MarketEvent, Side, TopOfBook, Trade
from autohedge.errors import MarketDataError
from autohedge.simulation.feed import SimulatedFeed

START_NS = 1_704_067_200_000_000_000
S = 1_000_000_000
SECONDS = 2_000


def market(
    mids: Iterable[int] = (10_000,) * SECONDS,
    orders: Sequence[tuple[float, Side, int]] = (),
    *,
    half_spread: int = 1,
    best_lots: int = 100,
    behind_lots: int = 100,
) -> Iterator[MarketEvent]:
    """One top of the book in each second, and the given (seconds, side, lots) orders at its best prices; 200 dull ones else."""
    tops: list[MarketEvent] = []
    trades: list[MarketEvent] = []
    path = list(mids)
    for second, mid in enumerate(path):
        at_ns = START_NS + second * S
        tops.append(TopOfBook(at_ns, at_ns, second + 2, mid - half_spread, best_lots, mid + half_spread, best_lots))
    for number, (at_s, side, lots) in enumerate(orders or [(9.5 * each, BUY, 10) for each in range(1, 204)]):
        at_ns = START_NS + int(at_s * S)
        price = path[int(at_s)] + side * half_spread
        trades.append(Trade(at_ns, at_ns, number, price, lots, side))
    bids = tuple((path[0] - half_spread - each, best_lots if not each else behind_lots) for each in range(30))
    asks = tuple((path[0] + half_spread + each, best_lots if not each else behind_lots) for each in range(30))
    yield BookSnapshot(START_NS, START_NS, 1, bids, asks)
    yield from sorted([*tops, *trades], key=lambda event: event.ts_init_ns)


def walk(steps: Iterable[float]) -> list[int]:
    return [10_000 + round(each) for each in np.cumsum(list(steps))]


def value(name: str, events: Iterable[MarketEvent]) -> float:
    return measure(events).estimates[name].value


def holds(name: str, events: Iterable[MarketEvent]) -> bool:
    return FACTS[name].holds(measure(events).estimates[name])


# --- each band can fail, and for its own reason ---------------------------------------------------------------------------


def test_returns_that_go_on_or_come_back_are_not_without_memory() -> None:
    shocks = np.random.default_rng(1).normal(0, 5, SECONDS)
    trend = np.convolve(shocks, np.ones(8) / 8, mode="same")
    assert not holds("return_memory", market(walk(trend)))
    assert not holds("variance_ratio", market(walk(trend)))
    assert not holds("variance_ratio", market([10_000 + round(each) for each in shocks]))
    assert holds("variance_ratio", market(walk(shocks)))


def test_heavy_tails_are_told_from_normal_ones() -> None:
    random = np.random.default_rng(2)
    cubic, normal = 4 * random.standard_t(3, SECONDS), random.normal(0, 6, SECONDS)
    for name in ("kurtosis_1s", "tail_index"):
        assert holds(name, market(walk(cubic)))
        assert not holds(name, market(walk(normal)))


def test_clusters_of_volatility_are_told_from_heavy_tails_alone() -> None:
    random = np.random.default_rng(3)
    level = np.repeat(random.choice([4.0, 12.0], 80), 100)
    clustered, scattered = level * random.normal(size=8_000), random.permutation(level) * random.normal(size=8_000)
    for name in ("clustering_near", "clustering_far"):
        assert holds(name, market(walk(clustered)))
        assert not holds(name, market(walk(scattered)))


def test_wide_spreads_and_bare_depth_are_seen() -> None:
    path = walk(np.random.default_rng(8).choice([1, -1], SECONDS))
    assert value("one_tick_frac", market(path)) == 0.0  # two ticks, all the time
    assert value("wide_frac", market(path)) == 0.0
    assert value("wide_frac", market(path, half_spread=2)) == 1.0
    assert holds("depth_behind", market((20_000,) * SECONDS))
    assert not holds("depth_behind", market((20_000,) * SECONDS, best_lots=1_000, behind_lots=1))


def signs(next_side: Callable[[int], int], count: int = 6_000) -> list[tuple[float, Side, int]]:
    side, orders = 1, []
    for number in range(count):
        side = next_side(side)
        orders.append((number * (SECONDS - 1) / count, Side(side), 10))
    return orders


def test_long_memory_of_signs_is_told_from_short_memory_and_from_none() -> None:
    """Parent orders with a Pareto number of pieces have it; a side that is kept four times in five does not."""
    random = np.random.default_rng(4)
    left = 0

    def parents(side: int) -> int:
        nonlocal left
        if left == 0:
            left, side = min(200, int(random.pareto(1.5)) + 1), int(random.choice([1, -1]))
        left -= 1
        return side

    long, short = signs(parents), signs(lambda side: side if random.random() < 0.8 else -side)
    none = signs(lambda side: int(random.choice([1, -1])))
    assert all(holds(name, market(orders=long)) for name in ("sign_memory_1", "sign_memory_10", "sign_exponent"))
    assert holds("sign_memory_1", market(orders=short))
    assert not holds("sign_memory_10", market(orders=short))
    assert not any(holds(name, market(orders=none)) for name in ("sign_memory_1", "sign_memory_10", "sign_exponent"))


def test_sizes_and_times_of_orders() -> None:
    random = np.random.default_rng(5)
    times = np.sort(random.uniform(0, SECONDS - 1, 4_000))
    bursts = np.sort((random.integers(0, 20, 4_000) * 100 + random.uniform(0, 5, 4_000)).clip(0, SECONDS - 1))
    sizes = (10 * random.uniform(size=4_000) ** (-1 / 1.5)).astype(int)
    plain = [(float(at), BUY, 10) for at in times]
    rich = [(float(at), BUY, int(lots)) for at, lots in zip(bursts, sizes, strict=True)]
    assert value("size_tail_index", market(orders=rich)) == pytest.approx(1.5, rel=0.25)
    assert value("interval_variation", market(orders=plain)) == pytest.approx(1.0, abs=0.1)
    assert value("interval_variation", market(orders=rich)) > 2
    assert value("arrival_dispersion", market(orders=plain)) == pytest.approx(1.0, abs=0.4)
    assert value("arrival_dispersion", market(orders=rich)) > 5


def test_the_response_is_the_move_of_the_mid_in_the_direction_of_the_order() -> None:
    """Half a second after each order the mid moves by seven ticks with it: nothing after 100 ms, all of it after a second."""
    random = np.random.default_rng(6)
    sides = random.choice([1, -1], SECONDS // 2)
    steps = [0 if second % 2 else 7 * int(sides[second // 2]) for second in range(SECONDS)]
    orders = [(2 * each - 0.5, Side(int(side)), 10) for each, side in enumerate(sides) if each]
    facts = measure(market(walk(steps), orders)).estimates
    sigma = float(np.diff(walk(steps)).std())
    assert facts["response_100ms"].value == 0.0
    assert facts["response_1s"].value == pytest.approx(7 / sigma, rel=0.02)


def test_trades_of_one_instant_and_side_are_one_order() -> None:
    """Two prints at two prices are one order that walked; the next millisecond's is another."""

    def prints() -> Iterator[MarketEvent]:
        number = 0
        for event in market(orders=[(float(each), BUY, 10) for each in range(1, 400)]):
            yield event
            if isinstance(event, Trade) and event.ts_event_ns // S % 4 == 0:
                number += 1
                yield event._replace(trade_id=10_000 + number, price_ticks=event.price_ticks + 1)
                yield event._replace(trade_id=20_000 + number, ts_event_ns=event.ts_event_ns + 1_000_000)

    # the trade ids of the copies are out of order for a venue, so they are made to rise
    facts = measure(event._replace(trade_id=each) if isinstance(event, Trade) else event for each, event in enumerate(prints()))
    assert facts.orders == 399 + 99
    assert facts.estimates["walk_frac"].value == pytest.approx(99 / (399 + 99))


def test_an_imbalance_that_foretells_the_next_move_is_seen() -> None:
    random = np.random.default_rng(7)
    steps = random.choice([1, -1], SECONDS)
    path = walk(steps)

    def leaning(towards: Callable[[int], bool]) -> Iterator[MarketEvent]:
        for event in market(path):
            if not isinstance(event, TopOfBook):
                yield event
                continue
            second = event.update_id - 2
            up = second + 1 < SECONDS and towards(int(steps[second + 1]))
            yield event._replace(bid_lots=400 if up else 100, ask_lots=100 if up else 400)

    assert value("imbalance_foretells", leaning(lambda step: step > 0)) == 1.0
    assert value("imbalance_foretells", leaning(lambda step: step < 0)) == 0.0
    assert not holds("imbalance_foretells", leaning(lambda step: random.random() < 0.5))


# --- what it promises ------------------------------------------------------------------------------------------------------


def test_every_fact_is_measured_and_has_a_band_a_meaning_and_a_source() -> None:
    facts = measure(featureless_market(1, 600, START_NS))
    assert list(facts.estimates) == list(FACTS)
    assert facts.seconds in {599, 600}
    assert len(facts.depth_profile) == 10 and facts.depth_profile[0] == 1.0
    for fact in FACTS.values():
        assert fact.low < fact.high and fact.meaning and fact.sources.startswith("[")


def test_a_frozen_market_is_nan_and_outside_and_never_an_error() -> None:
    facts = measure(market())
    assert math.isnan(facts.estimates["kurtosis_1s"].value)
    assert {"kurtosis_1s", "tail_index", "response_1s", "imbalance_foretells"} <= set(facts.outside())


def test_the_mean_over_markets_has_the_error_of_a_mean() -> None:
    one, other = (measure(featureless_market(seed, 600, START_NS)) for seed in (1, 2))
    both = pooled([one, other])
    first, second = one.estimates["sign_memory_1"].value, other.estimates["sign_memory_1"].value
    assert both.estimates["sign_memory_1"].value == pytest.approx((first + second) / 2)
    assert both.estimates["sign_memory_1"].error == pytest.approx(abs(first - second) / 2)


async def test_a_feed_is_measured_as_its_events_are() -> None:
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
    events = [event async for batch in SimulatedFeed(coin, 3, 600).batches() for event in batch]
    measured = measure(events)
    assert replace(await measure_feed(SimulatedFeed(coin, 3, 600)), estimates={}) == replace(measured, estimates={})
    assert dict((await measure_feed(SimulatedFeed(coin, 3, 600))).estimates) == dict(measured.estimates)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "found 0 s and 0; take a longer session"),
        (list(featureless_market(1, 200, START_NS)), "at least 300 s of a two-sided book and 200 orders"),
        (list(market(orders=[(1.0, SELL, 1)])), "found 1999 s and 1"),
    ],
)
def test_a_market_too_short_or_too_quiet_is_refused(events: list[MarketEvent], message: str) -> None:
    with pytest.raises(MarketDataError, match=message):
        measure(events)


def test_a_long_silence_is_refused() -> None:
    events = list(market())
    late_ns = events[-1].ts_init_ns + 3_600 * S
    events.append(TopOfBook(late_ns, late_ns, 10**6, 9_999, 1, 10_001, 1))
    with pytest.raises(MarketDataError, match="found none for 3599 s; measure the sessions one by one"):
        measure(events)


def test_the_featureless_market_is_the_same_for_a_seed_and_exact() -> None:
    events = list(featureless_market(5, 100, START_NS))
    assert events == list(featureless_market(5, 100, START_NS))
    assert events != list(featureless_market(6, 100, START_NS))
    facts: StylisedFacts = measure(featureless_market(5, 400, START_NS))
    assert facts.estimates["one_tick_frac"].value == 1.0  # so no delta was lost, and nothing crossed
