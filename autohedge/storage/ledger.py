"""The ledger of one run: every record in the SQL journal, every inventory event in the CSV log, all in the canonical stream.

Records get gapless numbers in the order they arrive. Those between two commits are one transaction. A record is in the
database first, then (a fill, an opening) in the CSV log, then in the stream, so at any moment the CSV log lags the database
by at most the one event being written, and the stream by at most the transaction being written; none is ever ahead. The
first failure to write is final: nothing more is recorded, so that what is there stays an exact beginning of the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from autohedge.domain.ids import RunId
from autohedge.domain.records import (
    CycleOutcome,
    FillRecord,
    MandateRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.errors import ConfigError, StorageError
from autohedge.ports import Clock
from autohedge.storage.append_file import AppendFile
from autohedge.storage.csv_log import CsvWriter, csv_name
from autohedge.storage.database import database_folder
from autohedge.storage.encoding import clean_text, from_json, to_json
from autohedge.storage.rows import (
    call_values,
    cycle_values,
    decision_values,
    flat_fill,
    flat_opening,
    flat_order,
    flat_order_event,
    flat_quote_state,
)
from autohedge.storage.stream import STREAM_NAME, flat_line, mandate_line
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
    table_of,
)
from autohedge.storage.writer import Statement, TransactionWriter

RUN_FILE_NAME = "run.json"
"""The file in a run's folder that says what the run was asked to do."""

_FINISHED = "the run is finished; its ledger takes no more records"


class RunKind(StrEnum):
    """Which of the four uses made the run."""

    RUN = "run"
    SCHEDULE = "schedule"
    SERVE = "serve"
    LIBRARY = "library"


class RunStatus(StrEnum):
    """How far a run is. A run whose process died without a word is `interrupted` to every reader."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known about a run when it starts.

    `settings` and `market` are plain data (decimals and paths allowed), enough to run it again; `market_fingerprint` tells
    whether the market's data are still the same. `seed` fits 64 bits.
    """

    run_id: RunId
    kind: RunKind
    settings: Mapping[str, Any]
    market: Mapping[str, Any]
    market_fingerprint: str
    symbols: tuple[str, ...]
    simulated: bool
    seed: int | None
    version: str
    note: str = ""


class RunLedger:
    """Implements `autohedge.ports.Ledger` over a database and a run folder. One task writes."""

    def __init__(
        self,
        engine: Engine,
        run: RunInfo,
        clock: Clock,
        writer: TransactionWriter,
        csv_log: CsvWriter,
        stream: AppendFile,
        csv_path: Path,
    ) -> None:
        """Use `RunLedger.start`; this only puts the parts together."""
        self.run = run
        self.csv_path = csv_path
        self.stream_path = stream.path
        self._engine = engine
        self._clock = clock
        self._writer = writer
        self._csv = csv_log
        self._stream = stream
        self._run_id = run.run_id
        self._seq = 0
        self._rows: list[Statement] = []
        self._lines: list[bytes] = []
        self._ended = ""
        self._into_orders = writer.insert_into(OrderRow)
        self._into_order_events = writer.insert_into(OrderEventRow)
        self._into_fills = writer.insert_into(FillRow)
        self._into_openings = writer.insert_into(OpeningRow)
        self._into_quote_states = writer.insert_into(QuoteStateRow)
        self._into_cycles = writer.insert_into(CycleRow)
        self._into_decisions = writer.insert_into(DecisionRow)
        self._into_model_calls = writer.insert_into(ModelCallRow)

    @classmethod
    def start(cls, engine: Engine, run_dir: Path, run: RunInfo, clock: Clock) -> RunLedger:
        """Create the run's folder, files and row.

        `ConfigError`, with nothing left behind, if the run id is taken or the folder cannot be written; `StorageError` if
        the database cannot.
        """
        row = _run_row(engine, run_dir, run, clock)
        _refuse_known(engine, run.run_id)
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder {run_dir}: {error.strerror}; choose another output folder") from error
        csv_path = run_dir / csv_name(run.symbols, run.run_id)
        with ExitStack() as undo:
            undo.callback(_remove_if_empty, run_dir)
            about = AppendFile(run_dir / RUN_FILE_NAME)
            undo.callback(about.discard)
            stream = AppendFile(run_dir / STREAM_NAME)
            undo.callback(stream.discard)
            csv_log = CsvWriter(csv_path, simulated=run.simulated)
            undo.callback(csv_log.discard)
            about.append(_about(run, row))
            writer = TransactionWriter(engine)
            undo.callback(writer.close)
            try:
                with engine.begin() as connection:
                    connection.execute(insert(table_of(RunRow)).values(row))
            except SQLAlchemyError as error:
                raise StorageError(f"cannot record the start of run {run.run_id}: {error}") from error
            undo.pop_all()
        about.close()
        return cls(engine, run, clock, writer, csv_log, stream, csv_path)

    @property
    def seq(self) -> int:
        """The number of the last record; 0 before the first."""
        return self._seq

    # --- records -------------------------------------------------------------------------------------------------------

    def opening(self, record: OpeningRecord) -> None:
        """The first row of a symbol; durable on return, in the database and in the CSV log."""
        csv_line = self._csv.opening_line(record)
        self._add("opening", self._into_openings, flat_opening(record))
        self._commit_with(csv_line)

    def order(self, record: OrderRecord) -> None:
        """An intent or a denial; durable after `commit`."""
        self._add("order", self._into_orders, flat_order(record))

    def order_event(self, record: OrderEventRecord) -> None:
        """A change of an order; durable after `commit`."""
        self._add("order_event", self._into_order_events, flat_order_event(record))

    def quote_state(self, record: QuoteStateRecord) -> None:
        """Quoting of a side began or stopped; durable after `commit`."""
        self._add("quote_state", self._into_quote_states, flat_quote_state(record))

    def fill(self, record: FillRecord) -> None:
        """A fill, with all records before it; durable on return, in the database and in the CSV log."""
        csv_line = self._csv.fill_line(record)
        self._add("fill", self._into_fills, flat_fill(record))
        self._commit_with(csv_line)

    def cycle(self, outcome: CycleOutcome, mandate: MandateRecord) -> None:
        """A desk cycle with its decisions, calls and mandate, and all records before it; durable on return."""
        self._refuse_if_ended()
        seq = self._seq + 1
        place = (self._run_id, seq)
        rows: list[Statement] = [(self._into_cycles, place + cycle_values(outcome, mandate))]
        for number, decision in enumerate(outcome.decisions, start=1):
            rows.append((self._into_decisions, place + decision_values(number, decision)))
        for number, call in enumerate(outcome.calls, start=1):
            rows.append((self._into_model_calls, place + call_values(number, call, outcome.ts_ns)))
        line = mandate_line(seq, mandate)
        self._seq = seq
        self._rows += rows
        self._lines.append(line)
        self.commit()

    def commit(self) -> None:
        """Make all records so far durable: one transaction, then their lines in the stream."""
        self._refuse_if_ended()
        if self._rows:
            self._commit_with(None)

    def finish(self, status: RunStatus, summary: Mapping[str, Any], note: str = "") -> None:
        """Commit what is left, note how the run ended, and release the files; nothing can be recorded afterwards.

        `StorageError` if that cannot be written; files and connection are released even then. May be called again, and does
        nothing then. After a failed write the status is still noted where possible, without the records that were refused.
        """
        if self._ended == _FINISHED:
            return
        try:
            if not self._ended:
                self.commit()
            values = {
                "status": status.value,
                "ended_wall_ns": self._clock.now_ns(),
                "summary_json": to_json(dict(summary)),
                "note": clean_text(note or self.run.note),
            }
            table = table_of(RunRow)
            with self._engine.begin() as connection:
                connection.execute(update(table).where(table.c.run_id == self._run_id).values(values))
        except SQLAlchemyError as error:
            raise StorageError(f"cannot record the end of run {self._run_id}: {error}") from error
        finally:
            self._ended = _FINISHED
            self._stream.close()
            self._csv.close()
            self._writer.close()

    # --- writing ---------------------------------------------------------------------------------------------------------

    def _add(self, kind: str, into: str, values: tuple[Any, ...]) -> None:
        if self._ended:
            self._refuse_if_ended()
        seq = self._seq + 1
        line = flat_line(seq, kind, values)
        self._seq = seq
        self._rows.append((into, (self._run_id, seq, *values)))
        self._lines.append(line)

    def _commit_with(self, csv_line: bytes | None) -> None:
        """Database, then CSV log, then stream; the first failure ends the ledger."""
        rows, self._rows = self._rows, []
        lines, self._lines = self._lines, []
        try:
            self._writer.write(rows)
            if csv_line is not None:
                self._csv.append(csv_line)
            self._stream.append(b"".join(lines))
        except BaseException as error:
            self._ended = f"the ledger of run {self._run_id} failed before ({error}); nothing more is recorded"
            raise

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise StorageError(self._ended)


def _run_row(engine: Engine, run_dir: Path, run: RunInfo, clock: Clock) -> dict[str, Any]:
    if run.seed is not None and not -(2**63) <= run.seed < 2**63:
        raise ConfigError(f"expected a seed of at most 64 bits, found {run.seed}; choose a smaller one")
    settings_json = to_json(dict(run.settings), sort_keys=True)
    return {
        "run_id": run.run_id,
        "kind": run.kind.value,
        "status": RunStatus.RUNNING.value,
        "started_wall_ns": clock.now_ns(),
        "ended_wall_ns": None,
        "settings_json": settings_json,
        "settings_hash": hashlib.sha256(settings_json.encode()).hexdigest(),
        "market_json": to_json(dict(run.market), sort_keys=True),
        "market_fingerprint": run.market_fingerprint,
        "symbols_json": to_json(list(run.symbols)),
        "simulated": run.simulated,
        "seed": run.seed,
        "version": run.version,
        "folder": _folder_text(engine, run_dir),
        "summary_json": None,
        "note": clean_text(run.note),
    }


def _folder_text(engine: Engine, run_dir: Path) -> str:
    """Relative to the database where the folder is below it, so that an output folder can be moved."""
    home, folder = database_folder(engine), run_dir.absolute()
    return str(folder.relative_to(home) if home is not None and folder.is_relative_to(home) else folder)


def _refuse_known(engine: Engine, run_id: str) -> None:
    runs = table_of(RunRow)
    try:
        with engine.connect() as connection:
            known = connection.execute(select(runs.c.run_id).where(runs.c.run_id == run_id)).first()
    except SQLAlchemyError as error:
        raise StorageError(f"cannot read the ledger: {error}") from error
    if known:
        raise ConfigError(f"run {run_id} is in the ledger already; a run is recorded once, use another run id")


def _about(run: RunInfo, row: dict[str, Any]) -> bytes:
    """The run's own account of what it was asked to do, for people and tools without SQL."""
    about = {
        "run_id": run.run_id,
        "kind": run.kind.value,
        "version": run.version,
        "symbols": list(run.symbols),
        "simulated": run.simulated,
        "seed": run.seed,
        "started_wall_ns": str(row["started_wall_ns"]),
        "settings_hash": row["settings_hash"],
        "settings": from_json(row["settings_json"]),
        "market_fingerprint": run.market_fingerprint,
        "market": from_json(row["market_json"]),
    }
    return orjson.dumps(about, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
