"""Opens the ledger's database and brings its tables up to date.

SQLite in write-ahead mode by default: readers never wait for the writer, and what was committed survives the death of the
process (the last commits may be lost, whole, when the machine itself loses power). PostgreSQL by URL where its driver is
installed. A database that a newer version wrote, or that belongs to something else, is refused untouched.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, insert, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from autohedge.errors import AutoHedgeError, ConfigError, StorageError
from autohedge.storage.migrations import HEAD
from autohedge.storage.tables import METADATA, VERSION_TABLE

DATABASE_NAME = "autohedge.db"
"""The file name of the ledger in an output folder; all runs of the folder share it."""

MIGRATIONS = Path(__file__).parent / "migrations"
"""Where the steps of the schema are; shipped with the package."""

_DRIVERS = {"sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"}
_NOT_OURS_TO_OPEN = {"SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_AUTH"}


def open_database(target: str | Path, *, create: bool = True) -> Engine:
    """Open (and with `create` make) the ledger at a file path or database URL; its tables are up to date afterwards.

    `ConfigError` when the path cannot be used, holds something else, was written by a newer version, or, without `create`,
    does not exist; `StorageError` when the database is damaged, locked or unreachable.
    """
    url = _url(target)
    if url.get_backend_name() == "sqlite":
        _prepare_file(Path(url.database or ""), create)
    engine = _engine(url)
    try:
        _bring_up_to_date(engine)
    except AutoHedgeError:
        engine.dispose()
        raise
    except SQLAlchemyError as error:
        engine.dispose()
        raise _explained(error, url) from error
    return engine


def database_folder(engine: Engine) -> Path | None:
    """The folder of an SQLite ledger; None for a server."""
    url = engine.url
    return Path(url.database).absolute().parent if url.get_backend_name() == "sqlite" and url.database else None


def _url(target: str | Path) -> URL:
    if isinstance(target, Path) or "://" not in target:
        return URL.create("sqlite", database=str(target))
    try:
        url = make_url(target)
    except ArgumentError as error:
        raise ConfigError(f"expected a file path or a database URL, found {target!r}") from error
    if url.drivername not in _DRIVERS:
        raise ConfigError(f"expected a sqlite or postgresql database, found {url.drivername}; use one of those")
    if url.get_backend_name() == "sqlite" and (url.database or ":memory:") == ":memory:":
        raise ConfigError("expected a file for the ledger, found a database in memory, which would not survive; name a file")
    return url


def _prepare_file(path: Path, create: bool) -> None:
    """Refuse a path that no database can be at; make the folder of a new one."""
    try:
        if path.is_dir():
            raise ConfigError(f"expected a database file, found the folder {path}; name the file in it, {path / DATABASE_NAME}")
        if path.exists():
            return
        if not create:
            raise ConfigError(f"there is no ledger at {path}; run something first, or name the output folder that has one")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot use {path.parent}: {error.strerror}; choose another output folder") from error


def _engine(url: URL) -> Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    try:
        # a file is opened in a millisecond; a pool would only keep connections that nobody closes
        engine = create_engine(url, poolclass=NullPool) if is_sqlite else create_engine(url)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{url.drivername} needs the package {error.name}, which is not installed; install it") from error
    if is_sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    """Write-ahead log, enforced references, a patient lock; transactions begin where we say and include schema changes."""
    connection.isolation_level = None
    for pragma in (
        "busy_timeout = 5000",
        "page_size = 2048",  # of a new file only: a commit rewrites a page or two, and small pages make that cheaper
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "wal_autocheckpoint = 4000",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _bring_up_to_date(engine: Engine) -> None:
    found = _revision(engine)
    if found == HEAD:
        return
    if found is None:
        _create(engine)
    else:
        migrate(engine)


def _revision(engine: Engine) -> str | None:
    """The schema's revision; None for a database with nothing in it."""
    try:
        with engine.connect() as connection:
            return str(connection.execute(select(VERSION_TABLE.c.version_num)).scalar_one())
    except DBAPIError as error:
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
        if not tables:
            return None
        if VERSION_TABLE.name in tables:
            raise
        raise ConfigError(
            f"{_name(engine.url)} holds something else (tables {', '.join(sorted(tables)[:5])}); name another file or database"
        ) from error


def _create(engine: Engine) -> None:
    """All tables and the stamp in one transaction. If another process was faster, its tables are as good as ours."""
    try:
        with engine.begin() as connection:
            METADATA.create_all(connection, checkfirst=False)
            VERSION_TABLE.create(connection)
            connection.execute(insert(VERSION_TABLE).values(version_num=HEAD))
    except DBAPIError:
        if _revision(engine) != HEAD:
            raise


def migrate(engine: Engine) -> None:
    """Run the steps that the database is missing, all in one transaction; Alembic is loaded only here.

    `ConfigError` if its revision is unknown to this version. A new database gets its tables from the steps one by one.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    found = _revision(engine)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigError(
            f"{_name(engine.url)} was written by a newer AutoHedge (schema {found}, this version knows {HEAD}); "
            "upgrade AutoHedge, or use another output folder"
        )
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise StorageError(f"cannot bring {_name(engine.url)} from schema {found} to {HEAD}: {error}") from error


def _name(url: URL) -> str:
    """What to call the database in a message: the path, or the URL without its password."""
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def _explained(error: SQLAlchemyError, url: URL) -> AutoHedgeError:
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", "")
    if code == "SQLITE_NOTADB":
        return ConfigError(f"{_name(url)} is not a database; name another file, or move this one away")
    if any(code.startswith(each) for each in _NOT_OURS_TO_OPEN):
        return ConfigError(f"cannot open {_name(url)} for writing: {cause}; choose an output folder you may write to")
    return StorageError(f"cannot use the ledger {_name(url)}: {cause}")
