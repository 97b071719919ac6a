"""Settings: layers, durations, assignments; every mistake is one line that says where, what was expected and what was found."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autohedge.errors import ConfigError
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.settings import (
    Settings,
    build_settings,
    explain,
    parse_assignments,
    parse_duration_s,
    read_config_file,
    validated,
)


def refusal(*layers: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build_settings(*layers)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


# --- layers -------------------------------------------------------------------------------------------------------------------


def test_defaults_need_no_key_no_network_and_no_model() -> None:
    made = build_settings()
    assert (made.symbols, made.market, made.seed, made.model.name) == (("BTC/USDT",), "sim", 7, None)
    assert made.replay_path is None
    assert made == Settings()


def test_later_layers_win_name_by_name() -> None:
    first = {"seed": 1, "maker": {"maker_fee_bps": 2, "skew_factor": 0.1}, "desk": {"every_s": 30}}
    second = {"maker": {"skew_factor": 0.2}, "market": "replay:/data"}
    made = build_settings(first, second, {"seed": 9})
    assert (made.seed, made.maker.maker_fee_bps, made.maker.skew_factor, made.desk.every_s) == (9, 2, 0.2, 30)
    assert made.replay_path == Path("/data")


def test_layers_are_only_read() -> None:
    """Also where a later layer replaces something that was no table by one."""
    first: dict[str, Any] = {"maker": {"skew_factor": 0.1}, "desk": 5}
    second: dict[str, Any] = {"desk": {"every_s": 30}}
    third: dict[str, Any] = {"maker": {"skew_factor": 0.2}, "desk": {"every_s": 60}}
    build_settings(first, second, third)
    assert (first, second) == ({"maker": {"skew_factor": 0.1}, "desk": 5}, {"desk": {"every_s": 30}})


@pytest.mark.parametrize(
    ("first", "second", "spread"),
    [
        ({"spread_percentage": "0.002"}, {"base_spread_bps": "5"}, "0.0005"),
        ({"base_spread_bps": "5"}, {"spread_percentage": "0.002"}, "0.002"),
        ({"base_spread_bps": "5"}, {"base_spread_bps": "7"}, "0.0007"),
        ({"base_spread_bps": "5"}, {"skew_factor": "0.1"}, "0.0005"),
    ],
)
def test_the_two_names_of_the_spread_override_each_other(first: dict[str, str], second: dict[str, str], spread: str) -> None:
    assert build_settings({"maker": first}, {"maker": second}).maker.spread_percentage == Decimal(spread)


def test_both_names_of_the_spread_in_one_layer_are_a_contradiction() -> None:
    assert "not both" in refusal({"maker": {"spread_percentage": "0.002", "base_spread_bps": "5"}})


# --- refusals -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ({"sede": 1}, r"sede is not a setting; known are .*\bseed\b"),
        ({"maker": {"spread": 1}}, r"maker\.spread is not a setting; known are .*\bspread_percentage\b"),
        ({"limits": {"max_position": 1}}, r"limits\.max_position is not a setting; known are .*\bprice_collar_frac\b"),
        ({"envelope": {"ttl": 1}}, r"envelope\.ttl is not a setting; known are .*\bttl_max_s\b"),
        ({"desk": {"every": 1}}, r"desk\.every is not a setting; known are .*\bevery_s\b"),
        ({"model": {"key": "x"}}, r"model\.key is not a setting; known are .*\bbase_url\b"),
        ({"maker": {"total_capital": "abc"}}, r"maker\.total_capital: input should be a valid decimal, found 'abc'"),
        ({"maker": {"total_capital": 0}}, r"maker\.total_capital: input should be greater than 0, found '0'"),
        ({"maker": {"latency_ms": 0}}, r"maker\.latency_ms: zero latency is look-ahead"),
        ({"maker": {"base_spread_bps": "abc"}}, r"maker: base_spread_bps: expected a number of bps, found 'abc'"),
        ({"maker": 5}, r"maker: input should be a valid dictionary .*found '5'"),
        ({"limits": {"max_daily_loss_frac": 1.5}}, r"limits\.max_daily_loss_frac: .*less than or equal to 1, found '1\.5'"),
        ({"limits": {"max_requests_per_min": 2.5}}, r"limits\.max_requests_per_min: .*found '2\.5'"),
        ({"envelope": {"ttl_min_s": 99, "ttl_max_s": 9}}, r"envelope: envelope\.ttl_min_s 99\.0 is above ttl_max_s 9\.0"),
        ({"seed": -1}, r"seed: input should be greater than or equal to 0, found '-1'"),
        ({"seed": True}, r"seed: expected a number, found True"),
        ({"seed": 2**63}, r"seed: input should be less than"),
        ({"desk": {"cycles": True}}, r"desk\.cycles: expected a number, found True"),
        ({"desk": {"every_s": "nan"}}, r"desk\.every_s: .*found 'nan'"),
        ({"desk": {"every_s": 1e-10}}, r"desk\.every_s: .*greater than or equal to 0\.001"),
        ({"desk": {"require_llm_frac": 1.01}}, r"desk\.require_llm_frac: .*found '1\.01'"),
        ({"desk": {"task": ""}}, r"desk\.task: string should have at least 1 character, found ''"),
        (
            {"maker": {"total_capital": 10_000_001}},
            r"Settings: one order is 100000\.01 .*above limits\.max_order_notional_quote",
        ),
        ({"symbols": ()}, r"symbols: expected at least one symbol, found none"),
        ({"symbols": ("A/B", "C/D", "A/B")}, r"symbols: each symbol once, found twice: A/B"),
        ({"symbols": "BTC/USDT"}, r"symbols: input should be a valid tuple, found 'BTC/USDT'"),
        ({"market": "binance"}, r"market: expected sim, replay:PATH or candles:PATH, found 'binance'"),
        ({"market": "replay:"}, r"market: expected sim, replay:PATH or candles:PATH, found 'replay:'"),
        ({"model": {"base_url": "http://127.0.0.1:1/v1"}}, r"model: a base URL without a model name"),
        ({"model": {"name": "m", "base_url": "ftp://x"}}, r"model\.base_url: expected a URL .*found 'ftp://x'"),
        ({"model": {"name": "m", "base_url": "https://key@host/v1"}}, r"model\.base_url: a URL must not carry"),
        ({"model": {"schema_mode": "loose"}}, r"model\.schema_mode: .*found 'loose'"),
        ({"model": {"max_attempts": 0}}, r"model\.max_attempts: .*found '0'"),
    ],
)
def test_a_mistake_is_told_in_one_line(layer: dict[str, Any], told: str) -> None:
    assert re.match(told, refusal(layer)), refusal(layer)


def test_capital_that_several_symbols_share_may_be_larger() -> None:
    assert build_settings({"maker": {"total_capital": 20_000_000}, "symbols": ("A/B", "C/B")})
    assert "one order is" in refusal({"maker": {"total_capital": 20_000_001}, "symbols": ("A/B", "C/B")})


def test_further_mistakes_are_counted() -> None:
    assert refusal({"seed": -1, "maker": {"total_capital": 0}, "nonsense": 1}).endswith("(and 2 more)")


def test_a_secret_in_a_url_is_not_repeated() -> None:
    assert "sk-123" not in refusal({"model": {"name": "m", "base_url": "https://sk-123@host/v1"}})


def test_an_explanation_cuts_what_was_found() -> None:
    assert len(refusal({"maker": {"total_capital": "9" * 5_000 + "x"}})) < 250


def test_a_model_of_ones_own_is_explained_by_its_name() -> None:
    with pytest.raises(ValidationError) as caught:
        MarketMakingConfig(order_size_percentage="0.5")
    assert explain(caught.value, MarketMakingConfig).startswith("MarketMakingConfig: order_size_percentage 0.5 is above")


def test_what_is_valid_comes_back_as_its_type() -> None:
    assert validated(MarketMakingConfig, {"skew_factor": "0.25"}).skew_factor == 0.25


# --- assignments --------------------------------------------------------------------------------------------------------------


def test_assignments_are_names_and_values_of_the_maker() -> None:
    found = parse_assignments(["spread_percentage=0.0005", " min_profit_threshold = none ", "touch=join"])
    assert found == {"spread_percentage": "0.0005", "min_profit_threshold": "none", "touch": "join"}
    made = build_settings({"maker": found}).maker
    assert (made.spread_percentage, made.min_profit_threshold, made.touch) == (Decimal("0.0005"), None, "join")
    assert parse_assignments([]) == {}


def test_every_field_of_the_maker_and_the_alias_can_be_assigned() -> None:
    for name in (*MarketMakingConfig.model_fields, "base_spread_bps"):
        assert parse_assignments([f"{name}=1"]) == {name: "1"}


def test_every_default_survives_the_way_through_an_assignment() -> None:
    default = MarketMakingConfig()
    pairs = [f"{name}={getattr(default, name)}" for name in MarketMakingConfig.model_fields]
    assert build_settings({"maker": parse_assignments(pairs)}).maker == default


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (["spread_percentage"], "--set expects NAME=VALUE, found 'spread_percentage'"),
        ([""], "--set expects NAME=VALUE, found ''"),
        (["=5"], "--set knows no ''"),
        (["spread=5"], "--set knows no 'spread'; known are arrival_rate_per_s, base_spread_bps, "),
        (["skew_factor=1", "skew_factor=2"], "--set skew_factor is given twice"),
    ],
)
def test_a_wrong_assignment_is_refused(pairs: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignments(pairs)
    assert str(caught.value).startswith(told)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse_assignments(["trading_pair=A=B"]) == {"trading_pair": "A=B"}


# --- durations ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("60s", 60), ("60", 60), ("1.5m", 90), ("1h", 3_600), ("2d", 172_800), (" 5M ", 300), ("0.25", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "0.0h", "-5s", "5 s", "5y", "s", "1e3", "nan", "inf", "1_000", "5s5s", "9" * 400, "5s\nx", "."]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration above zero like 500ms, 60s, 5m or 1h, found"):
        parse_duration_s(text)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**6), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("", 1)]))
def test_any_whole_number_of_a_unit_is_a_duration(number: int, unit: tuple[str, float]) -> None:
    assert parse_duration_s(f"{number}{unit[0]}") == pytest.approx(number * unit[1])


# --- the file -----------------------------------------------------------------------------------------------------------------


def test_a_file_gives_money_as_it_was_written(tmp_path: Path) -> None:
    """0.1 in the file is 0.1 and not the nearest binary number."""
    path = tmp_path / "run.toml"
    path.write_text(
        'seed = 3\n[maker]\ntotal_capital = 1234.10\nmin_profit_threshold = "none"\n[limits]\nmax_daily_loss_quote = 0.1\n'
    )
    made = build_settings(read_config_file(path))
    assert (made.seed, made.maker.total_capital, made.maker.min_profit_threshold) == (3, Decimal("1234.10"), None)
    assert made.limits.max_daily_loss_quote == Decimal("0.1")


def test_a_truth_value_in_a_file_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[maker]\nlatency_ms = true\n")
    assert refusal(read_config_file(path)) == "maker.latency_ms: expected a number, found True"


def test_a_number_in_a_file_may_not_be_nan(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[limits]\nprice_collar_frac = nan\n")
    assert refusal(read_config_file(path)).startswith("limits.price_collar_frac: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist; give an existing TOML file"),
        (b"[maker\n", "is not valid TOML: "),
        (b"\xff\xfe", "cannot be read: "),
        (b"a = 1\na = 2\n", "is not valid TOML: "),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config_file(path)
    assert str(caught.value).startswith(f"the configuration file {path} ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config_file(tmp_path)


# --- the record ---------------------------------------------------------------------------------------------------------------


def test_equal_settings_have_equal_hashes_wherever_files_go() -> None:
    one = build_settings({"seed": 3, "out_dir": "a", "record_dir": "x", "maker": {"spread_percentage": 0.001}})
    other = build_settings({"seed": 3, "out_dir": "b", "maker": {"spread_percentage": "0.001"}})
    assert one.hash() == other.hash()
    assert re.fullmatch("[0-9a-f]{64}", one.hash())


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 8},
        {"symbols": ("ETH/USDT",)},
        {"market": "replay:/data"},
        {"maker": {"maker_fee_bps": "9.99"}},
        {"envelope": {"ttl_max_s": 899}},
        {"limits": {"max_requests_per_min": 99}},
        {"desk": {"latency_ms": 1}},
        {"model": {"name": "m"}},
    ],
)
def test_whatever_decides_a_run_changes_its_hash(changed: dict[str, Any]) -> None:
    assert build_settings(changed).hash() != Settings().hash()


def test_settings_survive_their_own_record() -> None:
    """What is kept of a run can be read back into the same settings."""
    made = build_settings(
        {"seed": 3, "maker": {"min_profit_threshold": None, "maker_fee_bps": "2.5"}, "symbols": ("A/B", "C/B")}
    )
    assert build_settings(made.canonical()).hash() == made.hash()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().seed = 5  # type: ignore[misc]
