"""The desk: agents that form views, and the graph that routes between them. LangGraph is loaded when a desk is made."""

from autohedge.desk.director import TradingDirector
from autohedge.desk.specialists import ExecutionAgent, QuantAnalyst, RiskManager, SentimentAnalyst

__all__ = ["ExecutionAgent", "QuantAnalyst", "RiskManager", "SentimentAnalyst", "TradingDirector"]
