"""What can be wrong with a recording of a market: the names, how bad each is, and the counting.

An error makes a replay wrong or impossible; a warning is unusual, or known to happen at real venues, and told. A name never
changes its meaning: users allow faults by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation

from autohedge.domain.instrument import Instrument
from autohedge.market.data_report import Finding, Severity
from autohedge.market.exact import MAX_STEPS

KINDS: dict[str, tuple[Severity, str]] = {
    "truncated": (Severity.ERROR, "a file is damaged or cut off"),
    "no_events": (Severity.ERROR, "nothing in it is a market event of the symbol"),
    "no_snapshot": (Severity.ERROR, "no book snapshot, so the updates cannot be synchronised"),
    "time_unit": (Severity.ERROR, "times are in another unit than expected"),
    "out_of_order": (Severity.ERROR, "received, or numbered, before what comes earlier; a replay leaves these out"),
    "time_leap": (Severity.ERROR, "received more than a year after the one before; a replay leaves these out"),
    "clock": (Severity.ERROR, "the venue's time and the time of receipt are more than a day apart"),
    "gap": (Severity.ERROR, "updates of the book are missing"),
    "trade_gap": (Severity.ERROR, "trades are missing: the venue numbers them without holes"),
    "duplicate": (Severity.ERROR, "the same message again"),
    "overlap": (Severity.ERROR, "an update repeats a part of the one before"),
    "crossed": (Severity.ERROR, "the best bid is above the best ask"),
    "locked": (Severity.ERROR, "the best bid equals the best ask"),
    "unsorted": (Severity.ERROR, "the levels of a snapshot are not best first, or one is there twice"),
    "negative": (Severity.ERROR, "a price, size, time or id is negative"),
    "not_a_number": (Severity.ERROR, "a price or size is missing, NaN, infinite or no number"),
    "zero": (Severity.ERROR, "a price, or the size of a trade or quote, is zero or less than a lot"),
    "out_of_range": (Severity.ERROR, "a price or size is absurdly large"),
    "price_off_grid": (Severity.ERROR, "a price is not a multiple of the tick"),
    "price_unit": (Severity.ERROR, "prices jump by a power of ten, as if their unit changed"),
    "corrupt": (Severity.ERROR, "a message cannot be understood"),
    "price_jump": (Severity.WARNING, "a price jumps by half or more"),
    "one_sided": (Severity.WARNING, "a side of the book is empty"),
    "size_off_grid": (Severity.WARNING, "sizes finer than a lot; rounded down"),
    "trade_outside": (Severity.WARNING, "trades more than 10 bps outside the best prices known when they were received"),
    "stale_quote": (Severity.WARNING, "best prices older than what is known"),
    "stale_snapshot": (Severity.WARNING, "a snapshot older than the book"),
    "before_snapshot": (Severity.WARNING, "updates and quotes that cannot be used, because no snapshot has come yet"),
    "negative_latency": (Severity.WARNING, "received before they happened: one of the clocks is wrong"),
    "silence": (Severity.WARNING, "nothing was received for long"),
    "torn": (Severity.WARNING, "the recording was killed while it wrote this file; it ends before it"),
    "foreign": (Severity.WARNING, "messages of something else; a replay leaves these out"),
}
"""Name → how bad it is, and what it means. Errors come first in a report."""


class Faults:
    """Counts faults by kind, with where each was met first."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._firsts: dict[str, str] = {}
        self._details: dict[str, str] = {}

    def note(self, kind: str, where: str | Callable[[], str], detail: str = "", count: int = 1) -> None:
        """One more of a kind, or `count`; `where` and `detail` of the first are kept. Raises `KeyError` for an unknown kind."""
        if kind not in self._counts:
            self._counts[kind] = 0
            self._firsts[kind] = where if isinstance(where, str) else where()
            self._details[kind] = f"{KINDS[kind][1]} ({detail})" if detail else KINDS[kind][1]
        self._counts[kind] += count

    def add_detail(self, kind: str, detail: str) -> None:
        """Say more of a kind that was noted; nothing when it was not."""
        if kind in self._details:
            self._details[kind] += f"; {detail}"

    def findings(self) -> tuple[Finding, ...]:
        """One per kind that was noted, errors first."""
        return tuple(
            Finding(kind, severity, self._counts[kind], self._firsts[kind], self._details[kind])
            for kind, (severity, _) in KINDS.items()
            if kind in self._counts
        )


def value_fault(price: object, size: object, instrument: Instrument, *, empty_is_fine: bool, size_needed: bool) -> str | None:
    """What is wrong with a price and a size as a venue sent them, as one of `KINDS`; None when nothing is.

    `empty_is_fine`: both may be zero, as on the empty side of a quote. `size_needed`: less than a lot is a fault, as in a
    trade, and not a removed level.
    """
    fault = _number_fault(price, instrument.tick_size) or _number_fault(size, None)
    if fault is not None:
        return fault
    has_price, has_size = Decimal(str(price)) > 0, instrument.floor_to_lot(Decimal(str(size))) > 0
    if empty_is_fine and not has_price:
        return "zero" if has_size else None
    return None if has_price and (has_size or not size_needed) else "zero"


def _number_fault(value: object, step: Decimal | None) -> str | None:
    """The same for one number of zero or more; `step` is the tick of a price, None for a size, which may be of any fineness."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return "not_a_number"
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return "not_a_number"
    if not number.is_finite():
        return "not_a_number"
    if number < 0:
        return "negative"
    if number.adjusted() > 30 or number / (step or 1) > MAX_STEPS:
        return "out_of_range"
    return "price_off_grid" if step is not None and number % step else None


def first_fault(faults: Iterable[str | None]) -> str:
    """The first that is one; "corrupt" when none is, because something must be."""
    return next((fault for fault in faults if fault is not None), "corrupt")
