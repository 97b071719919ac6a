"""The agents as data: `agents/<role>.toml` says what an agent is, `prompts/<role>.md` tells it what to do.

Promises: everything is read and checked once, at load, and a mistake is a `ConfigError` that names the file and says what
was expected. A value reaches a prompt only as `Data`: bounded, without control characters, and inside delimiters that it
cannot forge, so that a headline stays data whatever it says. The system part of a prompt has no placeholders at all.
Refuses unknown keys, unknown roles, schemas and rules, missing files, and placeholders that the desk has nothing for.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NewType

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from autohedge import assets
from autohedge.errors import ConfigError

DEFAULT_MODEL = "default"
"""An agent with this model uses the one the operator names for the run."""

MAX_FILE_BYTES = 262_144


class Role(StrEnum):
    """Who speaks, in the order in which decisions of one step are numbered."""

    TRADING_DIRECTOR = "trading_director"
    QUANT_ANALYST = "quant_analyst"
    SENTIMENT_ANALYST = "sentiment_analyst"
    RISK_MANAGER = "risk_manager"
    EXECUTION_AGENT = "execution_agent"


@dataclass(frozen=True, slots=True)
class RoleContract:
    """What the desk expects of a role and gives it: the schema of its answer, the rules it may fall back on, its variables."""

    output_schema: str
    rules: tuple[str, ...]
    variables: tuple[str, ...]


ROLES: Mapping[Role, RoleContract] = {
    Role.TRADING_DIRECTOR: RoleContract(
        "TradingThesis", ("neutral_thesis",), ("symbol", "as_of", "task", "market", "position", "news", "refusals")
    ),
    Role.QUANT_ANALYST: RoleContract("QuantAnalysis", ("book_and_trades", "abstain"), ("symbol", "as_of", "market", "thesis")),
    Role.SENTIMENT_ANALYST: RoleContract("SentimentReport", ("abstain",), ("symbol", "as_of", "news", "thesis")),
    Role.RISK_MANAGER: RoleContract(
        "RiskAssessment",
        ("within_limits",),
        ("symbol", "as_of", "market", "position", "limits", "thesis", "quant", "sentiment"),
    ),
    Role.EXECUTION_AGENT: RoleContract(
        "ExecutionPlan",
        ("imbalance_spread",),
        ("symbol", "as_of", "task", "market", "position", "thesis", "quant", "sentiment", "risk"),
    ),
}
"""The vocabulary of the agents' files. The desk registers schemas and rules under these names (a test compares them)."""


# ---------------------------------------------------------------- values in prompts

Data = NewType("Data", str)
"""Text made safe for a prompt by `data_line` or `data_block`."""

# C0 and C1 controls but tab and newline, invisible and direction-changing format characters, lone surrogates
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_ANGLES = str.maketrans({"<": "‹", ">": "›"})


def clean_text(text: str, max_chars: int) -> str:
    """`text` without control and invisible characters, cut to at most `max_chars` (a cut ends in …)."""
    printable = _UNPRINTABLE.sub("", text.replace("\r\n", "\n")).strip()
    return printable if len(printable) <= max_chars else printable[: max_chars - 1] + "…"


def data_line(text: str, max_chars: int = 120) -> Data:
    """A short value within a sentence: one line, as a quoted string."""
    return Data(json.dumps(" ".join(clean_text(text, max_chars).split()).translate(_ANGLES), ensure_ascii=False))


def data_block(name: str, text: str, max_chars: int = 6_000) -> Data:
    """A value between `<name>` and `</name>`; angle brackets inside become ‹ ›, so no value can close its own block."""
    return Data(f"<{name}>\n{clean_text(text, max_chars).translate(_ANGLES)}\n</{name}>")


# ---------------------------------------------------------------- prompts

_PLACEHOLDER = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")
_SYSTEM, _USER = "# System", "# User"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt cut once: literals and variable names take turns in `pieces`, beginning and ending with a literal."""

    system: str
    pieces: tuple[str, ...]

    @property
    def variables(self) -> frozenset[str]:
        """The names it has placeholders for."""
        return frozenset(self.pieces[1::2])

    def render(self, values: Mapping[str, Data]) -> tuple[dict[str, str], ...]:
        """System and user message; `KeyError` if a value is missing. Values are inserted as they are, never expanded again."""
        user = "".join(values[piece] if at % 2 else piece for at, piece in enumerate(self.pieces))
        return ({"role": "system", "content": self.system}, {"role": "user", "content": user})


def parse_prompt(text: str, path: Path, given: tuple[str, ...]) -> Prompt:
    """Cut a prompt file into system and user part; `ConfigError` if its form or one of its placeholders is wrong."""
    lines = text.splitlines()
    headings = [line.rstrip() for line in lines if line.rstrip() in (_SYSTEM, _USER)]
    if headings != [_SYSTEM, _USER] or lines[0].rstrip() != _SYSTEM:
        found = ", ".join(headings) or "neither"
        raise ConfigError(f"{path}: expected the line '{_SYSTEM}' first and one line '{_USER}' after it, found {found}")
    cut = next(at for at, line in enumerate(lines) if line.rstrip() == _USER)
    system, user = "\n".join(lines[1:cut]).strip(), "\n".join(lines[cut + 1 :]).strip()
    if not system or not user:
        raise ConfigError(f"{path}: expected text under '{_SYSTEM}' and under '{_USER}', found none under one of them")
    if "{{" in system:
        raise ConfigError(f"{path}: placeholders belong under '{_USER}', found one under '{_SYSTEM}'; data is no instruction")
    pieces = tuple(_PLACEHOLDER.split(user))
    for literal in pieces[::2]:
        if "{{" in literal or "}}" in literal:
            raise ConfigError(f"{path}: expected placeholders of the form {{{{name}}}}, found a stray '{{{{' or '}}}}'")
    for name in pieces[1::2]:
        if name not in given:
            raise ConfigError(f"{path}: {{{{{name}}}}} is not given to this agent; it is given {', '.join(given)}")
    return Prompt(system, pieces)


# ---------------------------------------------------------------- agents


class _AgentFile(BaseModel):
    """The keys of `agents/<role>.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    role: str
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    prompt: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    output_schema: str
    rule: str
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)] = DEFAULT_MODEL
    temperature: float = Field(default=0.3, ge=0.0, le=2.0)
    deadline_s: float = Field(default=30.0, gt=0.0, le=600.0)
    max_tokens: int = Field(default=1_000, ge=16, le=1_000_000)


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent as loaded.

    `model` is None when none was named for the run. `deadline_s` bounds a whole decision with all its attempts.
    `prompt_hash` is the SHA-256 of the prompt's template, the agent's file and the model, so any edit shows in the records.
    """

    role: Role
    description: str
    prompt: Prompt
    output_schema: str
    rule: str
    model: str | None
    temperature: float
    deadline_s: float
    max_tokens: int
    prompt_hash: str


@dataclass(frozen=True, slots=True)
class AgentCatalog:
    """All agents, one per role."""

    agents: Mapping[Role, AgentSpec]

    def __getitem__(self, role: Role) -> AgentSpec:
        return self.agents[role]


def load_catalog(agents_dir: Path | None = None, prompts_dir: Path | None = None, model: str | None = None) -> AgentCatalog:
    """Read every agent and its prompt; a folder that is None is the bundled one.

    `model` stands in for `model = "default"`. Raises `ConfigError` for whatever is missing or wrong in the files.
    """
    agents = agents_dir or assets.bundled_agents()
    prompts = prompts_dir or assets.bundled_prompts()
    for folder in (agents, prompts):
        if not folder.is_dir():
            raise ConfigError(f"{folder}: expected a folder, found {'a file' if folder.exists() else 'nothing'} there")
    files = {path.stem: path for path in sorted(agents.glob("*.toml"))}
    known = [str(role) for role in Role]
    for stem, path in files.items():
        if stem not in known:
            raise ConfigError(f"{path}: expected the name of a role ({', '.join(known)}), found {stem!r}; remove or rename it")
    for role in Role:
        if role.value not in files:
            raise ConfigError(f"{agents}: expected {role}.toml, found none; copy it from the bundled agents")
    return AgentCatalog({role: _load_agent(files[role.value], prompts, role, model) for role in Role})


def _load_agent(path: Path, prompts: Path, role: Role, model: str | None) -> AgentSpec:
    contract = ROLES[role]
    given = _read_agent_file(path)
    for key, found, expected in (
        ("role", given.role, (str(role),)),
        ("output_schema", given.output_schema, (contract.output_schema,)),
        ("rule", given.rule, contract.rules),
    ):
        if found not in expected:
            raise ConfigError(f"{path}: {key} must be {' or '.join(map(repr, expected))} for {role}, found {found!r}")
    prompt_path = prompts / f"{given.prompt}.md"
    prompt = parse_prompt(_read(prompt_path, f"the prompt that {path} names"), prompt_path, contract.variables)
    chosen = model if given.model == DEFAULT_MODEL else given.model
    identity = [prompt.system, prompt.pieces, given.model_dump(), chosen]
    return AgentSpec(
        role=role,
        description=given.description,
        prompt=prompt,
        output_schema=given.output_schema,
        rule=given.rule,
        model=chosen,
        temperature=given.temperature,
        deadline_s=given.deadline_s,
        max_tokens=given.max_tokens,
        prompt_hash=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
    )


def _read_agent_file(path: Path) -> _AgentFile:
    text = _read(path, "an agent")
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: expected TOML, found a mistake: {error}") from error
    known = list(_AgentFile.model_fields)
    unknown = [key for key in data if key not in known]
    if unknown:
        raise ConfigError(f"{path}: unknown key {', '.join(map(repr, unknown))}; known keys are {', '.join(known)}")
    try:
        return _AgentFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        found = "" if first["type"] == "missing" else f", found {first['input']!r}"
        raise ConfigError(f"{path}: {key}: {first['msg']}{found}") from error


def _read(path: Path, what: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: expected {what}, found no readable file ({error.strerror})") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, found {len(raw)}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text, found byte {raw[error.start]:#04x} at offset {error.start}") from error
