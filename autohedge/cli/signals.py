"""SIGINT and SIGTERM for commands that drive a session: the first one drains, a second one stops at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autohedge.cli.errors import EXIT_INTERRUPTED


class Stop:
    """Which signal asked for the end; `number` is None while none did."""

    def __init__(self) -> None:
        self.number: signal.Signals | None = None


@contextmanager
def drained_by_signals(request_stop: Callable[[], None]) -> Iterator[Stop]:
    """Inside, the first signal calls `request_stop` in the running loop; a second one ends the process without another word.

    The ledger is consistent at any moment, so even that loses nothing that was recorded.
    """
    loop = asyncio.get_running_loop()
    stop = Stop()

    def on_signal(number: signal.Signals) -> None:
        if stop.number is not None:
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h")  # a live progress view hides the cursor and will not get to show it again
            _say("stopped at once; the ledger holds everything up to here")
            os._exit(EXIT_INTERRUPTED)
        stop.number = number
        _say("draining: quotes are cancelled, the inventory is kept; once more stops at once")
        request_stop()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _say(text: str) -> None:
    sys.stderr.write(f"autohedge: {text}\n")
    sys.stderr.flush()
