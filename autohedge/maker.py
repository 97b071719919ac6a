"""`MarketMaker`: the maker alone, in familiar names. `run` is the same session as everywhere, with the rule desk by default.

`simulate_order` is manual bookkeeping for a user's own trials: it fills at once at the price given, which no market would
promise, so the loop never calls it and every row it writes is marked simulated.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from loguru import logger

from autohedge.bootstrap import Opening, Plan, Run, prepare
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import Liquidity
from autohedge.domain.records import FillRecord, OpeningRecord
from autohedge.errors import ConfigError, MarketDataError, StorageError
from autohedge.lane import Lane
from autohedge.market_maker.config import BPS, MarketMakingConfig
from autohedge.market_maker.sizing import SizeRules, order_size_lots, totals_of
from autohedge.operations.clock import SystemClock
from autohedge.ports import Clock
from autohedge.settings import build_settings, only_given, parse_duration_s
from autohedge.storage.csv_log import CsvWriter, csv_name

_EXACT = Context(prec=120, traps=[Inexact, InvalidOperation])
"""Manual trades are kept to the last digit; a result that would need more than 120 digits is refused."""


@dataclass(frozen=True, slots=True)
class MarketData:
    """The market as of `timestamp` (UTC nanoseconds). Prices in quote, `volume` in base traded over the last minute."""

    timestamp: int
    best_bid: Decimal
    best_ask: Decimal
    last_price: Decimal
    volume: Decimal


class _Valued(NamedTuple):
    """Balances, and what they are worth at the price of the trade."""

    base: Decimal
    quote: Decimal
    total_value: Decimal


class MarketMaker:
    """One maker. `config` is public and frozen; `current_inventory` is exact and never negative.

    `market` is sim (the default) or replay:PATH, `every` (60s) the market time between desk cycles, `cycles` their number.
    `settings` takes anything else as nested names ({"model": {"name": "llama3"}}); an argument that is given wins over it, and
    the maker's own settings are `config`. Raises `ConfigError` or `MarketDataError` for whatever does not fit; nothing is
    written before the first manual trade or the first run.
    """

    def __init__(
        self,
        config: MarketMakingConfig | None = None,
        *,
        market: str | None = None,
        cycles: int | None = None,
        every: str | None = None,
        seed: int | None = None,
        output_dir: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config or MarketMakingConfig()
        self._clock = clock or SystemClock()
        settings = settings or {}
        for name, instead in (("maker", "config"), ("symbols", "config.trading_pair")):
            if name in settings:
                raise ConfigError(f"settings of a MarketMaker have no {name!r}; give {instead}")
        self._settings = build_settings(
            settings,
            only_given(
                symbols=(self.config.trading_pair,),
                market=market,
                seed=seed,
                out_dir=None if output_dir is None else Path(output_dir),
                maker=self.config.model_dump(),
                desk=only_given(cycles=cycles, every_s=None if every is None else parse_duration_s(every)),
            ),
        )
        self._plan: Plan | None = self._prepare(None)
        self._instrument: Instrument = self._plan.feeds[0].instrument
        self._base, self._quote = self.config.initial_base, self.config.total_capital
        self._lock = threading.Lock()
        self._market_data: MarketData | None = None
        self._csv: CsvWriter | None = None
        self._csv_path = self._settings.out_dir / csv_name((self.config.trading_pair,), f"manual-{self._clock.now_ns()}")
        self._trades = 0
        self._run: Run | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = False
        self.summary: dict[str, Any] | None = None

    # --- what is public -------------------------------------------------------------------------------------------

    @property
    def current_inventory(self) -> dict[str, Decimal]:
        """{"base", "quote"} now: of the running session, or of the manual trades. A copy: changing it changes nothing."""
        lane = self._lane
        if lane is not None:
            instrument, inventory = lane.instrument, lane.inventory
            return {
                "base": instrument.base_amount(inventory.base_atoms),
                "quote": instrument.quote_amount(inventory.quote_atoms),
            }
        with self._lock:
            return {"base": self._base, "quote": self._quote}

    @property
    def active_orders(self) -> dict[str, dict[str, Any]]:
        """Orders that may still fill, by client order id; empty when nothing runs."""
        lane = self._lane
        if lane is None:
            return {}
        return {
            order.client_order_id: {
                "type": "buy" if order.side is BUY else "sell",
                "price": None if order.price_ticks is None else lane.instrument.price(order.price_ticks),
                "amount": lane.instrument.size(order.remaining_lots),
                "status": order.state.value,
            }
            for order in tuple(lane.order_desk.working.values())
        }

    @property
    def csv_filename(self) -> str:
        """The CSV log: of the session once one was started, before that of the manual trades (made with the first of them)."""
        return str(self._run.ledger.csv_path if self._run is not None else self._csv_path)

    @property
    def market_data(self) -> MarketData | None:
        """The market as seen by the session, or before there is one as set by the user.

        None while it is not known: before either, and while the session's book is not synchronised, one-sided or crossed.
        """
        lane = self._lane
        if lane is None:
            return self._market_data
        if lane.opening is None or lane.market_problem(lane.now_ns) not in ("", "stale"):
            return None
        instrument, book = lane.instrument, lane.book
        return MarketData(
            timestamp=lane.now_ns,
            best_bid=instrument.price(book.best_bid_ticks),
            best_ask=instrument.price(book.best_ask_ticks),
            last_price=lane.mark_price,
            volume=Decimal(repr(lane.statistics.trades(lane.now_ns).volume_base)),
        )

    @market_data.setter
    def market_data(self, value: MarketData | None) -> None:
        if self._lane is not None:
            raise ConfigError("market_data is the session's own once it runs; it cannot be set")
        self._market_data = value

    def calculate_order_size(self, side: str = "buy") -> Decimal:
        """Size of the next order in base, whole lots; 0 when capital, cap or balance leave less than the venue's minimum.

        `MarketDataError` while no price is known: an unknown price is not a size of zero.
        """
        if side not in ("buy", "sell"):
            raise ConfigError(f"side is buy or sell, found {side!r}")
        data = self.market_data
        if data is None:
            raise MarketDataError("no price is known yet: run the maker, or set market_data")
        instrument, inventory = self._instrument, self.current_inventory
        price = positive("market_data.last_price", data.last_price)
        ticks = instrument.bid_price_floor_ticks(price) if side == "buy" else instrument.ask_price_ceil_ticks(price)
        rules = SizeRules.of(self.config, instrument)
        lots = order_size_lots(
            rules,
            BUY if side == "buy" else SELL,
            ticks,
            instrument.base_atoms_floor(inventory["base"]),
            instrument.quote_atoms_floor(inventory["quote"]),
            totals_of(self._lane.order_desk.working.values() if self._lane is not None else (), rules.numbers),
        )
        return instrument.size(lots)

    def simulate_order(self, order_type: str, price: Any, amount: Any) -> dict[str, Any]:
        """Book a trade of your own at `price`, maker fee in quote; {} with a warning when the balance does not allow it.

        Raises `ConfigError`, with nothing changed, for anything that is not a positive finite number or a side.
        """
        if order_type not in ("buy", "sell"):
            raise ConfigError(f"order_type is buy or sell, found {order_type!r}")
        price_exact, size = positive("price", price), positive("amount", amount)
        with self._lock:
            if self._running or self._run is not None:
                raise ConfigError("simulate_order is for trials before a session; once it started the inventory is its own")
            base, quote = self._base, self._quote
            try:
                notional = _EXACT.multiply(price_exact, size)
                fee = _EXACT.multiply(notional, _EXACT.divide(self.config.maker_fee_bps, BPS))
                cost = _EXACT.add(notional, fee)
                if order_type == "buy":
                    after_base, after_quote = _EXACT.add(base, size), _EXACT.subtract(quote, cost)
                else:
                    after_base = _EXACT.subtract(base, size)
                    after_quote = _EXACT.add(quote, _EXACT.subtract(notional, fee))
                before, after = _valued(base, quote, price_exact), _valued(after_base, after_quote, price_exact)
            except Inexact:
                raise ConfigError("the balances would have more than 120 digits; give fewer decimals") from None
            if after_quote < 0:
                logger.warning("Insufficient funds: {} {} needed with the fee, {} held", cost, self._instrument.quote, quote)
                return {}
            if after_base < 0:
                logger.warning("Insufficient base asset: {} {} needed, {} held", size, self._instrument.base, base)
                return {}
            number = self._trades + 1
            order_id = f"manual-{number:06d}"
            self._write(order_type, order_id, price_exact, size, fee, before, after)
            self._trades = number
            self._base, self._quote = after_base, after_quote
        return {"order_id": order_id, "type": order_type, "price": price_exact, "amount": size, "status": "filled"}

    # --- running --------------------------------------------------------------------------------------------------

    async def run(self) -> dict[str, Any]:
        """`market_making_strategy` with SIGINT and SIGTERM draining it; returns the summary.

        Whoever handled the signals before does so again afterwards.
        """
        if threading.current_thread() is not threading.main_thread():
            return await self.market_making_strategy()
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            loop.add_signal_handler(number, self.stop)
        try:
            return await self.market_making_strategy()
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    async def market_making_strategy(self) -> dict[str, Any]:
        """Refresh → quote → risk check → place, replace, cancel → fills → log, until the market or the cycles end.

        Called again, it is a new run that starts with the inventory of the last one.
        """
        with self._lock:
            if self._running:
                raise ConfigError("this maker already runs; wait for it or make another one")
            opening = self._opening(self._base, self._quote)
            self._running = True
        try:
            plan, self._plan = self._plan, None
            if plan is None or self._trades:
                if plan is not None and plan.model_client is not None:
                    await plan.model_client.aclose()
                plan = self._prepare(opening)
            self._run, self._loop = plan.start(), asyncio.get_running_loop()
            self._close_csv()
            try:
                self.summary = await self._run.drive()
            except BaseException:
                self.summary = self._run.summary()
                raise
            finally:
                inventory = self.current_inventory
                self._base, self._quote = inventory["base"], inventory["quote"]
            return self.summary
        finally:
            self._running = False

    def stop(self) -> None:
        """Drain: cancel the quotes, keep the inventory, end the run. May be called from any thread."""
        run, loop = self._run, self._loop
        if run is None or loop is None or not self._running:
            return
        if _running_loop() is loop:
            run.session.request_stop()
        else:
            loop.call_soon_threadsafe(run.session.request_stop)

    # --- inside ---------------------------------------------------------------------------------------------------

    @property
    def _lane(self) -> Lane | None:
        return self._run.session.lanes[0] if self._run is not None else None

    def _prepare(self, opening: Opening | None) -> Plan:
        openings = {} if opening is None else {self.config.trading_pair: opening}
        return prepare(self._settings, kind="library", clock=self._clock, openings=openings)

    def _opening(self, base: Decimal, quote: Decimal) -> Opening:
        instrument = self._instrument
        opening = Opening(instrument.base_atoms_floor(base), instrument.quote_atoms_floor(quote))
        if instrument.base_amount(opening.base_atoms) != base or instrument.quote_amount(opening.quote_atoms) != quote:
            raise ConfigError(
                f"the manual trades left {base} {instrument.base} and {quote} {instrument.quote}, finer than the assets' "
                "atoms; a session cannot start from there"
            )
        return opening

    def _write(
        self,
        side: str,
        order_id: str,
        price: Decimal,
        size: Decimal,
        fee: Decimal,
        before: _Valued,
        after: _Valued,
    ) -> None:
        now_ns, symbol = self._clock.now_ns(), self.config.trading_pair
        if self._csv is None:
            self._csv = self._opened_csv(OpeningRecord(symbol, now_ns, price, *before))
        self._csv.append(
            self._csv.fill_line(
                FillRecord(
                    symbol=symbol,
                    ts_ns=now_ns,
                    trade_id=order_id,
                    client_order_id=order_id,
                    side=side,
                    price=price,
                    size=size,
                    fee=fee,
                    fee_asset=self._instrument.quote,
                    liquidity=Liquidity.MAKER,
                    base_after=after.base,
                    quote_after=after.quote,
                    total_value=after.total_value,
                    mandate_id="",
                    decision_source="manual",
                    reason="simulate_order",
                )
            )
        )

    def _opened_csv(self, opening: OpeningRecord) -> CsvWriter:
        try:
            self._csv_path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make {self._csv_path.parent}: {error.strerror}; choose another output_dir") from error
        writer = CsvWriter(self._csv_path, simulated=True)
        try:
            writer.append(writer.opening_line(opening))
        except StorageError:
            writer.discard()
            raise
        weakref.finalize(self, writer.close)
        return writer

    def _close_csv(self) -> None:
        if self._csv is not None:
            self._csv.close()


def _valued(base: Decimal, quote: Decimal, price: Decimal) -> _Valued:
    return _Valued(base, quote, _EXACT.add(_EXACT.multiply(base, price), quote))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def positive(name: str, value: Any) -> Decimal:
    """`value` as an exact positive number; `ConfigError` for NaN, infinity, zero, negatives, booleans and non-numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ConfigError(f"{name} must be a positive number, found {value!r}")
    try:
        number = Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise ConfigError(f"{name} must be a positive number, found {value!r}") from None
    if not number.is_finite() or number <= 0:
        raise ConfigError(f"{name} must be a positive finite number, found {value!r}")
    return number
