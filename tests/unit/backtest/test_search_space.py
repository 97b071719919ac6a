"""What may be varied: forms of text, exact points, order, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.backtest.search_space import Choice, FloatRange, IntRange, Parameter, Space, parse_space
from autohedge.errors import ConfigError


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("join,distance", Choice(("join", "distance"))),
        ("1, 2.5, true, off", Choice((1, 2.5, True, "off"))),
        ("1:5", IntRange(1, 5)),
        ("10:50:20", IntRange(10, 50, 20)),
        ("-3:3:2", IntRange(-3, 3, 2)),
        ("0.0005:0.003:0.0005", FloatRange(0.0005, 0.003, 0.0005)),
        ("1:2:0.5", FloatRange(1.0, 2.0, 0.5)),
        ("1e-4:1e-2", FloatRange(0.0001, 0.01)),
        ("log:0.001:0.1", FloatRange(0.001, 0.1, log=True)),
        ("log:1:100", FloatRange(1.0, 100.0, log=True)),
    ],
)
def test_each_form_of_text_means_one_parameter(spec: str, meant: Parameter) -> None:
    assert parse_space([f"name = {spec}"]).parameters == {"name": meant}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("spread", "NAME=SPEC"),
        ("=1:2", "NAME=SPEC"),
        ("a b=1:2", "NAME=SPEC"),
        ("x=", "A,B,"),
        ("x=5", "A,B,"),
        ("x=join", "A,B,"),
        ("x=1:2:3:4", "A,B,"),
        ("x=log:1:2:1", "A,B,"),
        ("x=nan:1", "A,B,"),
        ("x=1:inf", "A,B,"),
        ("x=1e999:2e999", "finite bounds"),
        ("x=5:1", "low bound below"),
        ("x=1:1", "low bound below"),
        ("x=1:5:0", "step above 0"),
        ("x=0.1:0.5:-0.1", "step above 0"),
        ("x=1:5:9", "no larger than the range"),
        ("x=log:0:1", "begins above 0"),
        ("x=a,a", "each value once"),
        ("x=1,1", "each value once"),
        ("x=a,,b", "between the commas"),
        ("x=1e999,2", "finite numbers"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        parse_space([text])
    assert "\n" not in str(refused.value)


def test_no_parameter_and_a_name_given_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        parse_space([])
    with pytest.raises(ConfigError, match="twice"):
        parse_space(["x=1:2", "x=3:4"])


def test_one_and_true_are_different_choices() -> None:
    """Python finds them equal; a parameter does not."""
    space = parse_space(["x=1,true,1.0"])
    assert [type(params["x"]) for params in space.grid()] == [int, bool, float]


def test_points_on_a_step_are_exact() -> None:
    """In binary, 0.0005 + 2 × 0.0005 is not 0.0015, and 0.1 + 2 × 0.1 is not 0.3."""
    assert [params["x"] for params in parse_space(["x=0.0005:0.003:0.0005"]).grid()] == [
        0.0005,
        0.001,
        0.0015,
        0.002,
        0.0025,
        0.003,
    ]
    assert [params["x"] for params in parse_space(["x=0.1:0.5:0.1"]).grid()] == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_grid_goes_through_the_last_parameter_fastest() -> None:
    space = parse_space(["a=1:2", "b=x,y", "c=0.5:1.0:0.5"])
    assert space.size == 8 and space.describe() == "a 2 x b 2 x c 2"
    points = [tuple(params.values()) for params in space.grid()]
    assert points[:3] == [(1, "x", 0.5), (1, "x", 1.0), (1, "y", 0.5)]
    assert points[-1] == (2, "y", 1.0) and len(points) == 8


@pytest.mark.parametrize("spec", ["0.1:0.9", "log:0.001:0.1"])
def test_a_range_without_a_step_has_no_grid(spec: str) -> None:
    space = parse_space(["a=1:2", f"x={spec}"])
    assert space.size is None
    with pytest.raises(ConfigError, match="needs a step for x"):
        space.grid()


@given(low=st.integers(-1000, 1000), width=st.integers(1, 1000), step=st.integers(1, 1000), scale=st.integers(0, 6))
def test_a_range_reaches_as_far_as_its_steps_fit(low: int, width: int, step: int, scale: int) -> None:
    """The first point is the low bound, the last is within the high one, and one more step would not be."""
    if step > width:
        return
    unit = 10**scale
    real = FloatRange(low / unit, (low + width) / unit, step / unit)
    whole = IntRange(low, low + width, step)
    assert real.size == whole.size == width // step + 1
    assert real.value(0) == low / unit
    assert real.value(real.size - 1) == whole.value(whole.size - 1) / unit <= (low + width) / unit
    assert Space({"x": whole}).size == whole.size
