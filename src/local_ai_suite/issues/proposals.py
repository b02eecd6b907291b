"""What an approved plan does in the world, as requests for the gate. Nothing is done here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from .issue import tick

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.approvals import Gate, Request

COMPONENT = "plan"
LARGEST_COMMENT = 65_536  # GitHub's limit, in characters


@dataclass(frozen=True, slots=True)
class Proposal:
    """One action and its arguments, as the registry takes them."""

    action: str
    arguments: dict[str, Any]


def proposals(
    plan: dict[str, Any],
    text: str,
    *,
    comment: bool,
    branch: bool,
    ticks: set[int],
    body: str | None,
    close: str | None,
) -> list[Proposal]:
    """In the order in which they make sense. ``text`` is the plan's Markdown as it lies there.

    ``body``: the issue's text as it is now, needed for ``ticks``. Raises :class:`UsageError` that
    says what is missing.
    """
    facts = plan["facts"]
    made: list[Proposal] = []
    on_server = comment or bool(ticks) or close is not None
    if on_server and (facts["number"] is None or facts["repository"] is None):
        raise UsageError(
            tr("this plan belongs to no issue of a repository, so nothing can be posted for it"),
            hint=tr("Only the branch can be made: lais plan approve NAME --no-comment"),
        )
    issue = {"repository": facts["repository"], "issue": facts["number"]}
    if comment:
        if len(text) > LARGEST_COMMENT:
            raise UsageError(
                tr(
                    "the plan has {count} characters; a comment holds {most}",
                    count=len(text),
                    most=LARGEST_COMMENT,
                ),
                hint=tr("Shorten the Markdown file, or leave the comment out with --no-comment."),
            )
        made.append(Proposal("comment", {**issue, "body": text}))
    if branch:
        if facts["commit"] is None:
            raise UsageError(
                tr("there is no commit that a branch could begin at"),
                hint=tr("Leave it out with --no-branch, or plan inside a git repository."),
            )
        made.append(
            Proposal("create_branch", {"branch": facts["branch"], "commit": facts["commit"]})
        )
    if ticks:
        old = body or ""
        made.append(
            Proposal("tick_checklist", {**issue, "old_body": old, "new_body": tick(old, ticks)})
        )
    if close is not None:
        made.append(Proposal("close_issue", {**issue, "reason": close}))
    if not made:
        raise UsageError(tr("nothing is left to approve"), hint=tr("See lais plan approve --help."))
    return made


def ask_for(gate: Gate, made: list[Proposal], root: Path, name: str) -> list[Request]:
    """Put them into the queue; the same ones that still wait are not asked for twice."""
    return [
        gate.request(
            one.action, one.arguments, component=COMPONENT, cwd=root, session=session_of(name)
        )
        for one in made
    ]


def session_of(name: str) -> str:
    """What ties the requests of one plan together."""
    return f"plan:{name}"
