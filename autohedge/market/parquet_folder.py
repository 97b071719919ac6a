"""Recordings of ours in Parquet: a folder per symbol, a sub-folder per UTC day of receipt, many small files in it.

    BTC-USDT/instrument.json                       whose events, in which ticks and lots, from which venue
    BTC-USDT/date=2024-08-08/000001.parquet        the columns of `autohedge.market.event_rows`, whole messages
    BTC-USDT/date=2024-08-09/000002.parquet        numbered through, so that a missing file shows
    BTC-USDT/date=2024-08-09/000003.parquet.partial   torn: was being written when the recording was killed

Here are the names, for whoever writes, reads or looks for such a folder; nothing here opens a Parquet file. Refused with
`MarketDataError`: a folder without an instrument, without a finished file or with a hole in the numbers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import orjson

from autohedge.domain.instrument import Instrument
from autohedge.errors import MarketDataError
from autohedge.market.binance import CorruptLine, instrument_line, instrument_of

INSTRUMENT_FILE = "instrument.json"
LAYOUT = "autohedge.events.1"
"""Named in the instrument's file; another one is refused."""
PART_SUFFIX = ".parquet"
TORN_SUFFIX = ".parquet.partial"

_PART_NAME = re.compile(r"([0-9]{6,})\.parquet(\.partial)?", re.ASCII)


class Dataset(NamedTuple):
    """A recording as found: its parts in their order, and the files that were torn by a kill."""

    folder: Path
    instrument: Instrument
    parts: tuple[Path, ...]
    torn: tuple[Path, ...]


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds such a recording."""
    return (folder / INSTRUMENT_FILE).is_file()


def read_dataset(folder: Path) -> Dataset:
    """What is in the folder of a recording. Raises `MarketDataError` when it is not one, has no part or misses one."""
    instrument = read_instrument(folder)
    numbered: dict[int, Path] = {}
    torn: list[Path] = []
    try:
        found = sorted(folder.glob("date=*/*.parquet*"), key=lambda path: path.name)
    except OSError as error:
        raise MarketDataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for path in found:
        matched = _PART_NAME.fullmatch(path.name)
        if matched is None:
            raise MarketDataError(f"{path}: expected numbered files like 000001.parquet in a recording; not one of its files")
        if matched[2]:
            torn.append(path)
        elif (clash := numbered.setdefault(int(matched[1]), path)) is not path:
            raise MarketDataError(f"{folder}: two files have the same number, {clash} and {path}; recordings were mixed")
    if not numbered:
        killed = f"; {torn[0].name} was being written when the recording was killed" if torn else ""
        raise MarketDataError(f"{folder}: the recording has no finished file{killed}")
    missing = next((number for number in range(1, max(numbered) + 1) if number not in numbered), None)
    if missing is not None:
        raise MarketDataError(f"{folder}: file {missing:06d}.parquet of {max(numbered)} is missing; the recording has a hole")
    return Dataset(folder, instrument, tuple(numbered[number] for number in sorted(numbered)), tuple(torn))


def files_of(folder: Path) -> list[Path]:
    """The files that make the recording: its instrument and its finished parts. Raises `MarketDataError`."""
    return [folder / INSTRUMENT_FILE, *read_dataset(folder).parts]


def read_instrument(folder: Path) -> Instrument:
    """The instrument of a recording. Raises `MarketDataError`."""
    path = folder / INSTRUMENT_FILE
    try:
        body = path.read_bytes()
        layout = orjson.loads(body).get("layout")
        instrument = instrument_of(b"0 " + body)
    except OSError as error:
        raise MarketDataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (orjson.JSONDecodeError, AttributeError, CorruptLine) as error:
        raise MarketDataError(f"{path}: the instrument of the recording cannot be read: {error}") from error
    if layout != LAYOUT or instrument is None:
        raise MarketDataError(f"{path}: expected a recording laid out as {LAYOUT!r}, found {layout!r}")
    return instrument


def instrument_text(instrument: Instrument) -> bytes:
    """The content of the instrument's file; `read_instrument` gives the same instrument back."""
    _, _, body = instrument_line(instrument, 0).partition(" ")
    return orjson.dumps({"layout": LAYOUT, **orjson.loads(body)}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
