"""The page about the API says what the API does: its example runs, and it names every route, status and error word."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from autohedge_api import app, guard, jobs, views
from tests.integration.api.serving import GatedDesk, served

PAGE = Path(__file__).parents[3] / "docs" / "http-api.md"


async def test_the_example_of_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    async with served(tmp_path) as it:
        code = example[1].replace("http://127.0.0.1:8000", it.url)
        assert it.url in code
        await asyncio.to_thread(exec, compile(code, str(PAGE), "exec"), {})
    said = capsys.readouterr().out
    assert "BTC/USDT proposal rules" in said and "quant_analyst rules" in said and "USDT" in said


async def test_the_page_names_every_route_and_status(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    async with served(tmp_path, desk=GatedDesk()) as it:
        described = (await it.http.get("/openapi.json")).json()
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            assert f"`{method.upper()} {path.replace('job_id', 'id').replace('run_id', 'id')}`" in page
            for status in route["responses"]:
                assert status == "200" or re.search(rf"(\| |`?| ){status} ", page), f"{method} {path}: {status}"


def test_the_page_names_every_word_an_error_can_have() -> None:
    page = PAGE.read_text(encoding="utf-8")
    words: set[str] = set()
    for module in (app, guard, jobs, views):
        source = Path(module.__file__).read_text(encoding="utf-8")
        words |= set(re.findall(r'(?:Refused|refusal)\(\s*\d+,\s*"(\w+)"', source))
    words |= set(app._WORDS.values()) | {"market_over", "used_up", "halted", "stopping"}
    assert {"queue_full", "unknown_host", "unauthorized", "unavailable"} <= words
    assert [word for word in sorted(words) if f"`{word}`" not in page] == []
