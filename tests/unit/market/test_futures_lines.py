"""Raw lines of Binance futures: by the rules of spot each update would be a gap, so they are refused with a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autohedge.domain.instrument import Instrument
from autohedge.errors import MarketDataError
from autohedge.market.recording_check import check_recording, read_and_check
from autohedge.market.recordings import open_replay, read_columns, recorded_instrument

SYMBOL = "BTC/USDT"


@pytest.mark.parametrize(
    "asked",
    [
        lambda path, btc: open_replay(path, SYMBOL, btc),
        lambda path, btc: recorded_instrument(path, SYMBOL),
        lambda path, btc: check_recording(path, SYMBOL, btc),
        lambda path, btc: asyncio.run(read_columns(path, SYMBOL, btc)),
        lambda path, btc: asyncio.run(read_and_check(path, SYMBOL, btc)),
    ],
)
def test_they_are_refused_however_they_are_asked_for(
    asked: Callable[[Path, Instrument], Any], lines: list[bytes], save: Callable[..., Path], btc: Instrument
) -> None:
    asked(save(lines), btc)  # lines of spot are not refused
    futures = [line.replace(b'"U":', b'"pu":99,"U":') for line in lines]
    assert futures != lines
    with pytest.raises(
        MarketDataError, match=r"expected lines of Binance spot, found updates of its futures \(they have a `pu`\)"
    ):
        asked(save(futures, "btcusdt_futures.jsonl.gz"), btc)
