"""docs/troubleshooting.md and its Korean twin, and docs/reference/errors.md: from troubles.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from doc_pages import codes

Language = Literal["en", "ko"]
_LANGUAGES: tuple[Language, ...] = ("en", "ko")
_FILE = Path(__file__).with_name("troubles.toml")

_WORDS = {
    "en": {
        "head": """<!-- Made by `make docs` from tools/doc_pages/troubles.toml; don't edit. -->

# Troubleshooting

[한국어](troubleshooting.ko.md)

Start with `lais doctor`: it looks at the first part of this page and says what helps. The code of
an error stands in HTTP answers, and in a command's with `--json`.
""",
        "seen": "What you see",
        "look": "where to look",
        "check": "Checks of `lais doctor` and `make preflight`",
        "error": "Error codes",
        "kind": {"check": "check", "error": "error"},
        "why": "Why",
        "cure": "What to do",
    },
    "ko": {
        "head": """<!-- Made by `make docs` from tools/doc_pages/troubles.toml; don't edit. -->

# 문제 해결

[English](troubleshooting.md)

먼저 `lais doctor`를 실행하세요. 이 문서의 앞부분을 살펴보고 해결법을 말해 줍니다. 오류
코드는 HTTP 응답에, 명령이라면 `--json`을 붙였을 때 나옵니다.
""",
        "seen": "보이는 것",
        "look": "볼 곳",
        "check": "`lais doctor`와 `make preflight`의 점검",
        "error": "오류 코드",
        "kind": {"check": "점검", "error": "오류"},
        "why": "이유",
        "cure": "할 일",
    },
}  # fmt: skip

ERRORS_HEAD = """<!-- Made by `make docs` from the errors themselves; don't edit. -->

# Errors and exit codes

A command that fails prints one error: what, where, and what to do. With `--json` it is
`{"ok": false, "command", "error": {"code", "message", "hint", "details"?}, "warnings"}`. HTTP
errors have the shape of the API that was called (OpenAI's, Anthropic's, Ollama's); `code` stands in
OpenAI's.

Exit codes: 0 done, 1 the answer is no, 2 wrong words, 3 a setting, 4 a model or its fit, 5 engine
or gateway, 6 a service, 7 the network or a server, 8 an approval, 9 not built yet, 70 a defect,
74 a disk, 130 Ctrl-C.

| code | exit | HTTP | when |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Trouble:
    """One section: ``names`` are the check's name or the codes; each text by its language."""

    kind: Literal["check", "error"]
    names: tuple[str, ...]
    sees: dict[Language, str]
    why: dict[Language, str]
    cure: dict[Language, str]

    def title(self, language: Language) -> str:
        words = _WORDS[language]["kind"]
        assert isinstance(words, dict)
        return f"{', '.join(self.names)} ({words[self.kind]})"

    def anchor(self, language: Language) -> str:
        """As GitHub makes it of the heading."""
        return re.sub(r"[^\w\- ]", "", self.title(language).lower()).replace(" ", "-")


@cache
def troubles() -> tuple[tuple[Trouble, ...], tuple[tuple[dict[Language, str], str], ...]]:
    """All sections, and the symptoms with the section (``check.gpu``) that each leads to."""
    data = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    sections = [
        _trouble("check" if kind == "check" else "error", name, entry)
        for kind in ("check", "error")
        for name, entry in data[kind].items()
    ]
    seen = [(_texts(entry["what"]), str(entry["look"])) for entry in data["seen"]]
    return tuple(sections), tuple(seen)


def _trouble(kind: Literal["check", "error"], name: str, entry: dict[str, Any]) -> Trouble:
    names = (name, *entry.get("also", ()))
    return Trouble(kind, names, *(_texts(entry[key]) for key in ("sees", "why", "cure")))


def _texts(pair: list[str]) -> dict[Language, str]:
    return dict(zip(_LANGUAGES, pair, strict=True))


def page(language: Language) -> str:
    """The whole troubleshooting page in one language."""
    words = _WORDS[language]
    sections, seen = troubles()
    places = {f"{one.kind}.{name}": one for one in sections for name in one.names}
    parts = [str(words["head"]), f"| {words['seen']} | {words['look']} |", "|---|---|"]
    parts += [
        f"| {what[language]} | [{look.split('.')[1]}](#{places[look].anchor(language)}) |"
        for what, look in seen
    ]
    for kind in ("check", "error"):
        parts.append(f"\n## {words[kind]}")
        for one in sections:
            if one.kind == kind:
                parts.append(
                    f"\n### {one.title(language)}\n\n"
                    f"**{words['seen']}:** {one.sees[language]}\n\n"
                    f"**{words['why']}:** {one.why[language]}\n\n"
                    f"**{words['cure']}:** {one.cure[language]}"
                )
    return "\n".join(parts) + "\n"


def errors_page() -> str:
    """docs/reference/errors.md: every code, with its exit code and HTTP status."""
    sections, _ = troubles()
    by_code = {name: one for one in sections if one.kind == "error" for name in one.names}
    rows = []
    for code in codes.codes().values():
        one = by_code[code.name]
        link = f"[`{code.name}`](../troubleshooting.md#{one.anchor('en')})"
        why = re.sub(r"\]\((?!\w+:)", "](../", one.why["en"])
        rows.append(f"| {link} | {code.exit_code or '-'} | {code.http_status or '-'} | {why} |")
    return ERRORS_HEAD + "\n".join(rows) + "\n"
