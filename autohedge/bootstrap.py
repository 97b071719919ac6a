"""Settings → wired objects: the only place that chooses adapters and reads the environment.

`prepare` checks everything that can be wrong (settings, data, agents, key) and writes nothing; `Plan.start` then creates the
run's folder and ledger. So a user's mistake leaves nothing half-written.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from autohedge import __version__
from autohedge.domain.book import OrderBook
from autohedge.domain.fees import FeeSchedule
from autohedge.domain.ids import IdFactory, RunId
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.errors import AutoHedgeError, ConfigError, LlmShareTooLow, StorageError
from autohedge.lane import Lane
from autohedge.market.instruments import instrument as known_instrument
from autohedge.market.instruments import simulated_instrument
from autohedge.market.parquet_folder import INSTRUMENT_FILE
from autohedge.market.recorder import Recorder
from autohedge.market.recordings import fingerprint, open_replay, recorded_instrument
from autohedge.market.statistics import RollingStatistics
from autohedge.market.sync import SyncedBook
from autohedge.market_maker.config import FeeAsset, MarketMakingConfig
from autohedge.market_maker.engine import QuoteEngine
from autohedge.operations.clock import SystemClock
from autohedge.portfolio.attribution import CombinedDrawdown
from autohedge.ports import Clock, Desk, Ledger, MarketFeed, ModelClient
from autohedge.report import summarise
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.portfolio import Portfolio
from autohedge.risk.pretrade import PreTradeRisk
from autohedge.session import Progress, StopPoint, TradingSession
from autohedge.settings import Settings
from autohedge.simulation.conditions import Conditions
from autohedge.simulation.feed import SimulatedFeed
from autohedge.venues.paper import PaperVenue

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from autohedge.market.parquet_recorder import MarketRecorder
    from autohedge.storage.ledger import RunLedger

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
SIM_CYCLES = 10
"""Desk cycles of a simulated run that names no number."""
OPEN_END_S = 30 * 86_400.0
"""Length of a simulated market whose session is driven from outside."""
REPLAY_VENUE = "binance"
"""The venue whose rules hold for recordings in its raw format."""


def build_model_client(settings: Settings, environ: Mapping[str, str]) -> ModelClient | None:
    """The client of the named model; None when none is named, whatever keys the environment holds."""
    if settings.model.name is None:
        return None
    from autohedge.llm.openai_client import OpenAIModelClient

    return OpenAIModelClient(
        base_url=settings.model.base_url,
        api_key=environ.get("OPENAI_API_KEY"),
        name=settings.model.name,
        schema_mode=settings.model.schema_mode,
    )


def build_desk(settings: Settings, clock: Clock, client: ModelClient | None) -> Desk:
    """The desk of agents over `client`, or over the rules alone."""
    from autohedge.desk.desk import LangGraphDesk
    from autohedge.llm.catalog import AgentCatalog, load_catalog
    from autohedge.llm.ladder import Ladder, RetryPolicy

    catalog = load_catalog(settings.agents_dir, settings.prompts_dir, settings.model.name)
    deadline_s = settings.desk.agent_deadline_s
    if deadline_s is not None:
        agents = {role: replace(agent, deadline_s=deadline_s) for role, agent in catalog.agents.items()}
        catalog = AgentCatalog(agents)
    retry = RetryPolicy(
        max_attempts=settings.model.max_attempts,
        wait_initial_s=settings.model.wait_initial_s,
        wait_max_s=settings.model.wait_max_s,
    )
    ladder = Ladder(client, clock, retry, random.Random(settings.seed))
    return LangGraphDesk(
        catalog,
        ladder,
        settings.model.name,
        clock,
        max_revisions=settings.desk.max_revisions,
        cycle_deadline_s=settings.desk.cycle_deadline_s,
        max_drawdown_frac=settings.desk.max_drawdown_frac,
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """What a symbol starts with, in atoms."""

    base_atoms: int
    quote_atoms: int


class _Shared(NamedTuple):
    """What the lanes of a session share; no portfolio where no limit concerns all symbols together."""

    ledger: Ledger
    combined: CombinedDrawdown
    portfolio: Portfolio | None


@dataclass(slots=True)
class Plan:
    """A run that is possible: everything is checked, nothing is written yet.

    `model_client` is the one made for this run, which is closed with it; a caller's own client stays the caller's.
    """

    settings: Settings
    kind: str
    cycles: int | None
    feeds: tuple[MarketFeed, ...]
    desk: Desk
    model_client: ModelClient | None
    clock: Clock
    market_fingerprint: str
    openings: dict[str, Opening]

    @property
    def simulated(self) -> bool:
        """True when the market is invented and says so."""
        return any(feed.simulated for feed in self.feeds)

    def warnings(self) -> tuple[str, ...]:
        """What is allowed and probably not meant, one sentence each."""
        found = list(self.settings.maker.warnings())
        for feed in self.feeds:
            config, instrument = lane_config(self.settings, feed.instrument), feed.instrument
            smallest = config.total_capital * config.order_size_percentage / 2
            if smallest < instrument.min_notional:
                found.append(
                    f"{instrument.symbol}: at low confidence an order is worth {smallest.normalize():f} {instrument.quote}, "
                    f"below the venue's minimum of {instrument.min_notional:f}, and is then not placed (below_min_notional)"
                )
        maker, cap_frac = self.settings.maker, self.settings.limits.max_portfolio_exposure_frac
        if cap_frac is not None and cap_frac >= maker.max_inventory_exposure:
            found.append(
                f"limits.max_portfolio_exposure_frac {cap_frac} never binds: max_inventory_exposure "
                f"{maker.max_inventory_exposure} caps each symbol at that fraction of its share already"
            )
        return tuple(found)

    def start(self, *, on_progress: Callable[[Progress], None] | None = None, stop_at: StopPoint | None = None) -> Run:
        """Create the run's folder, ledger and session."""
        from autohedge.storage.database import open_database
        from autohedge.storage.ledger import RunInfo, RunKind, RunLedger, RunStatus

        settings = self.settings
        database = settings.out_dir / "autohedge.db"
        engine = open_database(database)
        run_id, run_dir = _new_run_dir(settings.out_dir, self.clock)
        ledger = RunLedger.start(
            engine,
            run_dir,
            RunInfo(
                run_id=run_id,
                kind=RunKind(self.kind),
                settings=settings.canonical(),
                market={"market": settings.market, "feeds": [feed.description for feed in self.feeds]},
                market_fingerprint=self.market_fingerprint,
                symbols=settings.symbols,
                simulated=self.simulated,
                seed=settings.seed,
                version=__version__,
            ),
            self.clock,
        )
        try:
            recorders = [_recorder(settings, feed.instrument) if settings.record_dir else None for feed in self.feeds]
        except AutoHedgeError as error:
            ledger.finish(RunStatus.FAILED, {}, str(error))
            engine.dispose()
            raise
        session = self.session(ledger, on_progress=on_progress, stop_at=stop_at, recorders=recorders)
        return Run(self, run_id, run_dir, database, engine, ledger, session, tuple(each for each in recorders if each))

    def session(
        self,
        ledger: Ledger,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        stop_at: StopPoint | None = None,
        recorders: Sequence[MarketRecorder | None] | None = None,
    ) -> TradingSession:
        """A session over this plan's market that remembers into `ledger`."""
        settings = self.settings
        shared = _Shared(ledger, CombinedDrawdown(len(self.feeds)), None)
        if settings.limits.portfolio_limits:
            instruments = [feed.instrument for feed in self.feeds]
            shared = shared._replace(portfolio=Portfolio(settings.limits, instruments, settings.maker.total_capital))
        recorders = recorders or [None] * len(self.feeds)
        lanes = [self._lane(feed, shared, recorder) for feed, recorder in zip(self.feeds, recorders, strict=True)]
        return TradingSession(
            lanes,
            self.desk,
            ledger,
            every_ns=int(settings.desk.every_s * NS_PER_S),
            task=settings.desk.task,
            on_progress=on_progress,
            stop_at=stop_at,
        )

    def _lane(self, feed: MarketFeed, shared: _Shared, recorder: MarketRecorder | None) -> Lane:
        settings, instrument = self.settings, feed.instrument
        config = lane_config(settings, instrument)
        opening = self.openings[instrument.symbol]
        engine = QuoteEngine(config, instrument)
        sizes = engine.size_rules
        fees = FeeSchedule(sizes.maker_fee, sizes.taker_fee, config.fee_asset is FeeAsset.RECEIVED)
        ids = IdFactory(instrument.symbol)
        book = OrderBook()
        return Lane(
            feed=feed,
            config=config,
            envelope=settings.envelope,
            risk=PreTradeRisk(settings.limits, sizes),
            engine=engine,
            book=SyncedBook(book),
            statistics=RollingStatistics(instrument, config.depth_reference_quote),
            venue=PaperVenue(
                instrument,
                book,
                fees,
                conditions=conditions_of(settings, config, instrument),
                ids=ids,
                base_atoms=opening.base_atoms,
                quote_atoms=opening.quote_atoms,
            ),
            inventory=Inventory(instrument, opening.base_atoms, opening.quote_atoms),
            daily_loss=DailyLoss(instrument, settings.limits, opening.quote_atoms),
            ids=ids,
            ledger=shared.ledger,
            desk_latency_ns=int(settings.desk.latency_ms * NS_PER_MS),
            combined=shared.combined,
            portfolio=shared.portfolio,
            recorder=recorder,
        )


@dataclass(slots=True)
class Run:
    """A started run: the session and where it is remembered."""

    plan: Plan
    run_id: str
    run_dir: Path
    database: Path
    engine: Engine
    ledger: RunLedger
    session: TradingSession
    recorders: tuple[MarketRecorder, ...]

    def summary(self) -> dict[str, Any]:
        """The run as it stands."""
        files = {
            "csv": str(self.ledger.csv_path),
            "database": str(self.database),
            "report": str(self.run_dir / "report.json"),
        }
        return summarise(self.session, run_id=self.run_id, market=self.plan.settings.market, files=files)

    async def drive(self) -> dict[str, Any]:
        """Run the session to its end and finish, whatever happens; returns the summary, or raises what ended it."""
        try:
            await self.session.run(self.plan.cycles)
        except asyncio.CancelledError:
            self.session.request_stop()
            await self.finish("interrupted", note="the task that ran it was cancelled")
            raise
        except BaseException as error:
            await self.finish("failed", note=str(error) or type(error).__name__)
            raise
        return await self.finish()

    async def finish(self, status: str | None = None, note: str = "") -> dict[str, Any]:
        """Drain, write report.json, close the ledger, let go of everything; returns the summary.

        `status` defaults to finished, to interrupted, or to failed when too few decisions were model-driven. Whatever breaks on
        the way, the rest is still done. Then the first thing that broke is raised, unless the caller gives a status and so has
        something to tell itself: then it is only noted. `drained` in the summary is False when the ledger did not see the end.
        """
        from autohedge.storage.ledger import RunStatus

        broken: list[Exception] = []
        drained = await self._release(broken)
        summary = self.summary() | {"drained": drained}
        try:
            (self.run_dir / "report.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2))
        except OSError as error:
            broken.append(StorageError(f"cannot write the report of run {self.run_id}: {error.strerror or error}"))
        told_by_caller = status is not None
        if status is None:
            note = self._llm_share_problem()
            status = "failed" if note else "interrupted" if self.session.interrupted else "finished"
        if broken:
            status, note = "failed", "; ".join([*([note] if note else []), *map(str, broken)])
        try:
            self.ledger.finish(RunStatus(status), summary, note)
        except StorageError as error:
            broken.append(error)
        self.engine.dispose()
        if broken and not told_by_caller:
            raise broken[0]
        return summary

    async def _release(self, broken: list[Exception]) -> bool:
        """Drain and close what the run holds; what breaks goes into `broken` and stops nothing. True when it was drained."""
        try:
            await self.session.close()
        except Exception as error:  # the edge of a run: the files must be closed and the end be noted whatever it was
            broken.append(error)
        drained = not broken
        for recorder in self.recorders:
            try:
                recorder.close()
            except AutoHedgeError as error:
                broken.append(error)
        if self.plan.model_client is not None:
            await self.plan.model_client.aclose()
        return drained

    def check_llm_share(self) -> None:
        """`LlmShareTooLow` when fewer decisions were model-driven than the settings demand."""
        problem = self._llm_share_problem()
        if problem:
            raise LlmShareTooLow(problem)

    def _llm_share_problem(self) -> str:
        wanted = self.plan.settings.desk.require_llm_frac
        driven, total = self.session.model_driven()
        share = driven / total if total else 0.0
        if wanted is None or share >= wanted:
            return ""
        return (
            f"{driven} of {total} decisions were model-driven ({share:.0%}), required were {wanted:.0%}; "
            "see the reasons in the report"
        )


def prepare(
    settings: Settings,
    *,
    kind: str = "run",
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
    desk: Desk | None = None,
    model_client: ModelClient | None = None,
    open_end: bool = False,
    openings: Mapping[str, Opening] | None = None,
) -> Plan:
    """Check the settings against the world and build what a run needs. Raises `ConfigError` or `MarketDataError`.

    `open_end`: the session is driven from outside (API, scheduler), so a simulated market gets no planned end.
    """
    clock = clock or SystemClock()
    environ = os.environ if environ is None else environ
    instruments = instruments_of(settings)
    cycles = settings.desk.cycles
    if settings.replay_path is None and not open_end and cycles is None:
        cycles = SIM_CYCLES
    feeds = tuple(_feed(settings, each, cycles, open_end) for each in instruments)
    for path in (settings.out_dir, settings.record_dir):
        if path is not None:
            _check_writable(path)
    if settings.record_dir is not None:
        if settings.record_format == "parquet":
            from autohedge.market.parquet import require_polars

            require_polars()
        for folder in (settings.record_dir, *(_recording_dir(settings, each) for each in instruments)):
            _check_empty_of_recordings(folder)
    for each in instruments:
        config = lane_config(settings, each)
        _check_capital(config, each)
        conditions_of(settings, config, each)
    own_client: ModelClient | None = None
    if desk is None:
        if model_client is None:
            model_client = own_client = build_model_client(settings, environ)
        elif settings.model.name is None:
            raise ConfigError("a model client was given and no model is named, so it would never be asked; name the model")
        desk = build_desk(settings, clock, model_client)
    return Plan(
        settings=settings,
        kind=kind,
        cycles=cycles,
        feeds=feeds,
        desk=desk,
        model_client=own_client,
        clock=clock,
        market_fingerprint=fingerprint(settings.replay_path) if settings.replay_path is not None else "",
        openings={each.symbol: _opening(settings, each, openings) for each in instruments},
    )


def lane_config(settings: Settings, instrument: Instrument) -> MarketMakingConfig:
    """The maker's configuration of one symbol, with its share of the capital, rounded down to a quote atom.

    So the shares of n symbols may leave less than n atoms of the capital unused; they never add up to more.
    """
    share = Fraction(settings.maker.total_capital) * settings.capital_frac(instrument.symbol)
    capital = instrument.quote_amount(floor(share * 10**instrument.quote_atom_exponent))
    return settings.maker.model_copy(update={"trading_pair": instrument.symbol, "total_capital": capital})


def conditions_of(settings: Settings, config: MarketMakingConfig, instrument: Instrument) -> Conditions:
    """What one symbol's orders meet at a simulated venue; `ConfigError` when recorded latencies cannot be read."""
    return Conditions.of(settings.paper, latency_ms=config.latency_ms, seed=settings.seed, symbol=instrument.symbol)


def refuse_portfolio_limits(settings: Settings) -> None:
    """For backtests, in which the makers of several symbols run one after the other between two desk cycles: `ConfigError` for
    a limit over all of them together, which would have to hold at every event."""
    names = settings.limits.portfolio_limits
    if names:
        raise ConfigError(
            f"limits.{names[0]} couples the symbols at every event, and in a backtest they run apart between two desk cycles; "
            "leave it out, or play the recording with `autohedge run`"
        )


def instruments_of(settings: Settings) -> list[Instrument]:
    """The instruments of the symbols on this market; `ConfigError` if one is unknown or they do not share a quote currency."""
    if settings.replay_path is None:
        found = [simulated_instrument(symbol) for symbol in settings.symbols]
    else:
        path = settings.replay_path
        found = [recorded_instrument(path, symbol) or known_instrument(REPLAY_VENUE, symbol) for symbol in settings.symbols]
    quotes = sorted({each.quote for each in found})
    if len(quotes) > 1:
        raise ConfigError(
            f"the symbols are quoted in {' and '.join(quotes)}; one capital needs one quote currency: run them apart"
        )
    if len({each.symbol for each in found}) < len(found):
        raise ConfigError(f"each symbol once, found the same one in two spellings: {', '.join(settings.symbols)}")
    for name in ("initial_base", "neutral_base"):
        if len(found) > 1 and getattr(settings.maker, name) > 0:
            raise ConfigError(f"{name} is an amount of one asset; with several symbols leave it at 0 or run them apart")
    return found


def _feed(settings: Settings, instrument: Instrument, cycles: int | None, open_end: bool) -> MarketFeed:
    path = settings.replay_path
    if path is not None:
        return open_replay(path, instrument.symbol, instrument)
    duration_s = OPEN_END_S if open_end else max(1, cycles or 1) * settings.desk.every_s
    if duration_s > OPEN_END_S:
        raise ConfigError(f"{cycles} cycles every {settings.desk.every_s:g} s are more than 30 days; choose fewer")
    return SimulatedFeed(instrument, settings.seed, duration_s)


def _opening(settings: Settings, instrument: Instrument, given: Mapping[str, Opening] | None) -> Opening:
    if given and instrument.symbol in given:
        return given[instrument.symbol]
    config = lane_config(settings, instrument)
    return Opening(
        base_atoms=instrument.base_atoms_floor(config.initial_base),
        quote_atoms=instrument.quote_atoms_floor(config.total_capital),
    )


def _check_capital(config: MarketMakingConfig, instrument: Instrument) -> None:
    """An order must be able to reach the venue's minimum, or nothing would ever be placed."""
    order = config.total_capital * config.order_size_percentage
    if order < instrument.min_notional:
        raise ConfigError(
            f"{instrument.symbol}: one order is {order.normalize():f} {instrument.quote} (capital x order_size_percentage), "
            f"below the venue's minimum of {instrument.min_notional:f}; raise total_capital or order_size_percentage"
        )


def _check_writable(folder: Path) -> None:
    """`ConfigError` if the folder cannot be created and written; nothing is created by the check."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise ConfigError(f"{folder} cannot be a folder: {existing} is a file; choose another folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} cannot be written: no permission in {existing}; choose another folder")


def _recording_dir(settings: Settings, instrument: Instrument) -> Path:
    """Where a symbol's recording goes: the folder itself, or one sub-folder per symbol when there are several."""
    folder = settings.record_dir or Path()
    return folder if len(settings.symbols) == 1 else folder / instrument.symbol.replace("/", "-")


def _recorder(settings: Settings, instrument: Instrument) -> MarketRecorder:
    """What records the events of a symbol in the format that the settings name."""
    folder = _recording_dir(settings, instrument)
    if settings.record_format == "raw":
        return Recorder(folder, instrument)
    from autohedge.market.parquet_recorder import ParquetRecorder

    return ParquetRecorder(folder, instrument)


def _check_empty_of_recordings(folder: Path) -> None:
    """`ConfigError` if the folder holds a recording of either format: two in one folder would be replayed as one."""
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    if any(".jsonl" in name or ".parquet" in name or name == INSTRUMENT_FILE or name.startswith("date=") for name in names):
        raise ConfigError(f"{folder} already holds a recording; name an empty folder for --record")


def _new_run_dir(out_dir: Path, clock: Clock) -> tuple[RunId, Path]:
    """A fresh run id and its folder; a run never writes into another's."""
    from datetime import UTC, datetime

    seconds, rest_ns = divmod(clock.now_ns(), NS_PER_S)
    stem = f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H%M%S}-{rest_ns // 1_000:06d}"
    for attempt in range(1, 1_000):
        run_id = RunId(stem if attempt == 1 else f"{stem}-{attempt}")
        run_dir = out_dir / run_id
        try:
            run_dir.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"the run's folder {run_dir} cannot be created: {error.strerror}; choose another --out") from None
        return run_id, run_dir
    raise ConfigError(f"a thousand runs share the instant {stem}; the clock does not move")
