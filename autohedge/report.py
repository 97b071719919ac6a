"""What a session did, as plain data: the object of `--json`, of the API and of report.json. Money is in decimal strings."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

from autohedge.domain.instrument import Instrument
from autohedge.domain.records import MandateRecord
from autohedge.lane import Lane
from autohedge.session import TradingSession

EXACT_DIGITS = 100
"""Python's usual 28 would round the sums of a large capital in fine atoms."""


ORDER_ENDS = ("placed", "cancelled", "denied", "rejected")


def plain(amount: Decimal) -> str:
    """A decimal without exponent and without trailing zeros: 0.00001, 12.5, 0. Never rounded."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _half(atoms: int, instrument: Instrument) -> str:
    return plain(instrument.quote_amount(atoms) / 2)


def summarise(session: TradingSession, *, run_id: str, market: str, files: dict[str, str]) -> dict[str, Any]:
    """The whole of a session; `files` gives the paths csv, database and report."""
    with localcontext(prec=EXACT_DIGITS):
        return _summarised(session, run_id, market) | files


def _summarised(session: TradingSession, run_id: str, market: str) -> dict[str, Any]:
    lanes = session.lanes
    model_driven, total = session.model_driven()
    counts = [lane.counts for lane in lanes]
    summary: dict[str, Any] = {
        "run_id": run_id,
        "market": market,
        "simulated": any(lane.feed.simulated for lane in lanes),
        "symbols": [lane.symbol for lane in lanes],
        "events": sum(each.rows for each in counts),
        "messages": sum(each.messages for each in counts),
        "cycles": len(session.outcomes),
        "decisions": {"total": total, "model_driven": model_driven, "by_source": session.decisions_by_source()},
        "model": session.desk.model_name,
        "orders": {name: sum(getattr(lane.order_desk.counts, name) for lane in lanes) for name in ORDER_ENDS},
        "fills": sum(each.fills for each in counts),
    }
    per_symbol = {lane.symbol: summarise_lane(lane) for lane in lanes}
    for name in ("volume_quote", "fees_quote", "start_value", "final_value", "realized_pnl", "unrealized_pnl"):
        summary[name] = plain(sum((Decimal(each[name]) for each in per_symbol.values()), Decimal(0)))
    if len(lanes) == 1:
        summary["inventory"] = next(iter(per_symbol.values()))["inventory"]
    summary["max_drawdown_frac"] = _combined_drawdown(lanes)
    summary["per_symbol"] = per_symbol
    summary["decisions_by_role"] = _decisions_by_role(session)
    summary["mandates"] = [_mandate_row(record) for lane in lanes for record in lane.mandates]
    summary["interrupted"] = session.interrupted
    return summary


def _combined_drawdown(lanes: tuple[Lane, ...]) -> float:
    return lanes[0].combined.drawdown.max_frac


def summarise_lane(lane: Lane) -> dict[str, Any]:
    """One symbol: counts, inventory, value, and the PnL split into spread captured, adverse selection, inventory and fees."""
    instrument, inventory, counts, orders = lane.instrument, lane.inventory, lane.counts, lane.order_desk.counts
    amount = instrument.quote_amount
    value = lane.value_atoms()
    start = lane.opening.total_value if lane.opening is not None else amount(inventory.quote_atoms)
    fees = inventory.fees_atoms
    attribution = lane.attribution
    pnl = amount(value) - start
    before_fees = pnl + amount(fees)
    spread, adverse = attribution.spread_half_atoms, attribution.adverse_half_atoms
    rest = before_fees - (amount(spread) + amount(adverse)) / 2
    duration_ns = lane.now_ns - lane.opening.ts_ns if lane.opening is not None else 0
    report: dict[str, Any] = {
        "simulated": lane.feed.simulated,
        "market": lane.feed.description,
        "messages": counts.messages,
        "events": counts.rows,
        "orders": {name: getattr(orders, name) for name in ORDER_ENDS},
        "denied_by": orders.denied_by,
        "rejected_by": orders.rejected_by,
        "withheld_by": counts.withheld_by,
        "fills": counts.fills,
        "volume_quote": plain(amount(inventory.volume_atoms)),
        "fees_quote": plain(amount(fees)),
        "inventory": {
            "base": plain(instrument.base_amount(inventory.base_atoms)),
            "quote": plain(amount(inventory.quote_atoms)),
        },
        "dust_base": plain(instrument.base_amount(inventory.dust_atoms())),
        "last_price": plain(lane.mark_price) if lane.opening is not None else None,
        "start_value": plain(start),
        "final_value": plain(amount(value)),
        "realized_pnl": plain(amount(inventory.realized_atoms)),
        "unrealized_pnl": plain(amount(inventory.unrealized_atoms(lane.mark_half_ticks))),
        "pnl": {
            "total": plain(pnl),
            "spread_captured": _half(spread, instrument),
            "adverse_selection_1s": _half(adverse, instrument),
            "inventory": plain(rest),
            "fees": plain(-amount(fees)),
        },
        "mark_out_bps": {f"{horizon}s": each.mean_bps for horizon, each in attribution.mark_outs.items()},
        "max_drawdown_frac": lane.drawdown.max_frac,
        "quote_uptime_frac": {
            "bid": counts.bid_up_ns / duration_ns if duration_ns > 0 else 0.0,
            "ask": counts.ask_up_ns / duration_ns if duration_ns > 0 else 0.0,
        },
        "mean_quote_distance_bps": counts.quote_distance_bps_sum / counts.quoted if counts.quoted else None,
        "mean_market_spread_ticks": counts.market_spread_ticks_sum / counts.quoted if counts.quoted else None,
        "account": _account(lane),
        "data_quality": data_quality(lane),
    }
    report["why_no_fills"] = why_no_fills(lane) if counts.fills == 0 else None
    return report


def _account(lane: Lane) -> dict[str, Any] | None:
    """The venue's own account at the mark, which must agree with our inventory; None before the first price."""
    if lane.opening is None:
        return None
    info = lane.venue.account_info(lane.mark_price)
    money = ("balance", "initial_balance", "cash", "available", "pnl")
    percentage = info["pnl_percentage"]
    return {
        "mode": info["mode"],
        "is_paper": info["is_paper"],
        **{name: plain(info[name]) for name in money},  # type: ignore[literal-required]
        "positions": {
            asset: {name: plain(position[name]) for name in ("size", "mark_price", "value")}
            for asset, position in info["positions"].items()
        },
        "total_trades": info["total_trades"],
        "pnl_percentage": None if percentage is None else plain(percentage),
    }


def data_quality(lane: Lane) -> dict[str, Any]:
    """What the feed and the book refused, counted."""
    feed = lane.feed.report
    return {
        "corrupt": feed.corrupt,
        "foreign": feed.foreign,
        "out_of_order": feed.out_of_order,
        "examples": list(feed.examples),
        "not_applied": {str(kind): count for kind, count in lane.sync.counts.items() if count and kind != "applied"},
        "gaps": len(lane.sync.gaps),
        "feed_failure": lane.feed_failure or None,
    }


def why_no_fills(lane: Lane) -> str:
    """Why a symbol had no fill, in one sentence; never left to be guessed."""
    counts, orders = lane.counts, lane.order_desk.counts
    if orders.placed == 0:
        reasons = sorted((counts.withheld_by | orders.denied_by).items(), key=lambda item: -item[1])
        told = ", ".join(f"{reason} ({count} times)" for reason, count in reasons[:3]) or "the market never could be quoted"
        return f"no order was placed: {told}"
    if orders.rejected and orders.rejected == orders.placed:
        return f"the venue rejected every order: {', '.join(sorted(orders.rejected_by))}"
    distance = counts.quote_distance_bps_sum / counts.quoted if counts.quoted else 0.0
    spread = counts.market_spread_ticks_sum / counts.quoted if counts.quoted else 0.0
    return (
        f"quotes rest {distance:.0f} bps from a {spread:.0f}-tick market and no trade reached them; a smaller "
        "spread_percentage, min_profit_threshold=none or touch=join quotes closer"
    )


def _decisions_by_role(session: TradingSession) -> list[dict[str, Any]]:
    """Decisions grouped by agent, source and reason code, in order of first appearance."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for outcome in session.outcomes:
        for each in outcome.decisions:
            key = (each.role, each.source.value, each.reason_code)
            row = rows.setdefault(key, dict(zip(("role", "source", "reason_code"), key, strict=True)) | {"count": 0})
            row["count"] += 1
            row["last_reason"] = each.reason or _own_words(each.value)
    return list(rows.values())


def _own_words(value: dict[str, Any]) -> str:
    """What an agent itself gave as its reason."""
    words = next((value[name] for name in ("reason", "summary", "reasons", "thesis", "abstained") if value.get(name)), "")
    return "; ".join(words) if isinstance(words, list) else str(words)


def _mandate_row(record: MandateRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "symbol": record.symbol,
        "ts_ns": str(record.ts_ns),
        "cycle_id": record.cycle_id,
        "outcome": record.outcome,
        "reason": record.reason,
    }
    mandate = record.mandate
    if mandate is not None:
        row |= {
            "mandate_id": mandate.mandate_id,
            "source": mandate.source,
            "spread_multiplier": mandate.spread_multiplier,
            "inventory_bias": mandate.inventory_bias,
            "size_multiplier": mandate.size_multiplier,
            "regime": mandate.regime.value,
            "risk_level": mandate.risk_level.value,
            "effective_ns": str(mandate.effective_ns),
            "valid_until_ns": str(mandate.valid_until_ns),
            "clamps": [each._asdict() for each in mandate.clamps],
        }
    return row
