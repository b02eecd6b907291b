"""Error answers in the envelope of the API that was called, and a context overflow by its name.

llama.cpp says ``{"error": {"code": 400, "message", "type", ...}}`` on every route, also on
Anthropic's, with the HTTP status as the code and no ``param``; a prompt that is too long is a type
of its own (``exceed_context_size_error``, tools/server/server-context.cpp) that no SDK knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.wire import envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"

_OVERFLOW = re.compile(rb"\((\d+) tokens\) exceeds? the available context size \((\d+) tokens\)")
_MOST_FOREIGN_TEXT = 500
# What llama.cpp answers 500 for, though the request is wrong: a member is missing or of a wrong
# type, or a token is none of the vocabulary's.
_THE_CLIENTS_FAULT = re.compile(
    r"Failed to parse (?:messages|tools)|'\w+' is required|.*_M_range_check"
)


def openai_error(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None,
    code: str | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """OpenAI's inner error object; ``more`` holds numbers that a program may want."""
    return {"message": message, "type": kind, "param": param, "code": code, **more}


def error_body(route: str, status: int, error: Mapping[str, Any]) -> bytes:
    """The whole body for ``error`` (OpenAI's inner object) in the envelope of ``route``'s API."""
    api = envelope.api_of(route)
    if api == "openai":
        return orjson.dumps({"error": dict(error)})
    message = str(error.get("message"))
    more = {key: value for key, value in error.items() if key.startswith("n_")}
    if api == "anthropic" and error.get("code") == CONTEXT_LENGTH_EXCEEDED:
        # Claude Code looks for these words to compact the conversation.
        message = (
            f"prompt is too long: {error['n_prompt_tokens']} tokens > {error['n_ctx']} maximum"
        )
    return envelope.error_body(api, status, message, **more)


def mend_error(route: str, status: int, body: bytes) -> tuple[int, bytes]:
    """Status and body to answer for the engine's (status 400 or more, JSON or anything else)."""
    error = read_error(status, body)
    if status == 500 and _THE_CLIENTS_FAULT.match(error["message"]):
        status, error = 400, {**error, "type": "invalid_request_error"}
    return status, error_body(route, status, error)


def read_error(status: int, body: bytes) -> dict[str, Any]:
    """OpenAI's inner error object for whatever the engine said."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    inner = said.get("error", said) if isinstance(said, dict) else None
    if isinstance(inner, str):
        inner = {"message": inner}
    if not isinstance(inner, dict) or not isinstance(inner.get("message"), str):
        text = body.decode("utf-8", "replace").strip()[:_MOST_FOREIGN_TEXT]
        return openai_error(text or f"the engine answered {status}", kind=_openai_type(status))
    used, most = inner.get("n_prompt_tokens"), inner.get("n_ctx")
    if (used is None or most is None) and (found := _OVERFLOW.search(inner["message"].encode())):
        used, most = int(found[1]), int(found[2])
    if inner.get("type") == "exceed_context_size_error" and used is not None and most is not None:
        return openai_error(
            f"This model's context holds {most} tokens, but the request has {used} tokens. "
            "Shorten it, or load the model with a larger context.",
            param="messages",
            code=CONTEXT_LENGTH_EXCEEDED,
            n_prompt_tokens=used,
            n_ctx=most,
        )
    code = inner.get("code")
    rest = {key: inner[key] for key in inner if key not in {"message", "type", "param", "code"}}
    return openai_error(
        inner["message"],
        kind=str(inner.get("type") or _openai_type(status)),
        param=inner.get("param"),
        code=code if isinstance(code, str) else None,
        **rest,
    )


def fail_event(route: str, error: Mapping[str, Any]) -> bytes:
    """The event with which ``route``'s API says in mid-stream that it failed."""
    body = error_body(route, 500, error)
    api = envelope.api_of(route)
    if api == "ollama":
        return body + b"\n"
    return (b"event: error\n" if api == "anthropic" else b"") + b"data: " + body + b"\n\n"


def _openai_type(status: int) -> str:
    error: dict[str, Any] = envelope.error_object("openai", status, "")["error"]
    return str(error["type"])
