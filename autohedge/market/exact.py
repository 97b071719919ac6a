"""Decimal text to whole steps, exactly: "61837.63" on a tick of 0.01 is 6183763, and "61837.635" is refused.

Never through a float. A price is never rounded: one that is not on the venue's own grid means that the line is damaged or
that the rules are wrong, and both must show. Displayed sizes are different: orders left from before a venue coarsened its
lot make real levels a fraction of a lot finer than its rule, so a size may be rounded *down* to whole lots, and is counted.
"""

from __future__ import annotations

from decimal import Decimal

from autohedge.domain.instrument import Instrument, decimal_exponent

MAX_STEPS = 2**53
"""Larger counts of ticks or lots are refused: floats (statistics, compiled loops) hold integers exactly only up to here."""

_CACHE_LIMIT = 200_000
_MAX_CHARS = 41


class OffGrid(ValueError):
    """Text that is no plain decimal number of zero or more, too large, or between two steps."""


class ExactGrid(dict[str, int]):
    """`grid["61837.63"]` → whole steps; converts a text once and remembers a bounded number of them.

    Raises `OffGrid` for anything else than a plain decimal number: signs, exponents, NaN, other types; for zero where
    `positive`; and for one between two steps, unless it has at most `rounded_places` decimal places: that is rounded down, and
    counted in `rounded`.
    """

    __slots__ = ("_least", "_name", "_rounded_places", "_scale", "_step", "rounded")

    def __init__(self, step: Decimal, name: str, rounded_places: int = 0, positive: bool = False) -> None:
        super().__init__()
        self.rounded = 0
        self._name = name
        self._step = step
        self._least = int(positive)
        exponent = decimal_exponent(step)
        self._rounded_places = max(exponent, rounded_places) if rounded_places else -1
        # by the number of decimal places of a text: what makes its digits whole units, and how many of these are a step
        self._scale: list[tuple[int, int]] = [
            (10 ** max(0, exponent - places), int(step.scaleb(max(exponent, places)))) for places in range(_MAX_CHARS)
        ]

    def __missing__(self, text: str) -> int:
        try:
            whole, point, fraction = text.partition(".")
        except (AttributeError, TypeError):  # what JSON has beside texts
            raise OffGrid(f"{self._name} is not a text") from None
        digits = whole + fraction
        if not (whole and (fraction or not point) and digits.isdigit() and digits.isascii() and len(text) <= _MAX_CHARS):
            raise OffGrid(f"{self._name} is not a plain decimal number")
        factor, units_per_step = self._scale[len(fraction)]
        steps, rest = divmod(int(digits) * factor, units_per_step)
        if rest and len(fraction.rstrip("0")) > self._rounded_places:
            raise OffGrid(f"{self._name} is not a multiple of {self._step}")
        if not self._least <= steps <= MAX_STEPS:
            raise OffGrid(f"{self._name} is {'absurdly large' if steps else 'zero'}")
        if rest:
            self.rounded += 1
            return steps  # not remembered, so that each one is counted
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        self[text] = steps
        return steps


def price_grid(instrument: Instrument, positive: bool = False) -> ExactGrid:
    """Prices in ticks; one between two ticks is refused, and so is zero where `positive`."""
    return ExactGrid(instrument.tick_size, "price", positive=positive)


def size_grid(instrument: Instrument) -> ExactGrid:
    """Sizes in lots; one in whole atoms of the asset between two lots is rounded down."""
    return ExactGrid(instrument.lot_size, "size", instrument.base_atom_exponent)


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
