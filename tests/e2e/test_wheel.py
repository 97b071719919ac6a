"""The wheel, as a user gets it: what is inside, and that it works away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command outside the checkout, with nothing of the caller's configuration but what finds programs."""
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "HOME": str(cwd), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    """Run a command that has to work, and return what it printed."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a source folder or archive with the locked build backend and no index."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    succeed(sys.executable, "-m", "pip", "wheel", *options, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the checkout."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel in it, whose dependencies come from the locked environment.

    The wheel goes in first, because pip would otherwise find the checkout's editable install and do nothing. Then a
    .pth line appends the locked packages behind it; a folder added that way has its own .pth files ignored, so the
    editable install inside it does not put the checkout on the path.
    """
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    options = ("--quiet", "--no-index", "--no-deps", "--no-compile")
    succeed(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=home)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    locked = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "locked.pth").write_text("\n".join(locked) + "\n")
    return python.parent


def test_the_wheel_has_two_import_names_and_no_others(wheel: Path) -> None:
    """Installing AutoHedge never overwrites another library's files."""
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"autohedge", "autohedge_api"}
    assert not any("/tests/" in name or name.endswith(".pyc") for name in names_in(wheel))


@pytest.mark.parametrize(("folder", "pattern"), [("agents", "*.toml"), ("prompts", "*.md")])
def test_the_wheel_carries_every_agent_and_prompt(wheel: Path, folder: str, pattern: str) -> None:
    """What a checkout reads from its folders, an installed AutoHedge finds in itself."""
    present = {f"autohedge/_bundled/{folder}/{file.name}" for file in (ROOT / folder).glob(pattern)}
    assert present
    assert present <= names_in(wheel)


def test_the_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Nothing the wheel needs is missing from the source archive."""
    succeed(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path, cwd=ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    again = tmp_path / "again"
    again.mkdir()
    assert names_in(build_wheel(archive, again)) == names_in(wheel)


def test_the_installed_package_does_not_come_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The tests of the wheel test the wheel."""
    code = "import autohedge, autohedge_api, pydantic; print(autohedge.__file__, autohedge_api.__file__, sep='\\n')"
    for line in succeed(installed / "python", "-c", code, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(installed.parent), line


def test_the_installed_command_runs_a_cycle_and_says_it_is_simulated(installed: Path, tmp_path: Path) -> None:
    """`autohedge run --cycles 1 --json` works with no checkout, no key and no network, and prints one JSON object."""
    answer = json.loads(succeed(installed / "autohedge", "run", "--cycles", "1", "--json", cwd=tmp_path))
    assert isinstance(answer, dict)
    assert answer["simulated"] is True
