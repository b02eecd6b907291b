"""The plan's Markdown, made from its JSON alone: the same JSON gives the same bytes.

Texts of the model and of the issue are escaped, so that they can't become headings, links, images,
mentions or HTML in what is posted.
"""

from __future__ import annotations

import re
from typing import Any

from .grounding import visible
from .labels import known, word

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#!])")
# GitHub looks for mentions, references and addresses after Markdown is done, so a backslash doesn't
# stop it; an entity in between does, and is plain to see in the source.
_FOUND = re.compile(
    r"@(?=[A-Za-z0-9])|#(?=\d)|\bGH-(?=\d)|\b(?:https?|ftp)(?=://)|\bwww(?=\.)", re.IGNORECASE
)
_BREAK = "&#8203;"  # a zero-width space
_LETTERS = "ABC"


def markdown(plan: dict[str, Any]) -> str:
    """The whole document, ending with a newline."""
    page = _Page(plan)
    parts = [
        page.head(),
        *(
            f"## {number}. {word(f'section_{key}', page.language)}\n\n{body}"
            for number, (key, body) in enumerate(
                [
                    ("analysis", page.analysis()),
                    ("investigation", page.investigation()),
                    ("strategy", page.strategy()),
                    ("phases", page.phases()),
                    ("risks", page.risks()),
                    ("resources", page.resources()),
                    ("quality", page.quality()),
                    ("communication", page.communication()),
                ],
                1,
            )
        ),
        f"## {page.word('section_files')}\n\n{page.files()}",
        f"## {page.word('section_review')}\n\n{page.review()}",
        f"## {page.word('section_next')}\n\n{page.next_steps()}",
        f"---\n\n{page.foot()}",
    ]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """One line of foreign text, inert in Markdown, also inside a table."""
    line = " ".join(visible(text).split()).replace("&", "&amp;")
    line = _FOUND.sub(lambda match: match[0] + _BREAK, _SPECIAL.sub(r"\\\1", line))
    return re.sub(r"^([-+]|\d+[.)])(?=\s)", lambda match: f"{match[0][:-1]}\\{match[0][-1]}", line)


class _Page:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.language: str = plan["language"]
        self.facts: dict[str, Any] = plan["facts"]
        self.sections: dict[str, Any] = plan["sections"]

    def word(self, key: str, **values: object) -> str:
        return word(key, self.language, **values)

    def value(self, key: str) -> str:
        """An enumeration's value in the plan's language."""
        return self.word(key) if known(key) else escape(key)

    def bullets(self, items: list[str]) -> str:
        return "\n".join(f"- {escape(item)}" for item in items) or f"- {self.word('none')}"

    def named(self, key: str, items: list[str]) -> str:
        return f"**{self.word(key)}**\n\n{self.bullets(items)}"

    def table(self, heads: list[str], rows: list[list[str]]) -> str:
        """``rows`` are escaped already."""
        lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])

    def head(self) -> str:
        facts = self.facts
        number = f" #{facts['number']}" if facts["number"] is not None else ""
        return f"# {self.word('plan')}{number}: {escape(facts['title'])}"

    def analysis(self) -> str:
        facts, said = self.facts, self.sections["analysis"]
        unknown = self.word("unknown")
        rows = [
            ["repository", escape(facts["repository"] or unknown)],
            ["state", self.value(facts["state"]) if facts["state"] else unknown],
            ["labels", escape(", ".join(facts["labels"])) or self.word("none")],
            ["assignees", escape(", ".join(facts["assignees"])) or self.word("unassigned")],
            ["milestone", escape(facts["milestone"] or "") or self.word("none")],
            ["created", escape(facts["created"] or unknown)],
            ["updated", escape(facts["updated"] or unknown)],
            ["comments", str(facts["comments"])],
            ["type", self.value(said["type"])],
            ["priority", self.value(said["priority"])],
            ["complexity", self.value(said["complexity"])],
        ]
        table = self.table(
            [self.word("field"), self.word("value")],
            [[self.word(key), value] for key, value in rows],
        )
        parts = [
            table,
            f"**{self.word('summary')}** {escape(said['summary'])}",
            self.named("requirements", said["requirements"]),
            self.named("constraints", said["constraints"]),
        ]
        return "\n\n".join(parts)

    def investigation(self) -> str:
        said = self.sections["investigation"]
        areas = said.get("areas", [])
        rows = [[f"`{area['path']}`", escape(area["why"])] for area in areas]
        parts = []
        if rows:
            parts.append(self.table([self.word("areas"), self.word("why")], rows))
        parts.append(self.named("dependencies", said["dependencies"]))
        parts.append(self.named("unknowns", said["unknowns"]))
        if self.facts["commit"]:
            parts.append(f"**{self.word('base')}** `{self.facts['commit'][:12]}`")
        if log := self.facts["log"]:
            lines = [
                f"- `{entry['hash'][:9]}` {entry['date']} {escape(entry['subject'])}"
                for entry in log[:5]
            ]
            parts.append(f"**{self.word('recent')}**\n\n" + "\n".join(lines))
        if missing := self.facts["missing"]:
            parts.append(self.word("missing_files", count=len(missing)))
        return "\n\n".join(parts)

    def strategy(self) -> str:
        from .estimate import HOURS  # noqa: PLC0415 (the one number of this page)

        said = self.sections["strategy"]
        heads = ["option", "approach", "pros", "cons", "time", "risk"]
        rows = [
            [
                f"{letter}. {escape(option['name'])}",
                escape(option["approach"]),
                "<br>".join(escape(item) for item in option["pros"]),
                "<br>".join(escape(item) for item in option["cons"]),
                f"{option['size']} ({HOURS[option['size']]} h)",
                self.value(option["risk"]),
            ]
            for letter, option in zip(_LETTERS, said["options"], strict=True)
        ]
        chosen = said["options"][_LETTERS.index(said["choice"])]
        return "\n\n".join(
            [
                self.table([self.word(key) for key in heads], rows),
                f"**{self.word('choice')}** {said['choice']}. {escape(chosen['name'])}",
                f"**{self.word('why')}** {escape(said['why'])}",
            ]
        )

    def phases(self) -> str:
        owner = escape(", ".join(self.facts["assignees"])) or self.word("unassigned")
        heads = [self.word(key) for key in ("task", "description", "owner", "done", "risk")]
        parts = []
        for number, phase in enumerate(self.sections["phases"]["phases"], 1):
            rows = [
                [
                    f"{escape(task['task'])} ({task['size']})",
                    escape(task["description"]),
                    owner,
                    escape(task["done"]),
                    self.value(task["risk"]),
                ]
                for task in phase["tasks"]
            ]
            title = f"### {self.word('phase')} {number}: {escape(phase['name'])}"
            parts.append(f"{title}\n\n{self.table(heads, rows)}")
        return "\n\n".join(parts)

    def risks(self) -> str:
        said = self.sections["risks"]
        heads = [self.word(key) for key in ("risk", "likelihood", "impact", "mitigation")]
        rows = [
            [
                escape(risk["risk"]),
                self.value(risk["likelihood"]),
                self.value(risk["impact"]),
                escape(risk["mitigation"]),
            ]
            for risk in said["risks"]
        ]
        own = [self.word("rollback_branch", branch=self.facts["branch"])]
        if self.facts["commit"]:
            own.append(self.word("rollback_commit", commit=self.facts["commit"][:12]))
        steps = "\n".join([*(f"- {line}" for line in own), self.bullets(said["rollback"])])
        return f"{self.table(heads, rows)}\n\n**{self.word('rollback')}**\n\n{steps}"

    def resources(self) -> str:
        from .estimate import HOURS, HOURS_PER_DAY  # noqa: PLC0415 (as above)

        said, time = self.sections["resources"], self.facts["time"]
        phases = self.sections["phases"]["phases"]
        rows = [
            [
                f"{self.word('phase')} {number}: {escape(phase['name'])}",
                str(spent["hours"]),
                f"{spent['start']} – {spent['end']}",
            ]
            for number, (phase, spent) in enumerate(zip(phases, time["phases"], strict=True), 1)
        ]
        buffer = f"{self.word('buffer')} ({time['buffer_share']:.0%})"
        rows.append([buffer, str(time["buffer"]), ""])
        span = f"{time['phases'][0]['start']} – {time['end']}"
        rows.append([f"**{self.word('total')}**", f"**{time['total']}**", span])
        heads = [self.word(key) for key in ("phase", "hours", "dates")]
        return "\n\n".join(
            [
                self.table(heads, rows),
                self.word("working_hours", hours=HOURS_PER_DAY, **HOURS),
                f"**{self.word('buffer_reason')}** {escape(said['buffer_reason'])}",
                self.named("skills", said["skills"]),
                self.named("environment", said["environment"]),
            ]
        )

    def quality(self) -> str:
        said = self.sections["quality"]
        scenarios = [
            f"  Scenario: {_plain(one['title'])}\n    Given {_plain(one['given'])}\n"
            f"    When {_plain(one['when'])}\n    Then {_plain(one['then'])}"
            for one in said["scenarios"]
        ]
        feature = f"Feature: {_plain(self.facts['title'])}\n\n" + "\n\n".join(scenarios)
        chosen = list(dict.fromkeys(said.get("performance", [])))
        marks = [self.facts["criteria"][mark] for mark in chosen]
        performance = (
            self.named("performance", marks)
            if marks
            else f"**{self.word('performance')}** {self.word('no_performance')}"
        )
        return "\n\n".join(
            [f"```gherkin\n{feature}\n```", performance, self.named("checks", said["checks"])]
        )

    def communication(self) -> str:
        said = self.sections["communication"]
        rows = [[self.value(update["when"]), escape(update["what"])] for update in said["updates"]]
        return "\n\n".join(
            [
                self.named("audience", said["audience"]),
                self.table([self.word("when"), self.word("what")], rows),
                f"**{self.word('message')}** {escape(said['message'])}",
            ]
        )

    def files(self) -> str:
        said = self.sections["files"]
        change = {entry["path"]: entry["what"] for entry in said.get("change", [])}
        rows = [[f"`{path}`", self.word("change"), escape(what)] for path, what in change.items()]
        rows += [
            [f"`{one['path']}`", self.word("make"), escape(one["what"])] for one in said["make"]
        ]
        heads = [self.word(key) for key in ("file", "action", "what")]
        return self.table(heads, rows) if rows else self.word("none")

    def review(self) -> str:
        own = ("requirements", "strategy", "tasks", "risks", "time")
        lines = [f"- [ ] {self.word(f'review_{key}')}" for key in own]
        lines += [
            f"- [ ] {self.word('review_issue', item=escape(item['text']))}"
            for item in self.facts["checklist"]
            if not item["done"]
        ]
        return "\n".join(lines)

    def next_steps(self) -> str:
        name = self.facts["number"] if self.facts["number"] is not None else "N"
        first = self.sections["phases"]["phases"][0]["tasks"]
        task = escape(first[0]["task"]) if first else ""
        return "\n".join(
            [
                f"1. {self.word('next_review', name=name)}",
                f"2. {self.word('next_approve', name=name)}",
                f"3. {self.word('next_branch', branch=self.facts['branch'], task=task)}",
            ]
        )

    def foot(self) -> str:
        lines = [
            self.word("made_by", model=escape(self.plan["model"])),
            self.word("nothing_posted"),
        ]
        if read := self.plan["read"]:
            lines.append(self.word("cut", read=read["characters"], all=read["all"]))
        if dropped := self.plan["dropped"]:
            lines.append(self.word("dropped", count=len(dropped)))
        return " ".join(lines)


def _plain(text: str) -> str:
    """Inside a code block nothing needs escaping but its own fence."""
    return " ".join(visible(text).split()).replace("```", "'''")
