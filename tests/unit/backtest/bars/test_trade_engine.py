"""Strategies on public trades alone: no queue is known, so nothing is assumed of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from autohedge.backtest.assumptions import Assumptions
from autohedge.backtest.strategy import Fill, Rejection, Strategy, Tick
from autohedge.backtest.trade_engine import NO_BOOK_NOTE, run_trades
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, Side, Trade
from autohedge.errors import ConfigError, MarketDataError

MS_NS = 1_000_000
START_NS = 1_700_000_000_000_000_000


def trades(*rows: tuple[int, float, float, Side]) -> list[Trade]:
    """Milliseconds, price, size and aggressor."""
    return [
        Trade(0, START_NS + ms * MS_NS, number, round(price * 100), round(size * 1_000), side)
        for number, (ms, price, size, side) in enumerate(rows)
    ]


class Scripted(Strategy):
    """Does on tick i what the script says."""

    def __init__(self, script: dict[int, Callable[[Scripted], Any]]) -> None:
        super().__init__()
        self.script = script
        self.ticks: list[Tick] = []
        self.fills: list[Fill] = []
        self.rejections: list[Rejection] = []

    def on_tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        self.script.get(len(self.ticks) - 1, lambda _: None)(self)

    def on_order_filled(self, fill: Fill) -> None:
        self.fills.append(fill)

    def on_order_rejected(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)


@pytest.fixture
def free(plain: Assumptions) -> Assumptions:
    return plain


def sizes(fills: Sequence[Fill]) -> list[tuple[Decimal, Decimal]]:
    return [(fill.price, fill.size) for fill in fills]


def test_trades_at_our_price_fill_others(instrument: Instrument, free: Assumptions) -> None:
    """However much trades there; one tick beyond fills us at our own price, at most with its size."""
    strategy = Scripted({0: lambda s: s.buy(1, 99)})
    market = trades(
        (0, 100, 1, BUY),
        (100, 99, 500, SELL),
        (200, 98.99, 0.4, SELL),
        (300, 98.99, 5, BUY),
        (400, 98.99, 5, SELL),
        (500, 98, 5, SELL),
    )
    result = run_trades(strategy, instrument, market, free)
    assert sizes(strategy.fills) == [(99, Decimal("0.4")), (99, Decimal("0.6"))]
    assert [fill.is_maker for fill in strategy.fills] == [True, True]
    assert NO_BOOK_NOTE in result.notes


def test_one_trade_is_used_once_over_all_our_orders(instrument: Instrument, free: Assumptions) -> None:
    """Two bids and a market sale meet a sale of 1: the better bid gets it all."""
    strategy = Scripted({0: lambda s: s.buy(3), 1: lambda s: (s.buy(1, 99), s.buy(1, 98), s.sell("0.5"))})
    market = trades((0, 100, 1, BUY), (100, 100, 3, BUY), (200, 97, 1, SELL), (300, 97, 0.2, SELL))
    run_trades(strategy, instrument, market, free)
    assert sizes(strategy.fills) == [(100, 3), (99, 1), (98, Decimal("0.2"))]


def test_a_market_order_takes_what_others_of_its_side_took(instrument: Instrument, free: Assumptions) -> None:
    """From trades after its arrival only: 50 ms pass, and a sale tells nothing of what a buy would have paid."""
    strategy = Scripted({0: lambda s: s.buy(1)})
    market = trades((0, 100, 9, BUY), (49, 100, 9, BUY), (60, 90, 9, SELL), (70, 101, 0.3, BUY), (80, 102, 9, BUY))
    run_trades(strategy, instrument, market, free)
    assert sizes(strategy.fills) == [(101, Decimal("0.3")), (102, Decimal("0.7"))]


def test_slippage_is_by_the_share_of_the_trade(instrument: Instrument, free: Assumptions) -> None:
    assumptions = Assumptions.of(**(free.model_dump() | {"slippage_model": "linear", "slippage_factor_frac": 0.01}))
    strategy = Scripted({0: lambda s: s.buy(1)})
    run_trades(strategy, instrument, trades((0, 100, 1, BUY), (100, 100, 2, BUY)), assumptions)
    assert Decimal("100.4") <= strategy.fills[0].price <= Decimal("100.61")


def test_a_strategy_sees_the_trade_and_no_book(instrument: Instrument, free: Assumptions) -> None:
    strategy = Scripted({})
    run_trades(strategy, instrument, trades((7, 100.01, 0.123, SELL)), free)
    assert strategy.ticks == [Tick(START_NS + 7 * MS_NS, 100.01, 0.123, SELL, None, None)]
    assert len(strategy.history(5).close) == 0


def test_money_is_exact_and_the_curve_is_sampled(instrument: Instrument, free: Assumptions) -> None:
    assumptions = Assumptions.of(**(free.model_dump() | {"commission_frac": "0.001"}))
    strategy = Scripted({0: lambda s: s.buy(1), 2: lambda s: s.sell(1)})
    market = trades((0, 100, 9, BUY), (1_000, 101, 9, BUY), (2_500, 103, 9, BUY), (4_000, 102, 9, SELL))
    result = run_trades(strategy, instrument, market, assumptions)
    assert result.fees == Decimal("0.203")
    assert result.final_equity == 10_000 + 1 - Decimal("0.203")
    assert ((result.curve.ts_ns - START_NS) // MS_NS).tolist() == [1_000, 2_000, 3_000, 4_000, 4_000]
    assert result.curve.base.tolist() == [0, 1, 1, 1, 0]
    assert result.curve.equity_quote.tolist() == pytest.approx([10_000, 9_999.899, 10_001.899, 10_001.899, 10_000.797])
    assert result.mids.mid.tolist() == [100, 101, 103, 102]
    assert result.fills.mid.tolist() == [100, 103]
    assert (result.engine, result.data["rows"], result.counts["fills"]) == ("trades", 4, 2)


def test_orders_are_cancelled_and_refused_as_on_bars(instrument: Instrument, free: Assumptions) -> None:
    placed: list[Any] = []
    script: dict[int, Callable[[Scripted], Any]] = {
        0: lambda s: placed.append(s.buy(1, 99)),
        1: lambda s: (s.cancel(placed[0]), s.sell(1), s.buy(500)),
        2: lambda s: (s.buy(1, 95), s.sell(1, 94)),
    }
    strategy = Scripted(script)
    run_trades(strategy, instrument, trades(*((100 * i, 100, 1, BUY) for i in range(4)), (500, 90, 9, SELL)), free)
    assert [each.reason for each in strategy.rejections] == ["insufficient_balance", "insufficient_balance", "self_trade"]
    assert sizes(strategy.fills) == [(95, 1)], "the cancelled bid at 99 is gone"


def test_an_order_before_any_trade_has_no_market(instrument: Instrument, free: Assumptions) -> None:
    class Early(Scripted):
        def on_start(self) -> None:
            self.buy(1)

    strategy = Early({})
    assumptions = Assumptions.of(**(free.model_dump() | {"latency_ms": 0.001}))
    run_trades(strategy, instrument, trades((0, 100, 1, BUY), (1, 100, 1, BUY)), assumptions)
    assert [each.reason for each in strategy.rejections] == ["no_market"]


@pytest.mark.parametrize(
    ("market", "told"),
    [
        ([], "expected trades, found none"),
        (trades((5, 100, 1, BUY), (4, 100, 1, BUY)), r"trade 1: received at .* before"),
        (trades((5, 0, 1, BUY)), r"trade 0: expected a positive price"),
        (trades((5, 100, 0, BUY)), r"trade 0: expected a positive price and size, found 10000, 0"),
    ],
)
def test_trades_that_cannot_be_are_refused(instrument: Instrument, free: Assumptions, market: list[Trade], told: str) -> None:
    with pytest.raises(MarketDataError, match=told):
        run_trades(Scripted({}), instrument, market, free)


def test_a_close_is_of_bars_only(instrument: Instrument) -> None:
    with pytest.raises(ConfigError, match="trades have no close"):
        run_trades(Scripted({}), instrument, trades((0, 100, 1, BUY)), Assumptions.of(fill_at="close"))
