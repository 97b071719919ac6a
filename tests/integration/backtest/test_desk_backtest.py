"""The whole desk over the compiled loop is the whole desk over the live engine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_run import Mandates, backtest, prepared_market
from autohedge.backtest.l2_session import BacktestSession
from autohedge.bootstrap import Plan, lane_config, prepare
from autohedge.domain.records import CycleOutcome, CycleRequest, FillRecord, OrderRecord
from autohedge.domain.view import MarketView
from autohedge.errors import LlmShareTooLow
from autohedge.settings import Settings, build_settings
from autohedge.storage.stream import CanonicalRecord, StreamLedger

S = 1_000_000_000
JOIN = {"touch": "join", "min_profit_threshold": "none", "maker_fee_bps": 0, "latency_ms": 5}


class Listening:
    """The product's own desk, with what it was shown and what it said."""

    def __init__(self, desk: Any) -> None:
        self.model_name = desk.model_name
        self.views: list[MarketView] = []
        self.outcomes: list[CycleOutcome] = []
        self._desk = desk

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        self.views.append(request.view)
        outcome: CycleOutcome = await self._desk.run_cycle(request)
        self.outcomes.append(outcome)
        return outcome

    async def aclose(self) -> None:
        await self._desk.aclose()


class Shelf(StreamLedger):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[CanonicalRecord] = []

    def _add(self, record: CanonicalRecord) -> None:
        super()._add(record)
        self.records.append(record)


def settings_of(market: str, out: Path, **parts: Any) -> Settings:
    return build_settings({"market": market, "out_dir": out, "maker": {**JOIN, **parts.pop("maker", {})}, **parts})


async def live(settings: Settings) -> tuple[Listening, Shelf]:
    plan = prepare(settings, environ={})
    desk = Listening(plan.desk)
    plan.desk = desk
    shelf = Shelf()
    session = plan.session(shelf)
    await session.run(plan.cycles)
    await session.close()
    return desk, shelf


async def compiled(settings: Settings) -> tuple[Listening, list[CompiledLane], Plan]:
    plan = prepare(settings, environ={})
    desk = Listening(plan.desk)
    lanes = [
        CompiledLane(
            await prepared_market(settings, feed, allow_bad_data=True),
            lane_config(settings, feed.instrument),
            settings.limits,
            settings.envelope,
            base_atoms=plan.openings[feed.instrument.symbol].base_atoms,
            quote_atoms=plan.openings[feed.instrument.symbol].quote_atoms,
            desk_latency_ns=int(settings.desk.latency_ms * 1_000_000),
        )
        for feed in plan.feeds
    ]
    session = BacktestSession(
        lanes,
        desk,
        simulated=plan.simulated,
        every_ns=int(settings.desk.every_s * S),
        task=settings.desk.task,
    )
    await session.run(plan.cycles)
    return desk, lanes, plan


def assert_same(one: tuple[Listening, Shelf], other: tuple[Listening, list[CompiledLane], Plan]) -> None:
    """Views, decisions, orders and fills, to the last digit."""
    desk, shelf = one
    again, lanes, _ = other
    assert [asdict(view) for view in again.views] == [asdict(view) for view in desk.views]
    assert [outcome.proposal for outcome in again.outcomes] == [outcome.proposal for outcome in desk.outcomes]
    for lane in lanes:
        instrument, symbol = lane.instrument, lane.instrument.symbol
        told = [each for each in shelf.records if each.symbol == symbol]
        orders = [each for each in told if isinstance(each, OrderRecord)]
        assert [row[0] for row in lane.log("orders").tolist()] == [each.ts_ns for each in orders]
        fills = [each for each in told if isinstance(each, FillRecord)]
        assert fills
        found = [
            (row[0], instrument.price(row[3]), instrument.size(row[4]), instrument.quote_amount(row[9]))
            for row in lane.log("fills").tolist()
        ]
        assert found == [(each.ts_ns, each.price, each.size, each.quote_after) for each in fills]


async def test_the_rule_desk_sees_and_does_the_same_on_the_recorded_session(recordings: Path, tmp_path: Path) -> None:
    recording = recordings / "binance_spot_btcusdt_20240808" / "spot_btcusdt_events.parquet"
    settings = settings_of(f"replay:{recording}", tmp_path)
    assert_same(await live(settings), await compiled(settings))


async def test_the_rule_desk_sees_and_does_the_same_on_two_simulated_markets(tmp_path: Path) -> None:
    settings = settings_of("sim", tmp_path, symbols=("BTC/USDT", "ETH/USDT"), desk={"cycles": 5, "every_s": 20})
    assert_same(await live(settings), await compiled(settings))


async def test_results_are_equal_run_by_run_and_hold_together(tmp_path: Path) -> None:
    settings = settings_of("sim", tmp_path, desk={"cycles": 4, "every_s": 30}, maker={"maker_fee_bps": 2})
    (one,), (two,) = await backtest(settings, environ={}), await backtest(settings, environ={})
    assert json.dumps(one.settings) == json.dumps(two.settings)
    assert (one.final_equity, one.counts) == (two.final_equity, two.counts)
    assert one.fees > 0
    assert one.decisions is not None and one.decisions["by_source"] == {"rules": one.decisions["total"]}
    assert float(one.final_equity) == pytest.approx(one.curve.equity_quote[-1], rel=1e-12)
    assert one.counts["fills"] == len(one.fills.ts_ns) > 0
    assert float(one.fees) == pytest.approx(one.fills.fee_quote.sum(), rel=1e-9)


async def test_a_frozen_mandate_asks_nobody(tmp_path: Path) -> None:
    settings = settings_of("sim", tmp_path, desk={"cycles": 4, "every_s": 30})
    (result,) = await backtest(settings, mandates=Mandates.FROZEN, environ={})
    assert result.decisions is None
    assert result.counts["cycles"] == 0
    assert result.counts["orders_placed"] > 0
    assert any("frozen" in note or "neutral" in note for note in result.notes)


async def test_too_few_model_driven_decisions_fail_the_backtest(tmp_path: Path) -> None:
    settings = settings_of("sim", tmp_path, desk={"cycles": 1, "every_s": 20, "require_llm_frac": 0.5})
    with pytest.raises(LlmShareTooLow, match="0 of"):
        await backtest(settings, environ={})


async def test_the_future_reaches_no_view_and_no_order(tmp_path: Path) -> None:
    """Everything after a moment is made absurd; whatever was seen or done before it stays as it was."""
    settings = settings_of("sim", tmp_path, desk={"cycles": 4, "every_s": 30})
    plan = prepare(settings, environ={})
    market = await prepared_market(settings, plan.feeds[0])
    rows = len(market.table.ts_ns)
    cut = rows // 2
    cut_ns = int(market.table.ts_ns[cut])
    logs = []
    for absurd in (False, True):
        if absurd:
            later = market.table.ts_ns >= cut_ns
            market.table.size_lots[later] *= 7
        lane = CompiledLane(
            market, lane_config(settings, market.instrument), settings.limits, settings.envelope,
            base_atoms=0, quote_atoms=plan.openings["BTC/USDT"].quote_atoms, desk_latency_ns=0,
        )  # fmt: skip
        desk = Listening(prepare(settings, environ={}).desk)
        await BacktestSession([lane], desk, simulated=True, every_ns=30 * S, task="t").run(4)
        views = [asdict(view) for view in desk.views if view.as_of_ns <= cut_ns]
        logs.append((views, [row for row in lane.log("events").tolist() if row[0] < cut_ns], lane.log("fills").tolist()))
    assert logs[0][0] == logs[1][0]
    assert logs[0][1] == logs[1][1] != []
    assert logs[0][2] != logs[1][2], "the planted future must matter once it is the present"
