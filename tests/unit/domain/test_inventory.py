"""Inventory: exact balances, cost and PnL; a refused fill changes nothing; fees are counted once."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.ids import ClientOrderId, TradeId
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Liquidity, OrderFilled
from autohedge.errors import InvariantBroken


def grid(tick: str, lot: str) -> Instrument:
    return Instrument(
        symbol="BTC/USDT",
        base="BTC",
        quote="USDT",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        min_qty=Decimal(lot),
        max_qty=Decimal(1_000_000),
        min_notional=Decimal(0),
        max_notional=None,
        venue="test",
        rules_as_of="",
    )


BINANCE, WHOLE = grid("0.01", "0.00001"), grid("1", "1")
USDT = 10**8
"""Quote atoms of one USDT; base atoms of one BTC are as many."""


def fill(side: Side, price: int, lots: int, fee: int = 0, asset: str = "USDT") -> OrderFilled:
    return OrderFilled(1, ClientOrderId("o"), TradeId("t"), side, price, lots, Liquidity.MAKER, asset, fee)


def state(inventory: Inventory) -> dict[str, Any]:
    return {name: value for name, value in asdict(inventory).items() if name != "instrument"}


# --- by hand --------------------------------------------------------------------------------------------------------------


def test_a_round_trip_by_hand() -> None:
    """Buy 2 at 100 and 1 at 106, sell 1 at 110: average cost 102, realised 8; fees stand beside, not inside."""
    inventory = Inventory(WHOLE, 0, 1_000 * USDT)
    inventory.apply(fill(BUY, 100, 2, fee=2 * USDT))
    inventory.apply(fill(BUY, 106, 1, fee=1 * USDT))
    inventory.apply(fill(SELL, 110, 1, fee=1 * USDT))
    assert (inventory.base_atoms, inventory.quote_atoms) == (2 * USDT, 800 * USDT)  # 1000 − 202 − 107 + 109
    assert (inventory.cost_atoms, inventory.realized_atoms, inventory.fees_atoms) == (204 * USDT, 8 * USDT, 4 * USDT)
    assert inventory.volume_atoms == 416 * USDT
    mark_half = 2 * 105
    assert inventory.value_atoms(mark_half) == 1_010 * USDT
    assert inventory.unrealized_atoms(mark_half) == 6 * USDT
    assert 1_010 - 1_000 == 8 + 6 - 4


def test_fees_are_counted_once() -> None:
    """Neither average cost nor realised PnL holds a fee: bought and sold at one price the loss is the two fees, no more."""
    inventory = Inventory(WHOLE, 0, 1_000 * USDT)
    inventory.apply(fill(BUY, 100, 1, fee=USDT // 10))
    assert inventory.cost_atoms == 100 * USDT
    inventory.apply(fill(SELL, 100, 1, fee=USDT // 10))
    assert (inventory.realized_atoms, inventory.fees_atoms) == (0, USDT // 5)
    assert inventory.value_atoms(200) == 1_000 * USDT - USDT // 5


def test_a_fee_in_base_is_a_sale_of_that_base_whose_proceeds_are_the_fee() -> None:
    """10 bought at 100, 0.01 of them kept by the venue: worth 1 quote as a fee, nothing realised, cost of 9.99."""
    inventory = Inventory(WHOLE, 0, 1_000 * USDT)
    inventory.apply(fill(BUY, 100, 10, fee=USDT // 100, asset="BTC"))
    assert inventory.base_atoms == 10 * USDT - USDT // 100
    assert inventory.quote_atoms == 0
    assert inventory.fees_atoms == 1 * USDT
    assert inventory.cost_atoms == 999 * USDT
    assert inventory.realized_atoms == 0
    assert inventory.dust_atoms() == 99 * USDT // 100


def test_a_fee_in_base_that_had_become_dearer_realises_the_difference() -> None:
    """1 held at cost 100; 1 more bought at 120; a fee of 0.5 base was worth 60 and had cost 55: 5 realised."""
    inventory = Inventory(WHOLE, 0, 1_000 * USDT)
    inventory.apply(fill(BUY, 100, 1))
    inventory.apply(fill(BUY, 120, 1, fee=USDT // 2, asset="BTC"))
    assert (inventory.realized_atoms, inventory.fees_atoms, inventory.cost_atoms) == (5 * USDT, 60 * USDT, 165 * USDT)


def test_rebates_by_hand() -> None:
    """In quote they are cash; in base they are base bought at the fill's price; both are negative fees and no PnL."""
    inventory = Inventory(WHOLE, 0, 1_000 * USDT)
    inventory.apply(fill(BUY, 100, 1, fee=-USDT // 10))
    assert (inventory.quote_atoms, inventory.fees_atoms) == (9_001 * USDT // 10, -USDT // 10)
    inventory.apply(fill(BUY, 100, 1, fee=-USDT // 100, asset="BTC"))
    assert inventory.base_atoms == 201 * USDT // 100
    assert inventory.cost_atoms == 201 * USDT
    assert (inventory.realized_atoms, inventory.fees_atoms) == (0, -11 * USDT // 10)
    assert inventory.value_atoms(200) - 1_000 * USDT == 11 * USDT // 10


def test_fees_in_a_third_asset_are_kept_apart_in_their_own_atoms() -> None:
    inventory = Inventory(WHOLE, 0, 1_000 * USDT)
    inventory.apply(fill(BUY, 100, 1, fee=7, asset="BNB"))
    inventory.apply(fill(SELL, 100, 1, fee=5, asset="BNB"))
    inventory.apply(fill(BUY, 100, 1, fee=-1, asset="OKB"))
    assert inventory.third_asset_fee_atoms == {"BNB": 12, "OKB": -1}
    assert (inventory.fees_atoms, inventory.quote_atoms) == (0, 900 * USDT)


def test_two_inventories_do_not_share_their_third_asset_fees() -> None:
    one, other = Inventory(WHOLE, 0, 1_000 * USDT), Inventory(WHOLE, 0, 1_000 * USDT)
    one.apply(fill(BUY, 100, 1, fee=7, asset="BNB"))
    assert other.third_asset_fee_atoms == {}


def test_opening_base_enters_at_the_mark_and_makes_no_profit() -> None:
    inventory = Inventory(BINANCE, 3 * USDT, 100 * USDT)
    mark_half = 2 * 6_000_000 + 1  # 60,000.005
    inventory.open_at(mark_half)
    assert inventory.value_atoms(mark_half) == 18_000_001_500_000 + 100 * USDT
    assert inventory.unrealized_atoms(mark_half) == 0
    assert inventory.unrealized_atoms(mark_half + 2) == 3 * USDT // 100  # one tick up on 3 BTC


def test_a_mid_between_two_ticks_values_base_exactly_and_rounds_half_an_atom_down() -> None:
    fine = grid("0.0000001", "0.00001")  # one tick × one lot = one atom
    inventory = Inventory(fine, fine.base_atoms_per_lot, 0)
    assert inventory.value_atoms(3) == 1  # one lot at 1.5 ticks
    inventory = Inventory(fine, 2 * fine.base_atoms_per_lot, 0)
    assert inventory.value_atoms(3) == 3


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refused",
    [
        fill(BUY, 101, 1),  # 1 quote short
        fill(BUY, 100, 1, fee=1),  # the fee is one atom too much
        fill(BUY, 10, 1, fee=3 * USDT + 1, asset="BTC"),  # a fee larger than all base after the fill
        fill(SELL, 100, 3),  # sells more than is held
        fill(SELL, 100, 2, fee=1, asset="BTC"),  # nothing left to pay the fee in base from
        fill(SELL, 100, 4, fee=-3 * USDT, asset="BTC"),  # a rebate does not make it possible to sell what was not held
        fill(SELL, 1, 1, fee=101 * USDT + 1),  # a fee larger than all quote after the fill
    ],
)
def test_a_fill_that_a_balance_cannot_bear_is_refused_and_changes_nothing(refused: OrderFilled) -> None:
    inventory = Inventory(WHOLE, 2 * USDT, 100 * USDT, cost_atoms=150 * USDT, third_asset_fee_atoms={"BNB": 3})
    before = state(inventory)
    with pytest.raises(InvariantBroken, match="spot balances are never negative"):
        inventory.apply(refused)
    assert state(inventory) == before


def test_selling_from_nothing_is_refused_not_booked_as_a_short_or_a_long() -> None:
    inventory = Inventory(WHOLE, 0, 100 * USDT)
    for asset, fee in (("USDT", 0), ("BTC", -USDT)):
        with pytest.raises(InvariantBroken):
            inventory.apply(fill(SELL, 100, 1, fee=fee, asset=asset))
    assert state(inventory) == state(Inventory(WHOLE, 0, 100 * USDT))


def test_the_last_atom_may_be_spent() -> None:
    inventory = Inventory(WHOLE, 0, 100 * USDT + 5)
    inventory.apply(fill(BUY, 100, 1, fee=5))
    assert inventory.quote_atoms == 0
    inventory.apply(fill(SELL, 100, 1, fee=100 * USDT))
    assert (inventory.base_atoms, inventory.quote_atoms, inventory.cost_atoms) == (0, 0, 0)


# --- for any sequence -------------------------------------------------------------------------------------------------------


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Instrument, int, int, int, list[OrderFilled]]:
    """An opening (with dust), a mark, and fills with fees and rebates in any asset; some cannot be borne."""
    instrument = draw(st.sampled_from([BINANCE, WHOLE, grid("0.0000001", "0.00001")]))
    lot = instrument.base_atoms_per_lot
    base = draw(st.integers(0, 50 * lot))
    quote = draw(st.integers(0, 50 * instrument.notional_atoms(1_000, 1)))
    fees = st.one_of(st.just(0), st.integers(-3 * lot, 3 * lot))
    fills = draw(
        st.lists(
            st.builds(
                fill,
                st.sampled_from([BUY, SELL]),
                st.integers(1, 2_000),
                st.integers(1, 30),
                fees,
                st.sampled_from(["USDT", "BTC", "BNB"]),
            ),
            max_size=25,
        )
    )
    return instrument, base, quote, draw(st.integers(1, 5_000)), fills


@settings(max_examples=300, deadline=None)
@given(sequences(), st.lists(st.integers(0, 6_000), min_size=1, max_size=5))
def test_cash_and_base_are_conserved_and_the_identity_holds_at_any_mark(
    given_: tuple[Instrument, int, int, int, list[OrderFilled]], marks: list[int]
) -> None:
    """Over fills and refusals balances equal the sums of what was booked; value − opening = realised + unrealised − fees."""
    instrument, base, quote, opening_mark, fills = given_
    inventory = Inventory(instrument, base, quote)
    inventory.open_at(opening_mark)
    opening_value = inventory.value_atoms(opening_mark)
    volume, third = 0, 0
    booked: list[OrderFilled] = []
    for each in fills:
        size = each.size_lots * instrument.base_atoms_per_lot
        notional = each.price_ticks * each.size_lots * instrument.quote_atoms_per_tick_lot
        after_base = base + each.side * size - (each.fee_atoms if each.fee_asset == "BTC" else 0)
        after_quote = quote - each.side * notional - (each.fee_atoms if each.fee_asset == "USDT" else 0)
        if after_base < 0 or after_quote < 0 or (each.side is SELL and size > base):
            before = state(inventory)
            with pytest.raises(InvariantBroken):
                inventory.apply(each)
            assert state(inventory) == before
            continue
        inventory.apply(each)
        booked.append(each)
        base, quote, volume = after_base, after_quote, volume + notional
        third += each.fee_atoms if each.fee_asset == "BNB" else 0
        assert (inventory.base_atoms, inventory.quote_atoms) == (base, quote)
        assert inventory.base_atoms >= 0 and inventory.quote_atoms >= 0
        for mark in marks:
            gained = inventory.value_atoms(mark) - opening_value
            assert gained == inventory.realized_atoms + inventory.unrealized_atoms(mark) - inventory.fees_atoms
    assert inventory.volume_atoms == volume
    assert inventory.third_asset_fee_atoms.get("BNB", 0) == third
    assert 0 <= inventory.dust_atoms() < instrument.base_atoms_per_lot
    rebuilt = Inventory(instrument, given_[1], given_[2])
    rebuilt.open_at(opening_mark)
    for each in booked:
        rebuilt.apply(each)
    assert rebuilt == inventory


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(1, 30)), min_size=1, max_size=12), st.integers(1, 2_000))
def test_selling_everything_releases_all_cost_and_realises_proceeds_minus_cost(buys: list[tuple[int, int]], out: int) -> None:
    inventory = Inventory(BINANCE, 0, 10**12)
    for price, lots in buys:
        inventory.apply(fill(BUY, price, lots))
    paid, lots = inventory.cost_atoms, sum(lots for _, lots in buys)
    assert paid == sum(BINANCE.notional_atoms(price, size) for price, size in buys)
    left = lots
    while left:
        part = min(left, 7)
        inventory.apply(fill(SELL, out, part))
        left -= part
    assert inventory.cost_atoms == inventory.base_atoms == 0
    assert inventory.realized_atoms == BINANCE.notional_atoms(out, lots) - paid


def test_thousands_of_tiny_fills_do_not_drift() -> None:
    """4,000 round trips of one lot, each with a fee that does not divide: every balance is the integer it must be."""
    inventory = Inventory(BINANCE, 0, 1_000 * USDT)
    for each in range(4_000):
        inventory.apply(fill(BUY, 6_183_763 + each, 1, fee=61_838))
        inventory.apply(fill(SELL, 6_183_764 + each, 1, fee=61_838))
    assert inventory.base_atoms == inventory.cost_atoms == 0
    assert inventory.quote_atoms == 1_000 * USDT + 4_000 * 10 - 8_000 * 61_838
    assert inventory.realized_atoms == 40_000
    assert inventory.fees_atoms == 8_000 * 61_838
    assert inventory.volume_atoms == 10 * sum(2 * (6_183_763 + each) + 1 for each in range(4_000))


def test_thousands_of_fees_in_base_leave_exactly_the_dust_they_must() -> None:
    inventory = Inventory(BINANCE, 0, 10_000 * USDT)
    for _ in range(3_000):
        inventory.apply(fill(BUY, 6_000_000, 1, fee=1, asset="BTC"))  # 1,000 atoms in, 1 atom kept
    assert inventory.base_atoms == 3_000 * 999
    assert inventory.dust_atoms() == 0
    inventory.apply(fill(BUY, 6_000_000, 1, fee=1, asset="BTC"))
    assert inventory.dust_atoms() == 999
    assert inventory.value_atoms(12_000_000) - 10_000 * USDT == (
        inventory.realized_atoms + inventory.unrealized_atoms(12_000_000) - inventory.fees_atoms
    )
    assert inventory.fees_atoms == 3_001 * 60_000  # each atom of base is worth 0.0006 quote
