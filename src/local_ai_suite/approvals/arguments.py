"""What an action takes: each argument's kind, checked and put into one form.

An argument that is missing, unknown or of another type is refused; nothing is converted by guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr

from .risk import is_git_folder_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Field:
    """``read`` returns the value in its one form, or raises ``ValueError`` that says what fits."""

    read: Callable[[Any], Any]


def text(most: int, *, pattern: str = "", says: str = "") -> Field:
    """Text of at most ``most`` characters; ``pattern`` matches all of it, ``says`` explains it."""
    compiled = re.compile(pattern) if pattern else None

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(tr("it is text"))  # noqa: TRY004 (one kind of error for the caller)
        if len(value) > most:
            raise ValueError(
                tr(
                    "it has {count} characters; at most {most} are allowed",
                    count=len(value),
                    most=most,
                )
            )
        if compiled and not compiled.fullmatch(value):
            raise ValueError(says)
        return value

    return Field(read)


def whole(low: int, high: int) -> Field:
    """A whole number from ``low`` to ``high``."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(tr("it is a whole number from {low} to {high}", low=low, high=high))
        return value

    return Field(read)


def words(most: int, longest: int) -> Field:
    """A list of one to ``most`` texts of at most ``longest`` characters."""

    def read(value: Any) -> list[str]:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= most:
            raise ValueError(tr("it is a list of 1 to {most} texts", most=most))
        if not all(isinstance(item, str) and len(item) <= longest for item in value):
            raise ValueError(
                tr("each item is text of at most {longest} characters", longest=longest)
            )
        return list(value)

    return Field(read)


def _relative(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value or "\\" in value:
        raise ValueError(tr("it is a relative path with forward slashes"))
    path = PurePosixPath(value)
    parts = value.split("/")
    if path.is_absolute() or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(tr("it is a relative path without . or .. and ends in a file's name"))
    if any(is_git_folder_name(part) for part in parts):
        raise ValueError(tr("a path inside .git is never written"))
    return str(path)


def _branch(value: Any) -> str:
    """git-check-ref-format(1), narrowed to ASCII letters, digits and ``-._/``."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", value):
        raise ValueError(
            tr("it is a branch name of ASCII letters, digits, and - . _ / (at most 100)")
        )
    bad_part = any(
        not part or part.startswith((".", "-")) or part.endswith((".lock", "."))
        for part in value.split("/")
    )
    if bad_part or ".." in value:
        raise ValueError(tr("git doesn't allow this branch name"))
    return value


RELATIVE_PATH = Field(_relative)
BRANCH = Field(_branch)
COMMIT = text(64, pattern="[0-9a-f]{40}|[0-9a-f]{64}", says=tr("it is a whole commit hash"))
REPOSITORY = text(
    140,
    pattern=r"([A-Za-z0-9.-]+(:\d{1,5})?/)?[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}",
    says=tr("it is owner/name, or host/owner/name"),
)
ISSUE = whole(1, 2**31 - 1)


def normalise(action: str, fields: Mapping[str, Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` in its one form. Raises :class:`ApprovalError` that names the argument."""
    if missing := sorted(fields.keys() - given.keys()):
        raise ApprovalError(
            tr("{action}: the argument {missing} is missing", action=action, missing=missing[0]),
            hint=_takes(fields),
        )
    if unknown := sorted(given.keys() - fields.keys()):
        raise ApprovalError(
            tr("{action}: {unknown} isn't an argument", action=action, unknown=unknown[0]),
            hint=_takes(fields),
        )
    out: dict[str, Any] = {}
    for name, field in fields.items():
        try:
            out[name] = field.read(given[name])
        except ValueError as exc:
            raise ApprovalError(
                tr("{action}: {name}: {exc}", action=action, name=name, exc=exc),
                hint=_takes(fields),
            ) from exc
    return out


def _takes(fields: Mapping[str, Field]) -> str:
    return tr("It takes: {fields}.", fields=", ".join(fields))
