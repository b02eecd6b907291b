"""Errors in the envelope of the API that was called, and a context overflow by its name.

llama.cpp says ``{"error": {"code": 400, "message", "type", ...}}`` on every route, also on
Anthropic's, with the HTTP status as the code and no ``param``; a prompt that is too long is a type
of its own (``exceed_context_size_error``, tools/server/server-context.cpp) that no SDK knows.

An error is OpenAI's inner object everywhere in here: message, type, param, code, and further
members for programs (``n_ctx``). An envelope puts it into words at the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.errors import SuiteError
from local_ai_suite.templates import refusal
from local_ai_suite.wire import envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

    Error = Mapping[str, Any]

CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"

_OVERFLOW = re.compile(r"\((\d+) tokens\) exceeds? the available context size \((\d+) tokens\)")
_MOST_FOREIGN_TEXT = 500


class Refused(SuiteError):
    """A protocol cannot serve what the request asks for; ``param`` names the member."""

    code = "invalid_request"
    http_status = 400

    def __init__(self, message: str, param: str, code: str | None = None) -> None:
        super().__init__(message, param=param)
        self.error = openai_error(message, param=param, code=code)


class Envelope:
    """How an API says an error. This one is OpenAI's; other protocols derive from it."""

    def body(self, status: int, error: Error) -> bytes:  # noqa: ARG002 (Anthropic's type needs it)
        """The whole body of an answer with ``status``."""
        return orjson.dumps({"error": dict(error)})

    def event(self, error: Error) -> bytes:
        """The last event of a stream that had begun; nothing follows it."""
        return b"data: " + self.body(500, error) + b"\n\n"


OPENAI = Envelope()


def openai_error(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None,
    code: str | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """OpenAI's inner error object; ``more`` holds numbers that a program may want."""
    return {"message": message, "type": kind, "param": param, "code": code, **more}


def error_for(
    status: int, message: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """An error of our own, with the type that OpenAI gives to ``status``."""
    return openai_error(message, kind=_type_of(status), param=param, code=code)


def suite_error(error: SuiteError) -> dict[str, Any]:
    """A suite's error inside a stream, with what to do about it."""
    message = f"{error.message} {error.hint}".strip()
    return openai_error(message, kind="server_error", code=error.code)


def engine_error(status: int, body: bytes, model: str) -> tuple[int, dict[str, Any]]:
    """Status and error to answer for the engine's (status 400 or more, JSON or anything else).

    What is the request's own fault is a 400, whatever the engine makes of it; ``model`` is the name
    that the client used.
    """
    error = read_error(status, body)
    if (found := refusal(error["message"], model)) is not None:
        return 400, openai_error(found.message, param=found.param, code=found.code)
    return status, error


def read_error(status: int, body: bytes) -> dict[str, Any]:
    """The error in whatever the engine said."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    inner = said.get("error", said) if isinstance(said, dict) else None
    if isinstance(inner, str):
        inner = {"message": inner}
    if not isinstance(inner, dict) or not isinstance(inner.get("message"), str):
        text = body.decode("utf-8", "replace").strip()[:_MOST_FOREIGN_TEXT]
        return error_for(status, text or f"the engine answered {status}")
    used, most = inner.get("n_prompt_tokens"), inner.get("n_ctx")
    if (used is None or most is None) and (found := _OVERFLOW.search(inner["message"])):
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
        kind=str(inner.get("type") or _type_of(status)),
        param=inner.get("param"),
        code=code if isinstance(code, str) else None,
        **rest,
    )


def _type_of(status: int) -> str:
    error: dict[str, Any] = envelope.error_object("openai", status, "")["error"]
    return str(error["type"])
