"""What was known about one symbol at one time: the only thing the desk is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autohedge.errors import InvariantBroken

_NS_PER_HOUR = 3_600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class BookStatistics:
    """Rolling statistics of the book, from events received up to `as_of_ns`.

    Prices in quote units; `spread_bps` of the mid; `imbalance` −1 (all asks) … +1 (all bids) over five levels;
    `volatility` σ per hour on a fixed 1 s grid; `depth_score` 0–100. None where there is too little data to say.
    """

    symbol: str
    as_of_ns: int
    sequence: int
    best_bid: float
    best_ask: float
    mid_price: float
    microprice: float
    spread_bps: float
    spread_bps_mean: float
    imbalance: float
    imbalance_mean: float
    volatility: float | None
    volatility_annualised: float | None
    depth_score: float
    avg_latency_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """The names of the public interface; `spread_pct` is in percent, `volatility` annualised for display."""
        return {
            "symbol": self.symbol,
            "mid_price": self.mid_price,
            "best_bid": self.best_bid,
            "best_ask": self.best_ask,
            "spread_pct": self.spread_bps / 100.0,
            "imbalance": self.imbalance,
            "volatility": self.volatility_annualised,
            "depth_score": self.depth_score,
            "avg_latency_ms": self.avg_latency_ms,
            "sequence": self.sequence,
        }


@dataclass(frozen=True, slots=True)
class TradeStatistics:
    """Public trades of the last `window_s` seconds. None where there was no trade."""

    window_s: float
    trade_count: int
    volume_base: float
    buy_volume_frac: float | None
    vwap: float | None
    high: float | None
    low: float | None
    last_price: float | None
    return_bps: float | None


@dataclass(frozen=True, slots=True)
class BarIndicators:
    """Technical indicators at the last closed bar, in the price's unit but for `rsi` (0–100). None while the bars are too few.

    Lengths in bars: SMA, EMA and Bollinger 20 (two standard deviations), MACD 12/26/9, RSI and ATR 14.
    """

    sma: float | None
    ema: float | None
    macd: float | None
    macd_signal: float | None
    macd_histogram: float | None
    rsi: float | None
    bollinger_upper: float | None
    bollinger_middle: float | None
    bollinger_lower: float | None
    atr: float | None


@dataclass(frozen=True, slots=True)
class BarStatistics:
    """What the bars tell that had closed by `as_of_ns`; nothing of a bar that is still open.

    `closed_ns` is when the last one closed; `close`, `high`, `low` (quote units), `volume_base` and `range_bps` (high − low, in
    bps of the close) are its own. `return_…_bps` go back so many bars. `volatility` is σ per hour of closes of bars that touch.
    Over the last 20 bars: `window_high`, `window_low` (of fewer in the beginning), `volume_zscore` (standard deviations from
    the mean of the 20 before it) and `trend` (net move ÷ path walked, −1 … +1, 0 when nothing moved). None where the bars are
    too few. `indicators` is None where they cannot be computed, and `indicators_problem` says why.
    """

    symbol: str
    as_of_ns: int
    interval_s: float
    bars: int
    closed_ns: int
    close: float
    high: float
    low: float
    volume_base: float
    range_bps: float
    window_high: float
    window_low: float
    return_1_bps: float | None
    return_5_bps: float | None
    return_20_bps: float | None
    volatility: float | None
    volume_zscore: float | None
    trend: float | None
    indicators: BarIndicators | None
    indicators_problem: str


@dataclass(frozen=True, slots=True)
class MarketView:
    """Everything an agent may know: book and trade statistics or bars, and the maker's own position, as of `as_of_ns`.

    A market of candles has no `book` and no `trades` but `bars`, and one with a book has no `bars`: what is None is unknown.
    `inventory_ratio` 0–1 with 0.5 neutral; `exposure_frac` value of base ÷ capital; `pnl_frac` and `drawdown_frac` of
    capital. News are (published_ns, headline), dated, newest last. `InvariantBroken` for a view of nothing.
    """

    symbol: str
    as_of_ns: int
    hour_utc: int
    simulated: bool
    book: BookStatistics | None
    trades: TradeStatistics | None
    inventory_ratio: float
    inventory_target: float
    exposure_frac: float
    max_exposure_frac: float
    pnl_frac: float
    drawdown_frac: float
    news: tuple[tuple[int, str], ...] = ()
    bars: BarStatistics | None = None

    def __post_init__(self) -> None:
        if self.book is None and self.bars is None:
            raise InvariantBroken(f"{self.symbol}: a view has a book or bars, found neither")

    @property
    def price(self) -> float:
        """The mid of the book, or the last close where there is no book; in quote units."""
        if self.book is not None:
            return self.book.mid_price
        assert self.bars is not None
        return self.bars.close


def maker_view(
    *,
    symbol: str,
    now_ns: int,
    simulated: bool,
    inventory_ratio: float,
    inventory_target: float,
    max_exposure_frac: float,
    base_value_atoms: int,
    equity_atoms: int,
    day_open_atoms: int,
    capital_atoms: int,
    drawdown_frac: float,
    book: BookStatistics | None = None,
    trades: TradeStatistics | None = None,
    bars: BarStatistics | None = None,
) -> MarketView:
    """The view of a maker whose balances are in atoms; fractions are of its capital."""
    return MarketView(
        symbol=symbol,
        as_of_ns=now_ns,
        hour_utc=now_ns // _NS_PER_HOUR % 24,
        simulated=simulated,
        book=book,
        trades=trades,
        inventory_ratio=inventory_ratio,
        inventory_target=inventory_target,
        exposure_frac=base_value_atoms / capital_atoms,
        max_exposure_frac=max_exposure_frac,
        pnl_frac=(equity_atoms - day_open_atoms) / capital_atoms,
        drawdown_frac=drawdown_frac,
        bars=bars,
    )
