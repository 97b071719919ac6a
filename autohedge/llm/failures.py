"""Every way in which a model call can fail, and what follows from each.

Promises that a failure has exactly one name and exactly one documented consequence (`HANDLING`). Refuses to hide a failure:
a name that is not in the table counts as `internal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from autohedge.errors import ModelOutputInvalid, ModelUnavailable
from autohedge.ports import ModelReply


class FailureClass(StrEnum):
    """What went wrong with one attempt."""

    CONNECTION = "connection"
    """The endpoint could not be reached, or it closed the connection in the middle of the answer."""
    TIMEOUT = "timeout"
    """No complete answer within the time that was left."""
    RATE_LIMITED = "rate_limited"
    """Status 429: too many requests, or the account is out of credit (then it is not retried)."""
    SERVER_ERROR = "server_error"
    """Status 5xx, or status 200 with something that is no chat completion (an HTML page, a stream, broken JSON)."""
    BAD_REQUEST = "bad_request"
    """Any other refused request: wrong model name, wrong key, no permission, unsupported parameter."""
    EMPTY = "empty"
    """A chat completion without a choice or without content."""
    REFUSAL = "refusal"
    """The model declined to answer."""
    FILTERED = "filtered"
    """The provider withheld the answer (content filter)."""
    TRUNCATED = "truncated"
    """The answer hit the token limit."""
    TOOL_CALL = "tool_call"
    """A call of a tool instead of an answer."""
    NOT_JSON = "not_json"
    """No single JSON object could be read from the answer."""
    WRONG_SCHEMA = "wrong_schema"
    """A JSON object with missing, unknown or wrongly typed fields."""
    OUT_OF_RANGE = "out_of_range"
    """The right fields with values outside their bounds."""
    WRONG_SYMBOL = "wrong_symbol"
    """An answer about another instrument than the one asked about."""
    INTERNAL = "internal"
    """The model client itself broke; the log has the traceback."""


class Handling(StrEnum):
    """What the ladder does after a failed attempt, as long as attempts and time are left; the rule comes after all of them."""

    RETRY = "retry"
    """Ask the same question again after a wait: the endpoint had a bad moment."""
    REASK = "reask"
    """Ask once more, showing the model what was wrong with its answer."""
    RULE = "rule"
    """Neither would help: the agent's rule decides at once."""


HANDLING: Mapping[FailureClass, Handling] = MappingProxyType(
    {
        FailureClass.CONNECTION: Handling.RETRY,
        FailureClass.TIMEOUT: Handling.RETRY,
        FailureClass.RATE_LIMITED: Handling.RETRY,
        FailureClass.SERVER_ERROR: Handling.RETRY,
        FailureClass.EMPTY: Handling.RETRY,
        FailureClass.TRUNCATED: Handling.REASK,
        FailureClass.TOOL_CALL: Handling.REASK,
        FailureClass.NOT_JSON: Handling.REASK,
        FailureClass.WRONG_SCHEMA: Handling.REASK,
        FailureClass.OUT_OF_RANGE: Handling.REASK,
        FailureClass.WRONG_SYMBOL: Handling.REASK,
        FailureClass.BAD_REQUEST: Handling.RULE,
        FailureClass.REFUSAL: Handling.RULE,
        FailureClass.FILTERED: Handling.RULE,
        FailureClass.INTERNAL: Handling.RULE,
    }
)


class UnusableReply(ModelOutputInvalid):
    """A model answered, and the answer cannot be used; `reply` keeps its text (it may be empty) and what it cost."""

    def __init__(self, failure: FailureClass, message: str, reply: ModelReply) -> None:
        super().__init__(failure, message)
        self.reply = reply


def failure_class(error: ModelUnavailable | ModelOutputInvalid) -> FailureClass:
    """The class an error names; `internal` where a client made up a name of its own."""
    try:
        return FailureClass(error.failure)
    except ValueError:
        return FailureClass.INTERNAL


def handling(error: ModelUnavailable | ModelOutputInvalid) -> Handling:
    """What follows from an error: the table, except that a client may know that a retry is pointless."""
    consequence = HANDLING[failure_class(error)]
    if consequence is Handling.RETRY and isinstance(error, ModelUnavailable) and not error.retryable:
        return Handling.RULE
    return consequence


def printable(text: str, limit: int) -> str:
    """Foreign text made safe to log, store and show: one line of at most `limit` printable characters."""
    clean = text[: 4 * limit].encode("utf-8", "replace").decode("utf-8")
    line = " ".join("".join(c if c.isprintable() else " " for c in clean).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def storable(text: str, limit: int) -> str:
    """Foreign text as it came, at most `limit` long, without what a database refuses (lone surrogates, NUL)."""
    return text[:limit].encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
