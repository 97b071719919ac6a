"""The last word on risk, in code and after the model's: it can only reduce.

An assessment's limits are cut to the operator's; then the measured drawdown and exposure are held against them. A refusal is a
value, with its reasons; nothing here ever approves what the risk manager refused.
"""

from __future__ import annotations

from math import isfinite

from autohedge.desk.schemas import RiskAssessment
from autohedge.domain.view import MarketView

DEFAULT_MAX_DRAWDOWN_FRAC = 0.15
"""The operator's drawdown limit where none is configured, as a fraction of capital."""


def cut_to_operator(
    assessment: RiskAssessment, view: MarketView, max_drawdown_frac: float
) -> tuple[RiskAssessment, tuple[str, ...]]:
    """The assessment with its limits at most the operator's, and one sentence for each limit that was cut."""
    notes: list[str] = []
    limits: dict[str, float] = {}
    for name, said, most in (
        ("max_position_frac", assessment.max_position_frac, view.max_exposure_frac),
        ("max_drawdown_frac", assessment.max_drawdown_frac, max_drawdown_frac),
    ):
        if said > most:
            limits[name] = most
            notes.append(f"{name} {said:g} was cut to the operator's {most:g}")
    return (assessment.model_copy(update=limits) if limits else assessment), tuple(notes)


def veto_reasons(assessment: RiskAssessment, view: MarketView) -> tuple[str, ...]:
    """Why code refuses, one sentence each; empty when it does not. `assessment` has been cut to the operator's limits."""
    unknown = [name for name in ("drawdown_frac", "exposure_frac") if not isfinite(getattr(view, name))]
    if unknown:
        return (f"{' and '.join(unknown)} unknown",)
    reasons: list[str] = []
    if view.drawdown_frac >= assessment.max_drawdown_frac:
        reasons.append(f"drawdown {view.drawdown_frac:.4f} of capital has reached the limit {assessment.max_drawdown_frac:g}")
    if view.exposure_frac > assessment.max_position_frac:
        reasons.append(f"exposure {view.exposure_frac:.4f} of capital is above the limit {assessment.max_position_frac:g}")
    return tuple(reasons)


def after_veto(assessment: RiskAssessment, view: MarketView) -> tuple[RiskAssessment, tuple[str, ...]]:
    """The assessment as it stands after the veto, and the veto's own reasons (empty when it changed nothing)."""
    reasons = veto_reasons(assessment, view)
    if not reasons:
        return assessment, ()
    return assessment.model_copy(update={"approved": False, "reasons": [*assessment.reasons, *reasons]}), reasons
