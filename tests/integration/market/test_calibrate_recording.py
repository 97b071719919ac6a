"""σ, A and k of the recorded session: what comes out, how sure it is, and what damage does to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from autohedge.backtest.calibrate import Calibration, calibrate
from autohedge.domain.book import OrderBook
from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import MarketEvent
from autohedge.market.statistics import RollingStatistics
from autohedge.market.sync import SyncedBook
from autohedge.ports import MarketFeed

Replay = Callable[[Sequence[bytes]], MarketFeed]


@pytest.fixture
async def found(replay: Replay, raw_lines: list[bytes]) -> Calibration:
    """The calibration of the whole session."""
    return await calibrate(replay(raw_lines))


async def test_the_session_gives_these_numbers_and_these_doubts(found: Calibration) -> None:
    """Measured once and kept; ten minutes of a wild market whose touch takes four orders in five."""
    assert (found.trades, found.market_orders) == (19_903, 7_134)
    assert 0.40 < found.outside_trades / found.trades < 0.45
    assert found.observed_s == pytest.approx(650, abs=1)
    assert found.volatility is not None and found.intensity is not None and found.refusals == {}
    assert found.volatility.sigma == pytest.approx(732.6, rel=1e-3)
    assert found.volatility.interval == pytest.approx((623.4, 888.5), rel=1e-3)
    assert found.volatility.grid_is_fine
    assert found.intensity.a == pytest.approx(0.6606, rel=1e-3)
    assert found.intensity.a_interval == pytest.approx((0.5086, 0.8579), rel=1e-3)
    assert found.intensity.k == pytest.approx(0.003989, rel=1e-3)
    assert found.intensity.k_interval == pytest.approx((0.002981, 0.004996), rel=1e-3)
    assert found.intensity.r_squared == pytest.approx(0.979, abs=1e-3)
    said = " ".join(found.doubts)
    assert "it does not hold for quotes at the touch" in said
    assert "depths are not exponential" in said
    assert "measured over 10.8 minutes" in said


async def test_nearly_every_order_finds_the_book_it_met_though_one_in_five_comes_after_it_was_replaced(
    found: Calibration,
) -> None:
    """The best prices that a sweep left behind come first; measured from them an eighth of all orders would reach nothing."""
    assert found.unplaced_orders / found.market_orders < 0.01
    assert 0.2 < found.late_orders / found.market_orders < 0.25


async def test_sigma_is_that_of_the_session_s_own_statistics(
    found: Calibration, events: list[MarketEvent], btc: Instrument
) -> None:
    """The maker measures it live, over 20 s and per hour; over the session the two are the same market."""
    synced, statistics = SyncedBook(OrderBook()), RollingStatistics(btc)
    squares = []
    for event in events:
        synced.apply(event)
        for applied in synced.applied_now:
            statistics.on_event(applied, synced.book)
        if synced.is_synced and (per_hour := statistics.volatility_per_hour(event.ts_init_ns)) is not None:
            squares.append((event.ts_init_ns // 1_000_000_000, (per_hour / 60 * found.mid_ticks) ** 2))
    by_second = dict(squares)
    live = math.sqrt(sum(by_second.values()) / len(by_second))
    assert found.volatility is not None
    assert live == pytest.approx(found.volatility.sigma, rel=0.03)


async def test_a_session_without_its_best_prices_or_cut_short_is_refused(replay: Replay, raw_lines: list[bytes]) -> None:
    """Depth alone comes ten times a second: a third of the orders, those that swept, met a book that was never shown."""
    slow = await calibrate(replay([line for line in raw_lines if b"bookTicker" not in line]))
    assert slow.intensity is None and slow.refusals["intensity"].reason == "missing_book"
    assert slow.volatility is not None
    short = await calibrate(replay(raw_lines[:4_000]))
    assert short.suggestion(20) is None
    assert short.refusals["intensity"].reason == "too_short"


async def test_a_hole_in_the_book_is_not_observed(replay: Replay, raw_lines: list[bytes]) -> None:
    """A missing depth message ends what is observed: there is no later snapshot."""
    depths = [at for at, line in enumerate(raw_lines) if b"depthUpdate" in line]
    gone = depths[len(depths) // 2]
    damaged = await calibrate(replay(raw_lines[:gone] + raw_lines[gone + 1 :]))
    assert damaged.observed_s == pytest.approx(325, abs=15)
    assert damaged.last_ns - damaged.first_ns > 640e9
    assert damaged.market_orders < 0.7 * 7_134
