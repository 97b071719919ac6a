"""The canonical stream: stable bytes, nothing that a clock or a model put in, and the first difference found."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.ids import CycleId, MandateId
from autohedge.domain.mandate import Clamped, Mandate, Regime, RiskLevel
from autohedge.domain.orders import Liquidity, OrderState
from autohedge.domain.records import (
    FillRecord,
    MandateRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.errors import ConfigError, StorageError
from autohedge.storage.stream import CanonicalRecord, Divergence, StreamLedger, canonical_line, compare_streams

TS_NS = 1_723_161_255_123_456_789
ORDER = OrderRecord(
    "BTC/USDT",
    TS_NS,
    "BTC-USDT-000001",
    "buy",
    "limit",
    Decimal("6.0E+4"),
    Decimal("1E-5"),
    True,
    OrderState.PENDING_SUBMIT,
    "quote",
    "",
    "m1",
    "rules",
)
MANDATE = Mandate(
    mandate_id=MandateId("m1"),
    cycle_id=CycleId("c1"),
    symbol="BTC/USDT",
    spread_multiplier=1.5,
    inventory_bias=0.1 + 0.2,
    size_multiplier=1.0,
    regime=Regime.VOLATILE,
    risk_level=RiskLevel.HIGH,
    effective_ns=TS_NS,
    valid_until_ns=TS_NS + 1,
    source="llm",
    reason="the words of a model",
    clamps=(Clamped("ttl_s", 5.0, 10.0, "ttl_min_s"),),
)
CYCLE = MandateRecord("BTC/USDT", TS_NS, CycleId("c1"), "mandate", "more words of a model", MANDATE)
FILL = FillRecord(
    symbol="BTC/USDT",
    ts_ns=TS_NS,
    trade_id="f1",
    client_order_id="BTC-USDT-000001",
    side="buy",
    price=Decimal(60_000),
    size=Decimal("0.001"),
    fee=Decimal("0.06"),
    fee_asset="USDT",
    liquidity=Liquidity.MAKER,
    base_after=Decimal("0.001"),
    quote_after=Decimal("9939.94"),
    total_value=Decimal("9999.94"),
    mandate_id="m1",
    decision_source="rules",
    reason="quote",
)
RECORDS: list[tuple[str, CanonicalRecord]] = [
    ("opening", OpeningRecord("BTC/USDT", TS_NS, Decimal(60_000), Decimal(0), Decimal(10), Decimal(10))),
    ("order", ORDER),
    ("order_event", OrderEventRecord("BTC/USDT", TS_NS, "BTC-USDT-000001", "accepted", OrderState.SUBMITTED, "")),
    ("fill", FILL),
    ("quote_state", QuoteStateRecord("BTC/USDT", TS_NS, "bid", False, "stale")),
    ("mandate", CYCLE),
]


def test_the_bytes_of_a_line_are_fixed() -> None:
    """A change here makes every recorded run differ from its replay: it needs a reason."""
    assert canonical_line(7, ORDER) == (
        b'{"seq":7,"type":"order","symbol":"BTC/USDT","ts":"1723161255123456789","client_order_id":"BTC-USDT-000001",'
        b'"side":"buy","kind":"limit","price":"60000","size":"0.00001","post_only":true,"state":"pending_submit",'
        b'"reason":"quote","detail":"","mandate_id":"m1","decision_source":"rules"}\n'
    )
    assert canonical_line(8, CYCLE) == (
        b'{"seq":8,"type":"mandate","symbol":"BTC/USDT","ts":"1723161255123456789","cycle_id":"c1","outcome":"mandate",'
        b'"mandate":{"mandate_id":"m1","cycle_id":"c1","spread_multiplier":1.5,"inventory_bias":0.30000000000000004,'
        b'"size_multiplier":1.0,"regime":"volatile","risk_level":"high","effective_ns":"1723161255123456789",'
        b'"valid_until_ns":"1723161255123456790","source":"llm",'
        b'"clamps":[{"field":"ttl_s","asked":5.0,"given":10.0,"limit":"ttl_min_s"}]}}\n'
    )


@pytest.mark.parametrize(("kind", "record"), RECORDS, ids=[kind for kind, _ in RECORDS])
def test_a_line_holds_every_field_of_its_record(kind: str, record: CanonicalRecord) -> None:
    line = orjson.loads(canonical_line(3, record))
    assert (line["seq"], line["type"], line["symbol"], line["ts"]) == (3, kind, record.symbol, str(TS_NS))
    if kind == "mandate":
        assert set(line["mandate"]) == set(Mandate._fields) - {"symbol", "reason"}
    else:
        assert set(line) == (set(record._fields) - {"ts_ns"}) | {"seq", "type", "ts"}


@pytest.mark.parametrize(("kind", "record"), RECORDS, ids=[kind for kind, _ in RECORDS])
def test_a_ledger_of_lines_numbers_what_it_gets(kind: str, record: CanonicalRecord) -> None:
    ledger = StreamLedger()
    if isinstance(record, MandateRecord):
        ledger.cycle(None, record)  # type: ignore[arg-type]
    else:
        getattr(ledger, kind)(record)
        getattr(ledger, kind)(record)
        assert ledger.lines[1] == canonical_line(2, record)
    ledger.commit()
    assert ledger.lines[0] == canonical_line(1, record)


def test_a_changed_field_changes_the_line() -> None:
    for name, value in {
        "price": Decimal(1),
        "reason": "x",
        "base_after": Decimal(2),
        "ts_ns": 5,
        "liquidity": Liquidity.TAKER,
    }.items():
        assert canonical_line(1, FILL) != canonical_line(1, FILL._replace(**{name: value}))
    widened = MANDATE._replace(spread_multiplier=1.6)
    assert canonical_line(1, CYCLE) != canonical_line(1, CYCLE._replace(mandate=widened))
    assert canonical_line(1, CYCLE) != canonical_line(1, CYCLE._replace(mandate=None))


def test_the_words_of_models_are_not_in_the_stream() -> None:
    """Two runs whose desks ask for the same in other words did the same."""
    said_otherwise = CYCLE._replace(reason="other words", mandate=MANDATE._replace(reason="other words"))
    assert canonical_line(1, CYCLE) == canonical_line(1, said_otherwise)
    assert b"words" not in canonical_line(1, CYCLE)


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=[])))
def test_any_text_makes_one_line(text: str) -> None:
    line = canonical_line(1, ORDER._replace(detail=text))
    assert line.count(b"\n") == 1
    orjson.loads(line)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(StorageError, match="finite"):
        canonical_line(1, FILL._replace(total_value=Decimal("NaN")))
    with pytest.raises(StorageError, match="finite"):
        canonical_line(1, CYCLE._replace(mandate=MANDATE._replace(inventory_bias=float("nan"))))


# --- comparison ------------------------------------------------------------------------------------------------------------

LINES = [canonical_line(seq, ORDER._replace(client_order_id=f"o{seq}")) for seq in range(1, 6)]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A file with five lines."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(LINES))
    return path


def test_equal_streams_have_no_difference(recorded: Path, tmp_path: Path) -> None:
    assert compare_streams(recorded, LINES) is None
    other = tmp_path / "again.jsonl"
    other.write_bytes(recorded.read_bytes())
    assert compare_streams(recorded, other) is None


@pytest.mark.parametrize("index", range(5))
def test_the_first_line_that_differs_is_named(index: int, recorded: Path) -> None:
    replayed = [line.replace(b"limit", b"market") if number >= index else line for number, line in enumerate(LINES)]
    difference = compare_streams(recorded, replayed)
    assert difference is not None
    assert (difference.kind, difference.line_number) == (Divergence.DIFFERS, index + 1)
    assert (difference.recorded, difference.replayed) == (LINES[index], replayed[index])
    words = difference.describe()
    assert f"line {index + 1} differs" in words
    assert '"kind":"limit"' in words
    assert '"kind":"market"' in words


def test_a_recorded_run_that_ends_earlier_is_told(recorded: Path) -> None:
    recorded.write_bytes(b"".join(LINES[:3]))
    difference = compare_streams(recorded, LINES)
    assert difference is not None
    assert (difference.kind, difference.line_number, difference.recorded) == (Divergence.RECORDED_ENDS_EARLIER, 4, None)
    assert (difference.replayed, difference.torn) == (LINES[3], None)
    assert "ends after line 3, the replay goes on" in difference.describe()


def test_a_recorded_run_that_ends_later_is_told(recorded: Path) -> None:
    difference = compare_streams(recorded, LINES[:3])
    assert difference is not None
    assert (difference.kind, difference.line_number) == (Divergence.RECORDED_ENDS_LATER, 4)
    assert (difference.recorded, difference.replayed) == (LINES[3], None)
    assert "the replay ends after line 3" in difference.describe()


def test_a_torn_end_agrees_as_far_as_it_goes(recorded: Path) -> None:
    """A kill cut the last line: that is an earlier end, not a difference."""
    for kept in range(1, len(LINES[3]) - 1):
        torn = LINES[3][:kept]
        recorded.write_bytes(b"".join(LINES[:3]) + torn)
        difference = compare_streams(recorded, LINES)
        assert difference is not None
        assert (difference.kind, difference.line_number) == (Divergence.RECORDED_ENDS_EARLIER, 4)
        assert difference.torn == torn
        assert "cut by a kill" in difference.describe()


def test_a_torn_end_that_says_something_else_differs(recorded: Path) -> None:
    recorded.write_bytes(b"".join(LINES[:3]) + b'{"seq":5')
    difference = compare_streams(recorded, LINES)
    assert difference is not None
    assert difference.kind is Divergence.DIFFERS
    assert difference.torn == b'{"seq":5'


def test_a_torn_end_after_the_replays_last_line_goes_on(recorded: Path) -> None:
    recorded.write_bytes(b"".join(LINES[:3]) + b'{"seq"')
    difference = compare_streams(recorded, LINES[:3])
    assert difference is not None
    assert difference.kind is Divergence.RECORDED_ENDS_LATER
    assert '{"seq"' in difference.describe()


def test_a_missing_stream_is_the_operators_business(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected an event stream"):
        compare_streams(tmp_path / "none.jsonl", [])
