"""Finding and opening recordings: which files a path means, of which instrument, and whether they can be replayed at all.

A path is a recording file, a folder of them, or a folder with one sub-folder per symbol (`BTC-USDT`, `btcusdt`). Raw files
of one folder are one session in the order of their names; a Parquet file counts only if it is named or alone. Several symbols
may lie in one folder, one per file: whose a file is, its lines say. A folder with an `instrument.json` is a recording of ours
in Parquet (`autohedge.market.parquet_folder`), and so is each such sub-folder, whatever its name. A folder with connections to
venues (`COINBASE.ws.28.0`), or one of them, is a session of `autohedge.market.sample_sessions`.

Refused before anything is replayed, with `MarketDataError`: what is missing, empty, truncated, of another format or symbol,
lines of Binance futures, whose updates follow other sequence rules than those of spot, and a recording without any book
snapshot, because updates without a beginning never become a book.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BookSnapshot
from autohedge.errors import MarketDataError
from autohedge.market.binance import CorruptLine, LineParser, Skip, instrument_of, symbol_code
from autohedge.market.instruments import SIMULATED_VENUE, symbol_of_code
from autohedge.market.lines import SUFFIXES, lines_of
from autohedge.market.parquet import ParquetRecordingFeed
from autohedge.market.parquet_folder import files_of, is_dataset, read_dataset, read_instrument
from autohedge.market.raw import RawRecordingFeed
from autohedge.market.sample_sessions import SessionFeed, SessionFiles, session_files, session_instruments, speaks_of
from autohedge.ports import MarketFeed

if TYPE_CHECKING:
    from autohedge.market.event_rows import EventColumns

PARQUET = ".parquet"
EXPECTED = "expected *.jsonl.gz, *.jsonl or *.parquet"

_HEAD_LINES = 1_000
_SYMBOL_FIELD = re.compile(rb'"s"\s*:\s*"([A-Za-z0-9.\-]{1,31})"')
_NAME_PARTS = re.compile(r"[^A-Z0-9.]+")
_FUTURES_FIELD = re.compile(rb'"pu"\s*:\s*[0-9]')
"""Each update of futures names the last id of the one before it, and none of spot does."""
_SNAPSHOT_MARK = b'"lastUpdateId"'


def open_replay(path: Path, symbol: str, instrument: Instrument) -> MarketFeed:
    """The feed that replays `symbol` from `path`; everything that can be known to be wrong is refused here.

    Raises `MarketDataError`; `ConfigError` where a Parquet file needs polars and it is not installed.
    """
    session = session_of_symbol(path, symbol, instrument.venue)
    if session is not None:
        return SessionFeed(session.files, session.code, instrument)
    dataset = dataset_of_symbol(path, symbol)
    if dataset is not None:
        return _open_dataset(dataset, instrument)
    files = files_of_symbol(path, symbol)
    recorded = _named_instrument(files)
    simulated = recorded is not None and recorded.venue == SIMULATED_VENUE
    if files[0].suffix == PARQUET:
        feed = ParquetRecordingFeed(files[0], instrument, simulated=simulated)
        if not feed.has_snapshot():
            raise _not_synchronisable(path)
        return feed
    _require_snapshot(path, files, instrument)
    return RawRecordingFeed(files, instrument, simulated=simulated)


async def read_columns(path: Path, symbol: str, instrument: Instrument) -> EventColumns:
    """All events that `open_replay` would give, as arrays; from Parquet without making the events.

    Raises as `open_replay` does, and `ConfigError` where numpy or polars are needed and not installed.
    """
    from autohedge.market.event_rows import columns_of_feed
    from autohedge.market.parquet_dataset import load_columns

    feed = open_replay(path, symbol, instrument)
    if isinstance(feed, ParquetRecordingFeed):
        return feed.columns()
    dataset = dataset_of_symbol(path, symbol)
    return await columns_of_feed(feed) if dataset is None else load_columns(dataset)


def recorded_instrument(path: Path, symbol: str | None = None) -> Instrument | None:
    """The instrument, rules included, that a recording names itself (those made by AutoHedge do); else None.

    A recording of several symbols names one only when `symbol` says which. Raises `MarketDataError` as `open_replay` does.
    """
    if session_files(path):
        session = None if symbol is None else session_of_symbol(path, symbol)
        return None if session is None else session.instrument
    if symbol is not None:
        dataset = dataset_of_symbol(path, symbol)
        return read_instrument(dataset) if dataset is not None else _named_instrument(files_of_symbol(path, symbol))
    named = {read_instrument(folder) for folder in _dataset_folders(path)}
    named |= {each for file in _all_files(path) if (each := _named_instrument([file])) is not None}
    return named.pop() if len(named) == 1 else None


def symbol_of(path: Path) -> str | None:
    """The one symbol that a recording is of, as far as it can be told; None when it cannot or there are several.

    From what the recording says of itself, else the symbols in its lines, else the names of its files, matched with the known
    instruments. Raises `MarketDataError` when there is no recording at `path`.
    """
    named = recorded_instrument(path)
    if named is not None:
        return named.symbol
    if session_files(path):
        return None
    codes: set[str] = set()
    for file in _all_files(path):
        codes |= _codes_in(file) or {part for part in _name_parts(file) if symbol_of_code(part)}
    return symbol_of_code(codes.pop()) if len(codes) == 1 else None


def fingerprint(path: Path) -> str:
    """sha256, in hex, over the names (below `path`) and contents of the recording files at `path`.

    Raises `MarketDataError` when there is no recording or it cannot be read.
    """
    digest = sha256()
    datasets = [file for folder in _dataset_folders(path) for file in files_of(folder)]
    for file in sorted([*_all_files(path), *datasets]):
        name = file.name if file == path else file.relative_to(path).as_posix()
        try:
            with file.open("rb") as opened:
                content = file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise MarketDataError(f"{file}: cannot be read ({error.strerror or error})") from error
        digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()


# --- which files -------------------------------------------------------------------------------------------------------


def _all_files(path: Path) -> list[Path]:
    """The recording files that a path means, whatever their symbol; of Parquet recordings of ours none."""
    if not path.exists():
        raise MarketDataError(f"{path}: no such file or folder; expected a recording")
    sessions = session_files(path)
    if sessions:
        return [file for files in sessions for file in (*files.connections, *files.answers, files.instruments) if file]
    if not path.is_dir():
        if not _is_raw(path) and path.suffix != PARQUET:
            raise MarketDataError(f"{path}: not a recording; {EXPECTED}")
        return [path]
    datasets = _dataset_folders(path)
    if datasets == [path]:
        return []
    files = _files_in(path) or [file for folder in _symbol_folders(path) for file in _files_in(folder)]
    if not files and not datasets:
        raise MarketDataError(f"{path}: no recording in this folder; {EXPECTED}")
    return files


def _dataset_folders(path: Path) -> list[Path]:
    """The folder itself if it is a Parquet recording of ours, else its sub-folders that are."""
    if is_dataset(path):
        return [path]
    try:
        return sorted(each for each in path.iterdir() if is_dataset(each)) if path.is_dir() else []
    except OSError as error:
        raise MarketDataError(f"{path}: cannot be read ({error.strerror or error})") from error


def dataset_of_symbol(path: Path, symbol: str) -> Path | None:
    """The folder of the symbol's Parquet recording of ours; None where only other recordings are."""
    datasets = {folder: read_instrument(folder).symbol for folder in _dataset_folders(path)}
    folders = [folder for folder, found in datasets.items() if symbol_code(found) == symbol_code(symbol)]
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise MarketDataError(f"{path}: several recordings of {symbol} ({names}); name one of them")
    if not folders and datasets and not _all_files(path):
        found = ", ".join(sorted(set(datasets.values())))
        raise MarketDataError(f"{path}: expected a recording of {symbol}, found recordings of {found}")
    return folders[0] if folders else None


def files_of_symbol(path: Path, symbol: str) -> list[Path]:
    """The files of one symbol: raw ones in the order of their names, or one Parquet file."""
    code = symbol_code(symbol)
    codes = {file: _codes_in(file) for file in _all_files(path)}
    files = [file for file in codes if not codes[file] or code in codes[file]]
    if not files:
        found = ", ".join(sorted(set().union(*codes.values())))
        raise MarketDataError(f"{path}: expected a recording of {symbol}, found lines of {found}")
    if files[0].suffix != PARQUET:
        _refuse_futures(files)
    elif len(files) > 1:
        raise MarketDataError(f"{path}: several Parquet files ({', '.join(file.name for file in files)}); name one of them")
    return files


class VenueSession(NamedTuple):
    """A symbol of a recorded session: the files, the venue's code for it, and its rules by the venue's own list."""

    files: SessionFiles
    code: str
    instrument: Instrument


def session_of_symbol(path: Path, symbol: str, venue: str | None = None) -> VenueSession | None:
    """The one recorded session of the symbol (BASE/QUOTE or the venue's code); None where no session is recorded.

    Raises `MarketDataError` when the venues that are recorded do not list it, or several do and `venue` is none of them.
    """
    sessions = session_files(path)
    found = [
        VenueSession(files, code, instrument)
        for files in sessions
        for code, instrument in session_instruments(files).items()
        if symbol in (instrument.symbol, code) and speaks_of(files, code)
    ]
    found = [each for each in found if each.files.venue == venue] or found
    venues = ", ".join([each.files.venue for each in found] or [files.venue for files in sessions])
    if len(found) > 1:
        raise MarketDataError(f"{path}: several venues recorded {symbol} ({venues}); name the file of one connection")
    if sessions and not found:
        raise MarketDataError(f"{path}: expected a recording of {symbol}, found none in the sessions of {venues}")
    return found[0] if found else None


def _symbol_folders(folder: Path) -> list[Path]:
    """The sub-folders named after the symbol of the recordings in them."""
    folders = sorted((each for each in folder.iterdir() if each.is_dir()), key=lambda each: each.name)
    return [each for each in folders if any(_folded(each.name) in map(_folded, _codes_in(file)) for file in _files_in(each))]


def _folded(name: str) -> str:
    """BTC-USDT, btc_usdt and btcusdt are all BTCUSDT."""
    return re.sub(r"[-_/]", "", name).upper()


def _files_in(folder: Path) -> list[Path]:
    """Raw files by name, or Parquet files where there are no raw ones."""
    try:
        files = sorted((each for each in folder.iterdir() if each.is_file()), key=lambda each: each.name)
    except OSError as error:
        raise MarketDataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    return [file for file in files if _is_raw(file)] or [file for file in files if file.suffix == PARQUET]


def _is_raw(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def _name_parts(file: Path) -> list[str]:
    suffix = next((each for each in (*SUFFIXES, PARQUET) if file.name.endswith(each)), "")
    return _NAME_PARTS.split(file.name.removesuffix(suffix).upper())


# --- what is in them ---------------------------------------------------------------------------------------------------


def _head(file: Path) -> list[bytes]:
    """A file's first lines; of a truncated one what can be read, if there is any: its end is looked at when it is replayed."""
    head: list[bytes] = []
    try:
        for lines in lines_of(file):
            head += lines
            if len(head) >= _HEAD_LINES:
                break
    except MarketDataError:
        if not head:
            raise
    return head


def _codes_in(file: Path) -> set[str]:
    """The symbols, in the venue's spelling, of a file's first lines; of a Parquet file the known ones in its name."""
    if file.suffix == PARQUET:
        return {part for part in _name_parts(file) if symbol_of_code(part)}
    return {code.decode().upper() for line in _head(file) for code in _SYMBOL_FIELD.findall(line)}


def _refuse_futures(files: Sequence[Path]) -> None:
    for file in files:
        if any(map(_FUTURES_FIELD.search, _head(file))):
            raise MarketDataError(
                f"{file}: expected lines of Binance spot, found updates of its futures (they have a `pu`), each of which would "
                "be taken for a gap; futures are read from recorded sessions (BINANCE_FUTURES.ws…)"
            )


def _named_instrument(files: Sequence[Path]) -> Instrument | None:
    if files[0].suffix == PARQUET:
        return None
    first_lines = _head(files[0])
    try:
        return instrument_of(first_lines[0]) if first_lines else None
    except CorruptLine as error:
        raise MarketDataError(f"{files[0]}:1: the instrument of the recording cannot be read: {error}") from error


def _require_snapshot(path: Path, files: Sequence[Path], instrument: Instrument) -> None:
    """Read all files to their ends, which finds truncated ones, and see to it that there is a snapshot and any event."""
    parser = LineParser(instrument)
    found = False
    readable = False
    for file in files:
        for lines in lines_of(file):
            if found:
                continue
            for line in lines:
                if _SNAPSHOT_MARK in line or not readable:
                    event = _parsed(parser, line)
                    readable = readable or event is not None
                    found = found or isinstance(event, BookSnapshot)
    if not readable:
        raise MarketDataError(f"{path}: no line is '<receive time, ns> <JSON of the exchange>'; not a recording")
    if not found:
        raise _not_synchronisable(path)


def _open_dataset(folder: Path, instrument: Instrument) -> MarketFeed:
    from autohedge.market.parquet_dataset import ParquetDatasetFeed

    dataset = read_dataset(folder)
    feed = ParquetDatasetFeed(dataset, instrument, simulated=dataset.instrument.venue == SIMULATED_VENUE)
    if not feed.has_snapshot():
        raise _not_synchronisable(folder)
    return feed


def _parsed(parser: LineParser, line: bytes) -> object | None:
    try:
        event = parser.parse(line)
    except CorruptLine:
        return None  # the feed counts it
    return None if event is Skip.FOREIGN else event


def _not_synchronisable(path: Path) -> MarketDataError:
    return MarketDataError(
        f"{path}: no book snapshot in this recording, so its updates cannot be synchronised; "
        "add the file with the snapshot that comes before it"
    )
