"""The options that `run`, `serve` and `schedule` share, and how they become settings: defaults < --config < options < --set."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autohedge.errors import ConfigError

if TYPE_CHECKING:
    from autohedge.settings import Settings

_SHARED: dict[str, tuple[Any, Any]] = {
    "symbols": (list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="What to trade, BASE/QUOTE. Default BTC/USDT.")),
    "market": (
        str | None,
        typer.Option(
            "--market",
            metavar="sim|replay:PATH|candles:PATH",
            help="Simulated market (default), a recording, or for backtests candles.",
        ),
    ),
    "model": (str | None, typer.Option("--model", metavar="NAME", help="Call this model. Without it no model is called.")),
    "base_url": (
        str | None,
        typer.Option("--base-url", metavar="URL", help="OpenAI-compatible endpoint. A loopback URL needs no key."),
    ),
    "no_model": (bool, typer.Option("--no-model", help="Rules only, whatever --config says.")),
    "cycles": (
        int | None,
        typer.Option("--cycles", metavar="N", min=0, help="Desk cycles (default: 10 on sim, the whole of a replay)."),
    ),
    "every": (
        str | None,
        typer.Option("--every", metavar="DURATION", help="Market time between cycles: 30s, 5m. Default 60s."),
    ),
    "task": (str | None, typer.Option("--task", metavar="TEXT", help="What the desk is asked to do.")),
    "seed": (int | None, typer.Option("--seed", metavar="N", help="Seed of the simulated market. Default 7.")),
    "out": (Path | None, typer.Option("--out", metavar="DIR", help="Where runs are kept. Default outputs.")),
    "record": (Path | None, typer.Option("--record", metavar="DIR", help="Also record the market events there.")),
    "record_format": (
        str | None,
        typer.Option(
            "--record-format", metavar="raw|parquet", help="How to record: lines as Binance sends them (default), or Parquet."
        ),
    ),
    "agents": (Path | None, typer.Option("--agents", metavar="DIR", help="Your own agents instead of the bundled ones.")),
    "prompts": (Path | None, typer.Option("--prompts", metavar="DIR", help="Your own prompts instead of the bundled ones.")),
    "require_llm": (
        float | None,
        typer.Option("--require-llm", metavar="FRAC", help="Fail when fewer decisions are model-driven (0 to 1)."),
    ),
    "config": (Path | None, typer.Option("--config", metavar="FILE", help="Settings as TOML: [maker] [limits] [desk] …")),
    "assign": (
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A field of MarketMakingConfig; may be repeated."),
    ),
}

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options; it is called with the `settings` made of them, and with its own parameters."""
    # annotations are text here and are looked up where the command stands; that of `settings` needs no lookup
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=eval(each.annotation, command.__globals__))
        for each in inspect.signature(command).parameters.values()
        if each.name != "settings"
    ]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if kind is bool else None,
            annotation=Annotated[kind, option],
        )
        for name, (kind, option) in _SHARED.items()
    ]

    def wrapper(**given: Any) -> None:
        from autohedge.cli.log import log_to_stderr

        log_to_stderr()
        settings = settings_from(**{name: given.pop(name) for name in _SHARED})
        command(settings=settings, **given)

    parameters = [*shared, *own]
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapper


def settings_from(
    *,
    symbols: list[str] | None,
    market: str | None,
    model: str | None,
    base_url: str | None,
    no_model: bool,
    cycles: int | None,
    every: str | None,
    task: str | None,
    seed: int | None,
    out: Path | None,
    record: Path | None,
    record_format: str | None,
    agents: Path | None,
    prompts: Path | None,
    require_llm: float | None,
    config: Path | None,
    assign: list[str] | None,
) -> Settings:
    """`Settings` from the options; `ConfigError` for whatever does not fit."""
    from autohedge.settings import build_settings, only_given, parse_assignments, parse_duration_s, read_config_file

    if no_model and (model is not None or base_url is not None):
        raise ConfigError("--no-model contradicts --model and --base-url; give one or the other")
    from_file = read_config_file(config) if config is not None else {}
    every_s = parse_duration_s(every) if every is not None else None
    options = only_given(
        symbols=tuple(symbols) if symbols else None,
        market=market,
        seed=seed,
        out_dir=out,
        record_dir=record,
        record_format=record_format,
        agents_dir=agents,
        prompts_dir=prompts,
        desk=only_given(cycles=cycles, every_s=every_s, task=task, require_llm_frac=require_llm),
        model=only_given(name=model, base_url=base_url),
    )
    assigned = parse_assignments(assign or [])
    layers: list[dict[str, Any]] = [from_file, options, {"maker": assigned} if assigned else {}]
    if no_model:
        layers.append({"model": {"name": None, "base_url": None}})
    if not symbols and "symbols" not in from_file:
        layers.insert(0, {"symbols": (_default_symbol(from_file, assigned, market),)})
    settings = build_settings(*layers)
    if record_format is not None and settings.record_dir is None:
        raise ConfigError("--record-format says how to record, and nothing is recorded; add --record DIR")
    pair = _configured_pair(from_file, assigned)
    if pair is not None and pair not in settings.symbols:
        raise ConfigError(f"trading_pair is {pair} and the symbols are {', '.join(settings.symbols)}; give one of the two")
    return settings


def _default_symbol(from_file: dict[str, Any], assigned: dict[str, str], market: str | None) -> str:
    """The symbol when none is named: the configured pair, else the recording's own, else BTC/USDT."""
    configured = _configured_pair(from_file, assigned)
    if configured is not None:
        return configured
    market = market or from_file.get("market")
    if isinstance(market, str) and market.startswith("replay:"):
        from autohedge.market.recordings import symbol_of

        found = symbol_of(Path(market.removeprefix("replay:")))
        if found is not None:
            return found
    if isinstance(market, str) and market.startswith("candles:"):
        raise ConfigError("candles do not say whose they are; name the symbol, such as BTC/USDT or NVDA")
    return "BTC/USDT"


def _configured_pair(from_file: dict[str, Any], assigned: dict[str, str]) -> str | None:
    """The trading_pair that --set or --config names; None when neither does."""
    maker = from_file.get("maker")
    pair = assigned.get("trading_pair") or (maker.get("trading_pair") if isinstance(maker, dict) else None)
    return pair if isinstance(pair, str) else None
