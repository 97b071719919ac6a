"""A backtest on candles, from settings to results: the whole desk over its maker, or one strategy by name.

Point in time: what a cycle sees are bars that had closed, a mandate takes effect at the first close after the desk's latency,
and nothing sent on a bar trades in it. Refused: candles that `data check` finds unfit, unless told otherwise; settings that
only mean something on a book; capital whose orders are smaller than the least that can be ordered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from autohedge import __version__
from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bar_engine import BarRun
from autohedge.backtest.bar_session import BarLane, BarProgress, BarSession
from autohedge.backtest.candle_market import CandleMarket, read_candle_market
from autohedge.backtest.l2_run import Mandates
from autohedge.backtest.maker_on_bars import MakerOnBars, smallest_order_problem
from autohedge.backtest.provenance import check_llm_share, told_of
from autohedge.backtest.recorded_desk import RecordedOnBars
from autohedge.backtest.result import BacktestResult
from autohedge.backtest.strategies import DualMovingAverage, GridStrategy
from autohedge.backtest.strategy import Strategy
from autohedge.bootstrap import build_desk, build_model_client, lane_config, refuse_portfolio_limits
from autohedge.domain.paper import PaperSettings
from autohedge.errors import ConfigError
from autohedge.market_maker.config import BPS
from autohedge.operations.clock import SystemClock
from autohedge.ports import Clock, Desk, ModelClient
from autohedge.settings import Settings

NS_PER_S = 1_000_000_000
MAKER = "maker"
STRATEGIES: dict[str, type[Strategy]] = {"dual_moving_average": DualMovingAverage, "grid": GridStrategy}
"""Strategies by name, besides the maker."""
BY_SETTINGS = ("initial_capital", "commission_frac", "latency_ms", "trading_days_per_year", "seed")
"""Assumptions that settings and instrument decide."""


@dataclass(frozen=True)
class Choice:
    """What runs on the bars: the maker, or a strategy by name with its parameters; and what is assumed about the market."""

    strategy: str = MAKER
    parameters: Mapping[str, Any] | None = None
    assumptions: Mapping[str, Any] | None = None


async def backtest_bars(
    settings: Settings,
    choice: Choice = Choice(),
    *,
    mandates: Mandates = Mandates.DESK,
    allow_bad_data: bool = False,
    desk: Desk | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
    model_client: ModelClient | None = None,
    on_progress: Callable[[BarProgress], None] | None = None,
) -> tuple[BacktestResult, ...]:
    """Backtest on the settings' candles; one result per symbol, in the order of the settings.

    `desk` stands for the one that the settings describe. Raises `ConfigError`, `MarketDataError`, or `LlmShareTooLow` when
    fewer decisions were model-driven than the settings demand.
    """
    clock = clock or SystemClock()
    _check(settings, choice)
    markets = read_markets(settings, now_ns=clock.now_ns(), allow_bad_data=allow_bad_data)
    if choice.strategy != MAKER:
        return tuple(_strategy_run(settings, choice, market, on_progress) for market in markets)
    has_desk = mandates is Mandates.DESK
    lanes = [_maker_lane(settings, choice, market, has_desk=has_desk) for market in markets]
    own_client: ModelClient | None = None
    if has_desk and desk is None:
        if model_client is not None and settings.model.name is None:
            raise ConfigError("a model client was given and no model is named, so it would never be asked; name the model")
        if model_client is None:
            model_client = own_client = build_model_client(settings, os.environ if environ is None else environ)
        desk = build_desk(settings, clock, model_client)
    session = BarSession(
        lanes,
        desk if has_desk else None,
        every_ns=int(settings.desk.every_s * NS_PER_S),
        task=settings.desk.task,
        on_progress=on_progress,
    )
    try:
        await session.run(settings.desk.cycles)
    finally:
        if own_client is not None:
            await own_client.aclose()
    decisions = [each for outcome in session.outcomes for each in outcome.decisions]
    if has_desk:
        check_llm_share(decisions, settings.desk.require_llm_frac)
    told = told_of(decisions, desk.model_name) if has_desk and desk is not None else None
    source = desk.run_id if isinstance(desk, RecordedOnBars) else mandates.value
    return tuple(
        _maker_result(settings, choice, market, lane, source, told) for market, lane in zip(markets, lanes, strict=True)
    )


def read_markets(settings: Settings, *, now_ns: int, allow_bad_data: bool = False) -> tuple[CandleMarket, ...]:
    """The candles of every symbol. Raises as `read_candle_market`, and `ConfigError` for different quote currencies."""
    path = settings.candles_path
    if path is None:
        raise ConfigError(f"a backtest on bars needs market candles:PATH, found {settings.market}")
    if len(settings.symbols) > 1 and not path.is_dir():
        raise ConfigError(f"{path} has the candles of one symbol; for several name a store of `autohedge data download`")
    markets = tuple(
        read_candle_market(path, symbol, now_ns=now_ns, allow_bad_data=allow_bad_data) for symbol in settings.symbols
    )
    quotes = sorted({each.instrument.quote for each in markets})
    if len(quotes) > 1:
        raise ConfigError(
            f"the symbols are quoted in {' and '.join(quotes)}; one capital needs one quote currency: run them apart"
        )
    return markets


def assumptions_of(
    settings: Settings, market: CandleMarket, fee_bps: Decimal, given: Mapping[str, Any] | None = None
) -> Assumptions:
    """Account and costs of one symbol by the settings, and what is `given` of the market. Raises `ConfigError`."""
    given = dict(given or {})
    decided = sorted(set(given) & set(BY_SETTINGS))
    if decided:
        raise ConfigError(
            f"{', '.join(decided)} cannot be assumed: capital, fees, latency and seed are settings (total_capital, "
            "maker_fee_bps, taker_fee_bps, latency_ms, --seed), and the days of a year follow from the symbol"
        )
    if fee_bps < 0:
        raise ConfigError(f"a maker_fee_bps of {fee_bps} is a rebate, and on bars fees are 0 or more")
    config = lane_config(settings, market.instrument)
    return Assumptions.of(
        initial_capital=config.total_capital,
        commission_frac=fee_bps / BPS,
        latency_ms=config.latency_ms,
        trading_days_per_year=market.trading_days_per_year,
        seed=settings.seed,
        **given,
    )


# --- one run ----------------------------------------------------------------------------------------------------------------


def _check(settings: Settings, choice: Choice) -> None:
    """What can be said without the data."""
    refuse_portfolio_limits(settings)
    if settings.record_dir is not None:
        raise ConfigError("--record keeps the events of a book, and candles have none; leave it out")
    if choice.strategy != MAKER and choice.strategy not in STRATEGIES:
        raise ConfigError(f"expected a strategy of {', '.join((MAKER, *STRATEGIES))}, found {choice.strategy[:40]!r}")
    if choice.strategy != MAKER and settings.model.name is not None:
        raise ConfigError(f"no desk is asked about {choice.strategy}, so no model would be; leave the model out")
    if choice.strategy == MAKER and choice.parameters:
        raise ConfigError("the maker's parameters are settings: give them with --set NAME=VALUE or in the configuration file")


def _strategy_run(
    settings: Settings, choice: Choice, market: CandleMarket, on_progress: Callable[[BarProgress], None] | None
) -> BacktestResult:
    # one commission for all fills: the dearer one
    fee_bps = max(settings.maker.maker_fee_bps, settings.maker.taker_fee_bps)
    assumptions = assumptions_of(settings, market, fee_bps, choice.assumptions)
    run = BarRun(STRATEGIES[choice.strategy](**dict(choice.parameters or {})), market.bars, assumptions)
    while run.done < len(market.bars):
        run.advance(run.done + 65_536)
        if on_progress is not None:
            on_progress(BarProgress(int(market.bars.close_ns[run.done - 1]), run.done, len(market.bars), 0, run.fills))
    result = run.finish()
    return replace(
        result,
        settings={
            "market": settings.market,
            "symbols": list(settings.symbols),
            "strategy": choice.strategy,
            "version": __version__,
            **result.settings,
        },
        data={**result.data, "market": settings.market, "simulated": market.simulated},
        notes=(*market.notes, *result.notes),
    )


def _maker_lane(settings: Settings, choice: Choice, market: CandleMarket, *, has_desk: bool) -> BarLane:
    config = lane_config(settings, market.instrument)
    problem = smallest_order_problem(config, market.instrument, int(market.bars.close_ticks[0]))
    if problem:
        raise ConfigError(problem)
    if config.rebalance and config.taker_fee_bps != config.maker_fee_bps:
        raise ConfigError(
            "on bars all fills pay one commission, a rebalance too: set taker_fee_bps to maker_fee_bps, or rebalance=false"
        )
    maker = MakerOnBars(
        market_closes_ns=market.market_closes_ns,
        maker=config,
        limits=settings.limits,
        envelope=settings.envelope,
        has_desk=has_desk,
        desk_latency_ms=settings.desk.latency_ms,
    )
    # quotes are post-only, and a rebalance pays the same
    assumptions = assumptions_of(settings, market, config.maker_fee_bps, choice.assumptions)
    return BarLane(BarRun(maker, market.bars, assumptions), maker, market.simulated)


def _maker_result(
    settings: Settings,
    choice: Choice,
    market: CandleMarket,
    lane: BarLane,
    mandates: str,
    decisions: dict[str, Any] | None,
) -> BacktestResult:
    result, maker = lane.run.finish(), lane.maker
    return replace(
        result,
        strategy=f"market maker on bars ({settings.maker.quoting_model.value})",
        settings={
            **settings.canonical(),
            "mandates": mandates,
            "strategy": choice.strategy,
            "assumptions": result.settings["assumptions"],
            "version": __version__,
        },
        data={**result.data, "market": settings.market, "simulated": market.simulated},
        quotes=maker.quotes(),
        uptime_frac=maker.uptime_frac(),
        counts={
            **result.counts,
            "orders_denied": sum(maker.denied_by.values()),
            "cycles": len(maker.mandates),
            **{f"bars_mandate_{state}": count for state, count in sorted(maker.bars_by_mandate.items())},
            **{f"withheld_{reason}": count for reason, count in sorted(maker.withheld_by.items())},
        },
        decisions=decisions,
        notes=_notes(settings, market, lane, mandates, result.notes),
    )


def _notes(settings: Settings, market: CandleMarket, lane: BarLane, mandates: str, notes: Sequence[str]) -> tuple[str, ...]:
    told = [*settings.maker.warnings(), *market.notes, *notes]
    if market.simulated:
        told.append("the market is simulated")
    told.append("on bars the book is taken as one tick around each close and its depth as unknown (score 0)")
    if settings.paper != PaperSettings():
        told.append("the settings of [paper] are about a book and were not used on bars")
    if mandates == Mandates.FROZEN:
        told.append("no desk was asked: one neutral mandate held for ever")
    else:
        bars = lane.maker.bars_by_mandate
        share = bars["in_force"] / bars.total()
        if share < 0.5:
            told.append(
                f"a mandate was in force in {share:.0%} of the bars, and the maker was cautious in the others: a smaller "
                "--every, or longer plans within envelope.ttl_max_s, close the gaps"
            )
    return tuple(told)
