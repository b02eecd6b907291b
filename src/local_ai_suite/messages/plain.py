"""Text of others on a terminal: no escape sequences, no invisible marks.

A file, an issue or a model may hold sequences that move the cursor, change the title or the
clipboard (OSC 52), or marks that turn the order of letters around. On a terminal they are shown as
visible signs; in a pipe the text stays as it is.
"""

from __future__ import annotations

import unicodedata

_KEPT = frozenset("\n\t")
# Cf (format) characters that a script needs: joiners of emoji and Indic scripts, the soft hyphen.
_NEEDED = frozenset("\u200c\u200d\u00ad\ufeff")


def visible(text: str) -> str:
    """``text`` with each control and direction mark as ``\\x1b``-like signs; newlines stay."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_sign(character) for character in text)


def one_line(text: str) -> str:
    """The same on one line."""
    return visible(" ".join(text.split()))


def _sign(character: str) -> str:
    if character in _KEPT or character.isprintable() or character in _NEEDED:
        return character
    kind = unicodedata.category(character)
    if character == "\r":
        return ""
    if kind in {"Zs", "Co"}:  # no-break spaces; private use, such as Powerline's signs
        return character
    point = ord(character)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"
