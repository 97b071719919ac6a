"""Lines of a raw recording file, plain or gzip, in bounded memory.

What is wrong with the file as a whole (missing, empty, a damaged or truncated gzip stream, no lines) is a `MarketDataError`
that names the file and how far it could be read; what is wrong within a line is for the parser.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from autohedge.errors import MarketDataError

SUFFIXES = (".jsonl.gz", ".jsonl")
MAX_LINE_BYTES = 16 * 1024 * 1024

_CHUNK_BYTES = 1 << 20


def lines_of(path: Path) -> Iterator[list[bytes]]:
    """The file's lines without their ends, some thousands at a time; a last line without an end is a line.

    Raises `MarketDataError`.
    """
    count = 0
    rest = b""
    try:
        with _opened(path) as file:
            while chunk := file.read1(_CHUNK_BYTES):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                if len(rest) > MAX_LINE_BYTES:
                    raise MarketDataError(f"{path}: line {count + len(lines) + 1} is longer than 16 MiB; not a recording")
                count += len(lines)
                yield lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MarketDataError(f"{path}: gzip stream is damaged or truncated ({error}); readable up to line {count}") from error
    except OSError as error:
        raise MarketDataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if rest:
        count += 1
        yield [rest]
    if not count:
        raise MarketDataError(f"{path}: is empty; expected lines of '<receive time, ns> <JSON of the exchange>'")


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    # read one read of the file at a time (`read1`), so that a truncated gzip gives all it has before it fails
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")
