"""One way to write a value as bytes, so that a hash of it means something (RFC 8785, "JCS").

Object keys are sorted by their UTF-16 code units, nothing is spaced, strings escape only what JSON
must, numbers are written as ECMAScript writes them. What has no single meaning is refused: NaN and
infinities, integers that a double can't hold, lone surrogates, keys that aren't text, other types.
Text is not normalised (RFC 8785, section 3.1): two spellings of one accented letter are two values.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from local_ai_suite.messages import tr

_LARGEST_INTEGER = 2**53 - 1  # RFC 8785, section 3.2.2.3: what a double holds exactly
_DEEPEST = 64  # deeper than any action; a bound against a nest made to exhaust the stack
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_ESCAPES = {**{chr(code): f"\\u{code:04x}" for code in range(0x20)}, **_SHORT}
_TABLE = str.maketrans(_ESCAPES)


def canonical(value: Any) -> bytes:
    """The canonical bytes of a JSON-able ``value``. Raises ``ValueError`` on what has none."""
    return _write(value, 0).encode("utf-8")


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def parse(text: str | bytes) -> Any:
    """Read JSON strictly: a key that comes twice, NaN and infinities are ``ValueError``."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _write(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        raise ValueError(tr("nested deeper than {most}", most=_DEEPEST))
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return _integer(value)
        case float():
            return _number(value)
        case str():
            return _string(value)
        case list() | tuple():
            return "[" + ",".join(_write(item, depth + 1) for item in value) + "]"
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise ValueError(tr("an object's keys are text"))
            keys = sorted(value, key=_utf16)
            inside = (f"{_string(key)}:{_write(value[key], depth + 1)}" for key in keys)
            return "{" + ",".join(inside) + "}"
    raise ValueError(tr("{name} is not JSON", name=type(value).__name__))


def _integer(value: int) -> str:
    """Beyond 2^53 - 1 only what a double would be written as, so that it reads back the same."""
    written = str(int(value))
    if abs(value) > _LARGEST_INTEGER and (abs(value) >= 10**21 or _number(float(value)) != written):
        raise ValueError(
            tr("integer {written} has no exact meaning as a JSON number", written=written[:30])
        )
    return written


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(tr("a lone surrogate is not text")) from exc
    return '"' + text.translate(_TABLE) + '"'


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    """ECMA-262, Number::toString: Python's shortest digits in ECMAScript's layout."""
    if not math.isfinite(value):
        raise ValueError(tr("{value} is not a JSON number", value=value))
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    leading = len(digits) - len(digits.lstrip("0"))
    digits, point = digits[leading:].rstrip("0"), point - leading
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(tr("the key {key!r} comes twice", key=key))
        found[key] = value
    return found


def _refuse(name: str) -> Any:
    raise ValueError(tr("{name} is not a JSON number", name=name))
