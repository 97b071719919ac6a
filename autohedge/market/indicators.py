"""Technical indicators as of a time, by TA-Lib (extra `indicators`): the library of the field does the arithmetic.

No look-ahead: an indicator at a candle is made of that candle and those before it, and `indicators_at` uses only candles that
had closed. Warm-up, and what is 0 ÷ 0 (the RSI of a market that never moved), is None (null in a table), never 0. Candles with
a value that is missing, NaN, infinite or not positive are refused, because one NaN makes TA-Lib's averages NaN for ever after;
so are candles out of order.

EMA, MACD, RSI, ATR, ADX and OBV remember everything since the first candle: from another beginning they differ by what is left
of it, for an EMA of n a share of (1 − 2/(n+1))^k after k candles. OBV is meaningful only in its changes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isnan
from types import ModuleType
from typing import TYPE_CHECKING

from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.candles import COLUMNS, PRICES, known_at
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import Timeframe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class IndicatorPeriods:
    """Lengths in candles; Bollinger's width in standard deviations. Raises `ConfigError` for what no indicator can have."""

    sma: int = 20
    ema: int = 20
    macd_fast: int = 12
    macd_slow: int = 26
    macd_signal: int = 9
    rsi: int = 14
    bollinger: int = 20
    bollinger_width: float = 2.0
    atr: int = 14
    adx: int = 14
    stochastic: int = 14
    stochastic_smooth: int = 3

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "bollinger_width" and (not isinstance(value, int) or not 2 <= value <= 10_000):
                raise ConfigError(f"{each.name}: expected a length of 2 to 10,000 candles, found {value!r}")
        if not 0.0 < self.bollinger_width <= 100.0:
            raise ConfigError(f"bollinger_width: expected above 0 to 100 standard deviations, found {self.bollinger_width!r}")
        if self.macd_fast >= self.macd_slow:
            raise ConfigError(f"macd_fast must be shorter than macd_slow, found {self.macd_fast} and {self.macd_slow}")


DEFAULT_PERIODS = IndicatorPeriods()


@dataclass(frozen=True, slots=True)
class Indicators:
    """Values at the candle that opened at `ts_ns`, the last one known at `as_of_ns`; None while there are too few candles.

    sma, ema, macd (difference of two EMAs) with its signal line and histogram, bollinger and atr are in the price's unit; rsi,
    adx and the stochastic are 0–100; obv is in base units. `candles` is how many there were.
    """

    as_of_ns: int
    ts_ns: int | None
    candles: int
    close: float | None = None
    sma: float | None = None
    ema: float | None = None
    macd: float | None = None
    macd_signal: float | None = None
    macd_histogram: float | None = None
    rsi: float | None = None
    bollinger_upper: float | None = None
    bollinger_middle: float | None = None
    bollinger_lower: float | None = None
    atr: float | None = None
    adx: float | None = None
    stochastic_k: float | None = None
    stochastic_d: float | None = None
    obv: float | None = None


NAMES = tuple(each.name for each in fields(Indicators) if each.name not in ("as_of_ns", "ts_ns", "candles", "close"))


def indicators_at(
    candles: pl.DataFrame, timeframe: Timeframe, now_ns: int, periods: IndicatorPeriods = DEFAULT_PERIODS
) -> Indicators:
    """The indicators of the last candle that had closed at `now_ns`, from all candles up to it; later ones are not looked at.

    Without any closed candle all is None. Raises as `indicator_table`.
    """
    known = known_at(candles, timeframe, now_ns)
    if known.is_empty():
        return Indicators(now_ns, None, 0)
    last = indicator_table(known, periods).row(-1, named=True)
    close = float(known["close"][-1])
    return Indicators(now_ns, last["ts_ns"], known.height, close, **{name: last[name] for name in NAMES})


def indicator_table(candles: pl.DataFrame, periods: IndicatorPeriods = DEFAULT_PERIODS) -> pl.DataFrame:
    """All indicators at every candle: `ts_ns` and one `Float64` column per name in `NAMES`, null during warm-up.

    Raises `MarketDataError` for candles that are not in order or have a value that no arithmetic can use, `ConfigError` where
    TA-Lib is not installed.
    """
    values = _sound_values(candles)
    if candles.is_empty():
        return pl.Schema({"ts_ns": pl.Int64(), **dict.fromkeys(NAMES, pl.Float64())}).to_frame()
    table = pl.DataFrame({"ts_ns": candles["ts_ns"], **_computed(values, periods)})
    return table.with_columns(pl.col(NAMES).fill_nan(None)).with_columns(
        pl.when(~undefined.fill_null(value=False)).then(pl.col(undefined.name)).alias(undefined.name)
        for undefined in _undefined(values, periods)
    )


def newest_indicators(
    high: F64, low: F64, close: F64, volume: F64, periods: IndicatorPeriods = DEFAULT_PERIODS
) -> dict[str, float | None]:
    """The last row of `indicator_table` without making a table, for whoever asks at every candle; by the names in `NAMES`.

    The columns are those of at least one candle, in order, finite and positive: nothing is checked here. Raises `ConfigError`
    where TA-Lib is not installed.
    """
    length, smooth = periods.stochastic, periods.stochastic_smooth

    def has_no_range(candles_ago: int) -> bool:
        end = len(close) - candles_ago
        return end >= length and bool(high[end - length : end].max() == low[end - length : end].min())

    undefined = {
        "rsi": bool(close.max() == close.min()),
        "stochastic_k": any(map(has_no_range, range(smooth))),
        "stochastic_d": any(map(has_no_range, range(2 * smooth - 1))),
    }
    columns = _computed({"high": high, "low": low, "close": close, "volume": volume}, periods)
    last = {name: float(column[-1]) for name, column in columns.items()}
    return {name: None if isnan(value) or undefined.get(name) else value for name, value in last.items()}


def _undefined(values: dict[str, F64], periods: IndicatorPeriods) -> list[pl.Series]:
    """The RSI and the stochastic without what is 0 ÷ 0: TA-Lib calls a market that does not move 0, which reads as oversold."""
    frame = pl.DataFrame({name: values[name] for name in ("high", "low", "close")})
    length, smooth = periods.stochastic, periods.stochastic_smooth
    no_range = pl.col("high").rolling_max(length) == pl.col("low").rolling_min(length)
    flags = frame.select(
        rsi=pl.col("close").eq(pl.col("close").first()).cum_min(),
        stochastic_k=no_range.cast(pl.Int8).rolling_max(smooth, min_samples=1).cast(pl.Boolean),
        stochastic_d=no_range.cast(pl.Int8).rolling_max(2 * smooth - 1, min_samples=1).cast(pl.Boolean),
    )
    return flags.get_columns()


def _computed(values: dict[str, F64], periods: IndicatorPeriods) -> dict[str, F64]:
    talib = _talib()
    high, low, close, volume = (values[name] for name in ("high", "low", "close", "volume"))
    macd, signal, histogram = talib.MACD(close, periods.macd_fast, periods.macd_slow, periods.macd_signal)
    width = periods.bollinger_width
    upper, middle, lower = talib.BBANDS(close, periods.bollinger, width, width, talib.MA_Type.SMA)
    smooth, by_mean = periods.stochastic_smooth, talib.MA_Type.SMA
    slow_k, slow_d = talib.STOCH(high, low, close, periods.stochastic, smooth, by_mean, smooth, by_mean)
    return {
        "sma": talib.SMA(close, periods.sma),
        "ema": talib.EMA(close, periods.ema),
        "macd": macd,
        "macd_signal": signal,
        "macd_histogram": histogram,
        "rsi": talib.RSI(close, periods.rsi),
        "bollinger_upper": upper,
        "bollinger_middle": middle,
        "bollinger_lower": lower,
        "atr": talib.ATR(high, low, close, periods.atr),
        "adx": talib.ADX(high, low, close, periods.adx),
        "stochastic_k": slow_k,
        "stochastic_d": slow_d,
        "obv": talib.OBV(close, volume),
    }


def _sound_values(candles: pl.DataFrame) -> dict[str, F64]:
    """The columns as floats that arithmetic can use; refuses all others."""
    missing = [name for name in COLUMNS if name not in candles.columns]
    if missing:
        raise MarketDataError(f"indicators need candles with {', '.join(COLUMNS)}; {', '.join(missing)} is missing")
    times = candles["ts_ns"]
    if times.null_count() or (times.diff().drop_nulls() <= 0).any():
        raise MarketDataError("indicators need candles in order of time and none twice; run `autohedge data check`")
    values = candles.select(pl.col(*PRICES, "volume").cast(pl.Float64))
    sound = (
        pl.all_horizontal(pl.col(PRICES).is_finite() & (pl.col(PRICES) > 0))
        & pl.col("volume").is_finite()
        & (pl.col("volume") >= 0)
    )
    flags = values.select(sound.fill_null(value=False)).to_series()
    if not flags.all():
        row = int((~flags).arg_true()[0])
        raise MarketDataError(f"indicators need positive finite prices and volumes, found {values.row(row)} in row {row + 1}")
    return {name: values[name].to_numpy() for name in values.columns}


def _talib() -> ModuleType:
    try:
        import talib
    except ImportError as error:
        raise ConfigError("indicators need TA-Lib, which is not installed: run  pip install 'autohedge[indicators]'") from error
    return talib
