"""Strategies on bars: when an order trades, at what price and how much, and that money stays exact."""

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
from autohedge.backtest.result import BacktestResult
from autohedge.backtest.strategy import Bar, Fill, Strategy
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL
from autohedge.errors import ConfigError

MINUTE_NS = 60_000_000_000
FLAT = (100.0, 100.0, 100.0, 100.0)


def with_(assumptions: Assumptions, **changed: Any) -> Assumptions:
    return Assumptions.of(**(assumptions.model_dump() | changed))


def total(fills: list[Fill]) -> Decimal:
    return sum((fill.side * fill.size for fill in fills), Decimal(0))


# --- when and at what price --------------------------------------------------------------------------------------------------


def test_a_market_order_pays_the_next_open_and_slippage(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """Nothing of the bar that it was decided on: not its close, not its low. Slippage is 0.08 … 0.12 % of 103, rounded up."""
    bars = bars_of([FLAT, (100, 105, 95, 102), (103, 104, 101, 102)])
    strategy = scripted({1: lambda s: s.buy(1)})
    run_bars(strategy, bars, plain)
    (fill,) = strategy.fills
    assert (fill.price, fill.size, fill.ts_ns) == (Decimal(103), Decimal(1), int(bars.ts_ns[2]))
    slipping = scripted({1: lambda s: s.buy(1), 2: lambda s: s.sell(1)})
    result = run_bars(slipping, bars, with_(plain, slippage_model="linear", slippage_floor_frac=0.001))
    assert Decimal("103.08") < slipping.fills[0].price <= Decimal("103.13")
    assert result.slippage == slipping.fills[0].price - 103
    assert not slipping.fills[0].is_maker


def test_what_is_sent_on_the_last_bar_never_trades(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    strategy = scripted({1: lambda s: s.buy(1), -1: lambda s: s.buy(1)})
    result = run_bars(strategy, bars_of([FLAT, FLAT]), plain)
    assert not strategy.fills
    assert result.counts["orders_open"] == 1
    assert strategy.rejections[0].reason == "no_market"
    assert result.final_equity == result.initial_equity


def test_a_limit_order_fills_when_a_later_bar_goes_through_it(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """The bar of the decision went far below; then a touch; then one tick through. The price is its own, not the low."""
    rows = [(100, 100, 90, 100), (100, 101, 99, 100), (100, 101, 98.99, 100), (100, 100, 90, 100)]
    strategy = scripted({0: lambda s: s.buy(1, 99)})
    bars = bars_of(rows)
    run_bars(strategy, bars, plain)
    (fill,) = strategy.fills
    assert (fill.price, fill.is_maker) == (Decimal(99), True)
    assert fill.ts_ns == bars.ts_ns[2] + MINUTE_NS  # when within the bar is not known; by its end it has


def test_a_resting_order_is_not_filled_better_than_its_price(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """A market that opens beyond our order has traded through it on its way."""
    strategy = scripted({0: lambda s: s.buy(1, 99)})
    run_bars(strategy, bars_of([FLAT, FLAT, (95, 96, 94, 95)]), plain)
    assert strategy.fills[0].price == 99


def test_a_limit_order_that_arrives_beyond_the_market_takes_at_the_open(
    bars_of: Any, scripted: Any, plain: Assumptions
) -> None:
    """It pays what the market asks and slippage, never more than its limit."""
    rows = [FLAT, (95, 96, 94, 95)]
    strategy = scripted({0: lambda s: s.buy(1, 99)})
    run_bars(strategy, bars_of(rows), plain)
    assert (strategy.fills[0].price, strategy.fills[0].is_maker) == (Decimal(95), False)
    capped = scripted({0: lambda s: s.buy(1, 95.01)})
    run_bars(capped, bars_of(rows), with_(plain, slippage_model="linear", slippage_floor_frac=0.1))
    assert capped.fills[0].price == Decimal("95.01")


def test_a_bar_through_both_sides_fills_only_the_worse(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """Bid 99, ask 101, a bar from 98 to 102: what closes high has sold us out, what closes low has filled our bid."""
    for close, side in ((101.5, SELL), (98.5, BUY)):
        strategy = scripted({0: lambda s: s.buy(2), 1: lambda s: (s.buy(1, 99), s.sell(1, 101))})
        run_bars(strategy, bars_of([FLAT, FLAT, (100, 102, 98, close)]), plain)
        assert [fill.side for fill in strategy.fills] == [BUY, side]


def test_better_prices_fill_first_and_share_the_volume(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """3 lots of volume in the bar: the better bid gets its 2, the other what is left; neither sees a volume twice."""
    strategy = scripted({0: lambda s: (s.buy("0.002", 98), s.buy("0.002", 99))})
    run_bars(strategy, bars_of([FLAT, (100, 100, 97, 100, 0.003)]), plain)
    assert [(fill.price, fill.size) for fill in strategy.fills] == [(99, Decimal("0.002")), (98, Decimal("0.001"))]


def test_a_latency_longer_than_a_bar_waits_for_it(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    bars = bars_of([FLAT, (101, 101, 101, 101), (102, 102, 102, 102), (103, 103, 103, 103)])
    strategy = scripted({0: lambda s: s.buy(1)})
    run_bars(strategy, bars, with_(plain, latency_ms=60_000))
    assert strategy.fills[0].price == 102


def test_at_the_close_means_the_close_of_the_decision(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """An explicit option, and the result says what it assumes. Limit orders wait for the next bar all the same."""
    strategy = scripted({0: lambda s: (s.buy(1), s.buy(1, 90))})
    result = run_bars(strategy, bars_of([(100, 105, 80, 102), FLAT]), with_(plain, fill_at="close"))
    (fill,) = strategy.fills
    assert (fill.price, fill.size) == (102, 1)
    assert any("closing auction" in note for note in result.notes)


# --- how much ----------------------------------------------------------------------------------------------------------------


def test_partial_fills_reach_the_position_and_the_rest_goes_on(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """A tenth of 10, of 4 and of 100: an order of 2 gets 1, 0.4 and the last 0.6; what is held follows each fill."""
    rows = [FLAT, (*FLAT, 10), (*FLAT, 4), (*FLAT, 100)]
    for price in (None, 101):
        strategy = scripted({0: lambda s, price=price: s.buy(2, price)})
        result = run_bars(strategy, bars_of(rows), with_(plain, participation_frac="0.1"))
        assert [fill.size for fill in strategy.fills] == [1, Decimal("0.4"), Decimal("0.6")]
        assert [fill.remaining for fill in strategy.fills] == [1, Decimal("0.6"), 0]
        assert {fill.price for fill in strategy.fills} == {100}
        assert [position.size for position in strategy.positions] == [1, Decimal("1.4"), 2]
        assert result.curve.base.tolist() == [0, 1, 1.4, 2]


def test_an_order_that_the_market_left_behind_rests(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """It took what it could at 100; above its limit it waits, and a bar through the limit fills it there."""
    rows = [FLAT, (*FLAT, 10), (105, 105, 105, 105, 10), (105, 105, 100, 105, 100)]
    strategy = scripted({0: lambda s: s.buy(2, 101)})
    run_bars(strategy, bars_of(rows), with_(plain, participation_frac="0.1"))
    assert [(fill.price, fill.size, fill.is_maker) for fill in strategy.fills] == [(100, 1, False), (101, 1, True)]


def test_a_resting_order_fills_in_parts_too(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    rows = [FLAT, (100, 100, 98, 100, 5), FLAT, (100, 100, 98, 100, 10)]
    strategy = scripted({0: lambda s: s.buy(1, 99)})
    run_bars(strategy, bars_of(rows), with_(plain, participation_frac="0.1"))
    assert [fill.size for fill in strategy.fills] == [Decimal("0.5"), Decimal("0.5")]
    assert total(strategy.fills) == strategy.position.size


def test_nothing_trades_in_a_halt(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """A bar without volume: neither at its open nor in its range, and orders outlive it."""
    rows = [FLAT, (100, 110, 90, 100, 0), (100, 100, 100, 100)]
    strategy = scripted({0: lambda s: (s.buy(1), s.buy(1, 95))})
    run_bars(strategy, bars_of(rows), plain)
    assert [(fill.price, fill.size) for fill in strategy.fills] == [(100, 1)]
    assert len(strategy.open_orders) == 1


# --- refusals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda s: s.buy(200), "insufficient_balance"),
        (lambda s: s.buy(200, 90), "insufficient_balance"),
        (lambda s: s.sell(1), "insufficient_balance"),
        (lambda s: s.sell(1, 110), "insufficient_balance"),
        (lambda s: s.buy("0.0001"), "invalid_order"),
        (lambda s: s.buy(2_000_000), "max_qty"),
        (lambda s: s.buy("0.01"), "min_notional"),
        (lambda s: s.buy(1, 101, post_only=True), "post_only_would_cross"),
        (lambda s: s.buy(1, post_only=True), "invalid_order"),
        (lambda s: s.buy(1, 0.001), "invalid_order"),
        (lambda s: (s.buy(1, 99), s.sell(1, 98)), "self_trade"),
    ],
)
def test_an_order_that_cannot_be_is_rejected_with_its_reason(
    instrument: Instrument, bars_of: Any, scripted: Any, plain: Assumptions, act: Callable[[Strategy], Any], reason: str
) -> None:
    """It has no other effect: no position, no money set aside."""
    strict = replace(instrument, min_notional=Decimal(5), max_qty=Decimal(1_000))
    bars = bars_of([FLAT, (100, 100.5, 99.5, 100), FLAT], strict)
    strategy = scripted({0: act})
    result = run_bars(strategy, bars, plain)
    assert [each.reason for each in strategy.rejections] == [reason]
    assert strategy.rejections[0].detail
    assert result.counts["orders_rejected"] == 1
    assert not strategy.fills


def test_a_short_sale_is_refused_and_never_becomes_a_long(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """Half of what is sold is held: the whole order is refused."""
    strategy = scripted({0: lambda s: s.buy(1), 1: lambda s: s.sell(2)})
    run_bars(strategy, bars_of([FLAT] * 4), plain)
    assert strategy.position.size == 1
    assert [each.reason for each in strategy.rejections] == ["insufficient_balance"]


def test_the_rest_of_an_order_ends_when_the_cash_does(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """90 at 100 can be paid when it is sent; after the price has risen only the first part has been."""
    rows = [FLAT, (*FLAT, 50), (400, 400, 400, 400, 50)]
    strategy = scripted({0: lambda s: s.buy(90)})
    run_bars(strategy, bars_of(rows), with_(plain, participation_frac="0.5"))
    assert total(strategy.fills) == 25
    assert strategy.cancellations[0].remaining == 65
    assert strategy.cancellations[0].reason == "insufficient_balance"


@pytest.mark.parametrize("size", [0, -1, float("nan"), "many", None, True])
def test_a_size_that_is_none_is_the_callers_mistake(bars_of: Any, scripted: Any, plain: Assumptions, size: Any) -> None:
    with pytest.raises(ConfigError, match="a size above 0"):
        run_bars(scripted({0: lambda s: s.buy(size)}), bars_of([FLAT]), plain)


def test_a_cancel_takes_what_is_left_and_frees_its_money(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    placed: list[Any] = []
    script = {
        0: lambda s: placed.append(s.buy(60, 99)),
        1: lambda s: s.cancel(placed[0]),
        2: lambda s: (s.cancel(placed[0]), s.buy(60, 99)),
    }
    strategy = scripted(script)
    result = run_bars(strategy, bars_of([FLAT] * 5), plain)
    assert [each.remaining for each in strategy.cancellations] == [60]
    assert [(each.request, each.reason) for each in strategy.rejections] == [("cancel", "not_open")]
    assert len(strategy.open_orders) == 1
    assert (result.counts["orders_cancelled"], result.counts["cancels_rejected"]) == (1, 1)


def test_a_lost_request_is_told_and_has_no_effect(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """Every order ends in a fill or in a rejection that says why; as many are lost as asked for."""
    strategy = scripted(dict.fromkeys(range(2_000), lambda s: s.buy("0.001")))
    result = run_bars(strategy, bars_of([FLAT] * 2_001), with_(plain, api_failure_frac=0.1))
    lost = [each for each in strategy.rejections if each.reason == "api_failure"]
    assert len(lost) + len(strategy.fills) == 2_000
    assert result.counts["api_failures"] == len(lost)
    assert 150 < len(lost) < 250
    again = scripted(dict.fromkeys(range(2_000), lambda s: s.buy("0.001")))
    run_bars(again, bars_of([FLAT] * 2_001), with_(plain, api_failure_frac=0.1, seed=1))
    assert again.rejections != strategy.rejections


# --- what a strategy sees ----------------------------------------------------------------------------------------------------


class Curious(Strategy):
    """Looks at everything it can reach on every bar, and trades on it."""

    def on_start(self) -> None:
        self.seen: list[Any] = []

    def on_bar(self, bar: Bar) -> None:
        past = self.history(5)
        assert past.close[-1] == bar.close and len(past.close) <= 5
        assert all(column.base is None for column in past), "a view leads to the whole column"
        self.seen.append((bar, *(column.tolist() for column in past), self.equity, self.position, self.cash, self.now_ns))
        if len(self.seen) % 3 == 0:
            self.buy(1, bar.close * 0.999)
        elif self.position:
            self.sell(self.position.size)

    def on_order_filled(self, fill: Fill) -> None:
        self.seen.append((fill, self.equity, self.history(3).close.tolist(), self.now_ns))


def test_a_future_price_that_was_planted_is_seen_by_nobody(walk: Callable[..., Bars]) -> None:
    """Two markets alike up to the open of a bar at which something is filled: until then all that was seen, sent and filled is
    alike, and what is told of that fill at that open too."""
    bars, one, other = walk(120), Curious(), Curious()
    results = [run_bars(one, bars, Assumptions())]
    at_an_open = np.isin(results[0].fills.ts_ns, bars.ts_ns[60:]) & ~results[0].fills.is_maker
    opened_ns = results[0].fills.ts_ns[at_an_open][0]
    row = int(np.searchsorted(bars.ts_ns, opened_ns))
    columns = {name: getattr(bars, name).copy() for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks")}
    for name, column in columns.items():
        column[row + 1 if name in {"open_ticks", "low_ticks"} else row :] *= 7
    results.append(run_bars(other, replace(bars, **columns), Assumptions()))

    until = next(at for at, each in enumerate(one.seen) if isinstance(each[0], Bar) and each[0].ts_ns == opened_ns)
    assert isinstance(one.seen[until - 1][0], Fill) and not one.seen[until - 1][0].is_maker
    assert one.seen[:until] == other.seen[:until]
    assert one.seen[until] != other.seen[until]
    counted = [int(np.searchsorted(result.fills.ts_ns, opened_ns, side="right")) for result in results]
    assert counted[0] == counted[1] > 5
    for name in results[0].fills._fields:
        columns_of = [getattr(result.fills, name)[: counted[0]].tolist() for result in results]
        assert columns_of[0] == columns_of[1], name


def test_calls_come_in_their_order(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    """A fill is told before the bar that it happened in, because the bar is told when it has ended."""
    strategy = scripted({0: lambda s: s.buy(1)})
    run_bars(strategy, bars_of([FLAT, FLAT]), plain)
    assert strategy.told == ["start", "bar", "fill", "position", "bar", "stop"]
    position = strategy.positions[0]
    assert bool(position) and (position.size, position.average_price) == (1, 100)


def test_working_orders_are_seen_from_the_moment_they_are_sent(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    strategy = scripted({0: lambda s: (s.buy(1, 90, reason="low"), told.append(s.open_orders), told.append(s.cash))})
    told: list[Any] = []
    run_bars(strategy, bars_of([FLAT, FLAT]), plain)
    assert [(order.price, order.size, order.filled, order.reason) for order in told[0]] == [(90, 1, 0, "low")]
    assert told[1] == 10_000
    assert strategy.broker.available_cash == 10_000 - 90


def test_before_the_first_bar_nothing_is_known(bars_of: Any, plain: Assumptions) -> None:
    class Early(Strategy):
        def on_start(self) -> None:
            self.known = (len(self.history(10).close), self.equity, bool(self.position), self.now_ns)
            self.buy(1)

    strategy = Early()
    bars = bars_of([(100, 101, 99, 100), FLAT])
    result = run_bars(strategy, bars, plain)
    assert strategy.known == (0, 10_000, False, bars.ts_ns[0])
    assert result.fills.price.tolist() == [100]


def test_a_strategy_object_runs_once(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    strategy = scripted({})
    run_bars(strategy, bars_of([FLAT]), plain)
    with pytest.raises(ConfigError, match="run before"):
        run_bars(strategy, bars_of([FLAT]), plain)
    with pytest.raises(ConfigError, match="not running"):
        scripted({}).buy(1)


def test_progress_is_told_up_to_the_last_bar(walk: Callable[..., Bars], scripted: Any) -> None:
    done: list[int] = []
    run_bars(scripted({}), walk(70_000), on_progress=done.append)
    assert done == [65_536, 70_000]


# --- money -------------------------------------------------------------------------------------------------------------------


def maker(bars: Bars, assumptions: Assumptions) -> BacktestResult:
    """Quotes both sides around each close, as wide as half of what the bar moved."""

    class Maker(Strategy):
        def on_bar(self, bar: Bar) -> None:
            for order in self.open_orders:
                self.cancel(order.order_id)
            self.buy(1, bar.close * 0.999)
            if self.position:
                self.sell(min(self.position.size, Decimal(1)), bar.close * 1.001)

    return run_bars(Maker(), bars, assumptions)


def test_an_adverse_path_loses_and_another_path_does_not_come_to_the_same(bars_of: Any) -> None:
    """The known fallacy: both sides fill on every bar, so that every path earns the spread. Here falling prices cost."""
    still = [(100.0, 100.3, 99.7, 100.0)] * 200
    falling = [(100 - 0.1 * i, 100.3 - 0.1 * i, 99.6 - 0.1 * i, 99.9 - 0.1 * i) for i in range(200)]
    results = [maker(bars_of(rows), Assumptions.of(api_failure_frac=0)) for rows in (still, falling)]
    assert results[1].final_equity < results[1].initial_equity - 500
    assert results[1].final_equity < results[0].final_equity
    assert len(results[0].fills.side) <= 200, "at most one side a bar"


class Random(Strategy):
    """Market and limit orders of both sides at random, and cancels."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = np.random.default_rng(seed)

    def on_bar(self, bar: Bar) -> None:
        size = round(float(self.chance.uniform(0.001, 30)), 3)
        away = float(self.chance.uniform(-0.002, 0.004))
        match self.chance.integers(0, 6):
            case 0:
                self.buy(size)
            case 1:
                self.sell(size)
            case 2:
                self.buy(size, bar.close * (1 - away))
            case 3:
                self.sell(size, bar.close * (1 + away))
            case 4 if self.open_orders:
                self.cancel(self.open_orders[0].order_id)


@given(seed=st.integers(0, 10_000), fee=st.sampled_from(["0", "0.0007", "0.001", "0.0033"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_atom_is_accounted_for(walk: Callable[..., Bars], seed: int, fee: str) -> None:
    """Equity at the end = the opening cash + realised + unrealised − fees, exactly; so do the fills, one by one."""
    bars = walk(150, seed, step=0.004)
    strategy = Random(seed)
    result = run_bars(strategy, bars, Assumptions.of(commission_frac=fee, participation_frac="0.3", seed=seed))
    instrument, position = bars.instrument, strategy.position
    value = position.size * instrument.price(int(bars.close_ticks[-1]))
    unrealized = value - instrument.quote_amount(strategy.broker.inventory.cost_atoms)  # type: ignore[attr-defined]
    assert result.final_equity == result.initial_equity + position.realized_quote + unrealized - position.fees_quote
    assert result.fees == position.fees_quote
    assert result.final_equity == strategy.cash + value
    fills = result.fills
    moved = [(price, size * side) for price, size, side in zip(fills.price, fills.size_base, fills.side, strict=True)]
    exact = [(Decimal(repr(float(price))), Decimal(repr(float(size)))) for price, size in moved]
    assert strategy.cash == result.initial_equity - sum((price * size for price, size in exact), Decimal(0)) - result.fees
    assert position.size == sum((size for _, size in exact), Decimal(0))
    assert result.volume == sum((price * abs(size) for price, size in exact), Decimal(0))
    assert result.curve.equity_quote[-1] == float(result.final_equity)
    assert np.all(result.curve.base >= 0)


def test_a_fee_is_paid_once_and_is_no_part_of_the_cost(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    strategy = scripted({0: lambda s: s.buy(1), 1: lambda s: s.sell(1)})
    rows = [FLAT, FLAT, (110, 110, 110, 110)]
    result = run_bars(strategy, bars_of(rows), with_(plain, commission_frac="0.001"))
    assert strategy.positions[0].average_price == 100
    assert strategy.positions[1].realized_quote == 10
    assert result.fees == Decimal("0.21")
    assert result.final_equity == 10_000 + 10 - Decimal("0.21")


def test_the_curve_has_a_row_per_bar_as_of_its_close(bars_of: Any, scripted: Any, plain: Assumptions) -> None:
    strategy = scripted({0: lambda s: s.buy(10), 2: lambda s: s.sell(10)})
    bars = bars_of([FLAT, (101, 103, 101, 102), (102, 105, 102, 104), (104, 104, 103, 103)])
    result = run_bars(strategy, bars, with_(plain, trading_days_per_year=252))
    assert result.curve.ts_ns.tolist() == (bars.ts_ns + MINUTE_NS).tolist()
    assert result.curve.equity_quote.tolist() == [10_000, 10_010, 10_030, 10_030]
    assert result.curve.base.tolist() == [0, 10, 10, 0]
    assert result.curve.price.tolist() == [100, 102, 104, 103]
    assert result.fills.mid.tolist() == [100, 104]
    assert result.trading_days_per_year == 252
    assert (result.engine, result.strategy, result.data["rows"]) == ("bars", "Scripted", 4)


def test_the_same_seed_is_the_same_run(walk: Callable[..., Bars]) -> None:
    bars = walk(400)
    one, two, other = (run_bars(Random(5), bars, Assumptions.of(seed=seed, api_failure_frac=0.05)) for seed in (1, 1, 2))
    assert one.fills.price.tolist() == two.fills.price.tolist()
    assert one.final_equity == two.final_equity != other.final_equity
    assert one.settings == two.settings


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"comission_frac": 0}, "comission_frac"),
        ({"latency_ms": 0}, "latency_ms"),
        ({"slippage_model": "cubic"}, "slippage_model"),
        ({"participation_frac": "0.00001"}, "participation_frac"),
        ({"api_failure_frac": float("nan")}, "api_failure_frac"),
        ({"seed": True}, "seed"),
    ],
)
def test_an_assumption_that_makes_no_sense_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"assumptions: {told}.*found"):
        Assumptions.of(**wrong)
