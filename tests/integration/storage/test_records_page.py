"""The page about records is true: its tables, its columns, its queries and its program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Engine, text

from autohedge.storage.csv_log import COLUMNS
from autohedge.storage.database import open_database
from autohedge.storage.ledger import RunStatus
from autohedge.storage.tables import METADATA

PAGE = (Path(__file__).parents[3] / "docs" / "records.md").read_text()


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def first_cells(title: str) -> list[str]:
    """The names in the first column of a section's table."""
    return re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE)


@pytest.fixture
def outputs(tmp_path: Path, scripted_session: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A folder `outputs` with one run in it."""
    monkeypatch.chdir(tmp_path)
    ledger = scripted_session.start(Path("outputs"), "RUN")
    scripted_session.play(ledger, 300)
    ledger.finish(RunStatus.FINISHED, {})
    engine = open_database(Path("outputs/autohedge.db"), create=False)
    yield engine
    engine.dispose()


def test_the_page_names_all_tables() -> None:
    assert set(first_cells("The database")) == set(METADATA.tables)


def test_the_page_names_all_columns_of_the_csv_log_in_order() -> None:
    assert first_cells("The CSV log") == list(COLUMNS)


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL))
def test_the_queries_of_the_page_run(query: str, outputs: Engine) -> None:
    with outputs.connect() as connection:
        rows = connection.execute(text(query)).all()
    assert rows or "rules" in query


def test_the_program_of_the_page_runs(outputs: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    names["engine"].dispose()  # type: ignore[attr-defined]
    said = capsys.readouterr().out
    assert "3 of 3 decisions were model-driven" in said
    assert "buy" in said
