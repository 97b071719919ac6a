"""Two backtests beside each other: every figure, every setting that differs, and whether the difference is more than noise.

"Better" is not read off the totals. The returns of both runs over the same periods are paired, and the mean of their
differences gets a 95 % interval from a stationary bootstrap (Politis and Romano 1994), which keeps runs of periods together
because returns are not independent. Only where that interval leaves out 0 does the verdict name a winner. The draws are seeded:
the same two results give the same verdict. What is not told apart here may be with more data; what is, may still be luck if it
was chosen among many.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from autohedge.backtest.definitions import DEFINITIONS
from autohedge.backtest.metrics import Metrics
from autohedge.backtest.result import F64, BacktestResult
from autohedge.backtest.returns import PERIODS_NS, PeriodicReturns, period_of, periodic_returns
from autohedge.storage.encoding import to_json

DRAWS = 4_000
PERIODS_NEEDED = 10
SEED = 20_240_601
_AT_ONCE = 2_000_000


class Side(NamedTuple):
    """One of the two: how it is called, the result and its figures."""

    name: str
    result: BacktestResult
    metrics: Metrics


class FigurePair(NamedTuple):
    """One figure of both; the difference is B − A, None where one is undefined or the figure is no number."""

    name: str
    a: Any
    b: Any
    difference: Decimal | float | None


class SettingPair(NamedTuple):
    """One setting that differs, by its dotted name; "(none)" where one of the two does not have it."""

    name: str
    a: str
    b: str


class PairedTest(NamedTuple):
    """The mean of B's minus A's returns per period (a fraction), with its 95 % interval."""

    period: str
    periods: int
    mean_difference_frac: float
    low_frac: float
    high_frac: float

    @property
    def apart(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low_frac > 0.0 or self.high_frac < 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What `compare` found; `paired` is None where the two have too little time in common, and `verdict` says so."""

    a: str
    b: str
    figures: tuple[FigurePair, ...]
    settings: tuple[SettingPair, ...]
    paired: PairedTest | None
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; decimals as strings."""

        def plain(value: Any) -> Any:
            return format(value, "f") if isinstance(value, Decimal) else value

        return {
            "a": self.a,
            "b": self.b,
            "figures": [{name: plain(value) for name, value in each._asdict().items()} for each in self.figures],
            "settings": [each._asdict() for each in self.settings],
            "paired": None if self.paired is None else self.paired._asdict() | {"apart": self.paired.apart},
            "verdict": self.verdict,
        }


def compare(a: Side, b: Side, *, seed: int = SEED) -> Comparison:
    """Figures, settings and returns of two results; the draws of the bootstrap come from `seed`."""
    one, two = a.metrics.flat(), b.metrics.flat()
    figures = tuple(FigurePair(name, one[name], two[name], _difference(name, one[name], two[name])) for name in DEFINITIONS)
    paired, problem = _paired(a.result, b.result, seed)
    return Comparison(
        a=a.name,
        b=b.name,
        figures=figures,
        settings=setting_differences(a.result, b.result),
        paired=paired,
        verdict=_verdict(a, b, paired, problem),
    )


def setting_differences(a: BacktestResult, b: BacktestResult) -> tuple[SettingPair, ...]:
    """Settings and data that differ, by dotted name; empty when both ran the same way on the same data."""
    one, two = _flat(_inputs(a)), _flat(_inputs(b))
    names = [*one, *(name for name in two if name not in one)]
    rows = (SettingPair(name, one.get(name, "(none)"), two.get(name, "(none)")) for name in names)
    return tuple(row for row in rows if row.a != row.b)


def _inputs(result: BacktestResult) -> dict[str, Any]:
    times = {"start": str(np.datetime64(result.start_ns, "ns")), "end": str(np.datetime64(result.end_ns, "ns"))}
    what = {"symbol": result.symbol, "engine": result.engine, "strategy": result.strategy}
    return what | times | {"data": result.data, "settings": result.settings}


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {name: text for key, entry in value.items() for name, text in _flat(entry, f"{prefix}.{key}").items()}
    return {prefix.removeprefix("."): value if isinstance(value, str) else to_json(value)}


def _difference(name: str, a: Any, b: Any) -> Decimal | float | None:
    if a is None or b is None or DEFINITIONS[name].unit in ("text", "ns"):
        return None
    difference: Decimal | float = b - a
    return difference


# --- more than noise? --------------------------------------------------------------------------------------------------------


def _paired(a: BacktestResult, b: BacktestResult, seed: int) -> tuple[PairedTest | None, str]:
    """The paired test over the time that both cover, on the coarser of their two grids; or why there is none."""
    start_ns, end_ns = max(a.start_ns, b.start_ns), min(a.end_ns, b.end_ns)
    names = list(PERIODS_NS)
    grids = [period_of(a), period_of(b)]
    if end_ns <= start_ns:
        return None, "the two cover no time in common"
    if "" in grids:
        return None, "one of the curves has a row less often than once a day"
    period = names[max(names.index(grid) for grid in grids)]
    one, two = (periodic_returns(each, period=period, start_ns=start_ns, end_ns=end_ns) for each in (a, b))
    problem = one.problem or two.problem
    if problem:
        return None, problem
    differences = _aligned(one, two)
    if differences.size < PERIODS_NEEDED:
        return None, f"{PERIODS_NEEDED} periods in common are needed and there are {differences.size} ({period}s)"
    low, high = mean_interval(differences, seed)
    return PairedTest(period, differences.size, float(differences.mean()), low, high), ""


def _aligned(a: PeriodicReturns, b: PeriodicReturns) -> F64:
    _, at_a, at_b = np.intersect1d(a.ts_ns, b.ts_ns, assume_unique=True, return_indices=True)
    return np.asarray(b.values[at_b] - a.values[at_a], dtype=np.float64)


def mean_interval(values: F64, seed: int) -> tuple[float, float]:
    """A 95 % percentile interval of the mean by stationary bootstrap, blocks of n^⅓ on average; `values` in order of time."""
    n = values.size
    draws = np.random.default_rng(seed)
    restart = 1.0 / max(1.0, round(n ** (1 / 3)))
    means: list[F64] = []
    left = DRAWS
    while left:
        rows = min(left, max(1, _AT_ONCE // n))
        begins = draws.random((rows, n)) < restart
        begins[:, 0] = True
        at = np.arange(n)
        began = np.maximum.accumulate(np.where(begins, at, 0), axis=1)
        origin = np.take_along_axis(draws.integers(0, n, (rows, n)), began, axis=1)
        means.append(values[(origin + at - began) % n].mean(axis=1))
        left -= rows
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _verdict(a: Side, b: Side, paired: PairedTest | None, problem: str) -> str:
    caution = "" if a.result.data == b.result.data else " The two ran on different data."
    if paired is None:
        return f"Not compared: {problem}.{caution}"
    low, mean, high = (frac * 10_000 for frac in (paired.low_frac, paired.mean_difference_frac, paired.high_frac))
    interval = f"95 % interval {low:+.4g} to {high:+.4g} bps, {paired.periods} {paired.period}s"
    size = f"{b.name} − {a.name} is {mean:+.4g} bps per {paired.period} ({interval})"
    if paired.low_frac == paired.high_frac == 0.0:
        return f"The returns of {a.name} and {b.name} are the same in every {paired.period}.{caution}"
    if not paired.apart:
        return f"Not told apart from noise: {size}.{caution}"
    better, worse = (b.name, a.name) if paired.mean_difference_frac > 0 else (a.name, b.name)
    return f"{better} earned more than {worse}: {size}.{caution}"
