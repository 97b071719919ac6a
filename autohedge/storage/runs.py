"""Reading the ledger: runs, what their desks decided, what they filled, and the inventory that the fills add up to.

Reads never change anything. A run whose process died without a word is told as interrupted, whatever its row says. An
unknown run is a `ConfigError` that names the newest ones; a ledger that contradicts itself is a `StorageError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, func
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from autohedge.domain.ids import ClientOrderId, CycleId, RunId, TradeId
from autohedge.domain.instrument import DEFAULT_ATOM_EXPONENT, Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import Liquidity, OrderFilled
from autohedge.domain.records import (
    MODEL_DRIVEN,
    CycleOutcome,
    DecisionRecord,
    DecisionSource,
    FillRecord,
    OpeningRecord,
)
from autohedge.errors import ConfigError, InvariantBroken, MarketDataError, StorageError
from autohedge.storage.append_file import is_being_written
from autohedge.storage.database import database_folder
from autohedge.storage.encoding import from_json
from autohedge.storage.ledger import RunKind, RunStatus
from autohedge.storage.rows import read_proposal
from autohedge.storage.stream import STREAM_NAME
from autohedge.storage.tables import (
    CycleRow,
    DecisionRow,
    FillRow,
    ModelCallRow,
    OpeningRow,
    OrderEventRow,
    OrderRow,
    QuoteStateRow,
    RunRow,
    SequencedRow,
)

_NEWEST_NAMED = 5
_RECORDS: dict[str, type[SequencedRow]] = {
    "openings": OpeningRow,
    "orders": OrderRow,
    "order_events": OrderEventRow,
    "fills": FillRow,
    "quote_states": QuoteStateRow,
    "cycles": CycleRow,
    "decisions": DecisionRow,
    "model_calls": ModelCallRow,
}


class RecordedRun(NamedTuple):
    """One run as the ledger knows it. `summary` and `ended_wall_ns` are None until it ended; `folder` holds its files."""

    run_id: RunId
    kind: RunKind
    status: RunStatus
    started_wall_ns: int
    ended_wall_ns: int | None
    symbols: tuple[str, ...]
    simulated: bool
    seed: int | None
    version: str
    settings: dict[str, Any]
    settings_hash: str
    market: dict[str, Any]
    market_fingerprint: str
    folder: Path
    summary: dict[str, Any] | None
    note: str

    @property
    def stream_path(self) -> Path:
        """Its canonical event stream."""
        return self.folder / STREAM_NAME


class DecisionShare(NamedTuple):
    """How many of the decisions that called for a model came from one; `by_source` counts all, abstentions included."""

    called: int
    model_driven: int
    by_source: dict[str, int]

    def sentence(self) -> str:
        """The share in words."""
        return f"{self.model_driven} of {self.called} decisions were model-driven"


class RunDetail(NamedTuple):
    """A run with what it recorded: rows per table, and its decisions by source."""

    run: RecordedRun
    records: dict[str, int]
    decisions: DecisionShare


def list_runs(engine: Engine, *, limit: int | None = None) -> list[RecordedRun]:
    """Runs, newest first; an empty list when there are none."""
    with _session(engine) as session:
        rows = session.exec(select(RunRow).order_by(col(RunRow.started_wall_ns).desc(), col(RunRow.run_id).desc()).limit(limit))
        return [_recorded_run(engine, row) for row in rows]


def find_run(engine: Engine, run: str) -> RecordedRun:
    """The run with this id, or whose id alone begins so; `ConfigError` when none or several do."""
    with _session(engine) as session:
        begins = func.substr(RunRow.run_id, 1, len(run)) == run
        rows = session.exec(select(RunRow).where(begins).order_by(col(RunRow.started_wall_ns).desc())).all() if run else []
        exact = [row for row in rows if row.run_id == run]
        found = exact or rows
        if len(found) == 1:
            return _recorded_run(engine, found[0])
        if found:
            names = ", ".join(row.run_id for row in found[:_NEWEST_NAMED])
            raise ConfigError(f"{run!r} begins the ids of {len(found)} runs ({names} …); give more of it")
    newest = [each.run_id for each in list_runs(engine, limit=_NEWEST_NAMED)]
    known = f"the newest are {', '.join(newest)}" if newest else "no run has been recorded yet"
    raise ConfigError(f"expected the id of a recorded run, or its beginning, found {run!r}; {known}")


def show_run(engine: Engine, run: str) -> RunDetail:
    """A run by id or unique beginning, with counts of what it recorded."""
    found = find_run(engine, run)
    with _session(engine) as session:
        records = {name: _count(session, row, found.run_id) for name, row in _RECORDS.items()}
    return RunDetail(found, records, decision_share(engine, found.run_id))


def decision_share(engine: Engine, run_id: str) -> DecisionShare:
    """The decisions of a run by source; all zero for a run without decisions."""
    with _session(engine) as session:
        sources = Counter(session.exec(select(DecisionRow.source).where(DecisionRow.run_id == run_id)).all())
    called = sum(count for source, count in sources.items() if source != DecisionSource.ABSTAINED)
    return DecisionShare(called, sum(sources[source] for source in MODEL_DRIVEN), dict(sorted(sources.items())))


def decisions(engine: Engine, run_id: str) -> list[DecisionRecord]:
    """The decisions of a run in order, with their provenance."""
    with _session(engine) as session:
        chosen = select(DecisionRow).where(DecisionRow.run_id == run_id)
        rows = session.exec(chosen.order_by(col(DecisionRow.seq), col(DecisionRow.number)))
        return [_decision(row) for row in rows]


def recorded_cycles(engine: Engine, run_id: str) -> list[CycleOutcome]:
    """What the desk answered, in order, enough to give the same answers again; decisions and calls are left empty."""
    with _session(engine) as session:
        rows = session.exec(select(CycleRow).where(CycleRow.run_id == run_id).order_by(col(CycleRow.seq)))
        return [_cycle(row) for row in rows]


def openings(engine: Engine, run_id: str) -> list[OpeningRecord]:
    """The opening inventory of each symbol, in order."""
    with _session(engine) as session:
        rows = session.exec(select(OpeningRow).where(OpeningRow.run_id == run_id).order_by(col(OpeningRow.seq)))
        return [OpeningRecord(*(getattr(row, name) for name in OpeningRecord._fields)) for row in rows]


def fills(engine: Engine, run_id: str) -> list[FillRecord]:
    """The fills of a run, in order."""
    with _session(engine) as session:
        rows = session.exec(select(FillRow).where(FillRow.run_id == run_id).order_by(col(FillRow.seq)))
        records = [FillRecord(*(getattr(row, name) for name in FillRecord._fields)) for row in rows]
    return [record._replace(liquidity=Liquidity(record.liquidity)) for record in records]


def rebuild_inventory(engine: Engine, run_id: str, instruments: Iterable[Instrument]) -> dict[str, Inventory]:
    """Each symbol's inventory from its opening and its fills, in the instrument's atoms, every step checked.

    `StorageError` if a balance after a fill is not what the ledger says; `ConfigError` if an instrument is missing. A symbol
    that never opened is not in the result.
    """
    rules = {each.symbol: each for each in instruments}
    rebuilt: dict[str, Inventory] = {}
    for opening in openings(engine, run_id):
        if opening.symbol not in rules:
            raise ConfigError(f"run {run_id} traded {opening.symbol}; give its instrument to rebuild the inventory")
        rebuilt[opening.symbol] = _opened(opening, rules[opening.symbol])
    for fill in fills(engine, run_id):
        inventory = rebuilt.get(fill.symbol)
        if inventory is None:
            raise StorageError(f"run {run_id}: fill {fill.trade_id} of {fill.symbol} comes before its opening")
        _book(inventory, fill)
    return rebuilt


# --- rows to values ------------------------------------------------------------------------------------------------------


@contextmanager
def _session(engine: Engine) -> Iterator[Session]:
    try:
        with Session(engine) as session:
            yield session
    except SQLAlchemyError as error:
        raise StorageError(f"cannot read the ledger: {getattr(error, 'orig', None) or error}") from error


def _count(session: Session, row: type[SequencedRow], run_id: str) -> int:
    return session.exec(select(func.count()).select_from(row).where(col(row.run_id) == run_id)).one()


def _recorded_run(engine: Engine, row: RunRow) -> RecordedRun:
    folder = (database_folder(engine) or Path()) / row.folder  # an absolute folder stands as it is
    status = RunStatus(row.status)
    if status is RunStatus.RUNNING and not is_being_written(folder / STREAM_NAME):
        status = RunStatus.INTERRUPTED
    return RecordedRun(
        run_id=RunId(row.run_id),
        kind=RunKind(row.kind),
        status=status,
        started_wall_ns=row.started_wall_ns,
        ended_wall_ns=row.ended_wall_ns,
        symbols=tuple(from_json(row.symbols_json)),
        simulated=row.simulated,
        seed=row.seed,
        version=row.version,
        settings=from_json(row.settings_json),
        settings_hash=row.settings_hash,
        market=from_json(row.market_json),
        market_fingerprint=row.market_fingerprint,
        folder=folder,
        summary=None if row.summary_json is None else from_json(row.summary_json),
        note=row.note,
    )


def _cycle(row: CycleRow) -> CycleOutcome:
    return CycleOutcome(
        cycle_id=CycleId(row.cycle_id),
        symbol=row.symbol,
        ts_ns=row.cycle_ts_ns,
        outcome=row.outcome,
        reason=row.reason,
        proposal=None if row.proposal_json is None else read_proposal(from_json(row.proposal_json)),
        source=DecisionSource(row.source),
        revisions=row.revisions,
        decisions=(),
        calls=(),
    )


def _decision(row: DecisionRow) -> DecisionRecord:
    return DecisionRecord(
        cycle_id=CycleId(row.cycle_id),
        symbol=row.symbol,
        ts_ns=row.ts_ns,
        sequence=row.sequence,
        role=row.role,
        schema=row.schema_name,
        source=DecisionSource(row.source),
        reason_code=row.reason_code,
        reason=row.reason,
        model=row.model,
        prompt_hash=row.prompt_hash,
        input_hash=row.input_hash,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.cost_usd,
        latency_ms=row.latency_ms,
        attempts=row.attempts,
        value=from_json(row.value_json),
    )


# --- inventory -------------------------------------------------------------------------------------------------------------


def _whole(value: Fraction, what: str) -> int:
    """`value` as an integer; `StorageError` if it is none."""
    if value.denominator != 1:
        raise StorageError(f"{what} is not a whole number of units; the ledger and the instrument do not agree")
    return value.numerator


def _atoms(amount: Decimal, exponent: int, what: str) -> int:
    return _whole(Fraction(amount) * 10**exponent, f"{what} of {amount}")


def _opened(opening: OpeningRecord, instrument: Instrument) -> Inventory:
    base_atoms = _atoms(opening.base, instrument.base_atom_exponent, f"the opening {instrument.base}")
    quote_atoms = _atoms(opening.quote, instrument.quote_atom_exponent, f"the opening {instrument.quote}")
    inventory = Inventory(instrument, base_atoms, quote_atoms)
    half_ticks = 2 * Fraction(opening.price) / Fraction(instrument.tick_size)
    inventory.open_at(_whole(half_ticks, f"the opening price of {opening.price} in half ticks"))
    return inventory


def _book(inventory: Inventory, fill: FillRecord) -> None:
    instrument = inventory.instrument
    exponents = {instrument.base: instrument.base_atom_exponent, instrument.quote: instrument.quote_atom_exponent}
    exponent = exponents.get(fill.fee_asset, DEFAULT_ATOM_EXPONENT)
    try:
        booked = OrderFilled(
            ts_ns=fill.ts_ns,
            client_order_id=ClientOrderId(fill.client_order_id),
            trade_id=TradeId(fill.trade_id),
            side=BUY if fill.side.lower() == "buy" else SELL,
            price_ticks=instrument.ticks(fill.price),
            size_lots=instrument.lots(fill.size),
            liquidity=fill.liquidity,
            fee_asset=fill.fee_asset,
            fee_atoms=_atoms(fill.fee, exponent, "the fee"),
        )
        inventory.apply(booked)
    except (MarketDataError, InvariantBroken) as error:
        raise StorageError(f"fill {fill.trade_id} cannot have happened: {error}") from error
    base, quote = instrument.base_amount(inventory.base_atoms), instrument.quote_amount(inventory.quote_atoms)
    if (base, quote) != (fill.base_after, fill.quote_after):
        raise StorageError(
            f"fill {fill.trade_id} leads to {base} {instrument.base} and {quote} {instrument.quote}, but the ledger says "
            f"{fill.base_after} and {fill.quote_after}"
        )
