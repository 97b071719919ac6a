"""Candles as a table, exactly: open time, prices and volume, one row per closed candle, in order, none twice.

Columns: `ts_ns` (open time, UTC ns, int64), `open` `high` `low` `close` (quote per base) and `volume` (base), all four prices
and the volume as `Decimal(38, 18)`. Decimal and not scaled integers, because a table of integers loses its meaning when it
is parted from its scale, and no one scale fits: a price of 1e-13 and a day's volume of 1e16 are both real. 18 places hold
every price of a venue and every float a file may carry; values of 1e17 and more, which could overflow in a sum, are refused.
Statistics take `in_floats`; money is converted to ticks and lots by whoever trades on the candles.

Nothing is ever invented: a bucket without data is no candle, but a gap that `gaps` finds. Point in time: a candle is known
from its close on, and `known_at` gives only those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import Trade
from autohedge.errors import ConfigError, MarketDataError
from autohedge.market.polars_extra import pl
from autohedge.market.timeframes import Timeframe
from autohedge.ports import MarketFeed

if TYPE_CHECKING:
    from autohedge.market.calendars import TradingCalendar

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")
COLUMNS = ("ts_ns", *VALUES)
PLACES = 18
EXACT = pl.Decimal(38, PLACES)
SCHEMA = pl.Schema({"ts_ns": pl.Int64(), **dict.fromkeys(VALUES, EXACT)})
VALUE_END = 1e17
"""Values from here on are refused."""
_SUM_END = 9e19  # what Decimal(38, 18) holds; polars wraps beyond it without a word

_FINER = rf"\.\d{{{PLACES}}}\d*[1-9]"


class Gap(NamedTuple):
    """Candles that are not there: `missing` of them from open time `start_ns` up to the next one present at `end_ns`."""

    start_ns: int
    end_ns: int
    missing: int


# --- making sure ----------------------------------------------------------------------------------------------------------


def no_candles() -> pl.DataFrame:
    """The table without rows."""
    return SCHEMA.to_frame()


def exact(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """A table with these columns as numbers of any kind (text, floats, decimals) in the exact schema, its rows as they are.

    A float is taken by its shortest decimal form: 0.1 is 0.1. Raises `MarketDataError`, which names `source`, for a value that
    is missing, no number, finer than 1e-18 or 1e17 and more.
    """
    _require_columns(frame, source)
    converted = []
    for name in VALUES:
        given = frame[name]
        text = given.cast(pl.String)
        value = text.cast(EXACT, strict=False)
        rough = given.cast(pl.Float64, strict=False)
        lost = value.is_null() | (value.cast(pl.Float64) - rough).abs().gt(rough.abs() * 1e-12) | text.str.contains(_FINER)
        lost |= rough.is_nan() | rough.abs().ge(VALUE_END)
        if lost.any():
            row = int(lost.arg_true()[0])
            raise MarketDataError(
                f"{source}: expected numbers below {VALUE_END:g} of at most {PLACES} decimal places, "
                f"found {name} {text[row]!r} in row {row + 1}"
            )
        converted.append(value.alias(name))
    times = frame["ts_ns"].cast(pl.Int64)
    if times.null_count():
        raise MarketDataError(
            f"{source}: expected a time in every row, found none in row {int(times.is_null().arg_true()[0]) + 1}"
        )
    return pl.DataFrame([times, *converted])


def require_candles(frame: pl.DataFrame, timeframe: Timeframe, what: str) -> None:
    """Raise `MarketDataError`, which names `what`, unless this is the exact table: in order, none twice, each on its bucket."""
    if frame.schema != SCHEMA:
        raise MarketDataError(f"{what}: expected candles with {dict(SCHEMA)}, found {dict(frame.schema)}")
    if any(frame.null_count().row(0)):
        raise MarketDataError(f"{what}: expected a value in every cell, found empty ones")
    ts_ns = frame["ts_ns"]
    if (ts_ns.diff().drop_nulls() <= 0).any():
        raise MarketDataError(
            f"{what}: expected candles in order of time and none twice, found others; run `autohedge data check`"
        )
    if (ts_ns % timeframe.interval_ns != 0).any():
        raise MarketDataError(f"{what}: expected open times on whole {timeframe} buckets, found others")


def _require_columns(frame: pl.DataFrame, source: str) -> None:
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise MarketDataError(f"{source}: expected columns {', '.join(COLUMNS)}; {', '.join(missing)} is missing")


# --- reading --------------------------------------------------------------------------------------------------------------


def in_floats(frame: pl.DataFrame) -> pl.DataFrame:
    """The same table with `Float64` prices and volumes, each the nearest float: for statistics, never for money."""
    return frame.with_columns(pl.col(VALUES).cast(pl.Float64))


def known_at(frame: pl.DataFrame, timeframe: Timeframe, now_ns: int) -> pl.DataFrame:
    """The candles that had closed at `now_ns` (open time + interval ≤ now)."""
    return frame.filter(pl.col("ts_ns") <= now_ns - timeframe.interval_ns)


def gaps(ts_ns: pl.Series, timeframe: Timeframe, calendar: TradingCalendar | None = None) -> list[Gap]:
    """Holes between the first and the last of these open times, which must be in order; a closed market is none."""
    if len(ts_ns) < 2:
        return []
    if calendar is None:
        step = timeframe.interval_ns
        holes = pl.DataFrame({"at": ts_ns, "next": ts_ns.shift(-1)}).filter(pl.col("next") - pl.col("at") > step)
        return [Gap(at + step, after, (after - at) // step - 1) for at, after in holes.iter_rows()]
    expected = calendar.opens(timeframe, int(ts_ns[0]), int(ts_ns[-1]) + 1).select("ts_ns").with_row_index("number")
    absent = expected.join(pl.DataFrame({"ts_ns": ts_ns}), on="ts_ns", how="anti", maintain_order="left")
    runs = absent.with_columns(run=pl.col("number").cast(pl.Int64) - pl.int_range(pl.len()))
    found = runs.group_by("run", maintain_order=True).agg(first=pl.col("ts_ns").first(), missing=pl.len())
    after = ts_ns.search_sorted(found["first"], side="right")
    return [
        Gap(first, end, missing) for first, end, missing in zip(found["first"], ts_ns[after], found["missing"], strict=True)
    ]


# --- making candles of others ---------------------------------------------------------------------------------------------


def aggregate(
    frame: pl.DataFrame,
    source: Timeframe,
    target: Timeframe,
    *,
    calendar: TradingCalendar | None = None,
    partial: bool = False,
) -> pl.DataFrame:
    """Candles of `target` from those of `source`: first open, highest high, lowest low, last close, sum of the volumes.

    Only buckets of which every candle is there (with a calendar: every one that the exchange's hours have). With `partial`,
    all buckets, and a further column `complete`. Daily candles by a calendar are its sessions; all other buckets are those of
    the UTC clock. Raises `ConfigError` unless `target` is a multiple of `source`, `MarketDataError` for a table that is not
    in order.
    """
    if target.interval_ns % source.interval_ns:
        raise ConfigError(f"cannot make {target} candles of {source} candles; the longer must be a multiple of the shorter")
    require_candles(frame, source, "candles to aggregate")
    ratio = target.interval_ns // source.interval_ns
    if frame.height and float(frame["volume"].max() or 0) * ratio > _SUM_END:  # type: ignore[arg-type]
        raise MarketDataError(f"volumes are too large to be added up exactly (above {_SUM_END / ratio:g})")
    if calendar is None or frame.is_empty():
        rolled = _rolled(frame.with_columns(bucket=_floor(target), expected=True)).with_columns(due=pl.lit(ratio))
    else:
        rolled = _rolled_by_sessions(frame, source, target, calendar)
    complete = (pl.col("present") == pl.col("due")).fill_null(value=False)
    flagged = rolled.select(pl.col("bucket").alias("ts_ns"), *VALUES, complete=complete)
    return flagged if partial else flagged.filter("complete").drop("complete")


def _rolled_by_sessions(frame: pl.DataFrame, source: Timeframe, target: Timeframe, calendar: TradingCalendar) -> pl.DataFrame:
    """As `_rolled`, with the number of candles `due` in each bucket by the exchange's hours (null outside of them)."""
    day_ns = Timeframe.D1.interval_ns
    times = calendar.opens(source, int(frame["ts_ns"][0]) - day_ns, int(frame["ts_ns"][-1]) + day_ns)
    times = times.with_columns(bucket=pl.col("session_ns") if target is Timeframe.D1 else _floor(target))
    placed = frame.join(times.select("ts_ns", "bucket"), on="ts_ns", how="left", maintain_order="left")
    placed = placed.with_columns(expected=pl.col("bucket").is_not_null(), bucket=pl.col("bucket").fill_null(_floor(target)))
    due = times.group_by("bucket").agg(due=pl.len())
    return _rolled(placed).join(due, on="bucket", how="left", maintain_order="left")


def _rolled(placed: pl.DataFrame) -> pl.DataFrame:
    """One row per `bucket`, with the number of `expected` candles `present` in it."""
    return placed.group_by("bucket", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
        pl.col("expected").sum().alias("present"),
    )


def _floor(target: Timeframe) -> pl.Expr:
    return pl.col("ts_ns") - pl.col("ts_ns") % target.interval_ns


def candles_from_trades(
    trades: Iterable[Trade], instrument: Instrument, timeframe: Timeframe, *, partial: bool = False
) -> pl.DataFrame:
    """Candles of trades in order of arrival, by the venue's time (that of receipt where the venue gives none); exact.

    The first and the last bucket are left out, because trades before and after may be missing; with `partial` they are there,
    and a further column `complete` is False for them. A bucket without a trade is no candle. Raises `MarketDataError` for
    values that do not fit.
    """
    times: list[int] = []
    ticks: list[int] = []
    lots: list[int] = []
    for trade in trades:
        times.append(trade.ts_event_ns or trade.ts_init_ns)
        ticks.append(trade.price_ticks)
        lots.append(trade.size_lots)
    table = pl.DataFrame(
        {"ts_ns": times, "ticks": ticks, "lots": lots}, schema=dict.fromkeys(("ts_ns", "ticks", "lots"), pl.Int64)
    )
    rolled = (
        table.sort("ts_ns", maintain_order=True)
        .group_by(_floor(timeframe).alias("bucket"), maintain_order=True)
        .agg(
            pl.col("ticks").first().alias("open"),
            pl.col("ticks").max().alias("high"),
            pl.col("ticks").min().alias("low"),
            pl.col("ticks").last().alias("close"),
            pl.col("lots").cast(pl.Int128).sum().alias("volume"),
        )
    )
    bucket = pl.col("bucket")
    candles = rolled.select(
        bucket.alias("ts_ns"),
        _of_steps(PRICES, instrument.tick_size),
        _of_steps(("volume",), instrument.lot_size),
        complete=(bucket > bucket.min()) & (bucket < bucket.max()),
    )
    if any(candles.null_count().row(0)):
        raise MarketDataError(f"{instrument.symbol}: prices or volumes of the trades are too large for a candle")
    return candles if partial else candles.filter("complete").drop("complete")


def _of_steps(names: Sequence[str], step: Decimal) -> pl.Expr:
    """Whole ticks or lots as exact numbers; null where one does not fit."""
    return (pl.col(names).cast(pl.Decimal(38, 0)) * pl.lit(Decimal(f"{step:f}"))).cast(EXACT, strict=False)


async def candles_of_feed(feed: MarketFeed, timeframe: Timeframe) -> pl.DataFrame:
    """The candles of all trades that a feed gives, as `candles_from_trades`. Raises `MarketDataError` as the feed does."""
    trades = [event async for batch in feed.batches() for event in batch if isinstance(event, Trade)]
    return candles_from_trades(trades, feed.instrument, timeframe)
