"""The log of a command: one readable line per message on standard error, and no key in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loguru import logger

from autohedge.cli.log import log_to_stderr


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave no sink behind."""
    yield
    logger.remove()


def test_a_message_is_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Who, how grave, what: no date, no module path, no second line, and nothing on standard output."""
    log_to_stderr({})
    logger.warning("risk_manager: the rule decides\n\n  because of {}", "several\nlines")
    logger.debug("of no interest")
    captured = capsys.readouterr()
    assert captured.err == "autohedge: warning: risk_manager: the rule decides because of several lines\n"
    assert captured.out == ""


def test_an_exception_is_told_by_type_and_place_and_never_by_its_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """loguru would print every variable of the trace, keys included."""
    log_to_stderr({})
    secret = "sk-" + "hidden-0123456789"

    def breaks(api_key: str) -> None:
        raise KeyError("missing")

    try:
        breaks(secret)
    except KeyError as error:
        logger.opt(exception=error).error("the desk broke: {}", error)
    told = capsys.readouterr().err
    assert told.startswith("autohedge: error: the desk broke: 'missing' (KeyError at test_log.py:")
    assert told.count("\n") == 1 and secret not in told and "Traceback" not in told


def test_keys_are_masked_wherever_they_turn_up(capsys: pytest.CaptureFixture[str]) -> None:
    """An endpoint that repeats the key in its error does not get it into the log."""
    log_to_stderr({"OPENAI_API_KEY": "sk-abcdef123456", "AUTOHEDGE_API_KEY": "letmein-9876"})
    logger.warning("401: key sk-abcdef123456 is wrong, letmein-9876 too")
    assert capsys.readouterr().err == "autohedge: warning: 401: key *** is wrong, *** too\n"


def test_a_flood_is_cut_in_the_middle_and_a_defect_keeps_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """500 characters are enough for a warning; a trace, which its caller has put into the message, is let through."""
    log_to_stderr({})
    logger.warning("begin " + "x" * 2_000 + " end")
    logger.critical("y" * 4_900)
    short, long = capsys.readouterr().err.splitlines()
    assert len(short) == len("autohedge: warning: ") + 500
    assert short.startswith("autohedge: warning: begin xx") and " … " in short and short.endswith("x end")
    assert long == "autohedge: critical: " + "y" * 4_900


def test_standard_error_is_looked_up_at_each_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live view that stands before stderr gets the lines, so that they do not tear it."""
    import io
    import sys

    log_to_stderr({})
    stand_in = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stand_in)
        logger.warning("one")
    logger.warning("two")
    assert stand_in.getvalue() == "autohedge: warning: one\n"
    assert capsys.readouterr().err == "autohedge: warning: two\n"


def test_braces_in_a_message_are_only_braces(capsys: pytest.CaptureFixture[str]) -> None:
    """What a model said is data, also to the log."""
    log_to_stderr({})
    logger.warning("{}", '{"a": {0}} <red>x</red>')
    assert capsys.readouterr().err == 'autohedge: warning: {"a": {0}} <red>x</red>\n'
