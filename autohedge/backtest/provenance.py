"""Where the decisions behind a backtest came from: told in its result, and enough of them the model's or the run fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from autohedge.desk.decisions import called_for_model, model_driven_share
from autohedge.domain.records import DecisionRecord
from autohedge.errors import LlmShareTooLow


def check_llm_share(decisions: Sequence[DecisionRecord], required_frac: float | None) -> None:
    """`LlmShareTooLow` when fewer decisions were model-driven than required."""
    driven, total = model_driven_share(decisions)
    share = driven / total if total else 0.0
    if required_frac is not None and share < required_frac:
        raise LlmShareTooLow(
            f"{driven} of {total} decisions were model-driven ({share:.0%}), required were {required_frac:.0%}; "
            "see why with `autohedge run` on the same market"
        )


def told_of(decisions: Sequence[DecisionRecord], model_name: str | None) -> dict[str, Any]:
    """How many decisions called for a model, how many it drove, and where all of them came from."""
    driven, total = model_driven_share(decisions)
    by_source = Counter(each.source.value for each in decisions if called_for_model(each))
    return {"total": total, "model_driven": driven, "by_source": dict(by_source), "model": model_name}
