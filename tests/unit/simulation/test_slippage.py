"""Slippage: the formulas by hand, its floor and its cap, and that it is never in our favour."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.backtest.native import compile_kernel
from autohedge.simulation.slippage import NO_SLIPPAGE, SlippageModel, slippage_frac, slipped_ticks

EXPECTED = 0.5
"""The chance at which 0.8 … 1.2 is 1."""

MODELS = [SlippageModel.LINEAR, SlippageModel.SQUARE_ROOT, SlippageModel.LOGARITHMIC]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SlippageModel.LINEAR, 0.001 * 0.25),
        (SlippageModel.SQUARE_ROOT, 0.001 * 0.5),
        (SlippageModel.LOGARITHMIC, 0.001 * math.log(1.25)),
        (SlippageModel.NONE, 0.0),
    ],
)
def test_each_model_is_its_formula(model: SlippageModel, expected: float) -> None:
    """A quarter of what was to be had, at f = 0.1 %."""
    assert slippage_frac(model.code, 0.001, 0.0001, 250, 1_000, EXPECTED) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_a_small_share_pays_the_floor(model: SlippageModel) -> None:
    assert slippage_frac(model.code, 0.001, 0.0001, 1, 1_000_000, EXPECTED) == pytest.approx(0.0001, rel=1e-12)


def test_chance_moves_it_from_eight_to_twelve_tenths() -> None:
    """The floor too: 0.01 % is what is expected at least."""
    for lots, middle in ((1_000, 0.001), (1, 0.0001)):
        low, high = (slippage_frac(SlippageModel.LINEAR.code, 0.001, 0.0001, lots, 1_000, chance) for chance in (0.0, 1.0))
        assert (low, high) == (pytest.approx(0.8 * middle), pytest.approx(1.2 * middle))


@given(
    model=st.sampled_from(MODELS),
    lots=st.integers(1, 10**9),
    more=st.integers(0, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_larger_share_never_pays_less(model: SlippageModel, lots: int, more: int, chance: float) -> None:
    small, large = (slippage_frac(model.code, 0.01, 0.0, size, 10**9, chance) for size in (lots, lots + more))
    assert 0 <= small <= large <= 1


def test_it_never_takes_more_than_the_whole_price() -> None:
    """An order of a thousand times what traded: a sale still brings a tick, a buy at most doubles the price."""
    frac = slippage_frac(SlippageModel.LINEAR.code, 0.1, 0.0, 1_000_000, 1, 0.9)
    assert frac == 1.0
    assert slipped_ticks(-1, 500, frac) == 1
    assert slipped_ticks(1, 500, frac) == 1_000


@given(price=st.integers(1, 10**9), frac=st.floats(0, 1), side=st.sampled_from([1, -1]))
def test_it_is_against_us_by_at_least_the_fraction(price: int, frac: float, side: int) -> None:
    """Rounded to a tick against us; only a sale at the lowest price there is cannot be rounded further."""
    slipped = slipped_ticks(side, price, frac)
    assert slipped >= 1
    assert (slipped - price) * side == math.ceil(price * frac) or slipped == 1


def many(models, lots, volumes, chances, prices, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        frac = slippage_frac(models[i], 0.003, 0.0001, lots[i], volumes[i], chances[i])
        out[i] = slipped_ticks(1 - 2 * (i % 2), prices[i], frac)


def test_plain_and_compiled_code_agree_to_the_tick() -> None:
    picked = np.random.default_rng(5)
    models = picked.integers(NO_SLIPPAGE, 4, 4_000)
    lots, volumes = picked.integers(1, 10**6, 4_000), picked.integers(1, 10**8, 4_000)
    chances, prices = picked.random(4_000), picked.integers(1, 10**9, 4_000)
    compiled, plain = np.empty(4_000, np.int64), np.empty(4_000, np.int64)
    compile_kernel(many, uses=(slippage_frac, slipped_ticks), allocates=False)(models, lots, volumes, chances, prices, compiled)
    many(models.tolist(), lots.tolist(), volumes.tolist(), chances.tolist(), prices.tolist(), plain)
    assert compiled.tolist() == plain.tolist()
