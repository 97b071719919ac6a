"""Chance is a function: the same for plain and compiled code, spread evenly, and independent between streams and seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.backtest.native import compile_kernel
from autohedge.simulation import chance
from autohedge.simulation.chance import draw, mixed, stream_key, uniform

SEEDS = st.integers(0, 2**63 - 1)
COUNTERS = st.integers(0, 2**62 - 1)
PINNED = [0.8359646339133262, 0.8949896980673278, 0.16670012451407712]


def many(keys, counters, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = draw(keys[i], counters[i])


def draws(key: int, count: int, first: int = 0) -> np.ndarray:
    out = np.empty(count)
    compiled = compile_kernel(many, uses=(mixed, draw), allocates=False)
    compiled(np.full(count, key), np.arange(first, first + count), out)
    return out


def test_plain_and_compiled_code_draw_the_same_numbers() -> None:
    """Over the whole range of keys and counters, where a wrapped product would show."""
    picked = np.random.default_rng(3)
    keys, counters = picked.integers(0, 2**62, 5_000), picked.integers(0, 2**62, 5_000)
    out = np.empty(5_000)
    compile_kernel(many, uses=(mixed, draw), allocates=False)(keys, counters, out)
    assert out.tolist() == [draw(key, counter) for key, counter in zip(keys.tolist(), counters.tolist(), strict=True)]


def test_the_numbers_stay_the_same_for_ever() -> None:
    """A result is repeatable only as long as these do not change."""
    assert [uniform(7, chance.SLIPPAGE, counter) for counter in range(3)] == PINNED


@given(seed=SEEDS, stream=st.integers(0, 100), counter=COUNTERS)
def test_a_draw_is_at_least_zero_and_below_one(seed: int, stream: int, counter: int) -> None:
    assert 0.0 <= uniform(seed, stream, counter) < 1.0


@given(high=st.integers(0, 2**31 - 1), low=st.integers(0, 2**31 - 1), bit=st.integers(0, 61), key=st.integers(0, 2**31 - 1))
def test_no_product_leaves_63_bits_and_every_bit_matters(high: int, low: int, bit: int, key: int) -> None:
    """Two inputs that differ in one bit differ in many bits afterwards; equal outputs would mean a collision."""
    other = ((high << 31) | low) ^ (1 << bit)
    one, two = mixed(high, low, key), mixed(other >> 31, other & 0x7FFF_FFFF, key)
    assert 0 <= one < 2**62
    assert (one ^ two).bit_count() > 8


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_draws_are_even_alone_in_pairs_and_in_their_low_bits(seed: int) -> None:
    """Chi-square of single draws, of consecutive pairs on a 32 × 32 board and of the lowest byte; serial correlation."""
    count = 200_000
    found = draws(stream_key(seed, chance.API_FAILURE), count)
    pairs = np.histogram2d(found[::2], found[1::2], bins=32, range=[[0, 1], [0, 1]])[0].ravel()
    low_bytes = np.bincount((found * 2**53).astype(np.int64) & 255, minlength=256)
    for counts in (np.histogram(found, 100, (0, 1))[0], pairs, low_bytes):
        expected = counts.sum() / len(counts)
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert abs(chi_square - (len(counts) - 1)) < 5 * math.sqrt(2 * len(counts))
    for lag in (1, 2, 31):
        assert abs(np.corrcoef(found[:-lag], found[lag:])[0, 1]) < 5 / math.sqrt(count)


def test_streams_and_seeds_do_not_follow_one_another() -> None:
    """Neighbouring seeds and streams, and the same counter: no correlation, and no common number."""
    count = 50_000
    columns = [draws(stream_key(seed, stream), count) for seed in (0, 1) for stream in (1, 2, 3, 4)]
    correlations = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlations).max() < 5 / math.sqrt(count)
    assert len(np.unique(np.concatenate(columns))) == len(columns) * count
