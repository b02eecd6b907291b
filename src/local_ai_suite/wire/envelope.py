"""Errors in the shape of the API that was called.

    OpenAI     {"error": {"message", "type", "param", "code"}}
    Anthropic  {"type": "error", "error": {"type", "message"}}
    Ollama     {"error": "message"}

An error is OpenAI's inner object everywhere in the suite, with further members for programs
(``n_ctx``); an envelope puts it into words at the end. Types and codes follow OpenAI's API
reference ("Error codes"), Anthropic's ("Errors") and Ollama's server/routes.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from local_ai_suite.errors import SuiteError

Error = Mapping[str, Any]

CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
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


class Envelope:
    """How an API says an error. This one is OpenAI's; the others derive from it."""

    def body(self, status: int, error: Error) -> bytes:  # noqa: ARG002 (Anthropic's type needs it)
        """The whole body of an answer with ``status``."""
        return orjson.dumps({"error": dict(error)})

    def event(self, error: Error) -> bytes:
        """The last event of a stream that had begun; nothing follows it.

        OpenAI's SDKs raise on a ``data:`` line that holds an ``error`` member, Anthropic's on an
        event called ``error``; Ollama's protocol is a JSON object per line.
        """
        return b"data: " + self.body(500, error) + b"\n\n"


class AnthropicEnvelope(Envelope):
    def body(self, status: int, error: Error) -> bytes:
        message = str(error.get("message"))
        if error.get("code") == CONTEXT_LENGTH_EXCEEDED:
            # Claude Code looks for these words to compact the conversation.
            message = (
                f"prompt is too long: {error['n_prompt_tokens']} tokens > {error['n_ctx']} maximum"
            )
        kind = _ANTHROPIC_TYPES.get(status, _usual(status, "api_error"))
        more = {key: value for key, value in error.items() if key.startswith("n_")}
        inner = {"type": kind, "message": message, **more}
        return orjson.dumps({"type": "error", "error": inner})

    def event(self, error: Error) -> bytes:
        return b"event: error\n" + super().event(error)


class OllamaEnvelope(Envelope):
    def body(self, status: int, error: Error) -> bytes:  # noqa: ARG002
        return orjson.dumps({"error": str(error.get("message"))})

    def event(self, error: Error) -> bytes:
        return self.body(500, error) + b"\n"


OPENAI, ANTHROPIC, OLLAMA = Envelope(), AnthropicEnvelope(), OllamaEnvelope()


def envelope_of(path: str) -> Envelope:
    """The envelope of the API that a path belongs to; what nobody knows answers as OpenAI's."""
    if path.startswith("/api/"):
        return OLLAMA
    return ANTHROPIC if path.startswith(("/v1/messages", "/messages")) else OPENAI


def openai_error(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None,
    code: str | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """An error; ``more`` holds numbers that a program may want."""
    return {"message": message, "type": kind, "param": param, "code": code, **more}


def error_for(
    status: int, message: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """An error with the type that OpenAI gives to ``status``."""
    return openai_error(message, kind=type_of(status), param=param, code=code)


def suite_error(error: SuiteError) -> dict[str, Any]:
    """A suite's error: its message, then what to do."""
    message = f"{error.message} {error.hint}".strip()
    param = error.details.get("param")
    return error_for(error.http_status, message, code=error.code, param=param)


def type_of(status: int) -> str:
    """OpenAI's type of an error with ``status``."""
    return _OPENAI_TYPES.get(status, _usual(status, "server_error"))


def _usual(status: int, server: str) -> str:
    return server if status >= 500 else "invalid_request_error"
