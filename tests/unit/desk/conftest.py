"""What the tests of the desk share: views, answers that pass every check, and desks over scripted models."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from autohedge.desk.desk import LangGraphDesk
from autohedge.domain.ids import CycleId
from autohedge.domain.records import CycleRequest
from autohedge.domain.view import BookStatistics, MarketView, TradeStatistics
from autohedge.llm.catalog import AgentCatalog, load_catalog
from autohedge.llm.ladder import Ladder, RetryPolicy
from autohedge.ports import ModelClient
from autohedge.testing import ManualClock

AS_OF_NS = 1_723_118_400_000_000_000
"""2024-08-08 12:00:00 UTC."""


@pytest.fixture(scope="session")
def make_view() -> Callable[..., MarketView]:
    """Builds a plain view; `book_…` and `trades_…` reach into its parts."""

    def make(symbol: str = "BTC/USDT", **changed: Any) -> MarketView:
        book: dict[str, Any] = {
            "symbol": symbol,
            "as_of_ns": AS_OF_NS,
            "sequence": 7,
            "best_bid": 54_999.99,
            "best_ask": 55_000.01,
            "mid_price": 55_000.0,
            "microprice": 55_000.002,
            "spread_bps": 0.0036,
            "spread_bps_mean": 0.004,
            "imbalance": 0.2,
            "imbalance_mean": 0.1,
            "volatility": 0.0075,
            "volatility_annualised": 0.7,
            "depth_score": 80.0,
            "avg_latency_ms": 3.0,
        }
        trades: dict[str, Any] = {
            "window_s": 60.0,
            "trade_count": 100,
            "volume_base": 2.5,
            "buy_volume_frac": 0.6,
            "vwap": 55_001.0,
            "high": 55_010.0,
            "low": 54_990.0,
            "last_price": 55_000.0,
            "return_bps": 1.0,
        }
        view: dict[str, Any] = {
            "symbol": symbol,
            "as_of_ns": AS_OF_NS,
            "hour_utc": 12,
            "simulated": False,
            "inventory_ratio": 0.6,
            "inventory_target": 0.5,
            "exposure_frac": 0.04,
            "max_exposure_frac": 0.2,
            "pnl_frac": 0.001,
            "drawdown_frac": 0.002,
            "news": (),
        }
        for name, value in changed.items():
            part, _, field = name.partition("_")
            if part in ("book", "trades") and field:
                {"book": book, "trades": trades}[part][field] = value
            else:
                view[name] = value
        return MarketView(book=BookStatistics(**book), trades=TradeStatistics(**trades), **view)

    return make


@pytest.fixture(scope="session")
def answers() -> Callable[..., dict[str, dict[str, Any]]]:
    """One good answer per schema, for a symbol; `route` is the director's, other names replace whole answers."""

    def make(symbol: str = "BTC/USDT", route: tuple[str, ...] | None = None, **replaced: Any) -> dict[str, dict[str, Any]]:
        full = ("quant_analyst", "sentiment_analyst", "risk_manager", "execution_agent")
        given: dict[str, Any] = {
            "TradingThesis": {
                "symbol": symbol,
                "thesis": "Buyers lean on a thin offer.",
                "direction": "up",
                "confidence": 0.6,
                "route": list(route or full),
                "reason": "All can add something.",
            },
            "QuantOpinion": {
                "opinion": {
                    "ticker": symbol,
                    "technical_score": 0.7,
                    "volume_score": 0.6,
                    "trend_strength": 0.4,
                    "probability_score": 0.55,
                    "volatility": 0.008,
                    "key_levels": {"support": 54_000.0, "resistance": 56_000, "pivot": 55_000.0},
                    "regime": "trending_up",
                    "summary": "Buying pressure.",
                },
                "no_opinion_reason": None,
            },
            "SentimentOpinion": {
                "opinion": {"symbol": symbol, "sentiment_score": 0.3, "confidence": 0.5, "summary": "Mildly good."},
                "no_opinion_reason": None,
            },
            "RiskAssessment": {
                "symbol": symbol,
                "approved": True,
                "risk_level": "low",
                "max_position_frac": 0.1,
                "max_drawdown_frac": 0.05,
                "reasons": ["Exposure 0.04 is small."],
            },
            "ExecutionPlan": {
                "symbol": symbol,
                "spread_multiplier": 1.4,
                "inventory_bias": 0.2,
                "size_multiplier": 0.8,
                "ttl_s": 120,
                "reason": "Lean with the buyers.",
            },
        }
        return {**given, **replaced}

    return make


@pytest.fixture(scope="session")
def catalog() -> AgentCatalog:
    """The bundled agents with a model named."""
    return load_catalog(model="scripted-1")


@pytest.fixture
def make_desk(catalog: AgentCatalog) -> Callable[..., LangGraphDesk]:
    """A desk over a model, or over the rules alone; waits cost no real time."""

    def make(model: ModelClient | None = None, **options: Any) -> LangGraphDesk:
        clock = options.pop("clock", None) or ManualClock()
        retry = options.pop("retry", RetryPolicy())
        return LangGraphDesk(
            options.pop("catalog", catalog),
            Ladder(model, clock, retry, random.Random(1)),
            "scripted-1" if model else None,
            clock,
            **options,
        )

    return make


@pytest.fixture(scope="session")
def request_for() -> Callable[..., CycleRequest]:
    """A cycle request for a view."""

    def make(view: MarketView, task: str = "Quote calmly.") -> CycleRequest:
        return CycleRequest(CycleId(f"{view.symbol}-c0001"), view.symbol, task, view)

    return make
