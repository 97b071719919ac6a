"""A backtest of the whole desk on a recorded or simulated book, from settings to results.

Point in time: what a cycle sees is made of messages received before it, and a mandate takes effect after the desk's latency.
Refused: data that `data check` finds unfit, unless told otherwise; no mandates at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from autohedge import __version__
from autohedge.backtest.l2_lane import NS_PER_MS, NS_PER_S, CompiledLane
from autohedge.backtest.l2_layout import NEVER_NS
from autohedge.backtest.l2_market import PreparedMarket, prepare_market
from autohedge.backtest.l2_result import result_of
from autohedge.backtest.l2_session import BacktestProgress, BacktestSession
from autohedge.backtest.result import BacktestResult
from autohedge.bootstrap import Plan, conditions_of, lane_config, prepare, refuse_portfolio_limits
from autohedge.desk.decisions import called_for_model, model_driven_share
from autohedge.domain.ids import CycleId, MandateId
from autohedge.domain.mandate import Mandate, Regime, RiskLevel
from autohedge.errors import ConfigError, LlmShareTooLow
from autohedge.market.event_rows import columns_of_feed
from autohedge.market.recordings import read_columns
from autohedge.ports import Clock, Desk, MarketFeed, ModelClient
from autohedge.settings import Settings

if TYPE_CHECKING:
    from autohedge.domain.records import DecisionRecord


class Mandates(StrEnum):
    """Where the maker's mandates come from: the desk (rules, or the model that is named), or one neutral mandate for ever."""

    DESK = "desk"
    FROZEN = "frozen"


async def backtest(
    settings: Settings,
    *,
    mandates: Mandates = Mandates.DESK,
    allow_bad_data: bool = False,
    sample_s: float = 1.0,
    desk: Desk | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
    model_client: ModelClient | None = None,
    markets: Mapping[str, PreparedMarket] | None = None,
    on_progress: Callable[[BacktestProgress], None] | None = None,
) -> tuple[BacktestResult, ...]:
    """Run the settings' market through the compiled loop; one result per symbol, in the order of the settings.

    `markets` are recordings that were prepared before, by symbol. Raises `ConfigError`, `MarketDataError`, or `LlmShareTooLow`
    when fewer decisions were model-driven than the settings demand.
    """
    refuse_portfolio_limits(settings)
    if desk is None and mandates is Mandates.FROZEN:
        desk = _NobodyAsked()
    plan = prepare(
        settings, kind="backtest", clock=clock, environ=os.environ if environ is None else environ, desk=desk,
        model_client=model_client,
    )  # fmt: skip
    try:
        lanes = [
            await _lane(plan, feed, (markets or {}).get(feed.instrument.symbol), allow_bad_data, sample_s)
            for feed in plan.feeds
        ]
        if mandates is Mandates.FROZEN:
            for lane in lanes:
                lane.give(neutral_for_ever(lane.instrument.symbol))
        session = BacktestSession(
            lanes,
            None if mandates is Mandates.FROZEN else plan.desk,
            simulated=plan.simulated,
            every_ns=int(settings.desk.every_s * NS_PER_S),
            task=settings.desk.task,
            on_progress=on_progress,
        )
        await session.run(plan.cycles)
    finally:
        if plan.model_client is not None:
            await plan.model_client.aclose()
    decisions = [each for outcome in session.outcomes for each in outcome.decisions]
    _check_llm_share(settings, decisions)
    told = None if mandates is Mandates.FROZEN else _told(plan, decisions)
    return tuple(
        result_of(
            lane,
            settings={**settings.canonical(), "mandates": mandates.value, "sample_s": sample_s, "version": __version__},
            data={
                "source": feed.description,
                "market": settings.market,
                "fingerprint": plan.market_fingerprint,
                "rows": lane.market.rows,
                "simulated": feed.simulated,
            },
            decisions=told,
            notes=_notes(plan, mandates),
        )
        for lane, feed in zip(lanes, plan.feeds, strict=True)
    )


def neutral_for_ever(symbol: str) -> Mandate:
    """The frozen mandate: spread and size as configured, no bias, medium risk."""
    return Mandate(
        MandateId("frozen"), CycleId("frozen"), symbol, 1.0, 0.0, 1.0, Regime.RANGE_BOUND, RiskLevel.MEDIUM,
        0, NEVER_NS, "frozen", "the default mandate, held for ever", (),
    )  # fmt: skip


async def prepared_market(settings: Settings, feed: MarketFeed, *, allow_bad_data: bool = False) -> PreparedMarket:
    """The events of a feed, checked and made ready for the loop."""
    path, instrument = settings.replay_path, feed.instrument
    if path is None:
        columns = await columns_of_feed(feed)
    elif allow_bad_data or feed.simulated:
        columns = await read_columns(path, instrument.symbol, instrument)
    else:
        from autohedge.market.recording_check import read_and_check, require_clean

        columns, report = await read_and_check(path, instrument.symbol, instrument)
        require_clean(report)
    return prepare_market(columns, instrument)


async def _lane(
    plan: Plan, feed: MarketFeed, market: PreparedMarket | None, allow_bad_data: bool, sample_s: float
) -> CompiledLane:
    settings = plan.settings
    if market is None:
        market = await prepared_market(settings, feed, allow_bad_data=allow_bad_data)
    opening = plan.openings[feed.instrument.symbol]
    config = lane_config(settings, feed.instrument)
    return CompiledLane(
        market,
        config,
        settings.limits,
        settings.envelope,
        base_atoms=opening.base_atoms,
        quote_atoms=opening.quote_atoms,
        desk_latency_ns=int(settings.desk.latency_ms * NS_PER_MS),
        sample_ns=_whole_ns(sample_s),
        conditions=conditions_of(settings, config, feed.instrument),
    )


def _whole_ns(sample_s: float) -> int:
    if not 0.001 <= sample_s <= 86_400:
        raise ConfigError(f"the curve is sampled every 0.001 to 86400 s, found {sample_s}")
    return int(sample_s * NS_PER_S)


class _NobodyAsked:
    """Stands where a desk would; a run with a frozen mandate never asks it."""

    model_name: str | None = None

    async def run_cycle(self, request: Any) -> Any:
        raise AssertionError("a frozen mandate asks nobody")

    async def aclose(self) -> None:
        """Nothing is held open."""


def _check_llm_share(settings: Settings, decisions: list[DecisionRecord]) -> None:
    wanted = settings.desk.require_llm_frac
    driven, total = model_driven_share(decisions)
    share = driven / total if total else 0.0
    if wanted is not None and share < wanted:
        raise LlmShareTooLow(
            f"{driven} of {total} decisions were model-driven ({share:.0%}), required were {wanted:.0%}; "
            "see why with `autohedge run` on the same market"
        )


def _told(plan: Plan, decisions: list[DecisionRecord]) -> dict[str, Any]:
    driven, total = model_driven_share(decisions)
    by_source: dict[str, int] = {}
    for each in decisions:
        if called_for_model(each):
            by_source[each.source.value] = by_source.get(each.source.value, 0) + 1
    return {"total": total, "model_driven": driven, "by_source": by_source, "model": plan.desk.model_name}


def _notes(plan: Plan, mandates: Mandates) -> tuple[str, ...]:
    notes = list(plan.warnings())
    if plan.simulated:
        notes.append("the market is simulated")
    if mandates is Mandates.FROZEN:
        notes.append("no desk was asked: one neutral mandate held for ever")
    return tuple(notes)
