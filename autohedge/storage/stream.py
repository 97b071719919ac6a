"""The canonical event stream: what a run did, one JSON line per record, the same bytes whenever the same things happen.

A line has `seq`, `type`, `symbol`, `ts` (market time, nanoseconds as a string) and every field of the record in its own
order, decimals as strings. Wall-clock facts, latencies, the run's id and the words of models are not in it: two runs over the
same market, with the same settings and the same proposals of the desk, have equal streams, and a replay proves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import orjson

from autohedge.domain.records import (
    CycleOutcome,
    FillRecord,
    MandateRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.errors import ConfigError, StorageError
from autohedge.storage.rows import (
    flat_fill,
    flat_opening,
    flat_order,
    flat_order_event,
    flat_quote_state,
    plain_mandate,
)

STREAM_NAME = "events.jsonl"
"""The file name of the stream in a run's folder."""

CanonicalRecord = OpeningRecord | OrderRecord | OrderEventRecord | FillRecord | MandateRecord | QuoteStateRecord


_FIELDS = {
    "opening": OpeningRecord._fields,
    "order": OrderRecord._fields,
    "order_event": OrderEventRecord._fields,
    "fill": FillRecord._fields,
    "quote_state": QuoteStateRecord._fields,
}
_KEYS = {kind: ("seq", "type", "symbol", "ts", *fields[2:]) for kind, fields in _FIELDS.items()}


# --- lines -----------------------------------------------------------------------------------------------------------------


def canonical_line(seq: int, record: CanonicalRecord) -> bytes:
    """The record's line, with its end. `StorageError` if it holds a number that is not finite."""
    match record:
        case OrderEventRecord():
            return flat_line(seq, "order_event", flat_order_event(record))
        case OrderRecord():
            return flat_line(seq, "order", flat_order(record))
        case FillRecord():
            return flat_line(seq, "fill", flat_fill(record))
        case QuoteStateRecord():
            return flat_line(seq, "quote_state", flat_quote_state(record))
        case OpeningRecord():
            return flat_line(seq, "opening", flat_opening(record))
        case MandateRecord():
            return mandate_line(seq, record)
        case _:
            assert_never(record)


def flat_line(seq: int, kind: str, values: tuple[Any, ...]) -> bytes:
    """A line of this kind from a record's plain values, which begin with the symbol and the time."""
    head = (seq, kind, values[0], str(values[1]))
    return _encoded(dict(zip(_KEYS[kind], head + values[2:], strict=True)))


def mandate_line(seq: int, record: MandateRecord) -> bytes:
    """The line of a cycle's outcome: the mandate with its clamps, or null. Reasons may be a model's words and are left out."""
    mandate = None if record.mandate is None else plain_mandate(record.mandate)
    head = {"seq": seq, "type": "mandate", "symbol": record.symbol, "ts": str(record.ts_ns)}
    return _encoded({**head, "cycle_id": record.cycle_id, "outcome": str(record.outcome), "mandate": mandate})


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as error:
        raise StorageError(f"cannot write record {line['seq']} to the event stream: {error}") from error


class StreamLedger:
    """A ledger that keeps only the canonical lines, in memory: what a replay of a run writes and is compared by."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def _add(self, record: CanonicalRecord) -> None:
        self.lines.append(canonical_line(len(self.lines) + 1, record))

    def opening(self, record: OpeningRecord) -> None:
        """The first row of a symbol."""
        self._add(record)

    def order(self, record: OrderRecord) -> None:
        """An intent or a denial."""
        self._add(record)

    def order_event(self, record: OrderEventRecord) -> None:
        """A change of an order."""
        self._add(record)

    def fill(self, record: FillRecord) -> None:
        """A fill."""
        self._add(record)

    def cycle(self, outcome: CycleOutcome, mandate: MandateRecord) -> None:
        """A desk cycle: its mandate is what counts here."""
        self._add(mandate)

    def quote_state(self, record: QuoteStateRecord) -> None:
        """Quoting of a side began or stopped."""
        self._add(record)

    def commit(self) -> None:
        """Nothing here outlives the process."""


# --- comparison ------------------------------------------------------------------------------------------------------------


class Divergence(StrEnum):
    """How two streams first part."""

    DIFFERS = "differs"
    RECORDED_ENDS_EARLIER = "recorded_ends_earlier"
    RECORDED_ENDS_LATER = "recorded_ends_later"


class Difference(NamedTuple):
    """The first difference, at `line_number` (from 1). A side that has ended is None.

    `torn` is the end of the recorded file when a kill cut its last line: it agrees with the replay as far as it goes, unless
    `kind` is "differs".
    """

    kind: Divergence
    line_number: int
    recorded: bytes | None
    replayed: bytes | None
    torn: bytes | None = None

    def describe(self) -> str:
        """The difference in words, with both lines."""
        texts = [each.decode("utf-8", "replace").rstrip("\n") if each else "" for each in (self.recorded, self.replayed)]
        match self.kind:
            case Divergence.DIFFERS:
                return f"line {self.line_number} differs\n  recorded: {texts[0]}\n  replayed: {texts[1]}"
            case Divergence.RECORDED_ENDS_EARLIER:
                cut = " (its last line was cut by a kill)" if self.torn is not None else ""
                equal = self.line_number - 1
                return f"the recorded run ends after line {equal}{cut}, the replay goes on\n  replayed: {texts[1]}"
            case Divergence.RECORDED_ENDS_LATER:
                return f"the replay ends after line {self.line_number - 1}, the recorded run goes on\n  recorded: {texts[0]}"
            case _:
                assert_never(self.kind)


def compare_streams(recorded: Path, replayed: Path | Iterable[bytes]) -> Difference | None:
    """The first difference between a recorded stream and its replay; None when they are equal byte for byte.

    A recorded stream whose last line was torn by a kill ends before that line, and the difference says so. `ConfigError` if
    a file cannot be read.
    """
    pairs = zip_longest(_lines(recorded), _lines(replayed) if isinstance(replayed, Path) else replayed)
    for number, (ours, theirs) in enumerate(pairs, start=1):
        if ours == theirs:
            continue
        if ours is None:
            return Difference(Divergence.RECORDED_ENDS_EARLIER, number, None, theirs)
        torn = None if ours.endswith(b"\n") else ours
        if torn is not None and (theirs is None or theirs.startswith(torn)):
            kind = Divergence.RECORDED_ENDS_LATER if theirs is None else Divergence.RECORDED_ENDS_EARLIER
            return Difference(kind, number, None if theirs else torn, theirs, torn)
        if theirs is None:
            return Difference(Divergence.RECORDED_ENDS_LATER, number, ours, None)
        return Difference(Divergence.DIFFERS, number, ours, theirs, torn)
    return None


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise ConfigError(f"expected an event stream at {path}: {error.strerror}; give a run whose folder has one") from error
