"""The compiled loop beside hftbacktest: one maker with latency and a queue on one level-2 stream, by the same rules.

Events per second of CPU time. AUTOHEDGE_PEER_HFTBACKTEST names a Python that has hftbacktest; each pass of its is taken right
after ours, and first both are made to agree on the rules and every fill is compared. Without it only our own figures are told.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_layout import CANCELLING_, EVENT_LOG, FILL_LOG
from autohedge.backtest.l2_market import PreparedMarket, prepare_market
from autohedge.backtest.l2_run import backtest, neutral_for_ever, prepared_market
from autohedge.domain.mandate import Envelope
from autohedge.market.event_rows import EventColumns
from autohedge.market.instruments import instrument
from autohedge.market.recordings import open_replay
from autohedge.market_maker.config import MarketMakingConfig, QuotingModel
from autohedge.risk.limits import RiskLimits
from autohedge.settings import build_settings
from benchmarks import bench_session
from benchmarks.figures import Bar, Figure, Options, Skipped, ratio
from benchmarks.l2_stream import Stream, coin, columns_of, l2_stream

PEER_PYTHON = "AUTOHEDGE_PEER_HFTBACKTEST"
ROUNDS = 7
ROWS = 1_000_000
MANY_ROWS = 10_000_000
NS_PER_MS = 1_000_000
FEED_LATENCY_NS = 1_000_000
"""Of the feed, of an order on its way to the venue, and of the venue's answer: each the same."""
NEUTRAL_LOTS = 25
QUOTE = 100_000
"""More quote than the maker can spend."""

SELDOM_MS, ALWAYS_MS, ANSWERED_MS = 100, 0, 2
"""Looks at the quotes at most every 100 ms; at every message; and as often as the venue can have answered by then."""

EXPECTED_EVENTS_PER_S = {SELDOM_MS: 20e6, ALWAYS_MS: 12e6}
EXPECTED_RATIO = 3.0
EXPECTED_RSS_MB = 350
EXPECTED_START_S = 1.0
EXPECTED_DIFFERENCE = 0.001
TEN_TIMES_AT_MOST = 11.0

LIMITS = RiskLimits(
    max_requests_per_min=100_000,
    max_inventory_imbalance=0.5,
    max_daily_loss_quote=Decimal(1_000_000_000),
    max_daily_loss_frac=1,
)
"""None that the maker meets; inventory is bounded by the exposure cap and by what it has."""


def maker(requote_ms: float) -> MarketMakingConfig:
    """A fixed spread of two ticks, moved against the inventory; orders of one lot; at most some 50 lots held."""
    return MarketMakingConfig(
        trading_pair=coin().symbol,
        total_capital=Decimal(100),
        spread_percentage=Decimal("0.0001"),
        order_size_percentage=Decimal("0.03"),
        max_inventory_exposure=Decimal(1),
        rebalance_threshold=Decimal(1),
        min_profit_threshold=None,
        quoting_model=QuotingModel.FIXED_SPREAD,
        skew_factor=2,
        neutral_base=NEUTRAL_LOTS * coin().lot_size,
        size_by_confidence=False,
        maker_fee_bps=Decimal("-0.5"),
        taker_fee_bps=Decimal(2),
        latency_ms=2 * FEED_LATENCY_NS / NS_PER_MS,
        min_requote_ms=requote_ms,
        refresh_tolerance_bps=0,
        max_order_age_s=31_536_000,
    )


def lane_of(market: PreparedMarket, requote_ms: float, *, trades_come_first: bool = False) -> CompiledLane:
    """A lane with one neutral mandate; `trades_come_first` switches the memory for trades that are reported late off."""
    instrument = market.instrument
    lane = CompiledLane(
        market,
        maker(requote_ms),
        LIMITS,
        Envelope(),
        base_atoms=NEUTRAL_LOTS * instrument.base_atoms_per_lot,
        quote_atoms=instrument.quote_atoms_floor(Decimal(QUOTE)),
        desk_latency_ns=0,
    )
    if trades_come_first:
        # what left the display is forgotten within a nanosecond, before any trade that could explain it
        lane.numbers = lane.numbers._replace(report_lag_ns=1)
    lane.give(neutral_for_ever(instrument.symbol))
    return lane


class Counts(NamedTuple):
    """What came out of a pass."""

    looks: int
    orders: int
    cancels: int
    fills: int
    held_lots: int

    def __str__(self) -> str:
        return f"{self.fills:,} fills of {self.orders:,} orders, {self.held_lots} lots at the end"


def counts_of(lane: CompiledLane) -> Counts:
    """Of a lane that has run; asked-for cancels, whether or not they came in time."""
    state = lane.state
    events = lane.log("events")
    return Counts(
        looks=int(state.reconsidered),
        orders=int(state.placed),
        cancels=int((events[:, EVENT_LOG.index("event")] == CANCELLING_).sum()),
        fills=int(state.fills),
        held_lots=int(state.base_atoms) // lane.instrument.base_atoms_per_lot,
    )


def fills_of(lane: CompiledLane) -> list[tuple[int, int, int]]:
    """(time at the venue, side, price in ticks) of each fill."""
    fills = lane.log("fills")[:, [FILL_LOG.index(name) for name in ("ts_ns", "side", "price_ticks")]]
    return [(ts_ns - FEED_LATENCY_NS, side, price) for ts_ns, side, price in fills.tolist()]


# --- the peer -----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Samples:
    """Of one side: seconds of CPU per pass, and what came out of the last one."""

    cpu_s: list[float] = field(default_factory=list)
    counts: Counts | None = None
    rss_mb: float = 0.0

    def per_s(self, events: int) -> tuple[float, ...]:
        """Events per second of each pass."""
        return tuple(events / each for each in self.cpu_s)


class Peer:
    """The other Python with the stream loaded, which answers one pass at a time."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._fills = folder / "fills.npy"

    def run(self, numbers: Any, clock: str, every_ms: float, samples: Samples) -> None:
        """One pass of the maker that a lane of ours has these numbers of."""
        self._ask(numbers, clock, every_ms, None, samples)

    def fills(self, numbers: Any, every_ms: float) -> tuple[Counts, list[tuple[int, int, int]]]:
        """What comes out of a pass, and each fill as `fills_of` has it, in order of time."""
        samples = Samples()
        self._ask(numbers, "feed", every_ms, str(self._fills), samples)
        assert samples.counts is not None
        fills = np.load(self._fills)
        fills = fills[np.argsort(fills[:, 0], kind="stable")]
        return samples.counts, [(ts_ns, side, price) for ts_ns, side, price in fills.tolist()]

    def _ask(self, numbers: Any, clock: str, every_ms: float, fills: str | None, samples: Samples) -> None:
        asked = {
            "clock": clock,
            "every_ns": int(every_ms * NS_PER_MS),
            "latency_ns": FEED_LATENCY_NS,
            "maker": peer_maker(numbers),
            "fills": fills,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise RuntimeError(f"hftbacktest: {answer['error']}")
        samples.cpu_s.append(answer["cpu_s"])
        samples.counts = Counts(*(answer[name] for name in Counts._fields))
        samples.rss_mb = answer["rss_mb"]


def peer_maker(numbers: Any) -> dict[str, float]:
    """The same maker in the peer's words, from the very numbers that the compiled loop has."""
    quote, size = numbers.maker.quote, numbers.maker.size
    return {
        "spread_frac": quote.base_frac,
        "skew_factor": quote.skew_factor,
        "target": quote.target,
        "neutral_lots": size.neutral_base_atoms // size.base_atoms_per_lot,
        "cap_atoms": size.cap_atoms,
        "atoms_per_tick_lot": size.quote_atoms_per_tick_lot,
    }


@contextmanager
def peer_on(stream: Stream) -> Iterator[Peer]:
    """hftbacktest with this stream loaded. Raises `Skipped` when no Python has it."""
    python = os.environ.get(PEER_PYTHON)
    if not python:
        raise Skipped(f"{PEER_PYTHON} does not name a Python that has hftbacktest")
    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as folder:
        path = Path(folder) / "stream.npz"
        np.savez(path, **stream._asdict())
        command = [python, str(Path(__file__).with_name("peer_hftbacktest.py")), str(path)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
            yield Peer(process, Path(folder))


# --- the same fills -------------------------------------------------------------------------------------------------------------


class Agreement(NamedTuple):
    """Two runs of one maker, one each: what came out, and how many fills only one of them has."""

    ours: Counts
    theirs: Counts
    only_ours: int
    only_theirs: int

    @property
    def differing_frac(self) -> float:
        """Fills that only one has, of all that both have."""
        return (self.only_ours + self.only_theirs) / max(1, self.ours.fills + self.theirs.fills)


def agreement(market: PreparedMarket, peer: Peer, requote_ms: float, *, trades_come_first: bool) -> Agreement:
    """Run the maker once on each side and compare every fill: time at the venue, side and price."""
    lane = lane_of(market, requote_ms, trades_come_first=trades_come_first)
    lane.advance()
    theirs, their_fills = peer.fills(lane.numbers, requote_ms)
    our_fills = fills_of(lane)
    return Agreement(counts_of(lane), theirs, len(set(our_fills) - set(their_fills)), len(set(their_fills) - set(our_fills)))


# --- processes ----------------------------------------------------------------------------------------------------------------

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


# --- speed ----------------------------------------------------------------------------------------------------------------------


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
            told.append(Figure(f"l2: {name}, peak memory", (each.rss_mb,), "MB", note="peer: of all its passes until then"))
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
        bar = Bar(100 * EXPECTED_DIFFERENCE) if "agree" in name else None
        note = f"ours {found.ours}; hftbacktest {found.theirs}"
        told.append(Figure(f"l2: fills of one side only, {name}", (100 * found.differing_frac,), "%", bar, note))
    return told


def ten_times(market: PreparedMarket) -> list[Figure]:
    """What ten times the events cost, and what it costs to make a market ready."""
    columns = columns_of(l2_stream(MANY_ROWS), FEED_LATENCY_NS)
    began_s = time.process_time()
    much = prepare_market(columns, coin())
    prepared_s = time.process_time() - began_s
    one, ten = Samples(), Samples()
    for _ in range(3):
        timed(lane_of(market, SELDOM_MS), one)
        timed(lane_of(much, SELDOM_MS), ten)
    return [
        Figure("l2: making a market ready", (MANY_ROWS / prepared_s,), "events/s", note="once per recording"),
        ratio("l2: 10 M events ÷ 1 M events", ten.cpu_s, one.cpu_s, bar=Bar(TEN_TIMES_AT_MOST), note="9 to 11 is linear"),
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
    told += [*ten_times(market), *processes(columns)]
    try:
        told += recorded(options)
    except Skipped as why:
        print(f"l2: recorded session skipped, {why}")
    return told
