"""The whole desk and its maker on candles: on schedule, after its latency, without the future, by rules, model or recording."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from autohedge import AutoHedge
from autohedge.backtest.bar_run import Choice, backtest_bars
from autohedge.backtest.bar_session import BarProgress
from autohedge.backtest.l2_run import Mandates
from autohedge.backtest.metrics import measure
from autohedge.backtest.recorded_desk import recorded_desk
from autohedge.backtest.result import BacktestResult
from autohedge.backtest.store import ResultStore
from autohedge.backtest.tear_sheet import tear_sheet
from autohedge.bootstrap import build_desk, prepare
from autohedge.domain.records import CycleOutcome, CycleRequest
from autohedge.domain.view import MarketView
from autohedge.errors import ConfigError, LlmShareTooLow, MarketDataError
from autohedge.market.calendars import TradingCalendar
from autohedge.market.candle_store import CandleSeries, CandleStore
from autohedge.market.candles import candles_of_feed
from autohedge.market.recordings import open_replay
from autohedge.market.timeframes import Timeframe
from autohedge.operations.clock import SystemClock
from autohedge.settings import Settings, build_settings
from autohedge.testing import GoodAnswers, ScriptedModel
from tests.unit.market.candle_tables import MIDNIGHT_NS, walk

S = 1_000_000_000
MINUTE_NS = 60 * S
CLOSE_QUOTES = {"min_profit_threshold": "none", "quoting_model": "fixed_spread", "spread_percentage": "0.0005"}


class Listening:
    """A desk with what it was shown and what it said."""

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


def saved(path: Path, table: pl.DataFrame) -> Path:
    table.write_csv(path)
    return path


def settings_of(candles: Path, out: Path, **parts: Any) -> Settings:
    maker = CLOSE_QUOTES | parts.pop("maker", {})
    return build_settings({"market": f"candles:{candles}", "out_dir": out, "maker": maker, **parts})


def listening(settings: Settings) -> Listening:
    return Listening(build_desk(settings, SystemClock(), None))


def facts(result: BacktestResult) -> tuple[Any, ...]:
    return (result.final_equity, result.counts, result.fills.ts_ns.tolist(), result.fills.price.tolist())


# --- the schedule -------------------------------------------------------------------------------------------------------------


async def test_the_desk_is_asked_at_closes_and_the_time_between_is_rounded_up_to_bars(tmp_path: Path) -> None:
    path = saved(tmp_path / "walk.csv", walk(60))
    settings = settings_of(path, tmp_path, desk={"every_s": 130})
    desk = listening(settings)
    (result,) = await backtest_bars(settings, desk=desk)
    first_ns = MIDNIGHT_NS + MINUTE_NS
    assert [view.as_of_ns for view in desk.views] == [first_ns + 3 * MINUTE_NS * i for i in range(20)]
    assert all(view.bars is not None and view.bars.closed_ns == view.as_of_ns for view in desk.views)
    assert [view.bars.bars for view in desk.views if view.bars is not None] == list(range(1, 60, 3))
    assert result.counts["cycles"] == 20
    assert result.counts["bars_mandate_missing"] == 1, "the first mandate counts from the second close on"
    limited = listening(settings)
    await backtest_bars(settings.model_copy(update={"desk": settings.desk.model_copy(update={"cycles": 4})}), desk=limited)
    assert len(limited.views) == 4


@pytest.mark.parametrize("choice", [Choice(), Choice("grid")])
async def test_whoever_watches_is_told_of_every_part_of_the_way(tmp_path: Path, choice: Choice) -> None:
    """Forward only, to the last bar, with cycles and fills as they are then."""
    settings = settings_of(saved(tmp_path / "walk.csv", walk(200)), tmp_path, desk={"every_s": 1_800})
    seen: list[BarProgress] = []
    (result,) = await backtest_bars(settings, choice, on_progress=seen.append)
    assert [each.bars for each in seen] == sorted({each.bars for each in seen})
    last = seen[-1]
    assert (last.bars, last.of_bars, last.market_ns) == (200, 200, result.end_ns)
    assert (last.fills, last.cycles) == (result.counts["fills"], result.counts.get("cycles", 0))
    assert len(seen) == (8 if choice.strategy == "maker" else 1)


async def test_nobody_is_asked_while_the_exchange_is_shut(tmp_path: Path) -> None:
    """Hourly over a night: the next cycle after the last one of a session is at the first close of the next."""
    times = TradingCalendar("XNYS").opens(Timeframe.M5, MIDNIGHT_NS, MIDNIGHT_NS + 4 * 86_400 * S)["ts_ns"]
    table = walk(len(times), timeframe=Timeframe.M5)
    volume = table["volume"].cast(pl.Float64).ceil().cast(table.schema["volume"])
    path = saved(tmp_path / "nvda.csv", table.with_columns(ts_ns=times, volume=volume))
    settings = settings_of(path, tmp_path, symbols=("NVDA",), maker={"total_capital": 100_000}, desk={"every_s": 3_600})
    desk = listening(settings)
    (result,) = await backtest_bars(settings, desk=desk)
    opens_ns = times.to_list()
    closes = [each + 300 * S for each in opens_ns]
    assert all(view.as_of_ns in closes for view in desk.views)
    gaps = np.diff([view.as_of_ns for view in desk.views])
    assert set(gaps[gaps < 10 * 3_600 * S].tolist()) == {3_600 * S}
    assert (gaps > 10 * 3_600 * S).sum() == 1
    assert result.counts["withheld_session_end"] == 2 * 2
    assert result.trading_days_per_year == 252


async def test_two_symbols_share_the_capital_and_the_schedule(tmp_path: Path) -> None:
    store = CandleStore(tmp_path / "candles")
    for symbol, seed in (("BTC/USDT", 1), ("ETH/USDT", 2)):
        store.merge(CandleSeries("binance", symbol, Timeframe.M1), walk(90, seed=seed), now_ns=SystemClock().now_ns())
    settings = settings_of(store.root, tmp_path, symbols=("BTC/USDT", "ETH/USDT"), desk={"every_s": 600})
    desk = listening(settings)
    one, two = await backtest_bars(settings, desk=desk)
    assert (one.symbol, two.symbol, one.initial_equity, two.initial_equity) == ("BTC/USDT", "ETH/USDT", 5_000, 5_000)
    assert [view.symbol for view in desk.views] == ["BTC/USDT", "ETH/USDT"] * 9
    assert facts(one) != facts(two)
    with pytest.raises(ConfigError, match="one symbol"):
        file = saved(tmp_path / "one.csv", walk(20))
        await backtest_bars(settings_of(file, tmp_path, symbols=("BTC/USDT", "ETH/USDT")))


# --- nothing of the future ----------------------------------------------------------------------------------------------------


async def test_the_future_reaches_no_view_no_decision_and_no_fill(tmp_path: Path) -> None:
    """The candles after a moment are another market's; whatever was seen, said or done by then stays as it was."""
    table, cut = walk(400), 300
    cut_ns = MIDNIGHT_NS + cut * MINUTE_NS
    other = walk(400, seed=9)
    planted = pl.concat([table.head(cut), other.tail(400 - cut).with_columns(pl.col("open", "high", "low", "close") * 3)])
    seen = []
    for name, market in (("true", table), ("planted", planted.cast(table.schema))):
        settings = settings_of(saved(tmp_path / f"{name}.csv", market), tmp_path, desk={"every_s": 300})
        desk = listening(settings)
        (result,) = await backtest_bars(settings, desk=desk, allow_bad_data=True)
        views = [asdict(view) for view in desk.views if view.as_of_ns <= cut_ns]
        said = [
            (outcome.proposal, [each.value for each in outcome.decisions])
            for outcome in desk.outcomes
            if outcome.ts_ns <= cut_ns
        ]
        known = result.fills.ts_ns <= cut_ns
        equity = result.curve.equity_quote[result.curve.ts_ns <= cut_ns]
        seen.append((views, said, result.fills.price[known].tolist(), equity.tolist(), facts(result)))
    assert len(seen[0][0]) == 60 and len(seen[0][2]) > 5
    assert repr(seen[0][:4]) == repr(seen[1][:4])
    assert seen[0][4] != seen[1][4], "the planted future must matter once it is the present"


# --- who decides --------------------------------------------------------------------------------------------------------------


async def test_equal_runs_are_equal_and_frozen_asks_nobody(tmp_path: Path) -> None:
    settings = settings_of(saved(tmp_path / "walk.csv", walk(200)), tmp_path, desk={"every_s": 600})
    (one,), (two,) = [await backtest_bars(settings) for _ in range(2)]
    assert facts(one) == facts(two) and one.settings == two.settings
    assert one.decisions == {"total": 80, "model_driven": 0, "by_source": {"rules": 80}, "model": None}
    (frozen,) = await backtest_bars(settings, mandates=Mandates.FROZEN)
    assert frozen.decisions is None and frozen.counts["cycles"] == 0
    assert facts(frozen) != facts(one)
    assert any("neutral mandate" in note for note in frozen.notes)


async def test_a_model_drives_the_maker_through_its_mandates(tmp_path: Path) -> None:
    """A client of the caller's own: its plans are clamped and obeyed, and too small a share of them fails the run."""
    path = saved(tmp_path / "walk.csv", walk(30))
    settings = settings_of(path, tmp_path, desk={"every_s": 600, "require_llm_frac": 1.0}, model={"name": "good"})
    (result,) = await backtest_bars(settings, model_client=ScriptedModel(GoodAnswers()))
    assert result.decisions is not None and result.decisions["model_driven"] == result.decisions["total"] > 0
    with pytest.raises(ConfigError, match="no model is named"):
        await backtest_bars(settings_of(path, tmp_path), model_client=ScriptedModel(GoodAnswers()))
    with pytest.raises(LlmShareTooLow, match="0 of"):
        await backtest_bars(settings_of(path, tmp_path, desk={"require_llm_frac": 0.5}))


async def test_decisions_of_a_recorded_run_steer_the_maker_on_the_candles_of_its_market(tmp_path: Path) -> None:
    """The run decides at its own times; on bars each plan is heard at the first close after it, and none before."""
    record = tmp_path / "recording"
    ran = prepare(
        build_settings({"out_dir": tmp_path, "record_dir": record, "desk": {"cycles": 4, "every_s": 90}}), environ={}
    ).start()
    summary = await ran.drive()
    store = CandleStore(tmp_path / "candles")
    feed = open_replay(record, "BTC/USDT", ran.session.lanes[0].instrument)
    candles = await candles_of_feed(feed, Timeframe.M1)
    store.merge(CandleSeries("sim", "BTC/USDT", Timeframe.M1), candles, now_ns=SystemClock().now_ns())
    settings = settings_of(store.root, tmp_path, desk={"every_s": 60})
    desk = recorded_desk(tmp_path, summary["run_id"], on_bars=True)
    (result,) = await backtest_bars(settings, desk=desk)
    assert (result.settings["mandates"], result.data["simulated"]) == (summary["run_id"], True)
    heard = Listening(recorded_desk(tmp_path, summary["run_id"], on_bars=True))
    await backtest_bars(settings, desk=heard)
    before_ns, plans = 0, []
    for answer in heard.outcomes:
        since = [each.proposal for each in ran.session.outcomes if before_ns < each.ts_ns <= answer.ts_ns]
        assert answer.proposal == (since[-1] if since else None)
        before_ns = answer.ts_ns
        plans.append(answer.proposal)
    assert len(set(plans) - {None}) >= 2 and None in plans


# --- strategies, results, refusals ------------------------------------------------------------------------------------------


async def test_strategies_by_name_run_on_the_same_market_with_what_is_assumed(tmp_path: Path) -> None:
    settings = settings_of(saved(tmp_path / "walk.csv", walk(400)), tmp_path, seed=5)
    assumed = {"slippage_model": "square_root", "participation_frac": "none"}
    choice = Choice("dual_moving_average", {"fast": "3", "slow": "9"}, assumed)
    (crossed,) = await backtest_bars(settings, choice)
    (grid,) = await backtest_bars(settings, Choice("grid", {"levels": 3, "spacing_frac": "0.001"}))
    assert crossed.settings["parameters"]["slow"] == 9
    told = crossed.settings["assumptions"]
    assert (told["slippage_model"], told["commission_frac"], told["seed"]) == ("square_root", "0.001", 5)
    assert crossed.fees > 0 and crossed.final_equity < crossed.initial_equity
    assert grid.counts["fills"] > 0 and facts(grid) != facts(crossed)


async def test_results_are_measured_kept_and_drawn(tmp_path: Path) -> None:
    path = saved(tmp_path / "walk.csv", walk(1_500))
    (result,) = await backtest_bars(settings_of(path, tmp_path, desk={"every_s": 600}))
    metrics = measure(result)
    store = ResultStore(tmp_path / "backtests")
    kept = store.load(store.save(result, metrics).id)
    assert (kept.final_equity, kept.counts, kept.uptime_frac) == (result.final_equity, result.counts, result.uptime_frac)
    assert metrics.pnl.total_quote == result.final_equity - result.initial_equity
    assert result.uptime_frac is not None and 0.5 < result.uptime_frac["bid"] < 1.0
    assert result.quotes is not None and len(result.quotes.ts_ns) > 100
    assert "market maker on bars" in tear_sheet(result, metrics)


@pytest.mark.parametrize(
    ("choice", "parts", "told"),
    [
        (Choice("martingale"), {}, "maker, dual_moving_average, grid"),
        (Choice("maker", {"fast": 3}), {}, "--set"),
        (Choice("grid"), {"model": {"name": "good"}}, "no desk is asked"),
        (Choice("grid", {"colour": 1}), {}, "colour"),
        (Choice(assumptions={"initial_capital": 5}), {}, "initial_capital cannot be assumed"),
        (Choice(assumptions={"luck": 5}), {}, "luck"),
        (Choice(), {"record_dir": Path("somewhere")}, "--record"),
        (Choice(), {"limits": {"max_portfolio_exposure_frac": "0.5"}}, "max_portfolio_exposure_frac"),
        (Choice(), {"maker": {"rebalance": True, "maker_fee_bps": 2}}, "taker_fee_bps"),
        (Choice(), {"maker": {"maker_fee_bps": -1}}, "rebate"),
        (Choice(), {"maker": {"order_size_percentage": "0.0005"}}, "raise total_capital"),
    ],
)
async def test_what_does_not_fit_candles_is_refused(tmp_path: Path, choice: Choice, parts: dict[str, Any], told: str) -> None:
    path = saved(tmp_path / "walk.csv", walk(20))
    with pytest.raises(ConfigError, match=told):
        await backtest_bars(settings_of(path, tmp_path, **parts), choice)


async def test_a_market_with_a_book_is_not_a_market_of_candles(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="candles:PATH"):
        await backtest_bars(build_settings({"out_dir": tmp_path}))


def test_a_stock_in_the_library_is_backtested_and_not_run(tmp_path: Path) -> None:
    """AutoHedge takes candles as a market; running on them live or on paper is refused, backtesting its settings works."""
    times = TradingCalendar("XNYS").opens(Timeframe.D1, MIDNIGHT_NS, MIDNIGHT_NS + 90 * 86_400 * S)["ts_ns"]
    table = walk(len(times), timeframe=Timeframe.D1)
    volume = table["volume"].cast(pl.Float64).ceil().cast(table.schema["volume"])
    path = saved(tmp_path / "nvda.csv", table.with_columns(ts_ns=times, volume=volume))
    hedge = AutoHedge(
        stocks=["NVDA"],
        output_dir=tmp_path,
        market=f"candles:{path}",
        every="1d",
        settings={"maker": CLOSE_QUOTES | {"total_capital": 1_000_000}, "desk": {"cycles": None}},
    )
    with pytest.raises(ConfigError, match="only for `autohedge backtest`"):
        hedge.run("Quote calmly.")
    (result,) = asyncio.run(backtest_bars(hedge.settings))
    assert (result.symbol, result.trading_days_per_year, result.initial_equity) == ("NVDA", 252, Decimal(1_000_000))
    assert result.counts["fills"] > 5
    assert result.counts["cycles"] == len(times) - 1
    assert result.counts["bars_mandate_in_force"] == len(times) - 1


async def test_unfit_candles_are_refused_unless_told_otherwise(tmp_path: Path) -> None:
    settings = settings_of(saved(tmp_path / "gap.csv", walk(60).filter(pl.int_range(pl.len()) != 20)), tmp_path)
    with pytest.raises(MarketDataError, match="gap"):
        await backtest_bars(settings)
    (result,) = await backtest_bars(settings, mandates=Mandates.FROZEN, allow_bad_data=True)
    assert any("gap" in note for note in result.notes)


async def test_three_days_of_recorded_candles_hold_together(recordings: Path, tmp_path: Path) -> None:
    source = recordings / "candles_1m" / "binance_spot_BTCUSDT_1m_20250520_20250818.parquet"
    path = tmp_path / "btc.parquet"
    pl.read_parquet(source).head(3 * 1_440).write_parquet(path)
    settings = build_settings({"market": f"candles:{path}", "out_dir": tmp_path, "desk": {"every_s": 3_600}})
    (result,) = await backtest_bars(settings)
    assert (result.counts["cycles"], result.counts["orders_denied"]) == (72, 0)
    assert result.counts["fills"] > 5
    assert float(result.fees) == pytest.approx(float(result.volume) / 1_000)
    pnl = measure(result).pnl
    parts = pnl.spread_captured_quote + pnl.adverse_selection_quote + pnl.inventory_quote - pnl.fees_quote
    assert parts == pnl.total_quote
    assert pnl.spread_captured_quote + pnl.adverse_selection_quote < pnl.spread_captured_quote, "minutes run through its quotes"
