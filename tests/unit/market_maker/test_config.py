"""The maker's settings: bounds, aliases, warnings, and that each of them is read by something."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import autohedge
from autohedge.errors import ConfigError
from autohedge.market_maker.config import FairValue, FeeAsset, MarketMakingConfig, QuotingModel, Touch, ToxicityAction
from autohedge.market_maker.models import ModelParameters
from autohedge.risk.limits import RiskLimits
from autohedge.settings import DeskSettings, ModelSettings, Settings, validated

CHOICES = {
    "trading_pair", "quoting_model", "touch", "rebalance", "fee_asset", "size_by_confidence", "fair_value", "toxicity_action",
    "hanging_orders",
}  # fmt: skip
NUMBERS = {name for name, field in MarketMakingConfig.model_fields.items() if name not in CHOICES}
MAY_BE_ZERO = {
    "min_profit_threshold",
    "skew_factor",
    "inventory_target",
    "initial_base",
    "neutral_base",
    "maker_fee_bps",
    "taker_fee_bps",
    "refresh_tolerance_bps",
    "filled_order_delay_s",
    "min_requote_ms",
    "toxic_trades_ratio",
    "toxic_depletion_frac",
    "toxic_imbalance",
    "toxic_hold_s",
    "request_reserve_frac",
    "queue_value_bps",
}


def refusal(**given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validated(MarketMakingConfig, given)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_familiar_names_have_their_familiar_defaults() -> None:
    config = MarketMakingConfig()
    assert (config.trading_pair, config.total_capital, config.spread_percentage) == ("BTC/USDT", 10_000, Decimal("0.001"))
    assert (config.order_size_percentage, config.max_inventory_exposure) == (Decimal("0.01"), Decimal("0.2"))
    assert (config.rebalance_threshold, config.min_profit_threshold) == (Decimal("0.1"), Decimal("0.002"))
    assert (config.skew_factor, config.inventory_target, config.base_spread_bps, config.max_spread_bps) == (0.3, 0.5, 10, 50)
    assert (config.quoting_model, config.touch, config.fee_asset) == (QuotingModel.ORDER_BOOK, Touch.DISTANCE, FeeAsset.QUOTE)
    assert (config.initial_base, config.rebalance, config.min_requote_ms, config.latency_ms) == (0, False, 100, 50)


def test_the_default_configuration_is_quiet() -> None:
    assert MarketMakingConfig().warnings() == ()


def test_money_from_a_float_is_what_was_written() -> None:
    config = MarketMakingConfig(spread_percentage=0.0007, total_capital=1_234.56)
    assert (config.spread_percentage, config.total_capital) == (Decimal("0.0007"), Decimal("1234.56"))


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", float("nan"), float("inf"), "sNaN"])
def test_no_number_may_be_nan_or_infinite(name: str, value: Any) -> None:
    assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("value", [True, False, "true", "abc", "", [1], {"a": 1}])
def test_no_number_may_be_a_truth_value_a_word_or_a_list(name: str, value: Any) -> None:
    assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", sorted(NUMBERS - {"maker_fee_bps"}))
def test_no_number_but_a_maker_fee_may_be_negative(name: str) -> None:
    assert name in refusal(**{name: -1})
    assert name in refusal(**{name: "-1e-9"})


@pytest.mark.parametrize("name", sorted(NUMBERS - MAY_BE_ZERO))
@pytest.mark.parametrize("zero", [0, 0.0, "0", "0.000"])
def test_what_cannot_be_zero_is_refused(name: str, zero: Any) -> None:
    assert name in refusal(**{name: zero})


@pytest.mark.parametrize("name", sorted(MAY_BE_ZERO))
def test_what_can_be_zero_is_taken(name: str) -> None:
    assert getattr(MarketMakingConfig(**{name: 0}), name) == 0


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("huge", [1e300, "1e300", "1e999999999", 10**400])
def test_absurdly_large_numbers_are_refused(name: str, huge: Any) -> None:
    assert name in refusal(**{name: huge})


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    message = refusal(spread=0.001)
    assert message.startswith("spread is not a setting; known are ")
    assert "spread_percentage" in message and "max_inventory_exposure" in message


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0.0", "0.000", "-0", "0e5", Decimal(0)])
def test_zero_latency_is_refused_as_look_ahead(zero: Any) -> None:
    assert "zero latency is look-ahead" in refusal(latency_ms=zero)


def test_a_latency_that_would_round_to_zero_nanoseconds_is_refused() -> None:
    assert "latency_ms" in refusal(latency_ms="0.0000001")
    assert MarketMakingConfig(latency_ms=0.001).latency_ms == 0.001


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"total_capital": "abc"}, "total_capital: input should be a valid decimal, found 'abc'"),
        ({"total_capital": -5}, "total_capital: input should be greater than 0, found '-5'"),
        ({"latency_ms": True}, "latency_ms: expected a number, found True"),
        ({"order_size_percentage": 1.5}, "order_size_percentage: input should be less than or equal to 1, found '1.5'"),
        ({"touch": "near"}, "touch: input should be 'distance', 'join' or 'improve', found 'near'"),
        ({"maker_fee_bps": 501}, "maker_fee_bps: input should be less than or equal to 500, found '501'"),
        ({"maker_fee_bps": -11}, "maker_fee_bps: input should be greater than or equal to -10, found '-11'"),
        ({"rebalance": "perhaps"}, "rebalance: input should be a valid boolean"),
        ({"trading_pair": ""}, "trading_pair: string should have at least 1 character"),
    ],
)
def test_a_refusal_names_the_field_what_was_expected_and_what_was_found(given: dict[str, Any], told: str) -> None:
    assert refusal(**given).startswith(told)


def test_several_faults_are_counted_and_the_first_is_told() -> None:
    assert refusal(total_capital=-5, skew_factor=9).endswith("found '-5' (and 1 more)")


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert "not one order would fit" in refusal(order_size_percentage="0.3")
    assert MarketMakingConfig(order_size_percentage="0.2").order_size_percentage == Decimal("0.2")
    assert "is above max_spread_bps" in refusal(spread_percentage="0.00501")
    assert MarketMakingConfig(spread_percentage="0.005").base_spread_bps == 50


MODEL_BOUNDS = {
    "risk_aversion": (1e-12, 1e3),
    "intensity_decay_per_tick": (1e-9, 1e3),
    "arrival_rate_per_s": (1e-9, 1e9),
    "inventory_limit_orders": (1, 200),
}


@pytest.mark.parametrize("name", MODEL_BOUNDS)
def test_the_models_settings_end_where_the_models_do(name: str) -> None:
    """What the configuration takes a model takes; a little beyond, both refuse (γ above 0: without it nothing is averse)."""
    low, high = MODEL_BOUNDS[name]
    plain = {"risk_aversion": 0.1, "intensity_decay_per_tick": 0.1, "arrival_rate_per_s": 0.1}
    of_the_model = "max_inventory_orders" if name == "inventory_limit_orders" else name
    for end in (low, high):
        assert getattr(MarketMakingConfig.model_validate({name: end}), name) == end
        ModelParameters(**plain | {of_the_model: end})
    beyond = high + 1 if name == "inventory_limit_orders" else high * 1.01
    below = low - 1 if name == "inventory_limit_orders" else low * 0.99 if name != "risk_aversion" else -low
    for value in (beyond, below):
        assert name in refusal(**{name: value})
        with pytest.raises(ConfigError):
            ModelParameters(**plain | {of_the_model: value})


def test_guards_that_cost_quotes_are_off_and_the_request_reserve_is_on_by_default() -> None:
    config = MarketMakingConfig()
    assert (config.toxic_trades_ratio, config.toxic_depletion_frac, config.toxic_imbalance) == (0, 0, 0)
    assert (config.queue_value_bps, config.hanging_orders, config.fair_value) == (0, False, FairValue.MID)
    assert (config.request_reserve_frac, config.toxicity_action) == (0.5, ToxicityAction.PULL)


# --- the two names of one setting, and the floor that can be switched off ---------------------------------------------------


@pytest.mark.parametrize("bps", [12.5, "12.5", Decimal("12.5")])
def test_base_spread_bps_is_another_name_of_spread_percentage(bps: Any) -> None:
    config = MarketMakingConfig.model_validate({"base_spread_bps": bps})
    assert config.spread_percentage == Decimal("0.00125")
    assert config.base_spread_bps == Decimal("12.5")


def test_both_names_at_once_are_a_contradiction() -> None:
    assert "give spread_percentage or base_spread_bps, not both" in refusal(base_spread_bps=10, spread_percentage="0.001")


@pytest.mark.parametrize("wrong", ["abc", True, None, "nan", "inf", [1], "1e999999999", 0, -3])
def test_a_base_spread_that_is_no_spread_is_refused_in_one_line(wrong: Any) -> None:
    assert "spread" in refusal(base_spread_bps=wrong)


@pytest.mark.parametrize("none", [None, "none", "None", " NONE "])
def test_the_profit_floor_can_be_switched_off(none: Any) -> None:
    config = MarketMakingConfig(min_profit_threshold=none)
    assert (config.min_profit_threshold, config.spread_floor_frac) == (None, None)


def test_the_floor_is_profit_and_two_maker_fees() -> None:
    assert MarketMakingConfig().spread_floor_frac == Decimal("0.004")
    assert MarketMakingConfig(maker_fee_bps=0).spread_floor_frac == Decimal("0.002")
    assert MarketMakingConfig(maker_fee_bps="-2.5", min_profit_threshold=0).spread_floor_frac == Decimal("-0.0005")


@pytest.mark.parametrize("name", ["total_capital", "spread_percentage", "skew_factor", "latency_ms"])
def test_only_the_floor_can_be_none(name: str) -> None:
    assert name in refusal(**{name: None})
    assert name in refusal(**{name: "none"})


# --- warnings ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("max_inventory_exposure", "0.15", "0.25"),
        ("order_size_percentage", "0.005", "0.02"),
        ("rebalance_threshold", "0.05", "0.1"),
    ],
)
def test_unusual_settings_are_warned_of_and_usual_ones_are_not(name: str, low: str, high: str) -> None:
    step = Decimal("0.0001")
    for usual in (Decimal(low), Decimal(high)):
        assert MarketMakingConfig(**{name: usual}).warnings() == ()
    for unusual in (Decimal(low) - step, Decimal(high) + step):
        (warning,) = MarketMakingConfig(**{name: unusual}).warnings()
        assert warning == f"{name} is {unusual}; usual are {low} to {high}"


def test_a_floor_above_the_cap_is_warned_of() -> None:
    (warning,) = MarketMakingConfig(maker_fee_bps=20).warnings()
    assert "min_profit_unreachable" in warning and "60" in warning
    assert MarketMakingConfig(maker_fee_bps=15).warnings() == ()
    assert MarketMakingConfig(maker_fee_bps=20, min_profit_threshold=None).warnings() == ()


def test_a_target_that_full_skew_forbids_is_warned_of() -> None:
    """0.75 is half of 20 % of capital, the threshold itself; above it the quotes lean back."""
    assert MarketMakingConfig(inventory_target=0.75).warnings() == ()
    (warning,) = MarketMakingConfig(inventory_target=0.8).warnings()
    assert warning.startswith("inventory_target 0.8 wants 0.12 of capital in base, but beyond rebalance_threshold 0.1 ")
    assert MarketMakingConfig(inventory_target=0.8, neutral_base=1).warnings() == ()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        MarketMakingConfig().total_capital = Decimal(1)  # type: ignore[misc]


# --- nothing is set in vain -------------------------------------------------------------------------------------------------


def product_source() -> str:
    """All of the product's Python, but for the declarations of the settings themselves."""
    package = Path(autohedge.__file__).parent
    declarations = {package / "market_maker" / "config.py", package / "risk" / "limits.py", package / "settings.py"}
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py")) if path not in declarations)


READ_THROUGH_THE_CONFIGURATION = {
    "min_profit_threshold": "spread_floor_frac",
    "maker_fee_bps": "spread_floor_frac",
    "weights": "capital_frac",
}


@pytest.mark.parametrize("model", [MarketMakingConfig, RiskLimits, DeskSettings, ModelSettings, Settings])
def test_every_setting_is_read_somewhere_in_the_product(model: type[BaseModel]) -> None:
    source = product_source()
    unread = [
        name
        for name in model.model_fields
        if not re.search(rf"\.{READ_THROUGH_THE_CONFIGURATION.get(name, name)}\b(?!\s*=[^=])", source)
    ]
    assert not unread, f"{model.__name__} has settings that nothing reads: {', '.join(unread)}"


def test_every_setting_says_what_it_is() -> None:
    silent = [
        name
        for name, field in MarketMakingConfig.model_fields.items()
        if not field.description and name not in ("quoting_model", "touch", "fee_asset")
    ]
    assert not silent
    for choice in (QuotingModel, Touch, FeeAsset, FairValue, ToxicityAction):
        assert choice.__doc__
