"""The compiled dual moving average is the one that the engine runs bar by bar: the same fills, fees and equity, to the atom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bar_engine import run_bars
from autohedge.backtest.bars import Bars
from autohedge.backtest.ema_cross import EmaCrossRun, ema_cross, ema_cross_grid
from autohedge.backtest.strategies import DualMovingAverage, DualMovingAverageParameters
from autohedge.domain.instrument import Instrument
from autohedge.errors import ConfigError

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "fixed size, no costs": (
        {"size": Decimal(3), "warm_up_bars": 0},
        {"commission_frac": 0, "slippage_model": "none", "api_failure_frac": 0, "participation_frac": None},
    ),
    "at the close": ({"fast": 3, "slow": 9}, {"fill_at": "close", "participation_frac": "0.05"}),
    "many failures": (
        {"fast": 2, "slow": 5, "cash_share_frac": "0.5"},
        {"api_failure_frac": 0.4, "slippage_model": "logarithmic"},
    ),
    "failures at the close": ({"fast": 2, "slow": 5}, {"api_failure_frac": 0.4, "fill_at": "close", "seed": 9}),
    "thin volume": ({"fast": 2, "slow": 7}, {"participation_frac": "0.01", "slippage_model": "square_root"}),
    "slow venue": ({"fast": 2, "slow": 7}, {"latency_ms": 150_000}),
    "all the cash": ({"fast": 2, "slow": 7, "cash_share_frac": 1}, {"slippage_floor_frac": 0.005}),
    "odd fee": ({"fast": 2, "slow": 7}, {"commission_frac": "0.00077"}),
}


def assert_same(run: EmaCrossRun, bars: Bars) -> None:
    """Column by column, against the engine."""
    compiled = run.result()
    plain = run_bars(DualMovingAverage(**run.parameters.model_dump()), bars, run.assumptions)
    for table in ("fills", "curve", "mids"):
        ours, theirs = getattr(compiled, table), getattr(plain, table)
        for name in ours._fields:
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), f"{table}.{name}"
    for name in ("final_equity", "fees", "slippage", "volume", "counts", "settings", "notes", "data"):
        assert getattr(compiled, name) == getattr(plain, name), name


@pytest.mark.parametrize("case", CASES)
def test_the_compiled_run_is_the_engines(walk: Callable[..., Bars], case: str) -> None:
    parameters, assumptions = CASES[case]
    bars = walk(3_000, step=0.004)
    run = ema_cross(bars, DualMovingAverageParameters(**parameters), Assumptions.of(**assumptions))
    assert len(run.fills) > 100, "nothing was compared"
    assert_same(run, bars)


@given(
    seed=st.integers(0, 10_000),
    fast=st.integers(1, 6),
    gap=st.integers(1, 20),
    failures=st.sampled_from([0, 0.3]),
    at=st.sampled_from(["close", "next_open"]),
    share=st.sampled_from([None, "0.02", 1]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_so_it_is_on_any_path(
    walk: Callable[..., Bars], seed: int, fast: int, gap: int, failures: float, at: str, share: Any
) -> None:
    bars = walk(200, seed, step=0.01)
    parameters = DualMovingAverageParameters(fast=fast, slow=fast + gap, warm_up_bars=0)
    assumptions = Assumptions.of(seed=seed, api_failure_frac=failures, fill_at=at, participation_frac=share)
    assert_same(ema_cross(bars, parameters, assumptions), bars)


@pytest.mark.parametrize("case", ["defaults", "at the close", "failures at the close", "thin volume"])
def test_a_grid_is_its_single_runs(walk: Callable[..., Bars], case: str) -> None:
    """Pair by pair: money, trades, and the deepest drawdown."""
    _, assumed = CASES[case]
    bars, assumptions = walk(2_000, 4, step=0.004), Assumptions.of(**assumed)
    pairs = [(fast, slow) for fast in (2, 5, 9) for slow in (10, 21, 60)]
    grid = ema_cross_grid(bars, pairs, assumptions)
    for row, (fast, slow) in enumerate(pairs):
        run = ema_cross(bars, DualMovingAverageParameters(fast=fast, slow=slow), assumptions)
        assert (grid.fast[row], grid.slow[row]) == (fast, slow)
        assert grid.final_atoms[row] == run.equity_atoms[-1]
        assert grid.fee_atoms[row] == run.fills[:, 5].sum()
        assert grid.slippage_atoms[row] == run.fills[:, 6].sum()
        assert grid.fills[row] == len(run.fills) > 0
        assert grid.round_trips[row] == run.round_trips
        assert grid.max_drawdown_frac[row] == run.max_drawdown_frac > 0
    assert len(np.unique(grid.final_atoms)) == len(pairs)
    assert grid.total_return_frac.tolist() == (grid.final_atoms / grid.initial_atoms - 1).tolist()


def test_drawdown_is_the_fall_below_the_highest_close(walk: Callable[..., Bars]) -> None:
    """Against the definition, over the whole curve."""
    run = ema_cross(walk(2_000, step=0.004))
    equity = run.equity_atoms.astype(float)
    highest = np.maximum.accumulate(np.maximum(equity, run.equity_atoms[0]))
    assert np.array_equal(run.drawdown_frac, (highest - equity) / highest)


def test_more_fills_than_were_expected_still_fit(walk: Callable[..., Bars]) -> None:
    """Nearly every bar fills a little of one large order: far more rows than a run usually has."""
    bars = walk(20_000, step=0.0004)
    run = ema_cross(bars, DualMovingAverageParameters(fast=2, slow=5), Assumptions.of(participation_frac="0.0001"))
    assert len(run.fills) > len(bars) // 8 + 1024


@pytest.mark.parametrize(
    ("parameters", "assumptions", "told"),
    [
        ({}, {"initial_capital": "1e12"}, r"initial_capital 1E\+12"),
        ({"size": Decimal(10**9)}, {}, "size 1000000000 at the highest price"),
        ({"size": Decimal(100_000)}, {"commission_frac": "0.0123456789"}, "with commission 0.0123456789"),
        ({"size": Decimal("0.0001")}, {}, "at least a lot, 0.001"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    walk: Callable[..., Bars], parameters: dict[str, Any], assumptions: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        ema_cross(walk(10), DualMovingAverageParameters(**parameters), Assumptions.of(**assumptions))


def test_money_that_outgrows_64_bits_on_its_way_ends_the_run(bars_of: Any, instrument: Instrument) -> None:
    """Bought at 2, sold at 1,700, again and again: the fourth time it would be more than 64 bits hold."""
    closes = ([1] * 10 + [2, 2_000, 1_999, 1_900, 1_700, 1]) * 4
    boundless = replace(instrument, max_qty=Decimal(10**15))
    bars = bars_of([(close, close, close, close, 1) for close in closes], boundless)
    assumptions = Assumptions.of(api_failure_frac=0, participation_frac=None, slippage_model="none", fill_at="close")
    for run in (
        lambda: ema_cross(bars, DualMovingAverageParameters(fast=1, slow=2), assumptions),
        lambda: ema_cross_grid(bars, [(1, 2)], assumptions),
    ):
        with pytest.raises(ConfigError, match="does not fit the 64 bits"):
            run()


def test_a_pair_that_the_strategy_refuses_is_refused(walk: Callable[..., Bars]) -> None:
    with pytest.raises(ConfigError, match="fast must be shorter"):
        ema_cross_grid(walk(10), [(5, 20), (20, 5)])
    with pytest.raises(ConfigError, match="at least one pair"):
        ema_cross_grid(walk(10), [])
