"""A run that is recorded as it goes: both formats replay to the run, and nothing is ever written into another recording."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from autohedge.bootstrap import prepare
from autohedge.errors import ConfigError
from autohedge.market.recordings import open_replay
from autohedge.settings import Settings, build_settings
from tests.integration.session.rig import FixedDesk

SYMBOL = "BTC/USDT"


def of(tmp_path: Path, market: str = "sim", **parts: Any) -> Settings:
    parts = {"symbols": (SYMBOL,), "desk": {"cycles": 2, "every_s": 20}, **parts}
    return build_settings({"market": market, "out_dir": tmp_path / "out", **parts})


async def ran(settings: Settings) -> tuple[bytes, dict[str, Any]]:
    """The canonical stream of a run, and its summary."""
    run = prepare(settings, desk=FixedDesk(), environ={}).start()
    summary = await run.drive()
    return (run.run_dir / "events.jsonl").read_bytes(), summary


@pytest.mark.parametrize("record_format", ["raw", "parquet"])
async def test_a_recorded_run_replays_to_the_same_run(tmp_path: Path, record_format: str) -> None:
    folder = tmp_path / "recording"
    stream, summary = await ran(of(tmp_path, record_dir=folder, record_format=record_format))
    kinds = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert kinds == ({".gz"} if record_format == "raw" else {".json", ".parquet"})
    replayed, again = await ran(of(tmp_path, f"replay:{folder}"))
    assert replayed == stream and len(stream) > 1_000
    assert again["messages"] == summary["messages"] and again["simulated"], "a recorded simulation stays known as one"


async def test_several_symbols_are_recorded_side_by_side(tmp_path: Path) -> None:
    symbols = (SYMBOL, "ETH/USDT")
    folder = tmp_path / "recording"
    stream, _ = await ran(of(tmp_path, symbols=symbols, record_dir=folder, record_format="parquet"))
    assert sorted(each.name for each in folder.iterdir()) == ["BTC-USDT", "ETH-USDT"]
    assert (await ran(of(tmp_path, f"replay:{folder}", symbols=symbols)))[0] == stream


@pytest.mark.parametrize("before", ["raw", "parquet"])
@pytest.mark.parametrize("after", ["raw", "parquet"])
def test_a_folder_with_a_recording_of_either_format_is_refused_before_anything_starts(
    tmp_path: Path, before: str, after: str
) -> None:
    folder = tmp_path / "recording"
    asyncio.run(ran(of(tmp_path, record_dir=folder, record_format=before)))
    found = sorted(tmp_path.rglob("*"))
    for symbols in ((SYMBOL,), (SYMBOL, "ETH/USDT")):
        with pytest.raises(ConfigError, match="already holds a recording; name an empty folder"):
            prepare(of(tmp_path, symbols=symbols, record_dir=folder, record_format=after), desk=FixedDesk(), environ={})
    assert sorted(tmp_path.rglob("*")) == found


def test_without_polars_a_parquet_recording_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match=r"polars, which is not installed: run  pip install"):
        prepare(of(tmp_path, record_dir=tmp_path / "r", record_format="parquet"), desk=FixedDesk(), environ={})
    assert not list(tmp_path.iterdir())
    prepare(of(tmp_path, record_dir=tmp_path / "r"), desk=FixedDesk(), environ={})


async def test_a_replay_may_be_recorded_in_the_other_format(tmp_path: Path) -> None:
    """So raw lines become Parquet, with the same events."""
    raw, parquet = tmp_path / "raw", tmp_path / "parquet"
    await ran(of(tmp_path, record_dir=raw))
    await ran(of(tmp_path, f"replay:{raw}", record_dir=parquet, record_format="parquet"))
    instrument = prepare(of(tmp_path, f"replay:{raw}"), desk=FixedDesk(), environ={}).feeds[0].instrument
    events = [
        [event async for batch in open_replay(folder, SYMBOL, instrument).batches() for event in batch]
        for folder in (raw, parquet)
    ]
    assert events[0] == events[1] and len(events[0]) > 100
