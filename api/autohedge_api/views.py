"""What the routes show of a session: plain values taken between two events, never the live objects themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from autohedge.bootstrap import Run
from autohedge.client import (
    ClampView,
    CycleJob,
    DecisionView,
    InventoryReport,
    MandateView,
    OutcomeView,
    RunReport,
    SymbolInventory,
)
from autohedge.domain.mandate import Mandate
from autohedge.domain.records import CycleOutcome, DecisionRecord
from autohedge.errors import ConfigError
from autohedge.lane import Lane
from autohedge_api.jobs import Job, Refused


def job_view(job: Job, run: Run) -> CycleJob:
    """A job with what the desk said and the mandates that came of it."""
    lanes = {lane.symbol: lane for lane in run.session.lanes}
    return CycleJob(
        id=job.id,
        run_id=run.run_id,
        status=job.status.value,
        simulated=run.plan.simulated,
        task=job.task,
        reason=job.reason,
        queued_wall_ns=job.queued_wall_ns,
        started_wall_ns=job.started_wall_ns,
        ended_wall_ns=job.ended_wall_ns,
        fills=job.fills,
        outcomes=tuple(outcome_view(outcome, lanes[outcome.symbol]) for outcome in job.outcomes),
    )


def outcome_view(outcome: CycleOutcome, lane: Lane) -> OutcomeView:
    """One symbol's part of a cycle."""
    # the newest mandate is last, and mostly the one that is asked for
    mandate = next((row.mandate for row in reversed(lane.mandates) if row.cycle_id == outcome.cycle_id), None)
    return OutcomeView(
        symbol=outcome.symbol,
        cycle_id=outcome.cycle_id,
        ts_ns=outcome.ts_ns,
        outcome=outcome.outcome,
        source=outcome.source.value,
        reason=outcome.reason,
        revisions=outcome.revisions,
        decisions=tuple(_decision_view(decision) for decision in outcome.decisions),
        mandate=None if mandate is None else _mandate_view(mandate),
    )


def _decision_view(decision: DecisionRecord) -> DecisionView:
    return DecisionView(
        role=decision.role,
        answer=decision.schema,
        source=decision.source.value,
        reason_code=decision.reason_code,
        reason=decision.reason,
        model=decision.model,
        input_tokens=decision.input_tokens,
        output_tokens=decision.output_tokens,
        latency_ms=decision.latency_ms,
        attempts=decision.attempts,
        value=decision.value,
    )


def _mandate_view(mandate: Mandate) -> MandateView:
    return MandateView(
        mandate_id=mandate.mandate_id,
        spread_multiplier=mandate.spread_multiplier,
        inventory_bias=mandate.inventory_bias,
        size_multiplier=mandate.size_multiplier,
        regime=mandate.regime.value,
        risk_level=mandate.risk_level.value,
        effective_ns=mandate.effective_ns,
        valid_until_ns=mandate.valid_until_ns,
        clamps=tuple(ClampView(**clamped._asdict()) for clamped in mandate.clamps),
    )


def inventory_view(run: Run) -> InventoryReport:
    """Balances as they stand; what has no price yet has no value."""
    return InventoryReport(run_id=run.run_id, symbols={lane.symbol: _lane_inventory(lane) for lane in run.session.lanes})


def _lane_inventory(lane: Lane) -> SymbolInventory:
    instrument, inventory = lane.instrument, lane.inventory
    priced = lane.opening is not None
    return SymbolInventory(
        base_asset=instrument.base,
        quote_asset=instrument.quote,
        base=instrument.base_amount(inventory.base_atoms),
        quote=instrument.quote_amount(inventory.quote_atoms),
        mark_price=lane.mark_price if priced else None,
        total_value=instrument.quote_amount(lane.value_atoms()) if priced else None,
        as_of_ns=lane.now_ns or None,
        simulated=lane.feed.simulated,
    )


async def run_view(run: Run, run_id: str) -> RunReport:
    """The served run as it stands, or another of its ledger, read in a thread; `Refused` 404 when there is none."""
    if run_id != run.run_id:
        return await asyncio.to_thread(_stored_run, run.database, run_id)
    return RunReport(
        run_id=run.run_id,
        live=True,
        kind=run.plan.kind,
        status="running",
        simulated=run.plan.simulated,
        symbols=run.plan.settings.symbols,
        note="",
        summary=run.summary(),
    )


def _stored_run(database: Path, run_id: str) -> RunReport:
    from autohedge.storage.database import open_database
    from autohedge.storage.runs import find_run

    engine = open_database(database, create=False)
    try:
        found = find_run(engine, run_id)
    except ConfigError:
        found = None
    finally:
        engine.dispose()
    if found is None or found.run_id != run_id:  # the ledger also finds by the beginning of an id; the API does not guess
        raise Refused(404, "unknown_run", "no run of this id is in the ledger of this server")
    return RunReport(
        run_id=found.run_id,
        live=False,
        kind=found.kind.value,
        status=found.status.value,
        simulated=found.simulated,
        symbols=found.symbols,
        note=found.note,
        summary=found.summary,
    )
