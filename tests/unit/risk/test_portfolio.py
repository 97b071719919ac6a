"""Several makers on one capital: what they hold is added exactly, and what one may still hold follows from the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Order, OrderState
from autohedge.market_maker.decision import NO_PORTFOLIO_CAP
from autohedge.risk.limits import RiskLimits
from autohedge.risk.portfolio import Held, Portfolio, held_by

USDT, LOT = 10**8, 10**4
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


def test_base_and_working_buys_count_at_the_mid_and_sells_make_no_room() -> None:
    """0.5 BTC and buys of 0.3, of which 0.1 is filled, at 100.005."""
    working = [order(BUY, 9_999, 2_000, filled=1_000), order(BUY, None, 1_000), order(SELL, 10_002, 5_000)]
    held = held_by(COARSE, 5_000 * LOT, 40 * USDT, 20_001, working)
    assert held == Held(exposure_atoms=70_0035_0000, equity_atoms=90_0025_0000)


def test_exposure_is_rounded_up_and_equity_down() -> None:
    """One atom of base is worth 0.0001 of a quote atom at 0.01."""
    held = held_by(COARSE, 1, 0, 2, ())
    assert (held.exposure_atoms, held.equity_atoms) == (1, 0)


def test_a_fill_does_not_change_the_exposure() -> None:
    before = held_by(COARSE, 7, 10**12, 20_001, [order(BUY, 9_000, 10)])
    after = held_by(COARSE, 7 + 4 * LOT, 10**12, 20_001, [order(BUY, 9_000, 10, filled=4)])
    assert before.exposure_atoms == after.exposure_atoms


# --- the cap ----------------------------------------------------------------------------------------------------------------


def test_without_a_limit_nothing_is_capped_or_hit() -> None:
    made = portfolio_of({COARSE: lambda: Held(10**18, 0), FINE: lambda: None})
    assert made.bid_lots(COARSE.symbol, 0, 1) == NO_PORTFOLIO_CAP
    assert made.daily_loss(NOON) == ""


def test_each_maker_may_bid_for_what_its_own_base_and_the_others_leave() -> None:
    """A tenth of 10,000 for both. One has 400 at work: 600 are left to the other; at 0.02 and 0.001 a lot that is 30 M lots."""
    held = {COARSE: Held(400 * USDT, 0), FINE: Held(200 * 10**11, 0)}
    made = portfolio_of({each: partial(held.__getitem__, each) for each in held}, max_portfolio_exposure_frac="0.1")
    assert made.bid_lots(FINE.symbol, 0, 4_000_000) == 30_000_000
    assert made.bid_lots(FINE.symbol, 10 * FINE.base_atoms_per_lot, 4_000_000) == 29_999_990
    assert made.bid_lots(FINE.symbol, 1, 4_000_000) == 29_999_999
    assert made.bid_lots(COARSE.symbol, 0, 20_000) == 80_000


def test_what_is_held_is_asked_for_anew_each_time() -> None:
    now = [Held(0, 0)]
    made = portfolio_of({COARSE: lambda: now[0], FINE: lambda: Held(0, 0)}, max_portfolio_exposure_frac=1)
    before = made.bid_lots(FINE.symbol, 0, 20_000)
    now[0] = Held(1, 0)
    assert made.bid_lots(FINE.symbol, 0, 20_000) < before


def test_with_nothing_left_or_an_unknown_worth_nothing_may_be_bid_for() -> None:
    """Unknown is not zero: until the other symbol has a price nothing is bought."""
    worth: list[Held | None] = [None]
    made = portfolio_of({COARSE: lambda: worth[0], FINE: lambda: None}, max_portfolio_exposure_frac=1)
    assert made.bid_lots(FINE.symbol, 0, 20_000) == 0
    worth[0] = Held(10_001 * USDT, 0)
    assert made.bid_lots(FINE.symbol, 0, 20_000) == 0
    worth[0] = Held(9_999 * USDT, 0)
    assert made.bid_lots(FINE.symbol, 0, 20_000) > 0
    assert made.bid_lots(FINE.symbol, 10**30, 20_000) == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 18), st.integers(0, 10**26)), min_size=1, max_size=3),
    st.integers(1, 10**9),
    st.decimals("0.0001", 1, places=4),
    st.integers(0, 10**14),
    st.integers(1, 10**9),
)
def test_whoever_fills_its_room_fills_the_whole_and_a_lot_more_is_too_much(
    others: list[tuple[int, int]], capital: int, frac: Decimal, base: int, mid_half: int
) -> None:
    """Exact over instruments of any fineness, checked in rational numbers."""
    held: dict[Instrument, Held] = {}
    for number, (places, exposure) in enumerate(others):
        each = replace(COARSE, symbol=f"A{number}/USDT", tick_size=Decimal(1).scaleb(-places), lot_size=Decimal(1))
        held[each] = Held(exposure, 0)
    taken = sum(Fraction(now.exposure_atoms, 10**each.quote_atom_exponent) for each, now in held.items())
    held[COARSE] = Held(10**30, 0)
    made = portfolio_of({each: partial(held.__getitem__, each) for each in held}, capital, max_portfolio_exposure_frac=frac)
    lots = made.bid_lots(COARSE.symbol, base, mid_half)

    def whole(bid_lots: int) -> Fraction:
        own = held_by(COARSE, base, 0, mid_half, [order(BUY, 1, bid_lots)]).exposure_atoms
        return taken + Fraction(own, 10**COARSE.quote_atom_exponent)

    cap = Fraction(capital) * Fraction(frac)
    assert lots >= 0 and whole(lots + 1) > cap
    assert lots == 0 or whole(lots) <= cap


# --- the loss ---------------------------------------------------------------------------------------------------------------


def losing(**limits: Any) -> tuple[Portfolio, dict[Instrument, int]]:
    """Two makers that began with 5,000 each; what they have now may be changed."""
    equity = {COARSE: 5_000 * USDT, FINE: 5_000 * 10**11}

    def now(each: Instrument) -> Held:
        return Held(0, equity[each])

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
        return None if atoms is None else Held(0, atoms)

    made = portfolio_of({each: partial(held, each) for each in equity}, max_portfolio_daily_loss_quote=100)
    made.opened(COARSE.symbol, 5_000 * USDT)
    equity[COARSE] = 4_900 * USDT
    assert made.daily_loss(NOON) == ""
    equity[FINE] = 5_000 * 10**11
    made.opened(FINE.symbol, 5_000 * 10**11)
    assert made.daily_loss(NOON) != ""
