"""Where an order stands in the queue at its price, from a display that shows sizes and no orders. Whole lots only.

The display shrinks by trades, which take from the front, and by cancels, which may be anywhere; and it tells of a trade
before or after the trade itself is told. So an order remembers what it was shown, which displayed falls no trade has explained
yet, and which trades the display has not shown yet. Promise: one event never shortens the queue twice, and lots are rounded
against us.

Two kinds of models for a cancel, of which the display does not say where it stood:

- `behind_all`: it was behind us, unless less is displayed than was ahead of us.
- `power` and `log`: with a lots ahead of us and b behind, the part f(a) ÷ (f(a) + f(b)) of it was ahead, with f(x) = xⁿ or
  ln(1 + x) (Rigtorp, "Estimating order queue position", 2013). A larger n puts more of the cancels where more lots are. Never
  less than what would leave more ahead of us than is displayed.

Plain functions over integers, so that a compiled loop can share them; `RestingOrder` keeps their numbers for one order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import log1p
from typing import Final

from autohedge.domain.market_data import Side

REPORT_LAG_NS: Final = 100_000_000
"""How long at least a displayed fall may wait for the trade that explains it, and the other way (at most twice as long).

On the recorded Binance session the best prices changed before the trade was reported in 80 % of the cases that can be
matched; the trade followed within 0.8 ms in the median and within 105 ms in 99 of 100.
"""

AT_FRONT: Final = 0
BEHIND_ALL: Final = 1
POWER: Final = 2
LOG: Final = 3
"""The models as numbers, for compiled code; those above `BEHIND_ALL` share a cancel by chance."""


class QueueModel(StrEnum):
    """Where a cancel stood. `none`: a new order stands at the front, which no real order can count on; it exists to measure
    what ignoring the queue would pretend, and no setting offers it."""

    BEHIND_ALL = "behind_all"
    POWER = "power"
    LOG = "log"
    NONE = "none"

    @property
    def code(self) -> int:
        """The model as a number."""
        return _CODES[self]


_CODES = {QueueModel.NONE: AT_FRONT, QueueModel.BEHIND_ALL: BEHIND_ALL, QueueModel.POWER: POWER, QueueModel.LOG: LOG}


# --- the arithmetic -----------------------------------------------------------------------------------------------------


def advance_queue(ahead_lots: int, unreported_lots: int, traded_lots: int) -> tuple[int, int, int]:
    """A trade at an order's price: (ahead, unreported, left over) after it.

    `unreported_lots` have already left the display ahead of the order; the trade explains those first, because it is how
    they left. What then is left over after the queue reaches the order.
    """
    explained = min(unreported_lots, traded_lots)
    advanced = traded_lots - explained
    return max(0, ahead_lots - advanced), unreported_lots - explained, max(0, advanced - ahead_lots)


def cap_queue(ahead_lots: int, unreported_lots: int, shown_lots: int) -> tuple[int, int]:
    """The display shows `shown_lots` at an order's price: (ahead, unreported) after it. No more can be ahead than is shown."""
    gone = max(0, ahead_lots - shown_lots)
    return ahead_lots - gone, unreported_lots + gone


def age_unreported(generations: int, unreported_lots: int, before_lots: int) -> tuple[int, int]:
    """(unreported, unreported before) after so many generations: what is two old will not be explained by a trade any more."""
    if generations == 0:
        return unreported_lots, before_lots
    return 0, unreported_lots if generations == 1 else 0


def cancelled_ahead(model: int, power: float, ahead_lots: int, behind_lots: int, cancelled_lots: int) -> int:
    """How many of `cancelled_lots` were ahead of an order: whole lots, rounded down, and at least those that were not behind.

    Nothing is ahead: 0. Nothing is behind: all. At most `ahead_lots + behind_lots` can be cancelled; `power` is above 0.
    """
    if ahead_lots == 0:
        return 0
    if behind_lots == 0:
        return cancelled_lots
    odds = log1p(behind_lots) / log1p(ahead_lots) if model == LOG else (behind_lots / ahead_lots) ** power
    share = int(cancelled_lots / (1.0 + odds))
    return max(min(share, ahead_lots), cancelled_lots - behind_lots)


def match_fall(unmatched: int, before: int, fallen_lots: int) -> tuple[int, int, int]:
    """The display fell: (unmatched, unmatched before, what no trade explains) after it.

    Unmatched lots count above zero when the display fell and no trade was told, below when a trade was told and the display
    did not fall yet; a fall takes up such trades first.
    """
    by_before = min(fallen_lots, max(0, -before))
    by_recent = min(fallen_lots - by_before, max(0, -unmatched))
    rest = fallen_lots - by_before - by_recent
    return unmatched + by_recent + rest, before + by_before, rest


def match_trade(unmatched: int, before: int, traded_lots: int) -> tuple[int, int]:
    """A trade was told: (unmatched, unmatched before) after it; it explains falls first, and else waits for its own."""
    of_before = min(traded_lots, max(0, before))
    return unmatched - (traded_lots - of_before), before - of_before


# --- one order ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class RestingOrder:
    """One of our orders in the market: `ahead_lots` are served before it, `rested_lots` is what came to rest."""

    order_id: str
    side: Side
    price_ticks: int
    rested_lots: int
    remaining_lots: int
    ahead_lots: int = 0
    # What left the display ahead of us and waits for its trade's report, in two generations of REPORT_LAG_NS.
    generation: int = 0
    unreported_lots: int = 0
    unreported_before_lots: int = 0
    # For the models by chance: what was displayed at our price, as of which update, and what is unmatched (see match_fall).
    by_chance: bool = False
    shown_lots: int = 0
    shown_as_of_id: int = 0
    unmatched_lots: int = 0
    unmatched_before_lots: int = 0

    def see_shown(self, shown_lots: int, now_ns: int) -> None:
        """The display shows `shown_lots` at our price, fewer than are ahead."""
        self._age(now_ns)
        self.ahead_lots, self.unreported_lots = cap_queue(self.ahead_lots, self.unreported_lots, shown_lots)

    def see_changed(self, model: int, power: float, shown_lots: int, as_of_id: int, now_ns: int) -> None:
        """The display shows `shown_lots` at our price as of `as_of_id`: what no trade explains of a fall was cancelled."""
        before_lots = self.shown_lots
        self.shown_lots, self.shown_as_of_id = shown_lots, as_of_id
        if shown_lots >= before_lots:
            return
        self._age(now_ns)
        self.unmatched_lots, self.unmatched_before_lots, cancelled = match_fall(
            self.unmatched_lots, self.unmatched_before_lots, before_lots - shown_lots
        )
        behind_lots = shown_lots + cancelled - self.ahead_lots
        gone = cancelled_ahead(model, power, self.ahead_lots, behind_lots, cancelled)
        self.ahead_lots -= gone
        self.unreported_lots += gone

    def see_trade(self, traded_lots: int, now_ns: int) -> int:
        """`traded_lots` met the orders at our price; returns how many of them reach us (never more than what is left)."""
        self._age(now_ns)
        waiting = self.unreported_before_lots + self.unreported_lots
        self.ahead_lots, still_waiting, reached = advance_queue(self.ahead_lots, waiting, traded_lots)
        explained = waiting - still_waiting
        from_before = min(explained, self.unreported_before_lots)
        self.unreported_before_lots -= from_before
        self.unreported_lots -= explained - from_before
        if self.by_chance:
            matched = match_trade(self.unmatched_lots, self.unmatched_before_lots, traded_lots)
            self.unmatched_lots, self.unmatched_before_lots = matched
        return min(reached, self.remaining_lots)

    def see_trade_through(self, traded_lots: int) -> int:
        """`traded_lots` met orders behind our price, so nothing is ahead of us; returns how many would have met us first."""
        self.ahead_lots = self.unreported_lots = self.unreported_before_lots = 0
        return min(traded_lots, self.remaining_lots)

    def queue_up_behind(self, other: RestingOrder) -> None:
        """Stand behind an earlier order of ours at the same price: a trade that explains its queue explains this one too."""
        self.generation = other.generation
        self.unreported_lots = other.unreported_lots
        self.unreported_before_lots = other.unreported_before_lots
        # a trade that the display does not show yet is still part of what is displayed ahead of this one
        self.unmatched_lots = max(0, other.unmatched_lots)
        self.unmatched_before_lots = max(0, other.unmatched_before_lots)

    def _age(self, now_ns: int) -> None:
        generation = now_ns // REPORT_LAG_NS
        if generation != self.generation:
            passed, self.generation = generation - self.generation, generation
            aged = age_unreported(passed, self.unreported_lots, self.unreported_before_lots)
            self.unreported_lots, self.unreported_before_lots = aged
            if self.by_chance:
                aged = age_unreported(passed, self.unmatched_lots, self.unmatched_before_lots)
                self.unmatched_lots, self.unmatched_before_lots = aged
