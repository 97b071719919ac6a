"""The agents' files: every bundled one loads, an edit counts, and every mistake is one line that names the file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge import assets
from autohedge.errors import ConfigError
from autohedge.llm.catalog import ROLES, Data, Role, clean_text, data_block, data_line, load_catalog, parse_prompt

Folders = tuple[Path, Path]


@pytest.fixture
def copies(tmp_path: Path) -> Folders:
    """The bundled agents and prompts, to be edited."""
    agents, prompts = tmp_path / "agents", tmp_path / "prompts"
    shutil.copytree(assets.bundled_agents(), agents)
    shutil.copytree(assets.bundled_prompts(), prompts)
    return agents, prompts


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} does not contain {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("role", list(Role))
def test_every_bundled_agent_loads_with_its_prompt(role: Role) -> None:
    """One stem everywhere, the documented defaults, and a prompt that uses everything the agent is given."""
    agent = load_catalog(model="m-1")[role]
    assert agent.role is role
    assert agent.model == "m-1"
    assert (agent.temperature, agent.deadline_s) == (0.3, 30.0)
    assert agent.prompt.variables == set(ROLES[role].variables)


def test_there_is_no_bundled_file_that_nothing_loads() -> None:
    stems = {str(role) for role in Role}
    assert {path.name for path in assets.bundled_agents().iterdir()} == {f"{stem}.toml" for stem in stems}
    assert {path.name for path in assets.bundled_prompts().iterdir()} == {f"{stem}.md" for stem in stems}


@pytest.mark.parametrize("role", list(Role))
def test_a_prompt_names_no_date_and_says_that_data_is_no_instruction(role: Role) -> None:
    """Time comes in as the view's as_of only; what is between tags is never to be followed."""
    prompt = load_catalog()[role].prompt
    text = prompt.system + "".join(prompt.pieces[::2])
    assert not re.search(r"\b(19|20)\d\d\b|\btoday\b|\bcurrent date\b", text, re.IGNORECASE)
    assert "never follow" in prompt.system
    assert "as_of" in prompt.variables


def test_an_edited_file_changes_the_agent_and_its_hash(copies: Folders) -> None:
    """Editing a file changes the agent with no code, and the records show it."""
    agents, prompts = copies
    before = load_catalog(agents, prompts)
    edit(agents / "risk_manager.toml", "temperature = 0.3", "temperature = 0")
    edit(prompts / "quant_analyst.md", "Analyse it.", "Analyse it well.")
    after = load_catalog(agents, prompts)
    assert after[Role.RISK_MANAGER].temperature == 0.0
    assert after[Role.QUANT_ANALYST].prompt.pieces[-1].endswith("Analyse it well.")
    changed = {role for role in Role if before[role].prompt_hash != after[role].prompt_hash}
    assert changed == {Role.RISK_MANAGER, Role.QUANT_ANALYST}


def test_an_agents_own_model_stays_and_default_takes_the_named_one(copies: Folders) -> None:
    agents, prompts = copies
    edit(agents / "trading_director.toml", 'model = "default"', 'model = "large-1"')
    catalog = load_catalog(agents, prompts, "small-1")
    assert catalog[Role.TRADING_DIRECTOR].model == "large-1"
    assert catalog[Role.QUANT_ANALYST].model == "small-1"
    assert load_catalog(agents, prompts)[Role.QUANT_ANALYST].model is None


def test_the_quant_analyst_may_be_told_to_abstain_without_a_model(copies: Folders) -> None:
    agents, prompts = copies
    edit(agents / "quant_analyst.toml", 'rule = "book_and_trades"', 'rule = "abstain"')
    assert load_catalog(agents, prompts)[Role.QUANT_ANALYST].rule == "abstain"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(
            "temperature = 0.3", "temprature = 0.3", "unknown key 'temprature'; known keys are role, ", id="unknown-key"
        ),
        pytest.param("temperature = 0.3", "temperature = 2.5", "temperature: .*less than or equal to 2", id="too-hot"),
        pytest.param("temperature = 0.3", "temperature = nan", "temperature: .*finite", id="nan"),
        pytest.param("temperature = 0.3", 'temperature = "0.3"', "temperature: .*valid number", id="text"),
        pytest.param("temperature = 0.3", "temperature = true", "temperature: .*valid number", id="bool"),
        pytest.param("deadline_s = 30.0", "deadline_s = 0", "deadline_s: .*greater than 0, found 0", id="no-time"),
        pytest.param("max_tokens = 800", "max_tokens = -1", "max_tokens: .*16, found -1", id="no-tokens"),
        pytest.param('rule = "within_limits"', 'rule = "gut"', "rule must be 'within_limits' .*found 'gut'", id="unknown-rule"),
        pytest.param('rule = "within_limits"', "", "rule: Field required", id="missing-key"),
        pytest.param(
            '= "RiskAssessment"', '= "Mood"', "output_schema must be 'RiskAssessment' .*found 'Mood'", id="unknown-schema"
        ),
        pytest.param('role = "risk_manager"', 'role = "boss"', "role must be 'risk_manager' .*found 'boss'", id="wrong-role"),
        pytest.param(
            'prompt = "risk_manager"', 'prompt = "risk"', "risk.md: expected the prompt that .* names", id="no-prompt"
        ),
        pytest.param('prompt = "risk_manager"', 'prompt = "../x"', "prompt: String should match", id="prompt-elsewhere"),
        pytest.param("max_tokens = 800", "max_tokens = ", r"expected TOML, found a mistake: .*line \d+", id="bad-toml"),
    ],
)
def test_a_mistake_in_an_agents_file_is_told(copies: Folders, old: str, new: str, said: str) -> None:
    """One line: the file, what was expected, what was found."""
    agents, prompts = copies
    edit(agents / "risk_manager.toml", old, new)
    with pytest.raises(ConfigError, match=said) as caught:
        load_catalog(agents, prompts)
    assert "risk_manager.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(
            "{{limits}}", "{{limit}}", r"\{\{limit\}\} is not given to this agent; it is given symbol, ", id="unknown"
        ),
        pytest.param("{{limits}}", "{{ news }}", r"\{\{news\}\} is not given", id="another-agents"),
        pytest.param("{{limits}}", "{{Limits}}", "expected placeholders of the form", id="not-a-name"),
        pytest.param("{{limits}}", "{{limits", "expected placeholders of the form", id="not-closed"),
        pytest.param("# User", "# Users", "expected the line '# System' first", id="no-user-part"),
        pytest.param("# System", "", "expected the line '# System' first", id="no-system-part"),
        pytest.param("Losing little", "{{symbol}}", "placeholders belong under '# User'", id="data-as-instruction"),
    ],
)
def test_a_mistake_in_a_prompt_is_told(copies: Folders, old: str, new: str, said: str) -> None:
    agents, prompts = copies
    edit(prompts / "risk_manager.md", old, new)
    with pytest.raises(ConfigError, match=said) as caught:
        load_catalog(agents, prompts)
    assert "risk_manager.md" in str(caught.value)


def test_a_part_without_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected text under '# System' and under '# User'"):
        parse_prompt("# System\n\n# User\nHello", Path("p.md"), ())


def _no_agent(agents: Path) -> None:
    (agents / "risk_manager.toml").unlink()


def _stray_agent(agents: Path) -> None:
    (agents / "astrologer.toml").write_text('role = "astrologer"')


def _not_text(agents: Path) -> None:
    (agents / "risk_manager.toml").write_bytes(b'role = "\xff"')


def _huge(agents: Path) -> None:
    (agents / "risk_manager.toml").write_text("#" * 300_000)


def _no_folder(agents: Path) -> None:
    shutil.rmtree(agents)


def _a_file(agents: Path) -> None:
    shutil.rmtree(agents)
    agents.write_text("")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_agent, "expected risk_manager.toml, found none"),
        (_stray_agent, "expected the name of a role .*found 'astrologer'"),
        (_not_text, "expected UTF-8 text, found byte 0xff at offset 8"),
        (_huge, "expected at most 262144 bytes, found 300000"),
        (_no_folder, "expected a folder, found nothing there"),
        (_a_file, "expected a folder, found a file there"),
    ],
)
def test_a_wrong_folder_is_told(copies: Folders, spoil: Callable[[Path], None], said: str) -> None:
    agents, prompts = copies
    spoil(agents)
    with pytest.raises(ConfigError, match=said):
        load_catalog(agents, prompts)


# ---------------------------------------------------------------- where the bundled files are


def test_a_wheels_own_files_come_before_a_folder_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed AutoHedge reads what it was shipped with; a checkout, which has no `_bundled`, reads its top folders."""
    monkeypatch.setattr(assets, "_HERE", tmp_path / "autohedge")
    (tmp_path / "prompts").mkdir()
    assert assets.bundled_prompts() == tmp_path / "prompts"
    shipped = tmp_path / "autohedge" / "_bundled" / "prompts"
    shipped.mkdir(parents=True)
    assert assets.bundled_prompts() == shipped


def test_an_installation_without_agents_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "_HERE", tmp_path / "autohedge")
    with pytest.raises(ConfigError, match=r"expected the bundled agents, found none in .* name a folder with --agents"):
        load_catalog()


# ---------------------------------------------------------------- data in prompts


@given(st.text())
def test_no_value_closes_its_own_block_or_brings_control_characters(text: str) -> None:
    """Whatever a headline says, it stays between the tags that the desk wrote."""
    block = data_block("news", text)
    assert block.startswith("<news>\n")
    assert block.endswith("\n</news>")
    assert block.count("<") == block.count(">") == 2
    assert all(char.isprintable() or char in "\n\t" or ord(char) > 0x7F for char in block)
    block.encode("utf-8")


@given(st.text(), st.integers(min_value=2, max_value=50))
def test_a_value_is_never_longer_than_its_bound(text: str, most: int) -> None:
    assert len(clean_text(text, most)) <= most


@given(st.text())
def test_a_short_value_is_one_quoted_line(text: str) -> None:
    line = data_line(text)
    assert line.startswith('"')
    assert line.endswith('"')
    assert len(line.splitlines()) == 1


def test_a_value_is_inserted_once_and_never_expanded_again() -> None:
    """A value that looks like a placeholder stays what it is."""
    prompt = parse_prompt("# System\nBe good.\n# User\n{{a}} and {{b}}", Path("p.md"), ("a", "b"))
    system, user = prompt.render({"a": Data("{{b}}"), "b": Data("secret")})
    assert system == {"role": "system", "content": "Be good."}
    assert user == {"role": "user", "content": "{{b}} and secret"}
