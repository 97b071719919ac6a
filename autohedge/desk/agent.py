"""One agent: a role from the catalog, asked through the ladder, with a rule to fall back on.

Promises: `ask` always ends within the agent's deadline (or what the cycle has left, if that is less) with a value of the
agent's schema and its provenance. It refuses to be made from another role's file.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

import orjson

from autohedge.desk.briefing import Briefing
from autohedge.desk.decisions import Decision
from autohedge.desk.schemas import Said
from autohedge.desk.veto import DEFAULT_MAX_DRAWDOWN_FRAC
from autohedge.domain.view import MarketView
from autohedge.errors import ConfigError
from autohedge.llm.catalog import ROLES, AgentSpec, Data, Role, load_catalog
from autohedge.llm.ladder import AgentCall, Answer, Ladder, RetryPolicy
from autohedge.operations.clock import SystemClock

W = TypeVar("W", bound=Said)
V = TypeVar("V", bound=Said)


def rules_only() -> Ladder:
    """A ladder without a model: every decision is the agent's rule."""
    return Ladder(None, SystemClock(), RetryPolicy(), random.Random(0))


class Agent:
    """Base of the agents. Subclasses name their role and put their question.

    Without a spec the bundled one is taken, without a ladder the agent works by its rule. `max_drawdown_frac` is the
    operator's limit, as a fraction of capital.
    """

    role: ClassVar[Role]

    def __init__(
        self,
        spec: AgentSpec | None = None,
        ladder: Ladder | None = None,
        *,
        max_drawdown_frac: float = DEFAULT_MAX_DRAWDOWN_FRAC,
    ) -> None:
        self.spec = spec or load_catalog()[self.role]
        if self.spec.role is not self.role:
            raise ConfigError(f"{type(self).__name__} expects the agent {self.role}, found {self.spec.role}")
        self.max_drawdown_frac = max_drawdown_frac
        self._ladder = ladder or rules_only()
        self._given = ROLES[self.role].variables

    def briefing(self, view: MarketView, task: str = "") -> Briefing:
        """A briefing for one agent on its own, outside a cycle."""
        return Briefing.of(view, task, self.max_drawdown_frac)

    async def ask(
        self,
        schema: type[W],
        briefing: Briefing,
        opinions: Mapping[str, Data],
        *,
        check: Callable[[W], None],
        rule: Callable[[], W],
    ) -> tuple[Answer[W], str]:
        """Put the question to the model, or to the rule; returns the answer and the hash of the messages."""
        values = {**briefing.values, **opinions}
        messages = self.spec.prompt.render({name: values[name] for name in self._given})
        input_hash = hashlib.sha256(orjson.dumps(messages)).hexdigest()
        call = AgentCall(
            role=str(self.role),
            model=self.spec.model or "",
            messages=messages,
            schema=schema,
            temperature=self.spec.temperature,
            max_tokens=self.spec.max_tokens,
            deadline_s=max(0.0, min(self.spec.deadline_s, briefing.time_left_s())),
            prompt_hash=self.spec.prompt_hash,
            input_hash=input_hash,
        )
        return await self._ladder.decide(call, check=check, rule=rule), input_hash

    def decision(self, value: V, answer: Answer[W], input_hash: str, *, notes: tuple[str, ...] = ()) -> Decision[V]:
        """The decision made from an answer; `notes` are what code did to it."""
        return Decision(
            role=self.role,
            schema=self.spec.output_schema,
            value=value,
            source=answer.source,
            reason_code=answer.reason_code,
            reason="; ".join(part for part in (answer.reason, *notes) if part),
            model=answer.model,
            prompt_hash=self.spec.prompt_hash,
            input_hash=input_hash,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            latency_ms=answer.latency_ms,
            attempts=answer.attempts,
            calls=answer.calls,
        )
