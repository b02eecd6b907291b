"""Error bodies in the shape of the API that was called.

    OpenAI     {"error": {"message", "type", "param", "code"}}
    Anthropic  {"type": "error", "error": {"type", "message"}}
    Ollama     {"error": "message"}

Types and codes follow OpenAI's API reference ("Error codes"), Anthropic's ("Errors") and
Ollama's server/routes.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from local_ai_suite.errors import SuiteError

Api = Literal["openai", "anthropic", "ollama"]

_OPENAI_TYPES = {
    403: "permission_error",
    408: "timeout_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_FIRST_SERVER_ERROR = 500


def api_of(path: str) -> Api:
    """Which API a path belongs to; what nobody knows answers as OpenAI's does."""
    if path.startswith("/api/"):
        return "ollama"
    if path.startswith(("/v1/messages", "/messages")):
        return "anthropic"
    return "openai"


def error_body(
    api: Api,
    status: int,
    message: str,
    *,
    code: str | None = None,
    kind: str | None = None,
    param: str | None = None,
    **more: Any,
) -> bytes:
    """One error as JSON. ``kind`` is the error's ``type`` where the status' usual one won't do."""
    return orjson.dumps(
        error_object(api, status, message, code=code, kind=kind, param=param, **more)
    )


def error_object(
    api: Api,
    status: int,
    message: str,
    *,
    code: str | None = None,
    kind: str | None = None,
    param: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The same as an object; ``more`` are further members of the error (numbers, a hint)."""
    if api == "ollama":
        return {"error": message}
    server = "server_error" if api == "openai" else "api_error"
    fallback = server if status >= _FIRST_SERVER_ERROR else "invalid_request_error"
    if api == "anthropic":
        error = {"type": kind or _ANTHROPIC_TYPES.get(status, fallback), "message": message}
        return {"type": "error", "error": error | more}
    return {
        "error": {
            "message": message,
            "type": kind or _OPENAI_TYPES.get(status, fallback),
            "param": param,
            "code": code,
            **more,
        }
    }


def from_error(api: Api, error: SuiteError) -> bytes:
    """A suite's error as a body: its message, then what to do."""
    message = f"{error.message} {error.hint}".strip()
    return error_body(api, error.http_status, message, code=error.code)


def error_event(api: Api, status: int, message: str, *, code: str | None = None) -> bytes:
    """An error inside a stream that has begun.

    OpenAI's SDKs raise on a ``data:`` line that holds an ``error`` member, Anthropic's on an event
    called ``error``; Ollama's protocol is a JSON object per line.
    """
    body = error_body(api, status, message, code=code)
    if api == "ollama":
        return body + b"\n"
    if api == "anthropic":
        return b"event: error\ndata: " + body + b"\n\n"
    return b"data: " + body + b"\n\n"
