"""The suite's own OpenAI client: synchronous, small, quick to import.

It stands on ``http.client`` because ``import httpx`` costs more than the whole start-up budget of
the terminal assistant (docs/decisions/0601-own-client.md has the numbers). One call, one
connection; closing a stream closes its socket, which frees the engine's slot.

    with Client("http://127.0.0.1:8000/v1", key=None) as client:
        client.models()                                   # tuple[Model, ...] with their limits
        client.chat(messages, model="local-chat")         # Answer
        client.chat(messages, model=..., schema={...}).json()   # an object held by a JSON schema
        with client.stream_chat(messages, model=...) as stream:
            for delta in stream: ...                      # Delta(text, reasoning)
            stream.answer                                 # Answer with usage and timings
        client.complete(prompt, model=...)                # Answer
        client.fim(prefix, suffix, model="local-code")    # Answer
        client.count_tokens("text" or messages, model=...)   # int, None where nobody can count

Errors are those of ``local_ai_suite.errors``: ``NoServer``, ``RequestRefused``,
``ContextOverflow`` (both numbers in ``details``), ``BadAnswer``, else ``NetworkError``.
"""

from __future__ import annotations

from .answers import Answer, Delta, Model, Timings, ToolCall, Usage
from .api import ChatStream, Client, client_for
from .transport import Timeouts

__all__ = [
    "Answer",
    "ChatStream",
    "Client",
    "Delta",
    "Model",
    "Timeouts",
    "Timings",
    "ToolCall",
    "Usage",
    "client_for",
]
