"""Candles of Binance spot by its public REST interface (`GET /api/v3/klines`), which needs no key.

Prices and volumes are taken from the text that the venue sends, exactly. Each page makes one attempt with a deadline and a
bound on its size; retries belong to the caller. What the venue says is told apart by who must act: an unknown symbol is the
operator's (`ConfigError`), a limit or a failure of the server passes (`SourceBusy`, with the wait it asks for), any other
refusal does not (`VenueRefused`), and an answer that is not candles is never used (`MarketDataError`).
"""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from autohedge.errors import ConfigError, MarketDataError, VenueRefused
from autohedge.market.binance import symbol_code
from autohedge.market.candle_sources import CandlePage, SourceBusy
from autohedge.market.candles import VALUES, exact, no_candles
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import NS_PER_S, Timeframe

if TYPE_CHECKING:
    import httpx

BASE_URL = "https://data-api.binance.vision"
"""The venue's address for public market data."""
PAGE_CANDLES = 1_000

_NS_PER_MS = 1_000_000
_MS_END = 10**14  # the year 5138: a larger time is in another unit
_MAX_BODY_BYTES = 8 * 1024 * 1024
_UNKNOWN_SYMBOL = -1121
_SHOWN = 120


class BinanceCandles:
    """A `CandleSource` of spot candles at Binance, or at any server that speaks the same at `base_url`.

    A page has `timeout_s` from question to last byte. It costs 2 of the 6,000 units of request weight that an address has per
    minute; 600 requests use a fifth of them.
    """

    venue = "binance"
    is_complete = True
    requests_per_minute: float | None = 600.0

    def __init__(self, base_url: str = BASE_URL, *, timeout_s: float = 30.0) -> None:
        import httpx

        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"expected an address such as {BASE_URL}, found {base_url!r}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"expected an address such as {BASE_URL}, found {base_url!r}")
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout_s, headers={"Accept": "application/json"})
        self._host = url.host
        self._timeout_s = timeout_s

    async def page(self, symbol: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> CandlePage:
        """At most 1,000 candles that open in [start_ns, end_ns), from the first on."""
        asked = {
            "symbol": symbol_code(symbol),
            "interval": timeframe.value,
            "startTime": str(-(-start_ns // _NS_PER_MS)),
            "endTime": str(-(-end_ns // _NS_PER_MS) - 1),  # the venue's end is inclusive
            "limit": str(PAGE_CANDLES),
        }
        response, body = await self._get("/api/v3/klines", asked)
        if response.status_code != 200:
            raise self._failure(response, body, symbol)
        try:
            rows = orjson.loads(body)
        except ValueError as error:
            raise SourceBusy(f"{self._host} sent an answer that is cut off or not JSON: {_shown(body)}") from error
        what = f"{symbol} {timeframe} of {self._host}"
        given, times = _candles(rows, what), pl.col("ts_ns")
        candles = given.filter((times >= start_ns) & (times < end_ns))
        if given.height and candles.is_empty():
            raise MarketDataError(f"{what}: expected candles of the span asked for, found others")
        # a server may give fewer than asked and still have more: only an empty page says that it has none
        told_to_ns = int(candles["ts_ns"][-1]) + timeframe.interval_ns if candles.height else end_ns
        return CandlePage(candles, told_to_ns, _date_ns(response))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _get(self, path: str, asked: dict[str, str]) -> tuple[httpx.Response, bytes]:
        import httpx

        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s), self._client.stream("GET", path, params=asked) as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _MAX_BODY_BYTES:
                        raise MarketDataError(f"{self._host} sent more than {_MAX_BODY_BYTES:,} bytes for a page of candles")
        except TimeoutError as error:
            raise SourceBusy(f"{self._host} did not send a page within {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise SourceBusy(f"{self._host} did not answer: {type(error).__name__} {error}".rstrip()) from error
        return response, bytes(body)

    def _failure(self, response: httpx.Response, body: bytes, symbol: str) -> Exception:
        status = response.status_code
        if status in (418, 429) or status >= 500:
            return SourceBusy(f"{self._host} answered {status}: {_shown(body)}", _retry_after_s(response))
        try:
            told = orjson.loads(body)
        except ValueError:
            told = None
        if isinstance(told, dict) and told.get("code") == _UNKNOWN_SYMBOL:
            return ConfigError(f"{self._host} does not know the symbol {symbol} ({symbol_code(symbol)})")
        return VenueRefused(f"{self._host} answered {status}: {_shown(body)}")


def _candles(rows: Any, source: str) -> pl.DataFrame:
    """Rows of [open time in ms, open, high, low, close, volume, …], the values as texts. Raises `MarketDataError`."""
    if not isinstance(rows, list):
        raise MarketDataError(f"{source}: expected a list of candles, found {_shown(orjson.dumps(rows))}")
    times: list[int] = []
    values: list[list[str]] = []
    for row in rows:
        if not isinstance(row, list) or len(row) <= len(VALUES) or not all(isinstance(each, str) for each in row[1:6]):
            raise MarketDataError(f"{source}: expected a candle of a time and five texts, found {_shown(orjson.dumps(row))}")
        time_ms = row[0]
        if type(time_ms) is not int or not 0 <= time_ms < _MS_END:
            raise MarketDataError(f"{source}: expected an open time in milliseconds, found {_shown(orjson.dumps(time_ms))}")
        times.append(time_ms * _NS_PER_MS)
        values.append(row[1:6])
    if not times:
        return no_candles()
    columns = {name: list(column) for name, column in zip(VALUES, zip(*values, strict=True), strict=True)}
    return exact(pl.DataFrame({"ts_ns": times, **columns}), source)


def _retry_after_s(response: httpx.Response) -> float | None:
    """The wait that the answer asks for, given in seconds or as a date; None without one."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())


def _date_ns(response: httpx.Response) -> int | None:
    """When the server says it answered, to the second; None where it does not say."""
    try:
        return int(parsedate_to_datetime(response.headers.get("date", "")).timestamp()) * NS_PER_S
    except ValueError:
        return None


def _shown(body: bytes) -> str:
    return body[:_SHOWN].decode("utf-8", "replace")
