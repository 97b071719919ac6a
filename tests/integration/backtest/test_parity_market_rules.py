"""What a simulated market must do to a maker, in the live engine and in the compiled loop: cost money, in part, and later."""

from __future__ import annotations

from typing import Any

import pytest

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import REQUEST_FAILED
from autohedge.errors import ConfigError
from autohedge.market.instruments import simulated_instrument
from autohedge.simulation.conditions import Conditions
from tests.integration.backtest.twins import SYMBOL, LiveRun, differences, parts_of, prepared, run_compiled, run_live
from tests.integration.session.rig import LEVEL_LOTS, Tape

COIN = simulated_instrument(SYMBOL)
JOIN: dict[str, Any] = {"touch": "join", "latency_ms": 5, "refresh_tolerance_bps": 0, "size_by_confidence": False}

PLAIN = {"conservative_spread_multiplier": 1, "conservative_size_multiplier": 1}
"""Without a mandate quotes are neither widened nor made smaller."""


def both(tape: Tape, **parts: Any) -> tuple[LiveRun, CompiledLane]:
    """The tape through both drivers, which agree."""
    settings = parts_of(envelope=PLAIN, **parts)
    live = run_live(tape.events, COIN, settings)
    compiled = run_compiled(prepared(tape.events, COIN), settings, live.outcomes)
    assert not differences(live, compiled)
    return live, compiled


def earned(live: LiveRun, compiled: CompiledLane) -> tuple[int, int]:
    """Equity at the end minus equity at the start, in quote atoms, by each driver's own books."""
    samples = compiled.log("samples")
    opening = COIN.quote_atoms_floor(parts_of().maker.total_capital)
    return live.lane.equity_atoms() - opening, int(samples[-1][1] - samples[0][1])


def path(moves: list[int], seed_price: int = 10_000) -> Tape:
    """A market whose best prices move by so many ticks each second; whoever moves it sweeps the side that gives way."""
    tape = Tape(seed_price - 1, seed_price + 1)
    for move in moves:
        tape.quiet(0.5)
        if move:
            tape.sweep(SELL if move < 0 else BUY, 0, 4 * LEVEL_LOTS).wait(1).top(move)
        else:
            tape.sweep(SELL, 0, 4 * LEVEL_LOTS).wait(1).top().wait(200).sweep(BUY, 0, 4 * LEVEL_LOTS).wait(1).top()
        tape.quiet(0.4)
    return tape


# --- a path decides ---------------------------------------------------------------------------------------------------------


def test_a_falling_market_takes_money_from_both() -> None:
    """Buyers are filled on the way down and nobody buys from them: the maker holds what fell."""
    live, compiled = both(path([-4] * 12), maker=JOIN)
    assert live.lane.counts.fills > 3
    assert {fill.side for fill in live.ledger.fills} == {"buy"}
    of_live, of_compiled = earned(live, compiled)
    assert of_live == of_compiled < 0


def test_the_same_orders_flow_on_another_path_earns_in_both() -> None:
    live, compiled = both(path([0] * 12), maker=JOIN)
    assert {fill.side for fill in live.ledger.fills} == {"buy", "sell"}
    of_live, of_compiled = earned(live, compiled)
    assert of_live == of_compiled > 0


def test_fees_turn_that_gain_into_a_loss_in_both() -> None:
    live, compiled = both(path([0] * 12), maker=JOIN | {"maker_fee_bps": 10})
    of_live, of_compiled = earned(live, compiled)
    assert of_live == of_compiled < 0


# --- in part ----------------------------------------------------------------------------------------------------------------


def test_partial_fills_of_a_resting_order_reach_the_inventory_of_both() -> None:
    """One order is filled in three parts; its rest is cancelled at the end, and what was bought stays."""
    tape = Tape().quiet(1)
    for lots in (LEVEL_LOTS + 700, 800, 900):
        tape.trade(tape.bid, lots, SELL).quiet(0.3)
    live, compiled = both(tape, maker=JOIN)
    fills = [(fill.client_order_id, COIN.lots(fill.size)) for fill in live.ledger.fills]
    (order_id,) = {order_id for order_id, _ in fills}
    assert [lots for _, lots in fills] == [700, 800, 900]
    assert [each.event for each in live.ledger.order_events if each.client_order_id == order_id] == [
        "accepted", "partially_filled", "partially_filled", "partially_filled", "cancelling", "cancelled",
    ]  # fmt: skip
    bought = 2_400 * COIN.base_atoms_per_lot
    assert live.lane.inventory.base_atoms == compiled.state.base_atoms == bought
    assert [row[8] for row in compiled.log("fills").tolist()] == [n * COIN.base_atoms_per_lot for n in (700, 1_500, 2_400)]


# --- later ------------------------------------------------------------------------------------------------------------------


def test_zero_latency_is_refused_by_both() -> None:
    with pytest.raises(ConfigError, match="look-ahead"):
        parts_of(maker={"latency_ms": 0})
    settings = parts_of(maker=JOIN)
    with pytest.raises(ConfigError, match="look-ahead"):
        CompiledLane(
            prepared(Tape().quiet(1).events, COIN), settings.maker, settings.limits, settings.envelope, base_atoms=0,
            quote_atoms=1, desk_latency_ns=0, conditions=Conditions.constant(0),
        )  # fmt: skip


def test_quotes_that_answer_too_late_are_run_over_in_both() -> None:
    """The market falls by a tick every 300 ms. Within 5 ms the bid gives way each time; after 700 ms the ask has reached it."""
    results = {}
    for latency_ms in (5, 700):
        tape = Tape().quiet(1)
        for _ in range(12):
            tape.top(-1).quiet(0.3)
        live, compiled = both(tape, maker=JOIN | {"latency_ms": latency_ms})
        results[latency_ms] = earned(live, compiled)
    assert results[5] == (0, 0)
    assert results[700][0] == results[700][1] < 0


# --- lost requests ------------------------------------------------------------------------------------------------------------


def test_an_order_whose_cancel_was_lost_is_asked_for_again_until_it_is_gone() -> None:
    tape = Tape()
    for step in range(80):
        tape.top(1 if step % 3 else -2).quiet(0.3)
    live, compiled = both(tape, maker=JOIN, paper={"api_failure_frac": 0.4}, limits={"max_requests_per_min": 100_000})
    lives: dict[str, list[str]] = {}
    for each in live.ledger.order_events:
        what = f"{each.event} {each.detail.split(':')[0]}" if REQUEST_FAILED in each.detail else each.event
        lives.setdefault(each.client_order_id, []).append(what)
    lost = [life for life in lives.values() if f"cancel_rejected {REQUEST_FAILED}" in life]
    assert len(lost) > 5
    for life in lost:
        last = len(life) - 1 - life[::-1].index(f"cancel_rejected {REQUEST_FAILED}")
        assert life[-1] in ("cancelled", "filled")
        assert "cancelling" in life[last:] or life[-1] == "filled"
    never_there = [life for life in lives.values() if life[0] == f"rejected {REQUEST_FAILED}"]
    assert len(never_there) > 5
    assert all(life[1:] in ([], ["cancel_rejected"]) for life in never_there)
    assert not live.lane.order_desk.working and not compiled.state.working


def test_lost_cancels_at_the_end_are_sent_again_and_the_clock_goes_on() -> None:
    """Of many sessions that end with orders in the market, all let go of them, whatever was lost."""
    for seed in range(12):
        live, _ = both(Tape().quiet(2), maker=JOIN | {"levels": 4}, paper={"api_failure_frac": 0.5}, seed=seed)
        assert not live.lane.order_desk.working
        times = [each.ts_ns for each in live.ledger.order_events]
        assert times == sorted(times)
