"""A calibration from a feed: which orders there were, which book each met, when nothing was observed, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from autohedge.backtest.calibrate import Calibration, MarketObserver, calibrate
from autohedge.backtest.calibration_picture import write_picture
from autohedge.domain.market_data import BUY, SELL, BookDelta, MarketEvent, Trade
from autohedge.errors import ConfigError
from autohedge.market_maker.calibration import MarketOrder, Window
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.market_maker.models import glft_closed
from tests.unit.backtest.taker_market import PRICE, ListFeed, S, at, snapshot, taker_market, top, trade


def observed(events: Sequence[MarketEvent], grid_ns: int = S) -> MarketObserver:
    observer = MarketObserver(grid_ns)
    for event in events:
        observer.on_event(event)
    observer.finish()
    return observer


# ---------------------------------------------------------------- orders and the books they met


def test_prints_of_one_aggressor_and_venue_time_are_one_order() -> None:
    """Three levels of one buy order; then another aggressor, another time: three orders, each as deep as its worst print."""
    seen = observed(
        [
            snapshot(0),
            *(trade(1, n, PRICE + n, BUY, venue_s=0.5) for n in (1, 2, 9)),
            trade(1, 10, PRICE, SELL, venue_s=0.5),
            trade(1, 11, PRICE + 1, BUY, venue_s=0.501),
            top(2, 2),
        ]
    )
    assert seen.orders == [MarketOrder(at(1), BUY, 17), MarketOrder(at(1), SELL, 1), MarketOrder(at(1), BUY, 1)]
    assert (seen.trades, seen.market_orders, seen.outside_trades) == (5, 3, 2)


def test_without_a_venue_time_the_time_of_receipt_tells_orders_apart() -> None:
    first, second = trade(1, 1, PRICE + 1), trade(2, 2, PRICE + 3)
    seen = observed([snapshot(0), first._replace(ts_event_ns=0), second._replace(ts_event_ns=0), top(3, 2)])
    assert seen.market_orders == 2


def test_an_order_is_measured_from_the_book_it_met_and_not_from_the_one_it_left() -> None:
    """The best prices behind a sweep of 40 ticks arrive first: from them the order would have reached nothing."""
    seen = observed(
        [snapshot(0), top(1.000, 2, PRICE + 40), trade(1.004, 1, PRICE + 1), trade(1.004, 2, PRICE + 40), top(2, 3, PRICE + 40)]
    )
    assert seen.orders == [MarketOrder(at(1.004), BUY, 79)]
    assert (seen.late_orders, seen.unplaced_orders) == (1, 0)


def test_a_book_that_was_replaced_too_long_ago_is_not_the_one_that_was_met() -> None:
    """A quarter of a second at most; a book that stood until then may be hours old itself."""
    events = [snapshot(0), top(50, 2, PRICE + 40)]
    assert observed([*events, trade(50.249, 1, PRICE + 1)]).late_orders == 1
    seen = observed([*events, trade(50.251, 1, PRICE + 1)])
    assert (seen.orders, seen.late_orders, seen.unplaced_orders) == ([], 0, 1)
    assert observed([*events, trade(99, 1, PRICE + 41)]).orders == [MarketOrder(at(99), BUY, 1)]


def test_the_newest_book_that_fits_is_taken() -> None:
    """The same best ask was shown twice, with another bid: the later mid counts."""
    seen = observed([snapshot(0), top(1, 2, PRICE - 9, PRICE + 1), top(1.01, 3, PRICE + 5), trade(1.02, 1, PRICE + 1)])
    assert seen.orders == [MarketOrder(at(1.02), BUY, 10)]


# ---------------------------------------------------------------- what was observed


def test_mids_are_those_known_before_each_grid_point() -> None:
    """At whole seconds of receipt, in half ticks; a change at the very second is the next one's."""
    seen = observed([snapshot(0.5), top(0.9, 2, PRICE + 1), top(2.0, 3, PRICE + 4), top(2.5, 4, PRICE + 6), top(4.0, 5, PRICE)])
    assert seen.mid_stretches == [[2 * PRICE + 3, 2 * PRICE + 3, 2 * PRICE + 13, 2 * PRICE + 13]]
    assert seen.windows == [Window(at(0.5), at(4.0) + 1)]


def test_a_gap_ends_what_is_observed_until_the_next_snapshot() -> None:
    """No mid, no order and no time of it counts; an order that was under way ends with it."""
    hole = BookDelta(at(3), at(3), 7, 8, ((PRICE, 5),), ())
    seen = observed(
        [
            snapshot(0),
            trade(1, 1, PRICE + 1),
            hole,
            trade(4, 2, PRICE + 1),
            snapshot(5.5, 100, PRICE + 50),
            top(8, 101, PRICE + 50),
        ]
    )
    assert seen.windows == [Window(at(0), at(3)), Window(at(5.5), at(8) + 1)]
    assert seen.mid_stretches == [[2 * PRICE + 1] * 3, [2 * PRICE + 101] * 3]
    assert (seen.trades, seen.orders) == (1, [MarketOrder(at(1), BUY, 1)])


def test_a_silence_of_more_than_a_minute_is_a_hole() -> None:
    """The mid did not stand still for two hours: nobody looked."""
    seen = observed([snapshot(0), top(2, 2), top(7_202, 3, PRICE + 9), top(7_204.5, 4, PRICE + 9)])
    assert seen.windows == [Window(at(0), at(2)), Window(at(7_202), at(7_204.5) + 1)]
    assert [len(stretch) for stretch in seen.mid_stretches] == [2, 2]


def test_crossed_and_one_sided_books_show_no_mid() -> None:
    """The last good prices stand until it is over."""
    one_sided = top(1.5, 3)._replace(ask_ticks=0, ask_lots=0)
    seen = observed([snapshot(0), top(1.2, 2, PRICE + 5, PRICE + 5), one_sided, top(2.5, 4, PRICE + 7), top(3, 5)])
    assert seen.mid_stretches == [[2 * PRICE + 1, 2 * PRICE + 1, 2 * PRICE + 15]]


# ---------------------------------------------------------------- a whole market


@pytest.fixture(scope="module")
def market() -> list[MarketEvent]:
    """An hour with σ = 12 ticks/√s, A = 0.8/s a side, k = 0.06/tick."""
    return taker_market(3, sigma=12.0, a=0.8, k=0.06, seconds=3_600)


async def test_a_known_market_is_measured_as_what_it_is(market: list[MarketEvent]) -> None:
    """σ, A and k lie in their intervals, nothing is refused, and a suggestion comes of it that the maker's settings take."""
    progress: list[tuple[int, int]] = []
    found = await calibrate(ListFeed(market), on_progress=lambda messages, ts_ns: progress.append((messages, ts_ns)))
    assert found.volatility is not None and found.intensity is not None and not found.refusals
    assert found.volatility.interval.low < 12.0 < found.volatility.interval.high
    assert found.intensity.a_interval.low < 0.8 < found.intensity.a_interval.high
    assert found.intensity.k_interval.low < 0.06 < found.intensity.k_interval.high
    assert found.unplaced_orders == found.late_orders == 0
    assert found.doubts == found.intensity.doubts + found.volatility.doubts
    assert progress == [(len(market), market[-1].ts_init_ns)]
    suggestion = found.suggestion(10)
    assert suggestion is not None
    k, a = suggestion.intensity_decay_per_tick, suggestion.arrival_rate_per_s
    offset, half = glft_closed(10, found.volatility.sigma, suggestion.risk_aversion, k, a, 0.0, 0.0)
    assert half == pytest.approx(suggestion.half_spread_ticks) == pytest.approx(-offset)
    assert suggestion.step_ticks == pytest.approx(-offset / 10)
    settings = suggestion.settings("avellaneda_stoikov")
    assert settings["quoting_model"] == "avellaneda_stoikov"
    for name, value in settings.items():
        if name != "quoting_model":
            assert value == pytest.approx(getattr(suggestion, name), rel=1e-3)
    assert settings.keys() <= MarketMakingConfig.model_fields.keys()


async def test_the_picture_is_one_page_that_loads_nothing(market: list[MarketEvent], tmp_path: Path) -> None:
    """Points, line and band of the fit and σ by grid are in it; no script or style comes from elsewhere."""
    pytest.importorskip("plotly")
    found = await calibrate(ListFeed(market))
    assert found.intensity is not None and found.volatility is not None
    write_picture(found, tmp_path / "fit.html")
    page = (tmp_path / "fit.html").read_text(encoding="utf-8")
    assert 'src="http' not in page and "<link" not in page
    for name in ("measured, in the fit", "at the touch, not in the fit", "95 %", "on coarser grids"):
        assert f'"name":"{name}"' in page
    assert f"A = {found.intensity.a:.4g}" in page
    assert "BTC\\u002fUSDT (simulated)" in page or "BTC/USDT (simulated)" in page
    with pytest.raises(ConfigError, match="cannot be written"):
        write_picture(found, tmp_path)


async def refused(events: Sequence[MarketEvent]) -> Calibration:
    found = await calibrate(ListFeed(events))
    assert found.intensity is None and found.suggestion(20) is None
    return found


async def test_what_a_feed_cannot_tell_is_refused_and_the_rest_is_told(market: list[MarketEvent], tmp_path: Path) -> None:
    """No trades: σ all the same. No book, or trades that no book explains: the reason by name."""
    books = [event for event in market if not isinstance(event, Trade)]
    trades = [event for event in market if isinstance(event, Trade)]
    found = await refused(books)
    assert found.volatility is not None and found.refusals["intensity"].reason == "too_few_orders"
    found = await refused(trades)
    assert found.volatility is None
    assert {name: refusal.reason for name, refusal in found.refusals.items()} == {"sigma": "too_short", "intensity": "no_book"}
    elsewhere = [event._replace(price_ticks=event.price_ticks + 500) if isinstance(event, Trade) else event for event in market]
    found = await refused(elsewhere)
    assert found.refusals["intensity"].reason == "missing_book"
    assert "for 0 of" in str(found.refusals["intensity"])
    pytest.importorskip("plotly")
    write_picture(found, tmp_path / "half.html")
    assert "intensity refused: missing_book" in (tmp_path / "half.html").read_text(encoding="utf-8")
    assert (await refused([])).observed_s == 0


async def test_a_few_orders_without_their_book_are_a_doubt(market: list[MarketEvent]) -> None:
    """One in twenty prints where no book was."""
    moved: list[MarketEvent] = []
    for event in market:
        elsewhere = isinstance(event, Trade) and event.trade_id % 20 == 0
        moved.append(event._replace(price_ticks=event.price_ticks - 9_999 * event.aggressor) if elsewhere else event)
    found = await calibrate(ListFeed(moved))
    assert found.intensity is not None
    assert any("was not found for" in doubt for doubt in found.doubts)


@pytest.mark.parametrize(
    "options", [{"grid_s": 0.0}, {"grid_s": math.nan}, {"from_ticks": 5.0, "to_ticks": 5.0}, {"from_ticks": -1.0}]
)
async def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        await calibrate(ListFeed([]), **options)  # type: ignore[arg-type]
