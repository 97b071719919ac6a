"""`autohedge explain-quote`: every term, clamp and reason of a quote, as it would be made now. Nothing is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autohedge.cli import options

if TYPE_CHECKING:
    from autohedge.bootstrap import Plan
    from autohedge.lane import Explanation, Lane
    from autohedge.market_maker.quoting import QuoteTerms
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
    from autohedge.errors import InvariantBroken

    last = lane.explanation
    if last is None:
        raise InvariantBroken(f"{lane.symbol}: the market opened but the quotes were never considered")
    explained: dict[str, Any] = {
        "symbol": lane.symbol,
        "simulated": lane.feed.simulated,
        **_market(lane, last),
        "mandate": last.mandate.mandate_id or "none",
        "mandate_state": last.mandate.state.value,
        "mandate_source": last.mandate.source,
        "spread_multiplier": last.mandate.spread_multiplier,
        "size_multiplier": last.mandate.size_multiplier,
        "risk_level": last.mandate.risk_level.value,
        "inventory_ratio": last.inventory_ratio,
        "blocked": {side.name.lower(): reason for side, reason in last.blocked.items()} or None,
        "touch": lane.config.touch.value,
        "quoting_model": lane.config.quoting_model.value,
    }
    if last.decision.terms is not None:
        explained |= _prices(lane, last.decision.terms)
    return explained | {
        **_fees(lane, last),
        **_guards(lane, last),
        "confidence": last.decision.confidence,
        **_orders(lane, last),
        "clamps": [clamped._asdict() for clamped in lane.mandate.clamps] or None if lane.mandate is not None else None,
    }


def _price(lane: Lane, ticks: float | None) -> str | None:
    """A price in quote; ticks may be fractional."""
    from decimal import Decimal

    from autohedge.report import plain

    if ticks is None:
        return None
    return plain(lane.instrument.tick_size * (Decimal(ticks) if isinstance(ticks, int) else Decimal(repr(round(ticks, 6)))))


def _market(lane: Lane, last: Explanation) -> dict[str, Any]:
    market = last.market
    return {
        "best_bid": _price(lane, market.best_bid_ticks),
        "best_ask": _price(lane, market.best_ask_ticks),
        "market_problem": market.problem or None,
        "volatility_per_hour": market.volatility,
        "depth_score": market.depth_score,
    }


def _prices(lane: Lane, terms: QuoteTerms) -> dict[str, Any]:
    """From the base spread to two prices, in the order in which the terms are found."""
    from autohedge.report import plain

    capped = terms.uncapped_frac > terms.spread_frac
    return {
        "mid": _price(lane, terms.mid_ticks),
        "fair_value": _price(lane, terms.fair_ticks),
        "fair_value_is": lane.config.fair_value.value,
        "base_spread_bps": round(terms.base_frac * 10_000, 6),
        **_model(terms),
        "floor_bps": None if terms.floor_frac is None else round(terms.floor_frac * 10_000, 6),
        "spread_before_cap_bps": round(terms.uncapped_frac * 10_000, 6),
        "spread_bps": round(terms.spread_frac * 10_000, 6),
        "capped_by_max_spread_bps": plain(lane.config.max_spread_bps) if capped else None,
        "inventory_bias": terms.inventory_bias,
        "inventory_skew": terms.inventory_skew,
        "shift_b": terms.shift,
        "quote_reason": terms.reason,
        "bid": _price(lane, terms.bid_ticks),
        "ask": _price(lane, terms.ask_ticks),
        "distance_bps": None if terms.bid_ticks is None else round((1 - terms.bid_ticks / terms.mid_ticks) * 10_000, 4),
    }


def _model(terms: QuoteTerms) -> dict[str, Any]:
    """What a model of the literature said; nothing for the other pricings, or while σ is not known."""
    model = terms.model
    if model is None:
        return {}
    return {
        "model_sigma_ticks_per_sqrt_s": model.sigma,
        "model_inventory_orders": model.q,
        "model_half_spread_ticks": model.half_ticks,
        "model_half_spread_bps": model.half_ticks / terms.mid_ticks * 10_000,
        "model_offset_ticks": model.offset_ticks,
    }


def _fees(lane: Lane, last: Explanation) -> dict[str, Any]:
    """What a round trip must earn at this fee tier: with two rests, and when one side has to cross."""
    from autohedge.report import plain

    config, terms = lane.config, last.decision.terms
    break_even_bps = 2 * config.maker_fee_bps
    return {
        "break_even_spread_bps": plain(break_even_bps),
        "break_even_when_one_side_crosses_bps": plain(config.maker_fee_bps + config.taker_fee_bps),
        "spread_after_fees_bps": None if terms is None else round(terms.spread_frac * 10_000 - float(break_even_bps), 6),
    }


def _guards(lane: Lane, last: Explanation) -> dict[str, Any]:
    """The request budget and the toxicity guard as they stood; sizes in base."""
    from autohedge.market_maker.decision import scarce_tolerance
    from autohedge.market_maker.quoting import UNKNOWN
    from autohedge.market_maker.reasons import REASONS
    from autohedge.report import plain

    config, market, signs, limit = lane.config, last.market, last.signs, lane.requests_per_min
    volatility = UNKNOWN if market.volatility is None else market.volatility
    scarce_frac = scarce_tolerance(lane.numbers, last.requests_left, limit, volatility)
    told: dict[str, Any] = {
        "requests_left": f"{last.requests_left} of {limit} per minute",
        "tolerance_for_want_of_requests_bps": round(scarce_frac * 10_000, 6),
        "toxicity_guard": config.toxicity_action.value if lane.numbers.guard.on else "off",
    }
    if signs is None:
        return told

    def size(lots: float) -> str | None:
        return None if lots < 0 else plain(lane.instrument.size(round(lots)))

    return told | {
        "toxic_bids": REASONS[market.buy_toxic] or None,
        "toxic_asks": REASONS[market.sell_toxic] or None,
        "aggressors_net_base": plain(lane.instrument.size(signs.net_lots)) if config.toxic_trades_ratio else None,
        "best_bid_size_base": size(signs.bid_lots),
        "usual_bid_size_base": size(signs.usual_bid_lots),
        "best_ask_size_base": size(signs.ask_lots),
        "usual_ask_size_base": size(signs.usual_ask_lots),
        "imbalance_of_five_levels": signs.imbalance if config.toxic_imbalance else None,
    }


def _orders(lane: Lane, last: Explanation) -> dict[str, Any]:
    """What rests, or why nothing does: the best level of each side, and all levels when there are more."""
    from autohedge.domain.market_data import BUY, SELL, Side
    from autohedge.report import plain

    withheld = dict(last.decision.withheld)
    working = {(each.side, each.level): each for each in lane.order_desk.working.values() if each.price_ticks is not None}

    def state(side: Side, level: int) -> str:
        if level == 0 and withheld.get(side):
            return f"withheld: {withheld[side]}"
        order = working.get((side, level))
        if order is None:
            return "none"
        return f"{plain(lane.instrument.size(order.remaining_lots))} at {_price(lane, order.price_ticks)}, {order.state}"

    told: dict[str, Any] = {"buy_order": state(BUY, 0), "sell_order": state(SELL, 0)}
    for level in range(1, lane.config.levels):
        told |= {f"buy_order_level_{level}": state(BUY, level), f"sell_order_level_{level}": state(SELL, level)}
    return told
