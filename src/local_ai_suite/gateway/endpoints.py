"""The local routes: which path is which of the engine's endpoints, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Lane = Literal["chat", "completion", "embedding", "none"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``route`` is the engine's path; ``lane`` is the queue that a request waits in.

    ``model_optional`` endpoints come from llama.cpp, whose clients (llama.vim, llama.vscode) name
    no model: these get the first local one, or ``local-code`` where they prefer code.
    """

    route: str
    lane: Lane
    model_optional: bool = False
    prefers_code: bool = False


_LISTED = (
    Endpoint("/v1/chat/completions", "chat"),
    Endpoint("/v1/completions", "completion"),
    Endpoint("/v1/responses", "chat"),
    Endpoint("/v1/messages", "chat"),
    Endpoint("/v1/messages/count_tokens", "none"),
    Endpoint("/v1/embeddings", "embedding"),
    Endpoint("/v1/rerank", "embedding"),
    Endpoint("/infill", "completion", model_optional=True, prefers_code=True),
    Endpoint("/completion", "completion", model_optional=True),
    Endpoint("/tokenize", "none", model_optional=True),
    Endpoint("/detokenize", "none", model_optional=True),
    Endpoint("/apply-template", "none", model_optional=True),
    # Ollama's: served on the engine's own routes by a mend.
    Endpoint("/api/chat", "chat"),
    Endpoint("/api/generate", "completion"),
    Endpoint("/api/embed", "embedding"),
    Endpoint("/api/embeddings", "embedding"),
    # Cursor's, whose base URL is .../cursor: a mend sorts its shapes out.
    Endpoint("/cursor/chat/completions", "chat"),
)


def _with_and_without_v1() -> dict[str, Endpoint]:
    found = {}
    for endpoint in _LISTED:
        if endpoint.route.startswith(("/api/", "/cursor/")):
            found[endpoint.route] = endpoint
            continue
        bare = endpoint.route.removeprefix("/v1")
        found[bare] = found[f"/v1{bare}"] = endpoint
    return found


ENDPOINTS: dict[str, Endpoint] = _with_and_without_v1()


def canonical(path: str) -> str:
    """``/v1/models/`` and ``//v1/models`` (a base URL with a slash too many) -> ``/v1/models``."""
    while "//" in path:
        path = path.replace("//", "/")
    return path.rstrip("/") or "/"


# What LiteLLM serves beside the endpoints above. A list of what is let through, because the gateway
# shows LiteLLM its own master key: /v1/mcp and /v1/agents, for example, are for administrators (a
# test of an MCP server runs a command).
_LITELLM = ("images", "audio", "moderations", "files", "batches", "responses", "videos", "ocr")


def is_litellms(path: str) -> bool:
    """Whether LiteLLM may be asked for ``path`` (canonical, decoded)."""
    parts = path.split("/")
    return len(parts) > 2 and parts[1] == "v1" and parts[2] in _LITELLM and ".." not in parts
