"""How many columns of a terminal a text takes: a Korean syllable takes two."""

from __future__ import annotations

import unicodedata

_WIDE = frozenset("WF")  # Unicode's East Asian Width, annex 11: wide and fullwidth


def width(text: str) -> int:
    """Columns of ``text``, which has one line and no escape sequences."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(letter) in _WIDE else 1 for letter in text)


def ljust(text: str, columns: int) -> str:
    """``text`` with blanks behind it up to ``columns``."""
    return text + " " * (columns - width(text))


def rjust(text: str, columns: int) -> str:
    """``text`` with blanks before it up to ``columns``."""
    return " " * (columns - width(text)) + text
