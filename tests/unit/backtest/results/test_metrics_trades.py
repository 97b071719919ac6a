"""Round trips and costs: wins are round trips that earned after fees, not sells; nothing is counted twice."""

from __future__ import annotations

import json
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.backtest.metrics import measure
from autohedge.backtest.round_trips import round_trips

prices = st.integers(9_000, 11_000).map(lambda cents: f"{cents / 100:.2f}")
trades = st.lists(
    st.tuples(st.sampled_from([+1, -1]), prices, st.integers(1, 40).map(lambda lots: f"{lots / 10:.1f}")),
    min_size=1,
    max_size=25,
)


def run(make: Any, rows: list[tuple[int, str, str]], fee: str = "0.03", **overrides: Any) -> Any:
    """One fill a second at these prices, every fill at its mid."""
    fills = [make.fill(float(at), side, price, size, fee, price) for at, (side, price, size) in enumerate(rows, start=1)]
    ticks = [(0.0, rows[0][1]), *((float(at), price) for at, (_, price, _) in enumerate(rows, start=1))]
    return make.traded(fills, ticks, end_s=len(rows) + 1.0, **overrides)


def test_round_trips_by_hand(make: Any) -> None:
    """Buy 2 at 100 and 2 at 102, sell 1 at 105, 3 at 100: average cost 101, so +4 and −3; fees of 1 are shared by size."""
    result = run(make, [(+1, "100", "2"), (+1, "102", "2"), (-1, "105", "1"), (-1, "100", "3")], fee="1")
    trips, left = round_trips(result)
    assert trips.entry_price.tolist() == [101, 101]
    assert trips.gross_quote.tolist() == [4, -3]
    assert trips.fees_quote.tolist() == [1 + 0.5, 1 + 1.5]
    assert left.base == 0.0
    assert left.average_price is None
    found = measure(result).round_trips
    assert (found.count, found.win_rate_frac) == (2, 0.5)
    assert found.profit_factor == pytest.approx(2.5 / 5.5)
    assert (found.average_win_quote, found.average_loss_quote) == (pytest.approx(2.5), pytest.approx(-5.5))
    assert (found.largest_win_quote, found.largest_loss_quote) == (pytest.approx(2.5), pytest.approx(-5.5))
    assert found.expectancy_quote == pytest.approx(-1.5)
    assert found.expectancy_bps == pytest.approx(-3.0 / (101 * 4) * 10_000)
    assert found.realized_quote == pytest.approx(1.0)
    assert found.median_hold_s == pytest.approx((1.5 + 2.5) / 2)


def test_selling_is_not_winning(make: Any) -> None:
    """Three sells at a loss are three lost round trips: a win is money, whatever the side."""
    found = measure(run(make, [(+1, "100", "3"), (-1, "99", "1"), (-1, "98", "1"), (-1, "97", "1")])).round_trips
    assert found.win_rate_frac == 0.0
    assert found.count == 3
    assert found.profit_factor == 0.0


def test_an_open_position_is_neither_won_nor_lost(make: Any) -> None:
    """A gain on paper shows as unrealised; there is no round trip, and so no rate."""
    metrics = measure(run(make, [(+1, "100", "1"), (+1, "110", "1")]))
    assert metrics.round_trips.count == 0
    assert metrics.round_trips.win_rate_frac is None
    assert metrics.undefined["round_trips.win_rate_frac"] == "no round trip was completed"
    assert metrics.round_trips.unrealized_quote == pytest.approx(10.0)
    assert metrics.round_trips.open_base == 2.0


def test_shorts_win_when_the_price_falls(make: Any) -> None:
    """Sold at 100, bought back at 90; then through flat into a long that stays open."""
    trips, left = round_trips(run(make, [(-1, "100", "1"), (+1, "90", "3")], fee="0"))
    assert trips.side.tolist() == [-1]
    assert trips.gross_quote.tolist() == [10.0]
    assert (left.base, left.average_price) == (2.0, 90.0)


def test_partial_fills_of_one_order_are_one_round_trip(make: Any) -> None:
    """Ten fills of one selling order win once, not ten times."""
    fills = [make.fill(1.0, +1, "100", "1", mid="100", order=0)]
    fills += [make.fill(2.0 + i, -1, "101", "0.1", "0.01", "101", order=1) for i in range(10)]
    found = measure(make.traded(fills, [(0.0, "100")], end_s=20.0)).round_trips
    assert found.count == 1
    assert found.expectancy_quote == pytest.approx(1.0 - 0.1)


def test_base_held_at_the_start_was_bought_at_the_first_price(make: Any) -> None:
    """Selling what one began with is a round trip from the opening price, not a short sale."""
    fills = [make.fill(5.0, -1, "110", "2", mid="110")]
    trips, left = round_trips(make.traded(fills, [(0.0, "100"), (4.0, "110")], end_s=9.0, base="3"))
    assert trips.side.tolist() == [+1]
    assert trips.gross_quote.tolist() == [20.0]
    assert left.base == 1.0


def test_a_ratio_without_losses_is_none_and_not_infinite(make: Any) -> None:
    """The profit factor of a run that only won is undefined, in JSON too."""
    metrics = measure(run(make, [(+1, "100", "1"), (-1, "110", "1")]))
    assert metrics.round_trips.profit_factor is None
    assert metrics.undefined["round_trips.profit_factor"] == "no round trip lost"
    assert '"profit_factor": null' in json.dumps(metrics.to_dict(), allow_nan=False)


@settings(deadline=None)
@given(rows=trades)
def test_round_trips_agree_with_an_exact_account(make: Any, rows: list[tuple[int, str, str]]) -> None:
    """Realised + unrealised − fees is the change of equity, against exact fractions; fees are counted once."""
    result = run(make, rows)
    metrics = measure(result)
    found = metrics.round_trips
    change = found.realized_quote + found.unrealized_quote - float(result.fees)
    assert change == pytest.approx(float(result.final_equity - result.initial_equity), abs=1e-8)
    trips, left = round_trips(result)
    assert trips.fees_quote.sum() + left.fees_quote == pytest.approx(float(result.fees), abs=1e-9)
    assert found.open_base == pytest.approx(sum(side * float(size) for side, _, size in rows), abs=1e-9)


@settings(deadline=None)
@given(rows=trades)
def test_the_profit_factor_is_the_quotient_of_the_sums(make: Any, rows: list[tuple[int, str, str]]) -> None:
    """Won ÷ lost by an exact average-cost account of our own; win rate and expectancy from the same list."""
    net = _exact_round_trips(rows, Fraction("0.03"))
    found = measure(run(make, rows)).round_trips
    won, lost = sum(each for each in net if each > 0), -sum(each for each in net if each < 0)
    assert found.count == len(net)
    if any(each != 0 and abs(each) < Fraction(1, 10**9) for each in net):
        return
    assert (found.profit_factor is None) == (lost == 0)
    if lost:
        assert found.profit_factor == pytest.approx(float(won / lost), abs=1e-9)
    if net:
        assert found.expectancy_quote == pytest.approx(float(sum(net) / len(net)), abs=1e-9)


def _exact_round_trips(rows: list[tuple[int, str, str]], fee: Fraction) -> list[Fraction]:
    """Net profit per closing fill at average cost, from lots of equal shares: another way to the same numbers."""
    lots: deque[list[Fraction]] = deque()  # [signed size, price, fee per unit]
    net = []
    for side, price, size in rows:
        rest, paid = Fraction(size), Fraction(price)
        held = sum((lot[0] for lot in lots), Fraction(0))
        per_unit = fee / rest
        if held * side < 0:
            closing = min(rest, abs(held))
            average = sum((lot[0] * lot[1] for lot in lots), Fraction(0)) / held
            open_fee = sum((abs(lot[0]) * lot[2] for lot in lots), Fraction(0)) / abs(held)
            net.append(-side * (paid - average) * closing - (open_fee + per_unit) * closing)
            for lot in lots:
                lot[0] *= 1 - closing / abs(held)
            rest -= closing
            if closing == abs(held):
                lots.clear()
        if rest:
            lots.append([side * rest, paid, per_unit])
    return net


def test_costs_by_hand(make: Any) -> None:
    """Volume 200, fees 0.2, slippage 0.1 on an equity of 10,000 over a tenth of a day."""
    fills = [make.fill(10.0, +1, "100", "1", "0.1", "100"), make.fill(20.0, -1, "100", "1", "0.1", "100", is_maker=False)]
    result = make.traded(fills, [(0.0, "100")], end_s=8_640.0, slippage=Decimal("0.1"), model_cost_usd=Decimal("0.05"))
    metrics = measure(result)
    found = metrics.costs
    assert found.fees_bps == pytest.approx(10.0)
    assert found.slippage_bps == pytest.approx(5.0)
    assert found.turnover == pytest.approx(0.02, rel=1e-3)
    assert found.turnover_per_day == pytest.approx(0.2, rel=1e-3)
    assert (found.model_usd, found.model_per_fill_usd) == (Decimal("0.05"), 0.025)
    assert found.model_share_frac is None  # there was a loss
    assert metrics.returns.roi_frac == pytest.approx(-0.25 / 10_000)
    assert metrics.returns.total_frac == pytest.approx(-0.2 / 10_000)
    assert (metrics.making.fills, metrics.making.maker_fills) == (2, 1)


def test_what_a_model_cost_is_compared_only_with_dollars(make: Any) -> None:
    """A model paid in USD is not taken from a profit in won; an unknown price is not taken for free."""
    fills = [make.fill(10.0, +1, "100", "1", mid="100")]
    ticks = [(0.0, "100"), (50.0, "110")]
    paid = measure(make.traded(fills, ticks, end_s=60.0, model_cost_usd=Decimal(1)))
    assert paid.costs.model_share_frac == pytest.approx(0.1)
    assert paid.returns.roi_frac == pytest.approx(9 / 10_000)
    won = measure(make.traded(fills, ticks, end_s=60.0, model_cost_usd=Decimal(1), symbol="BTC/KRW"))
    assert won.returns.roi_frac is None
    assert won.costs.model_share_frac is None
    unknown = measure(make.traded(fills, ticks, end_s=60.0, decisions={"total": 3, "model_driven": 2}))
    assert unknown.returns.roi_frac is None
    rules = measure(make.traded(fills, ticks, end_s=60.0, decisions={"total": 3, "model_driven": 0}))
    assert rules.returns.roi_frac == pytest.approx(10 / 10_000)


def test_thousands_of_fills_leave_no_dust(make: Any) -> None:
    """Sizes that floats do not hold (0.1 + 0.2) are flat again after a sell of 0.3, every time."""
    result = run(make, [(+1, "100", "0.1"), (+1, "100", "0.2"), (-1, "101", "0.3")], fee="0")
    times = 3_000
    fills = result.fills
    n = 3 * times
    long = fills._replace(**{name: np.tile(column, times) for name, column in fills._asdict().items()})._replace(
        ts_ns=np.repeat(fills.ts_ns[-1:], n), order=np.arange(n)
    )
    parts = {name: getattr(result, name) for name in type(result).__dataclass_fields__} | {"fills": long}
    trips, left = round_trips(type(result)(**parts))
    assert trips.side.size == times
    assert left.base == 0.0
    assert trips.gross_quote == pytest.approx(0.3)
