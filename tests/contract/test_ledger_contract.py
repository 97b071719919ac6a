"""What every ledger promises: gapless numbers, exact values, durability at the promised moments, and no record after a failure.

Runs over SQLite always, and over PostgreSQL where its server programs and the `psycopg` driver are installed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from autohedge.domain.ids import CycleId, MandateId, RunId
from autohedge.domain.mandate import Clamped, Mandate, MandateProposal, Regime, RiskLevel
from autohedge.domain.orders import Liquidity, OrderState
from autohedge.domain.records import (
    CycleOutcome,
    DecisionRecord,
    DecisionSource,
    FillRecord,
    MandateRecord,
    ModelCallRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.errors import ConfigError, StorageError
from autohedge.ports import Ledger
from autohedge.storage.csv_log import read_csv_log
from autohedge.storage.database import DATABASE_NAME, open_database
from autohedge.storage.ledger import RunInfo, RunKind, RunLedger, RunStatus
from autohedge.storage.runs import decision_share, decisions, fills, find_run, list_runs, openings, recorded_cycles, show_run
from autohedge.storage.stream import StreamLedger, compare_streams
from autohedge.storage.tables import METADATA, ModelCallRow, OrderRow, table_of
from autohedge.testing.clock import ManualClock

TS_NS = 1_723_161_255_123_456_789
LONG = Decimal("12345678901.123456789012")
HOSTILE = "'); DROP TABLE runs; --\r\n=1+1,\"\u202e\ud83d\ude00\ud800\0"
CLEANED = "'); DROP TABLE runs; --\r\n=1+1,\"\u202e\U0001f600\ufffd\ufffd"

OPENING = OpeningRecord("BTC/USDT", TS_NS, Decimal("60000.5"), Decimal(0), LONG, LONG)
ORDER = OrderRecord(
    symbol="BTC/USDT",
    ts_ns=TS_NS,
    client_order_id="BTC-USDT-000001",
    side="buy",
    kind="limit",
    price=LONG,
    size=Decimal("0.00000001"),
    post_only=True,
    state=OrderState.PENDING_SUBMIT,
    reason="quote",
    detail=HOSTILE,
    mandate_id="m1",
    decision_source="rules",
)
ACCEPTED = OrderEventRecord("BTC/USDT", TS_NS + 1, "BTC-USDT-000001", "accepted", OrderState.SUBMITTED, "")
FILL = FillRecord(
    symbol="BTC/USDT",
    ts_ns=TS_NS + 2,
    trade_id="BTC-USDT-f000001",
    client_order_id="BTC-USDT-000001",
    side="buy",
    price=LONG,
    size=Decimal("0.1"),
    fee=Decimal("-1E-18"),
    fee_asset="BNB",
    liquidity=Liquidity.TAKER,
    base_after=Decimal("0.1"),
    quote_after=LONG,
    total_value=LONG,
    mandate_id="m1",
    decision_source="llm",
    reason="quote",
)
STOPPED = QuoteStateRecord("BTC/USDT", TS_NS + 3, "bid", False, "stale")
PROPOSAL = MandateProposal(0.1 + 0.2, 1 / 3, 1.0, 60.0, Regime.TRENDING_UP, RiskLevel.LOW)
DECISION = DecisionRecord(
    cycle_id=CycleId("c1"),
    symbol="BTC/USDT",
    ts_ns=TS_NS + 4,
    sequence=1,
    role="quant_analyst",
    schema="QuantAnalysis",
    source=DecisionSource.LLM,
    reason_code="ok",
    reason="because",
    model="m",
    prompt_hash="p",
    input_hash="i",
    input_tokens=10,
    output_tokens=None,
    cost_usd=Decimal("0.000000000000123456789"),
    latency_ms=0.1,
    attempts=2,
    value={"probability_score": 0.1, "key_levels": {"support": None}, "reasons": ["ü"]},
)
CALL = ModelCallRecord(CycleId("c1"), "BTC/USDT", "quant_analyst", 1, "m", "timeout", "", "[]", HOSTILE, 10**30, -1, 7, 5, 0.5)
MANDATE = Mandate(
    mandate_id=MandateId("m1"),
    cycle_id=CycleId("c1"),
    symbol="BTC/USDT",
    spread_multiplier=1.5,
    inventory_bias=0.25,
    size_multiplier=1.0,
    regime=Regime.TRENDING_UP,
    risk_level=RiskLevel.LOW,
    effective_ns=TS_NS + 5,
    valid_until_ns=TS_NS + 6,
    source="llm",
    reason="because",
    clamps=(Clamped("inventory_bias", 1 / 3, 0.25, "inventory_bias_max_change"),),
)
OUTCOME = CycleOutcome(
    cycle_id=CycleId("c1"),
    symbol="BTC/USDT",
    ts_ns=TS_NS + 4,
    outcome="proposal",
    reason="because",
    proposal=PROPOSAL,
    source=DecisionSource.LLM,
    revisions=1,
    decisions=(DECISION, DECISION._replace(source=DecisionSource.ABSTAINED, model=None, cost_usd=None)),
    calls=(CALL,),
)
ADOPTED = MandateRecord("BTC/USDT", TS_NS + 5, CycleId("c1"), "proposal", "because", MANDATE)


# --- databases -------------------------------------------------------------------------------------------------------------


def _as_server_user(*command: str) -> subprocess.CompletedProcess[str]:
    """PostgreSQL refuses to run as root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    return subprocess.run([*prefix, *command], check=True, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """A throw-away server on a unix socket, or a skip with the reason."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the psycopg driver is not installed")
    initdb = shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    programs = Path(initdb).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="autohedge-pg-"))
    try:
        if os.geteuid() == 0:
            try:
                server_user = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
            os.chown(folder, server_user.pw_uid, server_user.pw_gid)
        data = folder / "data"
        _as_server_user(str(programs / "initdb"), "-D", str(data), "-U", "autohedge", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w"]
        _as_server_user(*control, "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://autohedge@/postgres?host={folder}"
        finally:
            _as_server_user(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty ledger database."""
    if request.param == "sqlite":
        opened = open_database(tmp_path / DATABASE_NAME)
        yield opened
    else:
        opened = open_database(request.getfixturevalue("postgresql_url"))
        yield opened
        with opened.begin() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())
    opened.dispose()


def run_info(run_id: str = "20240808-run", **changes: Any) -> RunInfo:
    """A run's own words."""
    values: dict[str, Any] = {
        "run_id": RunId(run_id),
        "kind": RunKind.RUN,
        "settings": {"capital": Decimal("10000.10"), "out": Path("outputs")},
        "market": {"market": "sim"},
        "market_fingerprint": "sim:7",
        "symbols": ("BTC/USDT",),
        "simulated": True,
        "seed": 7,
        "version": "1.0.0a1",
    }
    return RunInfo(**{**values, **changes})


@pytest.fixture
def ledger(engine: Engine, tmp_path: Path) -> Iterator[RunLedger]:
    """A ledger of a run that has just begun."""
    started = RunLedger.start(engine, tmp_path / "20240808-run", run_info(), ManualClock())
    yield started
    started.finish(RunStatus.FAILED, {})


def count(engine: Engine, table: str) -> int:
    """Rows that another connection sees."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(METADATA.tables[table])).scalar_one()


def record_everything(ledger: Ledger) -> None:
    """One record of each kind, two of some."""
    ledger.opening(OPENING)
    ledger.order(ORDER)
    ledger.commit()
    ledger.order_event(ACCEPTED)
    ledger.fill(FILL)
    ledger.quote_state(STOPPED)
    ledger.cycle(OUTCOME, ADOPTED)
    ledger.order(ORDER._replace(client_order_id="o2", price=None, kind="market", post_only=False, state=OrderState.DENIED))
    ledger.cycle(
        OUTCOME._replace(cycle_id=CycleId("c2"), proposal=None, outcome="hold", decisions=(), calls=()),
        ADOPTED._replace(cycle_id=CycleId("c2"), mandate=None, outcome="hold"),
    )
    ledger.commit()


# --- promises --------------------------------------------------------------------------------------------------------------


def test_records_come_back_exactly(ledger: RunLedger, engine: Engine) -> None:
    """Every digit of money, every bit of a proposal, every word but what no database can hold."""
    record_everything(ledger)
    run_id = ledger.run.run_id
    assert openings(engine, run_id) == [OPENING]
    assert fills(engine, run_id) == [FILL]
    assert decisions(engine, run_id) == list(OUTCOME.decisions)
    first, second = recorded_cycles(engine, run_id)
    assert first == OUTCOME._replace(decisions=(), calls=())
    assert (second.outcome, second.proposal, second.cycle_id) == ("hold", None, "c2")
    with engine.connect() as connection:
        orders = connection.execute(select(table_of(OrderRow)).order_by(table_of(OrderRow).c.seq)).all()
        call = connection.execute(select(table_of(ModelCallRow))).one()
    assert tuple(orders[0])[2:] == ORDER._replace(detail=CLEANED)
    assert (orders[1].price, orders[1].kind, orders[1].post_only, orders[1].state) == (None, "market", False, "denied")
    assert (call.response, call.outcome, call.ts_ns, call.latency_ms) == (CLEANED, "timeout", OUTCOME.ts_ns, 0.5)


def test_a_count_of_tokens_that_is_none_is_unknown(ledger: RunLedger, engine: Engine) -> None:
    """A broken endpoint may report any number; the run goes on."""
    ledger.cycle(OUTCOME, ADOPTED)
    with engine.connect() as connection:
        call = connection.execute(select(table_of(ModelCallRow))).one()
    assert (call.input_tokens, call.output_tokens, call.cached_tokens) == (None, None, 7)


def test_numbers_are_gapless_over_all_tables(ledger: RunLedger, engine: Engine) -> None:
    record_everything(ledger)
    numbers: list[int] = []
    for name in ("openings", "orders", "order_events", "fills", "quote_states", "cycles"):
        with engine.connect() as connection:
            numbers += connection.execute(select(METADATA.tables[name].c.seq)).scalars()
    assert sorted(numbers) == list(range(1, 9))
    assert ledger.seq == 8
    with engine.connect() as connection:
        parts = connection.execute(select(METADATA.tables["decisions"].c["seq", "number"])).all()
    assert [tuple(part) for part in parts] == [(6, 1), (6, 2)]


def test_the_stream_is_that_of_a_replay(ledger: RunLedger) -> None:
    """Two kinds of ledger, one stream."""
    replayed = StreamLedger()
    record_everything(ledger)
    record_everything(replayed)
    assert compare_streams(ledger.stream_path, replayed.lines) is None
    lines = [orjson.loads(line) for line in ledger.stream_path.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, 9))
    assert [line["type"] for line in lines] == [
        "opening",
        "order",
        "order_event",
        "fill",
        "quote_state",
        "mandate",
        "order",
        "mandate",
    ]


def test_nothing_is_seen_before_commit_and_all_of_it_after(ledger: RunLedger, engine: Engine) -> None:
    ledger.order(ORDER)
    ledger.order_event(ACCEPTED)
    ledger.quote_state(STOPPED)
    assert [count(engine, name) for name in ("orders", "order_events", "quote_states")] == [0, 0, 0]
    assert ledger.stream_path.read_bytes() == b""
    ledger.commit()
    assert [count(engine, name) for name in ("orders", "order_events", "quote_states")] == [1, 1, 1]
    assert ledger.stream_path.read_bytes().count(b"\n") == 3
    ledger.commit()
    assert ledger.stream_path.read_bytes().count(b"\n") == 3


def test_an_opening_and_a_fill_are_durable_on_return_in_all_three(ledger: RunLedger, engine: Engine) -> None:
    ledger.opening(OPENING)
    assert [row.event_type for row in read_csv_log(ledger.csv_path).rows] == ["START"]
    ledger.order(ORDER)
    ledger.fill(FILL)
    assert (count(engine, "openings"), count(engine, "orders"), count(engine, "fills")) == (1, 1, 1)
    log = read_csv_log(ledger.csv_path)
    assert [row.event_type for row in log.rows] == ["START", "BUY"]
    assert (log.rows[1].price, log.rows[1].fee, log.rows[1].quote_inventory) == (FILL.price, FILL.fee, FILL.quote_after)
    assert ledger.stream_path.read_bytes().count(b"\n") == 3


def test_a_cycle_is_durable_on_return_with_all_its_parts(ledger: RunLedger, engine: Engine) -> None:
    ledger.order(ORDER)
    ledger.cycle(OUTCOME, ADOPTED)
    assert [count(engine, name) for name in ("orders", "cycles", "decisions", "model_calls")] == [1, 1, 2, 1]
    with engine.connect() as connection:
        cycle = connection.execute(select(METADATA.tables["cycles"])).one()
    mandate = orjson.loads(cycle.mandate_json)
    assert (cycle.ts_ns, cycle.cycle_ts_ns, mandate["reason"]) == (ADOPTED.ts_ns, OUTCOME.ts_ns, "because")
    assert mandate["clamps"] == [
        {"field": "inventory_bias", "asked": 1 / 3, "given": 0.25, "limit": "inventory_bias_max_change"}
    ]


def test_a_fill_is_booked_once(ledger: RunLedger, engine: Engine) -> None:
    """The same trade id again is a contradiction: the transaction is refused whole, and the run stops."""
    ledger.fill(FILL)
    ledger.order(ORDER)
    with pytest.raises(StorageError, match="cannot write to the ledger"):
        ledger.fill(FILL)
    assert (count(engine, "fills"), count(engine, "orders")) == (1, 0)
    assert len(read_csv_log(ledger.csv_path).rows) == 1
    assert ledger.stream_path.read_bytes().count(b"\n") == 1


def test_after_a_failure_nothing_more_is_recorded(ledger: RunLedger, engine: Engine) -> None:
    """Otherwise the record would have a hole in it."""
    ledger.fill(FILL)
    with pytest.raises(StorageError):
        ledger.fill(FILL)
    for attempt in (
        lambda: ledger.order(ORDER),
        lambda: ledger.fill(FILL._replace(trade_id="f9")),
        lambda: ledger.cycle(OUTCOME, ADOPTED),
        ledger.commit,
    ):
        with pytest.raises(StorageError, match="nothing more is recorded"):
            attempt()
    ledger.finish(RunStatus.FAILED, {"why": "twice"}, note="the same fill twice")
    run = find_run(engine, ledger.run.run_id)
    assert (run.status, run.summary, run.note) == (RunStatus.FAILED, {"why": "twice"}, "the same fill twice")
    assert count(engine, "fills") == 1


@pytest.mark.parametrize(
    "wrong", [{"price": Decimal("NaN")}, {"fee": Decimal("Infinity")}, {"side": "hold"}, {"ts_ns": 10**30}]
)
def test_a_record_that_cannot_be_written_takes_no_number(wrong: dict[str, Any], ledger: RunLedger, engine: Engine) -> None:
    with pytest.raises(StorageError):
        ledger.fill(FILL._replace(**wrong))
    ledger.fill(FILL)
    assert (ledger.seq, count(engine, "fills"), len(read_csv_log(ledger.csv_path).rows)) == (1, 1, 1)


def test_a_proposal_that_is_not_finite_takes_no_number(ledger: RunLedger, engine: Engine) -> None:
    for outcome, mandate in (
        (OUTCOME._replace(proposal=PROPOSAL._replace(ttl_s=float("inf"))), ADOPTED),
        (OUTCOME, ADOPTED._replace(mandate=MANDATE._replace(inventory_bias=float("nan")))),
    ):
        with pytest.raises(StorageError, match="finite"):
            ledger.cycle(outcome, mandate)
    assert (ledger.seq, count(engine, "cycles"), count(engine, "decisions")) == (0, 0, 0)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e30"), max_value=Decimal("1e30")),
        min_size=6,
        max_size=6,
    )
)
def test_any_amounts_come_back_exactly(ledger: RunLedger, engine: Engine, amounts: list[Decimal]) -> None:
    names = ("price", "size", "fee", "base_after", "quote_after", "total_value")
    fill = FILL._replace(**dict(zip(names, amounts, strict=True)), trade_id=f"f{ledger.seq}")
    ledger.fill(fill)
    assert fills(engine, ledger.run.run_id)[-1] == fill


# --- the run itself --------------------------------------------------------------------------------------------------------


def test_a_run_says_how_it_began_and_ended(ledger: RunLedger, engine: Engine) -> None:
    begun = find_run(engine, ledger.run.run_id)
    assert (begun.status, begun.ended_wall_ns, begun.summary) == (RunStatus.RUNNING, None, None)
    assert begun.settings == {"capital": "10000.10", "out": "outputs"}
    assert (begun.market, begun.market_fingerprint, begun.symbols) == ({"market": "sim"}, "sim:7", ("BTC/USDT",))
    assert (begun.simulated, begun.seed, begun.version, begun.kind) == (True, 7, "1.0.0a1", RunKind.RUN)
    assert begun.folder == ledger.csv_path.parent
    ledger.order(ORDER)
    ledger.finish(RunStatus.FINISHED, {"fills": 0}, note="done")
    ended = find_run(engine, ledger.run.run_id)
    assert (ended.status, ended.summary, ended.note) == (RunStatus.FINISHED, {"fills": 0}, "done")
    assert ended.ended_wall_ns is not None
    assert count(engine, "orders") == 1, "what was not committed yet is committed at the end"


def test_a_finished_run_takes_no_more_records(ledger: RunLedger, engine: Engine) -> None:
    ledger.finish(RunStatus.FINISHED, {})
    ledger.finish(RunStatus.FAILED, {}, note="again")
    assert find_run(engine, ledger.run.run_id).status is RunStatus.FINISHED
    with pytest.raises(StorageError, match="finished"):
        ledger.order(ORDER)
    with pytest.raises(StorageError, match="finished"):
        ledger.commit()


def test_a_run_id_is_used_once(ledger: RunLedger, engine: Engine, tmp_path: Path) -> None:
    ledger.fill(FILL)
    with pytest.raises(ConfigError, match="in the ledger already"):
        RunLedger.start(engine, tmp_path / "elsewhere", run_info(), ManualClock())
    assert not (tmp_path / "elsewhere").exists()
    assert count(engine, "runs") == 1


def test_a_start_that_fails_leaves_nothing_behind(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(StorageError, match="cannot record the start"):
        RunLedger.start(engine, folder, run_info(market_fingerprint=None), ManualClock())
    assert not folder.exists()
    with pytest.raises(ConfigError, match="64 bits"):
        RunLedger.start(engine, folder, run_info(seed=2**63), ManualClock())
    assert not folder.exists()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make the folder"):
        RunLedger.start(engine, tmp_path / "file" / "run", run_info(), ManualClock())
    folder.mkdir()
    (folder / "events.jsonl").write_text("another's")
    with pytest.raises(ConfigError, match="never overwritten"):
        RunLedger.start(engine, folder, run_info(), ManualClock())
    assert [path.name for path in folder.iterdir()] == ["events.jsonl"]
    assert (folder / "events.jsonl").read_text() == "another's"
    assert count(engine, "runs") == 0


def test_several_runs_share_a_database_and_keep_apart(engine: Engine, tmp_path: Path) -> None:
    clock = ManualClock()
    ledgers = []
    for number in range(3):
        ledgers.append(RunLedger.start(engine, tmp_path / f"r{number}", run_info(f"r{number}"), clock))
        clock.advance(1.0)
    for number, each in enumerate(ledgers):
        for _ in range(number + 1):
            each.order(ORDER)
        each.commit()
    for each in ledgers:
        each.fill(FILL)
        each.finish(RunStatus.FINISHED, {})
    assert [run.run_id for run in list_runs(engine)] == ["r2", "r1", "r0"]
    assert [show_run(engine, f"r{number}").records["orders"] for number in range(3)] == [1, 2, 3]
    assert [each.seq for each in ledgers] == [2, 3, 4]


def test_the_share_of_decisions_leaves_out_what_called_for_no_model(ledger: RunLedger, engine: Engine) -> None:
    sources = [DecisionSource.LLM, DecisionSource.REPAIRED, DecisionSource.RULES, DecisionSource.ABSTAINED]
    ledger.cycle(OUTCOME._replace(decisions=tuple(DECISION._replace(source=source) for source in sources)), ADOPTED)
    share = decision_share(engine, ledger.run.run_id)
    assert (share.model_driven, share.called) == (2, 3)
    assert share.sentence() == "2 of 3 decisions were model-driven"
    assert share.by_source == {"abstained": 1, "llm": 1, "repaired": 1, "rules": 1}
    assert decision_share(engine, "none").sentence() == "0 of 0 decisions were model-driven"
