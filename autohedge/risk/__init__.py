"""What forbids an order: limits, the pre-trade checks, the daily loss. Pure; a refusal is a value, not an exception."""
