"""The desk as the session sees it: an adapter of `ports.Desk` around the trading director."""

from __future__ import annotations

from autohedge.desk.director import DEFAULT_CYCLE_DEADLINE_S, TradingDirector
from autohedge.desk.veto import DEFAULT_MAX_DRAWDOWN_FRAC
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource
from autohedge.llm.catalog import AgentCatalog
from autohedge.llm.ladder import Ladder
from autohedge.ports import Clock


class LangGraphDesk:
    """Runs cycles; several at once, for different symbols. `model_name` is what the operator named, None for rules only.

    A failure inside is an outcome, never an exception. The ladder's client belongs to whoever made it and is closed there.
    """

    def __init__(
        self,
        catalog: AgentCatalog,
        ladder: Ladder,
        model_name: str | None,
        clock: Clock,
        max_revisions: int = 2,
        cycle_deadline_s: float = DEFAULT_CYCLE_DEADLINE_S,
        max_drawdown_frac: float = DEFAULT_MAX_DRAWDOWN_FRAC,
    ) -> None:
        self.model_name = model_name
        self.director = TradingDirector(
            catalog,
            ladder,
            clock,
            max_revisions=max_revisions,
            cycle_deadline_s=cycle_deadline_s,
            max_drawdown_frac=max_drawdown_frac,
        )

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        """One pass for one symbol; ends within the cycle's deadline."""
        if request.symbol != request.view.symbol:
            return CycleOutcome(
                cycle_id=request.cycle_id,
                symbol=request.symbol,
                ts_ns=request.view.as_of_ns,
                outcome="failed",
                reason=f"asked about {request.symbol} with a view of {request.view.symbol}",
                proposal=None,
                source=DecisionSource.RULES,
                revisions=0,
                decisions=(),
                calls=(),
            )
        return await self.director.make_decision(request.view, request.task, cycle_id=request.cycle_id)

    async def aclose(self) -> None:
        """Nothing is held open between cycles; may be called any number of times."""
