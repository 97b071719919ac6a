"""The tables: exact money, a place in the run for every row, and the same columns as the records."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Float, Numeric, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from autohedge.domain.records import FillRecord, OpeningRecord, OrderEventRecord, OrderRecord, QuoteStateRecord
from autohedge.storage.tables import (
    METADATA,
    FillRow,
    LedgerRow,
    OpeningRow,
    OrderEventRow,
    OrderRow,
    QuoteStateRow,
    table_of,
)

TABLES = METADATA.sorted_tables
COLUMNS = [column for table in TABLES for column in table.columns]


def test_all_tables_of_the_ledger_are_there() -> None:
    assert {table.name for table in TABLES} == {
        "runs",
        "openings",
        "orders",
        "order_events",
        "fills",
        "quote_states",
        "cycles",
        "decisions",
        "model_calls",
        "scheduled_cycles",
    }


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_only_durations_are_floats(column: Column[object]) -> None:
    """Money as a binary fraction would lose digits without a word."""
    if isinstance(column.type, Float | Numeric):
        assert column.name == "latency_ms"


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_nanoseconds_fit_their_column(column: Column[object]) -> None:
    """A plain INTEGER would overflow on PostgreSQL."""
    if column.name.endswith("_ns") or column.name == "seq":
        assert column.type.compile(postgresql.dialect()) == "BIGINT"


@pytest.mark.parametrize("table", [table for table in TABLES if table.name not in ("runs", "scheduled_cycles")], ids=str)
def test_every_record_has_its_place_in_the_run(table: Table) -> None:
    """Ticks of a schedule are wall-clock facts and have none."""
    assert [column.name for column in table.primary_key][:2] == ["run_id", "seq"]
    assert [column.name for column in table.columns][:4] == ["run_id", "seq", "symbol", "ts_ns"]


@pytest.mark.parametrize(
    ("row", "record"),
    [
        (OpeningRow, OpeningRecord),
        (OrderRow, OrderRecord),
        (OrderEventRow, OrderEventRecord),
        (FillRow, FillRecord),
        (QuoteStateRow, QuoteStateRecord),
    ],
)
def test_a_table_has_the_fields_of_its_record_in_order(row: type[LedgerRow], record: type) -> None:
    """Rows are written as tuples of the record's values, so the order counts."""
    assert [column.name for column in table_of(row).columns][2:] == list(record._fields)  # type: ignore[attr-defined]


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_tables_can_be_made_on_both_databases(table: Table) -> None:
    assert "REAL" not in str(CreateTable(table).compile(dialect=sqlite.dialect()))
    assert "WITHOUT ROWID" not in str(CreateTable(table).compile(dialect=postgresql.dialect()))
