"""Recorded sessions: which files they are, whose lines count, and what becomes of lines that are damaged."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, BookDelta, BookSnapshot, TopOfBook, Trade
from autohedge.errors import MarketDataError
from autohedge.market.recording_check import check_recording
from autohedge.market.recordings import fingerprint, open_replay, recorded_instrument, symbol_of
from autohedge.market.sample_sessions import SessionFeed, session_files, session_instruments

S = 10**9
T0 = 1_618_677_816
PRODUCT = {
    "id": "SKL-USD", "base_currency": "SKL", "quote_currency": "USD", "base_min_size": "5", "base_max_size": "1000000",
    "quote_increment": "0.0001", "base_increment": "0.1", "min_market_funds": "5.0", "status": "online",
    "trading_disabled": False, "cancel_only": False,
}  # fmt: skip
CONNECTED = f"wss://ws-feed.pro.coinbase.com <-> {T0}.8434298"
SUBSCRIBED = f'wss://ws-feed.pro.coinbase.com <- {T0 + 1}.020616: {{"type":"subscribe","product_ids":["SKL-USD"]}}'


def received(seconds: str, **message: Any) -> str:
    return f"{seconds}: {orjson.dumps({'product_id': 'SKL-USD', **message}).decode()}"


def update(seconds: str, price: str) -> str:
    changes = [["buy", price, "5.0"]]
    return received(seconds, type="l2update", changes=changes, time="2021-04-17T16:43:37.075687Z")


SNAPSHOT = received(f"{T0 + 2}.1", type="snapshot", bids=[["0.7900", "5"]], asks=[["0.8000", "5"]])
SESSION = [CONNECTED, SUBSCRIBED, SNAPSHOT, update(f"{T0 + 3}", "0.7901"), update(f"{T0 + 4}.123456789", "0.7902")]

Saved = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Save a session of Coinbase's; the folder."""

    def saved(*lines: str, name: str = "COINBASE.ws.28.0", products: Any = None) -> Path:
        listed = orjson.dumps([PRODUCT] if products is None else products).decode()
        (tmp_path / "COINBASE.0").write_text(
            f"https://api.pro.coinbase.com/products -> {T0}.5: {listed}\nconfiguration: {{}}\n"
        )
        content = "\n".join(["", *lines, ""]).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path

    return saved


async def test_a_session_is_replayed_in_order_with_exact_times(saved: Saved, events_of: Any) -> None:
    folder = saved(*SESSION)
    of = recorded_instrument(folder, "SKL/USD")
    assert of is not None
    assert (of.symbol, of.venue, of.rules_as_of) == ("SKL/USD", "coinbase", "2021-04-17")
    feed = open_replay(folder, "SKL/USD", of)
    events = await events_of(feed)
    assert [type(event) for event in events] == [BookSnapshot, BookDelta, BookDelta]
    assert [event.ts_init_ns - T0 * S for event in events] == [2_100_000_000, 3 * S, 4_123_456_789]
    assert (feed.report.messages, feed.report.rows, feed.report.foreign, feed.report.corrupt) == (3, 4, 0, 0)
    assert (feed.description, feed.simulated) == ("replay of COINBASE.ws.28.0", False)
    assert await events_of(feed) == events, "a feed may be asked again"


@pytest.mark.parametrize("path", ["", "COINBASE.ws.28.0.gz", "COINBASE.0"])
async def test_the_folder_or_any_file_of_it_means_the_session(path: str, saved: Saved, events_of: Any) -> None:
    folder = saved(*SESSION, name="COINBASE.ws.28.0.gz")
    of = recorded_instrument(folder / path, "SKL/USD")
    assert of is not None
    assert len(await events_of(open_replay(folder / path, "SKL-USD", of))) == 3
    assert check_recording(folder / path, "SKL/USD").ok
    assert symbol_of(folder / path) is None
    assert recorded_instrument(folder / path) is None


def test_all_files_of_the_session_count_in_its_fingerprint(saved: Saved) -> None:
    before = fingerprint(saved(*SESSION))
    assert fingerprint(saved(*SESSION, products=[])) != before
    assert fingerprint(saved(*SESSION)) == before
    assert fingerprint(saved(*SESSION[:-1])) != before


async def test_lines_that_cannot_be_used_are_counted_and_hold_the_book_back(saved: Saved, events_of: Any) -> None:
    damaged = SESSION[3][:-9]
    folder = saved(*SESSION[:3], damaged, "no line", SESSION[4], received(f"{T0 + 5}", type="ticker"))
    of = recorded_instrument(folder, "SKL/USD")
    assert of is not None
    feed = open_replay(folder, "SKL/USD", of)
    events = await events_of(feed)
    assert [type(event) for event in events] == [BookSnapshot, BookDelta]
    assert events[1].first_update_id > events[0].last_update_id + 1
    assert (feed.report.corrupt, feed.report.foreign) == (2, 1)
    assert feed.report.examples[0].startswith("COINBASE.ws.28.0:5: not JSON")
    report = check_recording(folder, "SKL/USD")
    assert {finding.kind: finding.count for finding in report.findings} == {"gap": 1, "corrupt": 2, "foreign": 1}
    assert report.findings[1].first == "COINBASE.ws.28.0:5"


async def test_messages_out_of_order_are_counted_and_left_out(saved: Saved, events_of: Any) -> None:
    folder = saved(*SESSION[:3], update(f"{T0 + 2}", "0.7901"), *SESSION[3:])
    of = recorded_instrument(folder, "SKL/USD")
    assert of is not None
    feed = open_replay(folder, "SKL/USD", of)
    assert len(await events_of(feed)) == 3
    assert feed.report.out_of_order == 1
    kinds = {finding.kind for finding in check_recording(folder, "SKL/USD").findings}
    assert kinds == {"out_of_order", "gap"}, "what was left out is missing"


async def test_a_leap_of_the_clock_is_refused(saved: Saved, events_of: Any) -> None:
    folder = saved(*SESSION, update(f"{T0 + 400 * 86_400}", "0.7901"))
    of = recorded_instrument(folder, "SKL/USD")
    assert of is not None
    with pytest.raises(MarketDataError, match=r"COINBASE\.ws\.28\.0:7: received more than a year"):
        await events_of(open_replay(folder, "SKL/USD", of))


def test_a_session_without_what_it_takes_is_refused(saved: Saved, btc: Instrument) -> None:
    folder = saved(*SESSION[:2], *SESSION[3:])
    of = recorded_instrument(folder, "SKL/USD")
    assert of is not None
    with pytest.raises(MarketDataError, match="no book snapshot of SKL-USD in this session"):
        open_replay(folder, "SKL/USD", of)
    saved(*SESSION[:2], SNAPSHOT.replace("0.7900", "0.79005"))
    with pytest.raises(MarketDataError, match=r"first message that cannot be used is COINBASE.*:4: price is not a multiple"):
        open_replay(folder, "SKL/USD", of)
    with pytest.raises(MarketDataError, match="expected a recording of BTC/USD, found none in the sessions of coinbase"):
        open_replay(folder, "BTC/USD", btc)
    (folder / "COINBASE.0").write_text(f"https://api.pro.coinbase.com/products -> {T0}.5: <html>\n")
    with pytest.raises(MarketDataError, match="not an instrument list of coinbase"):
        open_replay(folder, "SKL/USD", of)
    (folder / "COINBASE.0").write_text("nothing\n")
    with pytest.raises(MarketDataError, match="no instrument list in it"):
        open_replay(folder, "SKL/USD", of)
    (folder / "COINBASE.0").unlink()
    with pytest.raises(MarketDataError, match=r"no instrument list \(COINBASE\.0\)"):
        open_replay(folder, "SKL/USD", of)
    (folder / "COINBASE.ws.28.0").unlink()
    with pytest.raises(MarketDataError, match="no recording in this folder"):
        open_replay(folder, "SKL/USD", of)


async def test_venues_are_told_apart_by_the_instrument_or_by_the_file(saved: Saved, events_of: Any) -> None:
    folder = saved(*SESSION)
    symbol = {
        "symbol": "SKLUSD", "status": "TRADING", "baseAsset": "SKL", "quoteAsset": "USD",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.0001"},
            {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "9000", "stepSize": "1"},
        ],
    }  # fmt: skip
    quote = {"u": 5, "s": "SKLUSD", "b": "0.7901", "B": "1", "a": "0.7903", "A": "2"}
    trade = {"e": "aggTrade", "a": 7, "s": "SKLUSD", "p": "0.7903", "q": "2", "T": T0 * 1_000, "m": False}
    depth = {"lastUpdateId": 4, "bids": [["0.7900", "1"]], "asks": [["0.7902", "1"]]}
    answer = f"https://api.binance.com/api/v3/depth?symbol=SKLUSD&limit=1000 -> {T0 + 1}.5: {orjson.dumps(depth).decode()}"
    other = answer.replace("SKLUSD", "SKLUSDT")
    lines = {
        "BINANCE.0": f"https://api.binance.com -> {T0}.1: {orjson.dumps({'symbols': [symbol]}).decode()}",
        "BINANCE.http.0.0": f"{other}\n{answer}",
        "BINANCE.ws.1.0": f"wss://x/stream?streams=sklusd@depth <-> {T0}\n{T0 + 2}: {orjson.dumps({'data': quote}).decode()}\n"
        f"{T0 + 3}: {orjson.dumps({'data': trade}).decode()}\n{T0 + 3}: {orjson.dumps({'data': trade | {'s': 'X'}}).decode()}",
    }
    for name, content in lines.items():
        (folder / name).write_text(content)
    with pytest.raises(MarketDataError, match=r"several venues recorded SKL/USD \(binance, coinbase\); name the file"):
        recorded_instrument(folder, "SKL/USD")
    binance = recorded_instrument(folder / "BINANCE.ws.1.0", "SKL/USD")
    assert binance is not None
    assert binance.venue == "binance"
    feed = open_replay(folder, "SKL/USD", binance)
    happened = T0 * S
    assert await events_of(feed) == [
        BookSnapshot(0, (T0 + 1) * S + 500_000_000, 4, ((7_900, 1),), ((7_902, 1),)),
        TopOfBook(0, (T0 + 2) * S, 5, 7_901, 1, 7_903, 2),
        Trade(happened, (T0 + 3) * S, 7, 7_903, 2, BUY),
    ]
    assert feed.report.foreign == 1
    with_single_trades = (folder / "BINANCE.ws.1.0").read_text().replace("sklusd@depth", "sklusd@depth/sklusd@trade")
    (folder / "BINANCE.ws.1.0").write_text(with_single_trades)
    assert len(await events_of(open_replay(folder, "SKL/USD", binance))) == 2, "aggregated trades would be everything twice"


def test_a_session_knows_its_files_and_refuses_what_none_of_them_speaks_of(saved: Saved) -> None:
    folder = saved(*SESSION)
    (folder / "COINBASE.ws.29.0").write_text(CONNECTED + "\n")
    [files] = session_files(folder)
    assert [path.name for path in files.connections] == ["COINBASE.ws.28.0", "COINBASE.ws.29.0"]
    assert session_files(folder / "COINBASE.ws.29.0") == [files]
    assert session_files(folder / "none") == session_files(folder / "none" / "below") == []
    of = session_instruments(files)["SKL-USD"]
    assert SessionFeed(files, "SKL-USD", of).description == "replay of COINBASE.ws.28.0"
    with pytest.raises(MarketDataError, match="no connection to coinbase in this session speaks of BTC-USD"):
        SessionFeed(files, "BTC-USD", of)
