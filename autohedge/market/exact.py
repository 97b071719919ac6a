"""Decimal text to whole steps, exactly: "61837.63" on a tick of 0.01 is 6183763, and "61837.635" is refused.

Never through a float, and never rounded: a venue's price that is not on its own grid means that the line is damaged or that
the rules are wrong, and both must show.
"""

from __future__ import annotations

import re
from decimal import Decimal

from autohedge.domain.instrument import decimal_exponent

MAX_STEPS = 2**53
"""Larger counts of ticks or lots are refused: floats (statistics, compiled loops) hold integers exactly only up to here."""

_CACHE_LIMIT = 200_000
_PLAIN_DECIMAL = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?", re.ASCII)


class OffGrid(ValueError):
    """Text that is no plain decimal number of zero or more, too large, or between two steps."""


class ExactGrid(dict[str, int]):
    """`grid["61837.63"]` → whole steps; converts a text once and remembers a bounded number of them.

    Raises `OffGrid` for anything else than a plain decimal number on the grid: signs, exponents, NaN, other types.
    """

    def __init__(self, step: Decimal, name: str) -> None:
        super().__init__()
        self._name = name
        self._step = step
        self._exponent = decimal_exponent(step)
        self._units_per_step = int(step.scaleb(self._exponent))

    def __missing__(self, text: object) -> int:
        if not isinstance(text, str):
            raise OffGrid(f"{self._name} is not a text")
        matched = _PLAIN_DECIMAL.fullmatch(text)
        if matched is None:
            raise OffGrid(f"{self._name} is not a plain decimal number")
        whole, fraction = matched[1], (matched[2] or "").rstrip("0")
        if len(fraction) > self._exponent:
            raise OffGrid(f"{self._name} is not a multiple of {self._step}")
        steps, rest = divmod(int(whole + fraction.ljust(self._exponent, "0")), self._units_per_step)
        if rest:
            raise OffGrid(f"{self._name} is not a multiple of {self._step}")
        if steps > MAX_STEPS:
            raise OffGrid(f"{self._name} is absurdly large")
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        self[text] = steps
        return steps


class StepText(dict[int, str]):
    """The way back: `text[6183763]` → "61837.63" on a tick of 0.01; remembers a bounded number of them."""

    def __init__(self, step: Decimal) -> None:
        super().__init__()
        self._step = step

    def __missing__(self, steps: int) -> str:
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        text = self[steps] = f"{steps * self._step:f}"
        return text
