"""The fills of a run as one table of whole numbers, and what is reported of it: exact totals, columns of floats."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from autohedge.backtest.bars import in_units
from autohedge.backtest.broker import FillRow
from autohedge.backtest.result import I64, Fills
from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError

_COLUMN = {name: number for number, name in enumerate(FillRow._fields)}


class Totals(NamedTuple):
    """Sums over all fills, exact, in the quote asset."""

    fees: Decimal
    slippage: Decimal
    volume: Decimal


def table_of(rows: Sequence[tuple[int, ...]], width: int, symbol: str) -> I64:
    """Rows of whole numbers as a table. Raises `ConfigError` where one does not fit 64 bits."""
    try:
        return np.array(rows, dtype=np.int64).reshape(len(rows), width)
    except OverflowError as error:
        raise ConfigError(f"{symbol}: the balances outgrow 64-bit atoms: use a smaller initial_capital") from error


def fill_table(fills: Sequence[FillRow], symbol: str) -> I64:
    """A row per fill, a column per field of `FillRow`."""
    return table_of(fills, len(_COLUMN), symbol)


def column(table: I64, name: str) -> I64:
    """One field of all fills."""
    found: I64 = table[:, _COLUMN[name]]
    return found


def totals_of(instrument: Instrument, table: I64) -> Totals:
    """What all fills together paid and moved."""
    # each product is an amount that a balance held, so it fits
    lots_times_ticks = _exact_sum(column(table, "price_ticks") * column(table, "lots"))
    return Totals(
        fees=instrument.quote_amount(_exact_sum(column(table, "fee_atoms"))),
        slippage=instrument.quote_amount(_exact_sum(column(table, "slippage_atoms"))),
        volume=instrument.quote_amount(lots_times_ticks * instrument.quote_atoms_per_tick_lot),
    )


def fills_of(instrument: Instrument, table: I64) -> Fills:
    """The fills as columns, prices and sizes as floats."""
    atoms = 10.0**instrument.quote_atom_exponent
    return Fills(
        ts_ns=column(table, "ts_ns"),
        side=column(table, "side").astype(np.int8),
        price=in_units(column(table, "price_ticks"), instrument.tick_size),
        size_base=in_units(column(table, "lots"), instrument.lot_size),
        fee_quote=column(table, "fee_atoms") / atoms,
        slippage_quote=column(table, "slippage_atoms") / atoms,
        is_maker=column(table, "is_maker").astype(np.bool_),
        mid=in_units(column(table, "mid_ticks"), instrument.tick_size),
        order=column(table, "order"),
        level=np.zeros(len(table), np.int8),
    )


def _exact_sum(values: I64) -> int:
    """The sum, however large: high and low halves apart."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFF_FFFF).sum())
