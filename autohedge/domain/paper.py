"""What orders meet at a simulated venue besides the market: settings of paper trading and of backtests on a book.

The rules that these settings choose between are in docs/paper-venue.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from autohedge.domain.numbers import Real

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PaperSettings(BaseModel):
    """Queue, way of orders, failures and halts. The least latency is the maker's `latency_ms`; chance comes from `seed`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    queue_model: Literal["behind_all", "power", "log"] = Field(
        default="behind_all", description="Where cancels at our price stood: behind us, or shared by position."
    )
    queue_power: Real = Field(default=2.0, gt=0, le=10, description="n of the model power, f(x) = xⁿ; 1 shares by size alone.")
    latency_model: Literal["constant", "exponential", "log_normal", "feed", "recorded"] = Field(
        default="constant", description="What is added to latency_ms."
    )
    latency_mean_ms: Real = Field(default=10.0, gt=0, le=60_000, description="Mean of what chance adds to latency_ms.")
    latency_sigma: Real = Field(default=1.0, gt=0, le=3, description="σ of the logarithm of a log_normal draw.")
    latency_file: str = Field(
        default="", max_length=4_096, description="CSV file of recorded latencies: ts_ns,latency_ns; added to latency_ms."
    )
    feed_latency_ms: Real = Field(
        default=0.0,
        ge=0,
        le=60_000,
        description="By how much the feed is slower than recorded; the same as a longer way of orders.",
    )
    api_failure_frac: Real = Field(default=0.0, ge=0, le=0.5, description="Share of requests to the venue that are lost.")
    halts: tuple[tuple[AwareDatetime, AwareDatetime], ...] = Field(
        default=(), description="Times [from, to), with their offset from UTC, in which only cancels are taken."
    )

    @model_validator(mode="after")
    def _consistent(self) -> PaperSettings:
        if (self.latency_model == "recorded") != bool(self.latency_file):
            raise ValueError("latency_model recorded and latency_file belong together; give both or neither")
        before: datetime | None = None
        for begin, end in self.halts:
            if begin >= end or (before is not None and begin < before):
                raise ValueError(f"halts are times [from, to) in order and apart, found {begin} to {end}")
            before = end
        return self

    @property
    def halts_ns(self) -> tuple[tuple[int, int], ...]:
        """The halts in UTC nanoseconds, [from, to)."""
        return tuple((_ns(begin), _ns(end)) for begin, end in self.halts)


def _ns(at: datetime) -> int:
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
