"""The mandate: the only door from the desk to the maker, and it only opens as far as the operator's envelope.

`clamp` is two-sided, limits the change against the mandate before, and reports each hit. `in_force` says what a mandate is
worth at a time: as given until it expires, then sliding over one further ttl to the conservative values (wider, smaller,
no bias, risk at least medium), then conservative. A missing mandate is conservative from the start. Nothing here ever
loosens with time, and a proposal that is not made of finite numbers is refused.
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autohedge.domain.ids import CycleId, MandateId
from autohedge.domain.numbers import Real
from autohedge.errors import InvariantBroken

NS_PER_S = 1_000_000_000


class Regime(StrEnum):
    """What the market does."""

    TRENDING_UP = "trending_up"
    TRENDING_DOWN = "trending_down"
    RANGE_BOUND = "range_bound"
    VOLATILE = "volatile"
    LOW_LIQUIDITY = "low_liquidity"


class RiskLevel(StrEnum):
    """How risky the desk finds it; it scales the size of quotes (low 1.0, medium 0.7, high 0.4)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Envelope(BaseModel):
    """What the operator lets the desk set. Bounds are inclusive; `*_max_change` limits one cycle's step."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    spread_multiplier_min: Real = Field(default=1.0, ge=1.0, le=10.0)
    spread_multiplier_max: Real = Field(default=3.0, ge=1.0, le=10.0)
    spread_multiplier_max_change: Real = Field(default=0.5, gt=0.0)
    inventory_bias_min: Real = Field(default=-0.5, ge=-1.0, le=0.0)
    inventory_bias_max: Real = Field(default=0.5, ge=0.0, le=1.0)
    inventory_bias_max_change: Real = Field(default=0.25, gt=0.0)
    size_multiplier_min: Real = Field(default=0.25, ge=0.0, le=1.0)
    size_multiplier_max: Real = Field(default=1.0, gt=0.0, le=1.0)
    size_multiplier_max_change: Real = Field(default=0.25, gt=0.0)
    ttl_min_s: Real = Field(default=10.0, ge=0.001, le=86_400.0)
    ttl_max_s: Real = Field(default=900.0, ge=0.001, le=86_400.0)
    conservative_spread_multiplier: Real = Field(default=2.0, ge=1.0, le=10.0)
    conservative_size_multiplier: Real = Field(default=0.5, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _ordered(self) -> Envelope:
        for name in ("spread_multiplier", "inventory_bias", "size_multiplier"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low > high:
                raise ValueError(f"envelope.{name}_min {low} is above {name}_max {high}; swap them")
        if self.ttl_min_s > self.ttl_max_s:
            raise ValueError(f"envelope.ttl_min_s {self.ttl_min_s} is above ttl_max_s {self.ttl_max_s}; swap them")
        return self


class MandateProposal(NamedTuple):
    """What the desk asks for, before the clamp."""

    spread_multiplier: float
    inventory_bias: float
    size_multiplier: float
    ttl_s: float
    regime: Regime
    risk_level: RiskLevel


class Clamped(NamedTuple):
    """One hit of the envelope: `limit` names which one."""

    field: str
    asked: float
    given: float
    limit: str


class Mandate(NamedTuple):
    """What the maker obeys from `effective_ns` to `valid_until_ns`, with where it came from."""

    mandate_id: MandateId
    cycle_id: CycleId
    symbol: str
    spread_multiplier: float
    inventory_bias: float
    size_multiplier: float
    regime: Regime
    risk_level: RiskLevel
    effective_ns: int
    valid_until_ns: int
    source: str
    reason: str
    clamps: tuple[Clamped, ...]


class MandateState(StrEnum):
    """How much of a mandate still holds."""

    IN_FORCE = "in_force"
    DECAYING = "decaying"
    EXPIRED = "expired"
    MISSING = "missing"


class MandateValues(NamedTuple):
    """What the maker uses at a time."""

    mandate_id: str
    spread_multiplier: float
    inventory_bias: float
    size_multiplier: float
    risk_level: RiskLevel
    source: str
    state: MandateState


def clamp(
    proposal: MandateProposal,
    envelope: Envelope,
    previous: Mandate | None,
    *,
    mandate_id: MandateId,
    cycle_id: CycleId,
    symbol: str,
    effective_ns: int,
    source: str,
    reason: str,
) -> Mandate:
    """Turn a proposal into a mandate inside the envelope; without a previous mandate the step counts from neutral (1, 0, 1).

    `InvariantBroken` for a number that is not finite: NaN has no nearest bound, and the desk checks its answers before.
    """
    numbers = (proposal.spread_multiplier, proposal.inventory_bias, proposal.size_multiplier, proposal.ttl_s)
    if not all(isfinite(number) for number in numbers):
        raise InvariantBroken(f"{symbol}: a mandate proposal is made of finite numbers, found {proposal}")
    clamps: list[Clamped] = []
    before = (previous.spread_multiplier, previous.inventory_bias, previous.size_multiplier) if previous else (1.0, 0.0, 1.0)

    def bounded(name: str, asked: float, was: float) -> float:
        step: float = getattr(envelope, f"{name}_max_change")
        low: float = getattr(envelope, f"{name}_min")
        high: float = getattr(envelope, f"{name}_max")
        given = min(max(asked, low), high)
        if given != asked:
            clamps.append(Clamped(name, asked, given, f"{name}_min" if asked < low else f"{name}_max"))
        # the bounds win over the step: an envelope that was narrowed binds at once
        stepped = min(max(min(max(given, was - step), was + step), low), high)
        if stepped != given:
            clamps.append(Clamped(name, given, stepped, f"{name}_max_change"))
        return stepped

    spread = bounded("spread_multiplier", proposal.spread_multiplier, before[0])
    bias = bounded("inventory_bias", proposal.inventory_bias, before[1])
    size = bounded("size_multiplier", proposal.size_multiplier, before[2])
    ttl_s = min(max(proposal.ttl_s, envelope.ttl_min_s), envelope.ttl_max_s)
    if ttl_s != proposal.ttl_s:
        name = "ttl_min_s" if proposal.ttl_s < envelope.ttl_min_s else "ttl_max_s"
        clamps.append(Clamped("ttl_s", proposal.ttl_s, ttl_s, name))
    return Mandate(
        mandate_id=mandate_id,
        cycle_id=cycle_id,
        symbol=symbol,
        spread_multiplier=spread,
        inventory_bias=bias,
        size_multiplier=size,
        regime=proposal.regime,
        risk_level=proposal.risk_level,
        effective_ns=effective_ns,
        valid_until_ns=effective_ns + int(ttl_s * NS_PER_S),
        source=source,
        reason=reason,
        clamps=tuple(clamps),
    )


def gone_frac(now_ns: int, effective_ns: int, valid_until_ns: int) -> float:
    """How much of an expired mandate is gone: 0 when it expires, 1 one ttl later and after."""
    return min(1.0, (now_ns - valid_until_ns) / (valid_until_ns - effective_ns))


def decayed(
    gone: float, spread_multiplier: float, inventory_bias: float, size_multiplier: float, wide: float, small: float
) -> tuple[float, float, float]:
    """(spread multiplier, bias, size multiplier) of a mandate that is gone by a fraction; decaying never loosens: one that was
    already wider or smaller than conservative stays so."""
    spread = spread_multiplier + gone * (max(wide, spread_multiplier) - spread_multiplier)
    size = size_multiplier + gone * (min(small, size_multiplier) - size_multiplier)
    return spread, inventory_bias * (1.0 - gone), size


def in_force(mandate: Mandate | None, now_ns: int, envelope: Envelope) -> MandateValues:
    """The values that hold at `now_ns`: linear from the mandate's to the conservative ones over one ttl after it expires."""
    wide, small = envelope.conservative_spread_multiplier, envelope.conservative_size_multiplier
    if mandate is None:
        return MandateValues("", wide, 0.0, small, RiskLevel.MEDIUM, "conservative", MandateState.MISSING)
    if now_ns < mandate.valid_until_ns:
        return MandateValues(
            mandate.mandate_id,
            mandate.spread_multiplier,
            mandate.inventory_bias,
            mandate.size_multiplier,
            mandate.risk_level,
            mandate.source,
            MandateState.IN_FORCE,
        )
    gone = gone_frac(now_ns, mandate.effective_ns, mandate.valid_until_ns)
    spread, bias, size = decayed(gone, mandate.spread_multiplier, mandate.inventory_bias, mandate.size_multiplier, wide, small)
    risk_level = RiskLevel.MEDIUM if mandate.risk_level is RiskLevel.LOW else mandate.risk_level
    return MandateValues(
        mandate.mandate_id,
        spread,
        bias,
        size,
        risk_level,
        mandate.source,
        MandateState.DECAYING if gone < 1.0 else MandateState.EXPIRED,
    )
