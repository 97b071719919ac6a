"""Simulated trading: the matching core that paper and backtest share, its models, and a seeded artificial market."""
