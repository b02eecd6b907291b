"""Tool call ids in the shape that Mistral's templates take: nine letters and digits."""

from __future__ import annotations

import hashlib
import re
import string

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_ALPHABET = string.ascii_letters + string.digits


def nine(id_: object) -> str:
    """``id_`` itself if it has the shape, else nine characters of its hash: always the same.

    Answers carry ids that the engine makes anew in the right shape, so nothing is mapped back.
    """
    text = str(id_)
    if _NINE.fullmatch(text):
        return text
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:12])
    made = ""
    for _ in range(9):
        number, digit = divmod(number, len(_ALPHABET))
        made += _ALPHABET[digit]
    return made
