"""Fees: exact rationals, rounded up against us."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.fees import FeeRate

bps_ = st.decimals(min_value=-10, max_value=500, allow_nan=False, allow_infinity=False, places=4)


@pytest.mark.parametrize(
    ("bps", "atoms", "fee"),
    [
        ("10", 9_894_020_800, 9_894_021),  # 98.940208 USDT × 0.001 = 0.0989402080 → up to 0.09894021
        ("10", 10_000, 10),
        ("10", 10_001, 11),
        ("10", 1, 1),  # a fee is never rounded away
        ("0", 12_345, 0),
        ("7.5", 1_000_000, 750),
        ("0.25", 1_000_001, 26),
        ("-2.5", 1_000_000, -250),
        ("-2.5", 1_000_001, -250),  # −250.00025: a rebate is rounded up as well, so that less is received
        ("-0.5", 19_999, 0),  # −0.99995: not a whole atom, nothing is received
        ("-0.5", 20_000, -1),
    ],
)
def test_fees_by_hand(bps: str, atoms: int, fee: int) -> None:
    assert FeeRate.from_bps(Decimal(bps)).of(atoms) == fee


@settings(max_examples=200, deadline=None)
@given(bps_, st.integers(0, 10**24))
def test_a_fee_is_the_exact_one_rounded_up_by_less_than_an_atom(bps: Decimal, atoms: int) -> None:
    rate = FeeRate.from_bps(bps)
    assert Fraction(rate.numerator, rate.denominator) == Fraction(bps) / 10_000
    exact = Fraction(bps) / 10_000 * atoms
    assert exact <= rate.of(atoms) < exact + 1


@settings(max_examples=50, deadline=None)
@given(bps_, st.lists(st.integers(1, 10**12), min_size=1, max_size=20))
def test_many_small_fills_never_pay_less_than_one_large_one(bps: Decimal, parts: list[int]) -> None:
    rate = FeeRate.from_bps(bps)
    assert rate.of(sum(parts)) <= sum(rate.of(part) for part in parts) < rate.of(sum(parts)) + len(parts)
