"""One desk cycle of several symbols: all at once, each begun in its turn, told in the order of the symbols."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from autohedge.bootstrap import Run, prepare
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource
from autohedge.errors import InvariantBroken
from autohedge.session import TradingSession
from autohedge.settings import build_settings

SYMBOLS = ("AAA/USDT", "BBB/USDT", "CCC/USDT")


class WaitingDesk:
    """Answers nobody before every symbol has asked; `answering` False: not even then."""

    model_name: str | None = None

    def __init__(self, *, answering: bool = True) -> None:
        self.answering = answering
        self.asked: list[str] = []
        self.turns: list[int] = []
        self.cut_off: list[str] = []
        self.turn = 0
        self.all_asked = asyncio.Event()
        self.answered = asyncio.Event()

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        self.asked.append(request.symbol)
        self.turns.append(self.turn)
        if len(self.asked) == len(SYMBOLS):
            self.all_asked.set()
            if self.answering:
                self.answered.set()
        try:
            await self.answered.wait()
        except asyncio.CancelledError:
            self.cut_off.append(request.symbol)
            raise
        return CycleOutcome(
            request.cycle_id, request.symbol, request.view.as_of_ns, "hold", "", None, DecisionSource.RULES, 0, (), ()
        )

    async def aclose(self) -> None:
        """Nothing is held."""

    async def count_turns(self) -> None:
        """Counts the turns of the event loop."""
        while True:
            self.turn += 1
            await asyncio.sleep(0)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[[WaitingDesk], TradingSession]]:
    runs: list[Run] = []

    def made(desk: WaitingDesk) -> TradingSession:
        settings = build_settings({"symbols": SYMBOLS, "out_dir": tmp_path})
        runs.append(prepare(settings, desk=desk).start())
        return runs[-1].session

    yield made
    for run in runs:
        await run.finish()


async def test_the_symbols_are_asked_at_once_each_a_turn_after_the_one_before(
    opened: Callable[[WaitingDesk], TradingSession],
) -> None:
    """A desk that waits for all of them would wait for ever otherwise; and nobody prepares a question in step with another."""
    desk = WaitingDesk()
    session = opened(desk)
    await session.open()
    counting = asyncio.create_task(desk.count_turns())
    outcomes = await asyncio.wait_for(session.ask_desk(), timeout=30.0)
    counting.cancel()
    assert [outcome.symbol for outcome in outcomes] == list(SYMBOLS)
    assert desk.asked == list(SYMBOLS)
    assert len(set(desk.turns)) == len(SYMBOLS)
    await session.close()


async def test_a_stop_cuts_off_all_symbols_that_were_asked(opened: Callable[[WaitingDesk], TradingSession]) -> None:
    desk = WaitingDesk(answering=False)
    session = opened(desk)
    await session.open()
    asking = asyncio.create_task(session.ask_desk())
    await asyncio.wait_for(desk.all_asked.wait(), timeout=30.0)
    session.request_stop()
    assert await asyncio.wait_for(asking, timeout=30.0) == []
    assert desk.cut_off == desk.asked == list(SYMBOLS)
    await session.close()


async def test_what_breaks_for_one_symbol_is_raised_as_it_is(opened: Callable[[WaitingDesk], TradingSession]) -> None:
    class BrokenDesk(WaitingDesk):
        async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
            raise InvariantBroken(request.symbol)

    session = opened(BrokenDesk())
    await session.open()
    with pytest.raises(InvariantBroken, match="AAA/USDT"):
        await session.ask_desk()
    await session.close()
