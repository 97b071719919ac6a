"""Every limit of `RiskLimits` stops something at its value and nothing just below; a limit that nothing reads fails here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from autohedge.bootstrap import prepare
from autohedge.domain.ids import ClientOrderId
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, BookSnapshot, Trade
from autohedge.domain.orders import Order, OrderState
from autohedge.domain.records import CycleOutcome, CycleRequest
from autohedge.errors import ConfigError
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.sizing import SizeRules
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.limits import RiskLimits
from autohedge.risk.portfolio import Held, Portfolio
from autohedge.risk.pretrade import OrderRequest, PreTradeRisk, RiskContext
from autohedge.settings import build_settings, validated
from autohedge.storage.stream import StreamLedger

INSTRUMENT = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.0001"),
    min_qty=Decimal("0.0001"),
    max_qty=Decimal(9_000),
    min_notional=Decimal(10),
    max_notional=None,
    venue="test",
    rules_as_of="",
)
MS, S, USDT = 1_000_000, 1_000_000_000, 10**8
NOW = 1_700_000_000 * S


def stopped_by(limits: dict[str, Any], *, price: int = 10_000, lots: int = 5_000, **changed: Any) -> list[str]:
    """The checks that refuse a buy of half a unit at 100.00 in a market of 99.99 to 100.01."""
    made = PreTradeRisk(RiskLimits(**limits), SizeRules.of(MarketMakingConfig(), INSTRUMENT))
    usual = RiskContext(
        now_ns=NOW,
        best_bid_ticks=9_999,
        best_ask_ticks=10_001,
        market_problem="",
        base_atoms=0,
        quote_atoms=10_000 * USDT,
        inventory_ratio=0.5,
        daily_loss_hit="",
    )
    verdict = made.check(OrderRequest("new", BUY, price, lots), usual._replace(**changed))
    return [result.check for result in verdict.results if not result.passed]


def order_value(beyond: bool) -> bool:
    """An order of 50.00 USDT."""
    return "notional" in stopped_by({"max_order_notional_quote": "49.999999" if beyond else "50"})


def imbalance(beyond: bool) -> bool:
    return "inventory_imbalance" in stopped_by({"max_inventory_imbalance": 0.3}, inventory_ratio=0.8 if beyond else 0.7999)


def daily_loss_in_quote(beyond: bool) -> bool:
    equity = 9_800 * USDT - (0 if beyond else -1)
    limits: dict[str, Any] = {"max_daily_loss_quote": 200}
    hit = DailyLoss(INSTRUMENT, RiskLimits(**limits), 10_000 * USDT).update(NOW, equity)
    return "daily_loss" in stopped_by(limits, daily_loss_hit=hit)


def daily_loss_as_a_fraction(beyond: bool) -> bool:
    equity = 9_700 * USDT - (0 if beyond else -1)
    limits: dict[str, Any] = {"max_daily_loss_frac": 0.03}
    hit = DailyLoss(INSTRUMENT, RiskLimits(**limits), 10_000 * USDT).update(NOW, equity)
    return "daily_loss" in stopped_by(limits, daily_loss_hit=hit)


def request_rate(beyond: bool) -> bool:
    return "order_rate" in stopped_by({"max_requests_per_min": 7}, requests_last_min=7 if beyond else 6)


def collar(beyond: bool) -> bool:
    return "price_collar" in stopped_by({"price_collar_frac": 0.02}, price=9_799 if beyond else 9_800)


def duplicate_window(beyond: bool) -> bool:
    age_ns = 300 * MS - (1 if beyond else 0)
    same = Order(ClientOrderId("old"), BUY, 10_000, 5_000, True, "quote", NOW - age_ns, "", "", OrderState.SUBMITTED)
    return "duplicate" in stopped_by({"duplicate_window_ms": 300}, working=(same,))


class NoDesk:
    """A desk that nobody asks."""

    model_name = None

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        raise AssertionError(f"{request.symbol}: no cycle was due")

    async def aclose(self) -> None:
        """Nothing to release."""


def data_age(beyond: bool) -> bool:
    """The whole way from a setting to the symbol's lane: a trade tells nothing about the book, so the book grows old."""
    plan = prepare(build_settings({"limits": {"max_data_age_ms": 700}}), desk=NoDesk(), environ={}, open_end=True)
    (lane,) = plan.session(StreamLedger()).lanes
    lane.on_event(BookSnapshot(0, NOW, 1, ((9_999, 10**6),), ((10_001, 10**6),)))
    assert lane.explanation is not None and lane.explanation.market.problem == ""
    late_ns = NOW + 700 * MS - (0 if beyond else 1)
    lane.on_event(Trade(0, late_ns, 1, 10_000, 1, BUY))
    assert lane.explanation.ts_ns == late_ns
    withheld = dict(lane.explanation.decision.withheld)
    return lane.explanation.market.problem == "stale" and withheld[BUY] == "stale"


OTHER = replace(INSTRUMENT, symbol="ETH/USDT", base="ETH")


def of_two(limits: dict[str, Any], **other: int) -> Portfolio:
    """10,000 USDT on two symbols: nothing happened on the first, and the other is as given."""
    made = Portfolio(RiskLimits(**limits), [INSTRUMENT, OTHER], Decimal(10_000))
    held = {"exposure_atoms": 0, "equity_atoms": 5_000 * USDT}
    for instrument, now in ((INSTRUMENT, Held(**held)), (OTHER, Held(**{**held, **other}))):
        made.join(instrument.symbol, partial(Held._make, now))
        made.opened(instrument.symbol, 5_000 * USDT)
    return made


def portfolio_exposure(beyond: bool) -> bool:
    """A buy of half a unit at a mid of 100, and the other symbol has 450 of the 500 that all may hold."""
    limits: dict[str, Any] = {"max_portfolio_exposure_frac": "0.05"}
    portfolio = of_two(limits, exposure_atoms=450 * USDT + beyond)
    return "portfolio_exposure" in stopped_by(limits, portfolio_bid_lots=portfolio.bid_lots(INSTRUMENT.symbol, 0, 20_000))


def portfolio_daily_loss_in_quote(beyond: bool) -> bool:
    limits: dict[str, Any] = {"max_portfolio_daily_loss_quote": 200}
    portfolio = of_two(limits, equity_atoms=4_800 * USDT + (0 if beyond else 1))
    return "portfolio_daily_loss" in stopped_by(limits, portfolio_loss_hit=portfolio.daily_loss(NOW))


def portfolio_daily_loss_as_a_fraction(beyond: bool) -> bool:
    limits: dict[str, Any] = {"max_portfolio_daily_loss_frac": 0.03}
    portfolio = of_two(limits, equity_atoms=4_700 * USDT + (0 if beyond else 1))
    return "portfolio_daily_loss" in stopped_by(limits, portfolio_loss_hit=portfolio.daily_loss(NOW))


LIMITS: dict[str, Callable[[bool], bool]] = {
    "max_order_notional_quote": order_value,
    "max_inventory_imbalance": imbalance,
    "max_daily_loss_quote": daily_loss_in_quote,
    "max_daily_loss_frac": daily_loss_as_a_fraction,
    "max_requests_per_min": request_rate,
    "price_collar_frac": collar,
    "max_data_age_ms": data_age,
    "duplicate_window_ms": duplicate_window,
    "max_portfolio_exposure_frac": portfolio_exposure,
    "max_portfolio_daily_loss_quote": portfolio_daily_loss_in_quote,
    "max_portfolio_daily_loss_frac": portfolio_daily_loss_as_a_fraction,
}

ALL_TOGETHER = [name for name in LIMITS if "portfolio" in name]
"""Limits over all symbols together, of which there is none by default."""


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_fires_at_its_value_and_not_before(name: str) -> None:
    assert LIMITS[name](True)
    assert not LIMITS[name](False)


def test_no_limit_is_left_out() -> None:
    assert set(LIMITS) == set(RiskLimits.model_fields)


# --- what a limit may be ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", ["nan", "inf", -1, "-0.5", True, "many", None, [1], 1e300, "1e999999999"])
def test_a_limit_that_limits_nothing_is_refused_by_name(name: str, value: Any) -> None:
    if value is None and name in ALL_TOGETHER:
        assert validated(RiskLimits, {name: value}).portfolio_limits == ()
        return
    with pytest.raises(ConfigError, match=name):
        validated(RiskLimits, {name: value})


@pytest.mark.parametrize("name", [name for name in LIMITS if name != "duplicate_window_ms"])
def test_a_limit_of_zero_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        validated(RiskLimits, {name: 0})


def test_a_duplicate_window_of_zero_switches_that_check_off() -> None:
    same = Order(ClientOrderId("old"), BUY, 10_000, 5_000, True, "quote", NOW, "", "", OrderState.SUBMITTED)
    assert stopped_by({"duplicate_window_ms": 0}, working=(same,)) == []


def test_an_unknown_limit_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"max_order_size is not a setting; known are .*max_order_notional_quote"):
        validated(RiskLimits, {"max_order_size": 5})


def test_limits_cannot_be_changed_while_they_hold() -> None:
    with pytest.raises(ValidationError):
        RiskLimits().max_requests_per_min = 10**6  # type: ignore[misc]
