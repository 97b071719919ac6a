"""The risk of several makers on one capital: one cap on what they hold and bid for together, and one daily loss. Pure.

The exposure of a maker is its base and the base of its working buys, at its mid; so a fill does not change it. Amounts of
several instruments are added in the finest of their quote atoms, as whole numbers, so sums are exact.

What is netted across makers is money: the daily loss is that of the sum of their equities, so one symbol's gain makes up for
another's loss. Exposure is not netted, because a spot maker is never short: every base held and every working buy adds to it,
and a working sell makes no room before it is filled. A maker that is halted, stale or without a feed keeps its place in both
with what it holds, at its last mid.

The cap binds what is sent: a buy that would take the whole beyond it is made smaller, withheld or denied. A rising price can
carry what is already there beyond it; then nothing more is bought, and working buys that no longer fit are pulled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY
from autohedge.domain.measures import base_value_atoms
from autohedge.domain.orders import Order
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.limits import MOST_QUOTE, RiskLimits

ALL_OF_IT: Final = 1.0
"""As a fraction of the equity: a loss that spot balances, which are never negative, cannot exceed."""


class Held(NamedTuple):
    """One maker's part, in its own quote atoms: its exposure and its equity."""

    exposure_atoms: int
    equity_atoms: int


def held_by(instrument: Instrument, base_atoms: int, quote_atoms: int, mid_half_ticks: int, working: Iterable[Order]) -> Held:
    """A maker's part at a mid in half ticks. The exposure is rounded up, the equity down."""
    per_tick_lot, per_lot = instrument.quote_atoms_per_tick_lot, instrument.base_atoms_per_lot
    bid_atoms = sum(order.remaining_lots for order in working if order.side is BUY) * per_lot
    return Held(
        exposure_atoms=-base_value_atoms(-base_atoms - bid_atoms, mid_half_ticks, per_tick_lot, per_lot),
        equity_atoms=quote_atoms + base_value_atoms(base_atoms, mid_half_ticks, per_tick_lot, per_lot),
    )


class Portfolio:
    """All makers of a session. Each joins with a way to ask what it holds, so that nothing here can be out of date.

    `loss_hit` is the daily loss limit that is hit, as a sentence; it stays until 00:00 UTC.
    """

    def __init__(self, limits: RiskLimits, instruments: Sequence[Instrument], total_capital: Decimal) -> None:
        finest = max(instruments, key=lambda each: each.quote_atom_exponent)
        cap_frac = limits.max_portfolio_exposure_frac
        self.loss_hit = ""
        self._exponent = finest.quote_atom_exponent
        self._instruments = {each.symbol: each for each in instruments}
        self._cap_atoms = None if cap_frac is None else finest.quote_atoms_floor(total_capital * cap_frac)
        self._loss = _daily_loss(limits, finest)
        self._held: dict[str, Callable[[], Held | None]] = {}
        self._openings: dict[str, int] = {}

    def join(self, symbol: str, held: Callable[[], Held | None]) -> None:
        """Take in the maker of a symbol; `held` gives what it holds at the moment, None while its price is not known."""
        self._held[symbol] = held

    def opened(self, symbol: str, equity_atoms: int) -> None:
        """The first price of a symbol is known, and with it what its maker began with, in its quote atoms."""
        self._openings[symbol] = equity_atoms * self._scale(self._instruments[symbol])

    def bid_lots(self, symbol: str, base_atoms: int, mid_half_ticks: int) -> int:
        """The most lots that all buys of a maker together may have, given its base and mid, while the others hold what they do.

        0 while there is no room, or the exposure of another is not known yet; `NO_PORTFOLIO_CAP` without a limit.
        """
        if self._cap_atoms is None:
            return NO_PORTFOLIO_CAP
        others = 0
        for each, instrument in self._instruments.items():
            if each != symbol:
                held = self._held[each]()
                if held is None:
                    return 0
                others += held.exposure_atoms * self._scale(instrument)
        own = self._instruments[symbol]
        room_atoms = (self._cap_atoms - others) // self._scale(own)
        affordable_atoms = 2 * room_atoms * own.base_atoms_per_lot // (mid_half_ticks * own.quote_atoms_per_tick_lot)
        return max(0, (affordable_atoms - base_atoms) // own.base_atoms_per_lot)

    def daily_loss(self, now_ns: int) -> str:
        """Look at the equity of all: the limit that is hit, or "". Without a limit, or before all have a price, nothing is.

        The first day starts from the sum of what the makers began with; a later day from the last sum known before midnight.
        """
        loss = self._loss
        if loss is None or len(self._openings) < len(self._instruments):
            return ""
        equity = 0
        for symbol, instrument in self._instruments.items():
            held = self._held[symbol]()
            if held is None:
                return ""
            equity += held.equity_atoms * self._scale(instrument)
        if loss.day < 0:
            loss.day_open_atoms = sum(self._openings.values())
        self.loss_hit = loss.update(now_ns, equity)
        return self.loss_hit

    def _scale(self, instrument: Instrument) -> int:
        """How many of the finest atoms an instrument's quote atom has."""
        return int(10 ** (self._exponent - instrument.quote_atom_exponent))


def _daily_loss(limits: RiskLimits, finest: Instrument) -> DailyLoss | None:
    """The watch over the daily loss of all, in the quote atoms of one instrument; None when it has no limit."""
    quote, frac = limits.max_portfolio_daily_loss_quote, limits.max_portfolio_daily_loss_frac
    if quote is None and frac is None:
        return None
    of_all = limits.model_copy(
        update={
            "max_daily_loss_quote": MOST_QUOTE if quote is None else quote,
            "max_daily_loss_frac": ALL_OF_IT if frac is None else frac,
        }
    )
    return DailyLoss(finest, of_all, 0)
