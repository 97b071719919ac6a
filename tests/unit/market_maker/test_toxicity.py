"""The toxicity guard: each sign by hand, what is usual, what is forgotten when, and how long a sign holds."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.reasons import REASONS
from autohedge.market_maker.toxicity import (
    LEAST_SAMPLES,
    MEMORY_CELLS,
    SLICES,
    TOUCH_SAMPLES,
    GuardNumbers,
    Signs,
    burst_against,
    guard_numbers,
    imbalance_against,
    is_depleted,
    note_touch,
    note_trade,
    signs_now,
    toxic_reason,
    toxic_sides,
)

S = 1_000_000_000
BIDS, ASKS = 1, -1


def guard(**changed: float | str) -> GuardNumbers:
    return guard_numbers(MarketMakingConfig.model_validate(changed))


ALL = guard(toxic_trades_ratio=2, toxic_depletion_frac=0.25, toxic_imbalance=0.6)
CALM = Signs(net_lots=0, bid_lots=100, ask_lots=100, usual_bid_lots=100.0, usual_ask_lots=100.0, imbalance=0.0)


def word(signs: Signs, side: int, numbers: GuardNumbers = ALL) -> str:
    return REASONS[toxic_reason(numbers, signs, side)]


# --- the signs ------------------------------------------------------------------------------------------------------------


def test_a_calm_market_is_toxic_for_nobody() -> None:
    assert (word(CALM, BIDS), word(CALM, ASKS)) == ("", "")


@pytest.mark.parametrize(("net_lots", "against"), [(-201, BIDS), (-200, 0), (0, 0), (200, 0), (201, ASKS)])
def test_heavy_selling_runs_over_the_bids_and_heavy_buying_the_asks(net_lots: int, against: int) -> None:
    """Twice a usual touch of 100 lots is no burst yet, a lot more is."""
    assert burst_against(net_lots, 100.0, 2.0) == against
    signs = CALM._replace(net_lots=net_lots)
    assert [word(signs, side) == "toxic_trades" for side in (BIDS, ASKS)] == [against == BIDS, against == ASKS]


def test_a_usual_touch_is_the_mean_of_both_sides() -> None:
    lopsided = CALM._replace(usual_bid_lots=20.0, usual_ask_lots=180.0)
    assert word(lopsided._replace(net_lots=-200), BIDS) == ""
    assert word(lopsided._replace(net_lots=-201), BIDS) == "toxic_trades"


def test_a_touch_that_shrank_is_depleted_on_its_own_side_only() -> None:
    """Below a quarter of 100 lots."""
    assert word(CALM._replace(bid_lots=25), BIDS) == ""
    thin = CALM._replace(bid_lots=24)
    assert (word(thin, BIDS), word(thin, ASKS)) == ("toxic_depletion", "")
    thin = CALM._replace(ask_lots=24)
    assert (word(thin, BIDS), word(thin, ASKS)) == ("", "toxic_depletion")
    assert not is_depleted(1, -1.0, 0.25)


@pytest.mark.parametrize(
    ("imbalance", "against"), [(-1.0, BIDS), (-0.6, BIDS), (-0.59, 0), (0.59, 0), (0.6, ASKS), (1.0, ASKS)]
)
def test_more_offered_is_against_the_bids_and_more_bid_against_the_asks(imbalance: float, against: int) -> None:
    assert imbalance_against(imbalance, 0.6) == against
    signs = CALM._replace(imbalance=imbalance)
    assert [word(signs, side) == "toxic_imbalance" for side in (BIDS, ASKS)] == [against == BIDS, against == ASKS]


def test_the_first_sign_gives_the_reason() -> None:
    every = Signs(-500, 1, 100, 100.0, 100.0, -1.0)
    assert word(every, BIDS) == "toxic_trades"
    assert word(every._replace(net_lots=0), BIDS) == "toxic_depletion"
    assert word(every._replace(net_lots=0, bid_lots=100), BIDS) == "toxic_imbalance"


@given(
    st.integers(-(10**9), 10**9), st.integers(1, 10**9), st.integers(1, 10**9), st.floats(0, 1e9), st.floats(0, 1e9),
    st.floats(-1, 1),
)  # fmt: skip
def test_what_is_switched_off_is_no_sign(net: int, bid: int, ask: int, usual_bid: float, usual_ask: float, tilt: float) -> None:
    signs = Signs(net, bid, ask, usual_bid, usual_ask, tilt)
    off = guard()
    assert (
        off.on == 0
        and guard(toxic_imbalance=0.1).on == guard(toxic_trades_ratio=1).on == guard(toxic_depletion_frac=0.1).on == 1
    )
    assert (word(signs, BIDS, off), word(signs, ASKS, off)) == ("", "")


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.integers(1, 10**6), st.floats(-1, 1))
def test_the_guard_is_its_own_mirror_image(net: int, bid: int, ask: int, tilt: float) -> None:
    """Bids and asks swapped, buying and selling swapped: the other side is toxic, for the same reason."""
    signs = Signs(net, bid, ask, 500.0, 700.0, tilt)
    mirrored = Signs(-net, ask, bid, 700.0, 500.0, -tilt)
    assert (word(signs, BIDS), word(signs, ASKS)) == (word(mirrored, ASKS), word(mirrored, BIDS))


def test_what_is_not_known_is_no_sign() -> None:
    """Without a usual size neither volume nor a thin touch says anything; the imbalance needs none."""
    unknown = Signs(-(10**6), 1, 1, -1.0, -1.0, -0.7)
    assert word(unknown, BIDS) == "toxic_imbalance"
    assert word(unknown._replace(imbalance=0.0), BIDS) == ""


# --- the memory -------------------------------------------------------------------------------------------------------------


def seen(memory: list[int], now_ns: int, numbers: GuardNumbers = ALL) -> Signs:
    return signs_now(memory, numbers, now_ns, 100, 100, 0.0)


def test_ten_seconds_make_a_size_usual() -> None:
    memory = [0] * MEMORY_CELLS
    note_touch(memory, 1_000 * S, 0, 0)
    for second in range(1, LEAST_SAMPLES):
        note_touch(memory, (1_000 + second) * S, 10, 5)
    assert (seen(memory, 0).usual_bid_lots, seen(memory, 0).usual_ask_lots) == (-1.0, -1.0)
    note_touch(memory, (1_000 + LEAST_SAMPLES) * S, 10, 5)
    assert (seen(memory, 0).usual_bid_lots, seen(memory, 0).usual_ask_lots) == (10.0, 5.0)


def test_the_first_touch_counts_for_the_second_it_is_seen_in_and_silence_repeats_the_last() -> None:
    """What was before the first second is not known; later seconds without a message had the touch of the one before."""
    memory = [0] * MEMORY_CELLS
    note_touch(memory, 1_000 * S, 0, 0)
    note_touch(memory, 1_001 * S, 40, 10)
    note_touch(memory, 1_010 * S + 5, 100, 10)
    known = seen(memory, 0)
    assert (known.usual_bid_lots, known.usual_ask_lots) == ((40 + 9 * 100) / 10, 10.0)


def test_no_market_forgets_what_was_usual() -> None:
    memory = [0] * MEMORY_CELLS
    note_touch(memory, 1_000 * S, 0, 0)
    note_touch(memory, 1_030 * S, 40, 10)
    assert seen(memory, 0).usual_bid_lots == 40.0
    note_touch(memory, 1_031 * S, 0, 0)
    assert seen(memory, 0).usual_bid_lots == -1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4 * S), st.integers(1, 10**9), st.integers(1, 10**9)), min_size=1, max_size=150))
def test_what_is_usual_is_the_mean_of_the_last_sixty_seconds(steps: list[tuple[int, int, int]]) -> None:
    """Against a window that is filled second by second."""
    memory, now_ns = [0] * MEMORY_CELLS, 1_000 * S
    note_touch(memory, now_ns, 0, 0)
    bids: deque[int] = deque(maxlen=TOUCH_SAMPLES)
    asks: deque[int] = deque(maxlen=TOUCH_SAMPLES)
    for pause_ns, bid, ask in steps:
        before, now_ns = now_ns // S, now_ns + pause_ns
        if now_ns // S > before:
            note_touch(memory, now_ns, bid, ask)
        for _ in range(now_ns // S - before):
            bids.append(bid)
            asks.append(ask)
        known = seen(memory, now_ns)
        expected = (sum(bids) / len(bids), sum(asks) / len(asks)) if len(bids) >= LEAST_SAMPLES else (-1.0, -1.0)
        assert (known.usual_bid_lots, known.usual_ask_lots) == expected


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from((0.01, 0.5, 1.0, 7.3)),
    st.lists(st.tuples(st.integers(0, 2 * S), st.integers(-(10**9), 10**9)), min_size=1, max_size=80),
)
def test_the_net_flow_is_that_of_the_last_ten_slices(window_s: float, steps: list[tuple[int, int]]) -> None:
    numbers = guard(toxic_trades_ratio=1, toxic_window_s=window_s)
    assert numbers.slice_ns == int(window_s * S) // SLICES
    memory, now_ns, trades = [0] * MEMORY_CELLS, 1_000 * S, []
    for pause_ns, lots in steps:
        now_ns += pause_ns
        if lots:
            note_trade(memory, now_ns, numbers.slice_ns, lots)
            trades.append((now_ns // numbers.slice_ns, lots))
        newest = now_ns // numbers.slice_ns
        expected = sum(lots for at, lots in trades if newest - at < SLICES)
        assert seen(memory, now_ns, numbers).net_lots == expected


def test_a_sign_holds_for_a_while_and_a_new_one_takes_its_place() -> None:
    numbers = guard(toxic_depletion_frac=0.5, toxic_imbalance=0.6, toxic_hold_s=2)
    memory = [0] * MEMORY_CELLS

    def sides(at_s: float, signs: Signs) -> tuple[str, str]:
        buy, sell = toxic_sides(memory, numbers, int(at_s * S), signs)
        return REASONS[buy], REASONS[sell]

    assert sides(10, CALM) == ("", "")
    assert sides(11, CALM._replace(bid_lots=1)) == ("toxic_depletion", "")
    assert sides(12.9, CALM) == ("toxic_depletion", "")
    assert sides(12.95, CALM._replace(imbalance=-0.7)) == ("toxic_imbalance", "")
    assert sides(14.9, CALM._replace(imbalance=0.7)) == ("toxic_imbalance", "toxic_imbalance")
    assert sides(14.95, CALM) == ("", "toxic_imbalance")
    assert sides(17, CALM) == ("", "")
