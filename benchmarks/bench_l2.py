"""The compiled loop beside hftbacktest: one maker with latency and a queue on one level-2 stream, by the same rules.

Events per second of CPU time. AUTOHEDGE_PEER_HFTBACKTEST names a Python that has hftbacktest; each pass of its is taken right
after ours, and first every fill of both is compared. Without it only our own figures are told.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_market import PreparedMarket, prepare_market
from autohedge.backtest.l2_result import result_of
from autohedge.backtest.l2_run import backtest, prepared_market
from autohedge.market.event_rows import EventColumns
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.settings import build_settings
from benchmarks import bench_session
from benchmarks.figures import Bar, Figure, Options, Skipped, ratio
from benchmarks.l2_maker import (
    ALWAYS_MS,
    ANSWERED_MS,
    FEED_LATENCY_NS,
    SELDOM_MS,
    Peer,
    Samples,
    agreement,
    counts_of,
    lane_of,
    peer_on,
)
from benchmarks.l2_stream import coin, columns_of, l2_stream

ROUNDS = 7
ROWS = 1_000_000
MANY_ROWS = 10_000_000
EXPECTED_EVENTS_PER_S = {SELDOM_MS: 20e6, ALWAYS_MS: 12e6}
EXPECTED_RATIO = 3.0
EXPECTED_DIFFERENCE_PERCENT = 0.1
EXPECTED_RSS_MB = 350
EXPECTED_START_S = 1.0
TEN_TIMES_AT_MOST = 11.0

# --- processes ---------------------------------------------------------------------------------------------------------------

FIRST_BACKTEST = """
from benchmarks.bench_l2 import lane_of, load_market
lane = lane_of(load_market(FOLDER), 100)
lane.advance()
lane.drain()
from autohedge.backtest.l2_result import result_of
print(result_of(lane, settings={}, data={}).final_equity)
"""
A_WHOLE_RUN = """
from pathlib import Path
from benchmarks.bench_l2 import lane_of, load_market
lane = lane_of(load_market(FOLDER), 100)
lane.advance()
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


def save_columns(columns: EventColumns, folder: Path) -> None:
    """Write each column as a file of its own."""
    for name, column in columns._asdict().items():
        np.save(folder / f"{name}.npy", column)


def load_market(folder: str | Path) -> PreparedMarket:
    """The market whose columns lie there."""
    return prepare_market(EventColumns(*(np.load(Path(folder) / f"{name}.npy") for name in EventColumns._fields)), coin())


def fresh_process(code: str, folder: Path, cache: Path | None = None) -> tuple[float, float, str]:
    """(wall, CPU) seconds of a new Python from start to end, and what it printed; bytecode is kept as after an install, and
    compiled code in `cache`, if that is given."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if cache is not None:
        environment["AUTOHEDGE_CACHE_DIR"] = str(cache)
    code = f"FOLDER = {str(folder)!r}\n{code}"
    wall_s, cpu_s = time.perf_counter(), _children_s()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return time.perf_counter() - wall_s, _children_s() - cpu_s, done.stdout


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processes(columns: EventColumns) -> list[Figure]:
    """What a process of its own costs: time to a first result, memory of a whole run."""
    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as name:
        folder = Path(name)
        save_columns(columns, folder)
        fresh_process(A_WHOLE_RUN, folder)  # writes what is kept between processes
        rss_mb = tuple(float(fresh_process(A_WHOLE_RUN, folder)[2]) for _ in range(3))
        save_columns(columns_of(l2_stream(1_000), FEED_LATENCY_NS), folder)
        starts = [fresh_process(FIRST_BACKTEST, folder) for _ in range(5)]
        cold = fresh_process(FIRST_BACKTEST, folder, folder / "cache")
    return [
        Figure("l2: peak memory of a process, 1 M events", rss_mb, "MB", Bar(EXPECTED_RSS_MB), "columns read, prepared, run"),
        Figure(
            "l2: new process to its first result, warm cache",
            tuple(wall_s for wall_s, _, _ in starts),
            "s",
            Bar(EXPECTED_START_S),
            "whole process, 1,000 events",
        ),
        Figure("l2: the same by CPU time", tuple(cpu_s for _, cpu_s, _ in starts), "s CPU"),
        Figure("l2: the same with nothing compiled yet", (cold[1],), "s CPU", note="once per version of the sources"),
    ]


# --- speed -------------------------------------------------------------------------------------------------------------------


def timed(lane: CompiledLane, samples: Samples) -> None:
    """One pass of ours, over a market that is ready."""
    began_s = time.process_time()
    lane.advance()
    samples.cpu_s.append(time.process_time() - began_s)
    samples.counts = counts_of(lane)


def rounds(market: PreparedMarket, peer: Peer | None) -> dict[str, Samples]:
    """Ours and theirs in turn, by what was run."""
    ours = {"ours, 100 ms": SELDOM_MS, "ours, every message": ALWAYS_MS}
    theirs = {
        "theirs, 100 ms": ("feed", SELDOM_MS),
        "theirs, 100 ms by its own clock": ("elapse", SELDOM_MS),
        "theirs, every message": ("feed", ALWAYS_MS),
    }
    samples = {name: Samples() for name in (*ours, *theirs)}
    numbers = lane_of(market, SELDOM_MS).numbers
    for round_ in range(ROUNDS + 1):  # the first one loads what was compiled
        into = samples if round_ else {name: Samples() for name in samples}
        for name, requote_ms in ours.items():
            timed(lane_of(market, requote_ms), into[name])
            for each, (clock, every_ms) in theirs.items():
                if peer is not None and every_ms == requote_ms:
                    peer.run(numbers, clock, every_ms, into[each])
    return samples


def speeds(samples: dict[str, Samples]) -> list[Figure]:
    """Events per second of each, and how many times as fast ours is."""
    told: list[Figure] = []
    for name, each in samples.items():
        if not each.cpu_s:
            continue
        is_ours = name.startswith("ours")
        expected = EXPECTED_EVENTS_PER_S[SELDOM_MS if "100" in name else ALWAYS_MS]
        told.append(
            Figure(
                f"l2: {name}",
                each.per_s(ROWS),
                "events/s",
                Bar(expected, at_least=True) if is_ours else None,
                f"{each.counts}" if is_ours else f"peer: hftbacktest; {each.counts}",
            )
        )
        if not is_ours:
            us = samples["ours, 100 ms" if "100" in name else "ours, every message"]
            bar = Bar(EXPECTED_RATIO, at_least=True)
            told.append(ratio(f"l2: ours ÷ {name}", us.per_s(ROWS), each.per_s(ROWS), bar=bar))
    rss_mb = samples["theirs, every message"].rss_mb
    if rss_mb:
        told.append(Figure("l2: peak memory of hftbacktest", (rss_mb,), "MB", note="peer: of all its passes"))
    return told


def agreements(market: PreparedMarket, peer: Peer) -> list[Figure]:
    """How many fills only one side has: where the rules are made to agree, and where they do not."""
    asked = (
        ("looks at most every 100 ms, rules agree", SELDOM_MS, True),
        ("looks at most every 2 ms, rules agree", ANSWERED_MS, True),
        ("looks at every message, but for orders on their way", ALWAYS_MS, True),
        ("looks at most every 100 ms, our own queue rule", SELDOM_MS, False),
    )
    told = []
    for name, requote_ms, trades_come_first in asked:
        found = agreement(market, peer, requote_ms, trades_come_first=trades_come_first)
        bar = Bar(EXPECTED_DIFFERENCE_PERCENT) if "agree" in name else None
        note = f"ours {found.ours}; hftbacktest {found.theirs}"
        told.append(Figure(f"l2: fills of one side only, {name}", (100 * found.differing_frac,), "%", bar, note))
    return told


def ten_times(market: PreparedMarket) -> list[Figure]:
    """What ten times the events cost."""
    many = prepare_market(columns_of(l2_stream(MANY_ROWS), FEED_LATENCY_NS), coin())
    one, ten = Samples(), Samples()
    for _ in range(3):
        timed(lane_of(market, SELDOM_MS), one)
        timed(lane_of(many, SELDOM_MS), ten)
    note = "9 to 11 is linear"
    return [ratio("l2: 10 M events ÷ 1 M events", ten.cpu_s, one.cpu_s, bar=Bar(TEN_TIMES_AT_MOST), note=note)]


def from_columns(columns: EventColumns) -> list[Figure]:
    """What is around the loop: making the market ready, and the result with every fill booked again."""
    ready, whole = Samples(), Samples()
    for round_ in range(ROUNDS + 1):
        one, all_of_it = (ready, whole) if round_ else (Samples(), Samples())
        began_s = time.process_time()
        market = prepare_market(columns, coin())
        one.cpu_s.append(time.process_time() - began_s)
        lane = lane_of(market, SELDOM_MS)
        lane.advance()
        lane.drain()
        result_of(lane, settings={}, data={})
        all_of_it.cpu_s.append(time.process_time() - began_s)
    return [
        Figure("l2: making a market ready", ready.per_s(ROWS), "events/s", note="sequence rules; once per recording"),
        Figure("l2: ours, from columns to a result", whole.per_s(ROWS), "events/s", note="100 ms; market, loop, result"),
    ]


def recorded(options: Options) -> list[Figure]:
    """The recorded session through the live engine and through the compiled loop, the desk's cycles and the result included."""
    folder = options.recorded_session()
    settings = build_settings(bench_session.WORKING, {"market": f"replay:{folder}"})
    symbol = bench_session.SYMBOL
    feed = open_replay(folder, symbol, instrument("binance", symbol))
    market = asyncio.run(prepared_market(settings, feed))
    live, compiled = Samples(), Samples()
    for round_ in range(ROUNDS + 1):
        one, other = (live, compiled) if round_ else (Samples(), Samples())
        one.cpu_s.append(bench_session._session(folder, bench_session.WORKING).cpu_s)
        began_s = time.process_time()
        (result,) = asyncio.run(backtest(settings, markets={symbol: market}))
        other.cpu_s.append(time.process_time() - began_s)
    told = f"{market.rows:,} rows; {len(result.fills.ts_ns):,} fills; market ready, desk asked, result made"
    return [
        Figure("l2: recorded session, live engine", live.per_s(market.rows), "rows/s", note="feed and full records included"),
        Figure("l2: recorded session, compiled", compiled.per_s(market.rows), "rows/s", note=told),
        ratio("l2: compiled ÷ live", live.cpu_s, compiled.cpu_s),
    ]


def figures(options: Options) -> list[Figure]:
    """All of them; ours alone where hftbacktest is not to be had."""
    stream = l2_stream(ROWS)
    columns = columns_of(stream, FEED_LATENCY_NS)
    market = prepare_market(columns, coin())
    told: list[Figure] = []
    try:
        with peer_on(stream) as peer:
            told += agreements(market, peer)
            told += speeds(rounds(market, peer))
    except Skipped as why:
        print(f"l2: hftbacktest skipped, {why}")
        told += speeds(rounds(market, None))
    told += [*from_columns(columns), *ten_times(market), *processes(columns)]
    try:
        told += recorded(options)
    except Skipped as why:
        print(f"l2: recorded session skipped, {why}")
    return told
