"""What a backtest of a strategy assumes about its account, its costs and the market it meets."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from autohedge.domain.fees import FeeRate
from autohedge.domain.instrument import Instrument
from autohedge.domain.numbers import Exact, Real, Whole
from autohedge.errors import ConfigError
from autohedge.simulation.bar_matching import BPS, LARGEST, NO_SHARE_BPS, MarketRules
from autohedge.simulation.chance import API_FAILURE, SLIPPAGE, stream_key
from autohedge.simulation.slippage import SlippageModel


def _none_word(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


class FillAt(StrEnum):
    """When a market order that was decided on a bar's close trades: at the next bar's open, or at that very close."""

    NEXT_OPEN = "next_open"
    CLOSE = "close"


CLOSE_NOTE = (
    "fill_at=close: market orders traded at the close that they were decided on; that is only true of decisions that can be "
    "made before a closing auction ends"
)
NO_SHARE_NOTE = "participation_frac=none: orders of any size filled at once, whatever the volume"


class Assumptions(BaseModel):
    """Account, costs and market of a backtest on bars or trades. Unknown names and values outside the bounds are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    initial_capital: Exact = Field(
        default=Decimal(10_000), gt=0, le=Decimal("1e12"), description="Cash to begin with, in the quote asset."
    )
    commission_frac: Exact = Field(
        default=Decimal("0.001"), ge=0, lt=Decimal("0.1"), description="Fee of each fill, fraction of its value, paid in quote."
    )
    slippage_model: SlippageModel = Field(
        default=SlippageModel.LINEAR, description="How slippage grows with the share of the volume taken."
    )
    slippage_factor_frac: Real = Field(default=0.001, ge=0, lt=1, description="Slippage of taking all there is.")
    slippage_floor_frac: Real = Field(default=0.0001, ge=0, lt=1, description="Least slippage expected.")
    latency_ms: Real = Field(
        default=50, ge=0.001, le=86_400_000, description="From our sending to the venue's executing; on bars: up to an open."
    )
    api_failure_frac: Real = Field(default=0.001, ge=0, lt=1, description="Share of requests to the venue that are lost.")
    participation_frac: Annotated[Exact | None, BeforeValidator(_none_word)] = Field(
        default=Decimal("0.1"),
        ge=Decimal("0.0001"),
        le=1,
        decimal_places=4,
        description="Most that all our orders get of a bar's volume; none: any size.",
    )
    fill_at: FillAt = Field(default=FillAt.NEXT_OPEN, description="When a market order decided on a close trades, on bars.")
    trading_days_per_year: Whole = Field(
        default=365, ge=1, le=366, description="365 where the market never closes, 252 for stocks."
    )
    seed: Whole = Field(default=0, ge=0, lt=2**63, description="Of all chance in the run.")

    @classmethod
    def of(cls, **values: Any) -> Assumptions:
        """The same, with a mistake told in one line as a `ConfigError`."""
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise ConfigError(f"assumptions: {name}: {first['msg']}, found {first['input']!r}") from error

    @property
    def fee_rate(self) -> FeeRate:
        """The commission as an exact fraction."""
        return FeeRate.from_bps(self.commission_frac * BPS)

    @property
    def latency_ns(self) -> int:
        """The latency in nanoseconds."""
        return round(self.latency_ms * 1_000_000)

    def market_rules(self, instrument: Instrument, interval_ns: int) -> MarketRules:
        """Instrument, costs and chance as bare numbers, for bars of that interval."""
        fee = self.fee_rate
        most = instrument.max_notional
        share = self.participation_frac
        return MarketRules(
            atoms_per_tick_lot=instrument.quote_atoms_per_tick_lot,
            min_lots=instrument.min_lots,
            max_lots=instrument.max_lots,
            min_notional_atoms=instrument.min_notional_atoms,
            max_notional_atoms=LARGEST if most is None else min(LARGEST, instrument.quote_atoms_floor(most)),
            fee_numerator=fee.numerator,
            fee_denominator=fee.denominator,
            participation_bps=NO_SHARE_BPS if share is None else int(share * BPS),
            slippage_model=self.slippage_model.code,
            slippage_factor_frac=self.slippage_factor_frac,
            slippage_floor_frac=self.slippage_floor_frac,
            slippage_key=stream_key(self.seed, SLIPPAGE),
            failure_key=stream_key(self.seed, API_FAILURE),
            failure_frac=self.api_failure_frac,
            latency_ns=self.latency_ns,
            interval_ns=interval_ns,
        )

    def notes(self, *, on_bars: bool = True) -> tuple[str, ...]:
        """What makes a result kinder than the defaults would."""
        told = []
        if on_bars and self.fill_at is FillAt.CLOSE:
            told.append(CLOSE_NOTE)
        if on_bars and self.participation_frac is None:
            told.append(NO_SHARE_NOTE)
        if self.slippage_model is SlippageModel.NONE:
            told.append("slippage_model=none: market orders paid no slippage")
        return tuple(told)
