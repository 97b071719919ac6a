"""How a command ends: in one line with the right code, drained at the first signal, at once at the second."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from autohedge.cli.errors import told_plainly
from autohedge.cli.signals import drained_by_signals
from autohedge.errors import (
    ApiError,
    AutoHedgeError,
    ConfigError,
    InvariantBroken,
    LlmShareTooLow,
    MarketDataError,
    StorageError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a\nb  c"), 2),
        (MarketDataError("a b c"), 2),
        (StorageError("a b c"), 1),
        (InvariantBroken("a b c"), 1),
        (LlmShareTooLow("a b c"), 1),
        (ApiError("a b c", code="unreachable"), 1),
        (AutoHedgeError("a b c"), 1),
    ],
)
def test_our_own_errors_end_in_one_line(error: AutoHedgeError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """2 where the user must change something, 1 where the run failed; line breaks in a message do not break the line."""
    with pytest.raises(SystemExit) as ended, told_plainly():
        raise error
    captured = capsys.readouterr()
    assert ended.value.code == code
    assert (captured.out, captured.err) == ("", "autohedge: a b c\n")


def test_a_defect_is_not_hidden() -> None:
    """What is not ours keeps its traceback: it is a bug and must be seen."""
    with pytest.raises(ZeroDivisionError), told_plainly():
        raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_drains_and_is_remembered(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    """request_stop is called once, in the loop; afterwards the handlers are gone."""
    asked: list[bool] = []
    before = signal.getsignal(number)
    with drained_by_signals(lambda: asked.append(True)) as stop:
        assert stop.number is None
        os.kill(os.getpid(), number)
        for _ in range(100):
            await asyncio.sleep(0)
            if asked:
                break
        assert asked == [True] and stop.number is number
    assert "draining" in capsys.readouterr().err
    assert signal.getsignal(number) == before


async def test_the_second_signal_ends_at_once_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks twice means it; the ledger is consistent at any moment."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with drained_by_signals(lambda: None):
        for wanted in (0, 1):
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(100):
                await asyncio.sleep(0)
                if len(codes) >= wanted and "draining" in capsys.readouterr().err:
                    break
    assert codes == [130]
