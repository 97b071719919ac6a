"""The daily loss: equity against what it was at 00:00 UTC, fees and unrealised PnL included."""

from __future__ import annotations

from dataclasses import dataclass, field

from autohedge.domain.instrument import Instrument
from autohedge.risk.checks import LimitNumbers, daily_loss_limit_hit
from autohedge.risk.limits import RiskLimits
from autohedge.risk.pretrade import limit_numbers

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
    _numbers: LimitNumbers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._numbers = limit_numbers(self.limits, self.instrument)

    def update(self, now_ns: int, equity_atoms: int) -> str:
        """The limit that is hit, as a sentence, or "" while trading may go on."""
        day = now_ns // NS_PER_DAY
        if day != self.day:
            if self.day >= 0:
                self.day_open_atoms = self.last_atoms
            self.day, self.hit = day, ""
        self.last_atoms = equity_atoms
        if not self.hit and daily_loss_limit_hit(self._numbers, self.day_open_atoms, equity_atoms):
            loss = self.day_open_atoms - equity_atoms
            if loss >= self._numbers.max_daily_loss_atoms:
                self.hit = f"lost {self.instrument.quote_amount(loss)} {self.instrument.quote} since 00:00 UTC"
            else:
                self.hit = f"lost {loss / self.day_open_atoms:.2%} since 00:00 UTC"
        return self.hit
