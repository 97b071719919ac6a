"""The maker on bars: it quotes what it knew at the close, fills by the next bar's rules, and loses when it is run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bar_engine import BarRun, run_bars
from autohedge.backtest.bars import Bars
from autohedge.backtest.maker_on_bars import MakerOnBars, smallest_order_problem
from autohedge.backtest.result import BacktestResult
from autohedge.domain.ids import CycleId
from autohedge.domain.instrument import Instrument
from autohedge.domain.mandate import MandateProposal, Regime, RiskLevel
from autohedge.domain.records import CycleOutcome, DecisionSource
from autohedge.errors import ConfigError
from autohedge.market.stocks import stock_instrument
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.quoting import confidence_of

BarsOf = Callable[..., Bars]

MINUTE_NS = 60_000_000_000
STATELESS = [HealthCheck.function_scoped_fixture]
"""The fixtures are functions that remember nothing."""
TEN_BPS: dict[str, Any] = {
    "quoting_model": "fixed_spread",
    "spread_percentage": "0.002",
    "min_profit_threshold": "none",
    "size_by_confidence": False,
    "skew_factor": 0,
    "maker_fee_bps": 0,
    "taker_fee_bps": 0,
    "refresh_tolerance_bps": 0,
}
"""Ten basis points on either side of the close, 100 quote an order, no skew: what is left is the rule under test."""


def maker(**changed: Any) -> MakerOnBars:
    return MakerOnBars(maker=TEN_BPS | changed)


def fills(result: BacktestResult) -> list[tuple[int, float, float]]:
    """(side, price, size) of each."""
    rows = zip(result.fills.side, result.fills.price, result.fills.size_base, strict=True)
    return [(int(side), float(price), float(size)) for side, price, size in rows]


# --- what is quoted, and when it fills -------------------------------------------------------------------------------------


def test_it_quotes_around_the_close_and_a_later_bar_must_go_through(bars_of: BarsOf, plain: Assumptions) -> None:
    """Its own bar never fills a quote, nor does a touch; a tick further does."""
    first = (100.0, 101.0, 99.0, 100.0)
    touched = run_bars(quoting := maker(), bars_of([first, (100.0, 100.05, 99.90, 100.0)]), plain)
    assert fills(touched) == []
    assert quoting.quotes().bid[0] == 99.90
    assert np.isnan(quoting.quotes().ask[0]), "it holds nothing that it could offer"
    through = run_bars(maker(), bars_of([first, (100.0, 100.05, 99.89, 100.0)]), plain)
    assert fills(through) == [(1, 99.90, pytest.approx(1.001))]
    assert through.fills.is_maker.all()


def test_of_two_sides_that_one_bar_went_through_the_worse_one_fills(bars_of: BarsOf, plain: Assumptions) -> None:
    """After a first purchase it quotes both; a wide bar fills the bid if it closes low and the ask if it closes high."""
    begin = [(100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 99.5, 100.0)]
    low = run_bars(maker(), bars_of([*begin, (100.0, 101.0, 99.0, 99.0)]), plain)
    high = run_bars(maker(), bars_of([*begin, (100.0, 101.0, 99.0, 101.0)]), plain)
    assert [side for side, _, _ in fills(low)] == [1, 1]
    assert [(side, price) for side, price, _ in fills(high)] == [(1, 99.90), (-1, 100.10)]


def test_a_quote_that_the_open_has_overtaken_is_rejected_and_not_filled_at_a_gift(bars_of: BarsOf, plain: Assumptions) -> None:
    result = run_bars(maker(), bars_of([(100.0, 100.0, 100.0, 100.0), (99.0, 99.0, 98.0, 98.5)]), plain)
    assert fills(result) == []
    assert result.counts["orders_rejected"] == 1


def test_a_quote_gets_a_share_of_the_volume_and_rests_on(bars_of: BarsOf) -> None:
    rules = Assumptions.of(commission_frac=0, slippage_model="none", api_failure_frac=0, participation_frac="0.1")
    low = (100.0, 100.0, 99.5, 100.0, 4.0)
    result = run_bars(maker(), bars_of([(100.0, 100.0, 100.0, 100.0), low, low, low]), rules)
    assert [size for _, _, size in fills(result)] == pytest.approx([0.4, 0.4, 0.201])
    assert len(set(result.fills.order.tolist())) == 1, "one order, filled in parts"


def test_a_replacement_takes_the_place_of_its_order_at_the_same_open(bars_of: BarsOf, plain: Assumptions) -> None:
    """All that is held is offered anew at every close, though the old offer still holds it when the new one is decided on."""
    rising = [(100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 99.5, 99.95)]
    close = 99.95
    for _ in range(6):
        rising.append((close, close + 0.05, close - 0.02, close + 0.03))
        close = round(close + 0.03, 2)
    quoting = maker(max_inventory_exposure="0.01")
    result = run_bars(quoting, bars_of(rising), plain)
    assert [side for side, _, _ in fills(result)] == [1]
    asks = quoting.quotes().ask
    assert not np.isnan(asks[1:]).any() and len(asks) == 8
    assert result.counts["orders_cancelled"] == 5, "the last one is on its way when the market is over"
    assert quoting.uptime_frac() == {"bid": 1 / 8, "ask": 6 / 8}


def test_an_unknown_depth_and_volatility_take_from_the_size(bars_of: BarsOf, plain: Assumptions) -> None:
    """Depth counts as 0, σ as 0 confidence until ten changes are known: (0 + 0 + 0.7) ÷ 3 at medium risk."""
    low = (100.0, 100.0, 99.5, 100.0)
    result = run_bars(maker(size_by_confidence=True), bars_of([(100.0, 100.0, 100.0, 100.0), low]), plain)
    factor = 0.5 + 0.5 * confidence_of(0.0, -1.0, 0.7)
    assert fills(result)[0][2] == pytest.approx(1.001 * factor, abs=0.001)


def test_an_unknown_volatility_quotes_at_the_widest(bars_of: BarsOf, plain: Assumptions) -> None:
    """Ten changes of the close are needed; a market that stands still is then known to be calm."""
    quoting = maker(quoting_model="order_book", max_spread_bps=40)
    run_bars(quoting, bars_of([(100.0, 100.0, 100.0, 100.0)] * 13), plain)
    quotes = quoting.quotes()
    assert quotes.bid.tolist() == [99.80, 99.90]
    assert (quotes.ts_ns[1] - quotes.ts_ns[0]) // MINUTE_NS == 10


def test_a_rebalance_crosses_at_the_next_open_once_the_quotes_are_away(bars_of: BarsOf, plain: Assumptions) -> None:
    """Beyond the threshold: every quote is cancelled and all that is held is sold, at the price of an open."""
    path = [(100.0, 100.0, 100.0, 100.0), *[(100.0, 100.0, 99.5, 100.0)] * 3, (100.02, 100.02, 100.0, 100.0)]
    result = run_bars(maker(rebalance=True, rebalance_threshold="0.025"), bars_of(path), plain)
    assert [side for side, _, _ in fills(result)] == [1, 1, 1, -1]
    assert fills(result)[-1][1] == 100.02
    assert result.curve.base[-1] == 0.0


# --- what limits it --------------------------------------------------------------------------------------------------------


def test_the_cap_holds_on_a_market_that_only_falls(bars_of: BarsOf, plain: Assumptions) -> None:
    closes = [100.0 - i / 4 for i in range(60)]
    path = [(before, before, after - 0.05, after) for before, after in zip([100.0, *closes], closes, strict=False)]
    result = run_bars(maker(order_size_percentage="0.02", max_inventory_exposure="0.1"), bars_of(path), plain)
    held = result.curve.base * result.curve.price
    assert 900.0 < held.max() <= 1_000.0


def test_a_daily_loss_ends_the_buying(bars_of: BarsOf, plain: Assumptions) -> None:
    closes = [100.0 - i / 4 for i in range(40)]
    path = [(before, before, after - 0.05, after) for before, after in zip([100.0, *closes], closes, strict=False)]
    limited = MakerOnBars(maker=TEN_BPS, limits={"max_daily_loss_quote": 5})
    result = run_bars(limited, bars_of(path), plain)
    free = run_bars(maker(), bars_of(path), plain)
    assert 0 < len(fills(result)) < len(fills(free))
    assert any("lost" in reason or "daily" in reason for reason in limited.withheld_by)


def test_quotes_do_not_rest_while_the_exchange_is_shut(bars_of: BarsOf, plain: Assumptions) -> None:
    """The last close of a session takes them away, so that the next session's first bar meets none."""
    bars = bars_of([(100.0, 100.0, 100.0, 100.0)] * 3 + [(100.0, 100.0, 95.0, 96.0)])
    awake = run_bars(maker(), bars, plain)
    asleep = run_bars(MakerOnBars(market_closes_ns={int(bars.close_ns[2])}, maker=TEN_BPS), bars, plain)
    assert len(fills(awake)) == 1
    assert fills(asleep) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"touch": "join"}, "touch=join"),
        ({"fair_value": "microprice"}, "microprice"),
        ({"toxic_imbalance": 0.5}, "toxic_imbalance"),
        ({"queue_value_bps": 1}, "queue_value_bps"),
        ({"initial_base": 1}, "initial_base"),
        ({"fee_asset": "received"}, "fee_asset"),
    ],
)
def test_what_needs_a_book_is_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        maker(**changed)


def test_capital_too_small_for_one_share_is_named() -> None:
    nvda = stock_instrument("NVDA")
    assert "122.47" in smallest_order_problem(MarketMakingConfig(trading_pair="NVDA"), nvda, 12_247)
    assert smallest_order_problem(MarketMakingConfig(trading_pair="NVDA", total_capital=13_000), nvda, 12_247) == ""


# --- it can lose -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=STATELESS)
@given(fall=st.integers(20, 200), bars=st.integers(8, 40))
def test_a_market_that_falls_through_its_bids_costs_it(fall: int, bars: int, bars_of: BarsOf, plain: Assumptions) -> None:
    """Without fees: every purchase is worth less at the next close, and a steeper fall costs more."""

    def lost(step_ticks: int) -> Decimal:
        closes = [1_000.0 - i * step_ticks / 100 for i in range(bars)]
        path = [(before, before, after - 2.0, after) for before, after in zip([1_000.0, *closes], closes, strict=False)]
        result = run_bars(maker(spread_percentage="0.0001"), bars_of(path), plain)
        assert len(fills(result)) > 0
        return result.initial_equity - result.final_equity

    assert 0 < lost(fall) < lost(2 * fall)


@settings(max_examples=25, suppress_health_check=STATELESS)
@given(swing=st.integers(25, 300), trips=st.integers(2, 10))
def test_a_market_that_swings_beyond_its_quotes_costs_it_on_both_sides(
    swing: int, trips: int, bars_of: BarsOf, plain: Assumptions
) -> None:
    """Each bar runs through one quote and beyond: bought before the fall and sold before the rise, never both in a bar."""
    low = 100.0 - swing / 100
    path = [(100.0, 100.0, 100.0, 100.0)]
    for _ in range(trips):
        path += [(100.0, 100.0, low - 0.02, low), (low, 100.02, low, 100.0)]
    result = run_bars(maker(), bars_of(path), plain)
    assert [side for side, _, _ in fills(result)] == [1, -1] * trips
    assert result.final_equity < result.initial_equity


@settings(max_examples=20, deadline=None, suppress_health_check=STATELESS)
@given(seed=st.integers(0, 10_000), failure=st.sampled_from([0.0, 0.1, 0.4]))
def test_whatever_the_market_the_books_hold_and_no_bar_fills_both_sides(seed: int, failure: float, walk: BarsOf) -> None:
    """Also when requests are lost: a cancel that never came brings its order back, and nothing is bought beyond the cap
    by more than the orders that were believed gone."""
    bars = walk(150, seed)
    rules = Assumptions.of(api_failure_frac=failure, seed=seed, commission_frac="0.0005")
    quoting = MakerOnBars(maker=TEN_BPS | {"levels": 2, "maker_fee_bps": 5})
    result = run_bars(quoting, bars, rules)
    by_bar: dict[int, set[int]] = {}
    for ts_ns, side in zip(result.fills.ts_ns.tolist(), result.fills.side.tolist(), strict=True):
        by_bar.setdefault(ts_ns, set()).add(side)
    assert all(len(sides) == 1 for sides in by_bar.values())
    assert (result.curve.base >= 0).all()
    assert (result.curve.base * result.curve.price).max() <= 2_000.0 * 1.25
    assert float(result.final_equity) == pytest.approx(result.curve.equity_quote[-1])
    working, expected = {order.client_order_id for order in quoting._orders.working(-1)}, result.counts["orders_open"]
    assert len(working) == expected


def test_another_path_is_another_result_and_the_same_path_the_same(walk: BarsOf) -> None:
    rules = Assumptions.of(seed=3)
    one, two, same = (run_bars(maker(), walk(400, seed), rules) for seed in (1, 2, 1))
    assert one.final_equity != two.final_equity
    assert fills(one) != fills(two)
    assert (one.final_equity, fills(one), one.counts) == (same.final_equity, fills(same), same.counts)


# --- the desk --------------------------------------------------------------------------------------------------------------


def outcome(ts_ns: int, spread: float, ttl_s: float) -> CycleOutcome:
    plan = MandateProposal(spread, 0.0, 1.0, ttl_s, Regime.RANGE_BOUND, RiskLevel.MEDIUM)
    return CycleOutcome(CycleId("c"), "AAA/USD", ts_ns, "proposal", "why", plan, DecisionSource.RULES, 0, (), ())


def test_a_mandate_takes_effect_at_the_next_close_and_lives_whole_bars(bars_of: BarsOf, plain: Assumptions) -> None:
    """Cautious (twice the spread) without one; 61 s are two bars; then it fades over as long again."""
    bars = bars_of([(100.0, 100.0, 100.0, 100.0)] * 9)
    steered = MakerOnBars(maker=TEN_BPS, has_desk=True, desk_latency_ms=2_000)
    run = BarRun(steered, bars, plain)
    run.advance(2)
    made = steered.accept(outcome(int(bars.close_ns[1]), 1.25, 61.0))
    assert made.mandate is not None and made.mandate.effective_ns == int(bars.close_ns[1]) + 2_000_000_000
    run.finish()
    quotes = steered.quotes()
    at = [(int(ts) - int(bars.close_ns[0])) // MINUTE_NS for ts in quotes.ts_ns]
    assert list(zip(at, quotes.bid.tolist(), strict=True)) == [(0, 99.80), (2, 99.87), (5, 99.83), (6, 99.80)]
    assert steered.bars_by_mandate == {"missing": 2, "in_force": 2, "decaying": 2, "expired": 3}


def test_a_desk_slower_than_a_bar_is_heard_a_bar_later(bars_of: BarsOf, plain: Assumptions) -> None:
    bars = bars_of([(100.0, 100.0, 100.0, 100.0)] * 5)
    steered = MakerOnBars(maker=TEN_BPS, has_desk=True, desk_latency_ms=61_000)
    run = BarRun(steered, bars, plain)
    run.advance(1)
    steered.accept(outcome(int(bars.close_ns[0]), 1.0, 600.0))
    run.finish()
    assert steered.bars_by_mandate == {"missing": 2, "in_force": 3}


def test_a_cycle_without_a_proposal_leaves_the_mandate_to_run_out(bars_of: BarsOf, plain: Assumptions) -> None:
    steered = MakerOnBars(maker=TEN_BPS, has_desk=True)
    run = BarRun(steered, bars_of([(100.0, 100.0, 100.0, 100.0)] * 3), plain)
    run.advance(1)
    held = steered.accept(outcome(0, 1.0, 60.0)._replace(outcome="hold", proposal=None))
    run.finish()
    assert held.mandate is None and steered.bars_by_mandate == {"missing": 3}


def test_the_view_is_of_the_bars_that_have_ended_and_of_the_position(bars_of: BarsOf, plain: Assumptions) -> None:
    bars = bars_of([(100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 99.0, 99.5), (1.0, 900.0, 1.0, 900.0)])
    quoting = maker()
    run = BarRun(quoting, bars, plain)
    run.advance(2)
    view = quoting.view(int(bars.close_ns[1]), simulated=True)
    assert view.bars is not None and (view.book, view.trades) == (None, None)
    assert (view.bars.close, view.bars.window_high, view.bars.bars, view.simulated) == (99.5, 100.0, 2, True)
    assert view.exposure_frac == pytest.approx(1.001 * 99.5 / 10_000)
    assert view.pnl_frac == pytest.approx(1.001 * (99.5 - 99.9) / 10_000)
    assert view.inventory_ratio == pytest.approx(0.5 + 0.5 * view.exposure_frac / 0.2)


def test_the_future_reaches_no_view_no_quote_and_no_fill(walk: BarsOf, instrument: Instrument) -> None:
    """Everything after a bar is made absurd; whatever was seen, quoted or filled by then stays as it was."""
    bars, cut = walk(300, 5), 200
    later = np.arange(300) >= cut
    planted = Bars(
        instrument, bars.interval_ns, ts_ns=bars.ts_ns,
        **{
            f"{name}_ticks": np.where(later, 3 * getattr(bars, f"{name}_ticks"), getattr(bars, f"{name}_ticks"))
            for name in ("open", "high", "low", "close")
        },
        volume_lots=np.where(later, 7, bars.volume_lots),
    )  # fmt: skip
    seen = []
    for market in (bars, planted):
        quoting = MakerOnBars(maker=TEN_BPS | {"quoting_model": "order_book", "size_by_confidence": True})
        run = BarRun(quoting, market, Assumptions(seed=1))
        views = []
        for at in range(10, cut + 1, 10):
            run.advance(at)
            views.append(asdict(quoting.view(int(market.close_ns[at - 1]), simulated=False)))
        result, quotes, end_ns = run.finish(), quoting.quotes(), int(market.close_ns[cut - 1])
        known = quotes.ts_ns <= end_ns
        table = np.column_stack((result.fills.ts_ns, result.fills.price, result.fills.size_base))
        seen.append((views, quotes.bid[known].tolist(), table[result.fills.ts_ns <= end_ns].tolist(), result.final_equity))
    assert repr(seen[0][:3]) == repr(seen[1][:3]) and len(seen[0][2]) > 3
    assert seen[0][3] != seen[1][3], "the planted future must matter once it is the present"
