"""Reason words and their codes: the arithmetic speaks in numbers, so that it can be compiled; people read words.

A code is the place of its word in `REASONS`; 0 is "no reason". Codes are internal to a run and never stored.
"""

from __future__ import annotations

from typing import Final

REASONS: Final[tuple[str, ...]] = (
    "",
    # why a side is not quoted
    "min_profit_unreachable",
    "price_below_a_tick",
    "denied",
    "paused",
    "blocked",
    "rebalance",
    "order_rate",
    "self_trade",
    "replacing",
    "below_min_notional",
    "no_base",
    "exposure_cap",
    "no_quote",
    "refresh",
    # what is wrong with the market, or with us
    "gap",
    "one_sided",
    "crossed",
    "stale",
    "drained",
    # risk
    "market_data",
    "instrument_rules",
    "balance",
    "daily_loss",
    "duplicate",
    "notional",
    "inventory_imbalance",
    "price_collar",
    # the venue
    "no_market",
    "invalid_order",
    "min_qty",
    "max_qty",
    "min_notional",
    "max_notional",
    "post_only_would_cross",
    "insufficient_balance",
    "insufficient_depth",
    "not_open",
    # the end
    "session_end",
    "interrupted",
    # why a side is not quoted, further ones
    "inventory_limit",
    "toxic_trades",
    "toxic_depletion",
    "toxic_imbalance",
    # the venue, further ones
    "request_failed",
    "halted",
    # one capital for several makers
    "portfolio_exposure",
    "portfolio_daily_loss",
)

CODES: Final[dict[str, int]] = {word: code for code, word in enumerate(REASONS)}

NONE: Final = 0
MIN_PROFIT_UNREACHABLE: Final = 1
PRICE_BELOW_A_TICK: Final = 2
DENIED: Final = 3
PAUSED: Final = 4
BLOCKED: Final = 5
REBALANCE: Final = 6
ORDER_RATE: Final = 7
SELF_TRADE: Final = 8
REPLACING: Final = 9
BELOW_MIN_NOTIONAL: Final = 10
NO_BASE: Final = 11
EXPOSURE_CAP: Final = 12
NO_QUOTE: Final = 13
REFRESH: Final = 14
GAP: Final = 15
ONE_SIDED: Final = 16
CROSSED: Final = 17
STALE: Final = 18
DRAINED: Final = 19
MARKET_DATA: Final = 20
INSTRUMENT_RULES: Final = 21
BALANCE: Final = 22
DAILY_LOSS: Final = 23
DUPLICATE: Final = 24
NOTIONAL: Final = 25
INVENTORY_IMBALANCE: Final = 26
PRICE_COLLAR: Final = 27
NO_MARKET: Final = 28
INVALID_ORDER: Final = 29
MIN_QTY: Final = 30
MAX_QTY: Final = 31
MIN_NOTIONAL: Final = 32
MAX_NOTIONAL: Final = 33
POST_ONLY_WOULD_CROSS: Final = 34
INSUFFICIENT_BALANCE: Final = 35
INSUFFICIENT_DEPTH: Final = 36
NOT_OPEN: Final = 37
SESSION_END: Final = 38
INTERRUPTED: Final = 39
INVENTORY_LIMIT: Final = 40
TOXIC_TRADES: Final = 41
TOXIC_DEPLETION: Final = 42
TOXIC_IMBALANCE: Final = 43
REQUEST_FAILED: Final = 44
HALTED: Final = 45
PORTFOLIO_EXPOSURE: Final = 46
PORTFOLIO_DAILY_LOSS: Final = 47
