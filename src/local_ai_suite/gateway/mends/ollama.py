"""Ollama's /api/chat, /api/generate, /api/embed and /api/embeddings, on the engine's own routes.

llama.cpp answers 404 to Ollama's protocol, and some tools speak no other.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from . import ollama_request
from .errors import error_body, fail_event, openai_error
from .ollama_answer import NDJSON, Answer, Lines, embeddings, whole
from .ollama_request import NotServed
from .plan import Mend, Reply, Target, Untouched

_CHAT, _GENERATE, _EMBED, _OLD_EMBED = ROUTES = (
    "/api/chat", "/api/generate", "/api/embed", "/api/embeddings"
)  # fmt: skip


def ollama(route: str, body: bytes, target: Target) -> Mend | Reply:
    """The mend for a request to one of :data:`ROUTES`."""
    request = orjson.loads(body)
    answer = Answer(target.public, chat=route == _CHAT)
    asked = {_CHAT: "messages", _GENERATE: "prompt"}.get(route)
    if asked and request.get(asked) in (None, "", []):
        # Ollama's way to load a model ahead; here the first real request loads it.
        loaded = {**answer.line(""), "done": True, "done_reason": "load"}
        return Reply(200, orjson.dumps(loaded))
    try:
        if route == _CHAT:
            path, sent = "/v1/chat/completions", ollama_request.chat(request, target.engine)
        elif route == _GENERATE:
            path, sent = ollama_request.generate(request, target.engine)
        else:
            return _embed(route, request, target)
    except NotServed as refused:
        return Reply(400, error_body(route, 400, openai_error(str(refused))))
    return Mend(
        names=("ollama",),
        path=path,
        body=_dump(sent),
        streams=bool(sent["stream"]),
        answer=lambda said: whole(said, answer),
        stream=lambda: Lines(route, answer),
        stream_type=NDJSON,
    )


def _embed(route: str, request: dict[str, Any], target: Target) -> Mend:
    began = time.monotonic()
    return Mend(
        names=("ollama",),
        path="/v1/embeddings",
        body=_dump(ollama_request.embed(request, target.engine)),
        streams=False,
        answer=lambda said: embeddings(said, target.public, began, old=route == _OLD_EMBED),
        stream=lambda: Untouched(lambda error: fail_event(route, error)),
    )


def _dump(request: dict[str, Any]) -> bytes:
    return orjson.dumps({key: value for key, value in request.items() if value is not None})
