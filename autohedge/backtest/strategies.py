"""Two strategies as examples of the class: a dual moving average on bars, and a grid of resting orders.

They show how to hold a position and how to work orders; neither is a recommendation, and after costs neither is known to earn.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field, model_validator

from autohedge.backtest.strategy import Bar, Fill, Parameters, Rejection, Strategy
from autohedge.domain.ids import ClientOrderId
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.numbers import Exact, Whole
from autohedge.errors import ConfigError


class DualMovingAverageParameters(Parameters):
    """Spans are in bars. The size of an entry is `size` in base, or a share of the cash when it is None."""

    fast: Whole = Field(default=5, ge=1, le=100_000, description="Span of the fast EMA.")
    slow: Whole = Field(default=20, ge=2, le=100_000, description="Span of the slow EMA.")
    size: Exact | None = Field(default=None, gt=0, description="Base bought by an entry; None: a share of the cash.")
    cash_share_frac: Exact = Field(
        default=Decimal("0.95"),
        gt=0,
        le=1,
        decimal_places=4,
        description="Share of the cash that an entry spends; the rest is for fees, slippage and a worse open.",
    )
    warm_up_bars: Whole | None = Field(
        default=None, ge=0, le=1_000_000, description="Bars before the first trade; None: the slow span."
    )

    @model_validator(mode="after")
    def _fast_is_faster(self) -> DualMovingAverageParameters:
        if self.fast >= self.slow:
            raise ValueError(f"fast must be shorter than slow, which is {self.slow}")
        return self

    @property
    def warm_up(self) -> int:
        """Bars before the first trade."""
        return self.slow if self.warm_up_bars is None else self.warm_up_bars


class DualMovingAverage(Strategy):
    """Long while the fast exponential moving average is above the slow one, else flat; market orders.

    The averages start at the first close: ema += (close − ema) × 2 ÷ (span + 1). A crossing is acted on once its bar has ended.
    There are never two orders under way: a crossing meanwhile counts when the order is done. A request that was lost is tried
    again on the next bar; one that was refused waits for the next crossing.
    """

    Parameters = DualMovingAverageParameters
    parameters: DualMovingAverageParameters

    def on_start(self) -> None:
        """Nothing is known yet."""
        self._fast_weight = 2.0 / (self.parameters.fast + 1)
        self._slow_weight = 2.0 / (self.parameters.slow + 1)
        self._fast = self._slow = 0.0
        self._bars = 0
        self._is_above = False
        self._wants_to_act = False

    def on_bar(self, bar: Bar) -> None:
        """Move the averages on, and act where they have crossed."""
        close = bar.close
        if self._bars:
            self._fast = fast = self._fast + self._fast_weight * (close - self._fast)
            self._slow = slow = self._slow + self._slow_weight * (close - self._slow)
        else:
            self._fast = self._slow = fast = slow = close
        self._bars += 1
        if (fast > slow) is not self._is_above:
            self._is_above = fast > slow
            self._wants_to_act = True
        if self._wants_to_act and self._bars > self.parameters.warm_up:
            self._act(close)

    def on_order_rejected(self, rejection: Rejection) -> None:
        """Try again what was lost on its way."""
        if rejection.reason == "api_failure":
            self._wants_to_act = True

    def _act(self, close: float) -> None:
        if self.open_orders:
            return
        self._wants_to_act = False
        held = self.position.size
        if self._is_above and not held:
            size = self.parameters.size or self.affordable(self.parameters.cash_share_frac, close)
            if size:
                self.buy(size, reason="fast above slow")
        elif not self._is_above and held:
            self.sell(held, reason="fast below slow")


class GridParameters(Parameters):
    """Distances are fractions of the first close, around which the grid is laid."""

    levels: Whole = Field(default=5, ge=1, le=100, description="Buy levels below the first close.")
    spacing_frac: Exact = Field(
        default=Decimal("0.005"), gt=0, lt=Decimal("0.5"), description="Distance between levels, fraction of the first close."
    )
    size: Exact | None = Field(default=None, gt=0, description="Base per level; None: an even share of the cash.")

    @model_validator(mode="after")
    def _levels_are_positive(self) -> GridParameters:
        if self.levels * self.spacing_frac >= 1:
            raise ValueError(f"{self.levels} levels of {self.spacing_frac} reach below a price of zero")
        return self


class GridStrategy(Strategy):
    """Buys rest at every level below the first close; what one has bought is offered one level higher, and so on.

    It earns the spacing each time the market comes back and holds everything it bought while the market falls away: an adverse
    path loses. A request that was lost is sent again on the next bar; a level that was refused is left out.
    """

    Parameters = GridParameters
    parameters: GridParameters

    def on_start(self) -> None:
        """The grid is laid on the first bar."""
        self._centre: Decimal | None = None
        self._size = Decimal(0)
        self._level_of: dict[ClientOrderId, tuple[int, Side]] = {}
        self._to_send: list[tuple[int, Side]] = []

    def on_bar(self, bar: Bar) -> None:
        """Lay the grid on the first bar; then send what a fill or a lost request calls for."""
        if self._centre is None:
            self._lay(bar.close)
        to_send, self._to_send = self._to_send, []
        for level, side in to_send:
            self._send(level, side)

    def on_order_filled(self, fill: Fill) -> None:
        """A level that is through asks for its counterpart."""
        if not fill.remaining:
            level, side = self._level_of.pop(fill.order_id)
            self._to_send.append((level, SELL if side is BUY else BUY))

    def on_order_rejected(self, rejection: Rejection) -> None:
        """Send again what was lost on its way."""
        level = self._level_of.pop(rejection.order_id, None)
        if level is not None and rejection.reason == "api_failure":
            self._to_send.append(level)

    def _lay(self, close: float) -> None:
        self._centre = Decimal(repr(close))
        share = Decimal("0.99") / self.parameters.levels
        self._size = self.parameters.size or self.affordable(share.quantize(Decimal("0.0001")), close)
        if not self._size:
            raise ConfigError(
                f"{type(self).__name__}: the cash buys less than a lot on each of {self.parameters.levels} levels"
            )
        self._to_send = [(level, BUY) for level in range(1, self.parameters.levels + 1)]

    def _send(self, level: int, side: Side) -> None:
        if self._centre is None:
            return
        step = self._centre * self.parameters.spacing_frac
        if side is BUY:
            order_id = self.buy(self._size, self._centre - step * level, reason=f"grid level {level}")
        else:
            order_id = self.sell(self._size, self._centre - step * (level - 1), reason=f"grid level {level}")
        self._level_of[order_id] = (level, side)
