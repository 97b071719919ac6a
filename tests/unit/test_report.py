"""The report says what happened in words and exact numbers, above all where nothing did."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.records import CycleOutcome, DecisionRecord, DecisionSource
from autohedge.report import plain, summarise, why_no_fills
from tests.integration.session.rig import FixedDesk, MemoryLedger, Tape, session_of, settings_of, sim_feed

SYMBOLS = ("AAA/USDT", "BBB/USDT")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e40", max_value="1e40", places=30))
def test_plain_is_exact_and_has_no_exponent(amount: Decimal) -> None:
    """Whatever the number of digits: read back it is the same number, written without E and without idle zeros."""
    text = plain(amount)
    assert Decimal(text) == amount
    assert "E" not in text and not (("." in text) and text.endswith(("0", "."))) and text != "-0"


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1E+3", "1000"), ("0.00001000", "0.00001"), ("-0.00", "0"), ("100", "100"), ("1E-8", "0.00000001"), ("-2.50", "-2.5")],
)
def test_plain_by_example(amount: str, text: str) -> None:
    """What a person would write."""
    assert plain(Decimal(amount)) == text


async def summarised(**parts: Any) -> tuple[dict[str, Any], MemoryLedger]:
    """Two symbols in a market that trades through the quotes on both sides."""
    feeds = {}
    for at, symbol in enumerate(SYMBOLS):
        tape = Tape(9_999 - 2_000 * at, 10_001 - 2_000 * at)
        for step in range(30):
            tape.quiet(1).top((step * (3 + at)) % 5 - 2).sweep(SELL if step % 2 else BUY, 40, 20_000)
        feeds[symbol] = sim_feed(tape.events, symbol, simulated=at == 0)
    ledger = MemoryLedger()
    session = session_of(settings_of(*SYMBOLS, maker={"maker_fee_bps": 3}, desk={"every_s": 10}, **parts), feeds, ledger)
    await session.run(None)
    await session.close()
    return summarise(session, run_id="r1", market="sim", files={"csv": "c", "database": "d", "report": "e"}), ledger


PROMISED = {
    "run_id",
    "market",
    "simulated",
    "symbols",
    "events",
    "cycles",
    "decisions",
    "orders",
    "fills",
    "volume_quote",
    "fees_quote",
    "per_symbol",
    "start_value",
    "final_value",
    "realized_pnl",
    "unrealized_pnl",
    "max_drawdown_frac",
    "csv",
    "database",
    "report",
}


async def test_every_promised_name_is_there_and_the_sums_are_those_of_the_ledger() -> None:
    """Counts, volume, fees and inventory from the report equal what the records add up to; the whole is plain JSON."""
    summary, ledger = await summarised()
    assert summary.keys() >= PROMISED and "inventory" not in summary
    assert json.loads(orjson.dumps(summary)) == json.loads(json.dumps(summary))
    assert summary["simulated"] is True and [summary["per_symbol"][each]["simulated"] for each in SYMBOLS] == [True, False]
    assert summary["fills"] == len(ledger.fills) > 20
    assert Decimal(summary["volume_quote"]) == sum(fill.price * fill.size for fill in ledger.fills)
    assert Decimal(summary["fees_quote"]) == sum(fill.fee for fill in ledger.fills)
    assert summary["orders"]["placed"] == len(ledger.orders)
    for event in ("cancelled", "rejected"):
        assert summary["orders"][event] == sum(each.event == event for each in ledger.order_events)
    for symbol in SYMBOLS:
        last = [fill for fill in ledger.fills if fill.symbol == symbol][-1]
        held = summary["per_symbol"][symbol]["inventory"]
        assert (Decimal(held["base"]), Decimal(held["quote"])) == (last.base_after, last.quote_after)
    assert [row["cycle_id"] for row in summary["mandates"]] == [
        record.cycle_id for symbol in SYMBOLS for record in ledger.mandates if record.symbol == symbol
    ]
    value = Decimal(summary["final_value"]) - Decimal(summary["start_value"])
    assert value == Decimal(summary["realized_pnl"]) + Decimal(summary["unrealized_pnl"]) - Decimal(summary["fees_quote"])
    assert 0 < summary["max_drawdown_frac"] < 0.1


async def test_uptime_is_the_share_of_time_that_a_side_was_quoted() -> None:
    """Between 0 and 1, and for the side that has nothing to sell less than for the other."""
    summary, _ = await summarised()
    for lane in summary["per_symbol"].values():
        uptime = lane["quote_uptime_frac"]
        assert 0 <= uptime["ask"] < uptime["bid"] <= 1


async def test_a_large_capital_in_fine_atoms_is_not_rounded() -> None:
    """Sums of many digits stay exact: the identity holds for a trillion as it does for ten thousand."""
    summary, _ = await summarised(limits={"max_order_notional_quote": 10**15, "max_daily_loss_quote": 10**15})
    assert summary["start_value"] == "10000"
    session = session_of(
        settings_of(maker={"total_capital": "999999999999.12345678", "order_size_percentage": "0.0000001"}),
        sim_feed(Tape().quiet(2).events),
        MemoryLedger(),
    )
    await session.run(None)
    await session.close()
    assert summarise(session, run_id="r", market="m", files={})["start_value"] == "999999999999.12345678"


def lane(**counts: Any) -> Any:
    """What `why_no_fills` looks at."""
    defaults = {"quoted": 0, "quote_distance_bps_sum": 0.0, "market_spread_ticks_sum": 0, "withheld_by": {}}
    orders = {"placed": 0, "rejected": 0, "denied_by": {}, "rejected_by": {}}
    here = {name: value for name, value in counts.items() if name in defaults}
    there = {name: value for name, value in counts.items() if name in orders}
    assert here | there == counts
    return SimpleNamespace(
        counts=SimpleNamespace(**defaults | here), order_desk=SimpleNamespace(counts=SimpleNamespace(**orders | there))
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "no order was placed: the market never could be quoted"),
        (
            {"withheld_by": {"stale": 2, "gap": 9}, "denied_by": {"notional": 1}},
            "no order was placed: gap (9 times), stale (2 times), notional (1 times)",
        ),
        ({"denied_by": {"notional": 4}}, "no order was placed: notional (4 times)"),
        (
            {"placed": 3, "rejected": 3, "rejected_by": {"self_trade": 1, "min_qty": 2}},
            "the venue rejected every order: min_qty, self_trade",
        ),
        (
            {"placed": 3, "quoted": 4, "quote_distance_bps_sum": 80.0, "market_spread_ticks_sum": 4},
            "quotes rest 20 bps from a 1-tick market and no trade reached them; a smaller spread_percentage, "
            "min_profit_threshold=none or touch=join quotes closer",
        ),
    ],
)
def test_why_nothing_was_filled_is_one_sentence(counts: dict[str, Any], said: str) -> None:
    """Never left to be guessed."""
    assert why_no_fills(lane(**counts)) == said


async def test_a_run_without_fills_says_how_far_its_quotes_were() -> None:
    """The numbers in the sentence are those of the session: 5 bps from a 2-tick market."""
    session = session_of(
        settings_of(maker={"quoting_model": "fixed_spread"}), sim_feed(Tape().quiet(30).events), MemoryLedger(), FixedDesk()
    )
    await session.run(None)
    await session.close()
    parts = summarise(session, run_id="r", market="m", files={})["per_symbol"]["BTC/USDT"]
    assert parts["fills"] == 0 and parts["why_no_fills"].startswith("quotes rest 5 bps from a 2-tick market")


async def test_decisions_are_grouped_by_agent_source_and_reason() -> None:
    """So many of each, with the last reason in the agent's own words where it gave none; abstentions are not in M."""

    def decision(role: str, source: DecisionSource, code: str, reason: str, value: dict[str, Any]) -> DecisionRecord:
        return DecisionRecord(
            "c", "BTC/USDT", 0, 1, role, "S", source, code, reason, None, "", "", None, None, None, 1.0, 0, value
        )  # type: ignore[arg-type]

    made = (
        decision("director", DecisionSource.LLM, "ok", "", {"thesis": "calm", "reason": ""}),
        decision("sentiment", DecisionSource.ABSTAINED, "no_news", "", {"abstained": "no headlines"}),
        decision("risk", DecisionSource.RULES, "timeout", "late", {"reasons": ["a", "b"]}),
        decision("risk", DecisionSource.REPAIRED, "wrong_schema", "", {"reasons": ["a", "b"]}),
    )

    class Says(FixedDesk):
        async def run_cycle(self, request: Any) -> CycleOutcome:
            return (await super().run_cycle(request))._replace(decisions=made)

    session = session_of(settings_of(desk={"every_s": 5}), sim_feed(Tape().quiet(9).events), MemoryLedger(), Says())
    await session.run(None)
    await session.close()
    summary = summarise(session, run_id="r", market="m", files={})
    assert summary["cycles"] == 2
    assert summary["decisions"] == {"total": 6, "model_driven": 4, "by_source": {"llm": 2, "rules": 2, "repaired": 2}}
    assert summary["decisions_by_role"] == [
        {"role": "director", "source": "llm", "reason_code": "ok", "count": 2, "last_reason": "calm"},
        {"role": "sentiment", "source": "abstained", "reason_code": "no_news", "count": 2, "last_reason": "no headlines"},
        {"role": "risk", "source": "rules", "reason_code": "timeout", "count": 2, "last_reason": "late"},
        {"role": "risk", "source": "repaired", "reason_code": "wrong_schema", "count": 2, "last_reason": "a; b"},
    ]


async def test_a_session_that_never_opened_can_be_told_of() -> None:
    """Stopped before the first price: no value is invented, and the capital is where it was."""
    session = session_of(settings_of(), sim_feed([]), MemoryLedger())
    session.request_stop()
    await session.run(None)
    await session.close()
    summary = summarise(session, run_id="r", market="m", files={})
    parts = summary["per_symbol"]["BTC/USDT"]
    assert parts["last_price"] is None and parts["account"] is None
    assert parts["start_value"] == parts["final_value"] == "10000"
    assert parts["why_no_fills"] == "no order was placed: the market never could be quoted"
