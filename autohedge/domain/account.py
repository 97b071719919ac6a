"""A venue's account as a person reads it: marked to market, in exact decimals."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypedDict


class Position(TypedDict):
    """Base held: its size in the base asset, and the mark and value in the quote asset."""

    size: Decimal
    mark_price: Decimal
    value: Decimal


class AccountInfo(TypedDict):
    """The account, marked to market; all money in the quote asset.

    `balance` is cash and positions together, `cash` the quote asset alone, `available` what of it no open order has set aside.
    `positions` is by base asset, empty when flat. `pnl_percentage` is in percent of `initial_balance`, None if that was zero.
    """

    mode: Literal["paper", "live"]
    is_paper: bool
    balance: Decimal
    initial_balance: Decimal
    cash: Decimal
    available: Decimal
    positions: dict[str, Position]
    total_trades: int
    pnl: Decimal
    pnl_percentage: Decimal | None
