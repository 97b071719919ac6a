"""From the fills of a run on bars to its result: exact totals, and a row per bar as of its close."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bars import Bars, in_units
from autohedge.backtest.broker import FillRow
from autohedge.backtest.result import F64, I64, BacktestResult, Curve, Fills, Mids
from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError
from autohedge.simulation.bar_matching import LARGEST

_COLUMN = {name: number for number, name in enumerate(FillRow._fields)}


def fill_table(fills: list[FillRow], symbol: str) -> I64:
    """Fills as one whole number per field, a row per fill. Raises `ConfigError` where one does not fit 64 bits."""
    try:
        return np.array(fills, dtype=np.int64).reshape(len(fills), len(_COLUMN))
    except OverflowError as error:
        raise ConfigError(f"{symbol}: the balances outgrow 64-bit atoms: use a smaller initial_capital") from error


def account_over_bars(bars: Bars, table: I64, opening_atoms: int) -> tuple[I64, I64]:
    """Equity in quote atoms and base in lots as of each bar's close. Raises `ConfigError` where 64 bits cannot hold it."""
    events, quote, base = (table[:, _COLUMN[name]] for name in ("event", "quote_atoms", "base_lots"))
    per_tick_lot = bars.instrument.quote_atoms_per_tick_lot
    most_atoms = max(opening_atoms, int(quote.max(initial=0))) + int(base.max(initial=0)) * bars.most_ticks * per_tick_lot
    if most_atoms > 2 * LARGEST:
        raise ConfigError(f"{bars.instrument.symbol}: the equity outgrows 64-bit atoms: use a smaller initial_capital")
    lengths = np.diff(np.concatenate(([0], events, [len(bars)])))
    base_lots = np.repeat(np.concatenate(([0], base)), lengths)
    quote_atoms = np.repeat(np.concatenate(([opening_atoms], quote)), lengths)
    return quote_atoms + base_lots * (bars.close_ticks * per_tick_lot), base_lots


def bar_result(
    bars: Bars,
    assumptions: Assumptions,
    *,
    strategy: str,
    engine: str,
    parameters: dict[str, Any],
    table: I64,
    equity_atoms: I64,
    base_lots: I64,
    counts: dict[str, int],
) -> BacktestResult:
    """The result of a run whose fills are `table` and whose account went through these values."""
    instrument = bars.instrument
    equity_quote: F64 = equity_atoms / float(10**instrument.quote_atom_exponent)
    return BacktestResult(
        symbol=instrument.symbol,
        engine=engine,
        strategy=strategy,
        settings={"parameters": parameters, "assumptions": assumptions.model_dump(mode="json")},
        data=bars.described(),
        start_ns=int(bars.ts_ns[0]),
        end_ns=bars.end_ns,
        trading_days_per_year=assumptions.trading_days_per_year,
        initial_equity=instrument.quote_amount(instrument.quote_atoms_floor(assumptions.initial_capital)),
        final_equity=instrument.quote_amount(int(equity_atoms[-1])),
        fees=_total(instrument, table, "fee_atoms"),
        slippage=_total(instrument, table, "slippage_atoms"),
        volume=instrument.quote_amount(volume_atoms(instrument, table)),
        curve=Curve(bars.close_ns, equity_quote, bars.sizes(base_lots), bars.close),
        fills=fills_of(instrument, table),
        mids=Mids(bars.close_ns, bars.close),
        counts={"events": len(bars), "fills": len(table), **counts},
        notes=assumptions.notes(),
    )


def fills_of(instrument: Instrument, table: I64) -> Fills:
    """The fills as columns of floats."""
    atom = 10.0**instrument.quote_atom_exponent

    def column(name: str) -> I64:
        found: I64 = table[:, _COLUMN[name]]
        return found

    return Fills(
        ts_ns=column("ts_ns"),
        side=column("side").astype(np.int8),
        price=in_units(column("price_ticks"), instrument.tick_size),
        size_base=in_units(column("lots"), instrument.lot_size),
        fee_quote=column("fee_atoms") / atom,
        slippage_quote=column("slippage_atoms") / atom,
        is_maker=column("is_maker").astype(np.bool_),
        mid=in_units(column("mid_ticks"), instrument.tick_size),
        order=column("order"),
    )


def volume_atoms(instrument: Instrument, table: I64) -> int:
    """The value of all fills together, exact."""
    prices: list[int] = table[:, _COLUMN["price_ticks"]].tolist()
    sizes: list[int] = table[:, _COLUMN["lots"]].tolist()
    return sum(price * lots for price, lots in zip(prices, sizes, strict=True)) * instrument.quote_atoms_per_tick_lot


def _total(instrument: Instrument, table: I64, name: str) -> Decimal:
    return instrument.quote_amount(sum(table[:, _COLUMN[name]].tolist()))
