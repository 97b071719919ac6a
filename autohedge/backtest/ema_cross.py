"""`DualMovingAverage` at native speed: one run, and a grid of spans. The same fills and the same money as `run_bars`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from autohedge.backtest import bar_kernel
from autohedge.backtest.assumptions import Assumptions, FillAt
from autohedge.backtest.bar_kernel import Columns, Entry, Lanes
from autohedge.backtest.bar_result import bar_result
from autohedge.backtest.bars import Bars
from autohedge.backtest.native import compile_kernel
from autohedge.backtest.result import F64, I64, BacktestResult
from autohedge.backtest.strategies import DualMovingAverage, DualMovingAverageParameters
from autohedge.errors import ConfigError
from autohedge.simulation.bar_matching import BPS, LARGEST, MarketRules


@dataclass(frozen=True, slots=True, eq=False)
class EmaCrossRun:
    """A compiled run: equity (quote atoms), base (lots) and drawdown as of each bar's close, and a row per fill."""

    bars: Bars
    assumptions: Assumptions
    parameters: DualMovingAverageParameters
    equity_atoms: I64
    base_lots: I64
    drawdown_frac: F64
    fills: I64
    round_trips: int
    counts: dict[str, int]

    @property
    def max_drawdown_frac(self) -> float:
        """The deepest fall of the equity at a close below its highest until then."""
        return float(self.drawdown_frac.max())

    def result(self) -> BacktestResult:
        """The run as any other backtest."""
        return bar_result(
            self.bars,
            self.assumptions,
            strategy=DualMovingAverage.__name__,
            engine="compiled bars",
            parameters=self.parameters.model_dump(mode="json"),
            table=self.fills,
            equity_atoms=self.equity_atoms,
            base_lots=self.base_lots,
            counts=self.counts,
        )


def ema_cross(
    bars: Bars, parameters: DualMovingAverageParameters | None = None, assumptions: Assumptions | None = None
) -> EmaCrossRun:
    """`DualMovingAverage` over `bars`, compiled. Raises `ConfigError` without numba, or for amounts beyond 64 bits."""
    parameters, assumptions = parameters or DualMovingAverageParameters(), assumptions or Assumptions()
    rules = assumptions.market_rules(bars.instrument, bars.interval_ns)
    entry, opening_atoms = _entry(bars, parameters, assumptions, rules), _opening_atoms(bars, assumptions)
    run = compile_kernel(bar_kernel.run_one, allocates=False)
    equity_atoms, base_lots, drawdown_frac = np.empty(len(bars), np.int64), np.empty(len(bars), np.int64), np.empty(len(bars))
    rows = len(bars) // 8 + 1024
    while True:
        # memory that is not written to costs nothing, and a table that is too short costs one more run
        fills = np.empty((rows, bar_kernel.FILL_FIELDS), np.int64)
        order, books = np.zeros(bar_kernel.ORDER_FIELDS, np.int64), np.zeros(bar_kernel.BOOK_FIELDS, np.int64)
        books[bar_kernel.QUOTE] = opening_atoms
        run(
            _columns(bars),
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
    trips, counts = int(books[bar_kernel.ROUND_TRIPS]), _counts(order, books)
    return EmaCrossRun(bars, assumptions, parameters, equity_atoms, base_lots, drawdown_frac, fills, trips, counts)


@dataclass(frozen=True, slots=True, eq=False)
class EmaCrossGrid:
    """What became of each pair of spans; columns of one length, in the order in which the pairs were given. Money in atoms."""

    fast: I64
    slow: I64
    initial_atoms: int
    final_atoms: I64
    fee_atoms: I64
    slippage_atoms: I64
    fills: I64
    round_trips: I64
    max_drawdown_frac: F64

    @property
    def total_return_frac(self) -> F64:
        """Equity at the end over that at the beginning, minus 1."""
        frac: F64 = self.final_atoms / float(self.initial_atoms) - 1.0
        return frac


def ema_cross_grid(
    bars: Bars,
    pairs: Sequence[tuple[int, int]],
    assumptions: Assumptions | None = None,
    *,
    size: Decimal | None = None,
    cash_share_frac: Decimal = Decimal("0.95"),
    warm_up_bars: int | None = None,
) -> EmaCrossGrid:
    """`DualMovingAverage` over `bars` with each of the (fast, slow) spans, all at once; else as `ema_cross` for one pair.

    Memory does not grow with bars × pairs. Raises `ConfigError` for a pair that the strategy refuses.
    """
    assumptions = assumptions or Assumptions()
    common = {"size": size, "cash_share_frac": cash_share_frac, "warm_up_bars": warm_up_bars}
    each = [DualMovingAverage(fast=fast, slow=slow, **common).parameters for fast, slow in pairs]
    if not each:
        raise ConfigError("expected at least one pair of spans, found none")
    rules = assumptions.market_rules(bars.instrument, bars.interval_ns)
    entry, opening_atoms = _entry(bars, each[0], assumptions, rules), _opening_atoms(bars, assumptions)
    run = compile_kernel(bar_kernel.run_many, allocates=False)
    lanes = _lanes(bars, each, opening_atoms)
    if run(_columns(bars), rules, entry, lanes):
        raise _too_large(bars, "the money of a pair")
    books = lanes.books
    return EmaCrossGrid(
        fast=np.array([one.fast for one in each]),
        slow=np.array([one.slow for one in each]),
        initial_atoms=opening_atoms,
        final_atoms=lanes.quote_atoms + lanes.unit_atoms * bars.close_ticks[-1],
        fee_atoms=books[:, bar_kernel.FEES].copy(),
        slippage_atoms=books[:, bar_kernel.SLIPPAGE].copy(),
        fills=books[:, bar_kernel.FILLS].copy(),
        round_trips=books[:, bar_kernel.ROUND_TRIPS].copy(),
        max_drawdown_frac=lanes.max_drawdown_frac,
    )


# --- what kernels take -------------------------------------------------------------------------------------------------------


def _columns(bars: Bars) -> Columns:
    return Columns(bars.ts_ns, bars.open_ticks, bars.close_ticks, bars.volume_lots, bars.close)


def _lanes(bars: Bars, each: list[DualMovingAverageParameters], opening_atoms: int) -> Lanes:
    count = len(each)
    books = np.zeros((count, bar_kernel.BOOK_FIELDS), np.int64)
    books[:, bar_kernel.QUOTE] = opening_atoms
    return Lanes(
        fast_weight=np.array([_weight(one.fast) for one in each]),
        slow_weight=np.array([_weight(one.slow) for one in each]),
        warm_up=np.array([one.warm_up for one in each]),
        fast=np.full(count, bars.close[0]),
        slow=np.full(count, bars.close[0]),
        is_above=np.zeros(count, np.uint8),
        wants_to_act=np.zeros(count, np.uint8),
        quote_atoms=np.full(count, opening_atoms),
        unit_atoms=np.zeros(count, np.int64),
        peak=np.full(count, float(opening_atoms)),
        max_drawdown_frac=np.zeros(count),
        orders=np.zeros((count, bar_kernel.ORDER_FIELDS), np.int64),
        books=books,
        fills=np.zeros((count, bar_kernel.FILL_FIELDS), np.int64),
    )


def _counts(order: I64, books: I64) -> dict[str, int]:
    return {
        "orders_placed": int(books[bar_kernel.SENT]),
        "orders_rejected": int(books[bar_kernel.REJECTED]),
        "orders_cancelled": int(books[bar_kernel.CANCELLED]),
        "cancels_rejected": 0,
        "api_failures": int(books[bar_kernel.LOST]),
        "orders_open": int(order[bar_kernel.SIDE] != 0),
    }


def _weight(span: int) -> float:
    return 2.0 / (span + 1)


def _opening_atoms(bars: Bars, assumptions: Assumptions) -> int:
    atoms = bars.instrument.quote_atoms_floor(assumptions.initial_capital)
    if atoms >= LARGEST:
        raise _too_large(bars, f"initial_capital {assumptions.initial_capital}")
    return atoms


def _entry(bars: Bars, parameters: DualMovingAverageParameters, assumptions: Assumptions, rules: MarketRules) -> Entry:
    size = parameters.size
    size_lots = bar_kernel.A_SHARE if size is None else bars.instrument.floor_to_lot(size)
    if not size_lots:
        lot = bars.instrument.lot_size
        raise ConfigError(f"{bars.instrument.symbol}: expected a size of at least a lot, {lot}, found {size}")
    if 2 * bars.most_ticks * max(1, size_lots) * rules.atoms_per_tick_lot * max(1, rules.fee_numerator) >= LARGEST:
        raise _too_large(bars, f"size {size} at the highest price, with commission {assumptions.commission_frac},")
    share_bps = int(parameters.cash_share_frac * BPS)
    return Entry(size_lots, share_bps, int(assumptions.fill_at is FillAt.CLOSE), bars.most_ticks)


def _too_large(bars: Bars, what: str) -> ConfigError:
    return ConfigError(
        f"{bars.instrument.symbol}: {what} does not fit the 64 bits of a compiled run: use less capital or size, or run_bars"
    )
