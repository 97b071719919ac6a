"""Reading and checking at once: the columns and the report are exactly those of reading and of checking, quick or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.errors import MarketDataError
from autohedge.market.checked_columns import read_clean
from autohedge.market.column_check import check_columns
from autohedge.market.event_check import EventCheck
from autohedge.market.event_rows import EventColumns, columns_of
from autohedge.market.faults import Faults
from autohedge.market.recording_check import check_recording, read_and_check
from autohedge.market.recordings import read_columns
from tests.unit.market.test_recording_check import FAULTY_EVENTS, S, happened_later, replace, saved, without

__all__ = ["saved"]  # a fixture

Events = list[MarketEvent]
SYMBOL = "BTC/USDT"


def same(one: EventColumns, other: EventColumns) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def outcome(asked: Callable[[], Any]) -> Any:
    try:
        return asked()
    except MarketDataError as error:
        return str(error)


def agrees(path: Path, btc: Instrument) -> bool:
    """Compare with what reading and checking say one after the other; whether it was quick."""
    columns = outcome(lambda: asyncio.run(read_columns(path, SYMBOL, btc)))
    both = outcome(lambda: asyncio.run(read_and_check(path, SYMBOL, btc)))
    if isinstance(columns, str):
        assert both == columns
    else:
        assert same(both[0], columns)
        assert both[1] == check_recording(path, SYMBOL, btc)
    return read_clean(path, SYMBOL, btc, 60.0) is not None


def unusable_at_first(events: Events) -> Events:
    """Best prices and an update that the snapshot after them contains."""
    at = events[0].ts_init_ns
    contained = BookDelta(0, at - 2, 98, 99, ((9_999, 6),), ())
    return [TopOfBook(0, at - 3, 99, 9_999, 1, 10_001, 1), contained, *events]


def snapshot_again(events: Events) -> Events:
    """A second snapshot, as new as the best prices."""
    bids, asks = ((9_990, 4), (9_950, 1)), ((10_004, 3), (10_100, 1))
    return [*events[:33], BookSnapshot(0, events[32].ts_init_ns, 123, bids, asks), *events[33:]]


@pytest.mark.parametrize(
    "damage",
    [lambda events: events, unusable_at_first, happened_later(S), lambda events: [*events[:4], *map(small, events[4:])]],
)
def test_next_to_nothing_to_find_is_found_in_one_reading(
    damage: Callable[[Events], Events], saved: Callable[[Events], Path], session: Events, btc: Instrument
) -> None:
    assert agrees(saved(damage(session)), btc)


def small(event: MarketEvent) -> MarketEvent:
    """Nothing to find either: no venue time."""
    return event._replace(ts_event_ns=0)


@pytest.mark.parametrize(("kind", "damage"), [(kind, damage) for kind, _, damage, _ in FAULTY_EVENTS])
def test_what_takes_a_closer_look_gets_it(
    kind: str, damage: Callable[[Events], Events], saved: Callable[[Events], Path], session: Events, btc: Instrument
) -> None:
    quick = agrees(saved(damage(session)), btc)
    assert not quick or kind in ("before_snapshot", "negative_latency")


def test_places_go_on_in_the_next_file(tmp_path: Path, save: Callable[..., Path], lines: list[bytes], btc: Instrument) -> None:
    """The first quote of the second file is the first thing that is at fault, and sizes finer than a lot are counted."""
    finer = [line.replace(b'"q":"0.00002"', b'"q":"0.0000234"') for line in lines]
    assert finer != lines
    folder = tmp_path / "two"
    save(finer[:40], "btcusdt_1.jsonl.gz", folder)
    save([*finer[40:], b"", lines[0].replace(b"lastUpdateId", b"other")], "btcusdt_2.jsonl.gz", folder)
    assert not agrees(folder, btc)
    save(
        [*finer[40:], b"", finer[-1].replace(b"BTCUSDT", b"ETHUSDT").replace(b"btcusdt", b"ethusdt")],
        "btcusdt_2.jsonl.gz",
        folder,
    )
    assert agrees(folder, btc)
    assert {finding.kind for finding in check_recording(folder, SYMBOL, btc).findings} == {"size_off_grid", "foreign"}


# --- the quick check against the other, over random sessions ------------------------------------------------------------------


@st.composite
def sessions(draw: st.DrawFn) -> Events:
    """A session of some rounds, sound at first, with up to three things changed at random."""
    at, update_id, trade_id, bid = 1_700_000_000 * S, 100, 0, 10_000
    events: Events = [BookSnapshot(0, at, 100, ((10_000, 5), (9_900, 6)), ((10_001, 7), (10_103, 8)))]
    for kind in draw(st.lists(st.sampled_from("DDQQTS"), min_size=3, max_size=30)):
        at += draw(st.integers(0, 3 * S))
        happened = draw(st.sampled_from([0, at - S, at + 5]))
        if kind == "D":
            size = draw(st.integers(0, 2))
            events.append(BookDelta(happened, at, update_id + 1, update_id + 2, ((9_990, size),), ((10_050, 1),)))
            update_id += 2
        elif kind == "Q":
            bid += draw(st.integers(-3, 3))
            update_id += 1
            events.append(TopOfBook(happened, at, update_id, bid, 1, bid + 1, 1))
            update_id -= draw(st.integers(0, 1))
        elif kind == "T":
            trade_id += 1
            events.append(Trade(happened, at, trade_id, bid, 1, BUY if draw(st.booleans()) else SELL))
        else:
            events.append(BookSnapshot(happened, at, update_id, ((10_000, 5), (9_900, 6)), ((10_001, 7), (10_103, 8))))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(events) - 1))
        event = events[position]
        match draw(st.sampled_from(["change", "drop", "again", "swap"])):
            case "drop" if len(events) > 1:
                del events[position]
            case "again":
                events.insert(draw(st.integers(0, len(events))), event)
            case "swap":
                other = draw(st.integers(0, len(events) - 1))
                events[position], events[other] = events[other], event
            case _:
                name = draw(st.sampled_from([each for each in event._fields if isinstance(getattr(event, each), int)]))
                by = draw(st.sampled_from([-10_000, -300, -1, 1, 2, 120, 6_000, 100 * S, 90_000 * S, 500 * 86_400 * S]))
                if name != "aggressor":
                    events[position] = event._replace(**{name: max(1, getattr(event, name) + by)})
    return events


@settings(max_examples=400, deadline=None)
@given(sessions(), st.sampled_from([2.0, 60.0]))
def test_the_quick_check_says_what_the_other_says_or_nothing(events: Events, silence_s: float) -> None:
    slow, quick = Faults(), Faults()
    where = [0]
    check = EventCheck(slow, lambda: f"f:{where[0]}", silence_s)
    for where[0], event in enumerate(events):
        check.take(event)
    if check.messages:
        check.finish()
    if check_columns(columns_of(events), lambda message: f"f:{message}", quick, silence_s):
        assert quick.findings() == slow.findings()
    else:
        assert quick.findings() == ()


def test_it_is_quick_where_books_move_in_every_usual_way(session: Events) -> None:
    """Updates, quotes and a later snapshot that overtake each other: nothing of that is at fault."""
    for events in (session, snapshot_again(session), unusable_at_first(session)):
        assert check_columns(columns_of(events), str, Faults(), 60.0)
    outside = [replace(33, price_ticks=price)(session) for price in (9_900, 10_100)]
    for events in (without(0)(session), without(31)(session), *outside, []):
        assert not check_columns(columns_of(events), str, Faults(), 60.0)
