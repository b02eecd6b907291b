"""Show text so that nothing in it can move, hide or reorder what a person reads.

Every character that is not plainly visible becomes ``⟨U+202E⟩``: controls, bidirectional marks,
zero-width and other format characters, odd spaces, private and unassigned code points, variation
selectors, the blank Hangul fillers, and combining marks piled on one another. The brackets
themselves are written the same way, so that an escape can't be imitated.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass

from local_ai_suite.messages import say

# Category So/Lo/Mn, and yet blank on the screen.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
_BRACKETS = frozenset("⟨⟩")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MOST_MARKS = 2  # Vietnamese and Indic scripts put two on one letter; more is a pile
# A display past this is cut, and a cut display can't be approved. GitHub's largest comment has
# 65,536 characters; this holds it and its escapes.
MOST_CHARACTERS = 200_000
MOST_LINES = 5_000
_NARROWEST = 40
_WORD = re.compile(r"[^\W\d_]+")


def escape(text: str) -> str:
    """``text`` on one line, every character visible; newlines and tabs become ``⟨U+000A⟩``."""
    out: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        hidden = (
            category in _HIDDEN
            or (category == "Zs" and character != " ")
            or character in _BLANK
            or character in _BRACKETS
            or "\ufe00" <= character <= "\ufe0f"
            or "\U000e0100" <= character <= "\U000e01ef"
            or marks > _MOST_MARKS
        )
        out.append(f"⟨U+{ord(character):04X}⟩" if hidden else character)
    return "".join(out)


def escape_lines(text: str) -> list[str]:
    """``text`` by its newlines, each line escaped; a tab is shown as an arrow."""
    return [escape(line.replace("\t", "→   ")) for line in text.split("\n")]


def width(text: str) -> int:
    """Columns on a terminal; a wide East Asian character takes two."""
    return sum(
        0
        if unicodedata.category(character) in {"Mn", "Me"}
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def wrap(line: str, columns: int) -> list[str]:
    """Cut ``line`` by display columns, so that the terminal never wraps it by itself."""
    rows: list[str] = []
    row, used = "", 0
    for character in line:
        step = width(character)
        if used + step > columns:
            rows.append(row)
            row, used = "", 0
        row += character
        used += step
    return [*rows, row]


def quoted(text: str, columns: int) -> list[str]:
    """Foreign text behind a bar, wrapped: no row of it can pass for a row of ours."""
    inside = max(_NARROWEST, columns) - 4
    return [f"  │ {row}" for line in escape_lines(text) for row in wrap(line, inside)]


def diff(old: str, new: str, name: str) -> str:
    """What changes, as a unified diff."""
    lines = difflib.unified_diff(
        old.split("\n"), new.split("\n"), f"{name} (now)", f"{name} (after)", lineterm=""
    )
    return "\n".join(lines)


def mixed_scripts(text: str) -> list[str]:
    """Words that mix Latin with Cyrillic or Greek letters, as look-alike names do."""
    found = []
    for word in _WORD.findall(text):
        scripts = {unicodedata.name(letter, "?").split(" ")[0] for letter in word}
        if "LATIN" in scripts and scripts & {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}:
            found.append(word)
    return found


@dataclass(frozen=True, slots=True)
class Display:
    """What a person is shown. ``complete`` is False when it had to be cut."""

    rows: tuple[str, ...]
    complete: bool

    @property
    def text(self) -> str:
        """All rows, as they are printed."""
        return "\n".join(self.rows)


def bounded(rows: list[str]) -> Display:
    """Cut at the limits, and say so in the last row."""
    kept: list[str] = []
    characters = 0
    for row in rows:
        characters += len(row) + 1
        if len(kept) >= MOST_LINES or characters > MOST_CHARACTERS:
            kept.append(
                say(
                    "… cut here: {rows} more rows. This cannot be approved.",
                    rows=len(rows) - len(kept),
                )
            )
            return Display(tuple(kept), complete=False)
        kept.append(row)
    return Display(tuple(kept), complete=True)
