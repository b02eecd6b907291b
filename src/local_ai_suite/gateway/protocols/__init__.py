"""The protocols that clients speak on 8000: one module each.

A module has ``ENDPOINTS``: for each route what is translated in its requests, how its whole
answers are put together from the engine's stream, and the envelope of its errors. A request's
life in here::

    asked = ask(ENDPOINTS, endpoint, Request.read(body), Target("gpt-4o", "local-chat"))

    asked.reply              answered without the engine (Ollama's "load this model")
    asked.path, .body()      what the engine gets: the client's bytes where nothing acts
    asked.answer(body)       the client's answer for a whole one of the engine
    asked.stream()           the translation of a stream: ``feed`` each chunk, then ``finish``

A translation is a function over ``Asked``; the endpoint lists it. One that turns a request into
another protocol's (``asked.send``) is followed by that protocol's own translations, so whatever
concerns the engine's chat stands once, in ``openai_chat``. A new protocol is a module and its row
in ``ENDPOINTS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import anthropic, completions, cursor, embeddings, infill, ollama, openai_chat, responses
from .body import BadRequest, Request
from .endpoint import EVENT_STREAM, MISFIT, Asked, Endpoint, ask
from .rename import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ENDPOINTS",
    "EVENT_STREAM",
    "MISFIT",
    "Asked",
    "BadRequest",
    "Endpoint",
    "Request",
    "Target",
    "ask",
    "by_path",
]


def by_path(endpoints: Iterable[Endpoint]) -> dict[str, Endpoint]:
    """Each path with its endpoint: OpenAI's and llama.cpp's are served with and without /v1."""
    found = {}
    for endpoint in endpoints:
        path = endpoint.route.path
        found[path] = endpoint
        if not path.startswith(("/api/", "/cursor/")):
            bare = path.removeprefix("/v1")
            found[bare] = found[f"/v1{bare}"] = endpoint
    return found


ENDPOINTS = by_path(
    (
        *openai_chat.ENDPOINTS,
        *completions.ENDPOINTS,
        *responses.ENDPOINTS,
        *anthropic.ENDPOINTS,
        *embeddings.ENDPOINTS,
        *infill.ENDPOINTS,
        *ollama.ENDPOINTS,
        *cursor.ENDPOINTS,
    )
)
