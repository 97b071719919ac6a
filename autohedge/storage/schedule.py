"""The ticks of a schedule in the ledger: each is durable when `record` returns; nothing here changes one afterwards."""

from __future__ import annotations

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import SQLAlchemyError

from autohedge.domain.records import ScheduledCycle
from autohedge.errors import StorageError
from autohedge.storage.encoding import clean_text
from autohedge.storage.tables import ScheduledCycleRow, table_of


def record_scheduled_cycle(engine: Engine, run_id: str, cycle: ScheduledCycle) -> None:
    """Write one tick of a run; `StorageError` if it cannot be written or is written already."""
    values = {"run_id": run_id, **cycle._asdict(), "reason": clean_text(cycle.reason)}
    try:
        with engine.begin() as connection:
            connection.execute(insert(table_of(ScheduledCycleRow)).values(values))
    except SQLAlchemyError as error:
        raise StorageError(f"cannot record tick {cycle.n} of the schedule of run {run_id}: {error}") from error


def scheduled_cycles(engine: Engine, run_id: str) -> list[ScheduledCycle]:
    """The ticks of a run in their order; empty for a run without a schedule."""
    table = table_of(ScheduledCycleRow)
    columns = [table.c[name] for name in ScheduledCycle._fields]
    try:
        with engine.connect() as connection:
            rows = connection.execute(select(*columns).where(table.c.run_id == run_id).order_by(table.c.n)).all()
    except SQLAlchemyError as error:
        raise StorageError(f"cannot read the schedule of run {run_id}: {error}") from error
    return [ScheduledCycle(*row) for row in rows]
