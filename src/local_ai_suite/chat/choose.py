"""Chat model or code model: a rule that a person can read, for English and Korean.

Signals are counted; two points make it a code question. A strong signal (code itself, a stack
trace, a source file's name, "refactor", "리팩터링") is worth two, a weak one (a word that also
lives outside of programming: "class", "java", "코드") is worth one, so that it takes two of those.
A code question that is missed costs little (the chat model answers it), so doubt means chat.
Phrases that only look like programming ("dress code", "zip code") are taken out first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from local_ai_suite.messages import joined, tr

from . import signals

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["chat", "code"]

_NEEDED = 2
_LOOKED_AT = 20_000  # characters; a longer question has shown its nature by then
_SHOWN_SIGNALS = 3

CODE_SUFFIXES = frozenset(signals.SUFFIXES.split())


@dataclass(frozen=True, slots=True)
class Choice:
    """``because``: the signals that were seen, each with the words that gave it."""

    kind: Kind
    because: tuple[str, ...]

    @property
    def reason(self) -> str:
        """One line for a person."""
        if not self.because:
            return tr("nothing in it looks like programming")
        return joined(", ", self.because[:_SHOWN_SIGNALS])


def choose(question: str, files: Sequence[str] = ()) -> Choice:
    """Which kind of model ``question`` is for. ``files``: names of files that come with it."""
    source = [name for name in files if name.rpartition(".")[2].lower() in CODE_SUFFIXES]
    if source:
        return Choice("code", (tr("a source file ({source})", source=source[0]),))
    text = re.sub(signals.joined(signals.NOT_CODE), " ", question[:_LOOKED_AT], flags=re.IGNORECASE)
    points, because = 0, []
    for name, pattern, weight in _signals():
        seen = {
            match.group().strip().lower(): match.group().strip() for match in pattern.finditer(text)
        }
        # Two different weak words are two signals; the same strong one twice is one.
        points += weight * (min(len(seen), 2) if weight == 1 else bool(seen))
        if seen:
            because.append(
                tr("{name} ({match})", name=name, match=_short(next(iter(seen.values()))))
            )
    if points >= _NEEDED:
        return Choice("code", tuple(because))
    return Choice("chat", tuple(tr("only {said}", said=said) for said in because))


def _short(words: str) -> str:
    first = " ".join(words.split())
    return first if len(first) <= 24 else first[:23] + "…"


_cache: list[tuple[str, re.Pattern[str], int]] = []


def _signals() -> list[tuple[str, re.Pattern[str], int]]:
    """(what the user is told, pattern, points); compiled when first asked."""
    if _cache:
        return _cache
    words = signals.joined
    long = "|".join(sorted((s for s in CODE_SUFFIXES if len(s) > 1), key=len, reverse=True))
    short = "".join(sorted(s for s in CODE_SUFFIXES if len(s) == 1))
    # A suffix of one letter needs a name before it: "D.C." and "J.R.R." are none.
    suffixed = rf"(?:\w\.(?:{long})|[a-z0-9_]{{2}}\.[{short}])"
    file = rf"(?<![\w.])[\w./-]*{suffixed}\b(?!\.\w)|\b(?:Make|Docker)file\b"
    trace = r"Traceback \(most recent|^\s+at [\w.$]+\(|\b[A-Z]\w+(?:Error|Exception)\b"
    tools = words(signals.NAMED_TOOLS)
    named_tool = rf"(?<=[^\s.!?] )\b(?:{tools})\b|\b(?:{tools})(?=[가-힣])"
    # ASCII: a Latin word ends where a Korean particle is attached to it ("git에서").
    any_case = re.IGNORECASE | re.MULTILINE | re.ASCII
    for name, pattern, weight, flags in (
        (tr("a code block"), r"```|`[^`\n]{2,}`", 2, any_case),
        (tr("a stack trace"), trace, 2, re.MULTILINE | re.ASCII),
        (tr("a source file"), file, 2, any_case),
        ("code", words(signals.CODE), 2, any_case),
        ("mixedCase", r"\b[a-z]{1,40}_[a-z]|\b[a-z][a-z0-9]{0,40}[A-Z]\w", 2, re.ASCII),
        (tr("a programming term"), rf"\b(?:{words(signals.TERMS)})\b", 2, any_case),
        # Capitals tell the language from the snake and the metal.
        (
            tr("a language's name"),
            r"(?<!Monty )\bPython\b|\b(?:Rust|Golang|Kotlin|Scala)\b",
            2,
            re.ASCII,
        ),
        (tr("a tool or library"), named_tool, 2, re.ASCII),
        (tr("a tool or library"), rf"\b(?:{words(signals.TOOLS)})(?![\w-])", 2, any_case),
        (tr("a programming term"), signals.korean(signals.KOREAN_TERMS), 2, any_case),
        (tr("a language's name"), rf"\b(?:{words(signals.WEAK_LANGUAGES)})\b", 1, any_case),
        (tr("a word of programming"), rf"\b(?:{words(signals.WEAK_WORDS)})s?\b", 1, any_case),
        (tr("an act of programming"), rf"\b(?:{words(signals.WEAK_ACTS)})\b", 1, any_case),
        (tr("a word of programming"), signals.korean(signals.WEAK_KOREAN), 1, any_case),
    ):
        _cache.append((name, re.compile(pattern, flags), weight))
    return _cache
