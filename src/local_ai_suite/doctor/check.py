"""What a check says, and what all of them together mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from local_ai_suite.errors import SuiteError

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. A ``failure`` means that `up` will not work; ``remedy`` says what to do.

    ``details`` holds the facts behind it, for programs.
    """

    name: str
    status: Status
    message: str
    remedy: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    error: SuiteError | None = field(default=None, repr=False, compare=False)

    def as_data(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "status": self.status,
            "message": self.message,
            "remedy": self.remedy,
            "details": self.details,
        }


def ok(name: str, message: str, **details: Any) -> Check:
    return Check(name, "ok", message, details=details)


def warning(name: str, message: str, remedy: str, **details: Any) -> Check:
    return Check(name, "warning", message, remedy, details)


def failure(name: str, message: str, remedy: str, **details: Any) -> Check:
    return Check(name, "failure", message, remedy, details)


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, in the order in which a person reads them."""

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == "failure")

    @property
    def warnings(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == "warning")

    @property
    def will_work(self) -> bool:
        """Whether `up` is expected to work."""
        return not self.failures

    def as_data(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "will_work": self.will_work,
            "failures": len(self.failures),
            "warnings": len(self.warnings),
            "checks": [check.as_data() for check in self.checks],
        }

    def conclusion(self) -> str:
        """One line at the end."""
        if not self.will_work:
            return f"{_count(self.failures, 'failure')}: `make up-p1` will not work yet."
        if self.warnings:
            return f"`make up-p1` will work; {_count(self.warnings, 'warning')} above."
        return "Everything is in order: `make up-p1` will work."


def _count(checks: tuple[Check, ...], word: str) -> str:
    return f"{len(checks)} {word}{'' if len(checks) == 1 else 's'}"
