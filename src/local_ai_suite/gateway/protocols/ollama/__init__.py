"""Ollama's /api/chat, /api/generate, /api/embed and /api/embeddings, on the engine's own routes.

llama.cpp answers 404 to Ollama's protocol, and some tools speak no other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson

from local_ai_suite.gateway.protocols.endpoint import Endpoint
from local_ai_suite.gateway.protocols.events import Stream
from local_ai_suite.wire.envelope import OLLAMA
from local_ai_suite.wire.routes import Route

from . import request
from .answer import Answer, Lines, embeddings, whole

if TYPE_CHECKING:
    from local_ai_suite.gateway.protocols.endpoint import Asked

NDJSON = b"application/x-ndjson"


def chat(asked: Asked) -> None:
    if not _loads_ahead(asked, "messages"):
        _translate(asked, "/v1/chat/completions", request.chat(asked.edit()))


def generate(asked: Asked) -> None:
    if not _loads_ahead(asked, "prompt"):
        _translate(asked, *request.generate(asked.edit()))


def embed(asked: Asked) -> None:
    """Also the older /api/embeddings, which gives the first vector alone."""
    model, began = asked.target.public, time.monotonic()
    old = asked.path == "/api/embeddings"
    asked.send("/v1/embeddings", request.embed(asked.edit()))
    asked.translate(lambda said: embeddings(said, model, began, old=old), Stream, says_name=True)


def _loads_ahead(asked: Asked, member: str) -> bool:
    """An empty request is Ollama's way to load a model; here the first real one loads it."""
    if asked.request.get(member) not in (None, "", []):
        return False
    line = Answer(asked.target.public, chat=member == "messages").line("")
    asked.reply = orjson.dumps({**line, "done": True, "done_reason": "load"})
    return True


def _translate(asked: Asked, path: str, sent: dict[str, object]) -> None:
    answer = Answer(asked.target.public, chat=asked.path == "/api/chat")
    asked.send(path, {key: value for key, value in sent.items() if value is not None})
    asked.translate(lambda said: whole(said, answer), lambda: Lines(answer), says_name=True)


ENDPOINTS = tuple(
    Endpoint(
        route,
        translations=(translation,),
        envelope=OLLAMA,
        stream_type=NDJSON,
        spoken_by_litellm=False,
    )
    for route, translation in (
        (Route("/api/chat", "generate", "chat"), chat),
        (Route("/api/generate", "generate", "completion"), generate),
        (Route("/api/embed", "embed", "embedding"), embed),
        (Route("/api/embeddings", "embed", "embedding"), embed),
    )
)
