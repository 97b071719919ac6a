"""The daily loss: two limits, whichever comes first, from 00:00 UTC to 00:00 UTC."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.instrument import Instrument
from autohedge.risk.daily_loss import DailyLoss
from autohedge.risk.limits import RiskLimits

INSTRUMENT = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
    min_qty=Decimal("0.00001"),
    max_qty=Decimal(9_000),
    min_notional=Decimal(10),
    max_notional=None,
    venue="test",
    rules_as_of="",
)
USDT = 10**8
DAY = 86_400 * 10**9
NOON = 19_943 * DAY + DAY // 2


def watch(opening: int = 10_000 * USDT, **limits: Any) -> DailyLoss:
    return DailyLoss(INSTRUMENT, RiskLimits(**limits), opening)


def test_the_absolute_limit() -> None:
    loss = watch(100_000 * USDT)
    assert loss.update(NOON, 99_000 * USDT + 1) == ""
    assert loss.update(NOON, 99_000 * USDT) == "lost 1000.00000000 USDT since 00:00 UTC"


def test_the_limit_as_a_fraction_of_the_equity_at_midnight() -> None:
    loss = watch()
    assert loss.update(NOON, 9_500 * USDT + 1) == ""
    assert loss.update(NOON, 9_500 * USDT) == "lost 5.00% since 00:00 UTC"


def test_whichever_comes_first() -> None:
    assert watch(max_daily_loss_quote=400).update(NOON, 9_600 * USDT).startswith("lost 400")
    assert watch(max_daily_loss_frac=0.03).update(NOON, 9_700 * USDT) == "lost 3.00% since 00:00 UTC"


def test_once_hit_it_stays_hit_for_the_day_even_when_the_loss_is_won_back() -> None:
    loss = watch()
    hit = loss.update(NOON, 9_000 * USDT)
    assert hit
    assert loss.update(NOON + 1, 12_000 * USDT) == hit
    assert loss.update(19_944 * DAY - 1, 12_000 * USDT) == hit


def test_a_new_utc_day_starts_from_the_last_equity_before_midnight() -> None:
    loss = watch()
    midnight = 19_944 * DAY
    assert loss.update(midnight - 1, 9_600 * USDT) == ""
    assert loss.update(midnight, 9_550 * USDT) == ""
    assert loss.day_open_atoms == 9_600 * USDT
    assert loss.update(midnight + 1, 9_120 * USDT + 1) == ""
    assert loss.update(midnight + 2, 9_120 * USDT) == "lost 5.00% since 00:00 UTC"


def test_a_hit_ends_at_midnight() -> None:
    loss = watch()
    assert loss.update(NOON, 9_000 * USDT)
    assert loss.update(19_944 * DAY, 9_000 * USDT) == ""


def test_a_loss_over_the_night_counts_for_the_new_day() -> None:
    """Nothing was seen for two days; the loss in between is found at the first look, from the last equity known."""
    loss = watch()
    loss.update(NOON, 10_000 * USDT)
    assert loss.update(NOON + 2 * DAY, 9_400 * USDT) == "lost 6.00% since 00:00 UTC"


def test_the_first_day_counts_from_the_opening_equity_whatever_the_hour() -> None:
    loss = watch()
    assert loss.update(NOON, 9_499 * USDT)
    assert loss.day_open_atoms == 10_000 * USDT


def test_profit_is_no_loss_and_an_empty_account_divides_by_nothing() -> None:
    assert watch().update(NOON, 99_000 * USDT) == ""
    assert watch(0).update(NOON, 0) == ""


@pytest.mark.parametrize("opening", [1, 7, 10**20])
def test_losing_everything_is_always_a_hit(opening: int) -> None:
    assert watch(opening * USDT).update(NOON, 0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, DAY), st.integers(8_000 * USDT, 12_000 * USDT)), min_size=1, max_size=30),
)
def test_it_is_hit_exactly_from_the_first_look_at_or_below_a_limit_to_the_end_of_that_day(looks: list[tuple[int, int]]) -> None:
    loss = watch(max_daily_loss_quote=700, max_daily_loss_frac=0.06)
    times = accumulate((gap for gap, _ in looks), initial=NOON)
    opening, last, day, hit = 10_000 * USDT, 0, None, False
    for now, (_, equity) in zip(times, looks, strict=False):
        if now // DAY != day:
            opening, hit = (last if day is not None else opening), False
            day = now // DAY
        last = equity
        lost = opening - equity
        hit = hit or lost >= 700 * USDT or lost >= opening * 0.06
        assert bool(loss.update(now, equity)) == hit
