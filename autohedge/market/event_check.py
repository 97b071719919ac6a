"""What market events show to be wrong among themselves: their order, times and ids, the book they make, and their prices.

An event that a replay would leave out (received before its predecessor, or a year after it) is noted and left out here too, so
that what follows is judged as a replay would see it. The sequence rules are those of `autohedge.market.sync`.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import log10
from statistics import median

from autohedge.domain.book import OrderBook
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, MarketEvent, TopOfBook, Trade
from autohedge.market.binance import best_first
from autohedge.market.faults import Faults
from autohedge.market.raw import MAX_STEP_NS
from autohedge.market.sync import Applied, SyncedBook

NS_PER_S = 1_000_000_000
DEFAULT_SILENCE_S = 60.0

NS_BEGIN = 10**17
"""1973 in ns; a time of today in µs, ms or s is below it."""
DAY_NS = 86_400 * NS_PER_S
FAR = (1_001, 1_000)
"""Ten basis points, as a ratio."""
JUMP_FROM = 1.5
_UNIT_TOLERANCE = 0.25  # how far from a power of ten a jump may be and still be one: the market moves meanwhile
_UNIT_FROM = 5.0
_RECENT_TRADES = 10_000
_FEW_STEPS = 20
_FEW_HOLES_FRAC = 0.1


class EventCheck:
    """Takes the events of one instrument in their order and notes in `faults` what is wrong with them.

    `where` gives the place of the event that is being taken. `messages` counts the events that a replay would give.
    """

    def __init__(self, faults: Faults, where: Callable[[], str], silence_s: float = DEFAULT_SILENCE_S) -> None:
        self.messages = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self._faults = faults
        self._where = where
        self._silence_ns = int(silence_s * NS_PER_S)
        self._longest_silence_ns = 0
        self._latencies = array("q")
        self._negative_latencies = 0
        self._first_negative = ""
        self._book = BookCheck(faults, self._place)
        self._ts_ns = 0

    def take(self, event: MarketEvent) -> None:
        """The next event."""
        self._ts_ns = event.ts_init_ns
        if self._take_time(event):
            self.messages += 1
            self._book.take(event)

    def finish(self) -> None:
        """Note what only shows at the end."""
        faults = self._faults
        if self._negative_latencies:
            faults.note("negative_latency", self._first_negative, count=self._negative_latencies)
            faults.add_detail("negative_latency", latency_detail(self._latencies))
        if self._longest_silence_ns:
            faults.add_detail("silence", f"the longest {self._longest_silence_ns / NS_PER_S:.1f} s")
        self._book.finish()

    def _place(self) -> str:
        return f"{self._where()}, {utc(self._ts_ns)}" if self._ts_ns >= NS_BEGIN else self._where()

    def _take_time(self, event: MarketEvent) -> bool:
        """Judge the times; whether a replay would give the event."""
        ts_ns, last_ns = event.ts_init_ns, self.last_ns
        if ts_ns < NS_BEGIN:
            self._faults.note("time_unit", self._place, f"time of receipt {ts_ns}, {_unit_of(ts_ns)} and not ns")
            return True  # left out of the order of times, but not of the book, where it would show as a gap
        if last_ns is None:
            self.first_ns = last_ns = ts_ns
        step_ns = ts_ns - last_ns
        if step_ns < 0:
            self._faults.note("out_of_order", self._place, f"received {-step_ns / NS_PER_S:.6f} s before the one before it")
            return False
        if step_ns > MAX_STEP_NS:
            self._faults.note("time_leap", self._place)
            return False
        if step_ns > self._silence_ns:
            self._faults.note("silence", self._place, f"longer than {self._silence_ns / NS_PER_S:g} s")
            self._longest_silence_ns = max(self._longest_silence_ns, step_ns)
        self.last_ns = ts_ns
        if event.ts_event_ns:
            self._take_latency(ts_ns, event.ts_event_ns)
        return True

    def _take_latency(self, ts_init_ns: int, ts_event_ns: int) -> None:
        latency_ns = ts_init_ns - ts_event_ns
        if abs(latency_ns) > DAY_NS:
            scaled = [at for power in (3, 6, 9) for at in (ts_event_ns * 10**power, ts_event_ns // 10**power)]
            if any(abs(ts_init_ns - at) < DAY_NS for at in scaled):
                self._faults.note("time_unit", self._place, f"the venue's time, read as {utc(ts_event_ns)}")
            else:
                self._faults.note("clock", self._place, f"the venue says {utc(ts_event_ns)}")
            return
        self._latencies.append(latency_ns)
        if latency_ns < 0:
            if not self._negative_latencies:
                self._first_negative = self._place()
            self._negative_latencies += 1


class BookCheck:
    """The part of the check that knows the book: sequence, prices and trades."""

    def __init__(self, faults: Faults, place: Callable[[], str]) -> None:
        self._faults = faults
        self._place = place
        self._synced = SyncedBook(OrderBook())
        self._seen_snapshot = False
        self._before_snapshot = 0
        self._first_before = ""
        self._after_gap = 0
        self._last_prices: dict[str, int] = {}
        self._last_top: TopOfBook | None = None
        self._newest_delta_id = -1
        self._last_trade_id: int | None = None
        self._recent_trades: deque[int] = deque(maxlen=_RECENT_TRADES)
        self._recent_ids: set[int] = set()
        self._trade_steps = 0
        self._trade_holes = 0
        self._trades_missing = 0
        self._first_hole = ""
        self._trades = 0
        self._trades_outside = 0

    @property
    def book(self) -> OrderBook:
        """The book so far."""
        return self._synced.book

    def take(self, event: MarketEvent) -> None:
        """The next event that a replay would give."""
        if isinstance(event, Trade):
            self._take_trade(event)
            return
        synced = self._synced
        gaps, crossed = len(synced.gaps), synced.crossed
        outcome = synced.apply(event)
        for gap in synced.gaps[gaps:]:
            self._faults.note("gap", self._place, f"expected update {gap.expected_id}, found {gap.found_id}")
        if outcome in (Applied.BUFFERED, Applied.UNSYNCED):
            self._take_unusable()
        if isinstance(event, TopOfBook):
            self._take_top(event, outcome)
        elif isinstance(event, BookSnapshot):
            self._take_snapshot(event, outcome)
        else:
            self._take_delta(event, outcome)
        book = synced.book
        if synced.crossed > crossed:
            if book.is_depth_crossed:
                self._note_crossed(book.depth_levels(BUY, 1)[0][0], book.depth_levels(SELL, 1)[0][0])
            else:
                self._faults.note("crossed", self._place, "for a moment, while waiting updates were applied")

    def finish(self) -> None:
        """Note what only shows at the end."""
        faults = self._faults
        if not self._seen_snapshot:
            faults.note("no_snapshot", "the whole recording")
        elif self._before_snapshot:
            faults.note("before_snapshot", self._first_before, count=self._before_snapshot)
        if self._after_gap:
            then = "until a snapshot came" if self._synced.is_synced else "and no snapshot came"
            faults.add_detail("gap", f"{self._after_gap} more messages could not be used {then}")
        # ids with many holes belong to a venue that does not number its trades one by one
        if self._trade_holes and self._trade_steps >= max(_FEW_STEPS, self._trade_holes / _FEW_HOLES_FRAC):
            faults.note("trade_gap", self._first_hole, f"{self._trades_missing} missing in all", self._trade_holes)
        if self._trades:
            share = self._trades_outside / self._trades
            faults.add_detail("trade_outside", f"of {self._trades} trades {share:.1%} print outside them at all")

    def _take_unusable(self) -> None:
        if self._seen_snapshot:
            self._after_gap += 1
            return
        if not self._before_snapshot:
            self._first_before = self._place()
        self._before_snapshot += 1

    # --- messages ------------------------------------------------------------------------------------------------------

    def _take_top(self, top: TopOfBook, outcome: Applied) -> None:
        if outcome in (Applied.DUPLICATE, Applied.OUT_OF_ORDER):
            repeated = self._last_top is not None and top.update_id == self._last_top.update_id
            self._faults.note("duplicate" if repeated else "stale_quote", self._place)
        self._last_top = top
        if not top.bid_lots or not top.ask_lots:
            self._faults.note("one_sided", self._place)
        elif top.bid_ticks >= top.ask_ticks:
            self._note_crossed(top.bid_ticks, top.ask_ticks)
        self._take_price("quoted bid", top.bid_ticks)
        self._take_price("quoted ask", top.ask_ticks)

    def _take_snapshot(self, snapshot: BookSnapshot, outcome: Applied) -> None:
        self._seen_snapshot = True
        if outcome is Applied.DUPLICATE:
            self._faults.note("duplicate", self._place)
        elif outcome is Applied.OUT_OF_ORDER:
            self._faults.note("stale_snapshot", self._place)
        if not best_first(snapshot.bids, snapshot.asks):
            self._faults.note("unsorted", self._place)
        self._take_depth()

    def _take_delta(self, delta: BookDelta, outcome: Applied) -> None:
        repeated = delta.last_update_id <= self._newest_delta_id
        self._newest_delta_id = max(self._newest_delta_id, delta.last_update_id)
        if outcome is Applied.DUPLICATE and repeated:  # a new one may be contained in a snapshot that overtook it
            self._faults.note("duplicate", self._place)
        elif outcome is Applied.OUT_OF_ORDER:
            self._faults.note("overlap", self._place)
        elif outcome is Applied.APPLIED:
            self._take_depth()

    def _take_depth(self) -> None:
        book = self._synced.book
        if not book.is_valid:
            return
        for side, name in ((BUY, "best bid"), (SELL, "best ask")):
            best = book.depth_levels(side, 1)
            if best:
                self._take_price(name, best[0][0])
            else:
                self._faults.note("one_sided", self._place)

    def _take_trade(self, trade: Trade) -> None:
        last = self._last_trade_id
        if trade.trade_id in self._recent_ids:
            self._faults.note("duplicate", self._place)
            return
        if last is not None and trade.trade_id < last:
            self._faults.note("out_of_order", self._place, f"trade {trade.trade_id} after trade {last}")
            return
        if last is not None:
            self._trade_steps += 1
            if trade.trade_id > last + 1:
                self._first_hole = self._first_hole or self._place()
                self._trade_holes += 1
                self._trades_missing += trade.trade_id - last - 1
        self._last_trade_id = trade.trade_id
        self._remember(trade.trade_id)
        self._take_price("trade price", trade.price_ticks)
        book = self._synced.book
        bid, ask, price = book.best_bid_ticks, book.best_ask_ticks, trade.price_ticks
        if bid and ask:
            self._trades += 1
            self._trades_outside += not bid <= price <= ask
            up, whole = FAR
            if price * whole > ask * up or price * up < bid * whole:
                self._faults.note("trade_outside", self._place)

    def _remember(self, trade_id: int) -> None:
        recent = self._recent_trades
        if len(recent) == recent.maxlen:
            self._recent_ids.discard(recent[0])
        recent.append(trade_id)
        self._recent_ids.add(trade_id)

    # --- prices --------------------------------------------------------------------------------------------------------

    def _note_crossed(self, bid_ticks: int, ask_ticks: int) -> None:
        kind = "crossed" if bid_ticks > ask_ticks else "locked"
        self._faults.note(kind, self._place, f"bid {bid_ticks} and ask {ask_ticks} ticks")

    def _take_price(self, name: str, price_ticks: int) -> None:
        """A jump in a series of prices; 0 means that there is none now."""
        last = self._last_prices.get(name, 0)
        if price_ticks == last or not price_ticks:
            return
        self._last_prices[name] = price_ticks
        if not last:
            return
        times = price_ticks / last if price_ticks > last else last / price_ticks
        if times < JUMP_FROM:
            return
        power = 10.0 ** round(log10(times))
        is_unit = times >= _UNIT_FROM and abs(times / power - 1) <= _UNIT_TOLERANCE
        self._faults.note("price_unit" if is_unit else "price_jump", self._place, f"{name} from {last} to {price_ticks} ticks")


def latency_detail(latencies_ns: Sequence[int]) -> str:
    """Least, median and most of the latencies of all messages, in words."""
    spread = min(latencies_ns), median(latencies_ns), max(latencies_ns)
    least, middle, most = (f"{each / NS_PER_S:.3f} s" for each in spread)
    return f"median {middle} of all messages, from {least} to {most}"


def utc(ts_ns: int) -> str:
    """A time of receipt for people, to the millisecond."""
    try:
        at = datetime.fromtimestamp(ts_ns // NS_PER_S, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{ts_ns} ns"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ts_ns % NS_PER_S // 1_000_000:03d}Z"


def _unit_of(ts_ns: int) -> str:
    """The unit in which a number would be a time of our days."""
    return "µs" if ts_ns >= 10**14 else "ms" if ts_ns >= 10**11 else "s" if ts_ns >= 10**8 else "some other unit"
