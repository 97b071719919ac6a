"""Recording of market events as raw files that `autohedge.market.raw` replays to the same events.

One gzip file per UTC day of receipt, `btcusdt_20240808.jsonl.gz`; each begins with a line that names the instrument, so that
a recording of a simulated market stays known as one. A folder that already holds recordings of the symbol is refused: two
sessions in one folder would be replayed as one. What is written is complete only after `close`.
"""

from __future__ import annotations

import gzip
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.binance import LineWriter, instrument_line, symbol_code
from autohedge.market.lines import SUFFIXES

_NS_PER_S = 1_000_000_000
_NS_PER_DAY = 86_400 * _NS_PER_S
_FLUSH_LINES = 1_000
_COMPRESSION = 5  # measured: twice as fast as the default and 4 % larger on depth data


class Recorder:
    """Writes the events of one instrument, in the order given, into `folder` (made if missing).

    Raises `ConfigError` when the folder cannot be written to or already has recordings of the symbol.
    """

    def __init__(self, folder: Path, instrument: Instrument) -> None:
        self._folder = folder
        self._instrument = instrument
        self._name = re.sub(r"[^a-z0-9.\-]", "", symbol_code(instrument.symbol).lower())
        self._lines = LineWriter(instrument)
        self._pending: list[str] = []
        self._file: gzip.GzipFile | None = None
        self._day_end_ns = 0
        self._check_folder()

    def write(self, event: MarketEvent) -> None:
        """Record an event. Raises `MarketDataError` when the disk refuses."""
        if event.ts_init_ns >= self._day_end_ns:
            self._begin_day(event.ts_init_ns)
        self._pending.append(self._lines.line(event))
        if len(self._pending) >= _FLUSH_LINES:
            self._flush()

    def close(self) -> None:
        """Write what is left and end the file; may be called twice. Raises `MarketDataError` when the disk refuses."""
        try:
            self._flush()
        finally:
            self._end_file()

    def _check_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            names = sorted(each.name for each in self._folder.iterdir())
        except OSError as error:
            raise ConfigError(f"cannot record into {self._folder}: {error.strerror or error}") from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ConfigError(f"cannot record into {self._folder}: the folder is not writable")
        own = re.compile(rf"(.*[^a-z0-9])?{re.escape(self._name)}([^a-z0-9].*)?", re.IGNORECASE)
        for name in names:
            stem = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), None)
            if stem is not None and own.fullmatch(stem):
                raise ConfigError(
                    f"cannot record into {self._folder}: it already has a recording of {self._instrument.symbol} ({name}); "
                    "choose a new folder"
                )

    def _begin_day(self, ts_init_ns: int) -> None:
        self.close()
        day_start_ns = ts_init_ns - ts_init_ns % _NS_PER_DAY
        day = datetime.fromtimestamp(day_start_ns // _NS_PER_S, UTC)
        path = self._folder / f"{self._name}_{day:%Y%m%d}.jsonl.gz"
        try:
            self._file = gzip.open(path, "xb", compresslevel=_COMPRESSION)
        except OSError as error:
            raise MarketDataError(f"cannot record to {path}: {error.strerror or error}") from error
        self._day_end_ns = day_start_ns + _NS_PER_DAY
        self._pending.append(instrument_line(self._instrument, ts_init_ns))

    def _flush(self) -> None:
        if self._pending and self._file is not None:
            text, self._pending = "".join(self._pending), []
            try:
                self._file.write(text.encode())
            except OSError as error:
                raise self._refused(error) from error

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise self._refused(error) from error

    def _refused(self, error: OSError) -> MarketDataError:
        return MarketDataError(f"cannot record into {self._folder}: {error.strerror or error}")
