"""The repository's issues through ``gh``, GitHub's own command. Read only."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.errors import NetworkError, UsageError
from local_ai_suite.messages import say, tr

from .plain import one_line, visible

if TYPE_CHECKING:
    from pathlib import Path

# GitHub answers in a second or two; behind a bad line in ten.
GH_TIMEOUT = 30.0
_LIST = "number,title,labels,state,updatedAt,assignees"
_SHOW = "number,title,body,labels,state,assignees,milestone,createdAt,updatedAt,comments,url"

# `ai "이슈 분석"` is the specification's own first example; these words mean the list as well.
ISSUE_WORDS = frozenset(
    {
        "이슈", "이슈 분석", "이슈 목록", "이슈 분석해줘", "이슈 분석해 줘", "이슈 보여줘",
        "깃허브 이슈", "issues", "issue analysis", "analyze issues", "analyse issues",
        "list issues", "show issues",
    }
)  # fmt: skip


def asks_for_issues(question: str) -> bool:
    """Whether the whole question is one of the phrases that mean the list of issues."""
    return " ".join(question.lower().strip(" .!?").split()) in ISSUE_WORDS


@dataclass(frozen=True, slots=True)
class Issues:
    """The issues of the repository at ``folder``."""

    folder: Path

    def list(self, state: str = "open", limit: int = 30) -> list[dict[str, Any]]:
        """The newest issues, as ``gh issue list --json`` gives them."""
        found = self._gh("list", "--state", state, "--limit", str(limit), "--json", _LIST)
        if not isinstance(found, list):
            raise NetworkError(tr("gh did not answer with a list of issues"))
        return found

    def show(self, number: int) -> dict[str, Any]:
        """One issue with its text and comments."""
        found = self._gh("view", str(number), "--json", _SHOW)
        if not isinstance(found, dict):
            raise NetworkError(tr("gh did not answer with issue {number}", number=number))
        return found

    def _gh(self, *arguments: str) -> Any:
        try:
            done = subprocess.run(
                ["gh", "issue", *arguments],
                cwd=self.folder,
                env={**os.environ, "GH_PROMPT_DISABLED": "1", "NO_COLOR": "1", "GH_PAGER": "cat"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GH_TIMEOUT,
                check=False,
            )
        except FileNotFoundError as exc:
            raise UsageError(
                tr("gh, GitHub's command, is not installed"),
                hint=tr("Install it from https://cli.github.com, then `gh auth login`."),
            ) from exc
        except subprocess.TimeoutExpired as exc:
            raise NetworkError(
                tr("gh did not answer within {seconds:.0f} s", seconds=GH_TIMEOUT),
                hint=tr("Is the network up?"),
            ) from exc
        if done.returncode:
            raise _refused(done.stderr.decode("utf-8", "replace"))
        try:
            return orjson.loads(done.stdout)
        except orjson.JSONDecodeError as exc:
            raise NetworkError(tr("gh did not answer in JSON"), hint=tr("Update gh.")) from exc


def _refused(said: str) -> UsageError | NetworkError:
    line = one_line(
        next((line for line in said.splitlines() if line.strip()), tr("no reason given"))
    )
    lower = said.lower()
    if "auth login" in lower or "authentication" in lower or "http 401" in lower:
        return UsageError(
            tr("gh is not logged in: {line}", line=line), hint=tr("`gh auth login` logs in.")
        )
    if "could not resolve to an issue" in lower or "could not find" in lower:
        return UsageError(
            tr("gh: {line}", line=line), hint=tr("`lais ai issues` lists the issues.")
        )
    if "not a git repository" in lower or "no git remotes" in lower or "known github host" in lower:
        return UsageError(
            tr("gh: {line}", line=line),
            hint=tr("Call it in a clone of a repository that is on GitHub."),
        )
    return NetworkError(
        tr("gh: {line}", line=line), hint=tr("Is the network up? `gh auth status` says more.")
    )


def as_table(issues: list[dict[str, Any]]) -> str:
    """One line per issue."""
    if not issues:
        return say("no issues")
    lines = []
    for issue in issues:
        labels = ", ".join(str(label.get("name", "")) for label in issue.get("labels") or [])
        number = f"#{issue.get('number')}"
        title = one_line(str(issue.get("title", "")))
        lines.append(f"{number:6} {title}" + (f"  [{one_line(labels)}]" if labels else ""))
    return "\n".join(lines)


def as_text(issue: dict[str, Any]) -> str:
    """One issue for a person, nothing in it able to move the cursor."""
    labels = ", ".join(str(label.get("name", "")) for label in issue.get("labels") or [])
    who = ", ".join(str(one.get("login", "")) for one in issue.get("assignees") or [])
    head = [
        f"# {one_line(str(issue.get('title', '')))} (#{issue.get('number')})",
        one_line(
            f"{issue.get('state', '')}; labels: {labels or 'none'}; assigned: {who or 'nobody'}"
        ),
    ]
    parts = ["\n".join(head), visible(str(issue.get("body") or say("(no text)")))]
    for comment in issue.get("comments") or []:
        author = one_line(str((comment.get("author") or {}).get("login", "somebody")))
        parts.append(f"--- {author}:\n{visible(str(comment.get('body', '')))}")
    return "\n\n".join(parts)
