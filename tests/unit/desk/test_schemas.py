"""What agents may say: numbers within bounds, texts that decide nothing, and no opinion as a value of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from autohedge.desk.rules import EXECUTION_RULES, QUANT_RULES, RISK_RULES, SENTIMENT_RULES, THESIS_RULES
from autohedge.desk.schemas import (
    SCHEMAS,
    Abstention,
    ExecutionPlan,
    QuantOpinion,
    RiskAssessment,
    Said,
    SentimentOpinion,
    TradingThesis,
    plain,
    quant_from_plain,
    sentiment_from_plain,
)
from autohedge.llm.catalog import ROLES, Role
from autohedge.llm.schema import strict_schema

WIRE: dict[str, type[Said]] = {
    schema.__name__: schema for schema in (TradingThesis, QuantOpinion, SentimentOpinion, RiskAssessment, ExecutionPlan)
}

Answers = Callable[..., dict[str, dict[str, Any]]]


def read(schema: type[Said], data: dict[str, Any]) -> Said:
    """As the ladder reads a model's answer."""
    return schema.model_validate_json(json.dumps(data), strict=True)


@pytest.mark.parametrize("name", list(WIRE))
def test_a_good_answer_is_read_and_its_schema_suits_strict_output(name: str, answers: Answers) -> None:
    assert read(WIRE[name], answers()[name])
    properties = strict_schema(WIRE[name])["properties"]
    assert set(properties) == set(answers()[name])


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("TradingThesis", "confidence", 1.01),
        ("TradingThesis", "confidence", "0.5"),
        ("TradingThesis", "confidence", True),
        ("TradingThesis", "direction", "sideways"),
        ("TradingThesis", "route", []),
        ("TradingThesis", "route", ["astrologer"]),
        ("TradingThesis", "route", ["hold", "execution_agent"]),
        ("RiskAssessment", "approved", "yes"),
        ("RiskAssessment", "approved", 1),
        ("RiskAssessment", "risk_level", "extreme"),
        ("RiskAssessment", "max_position_frac", -0.1),
        ("RiskAssessment", "reasons", []),
        ("ExecutionPlan", "spread_multiplier", 0.99),
        ("ExecutionPlan", "spread_multiplier", 3.01),
        ("ExecutionPlan", "inventory_bias", -0.51),
        ("ExecutionPlan", "inventory_bias", 0.51),
        ("ExecutionPlan", "inventory_bias", None),
        ("ExecutionPlan", "size_multiplier", 1.5),
        ("ExecutionPlan", "ttl_s", 0),
        ("ExecutionPlan", "limit_price", 55_000),
    ],
)
def test_a_value_outside_its_bounds_is_refused(name: str, field: str, value: Any, answers: Answers) -> None:
    """Nothing is rounded into range, no word is taken for a number, no field is invented."""
    with pytest.raises(ValidationError):
        read(WIRE[name], {**answers()[name], field: value})


@pytest.mark.parametrize("name", list(WIRE))
def test_every_field_must_be_given(name: str, answers: Answers) -> None:
    for field in answers()[name]:
        left = {key: value for key, value in answers()[name].items() if key != field}
        with pytest.raises(ValidationError):
            read(WIRE[name], left)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_that_is_none_is_refused(number: str, answers: Answers) -> None:
    text = json.dumps({**answers()["ExecutionPlan"], "ttl_s": 77}).replace("77", number)
    with pytest.raises(ValidationError):
        ExecutionPlan.model_validate_json(text, strict=True)


def test_texts_are_cleaned_and_cut_and_never_a_reason_to_refuse(answers: Answers) -> None:
    said = read(ExecutionPlan, {**answers()["ExecutionPlan"], "reason": "\x1b[31mred\u202e " + "x" * 5_000})
    assert isinstance(said, ExecutionPlan)
    assert said.reason.startswith("[31mred x")
    assert len(said.reason) == 1_000
    many = read(RiskAssessment, {**answers()["RiskAssessment"], "reasons": ["r"] * 50})
    assert isinstance(many, RiskAssessment)
    assert many.reasons == ["r"] * 8


@pytest.mark.parametrize(("schema", "role"), [(QuantOpinion, Role.QUANT_ANALYST), (SentimentOpinion, Role.SENTIMENT_ANALYST)])
def test_no_opinion_is_an_abstention_with_its_reason(schema: type[QuantOpinion] | type[SentimentOpinion], role: Role) -> None:
    said = schema.model_validate({"opinion": None, "no_opinion_reason": "Nothing to go by."}).said
    assert said == Abstention(role=role, reason="Nothing to go by.")
    assert plain(said) == {"abstained": "Nothing to go by."}
    back = quant_from_plain if role is Role.QUANT_ANALYST else sentiment_from_plain
    assert back(plain(said)) == said


@pytest.mark.parametrize("name", ["QuantOpinion", "SentimentOpinion"])
def test_an_opinion_without_its_envelope_is_an_opinion(name: str, answers: Answers) -> None:
    """Models that are not held to the schema often answer with the analysis itself."""
    enveloped = answers()[name]
    assert read(WIRE[name], enveloped["opinion"]) == read(WIRE[name], enveloped)


@pytest.mark.parametrize("name", ["QuantOpinion", "SentimentOpinion"])
@pytest.mark.parametrize("reason", [None, "", "I also have none."])
def test_an_answer_is_an_opinion_or_an_abstention_and_never_both_or_neither(
    name: str, reason: str | None, answers: Answers
) -> None:
    opinion = answers()[name]["opinion"] if reason else None
    with pytest.raises(ValidationError):
        read(WIRE[name], {"opinion": opinion, "no_opinion_reason": reason})


def test_what_was_said_survives_as_plain_data(answers: Answers) -> None:
    quant = QuantOpinion.model_validate(answers()["QuantOpinion"]).said
    sentiment = SentimentOpinion.model_validate(answers()["SentimentOpinion"]).said
    for said, back in ((quant, quant_from_plain), (sentiment, sentiment_from_plain)):
        assert back(json.loads(json.dumps(plain(said)))) == said


def test_the_agents_files_and_the_desk_use_the_same_names() -> None:
    """Every schema and rule that a file may name exists, and every one that exists can be named."""
    assert {contract.output_schema for contract in ROLES.values()} == set(SCHEMAS)
    rules = {
        Role.TRADING_DIRECTOR: THESIS_RULES,
        Role.QUANT_ANALYST: QUANT_RULES,
        Role.SENTIMENT_ANALYST: SENTIMENT_RULES,
        Role.RISK_MANAGER: RISK_RULES,
        Role.EXECUTION_AGENT: EXECUTION_RULES,
    }
    assert {role: set(contract.rules) for role, contract in ROLES.items()} == {
        role: set(registered) for role, registered in rules.items()
    }
