"""Text to whole steps and back, exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.market import exact
from autohedge.market.exact import MAX_STEPS, ExactGrid, OffGrid, StepText, size_grid
from autohedge.market.instruments import instrument

STEPS = ["0.01", "0.00001", "1000", "1", "0.5", "0.025", "0.00000001"]


@pytest.mark.parametrize(
    ("step", "text", "steps"),
    [
        ("0.01", "61837.63000000", 6183763),
        ("0.01", "0.00", 0),
        ("0.01", "7", 700),
        ("0.01", "007.10", 710),
        ("1000", "94000000.0", 94000),
        ("0.025", "1.075", 43),
        ("0.00001", "0.00001000", 1),
    ],
)
def test_a_multiple_of_the_step_is_converted_exactly(step: str, text: str, steps: int) -> None:
    grid = ExactGrid(Decimal(step), "price")
    assert grid[text] == steps
    assert grid[text] == steps


@pytest.mark.parametrize(
    "text",
    [
        "0.001",
        "61837.635",
        "",
        " 1",
        "1 ",
        "+1",
        "-1",
        "1e3",
        "NaN",
        "inf",
        "1.",
        ".5",
        "1_0",
        "0x1",
        "١",
        "1,5",
        "9" * 25,
        "1.0\n",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(OffGrid, match="price"):
        ExactGrid(Decimal("0.01"), "price")[text]


@pytest.mark.parametrize("value", [1, 1.0, True, None])
def test_a_value_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(OffGrid, match="not a text"):
        ExactGrid(Decimal("0.01"), "price")[value]  # type: ignore[index]


@pytest.mark.parametrize(("step", "text"), [("1000", "94500"), ("1000", "94500.0"), ("0.025", "1.08"), ("0.5", "0.25")])
def test_a_number_between_two_steps_is_refused_however_few_places_it_has(step: str, text: str) -> None:
    with pytest.raises(OffGrid, match=f"price is not a multiple of {step}"):
        ExactGrid(Decimal(step), "price")[text]


def test_zero_is_refused_where_it_must_be_positive() -> None:
    grid = ExactGrid(Decimal("0.01"), "price", positive=True)
    assert grid["0.01"] == 1
    with pytest.raises(OffGrid, match="price is zero"):
        grid["0.00"]


@given(
    step=st.sampled_from(STEPS),
    rounded_places=st.sampled_from([0, 3, 8]),
    text=st.from_regex(r"[0-9]{1,7}(\.[0-9]{1,12})?", fullmatch=True, alphabet="0123456789."),
)
def test_decimal_arithmetic_agrees_with_every_plain_number(step: str, rounded_places: int, text: str) -> None:
    """Whole steps, or the step below where so few places may be rounded, or a refusal: as exact division says."""
    grid = ExactGrid(Decimal(step), "number", rounded_places)
    steps, rest = divmod(Decimal(text), Decimal(step))
    places = -min(0, int(Decimal(text).normalize().as_tuple().exponent)) if rest else 0
    step_places = -min(0, int(Decimal(step).normalize().as_tuple().exponent))
    if rest and not (rounded_places and places <= max(rounded_places, step_places)):
        with pytest.raises(OffGrid, match="not a multiple"):
            grid[text]
    else:
        assert [grid[text], grid[text]] == [int(steps)] * 2
        assert grid.rounded == (2 if rest else 0)


def test_a_size_finer_than_a_lot_is_rounded_down_and_each_one_is_counted() -> None:
    grid = size_grid(instrument("binance", "BTC/USDT"))
    assert [grid["25.42618900"], grid["25.42618900"], grid["0.000009"], grid["25.42618"]] == [2542618, 2542618, 0, 2542618]
    assert grid.rounded == 3


def test_a_size_finer_than_an_atom_is_refused() -> None:
    with pytest.raises(OffGrid, match="size is not a multiple"):
        size_grid(instrument("binance", "BTC/USDT"))["1.000000001"]


def test_an_absurdly_large_number_is_refused() -> None:
    grid = ExactGrid(Decimal("1"), "size")
    assert grid[str(MAX_STEPS)] == MAX_STEPS
    with pytest.raises(OffGrid, match="large"):
        grid[str(MAX_STEPS + 1)]


@given(step=st.sampled_from(STEPS), steps=st.integers(0, MAX_STEPS))
def test_what_is_written_is_read_back(step: str, steps: int) -> None:
    assert ExactGrid(Decimal(step), "size")[StepText(Decimal(step))[steps]] == steps


def test_only_a_bounded_number_of_conversions_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_CACHE_LIMIT", 10)
    grid, text = ExactGrid(Decimal(1), "size"), StepText(Decimal(1))
    assert [grid[text[each]] for each in range(100)] == list(range(100))
    assert len(grid) <= 10
    assert len(text) <= 10
