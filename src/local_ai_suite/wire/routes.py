"""The routes that are passed on to an engine, said once for both ports.

8001 forwards the rows of :data:`LLAMA_SERVER`; 8000 gives each of its endpoints a row of these or
one of its own (``gateway/protocols``). What has no row is a 404, so that a stray request loads no
model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Use = Literal["generate", "embed", "rerank", "tokens"]
Queue = Literal["chat", "completion", "embedding", "none"]


@dataclass(frozen=True, slots=True)
class Route:
    """One POST route. ``path`` is canonical, ``also`` has llama-server's other spellings of it.

    ``use`` is what the model must be able to do; ``queue`` is where a request waits for a slot
    ("none": counting tokens never waits); ``prefers_code`` gives a request that names no model
    the code model where there is one.
    """

    path: str
    use: Use
    queue: Queue
    also: tuple[str, ...] = ()
    prefers_code: bool = False


LLAMA_SERVER = (
    Route("/v1/chat/completions", "generate", "chat", ("/chat/completions", "/api/chat")),
    Route("/v1/completions", "generate", "completion", ("/completions",)),
    Route("/completion", "generate", "completion"),
    Route("/infill", "generate", "completion", prefers_code=True),
    Route("/v1/responses", "generate", "chat", ("/responses",)),
    Route("/v1/messages", "generate", "chat"),
    Route("/v1/messages/count_tokens", "tokens", "none"),
    Route("/v1/chat/completions/input_tokens", "tokens", "none"),
    Route("/v1/responses/input_tokens", "tokens", "none"),
    Route("/tokenize", "tokens", "none"),
    Route("/detokenize", "tokens", "none"),
    Route("/apply-template", "tokens", "none"),
    Route("/v1/embeddings", "embed", "embedding"),
    Route("/embedding", "embed", "embedding", ("/embeddings",)),
    Route("/v1/rerank", "rerank", "embedding", ("/v1/reranking", "/rerank", "/reranking")),
)
"""What llama-server serves by POST (``tools/server/server.cpp``, the route table).

``/slots/{id}`` with an action writes files and is not among them.
"""


def llama_server(path: str) -> Route:
    """The row of :data:`LLAMA_SERVER` for a canonical ``path``. Raises KeyError."""
    return _BY_PATH[path]


def spellings(routes: Iterable[Route]) -> dict[str, Route]:
    """Each path that ``routes`` answer, with its route."""
    return {path: route for route in routes for path in (route.path, *route.also)}


def canonical(path: str) -> str:
    """One spelling for what base URLs make of a path.

    ``//v1/models/`` (a slash too many), ``/v1/v1/models``, ``/openai/v1/models`` and
    ``/api/v1/models`` (a prefix too many) are all ``/v1/models``.
    """
    while "//" in path:
        path = path.replace("//", "/")
    path = path.rstrip("/") or "/"
    for prefix in ("/openai", "/api"):
        if path.startswith(f"{prefix}/v1/"):
            path = path.removeprefix(prefix)
    while path.startswith("/v1/v1/"):
        path = path.removeprefix("/v1")
    return path


_BY_PATH = {route.path: route for route in LLAMA_SERVER}
