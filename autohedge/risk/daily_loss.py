"""The daily loss: equity against what it was at 00:00 UTC, fees and unrealised PnL included."""

from __future__ import annotations

from dataclasses import dataclass

from autohedge.domain.instrument import Instrument
from autohedge.risk.limits import RiskLimits

NS_PER_DAY = 86_400 * 1_000_000_000


@dataclass(slots=True)
class DailyLoss:
    """Watches one session's equity. Once hit it stays hit until the next 00:00 UTC.

    The first day starts from the opening equity; a later day from the last equity known before its midnight.
    """

    instrument: Instrument
    limits: RiskLimits
    day_open_atoms: int
    day: int = -1
    last_atoms: int = 0
    hit: str = ""

    def update(self, now_ns: int, equity_atoms: int) -> str:
        """The limit that is hit, as a sentence, or "" while trading may go on."""
        day = now_ns // NS_PER_DAY
        if day != self.day:
            if self.day >= 0:
                self.day_open_atoms = self.last_atoms
            self.day, self.hit = day, ""
        self.last_atoms = equity_atoms
        if not self.hit:
            loss = self.day_open_atoms - equity_atoms
            amount = self.instrument.quote_amount
            if loss >= self.instrument.quote_atoms_floor(self.limits.max_daily_loss_quote):
                self.hit = f"lost {amount(loss)} {self.instrument.quote} since 00:00 UTC"
            elif self.day_open_atoms > 0 and loss >= self.day_open_atoms * self.limits.max_daily_loss_frac:
                self.hit = f"lost {loss / self.day_open_atoms:.2%} since 00:00 UTC"
        return self.hit
