"""The tables of the ledger, the same on SQLite and PostgreSQL.

Every row of a run carries `run_id` and `seq`, its place in the canonical stream of that run (from 1, without gaps, one
counter over all tables; decisions and model calls carry the `seq` of their cycle). `ts_ns` is market time; wall-clock facts
are in columns of their own that end in `_wall_ns` or are called `latency_ms`. Money and sizes are text, exact: no column
here is a binary fraction of money. Below `run_id` and `seq`, the columns of a record's table are the record's fields, in order.

Rows are read through these classes and written as plain tuples by the ledger: `table=True` models do not validate.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from autohedge.errors import StorageError
from autohedge.storage.encoding import plain

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class ExactDecimal(TypeDecorator[Decimal]):
    """A `Decimal` as text in plain notation, because SQLite would keep a NUMERIC as a binary float and lose digits."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else plain(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        """From the database."""
        if value is None:
            return None
        try:
            return Decimal(value)
        except InvalidOperation as error:
            raise StorageError(f"expected a decimal number in the ledger, found {value[:40]!r}") from error


class LedgerRow(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMES))):
    """Base of the ledger's tables, with metadata of its own: a user's SQLModel tables are never created beside them."""


class RunRow(LedgerRow, table=True):
    """One recorded run. `summary_json` is None until it ends; `folder` is relative to the database's own where it can be."""

    __tablename__ = "runs"

    run_id: str = Field(primary_key=True)
    kind: str
    status: str
    started_wall_ns: int = Field(sa_type=BigInteger)
    ended_wall_ns: int | None = Field(default=None, sa_type=BigInteger)
    settings_json: str
    settings_hash: str
    market_json: str
    market_fingerprint: str
    symbols_json: str
    simulated: bool
    seed: int | None = Field(default=None, sa_type=BigInteger)
    version: str
    folder: str
    summary_json: str | None = None
    note: str


class SequencedRow(LedgerRow):
    """What all rows of a run share; the key is the place in the run."""

    run_id: str = Field(primary_key=True, foreign_key="runs.run_id")
    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    symbol: str
    ts_ns: int = Field(sa_type=BigInteger)


# Small rows that are written one after the other are kept in the order of their key: one page written per commit, not two.
CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}


class OpeningRow(SequencedRow, table=True):
    """The inventory a symbol started with (`OpeningRecord`)."""

    __tablename__ = "openings"
    __table_args__: ClassVar[Any] = CLUSTERED

    price: Decimal = Field(sa_type=ExactDecimal)
    base: Decimal = Field(sa_type=ExactDecimal)
    quote: Decimal = Field(sa_type=ExactDecimal)
    total_value: Decimal = Field(sa_type=ExactDecimal)


class OrderRow(SequencedRow, table=True):
    """An intent, written before it was sent, or a denial (`OrderRecord`)."""

    __tablename__ = "orders"
    __table_args__: ClassVar[Any] = CLUSTERED

    client_order_id: str
    side: str
    kind: str
    price: Decimal | None = Field(default=None, sa_type=ExactDecimal)
    size: Decimal = Field(sa_type=ExactDecimal)
    post_only: bool
    state: str
    reason: str
    detail: str
    mandate_id: str
    decision_source: str


class OrderEventRow(SequencedRow, table=True):
    """A change of an order (`OrderEventRecord`)."""

    __tablename__ = "order_events"
    __table_args__: ClassVar[Any] = CLUSTERED

    client_order_id: str
    event: str
    state: str
    detail: str


class FillRow(SequencedRow, table=True):
    """One fill with the inventory after it (`FillRecord`); a trade id is booked once per run."""

    __tablename__ = "fills"
    __table_args__: ClassVar[Any] = (UniqueConstraint("run_id", "trade_id"), CLUSTERED)

    trade_id: str
    client_order_id: str
    side: str
    price: Decimal = Field(sa_type=ExactDecimal)
    size: Decimal = Field(sa_type=ExactDecimal)
    fee: Decimal = Field(sa_type=ExactDecimal)
    fee_asset: str
    liquidity: str
    base_after: Decimal = Field(sa_type=ExactDecimal)
    quote_after: Decimal = Field(sa_type=ExactDecimal)
    total_value: Decimal = Field(sa_type=ExactDecimal)
    mandate_id: str
    decision_source: str
    reason: str


class QuoteStateRow(SequencedRow, table=True):
    """Quoting of a side began or stopped (`QuoteStateRecord`)."""

    __tablename__ = "quote_states"
    __table_args__: ClassVar[Any] = CLUSTERED

    side: str
    quoting: bool
    reason: str


class CycleRow(SequencedRow, table=True):
    """A desk cycle and what became of it: `cycle_ts_ns` is when the desk was asked, `ts_ns` when the maker took the outcome.

    `proposal_json` is what the desk asked for (None when it held), `mandate_json` what the clamp let through, its hits included
    (None with the reason in `mandate_reason`).
    """

    __tablename__ = "cycles"

    cycle_id: str
    cycle_ts_ns: int = Field(sa_type=BigInteger)
    outcome: str
    reason: str
    source: str
    revisions: int
    proposal_json: str | None = None
    mandate_outcome: str
    mandate_reason: str
    mandate_json: str | None = None


def _of_cycle() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["run_id", "seq"], ["cycles.run_id", "cycles.seq"])


class CyclePartRow(SequencedRow):
    """What belongs to a cycle: `seq` is the cycle's, `number` counts from 1 inside it, `ts_ns` is when the desk was asked."""

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    cycle_id: str
    role: str


class DecisionRow(CyclePartRow, table=True):
    """One agent's decision with its provenance (`DecisionRecord`; `sequence` is the desk's own count)."""

    __tablename__ = "decisions"
    __table_args__: ClassVar[Any] = (_of_cycle(),)

    sequence: int
    schema_name: str
    source: str
    reason_code: str
    reason: str
    model: str | None = None
    prompt_hash: str
    input_hash: str
    input_tokens: int | None = Field(default=None, sa_type=BigInteger)
    output_tokens: int | None = Field(default=None, sa_type=BigInteger)
    cost_usd: Decimal | None = Field(default=None, sa_type=ExactDecimal)
    latency_ms: float
    attempts: int
    value_json: str


class ModelCallRow(CyclePartRow, table=True):
    """One attempt at one model call (`ModelCallRecord`), with what was sent and what came back."""

    __tablename__ = "model_calls"
    __table_args__: ClassVar[Any] = (_of_cycle(),)

    attempt: int
    model: str
    outcome: str
    detail: str
    messages_json: str
    response: str
    input_tokens: int | None = Field(default=None, sa_type=BigInteger)
    output_tokens: int | None = Field(default=None, sa_type=BigInteger)
    cached_tokens: int | None = Field(default=None, sa_type=BigInteger)
    started_wall_ns: int = Field(sa_type=BigInteger)
    latency_ms: float


class ScheduledCycleRow(LedgerRow, table=True):
    """One tick of a run's schedule (`ScheduledCycle`): wall time only, no part of the canonical stream."""

    __tablename__ = "scheduled_cycles"
    __table_args__: ClassVar[Any] = CLUSTERED

    run_id: str = Field(primary_key=True, foreign_key="runs.run_id")
    n: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    planned_wall_ns: int = Field(sa_type=BigInteger)
    started_wall_ns: int | None = Field(default=None, sa_type=BigInteger)
    ended_wall_ns: int | None = Field(default=None, sa_type=BigInteger)
    status: str
    reason: str


METADATA: MetaData = LedgerRow.metadata

# Alembic's own table, so that a new database can be stamped without loading Alembic (a test holds them equal).
VERSION_TABLE = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def table_of(row: type[LedgerRow]) -> Table:
    """The table behind a row class."""
    table: Table = row.__table__  # type: ignore[attr-defined]
    return table
