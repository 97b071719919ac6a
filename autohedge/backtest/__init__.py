"""Backtests: the compiled loop, strategies on bars, metrics, search and tear sheets."""
