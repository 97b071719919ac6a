"""Sessions of exchanges: half days, holidays, lunch breaks, daylight saving."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.calendars import TradingCalendar, trading_days_per_year
from autohedge.market.candles import aggregate, gaps
from autohedge.market.timeframes import Timeframe
from tests.unit.market.candle_tables import walk

M1, H1, H4, D1 = Timeframe.M1, Timeframe.H1, Timeframe.H4, Timeframe.D1


def ns(*moment: int) -> int:
    return round(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[misc, arg-type]


@pytest.fixture(scope="module")
def nyse() -> TradingCalendar:
    return TradingCalendar("XNYS")


def test_a_stretch_is_a_session_and_a_holiday_has_none(nyse: TradingCalendar) -> None:
    """2024-07-03 closes at 13:00 in New York, the 4th is a holiday, the 6th a Saturday."""
    assert nyse.stretches(ns(2024, 7, 3), ns(2024, 7, 8)).rows() == [
        (ns(2024, 7, 3), ns(2024, 7, 3, 13, 30), ns(2024, 7, 3, 17)),
        (ns(2024, 7, 5), ns(2024, 7, 5, 13, 30), ns(2024, 7, 5, 20)),
    ]
    assert nyse.stretches(ns(2024, 7, 4), ns(2024, 7, 5)).is_empty()


def test_a_lunch_break_divides_a_session() -> None:
    tokyo = TradingCalendar("XTKS")
    stretches = tokyo.stretches(ns(2024, 3, 5), ns(2024, 3, 6))
    assert stretches["open_ns"].to_list() == [ns(2024, 3, 5), ns(2024, 3, 5, 3, 30)]
    minutes = tokyo.opens(M1, ns(2024, 3, 5), ns(2024, 3, 6))["ts_ns"]
    assert len(minutes) == 300
    assert [gap.missing for gap in gaps(minutes, M1)] == [60]
    assert gaps(minutes, M1, tokyo) == []


def test_daylight_saving_moves_the_session(nyse: TradingCalendar) -> None:
    opens = [nyse.opens(M1, ns(2024, 3, day), ns(2024, 3, day + 1))["ts_ns"][0] for day in (8, 11)]
    assert opens == [ns(2024, 3, 8, 14, 30), ns(2024, 3, 11, 13, 30)]


@pytest.mark.parametrize(("timeframe", "count"), [(M1, 390), (H1, 7), (H4, 2), (D1, 1)])
def test_a_session_has_so_many_candles(timeframe: Timeframe, count: int, nyse: TradingCalendar) -> None:
    opens = nyse.opens(timeframe, ns(2024, 7, 5), ns(2024, 7, 6))["ts_ns"]
    assert len(opens) == count
    assert (opens % timeframe.interval_ns == 0).all()


def test_minutes_of_sessions_become_whole_days(nyse: TradingCalendar) -> None:
    opens = nyse.opens(M1, ns(2024, 7, 1), ns(2024, 7, 8))["ts_ns"]
    table = walk(len(opens)).with_columns(opens)
    days = aggregate(table, M1, D1, calendar=nyse)
    assert days["ts_ns"].to_list() == [ns(2024, 7, day) for day in (1, 2, 3, 5)]
    assert days["volume"].sum() == table["volume"].sum()
    assert aggregate(table, M1, D1).is_empty()
    short = aggregate(table[1:], M1, D1, calendar=nyse, partial=True)
    assert short["complete"].to_list() == [False, True, True, True]
    hours = aggregate(table, M1, H1, calendar=nyse)
    assert hours.height == 7 * 3 + 4  # the half day has four


def test_a_session_that_begins_the_evening_before_in_utc_is_one_day() -> None:
    sydney = TradingCalendar("XASX")
    opens = sydney.opens(M1, ns(2024, 1, 8, 12), ns(2024, 1, 9, 12))["ts_ns"]
    assert opens[0] == ns(2024, 1, 8, 23)
    days = aggregate(walk(len(opens)).with_columns(opens), M1, D1, calendar=sydney)
    assert days["ts_ns"].to_list() == [ns(2024, 1, 9)]


def test_asking_for_another_time_gives_the_same_days(nyse: TradingCalendar) -> None:
    fresh = TradingCalendar("XNYS")
    for start, end in (((2024, 7, 1), (2024, 7, 9)), ((2019, 1, 1), (2019, 2, 1)), ((2024, 6, 1), (2024, 8, 1))):
        assert fresh.stretches(ns(*start), ns(*end)).equals(nyse.stretches(ns(*start), ns(*end)))


def test_a_year_has_252_days_at_an_exchange_and_365_elsewhere(nyse: TradingCalendar) -> None:
    assert trading_days_per_year(nyse) == 252
    assert trading_days_per_year(None) == 365
    assert len(nyse.opens(D1, ns(2024, 1, 1), ns(2025, 1, 1))) == 252


def test_an_alias_is_the_exchange_itself_and_an_unknown_name_is_refused() -> None:
    assert TradingCalendar("NASDAQ").name == "XNYS"
    with pytest.raises(ConfigError, match=r"expected the name of an exchange's calendar such as XNYS, .* found 'MOON'"):
        TradingCalendar("MOON")


def test_years_without_known_holidays_are_refused() -> None:
    with pytest.raises(MarketDataError, match="calendar XHKG does not cover"):
        TradingCalendar("XHKG").stretches(ns(2060, 1, 1), ns(2060, 2, 1))


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(ConfigError, match=r"pip install 'autohedge\[stocks\]'"):
        TradingCalendar("XNYS")
