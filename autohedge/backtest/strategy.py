"""The strategy class: what one writes to trade on bars or ticks, and what it may ask of whatever runs it.

A strategy sees what was known at `now_ns` and nothing newer, and acts only through `buy`, `sell` and `cancel`. What runs it,
a backtest on bars or on trades or a live session, stands behind the small `Broker`, so the same class runs in all of them.

What it reads for its opinions (bars, ticks) are floats; what it owns and owes (position, cash, fills) is exact. Requests are
never answered at once: what became of them comes later, as `on_order_filled`, `on_order_rejected` or `on_order_cancelled`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from autohedge.backtest.result import F64, I64
from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.errors import ConfigError
from autohedge.simulation.bar_matching import BPS, lots_for_cash

Number = Decimal | float | int | str
"""An amount or a price as a user writes it; a float is taken by its shortest decimal form."""


# --- what a strategy is told --------------------------------------------------------------------------------------------------


class Bar(NamedTuple):
    """A candle that has ended. `ts_ns` is when it opened, UTC; prices in quote per base, volume in base."""

    ts_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Tick(NamedTuple):
    """The market at one moment: the last trade, and the best prices of the book. None is what this market does not tell.

    `aggressor` is the side that took; `size` is that of the trade, in base.
    """

    ts_ns: int
    last: float | None
    size: float | None
    aggressor: Side | None
    bid: float | None
    ask: float | None


class History(NamedTuple):
    """The newest ended bars, oldest first: copies, so that there is no way from them to a later bar."""

    ts_ns: I64
    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64


class Fill(NamedTuple):
    """A fill of one of our orders. `fee_quote` is its fee in quote; `remaining` what the order still waits for, in base."""

    ts_ns: int
    order_id: ClientOrderId
    side: Side
    price: Decimal
    size: Decimal
    fee_quote: Decimal
    remaining: Decimal
    is_maker: bool


class Rejection(NamedTuple):
    """A request that came to nothing: `reason` is a code (`api_failure`, `insufficient_balance` …), `detail` a sentence."""

    ts_ns: int
    order_id: ClientOrderId
    request: Literal["place", "cancel"]
    reason: str
    detail: str


class Cancellation(NamedTuple):
    """The rest of an order is gone: because we asked for it, or because the market or the account could not serve it."""

    ts_ns: int
    order_id: ClientOrderId
    remaining: Decimal
    reason: str


class WorkingOrder(NamedTuple):
    """An order of ours that may still fill, or is on its way. `price` is None for a market order; sizes in base."""

    order_id: ClientOrderId
    side: Side
    price: Decimal | None
    size: Decimal
    filled: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Position:
    """What is held: base, its average cost without fees (None when flat), and what was realised and paid until now, in quote.

    False in a condition when nothing is held.
    """

    size: Decimal
    average_price: Decimal | None
    realized_quote: Decimal
    fees_quote: Decimal

    def __bool__(self) -> bool:
        return bool(self.size)


# --- what a strategy may ask --------------------------------------------------------------------------------------------------


class Broker(Protocol):
    """What runs a strategy: the account, the clock, and the way to the market.

    It never shows anything that was not known at `now_ns`, never loses a request without telling, and never fills one within
    the call. `place` and `cancel` of a broker whose market is over are answered with a rejection.
    """

    @property
    def instrument(self) -> Instrument:
        """What is traded."""
        ...

    @property
    def now_ns(self) -> int:
        """The time of the market, UTC."""
        ...

    @property
    def position(self) -> Position:
        """What is held."""
        ...

    @property
    def cash(self) -> Decimal:
        """The quote balance."""
        ...

    @property
    def available_cash(self) -> Decimal:
        """The quote balance without what open orders have set aside."""
        ...

    @property
    def equity(self) -> Decimal:
        """The quote balance and what is held, at the newest known price; the cash alone before there is one."""
        ...

    @property
    def open_orders(self) -> tuple[WorkingOrder, ...]:
        """Orders that may still fill, those on their way included, oldest first."""
        ...

    def place(self, side: Side, size_lots: int, price_ticks: int | None, *, post_only: bool, reason: str) -> ClientOrderId:
        """Send an order; None as price is a market order."""
        ...

    def cancel(self, order_id: ClientOrderId, reason: str) -> None:
        """Send a cancel for what is left of an order."""
        ...

    def history(self, bars: int) -> History:
        """Up to so many of the newest ended bars; empty columns when there are none or the market has no bars."""
        ...


class Parameters(BaseModel):
    """Base of a strategy's parameters: frozen, with bounds, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class Strategy:
    """Base of all strategies: override what you need of the `on_…` methods, and keep state that they set up in `on_start`.

    An object runs once. Parameters are given by name and checked by the class's own `Parameters`; a wrong one is a
    `ConfigError`. The account is long only: a sale of more than is held is rejected.
    """

    Parameters: ClassVar[type[Parameters]] = Parameters

    def __init__(self, **parameters: Any) -> None:
        try:
            self.parameters = self.Parameters(**parameters)
        except ValidationError as error:
            raise ConfigError(f"{type(self).__name__}: {_told(error, self.Parameters)}") from error
        self._broker: Broker | None = None

    # --- to be overridden -------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Before the first event."""

    def on_stop(self) -> None:
        """After the last event; orders sent from here are rejected."""

    def on_bar(self, bar: Bar) -> None:
        """A bar has ended. What is sent from here trades from the next bar on."""

    def on_tick(self, tick: Tick) -> None:
        """A trade, or a change of the best prices."""

    def on_order_filled(self, fill: Fill) -> None:
        """An order of ours filled, in whole or in part."""

    def on_position_changed(self, position: Position) -> None:
        """What is held changed; after each `on_order_filled`."""

    def on_order_rejected(self, rejection: Rejection) -> None:
        """A request came to nothing: refused by the rules or the account, or lost on its way."""

    def on_order_cancelled(self, cancellation: Cancellation) -> None:
        """What was left of an order is gone."""

    # --- to be called -----------------------------------------------------------------------------------------------------

    def buy(
        self, size: Number, price: Number | None = None, *, post_only: bool = False, reason: str = "strategy"
    ) -> ClientOrderId:
        """Send a buy of `size` base: at the market, or with a limit `price` (rounded down to a tick). The size is rounded down
        to a lot. Raises `ConfigError` for a number that is none or not positive."""
        instrument = self.broker.instrument
        ticks = None if price is None else instrument.bid_price_floor_ticks(_positive("a price", price))
        return self._place(BUY, size, ticks, post_only=post_only, reason=reason)

    def sell(
        self, size: Number, price: Number | None = None, *, post_only: bool = False, reason: str = "strategy"
    ) -> ClientOrderId:
        """Send a sale of `size` base: at the market, or with a limit `price` (rounded up to a tick); else as `buy`."""
        instrument = self.broker.instrument
        ticks = None if price is None else instrument.ask_price_ceil_ticks(_positive("a price", price))
        return self._place(SELL, size, ticks, post_only=post_only, reason=reason)

    def cancel(self, order_id: ClientOrderId, *, reason: str = "strategy") -> None:
        """Send a cancel for what is left of an order."""
        self.broker.cancel(order_id, reason)

    def history(self, bars: int) -> History:
        """Up to so many of the newest ended bars."""
        return self.broker.history(bars)

    def affordable(self, share_frac: Decimal, price: Number) -> Decimal:
        """How much base a share of the available cash buys at `price`, fees left out, rounded down to a lot."""
        instrument = self.broker.instrument
        ticks = instrument.ask_price_ceil_ticks(_positive("a price", price))
        cash_atoms = instrument.quote_atoms_floor(self.broker.available_cash)
        return instrument.size(lots_for_cash(cash_atoms, int(share_frac * BPS), ticks, instrument.quote_atoms_per_tick_lot))

    @property
    def broker(self) -> Broker:
        """Whatever runs this strategy. Raises `ConfigError` while nothing does."""
        if self._broker is None:
            raise ConfigError(f"{type(self).__name__} is not running: give it to an engine, and trade from its on_… methods")
        return self._broker

    @property
    def position(self) -> Position:
        """What is held."""
        return self.broker.position

    @property
    def cash(self) -> Decimal:
        """The quote balance."""
        return self.broker.cash

    @property
    def equity(self) -> Decimal:
        """The quote balance and what is held, at the newest known price."""
        return self.broker.equity

    @property
    def open_orders(self) -> tuple[WorkingOrder, ...]:
        """Orders that may still fill, oldest first."""
        return self.broker.open_orders

    @property
    def now_ns(self) -> int:
        """The time of the market, UTC."""
        return self.broker.now_ns

    # --- for engines ------------------------------------------------------------------------------------------------------

    def start(self, broker: Broker) -> None:
        """Bind to a broker and begin. Raises `ConfigError` for an object that ran before: its state is not fresh."""
        if self._broker is not None:
            raise ConfigError(f"this {type(self).__name__} has run before: make a new one for each run")
        self._broker = broker
        self.on_start()

    def _place(self, side: Side, size: Number, price_ticks: int | None, *, post_only: bool, reason: str) -> ClientOrderId:
        broker = self.broker
        lots = broker.instrument.floor_to_lot(_positive("a size", size))
        return broker.place(side, lots, price_ticks, post_only=post_only, reason=reason)


def _positive(what: str, value: Number) -> Decimal:
    try:
        number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ConfigError(f"expected {what} above 0, found {value!r}") from error
    if isinstance(value, bool) or not number.is_finite() or number <= 0:
        raise ConfigError(f"expected {what} above 0, found {value!r}")
    return number


def _told(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake in one line."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"no parameter {name}; it has {', '.join(model.model_fields) or 'none'}"
    where = f"{name}: " if name else ""
    return f"{where}{first['msg']}, found {first['input']!r}"
