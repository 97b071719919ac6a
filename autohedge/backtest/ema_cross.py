"""`DualMovingAverage` at native speed: one run, and a grid of spans. The same fills and the same money as `run_bars`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autohedge.backtest import bar_kernel
from autohedge.backtest.assumptions import Assumptions, FillAt
from autohedge.backtest.bar_result import bar_result
from autohedge.backtest.bars import Bars
from autohedge.backtest.native import compile_kernel
from autohedge.backtest.result import F64, I64, BacktestResult
from autohedge.backtest.strategies import DualMovingAverage, DualMovingAverageParameters
from autohedge.errors import ConfigError
from autohedge.simulation import bar_matching, chance, slippage
from autohedge.simulation.bar_matching import BPS, LARGEST, MarketRules

_USES = (
    chance.mixed,
    chance.draw,
    slippage.slippage_frac,
    slippage.slipped_ticks,
    bar_matching.is_due,
    bar_matching.fails,
    bar_matching.share_lots,
    bar_matching.refusal_by_rules,
    bar_matching.fee_between,
    bar_matching.buy_cost_atoms,
    bar_matching.taking_price_ticks,
    bar_matching.lots_for_cash,
    bar_kernel.send,
    bar_kernel.act,
    bar_kernel.arrive,
    bar_kernel.take,
    bar_kernel.meet,
    bar_kernel.stamp,
)


@dataclass(frozen=True, slots=True, eq=False)
class EmaCrossRun:
    """A compiled run: equity (quote atoms), base (lots) and drawdown as of each bar's close, the fills, and the books."""

    bars: Bars
    assumptions: Assumptions
    parameters: DualMovingAverageParameters
    equity_atoms: I64
    base_lots: I64
    drawdown_frac: F64
    fills: I64
    books: I64
    orders_open: int

    @property
    def round_trips(self) -> int:
        """Positions that were opened and closed again."""
        return int(self.books[bar_kernel.ROUND_TRIPS])

    def result(self) -> BacktestResult:
        """The run as any other backtest."""
        books = self.books
        counts = {
            "orders_placed": int(books[bar_kernel.SENT]),
            "orders_rejected": int(books[bar_kernel.REJECTED]),
            "orders_cancelled": int(books[bar_kernel.CANCELLED]),
            "cancels_rejected": 0,
            "api_failures": int(books[bar_kernel.LOST]),
            "orders_open": self.orders_open,
        }
        return bar_result(
            self.bars,
            self.assumptions,
            strategy=DualMovingAverage.__name__,
            engine="compiled bars",
            parameters=self.parameters.model_dump(mode="json"),
            table=self.fills,
            equity_atoms=self.equity_atoms,
            base_lots=self.base_lots,
            counts=counts,
        )


def ema_cross(
    bars: Bars, parameters: DualMovingAverageParameters | None = None, assumptions: Assumptions | None = None
) -> EmaCrossRun:
    """`DualMovingAverage` over `bars`, compiled. Raises `ConfigError` without numba, or for amounts beyond 64 bits."""
    parameters, assumptions = parameters or DualMovingAverageParameters(), assumptions or Assumptions()
    rules = assumptions.market_rules(bars.instrument, bars.interval_ns)
    entry, opening_atoms = _entry(bars, parameters, assumptions, rules), _opening_atoms(bars, assumptions)
    run = compile_kernel(bar_kernel.run_one, uses=_USES, allocates=False)
    equity_atoms, base_lots, drawdown_frac = np.empty(len(bars), np.int64), np.empty(len(bars), np.int64), np.empty(len(bars))
    rows = len(bars) // 8 + 1024
    while True:
        # memory that is not written to costs nothing, and a table that is too short costs one more run
        fills = np.empty((rows, bar_kernel.FILL_FIELDS), np.int64)
        order, books = np.zeros(bar_kernel.ORDER_FIELDS, np.int64), np.zeros(bar_kernel.BOOK_FIELDS, np.int64)
        books[bar_kernel.QUOTE] = opening_atoms
        run(
            bars.ts_ns,
            bars.open_ticks,
            bars.close_ticks,
            bars.volume_lots,
            bars.close,
            rules,
            entry,
            _weight(parameters.fast),
            _weight(parameters.slow),
            parameters.warm_up,
            equity_atoms,
            base_lots,
            drawdown_frac,
            fills,
            order,
            books,
        )
        if not books[bar_kernel.TABLE_FULL]:
            break
        rows = min(8 * rows, 2 * len(bars) + 2)
    if books[bar_kernel.TOO_LARGE]:
        raise _too_large(bars, "the money of the run")
    fills = fills[: books[bar_kernel.FILLS]]
    is_open = int(order[bar_kernel.SIDE] != 0)
    return EmaCrossRun(bars, assumptions, parameters, equity_atoms, base_lots, drawdown_frac, fills, books, is_open)


def _weight(span: int) -> float:
    return 2.0 / (span + 1)


def _opening_atoms(bars: Bars, assumptions: Assumptions) -> int:
    atoms = bars.instrument.quote_atoms_floor(assumptions.initial_capital)
    if atoms >= LARGEST:
        raise _too_large(bars, f"initial_capital {assumptions.initial_capital}")
    return atoms


def _entry(
    bars: Bars, parameters: DualMovingAverageParameters, assumptions: Assumptions, rules: MarketRules
) -> bar_kernel.Entry:
    size = parameters.size
    size_lots = bar_kernel.A_SHARE if size is None else bars.instrument.floor_to_lot(size)
    if not size_lots:
        lot = bars.instrument.lot_size
        raise ConfigError(f"{bars.instrument.symbol}: expected a size of at least a lot, {lot}, found {size}")
    if 2 * bars.most_ticks * max(1, size_lots) * rules.atoms_per_tick_lot * max(1, rules.fee_numerator) >= LARGEST:
        raise _too_large(bars, f"size {size} at the highest price, with commission {assumptions.commission_frac},")
    share_bps = int(parameters.cash_share_frac * BPS)
    return bar_kernel.Entry(size_lots, share_bps, int(assumptions.fill_at is FillAt.CLOSE), bars.most_ticks)


def _too_large(bars: Bars, what: str) -> ConfigError:
    return ConfigError(
        f"{bars.instrument.symbol}: {what} does not fit the 64 bits of a compiled run: use less capital or size, or run_bars"
    )
