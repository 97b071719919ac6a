"""What trading earned and why: attribution of PnL, drawdown. Pure."""
