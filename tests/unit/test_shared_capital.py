"""How several symbols share one capital: weights from TOML and library, exact to the atom, and what is refused."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from autohedge.backtest.l2_run import backtest
from autohedge.bootstrap import instruments_of, lane_config, prepare, refuse_portfolio_limits
from autohedge.errors import ConfigError
from autohedge.market.instruments import simulated_instrument
from autohedge.settings import Settings, build_settings, read_config_file

A, B, C = "AAA/USDT", "BBB/USDT", "CCC/USDT"


def of(*symbols: str, **parts: Any) -> Settings:
    return build_settings({"symbols": symbols, **parts})


def shares(settings: Settings) -> list[Decimal]:
    return [lane_config(settings, simulated_instrument(symbol)).total_capital for symbol in settings.symbols]


def test_without_weights_the_shares_are_equal() -> None:
    assert shares(of(A)) == [10_000]
    assert shares(of(A, B, C)) == [Decimal("3333.33333333")] * 3


def test_shares_follow_the_weights_and_a_symbol_that_is_not_named_weighs_one() -> None:
    assert shares(of(A, B, C, weights={A: 2, C: "0.5"})) == [
        Decimal("5714.28571428"),
        Decimal("2857.14285714"),
        Decimal("1428.57142857"),
    ]
    assert shares(of(A, B, weights={A: 0.1, B: 0.3})) == [2_500, 7_500], "a float counts by its shortest decimal form"


def test_weights_come_from_a_file_and_a_later_layer_wins(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text('symbols = ["AAA/USDT", "BBB/USDT"]\n[weights]\n"AAA/USDT" = 3\n"BBB/USDT" = 1.5\n', encoding="utf-8")
    layer = read_config_file(file)
    assert shares(build_settings(layer)) == [Decimal("6666.66666666"), Decimal("3333.33333333")]
    assert shares(build_settings(layer, {"weights": {B: 1}})) == [7_500, 2_500]


@examples(max_examples=200, deadline=None)
@given(
    st.lists(st.decimals("0.0001", 1_000_000, places=4), min_size=1, max_size=6),
    st.decimals(1, 10**9, places=8),
)
def test_shares_are_rounded_down_to_the_atom_and_leave_less_than_one_each(weights: list[Decimal], capital: Decimal) -> None:
    """Exact in rational numbers, whatever the weights."""
    symbols = [f"A{number}/USDT" for number in range(len(weights))]
    settings = of(
        *symbols,
        weights=dict(zip(symbols, weights, strict=True)),
        maker={"total_capital": capital},
        limits={"max_order_notional_quote": 10**12},
    )
    atom, made = Fraction(1, 10**8), shares(settings)
    for share, weight in zip(made, weights, strict=True):
        exact = Fraction(capital) * Fraction(weight) / sum(map(Fraction, weights))
        assert exact - atom < Fraction(share) <= exact
    assert Fraction(capital) - len(weights) * atom < sum(map(Fraction, made)) <= Fraction(capital)


def test_a_weight_counts_for_the_venues_spelling_too() -> None:
    settings = of("BTCUSDT", "ETH/USDT", market="replay:/x", weights={"BTCUSDT": 3})
    assert settings.capital_frac("BTC/USDT") == Fraction(3, 4)


@pytest.mark.parametrize("weight", [0, -1, "nan", "inf", True, "much", None, 1e300])
def test_a_weight_that_is_no_share_is_refused_by_name(weight: Any) -> None:
    with pytest.raises(ConfigError, match=r"weights\.AAA/USDT"):
        of(A, B, weights={A: weight})


def test_a_weight_of_nobody_is_refused_with_those_who_trade() -> None:
    with pytest.raises(ConfigError, match=r"expected symbols that are traded \(AAA/USDT, BBB/USDT\), found ZZZ/USDT"):
        of(A, B, weights={"ZZZ/USDT": 1})


def test_the_largest_order_is_held_against_the_limit_whoever_has_it() -> None:
    limits = {"max_order_notional_quote": 80}
    of(A, B, weights={A: 4}, limits=limits)
    with pytest.raises(ConfigError, match="one order is 81"):
        of(A, B, weights={A: 81, B: 19}, limits=limits)


def test_a_share_too_small_for_an_order_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"BBB/USDT: one order is .* below the venue's minimum"):
        prepare(of(A, B, weights={A: 99}, out_dir=tmp_path), environ={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["initial_base", "neutral_base"])
def test_an_amount_of_one_asset_is_refused_for_several(name: str) -> None:
    instruments_of(of(A, maker={name: 1}))
    with pytest.raises(ConfigError, match=f"{name} is an amount of one asset"):
        instruments_of(of(A, B, maker={name: 1}))


def test_weights_are_part_of_what_decides_a_run() -> None:
    assert of(A, B).hash() != of(A, B, weights={A: 2}).hash()
    assert of(A, B, weights={A: 2}).canonical()["weights"] == {A: "2"}


# --- limits over all symbols ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["max_portfolio_exposure_frac", "max_portfolio_daily_loss_quote", "max_portfolio_daily_loss_frac"]
)
def test_where_symbols_run_apart_a_limit_over_all_is_refused_by_name(name: str) -> None:
    refuse_portfolio_limits(of(A, B))
    couples = rf"limits\.{name} couples the symbols at every event.*autohedge run"
    with pytest.raises(ConfigError, match=couples):
        refuse_portfolio_limits(of(A, B, limits={name: "0.5"}))
    with pytest.raises(ConfigError, match=couples):
        asyncio.run(backtest(of(A, B, limits={name: "0.5"})))


def test_a_cap_over_all_that_can_never_bind_is_told(tmp_path: Path) -> None:
    """Each symbol stops at a fifth of its share, so all together never pass a fifth of the whole."""
    plan = prepare(of(A, B, limits={"max_portfolio_exposure_frac": "0.2"}, out_dir=tmp_path), environ={})
    assert [each for each in plan.warnings() if "max_portfolio_exposure_frac 0.2 never binds" in each]
    plan = prepare(of(A, B, limits={"max_portfolio_exposure_frac": "0.19"}, out_dir=tmp_path), environ={})
    assert not [each for each in plan.warnings() if "never binds" in each]
