"""AutoHedge: agents form views, arithmetic decides, the shell acts, the ledger remembers.

Everything below is loaded at its first use, so that `import autohedge` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "1.0.0a1"

_HOME = {
    "AutoHedge": "autohedge.hedge",
    "MarketData": "autohedge.maker",
    "MarketMaker": "autohedge.maker",
    "MarketMakingConfig": "autohedge.market_maker.config",
    "TradingDirector": "autohedge.desk",
    "QuantAnalyst": "autohedge.desk",
    "SentimentAnalyst": "autohedge.desk",
    "RiskManager": "autohedge.desk",
    "ExecutionAgent": "autohedge.desk",
}

__all__ = [
    "AutoHedge",
    "ExecutionAgent",
    "MarketData",
    "MarketMaker",
    "MarketMakingConfig",
    "QuantAnalyst",
    "RiskManager",
    "SentimentAnalyst",
    "TradingDirector",
    "__version__",
]

if TYPE_CHECKING:
    from autohedge.desk import ExecutionAgent, QuantAnalyst, RiskManager, SentimentAnalyst, TradingDirector
    from autohedge.hedge import AutoHedge
    from autohedge.maker import MarketData, MarketMaker
    from autohedge.market_maker.config import MarketMakingConfig


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'autohedge' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
