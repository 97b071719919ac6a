"""The project's own housekeeping: the lock, the lean import, and a floor for every package."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

HEAVY = {
    "alembic",
    "ccxt",
    "fastapi",
    "httpx",
    "httpx2",
    "langchain_core",
    "langgraph",
    "langsmith",
    "numba",
    "numpy",
    "openai",
    "polars",
    "sqlalchemy",
    "sqlmodel",
    "uvicorn",
}

IMPORT_THE_LIBRARY = "import autohedge"
ASK_THE_COMMAND_FOR_HELP = """
import sys
from autohedge.cli.main import main
sys.argv = ["autohedge", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


def locked_requirements() -> dict[str, tuple[Requirement, list[str]]]:
    """Each name in the lock with its pinned requirement and its hashes."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    locked = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pinned, *hashes = line.split(" --hash=")
        requirement = Requirement(pinned.strip())
        assert requirement.name not in locked, f"{requirement.name} is locked twice"
        locked[requirement.name] = (requirement, [found.strip() for found in hashes])
    return locked


def test_every_locked_requirement_is_exact_and_has_hashes() -> None:
    """An install from the lock gets the files that were locked, or fails."""
    locked = locked_requirements()
    assert len(locked) > len(PYPROJECT["project"]["dependencies"])
    for name, (requirement, hashes) in locked.items():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"{name} is not pinned: {requirement}"
        assert hashes, f"{name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", found) for found in hashes), name


def test_the_lock_names_no_place_to_download_from() -> None:
    """The lock works with any index: it holds no address, no index option and no path."""
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert " @ " not in text
    assert not re.search(r"^\s*(-[a-z]\b|--(?!hash=))", text, re.MULTILINE), "an option other than --hash"


def test_the_lock_satisfies_every_declared_range() -> None:
    """A range changed without `make lock` is noticed."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    locked = locked_requirements()
    for declared in map(Requirement, [*project["dependencies"], *(text for extra in extras for text in extra)]):
        name = re.sub(r"[-_.]+", "-", declared.name).lower()
        assert name in locked, f"{name} is declared and not locked"
        pinned = str(locked[name][0].specifier).removeprefix("==")
        assert declared.specifier.contains(pinned, prereleases=True), f"{declared} is declared, {pinned} is locked"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(IMPORT_THE_LIBRARY, id="import-autohedge"),
        pytest.param(ASK_THE_COMMAND_FOR_HELP, id="autohedge-help"),
    ],
)
def test_importing_and_asking_for_help_load_no_heavy_library(code: str, tmp_path: Path) -> None:
    """`import autohedge` and `autohedge --help` answer at once: models, databases and servers load when used."""
    report = "\nimport sys\nprint('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + report], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].removeprefix("loaded: ").split())
    assert "autohedge" in loaded
    assert not loaded & HEAVY


def test_every_package_has_a_floor() -> None:
    """The import rules cover all there is: a package or module without a floor would escape them."""
    contract = next(each for each in PYPROJECT["tool"]["importlinter"]["contracts"] if each["id"] == "floors")
    placed = {name.strip(" ()") for line in contract["layers"] for name in re.split(r"[|:]", line)}
    exempt = {"autohedge.__init__", "autohedge.__main__"}
    present = {
        f"autohedge.{entry.stem}"
        for entry in (ROOT / "autohedge").iterdir()
        if entry.suffix == ".py" or (entry / "__init__.py").is_file()
    }
    assert present - exempt <= placed


def test_data_folders_are_not_packages() -> None:
    """`agents`, `prompts`, `experimental` and `api` never become import names that could shadow another library."""
    for name in ("agents", "prompts", "experimental", "api"):
        assert not (ROOT / name / "__init__.py").exists(), name
