"""What a search may vary: choices, whole numbers and real numbers, each with its bounds, from code or from a line of text.

Points on a step are exact: the third of 0.0005 in steps of 0.0005 is 0.0015, computed in decimals, whichever sampler asks for
it. Bounds are included; the highest point of a stepped range is the last one that does not exceed `high`. Everything that
cannot be searched is refused with `ConfigError` in one line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product

from autohedge.backtest.trials import Params, Scalar
from autohedge.errors import ConfigError

LOG = "log:"
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_REAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_FORMS = "A,B,… or LOW:HIGH or LOW:HIGH:STEP or log:LOW:HIGH"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values, in this order; two or more, each once."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        kinds = {(type(value), value) for value in self.values}
        if len(self.values) < 2:
            raise ConfigError("expected two values or more to choose from; one value is a setting, not a search")
        if len(kinds) != len(self.values):
            raise ConfigError(f"expected each value once, found {', '.join(map(str, self.values))}")
        if any(isinstance(value, float) and not math.isfinite(value) for value in self.values):
            raise ConfigError(f"expected finite numbers, found {', '.join(map(str, self.values))}")

    @property
    def size(self) -> int:
        """How many points there are."""
        return len(self.values)

    def value(self, index: int) -> Scalar:
        """The point of that number, from 0."""
        return self.values[index]


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers from `low` to `high`, every `step`."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)
        _check_step(self.low, self.high, self.step)

    @property
    def size(self) -> int:
        """How many points there are."""
        return (self.high - self.low) // self.step + 1

    def value(self, index: int) -> int:
        """The point of that number, from 0."""
        return self.low + index * self.step


@dataclass(frozen=True, slots=True)
class FloatRange:
    """Real numbers from `low` to `high`: every `step` where one is given, else anywhere between, evenly or, with `log`, evenly
    in the logarithm."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)
        if self.log and self.low <= 0:
            raise ConfigError(f"a logarithmic range begins above 0, found {self.low}")
        if self.step is not None:
            if self.log:
                raise ConfigError("a logarithmic range has no step; list the values, or search it with the tpe sampler")
            _check_step(self.low, self.high, self.step)

    @property
    def size(self) -> int | None:
        """How many points there are; None where they cannot be counted."""
        if self.step is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) // _exact(self.step)) + 1

    def value(self, index: int) -> float:
        """The point of that number, from 0, of a range with a step."""
        if self.step is None:
            raise ConfigError(f"a range without a step has no points to count: {self.low}:{self.high}")
        return float(_exact(self.low) + index * _exact(self.step))


Parameter = Choice | IntRange | FloatRange


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters of a search by name, in the order in which a grid goes through them: the last one fastest."""

    parameters: Mapping[str, Parameter]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ConfigError("expected at least one parameter to search, found none")

    @property
    def size(self) -> int | None:
        """How many points the grid has; None if a parameter has no step."""
        sizes = [parameter.size for parameter in self.parameters.values()]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def require_countable(self) -> int:
        """The size; `ConfigError` naming the first parameter that has none."""
        for name, parameter in self.parameters.items():
            if parameter.size is None:
                raise ConfigError(
                    f"a grid needs a step for {name}: write LOW:HIGH:STEP, list the values, or use the tpe sampler"
                )
        return self.size or 0

    def grid(self) -> Iterator[Params]:
        """Every point, in an order that depends on nothing but the space."""
        self.require_countable()
        names = list(self.parameters)
        points = [[each.value(index) for index in range(each.size or 0)] for each in self.parameters.values()]
        return (dict(zip(names, values, strict=True)) for values in product(*points))

    def describe(self) -> str:
        """`spread 6 x touch 2`; a name alone where there is no step."""
        return " x ".join(
            f"{name} {parameter.size}" if parameter.size is not None else name for name, parameter in self.parameters.items()
        )


def parse_space(assignments: Sequence[str]) -> Space:
    """The space of `NAME=SPEC` texts, where SPEC is one of

    - `join,distance` or `1,2,5` or `true,false`: a choice;
    - `1:5` or `10:50:10`: whole numbers, by 1 or by the step;
    - `0.0005:0.003:0.0005` or `0.1:0.9`: real numbers, by the step or anywhere between;
    - `log:0.001:0.1`: real numbers, evenly in the logarithm.
    """
    parameters: dict[str, Parameter] = {}
    for text in assignments:
        name, equals, spec = (part.strip() for part in text.partition("="))
        if not equals or not _NAME.fullmatch(name):
            raise ConfigError(f"expected NAME=SPEC with SPEC {_FORMS}, found {text!r}")
        if name in parameters:
            raise ConfigError(f"{name} is given twice; give it once")
        try:
            parameters[name] = _parameter(spec)
        except ConfigError as error:
            raise ConfigError(f"{name}={spec}: {error}") from None
    return Space(parameters)


def _parameter(spec: str) -> Parameter:
    if "," in spec:
        return Choice(tuple(_scalar(part.strip()) for part in spec.split(",")))
    log = spec.startswith(LOG)
    bounds = spec.removeprefix(LOG).split(":")
    if len(bounds) not in ((2,) if log else (2, 3)) or not all(_REAL.fullmatch(bound.strip()) for bound in bounds):
        raise ConfigError(f"expected {_FORMS}")
    if log or not all(_WHOLE.fullmatch(bound.strip()) for bound in bounds):
        low, high, *step = map(float, bounds)
        return FloatRange(low, high, step[0] if step else None, log)
    return IntRange(*map(int, bounds))


def _scalar(text: str) -> Scalar:
    if not text:
        raise ConfigError("expected a value between the commas, found none")
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _REAL.fullmatch(text) else text


def _exact(value: float) -> Decimal:
    """The number as it is written, not as it is stored: 0.1 is a tenth."""
    return Decimal(str(value))


def _check_bounds(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"expected finite bounds, found {low} and {high}")
    if low >= high:
        raise ConfigError(f"expected the low bound below the high one, found {low} and {high}")


def _check_step(low: float, high: float, step: float) -> None:
    if not (math.isfinite(step) and step > 0):
        raise ConfigError(f"expected a step above 0, found {step}")
    if _exact(step) > _exact(high) - _exact(low):
        raise ConfigError(f"expected a step no larger than the range from {low} to {high}, found {step}")
