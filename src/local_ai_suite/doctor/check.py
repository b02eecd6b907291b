"""What a check says, and what all of them together mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from local_ai_suite.messages import counted, tr

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
        """The checks that say that it will not work."""
        return tuple(check for check in self.checks if check.status == "failure")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that say that it will work less well."""
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
        failures, warnings = len(self.failures), len(self.warnings)
        if failures:
            return counted(
                "{count} failure: `make up-p1` will not work yet. More: docs/troubleshooting.md",
                "{count} failures: `make up-p1` will not work yet. More: docs/troubleshooting.md",
                failures,
            )
        if warnings:
            return counted(
                "`make up-p1` will work; {count} warning above.",
                "`make up-p1` will work; {count} warnings above.",
                warnings,
            )
        return tr("Everything is in order: `make up-p1` will work.")
