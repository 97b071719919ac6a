"""The maker's figures: mark-outs, the split of the profit that adds up, its groups and hours, orders and quotes."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.backtest.definitions import DEFINITIONS, SECTIONS
from autohedge.backtest.fill_split import mark_out, mark_outs_bps, price_at, price_step_s
from autohedge.backtest.metrics import measure
from autohedge.backtest.result import Mids
from autohedge.domain.ids import ClientOrderId, TradeId
from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import Liquidity, OrderFilled
from autohedge.market.instruments import simulated_instrument
from autohedge.portfolio.attribution import Attribution

cents = st.integers(9_000, 11_000).map(lambda value: f"{value / 100:.2f}")
moments = st.integers(1, 20_000).map(lambda value: value / 100)


@st.composite
def markets(draw: Any) -> tuple[list[tuple[float, str]], list[tuple[float, int, str, str, str, bool]]]:
    """Prices at any moment of 200 s, and fills anywhere between them, some before any mid was known."""
    times = sorted({0.0, *draw(st.lists(moments, max_size=15))})
    ticks = [(at, draw(cents)) for at in times]
    fill = st.tuples(
        moments, st.sampled_from([1, -1]), cents, st.sampled_from(["0.1", "0.5", "2"]), st.sampled_from(["0", "0.07"])
    )
    return ticks, [(*row, draw(st.booleans())) for row in draw(st.lists(fill, max_size=12))]


def _result(make: Any, market: Any, base: str = "0", end_s: float = 201.0) -> Any:
    ticks, rows = market

    def mid(at: float) -> str:
        return next(price for when, price in reversed(ticks) if when <= at)

    fills = [make.fill(at, side, price, size, fee, mid(at) if known else None) for at, side, price, size, fee, known in rows]
    return make.traded(fills, ticks, end_s=end_s, base=base)


@settings(deadline=None)
@given(market=markets(), base=st.sampled_from(["0", "3"]))
def test_the_parts_of_the_profit_add_up(make: Any, market: Any, base: str) -> None:
    """Spread + adverse selection + inventory − fees is the PnL exactly, and fills and prices explain the inventory to 1e-7."""
    found = measure(_result(make, market, base)).pnl
    parts = found.spread_captured_quote + found.adverse_selection_quote + found.inventory_quote - found.fees_quote
    assert parts == found.total_quote == found.final_equity_quote - found.initial_equity_quote
    assert found.unexplained_quote == pytest.approx(0.0, abs=1e-7)


@settings(deadline=None)
@given(market=markets())
def test_sides_add_up_to_the_whole(make: Any, market: Any) -> None:
    """Each way of splitting the fills gives every sum again; nothing belongs to two groups or to none."""
    metrics = measure(_result(make, market))
    total = float(metrics.pnl.total_quote)
    for rows in (
        [row for row in metrics.by_group if row.group in {"buy", "sell"}],
        [row for row in metrics.by_group if row.group in {"maker", "taker"}],
    ):
        assert sum(row.fills for row in rows) == metrics.making.fills
        assert sum(row.net_quote for row in rows) == pytest.approx(total, abs=1e-7)
        assert sum(row.spread_captured_quote for row in rows) == pytest.approx(
            float(metrics.pnl.spread_captured_quote), abs=1e-7
        )
        assert sum(row.fees_quote for row in rows) == pytest.approx(float(metrics.pnl.fees_quote), abs=1e-9)


@settings(deadline=None)
@given(market=markets(), base=st.sampled_from(["0", "3"]), stretch=st.sampled_from([1, 97, 1_000]))
def test_hours_add_up_to_the_whole(make: Any, market: Any, base: str, stretch: int) -> None:
    """Over minutes, hours or days, with or without base at the start: every sum of the hours is that of the run."""
    ticks, rows = market
    slow = [(at * stretch, price) for at, price in ticks], [(row[0] * stretch, *row[1:]) for row in rows]
    metrics = measure(_result(make, slow, base, end_s=201.0 * stretch))
    hours = metrics.by_hour
    assert len({row.group for row in hours}) == len(hours)
    assert sum(row.fills for row in hours) == metrics.making.fills
    assert sum(row.net_quote for row in hours) == pytest.approx(float(metrics.pnl.total_quote), abs=1e-6)
    assert sum(row.inventory_quote for row in hours) == pytest.approx(float(metrics.pnl.inventory_quote), abs=1e-6)


def test_an_hour_has_what_the_position_earned_in_it(make: Any) -> None:
    """Bought at 00:30 at 100, 103 at 01:00, 101 at 02:00 and to the end: +3, −2, nothing, although there was one fill."""
    fills = [make.fill(1_800.0, +1, "100", "1", mid="100")]
    ticks = [(0.0, "100"), (3_599.99, "103"), (7_199.99, "101"), (9_000.0, "101")]
    hours = {row.group: row for row in measure(make.traded(fills, ticks, end_s=10_000.0)).by_hour}
    assert {group: row.inventory_quote for group, row in hours.items()} == {"00": 3.0, "01": -2.0}
    assert (hours["00"].fills, hours["01"].fills) == (1, 0)


def test_the_split_by_hand(make: Any) -> None:
    """A bid filled 0.1 below the mid, which falls by 0.3 within a second and another 0.5 until the end."""
    fills = [make.fill(10.0, +1, "99.9", "2", "0.04", "100")]
    result = make.traded(fills, [(0.0, "100"), (10.5, "99.7"), (20.0, "99.2")], end_s=100.0)
    found = measure(result).pnl
    assert found.horizon_s == 1
    assert found.spread_captured_quote == Decimal("0.2")
    assert found.adverse_selection_quote == Decimal("-0.6")
    assert found.inventory_quote == Decimal("-1.0")
    assert found.fees_quote == Decimal("0.04")
    assert found.total_quote == Decimal("-1.44")


def test_an_adverse_path_costs_the_maker_money(make: Any) -> None:
    """The same quotes filled before a fall lose and before a rise earn: the path matters."""

    def profit(after: str) -> Decimal:
        fills = [make.fill(10.0, +1, "99.9", "2", "0.04", "100")]
        return measure(make.traded(fills, [(0.0, "100"), (10.5, after)], end_s=100.0)).pnl.total_quote

    assert profit("99") < 0 < profit("101")


def test_mark_outs_by_hand(make: Any) -> None:
    """Buy at 100, mid 101 after 1 s and 99 after 5 s; sell twice the size at 100: the other sign, and twice the weight."""
    ticks = [(0.0, "100"), (10.5, "101"), (14.01, "99")]
    fills = [make.fill(10.0, +1, "100", "1", mid="100"), make.fill(10.0, -1, "100", "2", mid="100")]
    rows = {(row.group, row.horizon_s): row for row in measure(make.traded(fills, ticks, end_s=200.0)).mark_outs}
    assert rows["buy", 1].weighted_bps == pytest.approx(100.0)
    assert rows["sell", 1].weighted_bps == pytest.approx(-100.0)
    assert rows["buy", 5].weighted_bps == pytest.approx(-100.0)
    assert rows["all", 1].equal_bps == pytest.approx(0.0)
    assert rows["all", 1].weighted_bps == pytest.approx(-100.0 / 3)
    assert rows["all", 1].equal_error_bps == pytest.approx(100.0)  # √2 × 100 ÷ √2
    assert rows["buy", 1].equal_error_bps is None
    assert {horizon for _, horizon in rows} == {1, 5, 30, 60}


def test_a_change_at_the_very_horizon_counts(make: Any) -> None:
    """The price holds from its row on: a new mid exactly 1 s after the fill is the mid 1 s after the fill."""
    result = make.traded([make.fill(10.0, +1, "100", "1", mid="100")], [(0.0, "100"), (11.0, "102"), (11.5, "50")], end_s=30.0)
    assert mark_outs_bps(result, 1).tolist() == pytest.approx([200.0])


def test_fills_without_a_later_mid_are_not_counted_and_said(make: Any) -> None:
    """A fill 20 s before the end has no mark-out at 30 s; it is not taken as 0."""
    fills = [make.fill(10.0, +1, "100", "1", mid="100"), make.fill(80.0, +1, "100", "1", mid="100")]
    result = make.traded(fills, [(0.0, "100"), (10.5, "101")], end_s=100.0)
    row = next(row for row in measure(result).mark_outs if (row.group, row.horizon_s) == ("all", 30))
    assert (row.fills, row.unmeasured) == (1, 1)
    assert row.equal_bps == pytest.approx(100.0)


def test_minute_bars_have_no_mark_out_after_a_second(make: Any) -> None:
    """Where prices come once a minute the last close is not the price a second later; the reason is given."""
    ticks = [(60.0 * i, f"{100 + i % 3}") for i in range(20)]
    fills = [make.fill(60.0, +1, "100", "1", mid="101"), make.fill(240.0, -1, "102", "1", mid="101")]
    metrics = measure(make.traded(fills, ticks, end_s=1_200.0))
    assert {row.horizon_s for row in metrics.mark_outs} == {60}
    assert metrics.pnl.horizon_s == 60
    assert "a price every 60 s" in metrics.undefined["mark_outs"]
    hours = [(3_600.0 * i, f"{100 + i % 3}") for i in range(9)]
    coarse = measure(make.traded(fills, hours, end_s=9 * 3_600.0))
    assert coarse.mark_outs == ()
    assert coarse.pnl.horizon_s is None
    assert coarse.pnl.adverse_selection_quote == 0
    assert coarse.undefined["pnl.horizon_s"]


def test_quiet_prices_are_not_taken_for_bars(make: Any) -> None:
    """A mid that changes every minute or so at odd moments is known at every moment: its 1 s mark-out is measured."""
    ticks = [(0.0, "100"), (61.37, "101"), (140.002, "102")]
    result = make.traded([make.fill(61.0, +1, "100", "1", mid="100")], ticks, end_s=300.0)
    assert price_step_s(result.mids) < 0.01
    assert {row.horizon_s for row in measure(result).mark_outs} == {1, 5, 30, 60}


def test_the_mid_of_a_time_is_the_last_one_before(make: Any) -> None:
    """NaN before the first price, the price itself at its time, and the last one ever after."""
    mids = Mids(np.array([10, 20], dtype=np.int64), np.array([1.0, 2.0]))
    found = price_at(mids, np.array([9, 10, 19, 20, 99], dtype=np.int64))
    assert math.isnan(found[0])
    assert found[1:].tolist() == [1, 1, 2, 2]
    empty = Mids(np.empty(0, np.int64), np.empty(0))
    assert np.isnan(price_at(empty, np.array([5], dtype=np.int64))).all()


def test_standard_errors_cover_the_truth(make: Any) -> None:
    """Of 400 samples with a true mean of 1 bp, about 95 % lie within 1.96 errors, weighted or not."""
    draws = np.random.default_rng(3)
    inside = {"weighted": 0, "equal": 0}
    for _ in range(400):
        x, weights = draws.normal(1.0, 5.0, 200), draws.uniform(0.5, 2.0, 200)
        row = mark_out("all", 1, x, weights)
        inside["weighted"] += abs(row.weighted_bps - 1.0) < 1.96 * row.weighted_error_bps
        inside["equal"] += abs(row.equal_bps - 1.0) < 1.96 * row.equal_error_bps
    assert all(0.92 <= count / 400 <= 0.98 for count in inside.values()), inside


def test_orders_quotes_and_the_spread_by_hand(make: Any) -> None:
    """20 placed, 15 cancelled, 1 rejected, 2 denied; 5 fills of 5 orders on 501.05 of volume, 0.5 captured."""
    found = measure(make.sample()).making
    assert found.fill_ratio_frac == 5 / 20
    assert found.order_to_trade == (20 + 15) / 5
    assert found.order_success_frac == pytest.approx(19 / 22)
    assert (found.bid_uptime_frac, found.ask_uptime_frac) == (0.9, 0.8)
    assert found.spread_captured_bps == pytest.approx(0.5 / 501.05 * 10_000)
    assert found.fills_per_hour == pytest.approx(5 / (4_000 / 3_600))


def test_a_run_without_fills_says_why_there_are_no_figures(make: Any) -> None:
    """Nothing traded: every quotient is None with its reason, and totals are 0."""
    metrics = measure(make.traded([], [(0.0, "100")], end_s=100.0, counts={"orders_placed": 4}))
    assert metrics.mark_outs == metrics.by_group == metrics.by_hour == ()
    assert metrics.making.fill_ratio_frac == 0.0
    assert metrics.making.order_to_trade is None
    assert metrics.pnl.total_quote == 0
    assert metrics.costs.fees_bps is None
    assert metrics.undefined["costs.fees_bps"] == "nothing was traded"
    assert metrics.undefined["making.bid_uptime_frac"] == "the strategy does not quote"
    uncounted = measure(make.traded([], [(0.0, "100")], end_s=100.0, counts={}))
    assert uncounted.making.fill_ratio_frac is None


def test_a_result_without_a_single_row_can_be_measured(make: Any) -> None:
    """No curve, no price, no time: figures are None, and nothing fails."""
    whole = make.traded([], [(0.0, "100")], end_s=0.0)
    parts = {name: getattr(whole, name) for name in type(whole).__dataclass_fields__}
    empty = {"curve": type(whole.curve)(*(column[:0] for column in whole.curve))}
    empty["mids"] = type(whole.mids)(*(column[:0] for column in whole.mids))
    metrics = measure(type(whole)(**(parts | empty)))
    assert metrics.exposure.time_frac is None
    for name, value in metrics.flat().items():
        assert value is not None or metrics.undefined[name], name


def test_every_figure_has_a_definition_and_every_definition_a_figure(make: Any) -> None:
    """Table, page and command line know the name, unit and meaning of all there is, and of nothing else."""
    names = set(measure(make.sample()).flat())
    assert names == set(DEFINITIONS)
    assert {name.partition(".")[0] for name in names} == set(SECTIONS)


@settings(deadline=None)
@given(market=markets())
def test_the_split_is_that_of_the_report_of_a_live_session(make: Any, market: Any) -> None:
    """Spread captured, adverse selection after 1 s and mark-outs equal those that the live engine keeps in exact integers."""
    result = _result(make, ([(at, price) for at, price in market[0]], [(*row[:5], True) for row in market[1]]))
    rules = simulated_instrument("BTC/USDT")
    live = Attribution(rules)
    prices, fills = result.mids, result.fills
    events = [(int(ts), 0, row) for row, ts in enumerate(prices.ts_ns)] + [
        (int(ts), 1, row) for row, ts in enumerate(fills.ts_ns)
    ]
    mid = 0
    for ts, is_fill, row in sorted(events):
        live.settle(ts - 1, mid)  # what is due at a change of the mid is marked at the new one, as in a backtest
        if is_fill:
            price, size = (Decimal(repr(float(column[row]))) for column in (fills.price, fills.size_base))
            live.fill(_filled(ts, int(fills.side[row]), rules.ticks(price), rules.lots(size)), mid)
        else:
            mid = 2 * rules.ticks(Decimal(repr(float(prices.mid[row]))))
    live.settle(result.end_ns, mid)
    measured = {row.horizon_s: row for row in measure(result).mark_outs if row.group == "all"}
    for horizon, outs in live.mark_outs.items():
        if horizon in measured and outs.count:
            assert measured[horizon].fills == outs.count
            assert measured[horizon].weighted_bps == pytest.approx(outs.mean_bps, abs=1e-6)
    live.close(mid)
    split = measure(result).pnl
    if split.horizon_s == 1:
        assert split.spread_captured_quote == pytest.approx(rules.quote_amount(live.spread_half_atoms) / 2, abs=Decimal("1e-7"))
        assert split.adverse_selection_quote == pytest.approx(
            rules.quote_amount(live.adverse_half_atoms) / 2, abs=Decimal("1e-7")
        )


def _filled(ts_ns: int, side: int, ticks: int, lots: int) -> OrderFilled:
    return OrderFilled(
        ts_ns=ts_ns,
        client_order_id=ClientOrderId("o"),
        trade_id=TradeId("t"),
        side=BUY if side > 0 else SELL,
        price_ticks=ticks,
        size_lots=lots,
        liquidity=Liquidity.MAKER,
        fee_asset="USDT",
        fee_atoms=0,
    )
