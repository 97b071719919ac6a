"""From the fills of a run on bars to its result: a row per bar, as of its close."""

from __future__ import annotations

from typing import Any

import numpy as np

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bars import Bars
from autohedge.backtest.fill_table import column, fills_of, totals_of
from autohedge.backtest.result import F64, I64, BacktestResult, Curve, Mids
from autohedge.errors import ConfigError
from autohedge.simulation.bar_matching import LARGEST


def account_over_bars(bars: Bars, table: I64, opening_atoms: int) -> tuple[I64, I64]:
    """Equity in quote atoms and base in lots as of each bar's close. Raises `ConfigError` where 64 bits cannot hold it."""
    events, quote, base = (column(table, name) for name in ("event", "quote_atoms", "base_lots"))
    per_tick_lot = bars.instrument.quote_atoms_per_tick_lot
    most_atoms = max(opening_atoms, int(quote.max(initial=0))) + int(base.max(initial=0)) * bars.most_ticks * per_tick_lot
    if most_atoms > 2 * LARGEST:
        raise ConfigError(f"{bars.instrument.symbol}: the equity outgrows 64-bit atoms: use a smaller initial_capital")
    bars_between = np.diff(np.concatenate(([0], events, [len(bars)])))
    base_lots = np.repeat(np.concatenate(([0], base)), bars_between)
    quote_atoms = np.repeat(np.concatenate(([opening_atoms], quote)), bars_between)
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
    totals = totals_of(instrument, table)
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
        fees=totals.fees,
        slippage=totals.slippage,
        volume=totals.volume,
        curve=Curve(bars.close_ns, equity_quote, bars.sizes(base_lots), bars.close),
        fills=fills_of(instrument, table),
        mids=Mids(bars.close_ns, bars.close),
        counts={"events": len(bars), "fills": len(table), **counts},
        notes=assumptions.notes(),
    )
