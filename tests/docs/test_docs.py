"""What the README and the pages of docs/ say is what happens: their code runs, their options exist, their defaults are true."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from autohedge import AutoHedge
from autohedge.bootstrap import prepare
from autohedge.domain.mandate import Envelope
from autohedge.domain.paper import PaperSettings
from autohedge.market_maker.config import MarketMakingConfig
from autohedge.risk.limits import RiskLimits
from autohedge.settings import DeskSettings, ModelSettings, Settings, build_settings
from autohedge.storage.stream import StreamLedger

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SERVED = {"http-api.md"}
"""Its example needs a server, and runs against one in tests/integration/api."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if match[1] in languages:
                found.append(Block(page, text.count("\n", 0, match.start()) + 2, match[1], match[2]))
    return found


# ---------------------------------------------------------------- code


def a_view() -> Any:
    """What was known of a simulated market a minute in."""
    session = prepare(build_settings({"desk": {"every_s": 60}}), open_end=True).session(StreamLedger())

    async def run() -> None:
        await session.open()
        await session.advance((session.next_cycle_ns or 0) + 60_000_000_000)

    asyncio.run(run())
    lane = session.lanes[0]
    return lane.view(lane.now_ns)


def a_run() -> None:
    """A recorded run in ./outputs."""
    AutoHedge(cycles=1, every="5s").run()


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "desk.md": lambda: {"view": a_view()},
    "records.md": lambda: {"_": a_run()},
}
"""What a page's code takes for granted."""


@pytest.mark.parametrize("block", [each for each in blocks("python") if each.page.name not in SERVED], ids=str)
def test_every_python_block_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each in an empty folder, with nothing but what the page has said before."""
    monkeypatch.chdir(tmp_path)
    names = GIVEN.get(block.page.name, dict)()
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:

        async def run() -> None:
            await eval(code, names)

        asyncio.run(run())
    else:
        exec(code, names)
    if "print(" in block.text:
        assert capsys.readouterr().out.strip(), "the example has nothing to show"


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_every_toml_block_is_a_valid_configuration(block: Block) -> None:
    """As --config would read it."""
    settings = build_settings(tomllib.loads(block.text, parse_float=str))
    assert settings != Settings()


# ---------------------------------------------------------------- commands


def commands() -> Iterator[tuple[Block, list[str]]]:
    """Every call of autohedge in a shell block, as words, without comments, prompts and what was printed."""
    for block in blocks("sh", "bash", "console"):
        for line in block.text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and Path(words[0]).name == "autohedge" and (block.language != "console" or line.startswith("$ ")):
                yield block, words[1:]


@pytest.fixture(scope="module")
def options_of() -> Callable[[tuple[str, ...]], set[str]]:
    """The options that a command's --help names."""
    known: dict[tuple[str, ...], set[str]] = {}

    def options(command: tuple[str, ...]) -> set[str]:
        if command not in known:
            done = subprocess.run(
                [sys.executable, "-m", "autohedge", *command, "--help"],
                capture_output=True,
                text=True,
                env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
                check=False,
            )
            assert done.returncode == 0, f"autohedge {' '.join(command)} is not a command"
            known[command] = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout))
        return known[command]

    return options


def command_of(words: list[str]) -> tuple[str, ...]:
    """The command that a line calls: some are nouns with commands of their own, and `backtest` alone runs one."""
    if words[0] in ("runs", "data"):
        return tuple(words[:2])
    if words[0] == "backtest":
        named = len(words) > 1 and words[1] in ("list", "show", "compare", "html", "delete")
        return ("backtest", words[1] if named else "run")
    return tuple(words[:1])


def test_every_command_and_option_in_a_shell_block_exists(options_of: Callable[[tuple[str, ...]], set[str]]) -> None:
    """autohedge's own help must know each of them, and --set only takes fields of MarketMakingConfig."""
    seen = 0
    for block, words in commands():
        command = command_of(words)
        known = options_of(command)
        for at, word in enumerate(words):
            if word.startswith("-"):
                assert word in known, f"{block}: {' '.join(command)} has no {word}"
                seen += 1
            if word == "--set":
                name, _, value = words[at + 1].partition("=")
                MarketMakingConfig.model_validate({name: value})
    assert seen > 10


def test_every_option_named_in_the_text_exists(options_of: Callable[[tuple[str, ...]], set[str]]) -> None:
    """`--option` in running text belongs to a command, unless it is another tool's."""
    others = {"--no-index", "--no-deps", "--require-hashes"}
    ours: set[str] = set()
    for command in (
        ("run",),
        ("serve",),
        ("schedule",),
        ("optimise",),
        ("calibrate",),
        *(("data", each) for each in ("download", "check", "list", "record")),
        *(("backtest", each) for each in ("run", "list", "show", "compare", "html", "delete")),
        ("explain-quote",),
        ("replay",),
        ("runs", "list"),
        ("runs", "show"),
        (),
    ):
        ours |= options_of(command)
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for named in re.findall(r"`(--[a-z][\w-]*)", text):
            assert named in ours | others, f"{page.name} speaks of {named}"


def test_every_make_target_named_exists() -> None:
    """`make …` in a shell block or in the text is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = [(str(each), named) for each in blocks("sh") for named in re.findall(r"^make ([a-z]+)", each.text, re.MULTILINE)]
    said += [(page.name, named) for page in PAGES for named in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))]
    assert len(said) > 5
    assert [(where, named) for where, named in said if named not in targets] == []


def test_links_between_pages_lead_somewhere() -> None:
    """Relative links to files and to their headings."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


# ---------------------------------------------------------------- settings

SECTIONS: dict[str, type[BaseModel]] = {
    "[maker]": MarketMakingConfig,
    "[limits]": RiskLimits,
    "[paper]": PaperSettings,
    "[envelope]": Envelope,
    "[desk]": DeskSettings,
    "[model]": ModelSettings,
    "Top level": Settings,
}


def rows_of(section: str) -> dict[str, str]:
    """Name → default of a section's table in docs/configuration.md."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    body = page.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    rows: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", body, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            assert name not in rows, f"{section} names {name} twice"
            rows[name] = default.strip()
    return rows


def same(written: str, default: Any) -> bool:
    """Whether a cell says what the code has."""
    if default is None or default in ("", ()):
        return written == "none"
    if isinstance(default, bool):
        return written.lower() == str(default).lower()
    if isinstance(default, Enum):
        return written == default.value
    if isinstance(default, int | float | Decimal):
        return Decimal(written) == Decimal(str(default))
    return written == (default[0] if isinstance(default, tuple) else str(default))


@pytest.mark.parametrize("section", SECTIONS)
def test_the_configuration_page_names_every_setting_with_its_true_default(section: str) -> None:
    """No setting is missing, none is invented, and each default is the code's."""
    fields = SECTIONS[section].model_fields
    wanted = {
        name
        for name, field in fields.items()
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    }
    rows = rows_of(section)
    assert rows.keys() == wanted
    for name, written in rows.items():
        default = fields[name].get_default(call_default_factory=True)
        assert default is not PydanticUndefined
        assert same(written.strip("`"), default), f"{section} {name}: the page says {written}, the code {default}"
