"""Durable commits: the ledger of a run with two records each (an order and what became of it), beside SQLite itself.

Durable as a run needs it: what was committed survives the death of the process. Every commit is one transaction, and from the
ledger also a line of the canonical stream per record. The limit puts ready rows into the same tables with the same settings
through the driver, and checks nothing.
"""

from __future__ import annotations

import gc
import sqlite3
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from autohedge.domain.ids import RunId
from autohedge.domain.orders import OrderState
from autohedge.domain.records import OrderEventRecord, OrderRecord
from autohedge.operations.clock import SystemClock
from autohedge.storage.database import open_database
from autohedge.storage.ledger import RunInfo, RunKind, RunLedger, RunStatus
from autohedge.storage.tables import OrderEventRow, OrderRow
from benchmarks.figures import Figure, Options, ratio

ROUNDS = 7
COMMITS = 2_000
MAPPED_COMMITS = 100
RECORDS = 2

BARE_SETTINGS = ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 4000")
INSERT_ORDER = f"INSERT INTO orders VALUES ({', '.join('?' * 15)})"
INSERT_EVENT = f"INSERT INTO order_events VALUES ({', '.join('?' * 8)})"


def _records(number: int) -> tuple[OrderRecord, OrderEventRecord]:
    order_id, ts_ns = f"BTC-USDT-O-{number}", 1_723_161_600_000_000_000 + number
    order = OrderRecord(
        symbol="BTC/USDT",
        ts_ns=ts_ns,
        client_order_id=order_id,
        side="buy",
        kind="limit",
        price=Decimal("61737.63"),
        size=Decimal("0.00162"),
        post_only=True,
        state=OrderState.PENDING_SUBMIT,
        reason="quote",
        detail="",
        mandate_id="BTC-USDT-M-1",
        decision_source="rules",
    )
    return order, OrderEventRecord("BTC/USDT", ts_ns, order_id, "accepted", OrderState.SUBMITTED, "")


def _timed(commit: Callable[[int], None], commits: int = COMMITS) -> tuple[float, float]:
    """(CPU, wall) microseconds per commit."""
    gc.collect()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for number in range(commits):
        commit(number)
    return (time.process_time() - cpu_s) / commits * 1e6, (time.perf_counter() - wall_s) / commits * 1e6


def _started(engine: Engine, folder: Path) -> RunLedger:
    about = RunInfo(RunId("bench"), RunKind.LIBRARY, {}, {}, "", ("BTC/USDT",), simulated=True, seed=None, version="")
    return RunLedger.start(engine, folder / "run", about, SystemClock())


def _ledger(folder: Path) -> tuple[float, float]:
    engine = open_database(folder / "autohedge.db")
    ledger = _started(engine, folder)
    records = [_records(number) for number in range(COMMITS)]

    def commit(number: int) -> None:
        order, event = records[number]
        ledger.order(order)
        ledger.order_event(event)
        ledger.commit()

    taken = _timed(commit)
    ledger.finish(RunStatus.FINISHED, {})
    engine.dispose()
    return taken


def _bare(folder: Path, records: int) -> tuple[float, float]:
    """Ready tuples into the ledger's own tables: one autocommitted row, or a transaction of two."""
    path = folder / "bare.db"
    open_database(path).dispose()
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in BARE_SETTINGS:
        connection.execute(f"PRAGMA {setting}").close()
    cursor = connection.cursor()
    order = ("BTC/USDT", 1_723_161_600_000_000_000, "BTC-USDT-O-1", "buy", "limit", "61737.63", "0.00162", True)
    words = ("pending_submit", "quote", "", "BTC-USDT-M-1", "rules")
    event = ("BTC/USDT", 1_723_161_600_000_000_000, "BTC-USDT-O-1", "accepted", "submitted", "")

    def one(number: int) -> None:
        cursor.execute(INSERT_EVENT, ("bench", number, *event))

    def two(number: int) -> None:
        cursor.execute("BEGIN")
        cursor.execute(INSERT_ORDER, ("bench", 2 * number, *order, *words))
        cursor.execute(INSERT_EVENT, ("bench", 2 * number + 1, *event))
        cursor.execute("COMMIT")

    taken = _timed(one if records == 1 else two)
    connection.close()
    return taken


def _mapped(folder: Path) -> tuple[float, float]:
    """The usual recipe: objects of the mapper, added and committed."""
    engine = open_database(folder / "mapped.db")
    ledger = _started(engine, folder)
    records = [_records(number) for number in range(MAPPED_COMMITS)]
    with Session(engine) as session:

        def commit(number: int) -> None:
            order, event = records[number]
            session.add(OrderRow(run_id="bench", seq=2 * number + 1, **order._asdict()))
            session.add(OrderEventRow(run_id="bench", seq=2 * number + 2, **event._asdict()))
            session.commit()

        taken = _timed(commit, MAPPED_COMMITS)
    ledger.finish(RunStatus.FINISHED, {})
    engine.dispose()
    return taken


def figures(_options: Options) -> list[Figure]:
    """Commits per second of each, taken in turn."""
    bare_one: list[tuple[float, float]] = []
    bare_two: list[tuple[float, float]] = []
    mapped: list[tuple[float, float]] = []
    ledger: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        for measured, into in (
            (lambda folder: _bare(folder, 1), bare_one),
            (lambda folder: _bare(folder, RECORDS), bare_two),
            (_mapped, mapped),
            (_ledger, ledger),
        ):
            with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as folder:
                into.append(measured(Path(folder)))
    return [
        _commits("storage: SQLite, one row autocommitted", bare_one, "limit: WAL, ready values"),
        _commits("storage: SQLite, two rows a transaction", bare_two, "limit: WAL, ready values, the same tables"),
        _commits("storage: SQLModel, two objects added and committed", mapped, "peer: the usual recipe, same database"),
        _commits("storage: ledger, two records a commit", ledger, "database and canonical stream"),
        ratio("storage: CPU of SQLModel's commit ÷ the ledger's", [cpu for cpu, _ in mapped], [cpu for cpu, _ in ledger]),
        ratio("storage: CPU of the ledger's commit ÷ SQLite's", [cpu for cpu, _ in ledger], [cpu for cpu, _ in bare_two]),
    ]


def _commits(name: str, taken: list[tuple[float, float]], note: str) -> Figure:
    return Figure(name, tuple(1e6 / wall for _, wall in taken), "commits/s", note=note)
