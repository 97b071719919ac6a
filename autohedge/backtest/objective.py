"""What a parameter search asks about the maker: one backtest on the compiled loop, scored by one metric.

The market is read and checked once and travels to other processes as arrays. By default a neutral mandate is held for ever, so
that a trial is the loop alone; with `mandates=desk` every trial asks the rule desk on its schedule. A model is never asked by a
search.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autohedge import __version__
from autohedge.backtest.l2_market import PreparedMarket
from autohedge.backtest.l2_run import Mandates, backtest, prepared_market
from autohedge.backtest.metrics import measure
from autohedge.backtest.result import BacktestResult
from autohedge.backtest.trials import Params, TrialOutcome
from autohedge.bootstrap import prepare
from autohedge.errors import ConfigError
from autohedge.settings import Settings, build_settings

NS_PER_S: Final = 1_000_000_000
RETURN_PERIODS_NS: Final = tuple(seconds * NS_PER_S for seconds in (1, 5, 10, 60, 300, 3_600, 86_400))
WANTED_PERIODS: Final = 400
"""The grid of returns is the coarsest that still has about so many periods."""
METRICS: Final = ("sharpe", "total_return", "sortino", "calmar", "spread_captured", "pnl_quote", "max_drawdown")


@dataclass(frozen=True)
class MakerObjective:
    """Backtests of one market; parameters are fields of the maker's configuration. Scores: higher is better."""

    settings: Settings
    market: PreparedMarket
    metric: str
    fingerprint: str
    mandates: Mandates = Mandates.FROZEN

    @property
    def identity(self) -> Mapping[str, object]:
        """Everything that decides the answers."""
        return {
            "settings": self.settings.canonical(),
            "market": self.fingerprint or "simulated",
            "metric": self.metric,
            "mandates": self.mandates.value,
            "engine": __version__,
        }

    @property
    def span_ns(self) -> tuple[int, int]:
        """The market time of the data, the end exclusive."""
        return self.market.start_ns, self.market.end_ns + 1

    def __call__(self, params: Params, start_ns: int | None = None, end_ns: int | None = None) -> TrialOutcome:
        """One backtest; from `start_ns` the book is built up first and the maker begins there."""
        settings = _with(self.settings, params)
        market = self.market.between(start_ns, end_ns)
        (result,) = asyncio.run(
            backtest(
                settings,
                mandates=self.mandates,
                allow_bad_data=True,  # it was checked when it was read
                environ={},
                markets={settings.symbols[0]: market},
            )
        )
        return _outcome(result, self.metric, *(start_ns or self.span_ns[0], end_ns or self.span_ns[1]))


def build_objective(
    settings: Settings, *, metric: str, names: Sequence[str], mandates: Mandates = Mandates.FROZEN
) -> MakerObjective:
    """The objective of a search over `names`; `ConfigError` for a metric or name that does not exist, or several symbols."""
    if metric not in METRICS:
        raise ConfigError(f"--metric expects one of {', '.join(METRICS)}, found {metric!r}")
    if len(settings.symbols) != 1:
        raise ConfigError(f"a search backtests one symbol, found {', '.join(settings.symbols)}; search them apart")
    if settings.model.name is not None:
        raise ConfigError("a search would ask the model in every trial; leave --model out")
    known = {*type(settings.maker).model_fields, "base_spread_bps"}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ConfigError(f"--param knows no {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    plan = prepare(settings, kind="backtest", environ={})
    market = asyncio.run(prepared_market(settings, plan.feeds[0]))
    return MakerObjective(settings, market, metric, plan.market_fingerprint, mandates)


def _with(settings: Settings, params: Params) -> Settings:
    """The settings with these fields of the maker."""
    return build_settings(settings.model_dump(), {"maker": dict(params)})


def _outcome(result: BacktestResult, metric: str, start_ns: int, end_ns: int) -> TrialOutcome:
    metrics = measure(result)
    period_ns = next(
        (each for each in reversed(RETURN_PERIODS_NS) if (end_ns - start_ns) // each >= WANTED_PERIODS), RETURN_PERIODS_NS[0]
    )
    returns = _returns(result, start_ns, end_ns, period_ns)
    figures: dict[str, Any] = {
        "pnl_quote": float(result.final_equity - result.initial_equity),
        "fees_quote": float(result.fees),
        "fills": float(result.counts["fills"]),
        "total_return": metrics.returns.total_frac,
        "sharpe": metrics.returns.sharpe,
        "max_drawdown": metrics.drawdown.max_frac,
    }
    score = _score(metric, result, metrics, figures)
    reason = "" if score is not None else f"{metric} is undefined: {metrics.undefined.get(_PATHS.get(metric, ''), 'no fills')}"
    return TrialOutcome(score=score, reason=reason, returns=returns, period_ns=period_ns, metrics=figures)


_PATHS: Final = {
    "sharpe": "returns.sharpe",
    "sortino": "returns.sortino",
    "calmar": "returns.calmar",
    "total_return": "returns.total_frac",
    "max_drawdown": "drawdown.max_frac",
    "spread_captured": "pnl.spread_captured_quote",
}


def _score(metric: str, result: BacktestResult, metrics: Any, figures: Mapping[str, Any]) -> float | None:
    if metric == "pnl_quote":
        return float(figures["pnl_quote"])
    value: Any = metrics
    for name in _PATHS[metric].split("."):
        value = getattr(value, name)
    if value is None:
        return None
    # a smaller drawdown is better
    return -float(value) if metric == "max_drawdown" else float(value)


def _returns(result: BacktestResult, start_ns: int, end_ns: int, period_ns: int) -> Any:
    """Returns of the account on a fixed grid of the data, the same for every trial; 0 before the first price."""
    grid = np.arange(start_ns // period_ns + 1, (end_ns - 1) // period_ns + 1, dtype=np.int64) * period_ns
    if len(grid) < 2:
        return np.empty(0)
    at = np.searchsorted(result.curve.ts_ns, grid, side="right") - 1
    equity = np.where(at >= 0, result.curve.equity_quote[np.maximum(at, 0)], float(result.initial_equity))
    return equity[1:] / equity[:-1] - 1.0
