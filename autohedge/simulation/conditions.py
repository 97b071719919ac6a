"""What orders meet at a simulated venue besides the market: the queue, the way there, lost requests and halts.

One value for both drivers of the matching core, so that a paper venue and a compiled backtest of the same settings meet the
same chance. A lost request is answered by a failure when it would have arrived: an order is then not at the venue, a cancel
leaves its order there. In a halt the venue takes only cancels and matches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from autohedge.domain.paper import PaperSettings
from autohedge.simulation.chance import API_FAILURE, ORDER_LATENCY, draw, stream_key
from autohedge.simulation.latency import Latency, LatencyModel, read_latencies
from autohedge.simulation.queueing import QueueModel

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Conditions:
    """The way of commands, the queue model with its exponent, the share of lost requests, and halts [from, to) in ns."""

    latency: Latency
    queue: QueueModel = QueueModel.BEHIND_ALL
    queue_power: float = 1.0
    failure_frac: float = 0.0
    failure_key: int = 0
    halts_ns: tuple[tuple[int, int], ...] = ()

    @classmethod
    def constant(cls, latency_ns: int, queue: QueueModel = QueueModel.BEHIND_ALL) -> Conditions:
        """A constant latency, and nothing ever fails. `ConfigError` for one that is not above zero."""
        return cls(Latency.constant(latency_ns), queue)

    @classmethod
    def of(cls, paper: PaperSettings, *, latency_ms: float, seed: int, symbol: str) -> Conditions:
        """As settings say; each symbol has its own chance. `ConfigError` when a file of latencies cannot be read."""
        own_seed = stream_key(seed, crc32(symbol.encode()))
        return cls(
            latency=_latency(paper, latency_ms, stream_key(own_seed, ORDER_LATENCY)),
            queue=QueueModel(paper.queue_model),
            queue_power=paper.queue_power,
            failure_frac=paper.api_failure_frac,
            failure_key=stream_key(own_seed, API_FAILURE),
            halts_ns=paper.halts_ns,
        )


def request_fails(failure_frac: float, failure_key: int, request: int) -> bool:
    """Whether the request of this number is lost (those of a run are numbered from 0, orders and cancels together)."""
    return failure_frac > 0.0 and draw(failure_key, request) < failure_frac


def _latency(paper: PaperSettings, latency_ms: float, key: int) -> Latency:
    least_ns = int(latency_ms * NS_PER_MS) + int(paper.feed_latency_ms * NS_PER_MS)
    model = LatencyModel(paper.latency_model)
    if model is LatencyModel.CONSTANT:
        return Latency.constant(least_ns)
    if model is LatencyModel.FEED:
        return Latency.as_the_feed(least_ns)
    if model is LatencyModel.RECORDED:
        return Latency.recorded(least_ns, *read_latencies(Path(paper.latency_file)))
    return Latency.drawn(model, least_ns, paper.latency_mean_ms * NS_PER_MS, paper.latency_sigma, key)
