"""How much memory a process holds: after the import, after a default run, and with a hundred symbols asked once.

Resident memory, each in a process of its own. Beside it an empty Python and the libraries that the desk and the ledger need.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.figures import Figure, Options, Skipped

ROUNDS = 3
SYMBOLS = 100

REPORT = "import psutil; print(psutil.Process().memory_info().rss / 1e6)"

EMPTY = f"{REPORT}"
IMPORT = f"import autohedge\n{REPORT}"
LIBRARIES = f"import langgraph.graph, langsmith, sqlmodel, pydantic, tenacity, loguru, orjson\n{REPORT}"
DEFAULT_RUN = f"""
import sys
from autohedge import AutoHedge
AutoHedge(output_dir=sys.argv[1], cycles=10).run()
{REPORT}
"""
MANY_SYMBOLS = f"""
import asyncio, sys
from loguru import logger
from autohedge.bootstrap import prepare
from autohedge.testing import ScriptedModel
from benchmarks.desks import ReadyAnswers, desk_of, settings_of

logger.remove()
settings = settings_of({SYMBOLS}, sys.argv[1])

async def main():
    model = ScriptedModel(ReadyAnswers().in_process)
    run = prepare(settings, desk=desk_of(settings, model)).start()
    await run.session.open()
    await run.session.ask_desk()
    {REPORT}
    await run.finish()

asyncio.run(main())
"""


def _rss_mb(script: str) -> float:
    with tempfile.TemporaryDirectory(prefix="autohedge-bench-") as out_dir:
        done = subprocess.run([sys.executable, "-c", script, out_dir], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def figures(_options: Options) -> list[Figure]:
    """Megabytes of each."""
    try:
        import psutil  # noqa: F401 - the measured processes need it
    except ModuleNotFoundError:
        raise Skipped("psutil is not installed; it comes with the dev extra") from None

    def figure(name: str, script: str, note: str = "") -> Figure:
        return Figure(name, tuple(_rss_mb(script) for _ in range(ROUNDS)), "MB", note=note)

    return [
        figure("memory: empty Python", EMPTY, "limit; psutil included, as in all of these"),
        figure("memory: import autohedge", IMPORT),
        figure("memory: libraries of desk and ledger", LIBRARIES, "limit of any run: LangGraph, SQLModel, pydantic …"),
        figure("memory: after a default run", DEFAULT_RUN, "simulated market, 10 cycles, rules"),
        figure("memory: 100 symbols, asked once", MANY_SYMBOLS, "in-process model, all agents, records"),
    ]
