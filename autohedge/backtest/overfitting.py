"""How much of the best trial of a search is luck: figures that stand next to the best, always, and what they mean in words.

- The *deflated Sharpe ratio*: the probability that the best trial's true Sharpe ratio is above what the luckiest of so many
  worthless trials would show. Bailey and López de Prado (2014), "The Deflated Sharpe Ratio".
- The *probability of backtest overfitting*: how often the best on one half of the time was in the worse half on the other, over
  all ways to halve it. Bailey, Borwein, López de Prado and Zhu (2015), "The Probability of Backtest Overfitting" (CSCV).
- The *minimum track record length*: how many periods it would take to tell the best from that luck. Bailey and López de
  Prado (2012), "The Sharpe Ratio Efficient Frontier".

Sharpe ratios are per period, of the returns as they are, without a risk-free rate. Where a figure cannot be computed it is None
and a reason is given. All of it takes the periods as independent of each other; where they are not, luck is underestimated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import combinations, islice
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autohedge.backtest.sharpe import probabilistic_sharpe_ratio
from autohedge.errors import ConfigError

F64 = NDArray[np.float64]

EULER_GAMMA = 0.5772156649015329
CONFIDENCE = 0.95
MIN_TRIALS = 5
"""Fewer say nothing about how trials differ by chance."""
MIN_PERIODS = 30
"""Fewer are too few for the normal approximation of a Sharpe ratio."""
MAX_BLOCKS = 16
MIN_BLOCKS = 4
MIN_BLOCK_PERIODS = 5
MAX_CELLS = 4_000_000
"""Splits × trials that are ranked at most; more trials are split into fewer blocks."""
_CHUNK_CELLS = 1_000_000


# ---------------------------------------------------------------- the figures


def expected_maximum_sharpe(trials: float, sharpe_variance: float) -> float:
    """The Sharpe ratio per period to be expected of the best of `trials` independent ones whose true ratio is 0.

    √V·((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))) with the variance V of the ratios found: Bailey and López de Prado
    (2014). 0 for a single trial, and where the approximation would be below that (N under about 1.3).
    """
    if trials < 1 or sharpe_variance < 0 or not math.isfinite(trials) or not math.isfinite(sharpe_variance):
        raise ConfigError(f"expected at least 1 trial and a variance of at least 0, found {trials} and {sharpe_variance}")
    if trials == 1:
        return 0.0
    quantile = NormalDist().inv_cdf
    standard = (1.0 - EULER_GAMMA) * quantile(1.0 - 1.0 / trials) + EULER_GAMMA * quantile(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(sharpe_variance) * max(standard, 0.0)


def deflated_sharpe_ratio(
    sharpe_per_period: float, periods: int, skewness: float, kurtosis: float, *, trials: float, sharpe_variance: float
) -> float:
    """The probability (0 to 1) that the true Sharpe ratio is above `expected_maximum_sharpe`; from 0.95 called significant.

    Bailey and López de Prado (2014): the probabilistic Sharpe ratio against that benchmark. `trials` is the number
    of independent ones, `sharpe_variance` that of the per-period ratios of all trials. Raises `ConfigError` out of its domain.
    """
    benchmark = expected_maximum_sharpe(trials, sharpe_variance)
    return probabilistic_sharpe_ratio(sharpe_per_period, periods, skewness, kurtosis, benchmark)


def effective_trials(trials: int, mean_correlation: float) -> float:
    """How many independent trials so many correlated ones are worth: ρ̄ + (1 − ρ̄)·N, with ρ̄ held within 0 and 1.

    Bailey and López de Prado (2014), on the number of independent trials; ρ̄ is the mean correlation of two trials' returns.
    """
    correlation = min(max(mean_correlation, 0.0), 1.0)
    return correlation + (1.0 - correlation) * trials


def minimum_track_record_length(
    sharpe_per_period: float,
    skewness: float,
    kurtosis: float,
    benchmark_per_period: float = 0.0,
    confidence: float = CONFIDENCE,
) -> float | None:
    """Periods needed for the Sharpe ratio to be above the benchmark at `confidence`; None if it is not above it at all.

    1 + (1 − γ₃·SR + (γ₄ − 1)/4·SR²)·(Φ⁻¹(confidence) ÷ (SR − SR*))²: Bailey and López de Prado (2012).
    """
    if not 0.5 < confidence < 1.0:
        raise ConfigError(f"expected a confidence above 0.5 and below 1, found {confidence}")
    if sharpe_per_period <= benchmark_per_period:
        return None
    spread = 1.0 - skewness * sharpe_per_period + (kurtosis - 1.0) / 4.0 * sharpe_per_period**2
    distance = sharpe_per_period - benchmark_per_period
    return 1.0 + max(spread, 0.0) * (NormalDist().inv_cdf(confidence) / distance) ** 2


@dataclass(frozen=True, slots=True)
class Cscv:
    """Combinatorially symmetric cross-validation: what became of the best of one half of the time on the other half.

    `pbo` is the share of `splits` in which it was at or below the median there; `loss_frac` the share in which it lost there.
    The two Sharpe ratios per period are the medians over the splits, of the best where it was chosen and where it was not.
    """

    pbo: float
    splits: int
    blocks: int
    loss_frac: float
    sharpe_chosen: float
    sharpe_after: float


def probability_of_backtest_overfitting(returns: F64, blocks: int = MAX_BLOCKS) -> Cscv:
    """CSCV over `returns` with a row per period and a column per trial, split into an even number of equal `blocks`.

    Bailey et al. (2015): every choice of half the blocks, in order of time, is one split; performance is the Sharpe
    ratio (0 where nothing moved); ties get their mean rank; a logit of 0 counts as overfit. The oldest periods that do not fill
    a block are left out. Raises `ConfigError` for fewer than 2 trials, blocks that are odd or out of 4 … 16, fewer than 2
    periods per block, or numbers that are not finite.
    """
    periods, trials = returns.shape
    if trials < 2 or blocks % 2 or not MIN_BLOCKS <= blocks <= MAX_BLOCKS or periods < 2 * blocks:
        raise ConfigError(
            f"expected 2 trials or more, an even {MIN_BLOCKS} to {MAX_BLOCKS} blocks and 2 periods or more in each, "
            f"found {trials} trials, {blocks} blocks, {periods} periods"
        )
    if not np.isfinite(returns).all():
        raise ConfigError("expected finite returns, found some that are not")
    moments = [_block_moments(np.ascontiguousarray(column), blocks) for column in returns.T]
    means, squares = (np.array(part) for part in zip(*moments, strict=True))
    return _cscv(means, squares, periods // blocks)


# ---------------------------------------------------------------- the computation


def _block_moments(returns: F64, blocks: int) -> tuple[F64, F64]:
    """Per block: the mean, and the sum of squared distances from it."""
    size = returns.size // blocks
    parts = returns[returns.size - size * blocks :].reshape(blocks, size)
    means = parts.mean(axis=1)
    return means, ((parts - means[:, None]) ** 2).sum(axis=1)


def _cscv(means: F64, squares: F64, block_periods: int) -> Cscv:
    """Of the moments of each trial (row) in each block (column), all blocks of the same length."""
    trials, blocks = means.shape
    overall = means.mean(axis=1)
    apart = means - overall[:, None]
    halves = blocks // 2
    per_chunk = max(1, _CHUNK_CELLS // trials)
    chosen, after, ranks = [], [], []
    splits = combinations(range(blocks), halves)
    while chunk := list(islice(splits, per_chunk)):
        picks = np.zeros((len(chunk), blocks))
        np.put_along_axis(picks, np.array(chunk), 1.0, axis=1)
        inside = _sharpes(picks, overall, apart, squares, block_periods)
        outside = _sharpes(1.0 - picks, overall, apart, squares, block_periods)
        best = inside.argmax(axis=1)[:, None]
        there = np.take_along_axis(outside, best, axis=1)
        chosen.append(np.take_along_axis(inside, best, axis=1)[:, 0])
        after.append(there[:, 0])
        ranks.append(((outside < there).sum(axis=1) + (outside <= there).sum(axis=1) + 1) / 2.0)
    rank, sharpe_after = np.concatenate(ranks), np.concatenate(after)
    return Cscv(
        pbo=float((rank <= (trials + 1) / 2.0).mean()),  # rank ÷ (N + 1) ≤ ½: a logit of 0 or less
        splits=rank.size,
        blocks=blocks,
        loss_frac=float((sharpe_after < 0.0).mean()),
        sharpe_chosen=float(np.median(np.concatenate(chosen))),
        sharpe_after=float(np.median(sharpe_after)),
    )


def _sharpes(picks: F64, overall: F64, apart: F64, squares: F64, block_periods: int) -> F64:
    """The Sharpe ratio of each trial (column) on the blocks of each split (row)."""
    halves = picks.shape[1] // 2
    off = picks @ apart.T / halves
    spread = picks @ squares.T + block_periods * (picks @ (apart**2).T - halves * off**2)
    deviation = np.sqrt(np.maximum(spread, 0.0) / (halves * block_periods - 1))
    mean = overall + off
    still = deviation <= 1e-12 * np.abs(mean)
    steady: F64 = np.where(mean == 0.0, 0.0, np.copysign(np.inf, mean))
    return np.where(still, steady, mean / np.where(still, 1.0, deviation))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """What a search's best trial is worth after so many tries. A figure that is None has its reason beside it."""

    trials: int
    periods: int
    effective_trials: float | None = None
    sharpe_per_period: float | None = None
    luck_sharpe_per_period: float | None = None
    deflated_sharpe_ratio: float | None = None
    deflated_sharpe_reason: str = ""
    min_track_record_periods: float | None = None
    cscv: Cscv | None = None
    cscv_reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data; a figure that is infinite becomes None."""
        plain = asdict(self)
        if self.cscv is not None:
            plain["cscv"] = {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in asdict(self.cscv).items()
            }
        return plain

    def sentences(self) -> tuple[str, ...]:
        """What it means, in words."""
        return (self._about_luck(), self._about_choosing())

    def _about_luck(self) -> str:
        ratio = self.deflated_sharpe_ratio
        if ratio is None:
            return f"Deflated Sharpe ratio: not known, {self.deflated_sharpe_reason}."
        told = (
            f"Deflated Sharpe ratio {ratio:.3f}: the best of {self.trials:,} trials has a Sharpe ratio of "
            f"{self.sharpe_per_period:.4f} per period over {self.periods:,}; the luckiest of {self.effective_trials:,.1f} "
            f"independent worthless ones would show {self.luck_sharpe_per_period:.4f}."
        )
        if ratio >= CONFIDENCE:
            return f"{told} Luck alone is an unlikely explanation."
        if self.min_track_record_periods is None:
            return f"{told} Luck alone explains it."
        return f"{told} It can be luck: {math.ceil(self.min_track_record_periods):,} such periods would be needed to tell."

    def _about_choosing(self) -> str:
        found = self.cscv
        if found is None:
            return f"Probability of overfitting: not known, {self.cscv_reason}."
        told = (
            f"Probability of overfitting {found.pbo:.2f}: in {found.pbo:.0%} of {found.splits:,} ways to halve the time, the "
            f"best of one half was no better than the median on the other, and in {found.loss_frac:.0%} it lost there."
        )
        if found.pbo < 0.1:
            return f"{told} Choosing by this table has held up."
        if found.pbo < 0.4:
            return f"{told} Choosing by this table helps, and not always."
        return f"{told} Choosing by this table is little or no better than drawing lots."


def measure(returns: Iterable[F64], *, count: int, best: F64) -> Overfitting:
    """The figures for the best trial, from the returns of all `count` trials with a score (`best` among them).

    Goes through `returns` once and keeps little of each, so they may come from a file. None of it raises for want of data: what
    cannot be computed says why.
    """
    fault = _fault(count, best)
    if fault:
        return Overfitting(trials=count, periods=best.size, deflated_sharpe_reason=fault, cscv_reason=fault)
    blocks = _block_count(best.size, count)
    sharpes: list[float] = []
    together = np.zeros(best.size)
    moments: list[tuple[F64, F64]] = []
    for each in returns:
        if each.size != best.size or not np.isfinite(each).all():
            fault = "the trials have returns of different length, or some that are not finite"
            return Overfitting(trials=count, periods=best.size, deflated_sharpe_reason=fault, cscv_reason=fault)
        moved = each.std()
        if moved > 0.0:
            sharpes.append(_sharpe(each))
            together += (each - each.mean()) / moved
        if blocks:
            moments.append(_block_moments(each, blocks))
    cscv = None
    why = f"{best.size} periods are too few to halve in many ways ({MIN_BLOCKS * MIN_BLOCK_PERIODS} are needed)"
    if blocks and not sharpes:
        why = "the returns of no trial ever change"
    elif blocks:
        means, squares = (np.array(part) for part in zip(*moments, strict=True))
        cscv = _cscv(means, squares, best.size // blocks)
    known = Overfitting(trials=count, periods=best.size, cscv=cscv, cscv_reason="" if cscv else why)
    return _with_luck(known, best, sharpes, together)


def _fault(count: int, best: F64) -> str:
    """Why nothing at all can be said; empty where something can."""
    if best.size == 0:
        return "the objective gives no returns per period"
    if count < MIN_TRIALS:
        return f"{count} trials with a score are too few ({MIN_TRIALS} are needed)"
    if not np.isfinite(best).all():
        return "the best trial has returns that are not finite"
    return ""


def _block_count(periods: int, trials: int) -> int:
    """The most blocks that data and patience allow; 0 for none."""
    for blocks in range(MAX_BLOCKS, MIN_BLOCKS - 1, -2):
        if periods >= blocks * MIN_BLOCK_PERIODS and math.comb(blocks, blocks // 2) * trials <= MAX_CELLS:
            return blocks
    return MIN_BLOCKS if periods >= MIN_BLOCKS * MIN_BLOCK_PERIODS else 0


def _with_luck(known: Overfitting, best: F64, sharpes: list[float], together: F64) -> Overfitting:
    moving = len(sharpes)
    if best.size < MIN_PERIODS:
        return replace(known, deflated_sharpe_reason=f"{best.size} periods are too few ({MIN_PERIODS} are needed)")
    if not best.std() > 0.0:
        return replace(known, deflated_sharpe_reason="the best trial's returns never change")
    if moving < MIN_TRIALS:
        reason = f"the returns of only {moving} trials ever change ({MIN_TRIALS} are needed)"
        return replace(known, deflated_sharpe_reason=reason)
    correlation = (float(together @ together) / best.size - moving) / (moving * (moving - 1))
    independent = effective_trials(moving, correlation)
    variance = float(np.var(sharpes, ddof=1))
    luck = expected_maximum_sharpe(independent, variance)
    sharpe, (skewness, kurtosis) = _sharpe(best), _shape(best)
    return replace(
        known,
        effective_trials=independent,
        sharpe_per_period=sharpe,
        luck_sharpe_per_period=luck,
        deflated_sharpe_ratio=probabilistic_sharpe_ratio(sharpe, best.size, skewness, kurtosis, luck),
        min_track_record_periods=minimum_track_record_length(sharpe, skewness, kurtosis, luck),
    )


def _sharpe(returns: F64) -> float:
    """Mean ÷ standard deviation (n − 1) of returns that change."""
    return float(returns.mean() / returns.std(ddof=1))


def _shape(returns: F64) -> tuple[float, float]:
    """Skewness and (plain) kurtosis."""
    standard = (returns - returns.mean()) / returns.std()
    return float((standard**3).mean()), float((standard**4).mean())
