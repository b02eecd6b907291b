"""The actions that there are: each with its arguments, its risk, its lives and its executor.

Pull requests are not among them, on purpose: the suite never makes or merges one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local_ai_suite.messages import tr

from . import arguments as kind
from . import executors
from .bound import BoundFile, bind, bind_program
from .display import diff
from .policy import Level
from .risk import Risk, risk_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .arguments import Field
    from .executors import Execution

MINUTE = 60.0
DAY = 24 * 60 * MINUTE
# What waits for a person's eyes dies soon; what they have seen and not used dies sooner.
PENDING_LIFE = 10 * MINUTE
APPROVED_LIFE = 2 * MINUTE
APPROVED_LIFE_CRITICAL = 1 * MINUTE
PLAN_LIFE = 7 * DAY  # a plan under review is read over days

# What gh needs to find its login and its server. Values of the second kind are secrets: they are
# named in what is bound, and taken from the approver's environment when it runs.
_GH_PLAIN = ("PATH", "HOME", "XDG_CONFIG_HOME", "GH_CONFIG_DIR", "GH_HOST", "LANG", "SSL_CERT_FILE")
_GH_SECRET = ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "DBUS_SESSION_BUS_ADDRESS")


@dataclass(frozen=True, slots=True)
class Action:
    """``execute`` is the gate's alone. ``change``: (old, new, name) of the text that changes."""

    name: str
    version: int
    level: Level
    fields: Mapping[str, Field]
    title: Callable[[Mapping[str, Any]], str]
    reasons: tuple[str, ...]
    execute: Callable[[Execution], dict[str, Any]]
    pending_life: float = PENDING_LIFE
    approved_life: float = APPROVED_LIFE
    environment: tuple[str, ...] = ()
    secret_environment: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    files: Callable[[Mapping[str, Any], Path], list[BoundFile]] = field(
        default=lambda _arguments, _cwd: []
    )
    # What the arguments themselves ask for beyond `level`: a level and why.
    risk: Callable[[Mapping[str, Any]], Risk | None] = field(default=lambda _arguments: None)
    change: Callable[[Mapping[str, Any], Path], str] | None = None
    # Arguments that `change` shows already, so that they aren't shown twice.
    shown_by_change: frozenset[str] = frozenset()

    def bound_files(self, arguments: Mapping[str, Any], cwd: Path) -> list[BoundFile]:
        """Programs first, then the files of ``arguments``."""
        return [*(bind_program(name, cwd) for name in self.programs), *self.files(arguments, cwd)]

    def life_after_approval(self, level: Level) -> float:
        """CRITICAL shortens it, whatever the action says."""
        if level is Level.CRITICAL:
            return min(self.approved_life, APPROVED_LIFE_CRITICAL)
        return self.approved_life


def _old_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="backslashreplace")
    except FileNotFoundError:
        return ""


def _write_file_change(arguments: Mapping[str, Any], cwd: Path) -> str:
    path = str(arguments["path"])
    return diff(_old_text(cwd / path), str(arguments["content"]), path)


COMMENT = Action(
    name="comment",
    version=1,
    level=Level.HIGH,
    fields={
        "repository": kind.REPOSITORY,
        "issue": kind.ISSUE,
        "body": kind.text(65_536),  # GitHub's limit of a comment
    },
    title=lambda a: tr(
        "Post a comment on {repository}#{issue}", repository=a["repository"], issue=a["issue"]
    ),
    reasons=(tr("everybody who can see the repository reads it, under your name"),),
    execute=executors.comment,
    pending_life=PLAN_LIFE,
    environment=_GH_PLAIN,
    secret_environment=_GH_SECRET,
    programs=("gh",),
)
TICK_CHECKLIST = Action(
    name="tick_checklist",
    version=1,
    level=Level.HIGH,
    fields={
        "repository": kind.REPOSITORY,
        "issue": kind.ISSUE,
        "old_body": kind.text(65_536),
        "new_body": kind.text(65_536),
    },
    title=lambda a: tr(
        "Change the text of {repository}#{issue}: tick its checklist",
        repository=a["repository"],
        issue=a["issue"],
    ),
    reasons=(tr("it replaces the issue's text, under your name"),),
    execute=executors.tick_checklist,
    pending_life=PLAN_LIFE,
    environment=_GH_PLAIN,
    secret_environment=_GH_SECRET,
    programs=("gh",),
    change=lambda a, _cwd: diff(
        a["old_body"].replace("\r\n", "\n"), a["new_body"].replace("\r\n", "\n"), "issue"
    ),
    shown_by_change=frozenset({"old_body", "new_body"}),
)
CLOSE_ISSUE = Action(
    name="close_issue",
    version=1,
    level=Level.HIGH,
    fields={
        "repository": kind.REPOSITORY,
        "issue": kind.ISSUE,
        "reason": kind.text(
            20, pattern="completed|not planned", says=tr('it is "completed" or "not planned"')
        ),
    },
    title=lambda a: tr(
        "Close {repository}#{issue} as {reason}",
        repository=a["repository"],
        issue=a["issue"],
        reason=a["reason"],
    ),
    reasons=(tr("its followers are told, under your name"),),
    execute=executors.close_issue,
    pending_life=PLAN_LIFE,
    environment=_GH_PLAIN,
    secret_environment=_GH_SECRET,
    programs=("gh",),
)
CREATE_BRANCH = Action(
    name="create_branch",
    version=1,
    level=Level.HIGH,
    fields={"branch": kind.BRANCH, "commit": kind.COMMIT},
    title=lambda a: tr(
        "Create the local branch {branch} at {commit}", branch=a["branch"], commit=a["commit"][:12]
    ),
    reasons=(tr("it adds a ref to the repository; nothing is checked out or pushed"),),
    execute=executors.create_branch,
    pending_life=PLAN_LIFE,
    programs=("git",),
)
WRITE_FILE = Action(
    name="write_file",
    version=1,
    level=Level.HIGH,
    fields={
        "path": kind.RELATIVE_PATH,
        "content": kind.text(500_000),
        "old_sha256": kind.text(
            64, pattern="[0-9a-f]{64}|absent", says=tr("it is the old content's SHA-256, or absent")
        ),
    },
    title=lambda a: tr("Write the file {path}", path=a["path"]),
    reasons=(tr("it replaces what the file holds"),),
    execute=executors.write_file,
    risk=lambda a: risk_of(str(a["path"])),
    files=lambda a, cwd: [bind(cwd / str(a["path"]), "replaces")],
    change=_write_file_change,
    shown_by_change=frozenset({"content"}),
)

ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (COMMENT, TICK_CHECKLIST, CLOSE_ISSUE, CREATE_BRANCH, WRITE_FILE)
}
