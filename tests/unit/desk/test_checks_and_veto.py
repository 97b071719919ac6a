"""What is checked beyond the schema, and the last word on risk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.desk.checks import check_quant, check_said
from autohedge.desk.schemas import ExecutionPlan, QuantAnalysis, RiskAssessment
from autohedge.desk.veto import after_veto, cut_to_operator, veto_reasons
from autohedge.domain.view import MarketView
from autohedge.errors import ModelOutputInvalid

Answers = Callable[..., dict[str, dict[str, Any]]]
Views = Callable[..., MarketView]


def test_an_answer_about_another_symbol_is_refused(make_view: Views, answers: Answers) -> None:
    view = make_view()
    check_said(ExecutionPlan.model_validate(answers(" btc/usdt")["ExecutionPlan"]), view)
    for name in ("ETH/USDT", "", "BTCUSDT"):
        with pytest.raises(ModelOutputInvalid) as caught:
            check_said(ExecutionPlan.model_validate(answers(name)["ExecutionPlan"]), view)
        assert caught.value.failure == "wrong_symbol"
        assert "'BTC/USDT'" in str(caught.value)


@pytest.mark.parametrize(
    ("levels", "failure"),
    [
        ((54_000.0, 55_000.0, 56_000.0), None),
        ((55_000.0, 55_000.0, 55_000.0), None),
        ((44_000.0, 55_000.0, 66_000.0), None),
        ((43_999.0, 55_000.0, 56_000.0), "out_of_range"),
        ((54_000.0, 55_000.0, 66_001.0), "out_of_range"),
        ((56_000.0, 55_000.0, 54_000.0), "out_of_range"),
        ((54_000.0, 53_000.0, 56_000.0), "out_of_range"),
        ((1.0, 2.0, 3.0), "out_of_range"),
    ],
)
def test_levels_are_in_order_and_near_the_market(
    levels: tuple[float, float, float], failure: str | None, make_view: Views, answers: Answers
) -> None:
    support, pivot, resistance = levels
    said = answers()["QuantOpinion"]["opinion"]
    said["key_levels"] = {"support": support, "pivot": pivot, "resistance": resistance}
    analysis = QuantAnalysis.model_validate(said)
    if failure is None:
        check_quant(analysis, make_view())
        return
    with pytest.raises(ModelOutputInvalid) as caught:
        check_quant(analysis, make_view())
    assert caught.value.failure == failure


def assessment(answers: Answers, **changed: Any) -> RiskAssessment:
    return RiskAssessment.model_validate({**answers()["RiskAssessment"], **changed})


def test_limits_above_the_operators_are_cut_and_told(make_view: Views, answers: Answers) -> None:
    """Asking for more room than there is is no fault, and it is never given."""
    cut, notes = cut_to_operator(
        assessment(answers, max_position_frac=0.5, max_drawdown_frac=0.9), make_view(max_exposure_frac=0.2), 0.15
    )
    assert (cut.max_position_frac, cut.max_drawdown_frac) == (0.2, 0.15)
    assert notes == (
        "max_position_frac 0.5 was cut to the operator's 0.2",
        "max_drawdown_frac 0.9 was cut to the operator's 0.15",
    )
    stricter = assessment(answers, max_position_frac=0.1, max_drawdown_frac=0.05)
    assert cut_to_operator(stricter, make_view(max_exposure_frac=0.2), 0.15) == (stricter, ())


@pytest.mark.parametrize(
    ("drawdown", "exposure", "said"),
    [
        (0.049, 0.1, ""),
        (0.05, 0.0, "drawdown 0.0500 of capital has reached the limit 0.05"),
        (0.0, 0.101, "exposure 0.1010 of capital is above the limit 0.1"),
        (float("nan"), 0.0, "drawdown_frac unknown"),
        (0.0, float("inf"), "exposure_frac unknown"),
    ],
)
def test_code_refuses_what_breaks_a_limit_even_if_the_model_approved(
    drawdown: float, exposure: float, said: str, make_view: Views, answers: Answers
) -> None:
    view = make_view(drawdown_frac=drawdown, exposure_frac=exposure)
    final, reasons = after_veto(assessment(answers), view)
    assert final.approved is (said == "")
    assert "; ".join(reasons) == said
    assert final.reasons == ["Exposure 0.04 is small.", *reasons]


@given(approved=st.booleans(), drawdown=st.floats(0, 1), exposure=st.floats(0, 2), limit=st.floats(0, 1))
def test_the_veto_never_approves_what_was_refused(
    approved: bool, drawdown: float, exposure: float, limit: float, make_view: Views, answers: Answers
) -> None:
    view = make_view(drawdown_frac=drawdown, exposure_frac=exposure)
    final, _ = after_veto(assessment(answers, approved=approved, max_position_frac=limit), view)
    assert final.approved is (approved and not veto_reasons(final, view))
    assert final.max_position_frac == limit
