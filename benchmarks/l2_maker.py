"""One maker on both sides: our compiled loop and hftbacktest, on the same stream and by the same rules.

What both must do alike: the price from mid, spread and inventory; one lot per order; an order at the wanted price keeps its
place; what would exceed the exposure cap is not placed; post-only orders; a look when a message comes, at most so often. Of
hftbacktest it is risk-averse queues, whole fills, and 1 ms each for the feed, an order and its answer; of ours the order alone
takes 2 ms, because our clock is that of receipt.

hftbacktest runs in a Python of its own (`peer_hftbacktest.py`), which AUTOHEDGE_PEER_HFTBACKTEST names.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from autohedge.backtest.l2_lane import CompiledLane
from autohedge.backtest.l2_layout import CANCELLING_, EVENT_LOG, FILL_LOG
from autohedge.backtest.l2_market import PreparedMarket
from autohedge.backtest.l2_run import neutral_for_ever
from autohedge.domain.mandate import Envelope
from autohedge.market_maker.config import MarketMakingConfig, QuotingModel
from autohedge.risk.limits import RiskLimits
from benchmarks.figures import Skipped
from benchmarks.l2_stream import Stream, coin

PEER_PYTHON = "AUTOHEDGE_PEER_HFTBACKTEST"
NS_PER_MS = 1_000_000
FEED_LATENCY_NS = 1_000_000
"""Of the feed, of an order on its way to the venue, and of the venue's answer: each the same."""
NEUTRAL_LOTS = 25
QUOTE = 100_000
"""More quote than the maker can spend."""

SELDOM_MS, ALWAYS_MS, ANSWERED_MS = 100, 0, 2
"""Looks at the quotes at most every 100 ms; at every message; and as often as the venue can have answered by then."""

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


# --- the peer ----------------------------------------------------------------------------------------------------------------


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
        try:
            print(json.dumps(asked), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
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


# --- the same fills ----------------------------------------------------------------------------------------------------------


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
