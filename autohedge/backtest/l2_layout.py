"""The tables of the compiled loop: what it reads, what it remembers between calls, what it writes.

Everything is whole numbers and floats in arrays that Python owns, so that the loop can stop at any message, for a desk cycle or
because a table is full, and go on from there. Rows of a table are its fields, columns its entries.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from autohedge.market_maker.decision import MakerNumbers
from autohedge.market_maker.working import ORDER_ROWS
from autohedge.risk.checks import LimitNumbers
from autohedge.simulation.latency import LatencyNumbers

NEVER_NS: Final = 2**62
"""Later than anything."""

# --- the market: one row per level, quote side or trade ---------------------------------------------------------------------

SNAPSHOT, DELTA, TOP, TRADE, GAP, NOTHING = range(6)
"""What a row is; GAP makes the book invalid, NOTHING is a message that changed nothing (it still moves time)."""
KIND_MASK: Final = 7
BEGINS_MESSAGE: Final = 8
ENDS_EVENT: Final = 16
ENDS_MESSAGE: Final = 32
BEGINS_EVENT: Final = 64

# --- the working orders: after the rows that `decide` reads -------------------------------------------------------------------

NUMBER, RESTING, RESTED, AHEAD, GENERATION, UNREPORTED, UNREPORTED_BEFORE, MANDATE, SIZE = range(ORDER_ROWS, ORDER_ROWS + 9)
"""Order number; whether it rests at the venue, what came to rest, what is ahead of it, and the queue's memory."""
SHOWN, SHOWN_AS_OF, UNMATCHED, UNMATCHED_BEFORE = range(ORDER_ROWS + 9, ORDER_ROWS + 13)
"""The memory of a queue model by chance, see `autohedge.simulation.queueing`."""
WORKING_ROWS: Final = ORDER_ROWS + 13

# --- commands on their way ----------------------------------------------------------------------------------------------------

ARRIVAL, IS_CANCEL, FOR_NUMBER, FOR_REASON = range(4)
COMMAND_ROWS: Final = 4

# --- what was written --------------------------------------------------------------------------------------------------------

ORDER_LOG: Final = ("ts_ns", "number", "side", "price_ticks", "size_lots", "level", "rebalance", "denied", "mandate")
EVENT_LOG: Final = ("ts_ns", "number", "event", "reason")
FILL_LOG: Final = (
    "ts_ns", "number", "side", "price_ticks", "size_lots", "fee_atoms", "is_maker", "in_base",
    "base_after", "quote_after", "mid_half_ticks", "mark_half_ticks",
)  # fmt: skip
QUOTE_STATE_LOG: Final = ("ts_ns", "side", "reason")
MID_LOG: Final = ("ts_ns", "mid_half_ticks")
SAMPLE_LOG: Final = ("ts_ns", "equity_atoms", "base_atoms", "mid_half_ticks")
QUOTE_LOG: Final = ("ts_ns", "bid_ticks", "ask_ticks")

ACCEPTED, REJECTED, CANCELLED, CANCEL_REJECTED, CANCELLING_, PARTIALLY_FILLED, FILLED_ = range(7)
"""Values of `event` in the event log."""
EVENT_WORDS: Final = (
    "accepted", "rejected", "cancelled", "cancel_rejected", "cancelling", "partially_filled", "filled",
)  # fmt: skip

# --- what a call came back for ------------------------------------------------------------------------------------------------

DONE, UNTIL, ROOM, BROKEN, OPENED = range(5)
"""The market is over; the time asked for is reached; a table is nearly full; a rule that must hold was broken; the first price
is known, told once."""


class LoopNumbers(NamedTuple):
    """The whole configuration of a run; `sees_more` is 1 where decisions depend on more of the book than its best prices."""

    maker: MakerNumbers
    sees_more: int
    limits: LimitNumbers
    fees_in_received: int
    latency: LatencyNumbers
    failure_frac: float
    failure_key: int
    requote_ns: int
    fill_pause_ns: int
    denial_pause_ns: int
    conservative_spread: float
    conservative_size: float
    medium_risk_score: float
    depth_scale: float
    report_lag_ns: int
    sample_ns: int
    queue_model: int
    queue_power: float
    base_tick: int
    window_ticks: int


class MarketTable(NamedTuple):
    """The market as columns."""

    ts_ns: Any
    op: Any
    side: Any
    price_ticks: Any
    size_lots: Any
    first_id: Any
    last_id: Any


class Tables(NamedTuple):
    """Everything the loop remembers and writes."""

    state: Any
    bids: Any
    asks: Any
    orders: Any
    decision: Any
    commands: Any
    requests: Any
    taken: Any
    glft: Any
    guard: Any
    mids: Any
    spreads: Any
    imbalances: Any
    mandate_times: Any
    mandate_values: Any
    withheld: Any
    latency_times: Any
    latency_values: Any
    halts: Any
    order_log: Any
    event_log: Any
    fill_log: Any
    quote_state_log: Any
    mid_log: Any
    sample_log: Any
    quote_log: Any


STATE: Final = [
    # the position in the market
    ("row", "i8"), ("event_begin", "i8"), ("messages", "i8"), ("now_ns", "i8"), ("venue_now_ns", "i8"), ("opened", "i8"),
    ("opened_at_ns", "i8"), ("begin_ns", "i8"), ("broken", "i8"), ("drained", "i8"),
    # the book
    ("valid", "i8"), ("last_update_id", "i8"), ("depth_bid", "i8"), ("depth_ask", "i8"), ("low_bid", "i8"), ("high_ask", "i8"),
    ("top_on", "i8"), ("top_id", "i8"), ("top_bid", "i8"), ("top_bid_lots", "i8"), ("top_ask", "i8"), ("top_ask_lots", "i8"),
    ("new_bid", "i8"), ("new_bid_lots", "i8"), ("new_ask", "i8"), ("new_ask_lots", "i8"),
    ("best_bid", "i8"), ("best_ask", "i8"), ("last_trade", "i8"), ("mid_half", "i8"), ("stale_at_ns", "i8"),
    # statistics
    ("grid_bid", "i8"), ("grid_ask", "i8"), ("next_grid_ns", "i8"), ("mids", "i8"), ("samples_on_grid", "i8"),
    ("volatility_second", "i8"), ("volatility", "f8"), ("next_sample_ns", "i8"),
    ("next_touch_ns", "i8"),
    # balances
    ("base_atoms", "i8"), ("quote_atoms", "i8"), ("reserved_base", "i8"), ("reserved_quote", "i8"),
    ("volume", "i8"), ("fees_quote", "i8"), ("fees_base", "i8"),
    # orders
    ("working", "i8"), ("resting", "i8"), ("queued", "i8"), ("own_bid", "i8"), ("own_ask", "i8"), ("next_number", "i8"),
    ("commands_head", "i8"), ("commands_tail", "i8"), ("next_arrival_ns", "i8"), ("requests_head", "i8"),
    ("requests_tail", "i8"),
    # the way to the venue, and its halts
    ("sent", "i8"), ("arrived", "i8"), ("last_arrival_ns", "i8"), ("latency_at", "i8"), ("halt", "i8"), ("halt_from_ns", "i8"),
    ("taken_bids", "i8"), ("taken_asks", "i8"), ("next_requote_ns", "i8"), ("last_reconsider_ns", "i8"),
    # the maker's memory
    ("buy_paused_ns", "i8"), ("sell_paused_ns", "i8"), ("buy_denied_ns", "i8"), ("sell_denied_ns", "i8"),
    ("rebalance_paused_ns", "i8"), ("mandate", "i8"), ("mandates", "i8"), ("buy_state", "i8"), ("sell_state", "i8"),
    ("quoted_bid", "i8"), ("quoted_ask", "i8"),
    # the last look at the quotes, where it left everything as it was
    ("quiet_until_ns", "i8"), ("quiet_bid", "i8"), ("quiet_ask", "i8"), ("quiet_score", "f8"),
    ("quiet_bid_lots", "i8"), ("quiet_ask_lots", "i8"), ("quiet_buy_toxic", "i8"), ("quiet_sell_toxic", "i8"),
    ("quiet_quoted", "i8"), ("quiet_distance_bps", "f8"),
    # risk
    ("day", "i8"), ("day_open", "i8"), ("day_last", "i8"), ("loss_hit", "i8"), ("peak", "i8"), ("drawdown", "f8"),
    ("max_drawdown", "f8"),
    # counts
    ("reconsidered", "i8"), ("quoted", "i8"), ("distance_bps_sum", "f8"), ("market_spread_sum", "i8"), ("bid_up_ns", "i8"),
    ("ask_up_ns", "i8"), ("fills", "i8"), ("placed", "i8"), ("cancelled", "i8"), ("denied", "i8"), ("rejected", "i8"),
    # how far the logs are written
    ("n_orders", "i8"), ("n_events", "i8"), ("n_fills", "i8"), ("n_quote_states", "i8"), ("n_mids", "i8"), ("n_samples", "i8"),
    ("n_quotes", "i8"),
]  # fmt: skip
"""Names and types of the one record that is remembered between calls."""

TAKEN_ROOM: Final = 4_096
"""Levels of a side that can be remembered as taken by us."""
