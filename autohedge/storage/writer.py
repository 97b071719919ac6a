"""The one writer of a run: ready-made rows through the driver itself, each batch one explicit transaction.

The object mapper costs fifty times as much as the rows; here the statements are made once from the tables and the rows are
plain tuples in the order of the table's columns. A batch is in the database whole when `write` returns, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from autohedge.errors import StorageError
from autohedge.storage.tables import LedgerRow, table_of

Statement = tuple[str, tuple[Any, ...]]
"""SQL with its values."""


class TransactionWriter:
    """Owns one connection, outside the engine's pool. Used by one task; `StorageError` is final for the batch it is about."""

    __slots__ = ("_connection", "_cursor", "_driver_error", "_engine", "_pooled")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        try:
            pooled = engine.raw_connection()
        except SQLAlchemyError as error:
            raise StorageError(f"cannot open the ledger for writing: {error}") from error
        connection: Any = pooled.driver_connection
        pooled.detach()
        if engine.dialect.name != "sqlite":
            connection.autocommit = True  # transactions begin and end where `write` says, as they do on SQLite
        self._pooled = pooled
        self._connection = connection
        self._cursor = connection.cursor()

    def insert_into(self, row: type[LedgerRow]) -> str:
        """The statement that inserts one tuple into the table of `row`."""
        table = table_of(row)
        quote = self._engine.dialect.identifier_preparer.quote
        mark = "?" if self._engine.dialect.paramstyle == "qmark" else "%s"
        names = [quote(name) for name in table.columns.keys()]  # noqa: SIM118 - the collection iterates over columns
        return f"INSERT INTO {quote(table.name)} ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))})"

    def write(self, statements: Sequence[Statement]) -> None:
        """Carry out all statements in one transaction; `StorageError`, with none of them done, if one fails."""
        execute = self._cursor.execute
        try:
            if len(statements) == 1:
                execute(*statements[0])
                return
            execute("BEGIN")
            for sql, values in statements:
                execute(sql, values)
            execute("COMMIT")
        except (self._driver_error, OverflowError, UnicodeError) as error:
            self._roll_back()
            raise StorageError(f"cannot write to the ledger: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            self._connection.rollback()
        except self._driver_error as error:
            raise StorageError(f"cannot undo a failed write to the ledger: {error}") from error

    def close(self) -> None:
        """Give the connection back to the system; may be called twice."""
        self._pooled.close()
