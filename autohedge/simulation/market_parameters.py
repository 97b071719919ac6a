"""What a simulated market is like, and what cannot be simulated.

Promises: whatever passes here runs to its end. Refuses the rest with a `ConfigError` of one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError

MAX_DURATION_S = 30 * 86_400
MAX_SEED = 2**63 - 1
MAX_START_NS = 2**62
"""In 2116; what follows within the longest duration still fits 64 bits."""


@dataclass(frozen=True, slots=True)
class MarketParameters:
    """What the artificial market is like; `ConfigError` for a number outside its bounds.

    `start_price` quote per base · `actions_per_s` mean pace of takers and makers together outside bursts and their echo ·
    `volatility_per_hour` σ of the hidden value but for news and impact, a fraction · `impact_bps` mean move of the value with a
    noise order whose side nobody could expect (what a market learns from flow) · `level_quote` value at a typical best price ·
    `min_trade_quote` smallest market order (the largest is 128 times as much) · `bursts_per_minute` and `burst_bps` how often a
    sweep comes at the mean pace, and how far it goes at least (at most eight times as far) · `feed_latency_ms` least time from
    the venue to us (at most twice as much, and later behind other messages).
    """

    start_price: Decimal = Decimal(100)
    actions_per_s: float = 3.6
    volatility_per_hour: float = 0.005
    impact_bps: float = 1.5
    level_quote: float = 10_000.0
    min_trade_quote: float = 100.0
    bursts_per_minute: float = 4.0
    burst_bps: float = 10.0
    feed_latency_ms: float = 3.0

    def __post_init__(self) -> None:
        price = self.start_price
        if type(price) is not Decimal or not price.is_finite() or not 0 < price <= 10**9:
            raise ConfigError(f"start_price must be a Decimal above 0 and at most 1e9, found {price!r}")
        bounds = (
            ("actions_per_s", 0.1, 1_000.0),
            ("volatility_per_hour", 0.0, 0.1),
            ("impact_bps", 0.0, 10.0),
            ("level_quote", 1.0, 1e12),
            ("min_trade_quote", 0.01, 1e9),
            ("bursts_per_minute", 0.0, 10.0),
            ("burst_bps", 1.0, 40.0),
            ("feed_latency_ms", 0.0, 10_000.0),
        )
        for name, low, high in bounds:
            value: float = getattr(self, name)
            if not low <= value <= high:  # NaN fails too
                raise ConfigError(f"{name} of the simulated market must be {low:g} to {high:g}, found {value}")


def check_market(instrument: Instrument, seed: int, duration_s: float, start_ns: int, parameters: MarketParameters) -> None:
    """Raise `ConfigError` for what cannot be simulated, with what to do about it."""
    if type(seed) is not int or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"the seed of a simulated market must be a whole number from 0 to {MAX_SEED}, found {_shown(seed)}")
    if type(duration_s) not in (int, float) or not 0 < duration_s <= MAX_DURATION_S:
        raise ConfigError(
            f"the duration of a simulated market must be above 0 and at most {MAX_DURATION_S} s (30 days), "
            f"found {_shown(duration_s)}"
        )
    if type(start_ns) is not int or not 0 <= start_ns <= MAX_START_NS:
        raise ConfigError(
            f"the start of a simulated market must be 0 to {MAX_START_NS} ns since 1970, found {_shown(start_ns)}"
        )
    price, tick, lot = parameters.start_price, instrument.tick_size, instrument.lot_size
    if not price / 10**12 <= tick <= price / 2_000 or price % tick:
        raise ConfigError(
            f"{instrument.symbol}: a simulated market that starts at {price} needs a tick of at most {price / 2_000} "
            f"that divides {price}, found {tick}; choose another symbol or start_price"
        )
    if lot * price * 4 > Decimal(parameters.min_trade_quote):
        raise ConfigError(
            f"{instrument.symbol}: one lot must be worth at most a quarter of min_trade_quote {parameters.min_trade_quote:g}, "
            f"found {lot * price} ({lot} at {price}); choose another symbol or raise min_trade_quote"
        )


def _shown(value: object) -> str:
    """`value` for a message; Python refuses to write out very long integers."""
    return repr(value) if type(value) is not int or abs(value) < 10**40 else "a number of more than 40 digits"
