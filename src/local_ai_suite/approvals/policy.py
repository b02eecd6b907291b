"""Which risk level an action has here, and what that level asks of a person.

    LOW       runs
    MEDIUM    asks once per session, or runs (``medium = "run"``)
    HIGH      asks each time
    CRITICAL  asks each time, and wants a typed code that only the approver's terminal shows

The policy file can deny and raise, never lower; the highest level that any rule names counts, and
a denial always wins. Nothing in a request (a hint, an annotation, a justification) is read here.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import SettingsError
from local_ai_suite.messages import tr

from .places import check_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Level(IntEnum):
    """How much an action may harm; each level asks more of the person who approves."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """``where``: argument name -> pattern (``*`` and ``?``), all of which must match."""

    action: str
    where: tuple[tuple[str, str], ...]
    deny: bool
    level: Level | None
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """``most_pending``: waiting requests in all; ``most_per_minute``: new ones per principal."""

    medium_asks: bool = True
    most_pending: int = 50
    most_per_minute: int = 20
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    level: Level
    denied: str | None
    reasons: tuple[str, ...]


def judge(
    policy: Policy, action: str, level: Level, arguments: Mapping[str, Any], reasons: list[str]
) -> Judgement:
    """The level that ``policy`` gives to an action of ``level``; ``denied`` says why not at all."""
    said = list(reasons)
    denied = None
    for rule in policy.rules:
        if not fnmatchcase(action, rule.action) or not _matches(rule, arguments):
            continue
        if rule.deny:
            denied = denied or rule.reason or tr("the policy denies {action}", action=rule.action)
        if rule.level is not None and rule.level > level:
            level = rule.level
            said.append(
                rule.reason
                or tr("the policy raises {action} to {level}", action=rule.action, level=level.name)
            )
    return Judgement(level, denied, tuple(said))


def _matches(rule: Rule, arguments: Mapping[str, Any]) -> bool:
    return all(
        name in arguments and fnmatchcase(str(arguments[name]), pattern)
        for name, pattern in rule.where
    )


def load_policy(path: Path) -> Policy:
    """Read the TOML file; a missing one is the default policy.

    Raises :class:`SettingsError` that names the file and the entry: a policy that can't be read
    is never taken for an empty one.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Policy()
    except OSError as exc:
        raise SettingsError(
            tr("{path} cannot be read: {exc}", path=path, exc=exc), hint=_HINT
        ) from exc
    check_private(path)
    try:
        return read_policy(tomllib.loads(raw.decode("utf-8")))
    except (ValueError, KeyError, TypeError) as exc:
        raise SettingsError(tr("{path}: {exc}", path=path, exc=exc), hint=_HINT) from exc


_HINT = tr(
    "docs/guides/approvals.md shows a policy file. Until yours is right, nothing is approved."
)


def read_policy(table: Mapping[str, Any]) -> Policy:
    """The policy in a parsed TOML table. Raises ``ValueError`` that names the entry."""
    known = {"medium", "most_pending", "most_per_minute", "rule"}
    if unknown := sorted(table.keys() - known):
        raise ValueError(
            tr(
                "{unknown} is not an entry; allowed: {known}",
                unknown=unknown[0],
                known=", ".join(sorted(known)),
            )
        )
    medium = table.get("medium", "ask")
    if medium not in {"ask", "run"}:
        raise ValueError(tr('medium is {medium!r}; allowed: "ask" or "run"', medium=medium))
    rules = table.get("rule", [])
    if not isinstance(rules, list):
        raise TypeError(tr("rules are written as [[rule]]"))
    default = Policy()
    return Policy(
        medium_asks=medium == "ask",
        most_pending=_whole(table, "most_pending", default.most_pending),
        most_per_minute=_whole(table, "most_per_minute", default.most_per_minute),
        rules=tuple(_rule(number, entry) for number, entry in enumerate(rules, 1)),
    )


def _whole(table: Mapping[str, Any], name: str, default: int) -> int:
    value = table.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000:
        raise ValueError(tr("{name} is {value!r}; allowed: 1 to 10000", name=name, value=value))
    return value


def _rule(number: int, entry: Any) -> Rule:
    known = {"action", "where", "decision", "reason"}
    if not isinstance(entry, dict) or entry.keys() - known or "action" not in entry:
        raise ValueError(
            tr("rule {number}: it has action, decision, and maybe where and reason", number=number)
        )
    decision = entry.get("decision")
    levels = {level.name.lower(): level for level in Level}
    if decision != "deny" and decision not in levels:
        raise ValueError(
            tr(
                "rule {number}: decision is {decision!r}; allowed: deny, {levels} (a level "
                "only raises)",
                number=number,
                decision=decision,
                levels=", ".join(levels),
            )
        )
    where = entry.get("where", {})
    if not isinstance(where, dict):
        raise TypeError(
            tr('rule {number}: where is a table such as {{ repository = "me/*" }}', number=number)
        )
    return Rule(
        action=str(entry["action"]),
        where=tuple((str(name), str(pattern)) for name, pattern in where.items()),
        deny=decision == "deny",
        level=levels.get(str(decision)),
        reason=str(entry.get("reason", "")),
    )
