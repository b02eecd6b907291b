"""Issues as text for a terminal, and the words that ask for them."""

from __future__ import annotations

from typing import Any

from local_ai_suite.messages import say
from local_ai_suite.messages.plain import one_line, visible

# `ai "이슈 분석"` is how people begin; these words mean the list as well.
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
