"""A public model name that is not the engine's: put in both ways, nothing else touched.

Inside a JSON string every quote is escaped, so ``"model":"x"`` with bare quotes is always a member
of an object. It is the only one of its kind in what llama.cpp answers, except where the content is
itself an object (the ``input`` of Anthropic's tool_use): then the answer is parsed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from .errors import fail_event
from .plan import Mend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import Target


def rename(route: str, body: bytes, target: Target, *, streams: bool) -> Mend:
    """The mend for a request that names ``target.public``."""
    old, new = _member(target.engine), _member(target.public)
    return Mend(
        names=("rename",),
        path=route,
        body=rename_request(body, target),
        streams=streams,
        answer=lambda answer: _rename_answer(answer, target),
        stream=lambda: _RenamedStream(route, old, new),
    )


def rename_request(body: bytes, target: Target) -> bytes:
    """``body`` with the engine's name as its model; the other bytes stay when they can."""
    spelled = re.escape(orjson.dumps(target.public))
    found = list(re.finditer(rb'"model"\s*:\s*(' + spelled + rb")", body))
    if len(found) == 1:
        start, end = found[0].span(1)
        return body[:start] + orjson.dumps(target.engine) + body[end:]
    request = orjson.loads(body)
    request["model"] = target.engine
    return orjson.dumps(request)


def _member(name: str) -> bytes:
    return b'"model":' + orjson.dumps(name)


def _rename_answer(body: bytes, target: Target) -> bytes:
    old = _member(target.engine)
    if body.count(old) == 1:
        return body.replace(old, _member(target.public))
    answer = orjson.loads(body)
    if isinstance(answer, dict) and "model" in answer:
        answer["model"] = target.public
        return orjson.dumps(answer)
    return body


class _RenamedStream:
    def __init__(self, route: str, old: bytes, new: bytes) -> None:
        self._route = route
        self._old = old
        self._new = new
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        text = (self._rest + chunk).replace(self._old, self._new)
        keep = _overlap(text, self._old)
        self._rest = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest

    def fail(self, error: Mapping[str, Any]) -> bytes:
        return self.finish() + fail_event(self._route, error)


def _overlap(text: bytes, pattern: bytes) -> int:
    """How many bytes at the end of ``text`` may be the beginning of ``pattern``."""
    start = text.find(b'"', max(0, len(text) - len(pattern) + 1))
    while start >= 0:
        if pattern.startswith(text[start:]):
            return len(text) - start
        start = text.find(b'"', start + 1)
    return 0
