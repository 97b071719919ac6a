"""`MarketMaker`: the maker alone, in familiar names. `run` is the same session as everywhere, with the rule desk by default.

`simulate_order` is manual bookkeeping for a user's own trials: it fills at once at the price given, which no market would
promise, so the loop never calls it and every row it writes is marked simulated.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any

from loguru import logger

from autohedge.bootstrap import Opening, Plan, Run, prepare
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL
from autohedge.domain.orders import Liquidity
from autohedge.domain.records import FillRecord, OpeningRecord
from autohedge.errors import ConfigError, MarketDataError
from autohedge.lane import Lane
from autohedge.market_maker.config import BPS, MarketMakingConfig
from autohedge.market_maker.sizing import SizeRules, WorkingTotals, order_size_lots
from autohedge.operations.clock import SystemClock
from autohedge.ports import Clock
from autohedge.settings import build_settings, parse_duration_s
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


class MarketMaker:
    """One maker. `config` is public and frozen; `current_inventory` is exact and never negative.

    `settings` takes anything else as nested names ({"desk": {"cycles": 3}}); `market` is sim or replay:PATH.
    """

    def __init__(
        self,
        config: MarketMakingConfig | None = None,
        *,
        market: str = "sim",
        cycles: int | None = None,
        every: str = "60s",
        seed: int = 7,
        output_dir: str | Path = "outputs",
        settings: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config or MarketMakingConfig()
        self._clock = clock or SystemClock()
        self._settings = build_settings(
            settings or {},
            {
                "symbols": (self.config.trading_pair,),
                "market": market,
                "seed": seed,
                "out_dir": Path(output_dir),
                "maker": self.config.model_dump(),
                "desk": {"every_s": parse_duration_s(every)} | ({"cycles": cycles} if cycles is not None else {}),
            },
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
            for order in lane.working.values()
        }

    @property
    def csv_filename(self) -> str:
        """The CSV log: of the session once one was started, before that of the manual trades (made with the first of them)."""
        return str(self._run.ledger.csv_path if self._run is not None else self._csv_path)

    @property
    def market_data(self) -> MarketData | None:
        """The market as last seen by the session, or as set by the user; None before either."""
        lane = self._lane
        if lane is None or lane.opening is None:
            return self._market_data
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
            WorkingTotals.of(self._lane.working.values() if self._lane is not None else (), rules),
        )
        return instrument.size(lots)

    def simulate_order(self, order_type: str, price: Any, amount: Any) -> dict[str, Any]:
        """Book a trade of your own at `price`, maker fee in quote; {} with a warning when the balance does not allow it.

        Raises `ConfigError`, with nothing changed, for anything that is not a positive finite number or a side.
        """
        if order_type not in ("buy", "sell"):
            raise ConfigError(f"order_type is buy or sell, found {order_type!r}")
        price_exact, size = positive("price", price), positive("amount", amount)
        if self._lane is not None:
            raise ConfigError("simulate_order is for trials before a session; once one was started the inventory is its own")
        try:
            notional = _EXACT.multiply(price_exact, size)
            fee = _EXACT.multiply(notional, self.config.maker_fee_bps / BPS)
        except Inexact:
            raise ConfigError("price times amount has more than 120 digits; give fewer decimals") from None
        with self._lock:
            base, quote = self._base, self._quote
            after_base, after_quote = (
                (base + size, quote - notional - fee) if order_type == "buy" else (base - size, quote + notional - fee)
            )
            if after_quote < 0:
                logger.warning(
                    "Insufficient funds: {} {} needed with the fee, {} held", notional + fee, self._instrument.quote, quote
                )
                return {}
            if after_base < 0:
                logger.warning("Insufficient base asset: {} {} needed, {} held", size, self._instrument.base, base)
                return {}
            number = self._trades + 1
            order_id = f"manual-{number:06d}"
            self._write(order_type, order_id, price_exact, size, fee, (base, quote), (after_base, after_quote))
            self._trades = number
            self._base, self._quote = after_base, after_quote
        return {"order_id": order_id, "type": order_type, "price": price_exact, "amount": size, "status": "filled"}

    # --- running --------------------------------------------------------------------------------------------------

    async def run(self) -> dict[str, Any]:
        """`market_making_strategy` with SIGINT and SIGTERM draining it; returns the summary."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        try:
            return await self.market_making_strategy()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def market_making_strategy(self) -> dict[str, Any]:
        """Refresh → quote → risk check → place, replace, cancel → fills → log, until the market or the cycles end."""
        if self._run is not None and self.summary is None:
            raise ConfigError("this maker already runs; wait for it or make another one")
        with self._lock:
            opening = self._opening(self._base, self._quote)
        plan = self._plan if self._plan is not None and not self._trades else self._prepare(opening)
        self._plan, self.summary = None, None
        self._run = plan.start()
        try:
            await self._run.session.run(plan.cycles)
        except BaseException as error:
            self.summary = await self._run.finish("failed", note=str(error))
            raise
        self.summary = await self._run.finish()
        return self.summary

    def stop(self) -> None:
        """Drain: cancel the quotes, keep the inventory, end the run."""
        if self._run is not None:
            self._run.session.request_stop()

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
        before: tuple[Decimal, Decimal],
        after: tuple[Decimal, Decimal],
    ) -> None:
        now_ns, symbol = self._clock.now_ns(), self.config.trading_pair
        if self._csv is None:
            self._csv_path.parent.mkdir(parents=True, exist_ok=True)
            self._csv = CsvWriter(self._csv_path, simulated=True)
            base, quote = before
            self._csv.append(
                self._csv.opening_line(OpeningRecord(symbol, now_ns, price, base, quote, _EXACT.multiply(base, price) + quote))
            )
        base, quote = after
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
                    base_after=base,
                    quote_after=quote,
                    total_value=_EXACT.multiply(base, price) + quote,
                    mandate_id="",
                    decision_source="manual",
                    reason="simulate_order",
                )
            )
        )


def positive(name: str, value: Any) -> Decimal:
    """`value` as an exact positive number; `ConfigError` for NaN, infinity, zero, negatives, booleans and non-numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ConfigError(f"{name} must be a positive number, found {value!r}")
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise ConfigError(f"{name} must be a positive number, found {value!r}") from None
    if not number.is_finite() or number <= 0:
        raise ConfigError(f"{name} must be a positive finite number, found {value!r}")
    return number
