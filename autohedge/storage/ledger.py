"""The ledger of one run: every record in the SQL journal, every inventory event in the CSV log, all in the canonical stream.

Records get gapless numbers in the order they arrive. Those between two commits are one transaction. A record is in the
database first, then (a fill, an opening) in the CSV log, then in the stream, so at any moment the CSV log lags the database
by at most the one event being written, and the stream by at most the transaction being written; none is ever ahead. The
first failure to write is final: nothing more is recorded, so that what is there stays an exact beginning of the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from autohedge.domain.ids import RunId
from autohedge.domain.mandate import MandateProposal
from autohedge.domain.records import (
    CycleOutcome,
    DecisionRecord,
    FillRecord,
    MandateRecord,
    ModelCallRecord,
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
from autohedge.storage.encoding import clean_text, plain, to_json
from autohedge.storage.stream import (
    STREAM_NAME,
    flat_fill,
    flat_line,
    flat_opening,
    flat_order,
    flat_order_event,
    flat_quote_state,
    mandate_line,
    plain_mandate,
)
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
            raise ConfigError(f"expected to make the folder {run_dir}: {error.strerror}; choose another output folder") from error
        csv_path = run_dir / csv_name(run.symbols, run.run_id)
        with ExitStack() as undo:
            about = AppendFile(run_dir / RUN_FILE_NAME)
            undo.callback(about.discard)
            stream = AppendFile(run_dir / STREAM_NAME)
            undo.callback(stream.discard)
            csv_log = CsvWriter(csv_path, simulated=run.simulated)
            undo.callback(csv_log.discard)
            about.append(_about(run).encode())
            writer = TransactionWriter(engine)
            undo.callback(writer.close)
            try:
                with engine.begin() as connection:
                    connection.execute(insert(table_of(RunRow)).values(row))
            except (SQLAlchemyError, OverflowError) as error:
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
        values = flat_opening(record)
        self._add(self._into_openings, values, "opening", OpeningRecord._fields)
        self._commit_rows()
        self._log(self._csv.opening, record)

    def order(self, record: OrderRecord) -> None:
        """An intent or a denial; durable after `commit`."""
        self._add(self._into_orders, flat_order(record), "order", OrderRecord._fields)

    def order_event(self, record: OrderEventRecord) -> None:
        """A change of an order; durable after `commit`."""
        self._add(self._into_order_events, flat_order_event(record), "order_event", OrderEventRecord._fields)

    def quote_state(self, record: QuoteStateRecord) -> None:
        """Quoting of a side began or stopped; durable after `commit`."""
        self._add(self._into_quote_states, flat_quote_state(record), "quote_state", QuoteStateRecord._fields)

    def fill(self, record: FillRecord) -> None:
        """A fill, with all records before it; durable on return, in the database and in the CSV log."""
        values = flat_fill(record)
        self._add(self._into_fills, values, "fill", FillRecord._fields)
        self._commit_rows()
        self._log(self._csv.fill, record)

    def cycle(self, outcome: CycleOutcome, mandate: MandateRecord) -> None:
        """A desk cycle with its decisions, calls and mandate, and all records before it; durable on return."""
        self._refuse_if_ended()
        seq = self._seq + 1
        place = (self._run_id, seq)
        rows: list[Statement] = [(self._into_cycles, place + _cycle_values(outcome, mandate))]
        for number, decision in enumerate(outcome.decisions, start=1):
            rows.append((self._into_decisions, place + _decision_values(number, decision)))
        for number, call in enumerate(outcome.calls, start=1):
            rows.append((self._into_model_calls, place + _call_values(number, call, outcome.ts_ns)))
        line = mandate_line(seq, mandate)
        self._seq = seq
        self._rows += rows
        self._lines.append(line)
        self.commit()

    def commit(self) -> None:
        """Make all records so far durable: one transaction, then their lines in the stream."""
        self._refuse_if_ended()
        if self._lines:
            self._commit_rows()
            self._write_lines()

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

    def _add(self, into: str, values: tuple[Any, ...], kind: str, fields: tuple[str, ...]) -> None:
        if self._ended:
            self._refuse_if_ended()
        seq = self._seq + 1
        line = flat_line(seq, kind, fields, values)
        self._seq = seq
        self._rows.append((into, (self._run_id, seq, *values)))
        self._lines.append(line)

    def _commit_rows(self) -> None:
        rows, self._rows = self._rows, []
        try:
            self._writer.write(rows)
        except BaseException as error:
            self._end(error)
            raise

    def _log[R](self, append: Any, record: R) -> None:
        raise NotImplementedError

    def _write_lines(self) -> None:
        lines, self._lines = self._lines, []
        try:
            self._stream.append(b"".join(lines))
        except BaseException as error:
            self._end(error)
            raise

    def _end(self, error: BaseException) -> None:
        self._ended = f"the ledger of run {self._run_id} failed before ({error}); nothing more is recorded"
        self._lines.clear()

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise StorageError(self._ended)


_FINISHED = "the run is finished; its ledger takes no more records"
