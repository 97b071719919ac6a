"""What a check of market data found: one finding per kind of fault, with how often and where first.

An error makes the data unfit for a backtest; a warning is unusual and told. No findings means that nothing was found wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether the data may be used as they are."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault: `kind` is its name (crossed, gap, duplicate …), `first` says where it was met first."""

    kind: str
    severity: Severity
    count: int
    first: str
    detail: str


@dataclass(frozen=True, slots=True)
class DataReport:
    """The findings about one source. `rows` were read, from `first_ns` to `last_ns` (None without rows)."""

    source: str
    what: str
    rows: int
    first_ns: int | None
    last_ns: int | None
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing was found that makes the data unfit."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)
