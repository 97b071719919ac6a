"""The CSV log: names, rows, safety, and the inventory it rebuilds by itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.domain.orders import Liquidity
from autohedge.domain.records import FillRecord, OpeningRecord
from autohedge.errors import ConfigError, StorageError
from autohedge.storage.csv_log import COLUMNS, CsvWriter, csv_name, protected, read_csv_log, replay_csv, timestamp

TS_NS = 1_723_161_255_123_456_789
OPENING = OpeningRecord("BTC/USDT", TS_NS, Decimal(60_000), Decimal(0), Decimal(10_000), Decimal(10_000))
BUY = FillRecord(
    symbol="BTC/USDT",
    ts_ns=TS_NS + 1,
    trade_id="f1",
    client_order_id="BTC-USDT-000001",
    side="buy",
    price=Decimal("60000.10"),
    size=Decimal("0.00100"),
    fee=Decimal("0.00000001"),
    fee_asset="BTC",
    liquidity=Liquidity.MAKER,
    base_after=Decimal("0.00099999"),
    quote_after=Decimal("9939.9999"),
    total_value=Decimal("9999.9994"),
    mandate_id="m1",
    decision_source="rules",
    reason="quote",
)
SELL = BUY._replace(
    ts_ns=TS_NS + 2,
    trade_id="f2",
    side="sell",
    price=Decimal(60_001),
    size=Decimal("0.0005"),
    fee=Decimal("0.03"),
    fee_asset="USDT",
    base_after=Decimal("0.00049999"),
    quote_after=Decimal("9969.9704"),
)
Write = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Writes a log of an opening and fills and says where it is."""

    def write(*fills: FillRecord, opening: OpeningRecord = OPENING) -> Path:
        path = tmp_path / "trades.csv"
        log = CsvWriter(path, simulated=True)
        log.append(log.opening_line(opening))
        for fill in fills:
            log.append(log.fill_line(fill))
        log.close()
        return path

    return write


@pytest.mark.parametrize(
    ("symbols", "name"),
    [
        (["BTC/USDT"], "trades_BTC-USDT_r1.csv"),
        (["BTC/USDT", "ETH/USDT"], "trades_r1.csv"),
        (["../../etc/passwd"], "trades_..-..-etc-passwd_r1.csv"),
        (["A\0B\\C:D"], "trades_A-B-C-D_r1.csv"),
    ],
)
def test_no_symbol_breaks_the_file_name(symbols: list[str], name: str, tmp_path: Path) -> None:
    """The default pair has a slash in it."""
    assert csv_name(symbols, "r1") == name
    CsvWriter(tmp_path / name, simulated=True).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_columns_begin_with_the_familiar_ones(written: Write) -> None:
    header = written().read_text().splitlines()[0].split(",")
    assert header == list(COLUMNS)
    assert header[:7] == ["timestamp", "event_type", "price", "amount", "base_inventory", "quote_inventory", "total_value"]


def test_rows_come_back_as_they_were_meant(written: Write) -> None:
    log = read_csv_log(written(BUY, SELL))
    assert log.torn is None
    assert [row.event_type for row in log.rows] == ["START", "BUY", "SELL"]
    assert [row.line for row in log.rows] == [2, 3, 4]
    start, buy, _ = log.rows
    assert (start.ts_ns, start.amount, start.base_inventory, start.quote_inventory) == (TS_NS, 0, 0, 10_000)
    assert (buy.ts_ns, buy.price, buy.amount, buy.fee) == (BUY.ts_ns, BUY.price, BUY.size, BUY.fee)
    assert (buy.order_id, buy.fee_asset, buy.mandate_id) == ("BTC-USDT-000001", "BTC", "m1")
    assert (buy.decision_source, buy.reason, buy.symbol, buy.simulated) == ("rules", "quote", "BTC/USDT", True)


def test_time_is_utc_with_nanoseconds() -> None:
    assert timestamp(TS_NS) == "2024-08-08T23:54:15.123456789Z"
    assert timestamp(0) == "1970-01-01T00:00:00.000000000Z"
    with pytest.raises(StorageError, match="years 1 to 9999"):
        timestamp(10**21)


@given(st.integers(min_value=-(10**18), max_value=10**19))
def test_time_keeps_every_nanosecond(ts_ns: int) -> None:
    text = timestamp(ts_ns)
    second = datetime.fromisoformat(text.split(".")[0]).replace(tzinfo=UTC)
    assert int(second.timestamp()) * 10**9 + int(text[-10:-1]) == ts_ns


def test_amounts_are_never_in_scientific_notation(written: Write) -> None:
    path = written(BUY._replace(fee=Decimal("1E-8"), price=Decimal("6.00001E+4")))
    assert "E-" not in path.read_text()
    assert "60000.1," in path.read_text()


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "\t=1", "\r=1"])
def test_text_is_never_a_formula(start: str, written: Write) -> None:
    """A spreadsheet would run a cell that begins with one of these."""
    path = written(BUY._replace(reason=start))
    last = path.read_text().splitlines()[-1]
    cell = dict(zip(COLUMNS, next(csv.reader([last])), strict=True))["reason"]
    assert not cell.startswith(("=", "+", "-", "@"))
    assert read_csv_log(path).rows[1].reason == start.replace("\t", " ").replace("\r", " ")


def test_negative_numbers_are_left_as_numbers(written: Write) -> None:
    """A rebate is a negative fee; an apostrophe before it would make it text."""
    path = written(BUY._replace(fee=Decimal("-0.00000001"), base_after=Decimal("0.00100001")))
    assert ",-0.00000001," in path.read_text()
    assert replay_csv(path).inventories["BTC/USDT"].fees == {"BTC": Decimal("-1E-8")}


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=[])))
def test_any_reason_stays_in_one_line_and_one_cell(reason: str) -> None:
    cell = protected(reason)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["a", cell, "b"])
    assert buffer.getvalue().count("\n") == 1
    assert next(csv.reader(buffer.getvalue().splitlines(), strict=True)) == ["a", cell, "b"]


def test_a_long_log_goes_on_in_parts_that_each_rebuild_the_inventory(tmp_path: Path) -> None:
    """Parts are named in order, lose no row, begin with every symbol's inventory, and nothing is moved or deleted."""
    log = CsvWriter(tmp_path / "trades.csv", simulated=False, rotate_bytes=1_000)
    other = OPENING._replace(symbol="ETH/USDT", quote=Decimal(77))
    for opening in (OPENING, other):
        log.append(log.opening_line(opening))
    base, quote = Decimal(0), Decimal(10_000)
    for number in range(40):
        base, quote = base + BUY.size, quote - BUY.price * BUY.size - 1
        fill = BUY._replace(
            client_order_id=f"o{number}",
            fee=Decimal(1),
            fee_asset="USDT",
            base_after=base,
            quote_after=quote,
            total_value=quote,
        )
        log.append(log.fill_line(fill))
    log.close()
    parts = [tmp_path / "trades.csv", *sorted(tmp_path.glob("trades.part*.csv"))]
    assert [path.name for path in parts[1:3]] == ["trades.part002.csv", "trades.part003.csv"]
    assert all(path.stat().st_size < 1_500 for path in parts)
    rows = [row for path in parts for row in read_csv_log(path).rows if row.event_type != "START"]
    assert [row.order_id for row in rows] == [f"o{number}" for number in range(40)]
    for path in parts:
        rebuilt = replay_csv(path).inventories
        assert set(rebuilt) == {"BTC/USDT", "ETH/USDT"} and rebuilt["ETH/USDT"].quote == 77
    assert (rebuilt["BTC/USDT"].base, rebuilt["BTC/USDT"].quote) == (base, quote)


def test_an_existing_log_is_not_touched(written: Write) -> None:
    path = written(BUY)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        CsvWriter(path, simulated=True)
    assert path.read_bytes() == before


def test_a_fill_that_neither_buys_nor_sells_is_refused(tmp_path: Path) -> None:
    log = CsvWriter(tmp_path / "trades.csv", simulated=True)
    with pytest.raises(StorageError, match="hold"):
        log.fill_line(BUY._replace(side="hold"))
    log.close()


# --- reading what a kill or an editor left -----------------------------------------------------------------------------


def test_every_cut_of_the_file_loses_at_most_the_torn_line(written: Write, tmp_path: Path) -> None:
    """Whatever byte a kill stopped at, the rows before it are read and the rest is reported."""
    whole = written(BUY, SELL).read_bytes()
    cut = tmp_path / "cut.csv"
    for end in range(len(whole) + 1):
        cut.write_bytes(whole[:end])
        log = read_csv_log(cut)
        assert len(log.rows) == max(0, whole[:end].count(b"\n") - 1)
        assert (log.torn is None) == (end > 0 and whole[end - 1 : end] == b"\n")


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        ("timestamp,", "time,", "line 1: expected the columns"),
        ("SELL", "HOLD", "line 4: expected event_type"),
        ("60001,", "6.0001E4,", "line 4: expected price as a plain decimal"),
        ("60001,", "nan,", "line 4: expected price as a plain decimal"),
        ("60001,", "-60001,", "line 4: expected a positive price"),
        ("0.0005,", "0,", "line 4: expected amount 0 at START and a positive one"),
        (",9969.9704,", ",-9969.9704,", "line 4: expected no negative inventory"),
        ("15.123456791Z", "15.123Z", "line 4: expected a timestamp"),
        ("2024-08-08T23:54:15.123456791Z", "2024-13-08T23:54:15.123456791Z", "line 4: "),
        (
            "BTC/USDT,true\n2024-08-08T23:54:15.123456791Z",
            "BTC/USDT,yes\n2024-08-08T23:54:15.123456791Z",
            "line 3: expected simulated",
        ),
        ("SELL,", "SELL,,", "line 4: expected 15 columns, found 16"),
        ("SELL,", 'SELL,"', "line 4: expected a CSV row"),
        ("\n2024-08-08T23:54:15.123456791Z", "\n\n2024-08-08T23:54:15.123456791Z", "line 4: expected 15 columns, found 0"),
    ],
)
def test_anything_but_a_torn_end_is_refused_with_its_line(find: str, put: str, says: str, written: Write) -> None:
    path = written(BUY, SELL)
    text = path.read_text()
    assert text.count(find) == 1
    path.write_text(text.replace(find, put))
    with pytest.raises(StorageError, match=says):
        read_csv_log(path)


def test_bytes_that_are_no_text_are_refused_with_their_line(written: Write) -> None:
    path = written(BUY, SELL)
    path.write_bytes(path.read_bytes().replace(b"rules,quote", b"rules,\xff", 1))
    with pytest.raises(StorageError, match="line 3: expected a CSV row"):
        read_csv_log(path)


def test_a_missing_log_is_the_operators_business(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a CSV log at"):
        read_csv_log(tmp_path / "none.csv")


# --- rebuilding ----------------------------------------------------------------------------------------------------------


def test_the_inventory_is_rebuilt_from_the_log_alone(written: Write) -> None:
    rebuilt = replay_csv(written(BUY, SELL)).inventories["BTC/USDT"]
    assert (rebuilt.base, rebuilt.quote) == (Decimal("0.00049999"), Decimal("9969.9704"))
    assert rebuilt.fees == {"BTC": Decimal("1E-8"), "USDT": Decimal("0.03")}
    assert (rebuilt.buys, rebuilt.sells, rebuilt.fills) == (1, 1, 2)
    assert (rebuilt.opening_base, rebuilt.opening_quote, rebuilt.simulated) == (0, 10_000, True)


def test_a_fee_in_a_third_asset_touches_no_inventory(written: Write) -> None:
    path = written(BUY._replace(fee=Decimal(7), fee_asset="BNB", base_after=Decimal("0.001")))
    assert replay_csv(path).inventories["BTC/USDT"].fees == {"BNB": Decimal(7)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_after": Decimal("0.00100000")},
        {"quote_after": Decimal("9939.99989999")},
        {"fee": Decimal("0.00000002")},
        {"fee_asset": "BNB"},
        {"size": Decimal("0.00101")},
        {"price": Decimal("60000.11")},
        {"side": "sell"},
    ],
)
def test_a_row_that_contradicts_the_one_before_is_refused(wrong: dict[str, object], written: Write) -> None:
    with pytest.raises(StorageError, match="line 3"):
        replay_csv(written(BUY._replace(**wrong), SELL))


def test_a_missing_row_is_noticed(written: Write) -> None:
    path = written(BUY, SELL)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], *lines[3:]]))
    with pytest.raises(StorageError, match="line 3"):
        replay_csv(path)


def test_a_fill_before_its_start_and_a_second_start_are_refused(written: Write) -> None:
    path = written(BUY)
    header, start, buy = path.read_text().splitlines(keepends=True)
    path.write_text(header + buy + start)
    with pytest.raises(StorageError, match="line 2: a BUY of BTC/USDT before its START"):
        replay_csv(path)
    path.write_text(header + start + start)
    with pytest.raises(StorageError, match="line 3: a second START"):
        replay_csv(path)


def test_symbols_are_rebuilt_apart(tmp_path: Path) -> None:
    log = CsvWriter(tmp_path / "trades.csv", simulated=False)
    eth = OPENING._replace(symbol="ETH/USDT", quote=Decimal(500))
    for line in (log.opening_line(OPENING), log.opening_line(eth), log.fill_line(BUY)):
        log.append(line)
    log.close()
    inventories = replay_csv(tmp_path / "trades.csv").inventories
    assert inventories["ETH/USDT"].quote == 500
    assert inventories["BTC/USDT"].fills == 1
    assert not inventories["BTC/USDT"].simulated


amounts = st.decimals(min_value=0, max_value=10**15, places=18)


@given(opening=amounts, price=st.decimals(min_value="0.00000001", max_value=10**9, places=8), size=amounts)
def test_arithmetic_never_rounds(
    opening: Decimal, price: Decimal, size: Decimal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Products of two long amounts have more digits than the default decimal context keeps."""
    size += Decimal("1E-18")
    quote = 10**30
    path = tmp_path_factory.mktemp("csv") / "trades.csv"
    log = CsvWriter(path, simulated=True)
    log.append(log.opening_line(OPENING._replace(base=opening, quote=Decimal(quote))))
    scale = 10**26
    cost = int(price.scaleb(8)) * _units(size)
    after = Decimal(f"{quote * scale - cost}E-26")
    base = Decimal(f"{_units(opening) + _units(size)}E-18")
    fill = BUY._replace(price=price, size=size, fee=Decimal(0), base_after=base, quote_after=after)
    log.append(log.fill_line(fill))
    log.close()
    assert replay_csv(path).inventories["BTC/USDT"].quote == after


def _units(amount: Decimal) -> int:
    numerator, denominator = amount.as_integer_ratio()
    return numerator * 10**18 // denominator
