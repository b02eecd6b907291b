"""An issue, from ``gh``'s JSON or from a text, and the facts that a program can read in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rich.markdown import Markdown

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

# GitHub allows 65,536 characters in an issue and in each comment; ten times that is no issue.
LARGEST_BYTES = 4 * 1024 * 1024
_KOREAN = re.compile(r"[가-힣]")
_LATIN = re.compile(r"[A-Za-z]")
# Korean issues are full of English names: a fifth of the letters is enough to call it Korean.
_KOREAN_SHARE = 0.2
_BOX = re.compile(r"\[([ xX])\][ \t]+(\S.*)")
_NEW_LINE = re.compile(r"\r\n?|\n")  # what CommonMark counts as one
_MEASURED = re.compile(
    r"\d[\d.,]*\s*(?:%|ms|초|분|시간|일|주|s\b|sec|min|hours?|days?|weeks?|GB|GiB|MB|MiB|KB|TB|"
    r"tok(?:en)?s?\b|토큰|회|건|명|개|RPS|QPS|req|Hz|배)",
    re.IGNORECASE,
)
_TYPES = {
    "bug": ("bug", "fix", "defect", "버그", "결함", "오류"),
    "docs": ("doc", "docs", "documentation", "문서"),
    "refactoring": ("refactor", "refactoring", "cleanup", "리팩터링", "리팩토링"),
    "test": ("test", "tests", "테스트"),
    "chore": ("chore", "build", "ci", "maintenance"),
    "feature": ("feature", "feat", "enhancement", "기능"),
}
_PRIORITIES = {
    "critical": ("p0", "critical", "urgent", "blocker", "긴급"),
    "high": ("p1", "high", "높음"),
    "medium": ("p2", "medium", "normal", "중간", "보통"),
    "low": ("p3", "p4", "low", "낮음"),
}


@dataclass(frozen=True, slots=True)
class Comment:
    author: str
    created: str
    body: str


@dataclass(frozen=True, slots=True)
class Issue:
    """``number``, ``state``, ``created`` and ``updated`` are ``None`` when a text has none."""

    title: str
    body: str
    number: int | None = None
    repository: str | None = None
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    milestone: str | None = None
    state: str | None = None
    created: str | None = None
    updated: str | None = None
    comments: tuple[Comment, ...] = ()

    @property
    def text(self) -> str:
        """Everything that people wrote, in order."""
        return "\n\n".join([self.title, self.body, *(comment.body for comment in self.comments)])

    @property
    def language(self) -> str:
        """``ko`` or ``en``, by the letters of title and body."""
        text = self.title + self.body
        korean, latin = len(_KOREAN.findall(text)), len(_LATIN.findall(text))
        return "ko" if korean and korean >= _KOREAN_SHARE * (korean + latin) else "en"

    @property
    def kind(self) -> str | None:
        """What the labels or a ``[Feature]`` at the title's start say; ``None``: nothing."""
        marks = [*self.labels, *re.findall(r"\[([^\]]{1,30})\]", self.title)]
        if prefix := re.match(r"(\w+)(?:\([^)]*\))?!?:", self.title):
            marks.append(prefix[1])
        return _named(marks, _TYPES)

    @property
    def priority(self) -> str | None:
        """What a label says."""
        return _named(list(self.labels), _PRIORITIES)

    @property
    def checklist(self) -> list[tuple[bool, str]]:
        """The body's ``- [ ]`` items: ticked or not, and their text."""
        return [(box.ticked, box.text) for box in _boxes(self.body)]

    @property
    def measured(self) -> list[str]:
        """Lines that hold a number with a unit: the criteria that can be measured."""
        lines = (
            re.sub(r"^[\s>*+#|-]*(\[[ xX]\])?\s*", "", line).strip(" |")
            for line in self.body.splitlines()
        )
        found = [line for line in lines if line and _MEASURED.search(line) and len(line) <= 200]
        return list(dict.fromkeys(found))


def _named(marks: list[str], table: dict[str, tuple[str, ...]]) -> str | None:
    words = {word for mark in marks for word in re.split(r"[\s:/_-]+", mark.strip().lower())}
    return next((name for name, known in table.items() if words & set(known)), None)


@dataclass(frozen=True, slots=True)
class _Box:
    """A checklist item; ``place``: where in the text the mark between the brackets stands."""

    place: int
    ticked: bool
    text: str


def _boxes(body: str) -> list[_Box]:
    """The list items that begin with ``[ ]`` or ``[x]``, as Markdown has them: no code, no HTML."""
    starts = [0, *(match.end() for match in _NEW_LINE.finditer(body))]
    found = []
    tokens = Markdown(body).parsed
    for item, first, content in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if item.type != "list_item_open" or first.type != "paragraph_open" or not content.map:
            continue
        if box := _BOX.match(content.content):
            place = body.index("[", starts[content.map[0]]) + 1
            found.append(_Box(place, box[1] != " ", box[2].strip()))
    return found


def tick(body: str, numbers: set[int]) -> str:
    """``body`` with the checklist items of these numbers (from 1) ticked.

    Raises :class:`UsageError` for a number that there is none of.
    """
    items = _boxes(body)
    if wrong := sorted(number for number in numbers if not 1 <= number <= len(items)):
        raise UsageError(
            tr(
                "the issue's checklist has {items} items; there is no number {wrong}",
                items=len(items),
                wrong=wrong[0],
            ),
            hint=tr("`lais plan show N` lists them."),
        )
    for number in numbers:
        place = items[number - 1].place
        body = f"{body[:place]}x{body[place + 1 :]}"
    return body


def from_gh(answer: Any, number: int, repository: str | None) -> Issue:
    """The issue in the JSON of ``gh issue view``. Raises :class:`UsageError` for another shape."""
    try:
        milestone = answer.get("milestone")
        return Issue(
            title=str(answer["title"]),
            body=str(answer.get("body") or ""),
            number=number,
            repository=repository,
            labels=tuple(str(label["name"]) for label in answer.get("labels") or ()),
            assignees=tuple(str(person["login"]) for person in answer.get("assignees") or ()),
            milestone=str(milestone["title"]) if milestone else None,
            state=str(answer["state"]).lower() if answer.get("state") else None,
            created=answer.get("createdAt"),
            updated=answer.get("updatedAt"),
            comments=tuple(
                Comment(
                    str((comment.get("author") or {}).get("login", "")),
                    str(comment.get("createdAt", "")),
                    str(comment.get("body", "")),
                )
                for comment in answer.get("comments") or ()
            ),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise UsageError(
            tr(
                "this is not the JSON of an issue ({name}: {exc})", name=type(exc).__name__, exc=exc
            ),
            hint=tr("`gh issue view N --json title,body,labels,...` writes the right one."),
        ) from exc


def from_text(text: str) -> Issue:
    """An issue written as Markdown: the first heading or line is its title."""
    lines = text.strip().splitlines()
    if not lines:
        raise UsageError(tr("the issue is empty"), hint=tr("Its first line is the title."))
    title = lines[0].lstrip("#").strip()
    return Issue(title=title, body="\n".join(lines[1:]).strip())
