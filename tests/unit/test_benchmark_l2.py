"""The level-2 benchmark's own parts on tiny runs: the stream, the maker on it, what is counted, a peer that is not there."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from autohedge.backtest.l2_market import prepare_market
from autohedge.market.event_rows import require_well_formed
from benchmarks.bench_l2 import fresh_process, load_market, save_columns, speeds, timed
from benchmarks.figures import Skipped
from benchmarks.l2_maker import (
    ALWAYS_MS,
    FEED_LATENCY_NS,
    NEUTRAL_LOTS,
    PEER_PYTHON,
    SELDOM_MS,
    Agreement,
    Counts,
    Samples,
    counts_of,
    fills_of,
    lane_of,
    maker,
    peer_maker,
    peer_on,
)
from benchmarks.l2_stream import LEVELS, Stream, coin, columns_of, l2_stream

ROWS = 6_000


@pytest.fixture(scope="module")
def stream() -> Stream:
    return l2_stream(ROWS)


# --- the stream --------------------------------------------------------------------------------------------------------------


def test_the_book_of_the_stream_is_never_crossed_and_trades_print_at_the_touch(stream: Stream) -> None:
    sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
    traded = None
    for at, (_, is_trade, side, price, lots) in enumerate(zip(*(column.tolist() for column in stream), strict=True)):
        if is_trade:
            opposite = sides[-side]
            assert price == (min(opposite) if side > 0 else max(opposite))
            assert 0 < lots <= opposite[price]
            traded = (-side, price, opposite[price] - lots)
            continue
        if traded is not None and (side, price) == traded[:2]:
            assert lots == traded[2], "the update after a trade shows what the trade left"
            traded = None
        if lots:
            sides[side][price] = lots
        else:
            del sides[side][price]
        if at >= 2 * LEVELS:
            assert max(sides[1]) < min(sides[-1])


def test_the_stream_has_the_statistics_that_it_promises(stream: Stream) -> None:
    after = stream.ts_ns[2 * LEVELS - 1 :]
    assert all(earlier < later for earlier, later in pairwise(after.tolist()))
    assert 0.08 < stream.is_trade.mean() < 0.10
    assert 8e6 < np.diff(after).mean() < 10e6
    assert set(stream.side.tolist()) == {1, -1}


def test_the_same_seed_gives_the_same_rows_and_another_one_does_not(stream: Stream) -> None:
    same, other = l2_stream(ROWS), l2_stream(ROWS, seed=8)
    assert all(np.array_equal(one, two) for one, two in zip(stream, same, strict=True))
    assert not np.array_equal(stream.price_ticks, other.price_ticks)


def test_a_shorter_stream_is_the_beginning_of_a_longer_one(stream: Stream) -> None:
    assert all(np.array_equal(one, two[:500]) for one, two in zip(l2_stream(500), stream, strict=True))


def test_a_stream_shorter_than_its_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="at least the 40 rows"):
        l2_stream(39)


def test_every_row_reaches_the_loop(stream: Stream) -> None:
    columns = columns_of(stream, FEED_LATENCY_NS)
    require_well_formed(columns, "the stream")
    market = prepare_market(columns, coin())
    assert market.outcomes == {**dict.fromkeys(market.outcomes, 0), "applied": ROWS - 2 * LEVELS + 1}
    assert market.start_ns - int(stream.ts_ns[0]) == FEED_LATENCY_NS


# --- the maker on it ---------------------------------------------------------------------------------------------------------


def test_what_is_counted_is_what_happened(stream: Stream) -> None:
    """Fills by the log are fills by the count, and they lead to the inventory."""
    samples = Samples()
    lane = lane_of(prepare_market(columns_of(stream, FEED_LATENCY_NS), coin()), SELDOM_MS)
    timed(lane, samples)
    counts = samples.counts
    assert counts is not None
    assert counts == counts_of(lane)
    assert len(fills_of(lane)) == counts.fills > 50
    assert NEUTRAL_LOTS + sum(side for _, side, _ in fills_of(lane)) == counts.held_lots
    assert counts.orders >= counts.fills
    assert counts.cancels >= counts.orders - counts.fills - 2
    assert int(lane.state.denied) == int(lane.state.rejected) == 0


def test_the_maker_looks_at_every_message_or_as_seldom_as_asked(stream: Stream) -> None:
    market = prepare_market(columns_of(stream, FEED_LATENCY_NS), coin())
    looks = {}
    for requote_ms in (ALWAYS_MS, SELDOM_MS):
        lane = lane_of(market, requote_ms)
        lane.advance()
        looks[requote_ms] = counts_of(lane).looks
    assert looks[ALWAYS_MS] == market.messages
    assert looks[SELDOM_MS] < market.messages // 9


def test_columns_that_were_saved_make_the_same_market(stream: Stream, tmp_path: Path) -> None:
    save_columns(columns_of(stream, FEED_LATENCY_NS), tmp_path)
    one, two = prepare_market(columns_of(stream, FEED_LATENCY_NS), coin()), load_market(tmp_path)
    assert all(np.array_equal(here, there) for here, there in zip(one.table, two.table, strict=True))


def test_the_peer_gets_the_numbers_of_our_maker(stream: Stream) -> None:
    config, numbers = maker(SELDOM_MS), lane_of(prepare_market(columns_of(stream, 0), coin()), SELDOM_MS).numbers
    told = peer_maker(numbers)
    assert told["spread_frac"] == float(config.spread_percentage)
    assert (told["skew_factor"], told["target"]) == (config.skew_factor, config.inventory_target)
    assert told["neutral_lots"] == NEUTRAL_LOTS
    assert told["cap_atoms"] / told["atoms_per_tick_lot"] == float(config.total_capital / coin().tick_size / coin().lot_size)


# --- what is told ------------------------------------------------------------------------------------------------------------


def test_speeds_are_held_against_the_peer_pass_by_pass() -> None:
    counts = Counts(looks=1, orders=2, cancels=3, fills=4, held_lots=5)
    samples = {
        "ours, 100 ms": Samples([0.05, 0.04], counts),
        "ours, every message": Samples([0.1, 0.1], counts),
        "theirs, 100 ms": Samples([0.2, 0.1], counts, 300.0),
        "theirs, 100 ms by its own clock": Samples(),
        "theirs, every message": Samples([0.2, 0.4], counts, 301.0),
    }
    told = {figure.name: figure for figure in speeds(samples)}
    assert told["l2: ours, 100 ms"].samples == (20e6, 25e6)
    assert told["l2: ours ÷ theirs, 100 ms"].samples == pytest.approx((4.0, 2.5))
    assert told["l2: ours ÷ theirs, every message"].samples == pytest.approx((2.0, 4.0))
    assert not any("own clock" in name for name in told)
    assert told["l2: peak memory of hftbacktest"].median == 301.0


def test_fills_of_one_side_only_count_against_all_fills_of_both() -> None:
    ours, theirs = Counts(9, 9, 9, 60, 25), Counts(9, 9, 9, 40, 25)
    assert Agreement(ours, theirs, only_ours=2, only_theirs=1).differing_frac == pytest.approx(0.03)
    assert Agreement(ours._replace(fills=0), theirs._replace(fills=0), 0, 0).differing_frac == 0.0


def test_without_the_peer_the_comparison_is_skipped_with_the_reason(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PEER_PYTHON, raising=False)
    with pytest.raises(Skipped, match=PEER_PYTHON), peer_on(stream):
        pass


def test_a_python_without_the_peer_is_an_error_and_no_figure(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PEER_PYTHON, sys.executable)
    numbers = lane_of(prepare_market(columns_of(stream, 0), coin()), SELDOM_MS).numbers
    samples = Samples()
    with peer_on(stream) as peer, pytest.raises(RuntimeError, match="hftbacktest"):
        peer.run(numbers, "feed", SELDOM_MS, samples)
    assert samples.cpu_s == []


def test_a_process_of_its_own_is_timed_and_knows_its_folder(tmp_path: Path) -> None:
    wall_s, cpu_s, told = fresh_process("print(FOLDER, sum(range(10**6)))", tmp_path)
    assert told.split() == [str(tmp_path), "499999500000"]
    assert wall_s > 0 and cpu_s > 0
