"""Opening the ledger's database: new, old, newer, foreign, damaged, and by several processes at once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from autohedge.errors import ConfigError, StorageError
from autohedge.storage import database
from autohedge.storage.database import DATABASE_NAME, database_folder, migrate, open_database
from autohedge.storage.migrations import HEAD

Open = Callable[..., Engine]

OPEN_AND_REPORT = """
import sys
from autohedge.storage.database import open_database
open_database(sys.argv[1]).dispose()
print("alembic" in sys.modules)
"""

OPEN_TOGETHER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import scripted_session
print("ready", flush=True)
sys.stdin.readline()
ledger = scripted_session.start(Path(sys.argv[2]), sys.argv[3])
scripted_session.play(ledger, 200)
ledger.finish(scripted_session.RunStatus.FINISHED, {})
"""

OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from autohedge.errors import ConfigError
from autohedge.storage.database import open_database
if os.geteuid() == 0:
    os.setuid(65534)
try:
    open_database(Path(sys.argv[1]))
except ConfigError as error:
    print(error)
"""


@pytest.fixture
def opened() -> Iterator[Open]:
    """`open_database`, with everything closed at the end."""
    engines: list[Engine] = []

    def open_one(*args: object, **options: object) -> Engine:
        engines.append(open_database(*args, **options))  # type: ignore[arg-type]
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


def python(code: str, *args: str) -> str:
    """Output of a program in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def schema(path: Path) -> list[tuple[str, ...]]:
    """Everything that SQLite knows about the tables."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def set_revision(path: Path, revision: str) -> None:
    """Claim that another version wrote the file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_a_new_ledger_is_made_with_its_folder(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "deep" / "out" / DATABASE_NAME
    engine = opened(path)
    assert database_folder(engine) == path.parent
    assert {"runs", "fills", "alembic_version"} <= {name for kind, name, *_ in schema(path) if kind == "table"}


def test_every_connection_is_durable_patient_and_strict(tmp_path: Path, opened: Open) -> None:
    with opened(tmp_path / DATABASE_NAME).connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 5000, "foreign_keys": 1}


def test_the_migrations_lead_to_the_declared_tables(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that came by the steps and one made at once are the same to the last letter."""
    opened(tmp_path / "at_once.db").dispose()
    monkeypatch.setattr(database, "_create", migrate)
    opened(tmp_path / "by_steps.db").dispose()
    assert schema(tmp_path / "by_steps.db") == schema(tmp_path / "at_once.db")


def test_opening_loads_alembic_only_to_migrate(tmp_path: Path) -> None:
    """A start must not pay for a migration that is not needed."""
    path = str(tmp_path / DATABASE_NAME)
    assert python(OPEN_AND_REPORT, path) == "False"
    assert python(OPEN_AND_REPORT, path) == "False"


def test_an_older_ledger_is_brought_up_to_date_with_its_rows(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version adds a column: old runs keep their rows and get it."""
    path = tmp_path / DATABASE_NAME
    opened(path).dispose()
    steps = tmp_path / "100% later"
    shutil.copytree(database.MIGRATIONS, steps)
    (steps / "versions" / "v9998_later.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '9998'\ndown_revision = {HEAD!r}\nbranch_labels = depends_on = None\n"
        "def upgrade():\n    op.add_column('runs', sa.Column('extra', sa.String(), server_default='was old'))\n"
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        connection.execute(f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join(['1'] * len(names))})")
    monkeypatch.setattr(database, "MIGRATIONS", steps)
    monkeypatch.setattr(database, "HEAD", "9998")
    with opened(path).connect() as connection:
        assert connection.execute(text("SELECT run_id, extra FROM runs")).all() == [("1", "was old")]
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9998"


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / DATABASE_NAME
    opened(path).dispose()
    before = schema(path)
    steps = tmp_path / "later"
    shutil.copytree(database.MIGRATIONS, steps)
    (steps / "versions" / "v9998_later.py").write_text(
        "from alembic import op\n"
        f"revision = '9998'\ndown_revision = {HEAD!r}\nbranch_labels = depends_on = None\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (x INT)')\n    op.execute('nonsense')\n"
    )
    monkeypatch.setattr(database, "MIGRATIONS", steps)
    monkeypatch.setattr(database, "HEAD", "9998")
    with pytest.raises(StorageError, match="cannot use the ledger"):
        open_database(path)
    assert schema(path) == before


def test_a_ledger_of_a_newer_version_is_refused_untouched(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / DATABASE_NAME
    opened(path).dispose()
    set_revision(path, "9999")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"newer AutoHedge .schema 9999.*upgrade AutoHedge"):
        open_database(path)
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE users (name TEXT)")
    with pytest.raises(ConfigError, match=r"holds something else .tables users.*name another file"):
        open_database(path)
    assert [name for _, name, *_ in schema(path)] == ["users"]


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    with pytest.raises(ConfigError, match="is not a database"):
        open_database(path)
    assert path.read_text() == "not a database " * 100
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_file_becomes_a_ledger(tmp_path: Path, opened: Open) -> None:
    """What a kill in the first moment leaves behind must not block the next start."""
    (tmp_path / DATABASE_NAME).touch()
    opened(tmp_path / DATABASE_NAME)
    assert schema(tmp_path / DATABASE_NAME)


def test_a_damaged_ledger_is_a_storage_error(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / DATABASE_NAME
    opened(path).dispose()
    content = bytearray(path.read_bytes())
    content[100:] = os.urandom(1) * (len(content) - 100)
    path.write_bytes(bytes(content))
    with pytest.raises(StorageError, match="cannot use the ledger"):
        open_database(path)


def test_reading_does_not_make_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no ledger at"):
        open_database(tmp_path / "out" / DATABASE_NAME, create=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("mysql://host/db", "sqlite or postgresql"),
        ("sqlite+aiosqlite:///x.db", "sqlite or postgresql"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("://", "expected a file path or a database URL"),
    ],
)
def test_a_target_that_cannot_be_a_ledger_is_refused(target: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_database(target)


def test_a_url_of_a_file_is_as_good_as_its_path(tmp_path: Path, opened: Open) -> None:
    opened(f"sqlite:///{tmp_path / DATABASE_NAME}")
    assert schema(tmp_path / DATABASE_NAME)


def test_folders_and_unusable_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="found the folder"):
        open_database(tmp_path)
    with pytest.raises(ConfigError, match="choose another output folder"):
        open_database(tmp_path / "file" / "out" / DATABASE_NAME)


@pytest.mark.parametrize("name", [DATABASE_NAME, f"out/{DATABASE_NAME}"])
def test_a_folder_without_permission_is_refused(name: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        assert "choose " in python(OPEN_AS_NOBODY, str(tmp_path / name))
        assert not list(tmp_path.iterdir())
    finally:
        tmp_path.chmod(0o755)


def test_several_processes_may_make_and_fill_one_ledger_at_once(tmp_path: Path, opened: Open) -> None:
    """Runs started together in one folder: one makes the tables, all of them record."""
    command = [sys.executable, "-c", OPEN_TOGETHER, str(Path(__file__).parent), str(tmp_path)]
    processes = [
        subprocess.Popen([*command, f"run-{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        with process:
            assert process.wait(timeout=60) == 0
    with opened(tmp_path / DATABASE_NAME).connect() as connection:
        counts = connection.execute(text("SELECT run_id, count(*) FROM orders GROUP BY run_id ORDER BY run_id")).all()
    assert [run for run, _ in counts] == ["run-0", "run-1", "run-2"]
    assert len({count for _, count in counts}) == 1
