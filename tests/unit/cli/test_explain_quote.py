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
        (("--set", "spread_percentage=0.09", "--set", "max_spread_bps=1000"), "sell_order", "no_base"),
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


MODEL = (
    "--set", "quoting_model=glft_exact", "--set", "min_profit_threshold=none", "--set", "max_spread_bps=500",
    "--set", "initial_base=2", "--set", "neutral_base=1", "--set", "inventory_limit_orders=2", "--set", "levels=2",
    "--set", "fair_value=microprice",
)  # fmt: skip


def test_every_term_of_a_model_is_told_and_leads_to_the_quotes(autohedge: Callable[..., Ended]) -> None:
    """100 USDT beyond neutral is an order of inventory; fair value + offset ± half spread, rounded away from the touch."""
    (quote,) = autohedge("explain-quote", "--json", "--after", "30s", *MODEL).json["quotes"]
    mid, fair = float(quote["mid"]), float(quote["fair_value"])
    assert mid == (float(quote["best_bid"]) + float(quote["best_ask"])) / 2
    assert quote["fair_value_is"] == "microprice" and fair != mid
    assert quote["model_sigma_ticks_per_sqrt_s"] == pytest.approx(quote["volatility_per_hour"] * mid / 0.01 / 60)
    half, offset = quote["model_half_spread_ticks"] * quote["spread_multiplier"], quote["model_offset_ticks"]
    assert quote["model_half_spread_bps"] == pytest.approx(quote["model_half_spread_ticks"] * 0.01 / mid * 10_000)
    assert (offset < 0) == (quote["model_inventory_orders"] > 0)
    bias = quote["inventory_bias"] * half
    for side, away in (("bid", -1), ("ask", 1)):
        if quote[side] is not None:
            assert float(quote[side]) == pytest.approx(fair + (offset + bias + away * half) * 0.01, abs=0.011)
        assert {f"{name}_order_level_1" for name in ("buy", "sell")} <= set(quote)


def test_the_limit_of_a_model_is_a_reason(autohedge: Callable[..., Ended]) -> None:
    """Five orders of inventory, a limit of two: no bid."""
    options = [word.replace("initial_base=2", "initial_base=6") for word in MODEL]
    (quote,) = autohedge("explain-quote", "--json", "--after", "30s", *options).json["quotes"]
    assert quote["model_inventory_orders"] > 2
    assert (quote["buy_order"], quote["bid"], quote["quote_reason"]) == ("withheld: inventory_limit", None, "ok")


def test_fees_requests_and_guards_are_told(autohedge: Callable[..., Ended]) -> None:
    """What a round trip must earn, what the request budget leaves, and what the guard sees."""
    fees = ("--set", "maker_fee_bps=-1", "--set", "taker_fee_bps=4", "--set", "min_profit_threshold=0.002")
    guard = ("--set", "toxic_trades_ratio=5", "--set", "toxic_depletion_frac=0.999", "--set", "toxic_imbalance=0.01")
    (quote,) = autohedge("explain-quote", "--json", "--after", "30s", *fees, *guard).json["quotes"]
    assert (quote["break_even_spread_bps"], quote["break_even_when_one_side_crosses_bps"]) == ("-2", "3")
    assert quote["spread_after_fees_bps"] == pytest.approx(quote["spread_bps"] + 2)
    left, of = quote["requests_left"].removesuffix(" per minute").split(" of ")
    assert 0 <= int(left) < int(of) == 100
    assert (quote["tolerance_for_want_of_requests_bps"] > 0) == (int(left) < 50)
    against = "toxic_bids" if quote["imbalance_of_five_levels"] < 0 else "toxic_asks"
    assert quote["toxicity_guard"] == "pull" and quote[against].startswith("toxic_")
    assert quote["buy_order" if against == "toxic_bids" else "sell_order"] == f"withheld: {quote[against]}"
    assert float(quote["usual_bid_size_base"]) > 0 and float(quote["best_bid_size_base"]) > 0
    (quote,) = autohedge("explain-quote", "--json", "--after", "1s").json["quotes"]
    assert quote["toxicity_guard"] == "off" and "toxic_bids" not in quote


def test_the_clamps_shown_are_those_of_the_mandate_in_force(autohedge: Callable[..., Ended], tmp_path: Path) -> None:
    """An envelope narrower than the desk wants: the cut is part of the explanation."""
    (tmp_path / "my.toml").write_text("[envelope]\nttl_max_s = 100\n")
    (quote,) = autohedge("explain-quote", "--json", "--after", "30s", "--config", "my.toml").json["quotes"]
    assert {"field": "ttl_s", "asked": 300.0, "given": 100.0, "limit": "ttl_max_s"} in quote["clamps"]
    (quote,) = autohedge("explain-quote", "--json", "--after", "1s").json["quotes"]
    assert quote["mandate"] == "none" and quote["mandate_state"] == "missing" and quote["clamps"] is None
