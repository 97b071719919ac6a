"""The way of commands to a simulated venue: never no time, never overtaking, the same for the same seed, and as recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import exp, log
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autohedge.domain.market_data import BUY, MarketEvent, Trade
from autohedge.domain.paper import PaperSettings
from autohedge.errors import ConfigError
from autohedge.simulation.chance import ORDER_LATENCY, stream_key
from autohedge.simulation.conditions import Conditions, request_fails
from autohedge.simulation.latency import LONGEST_NS, Latency, LatencyModel, Way, read_latencies
from autohedge.simulation.queueing import QueueModel

MS = 1_000_000
EXAMPLES = settings(max_examples=200, deadline=None)
KEY = stream_key(7, ORDER_LATENCY)
EXPONENTIAL, LOG_NORMAL = LatencyModel.EXPONENTIAL, LatencyModel.LOG_NORMAL


def seen(received_ms: float, took_ms: float | None) -> MarketEvent:
    """A trade that we received then; None: the venue does not say when it happened."""
    at_ns = int(received_ms * MS)
    return Trade(0 if took_ms is None else at_ns - int(took_ms * MS), at_ns, 1, 100, 1, BUY)


def ways_ms(latency: Latency, sent_ms: Sequence[float]) -> list[float]:
    way = Way(latency)
    return [(way.arrival_ns(int(at * MS)) - int(at * MS)) / MS for at in sent_ms]


def taken_ns(latency: Latency, n: int) -> list[int]:
    """What n commands take that are sent so far apart that none meets another."""
    way = Way(latency)
    apart_ns = 2 * LONGEST_NS
    return [way.arrival_ns(i * apart_ns) - i * apart_ns for i in range(n)]


LATENCIES: dict[str, Callable[[], Latency]] = {
    "constant": lambda: Latency.constant(5 * MS),
    "exponential": lambda: Latency.drawn(EXPONENTIAL, 5 * MS, 30 * MS, 0.0, KEY),
    "log_normal": lambda: Latency.drawn(LOG_NORMAL, 5 * MS, 30 * MS, 1.5, KEY),
    "feed": lambda: Latency.as_the_feed(5 * MS),
    "recorded": lambda: Latency.recorded(5 * MS, (0, 200 * MS, 400 * MS), (90 * MS, 0, 7 * MS)),
}


# --- what every model promises ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LATENCIES)
@EXAMPLES
@given(st.lists(st.sampled_from([0, 0, 1, 7, 60, 200]), min_size=1, max_size=30))
def test_no_command_arrives_at_once_or_before_an_earlier_one(name: str, gaps_ms: list[int]) -> None:
    way = Way(LATENCIES[name]())
    now_ns, last_ns = 0, 0
    for gap_ms in gaps_ms:
        now_ns += gap_ms * MS
        if way.watches_feed:
            way.see(seen(now_ns / MS, 40 if gap_ms == 7 else 3))
        arrival_ns = way.arrival_ns(now_ns)
        assert arrival_ns >= now_ns + 5 * MS
        assert arrival_ns >= last_ns
        last_ns = arrival_ns


@pytest.mark.parametrize("least_ns", [0, -1])
@pytest.mark.parametrize(
    "make",
    [
        Latency.constant,
        Latency.as_the_feed,
        lambda least_ns: Latency.drawn(LOG_NORMAL, least_ns, 30 * MS, 1.5, KEY),
        lambda least_ns: Latency.recorded(least_ns, (0,), (5,)),
        Conditions.constant,
    ],
)
def test_a_least_time_of_zero_is_look_ahead_whatever_is_added(make: Callable[[int], Any], least_ns: int) -> None:
    with pytest.raises(ConfigError, match="look-ahead"):
        make(least_ns)


# --- by chance ----------------------------------------------------------------------------------------------------------


def test_an_exponential_draw_has_its_mean_and_spread() -> None:
    extra_ms = [(taken - 5 * MS) / MS for taken in taken_ns(LATENCIES["exponential"](), 20_000)]
    assert min(extra_ms) >= 0
    assert fmean(extra_ms) == pytest.approx(30, rel=0.03)
    assert stdev(extra_ms) == pytest.approx(30, rel=0.05)


def test_a_log_normal_draw_has_its_mean_its_median_and_its_sigma() -> None:
    sigma = 0.6
    extra_ms = [(taken - 5 * MS) / MS for taken in taken_ns(Latency.drawn(LOG_NORMAL, 5 * MS, 30 * MS, sigma, KEY), 20_000)]
    logs = [log(each) for each in extra_ms]
    assert fmean(extra_ms) == pytest.approx(30, rel=0.02)
    assert exp(fmean(logs)) == pytest.approx(30 * exp(-sigma * sigma / 2), rel=0.02)
    assert stdev(logs) == pytest.approx(sigma, rel=0.02)


def test_the_same_seed_gives_the_same_ways_and_another_seed_others() -> None:
    for model in (EXPONENTIAL, LOG_NORMAL):
        ways = [taken_ns(Latency.drawn(model, MS, 30 * MS, 1.0, key), 50) for key in (KEY, KEY, KEY + 1)]
        assert ways[0] == ways[1] != ways[2]


def test_a_way_by_chance_ends_after_ten_minutes() -> None:
    assert max(taken_ns(Latency.drawn(LOG_NORMAL, MS, 60_000 * MS, 3.0, KEY), 2_000)) == LONGEST_NS + MS


# --- as the feed, and as recorded ---------------------------------------------------------------------------------------


def test_an_order_is_delayed_as_the_newest_event_received_before_it() -> None:
    """By as much as that one was later than the quickest so far, whatever the clocks say."""
    way = Way(Latency.as_the_feed(5 * MS))
    taken: list[float] = []

    def send(at_ms: float) -> None:
        taken.append((way.arrival_ns(int(at_ms * MS)) - at_ms * MS) / MS)

    send(90)
    way.see(seen(100, -1_250))  # the venue's clock is ahead of ours
    way.see(seen(110, -1_230))
    send(110)  # received at this very moment: what was known before counts
    send(1_000)
    way.see(seen(2_000, -950))
    way.see(seen(2_000, -1_249))
    send(2_000)
    send(3_000)
    way.see(seen(4_000, None))
    send(5_000)
    way.see(seen(6_000, -1_258))
    send(7_000)
    way.see(seen(8_000, -1_257))
    send(9_000)
    assert taken == [5, 5, 25, 25, 6, 6, 5, 6]


def test_a_table_is_a_step_function_of_the_time_of_sending() -> None:
    latency = Latency.recorded(5 * MS, (100 * MS, 200 * MS, 1_000 * MS), (90 * MS, 0, 7 * MS))
    assert ways_ms(latency, [0, 100, 101, 450, 1_000, 1_001, 9_999]) == [5, 5, 95, 5, 5, 12, 12]


def test_a_slow_command_holds_up_the_ones_behind_it() -> None:
    latency = Latency.recorded(5 * MS, (0, 10 * MS), (90 * MS, 0))
    assert ways_ms(latency, [1, 20, 60, 200]) == [95, 76, 36, 5]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "expected the columns ts_ns,latency_ns"),
        ("ts_ns,latency\n1,2\n", "expected the columns"),
        ("ts_ns,latency_ns\n", "found none"),
        ("ts_ns,latency_ns\n1,2\n3\n", "two whole numbers"),
        ("ts_ns,latency_ns\n1,0.5\n", "two whole numbers"),
    ],
)
def test_a_file_that_is_no_table_of_latencies_is_refused(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(ConfigError, match=match):
        read_latencies(tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("times_ns", "latencies_ns", "match"),
    [
        ((1, 1), (5, 5), "entry 1 is not later"),
        ((2, 1), (5, 5), "entry 1 is not later"),
        ((1, 2), (5, -1), "entry 1 takes -1 ns"),
        ((1,), (LONGEST_NS + 1,), "entry 0 takes"),
        ((1,), (), "as many latencies"),
        ((), (), "as many latencies"),
    ],
)
def test_a_table_that_is_no_step_function_is_refused(times_ns: Any, latencies_ns: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Latency.recorded(5, times_ns, latencies_ns)


# --- settings -----------------------------------------------------------------------------------------------------------


def conditions(seed: int = 7, symbol: str = "BTC/USDT", **paper: Any) -> Conditions:
    return Conditions.of(PaperSettings(**paper), latency_ms=5, seed=seed, symbol=symbol)


def test_by_default_the_way_is_the_makers_latency_nothing_fails_and_we_are_behind_all() -> None:
    assert conditions() == Conditions(Latency.constant(5 * MS), QueueModel.BEHIND_ALL, 2.0, 0.0, conditions().failure_key, ())


def test_a_slower_feed_is_added_to_the_way_of_every_model(tmp_path: Path) -> None:
    file = tmp_path / "latencies.csv"
    file.write_text("ts_ns,latency_ns\n0,3000000\n")
    for model in LatencyModel:
        more = {"latency_file": str(file)} if model is LatencyModel.RECORDED else {}
        fast, slow = (conditions(latency_model=model.value, feed_latency_ms=f, **more).latency for f in (0, 12.5))
        assert slow.numbers == fast.numbers._replace(least_ns=fast.numbers.least_ns + int(12.5 * MS))
        assert (slow.times_ns, slow.recorded_ns) == (fast.times_ns, fast.recorded_ns)


def test_every_symbol_and_every_seed_has_its_own_chance() -> None:
    keys = {conditions(seed, symbol).failure_key for seed in (1, 2) for symbol in ("A/USDT", "B/USDT")}
    ways = {
        conditions(seed, symbol, latency_model="exponential").latency.numbers.key
        for seed in (1, 2)
        for symbol in ("A/USDT", "B/USDT")
    }
    assert len(keys) == len(ways) == 4
    assert not keys & ways


def test_lost_requests_come_at_their_rate() -> None:
    key = conditions().failure_key
    assert not any(request_fails(0.0, key, request) for request in range(2_000))
    assert sum(request_fails(0.1, key, request) for request in range(20_000)) == pytest.approx(2_000, rel=0.1)


def test_halts_are_read_with_their_offset_and_to_the_nanosecond() -> None:
    begin = datetime(2024, 8, 8, 10, 0, 0, 1, tzinfo=UTC)
    paper = PaperSettings.model_validate({"halts": [[begin.isoformat(), "2024-08-08T12:00:01+02:00"]]})
    from_ns = 1_723_111_200 * 10**9
    assert paper.halts_ns == ((from_ns + 1_000, from_ns + 10**9),)


NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue_model": "front"},
        {"queue_power": 0},
        {"queue_power": 11},
        {"latency_model": "recorded"},
        {"latency_file": "x.csv"},
        {"latency_mean_ms": 0},
        {"latency_sigma": 4},
        {"feed_latency_ms": -1},
        {"api_failure_frac": 0.6},
        {"api_failure_frac": float("nan")},
        {"halts": [[NOON, NOON]]},
        {"halts": [[NOON, NOON + timedelta(1)], [NOON + timedelta(0, 1), NOON + timedelta(2)]]},
        {"halts": [["2024-08-08T12:00:00", "2024-08-08T12:00:01"]]},
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PaperSettings.model_validate(wrong)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        conditions(latency_model="recorded", latency_file="nowhere.csv")
