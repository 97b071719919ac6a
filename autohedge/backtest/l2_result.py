"""From the compiled loop's logs to a `BacktestResult`: exact totals, and columns for metrics and pictures.

The totals are made by booking every fill again with the inventory of the live engine, in whole numbers of any size; what comes
out must be the loop's own balances, or `InvariantBroken` is raised and there is no result.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.result import BacktestResult, Curve, Fills, Mids, Quotes
from autohedge.domain.ids import ClientOrderId, TradeId
from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import Liquidity, OrderFilled
from autohedge.errors import InvariantBroken

CRYPTO_DAYS = 365


def result_of(
    lane: CompiledLane,
    *,
    settings: dict[str, Any],
    data: dict[str, Any],
    decisions: dict[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> BacktestResult:
    """The result of one symbol's run; its market must be over and its quotes drained."""
    state, instrument = lane.state, lane.instrument
    books = booked_again(lane)
    samples = lane.log("samples")
    duration_ns = int(state.now_ns) - int(state.opened_at_ns)
    amount = instrument.quote_amount
    fills = _fills(lane)
    return BacktestResult(
        symbol=instrument.symbol,
        engine="compiled",
        strategy=f"market maker ({lane.config.quoting_model.value})",
        settings=settings,
        data=data,
        start_ns=int(state.opened_at_ns),
        end_ns=int(state.now_ns),
        trading_days_per_year=CRYPTO_DAYS,
        initial_equity=amount(int(samples[0, 1])),
        final_equity=amount(int(samples[-1, 1])),
        fees=amount(books.fees_atoms),
        slippage=Decimal(repr(float(fills.slippage_quote.sum()))),
        volume=amount(books.volume_atoms),
        curve=_curve(lane, samples),
        fills=fills,
        mids=_mids(lane),
        quotes=_quotes(lane),
        counts=_counts(lane),
        uptime_frac={
            "bid": int(state.bid_up_ns) / duration_ns if duration_ns > 0 else 0.0,
            "ask": int(state.ask_up_ns) / duration_ns if duration_ns > 0 else 0.0,
        },
        decisions=decisions,
        notes=notes,
    )


def booked_again(lane: CompiledLane) -> Inventory:
    """The inventory that the fills lead to, with cost, realised PnL and fees; `InvariantBroken` if it is not the loop's."""
    instrument, state = lane.instrument, lane.state
    base_atoms, quote_atoms = lane.opening_atoms
    inventory = Inventory(instrument, base_atoms, quote_atoms)
    samples = lane.log("samples")
    if len(samples):
        inventory.open_at(int(samples[0, 3]))
    for i, row in enumerate(lane.log("fills").tolist()):
        ts_ns, number, side, price, lots, fee, is_maker, in_base = row[:8]
        inventory.apply(
            OrderFilled(
                ts_ns,
                ClientOrderId(str(number)),
                TradeId(str(i)),
                BUY if side > 0 else SELL,
                price,
                lots,
                Liquidity.MAKER if is_maker else Liquidity.TAKER,
                instrument.base if in_base else instrument.quote,
                fee,
            )
        )
    if (inventory.base_atoms, inventory.quote_atoms) != (int(state.base_atoms), int(state.quote_atoms)):
        raise InvariantBroken(
            f"{instrument.symbol}: the fills lead to {inventory.base_atoms} base and {inventory.quote_atoms} quote atoms, "
            f"the loop has {state.base_atoms} and {state.quote_atoms}"
        )
    return inventory


def _curve(lane: CompiledLane, samples: Any) -> Curve:
    quote, base, tick = _units(lane)
    return Curve(samples[:, 0].copy(), samples[:, 1] * quote, samples[:, 2] * base, samples[:, 3] * tick / 2.0)


def _mids(lane: CompiledLane) -> Mids:
    log = lane.log("mids")
    return Mids(log[:, 0].copy(), log[:, 1] * _units(lane)[2] / 2.0)


def _quotes(lane: CompiledLane) -> Quotes:
    log, tick = lane.log("quotes"), _units(lane)[2]
    prices = np.where(log[:, 1:] > 0, log[:, 1:] * tick, np.nan)
    return Quotes(log[:, 0].copy(), prices[:, 0], prices[:, 1])


def _fills(lane: CompiledLane) -> Fills:
    log = lane.log("fills")
    quote, base, tick = _units(lane)
    lot = float(lane.instrument.lot_size)
    price, mid, size = log[:, 3] * tick, log[:, 10] * tick / 2.0, log[:, 4] * lot
    in_base = log[:, 7] != 0
    is_maker = log[:, 6] != 0
    return Fills(
        ts_ns=log[:, 0].copy(),
        side=log[:, 2].astype(np.int8),
        price=price,
        size_base=size,
        fee_quote=np.where(in_base, log[:, 5] * base * price, log[:, 5] * quote),
        # what crossing cost against the mid; a resting order is filled at its own price
        slippage_quote=np.where(is_maker, 0.0, log[:, 2] * (price - mid) * size),
        is_maker=is_maker,
        mid=np.where(mid > 0, mid, np.nan),
        order=log[:, 1].copy(),
        # orders are numbered in the order of their log, denied ones included
        level=lane.log("orders")[log[:, 1], 5].astype(np.int8),
    )


def _units(lane: CompiledLane) -> tuple[float, float, float]:
    """(quote per atom, base per atom, price per tick) as floats, for statistics."""
    instrument = lane.instrument
    return float(instrument.quote_amount(1)), float(instrument.base_amount(1)), float(instrument.tick_size)


def _counts(lane: CompiledLane) -> dict[str, int]:
    state, market = lane.state, lane.market
    outcomes = {f"messages_{name}": count for name, count in market.outcomes.items() if count and name != "applied"}
    return {
        "events": market.rows,
        "messages": int(state.messages),
        "orders_placed": int(state.placed),
        "orders_cancelled": int(state.cancelled),
        "orders_rejected": int(state.rejected),
        "orders_denied": int(state.denied),
        "fills": int(state.fills),
        "reconsidered": int(state.reconsidered),
        "cycles": len(lane.mandate_records),
        **outcomes,
        **{f"withheld_{reason}": count for reason, count in lane.withheld_by().items()},
    }
