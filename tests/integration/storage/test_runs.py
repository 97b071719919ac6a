"""Reading the ledger: finding runs, telling live from dead, rebuilding the inventory, refusing contradictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text

from autohedge.errors import ConfigError, StorageError
from autohedge.storage.csv_log import replay_csv
from autohedge.storage.database import DATABASE_NAME, open_database
from autohedge.storage.ledger import RunLedger, RunStatus
from autohedge.storage.runs import (
    decision_share,
    decisions,
    fills,
    find_run,
    list_runs,
    openings,
    rebuild_inventory,
    recorded_cycles,
    show_run,
)
from autohedge.storage.stream import StreamLedger, compare_streams
from autohedge.storage.tables import RunRow, table_of

STEPS = 800


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A ledger database in a folder."""
    opened = open_database(tmp_path / DATABASE_NAME)
    yield opened
    opened.dispose()


@pytest.fixture
def begin(engine: Engine, tmp_path: Path, scripted_session: ModuleType) -> Iterator[Callable[[str], RunLedger]]:
    """Begins runs, one second after the other."""
    clock = scripted_session.ManualClock()
    begun: list[RunLedger] = []

    def begin_one(run_id: str) -> RunLedger:
        begun.append(RunLedger.start(engine, tmp_path / run_id, scripted_session.run_info(run_id), clock))
        return begun[-1]

    yield begin_one
    for ledger in begun:
        ledger.finish(RunStatus.FINISHED, {})


@pytest.fixture
def played(begin: Callable[[str], RunLedger], scripted_session: ModuleType) -> tuple[RunLedger, dict[str, Any]]:
    """A finished run and the inventories its makers ended with."""
    ledger = begin("played")
    inventories = scripted_session.play(ledger, STEPS)
    ledger.finish(RunStatus.FINISHED, {"fills": 1})
    return ledger, inventories


Played = tuple[RunLedger, dict[str, Any]]


# --- finding -------------------------------------------------------------------------------------------------------------


def test_an_empty_ledger_has_no_runs(engine: Engine) -> None:
    assert list_runs(engine) == []
    with pytest.raises(ConfigError, match="no run has been recorded yet"):
        find_run(engine, "x")


def test_runs_are_listed_newest_first(begin: Callable[[str], RunLedger], engine: Engine) -> None:
    for run_id in ("b", "c", "a"):
        begin(run_id)
    assert [run.run_id for run in list_runs(engine)] == ["a", "c", "b"]
    assert [run.run_id for run in list_runs(engine, limit=2)] == ["a", "c"]


def test_a_run_is_found_by_its_id_or_its_unique_beginning(begin: Callable[[str], RunLedger], engine: Engine) -> None:
    for run_id in ("run-1", "run-10", "RUN-2", "100%_"):
        begin(run_id)
    assert find_run(engine, "run-10").run_id == "run-10"
    assert find_run(engine, "run-1").run_id == "run-1", "an id is not ambiguous because another begins with it"
    assert find_run(engine, "RU").run_id == "RUN-2", "case counts on every database"
    assert find_run(engine, "100%").run_id == "100%_"
    with pytest.raises(ConfigError, match="begins the ids of 2 runs"):
        find_run(engine, "ru")
    for unknown in ("%", "_", "run-3", "", "'; --"):
        with pytest.raises(ConfigError, match="the newest are 100%_, RUN-2, run-10, run-1"):
            find_run(engine, unknown)


def test_only_the_newest_runs_are_named(begin: Callable[[str], RunLedger], engine: Engine) -> None:
    for number in range(7):
        begin(f"r{number}")
    with pytest.raises(ConfigError, match=r"the newest are r6, r5, r4, r3, r2$"):
        show_run(engine, "x")


def test_a_live_run_is_told_from_a_dead_one(begin: Callable[[str], RunLedger], engine: Engine, tmp_path: Path) -> None:
    """A process that died cannot say so; what it had open says it."""
    ledger = begin("live")
    assert find_run(engine, "live").status is RunStatus.RUNNING
    runs = table_of(RunRow)
    with engine.begin() as connection:
        row = connection.execute(select(runs)).mappings().one()
        connection.execute(insert(runs).values({**row, "run_id": "dead", "folder": "dead"}))
    assert find_run(engine, "dead").status is RunStatus.INTERRUPTED
    ledger.finish(RunStatus.FAILED, {})
    assert find_run(engine, "live").status is RunStatus.FAILED


def test_an_output_folder_can_be_moved(played: Played, engine: Engine, tmp_path: Path) -> None:
    ledger, _ = played
    assert find_run(engine, "played").stream_path == ledger.stream_path
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    engine.dispose()
    tmp_path.rename(moved)
    again = open_database(moved / DATABASE_NAME, create=False)
    assert find_run(again, "played").stream_path.is_file()
    again.dispose()
    moved.rename(tmp_path)


# --- contents ------------------------------------------------------------------------------------------------------------


def test_a_run_is_shown_with_what_it_recorded(played: Played, engine: Engine) -> None:
    ledger, _ = played
    detail = show_run(engine, "play")
    counts = detail.records
    canonical = ("openings", "orders", "order_events", "fills", "quote_states", "cycles")
    assert sum(counts[name] for name in canonical) == ledger.seq
    assert counts["openings"] == len(openings(engine, "played")) == 2
    assert counts["fills"] == len(fills(engine, "played")) > 50
    assert counts["cycles"] == len(recorded_cycles(engine, "played")) == STEPS // 97
    assert counts["decisions"] == len(decisions(engine, "played")) == 2 * counts["cycles"]
    assert counts["model_calls"] == counts["cycles"]
    assert detail.decisions == decision_share(engine, "played")
    assert (detail.decisions.called, detail.decisions.model_driven) == (counts["cycles"], counts["cycles"])
    assert detail.run.summary == {"fills": 1}


def test_a_run_and_its_repetition_have_one_stream(played: Played, scripted_session: ModuleType) -> None:
    ledger, _ = played
    again = StreamLedger()
    scripted_session.play(again, STEPS)
    assert compare_streams(ledger.stream_path, again.lines) is None


def test_the_fills_rebuild_the_inventory_in_every_field(played: Played, engine: Engine, scripted_session: ModuleType) -> None:
    """Balances, cost, realised PnL, fees in three assets: equal to the makers' own, to the atom."""
    _, inventories = played
    rebuilt = rebuild_inventory(engine, "played", scripted_session.INSTRUMENTS)
    assert rebuilt == inventories
    assert all(each.third_asset_fee_atoms and each.fees_atoms and each.realized_atoms for each in rebuilt.values())


def test_the_csv_log_rebuilds_the_same_balances(played: Played, engine: Engine) -> None:
    ledger, inventories = played
    from_csv = replay_csv(ledger.csv_path).inventories
    assert {symbol: (each.base, each.quote) for symbol, each in from_csv.items()} == {
        symbol: (each.instrument.base_amount(each.base_atoms), each.instrument.quote_amount(each.quote_atoms))
        for symbol, each in inventories.items()
    }


def test_a_missing_instrument_is_the_operators_business(played: Played, engine: Engine, scripted_session: ModuleType) -> None:
    with pytest.raises(ConfigError, match="give its instrument"):
        rebuild_inventory(engine, "played", scripted_session.INSTRUMENTS[:1])


def test_a_run_that_never_opened_rebuilds_nothing(begin: Callable[[str], RunLedger], engine: Engine) -> None:
    begin("empty")
    assert rebuild_inventory(engine, "empty", []) == {}


SECOND_FILL = "(SELECT seq FROM fills WHERE run_id = 'played' ORDER BY seq LIMIT 1 OFFSET 1)"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (f"UPDATE fills SET base_after = '1' WHERE seq = {SECOND_FILL}", "but the ledger says"),
        (f"UPDATE fills SET size = '9000' WHERE seq = {SECOND_FILL}", "cannot have happened"),
        (f"UPDATE fills SET price = '0.001' WHERE seq = {SECOND_FILL}", "cannot have happened"),
        (f"UPDATE fills SET fee = '1E-30' WHERE seq = {SECOND_FILL}", "not a whole number"),
        (f"UPDATE fills SET price = 'many' WHERE seq = {SECOND_FILL}", "expected a decimal number"),
        (f"DELETE FROM fills WHERE seq = {SECOND_FILL}", "but the ledger says|cannot have happened"),
        ("DELETE FROM openings WHERE symbol = 'BTC/USDT'", "before its opening"),
        ("UPDATE openings SET price = '0.001'", "half ticks"),
        ("UPDATE openings SET quote = '0.000000000001'", "whole number"),
    ],
)
def test_a_ledger_that_contradicts_itself_is_refused(
    damage: str, says: str, played: Played, engine: Engine, scripted_session: ModuleType
) -> None:
    with engine.begin() as connection:
        assert connection.execute(text(damage)).rowcount
    with pytest.raises(StorageError, match=says):
        rebuild_inventory(engine, "played", scripted_session.INSTRUMENTS)


def test_a_damaged_column_is_a_storage_error(played: Played, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET settings_json = '{'"))
    with pytest.raises(StorageError, match="expected JSON"):
        list_runs(engine)


def test_a_ledger_without_its_tables_is_a_storage_error(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE fills"))
    with pytest.raises(StorageError, match="cannot read the ledger"):
        fills(engine, "x")


def test_a_price_between_two_ticks_is_a_mark(
    begin: Callable[[str], RunLedger], engine: Engine, scripted_session: ModuleType
) -> None:
    """The opening price may be a mid, which lies on half ticks."""
    ledger = begin("mid")
    symbol = scripted_session.INSTRUMENTS[0].symbol
    record = scripted_session.OpeningRecord(symbol, 1, Decimal("100.005"), Decimal(2), Decimal(5), Decimal("205.01"))
    ledger.opening(record)
    inventory = rebuild_inventory(engine, "mid", scripted_session.INSTRUMENTS)[symbol]
    assert inventory.instrument.quote_amount(inventory.cost_atoms) == Decimal("200.01")
