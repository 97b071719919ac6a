"""The strategy class's own checks, and the two strategies that are shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import polars
import pytest

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bar_engine import run_bars
from autohedge.backtest.bars import Bars
from autohedge.backtest.strategies import DualMovingAverage, GridStrategy
from autohedge.backtest.strategy import Bar, Fill, Strategy
from autohedge.domain.market_data import BUY, SELL
from autohedge.errors import ConfigError


def with_(assumptions: Assumptions, **changed: Any) -> Assumptions:
    return Assumptions.of(**(assumptions.model_dump() | changed))


@pytest.mark.parametrize(
    ("strategy", "wrong", "told"),
    [
        (DualMovingAverage, {"fats": 5}, r"no parameter fats; it has fast, slow, size"),
        (DualMovingAverage, {"fast": 20, "slow": 5}, r"fast must be shorter than slow, which is 5"),
        (DualMovingAverage, {"fast": 0}, r"fast: .*greater than or equal to 1.*found 0"),
        (DualMovingAverage, {"size": -1}, r"size: .*found -1"),
        (GridStrategy, {"levels": 10, "spacing_frac": "0.1"}, r"reach below a price of zero"),
        (GridStrategy, {"spacing_frac": float("nan")}, r"spacing_frac"),
        (Strategy, {"anything": 1}, r"no parameter anything; it has none"),
    ],
)
def test_a_wrong_parameter_is_named_in_one_line(strategy: type[Strategy], wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        strategy(**wrong)
    assert "\n" not in str(caught.value)
    assert strategy.__name__ in str(caught.value)


def test_parameters_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DualMovingAverage().parameters.fast = 7


# --- dual moving average -----------------------------------------------------------------------------------------------------


def test_it_is_in_the_market_while_the_fast_average_is_above(walk: Callable[..., Bars], plain: Assumptions) -> None:
    """Against another library's averages: at each open it holds what the closes before called for."""
    bars = walk(500, 3)
    bars = replace(bars, volume_lots=np.full(len(bars), 10**9))
    result = run_bars(DualMovingAverage(fast=5, slow=20, size=1, warm_up_bars=0), bars, plain)
    closes = polars.Series(bars.close)
    wanted = (closes.ewm_mean(span=5, adjust=False) > closes.ewm_mean(span=20, adjust=False)).to_numpy()
    assert np.array_equal(result.curve.base[1:], wanted[:-1].astype(float))
    assert 10 < len(result.fills.side) < 200


def test_it_does_nothing_while_it_warms_up(walk: Callable[..., Bars], plain: Assumptions) -> None:
    bars = walk(400)
    result = run_bars(DualMovingAverage(fast=5, slow=20, warm_up_bars=300), bars, plain)
    assert result.fills.ts_ns[0] > bars.ts_ns[300]


def test_a_share_of_the_cash_leaves_room_for_the_costs(walk: Callable[..., Bars]) -> None:
    strategy = DualMovingAverage(cash_share_frac="0.5")
    result = run_bars(strategy, walk(300), Assumptions.of(participation_frac=None, api_failure_frac=0))
    assert result.fills.price[0] * result.fills.size_base[0] == pytest.approx(5_000, rel=0.01)


def test_a_lost_order_is_sent_again(walk: Callable[..., Bars]) -> None:
    """With every second request lost, the same crossings are traded; a bar later where one was lost."""
    bars = walk(300, 5)
    none, half = (
        run_bars(DualMovingAverage(size=1), bars, Assumptions.of(api_failure_frac=share, participation_frac=None))
        for share in (0, 0.5)
    )
    assert half.counts["api_failures"] > 5
    assert abs(len(half.fills.side) - len(none.fills.side)) <= 4
    assert half.fills.side.tolist()[:4] == [BUY, SELL] * 2


# --- grid --------------------------------------------------------------------------------------------------------------------


def test_a_grid_buys_falling_and_sells_each_level_one_higher(bars_of: Any, plain: Assumptions) -> None:
    """100, 1 % apart: down through 99 and 98, up again through both. Each level earns one spacing."""
    closes = [100, 100, 98.5, 97.5, 98.5, 99.5, 100.5, 100.5]
    rows = [(a, max(a, b), min(a, b), b) for a, b in zip([100, *closes], closes, strict=False)]
    result = run_bars(GridStrategy(levels=3, spacing_frac="0.01", size=1), bars_of(rows), plain)
    traded = list(zip(result.fills.side.tolist(), result.fills.price.tolist(), strict=True))
    assert traded == [(BUY, 99.0), (BUY, 98.0), (SELL, 99.0), (SELL, 100.0)]
    assert result.final_equity == result.initial_equity + 2
    assert result.fills.is_maker.all()
    assert result.counts["orders_open"] == 3, "every level waits for its next buy"


def test_a_grid_on_a_falling_market_loses(bars_of: Any) -> None:
    rows = [(100 - i, 100.2 - i, 98.8 - i, 99 - i) for i in range(30)]
    result = run_bars(GridStrategy(levels=5, spacing_frac="0.02"), bars_of(rows), Assumptions())
    assert (result.fills.side == BUY).all() and len(result.fills.side) >= 5
    assert result.final_equity < result.initial_equity * Decimal("0.85")


def test_a_grid_survives_lost_requests(bars_of: Any, plain: Assumptions) -> None:
    """All levels are on the market in the end, and each of them once."""
    strategy = GridStrategy(levels=10, spacing_frac="0.01", size=1)
    result = run_bars(strategy, bars_of([(100, 100.5, 99.5, 100)] * 40), with_(plain, api_failure_frac=0.5))
    assert result.counts["api_failures"] > 3
    assert sorted(order.price for order in strategy.open_orders if order.price) == [Decimal(level) for level in range(90, 100)]


def test_a_grid_too_small_for_a_lot_is_refused(bars_of: Any, plain: Assumptions) -> None:
    with pytest.raises(ConfigError, match="less than a lot"):
        run_bars(GridStrategy(levels=100, spacing_frac="0.001"), bars_of([(100,) * 4] * 2), with_(plain, initial_capital=1))


def test_a_grid_waits_for_whole_levels(bars_of: Any, plain: Assumptions) -> None:
    """A level that filled in parts is offered once, whole, when its last part has come."""
    sold: list[Fill] = []

    class Watched(GridStrategy):
        def on_order_filled(self, fill: Fill) -> None:
            sold.append(fill)
            super().on_order_filled(fill)

        def on_bar(self, bar: Bar) -> None:
            super().on_bar(bar)

    rows = [(100, 100, 100, 100, 10), (100, 100, 98, 99.5, 5), (99.5, 99.5, 98, 99.5, 5), (99.5, 101, 99.5, 101, 10)]
    strategy = Watched(levels=1, spacing_frac="0.01", size=1)
    run_bars(strategy, bars_of([*rows, rows[-1]]), with_(plain, participation_frac="0.1"))
    assert [(fill.side, fill.size, fill.remaining) for fill in sold] == [
        (BUY, Decimal("0.5"), Decimal("0.5")),
        (BUY, Decimal("0.5"), 0),
        (SELL, 1, 0),
    ]
