"""One symbol of a backtest on a recorded book: what `autohedge.lane` is to a session, over the compiled loop.

It moves the market up to a time, tells the desk what may be known then, takes its mandates, and keeps the logs that the loop
writes. Everything that the loop does not need, such as the shape of a view or a mandate's clamps, is done by the same code as
live.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from autohedge.backtest import l2_book, l2_kernel, l2_matching, l2_orders, l2_quotes, l2_samples
from autohedge.backtest.l2_layout import (
    BROKEN,
    COMMAND_ROWS,
    EVENT_LOG,
    FILL_LOG,
    MID_LOG,
    NEVER_NS,
    OPENED,
    ORDER_LOG,
    QUOTE_LOG,
    QUOTE_STATE_LOG,
    ROOM,
    SAMPLE_LOG,
    STATE,
    TAKEN_ROOM,
    WORKING_ROWS,
    LoopNumbers,
    Tables,
)
from autohedge.backtest.l2_market import PreparedMarket
from autohedge.backtest.native import compile_kernel
from autohedge.domain import mandate as mandates
from autohedge.domain.ids import IdFactory
from autohedge.domain.mandate import Envelope, Mandate, clamp
from autohedge.domain.market_data import BUY, SELL, Level, Side
from autohedge.domain.measures import base_value_atoms
from autohedge.domain.records import CycleOutcome, MandateRecord
from autohedge.domain.view import MarketView, maker_view
from autohedge.errors import ConfigError, InvariantBroken
from autohedge.lane import DRAIN_TRIES
from autohedge.market.statistics import LATENCY_EVENTS, TRADE_WINDOW_S, RollingStatistics, depth_scale
from autohedge.market_maker import decision, quoting, toxicity, working
from autohedge.market_maker.config import FeeAsset, MarketMakingConfig
from autohedge.market_maker.engine import PAUSE_AFTER_DENIAL_NS, QuoteEngine
from autohedge.market_maker.quoting import RISK_SCORE
from autohedge.market_maker.reasons import CODES, REASONS
from autohedge.risk.limits import RiskLimits
from autohedge.risk.pretrade import limit_numbers
from autohedge.simulation import queueing
from autohedge.simulation.conditions import Conditions
from autohedge.simulation.latency import FEED

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
APART = (
    l2_kernel.open_books, l2_samples.cross_grid, l2_samples.measured_volatility, l2_samples.sample, l2_quotes.log_state,
    l2_quotes.note_quotes, l2_quotes.quiet_until, l2_samples.update_daily_loss, l2_orders.log_event, l2_orders.add_working,
    l2_orders.longer_way_ns, l2_orders.is_halted, l2_matching.see_changes,
    l2_orders.remove_working, l2_orders.note_resting, l2_orders.send, l2_orders.note_request, l2_matching.crossed,
    l2_matching.cost_of_taking, l2_matching.take_at_market, l2_matching.note_taken, l2_matching.release_changed,
    l2_book.clear_depth, l2_book.clear_book, l2_quotes.sample_touch, l2_quotes.best_lots, l2_quotes.watch_queues, l2_quotes.see,
    quoting.fill_table, toxicity.note_trade,
)  # fmt: skip
"""What happens rarely, or is called from many places with few arguments."""
NO_MANDATE = -1
NOT_YET = -1
_STATE_TYPE = np.dtype(STATE, align=True)
_LOG_ROOM = 8_192
_WORKING_ROOM = 64
_SAFE = 2**62


class ArrayBook:
    """The loop's book as the statistics read one."""

    def __init__(self, tables: Tables, base_tick: int) -> None:
        state = tables.state[0]
        self._tables, self._base_tick = tables, base_tick
        self.is_valid = bool(state.valid)
        self.best_bid_ticks, self.best_ask_ticks = int(state.best_bid), int(state.best_ask)
        self._newest_update_id = l2_book.newest_id(state)
        self.best_bid_lots = sum(lots for _, lots in self.levels(BUY, 1))
        self.best_ask_lots = sum(lots for _, lots in self.levels(SELL, 1))

    @property
    def newest_update_id(self) -> int:
        """The newest update the book contains."""
        return self._newest_update_id

    def levels(self, side: Side, n: int) -> list[Level]:
        """Up to `n` displayed levels, best first."""
        s = self._tables.state[0]
        lots = self._tables.bids if side is BUY else self._tables.asks
        best, worst = (s.depth_bid, s.low_bid) if side is BUY else (s.depth_ask, s.high_ask)
        top, top_lots = (s.top_bid, s.top_bid_lots) if side is BUY else (s.top_ask, s.top_ask_lots)
        found: list[Level] = []
        if s.top_on:
            if not top_lots:
                return []
            found.append((int(top), int(top_lots)))
        if best:
            low, high = sorted((int(best) - self._base_tick, int(worst) - self._base_tick))
            displayed = np.flatnonzero(lots[low : high + 1]) + low
            for at in displayed[::-1] if side is BUY else displayed:
                price = int(at) + self._base_tick
                if len(found) == n:
                    break
                if not s.top_on or (top - price) * side > 0:
                    found.append((price, int(lots[at])))
        return found[:n]


class CompiledLane:
    """Everything of one symbol in a backtest; owned and driven by one backtest."""

    def __init__(
        self,
        market: PreparedMarket,
        config: MarketMakingConfig,
        limits: RiskLimits,
        envelope: Envelope,
        *,
        base_atoms: int,
        quote_atoms: int,
        desk_latency_ns: int,
        sample_ns: int = NS_PER_S,
        conditions: Conditions | None = None,
    ) -> None:
        instrument = market.instrument
        if conditions is None:
            conditions = Conditions.constant(int(config.latency_ms * NS_PER_MS))
        engine = QuoteEngine(config, instrument)
        self.market = market
        self.instrument = instrument
        self.config = config
        self.ids = IdFactory(instrument.symbol)
        self.mandates: list[Mandate] = []
        self.mandate_records: list[MandateRecord] = []
        self.opening_atoms = (base_atoms, quote_atoms)
        self._envelope = envelope
        self._desk_latency_ns = desk_latency_ns
        self.numbers = _within_64_bits(
            LoopNumbers(
                maker=engine.numbers,
                sees_more=int(_sees_more(engine.numbers)),
                limits=limit_numbers(limits, instrument),
                fees_in_received=int(config.fee_asset is FeeAsset.RECEIVED),
                latency=conditions.latency.numbers,
                failure_frac=conditions.failure_frac,
                failure_key=conditions.failure_key,
                requote_ns=int(config.min_requote_ms * NS_PER_MS),
                fill_pause_ns=engine.fill_pause_ns,
                denial_pause_ns=PAUSE_AFTER_DENIAL_NS,
                conservative_spread=envelope.conservative_spread_multiplier,
                conservative_size=envelope.conservative_size_multiplier,
                medium_risk_score=RISK_SCORE[mandates.RiskLevel.MEDIUM],
                depth_scale=depth_scale(instrument, config.depth_reference_quote),
                report_lag_ns=queueing.REPORT_LAG_NS,
                sample_ns=sample_ns,
                queue_model=conditions.queue.code,
                queue_power=conditions.queue_power,
                base_tick=market.base_tick,
                window_ticks=market.window_ticks,
            )
        )
        _refuse_overflow(self.numbers, market, base_atoms, quote_atoms)
        self._tables = _new_tables(
            self.numbers, market.window_ticks, limits.max_requests_per_min, config.levels, _way_of(conditions, market)
        )
        state = self.state
        state.base_atoms, state.quote_atoms = base_atoms, quote_atoms
        state.begin_ns = market.begin_ns
        state.mandate = NO_MANDATE
        state.buy_state = state.sell_state = state.day = NOT_YET
        state.stale_at_ns = state.next_arrival_ns = NEVER_NS
        state.halt_from_ns = conditions.halts_ns[0][0] if conditions.halts_ns else NEVER_NS
        state.next_touch_ns = 0 if engine.numbers.guard.on else NEVER_NS
        self._run = compile_kernel(l2_kernel.run, apart=APART, allocates=False)

    @property
    def state(self) -> Any:
        """The loop's memory; its fields are those of `l2_layout.STATE`."""
        return self._tables.state[0]

    @property
    def over(self) -> bool:
        """True when no message is left."""
        return bool(self.state.row >= len(self.market.table.ts_ns))

    # --- time moves ---------------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Move the market until a price is known; False when it ends without one."""
        return self._move(NEVER_NS) == OPENED

    def advance(self, until_ns: int = NEVER_NS) -> None:
        """Take every message before `until_ns`. `InvariantBroken` when a balance would go wrong."""
        while self._move(until_ns) == OPENED:
            pass

    def _move(self, until_ns: int) -> int:
        while True:
            reason = self._run(self.numbers, self.market.table, self._tables, until_ns)
            if reason == ROOM:
                self._make_room()
            elif reason == BROKEN:
                self._raise_broken()
            else:
                return reason

    def pull_stale_quotes(self, now_ns: int) -> None:
        """Time has come to `now_ns` without a message of this symbol; data that are too old by then pull the quotes."""
        if self.state.stale_at_ns <= now_ns:
            self._make_room()
            if compile_kernel(l2_kernel.go_stale, apart=APART, allocates=False)(self.numbers, self._tables) == BROKEN:
                self._raise_broken()

    def drain(self, reason: str = "session_end") -> None:
        """Cancel every quote, wait until the venue has answered, keep the inventory. Harmless when called twice."""
        if self.state.drained or not self.state.opened:
            return
        drain = compile_kernel(l2_kernel.drain, apart=APART, allocates=False)
        told = ROOM
        for tries_left in reversed(range(DRAIN_TRIES)):
            self._make_room()
            told = drain(self.numbers, self._tables, CODES[reason], tries_left)
            if told != ROOM:
                break
        if told == BROKEN:
            self._raise_broken()

    def accept(self, outcome: CycleOutcome) -> MandateRecord:
        """Clamp the desk's proposal into a mandate that takes effect after the desk's latency."""
        made: Mandate | None = None
        if outcome.proposal is not None:
            made = clamp(
                outcome.proposal,
                self._envelope,
                self.mandates[-1] if self.mandates else None,
                mandate_id=self.ids.mandate(),
                cycle_id=outcome.cycle_id,
                symbol=self.instrument.symbol,
                effective_ns=outcome.ts_ns + self._desk_latency_ns,
                source=outcome.source.value,
                reason=outcome.reason,
            )
            self.give(made)
        record = MandateRecord(self.instrument.symbol, outcome.ts_ns, outcome.cycle_id, outcome.outcome, outcome.reason, made)
        self.mandate_records.append(record)
        return record

    def give(self, made: Mandate) -> None:
        """A mandate that holds from its time on; they come in order of that time."""
        tables, at = self._tables, len(self.mandates)
        if at == tables.mandate_times.shape[1]:
            self._tables = tables = tables._replace(
                mandate_times=_wider(tables.mandate_times), mandate_values=_wider(tables.mandate_values)
            )
        tables.mandate_times[:, at] = (made.effective_ns, made.valid_until_ns)
        tables.mandate_values[:, at] = (
            made.spread_multiplier, made.inventory_bias, made.size_multiplier, RISK_SCORE[made.risk_level],
        )  # fmt: skip
        self.mandates.append(made)
        self.state.mandates = at + 1
        self.state.quiet_until_ns = 0

    # --- what the desk may know -----------------------------------------------------------------------------------------

    def market_problem(self, now_ns: int) -> str:
        """Why the market cannot be traded at `now_ns`; "" when it can."""
        return REASONS[l2_quotes.market_problem(self.state, now_ns)]

    def view(self, now_ns: int, *, simulated: bool) -> MarketView | None:
        """What the desk may know at `now_ns`; None while the market cannot be traded."""
        state = self.state
        if not state.opened or self.market_problem(now_ns):
            return None
        statistics = RollingStatistics(self.instrument, self.config.depth_reference_quote)
        on_grid = int(state.samples_on_grid)
        statistics.take_up(
            best_ticks=(int(state.grid_bid), int(state.grid_ask)),
            next_grid_ns=int(state.next_grid_ns),
            mids_twice_ticks=self._tables.mids[: state.mids].tolist(),
            spreads_bps=self._tables.spreads[:on_grid].tolist(),
            imbalances=self._tables.imbalances[:on_grid].tolist(),
            latencies_ns=self.market.latencies_before(int(state.row), LATENCY_EVENTS),
            trades=self.market.trades_between(now_ns - TRADE_WINDOW_S * NS_PER_S, int(state.row)),
        )
        book = statistics.snapshot(ArrayBook(self._tables, self.numbers.base_tick), now_ns)
        if book is None:
            return None
        size, mid_half = self.numbers.maker.size, int(state.mid_half)
        equity = l2_samples.equity(state, self.numbers)
        base_atoms = int(state.base_atoms)
        return maker_view(
            symbol=self.instrument.symbol,
            now_ns=now_ns,
            simulated=simulated,
            book=book,
            trades=statistics.trades(now_ns),
            inventory_ratio=decision.ratio_at(size, base_atoms, mid_half / 2.0),
            inventory_target=self.config.inventory_target,
            max_exposure_frac=float(self.config.max_inventory_exposure),
            base_value_atoms=base_value_atoms(base_atoms, mid_half, size.quote_atoms_per_tick_lot, size.base_atoms_per_lot),
            equity_atoms=equity,
            day_open_atoms=int(state.day_open),
            capital_atoms=self.instrument.quote_atoms_floor(self.config.total_capital),
            drawdown_frac=float(state.drawdown),
        )

    # --- what was written -----------------------------------------------------------------------------------------------

    def log(self, name: str) -> Any:
        """One of the logs (orders, events, fills, quote_states, mids, samples, quotes): an int64 array, one row per entry."""
        written = int(getattr(self.state, f"n_{name}"))
        return getattr(self._tables, f"{_LOGS[name]}")[:written]

    def withheld_by(self) -> dict[str, int]:
        """How often each reason withheld a side."""
        return {REASONS[code]: int(count) for code, count in enumerate(self._tables.withheld) if count}

    def amount(self, atoms: int) -> Decimal:
        """Quote atoms as an amount."""
        return self.instrument.quote_amount(int(atoms))

    # --- room -------------------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Double every table that is more than half full; the loop's memory stays as it is."""
        tables, state = self._tables, self.state
        wider: dict[str, Any] = {}
        for name, table in _LOGS.items():
            log = getattr(tables, table)
            if 2 * int(getattr(state, f"n_{name}")) + 2 * _LOG_ROOM > len(log):
                wider[table] = np.concatenate((log, np.empty_like(log)))
        quotes = 2 * self.config.levels
        if 2 * (state.working + quotes) >= tables.orders.shape[1]:
            wider["orders"] = _wider(tables.orders)
            wider["decision"] = _wider(tables.decision)
        in_flight = state.commands_tail - state.commands_head
        if 2 * (in_flight + state.working + quotes) >= tables.commands.shape[1]:
            wider["commands"] = self._unrolled(tables.commands, int(state.commands_head), int(in_flight))
            state.commands_head, state.commands_tail = 0, in_flight
        self._tables = tables._replace(**wider)

    @staticmethod
    def _unrolled(ring: Any, head: int, count: int) -> Any:
        """A ring twice as wide, with what it holds at its beginning."""
        wide = np.zeros((ring.shape[0], 2 * ring.shape[1]), ring.dtype)
        for i in range(count):
            wide[:, i] = ring[:, (head + i) % ring.shape[1]]
        return wide

    def _raise_broken(self) -> None:
        what = "one side of the book was taken on more levels than can be remembered" if self.state.broken == 2 else (
            "a fill would leave a balance below what is set aside"
        )  # fmt: skip
        raise InvariantBroken(f"{self.instrument.symbol}: {what} (message {self.state.messages} of the recording)")


_LOGS = {
    "orders": "order_log",
    "events": "event_log",
    "fills": "fill_log",
    "quote_states": "quote_state_log",
    "mids": "mid_log",
    "samples": "sample_log",
    "quotes": "quote_log",
}


def _sees_more(maker: decision.MakerNumbers) -> bool:
    return bool(maker.sizes_by_confidence or maker.guard.on or maker.quote.microprice or maker.queue_value_frac > 0.0)


def _way_of(conditions: Conditions, market: PreparedMarket) -> tuple[Any, Any, Any]:
    """(times, latencies, halts) as arrays: what the way to the venue adds from when on, and when the venue is halted."""
    latency = conditions.latency
    halts = np.array(conditions.halts_ns, np.int64).reshape(-1, 2)
    if latency.numbers.model == FEED:
        return *market.feed_delays(), halts
    return np.array(latency.times_ns, np.int64), np.array(latency.recorded_ns, np.int64), halts


def _new_tables(numbers: LoopNumbers, window_ticks: int, requests: int, levels: int, way: tuple[Any, Any, Any]) -> Tables:
    def log(fields: tuple[str, ...]) -> Any:
        return np.empty((4 * _LOG_ROOM, len(fields)), np.int64)

    return Tables(
        state=np.zeros(1, _STATE_TYPE).view(np.recarray),
        bids=np.zeros(window_ticks, np.int64),
        asks=np.zeros(window_ticks, np.int64),
        orders=np.zeros((WORKING_ROWS, _WORKING_ROOM + 4 * levels), np.int64),
        decision=np.zeros((working.DECISION_ROWS, _WORKING_ROOM + 4 * levels), np.int64),
        commands=np.zeros((COMMAND_ROWS, 4 * (_WORKING_ROOM + 4 * levels)), np.int64),
        requests=np.zeros(requests + 1, np.int64),
        taken=np.zeros((2, 4, TAKEN_ROOM), np.int64),
        glft=np.array(quoting.new_table(numbers.maker.quote)),
        guard=np.zeros(toxicity.MEMORY_CELLS, np.int64),
        mids=np.zeros(l2_samples.GRID_MIDS + l2_samples.RETURNS + 1, np.int64),
        spreads=np.zeros(l2_samples.GRID_WINDOW, np.float64),
        imbalances=np.zeros(l2_samples.GRID_WINDOW, np.float64),
        mandate_times=np.zeros((2, 64), np.int64),
        mandate_values=np.zeros((4, 64), np.float64),
        withheld=np.zeros(len(REASONS), np.int64),
        latency_times=way[0],
        latency_values=way[1],
        halts=way[2],
        order_log=log(ORDER_LOG),
        event_log=log(EVENT_LOG),
        fill_log=log(FILL_LOG),
        quote_state_log=log(QUOTE_STATE_LOG),
        mid_log=log(MID_LOG),
        sample_log=log(SAMPLE_LOG),
        quote_log=log(QUOTE_LOG),
    )


def _wider(table: Any) -> Any:
    """The same rows, twice as many columns."""
    return np.concatenate((table, np.zeros_like(table)), axis=1)


def _within_64_bits(numbers: Any) -> Any:
    """The numbers with limits that nothing can reach brought down to 2^62; what could reach that is refused elsewhere."""
    return type(numbers)(*(_within_64_bits(each) if isinstance(each, tuple) else min(each, _SAFE) for each in numbers))


def _refuse_overflow(numbers: LoopNumbers, market: PreparedMarket, base_atoms: int, quote_atoms: int) -> None:
    """`ConfigError` when an amount of this run could outgrow 64 bits, in which compiled arithmetic would wrap around."""
    size = numbers.maker.size
    highest = market.base_tick + market.window_ticks
    fee = max(abs(size.maker_fee_numerator), abs(size.taker_fee_numerator), 4)
    lots = base_atoms // size.base_atoms_per_lot + 1
    worth = max(quote_atoms + lots * highest * size.quote_atoms_per_tick_lot, size.order_value_atoms, size.cap_atoms)
    displayed = int(market.table.size_lots.max(initial=0)) * highest * 2
    if 16 * worth * fee >= _SAFE or displayed >= _SAFE or base_atoms >= _SAFE:
        raise ConfigError(
            f"{market.instrument.symbol}: balances worth {market.instrument.quote_amount(worth)} {market.instrument.quote} in "
            "atoms do not fit the 64-bit arithmetic of the compiled loop; use less capital or a coarser instrument"
        )
