"""Rolling statistics: exact on small books, sampled on the grid, and never ahead of their time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookSnapshot, Level, MarketEvent, Side, TopOfBook, Trade
from autohedge.market.statistics import RollingStatistics

S = 1_000_000_000
T0 = 1_700_000_000 * S


def at(seconds: float) -> int:
    return T0 + round(seconds * S)


def snapshot(bids: Sequence[Level], asks: Sequence[Level], seconds: float = 0.5, update_id: int = 1) -> BookSnapshot:
    return BookSnapshot(0, at(seconds), update_id, tuple(bids), tuple(asks))


def quote(seconds: float, bid: int, ask: int, *, event_ns: int = 0) -> TopOfBook:
    return TopOfBook(event_ns, at(seconds), round(seconds * 1_000) + 10, bid, 1, ask, 1)


def trade(seconds: float, price: int, lots: int, side: Side = BUY) -> Trade:
    return Trade(0, at(seconds), round(seconds * 1_000), price, lots, side)


class Market:
    """A book with its statistics, told one event after the other."""

    def __init__(self, instrument: Instrument, events: Iterable[MarketEvent] = (), **options: float) -> None:
        self.book, self.statistics = OrderBook(), RollingStatistics(instrument, **options)
        self.tell(*events)

    def tell(self, *events: MarketEvent) -> None:
        for event in events:
            if isinstance(event, BookSnapshot):
                self.book.apply_snapshot(event)
            elif isinstance(event, TopOfBook):
                self.book.set_top(event)
            self.statistics.on_event(event, self.book)


START = snapshot([(9_999, 1)], [(10_001, 1)])


def test_a_snapshot_of_a_small_book_is_exact(btc: Instrument) -> None:
    bids, asks = [(6_183_763, 300_000), (6_183_762, 100_000)], [(6_183_765, 100_000)]
    market = Market(btc, [snapshot(bids, asks, update_id=77)])
    found = market.statistics.snapshot(market.book, at(0.6))
    assert found is not None
    assert (found.symbol, found.as_of_ns, found.sequence) == ("BTC/USDT", at(0.6), 77)
    assert (found.best_bid, found.best_ask, found.mid_price) == (61837.63, 61837.65, 61837.64)
    assert found.microprice == pytest.approx(61837.645)
    assert found.spread_bps == found.spread_bps_mean == pytest.approx(0.02 / 61837.64 * 1e4)
    assert found.imbalance == found.imbalance_mean == pytest.approx((4 - 1) / (4 + 1))
    assert (found.volatility, found.volatility_annualised, found.avg_latency_ms) == (None, None, None)
    # (3 + 1/2 BTC bid, 1 BTC asked), averaged, at the mid, of 100,000
    assert found.depth_score == 100.0
    assert found.to_dict()["spread_pct"] == pytest.approx(found.spread_bps / 100)


def test_depth_score_weighs_a_level_by_its_place_and_is_capped_at_100(btc: Instrument) -> None:
    bids = [(10_000 - i, 1_000_000) for i in range(12)]  # 10 BTC at 100 each
    market = Market(btc, [snapshot(bids, [(10_002, 2_000_000)])], depth_reference_quote=10_000)
    weights = sum(1 / (i + 1) for i in range(10))
    assert market.statistics.depth_score(market.book) == pytest.approx(100 * (10 * weights + 20) * 100.01 / 2 / 10_000)
    market = Market(btc, [snapshot(bids, [(10_002, 2_000_000)])], depth_reference_quote=1)
    assert market.statistics.depth_score(market.book) == 100.0


def test_imbalance_is_of_the_best_five_levels_shown(btc: Instrument) -> None:
    bids = [(100 - i, 1) for i in range(7)]
    market = Market(btc, [snapshot(bids, [(101, 20), (102, 5)])])
    assert market.statistics.imbalance(market.book) == pytest.approx((5 - 25) / (5 + 25))
    market.tell(TopOfBook(0, at(0.6), 9, 98, 1, 102, 5))
    assert market.statistics.imbalance(market.book) == 0.0
    market.tell(TopOfBook(0, at(0.7), 10, 98, 1, 0, 0))
    assert market.statistics.imbalance(market.book) == 1.0
    assert RollingStatistics(btc).imbalance(OrderBook()) == 0.0


@pytest.mark.parametrize("asks", [[], [(100, 1)], [(99, 1)]])
def test_a_book_without_two_sides_or_crossed_has_no_snapshot(btc: Instrument, asks: list[Level]) -> None:
    market = Market(btc, [snapshot([(100, 1)], asks)])
    assert market.statistics.snapshot(market.book, at(1)) is None
    assert RollingStatistics(btc).snapshot(OrderBook(), at(1)) is None


def test_volatility_is_of_the_mid_before_each_second(btc: Instrument) -> None:
    """The mid alternates between 100 and 101; what happens within a second and on its boundary does not count for it."""
    market = Market(btc, [START])
    for second in range(1, 21):
        low = second % 2 == 0
        market.tell(quote(second, 1, 50_000), quote(second + 0.5, 1, 30_000))
        assert market.statistics.volatility_per_hour(at(second + 0.5)) is None
        market.tell(quote(second + 0.9, *((9_999, 10_001) if low else (10_099, 10_101))))
    market.tell(trade(21, 1, 1))
    expected = abs(math.log(101 / 100)) * 60
    assert market.statistics.volatility_per_hour(at(21)) == pytest.approx(expected)
    found = market.statistics.snapshot(market.book, at(21))
    assert found is not None
    assert found.volatility_annualised == pytest.approx(expected * math.sqrt(365 * 24))


def test_only_the_last_20_returns_count(btc: Instrument) -> None:
    market = Market(btc, [START, quote(1.5, 19_999, 20_001)])
    market.tell(*(trade(second, 1, 1) for second in range(2, 40)))
    assert [market.statistics.volatility_per_hour(at(second)) for second in (20, 22)] != [0.0, 0.0]
    assert market.statistics.volatility_per_hour(at(39)) == 0.0


def test_a_quiet_market_repeats_its_mid(btc: Instrument) -> None:
    market = Market(btc, [START])
    assert market.statistics.volatility_per_hour(at(20.9)) is None
    assert market.statistics.volatility_per_hour(at(21)) == 0.0
    assert market.statistics.volatility_per_hour(at(10_000)) == 0.0
    market.tell(quote(500.5, 10_999, 11_001))
    assert market.statistics.volatility_per_hour(at(500.6)) == 0.0
    assert market.statistics.volatility_per_hour(at(501)) == pytest.approx(abs(math.log(1.1)) * 60 / math.sqrt(20))


def test_an_answer_about_a_second_still_to_come_is_not_kept(btc: Instrument) -> None:
    market = Market(btc, [START])
    assert market.statistics.volatility_per_hour(at(25)) == 0.0
    market.tell(quote(24.5, 10_999, 11_001))
    assert market.statistics.volatility_per_hour(at(25)) == pytest.approx(abs(math.log(1.1)) * 60 / math.sqrt(20))


def test_seconds_without_a_known_mid_are_not_sampled(btc: Instrument) -> None:
    market = Market(btc, [START])
    market.tell(trade(30, 1, 1))
    assert market.statistics.volatility_per_hour(at(30)) == 0.0
    market.book.clear()
    market.tell(trade(30.5, 1, 1), trade(31.5, 1, 1))
    assert market.statistics.volatility_per_hour(at(31.5)) is None
    market.tell(snapshot([(19_999, 1)], [(20_001, 1)], seconds=32.5, update_id=9))
    assert market.statistics.volatility_per_hour(at(52.9)) is None
    assert market.statistics.volatility_per_hour(at(53)) == 0.0, "the jump over the unknown time is no return"


def test_spread_and_imbalance_are_averaged_over_100_grid_seconds(btc: Instrument) -> None:
    market = Market(btc, [START])
    for second in range(1, 201):
        market.tell(quote(second, 9_990 if second <= 100 else 9_998, 10_002))
    found = market.statistics.snapshot(market.book, at(200))
    assert found is not None
    wide, narrow = 12 / 9_996 * 1e4, 4 / 10_000 * 1e4
    assert found.spread_bps == pytest.approx(narrow)
    # second 101 still sampled what was known before it
    assert found.spread_bps_mean == pytest.approx((wide + 99 * narrow) / 100)


def test_latency_is_averaged_over_1000_events_and_may_be_negative(btc: Instrument) -> None:
    market = Market(btc, [START])
    market.tell(quote(1, 9_999, 10_001, event_ns=at(1) - 7 * S))
    market.tell(*(quote(1 + i / 1_000, 9_999, 10_001, event_ns=at(1 + i / 1_000) + 2_000_000) for i in range(1, 1_001)))
    found = market.statistics.snapshot(market.book, at(2))
    assert found is not None
    assert found.avg_latency_ms == pytest.approx(-2.0)


def test_trades_of_the_last_minute(btc: Instrument) -> None:
    market = Market(btc, [START])
    market.tell(
        trade(1, 90_000, 50_000), trade(2, 10_000, 30_000), trade(30, 10_200, 10_000, SELL), trade(61.5, 10_100, 10_000)
    )
    found = market.statistics.trades(at(61.5))
    assert (found.window_s, found.trade_count, found.volume_base) == (60.0, 3, 0.5)
    assert found.buy_volume_frac == pytest.approx(0.8)
    assert found.vwap == pytest.approx((100 * 3 + 102 + 101) / 5)
    assert (found.high, found.low, found.last_price) == (102.0, 100.0, 101.0)
    assert found.return_bps == pytest.approx(100)
    nothing = market.statistics.trades(at(500))
    assert (nothing.trade_count, nothing.volume_base) == (0, 0.0)
    assert (nothing.vwap, nothing.last_price, nothing.return_bps, nothing.buy_volume_frac) == (None, None, None, None)


STEPS = st.lists(
    st.tuples(st.floats(0.001, 3.0), st.integers(9_000, 11_000), st.integers(1, 50), st.booleans()), min_size=1, max_size=60
)


def events_of(steps: list[tuple[float, int, int, bool]]) -> list[MarketEvent]:
    events: list[MarketEvent] = [START]
    seconds = 1.0
    for gap, price, size, is_trade in steps:
        seconds += gap
        events.append(trade(seconds, price, size) if is_trade else quote(seconds, price, price + size))
    return events


@given(steps=STEPS, cut=st.integers(0, 60), wait=st.floats(0, 2))
def test_what_is_said_about_a_time_does_not_depend_on_what_comes_after_it(
    btc: Instrument, steps: list[tuple[float, int, int, bool]], cut: int, wait: float
) -> None:
    """A market that goes on after the asked time says the same about it as one that ended there."""
    events = events_of(steps)
    past, future = events[: cut + 1], events[cut + 1 :]
    now_ns = past[-1].ts_init_ns + (min(round(wait * S), future[0].ts_init_ns - past[-1].ts_init_ns - 1) if future else 0)
    ended, going_on = Market(btc, past), Market(btc, past)
    then = ended.statistics.snapshot(ended.book, now_ns), ended.statistics.trades(now_ns)
    assert (going_on.statistics.snapshot(going_on.book, now_ns), going_on.statistics.trades(now_ns)) == then
    going_on.tell(*future[:20])
    assert going_on.statistics.volatility_per_hour(now_ns) == ended.statistics.volatility_per_hour(now_ns)
    assert going_on.statistics.trades(now_ns) == then[1]


def test_a_planted_jump_after_the_asked_time_changes_nothing_about_it(btc: Instrument) -> None:
    market = Market(btc, [START, *(quote(second + 0.5, 9_990 + second, 10_001 + second) for second in range(1, 30))])
    now_ns = at(29.9)
    before = market.statistics.volatility_per_hour(now_ns), market.statistics.trades(now_ns)
    market.tell(quote(30.2, 90_000, 90_001), trade(30.3, 90_000, 5), trade(33.5, 90_000, 5))
    assert (market.statistics.volatility_per_hour(now_ns), market.statistics.trades(now_ns)) == before
    assert market.statistics.volatility_per_hour(at(33.5)) != before[0]
