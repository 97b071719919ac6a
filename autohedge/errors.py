"""Every error AutoHedge raises on purpose, sorted by who must act.

AutoHedgeError
├── ConfigError            the operator: a setting, option, file or call is wrong (CLI exit code 2)
├── MarketDataError        the operator: a recording or a feed cannot be used (CLI exit code 2)
├── StorageError           the operator: the ledger cannot be written or read (CLI exit code 1)
├── VenueUnavailable       retry: the venue did not answer
├── VenueRefused           do not retry: the venue answered no
├── ModelUnavailable       fall back: no usable answer came from the model's endpoint
├── ModelOutputInvalid     re-ask once, then fall back: an answer came and is not valid
├── ApiError               the caller of the HTTP API: it could not be reached, or it said no (status and code say which)
├── LlmShareTooLow         the run failed: fewer decisions were model-driven than required (CLI exit code 1)
└── InvariantBroken        halt: the program contradicts itself

A risk refusal is a value (`autohedge.risk`), not an exception.
"""

from __future__ import annotations


class AutoHedgeError(Exception):
    """Base of all errors raised on purpose; its message says what was expected, what was found and what to do."""


class ConfigError(AutoHedgeError, ValueError):
    """A setting, option, file or argument is wrong; the operator must change it."""


class MarketDataError(AutoHedgeError):
    """Market data cannot be used: missing, corrupt, gapped or not synchronised."""


class StorageError(AutoHedgeError):
    """The ledger cannot be read or written."""


class VenueUnavailable(AutoHedgeError):
    """The venue did not answer; the state of the request is unknown."""


class VenueRefused(AutoHedgeError):
    """The venue answered with a refusal; repeating the request will not help."""


class ModelUnavailable(AutoHedgeError):
    """No usable answer came from the model's endpoint.

    `failure` is one of `autohedge.llm.failures.FailureClass`; `retry_after_s` is what the endpoint asked for, if it did.
    """

    def __init__(self, failure: str, message: str, *, retry_after_s: float | None = None, retryable: bool = True) -> None:
        super().__init__(message)
        self.failure = failure
        self.retry_after_s = retry_after_s
        self.retryable = retryable


class ModelOutputInvalid(AutoHedgeError):
    """The model answered, but not with what was asked for. `failure` names the class of the fault."""

    def __init__(self, failure: str, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class ApiError(AutoHedgeError):
    """The HTTP API of a served run was not reached (`status` is None) or answered with an error.

    `code` is the answer's own word for it (`queue_full`, `unauthorized` …), or `unreachable`, `timeout`, `unexpected_answer`;
    `retry_after_s` is what the answer asked to wait, if it did.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s


class LlmShareTooLow(AutoHedgeError):
    """Fewer decisions were model-driven than `--require-llm` demands."""


class InvariantBroken(AutoHedgeError):
    """The program contradicts itself; trading must halt."""
