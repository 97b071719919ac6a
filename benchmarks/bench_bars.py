"""Backtests on bars beside vectorbt and backtesting.py: EMA cross (20, 100), one unit, 5 bp, on the same bars by the same rule.

Bars per second of CPU time. AUTOHEDGE_PEERS_PYTHON names a Python that has the peers; each pass of theirs is taken right after
ours. Without it only our own figures are told. A run of ours is complete: fills, equity and drawdown at each close, totals.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.bar_engine import run_bars
from autohedge.backtest.bars import Bars
from autohedge.backtest.ema_cross import ema_cross, ema_cross_grid
from autohedge.backtest.strategies import DualMovingAverage, DualMovingAverageParameters
from autohedge.domain.instrument import Instrument
from benchmarks.figures import Bar, Figure, Options, ratio

PEERS_PYTHON = "AUTOHEDGE_PEERS_PYTHON"
ROUNDS = 5
BARS = 1_000_000
CALLED_BARS = 200_000
"""For backtesting.py, which needs seconds for them."""
GRID_BARS = 100_000
SPANS = (20, 100)
PAIRS = [(fast, slow) for fast in range(5, 55, 5) for slow in range(60, 160, 10)]
MINUTE_NS = 60_000_000_000
EXPECTED_BARS_PER_S = 50e6
EXPECTED_CALLED_BARS_PER_S = 1e6
EXPECTED_PAIR_BARS_PER_S = 300e6
EXPECTED_GRID_MB = 300
EXPECTED_START_S = 1.0

AS_THE_PEERS = Assumptions.of(
    initial_capital=1_000_000,
    commission_frac="0.0005",
    slippage_model="none",
    api_failure_frac=0,
    participation_frac=None,
    fill_at="close",
)
ONE_UNIT = DualMovingAverageParameters(fast=SPANS[0], slow=SPANS[1], size=Decimal(1), warm_up_bars=0)

FIRST_BACKTEST = """
import numpy as np
from benchmarks.bench_bars import AS_THE_PEERS, ONE_UNIT, a_market, bars_of
from autohedge.backtest.ema_cross import ema_cross
print(ema_cross(bars_of(a_market(1_000)), ONE_UNIT, AS_THE_PEERS).result().final_equity)
"""
A_GRID = """
from pathlib import Path
from benchmarks.bench_bars import AS_THE_PEERS, GRID_BARS, ONE_UNIT, PAIRS, a_market, bars_of
from autohedge.backtest.ema_cross import ema_cross_grid
ema_cross_grid(bars_of(a_market(GRID_BARS)), PAIRS, AS_THE_PEERS, size=ONE_UNIT.size, warm_up_bars=0)
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


@dataclass(slots=True)
class Samples:
    """Of one side: bars per second, and what came out of the last pass."""

    bars_per_s: list[float] = field(default_factory=list)
    gain: float = 0.0
    trades: int = 0
    rss_mb: float = 0.0


def a_market(count: int) -> dict[str, Any]:
    """Columns of a seeded random walk around 100, in steps of 0.0001."""
    chance = np.random.default_rng(20_100)
    steps = chance.normal(0, 0.0004, count)
    close = np.round(100 * np.exp(np.cumsum(steps - steps.mean())), 4)
    opened = np.concatenate(([100.0], close[:-1]))
    beyond = close * np.abs(chance.normal(0, 0.0002, count))
    high, low = np.round(np.maximum(opened, close) + beyond, 4), np.round(np.minimum(opened, close) - beyond, 4)
    volume = np.round(1 + chance.exponential(10, count), 3)
    return {"open": opened, "high": high, "low": low, "close": close, "volume": volume}


def bars_of(market: dict[str, Any]) -> Bars:
    """The market as minute bars."""
    rules = Instrument(
        symbol="WALK/USD",
        base="WALK",
        quote="USD",
        tick_size=Decimal("0.0001"),
        lot_size=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1_000_000),
        min_notional=Decimal(0),
        max_notional=None,
        venue="simulated",
        rules_as_of="simulated",
    )
    count = len(market["close"])
    ts_ns = 1_640_995_200_000_000_000 + MINUTE_NS * np.arange(count)
    return Bars.from_prices(rules, MINUTE_NS, ts_ns=ts_ns, **market, source="random walk")


class Peers:
    """The other Python, which answers one pass at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, peer: str, bars: int, pairs: Sequence[tuple[int, int]], samples: Samples) -> None:
        """One pass."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"peer": peer, "bars": bars, "pairs": pairs}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise RuntimeError(f"{peer}: {answer['error']}")
        samples.bars_per_s.append(bars * len(pairs) / answer["cpu_s"])
        samples.gain, samples.trades, samples.rss_mb = answer["gain"], answer["trades"], answer["rss_mb"]


@contextmanager
def peers_on(market: dict[str, Any]) -> Iterator[Peers | None]:
    """The peers with this market loaded; None when no Python has them."""
    python = os.environ.get(PEERS_PYTHON)
    if not python:
        print(f"bars: vectorbt and backtesting.py skipped, {PEERS_PYTHON} does not name a Python that has them")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as folder:
        np.savez(Path(folder) / "bars.npz", **market)
        command = [python, str(Path(__file__).with_name("peers_bars.py")), str(Path(folder) / "bars.npz")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield Peers(process)


def ours(work: Callable[[], tuple[float, int]], bars: int, samples: Samples) -> None:
    """One pass of ours."""
    began_s = time.process_time()
    samples.gain, samples.trades = work()
    samples.bars_per_s.append(bars / (time.process_time() - began_s))


def compiled(bars: Bars) -> tuple[float, int]:
    """One pair with its whole result: return and round trips."""
    run = ema_cross(bars, ONE_UNIT, AS_THE_PEERS)
    result = run.result()
    return float(result.final_equity / result.initial_equity) - 1, run.round_trips


def called(bars: Bars) -> tuple[float, int]:
    """A strategy called on every bar."""
    result = run_bars(DualMovingAverage(**ONE_UNIT.model_dump()), bars, AS_THE_PEERS)
    return float(result.final_equity / result.initial_equity) - 1, int((result.fills.side < 0).sum())


def grid(bars: Bars) -> tuple[float, int]:
    """A hundred pairs; return and round trips of the first."""
    found = ema_cross_grid(bars, PAIRS, AS_THE_PEERS, size=ONE_UNIT.size, warm_up_bars=0)
    return float(found.total_return_frac[0]), int(found.round_trips[0])


def fresh_process(code: str) -> tuple[float, str]:
    """CPU seconds of a new Python from start to end, and what it printed; bytecode is kept as an installed package has it."""
    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as folder:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        took_s, told = 0.0, ""
        for _ in range(2):  # the first one fills the caches
            began_s = _children_s()
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
            took_s, told = _children_s() - began_s, done.stdout
        return took_s, told


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(_options: Options) -> list[Figure]:
    """All of them, ours and theirs in turn."""
    market = a_market(BARS)
    whole, part, small = bars_of(market), bars_of(a_market(CALLED_BARS)), bars_of(a_market(GRID_BARS))
    names = ("compiled", "called", "grid", "vectorbt-rust", "vectorbt-numba", "backtesting", "vectorbt-rust grid")
    samples = {name: Samples() for name in names}
    for work in (lambda: compiled(whole), lambda: grid(small)):  # compiles, or loads what was compiled
        work()
    with peers_on(market) as peers:
        if peers is not None:
            for engine in ("vectorbt-rust", "vectorbt-numba"):
                peers.run(engine, BARS, [SPANS], Samples())
        for _ in range(ROUNDS):
            ours(lambda: compiled(whole), BARS, samples["compiled"])
            ours(lambda: called(whole), BARS, samples["called"])
            ours(lambda: grid(small), GRID_BARS * len(PAIRS), samples["grid"])
            if peers is not None:
                peers.run("vectorbt-rust", BARS, [SPANS], samples["vectorbt-rust"])
                peers.run("vectorbt-numba", BARS, [SPANS], samples["vectorbt-numba"])
                peers.run("backtesting", CALLED_BARS, [SPANS], samples["backtesting"])
                peers.run("vectorbt-rust", GRID_BARS, PAIRS, samples["vectorbt-rust grid"])
    starts = tuple(fresh_process(FIRST_BACKTEST)[0] for _ in range(3))
    grid_mb = float(fresh_process(A_GRID)[1])
    return [*_speeds(samples), *_beside(samples, called(part)), *_process(starts, grid_mb)]


def _speeds(samples: dict[str, Samples]) -> list[Figure]:
    expected = {
        "compiled": ("bars: EMA cross, 1 M bars, whole result", EXPECTED_BARS_PER_S),
        "called": ("bars: strategy called on every bar", EXPECTED_CALLED_BARS_PER_S),
        "grid": ("bars: grid of 100 pairs × 100 k bars", EXPECTED_PAIR_BARS_PER_S),
    }
    return [
        Figure(title, tuple(samples[name].bars_per_s), "bars/s", Bar(bar, at_least=True), note=_came_to(samples[name]))
        for name, (title, bar) in expected.items()
    ]


def _beside(samples: dict[str, Samples], our_part: tuple[float, int]) -> list[Figure]:
    """The peers, and how many times as fast ours is; nothing when there are none."""
    told: list[Figure] = []
    for peer, us in (
        ("vectorbt-rust", "compiled"),
        ("vectorbt-numba", "compiled"),
        ("backtesting", "called"),
        ("vectorbt-rust grid", "grid"),
    ):
        theirs = samples[peer]
        if theirs.bars_per_s:
            note = f"peer: {_came_to(theirs)}"
            if peer == "backtesting":
                note += f"; ours on these {CALLED_BARS:,} bars: {our_part[0]:.6f}, {our_part[1]} round trips"
            told.append(Figure(f"bars: {peer}", tuple(theirs.bars_per_s), "bars/s", note=note))
            told.append(ratio(f"bars: {us} ÷ {peer}", samples[us].bars_per_s, theirs.bars_per_s))
    if told:
        memory = (samples["vectorbt-rust grid"].rss_mb,)
        told.append(Figure("bars: peak memory of the peers' process", memory, "MB", note="peer: all of its passes"))
    return told


def _process(starts_s: tuple[float, ...], grid_mb: float) -> list[Figure]:
    return [
        Figure("bars: new process to first result, warm cache", starts_s, "s CPU", Bar(EXPECTED_START_S), "whole process"),
        Figure("bars: peak memory of the grid's process", (grid_mb,), "MB", Bar(EXPECTED_GRID_MB)),
    ]


def _came_to(samples: Samples) -> str:
    return f"return {samples.gain:.6f}, {samples.trades} round trips"
