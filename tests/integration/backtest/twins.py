"""One market through both drivers of the matching core: a real session, and the compiled loop; and what differs.

The session's desk answers first; its outcomes are then given to the compiled lane on the same schedule, so that both makers
obey the same mandates. Everything that a run writes is compared, entry by entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_layout import EVENT_WORDS
from autohedge.backtest.l2_market import PreparedMarket, prepare_market
from autohedge.bootstrap import conditions_of, lane_config
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.domain.measures import base_value_atoms
from autohedge.domain.orders import OrderState
from autohedge.domain.records import CycleOutcome
from autohedge.lane import Lane
from autohedge.market.event_rows import columns_of
from autohedge.market_maker.reasons import REASONS
from autohedge.settings import Settings
from tests.integration.session.rig import FixedDesk, ListFeed, MemoryLedger, session_of, settings_of

SYMBOL = "BTC/USDT"
NS_PER_S = 1_000_000_000
SIDE_WORD = {1: "buy", -1: "sell"}

Drive = Callable[[CompiledLane, int], None]
"""Moves a lane up to a time; the plain one is `CompiledLane.advance`."""


@dataclass(frozen=True)
class LiveRun:
    """A session that ran to its end."""

    lane: Lane
    ledger: MemoryLedger
    outcomes: list[CycleOutcome]


def parts_of(**parts: Any) -> Settings:
    """Settings of one symbol; the maker has neither floor nor fee unless told."""
    return settings_of(SYMBOL, **parts)


def run_live(events: Sequence[MarketEvent], instrument: Instrument, settings: Settings, agents: Any = None) -> LiveRun:
    """The session over these events, drained at their end."""
    ledger = MemoryLedger()
    feed = ListFeed(instrument, events, batch=512)
    session = session_of(settings, feed, ledger, agents or FixedDesk("hold"))

    async def run() -> None:
        await session.run(settings.desk.cycles)
        await session.close()

    asyncio.run(run())
    return LiveRun(session.lanes[0], ledger, list(session.outcomes))


def prepared(events: Sequence[MarketEvent], instrument: Instrument) -> PreparedMarket:
    """The same events for the compiled loop."""
    return prepare_market(columns_of(events), instrument)


def lane_of(market: PreparedMarket, settings: Settings) -> CompiledLane:
    """A compiled lane as the session's lane is wired."""
    instrument = market.instrument
    config = lane_config(settings, instrument)
    return CompiledLane(
        market,
        config,
        settings.limits,
        settings.envelope,
        base_atoms=instrument.base_atoms_floor(config.initial_base),
        quote_atoms=instrument.quote_atoms_floor(config.total_capital),
        desk_latency_ns=int(settings.desk.latency_ms * 1_000_000),
        conditions=conditions_of(settings, config, instrument),
    )


def run_compiled(
    market: PreparedMarket,
    settings: Settings,
    outcomes: Sequence[CycleOutcome],
    drive: Drive = CompiledLane.advance,
) -> CompiledLane:
    """The compiled lane over a market, cycle by cycle as `TradingSession.run` does it."""
    lane = lane_of(market, settings)
    assert lane.open()
    next_ns = int(lane.state.now_ns)
    drive(lane, next_ns)
    for outcome in outcomes:
        lane.pull_stale_quotes(next_ns)
        lane.accept(outcome)
        next_ns += int(settings.desk.every_s * NS_PER_S)
        drive(lane, next_ns)
    if not lane.over:
        drive(lane, 2**62)
    lane.drain()
    return lane


# --- what is compared -------------------------------------------------------------------------------------------------------


def differences(live: LiveRun, compiled: CompiledLane) -> str:
    """The first difference of each kind, one line each; "" when there is none."""
    told = [
        _first_difference(name, theirs, ours)
        for name, theirs, ours in (
            ("orders", _live_orders(live), _compiled_orders(compiled)),
            ("order events", _live_events(live), _compiled_events(compiled)),
            ("fills", _live_fills(live), _compiled_fills(compiled)),
            ("quote states", _live_states(live), _compiled_states(compiled)),
            ("mandates", live.lane.mandates, compiled.mandate_records),
            ("figures", sorted(_live_figures(live).items()), sorted(_compiled_figures(compiled).items())),
        )
    ]
    return "\n".join(each for each in told if each)


def _first_difference(name: str, live: Sequence[Any], compiled: Sequence[Any]) -> str:
    for at, (theirs, ours) in enumerate(zip(live, compiled, strict=False)):
        if theirs != ours:
            return f"{name} differ at {at}: live {theirs}, compiled {ours}; before that {list(live[max(0, at - 2) : at])}"
    if len(live) != len(compiled):
        longer = live if len(live) > len(compiled) else compiled
        return (
            f"{name}: live has {len(live)}, compiled {len(compiled)}; the first more is {longer[min(len(live), len(compiled))]}"
        )
    return ""


def _number(order_id: str) -> int:
    return int(order_id.rpartition("-")[2]) - 1


def _live_orders(run: LiveRun) -> list[tuple[Any, ...]]:
    instrument = run.lane.instrument
    rows = []
    for record in run.ledger.orders:
        denied = record.reason if record.state is OrderState.DENIED else ""
        placed = run.lane.order_desk.orders.get(record.client_order_id)
        rows.append(
            (
                record.ts_ns,
                _number(record.client_order_id),
                record.side,
                0 if record.price is None else instrument.ticks(record.price),
                instrument.lots(record.size),
                None if placed is None else placed.level,
                denied,
                record.mandate_id,
                "" if denied else record.reason,
            )
        )
    return rows


def _compiled_orders(lane: CompiledLane) -> list[tuple[Any, ...]]:
    rows = []
    for ts_ns, number, side, price, lots, level, rebalance, denied, mandate in lane.log("orders").tolist():
        rows.append(
            (
                ts_ns,
                number,
                SIDE_WORD[side],
                price,
                lots,
                None if denied else level,
                REASONS[denied],
                lane.mandates[mandate].mandate_id if mandate >= 0 else "",
                "" if denied else "rebalance" if rebalance else "quote",
            )
        )
    return rows


def _live_events(run: LiveRun) -> list[tuple[Any, ...]]:
    return [
        (each.ts_ns, _number(each.client_order_id), each.event, each.detail.split(":")[0]) for each in run.ledger.order_events
    ]


def _compiled_events(lane: CompiledLane) -> list[tuple[Any, ...]]:
    rows = lane.log("events").tolist()
    return [(ts_ns, number, EVENT_WORDS[event], REASONS[reason]) for ts_ns, number, event, reason in rows]


def _live_fills(run: LiveRun) -> list[tuple[Any, ...]]:
    instrument, opening = run.lane.instrument, run.lane.opening
    assert opening is not None
    return [
        (
            fill.ts_ns,
            _number(fill.client_order_id),
            fill.side,
            instrument.ticks(fill.price),
            instrument.lots(fill.size),
            fill.fee,
            fill.fee_asset,
            str(fill.liquidity),
            fill.base_after,
            fill.quote_after,
            fill.total_value,
        )
        for fill in run.ledger.fills
    ]


def _compiled_fills(lane: CompiledLane) -> list[tuple[Any, ...]]:
    instrument, size = lane.instrument, lane.numbers.maker.size
    rows = []
    for ts, number, side, price, lots, fee, is_maker, in_base, base, quote, _, mark in lane.log("fills").tolist():
        worth = quote + base_value_atoms(base, mark, size.quote_atoms_per_tick_lot, size.base_atoms_per_lot)
        rows.append(
            (
                ts,
                number,
                SIDE_WORD[side],
                price,
                lots,
                instrument.base_amount(fee) if in_base else instrument.quote_amount(fee),
                instrument.base if in_base else instrument.quote,
                "maker" if is_maker else "taker",
                instrument.base_amount(base),
                instrument.quote_amount(quote),
                instrument.quote_amount(worth),
            )
        )
    return rows


def _live_states(run: LiveRun) -> list[tuple[Any, ...]]:
    return [(each.ts_ns, each.side, each.reason) for each in run.ledger.quote_states]


def _compiled_states(lane: CompiledLane) -> list[tuple[Any, ...]]:
    return [(ts_ns, SIDE_WORD[side], REASONS[reason]) for ts_ns, side, reason in lane.log("quote_states").tolist()]


def _live_figures(run: LiveRun) -> dict[str, Any]:
    lane = run.lane
    counts, orders, account = lane.counts, lane.order_desk.counts, lane.venue.account  # type: ignore[attr-defined]
    return {
        "base": lane.inventory.base_atoms,
        "quote": lane.inventory.quote_atoms,
        "reserved base": account.reserved_base_atoms,
        "reserved quote": account.reserved_quote_atoms,
        "messages": counts.messages,
        "reconsidered": counts.reconsidered,
        "quoted": counts.quoted,
        "distance": counts.quote_distance_bps_sum,
        "market spread": counts.market_spread_ticks_sum,
        "bid up": counts.bid_up_ns,
        "ask up": counts.ask_up_ns,
        "withheld": counts.withheld_by,
        "fills": counts.fills,
        "placed": orders.placed,
        "cancelled": orders.cancelled,
        "denied": orders.denied,
        "rejected": orders.rejected,
        "working": len(lane.order_desk.working),
        "max drawdown": lane.drawdown.max_frac,
        "drawdown": lane.drawdown.last_frac,
        "equity": lane.equity_atoms(),
        "outcomes": {str(name): count for name, count in lane.sync.counts.items()},
        "opened": lane.opening.ts_ns if lane.opening else 0,
    }


def _compiled_figures(lane: CompiledLane) -> dict[str, Any]:
    state = lane.state
    return {
        "base": state.base_atoms,
        "quote": state.quote_atoms,
        "reserved base": state.reserved_base,
        "reserved quote": state.reserved_quote,
        "messages": state.messages,
        "reconsidered": state.reconsidered,
        "quoted": state.quoted,
        "distance": state.distance_bps_sum,
        "market spread": state.market_spread_sum,
        "bid up": state.bid_up_ns,
        "ask up": state.ask_up_ns,
        "withheld": lane.withheld_by(),
        "fills": state.fills,
        "placed": state.placed,
        "cancelled": state.cancelled,
        "denied": state.denied,
        "rejected": state.rejected,
        "working": state.working,
        "max drawdown": state.max_drawdown,
        "drawdown": state.drawdown,
        "equity": state.quote_atoms
        + base_value_atoms(
            int(state.base_atoms),
            int(state.mid_half),
            lane.numbers.maker.size.quote_atoms_per_tick_lot,
            lane.numbers.maker.size.base_atoms_per_lot,
        ),
        "outcomes": lane.market.outcomes,
        "opened": state.opened_at_ns,
    }
