"""Every setting of a run in one frozen value: read once, from defaults, a TOML file and options, in that order.

Unknown names are refused with the known ones listed. The hash of a run's settings is part of its record.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from autohedge.domain.mandate import Envelope
from autohedge.domain.numbers import Exact, Real, Whole
from autohedge.domain.paper import PaperSettings
from autohedge.domain.records import MAX_TASK_CHARS
from autohedge.errors import ConfigError
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.risk.limits import RiskLimits

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, None: 1.0}
_SPREAD_NAMES = frozenset({"spread_percentage", "base_spread_bps"})
EQUAL_WEIGHT = Decimal(1)
Weight = Annotated[Exact, Field(gt=0, le=1_000_000)]
T = TypeVar("T", bound=BaseModel)
DEFAULT_TASK = "Make a market around a fair price and keep the inventory near its target."


class DeskSettings(BaseModel):
    """The desk's pace and its deadlines; `every_s` and `latency_ms` are market time, deadlines are wall time."""

    model_config = _FROZEN

    every_s: Real = Field(default=60.0, ge=0.001, le=86_400)
    cycles: Whole | None = Field(default=None, ge=0, le=1_000_000)
    latency_ms: Real = Field(default=2_000.0, ge=0, le=600_000)
    max_revisions: Whole = Field(default=2, ge=0, le=10)
    max_drawdown_frac: Real = Field(default=0.15, gt=0, le=1)
    agent_deadline_s: Real | None = Field(default=None, gt=0, le=600)
    cycle_deadline_s: Real = Field(default=120.0, gt=0, le=3_600)
    require_llm_frac: Real | None = Field(default=None, ge=0, le=1)
    task: str = Field(default=DEFAULT_TASK, min_length=1, max_length=MAX_TASK_CHARS)


class ModelSettings(BaseModel):
    """Which model, where, and how stubbornly. No name: no model is called, whatever keys the environment holds."""

    model_config = _FROZEN

    name: str | None = Field(default=None, min_length=1, max_length=200)
    base_url: str | None = Field(default=None, max_length=2_000)
    schema_mode: Literal["auto", "strict", "object", "text"] = "auto"
    max_attempts: Whole = Field(default=3, ge=1, le=10)
    wait_initial_s: Real = Field(default=0.5, ge=0, le=60)
    wait_max_s: Real = Field(default=8.0, ge=0, le=600)

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^https?://[^\s/]+", value):
            raise ValueError(f"expected a URL that starts with http:// or https://, found {value[:80]!r}")
        if value is not None and "@" in value.split("//", 1)[1].split("/", 1)[0]:
            raise ValueError("a URL must not carry a user name or key; put the key into OPENAI_API_KEY")
        return value

    @model_validator(mode="after")
    def _url_needs_a_name(self) -> ModelSettings:
        if self.base_url is not None and self.name is None:
            raise ValueError("a base URL without a model name: name the model, or leave both out")
        return self


class Settings(BaseModel):
    """One run. `weights` divide the capital among the symbols; one that is not named has the weight 1."""

    model_config = _FROZEN

    symbols: tuple[str, ...] = ("BTC/USDT",)
    weights: dict[str, Weight] = Field(default_factory=dict)
    market: str = "sim"
    seed: Whole = Field(default=7, ge=0, lt=2**63)
    out_dir: Path = Path("outputs")
    record_dir: Path | None = None
    record_format: Literal["raw", "parquet"] = "raw"
    agents_dir: Path | None = None
    prompts_dir: Path | None = None
    maker: MarketMakingConfig = MarketMakingConfig()
    envelope: Envelope = Envelope()
    limits: RiskLimits = RiskLimits()
    paper: PaperSettings = PaperSettings()
    desk: DeskSettings = DeskSettings()
    model: ModelSettings = ModelSettings()

    @field_validator("market")
    @classmethod
    def _known_market(cls, value: str) -> str:
        if value == "sim" or (value.startswith(("replay:", "candles:")) and value not in ("replay:", "candles:")):
            return value
        raise ValueError(f"expected sim, replay:PATH or candles:PATH, found {value[:80]!r}")

    @field_validator("symbols")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("expected at least one symbol, found none")
        twice = sorted({symbol for symbol in value if value.count(symbol) > 1})
        if twice:
            raise ValueError(f"each symbol once, found twice: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _weights_of_symbols(self) -> Settings:
        unknown = sorted(set(self.weights).difference(self.symbols))
        if unknown:
            raise ValueError(
                f"weights: expected symbols that are traded ({', '.join(self.symbols)}), found {', '.join(unknown)}"
            )
        return self

    @model_validator(mode="after")
    def _an_order_is_allowed(self) -> Settings:
        largest = max(map(self.capital_frac, self.symbols))
        order = self.maker.total_capital * largest.numerator / largest.denominator * self.maker.order_size_percentage
        if order > self.limits.max_order_notional_quote:
            raise ValueError(
                f"one order is {order:.12g} (capital x order_size_percentage), above limits.max_order_notional_quote "
                f"{self.limits.max_order_notional_quote:f}: it would be denied; lower the one or raise the other"
            )
        return self

    def capital_frac(self, symbol: str) -> Fraction:
        """The share of the capital that a symbol trades with: its weight among those of all symbols; exact.

        `symbol` may be spelt as the venue does (BTCUSDT for BTC/USDT).
        """
        weights = {each.replace("/", "").upper(): self.weights.get(each, EQUAL_WEIGHT) for each in self.symbols}
        return Fraction(weights[symbol.replace("/", "").upper()]) / sum(map(Fraction, weights.values()))

    @property
    def candles_path(self) -> Path | None:
        """The file or store of candles to backtest on, or None for a market with a book."""
        return Path(self.market.removeprefix("candles:")) if self.market.startswith("candles:") else None

    @property
    def replay_path(self) -> Path | None:
        """The recording to replay, or None for the simulated market. `ConfigError` for candles, which have no book."""
        if self.candles_path is not None:
            raise ConfigError(f"the market {self.market} is only for `autohedge backtest`; run on sim or replay:PATH")
        return Path(self.market.removeprefix("replay:")) if self.market.startswith("replay:") else None

    def canonical(self) -> dict[str, Any]:
        """What decides the outcome of a run, as plain data: everything except where files go."""
        return self.model_dump(mode="json", exclude={"out_dir", "record_dir", "record_format"})

    def hash(self) -> str:
        """sha256 of `canonical()`; equal settings have equal hashes."""
        return hashlib.sha256(json.dumps(self.canonical(), sort_keys=True).encode()).hexdigest()


def parse_duration_s(text: str) -> float:
    """`500ms`, `60s`, `5m`, `1h`, `2d`, or bare seconds; `ConfigError` for anything else or zero."""
    match = _DURATION.match(text.strip().lower())
    seconds = float(match[1]) * _UNIT_S[match[2]] if match else 0.0
    if not match or seconds <= 0 or not math.isfinite(seconds):
        raise ConfigError(f"expected a duration above zero like 500ms, 60s, 5m or 1h, found {text!r}")
    return seconds


def read_config_file(path: Path) -> dict[str, Any]:
    """A TOML file as nested plain data; `ConfigError` if it is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=str)
    except FileNotFoundError:
        raise ConfigError(f"the configuration file {path} does not exist; give an existing TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from None


def parse_assignments(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` pairs for `MarketMakingConfig`; `ConfigError` for a pair without "=" or an unknown name."""
    known = {*MarketMakingConfig.model_fields, "base_spread_bps"}
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals:
            raise ConfigError(f"--set expects NAME=VALUE, found {pair!r}")
        if name not in known:
            raise ConfigError(f"--set knows no {name!r}; known are {', '.join(sorted(known))}")
        if name in found:
            raise ConfigError(f"--set {name} is given twice; give it once")
        found[name] = value.strip()
    return found


def build_settings(*layers: Mapping[str, Any]) -> Settings:
    """Settings from layers of nested plain data, later ones winning key by key; `ConfigError` in one line if they are wrong."""
    merged: dict[str, Any] = {}
    for layer in layers:
        _forget_other_name(merged, layer)
        _merge(merged, layer)
    return validated(Settings, merged)


def only_given(**values: Any) -> dict[str, Any]:
    """A layer of what was given: without None and without empty parts."""
    return {name: value for name, value in values.items() if value is not None and value != {}}


def validated(model: type[T], data: Mapping[str, Any]) -> T:
    """`model` from plain data; the first fault becomes a one-line `ConfigError` that names field, fault and finding."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, model)) from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a validation in one line."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or model.__name__
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if fault["type"] == "extra_forbidden":
        owner: Any = model
        for part in fault["loc"][:-1]:
            owner = owner.model_fields[part].annotation
        return f"{where} is not a setting; known are {', '.join(sorted(owner.model_fields))}{more}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{where}: {message}{more}"
    return f"{where}: {message[:1].lower()}{message[1:]}, found {str(fault['input'])[:80]!r}{more}"


def _forget_other_name(merged: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """`spread_percentage` and `base_spread_bps` are one setting: the later layer's replaces the earlier one's."""
    earlier, later = merged.get("maker"), layer.get("maker")
    if isinstance(earlier, dict) and isinstance(later, Mapping) and not _SPREAD_NAMES.isdisjoint(later):
        for name in _SPREAD_NAMES:
            earlier.pop(name, None)


def _merge(target: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            part = target.get(key)
            if not isinstance(part, dict):
                part = target[key] = {}
            _merge(part, value)
        else:
            target[key] = value
