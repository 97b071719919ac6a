"""Every limit seen from outside: what the session then no longer does, and where the report says so."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import WORKING, OrderState
from autohedge.domain.records import OrderRecord
from autohedge.report import summarise_lane
from autohedge.session import TradingSession
from tests.integration.session.rig import START_NS, FixedDesk, MemoryLedger, S, Tape, played

DEFAULTS: dict[str, Any] = {"min_profit_threshold": "0.002", "maker_fee_bps": 10}
CLOSE: dict[str, Any] = {"quoting_model": "fixed_spread", "refresh_tolerance_bps": 0}


def falling(steps: int, every_s: int = 1, ticks: int = 1) -> Tape:
    """A market that falls tick by tick while sellers run through the bids: a maker of it only ever buys."""
    tape = Tape()
    for _ in range(steps):
        tape.quiet(every_s).top(-ticks).sweep(SELL, 60)
    return tape


def report_of(session: TradingSession) -> dict[str, Any]:
    return summarise_lane(session.lanes[0])


def exposures(ledger: MemoryLedger) -> Iterable[tuple[OrderRecord, Decimal, Decimal]]:
    """At each buy order sent: its record, the value of the base held, and with all working buys and itself, at its price."""
    base = Decimal(0)
    working: dict[str, list[Decimal]] = {}
    for record in ledger.records:
        if isinstance(record, OrderRecord) and record.side == "buy" and record.state is OrderState.PENDING_SUBMIT:
            assert record.price is not None
            working[record.client_order_id] = [record.price, record.size]
            resting = sum((size for _, size in working.values()), Decimal(0))
            yield record, base * record.price, (base + resting) * record.price
        elif record in ledger.fills:
            base = record.base_after  # type: ignore[union-attr]
            if record.client_order_id in working:  # type: ignore[union-attr]
                working[record.client_order_id][1] -= record.size  # type: ignore[union-attr]
        elif getattr(record, "state", None) not in WORKING:
            working.pop(getattr(record, "client_order_id", ""), None)


async def test_with_the_defaults_buys_stop_at_sixteen_percent_and_never_pass_twenty() -> None:
    """A falling market fills every bid: at 16 % of capital in base the buys stop, and no order ever could have passed 20 %."""
    session, ledger = await played(falling(80), FixedDesk(), maker=DEFAULTS)
    seen = list(exposures(ledger))
    assert len(ledger.fills) > 15 and {each.side for each in ledger.fills} == {"buy"}
    assert max(held for _, held, _ in seen) < 1_600 <= max(at for _, _, at in seen)
    assert max(at for _, _, at in seen) <= 2_000
    report = report_of(session)
    assert report["withheld_by"]["inventory_imbalance"] > 100
    held = Decimal(report["inventory"]["base"]) * Decimal(report["last_price"])
    assert 1_500 < held < 1_800
    stopped = [each for each in ledger.quote_states if each.reason == "inventory_imbalance"]
    assert {each.side for each in stopped} == {"buy"}
    assert ledger.quote_states[-1].side == "sell", "the ask stays, and drains last"


async def test_without_the_imbalance_limit_the_hard_cap_holds_alone() -> None:
    """The limit at its widest: the cap at 20 % binds to the lot, working orders included, and says so."""
    session, ledger = await played(falling(80), FixedDesk(), maker=DEFAULTS, limits={"max_inventory_imbalance": 0.5})
    most = max(at for _, _, at in exposures(ledger))
    assert 1_900 < most <= 2_000
    assert {"exposure_cap", "below_min_notional", "inventory_imbalance"} & set(report_of(session)["withheld_by"])


async def test_a_daily_loss_pulls_the_quotes_that_raise_exposure_until_midnight() -> None:
    """Down by 2: buys are cancelled and none is sent, the ask stays; at 00:00 UTC buying is allowed again."""
    midnight_ns = START_NS + 86_400 * S
    tape = Tape(start_ns=midnight_ns - 60 * S)
    for _ in range(10):
        tape.quiet(1).top(-8).sweep(SELL, 60)
    tape.quiet(70)
    session, ledger = await played(
        tape, FixedDesk(), maker=CLOSE, limits={"max_daily_loss_quote": 2, "max_requests_per_min": 10_000}
    )
    hit = next(each for each in ledger.quote_states if each.reason == "daily_loss")
    assert hit.side == "buy"
    buys = [order for order in ledger.orders if order.side == "buy" and order.ts_ns >= hit.ts_ns]
    assert buys and min(order.ts_ns for order in buys) == midnight_ns
    assert any(order.side == "sell" and hit.ts_ns <= order.ts_ns < midnight_ns for order in ledger.orders)
    pulled = [each for each in ledger.order_events if each.detail == "daily_loss" and each.event == "cancelling"]
    assert {each.ts_ns for each in pulled} <= {hit.ts_ns}
    report = report_of(session)
    assert report["withheld_by"]["daily_loss"] > 100
    value = next(fill for fill in reversed(ledger.fills) if fill.ts_ns < hit.ts_ns).total_value
    assert value < 10_000


async def test_the_fraction_of_a_daily_loss_is_a_limit_of_its_own() -> None:
    """The same by max_daily_loss_frac."""
    session, _ = await played(falling(20, ticks=8), FixedDesk(), maker=CLOSE, limits={"max_daily_loss_frac": 0.0005})
    assert report_of(session)["withheld_by"]["daily_loss"] >= 50


async def test_the_request_budget_holds_in_every_minute() -> None:
    """A market that moves at each event and a budget of 10 requests: no order is sent beyond it, cancels are not held back."""
    tape = Tape()
    for step in range(1_500):
        tape.wait(100).top(6 if step % 2 else -6)
    session, ledger = await played(tape, FixedDesk(), maker=CLOSE | {"initial_base": 5}, limits={"max_requests_per_min": 10})
    sent = sorted(
        [(order.ts_ns, 1) for order in ledger.orders]
        + [(each.ts_ns, 0) for each in ledger.order_events if each.event == "cancelling"]
    )
    for at, (ts_ns, is_order) in enumerate(sent):
        if is_order:
            assert sum(ts_ns - 60 * S < before <= ts_ns for before, _ in sent[: at + 1]) <= 10
    assert len([order for order in ledger.orders if order.ts_ns > START_NS + 60 * S]) > 3, "the budget comes back"
    assert report_of(session)["withheld_by"]["order_rate"] > 100


async def test_a_denied_order_is_told_with_its_limit_and_is_no_quote() -> None:
    """Denied before it was sent: recorded with reason and way out, counted, once a second, and never as being quoted."""
    check = "price_collar"
    far = {"spread_percentage": "0.2", "max_spread_bps": 5_000, "initial_base": 5}
    session, ledger = await played(Tape().quiet(10), FixedDesk(), maker=CLOSE | far, limits={"price_collar_frac": 0.05})
    report = report_of(session)
    assert report["denied_by"] == {check: report["orders"]["denied"]}
    assert report["orders"]["placed"] == 0 and report["quote_uptime_frac"] == {"bid": 0.0, "ask": 0.0}
    assert not any(each.quoting for each in ledger.quote_states)
    assert {(order.state, order.reason) for order in ledger.orders} == {(OrderState.DENIED, check)}
    assert all("; " in order.detail for order in ledger.orders)
    assert 8 <= len([order for order in ledger.orders if order.side == "buy"]) <= 12
    assert report["why_no_fills"].startswith("no order was placed")


async def test_the_largest_order_value_binds_what_is_not_a_quote_too() -> None:
    """A crossing order of 1,200 over a limit of 150 is denied and told; the quotes of 100 are not."""
    session, ledger = await played(
        Tape().quiet(5),
        FixedDesk(),
        maker=CLOSE | {"initial_base": 12, "rebalance": True},
        limits={"max_order_notional_quote": 150},
    )
    denied = [order for order in ledger.orders if order.state is OrderState.DENIED]
    assert {(order.reason, order.kind, order.side) for order in denied} == {("notional", "market", "sell")}
    assert report_of(session)["denied_by"] == {"notional": len(denied)}
    assert any(order.kind == "limit" and order.state is OrderState.PENDING_SUBMIT for order in ledger.orders)


async def test_a_rejected_order_is_counted_by_the_venues_reason() -> None:
    """An ask at a touch that has moved on when it arrives would cross: the venue says so, and the report."""
    tape = Tape().quiet(1)
    for step in range(40):
        tape.wait(100).top(4 if step % 2 else -4).wait(10).top(-4 if step % 2 else 4)
    session, _ = await played(
        tape, FixedDesk(), maker={"touch": "join", "initial_base": 5, "refresh_tolerance_bps": 0},
        limits={"max_requests_per_min": 10_000},
    )  # fmt: skip
    report = report_of(session)
    assert report["rejected_by"]["post_only_would_cross"] == report["orders"]["rejected"] > 0


async def test_with_rebalance_on_a_crossing_order_goes_back_to_neutral() -> None:
    """Beyond rebalance_threshold (10 % of capital) the quotes give way to one market order that sells what is too much."""
    tape = Tape().quiet(1).top(30).quiet(20)
    maker = CLOSE | {"spread_percentage": "0.02", "max_spread_bps": 500, "initial_base": "9.99", "rebalance": True}
    session, ledger = await played(tape, FixedDesk(), maker=maker)
    crossing = [order for order in ledger.orders if order.kind == "market"]
    assert [(order.side, order.reason, order.size) for order in crossing] == [("sell", "rebalance", Decimal("9.99"))]
    taken = [fill for fill in ledger.fills if fill.client_order_id == crossing[0].client_order_id]
    assert {fill.liquidity for fill in taken} == {"taker"} and len(taken) == 10
    assert taken[-1].base_after == 0
    working_then = {order.client_order_id for order in ledger.orders if order.ts_ns < crossing[0].ts_ns}
    ended = {
        each.client_order_id
        for each in ledger.order_events
        if each.ts_ns <= crossing[0].ts_ns and each.event in ("cancelled", "filled", "rejected")
    }
    assert working_then <= ended
    assert report_of(session)["withheld_by"]["rebalance"] > 0


async def test_buyers_and_sellers_leave_both_sides_filled_and_the_sums_right() -> None:
    """A market through both quotes again and again: PnL adds up to the last digit, mark-outs have fills behind them."""
    tape = Tape()
    for step in range(60):
        tape.quiet(1).top((step % 5) - 2).sweep(SELL if step % 2 else BUY, 40, 30_000)
    session, ledger = await played(tape, FixedDesk(), maker={"maker_fee_bps": 2, "fee_asset": "received", "initial_base": 3})
    report = report_of(session)
    assert {fill.side for fill in ledger.fills} == {"buy", "sell"}
    assert {fill.fee_asset for fill in ledger.fills} == {"BTC", "USDT"}
    pnl = report["pnl"]
    parts = ("spread_captured", "adverse_selection_1s", "inventory", "fees")
    assert Decimal(pnl["total"]) == sum(Decimal(pnl[name]) for name in parts)
    assert Decimal(pnl["total"]) == Decimal(report["final_value"]) - Decimal(report["start_value"])
    assert Decimal(pnl["total"]) == Decimal(report["realized_pnl"]) + Decimal(report["unrealized_pnl"]) - Decimal(
        report["fees_quote"]
    )
    account = report["account"]
    # the venue's books and ours agree; ours round the value down to an atom
    assert 0 <= Decimal(account["balance"]) - Decimal(report["final_value"]) < Decimal("1e-8")
    assert account["total_trades"] == report["fills"] == len(ledger.fills)
