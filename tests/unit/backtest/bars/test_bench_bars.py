"""The benchmark on bars measures three ways to the same result, and says so where it has no peers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import bench_bars


def test_all_of_ours_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled run, the strategy called on every bar, and that pair in a grid."""
    bars = bench_bars.bars_of(bench_bars.a_market(20_000))
    monkeypatch.setattr(bench_bars, "PAIRS", [bench_bars.SPANS, (5, 60)])
    found = [work(bars) for work in (bench_bars.compiled, bench_bars.called, bench_bars.grid)]
    assert found[0][1] > 50
    assert found[0] == found[1] == found[2]


def test_a_market_is_the_same_each_time() -> None:
    one, two = bench_bars.a_market(100), bench_bars.a_market(100)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_without_their_python_the_peers_are_skipped_aloud(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(bench_bars.PEERS_PYTHON, raising=False)
    with bench_bars.peers_on(bench_bars.a_market(10)) as peers:
        assert peers is None
    assert "skipped" in capsys.readouterr().out
