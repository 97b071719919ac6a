"""`AutoHedge`: the fund as one object. Give it symbols, run a task, read one log per symbol.

It runs the same session as the command line: by default on the simulated market with the rule desk, needing no key and no
network. A model is called only when one is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from autohedge.bootstrap import Run, prepare
from autohedge.domain.records import CycleOutcome
from autohedge.errors import ConfigError, StorageError
from autohedge.lane import Lane
from autohedge.ports import ModelClient
from autohedge.report import plain
from autohedge.settings import Settings, build_settings, only_given, parse_duration_s

NS_PER_S = 1_000_000_000
OutputType = Literal["list", "dict", "str"]

_ROLE_KEYS = (
    ("trading_director", "thesis"),
    ("quant_analyst", "quant"),
    ("sentiment_analyst", "sentiment"),
    ("risk_manager", "risk_assessment"),
)


class AutoHedge:
    """A desk of agents over a market maker, for one or several symbols that share the capital equally.

    `stocks`: symbols, BASE/QUOTE or a bare ticker on the simulated market. `strategy`: standing instructions that come before
    each task. `output_type`: what `run` returns: "list" (one log per symbol), "dict" (the whole run) or "str" (that as JSON).
    `model`, `base_url`: an OpenAI-compatible model, else the rules. `cycles`, `every`: desk cycles per run (default 1) and the
    market time between them (default 60s). `settings`: anything else, as nested names, like the TOML file's:
    {"maker": {"maker_fee_bps": 2}}; an argument that is given wins over it. `model_client`: your own client for `model`, which
    stays open and yours. Raises `ConfigError` for whatever does not fit; nothing is written then.
    """

    def __init__(
        self,
        stocks: Sequence[str] | None = None,
        name: str = "autohedge",
        description: str = "A desk of agents over a deterministic market maker",
        output_dir: str | Path | None = None,
        strategy: str | None = None,
        output_type: OutputType = "list",
        *,
        market: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        cycles: int | None = None,
        every: str | None = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        model_client: ModelClient | None = None,
    ) -> None:
        if isinstance(stocks, str):
            raise ConfigError(f"stocks is a list of symbols, found the text {stocks!r}; write [{stocks!r}]")
        if output_type not in ("list", "dict", "str"):
            raise ConfigError(f"output_type is list, dict or str, found {output_type!r}")
        self.name = name
        self.description = description
        self.strategy = strategy
        self.output_type = output_type
        self.logs: list[dict[str, Any]] = []
        self._model_client = model_client
        self._settings = build_settings(
            {"desk": {"cycles": 1}},
            settings or {},
            only_given(
                symbols=None if stocks is None else tuple(stocks),
                market=market,
                seed=seed,
                out_dir=None if output_dir is None else Path(output_dir),
                desk=only_given(cycles=cycles, every_s=None if every is None else parse_duration_s(every)),
                model=only_given(name=model, base_url=base_url),
            ),
        )
        if model_client is not None and self._settings.model.name is None:
            raise ConfigError("a model client was given and no model is named, so it would never be asked; name it: model=...")

    @property
    def settings(self) -> Settings:
        """The settings of the next run, before its task."""
        return self._settings

    def run(self, task: str | None = None) -> list[dict[str, Any]] | dict[str, Any] | str:
        """Run the task to its end; inside a running event loop use `await hedge.arun(task)` instead."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.arun(task))
        raise ConfigError("run() was called inside a running event loop; use `await hedge.arun(task)` there")

    async def arun(self, task: str | None = None) -> list[dict[str, Any]] | dict[str, Any] | str:
        """Run the task to its end; one log per symbol and cycle, the last cycle's returned, all of them in the file."""
        words = "\n".join(part for part in (self.strategy, task or self._settings.desk.task) if part)
        settings = build_settings(self._settings.model_dump(), {"desk": {"task": words}})
        # reading recordings and loading libraries takes its time, which the caller's loop may need for others
        plan = await asyncio.to_thread(prepare, settings, kind="library", model_client=self._model_client)
        run = plan.start()
        summary = await run.drive()
        result = self._deliver(run, summary, words)
        run.check_llm_share()
        return result

    def _deliver(self, run: Run, summary: dict[str, Any], task: str) -> list[dict[str, Any]] | dict[str, Any] | str:
        lanes = {lane.symbol: lane for lane in run.session.lanes}
        logs = [log_of(outcome, lanes[outcome.symbol], run.run_id) for outcome in run.session.outcomes]
        last = {log["current_stock"]: log for log in logs}
        self.logs = [last[symbol] for symbol in lanes if symbol in last]
        whole = {
            "name": self.name,
            "description": self.description,
            "id": run.run_id,
            "stocks": list(lanes),
            "task": task,
            "timestamp": self.logs[-1]["timestamp"] if self.logs else None,
            "logs": logs,
            "summary": summary,
        }
        text = orjson.dumps(whole, option=orjson.OPT_INDENT_2)
        path = run.run_dir / "analysis.json"
        try:
            path.write_bytes(text)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
        if self.output_type == "list":
            return self.logs
        return whole if self.output_type == "dict" else text.decode()


def log_of(outcome: CycleOutcome, lane: Lane, run_id: str) -> dict[str, Any]:
    """One cycle of one symbol in familiar names; a decision that was not asked for is None, an abstention says so."""
    latest = {decision.role: decision for decision in outcome.decisions}
    mandate = next((row.mandate for row in lane.mandates if row.cycle_id == outcome.cycle_id), None)
    log: dict[str, Any] = {"id": f"{run_id}/{outcome.cycle_id}", "current_stock": outcome.symbol}
    for role, key in _ROLE_KEYS:
        log[key] = latest[role].value if role in latest else None
    plan = latest.get("execution_agent")
    log["order"] = None
    if plan is not None and mandate is not None:
        log["order"] = {
            "plan": plan.value,
            "mandate": {
                "spread_multiplier": mandate.spread_multiplier,
                "inventory_bias": mandate.inventory_bias,
                "size_multiplier": mandate.size_multiplier,
                "regime": mandate.regime.value,
                "risk_level": mandate.risk_level.value,
                "clamps": [clamped._asdict() for clamped in mandate.clamps],
            },
            "inventory_at_end": {
                "base": plain(lane.instrument.base_amount(lane.inventory.base_atoms)),
                "quote": plain(lane.instrument.quote_amount(lane.inventory.quote_atoms)),
            },
        }
    log["decision"] = {
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "sources": {decision.role: decision.source.value for decision in outcome.decisions},
    }
    log["simulated"] = lane.feed.simulated
    log["timestamp"] = datetime.fromtimestamp(outcome.ts_ns // NS_PER_S, UTC).isoformat()
    return log
