"""A public model name that is not the engine's: put in both ways, nothing else touched.

Inside a JSON string every quote is escaped, so ``"model":"x"`` with bare quotes is always a member
of an object. It is the only one of its kind in what llama.cpp answers, except where the content is
itself an object (the ``input`` of Anthropic's tool_use): then the answer is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from .body import dumps, loads
from .events import Stream


@dataclass(frozen=True, slots=True)
class Target:
    """The model under the name that the client said, and under the name that the engine knows."""

    public: str
    engine: str

    @property
    def renamed(self) -> bool:
        return self.public != self.engine


def rename_request(body: bytes, target: Target) -> bytes:
    """``body`` with the engine's name as its model; the other bytes stay when they can."""
    spelled = re.escape(orjson.dumps(target.public))
    found = list(re.finditer(rb'"model"\s*:\s*(' + spelled + rb")", body))
    if len(found) == 1:
        start, end = found[0].span(1)
        return body[:start] + orjson.dumps(target.engine) + body[end:]
    return dumps({**loads(body), "model": target.engine})


def rename_answer(body: bytes, target: Target) -> bytes:
    """``body`` with the client's name as its model."""
    old = _member(target.engine)
    if body.count(old) == 1:
        return body.replace(old, _member(target.public))
    answer = loads(body)
    if isinstance(answer, dict) and "model" in answer:
        return dumps({**answer, "model": target.public})
    return body


class RenamedStream(Stream):
    """The same for a stream's bytes."""

    def __init__(self, target: Target) -> None:
        self._old, self._new = _member(target.engine), _member(target.public)
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        text = (self._rest + chunk).replace(self._old, self._new)
        keep = _overlap(text, self._old)
        self._rest = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest


def _member(name: str) -> bytes:
    return b'"model":' + orjson.dumps(name)


def _overlap(text: bytes, pattern: bytes) -> int:
    """How many bytes at the end of ``text`` may be the beginning of ``pattern``."""
    start = text.find(b'"', max(0, len(text) - len(pattern) + 1))
    while start >= 0:
        if pattern.startswith(text[start:]):
            return len(text) - start
        start = text.find(b'"', start + 1)
    return 0
