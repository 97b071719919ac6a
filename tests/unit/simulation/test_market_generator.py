"""The artificial market: exact in every message, the same everywhere, and with the stylised facts it claims."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.errors import ConfigError
from autohedge.simulation.market_generator import LEVELS, MIN_LEVELS, MarketGenerator
from autohedge.simulation.market_parameters import MAX_DURATION_S, MAX_SEED, MAX_START_NS, MarketParameters

START_NS = 1_704_067_200_000_000_000
SECOND_NS = 1_000_000_000
DEFAULT = MarketParameters()
CALM = replace(DEFAULT, bursts_per_minute=0.0)
SEEDS = range(30)
GOLDEN = "93c7a049bce938a49b9f16d6bd63ee258d3fa3cad6fbd8e520038a90e3add8b1"
HUGE = pytest.param(10**5_000, id="5000 digits")  # more than Python writes out


def instrument(symbol: str = "BTC/USDT", tick: str = "0.01", lot: str = "0.0001") -> Instrument:
    base, quote = symbol.split("/")
    return Instrument(
        symbol,
        base,
        quote,
        Decimal(tick),
        Decimal(lot),
        Decimal(lot),
        Decimal(9_000),
        Decimal(10),
        None,
        "simulated",
        "2024-01-01",
    )


def actions(
    seed: int,
    duration_s: float,
    *,
    parameters: MarketParameters = DEFAULT,
    traded: Instrument | None = None,
    start_ns: int = START_NS,
) -> Iterator[list[MarketEvent]]:
    return MarketGenerator(traded or instrument(), seed, duration_s, start_ns, parameters).actions()


def events(seed: int, duration_s: float, **options: Any) -> list[MarketEvent]:
    return [event for action in actions(seed, duration_s, **options) for event in action]


def fingerprint(seed: int, duration_s: float) -> str:
    """A hash over every number of every event, in order."""
    digest = hashlib.sha256()
    for event in events(seed, duration_s):
        flat = [int(part) if isinstance(part, int) else part for part in event]
        digest.update(f"{type(event).__name__}{flat}\n".encode())
    return digest.hexdigest()


class NaiveBook:
    """A book kept by the public messages alone, which objects to any that does not fit."""

    def __init__(self, snapshot: BookSnapshot) -> None:
        self.update_id = snapshot.last_update_id
        self.bids, self.asks = dict(snapshot.bids), dict(snapshot.asks)

    def apply(self, delta: BookDelta) -> None:
        assert delta.first_update_id == self.update_id + 1
        assert delta.last_update_id >= delta.first_update_id
        self.update_id = delta.last_update_id
        for sizes, changes in ((self.bids, delta.bids), (self.asks, delta.asks)):
            for price, lots in changes:
                assert sizes.get(price, 0) != lots, "a change that changes nothing"
                if lots:
                    sizes[price] = lots
                else:
                    del sizes[price]

    @property
    def top(self) -> tuple[int, int, int, int]:
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]

    def check(self) -> None:
        bid, _, ask, _ = self.top
        assert 0 < bid < ask, "crossed, locked or no price"
        assert min(self.bids) > 0
        for sizes in (self.bids, self.asks):
            assert min(sizes.values()) > 0
            assert MIN_LEVELS <= len(sizes) <= LEVELS


def check_market(market: Iterator[list[MarketEvent]]) -> int:
    """Replay a market through the naive book, and hold every promise about single messages; returns how many trades came."""
    (snapshot,) = next(market)
    assert isinstance(snapshot, BookSnapshot)
    assert list(snapshot.bids) == sorted(snapshot.bids, reverse=True)
    assert list(snapshot.asks) == sorted(snapshot.asks)
    book = NaiveBook(snapshot)
    book.check()
    last_ns, last_trade_id = snapshot.ts_init_ns, 0
    for action in market:
        *others, delta = action
        assert isinstance(delta, BookDelta)
        taken: dict[int, int] = {}
        top = book.top
        tops = [event for event in others if isinstance(event, TopOfBook)]
        trades = [event for event in others if isinstance(event, Trade)]
        assert others == [*trades, *tops]
        for event in action:
            assert event.ts_init_ns > last_ns
            assert event.ts_event_ns <= event.ts_init_ns
            last_ns = event.ts_init_ns
        for trade in trades:
            buys = trade.aggressor is BUY
            resting = book.asks if buys else book.bids
            left = [price for price in resting if resting[price] > taken.get(price, 0)]
            assert trade.price_ticks == (min(left) if buys else max(left)), "not at the best displayed price"
            taken[trade.price_ticks] = taken.get(trade.price_ticks, 0) + trade.size_lots
            assert 0 < taken[trade.price_ticks] <= resting[trade.price_ticks], "more than was displayed"
            assert trade.trade_id == last_trade_id + 1
            last_trade_id = trade.trade_id
        displayed = {**book.bids, **book.asks}
        book.apply(delta)
        book.check()
        if taken:
            assert dict(delta.bids + delta.asks) == {price: displayed[price] - lots for price, lots in taken.items()}
        assert bool(tops) == (book.top != top)
        for shown in tops:
            assert shown.update_id == delta.last_update_id
            assert shown[3:] == book.top
    return last_trade_id


# --- exact ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_every_message_fits_the_book_that_the_messages_before_it_made(seed: int) -> None:
    """No gap in the ids, never crossed, trades at the best displayed price that reduce its size, tops that tell the truth."""
    assert check_market(actions(seed, 900)) > 300


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, MAX_SEED),
    tick=st.sampled_from(["0.01", "0.05", "0.001", "0.0002", "0.00000001"]),
    parameters=st.builds(
        MarketParameters,
        actions_per_s=st.floats(0.1, 100),
        volatility_per_hour=st.floats(0, 0.1),
        impact_bps=st.floats(0, 10),
        level_quote=st.floats(1, 1e7),
        min_trade_quote=st.floats(1, 1e5),
        bursts_per_minute=st.floats(0, 10),
        burst_bps=st.floats(1, 40),
        feed_latency_ms=st.floats(0, 10_000),
    ),
)
def test_every_message_fits_for_any_parameters(seed: int, tick: str, parameters: MarketParameters) -> None:
    """Also where the market is wild, thin, fast or coarse."""
    check_market(actions(seed, 300 / parameters.actions_per_s, traded=instrument(tick=tick), parameters=parameters))


def test_the_market_stays_exact_where_the_price_runs_far_away() -> None:
    """Wild moves take the price far beyond the first levels without one left behind or a message that does not fit."""
    wild = replace(DEFAULT, volatility_per_hour=0.1, burst_bps=40.0, bursts_per_minute=5.0)
    check_market(actions(4, 2_400, parameters=wild))
    assert observe(4, 2_400, wild).range_bps > 10 * LEVELS


def test_one_sweep_prints_one_trade_per_level() -> None:
    """Some orders walk the book; their prints go away from the mid, one level after the other."""
    deepest = 0
    for action in actions(3, 600):
        prices = [event.price_ticks * event.aggressor for event in action if isinstance(event, Trade)]
        assert prices == sorted(set(prices))
        deepest = max(deepest, len(prices))
    assert deepest >= 8


def test_the_first_mid_is_the_start_price_in_the_middle_of_a_two_tick_spread() -> None:
    (snapshot,) = next(actions(11, 1))
    assert isinstance(snapshot, BookSnapshot)
    assert (snapshot.bids[0][0], snapshot.asks[0][0]) == (9_999, 10_001)
    assert snapshot.ts_event_ns == START_NS


# --- the same everywhere -------------------------------------------------------------------------------------------------


def test_the_market_of_a_seed_is_the_same_for_ever() -> None:
    """A recorded result names only the seed: whoever changes the flow changes every such result, and this number."""
    assert fingerprint(7, 600) == GOLDEN


def test_another_process_with_another_hash_seed_makes_the_same_events() -> None:
    code = f"import runpy; print(runpy.run_path({__file__!r})['fingerprint'](5, 120))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == fingerprint(5, 120)


def test_seed_and_symbol_choose_the_market() -> None:
    """Different seeds and different symbols give different flows; the symbol's own market does not depend on the others."""
    flows = {tuple(events(seed, 30, traded=instrument(symbol))) for seed in (1, 2) for symbol in ("BTC/USDT", "ETH/USDT")}
    assert len(flows) == 4


def test_a_shorter_market_is_the_beginning_of_a_longer_one() -> None:
    short, long = events(9, 60), events(9, 180)
    assert long[: len(short)] == short
    assert len(long) > len(short)
    assert all(event.ts_event_ns <= START_NS + 60 * SECOND_NS for event in short)
    assert long[len(short)].ts_event_ns > START_NS + 60 * SECOND_NS


def test_another_start_only_moves_the_clock() -> None:
    later_ns = 3_600 * SECOND_NS
    for event, moved in zip(events(2, 60), events(2, 60, start_ns=START_NS + later_ns), strict=True):
        assert moved == event._replace(ts_event_ns=event.ts_event_ns + later_ns, ts_init_ns=event.ts_init_ns + later_ns)


# --- parameters do what they say --------------------------------------------------------------------------------------


def test_the_latency_parameter_is_the_least_time_from_the_venue_to_us() -> None:
    slow = replace(DEFAULT, feed_latency_ms=20.0)
    delays_ms = [(event.ts_init_ns - event.ts_event_ns) / 1e6 for event in events(1, 60, parameters=slow)]
    assert min(delays_ms) >= 20
    assert statistics.median(delays_ms) < 40


def test_size_parameters_scale_what_is_displayed_and_traded() -> None:
    """Ten times the level value displays ten times as much; market orders grow with their smallest one."""

    def shown(parameters: MarketParameters) -> int:
        (snapshot,) = next(actions(1, 1, parameters=parameters))
        assert isinstance(snapshot, BookSnapshot)
        return sum(lots for _, lots in snapshot.bids + snapshot.asks)

    def traded(parameters: MarketParameters) -> list[int]:
        return [event.size_lots for event in events(1, 600, parameters=parameters) if isinstance(event, Trade)]

    assert 9 < shown(replace(DEFAULT, level_quote=100_000.0)) / shown(DEFAULT) < 11
    larger = replace(CALM, min_trade_quote=500.0)
    assert statistics.median(traded(larger)) > 3 * statistics.median(traded(CALM))


def test_the_pace_parameter_is_about_the_number_of_book_changes() -> None:
    """Per second, over hours and outside bursts; at twice the pace twice as many."""

    def changes_per_s(parameters: MarketParameters) -> float:
        changes = sum(isinstance(event, BookDelta) for seed in range(5) for event in events(seed, 3_600, parameters=parameters))
        return changes / 5 / 3_600

    assert 2.5 < changes_per_s(CALM) < 4.2
    assert 5.0 < changes_per_s(replace(CALM, actions_per_s=6.4)) < 8.4


def test_the_price_starts_where_it_is_told() -> None:
    (snapshot,) = next(actions(1, 1, parameters=replace(DEFAULT, start_price=Decimal(250))))
    assert isinstance(snapshot, BookSnapshot)
    assert snapshot.bids[0][0] < 25_000 < snapshot.asks[0][0]


def test_bursts_volatility_and_impact_move_the_price() -> None:
    """With all three off the price stays within a few ticks for ten minutes; each alone makes it move."""
    still = replace(CALM, volatility_per_hour=0.0, impact_bps=0.0)

    def range_bps(parameters: MarketParameters) -> float:
        return observe(6, 600, parameters=parameters).range_bps

    assert range_bps(still) < 8
    for loud in ({"bursts_per_minute": 2.0}, {"volatility_per_hour": 0.02}, {"impact_bps": 2.0}):
        assert range_bps(replace(still, **loud)) > 20
    near, far = (replace(still, bursts_per_minute=2.0, burst_bps=bps) for bps in (5.0, 40.0))
    assert range_bps(far) > 2 * range_bps(near)


def test_a_burst_comes_back_in_part() -> None:
    """Some of it was news: twenty seconds later the mid has kept a part of the way of the farthest trade, and only a part."""
    market = observe(1, 7_200, replace(DEFAULT, volatility_per_hour=0.0, impact_bps=0.0))
    reached, kept = [], []
    for trade in market.trades:
        before = market.mid_at(trade.ts_init_ns - 3 * SECOND_NS)
        way = trade.aggressor * (trade.price_ticks - before)
        if way >= 15:
            reached.append(way)
            kept.append(trade.aggressor * (market.mid_at(trade.ts_init_ns + 20 * SECOND_NS) - before))
    assert len(reached) > 100
    assert 0.15 < statistics.fmean(kept) / statistics.fmean(reached) < 0.8


# --- stylised facts ---------------------------------------------------------------------------------------------------


@dataclass
class Observed:
    """What a participant could measure in one market. Prices in ticks, times of arrival."""

    times_ns: list[int] = field(default_factory=list)
    mids: list[float] = field(default_factory=list)
    tops: list[tuple[int, int, int, int]] = field(default_factory=list)
    orders: list[tuple[int, float, int, Trade]] = field(default_factory=list)
    """Of each market order: when, the mid and the spread just before, its first trade."""
    trades: list[Trade] = field(default_factory=list)
    messages: int = 0

    def mid_at(self, time_ns: int) -> float:
        return self.mids[bisect_right(self.times_ns, time_ns) - 1]

    def imbalance_at(self, time_ns: int) -> float:
        _, bid_lots, _, ask_lots = self.tops[bisect_right(self.times_ns, time_ns) - 1]
        return (bid_lots - ask_lots) / (bid_lots + ask_lots)

    @property
    def seconds_ns(self) -> range:
        return range(self.times_ns[0], self.times_ns[-1], SECOND_NS)

    @property
    def returns(self) -> list[float]:
        """Relative moves of the mid over one second."""
        mids = [self.mid_at(time_ns) for time_ns in self.seconds_ns]
        return [after / before - 1 for before, after in pairwise(mids)]

    @property
    def range_bps(self) -> float:
        return (max(self.mids) - min(self.mids)) / self.mids[0] * 1e4


def observe(seed: int, duration_s: float, parameters: MarketParameters = DEFAULT) -> Observed:
    seen = Observed()
    for action in actions(seed, duration_s, parameters=parameters):
        trades = [event for event in action if isinstance(event, Trade)]
        if trades:
            bid, _, ask, _ = seen.tops[-1]
            seen.orders.append((trades[0].ts_init_ns, (bid + ask) / 2, ask - bid, trades[0]))
            seen.trades += trades
        for event in action:
            if isinstance(event, (BookSnapshot, TopOfBook)):
                top = (*event.bids[0], *event.asks[0]) if isinstance(event, BookSnapshot) else event[3:]
                seen.tops.append(top)
                seen.times_ns.append(event.ts_init_ns)
                seen.mids.append((top[0] + top[2]) / 2)
        seen.messages += len(action)
    return seen


@pytest.fixture(scope="module")
def markets() -> list[Observed]:
    """Ten minutes of each seed, with the default parameters."""
    return [observe(seed, 600) for seed in SEEDS]


def autocorrelation(series: list[float], lag: int) -> float:
    mean = statistics.fmean(series)
    spread = [value - mean for value in series]
    return sum(a * b for a, b in zip(spread, spread[lag:], strict=False)) / sum(value * value for value in spread)


def mean_and_error(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5


def test_different_seeds_end_at_different_prices_without_a_drift(markets: list[Observed]) -> None:
    """The mean end over the seeds is the start within three standard errors, and no path is like another."""
    ends = [market.mids[-1] / market.mids[0] - 1 for market in markets]
    assert len(set(ends)) > 0.8 * len(ends)
    mean, error = mean_and_error(ends)
    assert abs(mean) < 3 * error
    assert 0.3 < sum(end > 0 for end in ends) / len(ends) < 0.7


def test_the_default_market_is_calibrated(markets: list[Observed]) -> None:
    """Range, σ per hour, messages per second and spread are what the page about the market says."""
    assert 60 < statistics.median(market.range_bps for market in markets) < 120
    assert 0.01 < statistics.median(statistics.pstdev(market.returns) * 60 for market in markets) < 0.02
    assert 10 < statistics.median(market.messages / 600 for market in markets) < 20
    spreads = [market.tops[bisect_right(market.times_ns, t) - 1] for market in markets for t in market.seconds_ns]
    assert sum(1 <= ask - bid <= 3 for bid, _, ask, _ in spreads) > 0.9 * len(spreads)


def test_returns_have_tails_heavier_than_the_normal(markets: list[Observed]) -> None:
    """Kurtosis of 1 s returns is far above the normal's 3, and is not a matter of the bursts alone."""

    def kurtosis(values: list[float]) -> float:
        return statistics.fmean(v**4 for v in values) / statistics.fmean(v**2 for v in values) ** 2

    assert kurtosis([value for market in markets for value in market.returns]) > 8
    assert kurtosis(observe(0, 7_200, CALM).returns) > 3.5


def test_volatility_comes_in_clusters(markets: list[Observed]) -> None:
    """Sizes of 1 s moves are correlated with those seconds later, more weakly the later."""

    def clustering(lag: int) -> tuple[float, float]:
        return mean_and_error([autocorrelation([abs(value) ** 0.5 for value in m.returns], lag) for m in markets])

    soon, error = clustering(1)
    assert soon > 5 * error
    later, error = clustering(10)
    assert soon > later > 3 * error


def test_market_orders_come_in_runs_of_one_side(markets: list[Observed]) -> None:
    signs = [autocorrelation([float(trade.aggressor) for *_, trade in market.orders], 1) for market in markets]
    mean, error = mean_and_error(signs)
    assert mean > 0.3 > 3 * error
    uninformed = observe(0, 3_600, replace(CALM, volatility_per_hour=0.0, impact_bps=0.0))
    assert autocorrelation([float(trade.aggressor) for *_, trade in uninformed.orders], 1) > 0.3


def test_runs_of_one_side_do_not_make_the_price_predictable() -> None:
    """Orders come in long runs and move the price at once; where it goes from ten seconds to a minute later they do not say."""
    at_once, later = [], []
    for seed in range(4):
        market = observe(seed, 7_200, CALM)
        for time_ns, mid, _, trade in market.orders:
            soon = market.mid_at(time_ns + 10 * SECOND_NS)
            at_once.append(trade.aggressor * (soon - mid))
            later.append(trade.aggressor * (market.mid_at(time_ns + 60 * SECOND_NS) - soon))
    moved, error = mean_and_error(at_once)
    assert moved > 0.5 > 10 * error
    assert abs(statistics.fmean(later)) < moved / 3


def test_trades_are_informed_so_that_a_touch_maker_loses(markets: list[Observed]) -> None:
    """A second after an order at a usual spread the mid has moved with it, on average by more than the order paid."""
    moved, gained = [], []
    for market in markets:
        for time_ns, mid, spread, trade in market.orders:
            if spread <= 4:
                after = market.mid_at(time_ns + SECOND_NS)
                moved.append(trade.aggressor * (after - mid))
                gained.append(trade.aggressor * (after - trade.price_ticks))
    for values in (moved, gained):
        mean, error = mean_and_error(values)
        assert mean > 5 * error


@pytest.mark.parametrize("side", [1, -1])
def test_buyers_and_sellers_alike_know_the_value(side: int) -> None:
    """Where only the hidden value moves, the mid follows the orders of either side; half of them know nothing."""
    market = observe(0, 7_200, replace(CALM, volatility_per_hour=0.02, impact_bps=0.0))
    orders = [(time_ns, mid) for time_ns, mid, _, trade in market.orders if trade.aggressor == side]
    mean, error = mean_and_error([side * (market.mid_at(time_ns + SECOND_NS) - mid) for time_ns, mid in orders])
    assert mean > 0.4 > 5 * error


def test_imbalance_leans_the_next_move_and_reverts(markets: list[Observed]) -> None:
    now, then = [], []
    for market in markets:
        for time_ns in market.seconds_ns:
            now.append(market.imbalance_at(time_ns))
            then.append(max(-5.0, min(5.0, market.mid_at(time_ns + SECOND_NS) - market.mid_at(time_ns))))
    assert statistics.correlation(now, then) > 5 / len(now) ** 0.5
    by_market = [[market.imbalance_at(time_ns) for time_ns in market.seconds_ns] for market in markets]
    assert statistics.fmean(autocorrelation(series, 1) for series in by_market) > 0.1
    assert abs(statistics.fmean(autocorrelation(series, 30) for series in by_market)) < 0.05


def test_sizes_of_orders_and_levels_have_heavy_tails() -> None:
    """One in a hundred is several times the median, without any help from sweeps."""
    orders, levels = [], []
    for action in actions(0, 3_600, parameters=CALM):
        trades = [event.size_lots for event in action if isinstance(event, Trade)]
        if trades:
            orders.append(sum(trades))
        elif isinstance(action[-1], BookDelta):
            levels += [lots for _, lots in action[-1].bids + action[-1].asks if lots]
    for sizes, times in ((orders, 10), (levels, 5)):
        assert statistics.quantiles(sizes, n=100)[-1] > times * statistics.median(sizes)


def test_quotes_at_twenty_bps_get_fills(markets: list[Observed]) -> None:
    """Two quotes of a size below any trade's, 20 bps from the mid of some 200 ms ago, are traded through some times."""

    def fills(market: Observed) -> int:
        sent: dict[int, float] = {}
        resting: dict[int, float] = {}
        anchor, count, next_ns = 0.0, 0, market.times_ns[0]
        for trade in market.trades:
            while next_ns <= trade.ts_init_ns:
                resting = sent  # what was decided a period ago has arrived
                mid = market.mid_at(next_ns)
                if not sent or abs(mid / anchor - 1) > 1e-4:
                    anchor, sent = mid, {side: mid * (1 + side * 0.002) for side in (1, -1)}
                next_ns += 200_000_000
            side = int(trade.aggressor)
            if side in resting and side * (trade.price_ticks - resting[side]) > 0:
                resting, sent = {}, {}
                count += 1
        return count

    found = sorted(fills(market) for market in markets)
    assert found[len(found) // 10] >= 5
    assert found[-1] <= 60


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, True, 1.0, "7", None, HUGE])
def test_a_seed_that_is_no_whole_number_in_range_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="the seed of a simulated market must be a whole number from 0 to"):
        MarketGenerator(instrument(), seed, 60, START_NS, DEFAULT)


@pytest.mark.parametrize("duration_s", [0, -1, float("nan"), float("inf"), MAX_DURATION_S + 1, True, "60", None, HUGE])
def test_a_duration_that_is_no_positive_time_is_refused(duration_s: Any) -> None:
    with pytest.raises(ConfigError, match="the duration of a simulated market must be above 0 and at most 2592000 s"):
        MarketGenerator(instrument(), 1, duration_s, START_NS, DEFAULT)


@pytest.mark.parametrize("start_ns", [-1, MAX_START_NS + 1, 1.5e18, None])
def test_a_start_that_is_no_instant_is_refused(start_ns: Any) -> None:
    with pytest.raises(ConfigError, match="the start of a simulated market"):
        MarketGenerator(instrument(), 1, 60, start_ns, DEFAULT)


@pytest.mark.parametrize(
    ("tick", "lot", "message"),
    [
        ("1000", "0.0001", "BTC/USDT: .* needs a tick of at most 0.05 that divides 100, found 1000"),
        ("0.03", "0.0001", "BTC/USDT: .* that divides 100, found 0.03"),
        ("1E-30", "0.0001", "BTC/USDT: .* found 1E-30"),
        ("0.01", "1", "BTC/USDT: one lot must be worth at most a quarter of min_trade_quote 100"),
    ],
)
def test_an_instrument_that_the_start_price_does_not_fit_is_refused(tick: str, lot: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MarketGenerator(instrument(tick=tick, lot=lot), 1, 60, START_NS, DEFAULT)


@pytest.mark.parametrize("name", [name for name in MarketParameters.__dataclass_fields__ if name != "start_price"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_parameter_outside_its_bounds_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} of the simulated market must be"):
        replace(DEFAULT, **{name: value})


@pytest.mark.parametrize("price", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity"), Decimal("1e10"), 100.0])
def test_a_start_price_that_is_no_price_is_refused(price: Any) -> None:
    with pytest.raises(ConfigError, match="start_price must be a Decimal above 0"):
        replace(DEFAULT, start_price=price)
