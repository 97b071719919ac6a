"""`autohedge explain-quote`: every term, clamp and reason of a quote, as it would be made now. Nothing is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autohedge.cli import options

if TYPE_CHECKING:
    from autohedge.bootstrap import Plan
    from autohedge.lane import Lane
    from autohedge.settings import Settings

NS_PER_S = 1_000_000_000

After = Annotated[str, typer.Option("--after", metavar="DURATION", help="Market time from the start to the quote explained.")]


@options.takes_settings
def explain_quote(*, settings: Settings, after: After = "60s", as_json: options.AsJson = False) -> None:
    """Explain the quotes that the maker would make after some market time: every term, clamp and reason."""
    from autohedge.bootstrap import prepare
    from autohedge.settings import parse_duration_s

    after_s = parse_duration_s(after)
    plan = prepare(settings, open_end=True)
    explained = [explain_lane(lane) for lane in asyncio.run(_quote(plan, after_s))]
    if as_json:
        import orjson

        print(orjson.dumps({"quotes": explained}).decode())
        return
    from rich.table import Table
    from rich.text import Text

    from autohedge.cli.render import stdout_console

    console = stdout_console()
    for quote in explained:
        title = f"{quote.pop('symbol')}{' (simulated)' if quote.pop('simulated') else ''}"
        table = Table(title=title, title_justify="left")
        table.add_column("term")
        table.add_column("value", overflow="fold")
        for name, value in quote.items():
            table.add_row(name.replace("_", " "), Text("-" if value is None else str(value)))
        console.print(table)


async def _quote(plan: Plan, after_s: float) -> tuple[Lane, ...]:
    """The lanes after so much market time, with the desk asked every `every_s` as a run would."""
    from autohedge.storage.stream import StreamLedger

    session = plan.session(StreamLedger())
    try:
        await session.open()
        end_ns = max(lane.now_ns for lane in session.lanes) + int(after_s * NS_PER_S)
        while (next_ns := session.next_cycle_ns or 0) < end_ns and not session.market_over:
            await session.advance(next_ns)
            await session.ask_desk()
        await session.advance(end_ns)
    finally:
        await session.desk.aclose()
        if plan.model_client is not None:
            await plan.model_client.aclose()
    return session.lanes


def explain_lane(lane: Lane) -> dict[str, Any]:
    """The last quote of a symbol in plain words and numbers; prices in quote, spreads in bps of the mid."""
    from autohedge.domain.market_data import BUY, SELL
    from autohedge.errors import InvariantBroken
    from autohedge.market_maker.config import BPS
    from autohedge.report import plain

    last = lane.explanation
    if last is None:
        raise InvariantBroken(f"{lane.symbol}: the market opened but the quotes were never considered")
    instrument, config, terms = lane.instrument, lane.config, last.decision.terms
    withheld = dict(last.decision.withheld)
    working = {order.side: order for order in lane.order_desk.working.values() if order.price_ticks is not None}

    def price(ticks: int | None) -> str | None:
        return None if ticks is None else plain(instrument.price(ticks))

    def state(side: Any) -> str:
        order = working.get(side)
        if withheld.get(side):
            return f"withheld: {withheld[side]}"
        return (
            "none"
            if order is None
            else f"{plain(instrument.size(order.remaining_lots))} at {price(order.price_ticks)}, {order.state}"
        )

    explained: dict[str, Any] = {
        "symbol": lane.symbol,
        "simulated": lane.feed.simulated,
        "best_bid": price(last.market.best_bid_ticks),
        "best_ask": price(last.market.best_ask_ticks),
        "market_problem": last.market.problem or None,
        "volatility_per_hour": last.market.volatility,
        "depth_score": last.market.depth_score,
        "mandate": last.mandate.mandate_id or "none",
        "mandate_state": last.mandate.state.value,
        "mandate_source": last.mandate.source,
        "spread_multiplier": last.mandate.spread_multiplier,
        "size_multiplier": last.mandate.size_multiplier,
        "risk_level": last.mandate.risk_level.value,
        "inventory_ratio": last.inventory_ratio,
        "blocked": {side.name.lower(): reason for side, reason in last.blocked.items()} or None,
        "break_even_spread_bps": plain(2 * config.maker_fee_bps),
        "touch": config.touch.value,
    }
    if terms is not None:
        capped = terms.uncapped_frac > terms.spread_frac
        explained |= {
            "base_spread_bps": round(terms.base_frac * 10_000, 6),
            "floor_bps": None if terms.floor_frac is None else round(terms.floor_frac * 10_000, 6),
            "spread_before_cap_bps": round(terms.uncapped_frac * 10_000, 6),
            "spread_bps": round(terms.spread_frac * 10_000, 6),
            "capped_by_max_spread_bps": plain(config.max_spread_bps) if capped else None,
            "inventory_bias": terms.inventory_bias,
            "inventory_skew": terms.inventory_skew,
            "shift_b": terms.shift,
            "quote_reason": terms.reason,
            "bid": price(terms.bid_ticks),
            "ask": price(terms.ask_ticks),
            "distance_bps": None if terms.bid_ticks is None else round((1 - terms.bid_ticks / terms.mid_ticks) * float(BPS), 4),
        }
    explained |= {
        "confidence": last.decision.confidence,
        "buy_order": state(BUY),
        "sell_order": state(SELL),
        "clamps": [clamped._asdict() for clamped in lane.mandate.clamps] or None if lane.mandate is not None else None,
    }
    return explained
