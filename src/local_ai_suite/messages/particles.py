"""Korean particles: their form depends on the last sound of the word before them."""

from __future__ import annotations

# After a closed syllable / after an open one, as they are written in a template.
_PAIRS = {
    "은/는": ("은", "는"),
    "이/가": ("이", "가"),
    "을/를": ("을", "를"),
    "과/와": ("과", "와"),
    "으로/로": ("으로", "로"),
    "이라/라": ("이라", "라"),
}
_FIRST, _LAST, _FINALS, _RIEUL = 0xAC00, 0xD7A3, 28, 8
# How a digit ends when it is read out: 영 일 이 삼 사 오 육 칠 팔 구.
_CLOSED_DIGITS, _RIEUL_DIGITS = "013678", "178"
# Latin letters whose sound in Korean is certain enough; after any other both forms are written.
_OPEN_LETTERS, _CLOSED_LETTERS = "aefhijoqrsuvwxyz", "lmn"


def is_particle(specification: str) -> bool:
    """Whether a template's format specification names a particle: ``은/는``."""
    return specification in _PAIRS


def particle(word: str, pair: str) -> str:
    """The form of ``pair`` that follows ``word``; ``은(는)`` where its reading is unknown."""
    closed, open_ = _PAIRS[pair]
    last = next((letter for letter in reversed(word) if letter.isalnum()), "")
    code = ord(last) if last else 0
    if _FIRST <= code <= _LAST:
        final = (code - _FIRST) % _FINALS
        ends_closed, rieul = bool(final), final == _RIEUL
    elif last.isascii() and last.isdigit():
        ends_closed, rieul = last in _CLOSED_DIGITS, last in _RIEUL_DIGITS
    elif last and last.lower() in _OPEN_LETTERS + _CLOSED_LETTERS:
        ends_closed, rieul = last.lower() in _CLOSED_LETTERS, last.lower() == "l"
    else:
        return f"({closed[:-1]}){open_}" if closed.endswith(open_) else f"{closed}({open_})"
    if pair == "으로/로" and rieul:
        return open_
    return closed if ends_closed else open_
