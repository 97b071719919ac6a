"""Where the bundled agents and prompts lie.

In an installed wheel that is `_bundled/` beside this file; in a checkout it is the folders at its top, so an edited prompt
counts at once. Nothing is read or cached here: a folder is only found, and a missing one is an error that says so.
"""

from __future__ import annotations

from pathlib import Path

from autohedge.errors import ConfigError

_HERE = Path(__file__).resolve().parent


def bundled_agents() -> Path:
    """The folder with one TOML file per agent; `ConfigError` if this installation has none."""
    return _bundled("agents")


def bundled_prompts() -> Path:
    """The folder with one Markdown file per agent; `ConfigError` if this installation has none."""
    return _bundled("prompts")


def _bundled(name: str) -> Path:
    candidates = (_HERE / "_bundled" / name, _HERE.parent / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    looked = " and ".join(str(folder) for folder in candidates)
    raise ConfigError(
        f"expected the bundled {name}, found none in {looked}; reinstall AutoHedge or name a folder with --{name}"
    )
