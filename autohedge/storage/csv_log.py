"""The CSV log: one row per event of the inventory, from which alone the inventory can be rebuilt.

The first row of a symbol (START) is its opening inventory, then one BUY or SELL row per fill with the inventory after it.
A row is one line, whole when its writer returns, so a kill leaves at most one torn line at the end. The reader accepts that
one and nothing else: any other fault is refused with its line number. Money is in plain decimals, time is UTC with
nanoseconds. Text cells that a spreadsheet would run as a formula are prefixed with an apostrophe, which the reader takes off.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from autohedge.domain.records import FillRecord, OpeningRecord
from autohedge.errors import ConfigError, StorageError
from autohedge.storage.append_file import AppendFile
from autohedge.storage.encoding import clean_text, plain

COLUMNS = (
    "timestamp",
    "event_type",
    "price",
    "amount",
    "base_inventory",
    "quote_inventory",
    "total_value",
    "order_id",
    "fee",
    "fee_asset",
    "mandate_id",
    "decision_source",
    "reason",
    "symbol",
    "simulated",
)
_AMOUNTS = ("price", "amount", "base_inventory", "quote_inventory", "total_value", "fee")
_TEXTS = ("order_id", "fee_asset", "mandate_id", "decision_source", "reason", "symbol")
START, BUY, SELL = "START", "BUY", "SELL"
ROTATE_BYTES = 64 * 1024 * 1024
"""Some 400,000 rows; what a spreadsheet still opens."""

NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z", re.ASCII)
_PLAIN_DECIMAL = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_CONTROL = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ")
_FORMULA_STARTS = ("=", "+", "-", "@", "'")
_EXACT = Context(prec=400, traps=[Inexact, InvalidOperation])
"""Arithmetic that refuses to round; 400 digits are more than any two amounts here have together."""


class CsvRow(NamedTuple):
    """One row as it was meant: numbers as numbers, `ts_ns` UTC nanoseconds, text without its protection."""

    line: int
    ts_ns: int
    event_type: str
    price: Decimal
    amount: Decimal
    base_inventory: Decimal
    quote_inventory: Decimal
    total_value: Decimal
    order_id: str
    fee: Decimal
    fee_asset: str
    mandate_id: str
    decision_source: str
    reason: str
    symbol: str
    simulated: bool


class CsvLog(NamedTuple):
    """A log that was read: its whole rows, and the torn last line if the writer was killed in it (None if it was not)."""

    path: Path
    rows: tuple[CsvRow, ...]
    torn: str | None


class RebuiltInventory(NamedTuple):
    """What a symbol's rows add up to. `fees` by asset; `base` and `quote` equal the last row's inventory."""

    symbol: str
    opening_base: Decimal
    opening_quote: Decimal
    base: Decimal
    quote: Decimal
    total_value: Decimal
    fees: dict[str, Decimal]
    buys: int
    sells: int
    simulated: bool

    @property
    def fills(self) -> int:
        """Number of fills."""
        return self.buys + self.sells


class CsvReplay(NamedTuple):
    """The inventories that a log alone rebuilds, by symbol; `torn` as in `CsvLog`."""

    path: Path
    inventories: dict[str, RebuiltInventory]
    torn: str | None


def csv_name(symbols: Iterable[str], run_id: str) -> str:
    """`trades_BTC-USDT_<run_id>.csv` for one symbol, `trades_<run_id>.csv` for several; always one path component."""
    several = list(symbols)
    stem = [several[0], run_id] if len(several) == 1 else [run_id]
    return "_".join(["trades", *(re.sub(r"[^A-Za-z0-9.-]+", "-", part) for part in stem)]) + ".csv"


class CsvWriter:
    """Writes the log of one run. A row is made first and appended when the database has it; then it survives a kill.

    A file that has reached `rotate_bytes` is left as it is and the log goes on in the next part (`….part002.csv`), which
    begins with a START row of every symbol. So each part alone rebuilds the inventory, and nothing is ever moved or deleted.
    """

    __slots__ = ("_file", "_inventories", "_made", "_part", "_rotate_bytes", "_simulated", "path")

    def __init__(self, path: Path, *, simulated: bool, rotate_bytes: int = ROTATE_BYTES) -> None:
        """Create the file with its header; `ConfigError` if it exists or cannot be created."""
        self.path = path
        self._file = AppendFile(path)
        self._simulated = "true" if simulated else "false"
        self._rotate_bytes = rotate_bytes
        self._part = 1
        self._inventories: dict[str, OpeningRecord] = {}
        self._made: OpeningRecord | None = None
        try:
            self._file.append(_line(COLUMNS))
        except StorageError:
            self._file.discard()
            raise

    def opening_line(self, record: OpeningRecord) -> bytes:
        """The START row of a symbol."""
        self._made = record
        return self._start_row(record)

    def _start_row(self, record: OpeningRecord) -> bytes:
        inventory = (plain(record.base), plain(record.quote), plain(record.total_value))
        cells = (START, plain(record.price), "0", *inventory, "", "0", "", "", "", "", protected(record.symbol))
        return self._row(record.ts_ns, cells)

    def fill_line(self, record: FillRecord) -> bytes:
        """The row of a fill; `StorageError` if it holds what a log cannot say."""
        cells = (
            event_type(record.side),
            plain(record.price),
            plain(record.size),
            plain(record.base_after),
            plain(record.quote_after),
            plain(record.total_value),
            protected(record.client_order_id),
            plain(record.fee),
            protected(record.fee_asset),
            protected(record.mandate_id),
            protected(record.decision_source),
            protected(record.reason),
            protected(record.symbol),
        )
        after = (record.base_after, record.quote_after, record.total_value)
        self._made = OpeningRecord(record.symbol, record.ts_ns, record.price, *after)
        return self._row(record.ts_ns, cells)

    def _row(self, ts_ns: int, cells: tuple[str, ...]) -> bytes:
        return _line((timestamp(ts_ns), *cells, self._simulated))

    def append(self, line: bytes) -> None:
        """Write the row that was made last; `StorageError`, with the file as it was, if that fails."""
        if self._file.size >= self._rotate_bytes:
            self._rotate()
        self._file.append(line)
        if self._made is not None:
            self._inventories[self._made.symbol] = self._made

    def _rotate(self) -> None:
        """Go on in a new part that begins where this one ends."""
        self._part += 1
        part = AppendFile(self.path.with_name(f"{self.path.stem}.part{self._part:03d}{self.path.suffix}"))
        try:
            part.append(b"".join([_line(COLUMNS), *map(self._start_row, self._inventories.values())]))
        except StorageError:
            part.discard()
            raise
        self._file.close()
        self._file = part

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._file.close()

    def discard(self) -> None:
        """Remove a log that no run came to write."""
        self._file.discard()


def event_type(side: str) -> str:
    """BUY or SELL; `StorageError` for any other side."""
    found = side.upper()
    if found not in (BUY, SELL):
        raise StorageError(f"expected a fill to buy or to sell, found the side {side!r}")
    return found


def timestamp(ts_ns: int) -> str:
    """ISO 8601 in UTC with nine decimals; `StorageError` outside the years 1 to 9999."""
    seconds, nanoseconds = divmod(ts_ns, NS_PER_S)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise StorageError(f"expected a time in the years 1 to 9999, found {ts_ns} ns") from error
    return f"{moment.replace(tzinfo=None).isoformat()}.{nanoseconds:09d}Z"


def protected(text: str) -> str:
    """A text cell: one line, and never a formula. A leading apostrophe is doubled so that the reader can tell them apart."""
    text = clean_text(text).translate(_CONTROL)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _line(cells: tuple[str, ...]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()


# --- reading ---------------------------------------------------------------------------------------------------------------


def read_csv_log(path: Path) -> CsvLog:
    """All whole rows of a log, in order.

    A last line without its end was torn by a kill: it is reported, not read. Anything else that is not as written raises
    `StorageError` with the line number; a missing or unreadable file raises `ConfigError`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"expected a CSV log at {path}: {error.strerror}; give the path of a trades_….csv") from error
    *lines, last = content.split(b"\n")
    torn = last.decode("utf-8", "replace") if last or not lines else None
    if lines and _cells(path, 1, lines[0]) != list(COLUMNS):
        raise StorageError(f"{path}, line 1: expected the columns {','.join(COLUMNS)}; this is not a CSV log of AutoHedge")
    rows = tuple(_row(path, number, line) for number, line in enumerate(lines[1:], start=2))
    return CsvLog(path, rows, torn)


def replay_csv(path: Path) -> CsvReplay:
    """Rebuild each symbol's inventory from the log alone, checking every row against the one before.

    `StorageError` with the line number where the inventory after a row is not the one before it plus or minus what was
    traded and the fee. `total_value` uses a price that the log does not hold, so it is carried over and not checked.
    """
    log = read_csv_log(path)
    inventories: dict[str, RebuiltInventory] = {}
    for row in log.rows:
        before = inventories.get(row.symbol)
        if row.event_type == START:
            if before is not None:
                raise StorageError(f"{path}, line {row.line}: a second START of {row.symbol}")
            inventories[row.symbol] = _opened(row)
        elif before is None:
            raise StorageError(f"{path}, line {row.line}: a {row.event_type} of {row.symbol} before its START")
        else:
            inventories[row.symbol] = _booked(path, before, row)
    return CsvReplay(path, inventories, log.torn)


def _opened(row: CsvRow) -> RebuiltInventory:
    base, quote = row.base_inventory, row.quote_inventory
    return RebuiltInventory(row.symbol, base, quote, base, quote, row.total_value, {}, 0, 0, row.simulated)


def _booked(path: Path, before: RebuiltInventory, row: CsvRow) -> RebuiltInventory:
    base_asset, quote_asset = _assets(path, row)
    notional = _EXACT.multiply(row.price, row.amount)
    if row.event_type == BUY:
        base, quote = _EXACT.add(before.base, row.amount), _EXACT.subtract(before.quote, notional)
    else:
        base, quote = _EXACT.subtract(before.base, row.amount), _EXACT.add(before.quote, notional)
    if row.fee_asset == base_asset:
        base = _EXACT.subtract(base, row.fee)
    elif row.fee_asset == quote_asset:
        quote = _EXACT.subtract(quote, row.fee)
    if (base, quote) != (row.base_inventory, row.quote_inventory):
        raise StorageError(
            f"{path}, line {row.line}: the row before and this {row.event_type} lead to {plain(base)} {base_asset} and "
            f"{plain(quote)} {quote_asset}, but the row says {plain(row.base_inventory)} and {plain(row.quote_inventory)}"
        )
    fees = dict(before.fees)
    if row.fee:
        fees[row.fee_asset] = _EXACT.add(fees.get(row.fee_asset, Decimal(0)), row.fee)
    return before._replace(
        base=base,
        quote=quote,
        total_value=row.total_value,
        fees=fees,
        buys=before.buys + (row.event_type == BUY),
        sells=before.sells + (row.event_type == SELL),
    )


def _assets(path: Path, row: CsvRow) -> tuple[str, str]:
    """Base and quote of the row's symbol. A bare ticker is its own base; its quote is then whatever else paid the fee."""
    base, slash, quote = row.symbol.partition("/")
    if not base or (slash and not quote):
        raise StorageError(f"{path}, line {row.line}: expected a symbol, BASE/QUOTE or a ticker, found {row.symbol!r}")
    return base, quote or (row.fee_asset if row.fee_asset != base else "")


def _cells(path: Path, number: int, line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise StorageError(f"{path}, line {number}: expected a CSV row: {error}") from error


def _row(path: Path, number: int, line: bytes) -> CsvRow:
    cells = _cells(path, number, line)
    if len(cells) != len(COLUMNS):
        raise StorageError(f"{path}, line {number}: expected {len(COLUMNS)} columns, found {len(cells)}")
    by_name = dict(zip(COLUMNS, cells, strict=True))
    try:
        row = _parsed(number, by_name)
        _check(row)
    except ValueError as error:
        raise StorageError(f"{path}, line {number}: {error}") from error
    return row


def _parsed(number: int, cells: dict[str, str]) -> CsvRow:
    amounts = {name: _decimal(name, cells[name]) for name in _AMOUNTS}
    texts = {name: cells[name].removeprefix("'") for name in _TEXTS}
    if cells["simulated"] not in ("true", "false"):
        raise ValueError(f"expected simulated to be true or false, found {cells['simulated']!r}")
    values: dict[str, Any] = {**amounts, **texts, "event_type": cells["event_type"], "simulated": cells["simulated"] == "true"}
    return CsvRow(line=number, ts_ns=_nanoseconds(cells["timestamp"]), **values)


def _check(row: CsvRow) -> None:
    if row.event_type not in (START, BUY, SELL):
        raise ValueError(f"expected event_type START, BUY or SELL, found {row.event_type!r}")
    if row.price <= 0:
        raise ValueError(f"expected a positive price, found {row.price}")
    if (row.amount != 0) if row.event_type == START else (row.amount <= 0):
        raise ValueError(f"expected amount 0 at START and a positive one in a fill, found {row.amount}")
    if row.base_inventory < 0 or row.quote_inventory < 0:
        raise ValueError(f"expected no negative inventory, found {row.base_inventory} and {row.quote_inventory}")


def _decimal(name: str, text: str) -> Decimal:
    if not _PLAIN_DECIMAL.fullmatch(text):
        raise ValueError(f"expected {name} as a plain decimal, found {text!r}")
    return Decimal(text)


def _nanoseconds(text: str) -> int:
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        raise ValueError(f"expected a timestamp like 2024-08-08T23:54:15.123456789Z, found {text!r}")
    moment = datetime.fromisoformat(f"{found[1]}+00:00")
    return (moment - _EPOCH) // timedelta(seconds=1) * NS_PER_S + int(found[2])
