"""A desk to measure: answers that are ready before they are asked for, news to read, and a session of many symbols.

Run as a module it is a model server in a process of its own that gives the same answers over a socket:
`python -m benchmarks.desks --latency-s 0.2` prints its base URL on the first line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from autohedge.bootstrap import build_desk
from autohedge.domain.records import CycleOutcome, CycleRequest
from autohedge.operations.clock import SystemClock
from autohedge.ports import Desk, ModelClient, ModelRequest
from autohedge.settings import Settings, build_settings
from autohedge.testing import GoodAnswers, HttpReply, ModelServer, completion
from autohedge.testing.good_answers import symbol_in

MODEL = "benchmark"
HEADLINES = 10
ROUTE = ["quant_analyst", "sentiment_analyst", "risk_manager", "execution_agent"]


def answer_for(schema_name: str, schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An answer of usual size: the thesis names every agent, and both analysts have an opinion."""
    symbol = symbol_in(messages)
    given: dict[str, dict[str, Any]] = {
        "QuantOpinion": {
            "opinion": {
                "ticker": symbol,
                "technical_score": 0.55,
                "volume_score": 0.6,
                "trend_strength": 0.2,
                "probability_score": 0.52,
                "volatility": 0.01,
                "key_levels": {"support": 90.0, "resistance": 110.0, "pivot": 100.0},
                "regime": "range_bound",
                "summary": "Depth is balanced and nothing trends.",
            },
            "no_opinion_reason": None,
        },
        "SentimentOpinion": {
            "opinion": {
                "symbol": symbol,
                "sentiment_score": 0.1,
                "confidence": 0.4,
                "summary": "Nothing that moves the price.",
            },
            "no_opinion_reason": None,
        },
    }
    made = GoodAnswers(given).answer(schema_name, schema, messages)
    return made | {"route": ROUTE} if schema_name == "TradingThesis" else made


class ReadyAnswers:
    """`answer_for` as text, made once per symbol and schema, so that answering costs next to nothing when it is measured."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}

    def text(self, schema_name: str, schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> str:
        """The answer to a question."""
        key = (schema_name, symbol_in(messages[1:2]))
        if key not in self._texts:
            self._texts[key] = json.dumps(answer_for(schema_name, schema, messages))
        return self._texts[key]

    def in_process(self, request: ModelRequest) -> str:
        """For a `ScriptedModel`."""
        return self.text(request.schema_name, request.json_schema, request.messages)

    def over_http(self, body: Mapping[str, Any]) -> HttpReply:
        """For a `ModelServer`, whose clients ask with a strict schema."""
        wanted = body["response_format"]["json_schema"]
        return completion(self.text(wanted["name"], wanted["schema"], body["messages"]))


class WithNews:
    """A desk whose agents are shown dated headlines, so that the sentiment analyst has something to read."""

    def __init__(self, desk: Desk) -> None:
        self.model_name = desk.model_name
        self._desk = desk

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """The cycle of the desk inside."""
        as_of_ns = request.view.as_of_ns
        news = tuple(
            (as_of_ns - age * 60_000_000_000, f"Headline {age} about {request.symbol}") for age in range(HEADLINES, 0, -1)
        )
        return await self._desk.run_cycle(request._replace(view=replace(request.view, news=news)))

    async def aclose(self) -> None:
        """Closes the desk inside."""
        await self._desk.aclose()


def settings_of(symbols: int, out_dir: str) -> Settings:
    """A simulated market of so many symbols whose desk may be asked again and again within a moment of market time."""
    return build_settings(
        {
            "symbols": tuple(f"S{number:03d}/USDT" for number in range(symbols)),
            "out_dir": out_dir,
            "maker": {"total_capital": str(10_000 * symbols)},
            "model": {"name": MODEL},
            "desk": {"every_s": 0.001, "cycles": 100},
        }
    )


def desk_of(settings: Settings, client: ModelClient) -> Desk:
    """The product's desk over `client`, with news."""
    return WithNews(build_desk(settings, SystemClock(), client))


@contextmanager
def model_server(latency_s: float) -> Iterator[str]:
    """The server in a process of its own; its base URL."""
    command = [sys.executable, "-m", "benchmarks.desks", "--latency-s", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


async def _serve(latency_s: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ModelServer(ReadyAnswers().over_http, latency_s=latency_s) as server:
        print(server.base_url, flush=True)
        await stop.wait()


def main() -> int:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.desks", description=main.__doc__)
    parser.add_argument("--latency-s", type=float, default=0.0, help="how long the model thinks")
    asyncio.run(_serve(parser.parse_args().latency_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
