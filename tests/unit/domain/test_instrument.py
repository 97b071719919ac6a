"""The instrument: exact integers, stated rounding directions, nothing off the grid."""

from __future__ import annotations

from dataclasses import replace
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument, decimal_exponent
from autohedge.errors import ConfigError, MarketDataError

EXAMPLES = settings(max_examples=80, deadline=None)


def grid(tick: str, lot: str, *, min_notional: str = "10", max_notional: str | None = "9000000") -> Instrument:
    return Instrument(
        symbol="BTC/USDT",
        base="BTC",
        quote="USDT",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        min_qty=Decimal(lot),
        max_qty=Decimal(lot) * 900_000_000,
        min_notional=Decimal(min_notional),
        max_notional=None if max_notional is None else Decimal(max_notional),
        venue="test",
        rules_as_of="2024-08-08",
    )


BINANCE, UPBIT = grid("0.01", "0.00001"), grid("1000", "0.00000001")
COARSE, WHOLE, FINE = grid("0.1", "0.001"), grid("1", "1"), grid("0.0000001", "0.00001")
GRIDS = [BINANCE, UPBIT, COARSE, WHOLE, FINE]
grids = st.sampled_from(GRIDS)
ticks_ = st.integers(1, 10**10)
lots_ = st.integers(0, 10**9)
finite = st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=16)


@pytest.mark.parametrize(
    ("instrument", "base_atoms_per_lot", "quote_atoms_per_tick_lot", "quote_exponent"),
    [
        (BINANCE, 1_000, 10, 8),  # 1e-5 BTC = 1000 atoms; 0.01 × 1e-5 = 1e-7 USDT = 10 atoms
        (UPBIT, 1, 1_000, 8),  # 1e-8 BTC = 1 atom; 1000 × 1e-8 = 1e-5 KRW = 1000 atoms
        (COARSE, 100_000, 10_000, 8),  # 0.001 = 1e5 atoms; 1e-4 = 10^4 atoms
        (WHOLE, 10**8, 10**8, 8),
        (FINE, 1_000, 1, 12),  # 1e-7 × 1e-5 = 1e-12 needs finer atoms than 1e-8
    ],
)
def test_one_tick_times_one_lot_is_a_whole_number_of_quote_atoms(
    instrument: Instrument, base_atoms_per_lot: int, quote_atoms_per_tick_lot: int, quote_exponent: int
) -> None:
    assert instrument.base_atom_exponent == 8
    assert instrument.quote_atom_exponent == quote_exponent
    assert instrument.base_atoms_per_lot == base_atoms_per_lot
    assert instrument.quote_atoms_per_tick_lot == quote_atoms_per_tick_lot


def test_a_lot_finer_than_an_atom_makes_atoms_finer() -> None:
    fine = grid("0.01", "0.0000000001")
    assert (fine.base_atom_exponent, fine.base_atoms_per_lot) == (10, 1)
    assert (fine.quote_atom_exponent, fine.quote_atoms_per_tick_lot) == (12, 1)


def test_prices_and_sizes_by_hand() -> None:
    assert BINANCE.ticks(Decimal("61837.63")) == 6_183_763
    assert BINANCE.lots(Decimal("0.00160")) == 160
    assert BINANCE.notional_atoms(6_183_763, 160) == 9_894_020_800  # 98.940208 USDT
    assert BINANCE.quote_amount(9_894_020_800) == Decimal("98.940208")
    assert UPBIT.ticks(Decimal(84_000_000)) == 84_000
    assert UPBIT.notional_atoms(84_000, 6_000) == 504_000_000_000  # 0.00006 BTC at 84,000,000 KRW = 5,040 KRW
    assert UPBIT.quote_amount(504_000_000_000) == 5_040
    assert COARSE.notional_atoms(COARSE.ticks(Decimal("3.7")), COARSE.lots(Decimal("0.250"))) == 92_500_000  # 0.925
    assert WHOLE.notional_atoms(17, 3) == 51 * 10**8


def test_minimum_and_maximum_are_rounded_towards_what_the_venue_takes() -> None:
    between = replace(COARSE, min_qty=Decimal("0.0015"), max_qty=Decimal("0.0095"), min_notional=Decimal("0.000000015"))
    assert between.min_lots == 2
    assert between.max_lots == 9
    assert between.min_notional_atoms == 2
    assert COARSE.min_notional_atoms == 10**9


@pytest.mark.parametrize("price", ["0", "-0.01", "0.005", "61837.635", "NaN", "sNaN", "Infinity", "-Infinity", "1e80"])
def test_a_price_off_the_grid_is_refused(price: str) -> None:
    with pytest.raises(MarketDataError, match=r"is not a positive multiple of the tick 0\.01"):
        BINANCE.ticks(Decimal(price))


@pytest.mark.parametrize("size", ["-0.00001", "0.000015", "NaN", "sNaN", "Infinity"])
def test_a_size_off_the_grid_is_refused(size: str) -> None:
    with pytest.raises(MarketDataError, match="is not a multiple of the lot"):
        BINANCE.lots(Decimal(size))


def test_a_size_of_zero_is_on_the_grid_but_a_price_of_zero_is_not() -> None:
    assert BINANCE.lots(Decimal(0)) == 0
    with pytest.raises(MarketDataError):
        BINANCE.ticks(Decimal(0))


def test_more_digits_than_usual_neither_hide_an_off_grid_price_nor_round_it_over_a_line() -> None:
    """28 digits, which Python's decimals work with by default, would take these for 100.00 and 1."""
    almost = Decimal("100.0000000000000000000000000000000001")
    with pytest.raises(MarketDataError):
        BINANCE.ticks(almost)
    with pytest.raises(MarketDataError):
        BINANCE.lots(almost)
    assert BINANCE.ask_price_ceil_ticks(almost) == 10_001
    below = Decimal("0.9999999999999999999999999999999999")
    assert WHOLE.floor_to_lot(below) == 0
    assert WHOLE.bid_price_floor_ticks(below) == 0
    assert WHOLE.quote_atoms_floor(below) == WHOLE.base_atoms_floor(below) == 99_999_999


@EXAMPLES
@given(grids, ticks_, lots_)
def test_integers_survive_the_way_out_and_back(instrument: Instrument, ticks: int, lots: int) -> None:
    assert instrument.ticks(instrument.price(ticks)) == ticks
    assert instrument.lots(instrument.size(lots)) == lots
    assert instrument.bid_price_floor_ticks(instrument.price(ticks)) == ticks
    assert instrument.ask_price_ceil_ticks(instrument.price(ticks)) == ticks
    assert instrument.floor_to_lot(instrument.size(lots)) == lots


@EXAMPLES
@given(grids, ticks_, lots_)
def test_a_notional_is_price_times_size_without_rounding(instrument: Instrument, ticks: int, lots: int) -> None:
    atoms = instrument.notional_atoms(ticks, lots)
    exact = Fraction(instrument.price(ticks)) * Fraction(instrument.size(lots))
    assert Fraction(instrument.quote_amount(atoms)) == exact
    assert instrument.quote_atoms_floor(instrument.quote_amount(atoms)) == atoms


@EXAMPLES
@given(grids, finite)
def test_bids_round_down_and_asks_round_up(instrument: Instrument, price: Decimal) -> None:
    """Never more aggressive, and never by a whole tick."""
    bid, ask = instrument.bid_price_floor_ticks(price), instrument.ask_price_ceil_ticks(price)
    exact, tick = Fraction(price), Fraction(instrument.tick_size)
    assert bid * tick <= exact < (bid + 1) * tick
    assert (ask - 1) * tick < exact <= ask * tick


@EXAMPLES
@given(grids, finite)
def test_sizes_and_balances_round_down(instrument: Instrument, amount: Decimal) -> None:
    exact, lot = Fraction(amount), Fraction(instrument.lot_size)
    lots = instrument.floor_to_lot(amount)
    assert lots * lot <= exact < (lots + 1) * lot
    for atoms, exponent in (
        (instrument.base_atoms_floor(amount), instrument.base_atom_exponent),
        (instrument.quote_atoms_floor(amount), instrument.quote_atom_exponent),
    ):
        assert atoms <= exact * 10**exponent < atoms + 1


@EXAMPLES
@given(grids, finite)
def test_a_price_is_taken_only_if_it_is_on_the_grid(instrument: Instrument, price: Decimal) -> None:
    steps = Fraction(price) / Fraction(instrument.tick_size)
    if steps.denominator == 1 and steps > 0:
        assert instrument.ticks(price) == steps
    else:
        with pytest.raises(MarketDataError):
            instrument.ticks(price)


@EXAMPLES
@given(grids, st.integers(0, 10**30))
def test_balances_are_shown_to_the_last_atom(instrument: Instrument, atoms: int) -> None:
    wide = Context(prec=80)
    assert instrument.base_amount(atoms).scaleb(instrument.base_atom_exponent, wide) == atoms
    assert instrument.quote_amount(atoms).scaleb(instrument.quote_atom_exponent, wide) == atoms


@EXAMPLES
@given(grids, st.integers(0, 10**20))
def test_whole_lots_of_a_balance_leave_less_than_a_lot_of_dust(instrument: Instrument, base_atoms: int) -> None:
    dust = base_atoms - instrument.lots_of_base(base_atoms) * instrument.base_atoms_per_lot
    assert 0 <= dust < instrument.base_atoms_per_lot


@pytest.mark.parametrize(
    "wrong",
    [
        {"tick_size": Decimal(0)},
        {"tick_size": Decimal("NaN")},
        {"lot_size": Decimal("-0.001")},
        {"lot_size": Decimal("Infinity")},
        {"min_qty": Decimal(0)},
        {"max_qty": Decimal("NaN")},
        {"min_notional": Decimal(-1)},
        {"min_notional": Decimal("NaN")},
        {"max_notional": Decimal("NaN")},
        {"max_notional": Decimal(9)},
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=name):
        replace(BINANCE, **wrong)


@pytest.mark.parametrize(("value", "places"), [("0.010", 2), ("5", 0), ("1000", 0), ("1e-8", 8), ("1E+3", 0), ("0", 0)])
def test_decimal_places_needed(value: str, places: int) -> None:
    assert decimal_exponent(Decimal(value)) == places


def test_decimal_places_of_what_is_no_number_are_refused() -> None:
    with pytest.raises(ConfigError, match="finite"):
        decimal_exponent(Decimal("NaN"))
