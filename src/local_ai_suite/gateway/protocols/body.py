"""A request's body, parsed once; and JSON whose integers keep all their digits.

orjson is several times faster than the standard library, and reads an integer above 64 bits as a
float. So what is only looked at is orjson's, and what is changed and sent on is read exactly.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from local_ai_suite.errors import SuiteError

# 2**63 has nineteen digits. (The first is a set of its own, so that the search skips quickly to
# where one stands.)
_BIG = re.compile(rb"[0-9][0-9]{18}")
_HALF = re.compile("[\ud800-\udfff]")


class BadRequest(SuiteError):
    """The request cannot be understood."""

    code = "invalid_request"
    http_status = 400


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a store has to do with a request: the id of the answer that it goes on from (what was
    said before is in the request already), and whether its own answer is kept."""

    previous: str | None = None
    keeps: bool = False


NOTHING = Remembered()


@dataclass(frozen=True, slots=True)
class Request:
    """``raw`` as it came, ``parsed`` to look at."""

    raw: bytes
    parsed: dict[str, Any]
    remembered: Remembered = NOTHING

    @classmethod
    def read(cls, raw: bytes) -> Request:
        """Raises BadRequest when ``raw`` is no JSON object."""
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError as exc:
            raw, parsed = _tolerated(raw, exc)
        if not isinstance(parsed, dict):
            raise BadRequest("The request's body must be a JSON object.")
        return cls(raw, parsed)

    @classmethod
    def of_any(cls, raw: bytes) -> Request:
        """A body of any kind; what is no JSON object has no members to look at."""
        try:
            return cls.read(raw)
        except BadRequest:
            return cls(raw, {})

    def naming(self, model: str) -> Request:
        """The same request with a model, for one that names none."""
        named = {**loads(self.raw), "model": model}
        return Request(dumps(named), named)

    def exact(self) -> dict[str, Any]:
        """The object to change: as ``parsed``, with every digit of its integers."""
        return loads(self.raw) if _BIG.search(self.raw) else self.parsed


def _tolerated(raw: bytes, error: orjson.JSONDecodeError) -> tuple[bytes, Any]:
    """A body with a byte order mark, or with half a character (an emoji that JavaScript has cut),
    as JSON that the engine reads, too. Raises BadRequest for any other."""
    try:
        text = raw.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as exc:
        raise BadRequest("The request's body is not UTF-8.") from exc
    try:
        said = json.loads(text, parse_constant=_no_number)
        whole = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise BadRequest(f"The request's body is not valid JSON: {error}.") from error
    whole = _HALF.sub("\N{REPLACEMENT CHARACTER}", whole)
    return whole.encode(), loads(whole)


def loads(text: bytes | str) -> Any:
    """JSON with exact integers. Raises ValueError."""
    raw = text.encode() if isinstance(text, str) else text
    if _BIG.search(raw):
        return json.loads(raw, parse_constant=_no_number)
    return orjson.loads(raw)


def dumps(value: Any) -> bytes:
    """JSON of anything that :func:`loads` gives."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # an integer above 64 bits
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
