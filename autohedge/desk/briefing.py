"""The view as text for prompts, written once per cycle and shared by all agents.

Promises: only what was known at the view's time (a headline dated later is left out), numbers with their units, the time only
as the view's `as_of`, everything as delimited data. What is unknown is written "unknown", never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any

from autohedge.desk.rules import known_news
from autohedge.domain.records import MAX_TASK_CHARS
from autohedge.domain.view import BarIndicators, BarStatistics, BookStatistics, MarketView, TradeStatistics
from autohedge.llm.catalog import Data, clean_text, data_block, data_line

MAX_HEADLINES = 20
MAX_HEADLINE_CHARS = 240
NS_PER_S = 1_000_000_000


def _no_limit() -> float:
    return inf


@dataclass(frozen=True, slots=True)
class Briefing:
    """What all agents of a cycle share: the variables that do not change within it, and the seconds left for models."""

    values: Mapping[str, Data]
    time_left_s: Callable[[], float]

    @classmethod
    def of(
        cls, view: MarketView, task: str, max_drawdown_frac: float, time_left_s: Callable[[], float] = _no_limit
    ) -> Briefing:
        """Symbol, as_of, task, market, position, limits and news of a view."""
        return cls(
            {
                "symbol": data_line(view.symbol),
                "as_of": data_line(iso_time(view.as_of_ns)),
                "task": data_block("task", clean_text(task, MAX_TASK_CHARS) or "none given"),
                "market": data_block("market", _market(view)),
                "position": data_block("position", _position(view)),
                "limits": data_block("limits", _limits(view, max_drawdown_frac)),
                "news": data_block("news", _news(view)),
            },
            time_left_s,
        )


def opinion_block(name: str, value: Mapping[str, Any] | None) -> Data:
    """What an agent said, one field per line; "not asked" when it was not."""
    if value is None:
        return data_block(name, "not asked")
    if "abstained" in value:
        return data_block(name, f"no opinion: {value['abstained']}")
    return data_block(name, "\n".join(_lines(value)))


def refusals_block(refusals: Iterable[str]) -> Data:
    """Why earlier theses of this cycle were refused, one per line; "none" before the first refusal."""
    return data_block("refusals", "\n".join(f"- {reason}" for reason in refusals) or "none")


def iso_time(at_ns: int) -> str:
    """UTC to the second, 2024-08-08T12:00:00Z. Times that have no calendar date are given in nanoseconds."""
    try:
        return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at_ns} ns"


def _lines(value: Mapping[str, Any]) -> Iterable[str]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield f"{name}: " + ", ".join(f"{key} {_number(inner)}" for key, inner in item.items())
        elif isinstance(item, list):
            yield f"{name}: " + "; ".join(map(str, item))
        else:
            yield f"{name}: {_number(item)}"


def _number(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


Rows = tuple[tuple[str, float | int | str | None], ...]


def _market(view: MarketView) -> str:
    rows: Rows = (("simulated market", "yes" if view.simulated else "no"), ("hour of day, UTC", view.hour_utc))
    if view.book is not None:
        rows += _book_rows(view.book)
    if view.trades is not None:
        rows += _trade_rows(view.trades)
    if view.bars is not None:
        rows += _bar_rows(view.bars)
    return "\n".join(f"{label}: {_number(value)}" for label, value in rows)


def _book_rows(book: BookStatistics) -> Rows:
    return (
        ("best bid, quote units", book.best_bid),
        ("best ask, quote units", book.best_ask),
        ("mid price, quote units", book.mid_price),
        ("microprice, quote units", book.microprice),
        ("spread, bps of mid", book.spread_bps),
        ("mean spread, bps of mid", book.spread_bps_mean),
        ("book imbalance, -1 all asks to +1 all bids", book.imbalance),
        ("mean book imbalance, -1 to +1", book.imbalance_mean),
        ("volatility, fraction per hour", book.volatility),
        ("depth score, 0 to 100", book.depth_score),
    )


def _trade_rows(trades: TradeStatistics) -> Rows:
    return (
        ("trades: window, seconds", trades.window_s),
        ("trades: count", trades.trade_count),
        ("trades: volume, base units", trades.volume_base),
        ("trades: bought share of volume, 0 to 1", trades.buy_volume_frac),
        ("trades: vwap, quote units", trades.vwap),
        ("trades: high, quote units", trades.high),
        ("trades: low, quote units", trades.low),
        ("trades: last price, quote units", trades.last_price),
        ("trades: return over the window, bps", trades.return_bps),
    )


def _bar_rows(bars: BarStatistics) -> Rows:
    return (
        ("best bid, best ask, spread, book imbalance, depth score, trades", "unknown: this market is known by its bars only"),
        ("bars: length of one, seconds", bars.interval_s),
        ("bars: closed so far", bars.bars),
        ("bars: seconds since the last one closed", (bars.as_of_ns - bars.closed_ns) / NS_PER_S),
        ("last close, quote units", bars.close),
        ("last bar: high, quote units", bars.high),
        ("last bar: low, quote units", bars.low),
        ("last bar: range, bps of close", bars.range_bps),
        ("last bar: volume, base units", bars.volume_base),
        ("return over 1 bar, bps", bars.return_1_bps),
        ("return over 5 bars, bps", bars.return_5_bps),
        ("return over 20 bars, bps", bars.return_20_bps),
        ("volatility, fraction per hour", bars.volatility),
        ("trend over 20 bars, -1 straight down to +1 straight up", bars.trend),
        ("high of 20 bars, quote units", bars.window_high),
        ("low of 20 bars, quote units", bars.window_low),
        ("volume of the last bar, standard deviations from the 20 before", bars.volume_zscore),
        *_indicator_rows(bars.indicators, bars.indicators_problem),
    )


def _indicator_rows(found: BarIndicators | None, problem: str) -> Rows:
    if found is None:
        return (("indicators", f"unknown: {problem}"),)
    return (
        ("SMA 20, quote units", found.sma),
        ("EMA 20, quote units", found.ema),
        ("MACD 12/26, quote units", found.macd),
        ("MACD signal 9, quote units", found.macd_signal),
        ("MACD histogram, quote units", found.macd_histogram),
        ("RSI 14, 0 to 100", found.rsi),
        ("Bollinger upper, 20 bars and 2 standard deviations, quote units", found.bollinger_upper),
        ("Bollinger middle, quote units", found.bollinger_middle),
        ("Bollinger lower, quote units", found.bollinger_lower),
        ("ATR 14, quote units", found.atr),
    )


def _position(view: MarketView) -> str:
    rows = (
        ("inventory ratio, 0 to 1, 0.5 neutral", view.inventory_ratio),
        ("inventory target, same scale", view.inventory_target),
        ("exposure, fraction of capital", view.exposure_frac),
        ("profit and loss, fraction of capital", view.pnl_frac),
        ("drawdown, fraction of capital", view.drawdown_frac),
    )
    return "\n".join(f"{label}: {_number(value)}" for label, value in rows)


def _limits(view: MarketView, max_drawdown_frac: float) -> str:
    return (
        f"largest exposure, fraction of capital: {_number(view.max_exposure_frac)}\n"
        f"largest drawdown, fraction of capital: {_number(max_drawdown_frac)}"
    )


def _news(view: MarketView) -> str:
    newest = known_news(view)[-MAX_HEADLINES:]
    return (
        "\n".join(f"{iso_time(at)} {' '.join(clean_text(text, MAX_HEADLINE_CHARS).split())}" for at, text in newest) or "none"
    )
