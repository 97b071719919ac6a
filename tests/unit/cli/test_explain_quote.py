"""`autohedge explain-quote`: its numbers are those of the quoting arithmetic, its reasons those of the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autohedge.bootstrap import prepare
from autohedge.cli.explain import explain_lane
from autohedge.domain.mandate import MandateState
from autohedge.lane import Lane
from autohedge.market_maker.quoting import QuoteRules, inventory_ratio, price_quotes, quote_confidence
from autohedge.settings import Settings, build_settings
from autohedge.storage.stream import StreamLedger
from tests.unit.cli.conftest import Ended


def lane_after(settings: Settings, cycles: int) -> Lane:
    """The lane of a session after so many cycles and their intervals."""
    session = prepare(settings, open_end=True).session(StreamLedger())

    async def run() -> None:
        for _ in range(cycles):
            await session.cycle()

    asyncio.run(run())
    return session.lanes[0]


def agrees(explained: dict[str, Any], lane: Lane) -> None:
    """Every number from its formula, computed here once more from what the explanation itself says."""
    config, instrument, last = lane.config, lane.instrument, lane.explanation
    assert last is not None
    tick = instrument.tick_size
    bid, ask = (int(Decimal(explained[name]) / tick) for name in ("best_bid", "best_ask"))
    mid = (bid + ask) / 2
    most_base = config.total_capital * config.max_inventory_exposure / (Decimal(mid) * tick)
    ratio = inventory_ratio(
        float(instrument.base_amount(lane.inventory.base_atoms) / instrument.lot_size),
        0.0,
        float(most_base / instrument.lot_size),
    )
    assert explained["inventory_ratio"] == pytest.approx(ratio, rel=1e-6)
    terms = price_quotes(
        QuoteRules.of(config), bid, ask, explained["volatility_per_hour"], explained["inventory_ratio"], last.mandate
    )
    assert explained["bid"] is not None and int(Decimal(explained["bid"]) / tick) == terms.bid_ticks
    assert explained["ask"] is not None and int(Decimal(explained["ask"]) / tick) == terms.ask_ticks
    assert explained["shift_b"] == terms.shift
    assert explained["spread_bps"] == pytest.approx(terms.spread_frac * 10_000, abs=1e-6)
    sigma = explained["volatility_per_hour"]
    floor_bps = None if config.spread_floor_frac is None else float(config.spread_floor_frac * 10_000)
    assert explained["floor_bps"] == (None if floor_bps is None else pytest.approx(floor_bps))
    wanted = max(float(config.base_spread_bps), floor_bps or 0.0) * explained["spread_multiplier"] * (1 + 2 * sigma)
    assert explained["spread_before_cap_bps"] == pytest.approx(wanted, abs=1e-5)
    assert explained["spread_bps"] == pytest.approx(min(wanted, float(config.max_spread_bps)), abs=1e-5)
    assert explained["inventory_skew"] == pytest.approx((config.inventory_target - ratio) * config.skew_factor, rel=1e-6)
    assert explained["confidence"] == quote_confidence(explained["depth_score"], sigma, last.mandate.risk_level)
    assert explained["break_even_spread_bps"] == format((2 * config.maker_fee_bps).normalize(), "f")
    assert explained["distance_bps"] == pytest.approx((1 - terms.bid_ticks / mid) * 10_000, abs=1e-4)


@pytest.mark.parametrize(
    "maker", [{}, {"min_profit_threshold": "none", "spread_percentage": "0.0007", "inventory_target": 0.7}]
)
def test_on_the_simulated_market_every_term_is_the_formulas(tmp_path: Path, maker: dict[str, Any]) -> None:
    """Spread, floor, cap, skew, shift, prices, confidence: recomputed from what is shown."""
    lane = lane_after(build_settings({"out_dir": tmp_path, "maker": maker, "desk": {"every_s": 40}}), 3)
    explained = explain_lane(lane)
    assert explained["mandate_state"] == MandateState.IN_FORCE.value and explained["mandate"].startswith("BTC-USDT-m")
    assert explained["simulated"] is True and explained["market_problem"] is None
    agrees(explained, lane)
    assert explained["buy_order"].endswith("submitted") or "withheld" in explained["buy_order"]


def test_on_the_recorded_session_too(tmp_path: Path, recordings: Path) -> None:
    """The real market's numbers; a rest is shown with size, price and state."""
    market = f"replay:{recordings / 'binance_spot_btcusdt_20240808' / 'spot_btcusdt_20240808.jsonl.gz'}"
    lane = lane_after(build_settings({"out_dir": tmp_path, "market": market, "desk": {"every_s": 30}}), 2)
    explained = explain_lane(lane)
    agrees(explained, lane)
    assert explained["simulated"] is False
    assert 0 < explained["volatility_per_hour"] < 0.1
    size, price = explained["buy_order"].split(",")[0].split(" at ")
    assert Decimal(price) <= Decimal(explained["best_bid"]) and Decimal(size) > 0


def test_the_command_prints_what_a_run_would_quote_and_writes_nothing(autohedge: Callable[..., Ended], tmp_path: Path) -> None:
    """--json: one object; after --after of market time, with the desk asked every --every as in a run."""
    first = autohedge("explain-quote", "--json", "--after", "30s").json["quotes"]
    assert [quote["symbol"] for quote in first] == ["BTC/USDT"] and first[0]["mandate"] == "BTC-USDT-m0001"
    later = autohedge("explain-quote", "--json", "--after", "90s", "--every", "20s", "BTC/USDT", "ETH/USDT").json["quotes"]
    assert [quote["mandate"] for quote in later] == ["BTC-USDT-m0005", "ETH-USDT-m0005"]
    assert list(tmp_path.iterdir()) == []
    shown = autohedge("explain-quote", "--after", "30s").out
    for term in ("spread before cap bps", "inventory skew", "confidence", "break even spread bps", "(simulated)"):
        assert term in shown


@pytest.mark.parametrize(
    ("options", "side", "reason"),
    [
        (("--set", "min_profit_threshold=0.004"), "buy_order", "min_profit_unreachable"),
        ((), "sell_order", "no_base"),
        (("--set", "initial_base=25"), "buy_order", "inventory_imbalance"),
    ],
)
def test_why_a_side_is_not_quoted_is_said(
    autohedge: Callable[..., Ended], options: tuple[str, ...], side: str, reason: str
) -> None:
    """Each withheld side with the word that the report and the ledger use."""
    (quote,) = autohedge("explain-quote", "--json", "--after", "30s", *options).json["quotes"]
    assert quote[side] == f"withheld: {reason}"
    if reason == "inventory_imbalance":
        assert quote["blocked"] == {"buy": "inventory_imbalance"}
    if reason == "min_profit_unreachable":
        assert quote["quote_reason"] == reason and quote["bid"] is None


def test_the_clamps_shown_are_those_of_the_mandate_in_force(autohedge: Callable[..., Ended], tmp_path: Path) -> None:
    """An envelope narrower than the desk wants: the cut is part of the explanation."""
    (tmp_path / "my.toml").write_text("[envelope]\nttl_max_s = 100\n")
    (quote,) = autohedge("explain-quote", "--json", "--after", "30s", "--config", "my.toml").json["quotes"]
    assert {"field": "ttl_s", "asked": 300.0, "given": 100.0, "limit": "ttl_max_s"} in quote["clamps"]
    (quote,) = autohedge("explain-quote", "--json", "--after", "1s").json["quotes"]
    assert quote["mandate"] == "none" and quote["mandate_state"] == "missing" and quote["clamps"] is None
