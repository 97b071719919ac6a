"""The failure table: every class has one consequence, and the ladder does what the table says."""

from __future__ import annotations

import pytest

from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.llm.failures import HANDLING, FailureClass, Handling, failure_class, handling, printable, storable

EXPECTED = {
    "connection": "retry",
    "timeout": "retry",
    "rate_limited": "retry",
    "server_error": "retry",
    "empty": "retry",
    "truncated": "reask",
    "tool_call": "reask",
    "not_json": "reask",
    "wrong_schema": "reask",
    "out_of_range": "reask",
    "wrong_symbol": "reask",
    "bad_request": "rule",
    "refusal": "rule",
    "filtered": "rule",
    "internal": "rule",
}


def test_every_class_has_exactly_the_documented_consequence() -> None:
    assert {failure.value: consequence.value for failure, consequence in HANDLING.items()} == EXPECTED
    assert set(HANDLING) == set(FailureClass)


@pytest.mark.parametrize("failure", FailureClass)
def test_an_error_is_handled_as_its_class(failure: FailureClass) -> None:
    assert handling(ModelUnavailable(failure, "x")) is HANDLING[failure]
    assert handling(ModelOutputInvalid(failure, "x")) is HANDLING[failure]


def test_a_client_may_know_that_a_retry_is_pointless() -> None:
    assert handling(ModelUnavailable("rate_limited", "no credit", retryable=False)) is Handling.RULE


def test_a_class_nobody_knows_is_internal() -> None:
    error = ModelUnavailable("gremlins", "x")
    assert failure_class(error) is FailureClass.INTERNAL
    assert handling(error) is Handling.RULE


def test_foreign_text_becomes_one_short_printable_line() -> None:
    assert printable("a\x1b[31m\r\nb\ud800\u202ec", 80) == "a [31m b? c"
    assert len(printable("x" * 1_000_000, 40)) == 40


def test_stored_text_keeps_its_lines_and_loses_what_a_database_refuses() -> None:
    assert storable("a\nb\ud800\x00c", 80) == "a\nb?\ufffdc"
    assert storable("x" * 100, 10) == "x" * 10
