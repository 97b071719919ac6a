"""Several makers on one capital: what they hold is added exactly, and what one may still hold follows from the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP
from autohedge.risk.limits import RiskLimits
from autohedge.risk.portfolio import Held, Portfolio, held_by

USDT = 10**8
DAY = 86_400 * 10**9
NOON = 20_000 * DAY + DAY // 2
COARSE = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.0001"),
    min_qty=Decimal("0.0001"),
    max_qty=Decimal(9_000),
    min_notional=Decimal(10),
    max_notional=None,
    venue="test",
    rules_as_of="",
)
FINE = replace(COARSE, symbol="PEPE/USDT", base="PEPE", tick_size=Decimal("1e-8"), lot_size=Decimal("0.001"))
"""A quote atom of 1e-11, a thousandth of the other's."""


def order(side: Side, price: int | None, lots: int, *, filled: int = 0) -> Order:
    return Order(ClientOrderId("o"), side, price, lots, True, "quote", 0, "", "", OrderState.SUBMITTED, filled)


def portfolio_of(held: dict[Instrument, Callable[[], Held | None]], capital: int = 10_000, **limits: Any) -> Portfolio:
    made = Portfolio(RiskLimits(**limits), list(held), Decimal(capital))
    for instrument, asked in held.items():
        made.join(instrument.symbol, asked)
    return made


# --- what one maker holds -----------------------------------------------------------------------------------------------------


def test_base_counts_at_the_mid_and_working_buys_at_their_prices() -> None:
    """0.5 BTC at 100.005, and buys of 0.2 at 99.99 of which half is filled; sells make no room."""
    working = [order(BUY, 9_999, 2_000, filled=1_000), order(SELL, 10_002, 5_000)]
    held = held_by(COARSE, 5_000 * COARSE.base_atoms_per_lot, 40 * USDT, 20_001, 10_001, working)
    assert held == Held(50_0025_0000, 9_9990_0000, 40 * USDT + 50_0025_0000)


def test_exposure_is_rounded_up_and_equity_down() -> None:
    """One atom of base is worth 0.0001 of a quote atom at 0.01."""
    held = held_by(COARSE, 1, 0, 2, 1, ())
    assert (held.base_value_atoms, held.equity_atoms) == (1, 0)


@pytest.mark.parametrize(("ask", "price"), [(10_003, 10_003), (0, 10_001)])
def test_a_buy_at_market_counts_at_the_best_ask_or_the_mid_rounded_up(ask: int, price: int) -> None:
    held = held_by(COARSE, 0, 0, 20_001, ask, [order(BUY, None, 10)])
    assert held.bids_atoms == price * 10 * COARSE.quote_atoms_per_tick_lot


# --- the cap ----------------------------------------------------------------------------------------------------------------


def test_without_a_limit_nothing_is_capped_or_hit() -> None:
    made = portfolio_of({COARSE: lambda: Held(10**18, 0, 0), FINE: lambda: None})
    assert made.cap_atoms(COARSE.symbol) == NO_PORTFOLIO_CAP
    assert made.daily_loss(NOON) == ""


def test_each_maker_has_what_the_others_leave_in_its_own_atoms_rounded_down() -> None:
    """A tenth of 10,000 for both: one holds 300 and bids for 100, the other 1e-11 more than 200."""
    held = {COARSE: Held(300 * USDT, 100 * USDT, 0), FINE: Held(200 * 10**11 + 1, 0, 0)}
    made = portfolio_of({each: partial(held.__getitem__, each) for each in held}, max_portfolio_exposure_frac="0.1")
    assert made.cap_atoms(FINE.symbol) == 600 * 10**11
    assert made.cap_atoms(COARSE.symbol) == 800 * USDT - 1


def test_what_is_held_is_asked_for_anew_each_time() -> None:
    now = [Held(0, 0, 0)]
    made = portfolio_of({COARSE: lambda: now[0], FINE: lambda: Held(0, 0, 0)}, max_portfolio_exposure_frac=1)
    before = made.cap_atoms(FINE.symbol)
    now[0] = Held(0, 1, 0)
    assert made.cap_atoms(FINE.symbol) == before - 1_000


def test_with_nothing_left_or_an_unknown_worth_nothing_may_be_held() -> None:
    """Unknown is not zero: until the other symbol has a price nothing is bought."""
    worth: list[Held | None] = [None]
    made = portfolio_of({COARSE: lambda: worth[0], FINE: lambda: None}, max_portfolio_exposure_frac=1)
    assert made.cap_atoms(FINE.symbol) == 0
    worth[0] = Held(10_001 * USDT, 0, 0)
    assert made.cap_atoms(FINE.symbol) == 0
    worth[0] = Held(9_999 * USDT, 0, 0)
    assert made.cap_atoms(FINE.symbol) == 10**11


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 18), st.integers(0, 10**26), st.integers(0, 10**26)), min_size=2, max_size=4),
    st.integers(1, 10**9),
    st.decimals("0.0001", 1, places=4),
)
def test_whoever_fills_its_room_fills_the_whole_and_an_atom_more_is_too_much(
    makers: list[tuple[int, int, int]], capital: int, frac: Decimal
) -> None:
    """Exact over instruments of any fineness, checked in rational numbers."""
    held: dict[Instrument, Held] = {}
    for number, (places, base, bids) in enumerate(makers):
        each = replace(COARSE, symbol=f"A{number}/USDT", tick_size=Decimal(1).scaleb(-places), lot_size=Decimal(1))
        held[each] = Held(base, bids, 0)
    made = portfolio_of({each: partial(held.__getitem__, each) for each in held}, capital, max_portfolio_exposure_frac=frac)

    def quote(instrument: Instrument, atoms: int) -> Fraction:
        return Fraction(atoms, 10**instrument.quote_atom_exponent)

    cap = Fraction(capital) * Fraction(frac)
    for each in held:
        room = made.cap_atoms(each.symbol)
        others = sum(quote(other, now.base_value_atoms + now.bids_atoms) for other, now in held.items() if other is not each)
        assert room >= 0
        if others <= cap:
            assert others + quote(each, room) <= cap < others + quote(each, room + 1)
        else:
            assert room == 0


# --- the loss ---------------------------------------------------------------------------------------------------------------


def losing(**limits: Any) -> tuple[Portfolio, dict[Instrument, int]]:
    """Two makers that began with 5,000 each; what they have now may be changed."""
    equity = {COARSE: 5_000 * USDT, FINE: 5_000 * 10**11}

    def now(each: Instrument) -> Held:
        return Held(0, 0, equity[each])

    made = portfolio_of({each: partial(now, each) for each in equity}, **limits)
    for each, atoms in equity.items():
        made.opened(each.symbol, atoms)
    return made, equity


def test_gains_and_losses_of_several_makers_are_netted() -> None:
    made, equity = losing(max_portfolio_daily_loss_quote=300)
    equity[COARSE], equity[FINE] = 4_600 * USDT, 5_100 * 10**11 + 1
    assert made.daily_loss(NOON) == ""
    equity[FINE] -= 1
    assert made.daily_loss(NOON) == made.loss_hit == "lost 300.00000000000 USDT since 00:00 UTC"


def test_once_hit_it_stays_hit_until_midnight_and_the_new_day_starts_from_the_last_sum() -> None:
    made, equity = losing(max_portfolio_daily_loss_frac=0.05)
    equity[COARSE] = 4_500 * USDT
    assert "5.00%" in made.daily_loss(NOON)
    equity[COARSE] = 6_000 * USDT
    assert made.daily_loss(NOON + 1) == made.loss_hit != ""
    assert made.daily_loss(20_001 * DAY) == made.loss_hit == ""
    equity[COARSE] = 5_450 * USDT + 1  # the day began with 11,000, of which 5 % is 550
    assert made.daily_loss(20_001 * DAY + 1) == ""
    equity[COARSE] -= 1
    assert made.daily_loss(20_001 * DAY + 2) != ""


def test_a_loss_in_quote_alone_has_no_limit_as_a_fraction_and_the_other_way_round() -> None:
    made, equity = losing(max_portfolio_daily_loss_quote=9_999)
    equity[COARSE], equity[FINE] = 0, 2 * 10**11
    assert made.daily_loss(NOON) == ""
    made, equity = losing(max_portfolio_daily_loss_frac=1)
    assert made.daily_loss(NOON) == ""
    equity[COARSE], equity[FINE] = 0, 10**11
    assert made.daily_loss(NOON) == ""


def test_before_every_maker_has_a_price_there_is_no_sum_to_lose_from() -> None:
    """The day opens with what each began with, also when the first has lost some before the second has a price."""
    equity: dict[Instrument, int | None] = {COARSE: 5_000 * USDT, FINE: None}

    def held(each: Instrument) -> Held | None:
        atoms = equity[each]
        return None if atoms is None else Held(0, 0, atoms)

    made = portfolio_of({each: partial(held, each) for each in equity}, max_portfolio_daily_loss_quote=100)
    made.opened(COARSE.symbol, 5_000 * USDT)
    equity[COARSE] = 4_900 * USDT
    assert made.daily_loss(NOON) == ""
    equity[FINE] = 5_000 * 10**11
    made.opened(FINE.symbol, 5_000 * 10**11)
    assert made.daily_loss(NOON) != ""
