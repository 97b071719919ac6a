"""What an order that takes pays beyond the price it saw, where there is no book to walk: on bars and on bare trades.

Let r be the fill's share of what was to be had, r = fill ÷ available. The fraction of the price is

    max(floor, f × g(r)) × (0.8 + 0.4 × u),    g(r) = r (linear), √r (square root) or ln(1 + r) (logarithmic)

with u uniform in [0, 1), and never more than the price itself. It is always against us and rounded up to whole ticks. The
square root is the form that trades of many markets show (Almgren, Thum, Hauptmann, Li: "Direct Estimation of Equity Market
Impact", 2005); the others bound it.

Plain functions over numbers: a compiled backtest shares them.
"""

from __future__ import annotations

import math
from enum import StrEnum

LINEAR = 1
SQUARE_ROOT = 2
LOGARITHMIC = 3
NO_SLIPPAGE = 0
"""The models as numbers, for compiled code."""


class SlippageModel(StrEnum):
    """How slippage grows with the share that is taken. `none` is for comparisons with engines that have none."""

    LINEAR = "linear"
    SQUARE_ROOT = "square_root"
    LOGARITHMIC = "logarithmic"
    NONE = "none"

    @property
    def code(self) -> int:
        """The model as a number."""
        return _CODES[self]


_CODES = {
    SlippageModel.LINEAR: LINEAR,
    SlippageModel.SQUARE_ROOT: SQUARE_ROOT,
    SlippageModel.LOGARITHMIC: LOGARITHMIC,
    SlippageModel.NONE: NO_SLIPPAGE,
}


def slippage_frac(model: int, factor: float, floor: float, fill_lots: int, available_lots: int, chance: float) -> float:
    """The fraction of the price that a fill pays on top; `chance` in [0, 1) places it between 0.8 and 1.2 of the expected.

    `available_lots` must be positive: where nothing is to be had nothing fills.
    """
    if model == NO_SLIPPAGE:
        return 0.0
    taken = fill_lots / available_lots
    if model == SQUARE_ROOT:
        taken = math.sqrt(taken)
    elif model == LOGARITHMIC:
        taken = math.log1p(taken)
    return min(1.0, max(floor, factor * taken) * (0.8 + 0.4 * chance))


def slipped_ticks(side: int, price_ticks: int, frac: float) -> int:
    """The price after slippage, in whole ticks, against the one who takes; a sale brings at least one tick."""
    return max(1, price_ticks + side * math.ceil(price_ticks * frac))
