"""The venue's own account: reservations, exact trades, fees rounded up over an order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.fees import FeeRate
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL
from autohedge.errors import InvariantBroken
from autohedge.market.instruments import instrument
from autohedge.simulation.account import SpotAccount, fee_step

BTC: Instrument = instrument("binance", "BTC/USDT")
ONE_LOT = BTC.base_atoms_per_lot


def test_a_reservation_makes_balance_unfree_and_can_be_given_back() -> None:
    account = SpotAccount(BTC, base_atoms=5 * ONE_LOT, quote_atoms=1_000)
    account.reserve(BUY, 400)
    account.reserve(SELL, 2 * ONE_LOT)
    assert (account.free_quote_atoms, account.free_base_atoms) == (600, 3 * ONE_LOT)
    assert (account.quote_atoms, account.base_atoms) == (1_000, 5 * ONE_LOT)
    account.reserve(BUY, -400)
    account.reserve(SELL, -2 * ONE_LOT)
    assert (account.free_quote_atoms, account.free_base_atoms) == (1_000, 5 * ONE_LOT)


def test_trades_move_both_balances_exactly_and_the_fee_leaves_the_asset_it_is_paid_in() -> None:
    account = SpotAccount(BTC, base_atoms=0, quote_atoms=10**9)
    account.trade(BUY, 6_000_000, 3, 7, fee_in_base=False)
    cost = BTC.notional_atoms(6_000_000, 3)
    assert (account.base_atoms, account.quote_atoms) == (3 * ONE_LOT, 10**9 - cost - 7)
    account.trade(BUY, 6_000_000, 1, 5, fee_in_base=True)
    assert account.base_atoms == 4 * ONE_LOT - 5
    account.trade(SELL, 6_000_001, 2, -1, fee_in_base=False)
    proceeds = BTC.notional_atoms(6_000_001, 2)
    assert account.quote_atoms == 10**9 - cost - 7 - BTC.notional_atoms(6_000_000, 1) + proceeds + 1


@pytest.mark.parametrize("side", [BUY, SELL])
def test_reserving_more_than_there_is_is_a_contradiction(side: int) -> None:
    account = SpotAccount(BTC, base_atoms=100, quote_atoms=100)
    with pytest.raises(InvariantBroken, match="a reservation would leave"):
        account.reserve(BUY if side == BUY else SELL, 101)


def test_a_trade_may_not_spend_what_is_reserved() -> None:
    account = SpotAccount(BTC, base_atoms=0, quote_atoms=100)
    account.reserve(BUY, 95)
    with pytest.raises(InvariantBroken, match="a trade would leave"):
        account.trade(BUY, 1, 1, 0, fee_in_base=False)


def test_a_negative_opening_balance_is_a_contradiction() -> None:
    with pytest.raises(InvariantBroken, match="the opening balance"):
        SpotAccount(BTC, base_atoms=0, quote_atoms=-1)


@given(st.decimals(-10, 500, places=2), st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_fees_of_an_order_add_up_to_the_fee_of_the_whole_rounded_up_once(bps: Decimal, parts: list[int]) -> None:
    rate = FeeRate.from_bps(bps)
    done, paid = 0, 0
    for part in parts:
        paid += fee_step(rate, done, done + part)
        done += part
        assert 0 <= paid - Decimal(done) * bps / 10_000 < 1
    assert paid == rate.of(done)
